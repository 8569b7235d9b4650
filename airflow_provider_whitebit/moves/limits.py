"""Limits that an administrator sets on a connection. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from airflow_provider_whitebit.client.errors import WhiteBitLimitError
from airflow_provider_whitebit.moves.intent import Operation

#: Switching auto-reinvest moves nothing now, but puts future earnings to work.
AUTO_REINVEST = "flex_auto_reinvest"
#: What ``allowed_operations`` may name.
OPERATIONS = (*(str(operation) for operation in Operation), AUTO_REINVEST)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one connection.

    :param conn_id: names the connection in errors.
    :param read_only: refuse every move.
    :param max_move: largest amount of one move by ticker, in units of the asset.
    :param allowed_tickers: tickers that may be moved; empty: all.
    :param allowed_operations: of :data:`OPERATIONS`, those that may be made; empty: all.
    """

    conn_id: str
    read_only: bool = False
    max_move: Mapping[str, Decimal] = field(default_factory=dict)
    allowed_tickers: frozenset[str] = frozenset()
    allowed_operations: frozenset[str] = frozenset()

    def check(self, operation: str, ticker: str, amount: Decimal | None) -> None:
        """Refuse a move that the limits forbid.

        :param operation: one of :data:`OPERATIONS`.
        :param ticker: the asset.
        :param amount: in units of the asset; ``None`` if no amount moves.
        :raises WhiteBitLimitError: which limit forbids the move.
        """
        if self.read_only:
            raise WhiteBitLimitError(f"Connection {self.conn_id!r} is read_only.")
        if self.allowed_operations and operation not in self.allowed_operations:
            allowed = ", ".join(sorted(self.allowed_operations))
            raise WhiteBitLimitError(
                f"Connection {self.conn_id!r}: {operation} is not among its allowed_operations ({allowed})."
            )
        if self.allowed_tickers and ticker not in self.allowed_tickers:
            allowed = ", ".join(sorted(self.allowed_tickers))
            raise WhiteBitLimitError(
                f"Connection {self.conn_id!r}: {ticker} is not among its allowed_tickers ({allowed})."
            )
        most = self.max_move.get(ticker)
        if most is not None and amount is not None and amount > most:
            raise WhiteBitLimitError(
                f"Connection {self.conn_id!r}: {amount:f} {ticker} is more than its max_move of {most:f}."
            )

    @property
    def in_words(self) -> str:
        """The limits as one phrase."""
        parts = ["read only"] if self.read_only else []
        if self.allowed_operations:
            parts.append(f"only {', '.join(sorted(self.allowed_operations))}")
        if self.allowed_tickers:
            parts.append(f"only {', '.join(sorted(self.allowed_tickers))}")
        if self.max_move:
            most = ", ".join(f"{amount:f} {ticker}" for ticker, amount in sorted(self.max_move.items()))
            parts.append(f"at most {most} in one move")
        return f"limits of this connection: {'; '.join(parts)}" if parts else "this connection sets no limits"
