"""Reads from the exchange what journal entries need, and keeps them on disk in order of time. Moves no money.

A history of a million records would fill the memory. So its records pass through a temporary SQLite database that
brings those of one plan together, and the entries through another one that sorts them. SQLite keeps both in a file that
is gone when the process ends.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from time import gmtime
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_provider_whitebit.client.api import Report, WhiteBitClient
from airflow_provider_whitebit.client.errors import WhiteBitRefusedError, WhiteBitUnavailableError
from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FlexAction,
    FlexInvestment,
    FlexTransaction,
    InterestPayment,
    MainTransaction,
    SubAccountTransaction,
)
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.hooks.airflow_compat import asset_events
from airflow_provider_whitebit.hooks.assets import address
from airflow_provider_whitebit.moves.intent import Receipt
from airflow_provider_whitebit.treasury.amounts import ZERO, exact
from airflow_provider_whitebit.treasury.discrepancies import Discrepancy, DiscrepancyKind
from airflow_provider_whitebit.treasury.flex_checks import check_payments
from airflow_provider_whitebit.treasury.flex_ledger import Period, micros
from airflow_provider_whitebit.treasury.journal_entries import (
    Balances,
    Books,
    EntryKind,
    Flow,
    JournalEntry,
    Origins,
    Role,
    Tally,
    check_days,
    check_fixed,
    fixed_entries,
    flex_entries,
    main_entries,
    reconcile_books,
    sub_account_entries,
    transfer_entries,
    unsettled,
)
from airflow_provider_whitebit.treasury.statement import (
    ReinvestedAs,
    check_period,
    name_unreadable,
    read_ledgers,
    unknown_statuses,
)

if TYPE_CHECKING:
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

#: How many times the records are read if balances change meanwhile.
_READINGS = 3
#: Kilobytes of memory for each database. More goes to its file.
_CACHE = 8_000
_FLEX = "at INTEGER, plan TEXT, investment TEXT, currency TEXT, amount TEXT, id TEXT, action INTEGER"
_ENTRY = "at INTEGER, kind INTEGER, flows TEXT, ids TEXT, plan TEXT, investment TEXT, intent TEXT, task TEXT, note TEXT"
_ENTRY_NAMES = ", ".join(column.split()[0] for column in _ENTRY.split(", "))
_KINDS, _ROLES = tuple(EntryKind), {role.value: role for role in Role}
#: Separate fields, and lists of them. No identifier of the exchange contains them.
_FIELD, _ITEM = "\x1f", "\x1e"


def announced_receipts(hook: WhiteBitHook, since: datetime) -> Iterator[tuple[Receipt, str]]:
    """Yield the receipts that tasks have announced as asset events, each with its task, earliest first.

    Outside a task, there are none.

    :param hook: of the connection. Receipts of its previous connection count too.
    :param since: events from then on; before Airflow 3.3 all.
    """
    found = []
    for one in (hook, hook.previous):
        for event in () if one is None else asset_events(address(one.whitebit_conn_id), since):
            # Anyone who may create asset events could write a receipt that is none. Events of tasks name the task.
            if event.source_task_id:
                with suppress(ValueError, TypeError):
                    mapped = f"/{event.source_map_index}" if event.source_map_index >= 0 else ""
                    task = f"{event.source_dag_id}/{event.source_run_id}/{event.source_task_id}{mapped}"
                    found.append((event.timestamp, Receipt.from_json(event.extra), task))
    found.sort(key=lambda one: one[0])
    yield from ((receipt, task) for _, receipt, task in found)


@contextmanager
def read_books(
    client: WhiteBitClient,
    *,
    start: datetime,
    end: datetime,
    tickers: Sequence[str] | None = None,
    reinvested_as: ReinvestedAs = ReinvestedAs.BOTH,
    receipts: Iterable[tuple[Receipt, str]] = (),
    previous: Balances | None = None,
    fixed: bool = True,
    sub_accounts: bool = True,
) -> Iterator[Books]:
    """Read the journal entries of a period, ``start`` included and ``end`` not. They can be read within the context.

    Vendor pages: Lending (Flex and Fixed plans), Main balance, Get deposit/withdraw history, Sub-accounts.

    :param client: ``WhiteBitHook().get_conn()``.
    :param start: a midnight, UTC.
    :param end: a midnight, UTC, after ``start`` and not later than now.
    :param tickers: only these assets; all by default.
    :param reinvested_as: how the exchange records reinvested earnings.
    :param receipts: of tasks, each with its task in words. Only they show transfers to spot and collateral.
    :param previous: closing balances of the books that these continue; ``None`` if the books begin here.
    :param fixed: whether to read Fixed plans.
    :param sub_accounts: whether to read transfers of sub-accounts.
    :raises WhiteBitValidationError: the times do not make a period of whole days that is over.
    :raises WhiteBitUnavailableError: balances changed each time they were read, or there was no usable answer.
    :raises WhiteBitError: the exchange refused a call.
    """
    made_at = client.server_time()
    check_period(start, end, made_at)
    check_days(start, end)
    reading = _Reading(client, tickers, fixed=fixed, sub_accounts=sub_accounts)
    with closing(sqlite3.connect("")) as records, closing(sqlite3.connect("")) as sorted_entries:
        reading.read_all(records, micros(start), micros(end))
        with exact():
            books = _make_books(
                reading, records, sorted_entries, Origins(receipts), start, end, reinvested_as, previous
            )
        yield books


class _Reading:
    """The exchange's records of one moment. Those of Flex are in a database."""

    def __init__(
        self, client: WhiteBitClient, tickers: Sequence[str] | None, *, fixed: bool, sub_accounts: bool
    ) -> None:
        self._client, self._fixed, self._sub_accounts = client, fixed, sub_accounts
        self.tickers = tickers
        self.of_plan: dict[str, str] = {}
        self._plan_of: dict[str, str] = {}
        self.flex: list[FlexInvestment] = []
        self.main: Mapping[str, Decimal | None] = {}
        self.investments: list[FixedInvestment] = []
        self._clear()

    def _clear(self) -> None:
        self.unreadable: list[UnreadableRecord] = []
        self.warnings: list[str] = []
        self.interest: list[InterestPayment] = []
        self.transactions: list[MainTransaction] = []
        self.transfers: list[SubAccountTransaction] = []

    def read_all(self, db: sqlite3.Connection, start: int, end: int) -> None:
        """Read until balances and investments are the same before and after."""
        before = self._holdings(lambda record: None)
        for _ in range(_READINGS):
            self._clear()
            self._read_flex(db, start, end)
            report = self.unreadable.append
            self.transactions = list(self._client.main_history(on_unreadable=report))
            if self._fixed:
                self.interest = list(self._client.fixed_payments(on_unreadable=report))
            if self._sub_accounts:
                self._read_sub_accounts(report)
            last, before = before, self._holdings(report)
            if last == before:
                return
        raise WhiteBitUnavailableError(
            f"Balances changed each of the {_READINGS} times that the records were read, so no entries could be made "
            "of them. Make them when no moves are on their way."
        )

    def _holdings(self, report: Report) -> tuple[object, ...]:
        self.flex = list(self._client.flex_investments(on_unreadable=report))
        self.investments = list(self._client.fixed_investments(on_unreadable=report)) if self._fixed else []
        self.main = dict(self._client.main_balance())
        flex = {(one.id, one.invested, one.status, one.with_auto_reinvest) for one in self.flex}
        return flex, {(one.id, one.status) for one in self.investments}, {k: v for k, v in self.main.items() if v}

    def _read_flex(self, db: sqlite3.Connection, start: int, end: int) -> None:
        plans = self._client.flex_plans(on_unreadable=self.unreadable.append)
        self.of_plan = {plan.id: plan.ticker for plan in plans}
        self.flex = [
            one if one.currency else replace(one, currency=self.of_plan.get(one.plan_id, "")) for one in self.flex
        ]
        self.of_plan |= {one.plan_id: one.currency for one in self.flex}
        self._plan_of = {one.id: one.plan_id for one in self.flex}
        db.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{_CACHE};"
            f"DROP TABLE IF EXISTS history; CREATE TABLE history ({_FLEX}, by_plan TEXT);"
            f"DROP TABLE IF EXISTS payment; CREATE TABLE payment ({_FLEX}, by_plan TEXT);"
        )
        report = self.unreadable.append
        insert = "INSERT INTO {} VALUES (?,?,?,?,?,?,?,?)"
        history = self._client.flex_history(on_unreadable=report)
        db.executemany(insert.format("history"), map(self._row, history))
        # Only the payments of the period are compared with the history.
        begin, until = start // 1_000_000, -(-end // 1_000_000)
        payments = self._client.flex_payments(date_from=begin, date_to=until, on_unreadable=report)
        db.executemany(insert.format("payment"), map(self._row, payments))

    def _row(self, one: FlexTransaction) -> tuple[Any, ...]:
        """A Flex record as a row. The last column is the plan that it belongs to, as a ledger names it."""
        plan = one.plan_id or self._plan_of.get(one.investment_id or "", "")
        return (
            *(micros(one.created_at), one.plan_id, one.investment_id, one.currency or self.of_plan.get(plan, "")),
            *(str(one.amount), one.transaction_id, one.action_type, plan),
        )

    def _read_sub_accounts(self, report: Report) -> None:
        for account in self._client.sub_accounts(on_unreadable=report):
            try:
                self.transfers += self._client.sub_account_transfers(account.id, on_unreadable=report)
            except WhiteBitRefusedError as error:
                # One sub-account that cannot be read, for example because it is not confirmed.
                said = error.said or error.message
                self.warnings.append(f"The transfers of sub-account {account.id} could not be read: {said}")

    def wants(self, ticker: str) -> bool:
        """Whether entries of an asset are wanted."""
        return self.tickers is None or ticker in self.tickers

    def plans(self, db: sqlite3.Connection) -> Iterator[tuple[str, list[FlexTransaction]]]:
        """Yield the id and the history, oldest first, of each plan that has records or investments."""
        # The exchange gives records of one moment newest first.
        rows = db.execute("SELECT * FROM history ORDER BY by_plan, at, rowid DESC")
        found = {name: None for name in sorted({one.plan_id for one in self.flex})}
        for name, group in groupby(rows, key=itemgetter(-1)):
            found.pop(name, None)
            yield name, [_record(row) for row in group]
        yield from ((name, []) for name in found)

    def payments(self, db: sqlite3.Connection, plan: str) -> list[FlexTransaction]:
        """Return the payments of a plan."""
        return [_record(row) for row in db.execute("SELECT * FROM payment WHERE by_plan = ?", (plan,))]

    def unequal_plans(self, db: sqlite3.Connection, start: int, end: int) -> set[str]:
        """Return the plans whose earnings of the period may differ between history and payments, by their texts."""
        columns = "SELECT by_plan, plan, investment, at, amount, COUNT(*) FROM"
        of_period = f"WHERE action = {FlexAction.DAILY_EARNING:d} AND at >= {start} AND at < {end}"
        one, other = (f"{columns} {table} {of_period} GROUP BY 1, 2, 3, 4, 5" for table in ("history", "payment"))
        return {row[0] for sides in ((one, other), (other, one)) for row in db.execute(" EXCEPT ".join(sides))}


