"""Triggers that wait for conditions: few requests for many of them, and a clean end whatever happens."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks.airflow_compat import AirflowNotFoundException
from airflow_provider_whitebit.treasury.conditions import (
    BalanceCondition,
    FlexEarningCondition,
    Names,
    PlanCondition,
    Question,
)
from airflow_provider_whitebit.triggers import polls
from airflow_provider_whitebit.triggers.polls import shared_poll
from airflow_provider_whitebit.triggers.watch import WhiteBitConditionTrigger

RICH = BalanceCondition("main", "USDT", at_least=Decimal(100)).to_json()


class Exchange:
    """Answers balances one after the other; an answer that is an error is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.hooks = self.rereads = 0
        self.checked = []
        self.unknown = None
        self.edited = False
        self.threads = set()

    def hook(self, conn_id):
        self.hooks += 1
        return self

    def reread_connection(self):
        self.rereads += 1
        changed, self.edited = self.edited, False
        return changed

    def require_known(self, question, names, answer):
        if unseen := names.unseen(answer):
            self.checked.append(unseen)
            if self.unknown:
                raise self.unknown

    def poll(self, question, since):
        self.threads.add(threading.get_ident())
        self.requests.append((question, since))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def usdt(amount):
    return {"USDT": Decimal(amount), "BTC": Decimal(1)}


@pytest.fixture
def exchange(monkeypatch):
    def use(*answers):
        made = Exchange(*answers)
        monkeypatch.setattr(polls, "WhiteBitHook", made.hook)
        return made

    return use


async def event(trigger):
    (found,) = [event async for event in trigger.run()]
    return found.payload


def trigger(condition=RICH, **more):
    return WhiteBitConditionTrigger("c", condition, **{"poke_interval": 0.01, **more})


def test_it_can_be_created_again_from_its_serialized_form():
    one = WhiteBitConditionTrigger("c", RICH, 30, 99.5, True)
    name, arguments = one.serialize()
    assert name == "airflow_provider_whitebit.triggers.watch.WhiteBitConditionTrigger"
    assert WhiteBitConditionTrigger(**json.loads(json.dumps(arguments))).serialize() == (name, arguments)


def test_a_condition_that_is_met_later(exchange):
    shop = exchange(usdt(5), e.WhiteBitUnavailableError("down"), e.WhiteBitRateLimitError("slow"), usdt(99), usdt(100))
    assert asyncio.run(event(trigger())) == {
        "status": "met",
        "found": {"account": "main", "ticker": "USDT", "amount": "100"},
    }
    assert len(shop.requests) == 5
    assert threading.get_ident() not in shop.threads


def test_a_thousand_triggers_send_as_many_requests_as_one(exchange):
    shop = exchange(usdt(0), usdt(0), usdt(500))

    async def crowd(size):
        begin = len(shop.requests)
        shop.answers = [usdt(0), usdt(0), usdt(500)]
        waiting = [
            trigger(BalanceCondition("main", "USDT", at_least=Decimal(100 + number % 300)).to_json(), poke_interval=0.2)
            for number in range(size)
        ]
        events = await asyncio.gather(*(event(one) for one in waiting))
        assert all(one["status"] == "met" for one in events)
        return len(shop.requests) - begin

    async def both():
        return await crowd(1), await crowd(1000)

    assert asyncio.run(both()) == (3, 3)
    assert shop.hooks == 2


@pytest.mark.parametrize(
    "error", [e.WhiteBitPermissionError("no", said="no!"), e.WhiteBitConfigurationError("wrong host", said="no!")]
)
def test_what_does_not_pass_ends_the_waiting_of_all(exchange, error):
    exchange(error)

    async def all_of_them():
        return await asyncio.gather(*(event(trigger()) for _ in range(5)))

    for found in asyncio.run(all_of_them()):
        facts = {"message": error.message, "said": "no!", "next_step": error.next_step}
        assert found == {"status": "error", "error": type(error).__name__, **facts}


@pytest.mark.parametrize("error", [RuntimeError, TimeoutError])
def test_an_unknown_error_gives_its_class_only(exchange, error):
    exchange(error("with a secret in it"))
    found = asyncio.run(event(trigger()))
    assert found["error"] == error.__name__
    assert "secret" not in str(found)


def test_the_connection_is_read_before_each_request(exchange):
    shop = exchange(usdt(0), usdt(0), usdt(100))
    assert asyncio.run(event(trigger()))["status"] == "met"
    assert (shop.hooks, shop.rereads) == (1, 3)


@pytest.mark.parametrize(("failures", "status"), [(1, "met"), (2, "error")])
def test_a_connection_may_be_missing_once_when_a_triggerer_starts(exchange, failures, status):
    """A secrets backend may not answer all triggers at once. The task has read the connection before."""
    shop = exchange(usdt(100))
    inner = shop.reread_connection

    def reread_connection():
        if inner() or shop.rereads <= failures:
            raise AirflowNotFoundException("not found")

    shop.reread_connection = reread_connection
    found = asyncio.run(event(trigger()))
    assert (found["status"], shop.rereads) == (status, 2)
    assert ("error" in found) == (status == "error")


def test_a_key_that_is_exchanged_during_a_request_is_read_again(exchange):
    shop = exchange(usdt(0), e.WhiteBitAuthenticationError("old key"), usdt(100))
    inner = shop.poll

    def poll(question, since):
        shop.edited = len(shop.requests) == 1
        return inner(question, since)

    shop.poll = poll
    assert asyncio.run(event(trigger()))["status"] == "met"
    assert len(shop.requests) == 3


