"""Sensors and event triggers for rates and plans against the sandbox over HTTP."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.sensors.whitebit import WhiteBitPlanSensor, WhiteBitRateSensor
from airflow_provider_whitebit.triggers import events, polls, state_store
from airflow_provider_whitebit.triggers.events import WhiteBitPlanTrigger, WhiteBitRateTrigger
from airflow_provider_whitebit.triggers.watch import WhiteBitConditionTrigger
from tests.sandbox_plans import Fixed, Flex

NOWHERE = "00000000-0000-4000-8000-00000000dead"


@pytest.fixture
def polled_once(hook):
    def ask(kind, **arguments):
        task = kind(task_id="s", **arguments)
        task.__dict__["hook"] = hook
        return task.poke({}).xcom_value

    return ask


def change(sandbox, plan, **fields):
    sandbox.control("POST", f"plans/{plan}", fields)


def test_the_rate_sensor(polled_once, sandbox):
    change(sandbox, Flex.USDT, rate="0.3")
    found = {"ticker": "USDT", "rate": "0.3", "plan_id": Flex.USDT}
    assert polled_once(WhiteBitRateSensor, ticker="usdt", above="0.29") == found
    assert polled_once(WhiteBitRateSensor, ticker="USDT", changed_by="0.1", changed_from="0.2") == found
    for limits in ({"above": "0.3"}, {"below": "0.3"}, {"changed_by": "0.1", "changed_from": "0.201"}):
        assert polled_once(WhiteBitRateSensor, ticker="USDT", **limits) is None
    assert polled_once(WhiteBitRateSensor, ticker="USDT", below="0.31") == found


def test_a_rate_that_the_exchange_does_not_show_meets_nothing(polled_once, sandbox):
    sandbox.control("POST", "quirks", {"null_rates": True})
    for limits in ({"above": "0.000001"}, {"below": "1"}, {"changed_by": "0.000001", "changed_from": "0.5"}):
        assert polled_once(WhiteBitRateSensor, ticker="USDT", **limits) is None


def test_the_plan_sensor(polled_once, sandbox):
    assert polled_once(WhiteBitPlanSensor, plan_id=Flex.USDT)["id"] == Flex.USDT
    assert polled_once(WhiteBitPlanSensor, ticker="BTC")["ticker"] == "BTC"
    assert polled_once(WhiteBitPlanSensor, plan_id=Flex.USDT, state="gone") is None
    assert polled_once(WhiteBitPlanSensor, plan_id=Flex.PAUSED) is None
    change(sandbox, Flex.USDT, minimum="500")
    assert polled_once(WhiteBitPlanSensor, plan_id=Flex.USDT, admits="499") is None
    assert polled_once(WhiteBitPlanSensor, plan_id=Flex.USDT, admits="500")
    change(sandbox, Flex.USDT, status="paused")
    assert polled_once(WhiteBitPlanSensor, plan_id=Flex.USDT) is None
    gone = {"plan_id": Flex.USDT, "ticker": None, "state": "gone"}
    assert polled_once(WhiteBitPlanSensor, plan_id=Flex.USDT, state="gone") == gone


def test_the_plan_sensor_of_fixed_plans(polled_once, sandbox):
    fixed = {"product": "fixed", "plan_id": Fixed.TEN_DAYS}
    assert polled_once(WhiteBitPlanSensor, **fixed)["status"] == 1
    assert polled_once(WhiteBitPlanSensor, **fixed, state="paused") is None
    sandbox.control("POST", f"fixed-plans/{Fixed.TEN_DAYS}", {"status": 4})
    assert polled_once(WhiteBitPlanSensor, **fixed) is None
    assert polled_once(WhiteBitPlanSensor, **fixed, state="paused")["status"] == 4
    assert polled_once(WhiteBitPlanSensor, product="fixed", plan_id=Fixed.NO_COINS, state="paused")["status"] == 2


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (WhiteBitRateSensor, {"ticker": "USTD", "below": "0.1"}),
        (WhiteBitRateSensor, {"ticker": "USTD", "above": "0.1"}),
        (WhiteBitPlanSensor, {"ticker": "USTD", "state": "gone"}),
        (WhiteBitPlanSensor, {"plan_id": NOWHERE}),
        (WhiteBitPlanSensor, {"plan_id": NOWHERE, "state": "gone"}),
        (WhiteBitPlanSensor, {"product": "fixed", "plan_id": NOWHERE, "state": "gone"}),
        (WhiteBitPlanSensor, {"product": "fixed", "plan_id": Flex.USDT}),
    ],
)
def test_what_the_exchange_does_not_know_fails_at_once(hook, polled_once, monkeypatch, kind, arguments):
    name = arguments.get("plan_id", "USTD")
    with pytest.raises(AirflowFailException, match=name):
        polled_once(kind, **arguments)
    monkeypatch.setattr(polls, "WhiteBitHook", lambda conn_id: hook)
    condition = kind(task_id="s", **arguments).condition({}).to_json()

    async def first():
        return await anext(WhiteBitConditionTrigger("whitebit_default", condition, poke_interval=1).run())

    found = asyncio.run(first()).payload
    assert (found["status"], found["error"]) == ("error", "WhiteBitValidationError")


@pytest.fixture
def watched(hook, sandbox, monkeypatch):
    """Run a trigger, change something when it knows how things were, and return its first occurrences."""
    kept = {}
    monkeypatch.setattr(polls, "WhiteBitHook", lambda conn_id: hook)
    monkeypatch.setattr(events, "_LEAST_INTERVAL", 0)
    monkeypatch.setattr(state_store, "read_variable", kept.get)
    monkeypatch.setattr(state_store, "keep_variable", lambda name, text, _: kept.update({name: text}))

    def lists():
        return sum(request["path"].endswith("/plans") for request in sandbox.requests())

    async def run(trigger, action):
        before = lists()
        async with asyncio.timeout(120), aclosing(trigger.run()) as emitted:
            event = asyncio.create_task(anext(emitted))
            while lists() < before + 4:
                await asyncio.sleep(0.02)
            await asyncio.to_thread(action)
            return (await event).payload["occurrences"]

    def store(trigger, found):
        """Record the delivery, as the provider's plugin does."""
        name = state_store.variable_name(trigger._progress().trigger, state_store.DELIVERED)
        delivered = json.loads(kept.get(name, '{"asset": {}}'))
        delivered["asset"].update({one["id"]: one["second"] for one in found})
        kept[name] = json.dumps(delivered)

    return SimpleNamespace(run=lambda trigger, action: asyncio.run(run(trigger, action)), store=store)


