"""Treasury operators against the sandbox: what they move, that they move it once, and what they say."""

from __future__ import annotations

from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.errors import WhiteBitPlanError, WhiteBitPlanOutdatedError
from airflow_provider_whitebit.hooks import executor
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.operators.treasury import (
    WhiteBitRaiseLiquidityOperator,
    WhiteBitRebalanceOperator,
    WhiteBitSweepOperator,
)
from airflow_provider_whitebit.treasury.planning import plan_sweep
from airflow_provider_whitebit.treasury.policy import read_policy
from airflow_provider_whitebit.treasury.promises import StillPlanned
from airflow_provider_whitebit.treasury.requests import Sweep

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"


@pytest.fixture
def carried_out(hook):
    def run(kind, **arguments):
        task = kind(task_id="t", **arguments)
        task.__dict__["hook"] = hook
        return task.execute({})

    return run


def books(sandbox):
    ledger = sandbox.ledger()
    assert ledger["balanced"]
    return {
        (entry["planId"], entry["currency"]): Decimal(entry["invested"])
        for entry in ledger["investments"]
        if entry["status"] == 1
    }


def main(hook, ticker="USDT"):
    return hook.balances("main", ticker)[ticker]


def test_a_sweep_invests_what_is_idle_and_a_second_one_nothing(carried_out, hook, sandbox):
    policy = {"USDT": {"reserve": "2500", "plans": {"only": [USDT]}}}
    done = carried_out(WhiteBitSweepOperator, policy=policy)
    assert done["status"] == "executed"
    assert [(one["operation"], one["amount"]) for one in done["receipts"]] == [("flex_invest", "7500")]
    assert "above the reserve of 2500" in done["plan"]["moves"][0]["reason"]
    assert books(sandbox)[(USDT, "USDT")] == 7500
    assert main(hook) == 2500
    again = carried_out(WhiteBitSweepOperator, policy=policy)
    assert (again["status"], again["receipts"], again["plan"]["moves"]) == ("nothing_to_do", [], [])


def test_a_dry_run_sends_nothing_and_its_plan_can_be_carried_out(carried_out, hook, sandbox):
    policy = "USDT:\n  reserve: '9000'\n  min_move: '1'\n"
    before = len(sandbox.requests())
    planned = carried_out(WhiteBitSweepOperator, policy=policy, dry_run=True)
    assert planned["status"] == "planned"
    assert not [one for one in sandbox.requests()[before:] if one["path"].endswith(("/invest", "/withdraw"))]
    # Meanwhile there is more; what was approved is what is done.
    sandbox.fund("USDT", "500")
    done = carried_out(WhiteBitSweepOperator, policy=policy, approved_plan=planned)
    assert [one["amount"] for one in done["receipts"]] == ["1000"]
    assert main(hook) == 9500


@pytest.mark.parametrize("target", ["main", "spot", "collateral"])
def test_liquidity_is_raised_and_only_what_is_missing(carried_out, hook, sandbox, target):
    hook.flex_invest(plan_id=USDT, amount="6000")
    done = carried_out(WhiteBitRaiseLiquidityOperator, ticker="usdt", amount="5000.5", target=target)
    operations = [(one["operation"], one["amount"]) for one in done["receipts"]]
    transfers = [] if target == "main" else [("transfer", "5000.5")]
    assert operations == [("flex_withdraw", "1000.5"), *transfers]
    assert hook.balances(target, "USDT")["USDT"] == Decimal("5000.5")
    again = carried_out(WhiteBitRaiseLiquidityOperator, ticker="usdt", amount="5000.5", target=target)
    assert again["status"] == "nothing_to_do"


