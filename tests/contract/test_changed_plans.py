"""Plans of a task that asks for something else later, and approved plans of which only a part was made."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from decimal import Decimal
from unittest import mock

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.errors import WhiteBitAlreadyMovedError, WhiteBitPlanError
from airflow_provider_whitebit.hooks import executor
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.moves.drivers import ReconcileLater
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.treasury.planning import PlannedMove, TreasuryPlan
from airflow_provider_whitebit.treasury.requests import ApprovedPlan, Rebalance, Sweep
from tests.sandbox_plans import SubAccounts

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
POLICY = {"USDT": {"reserve": "5000", "plans": {"only": [USDT]}}}


def moved(sandbox):
    return [entry["amount"] for entry in sandbox.ledger()["transactions"] if entry["nonce"] is not None]


def cleared(as_task, number):
    as_task(number, max_tries=3 + number)


def approved(*moves):
    return ApprovedPlan(None, TreasuryPlan(tuple(PlannedMove(move, "Approved.") for move in moves)))


def to_sub_account(name, amount):
    return Move(
        Operation.SUB_ACCOUNT_TRANSFER,
        "",
        "USDT",
        Decimal(amount),
        source="main",
        target="sub",
        sub_account_id=name,
    )


def invest(amount):
    return Move(Operation.FLEX_INVEST, USDT, "USDT", Decimal(amount))


def test_what_an_approved_plan_has_moved_to_one_sub_account_is_not_moved_again_for_another(hook, sandbox, as_task):
    """The first transfer is refused, the second is made. A clear makes the first, not the second again."""
    plan = approved(to_sub_account(SubAccounts.UNCONFIRMED, "100"), to_sub_account(SubAccounts.TRADING, "200"))
    for number in (1, 2):
        cleared(as_task, number)
        with pytest.raises(WhiteBitPlanError) as caught:
            hook.execute_plan(plan)
        assert f"Not made: {plan.approved.moves[0].move}" in str(caught.value)
        assert len(caught.value.completed_moves) == 1
    assert hook.balances("main", "USDT") == {"USDT": 9800}


NAMED_WRONGLY = {
    "flex_invest": Move(Operation.FLEX_INVEST, USDT, "BTC", Decimal(500)),
    "flex_invest, small": Move(Operation.FLEX_INVEST, USDT, "usdt", Decimal(500)),
    "flex_withdraw": Move(Operation.FLEX_WITHDRAW, USDT, "BTC", Decimal(100)),
    "flex_close": Move(Operation.FLEX_CLOSE, USDT, "BTC", None),
    "transfer": Move(Operation.TRANSFER, "", "usdt", Decimal(100), source="main", target="spot"),
    "sub-account": replace(to_sub_account(SubAccounts.TRADING, "100"), ticker="usdt"),
}


@pytest.mark.parametrize("move", NAMED_WRONGLY.values(), ids=NAMED_WRONGLY)
def test_an_approved_plan_that_names_another_asset_passes_no_limit(make_hook, sandbox, as_task, move):
    """Limits go by asset, and a plan may be written by hand."""
    as_task(1, task="before")
    make_hook().flex_invest(plan_id=USDT, amount="500")
    before = make_hook().balances("main", "USDT")
    as_task(1)
    for number in (1, 2):
        as_task(number)
        with pytest.raises(WhiteBitPlanError, match="this moves USDT") as caught:
            make_hook(max_move={"USDT": "50"}).execute_plan(approved(move))
        assert caught.value.money_moved is False
    assert make_hook().balances("main", "USDT") == before
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize("operation", [Operation.FLEX_INVEST, Operation.FIXED_INVEST])
def test_an_approved_plan_invests_in_no_plan_that_is_not_listed(make_hook, sandbox, as_task, operation):
    as_task(1)
    move = Move(operation, "00000000-0000-4000-8000-000000000000", "USDT", Decimal(100))
    with pytest.raises(WhiteBitPlanError, match="does not list the plan") as caught:
        make_hook().execute_plan(approved(move))
    assert caught.value.money_moved is False
    assert moved(sandbox) == []


@pytest.mark.parametrize("operation", [Operation.FIXED_INVEST, Operation.FIXED_CLOSE])
def test_an_approved_fixed_plan_that_names_another_asset_passes_no_limit(make_hook, sandbox, as_task, operation):
    as_task(1, task="before")
    made = make_hook().fixed_invest(ticker="USDT", amount="500")
    as_task(1)
    move = Move(operation, made.plan_id, "BTC", Decimal(500), investment_id=made.investment_id)
    with pytest.raises(WhiteBitPlanError, match="this moves USDT"):
        make_hook(max_move={"USDT": "50"}).execute_plan(approved(move))
    assert [one.status for one in make_hook().get_conn().fixed_investments()] == [1]


@pytest.mark.parametrize("key", [{}, {"idempotency_key": "today"}], ids=["task", "idempotency key"])
def test_a_sweep_is_no_receipt_of_a_rebalance(hook, sandbox, as_task, key):
    as_task(1)
    hook.execute_plan(Sweep(POLICY), **key)
    with pytest.raises(e.WhiteBitValidationError, match="for two moves"):
        hook.execute_plan(Rebalance(POLICY), **key)
    cleared(as_task, 2)
    with pytest.raises(WhiteBitAlreadyMovedError, match="with other parameters"):
        hook.execute_plan(Rebalance(POLICY), **key)
    assert moved(sandbox) == ["5000"]


def test_a_plan_that_was_approved_later_is_not_taken_for_the_one_that_was_begun(hook, sandbox, as_task):
    """Its first move is another one, so the task does not pretend to have made it."""
    as_task(1)
    other = Move(Operation.FLEX_INVEST, USDT, "BTC", Decimal("0.001"))
    with pytest.raises(WhiteBitPlanError):
        hook.execute_plan(approved(invest("500"), other))
    cleared(as_task, 2)
    with pytest.raises(WhiteBitAlreadyMovedError, match="Already moved by this task: flex_invest 500 USDT"):
        hook.execute_plan(approved(invest("200")))
    assert moved(sandbox) == ["500"]


@pytest.fixture
def other(hook, sandbox, monkeypatch):
    """A hook of another account's connection."""
    sandbox.add_key("second-key", "second-secret")
    raw = json.loads(os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({**raw, "login": "second-key", "password": "second-secret"}))
    return WhiteBitHook("other")