def test_events_of_rates(watched, sandbox):
    def trigger():
        return WhiteBitRateTrigger(ticker="USDT", above="0.5", poke_interval=0.05)

    (one,) = watched.run(trigger(), lambda: change(sandbox, Flex.USDT, rate="0.6"))
    assert (one["id"], one["record"]["rate"], one["record"]["plan_id"]) == ("1/above", "0.6", Flex.USDT)
    watched.store(trigger(), [one])

    def falls_and_rises():
        change(sandbox, Flex.USDT, rate="0.4")
        # At least two polls see it.
        seen = len(sandbox.requests())
        while len(sandbox.requests()) < seen + 9:
            pass
        change(sandbox, Flex.USDT, rate="0.7")

    (two,) = watched.run(trigger(), falls_and_rises)
    assert (two["id"], two["record"]["rate"]) == ("2/above", "0.7")


def test_events_of_flex_plans_across_a_restart(watched, sandbox):
    def trigger():
        return WhiteBitPlanTrigger(ticker="USDT", poke_interval=0.05)

    (gone,) = watched.run(trigger(), lambda: change(sandbox, Flex.USDT, status="paused"))
    assert (gone["record"]["plan_id"], gone["record"]["changes"]) == (Flex.USDT, ["gone"])
    watched.store(trigger(), [gone])
    # While no triggerer runs.
    change(sandbox, Flex.USDT, status="open", maximum="77777")
    (new,) = watched.run(trigger(), lambda: None)
    assert (new["record"]["changes"], new["record"]["after"]["max_investment"]) == (["new"], "77777")
    watched.store(trigger(), [new])
    (limits,) = watched.run(trigger(), lambda: change(sandbox, Flex.USDT_LARGE, minimum="77"))
    assert (limits["record"]["plan_id"], limits["record"]["changes"]) == (Flex.USDT_LARGE, ["limits"])


def test_events_of_fixed_plans(watched, sandbox):
    trigger = WhiteBitPlanTrigger(product="fixed", changes="paused", poke_interval=0.05)
    body = {"status": 4}
    (one,) = watched.run(trigger, lambda: sandbox.control("POST", f"fixed-plans/{Fixed.TEN_DAYS}", body))
    assert (one["record"]["plan_id"], one["record"]["changes"]) == (Fixed.TEN_DAYS, ["paused"])
    assert one["record"]["plan"]["status"] == 4
