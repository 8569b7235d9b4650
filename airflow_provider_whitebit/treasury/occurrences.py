"""What happens on the exchange, each thing told once: earnings, closures, maturities, balances within limits. Pure.

A watch reads answers of the exchange and finds what a memory does not know yet. The memory is plain JSON, so that
whoever keeps it can go on where another has stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

from airflow_provider_whitebit.client.models import FixedInvestment, FlexTransaction
from airflow_provider_whitebit.treasury.conditions import BalanceCondition, Question

#: Seconds for which told occurrences are remembered by name. Everything older than the newest one by more than this
#: counts as told: the exchange's records appear within seconds, not days.
KEPT = 3 * 86_400


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened once.

    :param id: names it, the same for whoever sees it.
    :param second: when, in Unix seconds.
    :param record: what the exchange shows of it, as plain JSON.
    """

    id: str
    second: int
    record: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"id": self.id, "second": self.second, "record": self.record}


@dataclass(slots=True)
class Memory:
    """Which occurrences have been told.

    :param since: nothing before this Unix second is told; ``None``: not decided yet.
    :param armed_after: for a balance: the number of the last occurrence after which it lay outside the limits again.
    :param told: Unix second of each occurrence that was told lately, by its id.
    """

    since: int | None = None
    armed_after: int = 0
    told: dict[str, int] = field(default_factory=dict)

    @property
    def floor(self) -> int | None:
        """The Unix second from which on the exchange's records matter; ``None``: not decided yet."""
        if self.since is None or not self.told:
            return self.since
        return max(self.since, max(self.told.values()) - KEPT)

    def tell(self, occurrence: Occurrence) -> None:
        """Remember that this one has been told."""
        self.told[occurrence.id] = occurrence.second
        self.told = pruned(self.told)

    def add(self, told: Mapping[str, int]) -> None:
        """Remember what somebody else has told."""
        self.told = pruned({**self.told, **told})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; :meth:`from_json` reads it."""
        return {"since": self.since, "armed_after": self.armed_after, "told": dict(self.told)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Memory:
        return cls(raw.get("since"), int(raw.get("armed_after", 0)), dict(raw.get("told") or {}))


def pruned(told: Mapping[str, int]) -> dict[str, int]:
    """Without what lies so far back that everything there counts as told.

    :param told: Unix second of each occurrence by its id.
    """
    newest = max(told.values(), default=0)
    return {name: second for name, second in told.items() if second >= newest - KEPT}


class Watch:
    """Common to all watches."""

    __slots__ = ()
    event: ClassVar[str]

    @property
    def question(self) -> Question:
        """What has to be asked."""
        raise NotImplementedError

    def begin(self, answer: Any, memory: Memory, now: int) -> None:
        """Decide from the very first answer what has happened before the watch began.

        :param now: Unix second.
        """
        memory.since = now - KEPT
        for occurrence in self._occurrences(answer):
            memory.tell(occurrence)

    def news(self, answer: Any, memory: Memory, now: int) -> list[Occurrence]:
        """What an answer shows and the memory does not know, oldest first.

        :param now: Unix second.
        """
        floor = memory.floor or 0
        fresh = {
            occurrence.id: occurrence
            for occurrence in self._occurrences(answer)
            if occurrence.second >= floor and occurrence.id not in memory.told
        }
        return sorted(fresh.values(), key=lambda occurrence: (occurrence.second, occurrence.id))

    def _occurrences(self, answer: Any) -> Iterable[Occurrence]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class FlexEarnings(Watch):
    """A Flex earning is credited.

    :param plan_id: of this plan; all by default.
    :param ticker: of this asset; all by default.
    """

    event: ClassVar[str] = "flex_earning_credited"
    plan_id: str | None = None
    ticker: str | None = None

    @property
    def question(self) -> Question:
        return Question.FLEX_PAYMENTS

    def _occurrences(self, answer: Iterable[FlexTransaction]) -> Iterable[Occurrence]:
        return _transactions(answer, self.plan_id, self.ticker)


@dataclass(frozen=True, slots=True)
class FlexClosures(Watch):
    """A Flex investment is closed, by whomever.

    :param plan_id: in this plan; all by default.
    :param ticker: of this asset; all by default.
    """

    event: ClassVar[str] = "flex_investment_closed"
    plan_id: str | None = None
    ticker: str | None = None

    @property
    def question(self) -> Question:
        return Question.FLEX_CLOSURES

    def _occurrences(self, answer: Iterable[FlexTransaction]) -> Iterable[Occurrence]:
        return _transactions(answer, self.plan_id, self.ticker)


@dataclass(frozen=True, slots=True)
class FixedMaturities(Watch):
    """A Fixed investment comes to the end of its term. One that is closed before has not matured.

    :param plan_id: in this plan; all by default.
    :param ticker: of this asset; all by default.
    """

    event: ClassVar[str] = "fixed_investment_matured"
    plan_id: str | None = None
    ticker: str | None = None

    @property
    def question(self) -> Question:
        return Question.FIXED_INVESTMENTS

    def _occurrences(self, answer: Iterable[FixedInvestment]) -> Iterable[Occurrence]:
        for entry in answer:
            if (
                not entry.active
                and entry.payment_time is not None
                and entry.updated >= entry.payment_time
                and (self.plan_id is None or entry.plan.id.lower() == self.plan_id)
                and (self.ticker is None or entry.plan.ticker == self.ticker)
            ):
                yield Occurrence(entry.id, entry.payment_time.int_timestamp, entry.to_json())


@dataclass(frozen=True, slots=True)
class BalanceLevels(Watch):
    """A balance is seen within limits, from outside or with another amount than the one told before.

    Money can leave and come between two looks; told by its amount, it is not overlooked.

    :param condition: the limits.
    """

    event: ClassVar[str] = "balance_within_limits"
    condition: BalanceCondition

    @property
    def question(self) -> Question:
        return self.condition.question

    def begin(self, answer: Any, memory: Memory, now: int) -> None:
        memory.since = 0
        # Deliveries may be known although nothing else is: numbers go on.
        memory.armed_after, _ = self._last_told(memory)

    def news(self, answer: Mapping[str, Decimal], memory: Memory, now: int) -> list[Occurrence]:
        number, amount = self._last_told(memory)
        found = self.condition.judge(answer)
        if found is None:
            memory.armed_after = number
            return []
        if number > memory.armed_after and Decimal(found["amount"]) == Decimal(amount):
            return []
        return [Occurrence(f"{number + 1}/{found['amount']}", now, found)]

    def _last_told(self, memory: Memory) -> tuple[int, str]:
        told = [name.partition("/") for name in memory.told]
        return max(((int(number), amount) for number, _, amount in told), default=(memory.armed_after, ""))


def _transactions(answer: Iterable[FlexTransaction], plan_id: str | None, ticker: str | None) -> Iterable[Occurrence]:
    for entry in answer:
        if (plan_id is None or entry.plan_id.lower() == plan_id) and (ticker is None or entry.currency == ticker):
            yield Occurrence(entry.transaction_id, entry.created_at.int_timestamp, entry.to_json())
