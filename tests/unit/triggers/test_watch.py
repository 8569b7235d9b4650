"""Triggers that wait for conditions: few requests for many of them, and a clean end whatever happens."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.treasury.conditions import BalanceCondition, FlexEarningCondition, Question
from airflow_provider_whitebit.triggers import polls
from airflow_provider_whitebit.triggers.polls import shared_poll
from airflow_provider_whitebit.triggers.watch import WhiteBitConditionTrigger

RICH = BalanceCondition("main", "USDT", at_least=Decimal(100)).to_json()


class Exchange:
    """Answers balances one after the other; an answer that is an error is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.hooks = 0
        self.threads = set()

    def hook(self, conn_id):
        self.hooks += 1
        return self

    def get_conn(self):
        return self

    def observe(self, question, since):
        self.threads.add(threading.get_ident())
        self.asked.append((question, since))
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


def test_it_can_be_made_anew_from_what_it_says_of_itself():
    one = WhiteBitConditionTrigger("c", RICH, 30, 99.5)
    name, arguments = one.serialize()
    assert name == "airflow_provider_whitebit.triggers.watch.WhiteBitConditionTrigger"
    assert WhiteBitConditionTrigger(**json.loads(json.dumps(arguments))).serialize() == (name, arguments)


def test_a_condition_that_is_met_at_last(exchange):
    shop = exchange(usdt(5), e.WhiteBitUnavailableError("down"), e.WhiteBitRateLimitError("slow"), usdt(99), usdt(100))
    assert asyncio.run(event(trigger())) == {
        "status": "met",
        "found": {"account": "main", "ticker": "USDT", "amount": "100"},
    }
    assert len(shop.asked) == 5
    assert threading.get_ident() not in shop.threads


def test_a_thousand_who_wait_ask_as_often_as_one(exchange):
    shop = exchange(usdt(0), usdt(0), usdt(500))

    async def crowd(size):
        begin = len(shop.asked)
        shop.answers = [usdt(0), usdt(0), usdt(500)]
        waiting = [
            trigger(BalanceCondition("main", "USDT", at_least=Decimal(100 + number % 300)).to_json(), poke_interval=0.2)
            for number in range(size)
        ]
        events = await asyncio.gather(*(event(one) for one in waiting))
        assert all(one["status"] == "met" for one in events)
        return len(shop.asked) - begin

    async def both():
        return await crowd(1), await crowd(1000)

    assert asyncio.run(both()) == (3, 3)
    assert shop.hooks == 1


@pytest.mark.parametrize("error", [e.WhiteBitPermissionError("no"), e.WhiteBitConfigurationError("wrong host")])
def test_what_does_not_pass_ends_the_waiting_of_all(exchange, error):
    exchange(error)

    async def all_of_them():
        return await asyncio.gather(*(event(trigger()) for _ in range(5)))

    for told in asyncio.run(all_of_them()):
        assert told == {"status": "error", "error": type(error).__name__, "message": error.message}


def test_an_unknown_error_tells_its_name_only(exchange):
    exchange(RuntimeError("with a secret in it"))
    told = asyncio.run(event(trigger()))
    assert told["error"] == "RuntimeError"
    assert "secret" not in str(told)


def test_a_key_that_was_changed_in_the_connection_is_read_again(exchange):
    shop = exchange(usdt(0), e.WhiteBitAuthenticationError("old key"), usdt(100))
    assert asyncio.run(event(trigger()))["status"] == "met"
    assert shop.hooks == 2


def test_a_wrong_key_is_told(exchange):
    exchange(e.WhiteBitAuthenticationError("wrong"))
    assert asyncio.run(event(trigger()))["error"] == "WhiteBitAuthenticationError"


def test_it_gives_up_in_time_also_when_its_time_was_over_before(exchange):
    exchange(usdt(0))
    assert asyncio.run(event(trigger(until=time.time() + 0.05))) == {"status": "timeout"}
    assert asyncio.run(event(trigger(until=time.time() - 60))) == {"status": "timeout"}


def test_cancelled_triggers_leave_nothing_behind(exchange):
    exchange(usdt(0))

    async def cancel():
        tasks = [asyncio.create_task(event(trigger())) for _ in range(3)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(done, asyncio.CancelledError) for done in await asyncio.gather(*tasks, return_exceptions=True)
        )
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        poll = shared_poll("c", Question.MAIN_BALANCE, 0.01)
        return left, poll._waiting

    left, waiting = asyncio.run(cancel())
    assert [task for task in left if not task.cancelling()] == []
    assert waiting == {}


def test_who_comes_after_all_have_left_is_served(exchange):
    exchange(usdt(100))

    async def twice():
        return [(await event(trigger()))["status"], (await event(trigger()))["status"]]

    assert asyncio.run(twice()) == ["met", "met"]


def test_a_slow_exchange_does_not_hold_up_the_event_loop(exchange):
    shop = exchange(usdt(100))
    inner, free = shop.observe, threading.Event()

    def slow(question, since):
        assert free.wait(20)
        return inner(question, since)

    shop.observe = slow

    async def both():
        waiting = asyncio.create_task(event(trigger()))
        for _ in range(5):
            await asyncio.sleep(0)
        # Only a loop that goes on can set this.
        free.set()
        return await waiting

    assert asyncio.run(both())["status"] == "met"


def test_earnings_are_asked_for_since_the_earliest_moment_that_matters(exchange):
    shop = exchange([])

    async def two():
        tasks = [
            asyncio.create_task(event(trigger(FlexEarningCondition(from_second=second).to_json())))
            for second in (2000, 1000)
        ]
        while not shop.asked:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()

    asyncio.run(two())
    assert shop.asked[0] == (Question.FLEX_PAYMENTS, 1000)
