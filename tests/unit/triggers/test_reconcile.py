"""The trigger that reconciles a move in doubt: its parameters, and its one event."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from types import SimpleNamespace

import pendulum
import pytest
from airflow.triggers.base import TriggerEvent

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.models import FlexTransaction
from airflow_provider_whitebit.moves.drivers import reconcile_in_background
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation, Outcome, State
from airflow_provider_whitebit.triggers import reconcile as module
from airflow_provider_whitebit.triggers.reconcile import WhiteBitReconcileTrigger

NOW = 1_790_000_000
PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"


def intent(account="a"):
    return Intent(
        id="i",
        account=account,
        requested={"amount": "25", "ticker": None},
        generation="0",
        move=Move(Operation.FLEX_INVEST, PLAN, "USDT", Decimal(25)),
        created_at=NOW,
        attempts=(Attempt(NOW * 1000, NOW),),
    )


def record(name="tx"):
    made = pendulum.from_timestamp(NOW + 1, tz="UTC")
    return FlexTransaction(made, PLAN, "inv", "USDT", Decimal(25), name, 6)


class Client:
    """An exchange that shows these records; its clock advances only while a caller waits."""

    def __init__(self, *records, errors=()):
        self.seconds = NOW
        self.records = list(records)
        self.errors = list(errors)
        self.clock = ExchangeClock(lambda: self.seconds * 1000)
        self.closed = False

    def server_time(self):
        if self.errors:
            raise self.errors.pop(0)
        return pendulum.from_timestamp(self.seconds, tz="UTC")

    def flex_history(self, **filters):
        assert self.seconds > NOW + 5 + 10, "records were read before the request expired"
        assert filters["plan"] == PLAN
        return iter(self.records)

    def close(self):
        self.closed = True

    async def sleep(self, seconds):
        assert seconds <= 5 + 10 + 1, "longer than the request lives, with the margin"
        self.seconds += int(seconds) + 1


async def no_mark(name):
    raise AssertionError("only transfers need marks")


def reconciled(client):
    return asyncio.run(
        reconcile_in_background(client, intent(), reconcile_margin_ms=10_000, read_marker=no_mark, sleep=client.sleep)
    )


def test_a_move_that_ran_is_found():
    found = reconciled(Client(record()))
    assert found.state is State.EXECUTED
    assert found.receipt.transaction_id == "tx"
    assert found.receipt.reconciled


def test_a_move_that_never_ran_is_known_to_be_absent():
    found = reconciled(Client())
    assert not found.in_doubt
    assert found.state is State.OPEN
    assert found.attempts[0].outcome is Outcome.ABSENT


def test_two_that_fit_stay_in_doubt():
    with pytest.raises(e.WhiteBitInDoubtError, match=r"tx .*tx2 "):
        reconciled(Client(record(), record("tx2")))


def test_an_exchange_that_does_not_answer_leaves_the_doubt():
    with pytest.raises(e.WhiteBitUnavailableError) as caught:
        reconciled(Client(errors=[e.WhiteBitUnavailableError("down", money_moved=False)]))
    assert caught.value.money_moved is None


def test_the_event_loop_continues_while_the_exchange_is_slow():
    client = Client(record())
    client.seconds = NOW + 60
    requested, continued = asyncio.Event(), False

    async def both():
        loop = asyncio.get_running_loop()
        inner = client.server_time

        def slow():
            # The thread waits for the event loop: were they one, this would never end.
            asyncio.run_coroutine_threadsafe(asyncio.wait_for(requested.wait(), 20), loop).result()
            return inner()

        client.server_time = slow
        task = asyncio.create_task(
            reconcile_in_background(client, intent(), reconcile_margin_ms=10_000, read_marker=no_mark)
        )
        await asyncio.sleep(0)
        nonlocal continued
        continued = not task.done()
        requested.set()
        return await task

    assert asyncio.run(both()).state is State.EXECUTED
    assert continued


@pytest.fixture
def run_trigger(monkeypatch):
    def run(client, account="a", previous=None, **given):
        settings = SimpleNamespace(account=account, reconcile_margin_ms=10_000)
        before = None if previous is None else SimpleNamespace(account=previous)
        previous = None if before is None else SimpleNamespace(get_conn=lambda: client, settings=before)
        hook = SimpleNamespace(
            get_conn=lambda: client if before is None else None, settings=settings, previous=previous
        )
        monkeypatch.setattr(module, "WhiteBitHook", lambda name: hook)
        real_sleep = asyncio.sleep

        async def sleep(seconds):
            if seconds:
                await client.sleep(seconds)
            await real_sleep(0)

        monkeypatch.setattr(module.asyncio, "sleep", sleep)
        client.seconds = NOW + 60

        async def events():
            return [event async for event in WhiteBitReconcileTrigger("c", intent().to_json(), **given).run()]

        (event,) = asyncio.run(events())
        assert isinstance(event, TriggerEvent)
        return event.payload

    return run


def test_it_can_be_created_again_from_its_serialized_form():
    trigger = WhiteBitReconcileTrigger("c", intent().to_json(), 2)
    name, arguments = trigger.serialize()
    assert name == "airflow_provider_whitebit.triggers.reconcile.WhiteBitReconcileTrigger"
    again = WhiteBitReconcileTrigger(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (name, arguments)
    assert Intent.from_json(again.intent) == intent()


def test_its_event_is_plain_json(run_trigger):
    client = Client(record())
    event = run_trigger(client, sent=2)
    assert json.loads(json.dumps(event)) == event
    assert (event["sent"], event["intent"]["state"]) == (2, "executed")
    assert "error" not in event
    assert client.closed


def test_what_passes_is_waited_out(run_trigger):
    errors = [e.WhiteBitUnavailableError("down"), e.WhiteBitRateLimitError("slow down"), e.WhiteBitNonceError("late")]
    assert run_trigger(Client(record(), errors=errors))["intent"]["state"] == "executed"


def test_what_does_not_pass_is_reported(run_trigger):
    event = run_trigger(Client(errors=[e.WhiteBitUnavailableError("down")] * 100))
    assert event["intent"] == intent().to_json()
    assert "WhiteBitUnavailableError: down" in event["error"]


def test_a_doubt_that_stays_is_reported(run_trigger):
    event = run_trigger(Client(record(), record("tx2")))
    assert event["intent"] == intent().to_json()
    assert event["error"].startswith("WhiteBitInDoubtError")


def test_another_account_reconciles_nothing(run_trigger):
    event = run_trigger(Client(record()), account="b")
    assert event["intent"] == intent().to_json()
    assert "another API key" in event["error"]


def test_what_was_sent_with_the_previous_key_is_reconciled_with_it(run_trigger):
    event = run_trigger(Client(record()), account="b", previous="a")
    assert event["intent"]["state"] == "executed"
    assert "another API key" in run_trigger(Client(record()), account="b", previous="c")["error"]


def test_a_connection_that_is_gone_is_reported(monkeypatch):
    class Gone(Exception):
        pass

    class Hook:
        def __init__(self, name):
            pass

        @property
        def settings(self):
            raise Gone("with who knows what in it")

    monkeypatch.setattr(module, "WhiteBitHook", Hook)

    async def events():
        return [event async for event in WhiteBitReconcileTrigger("c", intent().to_json()).run()]

    (event,) = asyncio.run(events())
    assert event.payload["error"] == "Gone"
