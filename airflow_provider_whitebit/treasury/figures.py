"""The figures of a period of Flex lending: of each plan, each of its days, and all plans of an asset. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise

import pendulum

from airflow_provider_whitebit.client.models import FlexAction, Record
from airflow_provider_whitebit.treasury.amounts import ZERO
from airflow_provider_whitebit.treasury.flex_ledger import DAY, Entry, InvestmentLedger, Period
from airflow_provider_whitebit.treasury.rates import RATE_DECIMALS, realised_rate

#: Decimals of average balances.
AVERAGE_DECIMALS = 8
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Figures(Record):
    """What happened to invested money over a period. Amounts in units of the asset, rates as fractions per year.

    ``closing = opening + invested + reinvested - withdrawn - closed`` and
    ``earned = earned_to_main + earned_reinvested``.

    :param opening: invested at the start.
    :param invested: paid in from Main, by opening investments or adding to them.
    :param reinvested: earnings that were added.
    :param withdrawn: taken out in part.
    :param closed: taken out by closing.
    :param closing: invested at the end.
    :param earned: credited in the period.
    :param earned_to_main: of that, paid to Main.
    :param earned_reinvested: of that, kept in the investment.
    :param average_invested: time-weighted over the whole period, rounded to :data:`AVERAGE_DECIMALS`.
    :param realised_rate: earned per year and unit invested (:func:`.realised_rate`); ``None`` if nothing was invested.
    :param advertised_rate: the plan's ``max_rate``; over several plans, weighted by what was invested in them and
        rounded; ``None`` (unknown) if a plan is no longer offered or shows none.
    """

    opening: Decimal = ZERO
    invested: Decimal = ZERO
    reinvested: Decimal = ZERO
    withdrawn: Decimal = ZERO
    closed: Decimal = ZERO
    closing: Decimal = ZERO
    earned: Decimal = ZERO
    earned_to_main: Decimal = ZERO
    earned_reinvested: Decimal = ZERO
    average_invested: Decimal = ZERO
    realised_rate: Decimal | None = None
    advertised_rate: Decimal | None = None


#: Figures of several plans that are not sums of the plans' figures.
_DERIVED = ("average_invested", "realised_rate", "advertised_rate")


@dataclass(frozen=True, slots=True)
class Day(Record):
    """One day (UTC) of one plan.

    :param date: the day, ``YYYY-MM-DD``.
    :param invested: at its end, or at the end of the period.
    :param earned: credited on it.
    :param earned_to_date: credited since the start of the period.
    :param rate_to_date: realised rate per year since the start of the period; ``None`` before money was invested.
    """

    date: str
    invested: Decimal
    earned: Decimal
    earned_to_date: Decimal
    rate_to_date: Decimal | None


@dataclass(frozen=True, slots=True)
class PlanStatement:
    """One plan.

    :param plan_id: the plan.
    :param ticker: the asset.
    :param figures: of the whole period.
    :param days: each of its days.
    """

    plan_id: str
    ticker: str
    figures: Figures
    days: tuple[Day, ...]


@dataclass(frozen=True, slots=True)
class TickerStatement:
    """All plans of one asset.

    :param ticker: the asset.
    :param figures: of the whole period.
    :param plans: each of its plans in which something was invested, earned or moved.
    """

    ticker: str
    figures: Figures
    plans: tuple[PlanStatement, ...]


def plan_figures(
    ledgers: Iterable[InvestmentLedger], rates: Mapping[str, Decimal | None], period: Period
) -> Iterator[tuple[PlanStatement, Decimal]]:
    """Yield the figures of each plan that has any, and its area: the balance multiplied by microseconds.

    :param ledgers: of all investments in some plans.
    :param rates: advertised rates by plan.
    """
    by_plan: dict[tuple[str, str], list[InvestmentLedger]] = defaultdict(list)
    for ledger in ledgers:
        by_plan[ledger.ticker, ledger.plan_id].append(ledger)
    for (ticker, plan_id), held in by_plan.items():
        figures, days, area = _figures(held, rates.get(plan_id), period)
        if area or figures != Figures(advertised_rate=figures.advertised_rate):
            yield PlanStatement(plan_id, ticker, figures, days), area


def figures_by_ticker(shown: Iterable[tuple[PlanStatement, Decimal]], period: Period) -> list[TickerStatement]:
    """Return the figures of each asset.

    :param shown: of all plans, as :func:`plan_figures` yields them.
    """
    plans: dict[str, list[tuple[PlanStatement, Decimal]]] = defaultdict(list)
    for plan, area in sorted(shown, key=lambda one: (one[0].ticker, one[0].plan_id)):
        plans[plan.ticker].append((plan, area))
    return [
        TickerStatement(ticker, _together(listed, period), tuple(plan for plan, _ in listed))
        for ticker, listed in plans.items()
    ]


def _figures(
    ledgers: Sequence[InvestmentLedger], advertised: Decimal | None, period: Period
) -> tuple[Figures, tuple[Day, ...], Decimal]:
    """A plan's figures and days, and its area: the balance multiplied by microseconds."""
    start, end = period
    entries = sorted((entry for ledger in ledgers for entry in ledger.entries), key=lambda entry: entry.at)
    inside = [entry for entry in entries if start <= entry.at < end]
    opening = sum((ledger.before(start) for ledger in ledgers), ZERO)
    walked = list(_days(inside, opening, period))
    area = walked[-1][1]
    earned = sum((entry.earned for entry in inside), ZERO)
    kept = sum((entry.kept for entry in inside), ZERO)
    figures = Figures(
        opening=opening,
        invested=_moved(inside, FlexAction.INVEST, FlexAction.OPEN_INVESTMENT),
        reinvested=_moved(inside, FlexAction.REINVEST, FlexAction.DAILY_EARNING),
        withdrawn=-_moved(inside, FlexAction.WITHDRAW_FROM_INVESTMENT),
        closed=-_moved(inside, FlexAction.CLOSE_INVESTMENT),
        closing=sum((ledger.before(end) for ledger in ledgers), ZERO),
        earned=earned,
        earned_to_main=earned - kept,
        earned_reinvested=kept,
        average_invested=_rounded(area / (end - start), AVERAGE_DECIMALS),
        realised_rate=realised_rate(earned, area / _SECOND),
        advertised_rate=advertised,
    )
    return figures, tuple(day for day, _ in walked), area


