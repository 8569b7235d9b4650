"""Event triggers: one event for each occurrence, across errors and restarts."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import FlexPlan, FlexTransaction
from airflow_provider_whitebit.treasury import occurrences
from airflow_provider_whitebit.triggers import events, polls, state_store
from airflow_provider_whitebit.triggers.events import (
    WhiteBitBalanceTrigger,
    WhiteBitFixedMaturityTrigger,
    WhiteBitFlexClosedTrigger,
    WhiteBitFlexEarningTrigger,
    WhiteBitPlanTrigger,
    WhiteBitRateTrigger,
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
        self.requests = []
        self.unknown = None

    def reread_connection(self):
        return False

    def require_known(self, question, names, answer):
        if self.unknown and names.unseen(answer):
            raise self.unknown

    def poll(self, question, since):
        self.requests.append((question, since))
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


@pytest.fixture(autouse=True)
def short_ids(monkeypatch):
    """Each occurrence is named like its transaction."""
    monkeypatch.setattr(occurrences, "record_keys", lambda records: ((r.transaction_id, r) for r in records))


@pytest.fixture
def variables(monkeypatch):
    kept = {}
    monkeypatch.setattr(state_store, "read_variable", kept.get)
    monkeypatch.setattr(state_store, "keep_variable", lambda name, text, _: kept.update({name: text}))
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
    """Where state and deliveries are kept: Variables, keys in an asset's state."""
    name = trigger._progress().trigger
    return (
        state_store.variable_name(name),
        state_store.variable_name(name, state_store.DELIVERED),
        state_store.state_key(name, "state"),
        state_store.state_key(name, state_store.DELIVERED),
    )


def earnings(**more):
    return WhiteBitFlexEarningTrigger(**{"poke_interval": 0.005, **more})


async def first(trigger, number):
    found = []
    # Reached only if nothing is emitted at all.
    async with asyncio.timeout(60), aclosing(trigger.run()) as emitted:
        async for event in emitted:
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
        WhiteBitRateTrigger(ticker="usdt", above="0.10"),
        WhiteBitRateTrigger(ticker="usdt", below=Decimal("0.05"), poke_interval=5),
        WhiteBitRateTrigger(ticker="usdt", changed_by=1),
        WhiteBitPlanTrigger(),
        WhiteBitPlanTrigger(product="FIXED", plan_id=PLAN.upper(), ticker="usdt", changes=["paused", "new"]),
        WhiteBitPlanTrigger(changes="gone, limits"),
    ],
)
def test_they_can_be_created_again_from_their_serialized_form(trigger):
    name, arguments = trigger.serialize()
    assert name == f"airflow_provider_whitebit.triggers.events.{type(trigger).__name__}"
    again = type(trigger)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (name, arguments)
    assert again.watch() == trigger.watch()


def test_parameters_are_checked_when_the_dag_file_is_read():
    wrong_times = ("soon", pendulum.naive(2026, 1, 1), NOW * 1000, True)
    for wrong in ({"plan_id": "x"}, {"ticker": "U$"}, *({"since": since} for since in wrong_times)):
        with pytest.raises(e.WhiteBitValidationError):
            WhiteBitFlexEarningTrigger(**wrong)
    with pytest.raises(ValueError, match="poke_interval is 0"):
        WhiteBitFlexEarningTrigger(poke_interval=0)
    for interval in ("nan", "inf"):
        with pytest.raises(ValueError, match=f"poke_interval is {interval}"):
            WhiteBitFlexEarningTrigger(poke_interval=float(interval))
    for wrong in ({}, {"at_least": "", "at_most": None}, {"at_least": "5", "at_most": "4.9"}):
        with pytest.raises(e.WhiteBitValidationError, match=r"at_least.* both\."):
            WhiteBitBalanceTrigger(ticker="USDT", **wrong)
    with pytest.raises(e.WhiteBitValidationError, match="at_least is a float"):
        WhiteBitBalanceTrigger(ticker="USDT", at_least=1.5)
    for wrong in ({}, {"above": "0.1", "below": "0.2"}, {"changed_by": "0.1", "below": "0.2"}):
        with pytest.raises(ValueError, match="exactly one of above, below, changed_by"):
            WhiteBitRateTrigger(ticker="USDT", **wrong)
    for wrong in ({"above": 0.1}, {"above": "5"}, {"below": "0"}, {"changed_by": "-0.1"}, {"above": "10 %"}):
        with pytest.raises(e.WhiteBitValidationError, match=f"{next(iter(wrong))} is "):
            WhiteBitRateTrigger(ticker="USDT", **wrong)
    for wrong in ({"product": "bond"}, {"changes": "sold"}, {"changes": []}, {"plan_id": "x y"}, {"ticker": "U$"}):
        with pytest.raises(e.WhiteBitValidationError):
            WhiteBitPlanTrigger(**wrong)
    with pytest.raises(ValueError, match="does not list paused Flex plans"):
        WhiteBitPlanTrigger(changes=["paused"])


