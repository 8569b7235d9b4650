"""A stop of all moves, from the hook to the exchange: nothing is sent, whatever the move, and nothing is in doubt."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks import airflow_compat
from airflow_provider_whitebit.moves.stop import STOP_VARIABLE, Stop
from airflow_provider_whitebit.treasury.policy import read_policy
from airflow_provider_whitebit.treasury.requests import Sweep
from tests.sandbox_plans import SubAccounts

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
AUTO = read_policy({"USDT": {"reserve": "1000", "plans": {"only": [USDT]}, "auto_reinvest": True}})
MOVING = ("/invest", "/withdraw", "/close", "/investment", "/transfer", "/auto-invest")


def sent(sandbox):
    """The calls that move money or switch auto-reinvest."""
    return [one["path"].rpartition("/")[2] for one in sandbox.requests() if one["path"].endswith(MOVING)]


@pytest.fixture
def people(as_task, monkeypatch):
    """People who stop all moves in Airflow's Variables, and let them go on."""
    monkeypatch.setattr(airflow_compat, "runs_for_airflow", lambda: True)
    as_task(1)

    class People:
        task = staticmethod(as_task)

        @staticmethod
        def stop():
            as_task.variables[STOP_VARIABLE] = Stop("jane", "market", None).to_text()

        @staticmethod
        def resume():
            del as_task.variables[STOP_VARIABLE]

    return People


MOVES = {
    "flex_invest": lambda hook: hook.flex_invest(ticker="USDT", amount="100"),
    "fixed_invest": lambda hook: hook.fixed_invest(ticker="USDT", amount="125"),
    "transfer": lambda hook: hook.transfer(ticker="USDT", amount="10", source="main", target="spot"),
    "sub_account_transfer": lambda hook: hook.sub_account_transfer(
        sub_account_id=SubAccounts.TRADING, direction="main_to_sub", ticker="USDT", amount="10"
    ),
    "plan": lambda hook: hook.execute_plan(Sweep(AUTO)),
}


@pytest.mark.parametrize("move", MOVES)
def test_no_move_is_sent_and_after_a_clear_it_is(hook, sandbox, people, move):
    people.stop()
    before = len(sandbox.ledger()["transactions"])
    with pytest.raises(e.WhiteBitStoppedError, match="All moves are stopped by jane: market") as caught:
        MOVES[move](hook)
    assert caught.value.money_moved is False
    assert sent(sandbox) == []
    assert len(sandbox.ledger()["transactions"]) == before
    people.resume()
    people.task(2, cleared=1)
    assert MOVES[move](hook)
    assert sent(sandbox)


def test_auto_reinvest_is_not_switched(hook, sandbox, people):
    hook.flex_invest(plan_id=USDT, amount="9000")
    people.stop()
    for switch in (
        lambda: hook.flex_auto_reinvest(ticker="USDT", enabled=True),
        lambda: hook.execute_plan(Sweep(AUTO)),
    ):
        with pytest.raises(e.WhiteBitStoppedError):
            switch()
    assert sent(sandbox) == ["invest"]
    assert hook.flex_auto_reinvest(ticker="USDT", enabled=True, dry_run=True)["status"] == "planned"
    people.resume()
    assert hook.flex_auto_reinvest(ticker="USDT", enabled=True)["status"] == "executed"


def test_reading_dry_runs_and_receipts_go_on(hook, people):
    receipt = hook.flex_invest(ticker="USDT", amount="100")
    people.stop()
    people.task(2)
    assert hook.flex_invest(ticker="USDT", amount="100") == receipt
    assert hook.flex_withdraw(ticker="USDT", amount="50", dry_run=True).status == "planned"
    assert hook.balances(ticker="USDT")


def test_what_is_in_doubt_is_reconciled_and_not_sent_again(hook, sandbox, people):
    sandbox.fault("lost_reply_after", path="*/investments/invest", count=1)
    send, client = hook._api_key.client.send_move, hook._api_key.client

    def send_then_stop(*arguments, **options):
        people.stop()
        return send(*arguments, **options)

    client.send_move = send_then_stop
    receipt = hook.flex_invest(ticker="USDT", amount="100")
    assert receipt.reconciled
    assert sent(sandbox) == ["invest"]


def test_a_stop_between_two_steps_of_a_transfer(hook, sandbox, people):
    hook.transfer(ticker="USDT", amount="100", source="main", target="spot")
    send, client = hook._api_key.client.send_move, hook._api_key.client

    def send_then_stop(*arguments, **options):
        people.stop()
        return send(*arguments, **options)

    client.send_move = send_then_stop
    through = {"ticker": "USDT", "amount": "100", "source": "spot", "target": "collateral", "key": "through"}
    with pytest.raises(e.WhiteBitStoppedError, match=r"Already moved by this task: .*; transfer 100 USDT from spot"):
        hook.transfer(**through)
    assert hook.balances("collateral", "USDT")["USDT"] == 0
    client.send_move = send
    people.resume()
    people.task(2, cleared=1)
    assert len(hook.transfer(**through)) == 2
    assert hook.balances("collateral", "USDT")["USDT"] == 100
    assert sent(sandbox) == ["transfer"] * 3


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        ("flex_withdraw, flex_close", ["flex_invest", "fixed_invest", "transfer", "sub_account_transfer"]),
        ("transfer", ["flex_invest", "fixed_invest", "sub_account_transfer"]),
    ],
)
def test_operations_that_a_connection_does_not_allow(make_hook, sandbox, allowed, refused):
    hook = make_hook(allowed_operations=allowed)
    for move in refused:
        with pytest.raises(e.WhiteBitLimitError, match=rf"{move} is not among its allowed_operations \({allowed[:4]}"):
            MOVES[move](hook)
    assert sent(sandbox) == []


def test_money_may_leave_and_not_enter(hook, make_hook, sandbox):
    hook.flex_invest(plan_id=USDT, amount="9000")
    out = make_hook(allowed_operations=["flex_withdraw", "flex_close"])
    with pytest.raises(e.WhiteBitLimitError, match="flex_auto_reinvest is not among"):
        out.flex_auto_reinvest(ticker="USDT", enabled=True)
    assert out.flex_withdraw(ticker="USDT", amount="1000").status == "executed"
    assert out.flex_close(ticker="USDT").status == "executed"
    assert sent(sandbox) == ["invest", "withdraw", "close"]
