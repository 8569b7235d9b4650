"""What changed the Main balance: each kind of record, and what is not known of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client.models import MainTransaction, SubAccountTransaction
from airflow_provider_whitebit.treasury.figures import Figures
from airflow_provider_whitebit.treasury.main_changes import MainChanges, main_changes

START, END = pendulum.datetime(2026, 1, 1), pendulum.datetime(2026, 2, 1)


def moved(method, status, amount="5", **changes):
    raw = {"createdAt": START.int_timestamp, "ticker": "USDT", "fee": "0.5", "amount": amount}
    return MainTransaction.from_api({**raw, "method": method, "status": status, **changes})


def transferred(direction, amount="3", **changes):
    raw = {"createdAt": START.int_timestamp, "currency": "USDT", "amount": amount, "direction": direction}
    return SubAccountTransaction.from_api({**raw, **changes})


def changes_of(transactions=(), transfers=(), flex=None, **options):
    return main_changes(transactions, transfers, flex or {}, start=START, end=END, **options)


def test_all_kinds_of_records():
    figures = Figures(withdrawn=Decimal(10), closed=Decimal(20), earned_to_main=Decimal("0.7"), invested=Decimal(4))
    [found] = changes_of(
        [moved(1, 3), moved(1, 7, "0.000000000000000001"), moved(2, 3, "2"), moved(1, 15), moved(2, 4)],
        [transferred("main_to_sub"), transferred("sub_to_main", "-1")],
        {"USDT": figures},
    )
    assert found == MainChanges(
        "USDT",
        deposited=Decimal("5.000000000000000001"),
        withdrawn=Decimal(2),
        fees=Decimal("1.5"),
        from_sub_accounts=Decimal(1),
        to_sub_accounts=Decimal(3),
        from_flex=Decimal("30.7"),
        to_flex=Decimal(4),
        known_change=Decimal("27.700000000000000001"),
    )
    assert found.to_json()["known_change"] == "27.700000000000000001"


@pytest.mark.parametrize(
    ("transactions", "transfers"),
    [
        # A withdrawal that is under way may have left Main; a status and a direction that the vendor has added since.
        ([moved(2, 1)], []),
        ([moved(1, 99)], []),
        ([moved(9, 3)], []),
        ([], [transferred("sub_to_sub")]),
        ([], [transferred(None)]),
    ],
)
def test_what_is_not_known_is_counted_and_not_added(transactions, transfers):
    [found] = changes_of(transactions, transfers)
    assert found == replace(MainChanges("USDT"), unsettled=1)


def test_the_period_and_the_assets():
    before, last, after = START.subtract(seconds=1), END.subtract(seconds=1), END
    records = [moved(1, 3, createdAt=moment.int_timestamp) for moment in (before, last, after)]
    [found] = changes_of(records)
    assert (found.deposited, found.known_change) == (5, 5)
    others = [moved(1, 3, ticker="BTC"), *records]
    unnamed = [transferred("main_to_sub", currency=None)]
    assert [one.ticker for one in changes_of(others, unnamed)] == ["", "BTC", "USDT"]
    assert [one.ticker for one in changes_of(others, unnamed, tickers=["BTC"])] == ["", "BTC"]
    assert changes_of() == ()