def _record(row: tuple[Any, ...]) -> FlexTransaction:
    at, plan, investment, currency, amount, transaction, action, _ = row
    return FlexTransaction(_time(at), plan, investment, currency, Decimal(amount), transaction, action)


@lru_cache(maxsize=1024)
def _day(day: int) -> tuple[int, int, int]:
    year, month, day_of_month, *_ = gmtime(day * 86_400)
    return year, month, day_of_month


def _time(at: int) -> pendulum.DateTime:
    """The time of a number of microseconds since 1970, in a tenth of pendulum's time."""
    seconds, micro = divmod(at, 1_000_000)
    day, second = divmod(seconds, 86_400)
    hour, rest = divmod(second, 3600)
    return pendulum.DateTime(*_day(day), hour, rest // 60, rest % 60, micro, pendulum.UTC)


class _Sorter:
    """Keeps entries on disk, and yields them oldest first. Those of one moment have a fixed order too."""

    def __init__(self, db: sqlite3.Connection, start: int, end: int) -> None:
        self._db, self._start, self._end = db, start, end
        self.before, self.period, self.after = Tally(), Tally(), Tally()
        self.decimals: dict[str, int] = defaultdict(int)
        db.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{_CACHE}; CREATE TABLE e ({_ENTRY})"
        )

    def add(self, entries: Iterable[JournalEntry]) -> None:
        """Add up all entries, and keep those of the period."""
        self._db.executemany("INSERT INTO e VALUES (?,?,?,?,?,?,?,?,?)", self._rows(entries))

    def _rows(self, entries: Iterable[JournalEntry]) -> Iterator[tuple[Any, ...]]:
        for entry in entries:
            if not self._start <= entry.at < self._end:
                (self.before if entry.at < self._start else self.after).add(entry)
                continue
            self.period.add(entry)
            flows = []
            for source, target, ticker, amount in entry.flows:
                text = format(amount, "f")
                flows.append(_FIELD.join((source, target, ticker, text)))
                self.note_decimals(ticker, text)
            at, kind, _, ids, *rest = entry
            yield at, _KINDS.index(kind), _ITEM.join(flows), _ITEM.join(ids), *rest

    def note_decimals(self, ticker: str, text: str) -> None:
        """Remember the most decimals of an asset."""
        point = text.find(".")
        if point >= 0 and len(text) - point - 1 > self.decimals[ticker]:
            self.decimals[ticker] = len(text) - point - 1

    def entries(self) -> Iterator[JournalEntry]:
        for at, kind, flows, ids, *rest in self._db.execute(f"SELECT * FROM e ORDER BY {_ENTRY_NAMES}"):
            found = []
            for item in flows.split(_ITEM):
                source, target, ticker, amount = item.split(_FIELD)
                found.append(Flow(_ROLES[source], _ROLES[target], ticker, Decimal(amount)))
            yield JournalEntry(at, _KINDS[kind], tuple(found), tuple(ids.split(_ITEM)) if ids else (), *rest)


