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
    :param max_per_day: largest sum of the amounts moved in 24 hours by ticker, in units of the asset.
    :param max_moves_per_hour: how many moves the account may make in an hour; ``None``: any number.
    """

    conn_id: str
    read_only: bool = False
    max_move: Mapping[str, Decimal] = field(default_factory=dict)
    allowed_tickers: frozenset[str] = frozenset()
    allowed_operations: frozenset[str] = frozenset()
    max_per_day: Mapping[str, Decimal] = field(default_factory=dict)
    max_moves_per_hour: int | None = None

    def check(self, operation: str, ticker: str, amount: Decimal | None) -> None:
        """Refuse a move that the limits forbid, whatever else has moved.

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
        for name, limits in (("max_move", self.max_move), ("max_per_day", self.max_per_day)):
            most = limits.get(ticker)
            if most is not None and amount is not None and amount > most:
                raise WhiteBitLimitError(
                    f"Connection {self.conn_id!r}: {amount:f} {ticker} is more than its {name} of {most:f}."
                )

    def lock_names(self, ticker: str) -> list[str]:
        """The locks that a move of an asset takes because of limits over time; each has its spending log.

        :param ticker: the asset.
        :returns: empty if no limit over time concerns the asset.
        """
        hourly = [] if self.max_moves_per_hour is None else ["limit"]
        return [f"limit|{ticker}", *hourly] if ticker in self.max_per_day else hourly

    @property
    def over_time(self) -> bool:
        """Whether there is a limit over time."""
        return bool(self.max_per_day) or self.max_moves_per_hour is not None

    @property
    def in_words(self) -> str:
        """The limits as one phrase."""
        parts = ["read only"] if self.read_only else []
        if self.allowed_operations:
            parts.append(f"only {', '.join(sorted(self.allowed_operations))}")
        if self.allowed_tickers:
            parts.append(f"only {', '.join(sorted(self.allowed_tickers))}")
        if self.max_move:
            parts.append(f"at most {_amounts(self.max_move)} in one move")
        if self.max_per_day:
            parts.append(f"at most {_amounts(self.max_per_day)} in 24 hours")
        if self.max_moves_per_hour is not None:
            parts.append(f"at most {self.max_moves_per_hour} moves in an hour")
        return f"limits of this connection: {'; '.join(parts)}" if parts else "this connection sets no limits"


def _amounts(limits: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{amount:f} {ticker}" for ticker, amount in sorted(limits.items()))