def test_more_than_there_is(carried_out, hook, sandbox):
    hook.flex_invest(plan_id=USDT, amount="6000")
    with pytest.raises((e.WhiteBitNotEnoughBalanceError, AirflowFailException), match="2000 USDT could not be raised"):
        carried_out(WhiteBitRaiseLiquidityOperator, ticker="USDT", amount="12000")
    assert books(sandbox)[(USDT, "USDT")] == 6000
    done = carried_out(WhiteBitRaiseLiquidityOperator, ticker="USDT", amount="12000", accept_less=True)
    assert done["plan"]["shortfalls"] == {"USDT": "2000"}
    assert main(hook) == 10000


def test_a_rebalance_of_two_assets(carried_out, hook, sandbox):
    hook.flex_invest(plan_id=USDT, amount="6000", with_reinvest=True)
    policy = {
        "USDT": {"reserve": "1000", "plans": {"exclude": [USDT]}, "auto_reinvest": False},
        "BTC": {"reserve_share": "0.5"},
    }
    done = carried_out(WhiteBitRebalanceOperator, policy=policy)
    assert done["status"] == "executed"
    held = books(sandbox)
    assert (USDT, "USDT") not in held
    assert sum(amount for (_, ticker), amount in held.items() if ticker == "USDT") <= 9000
    assert main(hook) >= 1000
    assert main(hook, "BTC") >= Decimal("0.5") * (
        main(hook, "BTC") + sum(amount for (_, ticker), amount in held.items() if ticker == "BTC")
    )
    assert carried_out(WhiteBitRebalanceOperator, policy=policy)["status"] == "nothing_to_do"


AUTO = {"USDT": {"reserve": "1000", "plans": {"only": [USDT]}, "auto_reinvest": True}}


def reinvests(hook):
    return [entry.with_auto_reinvest for entry in hook.get_conn().flex_investments() if entry.active]


@pytest.mark.parametrize("extra", [{"read_only": True}, {"allowed_tickers": "BTC"}])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_connections_limits_hold_for_auto_reinvest_as_well(carried_out, hook, make_hook, extra, dry_run):
    hook.flex_invest(plan_id=USDT, amount="9000")
    limited = make_hook(**extra)
    policy = read_policy(AUTO)
    switches = plan_sweep(hook.holdings(), policy, pendulum.now("UTC")).auto_reinvest
    assert switches == {USDT: True}
    with pytest.raises(e.WhiteBitLimitError):
        limited.execute_plan(Sweep(policy), dry_run=dry_run)
    assert reinvests(hook) == [False]


def test_a_switch_that_fails_is_made_by_the_next_run_before_anything_moves(carried_out, hook, monkeypatch):
    hook.flex_invest(plan_id=USDT, amount="5000")

    def down(plan_id, *, enabled):
        raise e.WhiteBitUnavailableError("down", money_moved=False)

    with monkeypatch.context() as patch:
        patch.setattr(hook._api_key.client, "switch_auto_reinvest", down)
        with pytest.raises(e.WhiteBitUnavailableError, match="No money moved"):
            carried_out(WhiteBitSweepOperator, policy=AUTO)
    assert (main(hook), reinvests(hook)) == (5000, [False])
    done = carried_out(WhiteBitSweepOperator, policy=AUTO)
    assert [one["amount"] for one in done["receipts"]] == ["4000"]
    assert (main(hook), reinvests(hook)) == (1000, [True])


def test_nothing_is_switched_where_nothing_is_invested_any_more(carried_out, hook):
    hook.flex_invest(plan_id=USDT, amount="9000")
    planned = carried_out(WhiteBitSweepOperator, policy=AUTO, dry_run=True)
    assert planned["plan"]["auto_reinvest"] == {USDT: True}
    hook.flex_close(plan_id=USDT)
    done = carried_out(WhiteBitSweepOperator, policy=AUTO, approved_plan=planned)
    assert (done["receipts"], reinvests(hook)) == ([], [])


