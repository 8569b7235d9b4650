"""Flex records read as books: what each did to its investment, and everything that does not add up. Pure.

Vendor page: Lending (Flex plans). It leaves open how an earning that auto-reinvest keeps in its investment is recorded.
:class:`ReinvestedAs` names the three ways that there can be. Which one is read is the caller's word, never a guess: a
guess would explain a missing record away.
"""

from __future__ import annotations

import calendar
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pendulum

from airflow_provider_whitebit.client.models import FlexAction, FlexInvestment, FlexTransaction, Record, to_json

ZERO = Decimal(0)
HOUR = 3_600_000_000
DAY = 24 * HOUR
#: An earning and its REINVEST are made by one nightly run; half a day tells one night from the next.
_SAME_NIGHT = 12 * HOUR
#: Earnings are credited daily. Two days less an hour: an exchange that is late one night is not reported.
_LONGEST_WITHOUT_EARNING = 47 * HOUR

_SIGNS: dict[int, int] = {
    FlexAction.INVEST: 1,
    FlexAction.OPEN_INVESTMENT: 1,
    FlexAction.REINVEST: 1,
    FlexAction.WITHDRAW_FROM_INVESTMENT: -1,
    FlexAction.CLOSE_INVESTMENT: -1,
    FlexAction.DAILY_EARNING: 0,
}


class ReinvestedAs(StrEnum):
    """How the exchange records an earning that auto-reinvest keeps in its investment."""

    #: A DAILY_EARNING (4) and a REINVEST (2) of the same amount. The sandbox does this.
    BOTH = "both"
    #: A DAILY_EARNING (4) only. The amounts tell whether an investment's earnings were kept: all of them, or none.
    EARNING = "earning"
    #: A REINVEST (2) only; a DAILY_EARNING (4) is one that went to Main.
    REINVEST = "reinvest"


class DiscrepancyKind(StrEnum):
    """What does not add up."""

    #: Walking back from what is invested now, the balance falls below zero.
    NEGATIVE_BALANCE = "negative_balance"
    #: All records of an investment, from the first on, do not come to what is invested now.
    UNEXPLAINED_BALANCE = "unexplained_balance"
    #: The opening balance and the moves of the period do not come to the closing balance.
    CLOSING_BALANCE = "closing_balance"
    #: Something is left of an investment after the record that closes it.
    LEFT_AFTER_CLOSE = "left_after_close"
    #: Money was reinvested that no earning accounts for.
    REINVEST_WITHOUT_EARNING = "reinvest_without_earning"
    #: The records contradict how reinvested earnings are said to be recorded.
    CONTRADICTED_READING = "contradicted_reading"
    #: Records of an investment that the exchange does not list.
    UNKNOWN_INVESTMENT = "unknown_investment"
    #: Records of an action that nobody has described.
    UNKNOWN_ACTION = "unknown_action"
    #: One transaction appears with different contents.
    AMBIGUOUS_RECORD = "ambiguous_record"
    #: Earnings of the history that the list of payments lacks.
    NOT_IN_PAYMENTS = "not_in_payments"
    #: Earnings of the list of payments that the history lacks.
    NOT_IN_HISTORY = "not_in_history"
    #: Money was invested for two days, and no earning was credited.
    NO_EARNING = "no_earning"


@dataclass(frozen=True, slots=True)
class Discrepancy(Record):
    """One thing that does not add up, with its figures.

    :param kind: a :class:`DiscrepancyKind`.
    :param ticker: the asset; empty where the records do not tell.
    :param plan_id: the plan; empty where the records do not tell.
    :param investment_id: the investment; ``None`` where it is about the whole plan.
    :param at: when, or since when.
    :param expected: what it should come to, in units of the asset.
    :param found: what it comes to.
    :param count: how many records it is about; 0 where it is about a balance.
    :param message: the same in words.
    """

    kind: DiscrepancyKind
    ticker: str
    plan_id: str
    investment_id: str | None
    at: pendulum.DateTime | None
    expected: Decimal | None
    found: Decimal | None
    count: int
    message: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What one record did.

    :param at: when, in microseconds since 1970.
    :param change: of what is invested.
    :param earned: credited by it.
    :param kept: how much of what was earned stayed in the investment.
    """

    at: int
    record: FlexTransaction
    change: Decimal
    earned: Decimal = ZERO
    kept: Decimal = ZERO


@dataclass(slots=True)
class InvestmentBook:
    """One investment: what the exchange shows of it now, and its records, oldest first.

    :param now: what is invested now. A closed investment holds nothing, whatever the exchange still shows of it.
    :param from_the_first: whether the records begin with the investment's first.
    """

    ticker: str
    plan_id: str
    investment_id: str
    now: Decimal = ZERO
    active: bool = False
    auto_reinvest: bool = False
    listed: bool = False
    from_the_first: bool = False
    records: list[FlexTransaction] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def before(self, moment: int) -> Decimal:
        """What was invested just before a moment, walking back from now."""
        return self.now - sum((entry.change for entry in self.entries if entry.at >= moment), ZERO)

    @property
    def name(self) -> str:
        """How messages call it."""
        plan = f"plan {self.plan_id or '(not named)'}"
        return f"investment {self.investment_id} in {plan}" if self.investment_id else plan


@dataclass(frozen=True, slots=True)
class FlexBooks:
    """All books.

    :param records: what they were made of, oldest first, each once.
    :param investments: by asset and plan.
    :param discrepancies: what does not add up in them.
    """

    records: list[FlexTransaction]
    investments: list[InvestmentBook]
    discrepancies: list[Discrepancy]


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of an aware time, exactly."""
    return calendar.timegm(moment.utctimetuple()) * 1_000_000 + moment.microsecond


