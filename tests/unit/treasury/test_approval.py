"""When a person is asked, what the person reads, and that an approval belongs to one plan."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.treasury import approval as a
from airflow_provider_whitebit.treasury.plans import EXECUTED, PLANNED, PlannedMove, PlanOutcome, TreasuryPlan
from airflow_provider_whitebit.treasury.requests import ApprovedPlan, Sweep

PLAN_ID = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"


def invest(amount, ticker="USDT", reason="Main holds more than the reserve."):
    number = None if amount is None else Decimal(amount)
    return PlannedMove(Move(Operation.FLEX_INVEST, PLAN_ID, ticker, number), reason)


def plan(*moves, **fields):
    return TreasuryPlan(tuple(moves), **fields)


def someone(user_id="alice"):
    return a.Approval.from_json(
        {
            "user_id": user_id,
            "user_name": user_id.title(),
            "approved_at": "2026-11-30T08:00:00Z",
            "task_id": "ask",
            "answers": {},
        }
    )


@pytest.mark.parametrize(
    ("moves", "above", "words"),
    [
        ([], None, ""),
        ([], {}, ""),
        (["1"], None, "Every plan"),
        (["1000"], {"USDT": "1000"}, ""),
        (["1000.00000001"], {"USDT": "1000"}, "1000.00000001 USDT in all is above 1000 USDT"),
        (["600", "600"], {"USDT": "1000"}, "1200 USDT in all is above 1000 USDT"),
        (["9" * 20, f"1.{'0' * 17}1"], {"USDT": f"1{'0' * 20}"}, "00000001 USDT in all is above"),
        (["1"], {"USDC": "1000"}, "No amount of USDT"),
        (["1"], {}, "No amount of USDT"),
        ([None], {"USDT": "1000"}, "amount of a move of USDT is not known"),
        (["1", None], {"USDT": "1000"}, "amount of a move of USDT is not known"),
        (["0.1"], {"usdt": "0"}, "0.1 USDT in all is above 0 USDT"),
    ],
)
def test_a_person_is_asked_above_an_amount(moves, above, words):
    reason = a.why_ask(plan(*map(invest, moves)), a.read_above(above))
    assert words in reason
    assert bool(reason) is bool(words)


def test_a_switch_of_auto_reinvest_moves_nothing_and_needs_a_person_only_if_every_plan_does():
    switched = plan(auto_reinvest={PLAN_ID: True})
    assert a.why_ask(switched, {}) == ""
    assert a.why_ask(switched, None)


@pytest.mark.parametrize(
    "raw",
    [
        *(["USDT"], "USDT", "1000", 1000, {"USDT": 0.1}, {"USDT": "-1"}, {"USDT": "all"}, {"US DT": "1"}),
        *({"USDT": None}, {"USDT": "1", "usdt": "1000"}, '{"USDT": "1", "USDT": "1000"}'),
    ],
)
def test_wrong_amounts_are_refused(raw):
    with pytest.raises(e.WhiteBitValidationError):
        a.read_above(raw)


def test_amounts_come_as_json_text_too():
    assert a.read_above('{"USDT": "1000.5"}') == {"USDT": Decimal("1000.5")}


def test_equal_plans_have_equal_digests_and_others_do_not():
    one = plan(invest("100.50"))
    assert TreasuryPlan.from_json(json.loads(json.dumps(one.to_json()))).digest == one.digest
    others = [
        plan(invest("100.51")),
        plan(invest("100.50", "USDC")),
        plan(invest("100.50"), invest("100.50")),
        plan(invest("100.50"), auto_reinvest={PLAN_ID: True}),
        plan(invest("100.50", reason="Another one.")),
        plan(),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 1 + len(others)
    assert a.approve_option(one) == f"Approve {one.digest[:12]}"


def test_a_person_reads_every_move_exactly():
    moves = [invest("1234567.00000001"), invest("0.5", "SOL", "a | b\n# c")]
    out = PlannedMove(Move(Operation.FLEX_CLOSE, PLAN_ID, "EURI", None), "Leave it.")
    sub = Move(Operation.SUB_ACCOUNT_TRANSFER, "", "USDT", Decimal(1), source="main", target="sub", sub_account_id="s1")
    text = a.question_text(
        plan(
            *moves,
            out,
            PlannedMove(sub, "Fund it."),
            notes=("A note.",),
            shortfalls={"USDT": Decimal(5)},
            auto_reinvest={PLAN_ID: False},
        ),
        "Every plan needs an approval.",
        [someone()],
        "Quarter end.",
    )
    lines = text.splitlines()
    assert f"| 1 | flex_invest | 1234567.00000001 USDT | plan {PLAN_ID} | Main holds more than the reserve. |" in lines
    assert f"| 2 | flex_invest | 0.5 SOL | plan {PLAN_ID} | a \\| b # c |" in lines
    assert f"| 3 | flex_close | an unknown amount of EURI | plan {PLAN_ID} | Leave it. |" in lines
    assert "| 4 | sub_account_transfer | 1 USDT | main to sub, sub-account s1 | Fund it. |" in lines
    assert "All moves together: 1234568.00000001 USDT, 0.5 SOL, an unknown amount of EURI." in lines
    for expected in (
        "Quarter end.",
        "- Note: A note.",
        "5 USDT",
        f"plan {PLAN_ID}: off",
        "Alice (id alice), 2026-11-30",
    ):
        assert expected in text


def approved(moves=("10",), approvals=("alice",)):
    return a.ApprovedDocument(plan(*map(invest, moves)), tuple(map(someone, approvals)), "Every plan.").to_json()


def test_an_approval_is_read_back():
    document = a.ApprovedDocument.from_json(json.dumps(approved()))
    assert document.to_json() == approved()
    assert [approval.user_id for approval in document.approvals] == ["alice"]
    assert approved()["approval"] == "given"
    assert approved(approvals=())["approval"] == "not_needed"


def test_a_plan_that_was_changed_after_its_approval_is_refused():
    document = {**approved(), "plan": plan(invest("11")).to_json()}
    for read in (a.read_plan, a.ApprovedDocument.from_json, lambda raw: ApprovedPlan(Sweep({"USDT": {}}), raw)):
        with pytest.raises(e.WhiteBitValidationError, match="changed after it was approved") as caught:
            read(document)
        assert caught.value.money_moved is False


@pytest.mark.parametrize(
    "raw", [None, 3, "", [], {}, plan(invest("10")).to_json(), {"plan": plan().to_json()}, approved() | {"digest": ""}]
)
def test_what_carries_no_approval_is_no_approved_plan(raw):
    with pytest.raises(e.WhiteBitValidationError):
        a.ApprovedDocument.from_json(raw)


@pytest.mark.parametrize("approvals", [3, ["alice"], [{"user_id": "alice"}]])
def test_approvals_that_cannot_be_read_are_refused(approvals):
    with pytest.raises(e.WhiteBitValidationError, match="approvals"):
        a.earlier_approvals({**approved(), "approvals": approvals})


def test_the_result_of_a_dry_run_is_a_plan():
    one = plan(invest("10"))
    outcome = PlanOutcome(PLANNED, one).to_json()
    assert a.read_plan(outcome) == a.read_plan(json.dumps(one.to_json())) == one
    assert a.earlier_approvals(outcome) == ()


MOVES = [
    Move(Operation.FLEX_WITHDRAW, PLAN_ID, "USDT", Decimal("10.5")),
    Move(Operation.FIXED_CLOSE, PLAN_ID, "USDT", Decimal(3), investment_id="77"),
    Move(Operation.TRANSFER, "", "USDT", Decimal(3), source="main", target="spot"),
    Move(Operation.SUB_ACCOUNT_TRANSFER, "", "USDT", Decimal(3), source="main", target="sub", sub_account_id="s1"),
]


@pytest.mark.parametrize("move", MOVES, ids=lambda move: str(move.operation))
def test_the_receipt_of_a_dry_run_is_a_plan_of_one_move(move):
    receipt = json.loads(json.dumps(move.planned().to_json()))
    (found,) = a.read_plan(receipt).moves
    assert found.move == move
    assert a.read_plan([receipt, receipt]).moves == (found, found)


def test_the_receipt_of_a_move_that_was_made_is_refused():
    with pytest.raises(e.WhiteBitValidationError, match="money has moved"):
        a.read_plan({**MOVES[0].planned().to_json(), "status": EXECUTED})


@pytest.mark.parametrize(
    "raw",
    [
        {},
        3,
        [3],
        [{}],
        {"operation": "gift"},
        {"plan": None},
        "[",
        {**MOVES[0].planned().to_json(), "operation": "gift"},
    ],
)
def test_what_is_no_plan_is_refused(raw):
    with pytest.raises(e.WhiteBitValidationError):
        a.read_plan(raw)
