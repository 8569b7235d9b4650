"""What happens on the exchange: earnings, closures, maturities, balances within limits. Each is emitted once. Pure.

A watch reads answers of the exchange and finds what its state does not contain yet. The state is plain JSON, so
another process can continue from it.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

from airflow_provider_whitebit.client.models import FixedInvestment, FlexTransaction
from airflow_provider_whitebit.client.records import record_keys
from airflow_provider_whitebit.client.unreadable import UnreadableRecord, readable, warn
from airflow_provider_whitebit.treasury.conditions import BalanceCondition, Names, Question, selects

log = logging.getLogger(__name__)

#: Seconds for which the ids of emitted occurrences are kept. Everything that is older than the newest one by more than
#: this counts as emitted: the exchange's records appear within seconds, not days.
KEPT = 3 * 86_400
#: Seconds by which the time that matters moves on at once. Each time it does, the state is written.
_STEP = 86_400


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened once.

    :param id: identifies it: always the same for the same occurrence.
    :param second: its time, in Unix seconds.
    :param record: the exchange's record of it, as plain JSON.
    """

    id: str
    second: int
    record: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {"id": self.id, "second": self.second, "record": self.record}


@dataclass(slots=True)
class WatchState:
    """Which occurrences have been emitted.

    :param since: occurrences before this Unix second are ignored; ``None``: not decided yet.
    :param armed_after: for a balance: number of the last occurrence after which it was outside the limits again.
    :param emitted: Unix second of each occurrence that was emitted lately, by its id.
    :param memory: what a watch has seen, as plain JSON. Each watch has its own fields.
    :param writes: how often the state was written: of several copies, the latest has the most.
    """

    since: int | None = None
    armed_after: int = 0
    emitted: dict[str, int] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    writes: int = 0

    @property
    def floor(self) -> int | None:
        """The Unix second from which the exchange's records matter; ``None``: not decided yet."""
        if self.since is None or not self.emitted:
            return self.since
        return max(self.since, max(self.emitted.values()) - KEPT)

    def oldest(self, now: int) -> int:
        """The Unix second from which records must be read, also if that is not decided yet."""
        return now - KEPT if self.floor is None else self.floor

    def mark_emitted(self, occurrence: Occurrence) -> None:
        """Add one occurrence."""
        self.add({occurrence.id: occurrence.second})

    def add(self, emitted: Mapping[str, int]) -> None:
        """Add occurrences: Unix seconds by id."""
        self.emitted = pruned({**self.emitted, **emitted})

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON that :meth:`from_json` reads."""
        document = {"since": self.since, "armed_after": self.armed_after, "emitted": dict(self.emitted)}
        return {**document, "memory": copy.deepcopy(self.memory), "writes": self.writes}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> WatchState:
        """Read what :meth:`to_json` returned."""
        emitted, memory = dict(raw.get("emitted") or {}), dict(raw.get("memory") or {})
        return cls(raw.get("since"), int(raw.get("armed_after", 0)), emitted, memory, int(raw.get("writes", 0)))


def pruned(emitted: Mapping[str, int]) -> dict[str, int]:
    """Leave out occurrences that are so old that they count as emitted anyway.

    :param emitted: Unix second of each occurrence by its id.
    """
    newest = max(emitted.values(), default=0)
    return {name: second for name, second in emitted.items() if second >= newest - KEPT}


class Watch:
    """Common to all watches."""

    __slots__ = ()
    event: ClassVar[str]

    @property
    def question(self) -> Question:
        """What to ask the exchange."""
        raise NotImplementedError

    @property
    def names(self) -> Names:
        """What the exchange must know."""
        return Names.of(self)

    def unproven(self, state: WatchState) -> Names:
        """What the exchange must know and the watch has not yet seen. What it has seen may be gone by now."""
        return self.names

    def begin(self, answer: Any, state: WatchState, now: int) -> None:
        """Decide from the first answer what happened before the watch began.

        :param now: Unix second.
        """
        state.since = now - KEPT
        for occurrence in self._occurrences(answer):
            state.mark_emitted(occurrence)

    def new_events(self, answer: Any, state: WatchState, now: int) -> list[Occurrence]:
        """Find the occurrences in an answer that the state does not contain, oldest first.

        :param now: Unix second.
        """
        floor = state.floor or 0
        fresh = {
            occurrence.id: occurrence
            for occurrence in self._occurrences(answer)
            if occurrence.second >= floor and occurrence.id not in state.emitted
        }
        return sorted(fresh.values(), key=lambda occurrence: (occurrence.second, occurrence.id))

    def move_on(self, answer: Any, state: WatchState, now: int) -> None:
        """Read nothing again that an answer shows and that is long ago. Call it if nothing of it is left to emit.

        :param now: Unix second.
        """

    def _occurrences(self, answer: Any) -> Iterable[Occurrence]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _FlexRecords(Watch):
    plan_id: str | None = None
    ticker: str | None = None

    def move_on(self, answer: Iterable[FlexTransaction | UnreadableRecord], state: WatchState, now: int) -> None:
        # Without this, a watch that emits nothing would read a longer history each day.
        late = state.since is not None and now - KEPT - state.since >= _STEP
        if late and not any(isinstance(one, UnreadableRecord) for one in answer):
            state.since = now - KEPT

    def _occurrences(self, answer: Iterable[FlexTransaction | UnreadableRecord]) -> Iterable[Occurrence]:
        for key, entry in record_keys(readable(answer, warn)):
            if selects(self, entry.plan_id, entry.currency):
                yield Occurrence(key, entry.created_at.int_timestamp, entry.to_json())


class FlexEarnings(_FlexRecords):
    """A Flex earning is credited.

    :param plan_id: of this plan; all by default.
    :param ticker: of this asset; all by default.
    """

    __slots__ = ()
    event = "flex_earning_credited"
    question = Question.FLEX_PAYMENTS


class FlexClosures(_FlexRecords):
    """A Flex investment is closed, by this package or otherwise.

    :param plan_id: in this plan; all by default.
    :param ticker: of this asset; all by default.
    """

    __slots__ = ()
    event = "flex_investment_closed"
    question = Question.FLEX_CLOSURES


@dataclass(frozen=True, slots=True)
class FixedMaturities(Watch):
    """The term of a Fixed investment ends. One that is closed before has not matured.

    :param plan_id: in this plan; all by default.
    :param ticker: of this asset; all by default.
    """

    event: ClassVar[str] = "fixed_investment_matured"
    question: ClassVar[Question] = Question.FIXED_INVESTMENTS
    plan_id: str | None = None
    ticker: str | None = None

    def _occurrences(self, answer: Iterable[FixedInvestment | UnreadableRecord]) -> Iterable[Occurrence]:
        for entry in readable(answer, warn):
            if not entry.active and not entry.closed:
                log.warning(
                    "Neither active nor closed: investment %s has the unknown status %s", entry.id, entry.status
                )
            second = _matured_at(entry)
            if second is not None and selects(self, entry.plan.id, entry.plan.ticker):
                yield Occurrence(entry.id, second, entry.to_json())


def _matured_at(entry: FixedInvestment) -> int | None:
    """The end of an investment's term, in Unix seconds; ``None`` if it has not reached it."""
    term = entry.term_end
    # The exchange may not say when it was changed. One that is closed early gets no interest.
    paid = entry.updated <= entry.created and bool(entry.interest_paid)
    matured = entry.closed and (paid or (term is not None and entry.updated >= term))
    return (term or entry.updated).int_timestamp if matured else None


