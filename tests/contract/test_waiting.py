"""Sensors and their shared polls against the sandbox over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
from decimal import Decimal
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException, AirflowNotFoundException
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.sensors import whitebit as sensors
from airflow_provider_whitebit.treasury.conditions import BalanceCondition, Names, Question
from airflow_provider_whitebit.triggers import polls
from airflow_provider_whitebit.triggers.watch import WhiteBitConditionTrigger

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
TEN_DAYS = "0a61d2f9-b4c6-47e8-93a4-8f90a1b2c3d4"


@pytest.fixture
def polled_once(hook):
    def ask(kind, context=None, **arguments):
        task = kind(task_id="s", **arguments)
        task.__dict__["hook"] = hook
        return task.poke(context or {})

    return ask


def test_balances(polled_once, sandbox):
    assert polled_once(sensors.WhiteBitBalanceSensor, ticker="USDT", at_least="10000").xcom_value == {
        "account": "main",
        "ticker": "USDT",
        "amount": "10000",
    }
    assert not polled_once(sensors.WhiteBitBalanceSensor, ticker="USDT", at_least="10000.01")
    assert polled_once(sensors.WhiteBitBalanceSensor, account="collateral", ticker="USDT", at_most="0")
    assert not polled_once(sensors.WhiteBitBalanceSensor, account="trade", ticker="BTC", at_least="1")
    sandbox.control("POST", "fund", {"ticker": "BTC", "amount": "1", "account": "spot"})
    assert polled_once(sensors.WhiteBitBalanceSensor, account="trade", ticker="BTC", at_least="1")


def test_investments(polled_once, hook):
    wanted = {"plan_id": USDT, "invested_at_least": "20"}
    assert not polled_once(sensors.WhiteBitFlexInvestmentSensor, **wanted)
    hook.flex_invest(plan_id=USDT, amount="10")
    assert not polled_once(sensors.WhiteBitFlexInvestmentSensor, **wanted)
    hook.flex_invest(plan_id=USDT, amount="10")
    assert polled_once(sensors.WhiteBitFlexInvestmentSensor, **wanted).xcom_value["invested"] == "20"
    assert not polled_once(sensors.WhiteBitFlexInvestmentSensor, ticker="USDT", status=0)
    hook.flex_close(plan_id=USDT)
    assert polled_once(sensors.WhiteBitFlexInvestmentSensor, ticker="USDT", status=0)


def test_earnings(polled_once, hook, sandbox):
    def found(moment, cron=False, **more):
        interval = {"data_interval_start": moment, "data_interval_end": moment} if cron else {}
        # A clear changes the start of the run.
        run = SimpleNamespace(run_after=moment, start_date=moment.add(days=9))
        return polled_once(sensors.WhiteBitFlexEarningSensor, {**interval, "dag_run": run}, **more).xcom_value

    hook.flex_invest(plan_id=USDT, amount="1000")
    now = hook.get_conn().server_time()
    assert found(now, ticker="USDT") is None
    sandbox.advance(4 * 86400)
    hook.get_conn().server_time()
    earnings = list(reversed([earning.to_json() for earning in hook.get_conn().flex_payments()]))
    assert len(earnings) == 4
    assert (earnings[0]["action_type"], earnings[0]["plan_id"]) == (4, USDT)
    assert Decimal(earnings[0]["amount"]) > 0
    for day, last_night in enumerate(earnings, 1):
        for cron in (True, False):
            assert found(now.add(days=day), cron, ticker="USDT") == last_night
            assert found(now.add(days=day), cron, plan_id=USDT) == last_night
    assert found(now.add(days=4), ticker="BTC") is None
    assert found(now.add(days=6)) is None


def test_maturities(polled_once, hook, sandbox):
    made = hook.fixed_invest(plan_id=TEN_DAYS, amount="100")
    for given in ({"investment_id": made.investment_id}, {"plan_id": TEN_DAYS}, {"ticker": "USDT"}):
        assert not polled_once(sensors.WhiteBitFixedMaturitySensor, **given)
    sandbox.advance(10 * 86400 + 1)
    hook.get_conn().server_time()
    for given in ({"investment_id": made.investment_id}, {"plan_id": TEN_DAYS}, {"ticker": "USDT"}):
        found = polled_once(sensors.WhiteBitFixedMaturitySensor, **given).xcom_value
        assert (found["id"], found["interest_paid"]) == (made.investment_id, "1")


def test_a_hundred_triggers_send_one_request_per_interval(hook, sandbox, monkeypatch):
    monkeypatch.setattr(polls, "WhiteBitHook", lambda conn_id: hook)
    condition = BalanceCondition("main", "SOL", at_least=Decimal(51)).to_json()

    async def wait():
        tasks = [
            asyncio.create_task(_first(WhiteBitConditionTrigger("whitebit_default", condition, poke_interval=1)))
            for _ in range(100)
        ]
        while not _requests(sandbox):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(sandbox.fund, "SOL", "1")
        return await asyncio.gather(*tasks)

    assert {event.payload["status"] for event in asyncio.run(wait())} == {"met"}
    assert 1 <= _requests(sandbox) <= 3


async def _first(trigger):
    return await anext(trigger.run())


def _requests(sandbox):
    return sum(request["path"].endswith("/main-account/balance") for request in sandbox.requests())


NOWHERE = "00000000-0000-4000-8000-00000000dead"
PAUSED = "2d0b5a71-3c4e-4f60-9b8c-0d1e2f3a4b5c"
SINCE = "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (sensors.WhiteBitBalanceSensor, {"ticker": "USTD", "at_most": "10"}),
        (sensors.WhiteBitBalanceSensor, {"ticker": "USTD", "at_least": "10"}),
        (sensors.WhiteBitBalanceSensor, {"account": "spot", "ticker": "USTD", "at_most": "0"}),
        (sensors.WhiteBitBalanceSensor, {"account": "collateral", "ticker": "USTD", "at_most": "0"}),
        (sensors.WhiteBitFlexInvestmentSensor, {"ticker": "USTD"}),
        (sensors.WhiteBitFlexInvestmentSensor, {"plan_id": NOWHERE}),
        (sensors.WhiteBitFlexInvestmentSensor, {"plan_id": NOWHERE, "status": "closed"}),
        (sensors.WhiteBitFlexEarningSensor, {"ticker": "USTD", "since": SINCE}),
        (sensors.WhiteBitFlexEarningSensor, {"plan_id": NOWHERE, "since": SINCE}),
        (sensors.WhiteBitFixedMaturitySensor, {"investment_id": NOWHERE}),
        (sensors.WhiteBitFixedMaturitySensor, {"plan_id": NOWHERE}),
        (sensors.WhiteBitFixedMaturitySensor, {"ticker": "USTD"}),
    ],
)
def test_what_the_exchange_does_not_know_fails_at_once(hook, polled_once, monkeypatch, kind, arguments):
    name = {"USTD", NOWHERE} & set(arguments.values())
    with pytest.raises(AirflowFailException, match=name.pop()):
        polled_once(kind, **arguments)
    monkeypatch.setattr(polls, "WhiteBitHook", lambda conn_id: hook)
    condition = kind(task_id="s", **arguments).condition({}).to_json()
    found = asyncio.run(_first(WhiteBitConditionTrigger("whitebit_default", condition, poke_interval=1))).payload
    assert (found["status"], found["error"]) == ("error", "WhiteBitValidationError")


def test_the_hooks_poll_refuses_unknown_names(hook):
    with pytest.raises(e.WhiteBitValidationError, match="USTD"):
        hook.poll(Question.MAIN_BALANCE, names=Names("USTD"))
    assert hook.poll(Question.SPOT_BALANCE, names=Names("SOL")).get("SOL") in (None, Decimal(0))


def test_what_is_known_without_a_record_keeps_waiting(polled_once):
    for kind, arguments in (
        (sensors.WhiteBitFlexInvestmentSensor, {"plan_id": USDT}),
        (sensors.WhiteBitFlexInvestmentSensor, {"plan_id": PAUSED}),
        (sensors.WhiteBitFlexEarningSensor, {"plan_id": PAUSED, "since": SINCE}),
        (sensors.WhiteBitFlexInvestmentSensor, {"ticker": "SOL"}),
        (sensors.WhiteBitFixedMaturitySensor, {"plan_id": TEN_DAYS}),
        (sensors.WhiteBitFixedMaturitySensor, {"ticker": "BTC"}),
    ):
        assert not polled_once(kind, **arguments)


def test_what_is_known_is_asked_for_once(hook, polled_once, sandbox):
    for _ in range(3):
        assert polled_once(sensors.WhiteBitBalanceSensor, account="spot", ticker="SOL", at_most="0")
    assert sum(request["path"].endswith("/public/assets") for request in sandbox.requests()) == 1


def test_a_delisted_asset_stays_usable(hook, polled_once, sandbox):
    hook.flex_invest(ticker="SOL", amount="20")
    hook.transfer(ticker="SOL", amount="5", source="main", target="spot")
    sandbox.control("POST", "quirks", {"delisted_asset": True})
    try:
        assert "SOL" not in hook.get_conn().assets()
        assert polled_once(sensors.WhiteBitBalanceSensor, ticker="SOL", at_least="1")
        assert polled_once(sensors.WhiteBitBalanceSensor, account="spot", ticker="SOL", at_least="5")
        assert polled_once(sensors.WhiteBitBalanceSensor, account="collateral", ticker="SOL", at_most="0")
        assert polled_once(sensors.WhiteBitFlexInvestmentSensor, ticker="SOL")
        assert not polled_once(sensors.WhiteBitFixedMaturitySensor, ticker="SOL")
    finally:
        sandbox.control("POST", "quirks", {"delisted_asset": False})


def test_a_new_investment_that_is_listed_late_is_not_unknown(hook, polled_once, sandbox, monkeypatch):
    made = hook.fixed_invest(plan_id=TEN_DAYS, amount="100")
    client, listed = hook.get_conn(), []
    inner = client.fixed_investments

    def late(**filters):
        listed.append(filters)
        return iter(()) if len(listed) < 3 else inner(**filters)

    monkeypatch.setattr(client, "fixed_investments", late)
    assert not polled_once(sensors.WhiteBitFixedMaturitySensor, investment_id=made.investment_id)
    assert len(listed) == 3


def test_an_edited_connection_counts_from_the_next_poll_on(hook, make_hook, polled_once, sandbox, monkeypatch):
    assert polled_once(sensors.WhiteBitBalanceSensor, ticker="USDT", at_least="1")
    transport = hook.get_conn()._transport
    assert polled_once(sensors.WhiteBitBalanceSensor, ticker="USDT", at_least="1")
    assert hook.get_conn()._transport is transport
    edited = json.loads(os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    for change, outcome in (
        ({"password": "another"}, "WhiteBitAuthenticationError"),
        ({"extra": {"timeout": "soon"}}, "timeout"),
        ({"conn_type": "http"}, "type"),
    ):
        monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps(edited | change))
        with pytest.raises(AirflowFailException, match=outcome):
            polled_once(sensors.WhiteBitBalanceSensor, ticker="USDT", at_least="1")
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps(edited | {"extra": {"timeout": 7}}))
    hook.reread_connection()
    assert (hook.settings.timeout, hook.get_conn()._transport is transport) == (7, False)


def test_a_connection_may_be_missing_once(hook, monkeypatch):
    hook.reread_connection()
    monkeypatch.delenv("AIRFLOW_CONN_WHITEBIT_DEFAULT")
    gone = AirflowNotFoundException("The conn_id `whitebit_default` isn't defined")

    def missing(conn_id):
        raise gone

    monkeypatch.setattr(hook, "get_connection", missing)
    with pytest.raises(e.WhiteBitUnavailableError):
        hook.reread_connection()
    with pytest.raises(AirflowNotFoundException):
        hook.reread_connection()
    with pytest.raises(AirflowNotFoundException):
        fresh = WhiteBitHook("whitebit_default")
        fresh.get_connection = missing
        fresh.reread_connection()


def test_a_waiting_trigger_notices_an_edited_connection(make_hook, sandbox, monkeypatch):
    make_hook()
    condition = BalanceCondition("main", "SOL", at_least=Decimal(51)).to_json()
    edited = json.loads(os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])

    async def wait():
        task = asyncio.create_task(_first(WhiteBitConditionTrigger("whitebit_default", condition, poke_interval=0.05)))
        while not _requests(sandbox):
            await asyncio.sleep(0.01)
        monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps(edited | {"extra": {"region": "mars"}}))
        return (await task).payload

    found = asyncio.run(wait())
    assert (found["error"], "mars" in found["message"] or "region" in found["message"]) == (
        "WhiteBitConfigurationError",
        True,
    )
