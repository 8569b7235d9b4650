"""A statement of Flex lending: what was invested, what it earned, and whether the exchange's records add up. Pure.

Vendor page: Lending (Flex plans). What is assumed, and where it comes from:

- Balances are derived, because the exchange shows only today's: from what is invested now the records are walked back
  to the end and to the start of the period.
- Earnings count when they are credited. What has accrued and is not credited yet is in no record and not in here.
- A plan's ``max_rate`` is read as a fraction per year (0.15 is 15 %), as the vendor's examples suggest. It is today's
  rate: what was advertised during the period is not kept by the exchange.
- A year has 365 days. A realised rate is what was earned, over the time-weighted invested balance, times a year;
  computed exactly and then rounded half to even, see :data:`RATE_DECIMALS` and :data:`AVERAGE_DECIMALS`.
- How reinvested earnings are recorded: see :class:`~.flex_books.ReinvestedAs`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from itertools import pairwise
from typing import Any, TypeVar

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import FlexAction, FlexInvestment, FlexPlan, FlexTransaction, Record
from airflow_provider_whitebit.client.models import to_json as plain
from airflow_provider_whitebit.treasury.flex_books import (
    DAY,
    ZERO,
    Discrepancy,
    DiscrepancyKind,
    Entry,
    InvestmentBook,
    ReinvestedAs,
    micros,
    read_books,
)

__all__ = [
    "Day",
    "Discrepancy",
    "DiscrepancyKind",
    "Figures",
    "PlanStatement",
    "ReinvestedAs",
    "Statement",
    "StatementRow",
    "TickerStatement",
    "make_statement",
    "previous_month",
    "read_reinvested_as",
]

#: Decimals of rates: 0.123456 is 12.3456 %.
RATE_DECIMALS = 6
#: Decimals of average balances.
AVERAGE_DECIMALS = 8
_YEAR = 365 * DAY
# Sums of amounts must not be rounded; Python's default of 28 digits would.
_EXACT = Context(prec=200)


@dataclass(frozen=True, slots=True)
class Figures(Record):
    """What happened to invested money over a period. Amounts in units of the asset, rates as fractions per year.

    ``closing = opening + invested + reinvested - withdrawn - closed`` and
    ``earned = earned_to_main + earned_reinvested``.

    :param opening: invested at the start.
    :param invested: put in from Main, by opening investments or adding to them.
    :param reinvested: earnings that were added.
    :param withdrawn: taken out in part.
    :param closed: taken out by closing.
    :param closing: invested at the end.
    :param earned: credited in the period.
    :param earned_to_main: of that, paid to Main.
    :param earned_reinvested: of that, kept in the investment.
    :param average_invested: time-weighted over the whole period, rounded to :data:`AVERAGE_DECIMALS`.
    :param realised_rate: earned per year and unit invested, rounded to :data:`RATE_DECIMALS`; ``None`` where nothing
        was invested.
    :param advertised_rate: the plan's ``max_rate``; over several plans, weighted by what was invested in them and
        rounded; ``None`` where a plan is no longer offered.
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


@dataclass(frozen=True, slots=True)
class StatementRow(Record):
    """One plan as a line of a table; the figures are those of :class:`Figures`."""

    start: pendulum.DateTime
    end: pendulum.DateTime
    ticker: str
    plan_id: str
    opening: Decimal
    invested: Decimal
    reinvested: Decimal
    withdrawn: Decimal
    closed: Decimal
    closing: Decimal
    earned: Decimal
    earned_to_main: Decimal
    earned_reinvested: Decimal
    average_invested: Decimal
    realised_rate: Decimal | None
    advertised_rate: Decimal | None