def read_books(
    history: Iterable[FlexTransaction],
    investments: Iterable[FlexInvestment],
    *,
    start: datetime,
    end: datetime,
    reinvested_as: ReinvestedAs,
    records_from: datetime | None,
    payments: Iterable[FlexTransaction] | None,
) -> FlexBooks:
    """The books of every investment, and what does not add up in them.

    Balances are checked over all records, because each of them bears on the balances of the period; earnings are
    checked within the period.

    :param history: Flex transactions of all kinds, newest first, from ``records_from`` until now.
    :param investments: as the exchange shows them now, active and closed.
    :param start: the beginning of the period, included.
    :param end: the end of the period, not included.
    :param reinvested_as: how reinvested earnings are recorded.
    :param records_from: since when the records are complete; ``None``: from the very first.
    :param payments: the exchange's list of daily earnings of the same time, to be held against the history.
    """
    period = (micros(start), micros(end))
    found: list[Discrepancy] = []
    records = list(_each_once(history, found))
    books = _open_books(records, list(investments), records_from)
    for book in books:
        book.entries = _entries(book, reinvested_as, period, found)
        found += _balance_faults(book, reinvested_as)
        found += _earning_faults(book, period, records_from)
    if payments is not None:
        found += _payment_faults(records, payments, period, books)
    return FlexBooks(records, books, found)


def _each_once(history: Iterable[FlexTransaction], found: list[Discrepancy]) -> Iterator[FlexTransaction]:
    """Records oldest first, each once: pages can overlap while something is added."""
    seen: dict[str, FlexTransaction] = {}
    # Sorting keeps the order of records of one moment, which the exchange gives newest first.
    for record in sorted(reversed(list(history)), key=lambda record: micros(record.created_at)):
        first = seen.get(record.transaction_id)
        if first is None:
            seen[record.transaction_id] = record
            yield record
        elif first != record:
            found.append(
                Discrepancy(
                    kind=DiscrepancyKind.AMBIGUOUS_RECORD,
                    ticker=first.currency,
                    plan_id=first.plan_id,
                    investment_id=first.investment_id or None,
                    at=first.created_at,
                    expected=first.amount,
                    found=record.amount,
                    count=2,
                    message=f"Transaction {record.transaction_id} appears twice with different contents: "
                    f"{first.amount:f} {first.currency} at {to_json(first.created_at)} was counted, "
                    f"{record.amount:f} {record.currency} at {to_json(record.created_at)} was not.",
                )
            )


def _open_books(
    records: Sequence[FlexTransaction], investments: Sequence[FlexInvestment], records_from: datetime | None
) -> list[InvestmentBook]:
    """A book for each investment that is listed or has records. A plan whose records do not all name their investment
    gets one book for all of it: there is at most one active investment in a plan."""
    plans = {entry.id: entry.plan_id for entry in investments}
    nameless = {record.plan_id for record in records if not record.investment_id}
    books: dict[tuple[str, str, str], InvestmentBook] = {}

    def book(ticker: str, plan_id: str, investment_id: str) -> InvestmentBook:
        key = (ticker, plan_id, "" if plan_id in nameless else investment_id)
        return books.setdefault(key, InvestmentBook(*key))

    for entry in investments:
        held = book(entry.currency, entry.plan_id, entry.id)
        held.listed = True
        held.active = held.active or entry.active
        held.auto_reinvest = held.auto_reinvest or (entry.active and entry.with_auto_reinvest)
        held.now += entry.invested if entry.active else ZERO
        held.from_the_first = bool(records_from and entry.created_at and entry.created_at >= records_from)
    for record in records:
        plan_id = record.plan_id or plans.get(record.investment_id, "")
        book(record.currency, plan_id, record.investment_id).records.append(record)
    for held in books.values():
        moves = (record.action_type for record in held.records if _SIGNS.get(record.action_type))
        named = held.plan_id not in nameless
        opened = next(moves, None) == FlexAction.OPEN_INVESTMENT
        held.from_the_first = records_from is None or (named and (held.from_the_first or opened))
    return [books[key] for key in sorted(books)]