def _moved(entries: Iterable[Entry], *actions: FlexAction) -> Decimal:
    return sum((entry.change for entry in entries if entry.record.action_type in actions), ZERO)


def _days(entries: Sequence[Entry], opening: Decimal, period: Period) -> Iterator[tuple[Day, Decimal]]:
    """Each UTC day of the period, walking forward from its opening, and the area until its end."""
    balance, area, to_date = opening, ZERO, ZERO
    position = 0
    for begin, until in _midnights(*period):
        at, earned = begin, ZERO
        while position < len(entries) and entries[position].at < until:
            entry = entries[position]
            area += balance * (entry.at - at)
            at, balance, earned = entry.at, balance + entry.change, earned + entry.earned
            position += 1
        area += balance * (until - at)
        to_date += earned
        date = pendulum.from_timestamp(begin // _SECOND, tz="UTC").to_date_string()
        yield Day(date, balance, earned, to_date, realised_rate(to_date, area / _SECOND)), area


def _midnights(start: int, end: int) -> Iterator[tuple[int, int]]:
    first = (start // DAY + 1) * DAY
    return pairwise([start, *range(first, end, DAY), end])


def _together(plans: Sequence[tuple[PlanStatement, Decimal]], period: Period) -> Figures:
    """The figures of several plans as one."""
    sums = {
        entry.name: sum((getattr(plan.figures, entry.name) for plan, _ in plans), ZERO)
        for entry in fields(Figures)
        if entry.name not in _DERIVED
    }
    area = sum((area for _, area in plans), ZERO)
    weighted = [(plan.figures.advertised_rate, area) for plan, area in plans if area > 0]
    known = [(rate * weight, weight) for rate, weight in weighted if rate is not None]
    advertised = None
    if known and len(known) == len(weighted):
        advertised = _rounded(sum((rate for rate, _ in known), ZERO) / sum(w for _, w in known), RATE_DECIMALS)
    return replace(
        Figures(**sums),
        average_invested=_rounded(area / (period[1] - period[0]), AVERAGE_DECIMALS),
        realised_rate=realised_rate(sums["earned"], area / _SECOND),
        advertised_rate=advertised,
    )


def _rounded(value: Decimal, decimals: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