def _make_books(
    reading: _Reading,
    records: sqlite3.Connection,
    sorted_entries: sqlite3.Connection,
    origins: Origins,
    start: datetime,
    end: datetime,
    reinvested_as: ReinvestedAs,
    previous: Balances | None,
) -> Books:
    sorter = _Sorter(sorted_entries, micros(start), micros(end))
    now: dict[tuple[Role, str], Decimal] = defaultdict(Decimal)
    found, warnings = name_unreadable(reading.unreadable, reading.of_plan, reading.tickers)
    found += unknown_statuses(one for one in reading.flex if reading.wants(one.currency))
    found += _read_flex_entries(reading, records, sorter, origins, now, reinvested_as)
    investments = [one for one in reading.investments if reading.wants(one.plan.ticker)]
    payments = reading.interest
    for one in investments:
        now[Role.FIXED, one.plan.ticker] += ZERO if one.closed else one.amount
    found += check_fixed(investments, payments, start, end)
    for some in (
        fixed_entries(reading.investments, payments, origins),
        main_entries(reading.transactions),
        sub_account_entries(reading.transfers, origins),
        transfer_entries(origins),
    ):
        sorter.add(entry for entry in some if all(reading.wants(flow.ticker) for flow in entry.flows))
    for ticker, amount in reading.main.items():
        if reading.wants(ticker):
            if amount is None:
                found.append(_unreadable_balance(ticker))
            now[Role.MAIN, ticker] += amount or ZERO
    tallies = (sorter.before.sums, sorter.period.sums, sorter.after.sums)
    fit = reconcile_books(now, *tallies, start=start, end=end, previous=previous)
    others = [entry for entry in (fit.first, fit.last) if entry is not None]
    used = set(sorter.period.sums) | {key for key, amount in fit.closing.items() if amount} | set(fit.opening)
    for entry in others:
        for flow in entry.flows:
            used |= {(flow.source, flow.ticker), (flow.target, flow.ticker)}
            sorter.note_decimals(flow.ticker, format(flow.amount, "f"))

    def entries() -> Iterator[JournalEntry]:
        if fit.first is not None:
            yield fit.first
        yield from sorter.entries()
        if fit.last is not None:
            yield fit.last

    return Books(
        start=pendulum.instance(start).in_timezone("UTC"),
        end=pendulum.instance(end).in_timezone("UTC"),
        begins=previous is None,
        opening=fit.opening,
        closing={key: amount for key, amount in fit.closing.items() if amount or key in used},
        entries=entries,
        accounts=frozenset(used),
        decimals=dict(sorter.decimals),
        discrepancies=[*found, *fit.discrepancies],
        not_booked=list(unsettled(reading.transactions, reading.transfers, start, end)),
        warnings=[*warnings, *reading.warnings],
    )


