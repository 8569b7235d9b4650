"""Occurrences: each is emitted once, in order, across restarts."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.models import FixedInvestment, FixedPlan, FlexTransaction
from airflow_provider_whitebit.client.records import record_keys
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.treasury.conditions import BalanceCondition, Question
from airflow_provider_whitebit.treasury.occurrences import (
    KEPT,
    BalanceLevels,
    FixedMaturities,
    FlexClosures,
    FlexEarnings,
    Occurrence,
    WatchState,
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


def emitted(watch, answer, state, now=NOW):
    """The transaction ids of Flex records, or the ids of other occurrences."""
    found = watch.new_events(answer, state, now)
    for occurrence in found:
        state.mark_emitted(occurrence)
    return [occurrence.record.get("transaction_id", occurrence.id) for occurrence in found]


def test_what_was_there_before_is_not_new():
    watch, state = FlexEarnings(), WatchState()
    watch.begin([earning(NOW - 10), earning(NOW - 20)], state, NOW)
    assert emitted(watch, [earning(NOW + 5), earning(NOW - 10), earning(NOW - 20)], state) == [f"tx{NOW + 5}"]


def test_the_time_that_matters_moves_on_in_steps_of_a_day():
    watch, state = FlexEarnings(), WatchState(since=NOW - KEPT)
    watch.move_on([], state, NOW + DAY - 1)
    assert state.since == NOW - KEPT
    watch.move_on([UnreadableRecord(FlexTransaction, "/p", "no amount", "", {}, 0)], state, NOW + DAY)
    assert state.since == NOW - KEPT
    watch.move_on([earning(NOW)], state, NOW + DAY)
    assert state.since == NOW + DAY - KEPT
    # Fixed investments end late if the exchange is late, and balances have no history.
    for other in (FixedMaturities(), BalanceLevels(BalanceCondition("main", "USDT", Decimal(1)))):
        other.move_on([], state, NOW + 9 * DAY)
        assert state.since == NOW + DAY - KEPT


def test_what_happened_since_a_moment_is_emitted_oldest_first():
    watch, state = FlexEarnings(), WatchState(since=NOW - 15)
    seen = [earning(NOW), earning(NOW - 10), earning(NOW - 20)]
    assert emitted(watch, seen, state) == [f"tx{NOW - 10}", f"tx{NOW}"]
    assert emitted(watch, seen, state) == []


def test_a_record_that_appears_late_is_emitted_all_the_same():
    watch, state = FlexEarnings(), WatchState(since=NOW - DAY)
    assert emitted(watch, [earning(NOW)], state) == [f"tx{NOW}"]
    assert emitted(watch, [earning(NOW), earning(NOW - 60)], state) == [f"tx{NOW - 60}"]


def test_two_in_the_same_second():
    watch, state = FlexEarnings(), WatchState(since=NOW - DAY)
    assert emitted(watch, [earning(NOW, "b"), earning(NOW, "a")], state) == ["a", "b"]


def test_state_stays_small_and_nothing_comes_back():
    watch, state = FlexEarnings(), WatchState(since=NOW)
    history = [earning(NOW + day * DAY) for day in range(400)]
    for length in range(1, 401):
        assert emitted(watch, history[:length], state) == [f"tx{NOW + (length - 1) * DAY}"]
    assert len(state.emitted) == KEPT // DAY + 1
    assert state.floor == NOW + 399 * DAY - KEPT
    assert WatchState(emitted={"delivered": NOW}).floor is None


def test_only_what_is_watched_for():
    seen = [earning(NOW, "a", plan="P"), earning(NOW, "b", currency="BTC"), earning(NOW, "c", plan="x")]
    assert emitted(FlexEarnings(plan_id="p"), seen, WatchState(since=0)) == ["a", "b"]
    assert emitted(FlexEarnings(ticker="BTC"), seen, WatchState(since=0)) == ["b"]
    assert emitted(FlexClosures(plan_id="x"), seen, WatchState(since=0)) == ["c"]


def test_a_fixed_investment_matures_at_the_end_of_its_term_and_not_when_it_is_closed_before():
    seen = [
        fixed("running", status=1, due=NOW + 5),
        fixed("matured"),
        fixed("closed early", ended=NOW - 100, due=NOW),
        fixed("other", plan="z", ticker="ETH"),
    ]
    assert emitted(FixedMaturities(), seen, WatchState(since=0)) == ["matured", "other"]
    assert emitted(FixedMaturities(plan_id="q"), seen, WatchState(since=0)) == ["matured"]
    assert emitted(FixedMaturities(ticker="ETH"), seen, WatchState(since=0)) == ["other"]


@pytest.mark.parametrize(
    ("shown", "minutes", "interest", "second"),
    [
        ({"updated": False, "payment_time": False}, 60, "0.5", NOW),
        ({"updated": False, "payment_time": True}, None, "0.5", NOW),
        ({"updated": False, "payment_time": False}, None, "0.5", NOW - 3600),
        ({"updated": False, "payment_time": False}, 60, "0", None),
        ({"updated": True, "payment_time": False}, 60, "0.5", NOW),
        ({"updated": True, "payment_time": False}, 61, "0", None),
        ({"updated": True, "payment_time": False}, None, "0", None),
    ],
)
def test_a_maturity_of_which_the_exchange_does_not_show_all_times(shown, minutes, interest, second):
    one = fixed("one", due=NOW)
    begun = pendulum.from_timestamp(NOW - 3600)
    one = replace(
        one,
        plan=replace(one.plan, duration=minutes),
        created=begun,
        updated=one.updated if shown["updated"] else begun,
        payment_time=one.payment_time if shown["payment_time"] else None,
        interest_paid=Decimal(interest),
    )
    found = FixedMaturities().new_events([one], WatchState(since=0), NOW)
    assert [occurrence.second for occurrence in found] == [second][: second is not None]


RICH = BalanceLevels(BalanceCondition("main", "USDT", at_least=Decimal(100)))


def test_a_balance_is_emitted_when_it_comes_within_limits_and_when_it_changes_there():
    state, ids = WatchState(), []
    RICH.begin({}, state, NOW)
    for second, amount in enumerate(["5", "100", "100", "100.00", "250", "250", "7", "250", "250"]):
        ids.append(emitted(RICH, {"USDT": Decimal(amount)}, state, NOW + second))
    assert ids == [[], ["1/100"], [], [], ["2/250"], [], [], ["3/250"], []]
    assert RICH.question is Question.MAIN_BALANCE


def test_numbers_of_a_balance_continue_when_the_state_is_lost():
    state = WatchState(since=0, armed_after=41)
    assert emitted(RICH, {"USDT": Decimal(100)}, state) == ["42/100"]


def test_a_balance_is_emitted_once_after_an_event_was_lost():
    state = WatchState(since=0, armed_after=2, emitted={"1/100": NOW})
    ids = [emitted(RICH, {"USDT": Decimal(150)}, state, NOW + second) for second in (1, 2, 3)]
    assert ids == [["3/150"], [], []]


def test_state_survives_json():
    state = WatchState(NOW, 3, {"a": NOW, "b": NOW + 1})
    assert WatchState.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert WatchState.from_json({}) == WatchState()


def test_pruning_keeps_the_newest():
    assert pruned({"old": 0, "edge": 10, "new": KEPT + 10}) == {"edge": 10, "new": KEPT + 10}
    assert pruned({}) == {}


class Life:
    """A watch that is killed and restarted, and an Airflow that stores its events, or dies before."""

    def __init__(self, watch, record_deliveries):
        self.watch = watch
        self.record_deliveries = record_deliveries
        self.saved = None
        self.delivered = {}
        self.stored = []
        self.start()

    def start(self):
        self.state = WatchState(since=0) if self.saved is None else WatchState.from_json(self.saved)
        self.state.add(self.delivered)

    def poll(self, answer, dies_after, now):
        """One answer. The process dies after this many events were stored; ``None``: it survives."""
        found = self.watch.new_events(answer, self.state, now)
        self.saved = json.loads(json.dumps(self.state.to_json()))
        for number, occurrence in enumerate(found):
            if number == dies_after:
                break
            self.state.mark_emitted(occurrence)
            self.stored.append(occurrence.id)
            if self.record_deliveries:
                self.delivered[occurrence.id] = occurrence.second
        if dies_after is not None:
            self.start()


@pytest.mark.parametrize("record_deliveries", [True, False])
@given(
    days=st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 4))), max_size=30),
)
def test_kills_lose_nothing_and_with_recorded_deliveries_nothing_comes_twice(record_deliveries, days):
    life, history, number = Life(FlexEarnings(), record_deliveries), [], 0
    for day, (credited, dies_after) in enumerate(days):
        for _ in range(credited):
            number += 1
            history.append(earning(NOW + day * DAY, f"tx{number}"))
        life.poll(history, dies_after, NOW + day * DAY)
    life.poll(history, None, NOW + len(days) * DAY)
    assert set(life.stored) == {key for key, _ in record_keys(history)}
    if record_deliveries:
        assert len(life.stored) == len(set(life.stored))


def test_an_occurrence_is_what_it_says():
    (one,) = FlexEarnings().new_events([earning(NOW, "a")], WatchState(since=0), NOW)
    assert one == Occurrence(one.id, NOW, earning(NOW, "a").to_json())
    assert one.id.startswith("a/")


def test_records_that_share_an_id_or_have_none_are_occurrences_of_their_own():
    shared = [earning(NOW, "a", plan="p"), earning(NOW, "a", plan="q")]
    nameless = [replace(entry, transaction_id=None) for entry in shared]
    # Identical records are different earnings.
    twice = [earning(NOW + 1, "b"), earning(NOW + 1, "b")]
    state = WatchState(since=0)
    assert emitted(FlexEarnings(), [*twice[:1], *shared], state) == ["a", "a", "b"]
    assert emitted(FlexEarnings(), [*twice, *nameless, *shared], state) == [None, None, "b"]
    assert emitted(FlexEarnings(), [*shared, *twice, *nameless], state) == []


def test_a_record_that_does_not_name_its_plan_or_asset_is_emitted_to_those_who_watch_all():
    nameless = [replace(earning(NOW, "a"), plan_id=None, currency=None)]
    assert emitted(FlexEarnings(plan_id="p"), nameless, WatchState(since=0)) == []
    assert emitted(FlexEarnings(ticker="USDT"), nameless, WatchState(since=0)) == []
    assert emitted(FlexEarnings(), nameless, WatchState(since=0)) == ["a"]