@dataclass(frozen=True, slots=True)
class Statement:
    """A period of Flex lending.

    :param start: its beginning, included.
    :param end: its end, not included.
    :param made_at: when the exchange was asked.
    :param reinvested_as: how the records of reinvested earnings were read.
    :param records_from: since when records were asked for; ``None``: from the very first.
    :param payments_compared: whether the list of payments was held against the history.
    :param tickers: by asset.
    :param movements: the records of the period, oldest first.
    :param discrepancies: what does not add up, in words and figures; empty where everything does.
    """

    start: pendulum.DateTime
    end: pendulum.DateTime
    made_at: pendulum.DateTime
    reinvested_as: ReinvestedAs
    records_from: pendulum.DateTime | None
    payments_compared: bool
    tickers: tuple[TickerStatement, ...]
    movements: tuple[FlexTransaction, ...]
    discrepancies: tuple[Discrepancy, ...]

    @property
    def adds_up(self) -> bool:
        """Whether no discrepancy was found."""
        return not self.discrepancies

    @property
    def plans(self) -> tuple[PlanStatement, ...]:
        """The plans of all assets."""
        return tuple(plan for ticker in self.tickers for plan in ticker.plans)

    @property
    def label(self) -> str:
        """The period as part of a file's name: ``20260101-20260201``, with times where they are not midnights."""
        days = all(moment == moment.start_of("day") for moment in (self.start, self.end))
        return "-".join(moment.format("YYYYMMDD" if days else "YYYYMMDD[T]HHmmss") for moment in (self.start, self.end))

    def rows(self) -> Iterator[StatementRow]:
        """The plans as lines of a table."""
        for plan in self.plans:
            figures = {entry.name: getattr(plan.figures, entry.name) for entry in fields(Figures)}
            yield StatementRow(self.start, self.end, plan.ticker, plan.plan_id, **figures)

    def to_json(self, *, days: bool = True, most_discrepancies: int | None = None) -> dict[str, Any]:
        """Plain JSON: amounts and rates as decimal strings, times as ISO 8601 UTC strings.

        :param days: whether each day of each plan is in it.
        :param most_discrepancies: at most so many of them; ``discrepancy_count`` counts all.
        """
        return {
            "start": plain(self.start),
            "end": plain(self.end),
            "made_at": plain(self.made_at),
            "reinvested_as": str(self.reinvested_as),
            "records_from": plain(self.records_from),
            "payments_compared": self.payments_compared,
            "movement_count": len(self.movements),
            "adds_up": self.adds_up,
            "discrepancy_count": len(self.discrepancies),
            "discrepancies": [
                {**found.to_json(), "kind": str(found.kind)} for found in self.discrepancies[:most_discrepancies]
            ],
            "tickers": {
                ticker.ticker: {
                    **ticker.figures.to_json(),
                    "plans": {plan.plan_id: _plan_json(plan, days=days) for plan in ticker.plans},
                }
                for ticker in self.tickers
            },
        }


def _plan_json(plan: PlanStatement, *, days: bool) -> dict[str, Any]:
    listed = {"days": [day.to_json() for day in plan.days]} if days else {}
    return {**plan.figures.to_json(), **listed}


def previous_month(moment: datetime) -> tuple[pendulum.DateTime, pendulum.DateTime]:
    """The whole calendar month in UTC before the one of a moment: its beginning, and the beginning of the next.

    :param moment: an aware time.
    """
    end = pendulum.instance(moment).in_timezone("UTC").start_of("month")
    return end.subtract(months=1), end


def read_reinvested_as(raw: object) -> ReinvestedAs:
    """How reinvested earnings are recorded, as a caller gives it.

    :raises WhiteBitValidationError: if it is none of the three ways.
    """
    try:
        return ReinvestedAs(str(raw).strip().lower())
    except ValueError:
        raise WhiteBitValidationError(f"reinvested_as is {raw!r}: write one of {', '.join(ReinvestedAs)}.") from None


