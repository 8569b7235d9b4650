"""Occurrences: each told once, in order, whatever is restarted."""

from __future__ import annotations

import json
from decimal import Decimal

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.models import FixedInvestment, FixedPlan, FlexTransaction
from airflow_provider_whitebit.treasury.conditions import BalanceCondition, Question
from airflow_provider_whitebit.treasury.occurrences import (
    KEPT,
    BalanceLevels,
    FixedMaturities,
    FlexClosures,
    FlexEarnings,
    Memory,
    Occurrence,
    pruned,
)

DAY = 86_400
NOW = 1_800_000_000


def earning(second, name=None, plan="p", currency="USDT"):
    at = pendulum.from_timestamp(second)
    return FlexTransaction(at, plan, "i", currency, Decimal("0.1"), name or f"tx{second}", 4)


def fixed(name, *, status=2, ended=NOW, due=NOW, plan="q", ticker="BTC"):
    terms = FixedPlan(plan, ticker, 1, Decimal(1), 60, ticker, Decimal(1), Decimal(1), None, None)
    at, term = pendulum.from_timestamp(ended), pendulum.from_timestamp(due)
    return FixedInvestment(name, terms, status, at, at, term, Decimal(1), Decimal(0))


def told(watch, answer, memory, now=NOW):
    news = watch.news(answer, memory, now)
    for occurrence in news:
        memory.tell(occurrence)
    return [occurrence.id for occurrence in news]


def test_what_was_there_before_is_not_news():
    watch, memory = FlexEarnings(), Memory()
    watch.begin([earning(NOW - 10), earning(NOW - 20)], memory, NOW)
    assert told(watch, [earning(NOW + 5), earning(NOW - 10), earning(NOW - 20)], memory) == [f"tx{NOW + 5}"]


def test_what_happened_since_a_moment_is_told_oldest_first():
    watch, memory = FlexEarnings(), Memory(since=NOW - 15)
    seen = [earning(NOW), earning(NOW - 10), earning(NOW - 20)]
    assert told(watch, seen, memory) == [f"tx{NOW - 10}", f"tx{NOW}"]
    assert told(watch, seen, memory) == []


def test_a_record_that_appears_late_is_told_all_the_same():
    watch, memory = FlexEarnings(), Memory(since=NOW - DAY)
    assert told(watch, [earning(NOW)], memory) == [f"tx{NOW}"]
    assert told(watch, [earning(NOW), earning(NOW - 60)], memory) == [f"tx{NOW - 60}"]


def test_two_in_the_same_second():
    watch, memory = FlexEarnings(), Memory(since=NOW - DAY)
    assert told(watch, [earning(NOW, "b"), earning(NOW, "a")], memory) == ["a", "b"]


def test_memory_stays_small_and_nothing_comes_back():
    watch, memory = FlexEarnings(), Memory(since=NOW)
    history = [earning(NOW + day * DAY) for day in range(400)]
    for length in range(1, 401):
        assert told(watch, history[:length], memory) == [f"tx{NOW + (length - 1) * DAY}"]
    assert len(memory.told) == KEPT // DAY + 1
    assert memory.floor == NOW + 399 * DAY - KEPT
    assert Memory(told={"delivered": NOW}).floor is None


def test_only_what_is_watched_for():
    seen = [earning(NOW, "a", plan="P"), earning(NOW, "b", currency="BTC"), earning(NOW, "c", plan="x")]
    assert told(FlexEarnings(plan_id="p"), seen, Memory(since=0)) == ["a", "b"]
    assert told(FlexEarnings(ticker="BTC"), seen, Memory(since=0)) == ["b"]
    assert told(FlexClosures(plan_id="x"), seen, Memory(since=0)) == ["c"]


def test_a_fixed_investment_matures_at_the_end_of_its_term_and_not_when_it_is_closed_before():
    seen = [
        fixed("running", status=1, due=NOW + 5),
        fixed("matured"),
        fixed("closed early", ended=NOW - 100, due=NOW),
        fixed("other", plan="z", ticker="ETH"),
    ]
    assert told(FixedMaturities(), seen, Memory(since=0)) == ["matured", "other"]
    assert told(FixedMaturities(plan_id="q"), seen, Memory(since=0)) == ["matured"]
    assert told(FixedMaturities(ticker="ETH"), seen, Memory(since=0)) == ["other"]


RICH = BalanceLevels(BalanceCondition("main", "USDT", at_least=Decimal(100)))


def test_a_balance_is_told_when_it_comes_within_limits_and_when_it_changes_there():
    memory, ids = Memory(), []
    RICH.begin({}, memory, NOW)
    for second, amount in enumerate(["5", "100", "100", "100.00", "250", "250", "7", "250", "250"]):
        ids.append(told(RICH, {"USDT": Decimal(amount)}, memory, NOW + second))
    assert ids == [[], ["1/100"], [], [], ["2/250"], [], [], ["3/250"], []]
    assert RICH.question is Question.MAIN_BALANCE


def test_numbers_of_a_balance_go_on_when_all_is_forgotten():
    memory = Memory(since=0, armed_after=41)
    assert told(RICH, {"USDT": Decimal(100)}, memory) == ["42/100"]


def test_memory_survives_json():
    memory = Memory(NOW, 3, {"a": NOW, "b": NOW + 1})
    assert Memory.from_json(json.loads(json.dumps(memory.to_json()))) == memory
    assert Memory.from_json({}) == Memory()


def test_pruning_keeps_the_newest():
    assert pruned({"old": 0, "edge": 10, "new": KEPT + 10}) == {"edge": 10, "new": KEPT + 10}
    assert pruned({}) == {}


class Life:
    """A watch that is killed and started again, and an Airflow that stores what it was handed, or dies before."""

    def __init__(self, watch, note_delivered):
        self.watch = watch
        self.note_delivered = note_delivered
        self.noted = None
        self.delivered = {}
        self.stored = []
        self.start()

    def start(self):
        self.memory = Memory(since=0) if self.noted is None else Memory.from_json(self.noted)
        self.memory.add(self.delivered)

    def look(self, answer, dies_after, now):
        """One answer. The process dies after so many of the events were stored; ``None``: it lives on."""
        news = self.watch.news(answer, self.memory, now)
        self.noted = json.loads(json.dumps(self.memory.to_json()))
        for number, occurrence in enumerate(news):
            if number == dies_after:
                break
            self.memory.tell(occurrence)
            self.stored.append(occurrence.id)
            if self.note_delivered:
                self.delivered[occurrence.id] = occurrence.second
        if dies_after is not None:
            self.start()


@pytest.mark.parametrize("note_delivered", [True, False])
@given(
    days=st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 4))), max_size=30),
)
def test_whatever_is_killed_nothing_is_lost_and_with_notes_nothing_comes_twice(note_delivered, days):
    life, history, number = Life(FlexEarnings(), note_delivered), [], 0
    for day, (credited, dies_after) in enumerate(days):
        for _ in range(credited):
            number += 1
            history.append(earning(NOW + day * DAY, f"tx{number}"))
        life.look(history, dies_after, NOW + day * DAY)
    life.look(history, None, NOW + len(days) * DAY)
    assert set(life.stored) == {entry.transaction_id for entry in history}
    if note_delivered:
        assert len(life.stored) == len(set(life.stored))


def test_an_occurrence_is_what_it_says():
    (one,) = FlexEarnings().news([earning(NOW, "a")], Memory(since=0), NOW)
    assert one == Occurrence("a", NOW, earning(NOW, "a").to_json())
