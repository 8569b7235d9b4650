"""A ledger of Flex records: what each record did to its investment. Pure.

Vendor page: Lending (Flex plans). It does not say how an earning that auto-reinvest keeps in its investment is
recorded. :class:`ReinvestedAs` names the three possible ways. The caller says which one is read; the ledger never
guesses, because a guess would hide a missing record.
"""

from __future__ import annotations

import calendar
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pendulum

from airflow_provider_whitebit.client.models import FlexAction, FlexInvestment, FlexTransaction, to_json
from airflow_provider_whitebit.client.records import group_movements, unsigned
from airflow_provider_whitebit.treasury.amounts import ZERO
from airflow_provider_whitebit.treasury.discrepancies import Discrepancy, DiscrepancyKind

HOUR = 3_600_000_000
DAY = 24 * HOUR
_EPOCH = date(1970, 1, 1).toordinal()
#: One nightly run makes an earning and its REINVEST; half a day separates one night from the next.
_SAME_NIGHT = 12 * HOUR

#: How each action changes what is invested.
SIGNS: dict[int, int] = {
    FlexAction.INVEST: 1,
    FlexAction.OPEN_INVESTMENT: 1,
    FlexAction.REINVEST: 1,
    FlexAction.WITHDRAW_FROM_INVESTMENT: -1,
    FlexAction.CLOSE_INVESTMENT: -1,
    FlexAction.DAILY_EARNING: 0,
}
#: Beginning and end in microseconds since 1970; the end is not included.
Period = tuple[int, int]


class ReinvestedAs(StrEnum):
    """How the exchange records an earning that auto-reinvest keeps in its investment."""

    #: A DAILY_EARNING (4) and a REINVEST (2) of the same amount. The sandbox does this.
    BOTH = "both"
    #: A DAILY_EARNING (4) only. The amounts tell whether an investment's earnings were kept: all of them, or none.
    EARNING = "earning"
    #: A REINVEST (2) only; a DAILY_EARNING (4) is one that went to Main.
    REINVEST = "reinvest"


@dataclass(frozen=True, slots=True)
class Entry:
    """What one record did.

    :param at: when, in microseconds since 1970.
    :param change: of what is invested.
    :param earned: credited by it.
    :param kept: how much of the earning stayed in the investment.
    """

    at: int
    record: FlexTransaction
    change: Decimal
    earned: Decimal = ZERO
    kept: Decimal = ZERO


@dataclass(slots=True)
class InvestmentLedger:
    """One investment: what the exchange shows of it now, and its records, oldest first.

    :param now: what is invested now. A closed investment holds nothing, whatever the exchange still shows of it.
    :param complete: whether the records begin with the investment's first.
    :param adds_up: whether it is known that its balances add up.
    """

    ticker: str
    plan_id: str
    investment_id: str
    now: Decimal = ZERO
    active: bool = False
    auto_reinvest: bool = False
    listed: bool = False
    complete: bool = False
    adds_up: bool = False
    records: list[FlexTransaction] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def before(self, moment: int) -> Decimal:
        """Return what was invested just before a moment, walking back from now."""
        return self.now - sum((entry.change for entry in self.entries if entry.at >= moment), ZERO)

    def discrepancy(self, kind: DiscrepancyKind, message: str, **details: Any) -> Discrepancy:
        """Describe something that does not add up in this investment.

        :param message: follows the name of the investment; without a full stop.
        :param details: further fields of the :class:`.Discrepancy`.
        """
        plan = f"plan {self.plan_id or '(not named)'}"
        name = f"investment {self.investment_id} in {plan}" if self.investment_id else plan
        where = (self.ticker, self.plan_id, self.investment_id or None)
        return Discrepancy(kind, f"{name}: {message}.", *where, **details)

    def about_records(self, kind: DiscrepancyKind, records: Sequence[FlexTransaction], what: str) -> Discrepancy:
        """Describe what is wrong with some records.

        :param what: follows the first record, as in ``is a REINVEST without ...``.
        """
        first, total = records[0], sum((record.amount for record in records), ZERO)
        many = f" (and {len(records) - 1} more like it, together {total:f})" if len(records) > 1 else ""
        name = f"transaction {first.transaction_id}" if first.transaction_id else "a transaction without an id"
        message = f"{name} of {first.amount:f} {self.ticker} at {to_json(first.created_at)}{many}"
        return self.discrepancy(kind, f"{message} {what}", at=first.created_at, found=total, count=len(records))


