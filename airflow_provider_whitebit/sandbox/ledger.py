"""Double-entry books in SQLite: every amount that appears somewhere leaves somewhere else.

Each entry names the account that an amount leaves and the one it goes to, so the books balance by construction;
:meth:`Ledger.audit` proves it from the entries. Amounts are exact decimals, kept as text.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from pathlib import Path

#: Where deposits come from. The only accounts that may be negative: they stand for the world outside.
OUTSIDE = "outside"
#: Pays interest; what it is in the red is what the exchange has paid out.
INTEREST = "interest"
# Python's default of 28 digits rounds; books must not. Wide enough for any amount that a field accepts.
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
CREATE TABLE IF NOT EXISTS move (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, account TEXT NOT NULL, path TEXT NOT NULL, nonce INTEGER NOT NULL,
    params TEXT NOT NULL, reference TEXT);
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_TABLES = (
    *("entry", "balance", "nonce", "last_nonce", "investment", "history"),
    *("fixed_investment", "fixed_payment", "move", "setting"),
)


@lru_cache(maxsize=1)
def _empty_books() -> bytes:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(_SCHEMA)
        return db.serialize()


class LedgerError(AssertionError):
    """The books do not balance: a mistake in the sandbox."""


class Ledger:
    """The books, in memory or in a file.

    :param path: ``":memory:"`` or a file, which is made if it is missing.
    """

    def __init__(self, path: str | Path = ":memory:") -> None:
        self.db = sqlite3.connect(str(path), isolation_level=None, check_same_thread=False, cached_statements=256)
        self.in_memory = str(path) == ":memory:"
        if not self.in_memory:
            # The answer to a request leaves only after its commit, so a killed sandbox never forgets what it said.
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=FULL")
            self.db.executescript(_SCHEMA)
        else:
            # Simulations open thousands of books: a copy of empty ones takes a fraction of making the tables.
            self.db.deserialize(_empty_books())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and nothing is rounded meanwhile."""
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
        """What an account holds of an asset."""
        row = self.db.execute("SELECT amount FROM balance WHERE account=? AND ticker=?", (account, ticker)).fetchone()
        return Decimal(row[0]) if row else Decimal(0)

    def balances(self, account: str) -> dict[str, Decimal]:
        """What an account holds, by asset."""
        rows = self.db.execute("SELECT ticker, amount FROM balance WHERE account=? ORDER BY ticker", (account,))
        return {ticker: Decimal(amount) for ticker, amount in rows}

    def enter(self, ticker: str, amount: Decimal, source: str, target: str, reason: str, at_ms: int) -> None:
        """Move an amount from one account to another.

        :raises LedgerError: if it is not positive, or the source does not hold it.
        """
        if amount <= 0:
            raise LedgerError(f"an entry of {amount} {ticker} makes no sense")
        left = self.balance(source, ticker) - amount
        if left < 0 and source not in (OUTSIDE, INTEREST):
            raise LedgerError(f"{source} does not hold {amount} {ticker}")
        self.db.execute(
            "INSERT INTO entry (at_ms, ticker, amount, source, target, reason) VALUES (?,?,?,?,?,?)",
            (at_ms, ticker, format(amount, "f"), source, target, reason),
        )
        self._set(source, ticker, left)
        self._set(target, ticker, self.balance(target, ticker) + amount)

    def _set(self, account: str, ticker: str, amount: Decimal) -> None:
        self.db.execute("INSERT OR REPLACE INTO balance VALUES (?,?,?)", (account, ticker, format(amount, "f")))

    def setting(self, name: str, default: int) -> int:
        row = self.db.execute("SELECT value FROM setting WHERE name=?", (name,)).fetchone()
        return int(row[0]) if row else default

    def keep_setting(self, name: str, value: int) -> None:
        self.db.execute("INSERT OR REPLACE INTO setting VALUES (?,?)", (name, value))

    def audit(self) -> None:
        """Add all entries up again and compare.

        :raises LedgerError: if an account differs, is negative, or an asset does not sum up to nothing.
        """
        with localcontext(_EXACT):
            self._audit()

    def held_at(self, account: str, ticker: str, at_ms: int) -> Decimal:
        """What an account held at a moment, added up from the entries."""
        rows = self.db.execute(
            "SELECT amount, source=? FROM entry WHERE (source=? OR target=?) AND ticker=? AND at_ms<=?",
            (account, account, account, ticker, at_ms),
        )
        with localcontext(_EXACT):
            return sum((-Decimal(amount) if left else Decimal(amount) for amount, left in rows), Decimal(0))

    def _audit(self) -> None:
        sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for ticker, amount, source, target in self.db.execute("SELECT ticker, amount, source, target FROM entry"):
            sums[source, ticker] -= Decimal(amount)
            sums[target, ticker] += Decimal(amount)
        kept = {
            (account, ticker): Decimal(amount)
            for account, ticker, amount in self.db.execute("SELECT account, ticker, amount FROM balance")
        }
        for place in sums.keys() | kept.keys():
            if sums.get(place, Decimal(0)) != kept.get(place, Decimal(0)):
                raise LedgerError(f"{place}: entries give {sums.get(place)}, the balance is {kept.get(place)}")
            if sums[place] < 0 and place[0] not in (OUTSIDE, INTEREST):
                raise LedgerError(f"{place} is negative: {sums[place]}")
        by_ticker: dict[str, Decimal] = defaultdict(Decimal)
        for (_, ticker), amount in kept.items():
            by_ticker[ticker] += amount
        for ticker, amount in by_ticker.items():
            if amount != 0:
                raise LedgerError(f"{ticker} does not sum up to nothing: {amount}")

    def wipe(self) -> None:
        """Forget everything."""
        for table in _TABLES:
            self.db.execute(f"DELETE FROM {table}")

    def close(self) -> None:
        self.db.close()
