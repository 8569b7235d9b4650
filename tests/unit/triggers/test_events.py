"""Event triggers: one event for each occurrence, across errors and restarts."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from decimal import Decimal
from types import SimpleNamespace

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import FlexTransaction
from airflow_provider_whitebit.triggers import events, memory, polls
from airflow_provider_whitebit.triggers.events import (
    WhiteBitBalanceTrigger,
    WhiteBitFixedMaturityTrigger,
    WhiteBitFlexClosedTrigger,
    WhiteBitFlexEarningTrigger,
)

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
NOW = 1_800_000_000


def earning(name, second=NOW):
    at = pendulum.from_timestamp(second)
    return FlexTransaction(at, PLAN, "i", "USDT", Decimal("0.1"), name, 4)


class Exchange:
    """Answers one after the other, the last one again and again; an answer that is an error is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def get_conn(self):
        return self

    def observe(self, question, since):
        self.asked.append((question, since))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class State:
    """An asset's state as Airflow offers it to triggers."""

    def __init__(self):
        self.kept = {}
        self.broken = 0

    async def aget(self, key, default=None):
        return json.loads(self.kept[key]) if key in self.kept else default

    async def aset(self, key, value):
        if self.broken:
            self.broken -= 1
            raise RuntimeError("the API server is away")
        self.kept[key] = json.dumps(value)


@pytest.fixture
def variables(monkeypatch):
    kept = {}
    monkeypatch.setattr(memory, "read_variable", kept.get)
    monkeypatch.setattr(memory, "keep_variable", lambda name, text, _: kept.update({name: text}))
    return kept


@pytest.fixture
def exchange(monkeypatch, variables):
    monkeypatch.setattr(events, "_LEAST_INTERVAL", 0)
    monkeypatch.setattr(events, "_SPACING", 0)

    def use(*answers):
        made = Exchange(*answers)
        monkeypatch.setattr(polls, "WhiteBitHook", lambda conn_id: made)
        return made

    return use


def watched(trigger, *states):
    by_name = {f"asset_{number}": state for number, state in enumerate(states)}
    trigger.asset_state_store = SimpleNamespace(_by_name=by_name, _by_uri={})
    return trigger


def names(trigger):
    """Of what is noted and of what was delivered: Variables, keys in an asset's state."""
    name = trigger._diary().trigger
    return (
        memory.variable_name(name),
        memory.variable_name(name, memory.DELIVERED),
        memory.state_key(name, "noted"),
        memory.state_key(name, memory.DELIVERED),
    )


def earnings(**more):
    return WhiteBitFlexEarningTrigger(**{"poke_interval": 0.005, **more})


async def first(trigger, number):
    found = []
    # Only where nothing is told at all.
    async with asyncio.timeout(60), aclosing(trigger.run()) as told:
        async for event in told:
            found.append(event.payload)
            if sum(len(payload["occurrences"]) for payload in found) >= number:
                break
    return found


def ids(trigger, number):
    return [one["id"] for payload in asyncio.run(first(trigger, number)) for one in payload["occurrences"]]


@pytest.mark.parametrize(
    "trigger",
    [
        WhiteBitFlexEarningTrigger(plan_id=PLAN.upper(), since="2026-01-01T00:00:00+00:00", poke_interval=5),
        WhiteBitFlexClosedTrigger(ticker="usdt", whitebit_conn_id="other"),
        WhiteBitFixedMaturityTrigger(),
        WhiteBitBalanceTrigger(account="trade", ticker="usdt", at_least="100.50", at_most=Decimal(7000)),
    ],
)
def test_they_can_be_made_anew_from_what_they_say_of_themselves(trigger):
    name, arguments = trigger.serialize()
    assert name == f"airflow_provider_whitebit.triggers.events.{type(trigger).__name__}"
    again = type(trigger)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (name, arguments)
    assert again.watch() == trigger.watch()


def test_parameters_are_checked_when_the_dag_file_is_read():
    for wrong in ({"plan_id": "x"}, {"ticker": "U$"}, {"since": "soon"}, {"since": pendulum.naive(2026, 1, 1)}):
        with pytest.raises(e.WhiteBitValidationError):
            WhiteBitFlexEarningTrigger(**wrong)
    with pytest.raises(ValueError, match="poke_interval is 0"):
        WhiteBitFlexEarningTrigger(poke_interval=0)
    with pytest.raises(ValueError, match="at_least"):
        WhiteBitBalanceTrigger(ticker="USDT")
    with pytest.raises(e.WhiteBitValidationError, match="at_least is a float"):
        WhiteBitBalanceTrigger(ticker="USDT", at_least=1.5)


