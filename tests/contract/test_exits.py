"""The ways out against the sandbox: of an asset that is delisted, of a plan that is gone, and past fresh earnings."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.transport import Transport
from airflow_provider_whitebit.hooks import executor
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.operators.treasury import (
    WhiteBitRaiseLiquidityOperator,
    WhiteBitRebalanceOperator,
    WhiteBitSweepOperator,
)
from tests.sandbox_plans import Fixed, Flex

ERRORS = (e.WhiteBitPlanError, AirflowFailException)


@pytest.fixture
def carried_out(hook):
    def run(kind, **arguments):
        task = kind(task_id="t", **arguments)
        task.__dict__["hook"] = hook
        return task.execute({})

    return run


@pytest.fixture
def gone(monkeypatch):
    """Makes an asset, and all its plans, leave the exchange's lists: filters that name them are refused."""
    names = set()
    repeatable, once = Transport._repeatable, Transport._once

    def check(params):
        for name in ("ticker", "plan"):
            if (params or {}).get(name) in names:
                raise e.WhiteBitValidationError("The exchange refused a parameter.", said=f"The {name} is invalid.")

    def read(self, path, params=None):
        if path.endswith("/trade-account/balance") and (params or {}).get("ticker") in names:
            raise e.WhiteBitRefusedError("The exchange refused the call by its rules.", said="Currency was not found.")
        if not path.endswith("-account/balance"):
            check(params)
        answer = repeatable(self, path, params)
        if path.endswith("/public/assets"):
            return {name: raw for name, raw in answer.items() if name not in names}
        if path.endswith("/plans"):
            return [raw for raw in answer if raw["id"] not in names and raw["ticker"] not in names]
        return answer

    def send(self, path, params, **options):
        if not path.endswith(("/withdraw", "/close", "/transfer", "/balance")):
            check(params)
        return once(self, path, params, **options)

    monkeypatch.setattr(Transport, "_repeatable", read)
    monkeypatch.setattr(Transport, "_once", send)
    return names.update


def invested(sandbox, ticker):
    return sum(
        Decimal(one["invested"])
        for one in sandbox.ledger()["investments"]
        if one["status"] == 1 and one["currency"] == ticker
    )


@pytest.mark.parametrize("where", [{"ticker": "ETH"}, {"plan_id": Flex.ETH}])
@pytest.mark.parametrize("amount", ["all", "4", "1.5"])
@pytest.mark.parametrize("fault", [None, "lost_reply_after"])
def test_a_delisted_asset_is_withdrawn(hook, sandbox, gone, where, amount, fault):
    hook.flex_invest(ticker="ETH", amount="4")
    gone({"ETH", Flex.ETH})
    way = "close" if amount == "all" else "withdraw"
    if fault:
        sandbox.fault(fault, path=f"*/investments/{way}", count=1)
    receipt = hook.flex_withdraw(amount=amount, **where)
    assert receipt.operation == f"flex_{way}"
    assert receipt.reconciled is bool(fault)
    assert invested(sandbox, "ETH") == 4 - receipt.amount
    assert hook.balances("main", "ETH") == {"ETH": 6 + receipt.amount}


@pytest.mark.parametrize("fault", [None, "lost_reply_after"])
def test_a_delisted_asset_is_transferred(hook, sandbox, gone, fault):
    hook.transfer(ticker="ETH", amount="4", source="main", target="spot")
    gone({"ETH"})
    if fault:
        sandbox.fault(fault, path="*/transfer", count=1)
    [receipt] = hook.transfer(ticker="ETH", amount="all", source="spot", target="main", key="back")
    assert (receipt.amount, receipt.reconciled) == (4, bool(fault))
    assert hook.balances("main", "ETH") == {"ETH": 10}


def test_a_delisted_asset_stops_no_plan(carried_out, hook, sandbox, gone):
    hook.flex_invest(ticker="ETH", amount="4")
    gone({"ETH", Flex.ETH})
    policy = {"ETH": {"reserve": "20"}, "BTC": {}, "NONE": {}}
    done = carried_out(WhiteBitRebalanceOperator, policy=policy)
    assert [(one["operation"], one["ticker"]) for one in done["receipts"]] == [
        ("flex_close", "ETH"),
        ("flex_invest", "BTC"),
    ]
    assert done["plan"]["shortfalls"] == {"ETH": "10"}
    assert any(note.startswith("NONE: nothing is planned") for note in done["plan"]["notes"])
    assert invested(sandbox, "ETH") == 0


def test_a_delisted_asset_is_raised(carried_out, hook, gone):
    hook.flex_invest(ticker="ETH", amount="4")
    gone({"ETH", Flex.ETH})
    done = carried_out(WhiteBitRaiseLiquidityOperator, ticker="ETH", amount="8.5")
    assert [one["operation"] for one in done["receipts"]] == ["flex_close"]


