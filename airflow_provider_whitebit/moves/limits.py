"""Limits that an administrator sets on a connection. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from airflow_provider_whitebit.client.errors import WhiteBitLimitError


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one connection.

    :param conn_id: names the connection in errors.
    :param read_only: refuse every move.
    :param max_move: largest amount of one move by ticker, in units of the asset.
    :param allowed_tickers: tickers that may be moved; empty: all.
    """

    conn_id: str
    read_only: bool = False
    max_move: Mapping[str, Decimal] = field(default_factory=dict)
    allowed_tickers: frozenset[str] = frozenset()

    def check(self, ticker: str, amount: Decimal | None) -> None:
        """Refuse a move that the limits forbid.

        :param ticker: the asset.
        :param amount: in units of the asset; ``None`` if no amount moves.
        :raises WhiteBitLimitError: which limit forbids the move.
        """
        if self.read_only:
            raise WhiteBitLimitError(f"Connection {self.conn_id!r} is read_only.")
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
        if self.allowed_tickers:
            parts.append(f"only {', '.join(sorted(self.allowed_tickers))}")
        if self.max_move:
            most = ", ".join(f"{amount:f} {ticker}" for ticker, amount in sorted(self.max_move.items()))
            parts.append(f"at most {most} in one move")
        return f"limits of this connection: {'; '.join(parts)}" if parts else "this connection sets no limits"
