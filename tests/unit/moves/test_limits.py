"""Limits of a connection: what they refuse, and how they read."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_whitebit.client.errors import WhiteBitLimitError
from airflow_provider_whitebit.moves.intent import Operation
from airflow_provider_whitebit.moves.limits import OPERATIONS, Limits

ALL = Limits("c", True, {"USDT": Decimal("50.50"), "BTC": Decimal(0)}, frozenset({"USDT", "BTC"}))
OUT = Limits("c", allowed_operations=frozenset({"flex_withdraw", "flex_close"}))


@pytest.mark.parametrize(
    ("limits", "ticker", "amount", "message"),
    [
        (ALL, "USDT", "1", "Connection 'c' is read_only."),
        (
            Limits("c", allowed_tickers=frozenset({"USDT", "BTC"})),
            "ETH",
            None,
            "ETH is not among its allowed_tickers (BTC, USDT).",
        ),
        (Limits("c", max_move=ALL.max_move), "USDT", "50.51", "50.51 USDT is more than its max_move of 50.50."),
        (Limits("c", max_move=ALL.max_move), "BTC", "0.1", "0.1 BTC is more than its max_move of 0."),
        (OUT, "USDT", "1", "flex_invest is not among its allowed_operations (flex_close, flex_withdraw)."),
        (Limits("c", max_per_day=ALL.max_move), "USDT", "50.51", "50.51 USDT is more than its max_per_day of 50.50."),
    ],
)
def test_the_error_names_the_limit(limits, ticker, amount, message):
    with pytest.raises(WhiteBitLimitError) as caught:
        limits.check("flex_invest", ticker, None if amount is None else Decimal(amount))
    assert caught.value.message.endswith(message)
    assert caught.value.money_moved is False


@pytest.mark.parametrize(
    ("limits", "ticker", "amount"),
    [
        (Limits("c"), "USDT", "1000000"),
        (Limits("c", max_move=ALL.max_move), "USDT", "50.5"),
        (Limits("c", max_move=ALL.max_move), "USDT", None),
        (Limits("c", max_move=ALL.max_move), "ETH", "1000"),
        (Limits("c", allowed_tickers=frozenset({"USDT"})), "USDT", "1000"),
        (OUT, "USDT", "1000"),
        (Limits("c", max_per_day=ALL.max_move), "USDT", "50.5"),
        (Limits("c", max_moves_per_hour=1), "USDT", "1000"),
    ],
)
def test_what_no_limit_forbids_passes(limits, ticker, amount):
    limits.check("flex_withdraw", ticker, None if amount is None else Decimal(amount))


@pytest.mark.parametrize("operation", [*OPERATIONS, *Operation])
def test_operations_that_are_allowed(operation):
    if operation in ("flex_withdraw", "flex_close"):
        OUT.check(operation, "USDT", Decimal(1))
    else:
        with pytest.raises(WhiteBitLimitError, match=operation):
            OUT.check(operation, "USDT", None)


def test_in_words():
    assert Limits("c").in_words == "this connection sets no limits"
    assert OUT.in_words == "limits of this connection: only flex_close, flex_withdraw"
    assert ALL.in_words == (
        "limits of this connection: read only; only BTC, USDT; at most 0 BTC, 50.50 USDT in one move"
    )
    assert Limits("c", max_per_day={"USDT": Decimal(100)}, max_moves_per_hour=5).in_words == (
        "limits of this connection: at most 100 USDT in 24 hours; at most 5 moves in an hour"
    )