def test_an_event_for_each_occurrence(exchange):
    shop = exchange([earning("a")], [earning("a"), earning("b", NOW + 1)], [earning("c", NOW + 2), earning("a")])
    (event, later) = asyncio.run(first(watched(earnings(), State()), 2))
    assert (event["event"], event["whitebit_conn_id"]) == ("flex_earning_credited", "whitebit_default")
    (one,) = event["occurrences"]
    assert (one["id"], one["second"], one["record"]["amount"]) == ("b", NOW + 1, "0.1")
    assert later["occurrences"][0]["id"] == "c"
    assert shop.requests[0][1] is not None


def test_a_restart_continues_where_it_was(exchange):
    state = State()
    exchange([earning("a")], [earning("a"), earning("b")])
    assert ids(watched(earnings(), state), 1) == ["b"]
    # Airflow records what it has delivered. Occurrences from the time without a triggerer are emitted.
    name = next(iter(state.kept)).removesuffix(".state")
    state.kept[f"{name}.delivered"] = json.dumps({"b": NOW})
    exchange([earning("a"), earning("b"), earning("c")])
    assert ids(watched(earnings(), state), 1) == ["c"]


def test_a_restart_before_airflow_has_stored_an_event_emits_it_again(exchange):
    state = State()
    exchange([earning("a")], [earning("a"), earning("b")])
    assert ids(watched(earnings(), state), 1) == ["b"]
    assert ids(watched(earnings(), state), 1) == ["b"]


def test_another_interval_keeps_the_state_and_another_asset_does_not(exchange):
    state = State()
    exchange([earning("a")], [earning("a"), earning("b")])
    ids(watched(earnings(), state), 1)
    assert ids(watched(earnings(poke_interval=0.006), state), 1) == ["b"]
    assert len(state.kept) == 1
    exchange([earning("a"), earning("b")], [earning("a"), earning("b"), earning("c")])
    assert ids(watched(earnings(ticker="USDT"), state), 1) == ["c"]
    assert len(state.kept) == 2


def test_one_trigger_of_several_assets_knows_the_deliveries_of_each(exchange):
    old, new = State(), State()
    exchange([], [earning("a")])
    ids(watched(earnings(), old), 1)
    name = next(iter(old.kept)).removesuffix(".state")
    old.kept[f"{name}.delivered"] = json.dumps({"a": NOW})
    exchange([earning("a"), earning("b")])
    assert ids(watched(earnings(), new, old), 1) == ["b"]


def test_without_asset_state_a_variable_keeps_it(exchange, variables, monkeypatch):
    exchange([earning("a")], [earning("a"), earning("b")])
    assert ids(earnings(), 1) == ["b"]
    assert len(variables) == 1
    assert json.loads(next(iter(variables.values())))["emitted"] == {"a": NOW}
    monkeypatch.setattr(events, "_STORED_AFTER", 0)
    exchange([earning("a"), earning("b")], [earning("a"), earning("b"), earning("c")])
    assert ids(earnings(), 2) == ["b", "c"]
    exchange([earning("a"), earning("b"), earning("c"), earning("d")])
    assert ids(earnings(), 2) == ["c", "d"]


def test_an_upgrade_continues_from_the_variables_and_never_returns_to_them(exchange, variables):
    saved, delivered, *_ = names(earnings())
    exchange([earning("a")], [earning("a"), earning("b")])
    assert ids(earnings(), 1) == ["b"]
    variables[delivered] = json.dumps({"asset_0": {"b": NOW}})
    state = State()
    exchange([earning("a"), earning("b"), earning("c")])
    assert ids(watched(earnings(), state), 1) == ["c"]
    assert json.loads(variables[saved]) == {"moved": True}
    # Airflow deletes the state of unused assets: this is a first run again.
    state.kept.clear()
    exchange([earning(name) for name in "abcd"], [earning(name) for name in "abcde"])
    assert ids(watched(earnings(), state), 1) == ["e"]


def test_deliveries_to_an_asset_of_another_trigger_count_for_that_one(exchange, variables):
    _, delivered, *_ = names(earnings())
    variables[delivered] = json.dumps({"another": {"b": NOW}, "asset_0": {"c": NOW}})
    exchange([], [earning("b"), earning("c")])
    assert ids(watched(earnings(), State()), 1) == ["b"]