def test_everything_is_withdrawn_although_an_earning_is_reinvested_before_it_is_sent(hook, sandbox, monkeypatch):
    hook.flex_invest(plan_id=Flex.USDT, amount="1000", with_reinvest=True)
    repeatable = Transport._repeatable

    def read(self, path, params=None):
        answer = repeatable(self, path, params)
        if path.endswith("/smart-flex/investments"):
            executor.MoveExecutor.sleep(2 * 86_400)
        return answer

    monkeypatch.setattr(Transport, "_repeatable", read)
    receipt = hook.flex_withdraw(plan_id=Flex.USDT, amount="all")
    assert receipt.amount > 1000
    assert invested(sandbox, "USDT") == 0
    paths = [one["path"].rpartition("/")[2] for one in sandbox.requests()]
    assert ("withdraw" in paths, paths.count("close")) == (False, 1)


def test_an_amount_is_not_exceeded_although_it_is_everything_and_more_is_invested_before_it_is_sent(
    hook, sandbox, monkeypatch
):
    hook.flex_invest(plan_id=Flex.USDT, amount="1000")
    repeatable, others = Transport._repeatable, iter(["500"])

    def read(self, path, params=None):
        answer = repeatable(self, path, params)
        if path.endswith("/smart-flex/investments"):
            for amount in others:
                hook.flex_invest(plan_id=Flex.USDT, amount=amount, idempotency_key="another task")
        return answer

    monkeypatch.setattr(Transport, "_repeatable", read)
    receipt = hook.flex_withdraw(plan_id=Flex.USDT, amount="1000")
    assert (receipt.operation, receipt.amount) == ("flex_withdraw", 1000)
    assert invested(sandbox, "USDT") == 500


def test_a_retry_and_a_clear_of_a_full_withdrawal_move_nothing(hook, sandbox, as_task):
    hook.flex_invest(plan_id=Flex.USDT, amount="1000")
    receipts = []
    for number, cleared in ((1, 0), (2, 0), (3, 1)):
        as_task(number, cleared=cleared)
        receipts.append(hook.flex_withdraw(plan_id=Flex.USDT, amount="all"))
        hook.flex_invest(plan_id=Flex.USDT, amount="500", idempotency_key=f"more {number}")
    assert receipts == receipts[:1] * 3
    assert invested(sandbox, "USDT") == 1500


def test_a_switch_that_is_refused_stops_no_move_and_is_not_hidden(carried_out, hook, sandbox, monkeypatch):
    hook.flex_invest(plan_id=Flex.USDT, amount="1000")

    def refuse(plan_id, *, enabled):
        raise e.WhiteBitRefusedError("The exchange refused the call by its rules.", said="Plan is paused")

    monkeypatch.setattr(hook._api_key.client, "switch_auto_reinvest", refuse)
    policy = {"USDT": {"reserve": "9000", "auto_reinvest": True}, "BTC": {}}
    with pytest.raises(ERRORS, match=rf"not switched in plan {Flex.USDT}: .*Plan is paused") as caught:
        carried_out(WhiteBitSweepOperator, policy=policy)
    assert "Already moved by this task: flex_invest" in str(caught.value)
    assert invested(sandbox, "BTC") > 0


