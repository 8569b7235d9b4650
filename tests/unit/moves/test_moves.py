"""What each kind of move says, calls and conflicts with."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.client.calls import Reference
from airflow_provider_whitebit.moves.intent import Move, Operation, Refusal

NOTHING = {
    "transaction_id": None,
    "amount": None,
    "status": "planned",
    "executed_at": None,
    "attempts": 0,
    "reconciled": False,
    "intent_id": None,
}

#: Each move, its text, its call, its probe, its conflict key, and what is in the receipt of its dry run.
MOVES = [
    (
        Move(Operation.FLEX_INVEST, "p", "USDT", Decimal("25.50"), with_reinvest=True),
        "flex_invest 25.5 USDT, plan p",
        ("/investments/invest", {"plan": "p", "amount": "25.50", "withReinvest": True}),
        ("/investments/history", {"limit": 1}),
        "in|p",
        {"operation": "flex_invest", "plan_id": "p", "ticker": "USDT", "amount": "25.50"},
    ),
    (
        Move(Operation.FLEX_WITHDRAW, "p", "USDT", Decimal(7)),
        "flex_withdraw 7 USDT, plan p",
        ("/investments/withdraw", {"plan": "p", "amount": "7"}),
        ("/investments/history", {"limit": 1}),
        "out|p",
        {"operation": "flex_withdraw", "plan_id": "p", "ticker": "USDT", "amount": "7"},
    ),
    (
        Move(Operation.FLEX_CLOSE, "p", "USDT", None),
        "flex_close USDT, plan p",
        ("/investments/close", {"plan": "p"}),
        ("/investments/history", {"limit": 1}),
        "out|p",
        {"operation": "flex_close", "plan_id": "p", "ticker": "USDT"},
    ),
    (
        Move(Operation.FIXED_INVEST, "p", "USDT", Decimal(7)),
        "fixed_invest 7 USDT, plan p",
        ("/smart/investment", {"planId": "p", "amount": "7"}),
        ("/smart/investments", {"limit": 1}),
        "fixed in|p",
        {"operation": "fixed_invest", "plan_id": "p", "ticker": "USDT", "amount": "7"},
    ),
    (
        Move(Operation.FIXED_CLOSE, "p", "USDT", Decimal(7), investment_id="i"),
        "fixed_close 7 USDT, investment i",
        ("/smart/investment/close", {"id": "i"}),
        ("/smart/investments", {"limit": 1}),
        "fixed out|i",
        {"operation": "fixed_close", "plan_id": "p", "ticker": "USDT", "amount": "7", "investment_id": "i"},
    ),
    (
        Move(Operation.TRANSFER, "", "USDT", Decimal(7), source="main", target="spot"),
        "transfer 7 USDT from main to spot",
        ("/transfer", {"ticker": "USDT", "amount": "7", "from": "main", "to": "spot"}),
        ("/balance", {"ticker": "USDT"}),
        "transfer|USDT",
        {"operation": "transfer", "ticker": "USDT", "amount": "7", "source": "main", "target": "spot"},
    ),
    (
        Move(Operation.SUB_ACCOUNT_TRANSFER, "", "USDT", Decimal(7), source="sub", target="main", sub_account_id="s"),
        "sub_account_transfer 7 USDT from sub to main, sub-account s",
        ("/sub-account/transfer", {"id": "s", "direction": "sub_to_main", "ticker": "USDT", "amount": "7"}),
        ("/sub-account/list", {"limit": 1}),
        "sub to main|s|USDT",
        {
            "operation": "sub_account_transfer",
            "ticker": "USDT",
            "amount": "7",
            "source": "sub",
            "target": "main",
            "sub_account_id": "s",
        },
    ),
]


@pytest.mark.parametrize(
    ("move", "text", "call", "probe", "conflict_key", "receipt"), MOVES, ids=[str(one[0].operation) for one in MOVES]
)
def test_each_kind_of_move(move, text, call, probe, conflict_key, receipt):
    assert str(move) == text
    assert move.call().path.endswith(call[0])
    assert move.call().params == call[1]
    assert move.probe_call().path.endswith(probe[0])
    assert move.probe_call().params == probe[1]
    assert move.conflict_key == conflict_key
    planned = move.planned().to_json()
    assert planned == dict.fromkeys(planned) | NOTHING | receipt | {"plan_id": receipt.get("plan_id")}
    # Exponents are none of the exchange's numbers.
    if move.amount is not None and "amount" in call[1]:
        assert replace(move, amount=Decimal("1E+2")).call().params["amount"] == "100"
    assert move.leaves_plan is (move.operation in ("flex_withdraw", "flex_close", "fixed_close"))


@pytest.mark.parametrize("move", [one[0] for one in MOVES], ids=[str(one[0].operation) for one in MOVES])
def test_the_status_and_the_names_of_a_success(move):
    status, names = {
        Operation.FIXED_INVEST: (201, Reference.INVESTMENT),
        Operation.FIXED_CLOSE: (200, Reference.NOTHING),
        Operation.TRANSFER: (201, Reference.NOTHING),
        Operation.SUB_ACCOUNT_TRANSFER: (200, Reference.BARE_TRANSACTION),
    }.get(move.operation, (201, Reference.TRANSACTION))
    assert (move.call().status, move.call().names) == (status, names)


@pytest.mark.parametrize("operation", [one for one in Operation if one not in ("flex_close", "fixed_close")])
def test_a_move_needs_an_amount_unless_it_closes(operation):
    with pytest.raises(ValueError, match="needs an amount"):
        Move(operation, "p", "USDT", None, source="main", target="spot").call()


@pytest.mark.parametrize("step", ["Compare.", ("Compare.", "Clear the task."), ()])
def test_a_refusal_keeps_the_error(step):
    error = errors.WhiteBitNotEnoughBalanceError(
        "Not enough.", path="/p", status=422, code=4, said="Available 1", errors={"amount": ["x"]}, next_step=step
    )
    kept = Refusal.from_json(Refusal.of(error).to_json()).error()
    assert type(kept) is type(error)
    assert (kept.message, kept.path, kept.status, kept.code, kept.said) == ("Not enough.", "/p", 422, 4, "Available 1")
    assert (kept.errors, kept.next_step) == ({"amount": ["x"]}, step)
    assert type(kept.next_step) is type(step)
