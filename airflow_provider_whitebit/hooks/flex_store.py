"""Keeps Flex records on disk, and brings those of one plan together.

A history of a million records would fill the memory, in which a ledger needs only those of its plan. SQLite keeps them
in a temporary file that is gone with the store.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from time import gmtime
from typing import Any, overload

import pendulum

from airflow_provider_whitebit.client.models import FlexAction, FlexInvestment, FlexPlan, FlexTransaction
from airflow_provider_whitebit.treasury.flex_ledger import Period, micros

#: Kilobytes of memory for a database. More goes to its file.
CACHE = 8_000
_COLUMNS = "at INTEGER, plan TEXT, investment TEXT, currency TEXT, amount TEXT, id TEXT, action INTEGER, by_plan TEXT"
_TABLES = ("history", "payment")


def tickers_of(plans: Iterable[FlexPlan], investments: Iterable[FlexInvestment]) -> dict[str, str]:
    """Return the asset of each plan that names one, or whose investments do."""
    named = {one.plan_id: one.currency for one in investments if one.currency}
    return {plan.id: plan.ticker for plan in plans} | named


class FlexStore:
    """Flex records of one moment: history, and the list of payments that it is compared with.

    :param of_plan: asset by plan, for records that name none.
    :param investments: for records that name only these.
    :param period: in which the two are compared.
    """

    def __init__(self, of_plan: Mapping[str, str], investments: Iterable[FlexInvestment], period: Period) -> None:
        self._of_plan, self._period = of_plan, period
        self._plan_of = {one.id: one.plan_id for one in investments}
        self.db = sqlite3.connect("", check_same_thread=False)
        self.db.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{CACHE};"
            + "".join(f"CREATE TABLE {table} ({_COLUMNS});" for table in _TABLES)
        )

    def add(self, history: Iterable[FlexTransaction], payments: Iterable[FlexTransaction]) -> None:
        """Keep records, newest first as the exchange gives them."""
        for table, records in zip(_TABLES, (history, payments), strict=True):
            self.db.executemany(f"INSERT INTO {table} VALUES (?,?,?,?,?,?,?,?)", map(self._row, records))

    def close(self) -> None:
        """Delete everything."""
        self.db.close()

    def _row(self, one: FlexTransaction) -> tuple[Any, ...]:
        """A record as a row. The last column is the plan that it belongs to, as a ledger names it."""
        plan = one.plan_id or self._plan_of.get(one.investment_id or "", "")
        return (
            *(micros(one.created_at), one.plan_id, one.investment_id, one.currency or self._of_plan.get(plan, "")),
            *(str(one.amount), one.transaction_id, one.action_type, plan),
        )

    def by_plan(self) -> Iterator[tuple[str, list[FlexTransaction], list[FlexTransaction] | None]]:
        """Yield each plan that has records: its id, its history, oldest first, and its payments if these may differ."""
        unequal = self._unequal_plans()
        # The exchange gives records of one moment newest first.
        rows = self.db.execute("SELECT * FROM history ORDER BY by_plan, at, rowid DESC")
        for plan, group in groupby(rows, key=itemgetter(-1)):
            yield plan, [_record(row) for row in group], self._payments(plan) if plan in unequal else None
            unequal.discard(plan)
        yield from ((plan, [], self._payments(plan)) for plan in sorted(unequal))

    def _payments(self, plan: str) -> list[FlexTransaction]:
        return [_record(row) for row in self.db.execute("SELECT * FROM payment WHERE by_plan = ?", (plan,))]

    def _unequal_plans(self) -> set[str]:
        """The plans whose earnings of the period differ between history and payments, by their texts."""
        start, end = self._period
        columns = "SELECT by_plan, plan, investment, at, amount, COUNT(*) FROM"
        of_period = f"WHERE action = {FlexAction.DAILY_EARNING:d} AND at >= {start} AND at < {end}"
        one, other = (f"{columns} {table} {of_period} GROUP BY 1, 2, 3, 4, 5" for table in _TABLES)
        return {row[0] for sides in ((one, other), (other, one)) for row in self.db.execute(" EXCEPT ".join(sides))}

    def movements(self, tickers: Sequence[str] | None) -> Sequence[FlexTransaction]:
        """Return the history of the period, oldest first, as a sequence that is not in memory.

        :param tickers: only these assets; all by default.
        """
        return _Movements(self.db, self._period, tickers)


class _Movements(Sequence[FlexTransaction]):
    """Records of a period. They can be read as long as this exists."""

    def __init__(self, db: sqlite3.Connection, period: Period, tickers: Sequence[str] | None) -> None:
        wanted = "" if tickers is None else f" AND currency IN ({','.join('?' * len(tickers))})"
        self._db, self._values = db, (*period, *(tickers or ()))
        self._where = f"FROM history WHERE at >= ? AND at < ?{wanted}"

    def __len__(self) -> int:
        return int(self._db.execute(f"SELECT COUNT(*) {self._where}", self._values).fetchone()[0])

    def __iter__(self) -> Iterator[FlexTransaction]:
        return map(_record, self._db.execute(f"SELECT * {self._where} ORDER BY at, rowid DESC", self._values))

    @overload
    def __getitem__(self, place: int) -> FlexTransaction: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[FlexTransaction]: ...
    def __getitem__(self, place: int | slice) -> FlexTransaction | Sequence[FlexTransaction]:
        return list(self)[place]


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
