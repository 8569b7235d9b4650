"""The exchange's maintenance over HTTP: reads, moves, and the sensor in each of its modes."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.transport import RetryPolicy
from airflow_provider_whitebit.hooks.airflow_compat import AirflowSensorTimeout
from airflow_provider_whitebit.plugins.treasury_data import load_account
from airflow_provider_whitebit.sensors.whitebit import WhiteBitPlatformSensor
from airflow_provider_whitebit.treasury.conditions import PlatformCondition
from airflow_provider_whitebit.triggers import polls
from airflow_provider_whitebit.triggers.watch import WhiteBitConditionTrigger

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
NOTICE = "Maintenance until 04:00 UTC"
OPERATIONAL = {"status": "system operational"}


@pytest.fixture(autouse=True)
def ended(sandbox):
    yield
    sandbox.maintenance(on=False)


def sensor(hook, **more):
    task = WhiteBitPlatformSensor(task_id="s", **more)
    task.__dict__["hook"] = hook
    return task


def test_the_status(client, sandbox):
    assert client.platform_status().operational
    sandbox.maintenance()
    assert client.platform_status().maintenance


def test_reads_name_the_maintenance_and_recover(make_client, sandbox):
    ended = []

    def sleep(seconds):
        ended.append(seconds)
        sandbox.maintenance(on=False)

    client = make_client(retry=RetryPolicy(attempts=2), sleep=sleep)
    sandbox.maintenance(notice=NOTICE)
    assert client.main_balance("USDT")
    assert len(ended) == 1
    sandbox.maintenance(notice=NOTICE)
    for read in (client.server_time, client.main_balance, lambda: list(client.flex_plans())):
        client._transport.retry = RetryPolicy(attempts=1)
        with pytest.raises(e.WhiteBitMaintenanceError) as caught:
            read()
        assert caught.value.said == NOTICE
        assert caught.value.status == 503


def test_a_move_during_maintenance_is_made_once_after_it(hook, sandbox, as_task):
    as_task(1)
    sandbox.maintenance(notice=NOTICE)
    hook.get_conn()._transport.retry = RetryPolicy(attempts=1)
    with pytest.raises(e.WhiteBitMaintenanceError):
        hook.flex_invest(plan_id=USDT, amount="100")
    sandbox.maintenance(on=False)
    as_task(2)
    assert hook.flex_invest(plan_id=USDT, amount="100").status == "executed"
    assert len(sandbox.ledger()["moves"]) == 1


def test_a_maintenance_that_begins_with_the_move_is_a_doubt_until_it_ends(hook, sandbox, as_task):
    as_task(1)
    transport = hook.get_conn()._transport
    transport.retry = RetryPolicy(attempts=1)
    inner = transport._wire

    class Wire:
        """The exchange makes the move; from its answer on it is in maintenance."""

        def send(self, method, path, headers, body):
            answer = inner.send(method, path, headers, body)
            if path.endswith("/investments/invest"):
                sandbox.maintenance(notice=NOTICE)
                return inner.send(method, path, headers, body)
            return answer

        def close(self):
            inner.close()

    transport._wire = Wire()
    with pytest.raises(e.WhiteBitMaintenanceError) as caught:
        hook.flex_invest(plan_id=USDT, amount="100")
    assert caught.value.money_moved is None
    assert NOTICE in str(caught.value)
    sandbox.maintenance(on=False)
    transport._wire = inner
    as_task(2)
    assert hook.flex_invest(plan_id=USDT, amount="100").reconciled
    assert len(sandbox.ledger()["moves"]) == 1


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_the_sensor_polls(hook, sandbox, mode):
    task = sensor(hook, mode=mode, deferrable=False)
    sandbox.maintenance()
    assert not task.poke({}).is_done
    sandbox.maintenance(on=False)
    found = task.poke({})
    assert (found.is_done, found.xcom_value) == (True, OPERATIONAL)


def test_the_sensor_times_out(hook, sandbox):
    sandbox.maintenance()
    with pytest.raises(AirflowSensorTimeout):
        sensor(hook, timeout=0, poke_interval=0, deferrable=False).execute({})


def test_the_deferred_sensor_waits_for_the_end(hook, sandbox, monkeypatch):
    monkeypatch.setattr(polls, "WhiteBitHook", lambda conn_id: hook)
    sandbox.maintenance()
    trigger = WhiteBitConditionTrigger("whitebit_default", PlatformCondition().to_json(), poke_interval=0.05)

    async def wait():
        begun = len(sandbox.requests())
        waiting = asyncio.create_task(anext(trigger.run()))
        while len(await asyncio.to_thread(sandbox.requests)) < begun + 2:
            await asyncio.sleep(0.01)
        assert not waiting.done()
        await asyncio.to_thread(sandbox.maintenance, on=False)
        return await waiting

    assert asyncio.run(wait()).payload == {"status": "met", "found": OPERATIONAL}


def test_the_treasury_page_says_so(hook, sandbox):
    sandbox.maintenance(notice=NOTICE)
    error = load_account("whitebit_default").shown["error"]
    assert error["maintenance"]
    assert (error["message"], error["said"]) == ("The exchange is in maintenance.", NOTICE)
    sandbox.maintenance(on=False)
    assert load_account("whitebit_default").shown["error"] is None
