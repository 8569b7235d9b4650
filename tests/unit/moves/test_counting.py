"""Which moves count: by records and by the spending log. What is not certain counts."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client.models import FixedInvestment, FlexTransaction, SubAccountTransaction
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.moves.counting import AccountRecords, counted_moves
from airflow_provider_whitebit.moves.intent import Attempt, Move, Operation, Outcome
from tests.protocol_script import MOVE, NOW, PLAN, executed, in_doubt, intent, record

SECOND = NOW // 1000
SINCE = SECOND - 86_400
INVEST, REINVEST, WITHDRAW, EARNING, CLOSE, OPEN = range(1, 7)


def counted(flex=(), fixed=(), transfers=(), logged=(), ticker="USDT"):
    """The amounts that count for an asset."""
    records = AccountRecords(flex, fixed, {"sub": transfers})
    moves, _ = counted_moves(records, logged, since=SINCE, margin_ms=10_000)
    return sorted(move.amount for move in moves if move.counts(SINCE, ticker))


def flex(**changes):
    return replace(record(), **changes)


def at(second):
    return pendulum.from_timestamp(second, tz="UTC")


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([record()], [25]),
        ([record(second=SINCE)], [25]),
        ([record(second=SINCE - 1)], []),
        ([record(action=WITHDRAW, amount="-25")], [25]),
        # Earnings are no moves, whoever keeps them.
        ([record(action=EARNING), record(action=REINVEST)], []),
        # Opening an investment may leave two records, with one identifier or with two.
        ([record("a", action=OPEN), record("a", action=INVEST)], [25]),
        ([record("a", action=OPEN), record("b", SECOND + 1, action=INVEST)], [25]),
        ([record("a", action=INVEST), record("b", action=INVEST)], [25, 25]),
        ([record("a", action=CLOSE, amount="25.01"), record("b", action=WITHDRAW)], [25]),
        # An action that the vendor has added since may be a move.
        ([record(action=99)], [25]),
        ([record(action=99, amount="0")], []),
        ([flex(currency="BTC")], []),
        ([flex(currency=None)], [25]),
        ([flex(currency="usdt")], [25]),
    ],
)
def test_flex(records, expected):
    assert counted(records) == expected


def test_equal_moves_that_look_like_one_count_twice_if_both_are_logged():
    """An opening at the end of one slot, and an equal addition at the beginning of the next one."""
    records = [record("a", action=OPEN), record("b", SECOND + 1, action=INVEST)]
    logged = [executed_as("first", "a"), executed_as("second", "b")]
    assert counted(records, logged=logged) == [25, 25]


def unreadable(kind=FlexTransaction, **raw):
    broken = UnreadableRecord.of(kind, "/path", raw, 0)
    assert broken is not None
    return broken


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"amount": "25", "currency": "USDT", "actionType": 6}, [25]),
        ({"amount": "-25", "currency": "USDT", "createdAt": SECOND}, [25]),
        ({"amount": "25"}, [25]),
        ({"amount": "25", "currency": "BTC"}, []),
        ({"amount": "25", "actionType": EARNING}, []),
        ({"amount": "25", "createdAt": SINCE - 1}, []),
    ],
)
def test_a_record_that_cannot_be_read_counts(raw, expected):
    assert counted([unreadable(**raw)]) == expected


def test_an_amount_that_cannot_be_read_is_not_zero():
    moves, _ = counted_moves(
        AccountRecords([unreadable(currency="USDT", actionType=6)]), (), since=SINCE, margin_ms=10_000
    )
    assert [(move.amount, move.counts(SINCE, "USDT")) for move in moves] == [(None, True)]
    assert "FlexTransaction" in moves[0].words


def fixed(status=1, created=SECOND, updated=None, payment_time=SECOND + 9_999, interest_paid=0, **changes):
    plan = {"id": "term", "ticker": "USDT", "status": 1, **changes}
    return FixedInvestment.from_api(
        {
            "id": "f1",
            "plan": plan,
            "status": status,
            "created": created,
            "updated": updated or created,
            "paymentTime": payment_time,
            "amount": "100",
            "interestPaid": interest_paid,
        }
    )


OLD = SINCE - 10


@pytest.mark.parametrize(
    ("investment", "expected"),
    [
        (fixed(), [100]),
        (fixed(created=SINCE), [100]),
        (fixed(created=OLD), []),
        (fixed(ticker="BTC"), []),
        # Closed before its term ended.
        (fixed(2, OLD, SECOND), [100]),
        (fixed(2, SECOND - 5, SECOND), [100, 100]),
        (fixed(2, OLD - 9, OLD), []),
        # It reached the end of its term.
        (fixed(2, OLD, SECOND, payment_time=SECOND), []),
        (fixed(2, OLD, interest_paid=1), []),
        # Nobody says when it was closed.
        (fixed(2, OLD), [100]),
        (fixed(2, OLD - 9, payment_time=OLD), []),
        # Neither active nor closed.
        (fixed(3, OLD, SECOND), [100]),
    ],
)
def test_fixed(investment, expected):
    assert counted(fixed=[investment]) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"amount": "100", "created": SECOND, "status": 1}, [100]),
        ({"amount": "100", "created": OLD, "status": 1}, []),
        ({"amount": "100", "created": OLD}, [100]),
        ({"amount": "100", "created": OLD, "status": 2, "updated": OLD}, []),
        ({"amount": "100"}, [100, 100]),
    ],
)
def test_fixed_that_cannot_be_read(raw, expected):
    assert counted(fixed=[unreadable(FixedInvestment, **raw)]) == expected


@pytest.mark.parametrize(
    ("currency", "second", "expected"),
    [("USDT", SECOND, [7]), ("BTC", SECOND, []), ("usdt", SECOND, [7]), (None, SECOND, [7]), ("USDT", OLD, [])],
)
def test_transfers_of_sub_accounts(currency, second, expected):
    made = SubAccountTransaction(at(second), "t1", "main_to_sub", currency, Decimal(-7))
    assert counted(transfers=[made]) == expected


# The log


def executed_as(name, reference, move=MOVE, nonce=NOW):
    doubt = intent(id=name, move=move).trying(Attempt(nonce, nonce // 1000))
    return doubt.executed(reference, move.amount, at(nonce // 1000), reconciled=False)


TRANSFER = Move(Operation.TRANSFER, "", "USDT", Decimal(9), source="main", target="spot")
TO_SUB = Move(Operation.SUB_ACCOUNT_TRANSFER, "", "USDT", Decimal(7), source="main", target="sub", sub_account_id="sub")
FIXED_INVEST = Move(Operation.FIXED_INVEST, "term", "USDT", Decimal(100))
FIXED_CLOSE = Move(Operation.FIXED_CLOSE, "term", "USDT", Decimal(100), investment_id="f1")


@pytest.mark.parametrize(
    ("logged", "records", "expected"),
    [
        # Records may be late. When they show the move, it counts once.
        (executed(), {}, [25]),
        (executed(), {"flex": [record("tx_old")]}, [25]),
        # Another record is another move's, however much alike.
        (executed(), {"flex": [record("tx_other")]}, [25, 25]),
        # Records without identifiers.
        (executed(), {"flex": [flex(transaction_id=None)]}, [25]),
        # In doubt: it counts until a record is certainly its own.
        (in_doubt(), {}, [25]),
        (in_doubt(), {"flex": [record("tx", SECOND + 3)]}, [25]),
        (in_doubt(), {"flex": [record("tx", SECOND + 7)]}, [25, 25]),
        (in_doubt(), {"flex": [record("tx", SECOND - 1)]}, [25, 25]),
        (in_doubt(), {"flex": [record("tx"), record("ty")]}, [25, 25, 25]),
        (in_doubt().found_absent(), {}, [25]),
        # It certainly never ran.
        (in_doubt().last_refused(), {}, []),
        # Transfers leave no record.
        (executed_as("t", None, TRANSFER), {"flex": [record("t", amount="9")]}, [9, 9]),
        (executed_as("s", "t1", TO_SUB), {}, [7]),
        (executed_as("f", "f1", FIXED_INVEST), {}, [100]),
        (executed_as("f", "f1", FIXED_INVEST), {"fixed": [fixed()]}, [100]),
        (executed_as("f", "f1", FIXED_INVEST), {"fixed": [fixed(1, SECOND + 60)]}, [100]),
        (executed_as("f", None, FIXED_CLOSE), {"fixed": [fixed(1, OLD)]}, [100]),
        (executed_as("f", None, FIXED_CLOSE), {"fixed": [fixed(2, OLD, SECOND + 1)]}, [100]),
    ],
)
def test_the_log_fills_what_records_do_not_show(logged, records, expected):
    assert counted(**records, logged=[logged]) == expected


def test_a_record_stands_for_one_move_only():
    assert counted([record("a")], logged=[executed_as("1", "a"), executed_as("2", "a")]) == [25, 25]


@pytest.mark.parametrize(("nonce", "expected"), [(SINCE * 1000 - 6_000, [25]), (SINCE * 1000 - 6_001, [])])
def test_what_is_logged_counts_until_a_day_after_it_can_have_moved(nonce, expected):
    assert counted(logged=[executed_as("1", "a", nonce=nonce)]) == expected


def test_an_attempt_that_was_refused_does_not_make_the_others_so():
    both = in_doubt().found_absent().trying(Attempt(NOW + 8_000, SECOND + 8, Outcome.REFUSED))
    assert counted(logged=[both]) == [25]


def test_the_amount_of_a_close_is_what_the_record_shows():
    close = Move(Operation.FLEX_CLOSE, PLAN, "USDT", Decimal(500))
    assert counted(logged=[executed_as("c", "tx", close)]) == [500]
    shown = record("tx", action=CLOSE, amount="500.2")
    assert counted([shown], logged=[executed_as("c", "tx", close)]) == [Decimal("500.2")]