def test_an_asset_without_state_does_not_block_the_others(exchange):
    unused, used = State(), State()
    unused.broken = 1_000
    exchange([], [earning("a")])
    assert ids(watched(earnings(), unused, used), 1) == ["a"]
    assert (len(unused.kept), len(used.kept)) == (0, 1)


def test_deliveries_are_known_without_a_saved_state(exchange):
    state = State()
    *_, delivered = names(earnings())
    state.kept[delivered] = json.dumps({"b": NOW})
    exchange([earning("a", NOW - 1), earning("b"), earning("c", NOW + 1)])
    assert ids(watched(earnings(), state), 1) == ["c"]


def test_numbers_of_a_balance_continue_without_a_saved_state(exchange, variables):
    rich = WhiteBitBalanceTrigger(ticker="USDT", at_least=50, poke_interval=0.005)
    _, in_variable, _, in_state = names(rich)
    state = State()
    state.kept[in_state] = json.dumps({"1/50": NOW})
    exchange({"USDT": Decimal(50)}, {"USDT": Decimal(70)})
    assert ids(watched(rich, state), 1) == ["2/70"]
    # This is a first run, which emits a balance within limits.
    variables[in_variable] = json.dumps({"asset_0": {"7/50": NOW}})
    exchange({"USDT": Decimal(50)})
    assert ids(watched(rich, State()), 1) == ["8/50"]


@pytest.mark.parametrize(("stored", "seconds", "saved"), [(True, 1, True), (False, 3599, False), (False, 3600, True)])
def test_an_event_is_saved_when_airflow_has_stored_it(exchange, monkeypatch, stored, seconds, saved):
    clock = [100.0]
    monkeypatch.setattr(events, "_monotonic", lambda: clock[0])
    state, trigger = State(), earnings()
    _, _, state_name, delivered = names(trigger)
    exchange([], [earning("a")], [earning("a"), earning("b")])

    async def look():
        async with aclosing(watched(trigger, state).run()) as emitted:
            await anext(emitted)
            clock[0] += seconds
            if stored:
                state.kept[delivered] = json.dumps({"a": NOW})
            await anext(emitted)

    asyncio.run(look())
    assert ("a" in json.loads(state.kept[state_name])["emitted"]) == saved


@pytest.mark.parametrize(
    "error",
    [
        e.WhiteBitUnavailableError("down"),
        e.WhiteBitAuthenticationError("wrong key"),
        e.WhiteBitConfigurationError("wrong host"),
        RuntimeError("no such connection"),
    ],
)
def test_no_error_ends_it_and_nothing_is_emitted_twice_after_one(exchange, error):
    exchange([], [earning("a")], error, error, error, [earning("a"), earning("b")])
    assert ids(watched(earnings(), State()), 2) == ["a", "b"]


def test_saving_the_state_is_repeated_before_anything_is_emitted(exchange):
    state = State()
    state.broken = 3
    exchange([earning("a")], [earning("a")], [earning("a")], [earning("a")], [earning("a"), earning("b")])
    assert ids(watched(earnings(), state), 1) == ["b"]
    assert state.broken == 0


def test_a_balance(exchange):
    exchange({"USDT": Decimal(5)}, {"USDT": Decimal(100)}, {"USDT": Decimal(100)}, {"USDT": Decimal(300)})
    state = State()
    rich = WhiteBitBalanceTrigger(ticker="USDT", at_least=100, poke_interval=0.005)
    emitted = asyncio.run(first(watched(rich, state), 2))
    assert {event["event"] for event in emitted} == {"balance_within_limits"}
    (one, two) = [occurrence for event in emitted for occurrence in event["occurrences"]]
    assert one["record"] == {"account": "main", "ticker": "USDT", "amount": "100"}
    assert two["record"]["amount"] == "300"
    assert [one["id"], two["id"]] == ["1/100", "2/300"]


def offer(rate="0.1", name=PLAN, least="10"):
    return FlexPlan(name, "USDT", Decimal(least), None, None if rate is None else Decimal(rate))


LOW, HIGH = [offer("0.05")], [offer("0.2")]


def high_rate():
    return WhiteBitRateTrigger(ticker="USDT", above="0.1", poke_interval=0.005)


def changed_plans(**more):
    return WhiteBitPlanTrigger(poke_interval=0.005, **more)