def test_a_lost_answer_in_the_middle_is_found(carried_out, hook, sandbox):
    sandbox.fault("lost_reply_after", path="*/investments/invest", count=1)
    done = carried_out(WhiteBitSweepOperator, policy={"USDT": {"reserve": "9000"}, "BTC": {}})
    assert sorted(one["reconciled"] for one in done["receipts"])[-1] is True
    assert len(books(sandbox)) == len(done["receipts"])


def test_what_is_refused_stops_its_asset_alone(carried_out, hook, sandbox, monkeypatch):
    holdings = hook.holdings

    def stale():
        found = holdings()
        sandbox.control("POST", f"plans/{USDT}", {"status": "paused"})
        return found

    monkeypatch.setattr(hook, "holdings", stale)
    # It is paused only after the plan was checked again, just before the move is sent.
    monkeypatch.setattr(StillPlanned, "check", lambda *_: None)
    policy = {"USDT": {"reserve": "9000", "plans": {"only": [USDT]}}, "BTC": {}}
    with pytest.raises((WhiteBitPlanError, AirflowFailException), match="Plan is paused"):
        carried_out(WhiteBitSweepOperator, policy=policy)
    assert {ticker for _, ticker in books(sandbox)} == {"BTC"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"policy": {"USDT": {"reserv": "1"}}}, "no field 'reserv'. Did you mean reserve"),
        ({"policy": "USDT: {reserve: 1.5}"}, "reserve"),
        ({"policy": {}}, "ticker"),
        ({"policy": {"NOPE": {}}}, "no such asset"),
        ({"policy": {"USDT": {}}, "approved_plan": "what?"}, "approved_plan"),
        ({"policy": {"USDT": {}}, "approved_plan": {"moves": 1}}, "approved_plan is not a plan"),
    ],
)
def test_a_wrong_policy_or_plan_is_refused_before_anything_is_sent(carried_out, sandbox, arguments, words):
    with pytest.raises((e.WhiteBitValidationError, AirflowFailException), match=words):
        carried_out(WhiteBitSweepOperator, **arguments)
    assert books(sandbox) == {}


def test_limits_of_the_connection(make_hook, sandbox):
    task = WhiteBitSweepOperator(task_id="t", policy={"USDT": {"reserve": "1"}})
    task.__dict__["hook"] = make_hook(max_move={"USDT": "50"})
    with pytest.raises((WhiteBitPlanError, AirflowFailException), match="max_move"):
        task.execute({})
    assert books(sandbox) == {}


def meanwhile(monkeypatch, action):
    """Let something else happen once, after a plan was made and before its first move is sent."""
    plan, left = executor.MoveExecutor._plan, [action]

    def planned(*args, **options):
        made = plan(*args, **options)
        if left:
            left.pop()()
        return made

    monkeypatch.setattr(executor.MoveExecutor, "_plan", planned)


@pytest.mark.parametrize("by", ["another sweep", "a person"])
def test_the_reserve_stays_although_something_else_moves_the_asset(carried_out, hook, sandbox, monkeypatch, by):
    policy = {"USDT": {"reserve": "5000", "plans": {"only": [USDT]}}}

    def other():
        if by == "a person":
            hook.transfer(ticker="USDT", amount="3000", source="main", target="spot")
        else:
            carried_out(WhiteBitSweepOperator, policy=policy)

    meanwhile(monkeypatch, other)
    done = carried_out(WhiteBitSweepOperator, policy=policy)
    assert main(hook) == 5000
    invested = "2000" if by == "a person" else None
    assert [one["amount"] for one in done["receipts"]] == ([invested] if invested else [])


def test_the_outcome_shows_the_moves_of_all_rounds(carried_out, hook, sandbox, monkeypatch):
    policy = {"BTC": {}, "USDT": {"reserve": "5000", "plans": {"only": [USDT]}}}
    meanwhile(monkeypatch, lambda: hook.transfer(ticker="USDT", amount="3000", source="main", target="spot"))
    done = carried_out(WhiteBitSweepOperator, policy=policy)
    planned = [(one["move"]["ticker"], one["move"]["amount"]) for one in done["plan"]["moves"]]
    assert planned == [("BTC", "1"), ("USDT", "2000")]
    assert planned == [(one["ticker"], one["amount"]) for one in done["receipts"]]