def _read_flex_entries(
    reading: _Reading,
    records: sqlite3.Connection,
    sorter: _Sorter,
    origins: Origins,
    now: dict[tuple[Role, str], Decimal],
    reinvested_as: ReinvestedAs,
) -> list[Discrepancy]:
    """Add the entries of all plans and what they hold now; return what does not add up in them."""
    found: list[Discrepancy] = []
    period = (sorter._start, sorter._end)
    known = {record.known.get("id") for record in reading.unreadable}
    held: dict[str, list[FlexInvestment]] = defaultdict(list)
    for one in reading.flex:
        if reading.wants(one.currency):
            held[one.plan_id].append(one)
    unequal = reading.unequal_plans(records, *period)
    for plan, history in reading.plans(records):
        history = _wanted(history, reading.tickers)
        ledgers, faults = read_ledgers(history, held[plan], reinvested_as, period, known=known)
        found += faults
        if plan in unequal:
            unequal.discard(plan)
            found += _compare(reading, records, plan, history, period)
        for ledger in ledgers:
            now[Role.FLEX, ledger.ticker] += ledger.now
            sorter.add(flex_entries(ledger, origins))
    for plan in sorted(unequal):
        found += _compare(reading, records, plan, [], period)
    return found


def _compare(
    reading: _Reading, records: sqlite3.Connection, plan: str, history: list[FlexTransaction], period: Period
) -> Iterator[Discrepancy]:
    payments = _wanted(reading.payments(records, plan), reading.tickers)
    return check_payments(history, payments, period, {plan: reading.of_plan.get(plan, "")})


def _wanted(records: list[FlexTransaction], tickers: Collection[str] | None) -> list[FlexTransaction]:
    return records if tickers is None else [record for record in records if record.currency in tickers]


def _unreadable_balance(ticker: str) -> Discrepancy:
    message = f"The exchange sent a Main balance of {ticker} that cannot be read. It counts as 0."
    return Discrepancy(DiscrepancyKind.UNREADABLE_RECORD, message, ticker, "", count=1)