def _entries(
    book: InvestmentBook, reading: ReinvestedAs, period: tuple[int, int], found: list[Discrepancy]
) -> list[Entry]:
    """What each record did, by how reinvested earnings are said to be recorded."""
    unknown = [record for record in book.records if record.action_type not in _SIGNS]
    if unknown:
        found.append(
            _about_records(
                DiscrepancyKind.UNKNOWN_ACTION,
                book,
                unknown,
                f"has an action that nobody has described ({sorted({record.action_type for record in unknown})}); "
                "it was left out",
            )
        )
    records = [record for record in book.records if record.action_type in _SIGNS]
    pairs = _pairs(records)
    reinvests = [record for record in records if record.action_type == FlexAction.REINVEST]
    paired = [record for record in reinvests if id(record) in pairs]
    if reading is ReinvestedAs.EARNING and reinvests:
        found.append(_contradiction(book, reinvests, "REINVEST records exist; they were read as with 'both'", reading))
        reading = ReinvestedAs.BOTH
    if reading is ReinvestedAs.REINVEST and paired:
        found.append(_contradiction(book, paired, "they have a DAILY_EARNING of the same amount beside", reading))
        reading = ReinvestedAs.BOTH
    if reading is ReinvestedAs.BOTH:
        alone = [record for record in reinvests if id(record) not in pairs and _within(record, period)]
        if alone:
            found.append(_unpaired(book, alone, all_of_them=not paired))
    keeps = _keeps_earnings(book, records) if reading is ReinvestedAs.EARNING else lambda record: False
    return [_entry(record, id(record) in pairs and reading is ReinvestedAs.BOTH, keeps(record)) for record in records]


def _entry(record: FlexTransaction, paired: bool, kept: bool) -> Entry:
    at, amount = micros(record.created_at), record.amount
    if record.action_type == FlexAction.DAILY_EARNING:
        return Entry(at, record, amount if kept else ZERO, amount, amount if paired or kept else ZERO)
    if record.action_type == FlexAction.REINVEST:
        # Without an earning beside it, it is one itself: the money came from nowhere else.
        return Entry(at, record, amount, ZERO if paired else amount, ZERO if paired else amount)
    return Entry(at, record, _SIGNS[record.action_type] * amount)


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
        near = [earning for earning in waiting[record.amount] if abs(micros(earning.created_at) - at) <= _SAME_NIGHT]
        if near:
            earning = min(near, key=lambda earning: abs(micros(earning.created_at) - at))
            waiting[record.amount].remove(earning)
            pairs |= {id(record), id(earning)}
    return pairs


def _keeps_earnings(book: InvestmentBook, records: Sequence[FlexTransaction]) -> Callable[[FlexTransaction], bool]:
    """Which earnings stayed in an investment where no REINVEST tells: all until it closed, or none.

    The amounts decide where the records begin with the first; else what auto-reinvest is set to now.
    """
    closings = [record.created_at for record in records if record.action_type == FlexAction.CLOSE_INVESTMENT]
    closed_at = min(closings, default=None)

    def kept(record: FlexTransaction) -> bool:
        return closed_at is None or record.created_at < closed_at

    earned = sum((r.amount for r in records if r.action_type == FlexAction.DAILY_EARNING and kept(r)), ZERO)
    moved = sum((_SIGNS[r.action_type] * r.amount for r in records), ZERO)
    amounts_tell = book.from_the_first and book.now in (moved, moved + earned)
    keeps = book.now != moved if amounts_tell else book.auto_reinvest
    return kept if keeps else lambda record: False