def test_an_event_for_each_occurrence(exchange):
    shop = exchange([earning("a")], [earning("a"), earning("b", NOW + 1)], [earning("c", NOW + 2), earning("a")])
    (event, later) = asyncio.run(first(watched(earnings(), State()), 2))
    assert (event["event"], event["whitebit_conn_id"]) == ("flex_earning_credited", "whitebit_default")
    (one,) = event["occurrences"]
    assert (one["id"], one["second"], one["record"]["amount"]) == ("b", NOW + 1, "0.1")
    assert later["occurrences"][0]["id"] == "c"
    assert shop.asked[0][1] is not None


def test_a_restart_goes_on_where_it_was(exchange):
    state = State()
    exchange([earning("a")], [earning("a"), earning("b")])
    assert ids(watched(earnings(), state), 1) == ["b"]
    # Airflow notes what it has delivered; what happened while nothing ran is told.
    name = next(iter(state.kept)).removesuffix(".noted")
    state.kept[f"{name}.delivered"] = json.dumps({"b": NOW})
    exchange([earning("a"), earning("b"), earning("c")])
    assert ids(watched(earnings(), state), 1) == ["c"]


def test_a_restart_before_airflow_has_stored_an_event_tells_it_again(exchange):
    state = State()
    exchange([earning("a")], [earning("a"), earning("b")])
    assert ids(watched(earnings(), state), 1) == ["b"]
    assert ids(watched(earnings(), state), 1) == ["b"]


def test_asking_more_often_is_no_other_watch_and_another_plan_is(exchange):
    state = State()
    exchange([earning("a")], [earning("a"), earning("b")])
    ids(watched(earnings(), state), 1)
    assert ids(watched(earnings(poke_interval=0.006), state), 1) == ["b"]
    assert len(state.kept) == 1
    exchange([earning("a"), earning("b")], [earning("a"), earning("b"), earning("c")])
    assert ids(watched(earnings(ticker="USDT"), state), 1) == ["c"]
    assert len(state.kept) == 2


def test_one_trigger_of_several_assets_knows_what_any_of_them_was_told(exchange):
    old, new = State(), State()
    exchange([], [earning("a")])
    ids(watched(earnings(), old), 1)
    name = next(iter(old.kept)).removesuffix(".noted")
    old.kept[f"{name}.delivered"] = json.dumps({"a": NOW})
    exchange([earning("a"), earning("b")])
    assert ids(watched(earnings(), new, old), 1) == ["b"]


def test_without_asset_state_a_variable_keeps_it(exchange, variables, monkeypatch):
    exchange([earning("a")], [earning("a"), earning("b")])
    assert ids(earnings(), 1) == ["b"]
    assert len(variables) == 1
    assert json.loads(next(iter(variables.values())))["told"] == {"a": NOW}
    monkeypatch.setattr(events, "_STORED_AFTER", 0)
    exchange([earning("a"), earning("b")], [earning("a"), earning("b"), earning("c")])
    assert ids(earnings(), 2) == ["b", "c"]
    exchange([earning("a"), earning("b"), earning("c"), earning("d")])
    assert ids(earnings(), 2) == ["c", "d"]


def test_an_upgrade_goes_on_where_the_variables_have_stopped_and_never_returns_to_them(exchange, variables):
    noted, delivered, *_ = names(earnings())
    exchange([earning("a")], [earning("a"), earning("b")])
    assert ids(earnings(), 1) == ["b"]
    variables[delivered] = json.dumps({"asset_0": {"b": NOW}})
    state = State()
    exchange([earning("a"), earning("b"), earning("c")])
    assert ids(watched(earnings(), state), 1) == ["c"]
    assert json.loads(variables[noted]) == {"moved": True}
    # Airflow deletes what it keeps of an asset that is not used: this is a first time again.
    state.kept.clear()
    exchange([earning(name) for name in "abcd"], [earning(name) for name in "abcde"])
    assert ids(watched(earnings(), state), 1) == ["e"]


def test_what_was_delivered_to_an_asset_of_another_trigger_counts_for_that_one(exchange, variables):
    _, delivered, *_ = names(earnings())
    variables[delivered] = json.dumps({"another": {"b": NOW}, "asset_0": {"c": NOW}})
    exchange([], [earning("b"), earning("c")])
    assert ids(watched(earnings(), State()), 1) == ["b"]


def test_an_asset_whose_state_airflow_does_not_keep_holds_up_no_other(exchange):
    unused, used = State(), State()
    unused.broken = 1_000
    exchange([], [earning("a")])
    assert ids(watched(earnings(), unused, used), 1) == ["a"]
    assert (len(unused.kept), len(used.kept)) == (0, 1)


def test_what_was_delivered_is_known_although_nothing_is_noted(exchange):
    state = State()
    *_, delivered = names(earnings())
    state.kept[delivered] = json.dumps({"b": NOW})
    exchange([earning("a", NOW - 1), earning("b"), earning("c", NOW + 1)])
    assert ids(watched(earnings(), state), 1) == ["c"]


