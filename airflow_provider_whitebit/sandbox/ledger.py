"""Double-entry ledger in SQLite, which also keeps the exchange's other records.

Each entry names the account that an amount leaves and the account that it enters, so the ledger always balances.
:meth:`Ledger.audit` proves it from the entries. Amounts are exact decimals, kept as text.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

#: The source of deposits. It may be negative: it represents the world outside.
OUTSIDE = "outside"
#: The source of interest. It may be negative: it shows what the exchange has paid.
INTEREST = "interest"
# Python's default of 28 digits rounds; a ledger must not. Wide enough for any amount that a field accepts.
_EXACT = Context(prec=100)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, ticker TEXT NOT NULL, amount TEXT NOT NULL,
    source TEXT NOT NULL, target TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS balance (
    account TEXT NOT NULL, ticker TEXT NOT NULL, amount TEXT NOT NULL, PRIMARY KEY (account, ticker)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nonce (
    api_key TEXT NOT NULL, nonce INTEGER NOT NULL, PRIMARY KEY (api_key, nonce)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS last_nonce (api_key TEXT PRIMARY KEY, nonce INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS investment (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, plan TEXT NOT NULL, ticker TEXT NOT NULL,
    auto_reinvest INTEGER NOT NULL, status INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
    accrued TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, account TEXT NOT NULL, plan TEXT NOT NULL,
    investment TEXT NOT NULL, ticker TEXT NOT NULL, amount TEXT NOT NULL, transaction_id TEXT NOT NULL,
    action INTEGER NOT NULL, nonce INTEGER);
CREATE INDEX IF NOT EXISTS history_by_plan ON history (account, plan, id);
CREATE INDEX IF NOT EXISTS history_by_time ON history (account, at_ms DESC, id DESC);
CREATE TABLE IF NOT EXISTS fixed_investment (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, plan TEXT NOT NULL, ticker TEXT NOT NULL, terms TEXT NOT NULL,
    status INTEGER NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, payment_ms INTEGER NOT NULL,
    amount TEXT NOT NULL, interest_ticker TEXT NOT NULL, interest TEXT NOT NULL, interest_paid TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fixed_payment (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, account TEXT NOT NULL, plan TEXT NOT NULL,
    investment TEXT NOT NULL, ticker TEXT NOT NULL, amount TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sub_transfer (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, account TEXT NOT NULL, direction TEXT NOT NULL,
    ticker TEXT NOT NULL, amount TEXT NOT NULL, transaction_id TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS sub_transfer_by_account ON sub_transfer (account, id);
CREATE TABLE IF NOT EXISTS move (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, account TEXT NOT NULL, path TEXT NOT NULL, nonce INTEGER NOT NULL,
    params TEXT NOT NULL, reference TEXT, entry INTEGER);
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


@lru_cache(maxsize=1)
def _empty_ledger() -> bytes:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(_SCHEMA)
        return db.serialize()


class LedgerError(AssertionError):
    """The ledger does not balance. This is a bug in the sandbox."""


class Ledger:
    """The ledger, in memory or in a file.

    :param path: ``":memory:"``, or a file, which is created if it is missing. Nothing else can open it meanwhile.
    :raises sqlite3.Error: it is no such file, or it is open elsewhere.
    """

    def __init__(self, path: str | Path = ":memory:") -> None:
        self.db = sqlite3.connect(str(path), isolation_level=None, check_same_thread=False, cached_statements=256)
        if str(path) == ":memory:":
            # Simulations open thousands of ledgers. Copying an empty one is much faster than creating its tables.
            self.db.deserialize(_empty_ledger())
        else:
            # A second sandbox on the file would choose the same identifiers.
            self.db.execute("PRAGMA locking_mode=EXCLUSIVE")
            # The answer to a request leaves only after its commit, so a killed sandbox never forgets an answer.
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=FULL")
            self.db.executescript(_SCHEMA)
            if "entry" not in {row[1] for row in self.db.execute("PRAGMA table_info(move)")}:
                # A file of an earlier version.
                self.db.execute("ALTER TABLE move ADD COLUMN entry INTEGER")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything or nothing. Decimal arithmetic inside is exact."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            with localcontext(_EXACT):
                yield
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    def balance(self, account: str, ticker: str) -> Decimal:
        """Return the balance of an account in one asset."""
        row = self.db.execute("SELECT amount FROM balance WHERE account=? AND ticker=?", (account, ticker)).fetchone()
        return Decimal(row[0]) if row else Decimal(0)

    def balances(self, account: str) -> dict[str, Decimal]:
        """Return the balances of an account by asset."""
        rows = self.db.execute("SELECT ticker, amount FROM balance WHERE account=? ORDER BY ticker", (account,))
        return {ticker: Decimal(amount) for ticker, amount in rows}

    def balance_at(self, account: str, ticker: str, at_ms: int) -> Decimal:
        """Return the balance of an account at a moment, added up from the entries."""
        rows = self.db.execute(
            "SELECT amount, source=? FROM entry WHERE (source=? OR target=?) AND ticker=? AND at_ms<=?",
            (account, account, account, ticker, at_ms),
        )
        with localcontext(_EXACT):
            return sum((-Decimal(amount) if leaves else Decimal(amount) for amount, leaves in rows), Decimal(0))

    def enter(self, ticker: str, amount: Decimal, source: str, target: str, reason: str, at_ms: int) -> None:
        """Move an amount from one account to another.

        :raises LedgerError: if it is not positive, or the source does not hold it.
        """
        if amount <= 0:
            raise LedgerError(f"an entry of {amount} {ticker} is not positive")
        left = self.balance(source, ticker) - amount
        if left < 0 and source not in (OUTSIDE, INTEREST):
            raise LedgerError(f"{source} does not hold {amount} {ticker}")
        self.db.execute(
            "INSERT INTO entry (at_ms, ticker, amount, source, target, reason) VALUES (?,?,?,?,?,?)",
            (at_ms, ticker, format(amount, "f"), source, target, reason),
        )
        self._set(source, ticker, left)
        self._set(target, ticker, self.balance(target, ticker) + amount)

    def last_move(self) -> int:
        """Return the id of the latest entry that is neither interest nor a deposit."""
        row = self.db.execute(
            "SELECT id FROM entry WHERE source NOT IN (?,?) ORDER BY id DESC LIMIT 1", (INTEREST, OUTSIDE)
        ).fetchone()
        return int(row[0])

    def _set(self, account: str, ticker: str, amount: Decimal) -> None:
        self.db.execute("INSERT OR REPLACE INTO balance VALUES (?,?,?)", (account, ticker, format(amount, "f")))

    def insert(self, table: str, **values: Any) -> None:
        """Add a row. Decimals become text."""
        self.db.execute(_insertion(table, tuple(values)), _stored(values))

    def update(self, table: str, identifier: str, **values: Any) -> None:
        """Change the row with an ``id``."""
        self.db.execute(_update(table, tuple(values)), (*_stored(values), identifier))

    def select(
        self, table: str, columns: tuple[str, ...], where: Mapping[str, Any], tail: str = "", *more: Any
    ) -> sqlite3.Cursor:
        """Query a table.

        :param where: conditions with one placeholder each, such as ``at_ms<=?``, and their values. ``None`` leaves a
            condition out.
        :param tail: the end of the query, such as its order.
        :param more: the values of the placeholders in ``tail``.
        """
        given = {condition: value for condition, value in where.items() if value is not None}
        return self.db.execute(_query(table, columns, tuple(given), tail), (*given.values(), *more))

    def exists(self, table: str, where: Mapping[str, Any]) -> bool:
        """Return whether a table has such a row."""
        return self.select(table, ("1",), where, "LIMIT 1").fetchone() is not None

    def count(self, table: str) -> int:
        """Return the number of rows of a table."""
        return int(self.db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])

    def records(self, table: str, columns: tuple[str, ...], tail: str = "ORDER BY id") -> list[dict[str, Any]]:
        """Return the rows of a table as JSON objects."""
        return [dict(zip(columns, row, strict=True)) for row in self.select(table, columns, {}, tail)]

    def setting(self, name: str, default: int) -> int:
        row = self.db.execute("SELECT value FROM setting WHERE name=?", (name,)).fetchone()
        return int(row[0]) if row else default

    def keep_setting(self, name: str, value: int) -> None:
        self.db.execute("INSERT OR REPLACE INTO setting VALUES (?,?)", (name, value))

    def audit(self) -> None:
        """Add up all entries and compare them with the balances.

        :raises LedgerError: if a balance differs or is negative, or the balances of an asset do not add up to zero.
        """
        with localcontext(_EXACT):
            kept, totals = self._audit_balances(), defaultdict[str, Decimal](Decimal)
            for (_, ticker), amount in kept.items():
                totals[ticker] += amount
        for ticker, total in totals.items():
            if total != 0:
                raise LedgerError(f"the balances of {ticker} add up to {total}, not to zero")

    def _audit_balances(self) -> dict[tuple[str, str], Decimal]:
        sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for ticker, amount, source, target in self.db.execute("SELECT ticker, amount, source, target FROM entry"):
            sums[source, ticker] -= Decimal(amount)
            sums[target, ticker] += Decimal(amount)
        kept: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for account, ticker, amount in self.db.execute("SELECT account, ticker, amount FROM balance"):
            kept[account, ticker] = Decimal(amount)
        for place in sums.keys() | kept.keys():
            if sums[place] != kept[place]:
                raise LedgerError(f"{place}: the entries give {sums[place]}, the balance is {kept[place]}")
            if sums[place] < 0 and place[0] not in (OUTSIDE, INTEREST):
                raise LedgerError(f"{place} is negative: {sums[place]}")
        return kept

    def wipe(self) -> None:
        """Delete all rows."""
        for (table,) in self.db.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
            self.db.execute(f"DELETE FROM {table}")

    def close(self) -> None:
        self.db.close()


@lru_cache
def _insertion(table: str, names: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


@lru_cache
def _update(table: str, names: tuple[str, ...]) -> str:
    return f"UPDATE {table} SET {', '.join(f'{name}=?' for name in names)} WHERE id=?"


@lru_cache
def _query(table: str, columns: tuple[str, ...], conditions: tuple[str, ...], tail: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {table} WHERE {' AND '.join(conditions) or '1'} {tail}"


def _stored(values: Mapping[str, Any]) -> list[Any]:
    return [format(value, "f") if isinstance(value, Decimal) else value for value in values.values()]