@dataclass(frozen=True, slots=True)
class BalanceLevels(Watch):
    """A balance is within limits: it was outside before, or the amount has changed since the last occurrence.

    Money can leave and return between two polls. The amount in the id makes that visible.

    :param condition: the limits.
    """

    event: ClassVar[str] = "balance_within_limits"
    condition: BalanceCondition

    @property
    def question(self) -> Question:
        return self.condition.question

    @property
    def names(self) -> Names:
        return self.condition.names

    def begin(self, answer: Any, state: WatchState, now: int) -> None:
        state.since = 0
        # Deliveries may be known although no state was written: continue their numbers.
        state.armed_after, _ = last_emitted(state)

    def new_events(self, answer: Mapping[str, Decimal | None], state: WatchState, now: int) -> list[Occurrence]:
        if self.condition.is_unknown(answer):
            return []
        number, amount = last_emitted(state)
        found = self.condition.judge(answer)
        if found is None:
            state.armed_after = number
            return []
        if number > state.armed_after and Decimal(found["amount"]) == Decimal(amount):
            return []
        return [Occurrence(f"{number + 1}/{found['amount']}", now, found)]


def last_emitted(state: WatchState) -> tuple[int, str]:
    """The number of the last occurrence, and the text behind it, of a watch whose ids are ``number/text``."""
    parts = [name.partition("/") for name in state.emitted]
    # An event that was not stored may have had the number after which the condition was no longer met.
    return max([(state.armed_after, ""), *((int(number), text) for number, _, text in parts)])