def make_statement(
    history: Iterable[FlexTransaction],
    investments: Iterable[FlexInvestment],
    plans: Iterable[FlexPlan],
    *,
    start: datetime,
    end: datetime,
    made_at: datetime,
    tickers: Sequence[str] | None = None,
    reinvested_as: ReinvestedAs = ReinvestedAs.BOTH,
    records_from: datetime | None = None,
    payments: Iterable[FlexTransaction] | None = None,
) -> Statement:
    """The statement of a period, ``start`` included and ``end`` not.

    :param history: Flex transactions of all kinds, newest first, from ``records_from`` until now: also what came
        after ``end``, because balances are walked back from now.
    :param investments: as the exchange shows them now, active and closed.
    :param plans: on offer now, for their rates.
    :param start: an aware time.
    :param end: an aware time after ``start``, not after ``made_at``.
    :param made_at: when ``investments`` were asked for, an aware time.
    :param tickers: only these assets; all by default.
    :param reinvested_as: how the exchange records reinvested earnings.
    :param records_from: since when ``history`` and ``payments`` are complete, at most ``start``; ``None``: from the
        very first. Only with all of them can a missing move from before the period be noticed.
    :param payments: the exchange's own list of daily earnings, to be held against the history.
    :raises WhiteBitValidationError: if the times make no period that is over.
    """
    _check_period(start, end, made_at, records_from)
    offered = list(plans)
    of_plan = {plan.id: plan.ticker for plan in offered}
    held = _of_tickers(investments, of_plan, tickers)
    of_plan |= {entry.plan_id: entry.currency for entry in held}
    with localcontext(_EXACT):
        books = read_books(
            _of_tickers(history, of_plan, tickers),
            held,
            start=start,
            end=end,
            reinvested_as=reinvested_as,
            records_from=records_from,
            payments=None if payments is None else _of_tickers(payments, of_plan, tickers),
        )
        by_ticker = _by_ticker(
            books.investments, {plan.id: plan.max_rate for plan in offered}, micros(start), micros(end)
        )
        for ticker in by_ticker:
            books.discrepancies.extend(fault for plan in ticker.plans if (fault := _closing_fault(plan, micros(end))))
    missing = set(tickers or ()) - {ticker.ticker for ticker in by_ticker}
    by_ticker += [TickerStatement(name, Figures(), ()) for name in missing]
    movements = (record for record in books.records if micros(start) <= micros(record.created_at) < micros(end))
    return Statement(
        start=_utc(start),
        end=_utc(end),
        made_at=_utc(made_at),
        reinvested_as=reinvested_as,
        records_from=None if records_from is None else _utc(records_from),
        payments_compared=payments is not None,
        tickers=tuple(sorted(by_ticker, key=lambda ticker: ticker.ticker)),
        movements=tuple(movements),
        discrepancies=tuple(books.discrepancies),
    )


EntryT = TypeVar("EntryT", FlexInvestment, FlexTransaction)


def _of_tickers(entries: Iterable[EntryT], of_plan: Mapping[str, str], tickers: Sequence[str] | None) -> list[EntryT]:
    """Those of some assets. Where one names no asset, its plan does."""
    named = [entry if entry.currency else replace(entry, currency=of_plan.get(entry.plan_id, "")) for entry in entries]
    return [entry for entry in named if tickers is None or entry.currency in tickers]


def _check_period(start: datetime, end: datetime, made_at: datetime, records_from: datetime | None) -> None:
    for name, moment in (("start", start), ("end", end), ("made_at", made_at), ("records_from", records_from)):
        if moment is not None and moment.tzinfo is None:
            raise WhiteBitValidationError(f"{name} has no time zone: give an aware time, for example in UTC.")
    if start >= end:
        raise WhiteBitValidationError(f"start is {plain(_utc(start))}, which is not before end, {plain(_utc(end))}.")
    if end > made_at:
        raise WhiteBitValidationError(
            f"end is {plain(_utc(end))}, which is not over yet: it is {plain(_utc(made_at))} at the exchange."
        )
    if records_from is not None and records_from > start:
        raise WhiteBitValidationError("records_from is after start: the opening balance could not be checked.")


def _by_ticker(
    books: Iterable[InvestmentBook], rates: dict[str, Decimal], start: int, end: int
) -> list[TickerStatement]:
    by_plan: dict[tuple[str, str], list[InvestmentBook]] = defaultdict(list)
    for book in books:
        by_plan[book.ticker, book.plan_id].append(book)
    plans: dict[str, list[tuple[PlanStatement, Decimal]]] = defaultdict(list)
    for (ticker, plan_id), held in sorted(by_plan.items()):
        figures, days, area = _period(held, rates.get(plan_id), start, end)
        if area or figures != Figures(advertised_rate=figures.advertised_rate):
            plans[ticker].append((PlanStatement(plan_id, ticker, figures, days), area))
    return [
        TickerStatement(ticker, _together(listed, end - start), tuple(plan for plan, _ in listed))
        for ticker, listed in plans.items()
    ]


