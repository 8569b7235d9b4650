"""What is waited for: conditions on what the exchange shows. Pure, and plain JSON on the way to a trigger.

Many conditions share one question: all balances of an account, all investments, all earnings since a moment. So ten
thousand who wait cost one request for each question, not one each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Self

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FlexInvestment,
    FlexInvestmentStatus,
    FlexTransaction,
    to_json,
)


class Question(StrEnum):
    """What the exchange is asked."""

    MAIN_BALANCE = "main"
    SPOT_BALANCE = "spot"
    COLLATERAL_BALANCE = "collateral"
    FLEX_INVESTMENTS = "flex_investments"
    FLEX_PAYMENTS = "flex_payments"
    FLEX_CLOSURES = "flex_closures"
    FIXED_INVESTMENTS = "fixed_investments"


class Condition:
    """Common to all conditions: how they turn into plain JSON and back."""

    __slots__ = ()
    kind: ClassVar[str]

    @property
    def question(self) -> Question:
        """What has to be asked to judge it."""
        raise NotImplementedError

    @property
    def since(self) -> int | None:
        """The Unix second from which on records matter; ``None``: all of them."""
        return None

    def judge(self, answer: Any) -> dict[str, Any] | None:
        """What fulfils the condition, as plain JSON; ``None`` if nothing does.

        :param answer: what the exchange answered to the question, possibly more than was asked for.
        """
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; :func:`condition_from_json` reads it."""
        values = {field.name: to_json(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]
        return {"kind": self.kind, **values}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        values = {name: value for name, value in raw.items() if name != "kind"}
        for name in ("at_least", "at_most", "invested_at_least"):
            if values.get(name) is not None:
                values[name] = Decimal(values[name])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class BalanceCondition(Condition):
    """A balance lies within limits.

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

    def judge(self, answer: Mapping[str, Decimal]) -> dict[str, Any] | None:
        held = answer.get(self.ticker, Decimal(0))
        if self.at_least is not None and held < self.at_least:
            return None
        if self.at_most is not None and held > self.at_most:
            return None
        return {"account": self.account, "ticker": self.ticker, "amount": to_json(held)}


@dataclass(frozen=True, slots=True)
class FlexInvestmentCondition(Condition):
    """A Flex investment is active, with so much in it; or is closed.

    :param plan_id: in this plan; or
    :param ticker: of this asset.
    :param status: 1 active, 0 closed: then none may be active.
    :param invested_at_least: for an active one, so much in it.
    """

    kind: ClassVar[str] = "flex_investment"
    plan_id: str | None = None
    ticker: str | None = None
    status: int = FlexInvestmentStatus.ACTIVE
    invested_at_least: Decimal | None = None

    @property
    def question(self) -> Question:
        return Question.FLEX_INVESTMENTS

    def judge(self, answer: Iterable[FlexInvestment]) -> dict[str, Any] | None:
        meant = [
            entry
            for entry in answer
            if (self.plan_id is None or entry.plan_id.lower() == self.plan_id)
            and (self.ticker is None or entry.currency == self.ticker)
        ]
        if self.status == FlexInvestmentStatus.CLOSED:
            closed = [entry for entry in meant if not entry.active]
            return closed[0].to_json() if closed and len(closed) == len(meant) else None
        for entry in meant:
            if entry.active and (self.invested_at_least is None or entry.invested >= self.invested_at_least):
                return entry.to_json()
        return None


@dataclass(frozen=True, slots=True)
class FlexEarningCondition(Condition):
    """A Flex earning has been credited.

    :param from_second: since this Unix second, inclusive.
    :param plan_id: of this plan; all by default.
    :param ticker: of this asset; all by default.
    """

    kind: ClassVar[str] = "flex_earning"
    from_second: int
    plan_id: str | None = None
    ticker: str | None = None

    @property
    def question(self) -> Question:
        return Question.FLEX_PAYMENTS

    @property
    def since(self) -> int | None:
        return self.from_second

    def judge(self, answer: Iterable[FlexTransaction]) -> dict[str, Any] | None:
        for entry in answer:
            if (
                entry.created_at.timestamp() >= self.from_second
                and (self.plan_id is None or entry.plan_id.lower() == self.plan_id)
                and (self.ticker is None or entry.currency == self.ticker)
            ):
                return entry.to_json()
        return None


@dataclass(frozen=True, slots=True)
class FixedMaturityCondition(Condition):
    """A Fixed investment has come to its end; of several, all of them.

    :param investment_id: this investment; or
    :param plan_id: those in this plan; or
    :param ticker: those of this asset.
    """

    kind: ClassVar[str] = "fixed_maturity"
    investment_id: str | None = None
    plan_id: str | None = None
    ticker: str | None = None

    @property
    def question(self) -> Question:
        return Question.FIXED_INVESTMENTS

    def judge(self, answer: Iterable[FixedInvestment]) -> dict[str, Any] | None:
        meant = [
            entry
            for entry in answer
            if (self.investment_id is None or entry.id == self.investment_id)
            and (self.plan_id is None or entry.plan.id.lower() == self.plan_id)
            and (self.ticker is None or entry.plan.ticker == self.ticker)
        ]
        if not meant or any(entry.active for entry in meant):
            return None
        return max(meant, key=lambda entry: entry.updated).to_json()


_KINDS: dict[str, type[Condition]] = {
    condition.kind: condition
    for condition in (BalanceCondition, FlexInvestmentCondition, FlexEarningCondition, FixedMaturityCondition)
}


def condition_from_json(raw: Mapping[str, Any]) -> Condition:
    """A condition out of what its ``to_json`` gave.

    :raises WhiteBitValidationError: if it is none.
    """
    kind = _KINDS.get(str(raw.get("kind")))
    if kind is None:
        raise WhiteBitValidationError(f"{raw.get('kind')!r} is no condition; known are {', '.join(_KINDS)}.")
    return kind.from_json(raw)
