"""What a treasury wants: how much of each asset stays in Main, and which Flex plans may hold the rest.

A policy is a mapping of tickers, as Airflow params, JSON or YAML carry it::

    USDT:
      reserve: "5000"
      min_move: "100"
      liquidity:
        - {amount: "20000", by: "2026-03-31T12:00:00Z"}
      plans:
        max_share: "0.5"

It is read strictly, because money follows it: an unknown field or a float is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

import pendulum
from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, StrictBool, model_validator

from airflow_provider_whitebit.client.errors import WhiteBitValidationError, shown
from airflow_provider_whitebit.moves import parsing
from airflow_provider_whitebit.treasury.amounts import exact
from airflow_provider_whitebit.treasury.fields import Amount, Fields, Rate, Share, Time, fault, read_fields, wrong
from airflow_provider_whitebit.treasury.policy_text import decode

#: Seconds before ``by`` from which a liquidity need is held in Main, unless the policy says otherwise.
DEFAULT_NOTICE = 3600

_ZERO = Decimal(0)
_PERMITS_NONE = 'is empty: leave it out to permit every plan; reserve_share "1" keeps all in Main'
_LONGEST_NOTICE = 366 * 86400
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Choose(StrEnum):
    """In which order permitted plans are filled."""

    HIGHEST_RATE = "highest_rate"
    LIST = "list"


def _read_plan_id(raw: object) -> str:
    try:
        return parsing.read_identifier("plan", raw).lower()
    except WhiteBitValidationError:
        raise fault(f"{shown(raw)} is not a plan id: take it from the plans call, as a string") from None


def _each_once(names: Iterable[object]) -> None:
    seen: set[str] = set()
    for name in names:
        plain = str(name).strip().lower()
        if plain in seen:
            raise fault(f"names {plain} twice")
        seen.add(plain)


def _check_names(raw: Any) -> Any:
    _each_once(raw if isinstance(raw, list | tuple | Mapping) else ())
    return raw


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    with exact():
        return sum(amounts, _ZERO)


def _check_sum(targets: Mapping[str, Decimal]) -> Mapping[str, Decimal]:
    if (claimed := _sum(targets.values())) > 1:
        raise fault(f"add up to {claimed:f}: they may claim 1 at most")
    return targets


def _check_positive(amount: Decimal) -> Decimal:
    if not amount:
        raise fault('is zero: write an amount, for example "20000"')
    return amount


def _read_notice(raw: object) -> int:
    text = str(raw).strip() if isinstance(raw, str | int) and not isinstance(raw, bool) else ""
    found = re.fullmatch(r"([0-9]{1,9}) ?([smhd]?)", text)
    if found is None:
        raise fault(f'is {shown(raw)}: write whole seconds, or a length like "90m", "2h" or "1d"')
    seconds = int(found[1]) * _SECONDS[found[2]]
    if seconds > _LONGEST_NOTICE:
        raise fault(f"is {shown(raw)}: a year is the longest")
    return seconds


_PlanId = Annotated[str, PlainValidator(_read_plan_id)]
_PlanIds = Annotated[tuple[_PlanId, ...], BeforeValidator(_check_names)]
_Targets = Annotated[dict[_PlanId, Share], BeforeValidator(_check_names), AfterValidator(_check_sum)]
_PositiveAmount = Annotated[Amount, AfterValidator(_check_positive)]
_Notice = Annotated[int, PlainValidator(_read_notice)]


class PlanRules(Fields):
    """Which Flex plans of an asset may hold how much of it.

    Plan ids are in small letters. Shares are fractions of the total, which is Main and what is invested in Flex.

    :param choose: fill the plan with the highest ``max_rate`` first, or in the order of ``only``.
    :param only: the plans that may be invested in; empty: all that are on offer.
    :param exclude: plans that may not.
    :param max_share: the largest share of the total in one plan.
    :param max_amount: the largest amount in one plan, in units of the asset.
    :param targets: share of the total by plan. With targets, no other plan may hold anything, and what no target
        claims stays in Main.
    :param follow_rate: whether to move investments to plans with a higher ``max_rate``.
    :param min_gain: by how much that rate must be higher, in the unit of ``max_rate``.
    :param min_rate: nothing is invested in a plan whose ``max_rate`` is lower or unknown, also if it is named.
    :param leave_below: what a plan holds is withdrawn if its ``max_rate`` is lower. It is at most ``min_rate``: a plan
        whose rate is between the two neither takes nor has to give. An unknown rate is no reason to leave.
    """

    choose: Choose = Choose.HIGHEST_RATE
    only: _PlanIds = ()
    exclude: _PlanIds = ()
    max_share: Share | None = None
    max_amount: Amount | None = None
    targets: _Targets = Field(default_factory=dict)
    follow_rate: StrictBool = False
    min_gain: Amount = _ZERO
    min_rate: Rate | None = None
    leave_below: Rate | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The plans that the policy names to be invested in."""
        return tuple(self.targets) or self.only

    def permits(self, plan_id: str) -> bool:
        """Whether a plan may hold anything."""
        name = plan_id.lower()
        return name not in self.exclude and (not self.named or name in self.named)

    def pays_enough(self, rate: Decimal | None) -> bool:
        """Whether a plan may be invested in at its rate. An unknown one is not compared, so it is never enough.

        :param rate: the plan's ``max_rate``; ``None``: unknown.
        """
        return self.min_rate is None or (rate is not None and rate >= self.min_rate)

    def leaves(self, rate: Decimal | None) -> bool:
        """Whether what a plan holds is withdrawn because of its rate.

        :param rate: the plan's ``max_rate``; ``None``: unknown.
        """
        return self.leave_below is not None and rate is not None and rate < self.leave_below

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if "only" in self.model_fields_set and not self.only:
            raise fault(_PERMITS_NONE, "only")
        if "targets" in self.model_fields_set and not self.targets:
            raise fault(_PERMITS_NONE, "targets")
        if self.choose is Choose.LIST and not self.only:
            raise fault("is list, but there is no list: write the plans in their order in only", "choose")
        if self.targets and self.only:
            raise fault("cannot be combined with targets, which already name the permitted plans: drop one", "only")
        if both := set(self.named) & set(self.exclude):
            raise fault(f"names {', '.join(sorted(both))}, which only or targets name to be used", "exclude")
        if self.follow_rate and (self.targets or self.choose is Choose.LIST):
            raise fault("only works with choose highest_rate and without targets", "follow_rate")
        if self.min_gain and not self.follow_rate:
            raise fault("has no effect without follow_rate: set that to true or drop min_gain", "min_gain")
        if self.leave_below is not None and self.min_rate is None:
            raise fault(
                "needs min_rate: without it, what is withdrawn would be invested in the same plan again", "leave_below"
            )
        if self.leave_below is not None and self.min_rate is not None and self.leave_below > self.min_rate:
            raise fault(
                f"is {self.leave_below:f}, above min_rate {self.min_rate:f}: what is invested would be withdrawn again",
                "leave_below",
            )
        return self