def _balance_faults(book: InvestmentBook, reading: ReinvestedAs) -> Iterator[Discrepancy]:
    """What does not add up on the way back from now to the first record."""
    if book.records and not book.listed:
        yield _about_records(
            DiscrepancyKind.UNKNOWN_INVESTMENT,
            book,
            book.records,
            "belongs to an investment that the exchange does not list; it was taken for closed",
        )
    changes: dict[int, list[Entry]] = defaultdict(list)
    for entry in book.entries:
        changes[entry.at].append(entry)
    # Records of one moment are taken together: the exchange does not say in which order they ran.
    balance, negative = book.now, False
    for at in sorted(changes, reverse=True):
        closes = any(entry.record.action_type == FlexAction.CLOSE_INVESTMENT for entry in changes[at])
        if closes and balance != 0 and book.investment_id:
            yield _left_after_close(book, at, balance)
        balance -= sum((entry.change for entry in changes[at]), ZERO)
        if balance < 0 and not negative:
            negative = True
            yield _negative(book, at, balance)
    if book.from_the_first and balance != 0:
        yield _unexplained(book, balance, reading)


def _left_after_close(book: InvestmentBook, at: int, left: Decimal) -> Discrepancy:
    when = _moment(at)
    return _about_balance(
        DiscrepancyKind.LEFT_AFTER_CLOSE,
        book,
        when,
        (ZERO, left),
        f"{book.name}: it was closed at {to_json(when)}, but {left:f} {book.ticker} are left after that.",
    )


def _negative(book: InvestmentBook, at: int, balance: Decimal) -> Discrepancy:
    when = _moment(at)
    return _about_balance(
        DiscrepancyKind.NEGATIVE_BALANCE,
        book,
        when,
        (ZERO, balance),
        f"{book.name}: {book.now:f} {book.ticker} are invested now, and walking back over the records that leaves "
        f"{balance:f} before {to_json(when)}. A withdrawal is missing, or a deposit is too much.",
    )


def _unexplained(book: InvestmentBook, rest: Decimal, reading: ReinvestedAs) -> Discrepancy:
    told = book.now - rest
    hint = ""
    if reading is ReinvestedAs.BOTH and rest == sum((entry.earned - entry.kept for entry in book.entries), ZERO):
        hint = (
            " The difference is exactly its daily earnings that have no REINVEST record: if the exchange records "
            "reinvested earnings only as earnings, make the statement with reinvested_as='earning'."
        )
    return _about_balance(
        DiscrepancyKind.UNEXPLAINED_BALANCE,
        book,
        book.records[0].created_at if book.records else None,
        (told, book.now),
        f"{book.name}: its records from the first on come to {told:f} {book.ticker}, but {book.now:f} are invested "
        f"now, {abs(rest):f} {'more' if rest > 0 else 'less'} than they explain. Its opening and closing balances may "
        f"be off by as much.{hint}",
    )


def _earning_faults(
    book: InvestmentBook, period: tuple[int, int], records_from: datetime | None
) -> Iterator[Discrepancy]:
    """Times of two days and more in which money was invested and nothing was credited."""
    start, end = period
    gaps = [(since, until) for since, until in _without_earning(book, end, records_from) if until > start]
    if gaps:
        listed = ", ".join(f"from {to_json(_moment(a))} to {to_json(_moment(b))}" for a, b in gaps[:5])
        more = f" and {len(gaps) - 5} more times" if len(gaps) > 5 else ""
        yield Discrepancy(
            kind=DiscrepancyKind.NO_EARNING,
            ticker=book.ticker,
            plan_id=book.plan_id,
            investment_id=book.investment_id or None,
            at=_moment(gaps[0][0]),
            expected=None,
            found=ZERO,
            count=len(gaps),
            message=f"{book.name}: money was invested and nothing was credited {listed}{more}, though earnings are "
            "daily.",
        )


def _without_earning(book: InvestmentBook, end: int, records_from: datetime | None) -> Iterator[tuple[int, int]]:
    """From when to when an investment went without an earning, up to the end of the period."""
    balance = book.before(0)
    since = micros(records_from) if records_from is not None and balance > 0 else None
    for entry in book.entries:
        if entry.at >= end:
            break
        if since is not None and entry.at - since >= _LONGEST_WITHOUT_EARNING:
            yield since, entry.at
            since = entry.at
        balance += entry.change
        if balance <= 0:
            since = None
        elif entry.earned > 0 or since is None:
            since = entry.at
    if since is not None and end - since >= _LONGEST_WITHOUT_EARNING:
        yield since, end


_Key = tuple[str, str, int, Decimal]


