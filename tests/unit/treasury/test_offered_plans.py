"""Rates and plans on offer: conditions, and changes that are emitted once, also across restarts and odd lists."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.models import FixedPlan, FlexPlan
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.treasury.conditions import (
    Names,
    PlanCondition,
    Question,
    RateCondition,
    condition_from_json,
)
from airflow_provider_whitebit.treasury.occurrences import KEPT, WatchState
from airflow_provider_whitebit.treasury.offer_changes import PlanChanges, RateChanges, RateLevels
from airflow_provider_whitebit.treasury.offers import Change, PlanState, Product, Terms, best_rate

DAY = 86_400
NOW = 1_800_000_000


def flex(name="a", rate="0.1", least="10", most="100", ticker="USDT"):
    amount = None if most is None else Decimal(most)
    return FlexPlan(name, ticker, Decimal(least), amount, None if rate is None else Decimal(rate))


def fixed(name="f", status=1, least="10", most="100", ticker="USDT", left=None):
    limits = Decimal(least), Decimal(most), None if left is None else Decimal(left)
    return FixedPlan(name, ticker, status, Decimal(1), 60, ticker, Decimal(1), *limits)


def unreadable(kind=FlexPlan, **raw):
    record = UnreadableRecord.of(kind, "/plans", raw, 0)
    assert record is not None
    return record


NAMELESS = unreadable(ticker="USDT")
BROKEN_A = unreadable(id="a", ticker="USDT", minInvestment="x")
OTHER_ASSET = unreadable(id="z", ticker="BTC", minInvestment="x")


@pytest.mark.parametrize(
    ("answer", "known", "rate"),
    [
        ([flex(rate="0.1"), flex("b", "0.2"), flex("c", "0.9", ticker="BTC")], "0.2", "0.2"),
        ([flex(rate="0.1"), flex("b", None)], "0.1", None),
        ([flex(rate="0.1"), BROKEN_A], "0.1", None),
        ([flex(rate="0.1"), NAMELESS], "0.1", None),
        ([flex(rate="0.1"), OTHER_ASSET], "0.1", "0.1"),
        ([flex(rate=None)], None, None),
        ([flex(rate="0")], "0", "0"),
        ([flex(ticker="BTC")], None, None),
        ([], None, None),
    ],
)
def test_the_best_rate(answer, known, rate):
    best = best_rate(answer, "USDT")
    assert (best.known, best.rate) == tuple(None if text is None else Decimal(text) for text in (known, rate))


def test_of_equal_rates_the_smallest_id_is_named():
    best = best_rate([flex("b", "0.10"), flex("a", "0.1"), flex("c", "0.01")], "USDT")
    assert best.to_json() == {"ticker": "USDT", "rate": "0.1", "plan_id": "a"}


def test_a_rate_that_may_be_in_percent_is_logged(caplog):
    best_rate([flex(rate="1"), flex("c", "15", ticker="BTC")], "USDT")
    assert not caplog.messages
    best_rate([flex(rate="1"), flex("b", "15")], "USDT")
    assert "Plan b shows max_rate 15" in caplog.text


UNKNOWN = [flex(rate="0.1"), flex("b", None)]


@pytest.mark.parametrize(
    ("limits", "answer", "met"),
    [
        ({"above": "0.1"}, [flex(rate="0.1000001")], True),
        ({"above": "0.1"}, [flex(rate="0.1")], False),
        ({"above": "0.09"}, UNKNOWN, True),
        ({"above": "0.1"}, UNKNOWN, None),
        ({"above": "0.1"}, [], None),
        ({"below": "0.1"}, [flex(rate="0.0999999")], True),
        ({"below": "0.1"}, [flex(rate="0.1")], False),
        ({"below": "0.1"}, UNKNOWN, False),
        ({"below": "0.2"}, UNKNOWN, None),
        ({"below": "0.1"}, [], None),
        ({"changed_by": "0.02", "changed_from": "0.1"}, [flex(rate="0.12")], True),
        ({"changed_by": "0.02", "changed_from": "0.1"}, [flex(rate="0.08")], True),
        ({"changed_by": "0.02", "changed_from": "0.1"}, [flex(rate="0.1199999")], False),
        ({"changed_by": "0.02", "changed_from": "0.5"}, UNKNOWN, None),
        ({"changed_by": "0.02", "changed_from": "0.5"}, [], None),
    ],
)
def test_rate_conditions(limits, answer, met):
    condition = RateCondition("USDT", **{name: Decimal(text) for name, text in limits.items()})
    again = condition_from_json(json.loads(json.dumps(condition.to_json())))
    assert again == condition
    assert again.met_by(best_rate(answer, "USDT")) is met
    found = again.judge(answer)
    assert (found is not None) is bool(met)
    json.dumps(found)


@pytest.mark.parametrize(
    ("condition", "answer", "met"),
    [
        (PlanCondition("flex", plan_id="a"), [flex()], True),
        (PlanCondition("flex", plan_id="a"), [flex("A")], True),
        (PlanCondition("flex", plan_id="a"), [flex("b")], False),
        (PlanCondition("flex", plan_id="a"), [BROKEN_A], False),
        (PlanCondition("flex", ticker="USDT"), [flex("b")], True),
        (PlanCondition("flex", ticker="USDT"), [flex(ticker="BTC")], False),
        (PlanCondition("flex", plan_id="a", admits=Decimal(100)), [flex()], True),
        (PlanCondition("flex", plan_id="a", admits=Decimal(101)), [flex()], False),
        (PlanCondition("flex", plan_id="a", admits=Decimal(9)), [flex()], False),
        (PlanCondition("flex", ticker="USDT", admits=Decimal(500)), [flex(), flex("b", most=None)], True),
        (PlanCondition("fixed", plan_id="f"), [fixed()], True),
        (PlanCondition("fixed", plan_id="f"), [fixed(status=4)], False),
        (PlanCondition("fixed", plan_id="f"), [fixed(status=9)], False),
        (PlanCondition("fixed", plan_id="f", admits=Decimal(50)), [fixed(left="49")], False),
        (PlanCondition("fixed", plan_id="f", state="paused"), [fixed(status=4)], True),
        (PlanCondition("fixed", plan_id="f", state="paused"), [fixed(status=2)], True),
        (PlanCondition("fixed", plan_id="f", state="paused"), [fixed(status=3)], True),
        (PlanCondition("fixed", plan_id="f", state="paused"), [fixed(status=9)], False),
        (PlanCondition("fixed", plan_id="f", state="paused"), [], False),
        (PlanCondition("fixed", ticker="USDT", state="paused"), [fixed(status=4), fixed("g")], False),
        (PlanCondition("flex", plan_id="a", state="gone"), [flex("b")], True),
        (PlanCondition("flex", plan_id="a", state="gone"), [], True),
        (PlanCondition("flex", plan_id="a", state="gone"), [flex()], False),
        (PlanCondition("flex", plan_id="a", state="gone"), [flex("b"), BROKEN_A], False),
        (PlanCondition("flex", plan_id="a", state="gone"), [flex("b"), NAMELESS], False),
        (PlanCondition("flex", plan_id="a", state="gone"), [flex("b"), OTHER_ASSET], True),
        (PlanCondition("flex", ticker="USDT", state="gone"), [flex("b")], False),
        (PlanCondition("fixed", plan_id="f", state="gone"), [fixed(status=9)], False),
    ],
)
def test_plan_conditions(condition, answer, met):
    again = condition_from_json(json.loads(json.dumps(condition.to_json())))
    assert again == condition
    found = again.judge(answer)
    assert (found is not None) is met
    json.dumps(found)
    assert again.question is (Question.FLEX_PLANS if condition.product == "flex" else Question.FIXED_PLANS)


def test_names_that_a_list_of_plans_does_not_show():
    assert RateCondition("USDT", above=Decimal(1)).names.unseen([flex()]) == Names()
    assert RateCondition("USTD", above=Decimal(1)).names.unseen([flex()]) == Names("USTD")
    assert PlanCondition("flex", plan_id="a").names.unseen([flex("A")]) == Names()
    assert PlanCondition("fixed", plan_id="a").names.unseen([fixed("f")]) == Names(plan_id="a")


class Life:
    """A watch that begins again from what was saved after each answer, as JSON; what it emits is stored or not."""

    def __init__(self, watch):
        self.watch = watch
        self.saved, self.delivered = None, {}
        self.now = NOW
        self.restart()

    def restart(self):
        self.state = WatchState() if self.saved is None else WatchState.from_json(json.loads(self.saved))
        self.state.add(self.delivered)

    def poll(self, answer, *, stored=True, pause=60):
        """The occurrences of one answer. If Airflow does not store them, the process ends too."""
        self.now += pause
        if self.state.since is None:
            self.watch.begin(answer, self.state, self.now)
        found = self.watch.new_events(answer, self.state, self.now)
        self.saved = json.dumps(self.state.to_json())
        for occurrence in found:
            json.dumps(occurrence.to_json())
            self.state.mark_emitted(occurrence)
            if stored:
                self.delivered[occurrence.id] = occurrence.second
        if not stored:
            self.restart()
        return found

    def twice(self, answer, **more):
        """The occurrences of an answer that comes twice in a row."""
        return [*self.poll(answer, **more), *self.poll(answer, **more)]


@pytest.fixture(params=[False, True], ids=["one process", "a new process for each answer"])
def live(request):
    def begin(watch):
        life = Life(watch)
        if request.param:
            inner = life.poll

            def poll(answer, **more):
                found = inner(answer, **more)
                life.restart()
                return found

            life.poll = poll
        return life

    return begin


def rates(life, *texts):
    """The ids for rates that are each shown in two answers; ``None`` is unknown, and a text with ``!`` comes once."""
    found = []
    for text in texts:
        once = text is not None and text.endswith("!")
        answer = [flex(rate=None if text is None else text.rstrip("!"))]
        found += [[one.id for one in (life.poll(answer) if once else life.twice(answer))]]
    return found


ABOVE = RateLevels(RateCondition("USDT", above=Decimal("0.1")))
BELOW = RateLevels(RateCondition("USDT", below=Decimal("0.1")))


def test_a_rate_above_a_limit(live):
    shown = rates(live(ABOVE), "0.1", "0.11", "0.12", "0.1", "0.11", None, "0.11", "0.09", None, "0.2")
    assert shown == [[], ["1/above"], [], [], ["2/above"], [], [], [], [], ["3/above"]]


def test_a_rate_above_a_limit_from_the_beginning(live):
    assert rates(live(ABOVE), "0.2", "0.2", "0.1", "0.2") == [["1/above"], [], [], ["2/above"]]


def test_a_rate_below_a_limit(live):
    shown = rates(live(BELOW), None, "0.1", "0.09", None, "0.09", "0.1", "0.01")
    assert shown == [[], [], ["1/below"], [], [], [], ["2/below"]]


def test_one_odd_answer_is_no_event(live):
    assert rates(live(ABOVE), "0.05", "0.2!", "0.05", "0.2!", "0.05!", "0.2!", "0.05!") == [[]] * 7
    assert rates(live(ABOVE), "0.2", "0.05!", "0.2!", "0.05!", "0.2") == [["1/above"], [], [], [], []]
    assert rates(live(RateChanges("USDT", Decimal("0.01"))), "0.1", "0.2!", "0.1", "0.2!", "0.1!", "0.2!") == [[]] * 6


def test_what_a_rate_event_says():
    life = Life(ABOVE)
    (one,) = life.twice([flex(rate="0.12"), flex("b", "0.15")])
    assert one.record == {"ticker": "USDT", "rate": "0.15", "plan_id": "b", "above": "0.1"}
    life = Life(RateChanges("USDT", Decimal("0.01")))
    life.twice([flex(rate="0.10")])
    (one,) = life.twice([flex(rate="0.115")])
    assert one.record == {
        "ticker": "USDT",
        "rate": "0.115",
        "plan_id": "a",
        "changed_from": "0.1",
        "changed_by": "0.01",
    }


def test_a_rate_that_changes(live):
    life = live(RateChanges("USDT", Decimal("0.02")))
    shown = rates(life, None, "0.1", "0.11", "0.12", "0.13", None, "0.139", "0.1", "0.1", "0.12")
    assert shown == [[], [], [], ["1/0.12"], [], [], [], ["2/0.1"], [], ["3/0.12"]]


def test_a_rate_event_that_was_not_stored_comes_again_with_the_same_id(live):
    for watch, name in ((ABOVE, "1/above"), (RateChanges("USDT", Decimal("0.02")), "1/0.2")):
        life = live(watch)
        life.twice([flex(rate="0.1")])
        life.poll([flex(rate="0.2")])
        assert [one.id for one in life.poll([flex(rate="0.2")], stored=False)] == [name]
        assert [one.id for one in life.poll([flex(rate="0.2")])] == [name]
        assert life.poll([flex(rate="0.2")]) == []


def test_a_rate_is_emitted_once_after_an_event_was_lost():
    life = Life(ABOVE)
    assert rates(life, "0.2", "0.1") == [["1/above"], []]
    assert [one.id for one in life.twice([flex(rate="0.2")])] == ["2/above"]
    life.poll([flex(rate="0.1")])
    life.poll([flex(rate="0.1")])
    # Airflow has not stored the second event, and the triggerer ends.
    saved = json.loads(life.saved)
    life.saved = json.dumps({**saved, "emitted": {"1/above": saved["emitted"]["1/above"]}})
    del life.delivered["2/above"]
    life.restart()
    assert rates(life, "0.2", "0.2") == [["3/above"], []]


ALL = PlanChanges(Product.FLEX)


def said(found):
    return [(one.record["plan_id"], *one.record["changes"]) for one in found]


def test_plans_that_come_go_and_change(live):
    life = live(ALL)
    assert life.twice([flex("a"), flex("b")]) == []
    assert said(life.twice([flex("a")])) == [("b", "gone")]
    assert said(life.twice([flex("a"), flex("b"), flex("c")])) == [("b", "new"), ("c", "new")]
    assert said(life.twice([flex("a", least="20"), flex("b", most=None), flex("c")])) == [
        ("a", "limits"),
        ("b", "limits"),
    ]
    # Neither a rate nor another spelling of a limit is a change.
    assert life.twice([flex("a", least="20.0", rate="0.5"), flex("b", most=None), flex("c", rate=None)]) == []
    assert said(life.twice([])) == [("a", "gone"), ("b", "gone"), ("c", "gone")]
    assert said(life.twice([flex("a", least="1")])) == [("a", "new")]
    assert said(life.twice([])) == [("a", "gone")]


def test_what_a_plan_event_says():
    life = Life(ALL)
    life.twice([flex("a"), flex("b")])
    limits, gone = life.twice([flex("a", most="500")])
    assert limits.record == {
        "product": "flex",
        "plan_id": "a",
        "ticker": "USDT",
        "changes": ["limits"],
        "before": {"state": "open", "min_investment": "10", "max_investment": "100"},
        "after": {"state": "open", "min_investment": "10", "max_investment": "500"},
        "plan": flex("a", most="500").to_json(),
    }
    assert (gone.record["ticker"], gone.record["plan"], gone.record["after"]["state"]) == ("USDT", None, "gone")
    assert [limits.id, gone.id] == ["a/1/open:10:500", "b/1/gone:10:100"]


def test_a_list_that_is_incomplete_once_is_no_event(live):
    life = live(ALL)
    both = [flex("a"), flex("b")]
    # Also not if the first one is.
    for answer in ([], both, both, both[:1], both, [], both, [flex("a", least="1"), flex("b")], both):
        assert life.poll(answer) == []


@pytest.mark.parametrize("record", [NAMELESS, unreadable(id="b", ticker="USDT", minInvestment="x"), unreadable(id="b")])
def test_a_plan_is_not_gone_while_a_record_that_may_be_it_cannot_be_read(live, record):
    life = live(ALL)
    life.twice([flex("a"), flex("b")])
    for _ in range(3):
        assert life.twice([flex("a"), record]) == []
    assert life.twice([flex("a"), flex("b")]) == []
    assert said(life.twice([flex("a"), OTHER_ASSET])) == [("b", "gone")]


def test_a_record_that_could_not_be_read_at_first_is_not_new(live):
    life = live(ALL)
    life.twice([flex("b"), BROKEN_A])
    assert life.twice([flex("a"), flex("b")]) == []
    assert said(life.twice([flex("b")])) == [("a", "gone")]


def test_fixed_plans_have_a_status(live):
    life = live(PlanChanges(Product.FIXED))
    assert life.twice([fixed("f"), fixed("g", 4), fixed("h", 9)]) == []
    assert life.twice([fixed("f", left="5"), fixed("g", 2), fixed("h", 8)]) == []
    assert said(life.twice([fixed("f", 2), fixed("g", 1), fixed("h", 1)])) == [("f", "paused"), ("g", "new")]
    # A status that no page lists is neither open nor paused.
    assert life.twice([fixed("f", 9), fixed("g", 9), fixed("h", 1)]) == []
    assert said(life.twice([fixed("f", 1), fixed("g", 1), fixed("h", 3, least="1")])) == [
        ("f", "new"),
        ("h", "paused", "limits"),
    ]
    assert said(life.twice([fixed("f"), fixed("i", 4)])) == [("g", "gone"), ("h", "gone")]
    assert said(life.twice([fixed("f"), fixed("i", 1)])) == [("i", "new")]


def test_only_what_is_watched_for(live):
    before = [flex("A"), flex("b", ticker="BTC"), flex("c")]
    after = [flex("A", least="1"), flex("b", ticker="BTC", least="1"), flex("d")]
    for watch, found in (
        (PlanChanges(Product.FLEX, plan_id="a"), [("A", "limits")]),
        (PlanChanges(Product.FLEX, ticker="BTC"), [("b", "limits")]),
        (PlanChanges(Product.FLEX, changes=(Change.GONE,)), [("c", "gone")]),
        (PlanChanges(Product.FLEX, changes=(Change.NEW, Change.GONE)), [("c", "gone"), ("d", "new")]),
    ):
        life = live(watch)
        life.twice(before)
        assert said(life.twice(after)) == found


def test_what_is_not_watched_for_is_remembered(live):
    life = live(PlanChanges(Product.FLEX, changes=(Change.GONE,)))
    life.twice([flex("a")])
    for _ in range(3):
        assert said(life.twice([])) == [("a", "gone")]
        assert life.twice([flex("a", least="5")]) == []


def test_the_exchange_need_not_know_a_plan_that_was_seen():
    watch, life = PlanChanges(Product.FLEX, plan_id="a"), Life(PlanChanges(Product.FLEX, plan_id="a"))
    assert watch.unproven(life.state) == Names(plan_id="a")
    life.twice([flex("a")])
    life.restart()
    assert watch.unproven(life.state) == Names()
    assert said(life.twice([flex("b")])) == [("a", "gone")]


def test_a_plan_that_was_paused_at_first_is_new_when_it_comes(live):
    life = live(PlanChanges(Product.FLEX, plan_id="a"))
    assert life.twice([flex("b")]) == []
    assert said(life.twice([flex("a")])) == [("a", "new")]


def test_a_plan_event_that_was_not_stored_comes_again_with_the_same_id(live):
    life = live(ALL)
    life.twice([flex("a")])
    life.poll([])
    assert [one.id for one in life.poll([], stored=False)] == ["a/1/gone:10:100"]
    assert [one.id for one in life.poll([])] == ["a/1/gone:10:100"]
    assert life.twice([]) == []


def test_a_change_that_its_replacement_finds_delivered_is_not_emitted_again():
    life = Life(PlanChanges(Product.FIXED))
    life.twice([fixed()])
    # The triggerer before this one stored it, but was killed before it saved its state.
    life.delivered["f/1/paused:10:100"] = life.now
    life.restart()
    assert life.twice([fixed(status=4)]) == []
    assert said(life.twice([fixed()])) == [("f", "new")]
    life.delivered["f/3/paused:10:100"] = life.now
    life.restart()
    # It is open again.
    (found,) = life.twice([fixed()])
    assert found.id == "f/4/open:10:100"


def test_numbers_continue_and_nothing_comes_back_when_ids_are_forgotten(live):
    life = live(ALL)
    life.twice([flex("a"), flex("b")])
    for number in range(12):
        answer = [flex("a"), flex("b")] if number % 2 else [flex("a")]
        assert said(life.twice(answer, pause=DAY)) == [("b", "new" if number % 2 else "gone")]
        assert life.poll(answer, pause=DAY) == []
    assert len(life.state.emitted) <= KEPT // DAY + 1
    assert life.twice([flex("a"), flex("b")], pause=9 * DAY) == []


def test_numbers_continue_without_a_saved_state():
    life = Life(ALL)
    life.delivered["a/7/gone:10:100"] = NOW
    life.restart()
    assert life.twice([flex("a")]) == []
    assert [one.id for one in life.twice([])] == ["a/8/gone:10:100"]


OFFERED = st.lists(
    st.builds(flex, st.sampled_from("abc"), least=st.sampled_from(["1", "2"]), most=st.sampled_from([None, "5"])),
    max_size=3,
    unique_by=lambda plan: plan.id,
)


@given(st.lists(st.tuples(OFFERED, st.booleans(), st.booleans()), max_size=12))
def test_property_each_change_once_whatever_is_killed(answers):
    life, ids, terms = Life(ALL), [], None
    for answer, stored, restarted in answers:
        found = life.twice(answer) if stored else [*life.poll(answer), *life.poll(answer, stored=False)]
        # What was not stored comes again.
        found = found if stored else life.poll(answer)
        if restarted:
            life.restart()
        shown = {plan.id: Terms.of(plan) for plan in answer}
        if terms is not None:
            changed = {name for name in {*terms, *shown} if terms.get(name) != shown.get(name)}
            assert {one.record["plan_id"] for one in found} == changed
        ids += [one.id for one in found]
        terms = shown
    assert len(ids) == len(set(ids))


def test_terms_survive_as_text():
    for terms in (Terms(), Terms.of(flex(most=None)), Terms.of(fixed(status=9)), Terms(PlanState.GONE)):
        assert Terms.parse(str(terms)) == terms
    assert replace(Terms.of(flex()), state=None).to_json()["state"] is None