class TestQuirks:
    """As the sandbox itself shows a delisted asset, and plans that are paused or gone."""

    @pytest.fixture(params=["paused_plans", "vanished_plans"])
    def closed_plans(self, request, hook, sandbox):
        hook.flex_invest(plan_id=Flex.USDT, amount="1000")
        hook.flex_invest(plan_id=Flex.BTC, amount="1")
        sandbox.control("POST", "quirks", {request.param: True})

    @pytest.fixture
    def delisted(self, hook, sandbox):
        hook.flex_invest(ticker="SOL", amount="20")
        hook.transfer(ticker="SOL", amount="5", source="main", target="spot")
        sandbox.control("POST", "quirks", {"delisted_asset": True})
        # The next task reads the list of assets.
        del hook._account.assets

    def test_delisted(self, delisted, hook, sandbox):
        before = hook.balances("main", "SOL")["SOL"]
        part = hook.flex_withdraw(ticker="SOL", amount="3", key="part")
        rest = hook.flex_withdraw(ticker="SOL", amount="all")
        [back] = hook.transfer(ticker="SOL", amount="all", source="spot", target="main", key="back")
        assert (part.amount, rest.operation, back.amount) == (3, "flex_close", 5)
        assert invested(sandbox, "SOL") == 0
        assert hook.balances("main", "SOL")["SOL"] == before + 5 + part.amount + rest.amount

    def test_delisted_in_a_plan(self, delisted, carried_out, sandbox):
        policy = {"SOL": {"reserve": "1000000"}, "BTC": {}}
        done = carried_out(WhiteBitRebalanceOperator, policy=policy)
        assert {(one["operation"], one["ticker"]) for one in done["receipts"]} == {
            ("flex_close", "SOL"),
            ("flex_invest", "BTC"),
        }
        assert invested(sandbox, "SOL") == 0

    def test_out_of_closed_plans(self, closed_plans, hook, sandbox, caplog):
        with pytest.raises(e.WhiteBitValidationError, match="The selected plan is invalid"):
            hook.flex_withdraw(plan_id=Flex.USDT, amount="100", key="part")
        assert f"Plan {Flex.USDT} is not on offer" in caplog.text
        assert hook.flex_withdraw(plan_id=Flex.USDT, amount="all").operation == "flex_close"
        assert hook.flex_close(ticker="BTC").amount == 1
        assert {invested(sandbox, ticker) for ticker in ("USDT", "BTC")} == {0}

    def test_raised_from_closed_plans(self, closed_plans, carried_out, sandbox):
        carried_out(WhiteBitRaiseLiquidityOperator, ticker="USDT", amount="9500", target="spot")
        assert invested(sandbox, "USDT") in (0, 500)

    def test_closed_plans_stop_no_other(self, closed_plans, carried_out, hook, sandbox):
        policy = {"USDT": {"plans": {"exclude": [Flex.USDT]}}, "BTC": {}, "ETH": {}}
        try:
            carried_out(WhiteBitRebalanceOperator, policy=policy)
        except ERRORS as error:
            # A paused plan is still listed, and refuses.
            assert "Plan is paused" in str(error)
        assert invested(sandbox, "ETH") == 10
        assert Flex.USDT not in {one["planId"] for one in sandbox.ledger()["investments"] if one["status"] == 1}


TAKEN_OUT = {
    "part": lambda hook: hook.flex_withdraw(plan_id=Flex.USDT, amount="400"),
    "part, by asset": lambda hook: hook.flex_withdraw(ticker="USDT", amount="400"),
    "all": lambda hook: hook.flex_withdraw(plan_id=Flex.USDT, amount="all"),
    "close, by asset": lambda hook: hook.flex_close(ticker="USDT"),
    "more than is shown": lambda hook: hook.flex_withdraw(plan_id=Flex.USDT, amount="1200"),
    "Fixed, by plan": lambda hook: hook.fixed_close(plan_id=Fixed.TEN_DAYS),
    "Fixed, by id": lambda hook: hook.fixed_close(investment_id=FIXED[-1]),
}
#: Ids of the Fixed investments that the tests have made.
FIXED = []


@pytest.mark.parametrize("take_out", TAKEN_OUT.values(), ids=TAKEN_OUT)
def test_what_was_just_invested_is_taken_out_although_lists_are_late(make_hook, sandbox, take_out):
    hook = make_hook(reconcile_margin=10)
    if take_out is TAKEN_OUT["more than is shown"]:
        hook.flex_invest(plan_id=Flex.USDT, amount="1000", idempotency_key="earlier")
    sandbox.fault("history_lag", seconds=8, count=None)
    hook.flex_invest(plan_id=Flex.USDT, amount="1000")
    FIXED.append(hook.fixed_invest(plan_id=Fixed.TEN_DAYS, amount="300").investment_id)
    assert take_out(hook).status == "executed"


def test_auto_reinvest_of_what_was_just_invested_is_switched_although_lists_are_late(make_hook, sandbox):
    hook = make_hook(reconcile_margin=10)
    sandbox.fault("history_lag", seconds=8, count=None)
    hook.flex_invest(plan_id=Flex.USDT, amount="1000")
    assert hook.flex_auto_reinvest(plan_id=Flex.USDT, enabled=True)["status"] == "executed"


def test_what_is_still_not_in_the_list_after_waiting_is_not_taken_out(make_hook, sandbox):
    hook = make_hook(reconcile_margin=10)
    sandbox.fault("history_lag", seconds=60, count=None)
    hook.flex_invest(plan_id=Flex.USDT, amount="1000")
    with pytest.raises(e.WhiteBitValidationError, match="no active investment") as caught:
        hook.flex_close(plan_id=Flex.USDT)
    assert "No money moved" in str(caught.value)


def test_a_dry_run_finds_what_was_just_invested_although_lists_are_late(make_hook, sandbox):
    hook = make_hook(reconcile_margin=10)
    sandbox.fault("history_lag", seconds=8, count=None)
    hook.flex_invest(plan_id=Flex.USDT, amount="1000")
    assert hook.flex_withdraw(plan_id=Flex.USDT, amount="400", dry_run=True, key="later").status == "planned"