class LiquidityNeed(Fields):
    """An amount that must be in Main at a moment.

    :param amount: on top of the reserve, in units of the asset.
    :param by: the moment, UTC; after it the need is over.
    """

    amount: _PositiveAmount
    by: Time

    def due(self, now: pendulum.DateTime, notice: int) -> bool:
        """Whether the amount must be in Main now.

        :param now: UTC.
        :param notice: seconds before ``by`` from which it must be there.
        """
        return now <= self.by <= now.add(seconds=notice)


class TickerPolicy(Fields):
    """What is wanted for one asset.

    :param reserve: what stays in Main, in units of the asset.
    :param reserve_share: what stays in Main, as a fraction of the total (Main and Flex); the larger of both counts.
    :param min_move: the smallest move worth making, in units of the asset.
    :param plans: which plans may hold the rest.
    :param auto_reinvest: whether investments get auto-reinvest; ``None``: they stay as they are.
    :param liquidity: what must be in Main at certain moments.
    :param notice: seconds before such a moment from which its amount is held in Main.
    """

    _misplaced: ClassVar[Mapping[str, str]] = dict.fromkeys(PlanRules.model_fields, " It belongs under plans.")

    reserve: Amount = _ZERO
    reserve_share: Share = _ZERO
    min_move: Amount = _ZERO
    plans: PlanRules = PlanRules()
    auto_reinvest: StrictBool | None = None
    liquidity: tuple[LiquidityNeed, ...] = ()
    notice: _Notice = DEFAULT_NOTICE

    def due(self, now: pendulum.DateTime) -> Decimal:
        """What liquidity needs claim in Main now, on top of the reserve.

        :param now: UTC.
        :returns: units of the asset.
        """
        return _sum(need.amount for need in self.liquidity if need.due(now, self.notice))

    @model_validator(mode="after")
    def _check_claims(self) -> Self:
        claimed = _sum([self.reserve_share, *self.plans.targets.values()])
        if self.plans.targets and claimed > 1:
            raise fault(
                f"claim {claimed:f} of the total together with reserve_share: they may claim 1 at most", "plans.targets"
            )
        return self


@dataclass(frozen=True, slots=True)
class Policy:
    """What is wanted, by ticker. Assets that it does not name stay as they are."""

    tickers: Mapping[str, TickerPolicy]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON without fields at their default. :func:`read_policy` reads it back to an equal policy."""
        return {
            ticker: wanted.model_dump(mode="json", exclude_defaults=True) for ticker, wanted in self.tickers.items()
        }


def read_policy(raw: object) -> Policy:
    """Read a policy.

    :param raw: a mapping of tickers (Airflow params, decoded JSON), the text of one in JSON or YAML, or a policy.
    :raises WhiteBitValidationError: what is wrong with it and where, for example ``USDT.plans.max_share``.
    """
    if isinstance(raw, Policy):
        return raw
    given = decode(raw) if isinstance(raw, str) else raw
    if not isinstance(given, Mapping):
        raise wrong("policy", f"is {shown(given)}: write a mapping of names to values")
    tickers: dict[str, TickerPolicy] = {}
    for name, wanted in given.items():
        try:
            ticker = parsing.read_ticker(name)
        except WhiteBitValidationError:
            raise wrong("policy", f"{shown(name)} is not a ticker: write it like USDT") from None
        if ticker in tickers:
            raise wrong("policy", f"names {ticker} twice")
        if wanted is None:
            raise wrong(ticker, "is empty (null): write its rules, or {} to keep nothing in Main and permit every plan")
        tickers[ticker] = read_fields(TickerPolicy, wanted, ticker)
    if not tickers:
        raise wrong("policy", 'names no ticker: write at least one, for example {"USDT": {"reserve": "1000"}}')
    return Policy(tickers)
