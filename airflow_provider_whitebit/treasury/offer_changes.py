"""Changes of what the exchange offers: rates that cross a limit or change, plans that come, go or change. Pure.

A change counts when two answers in a row show it. So one odd answer, for example of a replica that is late or a list
that changed while it was read, is no event. What an answer does not show is unknown, and no event either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from airflow_provider_whitebit.client.models import FlexPlan, plain
from airflow_provider_whitebit.client.unreadable import UnreadableRecord, split
from airflow_provider_whitebit.treasury.amounts import exact
from airflow_provider_whitebit.treasury.conditions import Names, Question, RateCondition, selects
from airflow_provider_whitebit.treasury.occurrences import Occurrence, Watch, WatchState, last_emitted
from airflow_provider_whitebit.treasury.offers import Change, Plan, PlanState, Product, Terms, best_rate

#: Seconds after which an emitted change is certainly stored, so that it moves from the list of what was emitted lately
#: to what is known of its plan. That list is kept for longer.
_SETTLED = 86_400


@dataclass(frozen=True, slots=True)
class RateLevels(Watch):
    """The best advertised rate of an asset is beyond a limit: at first, and again after it was certainly not.

    :param condition: the asset, and the limit above or below.
    """

    event: ClassVar[str] = "flex_rate_crossed"
    question: ClassVar[Question] = Question.FLEX_PLANS
    condition: RateCondition

    @property
    def names(self) -> Names:
        return self.condition.names

    def begin(self, answer: Any, state: WatchState, now: int) -> None:
        state.since = 0
        state.armed_after, _ = last_emitted(state)

    def new_events(
        self, answer: Iterable[FlexPlan | UnreadableRecord], state: WatchState, now: int
    ) -> list[Occurrence]:
        best = best_rate(answer, self.condition.ticker)
        met, before = self.condition.met_by(best), state.memory.get("met")
        state.memory["met"] = met
        if met is None or met is not before:
            return []
        number, _ = last_emitted(state)
        if not met:
            state.armed_after = number
            return []
        if number > state.armed_after:
            return []
        side = "below" if self.condition.above is None else "above"
        return [Occurrence(f"{number + 1}/{side}", now, {**best.to_json(), side: self.condition.to_json()[side]})]


@dataclass(frozen=True, slots=True)
class RateChanges(Watch):
    """The best advertised rate of an asset differs from the last one that was emitted; at first, from the first seen.

    :param ticker: the asset.
    :param by: the smallest difference that counts.
    """

    event: ClassVar[str] = "flex_rate_changed"
    question: ClassVar[Question] = Question.FLEX_PLANS
    ticker: str
    by: Decimal

    def begin(self, answer: Any, state: WatchState, now: int) -> None:
        state.since = 0

    def new_events(
        self, answer: Iterable[FlexPlan | UnreadableRecord], state: WatchState, now: int
    ) -> list[Occurrence]:
        best = best_rate(answer, self.ticker)
        shown = None if best.rate is None else plain(best.rate)
        before, state.memory["rate"] = state.memory.get("rate"), shown
        if best.rate is None or shown != before:
            return []
        number, emitted = last_emitted(state)
        reference = emitted or str(state.memory.setdefault("reference", shown))
        with exact():
            if abs(best.rate - Decimal(reference)) < self.by:
                return []
        record = {**best.to_json(), "changed_from": reference, "changed_by": plain(self.by)}
        return [Occurrence(f"{number + 1}/{shown}", now, record)]


@dataclass(frozen=True, slots=True)
class PlanChanges(Watch):
    """A plan is new, paused, gone, or has other limits. What was there at first is not new.

    The id of an occurrence is plan, number and the plan's terms afterwards. So what was emitted says what is known of a
    plan, until that is certainly stored.

    :param product: ``flex`` or ``fixed``.
    :param plan_id: this plan; all by default.
    :param ticker: plans of this asset; all by default.
    :param changes: which changes are emitted.
    """

    event: ClassVar[str] = "plan_changed"
    product: Product
    plan_id: str | None = None
    ticker: str | None = None
    changes: tuple[Change, ...] = tuple(Change)

    @property
    def question(self) -> Question:
        return Question.FLEX_PLANS if self.product is Product.FLEX else Question.FIXED_PLANS

    def unproven(self, state: WatchState) -> Names:
        return Names() if "plans" in state.memory else self.names

    def begin(self, answer: Any, state: WatchState, now: int) -> None:
        state.since = 0

    def new_events(self, answer: Iterable[Plan | UnreadableRecord], state: WatchState, now: int) -> list[Occurrence]:
        plans: list[Plan]
        plans, unreadable = split(answer)
        listed = {plan.id: plan for plan in plans if selects(self, plan.id, plan.ticker)}
        hidden = [record for record in unreadable if record.may_be_of(self.plan_id, self.ticker)]
        if "plans" not in state.memory:
            self._begin(listed, hidden, state)
            return []
        _settle(state, now)
        known = _known(state)
        shown = _terms(listed)
        shown |= dict.fromkeys(_missing(known, listed, hidden), Terms(PlanState.GONE))
        later = {name: known[name][1].updated(terms) if name in known else terms for name, terms in shown.items()}
        changed = {name: terms for name, terms in later.items() if name not in known or terms != known[name][1]}
        before, state.memory["changed"] = state.memory["changed"], {name: str(one) for name, one in changed.items()}
        confirmed = (name for name, terms in sorted(changed.items()) if before.get(name) == str(terms))
        return [one for name in confirmed for one in self._emit(name, changed[name], listed.get(name), state, now)]

    def _begin(self, listed: dict[str, Plan], hidden: list[UnreadableRecord], state: WatchState) -> None:
        """Decide which plans there were at first, when two answers in a row agree."""
        shown = {record.plan_id: Terms() for record in hidden if record.plan_id}
        texts = {name: str(one) for name, one in {**shown, **_terms(listed)}.items()}
        if state.memory.get("first") != texts:
            state.memory["first"] = texts
            return
        known = _known(state)
        state.memory["plans"] = {name: [known[name][0] if name in known else 0, text] for name, text in texts.items()}
        state.memory["tickers"] = {name: plan.ticker for name, plan in listed.items()}
        state.memory["changed"] = {}
        del state.memory["first"]

    def _emit(self, name: str, terms: Terms, plan: Plan | None, state: WatchState, now: int) -> Iterator[Occurrence]:
        """An occurrence, if the change of a plan is one that is watched for; otherwise it is only remembered."""
        if plan is not None:
            state.memory["tickers"][name] = plan.ticker
        number, before = _known(state).get(name, (0, Terms(PlanState.GONE)))
        found = before.changes(terms)
        if not set(found) & set(self.changes):
            state.memory["plans"][name] = [number, str(terms)]
            return
        record = {
            "product": str(self.product),
            "plan_id": name,
            "ticker": state.memory["tickers"].get(name),
            "changes": [str(change) for change in found],
            "before": before.to_json(),
            "after": terms.to_json(),
            "plan": None if plan is None else plan.to_json(),
        }
        yield Occurrence(f"{name}/{number + 1}/{terms}", now, record)


def _terms(plans: dict[str, Plan]) -> dict[str, Terms]:
    return {name: Terms.of(plan) for name, plan in plans.items()}


def _missing(known: Iterable[str], listed: dict[str, Plan], hidden: list[UnreadableRecord]) -> list[str]:
    """The known plans that are certainly not in the list: no record that cannot be read can be one of them."""
    unreadable = {record.plan_id for record in hidden}
    return [] if None in unreadable else [name for name in known if name not in listed and name not in unreadable]


def _emitted(state: WatchState) -> Iterator[tuple[str, int, str, int]]:
    """Plan, number, terms afterwards and Unix second of each change that was emitted lately."""
    for name, second in state.emitted.items():
        plan_id, number, terms = name.rsplit("/", 2)
        yield plan_id, int(number), terms, second


def _known(state: WatchState) -> dict[str, tuple[int, Terms]]:
    """By plan, the number of its last change, and what is known of it since then."""
    found = {name: (int(number), text) for name, (number, text) in state.memory.get("plans", {}).items()}
    for plan_id, number, text, _ in _emitted(state):
        if number > found.get(plan_id, (-1, ""))[0]:
            found[plan_id] = number, text
    return {name: (number, Terms.parse(text)) for name, (number, text) in found.items()}


def _settle(state: WatchState, now: int) -> None:
    """Keep what is known of plans before the ids of its occurrences are forgotten.

    :param now: Unix second.
    """
    plans = state.memory["plans"]
    for plan_id, number, text, second in _emitted(state):
        if second < now - _SETTLED and number > plans.get(plan_id, [-1])[0]:
            plans[plan_id] = [number, text]
