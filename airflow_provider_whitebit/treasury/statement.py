"""A statement of Flex lending: what was invested, what it earned, and whether the exchange's records add up. Pure.

Vendor page: Lending (Flex plans). Assumptions, and where they come from:

- Balances are derived, because the exchange shows only today's: the records are walked back from what is invested now
  to the end and to the start of the period.
- Earnings count when they are credited. Interest that has accrued but is not credited yet is in no record.
- A plan's ``max_rate`` is read as a fraction per year (0.15 is 15 %), as the vendor's examples suggest. It is today's
  rate: the exchange does not keep the rates of the period.
- A year has 365 days. A realised rate is what was earned, divided by the time-weighted invested balance, for a year
  (:func:`.realised_rate`).
- How reinvested earnings are recorded: see :class:`.ReinvestedAs`.
- A movement may have one record or two, with a sign, rounded, or with interest: see :mod:`.flex_readings`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import FlexInvestment, FlexPlan, FlexTransaction, Record, to_json
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.treasury.amounts import exact
from airflow_provider_whitebit.treasury.discrepancies import Discrepancy, DiscrepancyKind
from airflow_provider_whitebit.treasury.figures import (
    Day,
    Figures,
    PlanStatement,
    TickerStatement,
    figures_by_ticker,
    plan_figures,
)
from airflow_provider_whitebit.treasury.flex_checks import check_balances, check_earnings, check_payments
from airflow_provider_whitebit.treasury.flex_ledger import (
    InvestmentLedger,
    Period,
    ReinvestedAs,
    micros,
    moment_of,
    oldest_first,
    open_ledgers,
    read_entries,
    within,
)
from airflow_provider_whitebit.treasury.flex_readings import choose_reading
from airflow_provider_whitebit.treasury.main_changes import MainChanges
from airflow_provider_whitebit.treasury.rates import unit_warning
from airflow_provider_whitebit.treasury.valuation import MarketPrices, Valuation, value_amounts

__all__ = [
    "Day",
    "Discrepancy",
    "DiscrepancyKind",
    "Figures",
    "FlexRecords",
    "MainChanges",
    "PlanStatement",
    "ReinvestedAs",
    "Statement",
    "StatementRow",
    "TickerStatement",
    "make_statement",
    "make_statement_by_plan",
    "previous_month",
    "read_reinvested_as",
    "value_statement",
]

#: The figures of a statement that are valued.
_VALUED = ("opening", "invested", "reinvested", "withdrawn", "closed", "closing", "earned")


@dataclass(frozen=True)
class _PlanOfPeriod(Record):
    start: pendulum.DateTime
    end: pendulum.DateTime
    ticker: str
    plan_id: str


@dataclass(frozen=True)
class StatementRow(Figures, _PlanOfPeriod):
    """One plan as a row of a table: period, asset and plan, then its :class:`Figures`."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A period of Flex lending.

    :param start: its beginning, included.
    :param end: its end, not included.
    :param made_at: when the exchange was read.
    :param reinvested_as: how the records of reinvested earnings were read.
    :param records_from: since when records were read; ``None``: from the very first.
    :param payments_compared: whether the list of payments was compared with the history.
    :param tickers: by asset.
    :param movements: the records of the period, oldest first.
    :param discrepancies: what does not add up, in words and figures; empty if everything does.
    :param warnings: what may be wrong with rates, and records that cannot be read but change no figure.
    :param main: what changed the Main balance, by asset; ``None`` if that was not read.
    :param valuation: the figures of each asset in one currency, by the prices of today; ``None`` without one.
    """

    start: pendulum.DateTime
    end: pendulum.DateTime
    made_at: pendulum.DateTime
    reinvested_as: ReinvestedAs
    records_from: pendulum.DateTime | None
    payments_compared: bool
    tickers: tuple[TickerStatement, ...]
    movements: Sequence[FlexTransaction]
    discrepancies: tuple[Discrepancy, ...]
    warnings: tuple[str, ...] = ()
    main: tuple[MainChanges, ...] | None = None
    valuation: Valuation | None = None

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
        """The period as part of a file name: ``20260101-20260201``, with times unless they are midnights."""
        days = all(moment == moment.start_of("day") for moment in (self.start, self.end))
        return "-".join(moment.format("YYYYMMDD" if days else "YYYYMMDD[T]HHmmss") for moment in (self.start, self.end))

    def rows(self) -> Iterator[StatementRow]:
        """Yield the plans as rows of a table."""
        for plan in self.plans:
            figures = {entry.name: getattr(plan.figures, entry.name) for entry in fields(Figures)}
            yield StatementRow(self.start, self.end, plan.ticker, plan.plan_id, **figures)

    def to_json(self, *, days: bool = True, most_discrepancies: int | None = None) -> dict[str, Any]:
        """Return plain JSON: amounts and rates as decimal strings, times as ISO 8601 UTC strings.

        :param days: whether to include each day of each plan.
        :param most_discrepancies: how many to include; ``discrepancy_count`` counts all.
        """
        return {
            "start": to_json(self.start),
            "end": to_json(self.end),
            "made_at": to_json(self.made_at),
            "reinvested_as": str(self.reinvested_as),
            "records_from": to_json(self.records_from),
            "payments_compared": self.payments_compared,
            "movement_count": len(self.movements),
            "adds_up": self.adds_up,
            "warnings": list(self.warnings),
            "discrepancy_count": len(self.discrepancies),
            "discrepancies": [
                {**found.to_json(), "kind": str(found.kind)} for found in self.discrepancies[:most_discrepancies]
            ],
            "tickers": {
                ticker.ticker: {
                    **ticker.figures.to_json(),
                    "plans": {
                        plan.plan_id: plan.figures.to_json()
                        | ({"days": [day.to_json() for day in plan.days]} if days else {})
                        for plan in ticker.plans
                    },
                }
                for ticker in self.tickers
            },
            "main": None if self.main is None else {one.ticker: one.to_json() for one in self.main},
            "valuation": None if self.valuation is None else self.valuation.to_json(),
        }


def value_statement(statement: Statement, prices: MarketPrices, value_in: str) -> Statement:
    """Return the statement with a valuation of the figures of each asset. Its exact figures stay as they are.

    :param prices: last prices of the exchange: those of today, because it does not show those of the period.
    :param value_in: the currency, for example ``USDT``.
    """
    amounts = {name: {one.ticker: getattr(one.figures, name) for one in statement.tickers} for name in _VALUED}
    return replace(statement, valuation=value_amounts(amounts, prices, value_in))


def previous_month(moment: datetime) -> tuple[pendulum.DateTime, pendulum.DateTime]:
    """Return the beginning and the end of the calendar month (UTC) before the month of a moment.

    :param moment: an aware time.
    """
    end = _utc(moment).start_of("month")
    return end.subtract(months=1), end


def read_reinvested_as(raw: object) -> ReinvestedAs:
    """Read how reinvested earnings are recorded.

    :raises WhiteBitValidationError: this is not one of the three ways.
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
    unreadable: Iterable[UnreadableRecord] = (),
) -> Statement:
    """Make the statement of a period, ``start`` included and ``end`` not.

    :param history: Flex transactions of all kinds, newest first, from ``records_from`` until now: also those after
        ``end``, because balances are walked back from now.
    :param investments: as the exchange shows them now, active and closed.
    :param plans: on offer now, for their rates.
    :param start: an aware time.
    :param end: an aware time after ``start``, not after ``made_at``.
    :param made_at: when ``investments`` were read, an aware time.
    :param tickers: only these assets; all by default.
    :param reinvested_as: how the exchange records reinvested earnings.
    :param records_from: since when ``history`` and ``payments`` are complete, at most ``start``; ``None``: from the
        very first. Only complete records reveal that a move from before the period is missing.
    :param payments: the exchange's own list of daily earnings, to compare with the history.
    :param unreadable: what cannot be read of all these. Each is named.
    :raises WhiteBitValidationError: the times do not make a period that is over.
    """
    held, offered = list(investments), list(plans)
    return make_statement_by_plan(
        _Lists(history, payments, held, offered, (micros(start), micros(end))),
        held,
        offered,
        start=start,
        end=end,
        made_at=made_at,
        tickers=tickers,
        reinvested_as=reinvested_as,
        records_from=records_from,
        compared=payments is not None,
        unreadable=unreadable,
    )