def test_an_unknown_name_ends_only_the_waiting_for_it(exchange):
    shop = exchange(usdt(0), usdt(0), usdt(100))
    shop.unknown = e.WhiteBitValidationError("ticker is USTD: the exchange has no such asset.")
    emptied = BalanceCondition("main", "USTD", at_most=Decimal(10)).to_json()

    async def all_of_them():
        return await asyncio.gather(event(trigger()), event(trigger(emptied)), event(trigger(emptied)))

    met, *unknown = asyncio.run(all_of_them())
    assert met["status"] == "met"
    assert {one["error"] for one in unknown} == {"WhiteBitValidationError"}
    assert "USTD" in unknown[0]["message"]
    assert shop.checked == [Names("USTD")]


@pytest.mark.parametrize("known", [True, False])
def test_a_plan_that_the_exchange_has_known_may_be_gone(exchange, known):
    """The task waits for that. Its worker has seen the plan, or another triggerer has."""
    shop = exchange([])
    shop.unknown = e.WhiteBitValidationError("the exchange has no such Flex plan")
    gone = PlanCondition("flex", plan_id="p", state="gone").to_json()
    assert asyncio.run(event(trigger(gone, known=known)))["status"] == ("met" if known else "error")


def test_a_name_that_cannot_be_checked_keeps_only_its_own_trigger_waiting(exchange):
    shop = exchange(usdt(100))
    shop.unknown = e.WhiteBitUnavailableError("down")
    emptied = BalanceCondition("main", "NEW", at_most=Decimal(10)).to_json()

    async def both():
        waiting = asyncio.create_task(event(trigger(emptied)))
        met = await event(trigger())
        while len(shop.checked) < 3:
            await asyncio.sleep(0.01)
        assert not waiting.done()
        shop.unknown = None
        return met, await waiting

    assert [one["status"] for one in asyncio.run(both())] == ["met", "met"]


def test_a_wrong_key_is_reported(exchange):
    exchange(e.WhiteBitAuthenticationError("wrong"))
    assert asyncio.run(event(trigger()))["error"] == "WhiteBitAuthenticationError"


def test_it_times_out_also_if_its_time_was_over_before(exchange):
    exchange(usdt(0))
    assert asyncio.run(event(trigger(until=time.time() + 0.05))) == {"status": "timeout", "known": True}
    assert asyncio.run(event(trigger(until=time.time() - 60))) == {"status": "timeout", "known": False}


def test_cancelled_triggers_leave_nothing_behind(exchange):
    shop = exchange(usdt(0))

    async def cancel():
        tasks = [asyncio.create_task(event(trigger())) for _ in range(3)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(done, asyncio.CancelledError) for done in await asyncio.gather(*tasks, return_exceptions=True)
        )
        await asyncio.sleep(0)
        polls_left, sent = dict(polls._running()), len(shop.requests)
        # A question to Airflow goes on to its end.
        running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        _, left = await asyncio.wait(running, timeout=60) if running else ((), ())
        await asyncio.sleep(0.05)
        return left, polls_left, len(shop.requests) - sent

    left, polls_left, further_requests = asyncio.run(cancel())
    assert left in ((), set())
    assert polls_left == {}
    assert further_requests <= 1


def test_a_poll_is_shared_for_as_long_as_a_trigger_waits(exchange):
    exchange(usdt(0))

    async def leave_and_come():
        first, second = (asyncio.create_task(event(trigger())) for _ in range(2))
        await asyncio.sleep(0.03)
        shared = shared_poll("c", Question.MAIN_BALANCE, 0.01)
        first.cancel()
        await asyncio.sleep(0.03)
        same = shared_poll("c", Question.MAIN_BALANCE, 0.01) is shared
        second.cancel()
        await asyncio.sleep(0.03)
        return same, shared_poll("c", Question.MAIN_BALANCE, 0.01) is shared, shared._task

    assert asyncio.run(leave_and_come()) == (True, False, None)


def test_a_trigger_that_comes_after_all_others_have_ended_gets_answers(exchange):
    exchange(usdt(100))

    async def twice():
        return [(await event(trigger()))["status"], (await event(trigger()))["status"]]

    assert asyncio.run(twice()) == ["met", "met"]


def test_a_slow_exchange_does_not_block_the_event_loop(exchange):
    shop = exchange(usdt(100))
    inner, free = shop.poll, threading.Event()

    def slow(question, since):
        assert free.wait(20)
        return inner(question, since)

    shop.poll = slow

    async def both():
        waiting = asyncio.create_task(event(trigger()))
        for _ in range(5):
            await asyncio.sleep(0)
        # Only a loop that is not blocked can set this.
        free.set()
        return await waiting

    assert asyncio.run(both())["status"] == "met"


def test_earnings_are_requested_since_the_earliest_moment_that_matters(exchange):
    shop = exchange([])

    async def two():
        tasks = [
            asyncio.create_task(event(trigger(FlexEarningCondition(from_second=second).to_json())))
            for second in (2000, 1000)
        ]
        while not shop.requests:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()

    asyncio.run(two())
    assert shop.requests[0] == (Question.FLEX_PAYMENTS, 1000)