def _payment_faults(
    records: Iterable[FlexTransaction],
    payments: Iterable[FlexTransaction],
    period: tuple[int, int],
    books: Iterable[InvestmentBook],
) -> Iterator[Discrepancy]:
    """Earnings that only one of the exchange's two lists has."""
    told = {record.transaction_id: record for record in payments}.values()
    in_history, in_payments = _earnings(records, period), _earnings(told, period)
    tickers = {book.plan_id: book.ticker for book in books}
    for kind, missing, where, lacking in (
        (DiscrepancyKind.NOT_IN_PAYMENTS, in_history - in_payments, "the history", "the list of payments"),
        (DiscrepancyKind.NOT_IN_HISTORY, in_payments - in_history, "the list of payments", "the history"),
    ):
        by_plan: dict[str, list[_Key]] = defaultdict(list)
        for key in missing.elements():
            by_plan[key[0]].append(key)
        for plan_id, keys in sorted(by_plan.items()):
            first, total = _moment(min(key[2] for key in keys)), sum((key[3] for key in keys), ZERO)
            ticker = tickers.get(plan_id, "")
            listed_only_here = kind is DiscrepancyKind.NOT_IN_PAYMENTS
            yield Discrepancy(
                kind=kind,
                ticker=ticker,
                plan_id=plan_id,
                investment_id=None,
                at=first,
                expected=None if listed_only_here else total,
                found=total if listed_only_here else None,
                count=len(keys),
                message=f"plan {plan_id}: {_earnings_in_words(len(keys), total, ticker, first)} in {where} and not in "
                f"{lacking}. Figures are taken from the history.",
            )


def _earnings_in_words(count: int, total: Decimal, ticker: str, first: pendulum.DateTime) -> str:
    if count == 1:
        return f"an earning of {total:f} {ticker} at {to_json(first)} stands"
    return f"{count} earnings of together {total:f} {ticker}, the first at {to_json(first)}, stand"


def _earnings(records: Iterable[FlexTransaction], period: tuple[int, int]) -> Counter[_Key]:
    return Counter(
        (record.plan_id, record.investment_id, micros(record.created_at), record.amount)
        for record in records
        if record.action_type == FlexAction.DAILY_EARNING and _within(record, period)
    )


def _within(record: FlexTransaction, period: tuple[int, int]) -> bool:
    return period[0] <= micros(record.created_at) < period[1]


def _unpaired(book: InvestmentBook, records: Sequence[FlexTransaction], *, all_of_them: bool) -> Discrepancy:
    hint = (
        ". None of its REINVESTs has one: if the exchange records reinvested earnings only as REINVEST, make the "
        "statement with reinvested_as='reinvest'"
        if all_of_them
        else ""
    )
    return _about_records(
        DiscrepancyKind.REINVEST_WITHOUT_EARNING,
        book,
        records,
        f"is a REINVEST without a DAILY_EARNING of the same amount; it was counted as an earning itself{hint}",
    )


def _contradiction(
    book: InvestmentBook, records: Sequence[FlexTransaction], why: str, reading: ReinvestedAs
) -> Discrepancy:
    return _about_records(
        DiscrepancyKind.CONTRADICTED_READING,
        book,
        records,
        f"is a REINVEST that contradicts reinvested_as='{reading}': {why}. What was reinvested is read as with 'both'",
    )


def _about_records(
    kind: DiscrepancyKind, book: InvestmentBook, records: Sequence[FlexTransaction], what: str
) -> Discrepancy:
    first, total = records[0], sum((record.amount for record in records), ZERO)
    many = f" (and {len(records) - 1} more like it, together {total:f})" if len(records) > 1 else ""
    return Discrepancy(
        kind=kind,
        ticker=book.ticker,
        plan_id=book.plan_id,
        investment_id=book.investment_id or None,
        at=first.created_at,
        expected=None,
        found=total,
        count=len(records),
        message=f"{book.name}: transaction {first.transaction_id} of {first.amount:f} {book.ticker} at "
        f"{to_json(first.created_at)}{many} {what}.",
    )


def _about_balance(
    kind: DiscrepancyKind,
    book: InvestmentBook,
    at: pendulum.DateTime | None,
    expected_and_found: tuple[Decimal, Decimal],
    message: str,
) -> Discrepancy:
    expected, found = expected_and_found
    where: dict[str, Any] = {
        "ticker": book.ticker,
        "plan_id": book.plan_id,
        "investment_id": book.investment_id or None,
    }
    return Discrepancy(kind=kind, **where, at=at, expected=expected, found=found, count=0, message=message)


def _moment(at: int) -> pendulum.DateTime:
    return pendulum.from_timestamp(at // 1_000_000, tz="UTC").set(microsecond=at % 1_000_000)