class FlexRecords(Protocol):
    """Flex records that are read plan by plan, so that not all of them need to be in memory."""

    def by_plan(self) -> Iterator[tuple[str, list[FlexTransaction], list[FlexTransaction] | None]]:
        """Yield each plan that has records: its id, its history, oldest first, and its payments if these may differ."""

    def movements(self, tickers: Sequence[str] | None) -> Sequence[FlexTransaction]:
        """Return the history of the period, oldest first."""


class _Lists:
    """Records in memory."""

    def __init__(
        self,
        history: Iterable[FlexTransaction],
        payments: Iterable[FlexTransaction] | None,
        investments: Sequence[FlexInvestment],
        plans: Sequence[FlexPlan],
        period: Period,
    ) -> None:
        self._plan_of, self._period = {one.id: one.plan_id for one in investments}, period
        named = ((one.plan_id, one.currency) for one in investments if one.currency)
        of_plan = {plan.id: plan.ticker for plan in plans} | dict(named)
        self._history = oldest_first(
            one if one.currency else replace(one, currency=of_plan.get(self._plan(one), "")) for one in history
        )
        self._payments = None if payments is None else list(payments)

    def by_plan(self) -> Iterator[tuple[str, list[FlexTransaction], list[FlexTransaction] | None]]:
        history, payments = self._grouped(self._history), self._grouped(self._payments or ())
        for plan in {**history, **payments}:
            yield plan, history.get(plan, []), None if self._payments is None else payments.get(plan, [])

    def _grouped(self, records: Iterable[FlexTransaction]) -> dict[str, list[FlexTransaction]]:
        found: dict[str, list[FlexTransaction]] = defaultdict(list)
        for one in records:
            found[self._plan(one)].append(one)
        return found

    def _plan(self, one: FlexTransaction) -> str:
        return one.plan_id or self._plan_of.get(one.investment_id or "", "")

    def movements(self, tickers: Sequence[str] | None) -> Sequence[FlexTransaction]:
        wanted = (one for one in self._history if tickers is None or one.currency in tickers)
        return tuple([one for one in wanted if within(one, self._period)])