def micros(moment: datetime) -> int:
    """Return the microseconds since 1970 of an aware time, exactly."""
    if moment.tzinfo is pendulum.UTC:
        # Nearly all are, and a history has millions.
        seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
        return (moment.toordinal() - _EPOCH) * DAY + seconds * 1_000_000 + moment.microsecond
    return calendar.timegm(moment.utctimetuple()) * 1_000_000 + moment.microsecond


def moment_of(at: int) -> pendulum.DateTime:
    """Return the time of a number of microseconds since 1970."""
    return pendulum.from_timestamp(at // 1_000_000, tz="UTC").set(microsecond=at % 1_000_000)


def within(record: FlexTransaction, period: Period) -> bool:
    """Whether a record is of the period."""
    return period[0] <= micros(record.created_at) < period[1]


def oldest_first(history: Iterable[FlexTransaction]) -> list[FlexTransaction]:
    """Return the records oldest first.

    :param history: newest first.
    """
    # Sorting keeps the order of records of one moment, which the exchange gives newest first.
    return sorted(reversed(list(history)), key=lambda record: micros(record.created_at))


def open_ledgers(
    records: Sequence[FlexTransaction], investments: Sequence[FlexInvestment], records_from: datetime | None
) -> list[InvestmentLedger]:
    """Return a ledger for each investment that is listed or has records.

    A plan whose records do not all name their investment gets one ledger for all of it: there is at most one active
    investment in a plan.

    :param records: oldest first.
    :param records_from: since when the records are complete; ``None``: from the very first.
    """
    plans = {entry.id: entry.plan_id for entry in investments}
    nameless = {record.plan_id or "" for record in records if not record.investment_id}
    ledgers: dict[tuple[str, str, str], InvestmentLedger] = {}

    def ledger(ticker: str, plan_id: str, investment_id: str) -> InvestmentLedger:
        key = (ticker, plan_id, "" if plan_id in nameless else investment_id)
        return ledgers.setdefault(key, InvestmentLedger(*key))

    for entry in investments:
        held = ledger(entry.currency, entry.plan_id, entry.id)
        held.listed = True
        held.active = held.active or entry.active
        held.auto_reinvest = held.auto_reinvest or (entry.active and entry.with_auto_reinvest)
        # With an unknown status it may hold its amount still.
        held.now += ZERO if entry.closed else entry.invested
        held.complete = bool(records_from and entry.created_at and entry.created_at >= records_from)
    for record in records:
        investment_id = record.investment_id or ""
        plan_id = record.plan_id or plans.get(investment_id, "")
        ledger(record.currency or "", plan_id, investment_id).records.append(record)
    for held in ledgers.values():
        if records_from is None:
            held.complete = True
            continue
        moves = (one.main.action_type for one in group_movements(held.records) if SIGNS.get(one.main.action_type))
        named = held.plan_id not in nameless
        opened = next(moves, None) == FlexAction.OPEN_INVESTMENT
        held.complete = named and (held.complete or opened)
    return [ledgers[key] for key in sorted(ledgers)]


def read_entries(
    ledger: InvestmentLedger, reading: ReinvestedAs, period: Period, found: list[Discrepancy]
) -> list[Entry]:
    """Return what each record did, taken alone.

    :param reading: how reinvested earnings are recorded.
    :param found: discrepancies are added to it.
    """
    unknown = [record for record in ledger.records if record.action_type not in SIGNS]
    if unknown:
        actions = sorted({record.action_type for record in unknown})
        found.append(
            ledger.about_records(
                DiscrepancyKind.UNKNOWN_ACTION, unknown, f"has an undocumented action ({actions}) and was left out"
            )
        )
    records = [record for record in ledger.records if record.action_type in SIGNS]
    pairs = _pairs(records)
    reinvests = [record for record in records if record.action_type == FlexAction.REINVEST]
    paired = [record for record in reinvests if id(record) in pairs]
    contradicting = {ReinvestedAs.EARNING: reinvests, ReinvestedAs.REINVEST: paired}.get(reading)
    if contradicting:
        found.append(_contradiction(ledger, contradicting, reading))
        reading = ReinvestedAs.BOTH
    if reading is ReinvestedAs.BOTH:
        alone = [record for record in reinvests if id(record) not in pairs and within(record, period)]
        if alone:
            found.append(_unpaired(ledger, alone, all_of_them=not paired))
    keeps = _keeps_earnings(ledger, records) if reading is ReinvestedAs.EARNING else lambda record: False
    return [_entry(record, id(record) in pairs and reading is ReinvestedAs.BOTH, keeps(record)) for record in records]


def _entry(record: FlexTransaction, paired: bool, kept: bool) -> Entry:
    at, amount = micros(record.created_at), unsigned(record)
    if record.action_type == FlexAction.DAILY_EARNING:
        return Entry(at, record, amount if kept else ZERO, amount, amount if paired or kept else ZERO)
    if record.action_type == FlexAction.REINVEST:
        # Without a matching earning it is an earning itself: the money has no other source.
        return Entry(at, record, amount, ZERO if paired else amount, ZERO if paired else amount)
    return Entry(at, record, SIGNS[record.action_type] * amount)


def _pairs(records: Sequence[FlexTransaction]) -> set[int]:
    """The identities of earnings and REINVESTs that belong together: same amount, same night, each once."""
    waiting: dict[Decimal, list[FlexTransaction]] = defaultdict(list)
    for record in records:
        if record.action_type == FlexAction.DAILY_EARNING:
            waiting[record.amount].append(record)
    pairs: set[int] = set()
    for record in records:
        if record.action_type != FlexAction.REINVEST:
            continue
        at = micros(record.created_at)
        alike = waiting[unsigned(record)]
        near = [earning for earning in alike if abs(micros(earning.created_at) - at) <= _SAME_NIGHT]
        if near:
            earning = min(near, key=lambda earning: abs(micros(earning.created_at) - at))
            # By identity: identical records are different earnings.
            waiting[unsigned(record)] = [one for one in alike if one is not earning]
            pairs |= {id(record), id(earning)}
    return pairs


def _keeps_earnings(ledger: InvestmentLedger, records: Sequence[FlexTransaction]) -> Callable[[FlexTransaction], bool]:
    """Which earnings stayed in an investment that has no REINVEST records: all until it closed, or none.

    The amounts decide if the records are complete; otherwise the present setting of auto-reinvest.
    """
    closings = [record.created_at for record in records if record.action_type == FlexAction.CLOSE_INVESTMENT]
    closed_at = min(closings, default=None)

    def kept(record: FlexTransaction) -> bool:
        return closed_at is None or record.created_at < closed_at

    earned = sum((r.amount for r in records if r.action_type == FlexAction.DAILY_EARNING and kept(r)), ZERO)
    movements = group_movements(records)
    moved = sum((SIGNS[movement.main.action_type] * movement.amount for movement in movements), ZERO)
    amounts_tell = ledger.complete and ledger.now in (moved, moved + earned)
    keeps = ledger.now != moved if amounts_tell else ledger.auto_reinvest
    return kept if keeps else lambda record: False


def _unpaired(ledger: InvestmentLedger, records: Sequence[FlexTransaction], *, all_of_them: bool) -> Discrepancy:
    hint = (
        ". None of its REINVESTs has one: if the exchange records reinvested earnings only as REINVEST, make the "
        "statement with reinvested_as='reinvest'"
        if all_of_them
        else ""
    )
    what = f"is a REINVEST without a DAILY_EARNING of the same amount; it was counted as an earning itself{hint}"
    return ledger.about_records(DiscrepancyKind.REINVEST_WITHOUT_EARNING, records, what)


def _contradiction(ledger: InvestmentLedger, records: Sequence[FlexTransaction], reading: ReinvestedAs) -> Discrepancy:
    why = " with a DAILY_EARNING of the same amount" if reading is ReinvestedAs.REINVEST else ""
    what = f"is a REINVEST{why}, which contradicts reinvested_as='{reading}'; reinvested_as='both' was used instead"
    return ledger.about_records(DiscrepancyKind.CONTRADICTED_READING, records, what)