def test_a_rate_continues_where_it_was(exchange):
    state = State()
    shop = exchange(LOW, LOW, HIGH, HIGH)
    (event,) = asyncio.run(first(watched(high_rate(), state), 1))
    assert (event["event"], event["occurrences"][0]["id"]) == ("flex_rate_crossed", "1/above")
    assert event["occurrences"][0]["record"]["rate"] == "0.2"
    assert shop.requests[0][0] == "flex_plans"
    # Airflow did not store it.
    exchange(HIGH)
    assert ids(watched(high_rate(), state), 1) == ["1/above"]
    *_, delivered = names(high_rate())
    state.kept[delivered] = json.dumps({"1/above": NOW})
    exchange(HIGH, HIGH, LOW, LOW, HIGH, HIGH)
    assert ids(watched(high_rate(), state), 1) == ["2/above"]


def test_a_change_of_a_rate_is_measured_from_what_was_stored(exchange, variables):
    def moved():
        return WhiteBitRateTrigger(ticker="USDT", changed_by="0.05", poke_interval=0.005)

    exchange([offer("0.10")], [offer("0.10")], [offer("0.15")], [offer("0.15")])
    assert ids(moved(), 1) == ["1/0.15"]
    _, delivered, *_ = names(moved())
    # It was not stored, so the next one is measured from the first rate.
    exchange([offer("0.14")], [offer("0.14")], [offer("0.05")], [offer("0.05")])
    assert ids(moved(), 1) == ["1/0.05"]
    variables[delivered] = json.dumps({"asset": {"1/0.05": NOW}})
    exchange([offer("0.09")], [offer("0.09")], [offer("0.1")], [offer("0.1")])
    assert ids(moved(), 1) == ["2/0.1"]


def test_plans_continue_where_they_were(exchange):
    state, plans = State(), [offer(), offer(name="other")]
    exchange(plans, plans, plans[:1], plans[:1])
    (event,) = asyncio.run(first(watched(changed_plans(), state), 1))
    assert event["event"] == "plan_changed"
    assert event["occurrences"][0]["record"]["changes"] == ["gone"]
    assert ids(watched(changed_plans(), state), 1) == ["other/1/gone:10:-"]
    *_, delivered = names(changed_plans())
    state.kept[delivered] = json.dumps({"other/1/gone:10:-": NOW})
    exchange(plans[:1], plans[:1], plans)
    assert ids(watched(changed_plans(), state), 1) == ["other/2/open:10:-"]
    # What changes while no triggerer runs is emitted.
    state.kept[delivered] = json.dumps({"other/1/gone:10:-": NOW, "other/2/open:10:-": NOW})
    exchange([offer(least="20"), plans[1]])
    assert ids(watched(changed_plans(), state), 1) == [f"{PLAN}/1/open:20:-"]


def test_a_plan_that_the_exchange_knows_no_more_is_gone(exchange):
    away = [offer(name="other")]
    shop = exchange([offer()], [offer()], away)
    shop.unknown = e.WhiteBitValidationError("the exchange has no such plan")
    state, plan = State(), {"plan_id": PLAN, "changes": "gone"}
    assert ids(watched(changed_plans(**plan), state), 1) == [f"{PLAN}/1/gone:10:-"]
    # Also for the next triggerer.
    assert ids(watched(changed_plans(**plan), state), 1) == [f"{PLAN}/1/gone:10:-"]


def test_of_several_copies_of_a_state_the_latest_counts(exchange):
    old, new, plans = State(), State(), [offer(), offer(name="other")]
    exchange(plans, plans, plans[:1])
    ids(watched(changed_plans(), old, new), 1)
    # The first asset was not watched meanwhile: its copy has an earlier list.
    name = next(key for key in old.kept if key.endswith(".state"))
    earlier = json.loads(old.kept[name])
    later = {**earlier, "writes": earlier["writes"] + 5}
    later["memory"] = {"plans": {PLAN: [3, "open:20:-"]}, "tickers": {}, "changed": {}}
    new.kept[name] = json.dumps(later)
    exchange([offer(least="30")])
    for states in ((old, new), (new, old)):
        assert ids(watched(changed_plans(), *states), 1) == [f"{PLAN}/4/open:30:-"]
        old.kept[name], new.kept[name] = json.dumps(earlier), json.dumps(later)


def test_triggers_and_sensors_share_their_requests(exchange):
    shop = exchange([earning("a")])

    async def crowd():
        alike = (watched(earnings(ticker="USDT", since=NOW, poke_interval=0.2), State()) for _ in range(300))
        return await asyncio.gather(*(first(trigger, 1) for trigger in alike))

    assert len(asyncio.run(crowd())) == 300
    # Late triggers wait for the next request.
    assert len(shop.requests) <= 30