def make_statement_by_plan(
    records: FlexRecords,
    investments: Iterable[FlexInvestment],
    plans: Iterable[FlexPlan],
    *,
    start: datetime,
    end: datetime,
    made_at: datetime,
    tickers: Sequence[str] | None = None,
    reinvested_as: ReinvestedAs = ReinvestedAs.BOTH,
    records_from: datetime | None = None,
    compared: bool = True,
    unreadable: Iterable[UnreadableRecord] = (),
) -> Statement:
    """Make the statement of a period from records that are read plan by plan. See :func:`make_statement`.

    :param records: the records.
    :param compared: whether the list of payments was read.
    :raises WhiteBitValidationError: the times do not make a period that is over.
    """
    check_period(start, end, made_at, records_from)
    offered, unreadable = list(plans), list(unreadable)
    of_plan = {plan.id: plan.ticker for plan in offered}
    held = _of_tickers(investments, of_plan, tickers)
    of_plan |= {entry.plan_id: entry.currency for entry in held}
    period = (micros(start), micros(end))
    found, warnings = name_unreadable(unreadable, of_plan, tickers)
    found += unknown_statuses(held)
    known = {record.known.get("id") for record in unreadable}
    advertised = {plan.id: plan.max_rate for plan in offered}
    in_plan: dict[str, list[FlexInvestment]] = defaultdict(list)
    for entry in held:
        in_plan[entry.plan_id].append(entry)
    faults: list[Discrepancy] = []
    unequal: list[Discrepancy] = []
    shown: list[tuple[PlanStatement, Decimal]] = []

    def read_plan(history: list[FlexTransaction], invested: list[FlexInvestment]) -> list[InvestmentLedger]:
        ledgers, some = read_ledgers(history, invested, reinvested_as, period, records_from=records_from, known=known)
        faults.extend(some)
        shown.extend(plan_figures(ledgers, advertised, period))
        return ledgers

    with exact():
        for plan_id, history, payments in records.by_plan():
            some = _of_tickers(history, of_plan, tickers)
            ledgers = read_plan(some, in_plan.pop(plan_id, []))
            if payments is not None:
                names = {ledger.plan_id: ledger.ticker for ledger in ledgers}
                unequal += check_payments(some, _of_tickers(payments, of_plan, tickers), period, names)
        for invested in in_plan.values():
            read_plan([], invested)
        found += sorted(faults, key=lambda one: (one.ticker, one.plan_id))
        found += sorted(unequal, key=lambda one: (one.kind == DiscrepancyKind.NOT_IN_HISTORY, one.plan_id))
        by_ticker = figures_by_ticker(shown, period)
        plans_shown = [(one.plan_id, one.figures) for ticker in by_ticker for one in ticker.plans]
        rates = ((name, figures.advertised_rate, figures.realised_rate) for name, figures in plans_shown)
        if (warning := unit_warning(rates)) is not None:
            warnings.append(warning)
        found += (fault for ticker in by_ticker for plan in ticker.plans if (fault := _closing_fault(plan, period)))
    missing = set(tickers or ()) - {ticker.ticker for ticker in by_ticker}
    by_ticker += [TickerStatement(name, Figures(), ()) for name in missing]
    return Statement(
        start=_utc(start),
        end=_utc(end),
        made_at=_utc(made_at),
        reinvested_as=reinvested_as,
        records_from=None if records_from is None else _utc(records_from),
        payments_compared=compared,
        tickers=tuple(sorted(by_ticker, key=lambda ticker: ticker.ticker)),
        movements=records.movements(tickers),
        discrepancies=tuple(found),
        warnings=tuple(warnings),
    )


