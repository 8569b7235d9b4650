"""Reads from the exchange what journal entries need, and keeps them on disk in order of time. Moves no money.

A history of a million records would fill the memory. So its records pass through a :class:`.FlexStore` that brings
those of one plan together, and the entries through a temporary SQLite database that sorts them.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_provider_whitebit.client.api import Report, WhiteBitClient
from airflow_provider_whitebit.client.errors import WhiteBitRefusedError, changed_meanwhile
from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FlexInvestment,
    FlexTransaction,
    InterestPayment,
    MainTransaction,
    SubAccountTransaction,
)
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.hooks.announced import EARLIER, announced_moves
from airflow_provider_whitebit.hooks.flex_store import CACHE, FlexStore, tickers_of
from airflow_provider_whitebit.hooks.statements import time_after
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
_ENTRY = "at INTEGER, kind INTEGER, flows TEXT, ids TEXT, plan TEXT, investment TEXT, intent TEXT, task TEXT, note TEXT"
_ENTRY_NAMES = ", ".join(column.split()[0] for column in _ENTRY.split(", "))
_KINDS, _ROLES = tuple(EntryKind), {role.value: role for role in Role}
#: Separate fields, and lists of them. No identifier of the exchange contains them.
_FIELD, _ITEM = "\x1f", "\x1e"


def announced_receipts(hook: WhiteBitHook, since: datetime) -> Iterator[tuple[Receipt, str]]:
    """Yield the receipts that tasks have announced as asset events, each with its task, earliest first.

    Outside a task, there are none.

    :param hook: of the connection. Receipts of its previous connection count too.
    :param since: of moves since then, and some older ones; before Airflow 3.3 all.
    """
    for receipt, place in announced_moves(hook, since - EARLIER):
        mapped = "" if place.map_index < 0 else f"/{place.map_index}"
        yield receipt, f"{place.dag_id}/{place.run_id}/{place.task_id}{mapped}"


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
    made_at = time_after(client, end)
    check_period(start, end, made_at)
    check_days(start, end)
    period = (micros(start), micros(end))
    reading = _Reading(client, period, tickers, fixed=fixed, sub_accounts=sub_accounts)
    with closing(reading.read_all()) as records, closing(sqlite3.connect("")) as sorted_entries:
        with exact():
            books = _make_books(
                reading, records, sorted_entries, Origins(receipts), start, end, reinvested_as, previous
            )
        yield books


class _Reading:
    """The exchange's records of one moment. Those of Flex are in a database."""

    def __init__(
        self,
        client: WhiteBitClient,
        period: Period,
        tickers: Sequence[str] | None,
        *,
        fixed: bool,
        sub_accounts: bool,
    ) -> None:
        self._client, self._fixed, self._sub_accounts = client, fixed, sub_accounts
        self.period, self.tickers = period, tickers
        self.of_plan: dict[str, str] = {}
        self.flex: list[FlexInvestment] = []
        self.main: Mapping[str, Decimal | None] = {}
        self.investments: list[FixedInvestment] = []
        self._clear()

    @property
    def _since(self) -> int:
        """The Unix second at which the period begins."""
        return self.period[0] // 1_000_000

    def _clear(self) -> None:
        self.unreadable: list[UnreadableRecord] = []
        self.warnings: list[str] = []
        self.interest: list[InterestPayment] = []
        self.transactions: list[MainTransaction] = []
        self.transfers: list[SubAccountTransaction] = []

    def read_all(self) -> FlexStore:
        """Read until balances and investments are the same before and after."""
        before = self._holdings(lambda record: None)
        for _ in range(_READINGS):
            self._clear()
            report = self.unreadable.append
            store = self._read_flex(report)
            # What came before changes no balance that is walked back, and can be more than the exchange returns.
            self.transactions = list(self._client.main_history(date_from=self._since, on_unreadable=report))
            if self._fixed:
                self.interest = list(self._client.fixed_payments(on_unreadable=report))
            if self._sub_accounts:
                self._read_sub_accounts(report)
            last, before = before, self._holdings(report)
            if last == before:
                self.flex = [
                    replace(one, currency=one.currency or self.of_plan.get(one.plan_id, "")) for one in self.flex
                ]
                return store
            store.close()
        raise changed_meanwhile("Balances and investments", _READINGS)

    def _holdings(self, report: Report) -> tuple[object, ...]:
        self.flex = list(self._client.flex_investments(on_unreadable=report))
        self.investments = list(self._client.fixed_investments(on_unreadable=report)) if self._fixed else []
        self.main = dict(self._client.main_balance())
        flex = {(one.id, one.invested, one.status, one.with_auto_reinvest) for one in self.flex}
        return flex, {(one.id, one.status) for one in self.investments}, {k: v for k, v in self.main.items() if v}

    def _read_flex(self, report: Report) -> FlexStore:
        self.of_plan = tickers_of(self._client.flex_plans(on_unreadable=report), self.flex)
        store = FlexStore(self.of_plan, self.flex, self.period)
        # Only the payments of the period are compared with the history.
        until = -(-self.period[1] // 1_000_000)
        store.add(
            self._client.flex_history(on_unreadable=report),
            self._client.flex_payments(date_from=self._since, date_to=until, on_unreadable=report),
        )
        return store

    def _read_sub_accounts(self, report: Report) -> None:
        for account in self._client.sub_accounts(on_unreadable=report):
            try:
                found = self._client.sub_account_transfers(account.id, date_from=self._since, on_unreadable=report)
                self.transfers += list(found)
            except WhiteBitRefusedError as error:
                # One sub-account that cannot be read, for example because it is not confirmed.
                said = error.said or error.message
                self.warnings.append(f"The transfers of sub-account {account.id} could not be read: {said}")

    def wants(self, ticker: str) -> bool:
        """Whether entries of an asset are wanted."""
        return self.tickers is None or ticker in self.tickers


class _Sorter:
    """Keeps entries on disk, and yields them oldest first. Those of one moment have a fixed order too."""

    def __init__(self, db: sqlite3.Connection, start: int, end: int) -> None:
        self._db, self._start, self._end = db, start, end
        self.before, self.period, self.after = Tally(), Tally(), Tally()
        self.decimals: dict[str, int] = defaultdict(int)
        db.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{CACHE}; CREATE TABLE e ({_ENTRY})"
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
    records: FlexStore,
    sorted_entries: sqlite3.Connection,
    origins: Origins,
    start: datetime,
    end: datetime,
    reinvested_as: ReinvestedAs,
    previous: Balances | None,
) -> Books:
    sorter = _Sorter(sorted_entries, *reading.period)
    now: dict[tuple[Role, str], Decimal] = defaultdict(Decimal)
    found, warnings = name_unreadable(reading.unreadable, reading.of_plan, reading.tickers)
    found += unknown_statuses(one for one in reading.flex if reading.wants(one.currency))
    found += _read_flex_entries(reading, records, sorter, origins, now, reinvested_as)
    investments = [one for one in reading.investments if reading.wants(one.plan.ticker)]
    payments = reading.interest
    for one in investments:
        now[Role.FIXED, one.plan.ticker] += ZERO if one.closed else one.amount
    found += check_fixed(investments, payments, start, end, origins)
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
    records: FlexStore,
    sorter: _Sorter,
    origins: Origins,
    now: dict[tuple[Role, str], Decimal],
    reinvested_as: ReinvestedAs,
) -> list[Discrepancy]:
    """Add the entries of all plans and what they hold now; return what does not add up in them."""
    found: list[Discrepancy] = []
    known = {record.known.get("id") for record in reading.unreadable}
    held: dict[str, list[FlexInvestment]] = defaultdict(list)
    for one in reading.flex:
        if reading.wants(one.currency):
            held[one.plan_id].append(one)

    def read_plan(history: list[FlexTransaction], invested: list[FlexInvestment]) -> None:
        ledgers, faults = read_ledgers(history, invested, reinvested_as, reading.period, known=known)
        found.extend(faults)
        for ledger in ledgers:
            now[Role.FLEX, ledger.ticker] += ledger.now
            sorter.add(flex_entries(ledger, origins))

    for plan, history, payments in records.by_plan():
        wanted = _wanted(history, reading.tickers)
        read_plan(wanted, held.pop(plan, []))
        if payments is not None:
            names = {plan: reading.of_plan.get(plan, "")}
            found += check_payments(wanted, _wanted(payments, reading.tickers), reading.period, names)
    for invested in held.values():
        read_plan([], invested)
    return found


def _wanted(records: list[FlexTransaction], tickers: Collection[str] | None) -> list[FlexTransaction]:
    return records if tickers is None else [record for record in records if record.currency in tickers]


def _unreadable_balance(ticker: str) -> Discrepancy:
    message = f"The exchange sent a Main balance of {ticker} that cannot be read. It counts as 0."
    return Discrepancy(DiscrepancyKind.UNREADABLE_RECORD, message, ticker, "", count=1)