def test_one_poll_makes_one_event_and_a_long_list_comes_in_parts(exchange, monkeypatch):
    exchange([], [earning("a"), earning("b"), earning("c")])
    (event,) = asyncio.run(first(watched(earnings(), State()), 3))
    assert [one["id"] for one in event["occurrences"]] == ["a", "b", "c"]
    monkeypatch.setattr(events, "_MOST", 2)
    exchange([], [earning("a"), earning("b"), earning("c")])
    emitted = asyncio.run(first(watched(earnings(), State()), 3))
    assert [[one["id"] for one in event["occurrences"]] for event in emitted] == [["a", "b"], ["c"]]


def test_events_keep_a_distance_so_that_each_starts_a_run(exchange, monkeypatch):
    clock = iter(range(100, 1000))
    monkeypatch.setattr(events, "_SPACING", 10)
    monkeypatch.setattr(events, "_monotonic", lambda: next(clock))
    exchange([], [earning("a")], [earning("a"), earning("b")], [earning("a"), earning("b"), earning("c")])
    emitted = asyncio.run(first(watched(earnings(), State()), 3))
    assert [[one["id"] for one in event["occurrences"]] for event in emitted] == [["a"], ["b", "c"]]


def test_events_keep_a_distance_after_an_error_too(exchange, monkeypatch):
    clock = iter(range(100, 1000))
    monkeypatch.setattr(events, "_SPACING", 10)
    monkeypatch.setattr(events, "_monotonic", lambda: next(clock))
    down = e.WhiteBitPermissionError("no")
    exchange([], [earning("a")], down, [earning("a"), earning("b")], down, [earning(name) for name in "abc"])
    emitted = asyncio.run(first(watched(earnings(), State()), 3))
    assert [[one["id"] for one in event["occurrences"]] for event in emitted] == [["a"], ["b", "c"]]


def test_a_history_without_new_records_is_not_read_again_and_again(exchange):
    """The trigger has a filter that nothing fits, while the account has other earnings every day."""
    now, state = int(time.time()), State()
    old = [earning("old", now - 90 * 86_400)]
    shop = exchange(old)
    _, _, in_state, _ = names(earnings(ticker="BTC", since=now - 100 * 86_400))

    async def watch():
        trigger = watched(earnings(ticker="BTC", since=now - 100 * 86_400), state)
        waiting = asyncio.create_task(first(trigger, 1))
        while len(shop.requests) < 4:
            await asyncio.sleep(0.01)
        shop.answers = [[replace(earning("new", now - 3600), currency="BTC")]]
        return await waiting

    (event,) = asyncio.run(watch())
    assert [one["id"] for one in event["occurrences"]] == ["new"]
    assert shop.requests[0][1] == now - 100 * 86_400
    assert shop.requests[3][1] >= now - occurrences.KEPT
    assert json.loads(state.kept[in_state])["since"] >= now - occurrences.KEPT


def test_what_airflow_may_not_have_stored_is_not_left_behind(exchange):
    """An occurrence of long ago was passed to Airflow, and the triggerer dies before it is stored."""
    second = int(time.time()) - 30 * 86_400
    state, since = State(), second - 1
    shop = exchange([earning("old", second)])

    async def watch():
        async with aclosing(watched(earnings(since=since), state).run()) as emitted:
            await anext(emitted)
            waiting = asyncio.create_task(anext(emitted))
            while len(shop.requests) < 4:
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(watch())
    assert ids(watched(earnings(since=since), state), 1) == ["old"]


def test_an_unknown_ticker_is_no_empty_balance(exchange, monkeypatch):
    shop = exchange({"USDT": Decimal(0)})
    shop.unknown = e.WhiteBitValidationError("ticker is USTD: the exchange has no such asset.")
    trigger = WhiteBitBalanceTrigger(ticker="USTD", at_most="10")
    trigger.poke_interval = 0.005
    logged = []
    log = SimpleNamespace(error=lambda text, *facts: logged.append(text % facts), info=lambda *_: None)
    monkeypatch.setattr(WhiteBitBalanceTrigger, "log", log)

    async def watch():
        waiting = asyncio.create_task(first(watched(trigger, State()), 1))
        while len(logged) < 2:
            await asyncio.sleep(0.01)
        shop.unknown = None
        return await waiting

    (found,) = asyncio.run(watch())
    assert "ticker is USTD" in logged[0]
    assert found["occurrences"][0]["record"]["ticker"] == "USTD"