def name_unreadable(
    records: Iterable[UnreadableRecord], of_plan: Mapping[str, str], tickers: Sequence[str] | None
) -> tuple[list[Discrepancy], list[str]]:
    """Return the unreadable records that may change a figure, and in words those that do not.

    :param of_plan: asset by plan.
    :param tickers: only these assets; all by default.
    """
    found: list[Discrepancy] = []
    warnings: list[str] = []
    for record in records:
        ticker = record.ticker or of_plan.get(record.plan_id or "", "")
        if tickers is not None and ticker and ticker not in tickers:
            continue
        message = f"The exchange sent an unreadable {record}."
        if record.closed or record.kind is FlexPlan:
            warnings.append(message)
        else:
            where = (ticker, record.plan_id or "", record.known.get("investment_id"))
            message += " The figures lack it."
            found.append(Discrepancy(DiscrepancyKind.UNREADABLE_RECORD, message, *where, at=record.made_at, count=1))
    return found, warnings


def unknown_statuses(investments: Iterable[FlexInvestment]) -> Iterator[Discrepancy]:
    """Yield the investments that are neither active nor closed."""
    for entry in investments:
        if entry.active or entry.closed:
            continue
        message = (
            f"investment {entry.id} in plan {entry.plan_id}: its status {entry.status} is unknown, so it is neither "
            f"active nor closed. The {entry.invested:f} {entry.currency} that it shows count as invested."
        )
        where = (entry.currency, entry.plan_id, entry.id)
        yield Discrepancy(DiscrepancyKind.UNKNOWN_STATUS, message, *where, at=entry.updated_at, found=entry.invested)


def read_ledgers(
    records: Sequence[FlexTransaction],
    investments: Sequence[FlexInvestment],
    reading: ReinvestedAs,
    period: Period,
    *,
    records_from: datetime | None = None,
    known: Collection[object] = (),
) -> tuple[list[InvestmentLedger], list[Discrepancy]]:
    """Return the ledger of each investment, and what does not add up in them.

    Balances are checked over all records, because each of them affects the balances of the period. Earnings are
    checked within the period.

    :param records: of some plans, oldest first. All records of a plan must be among them.
    :param investments: in these plans.
    :param reading: how reinvested earnings are recorded.
    :param records_from: since when the records are complete; ``None``: from the very first.
    :param known: ids of investments that are listed but cannot be read.
    """
    found: list[Discrepancy] = []
    ledgers = open_ledgers(records, investments, records_from)
    for ledger in ledgers:
        ledger.listed = ledger.listed or ledger.investment_id in known
        ledger.entries = read_entries(ledger, reading, period, found)
        ledger.entries = choose_reading(ledger, reading, found)
        if not (ledger.adds_up and ledger.listed):
            found += check_balances(ledger, reading)
        found += check_earnings(ledger, period, records_from)
    return ledgers, found


EntryT = TypeVar("EntryT", FlexInvestment, FlexTransaction)


def _of_tickers(entries: Iterable[EntryT], of_plan: Mapping[str, str], tickers: Sequence[str] | None) -> list[EntryT]:
    """Those of some assets. An entry that names no asset has its plan's."""
    named = [
        entry if entry.currency else replace(entry, currency=of_plan.get(entry.plan_id or "", "")) for entry in entries
    ]
    return [entry for entry in named if tickers is None or entry.currency in tickers]


def check_period(start: datetime, end: datetime, made_at: datetime, records_from: datetime | None = None) -> None:
    """Check the times of a statement.

    :raises WhiteBitValidationError: they do not make a period that is over.
    """
    for name, moment in (("start", start), ("end", end), ("made_at", made_at), ("records_from", records_from)):
        if moment is not None and moment.tzinfo is None:
            raise WhiteBitValidationError(f"{name} has no time zone: give an aware time, for example in UTC.")
    shown = to_json(_utc(end))
    if start >= end:
        raise WhiteBitValidationError(f"start is {to_json(_utc(start))}, which is not before end, {shown}.")
    if end > made_at:
        raise WhiteBitValidationError(
            f"end is {shown}, which is not over yet: it is {to_json(_utc(made_at))} at the exchange."
        )
    if records_from is not None and records_from > start:
        raise WhiteBitValidationError("records_from is after start: the opening balance could not be checked.")


def _closing_fault(plan: PlanStatement, period: Period) -> Discrepancy | None:
    """Walking forward from the opening balance must give the closing balance that walking back gave."""
    f = plan.figures
    forward = f.opening + f.invested + f.reinvested - f.withdrawn - f.closed
    if forward == f.closing:
        return None
    message = (
        f"plan {plan.plan_id}: the opening balance of {f.opening:f} {plan.ticker} and the moves of the period add up "
        f"to {forward:f}, but the closing balance is {f.closing:f}."
    )
    where = (plan.ticker, plan.plan_id, None, moment_of(period[1]))
    return Discrepancy(DiscrepancyKind.CLOSING_BALANCE, message, *where, forward, f.closing)


def _utc(moment: datetime) -> pendulum.DateTime:
    return pendulum.instance(moment).in_timezone("UTC")