def test_a_cap_holds_although_another_task_invests_in_the_plan(carried_out, hook, sandbox, monkeypatch):
    policy = {"USDT": {"plans": {"only": [USDT], "max_amount": "4000"}}}
    meanwhile(monkeypatch, lambda: hook.flex_invest(plan_id=USDT, amount="1500"))
    done = carried_out(WhiteBitSweepOperator, policy=policy)
    assert [one["amount"] for one in done["receipts"]] == ["2500"]
    assert books(sandbox)[(USDT, "USDT")] == 4000


@pytest.fixture
def rate(sandbox):
    """Changes the rate of the plan."""
    return lambda to: sandbox.control("POST", f"plans/{USDT}", {"rate": to})


def test_nothing_is_invested_in_a_plan_whose_rate_fell_after_planning(carried_out, hook, sandbox, monkeypatch, rate):
    policy = {"USDT": {"plans": {"only": [USDT], "min_rate": "0.1"}}}
    meanwhile(monkeypatch, lambda: rate("0.0999"))
    done = carried_out(WhiteBitSweepOperator, policy=policy)
    assert (done["status"], done["receipts"]) == ("nothing_to_do", [])
    assert "max_rate 0.0999, and min_rate is 0.1" in done["plan"]["notes"][0]
    assert books(sandbox) == {}


def test_a_plan_is_left_once_and_not_if_its_rate_has_risen_again(carried_out, hook, sandbox, monkeypatch, rate):
    policy = {"USDT": {"plans": {"only": [USDT], "min_rate": "0.1", "leave_below": "0.05"}}}
    hook.flex_invest(plan_id=USDT, amount="6000")
    rate("0.04")
    dry = carried_out(WhiteBitRebalanceOperator, policy=policy, dry_run=True)
    assert [one["move"]["operation"] for one in dry["plan"]["moves"]] == ["flex_close"]
    assert "max_rate 0.04 is below leave_below 0.05" in dry["plan"]["moves"][0]["reason"]
    meanwhile(monkeypatch, lambda: rate("0.05"))
    assert carried_out(WhiteBitRebalanceOperator, policy=policy)["receipts"] == []
    rate("0.0499")
    done = carried_out(WhiteBitRebalanceOperator, policy=policy)
    assert [(one["operation"], one["amount"]) for one in done["receipts"]] == [("flex_close", "6000")]
    assert carried_out(WhiteBitRebalanceOperator, policy=policy)["status"] == "nothing_to_do"
    assert main(hook) == 10_000


def test_liquidity_is_not_raised_twice(carried_out, hook, sandbox, monkeypatch):
    hook.flex_invest(plan_id=USDT, amount="6000")
    meanwhile(monkeypatch, lambda: carried_out(WhiteBitRaiseLiquidityOperator, ticker="USDT", amount="5000"))
    done = carried_out(WhiteBitRaiseLiquidityOperator, ticker="USDT", amount="5000")
    assert done["receipts"] == []
    assert main(hook) == 5000


def test_an_account_that_never_rests_ends_in_an_error(carried_out, hook, sandbox, monkeypatch):
    plan = executor.MoveExecutor._plan

    def planned(*args, **options):
        made = plan(*args, **options)
        hook.transfer(ticker="USDT", amount="1", source="main", target="spot")
        return made

    monkeypatch.setattr(executor.MoveExecutor, "_plan", planned)
    with pytest.raises(WhiteBitPlanOutdatedError, match="No money moved"):
        carried_out(WhiteBitSweepOperator, policy={"USDT": {"plans": {"only": [USDT]}}})
    assert books(sandbox) == {}