def test_numbers_of_a_balance_go_on_although_nothing_is_noted(exchange, variables):
    rich = WhiteBitBalanceTrigger(ticker="USDT", at_least=50, poke_interval=0.005)
    _, in_variable, _, in_state = names(rich)
    state = State()
    state.kept[in_state] = json.dumps({"1/50": NOW})
    exchange({"USDT": Decimal(50)}, {"USDT": Decimal(70)})
    assert ids(watched(rich, state), 1) == ["2/70"]
    # This is a first time, at which a balance within limits is told.
    variables[in_variable] = json.dumps({"asset_0": {"7/50": NOW}})
    exchange({"USDT": Decimal(50)})
    assert ids(watched(rich, State()), 1) == ["8/50"]


@pytest.mark.parametrize(("stored", "seconds", "noted"), [(True, 1, True), (False, 3599, False), (False, 3600, True)])
def test_what_is_handed_over_is_noted_when_airflow_has_stored_it(exchange, monkeypatch, stored, seconds, noted):
    clock = [100.0]
    monkeypatch.setattr(events, "_monotonic", lambda: clock[0])
    state, trigger = State(), earnings()
    _, _, noted_key, delivered = names(trigger)
    exchange([], [earning("a")], [earning("a"), earning("b")])

    async def look():
        async with aclosing(watched(trigger, state).run()) as told:
            await anext(told)
            clock[0] += seconds
            if stored:
                state.kept[delivered] = json.dumps({"a": NOW})
            await anext(told)

    asyncio.run(look())
    assert ("a" in json.loads(state.kept[noted_key])["told"]) == noted


@pytest.mark.parametrize(
    "error",
    [
        e.WhiteBitUnavailableError("down"),
        e.WhiteBitAuthenticationError("wrong key"),
        e.WhiteBitConfigurationError("wrong host"),
        RuntimeError("no such connection"),
    ],
)
def test_no_error_ends_it_and_nothing_is_told_twice_after_one(exchange, error):
    exchange([], [earning("a")], error, error, error, [earning("a"), earning("b")])
    assert ids(watched(earnings(), State()), 2) == ["a", "b"]


def test_state_that_cannot_be_kept_is_tried_again_before_anything_is_told(exchange):
    state = State()
    state.broken = 3
    exchange([earning("a")], [earning("a")], [earning("a")], [earning("a")], [earning("a"), earning("b")])
    assert ids(watched(earnings(), state), 1) == ["b"]
    assert state.broken == 0


def test_a_balance(exchange):
    exchange({"USDT": Decimal(5)}, {"USDT": Decimal(100)}, {"USDT": Decimal(100)}, {"USDT": Decimal(300)})
    state = State()
    rich = WhiteBitBalanceTrigger(ticker="USDT", at_least=100, poke_interval=0.005)
    told = asyncio.run(first(watched(rich, state), 2))
    assert {event["event"] for event in told} == {"balance_within_limits"}
    (one, two) = [occurrence for event in told for occurrence in event["occurrences"]]
    assert one["record"] == {"account": "main", "ticker": "USDT", "amount": "100"}
    assert two["record"]["amount"] == "300"
    assert [one["id"], two["id"]] == ["1/100", "2/300"]


def test_triggers_and_sensors_share_their_requests(exchange):
    shop = exchange([earning("a")])

    async def crowd():
        alike = (watched(earnings(ticker="USDT", since=NOW, poke_interval=0.2), State()) for _ in range(300))
        return await asyncio.gather(*(first(trigger, 1) for trigger in alike))

    assert len(asyncio.run(crowd())) == 300
    # Those that are late wait for the next question.
    assert len(shop.asked) <= 30


def test_what_is_new_at_one_look_is_one_event_and_a_long_list_comes_in_parts(exchange, monkeypatch):
    exchange([], [earning("a"), earning("b"), earning("c")])
    (event,) = asyncio.run(first(watched(earnings(), State()), 3))
    assert [one["id"] for one in event["occurrences"]] == ["a", "b", "c"]
    monkeypatch.setattr(events, "_MOST", 2)
    exchange([], [earning("a"), earning("b"), earning("c")])
    told = asyncio.run(first(watched(earnings(), State()), 3))
    assert [[one["id"] for one in event["occurrences"]] for event in told] == [["a", "b"], ["c"]]


def test_events_keep_a_distance_so_that_each_starts_a_run(exchange, monkeypatch):
    clock = iter(range(100, 1000))
    monkeypatch.setattr(events, "_SPACING", 10)
    monkeypatch.setattr(events, "_monotonic", lambda: next(clock))
    exchange([], [earning("a")], [earning("a"), earning("b")], [earning("a"), earning("b"), earning("c")])
    told = asyncio.run(first(watched(earnings(), State()), 3))
    assert [[one["id"] for one in event["occurrences"]] for event in told] == [["a"], ["b", "c"]]
