"""What the exchange offers: the best advertised rate of an asset, and which plans are open with which limits. Pure.

What a list does not show is unknown: a plan without a rate is not compared, and a plan that may be among records that
cannot be read is not gone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Self

from airflow_provider_whitebit.client.models import FixedPlan, FixedPlanStatus, FlexPlan, plain, to_json
from airflow_provider_whitebit.client.unreadable import UnreadableRecord, split
from airflow_provider_whitebit.treasury.rates import unit_warning

log = logging.getLogger(__name__)

Plan = FlexPlan | FixedPlan


@dataclass(frozen=True, slots=True)
class BestRate:
    """The highest ``max_rate`` of the Flex plans of an asset that are on offer.

    :param plan: the plan with the highest known rate, of equal ones the smallest id; ``None``: no rate is known.
    :param complete: whether the rate of every plan is known, so that none can be higher.
    """

    plan: FlexPlan | None
    complete: bool

    @property
    def known(self) -> Decimal | None:
        """The highest rate that is known. An unknown one may be higher."""
        return None if self.plan is None else self.plan.max_rate

    @property
    def rate(self) -> Decimal | None:
        """The best rate; ``None`` if it is not certain which it is, or if no plan is on offer."""
        return self.known if self.complete else None

    def to_json(self) -> dict[str, str | None]:
        """Return the highest rate that is known and its plan, as plain JSON; null if none is known."""
        if self.plan is None:
            return {"ticker": None, "rate": None, "plan_id": None}
        return {"ticker": self.plan.ticker, "rate": to_json(self.known), "plan_id": self.plan.id}


def best_rate(answer: Iterable[FlexPlan | UnreadableRecord], ticker: str) -> BestRate:
    """Return the best advertised rate of an asset. A rate that may be in percent is logged.

    :param answer: the Flex plans on offer.
    :param ticker: the asset.
    """
    plans, unreadable = split(answer)
    offered = [plan for plan in plans if plan.ticker == ticker]
    rated = [(-plan.max_rate, plan.id, plan) for plan in offered if plan.max_rate is not None]
    hidden = any(record.may_be_of(None, ticker) for record in unreadable)
    if (warning := unit_warning((plan.id, plan.max_rate, None) for plan in offered)) is not None:
        log.warning("%s Limits are read as fractions.", warning)
    return BestRate(min(rated)[2] if rated else None, len(rated) == len(offered) and not hidden)


class Product(StrEnum):
    """The two kinds of plans."""

    FLEX = "flex"
    FIXED = "fixed"


class PlanState(StrEnum):
    """Whether a plan can be invested in."""

    OPEN = "open"
    PAUSED = "paused"
    GONE = "gone"


_CLOSED = (FixedPlanStatus.NO_COINS_LEFT, FixedPlanStatus.INACTIVE, FixedPlanStatus.PAUSED)


def plan_state(plan: Plan) -> PlanState | None:
    """The state of a plan that is listed; ``None`` if its status is unknown.

    Flex plans have no status: the exchange lists those that can be invested in.
    """
    if isinstance(plan, FlexPlan) or plan.active:
        return PlanState.OPEN
    return PlanState.PAUSED if plan.status in _CLOSED else None


class Change(StrEnum):
    """What happens to a plan."""

    NEW = "new"
    PAUSED = "paused"
    GONE = "gone"
    LIMITS = "limits"


@dataclass(frozen=True, slots=True)
class Terms:
    """What is known of a plan's state and limits. Its text form is part of the ids of occurrences.

    :param state: ``None``: unknown.
    :param limits: minimum and maximum of an investment, as text; empty: unknown. A plan without maximum has ``-``.
    """

    state: PlanState | None = None
    limits: str = ""

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The terms that the exchange shows."""
        most = "-" if plan.max_investment is None else plain(plan.max_investment)
        return cls(plan_state(plan), f"{plain(plan.min_investment)}:{most}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form."""
        state, _, limits = text.partition(":")
        return cls(PlanState(state) if state else None, limits)

    def __str__(self) -> str:
        return f"{self.state or ''}:{self.limits}"

    def to_json(self) -> dict[str, str | None]:
        """Return plain JSON; null for what is unknown or does not exist."""
        least, _, most = self.limits.partition(":")
        known = {"min_investment": least or None, "max_investment": None if most in ("", "-") else most}
        return {"state": self.state and str(self.state), **known}

    def updated(self, shown: Terms) -> Terms:
        """These terms with all that is known of the newer ones."""
        return replace(shown, state=shown.state or self.state, limits=shown.limits or self.limits)

    def changes(self, later: Terms) -> list[Change]:
        """What has happened between these terms and later ones. What was unknown has not changed."""
        if later.state is PlanState.GONE:
            return [] if self.state in (None, PlanState.GONE) else [Change.GONE]
        found = []
        if later.state is PlanState.OPEN and self.state in (PlanState.PAUSED, PlanState.GONE):
            found.append(Change.NEW)
        if later.state is PlanState.PAUSED and self.state is PlanState.OPEN:
            found.append(Change.PAUSED)
        # A plan that comes back begins with new limits.
        if self.limits and later.limits and self.limits != later.limits and self.state is not PlanState.GONE:
            found.append(Change.LIMITS)
        return found