@pytest.mark.parametrize("then", ["retried", "cleared"])
@pytest.mark.parametrize("ended", [True, False], ids=["made", "made in part"])
def test_a_plan_of_one_account_is_no_receipt_of_another(hook, other, sandbox, as_task, ended, then):
    as_task(1)
    plan = approved(invest("100"))
    if ended:
        hook.execute_plan(plan)
    else:
        plan = approved(invest("100"), Move(Operation.FLEX_INVEST, USDT, "BTC", Decimal("0.001")))
        with pytest.raises(WhiteBitPlanError):
            hook.execute_plan(plan)
    as_task(2) if then == "retried" else cleared(as_task, 2)
    for dry_run in (True, False):
        with pytest.raises(WhiteBitAlreadyMovedError, match="'other'") as caught:
            other.execute_plan(plan, dry_run=dry_run)
        assert caught.value.money_moved is True
    assert moved(sandbox) == ["100"]


def test_an_investment_keeps_the_setting_that_a_person_has_switched_meanwhile(hook, sandbox, monkeypatch):
    """Without auto_reinvest in the policy, settings stay as they are."""
    hook.flex_invest(plan_id=USDT, amount="1000", with_reinvest=True)
    plan = hook._executor._plan

    def switched(*args, **options):
        planned = plan(*args, **options)
        hook.flex_auto_reinvest(plan_id=USDT, enabled=False)
        return planned

    monkeypatch.setattr(hook._executor, "_plan", switched)
    hook.execute_plan(Sweep(POLICY))
    [held] = hook.get_conn().flex_investments()
    assert (held.invested, held.with_auto_reinvest) == (5000, False)


@pytest.mark.parametrize(("ends", "ran"), [("at once", True), ("deferred", True), ("deferred", False)])
def test_a_plan_does_not_end_before_it_has_looked_again_for_what_it_sent(hook, sandbox, as_task, ran, ends):
    """Its own money may be what the second plan misses in Main, and the record appears late."""
    as_task(1)
    sandbox.fault("history_lag", seconds=60, count=None)
    sandbox.fault("lost_reply_after" if ran else "lost_reply_before", path="*/invest", count=1)
    if ends == "deferred":
        with pytest.raises(ReconcileLater):
            hook.execute_plan(Sweep(POLICY), deferrable=True)
        as_task(2)
    if not ran:
        hook.transfer(ticker="USDT", amount="5000", source="main", target="spot", key="by a person")
    with pytest.raises(e.WhiteBitUnavailableError, match="left no record so far: flex_invest 5000 USDT") as caught:
        hook.execute_plan(Sweep(POLICY))
    assert caught.value.money_moved is None
    sandbox.advance(60)
    as_task(3)
    done = hook.execute_plan(Sweep(POLICY))
    assert (done.status, len(done.receipts)) == (("executed", 1) if ran else ("nothing_to_do", 0))
    assert moved(sandbox) == ["5000"] * ran


def test_an_index_that_gets_the_connection_of_another_moves_nothing(hook, other, sandbox, as_task, monkeypatch):
    """Mapped over connections: the same amount with another account is another request."""
    as_task(1, index=0)
    hook.flex_invest(plan_id=USDT, amount="100")
    as_task(1, index=1)
    with monkeypatch.context() as failing, pytest.raises(e.WhiteBitUnavailableError):
        failing.setattr(executor, "execute_move", mock.Mock(side_effect=e.WhiteBitUnavailableError("No answer.")))
        other.flex_invest(plan_id=USDT, amount="100")
    as_task(2, index=1, cleared=1, max_tries=4)
    with pytest.raises(e.WhiteBitValidationError, match="Map index 1 of task t did not ask for this move"):
        hook.flex_invest(plan_id=USDT, amount="100")
    as_task(3, index=1, cleared=1, max_tries=4)
    other.flex_invest(plan_id=USDT, amount="100")
    assert moved(sandbox) == ["100", "100"]
