"""Sensors and their shared polls against the sandbox over HTTP."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.sensors import whitebit as sensors
from airflow_provider_whitebit.treasury.conditions import BalanceCondition
from airflow_provider_whitebit.triggers import polls
from airflow_provider_whitebit.triggers.watch import WhiteBitConditionTrigger

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
TEN_DAYS = "0a61d2f9-b4c6-47e8-93a4-8f90a1b2c3d4"


@pytest.fixture
def asked_once(hook):
    def ask(kind, context=None, **arguments):
        task = kind(task_id="s", **arguments)
        task.__dict__["hook"] = hook
        return task.poke(context or {})

    return ask


def test_balances(asked_once, sandbox):
    assert asked_once(sensors.WhiteBitBalanceSensor, ticker="USDT", at_least="10000").xcom_value == {
        "account": "main",
        "ticker": "USDT",
        "amount": "10000",
    }
    assert not asked_once(sensors.WhiteBitBalanceSensor, ticker="USDT", at_least="10000.01")
    assert asked_once(sensors.WhiteBitBalanceSensor, account="collateral", ticker="USDT", at_most="0")
    assert not asked_once(sensors.WhiteBitBalanceSensor, account="trade", ticker="BTC", at_least="1")
    sandbox.control("POST", "fund", {"ticker": "BTC", "amount": "1", "account": "spot"})
    assert asked_once(sensors.WhiteBitBalanceSensor, account="trade", ticker="BTC", at_least="1")


def test_investments(asked_once, hook):
    wanted = {"plan_id": USDT, "invested_at_least": "20"}
    assert not asked_once(sensors.WhiteBitFlexInvestmentSensor, **wanted)
    hook.flex_invest(plan_id=USDT, amount="10")
    assert not asked_once(sensors.WhiteBitFlexInvestmentSensor, **wanted)
    hook.flex_invest(plan_id=USDT, amount="10")
    assert asked_once(sensors.WhiteBitFlexInvestmentSensor, **wanted).xcom_value["invested"] == "20"
    assert not asked_once(sensors.WhiteBitFlexInvestmentSensor, ticker="USDT", status=0)
    hook.flex_close(plan_id=USDT)
    assert asked_once(sensors.WhiteBitFlexInvestmentSensor, ticker="USDT", status=0)


def test_earnings(asked_once, hook, sandbox):
    hook.flex_invest(plan_id=USDT, amount="1000")
    now = hook.get_conn().server_time()
    context = {"dag_run": SimpleNamespace(start_date=now)}
    assert not asked_once(sensors.WhiteBitFlexEarningSensor, context, ticker="USDT")
    sandbox.advance(2 * 86400)
    hook.get_conn().server_time()
    found = asked_once(sensors.WhiteBitFlexEarningSensor, context, ticker="USDT").xcom_value
    assert (found["action_type"], found["plan_id"]) == (4, USDT)
    assert Decimal(found["amount"]) > 0
    assert not asked_once(sensors.WhiteBitFlexEarningSensor, context, ticker="BTC")
    later = {"dag_run": SimpleNamespace(start_date=now.add(days=3))}
    assert not asked_once(sensors.WhiteBitFlexEarningSensor, later)


def test_maturities(asked_once, hook, sandbox):
    made = hook.fixed_invest(plan_id=TEN_DAYS, amount="100")
    for asked in ({"investment_id": made.investment_id}, {"plan_id": TEN_DAYS}, {"ticker": "USDT"}):
        assert not asked_once(sensors.WhiteBitFixedMaturitySensor, **asked)
    sandbox.advance(10 * 86400 + 1)
    hook.get_conn().server_time()
    for asked in ({"investment_id": made.investment_id}, {"plan_id": TEN_DAYS}, {"ticker": "USDT"}):
        found = asked_once(sensors.WhiteBitFixedMaturitySensor, **asked).xcom_value
        assert (found["id"], found["interest_paid"]) == (made.investment_id, "1")


def test_a_hundred_triggers_ask_once_per_interval(hook, sandbox, monkeypatch):
    monkeypatch.setattr(polls, "WhiteBitHook", lambda conn_id: hook)
    condition = BalanceCondition("main", "SOL", at_least=Decimal(51)).to_json()

    async def wait():
        tasks = [
            asyncio.create_task(_first(WhiteBitConditionTrigger("whitebit_default", condition, poke_interval=1)))
            for _ in range(100)
        ]
        while not _asked(sandbox):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(sandbox.fund, "SOL", "1")
        return await asyncio.gather(*tasks)

    assert {event.payload["status"] for event in asyncio.run(wait())} == {"met"}
    assert 1 <= _asked(sandbox) <= 3


async def _first(trigger):
    return await anext(trigger.run())


def _asked(sandbox):
    return sum(request["path"].endswith("/main-account/balance") for request in sandbox.requests())
