"""Conditions that sensors wait for, judged on what the exchange shows. Pure, with a JSON form for triggers.

Many conditions share one question: all balances of an account, all investments, all earnings since a moment. So ten
thousand waiting sensors cost one request for each question, not one each.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from itertools import chain
from typing import Any, ClassVar, Protocol, Self

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FixedPlan,
    FlexInvestment,
    FlexInvestmentStatus,
    FlexPlan,
    FlexTransaction,
    PlatformStatus,
    parse_amount,
    to_json,
)
from airflow_provider_whitebit.client.unreadable import UnreadableRecord, readable, split, warn
from airflow_provider_whitebit.treasury.amounts import exact
from airflow_provider_whitebit.treasury.offers import BestRate, Plan, PlanState, Product, best_rate, plan_state

log = logging.getLogger(__name__)


class Question(StrEnum):
    """What to ask the exchange."""

    MAIN_BALANCE = "main"
    SPOT_BALANCE = "spot"
    COLLATERAL_BALANCE = "collateral"
    FLEX_INVESTMENTS = "flex_investments"
    FLEX_PAYMENTS = "flex_payments"
    FLEX_CLOSURES = "flex_closures"
    FIXED_INVESTMENTS = "fixed_investments"
    FLEX_PLANS = "flex_plans"
    FIXED_PLANS = "fixed_plans"
    PLATFORM_STATUS = "platform_status"


class Selection(Protocol):
    """A plan and an asset, each of which may be left open."""

    @property
    def plan_id(self) -> str | None: ...

    @property
    def ticker(self) -> str | None: ...


def selects(selection: Selection, plan_id: str | None, ticker: str | None) -> bool:
    """Whether a record of a plan and an asset is selected. One that does not name them is not, if it must."""
    return (selection.plan_id is None or (plan_id or "").lower() == selection.plan_id) and (
        selection.ticker is None or ticker == selection.ticker
    )


@dataclass(frozen=True, slots=True)
class Names:
    """What a condition names; ``None``: it names none.

    :param ticker: an asset.
    :param plan_id: a plan.
    :param investment_id: a Fixed investment.
    """

    ticker: str | None = None
    plan_id: str | None = None
    investment_id: str | None = None

    def __bool__(self) -> bool:
        return self != Names()

    @classmethod
    def of(cls, condition: object) -> Names:
        """Read them from a condition's or a watch's fields."""
        return cls(*(getattr(condition, one.name, None) for one in fields(cls)))

    def unseen(self, answer: Any) -> Names:
        """The names that an answer of the exchange does not show.

        :param answer: balances by ticker, or a list of records.
        """
        if isinstance(answer, Mapping):
            return Names(None if self.ticker in answer else self.ticker)
        shown = [_names_in(record) for record in answer] if self else []
        return Names(
            None if any(self.ticker == one.ticker for one in shown) else self.ticker,
            None if any(self.plan_id == (one.plan_id or "").lower() for one in shown) else self.plan_id,
            None if any(self.investment_id == one.investment_id for one in shown) else self.investment_id,
        )


def _names_in(record: FlexInvestment | FlexTransaction | FixedInvestment | Plan | UnreadableRecord) -> Names:
    match record:
        case FixedInvestment():
            return Names(record.plan.ticker, record.plan.id, record.id)
        case FlexPlan() | FixedPlan():
            return Names(record.ticker, record.id)
        case UnreadableRecord():
            return Names(record.ticker, record.plan_id, record.known.get("id"))
        case _:
            return Names(record.currency, record.plan_id)


#: The fields of conditions that are amounts or rates.
_AMOUNTS = ("at_least", "at_most", "invested_at_least", "above", "below", "changed_by", "changed_from", "admits")


class Condition:
    """Base of the conditions."""

    __slots__ = ()
    kind: ClassVar[str]

    @property
    def question(self) -> Question:
        """The question whose answer is judged."""
        raise NotImplementedError

    @property
    def names(self) -> Names:
        """What the exchange must know; otherwise the condition could never be met, or be met by a typing error."""
        return Names.of(self)

    @property
    def since(self) -> int | None:
        """The Unix second from which records matter; ``None``: all of them."""
        return None

    def judge(self, answer: Any) -> dict[str, Any] | None:
        """Return what fulfils the condition, as plain JSON; ``None`` if nothing does.

        :param answer: the exchange's answer to the question; it may contain more than the condition needs.
        """
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON that :func:`condition_from_json` reads."""
        values = {field.name: to_json(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]
        return {"kind": self.kind, **values}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` returned."""
        values = {name: value for name, value in raw.items() if name != "kind"}
        for name in _AMOUNTS:
            if values.get(name) is not None:
                values[name] = parse_amount(values[name])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class BalanceCondition(Condition):
    """A balance is within limits.

    :param account: ``main``, ``spot`` or ``collateral``.
    :param ticker: the asset.
    :param at_least: lower limit, inclusive.
    :param at_most: upper limit, inclusive.
    """

    kind: ClassVar[str] = "balance"
    account: str
    ticker: str
    at_least: Decimal | None = None
    at_most: Decimal | None = None

    @property
    def question(self) -> Question:
        return Question(self.account)

    def is_unknown(self, answer: Mapping[str, Decimal | None]) -> bool:
        """Whether the balance cannot be read. That is logged."""
        unknown = answer.get(self.ticker, Decimal(0)) is None
        if unknown:
            log.warning("Waiting: the %s balance of %s cannot be read", self.account, self.ticker)
        return unknown

    def judge(self, answer: Mapping[str, Decimal | None]) -> dict[str, Any] | None:
        if self.is_unknown(answer):
            return None
        held = answer.get(self.ticker) or Decimal(0)
        if self.at_least is not None and held < self.at_least:
            return None
        if self.at_most is not None and held > self.at_most:
            return None
        return {"account": self.account, "ticker": self.ticker, "amount": to_json(held)}


@dataclass(frozen=True, slots=True)
class FlexInvestmentCondition(Condition):
    """A Flex investment is active and holds an amount, or is closed.

    :param plan_id: in this plan; or
    :param ticker: of this asset.
    :param status: 1 active, 0 closed: then none may be active.
    :param invested_at_least: smallest amount in an active investment, in units of the asset.
    """

    kind: ClassVar[str] = "flex_investment"
    question: ClassVar[Question] = Question.FLEX_INVESTMENTS
    plan_id: str | None = None
    ticker: str | None = None
    status: int = FlexInvestmentStatus.ACTIVE
    invested_at_least: Decimal | None = None

    def judge(self, answer: Iterable[FlexInvestment | UnreadableRecord]) -> dict[str, Any] | None:
        entries, unreadable = split(answer)
        meant = [entry for entry in entries if selects(self, entry.plan_id, entry.currency)]
        unknown = _unknown(meant, [one for one in unreadable if one.may_be_of(self.plan_id, self.ticker)])
        if self.status == FlexInvestmentStatus.CLOSED:
            if unknown or any(entry.active for entry in meant):
                return None
            hidden = (one for one in unreadable if one.closed and selects(self, one.plan_id, one.ticker))
            return next((one.to_json() for one in chain(meant, hidden)), None)  # type: ignore[attr-defined]
        for entry in meant:
            if entry.active and (self.invested_at_least is None or entry.invested >= self.invested_at_least):
                return entry.to_json()
        return None


@dataclass(frozen=True, slots=True)
class FlexEarningCondition(Condition):
    """A Flex earning has been credited. Of several, the first is meant: a run that is repeated gets the same one.

    :param from_second: since this Unix second, inclusive.
    :param plan_id: of this plan; all by default.
    :param ticker: of this asset; all by default.
    """

    kind: ClassVar[str] = "flex_earning"
    question: ClassVar[Question] = Question.FLEX_PAYMENTS
    from_second: int
    plan_id: str | None = None
    ticker: str | None = None

    @property
    def since(self) -> int | None:
        return self.from_second

    def judge(self, answer: Iterable[FlexTransaction | UnreadableRecord]) -> dict[str, Any] | None:
        meant = (
            entry
            for entry in readable(answer, warn)
            if entry.created_at.timestamp() >= self.from_second and selects(self, entry.plan_id, entry.currency)
        )
        first = min(meant, key=lambda entry: (entry.created_at, entry.transaction_id or ""), default=None)
        return None if first is None else first.to_json()


@dataclass(frozen=True, slots=True)
class FixedMaturityCondition(Condition):
    """A Fixed investment has ended; if several match, all of them.

    :param investment_id: this investment; or
    :param plan_id: those in this plan; or
    :param ticker: those of this asset.
    """

    kind: ClassVar[str] = "fixed_maturity"
    question: ClassVar[Question] = Question.FIXED_INVESTMENTS
    investment_id: str | None = None
    plan_id: str | None = None
    ticker: str | None = None

    def judge(self, answer: Iterable[FixedInvestment | UnreadableRecord]) -> dict[str, Any] | None:
        entries, unreadable = split(answer)
        meant = [
            entry
            for entry in entries
            if (self.investment_id is None or entry.id == self.investment_id)
            and selects(self, entry.plan.id, entry.plan.ticker)
        ]
        hidden = [
            one
            for one in unreadable
            if self.investment_id in (None, one.known.get("id", self.investment_id))
            and one.may_be_of(self.plan_id, self.ticker)
        ]
        if _unknown(meant, hidden) or any(entry.active for entry in meant):
            return None
        if meant:
            return max(meant, key=lambda entry: entry.updated).to_json()
        return next((one.to_json() for one in hidden if self._names(one)), None)

    def _names(self, record: UnreadableRecord) -> bool:
        """Whether what can be read of a record says that it is meant."""
        named = self.investment_id is None or record.known.get("id") == self.investment_id
        return named and selects(self, record.plan_id, record.ticker)


@dataclass(frozen=True, slots=True)
class RateCondition(Condition):
    """The best advertised rate of an asset's Flex plans is above or below a limit, or has changed.

    A rate that is not shown may be the best one, so it is neither below a limit nor known to have changed.

    :param ticker: the asset.
    :param above: the rate is higher; or
    :param below: the rate is lower; or
    :param changed_by: the rate differs from ``changed_from`` by at least this much.
    :param changed_from: the rate to compare with.
    """

    kind: ClassVar[str] = "flex_rate"
    question: ClassVar[Question] = Question.FLEX_PLANS
    ticker: str
    above: Decimal | None = None
    below: Decimal | None = None
    changed_by: Decimal | None = None
    changed_from: Decimal | None = None

    def met_by(self, best: BestRate) -> bool | None:
        """Whether a rate meets the condition; ``None``: not known."""
        if self.above is not None and best.known is not None and best.known > self.above:
            return True
        if self.below is not None and best.known is not None and best.known >= self.below:
            return False
        if best.rate is None:
            return None
        if self.changed_by is None or self.changed_from is None:
            return self.above is None
        with exact():
            return abs(best.rate - self.changed_from) >= self.changed_by

    def judge(self, answer: Iterable[FlexPlan | UnreadableRecord]) -> dict[str, Any] | None:
        best = best_rate(answer, self.ticker)
        if best.rate is None:
            log.warning("The best rate of %s is not certain: no plan shows one, or one cannot be read", self.ticker)
        return best.to_json() if self.met_by(best) else None


@dataclass(frozen=True, slots=True)
class PlanCondition(Condition):
    """A plan is open, paused, or not in the exchange's list.

    :param product: ``flex`` or ``fixed``.
    :param plan_id: this plan; or
    :param ticker: for ``open``: any plan of this asset; otherwise all of them.
    :param state: ``open``, ``paused`` (Fixed only: the exchange does not list paused Flex plans) or ``gone``.
    :param admits: for ``open``: the plan's limits admit this amount.
    """

    kind: ClassVar[str] = "plan"
    product: str
    plan_id: str | None = None
    ticker: str | None = None
    state: str = PlanState.OPEN
    admits: Decimal | None = None

    @property
    def question(self) -> Question:
        return Question.FLEX_PLANS if self.product == Product.FLEX else Question.FIXED_PLANS

    def judge(self, answer: Iterable[Plan | UnreadableRecord]) -> dict[str, Any] | None:
        plans: list[Plan]
        plans, unreadable = split(answer)
        meant = [plan for plan in plans if selects(self, plan.id, plan.ticker)]
        if self.state == PlanState.OPEN:
            fitting = (one for one in meant if self.admits is None or one.admits(self.admits))
            return next((one.to_json() for one in fitting if plan_state(one) is PlanState.OPEN), None)
        hidden = [record for record in unreadable if record.may_be_of(self.plan_id, self.ticker)]
        for record in hidden:
            log.warning("It is not known whether a plan is %s: unreadable %s", self.state, record)
        if hidden or any(plan_state(one) != self.state for one in meant):
            return None
        if self.state == PlanState.GONE:
            return {"plan_id": self.plan_id, "ticker": self.ticker, "state": str(PlanState.GONE)}
        return meant[0].to_json() if meant else None


@dataclass(frozen=True, slots=True)
class PlatformCondition(Condition):
    """The exchange says that it is operational."""

    kind: ClassVar[str] = "platform"
    question: ClassVar[Question] = Question.PLATFORM_STATUS

    def judge(self, answer: PlatformStatus) -> dict[str, Any] | None:
        return answer.to_json() if answer.operational else None


def _unknown(meant: Iterable[FlexInvestment | FixedInvestment], unreadable: Iterable[UnreadableRecord]) -> list[str]:
    """The investments of which it is not known whether they are over, in words. They are logged."""
    found = [
        f"investment {entry.id} has the unknown status {entry.status}"
        for entry in meant
        if not entry.active and not entry.closed
    ]
    found += [f"unreadable {record}" for record in unreadable if not record.closed]
    if found:
        log.warning("Neither active nor closed: %s", "; ".join(found))
    return found


_KINDS: dict[str, type[Condition]] = {
    condition.kind: condition
    for condition in (
        BalanceCondition,
        FlexInvestmentCondition,
        FlexEarningCondition,
        FixedMaturityCondition,
        RateCondition,
        PlanCondition,
        PlatformCondition,
    )
}


def condition_from_json(raw: Mapping[str, Any]) -> Condition:
    """Read what the ``to_json`` of a condition returned.

    :raises WhiteBitValidationError: this is not a condition.
    """
    kind = _KINDS.get(str(raw.get("kind")))
    if kind is None:
        raise WhiteBitValidationError(f"{raw.get('kind')!r} is not a condition; known are {', '.join(_KINDS)}.")
    return kind.from_json(raw)