def _period(
    books: Sequence[InvestmentBook], advertised: Decimal | None, start: int, end: int
) -> tuple[Figures, tuple[Day, ...], Decimal]:
    """A plan's figures and days, and its balance times microseconds."""
    entries = sorted((entry for book in books for entry in book.entries), key=lambda entry: entry.at)
    within = [entry for entry in entries if start <= entry.at < end]
    opening = sum((book.before(start) for book in books), ZERO)
    walked = list(_days(within, opening, start, end))
    area = walked[-1][1]
    earned = sum((entry.earned for entry in within), ZERO)
    kept = sum((entry.kept for entry in within), ZERO)
    figures = Figures(
        opening=opening,
        invested=_moved(within, FlexAction.INVEST, FlexAction.OPEN_INVESTMENT),
        reinvested=_moved(within, FlexAction.REINVEST, FlexAction.DAILY_EARNING),
        withdrawn=-_moved(within, FlexAction.WITHDRAW_FROM_INVESTMENT),
        closed=-_moved(within, FlexAction.CLOSE_INVESTMENT),
        closing=sum((book.before(end) for book in books), ZERO),
        earned=earned,
        earned_to_main=earned - kept,
        earned_reinvested=kept,
        average_invested=_rounded(area / (end - start), AVERAGE_DECIMALS),
        realised_rate=_rate(earned, area),
        advertised_rate=advertised,
    )
    return figures, tuple(day for day, _ in walked), area


def _moved(entries: Iterable[Entry], *actions: FlexAction) -> Decimal:
    return sum((entry.change for entry in entries if entry.record.action_type in actions), ZERO)


def _days(entries: Sequence[Entry], opening: Decimal, start: int, end: int) -> Iterator[tuple[Day, Decimal]]:
    """Each UTC day of the period, walking forward from its opening, and the balance times microseconds until then."""
    balance, area, to_date = opening, ZERO, ZERO
    position = 0
    for begin, until in _midnights(start, end):
        at, earned = begin, ZERO
        while position < len(entries) and entries[position].at < until:
            entry = entries[position]
            area += balance * (entry.at - at)
            at, balance, earned = entry.at, balance + entry.change, earned + entry.earned
            position += 1
        area += balance * (until - at)
        to_date += earned
        date = pendulum.from_timestamp(begin // 1_000_000, tz="UTC").to_date_string()
        yield Day(date, balance, earned, to_date, _rate(to_date, area)), area


def _midnights(start: int, end: int) -> Iterator[tuple[int, int]]:
    first = (start // DAY + 1) * DAY
    return pairwise([start, *range(first, end, DAY), end])


def _rate(earned: Decimal, area: Decimal) -> Decimal | None:
    """Earnings per year and unit invested. A balance below zero, which is reported, has no rate."""
    return _rounded(earned * _YEAR / area, RATE_DECIMALS) if area > 0 else None


def _together(plans: Sequence[tuple[PlanStatement, Decimal]], length: int) -> Figures:
    """The figures of several plans as one."""
    total = Figures()
    derived = ("average_invested", "realised_rate", "advertised_rate")
    sums = {
        entry.name: sum((getattr(plan.figures, entry.name) for plan, _ in plans), ZERO)
        for entry in fields(Figures)
        if entry.name not in derived
    }
    area = sum((area for _, area in plans), ZERO)
    weighted = [(plan.figures.advertised_rate, area) for plan, area in plans if area > 0]
    known = [(rate * weight, weight) for rate, weight in weighted if rate is not None]
    advertised = None
    if known and len(known) == len(weighted):
        advertised = _rounded(sum((rate for rate, _ in known), ZERO) / sum(w for _, w in known), RATE_DECIMALS)
    return replace(
        total,
        **sums,
        average_invested=_rounded(area / length, AVERAGE_DECIMALS),
        realised_rate=_rate(sums["earned"], area),
        advertised_rate=advertised,
    )


def _closing_fault(plan: PlanStatement, end: int) -> Discrepancy | None:
    """Walking forward from the opening balance must lead to the closing balance that walking back has led to."""
    f = plan.figures
    forward = f.opening + f.invested + f.reinvested - f.withdrawn - f.closed
    if forward == f.closing:
        return None
    return Discrepancy(
        kind=DiscrepancyKind.CLOSING_BALANCE,
        ticker=plan.ticker,
        plan_id=plan.plan_id,
        investment_id=None,
        at=pendulum.from_timestamp(end // 1_000_000, tz="UTC"),
        expected=forward,
        found=f.closing,
        count=0,
        message=f"plan {plan.plan_id}: the opening balance of {f.opening:f} {plan.ticker} and the moves of the period "
        f"come to {forward:f}, but the closing balance is {f.closing:f}.",
    )


def _rounded(value: Decimal, decimals: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)


def _utc(moment: datetime) -> pendulum.DateTime:
    return pendulum.instance(moment).in_timezone("UTC")
