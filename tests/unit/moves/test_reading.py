"""What limits over time read of an account, and what of it cannot be read or is not shown."""

from __future__ import annotations

import logging
from decimal import Decimal
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import FlexTransaction, SubAccount
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.moves.reading import read_invested, read_moves
from tests.protocol_script import MOVE, PLAN

BROKEN = UnreadableRecord.of(FlexTransaction, "/path", {}, 0)


class Account:
    """A client whose lists have one record each, and one that cannot be read.

    :param refused: the lists that the exchange does not show, and its errors.
    """

    def __init__(self, **refused):
        self.refused, self.asked = refused, []

    def _list(self, name, on_unreadable, **filters):
        self.asked.append((name, filters))
        if name in self.refused:
            raise self.refused[name]
        on_unreadable(BROKEN)
        return [f"one of {name}"]

    def sub_accounts(self, *, on_unreadable):
        self.asked.append(("sub_accounts", {}))
        if "sub_accounts" in self.refused:
            raise self.refused["sub_accounts"]
        return [SimpleNamespace(id="sub-1")]

    def sub_account_transfers(self, sub_id, *, on_unreadable, **filters):
        return self._list(f"transfers of {sub_id}", on_unreadable, **filters)

    def flex_history(self, *, on_unreadable, **filters):
        return self._list("flex", on_unreadable, **filters)

    def fixed_investments(self, *, on_unreadable, **filters):
        return self._list("fixed", on_unreadable, **filters)


def test_every_record_counts_also_one_that_cannot_be_read():
    account = Account()
    found = read_moves(account, 7)
    assert found.flex == ["one of flex", BROKEN]
    assert found.fixed == ["one of fixed", BROKEN]
    assert found.transfers == {"sub-1": ["one of transfers of sub-1", BROKEN]}
    assert account.asked == [
        ("sub_accounts", {}),
        ("transfers of sub-1", {"date_from": 7, "strict": True}),
        ("flex", {"date_from": 7, "strict": True}),
        ("fixed", {"strict": True}),
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("flex", "the Flex history"),
        ("fixed", "Fixed investments"),
        ("sub_accounts", "sub-accounts"),
        ("transfers of sub-1", "transfers of sub-accounts"),
    ],
)
@pytest.mark.parametrize("error", [e.WhiteBitPermissionError("no right"), e.WhiteBitRefusedError("not confirmed")])
def test_what_the_exchange_does_not_show_is_left_out(caplog, name, words, error):
    caplog.set_level(logging.WARNING)
    account = Account(**{name: error})
    found = read_moves(account, 7)
    shown = {
        "flex": len(found.flex),
        "fixed": len(found.fixed),
        "sub_accounts": 2 * len(found.transfers),
        "transfers of sub-1": len(found.transfers.get("sub-1", [])),
    }
    assert shown[name] == 0
    assert f"count no moves of {words}, which the exchange does not show: {error.message}" in caplog.text


def test_a_list_that_fails_otherwise_stops_the_move():
    for name in ("flex", "fixed", "sub_accounts", "transfers of sub-1"):
        with pytest.raises(e.WhiteBitUnavailableError):
            read_moves(Account(**{name: e.WhiteBitUnavailableError("down")}), 7)


@pytest.mark.parametrize(("known", "counts"), [({"id": "sub-9"}, True), ({}, False)])
def test_a_sub_account_that_cannot_be_read_counts_by_its_id(known, counts):
    account, broken = Account(), UnreadableRecord(SubAccount, "/path", "its name is a list", "x", known, 0)
    account.sub_accounts = lambda on_unreadable: on_unreadable(broken) or []
    if counts:
        assert read_moves(account, 7).transfers == {"sub-9": ["one of transfers of sub-9", BROKEN]}
        return
    with pytest.raises(e.WhiteBitError, match="its name is a list"):
        read_moves(account, 7)


class Invested:
    """A client that shows these investments, and refuses filters by a plan that is gone."""

    def __init__(self, *investments, gone=False):
        self.investments, self.gone = investments, gone

    def flex_investments(self, *, on_unreadable, plan=None):
        on_unreadable(BROKEN)
        if plan is not None and self.gone:
            raise e.WhiteBitValidationError("The selected plan is invalid.")
        return self.investments


def held(plan, amount, *, closed=False):
    return SimpleNamespace(plan_id=plan, invested=Decimal(amount), closed=closed)


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize(
    ("investments", "expected"),
    [
        ([], None),
        ([held(PLAN.upper(), "1.5"), held(PLAN, "2"), held("another", "4"), held(PLAN, "8", closed=True)], "3.5"),
        ([held(PLAN, "8", closed=True)], None),
        ([held(PLAN, "0")], "0"),
    ],
)
def test_what_is_invested_in_the_plan(gone, investments, expected):
    assert read_invested(Invested(*investments, gone=gone), MOVE) == (None if expected is None else Decimal(expected))
