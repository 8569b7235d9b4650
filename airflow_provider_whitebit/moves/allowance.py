"""Limits over time: how much has moved lately, and whether one more move fits. Without I/O, like the protocol.

A move that such a limit concerns takes one more nonce lock for each, so of these moves of all processes only one can be
accepted at a time. Inside it, the move is compared with the exchange's records and with the spending log. The log holds
what this package has sent, which the records may show late or never. The move enters the log before it is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitJournalError, WhiteBitLimitError
from airflow_provider_whitebit.client.models import Record, plain
from airflow_provider_whitebit.moves.counting import CountedMove, counted_moves, last_second
from airflow_provider_whitebit.moves.effects import (
    AskTime,
    Effect,
    FinishSpending,
    ReadClock,
    ReadInvested,
    ReadMoves,
    ReadSpending,
    WriteSpending,
)
from airflow_provider_whitebit.moves.history import MoveHistory, merge_intents
from airflow_provider_whitebit.moves.intent import Intent, Move, Operation, State
from airflow_provider_whitebit.moves.journal import Page
from airflow_provider_whitebit.moves.limits import Limits
from airflow_provider_whitebit.moves.nonce_lock import NonceLock

log = logging.getLogger(__name__)

#: The windows of ``max_per_day`` and ``max_moves_per_hour``, in seconds.
DAY, HOUR = 86_400, 3_600
#: What records show is kept in the log for this long, in seconds: a replica of the exchange may not show it yet.
_SHOWN_FOR = 900
#: How many pages follow the named one while a move is being sent.
_PAGES_OF_A_MOVE = 2
#: Seconds after the end of a window at which a move surely no longer counts, also if only the log tells when it moved.
_SURELY = 15


@dataclass(slots=True)
class Allowance:
    """What the limits over time allow one move, while its locks are held.

    :param amount: how much the move counts for; ``None`` if it is not known.
    :param logs: what the spending log of each lock holds, and where its latest page is.
    """

    amount: Decimal | None = None
    logs: dict[str, tuple[MoveHistory, tuple[Page, ...]]] = field(default_factory=dict)
    #: The names of the logs into which this process has written the intent.
    _written: list[str] = field(default_factory=list)

    def reserve(self, intent: Intent, lock: NonceLock) -> Generator[Effect, Any, None]:
        """Write the intent into the logs. It may be sent if the lock has not ended after that.

        First a page of what was read, then the intent's own: see :class:`~.journal.SpendingLog`. Between the two, this
        process must know that it still owns the lock.

        :raises WhiteBitJournalError: it is not certain that it is durable.
        """
        for name, (history, pages) in self.logs.items():
            if (yield ReadClock()).estimate_ms >= lock.ends_ms:
                return
            yield WriteSpending(name, history, _following(pages))
        for name in self.logs:
            if (yield ReadClock()).estimate_ms >= lock.ends_ms:
                return
            self._written.append(name)
            yield from self._write(name, intent)

    def settle(self, intent: Intent, lock: NonceLock) -> Generator[Effect, Any, None]:
        """Write into the logs what became of the intent, unless the lock has ended. Without it, records tell."""
        for name in self._written:
            with suppress(WhiteBitJournalError):
                if (yield ReadClock()).estimate_ms < lock.ends_ms:
                    yield from self._write(name, intent)
                # A page of before must not be the latest one again.
                if (yield ReadClock()).estimate_ms < lock.ends_ms:
                    yield FinishSpending(name, _following(_following(self.logs[name][1])))

    def _write(self, name: str, intent: Intent) -> Generator[Effect, Any, None]:
        history, pages = self.logs[name]
        entry = replace(intent, move=replace(intent.move, amount=self.amount), requested={})
        yield WriteSpending(name, _with_entry(history, entry), _following(_following(pages)))


def _following(pages: Iterable[Page]) -> tuple[Page, ...]:
    return tuple(page.next for page in pages)


def _with_entry(history: MoveHistory, entry: Intent) -> MoveHistory:
    """A log with an entry. What it knows of the same intent stays: another run of the task may have sent it."""
    known = history.intents.get(entry.id)
    return history.with_intent(entry if known is None else merge_intents(known, entry))


def allowance_for(limits: Limits, intent: Intent, lock: NonceLock, margin_ms: int) -> Generator[Effect, Any, Allowance]:
    """Check that the limits over time allow a move now.

    :param limits: of the connection.
    :param intent: of the move.
    :param lock: that this process owns.
    :param margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :raises WhiteBitLimitError: they do not.
    :raises WhiteBitError: the exchange or the log cannot be read.
    """
    names = limits.lock_names(intent.move.ticker)
    if not names:
        return Allowance()
    window = _window(limits, [intent.move])
    logs, moves = yield from _counted(names, lock.begins, window, margin_ms, own=intent.id)
    amount = yield from _amount_of(intent.move)
    _Check(limits, moves, lock.begins).add(intent.move, amount)
    return Allowance(amount, logs)


def foresee(
    limits: Limits, moves: Sequence[Move], margin_ms: int, *, own: str = "", certain: bool = False
) -> Generator[Effect, Any, None]:
    """Check moves without a lock: the answer may be outdated at once.

    :param limits: of the connection.
    :param moves: in their order; each one uses up what it moves.
    :param own: id of an intent that does not count.
    :param certain: a move is about to be sent. Count only what has certainly moved: one that another process sends just
        now may be refused.
    :raises WhiteBitLimitError: the limits over time do not allow one of them now.
    :raises WhiteBitError: the exchange or the log cannot be read.
    """
    concerned = [move for move in moves if limits.lock_names(move.ticker)]
    if not concerned:
        return
    now = yield from _now()
    names = list(dict.fromkeys(name for move in concerned for name in limits.lock_names(move.ticker)))
    logs, counted = yield from _counted(names, now, _window(limits, concerned), margin_ms, own=own, certain=certain)
    check = _Check(limits, counted, now)
    for name, (_, pages) in logs.items() if certain else ():
        if any(page.number - page.named > _PAGES_OF_A_MOVE for page in pages):
            # Here, because the owner of the lock has no time to look for the latest page.
            with suppress(WhiteBitJournalError):
                yield FinishSpending(name, pages)
    for move in concerned:
        check.add(move, (yield from _amount_of(move)))


@dataclass(frozen=True, slots=True)
class LimitUse(Record):
    """How much of a limit over time is used.

    :param limit: ``max_per_day`` or ``max_moves_per_hour``.
    :param ticker: the asset whose amounts are limited; ``None`` if moves are.
    :param most: the limit, in units of the asset or in moves.
    :param used: of it; ``None`` if the amount of a move cannot be read: then the limit allows no move.
    :param unshown: what this package has sent of it and no record shows so far.
    :param frees_at: when the next part becomes free; ``None`` if nothing is used, or if it is not known.
    """

    limit: str
    ticker: str | None
    most: Decimal
    used: Decimal | None
    unshown: Decimal
    frees_at: pendulum.DateTime | None


def used_limits(limits: Limits, margin_ms: int) -> Generator[Effect, Any, list[LimitUse]]:
    """Find how much of each limit over time is used now. Without a lock, the answer may be outdated at once.

    :param limits: of the connection.
    :param margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :raises WhiteBitError: the exchange or the log cannot be read.
    """
    names = list(dict.fromkeys(name for ticker in (*limits.max_per_day, "") for name in limits.lock_names(ticker)))
    if not names:
        return []
    now = yield from _now()
    _, counted = yield from _counted(names, now, DAY if limits.max_per_day else HOUR, margin_ms)
    check, found = _Check(limits, counted, now), []
    for ticker, most in sorted(limits.max_per_day.items()):
        found.append(check.moved_in_a_day(ticker).of("max_per_day", ticker, most))
    if limits.max_moves_per_hour is not None:
        found.append(check.made_in_an_hour().of("max_moves_per_hour", None, Decimal(limits.max_moves_per_hour)))
    return found


def _now() -> Generator[Effect, Any, int]:
    """The exchange's time in Unix seconds."""
    reading = yield ReadClock()
    now: int = reading.estimate_ms // 1000 if reading.last_seconds else (yield AskTime())
    return now


def _window(limits: Limits, moves: Iterable[Move]) -> int:
    """How far the moves reach back that limits on these ones count, in seconds."""
    return DAY if any(move.ticker in limits.max_per_day for move in moves) else HOUR


def _counted(
    names: Iterable[str], now: int, window: int, margin_ms: int, *, own: str = "", certain: bool = False
) -> Generator[Effect, Any, tuple[dict[str, tuple[MoveHistory, tuple[Page, ...]]], list[CountedMove]]]:
    """The spending logs by lock, with the places of their latest pages, and all moves of the account in a window.

    :param own: id of the intent that is about to be sent: it moves at most once, so it is not counted beside itself.
    :param certain: leave out what has not certainly moved.
    """
    logs: dict[str, MoveHistory] = {}
    pages: dict[str, tuple[Page, ...]] = {}
    for name in names:
        reading = yield ReadSpending(name)
        try:
            logs[name], pages[name] = MoveHistory.merge(reading.documents), reading.pages
        except ValueError as error:
            raise WhiteBitJournalError(
                f"The spending log {name!r} cannot be read: {error}.",
                money_moved=False,
                next_step="If another version of this package wrote it, use that version, or wait for 24 hours and "
                "delete the Variables whose names begin with whitebit_spent__.",
            ) from None
    # The logs of two locks may know different things of one intent.
    intents = dict(MoveHistory.merge(history.to_json() for history in logs.values()).intents)
    intents.pop(own, None)
    records = yield ReadMoves(now - window)
    counting = [one for one in intents.values() if one.state is State.EXECUTED or not certain]
    moves, shown = counted_moves(records, counting, since=now - window, margin_ms=margin_ms)
    latest = now - margin_ms // 1000 - _SHOWN_FOR
    kept = {
        name: (
            replace(
                history,
                intents={
                    id_: one
                    for id_, one in history.intents.items()
                    if id_ == own or _matters(one, now - DAY if id_ not in shown else latest)
                },
            ),
            pages[name],
        )
        for name, history in logs.items()
    }
    return kept, moves


def _matters(intent: Intent, since: int) -> bool:
    """Whether the log needs to keep an intent."""
    return (intent.state is State.EXECUTED or bool(intent.unproven)) and last_second(intent) >= since


def _amount_of(move: Move) -> Generator[Effect, Any, Decimal | None]:
    """How much a move counts for. What closing brings is known to the exchange only: what is invested now counts."""
    if move.operation is not Operation.FLEX_CLOSE:
        return move.amount
    invested = yield ReadInvested(move)
    return max((one for one in (move.amount, invested) if one is not None), default=None)


@dataclass(frozen=True, slots=True)
class _Used:
    """What is used of one limit.

    :param weights: how much each move counts for.
    :param window: of the limit, in seconds.
    :param unit: writes a number with its unit.
    """

    weights: Sequence[tuple[Decimal, CountedMove]]
    window: int
    unit: Callable[[str], str]

    @property
    def total(self) -> Decimal:
        return sum((weight for weight, _ in self.weights), Decimal(0))

    @property
    def unshown(self) -> Decimal:
        """How much of it no record shows."""
        return sum((weight for weight, move in self.weights if not move.shown), Decimal(0))

    @property
    def planned(self) -> Decimal:
        """How much of it is only planned."""
        return sum((weight for weight, move in self.weights if move.planned), Decimal(0))

    def words(self, number: Decimal) -> str:
        return self.unit(plain(number))

    def of(self, limit: str, ticker: str | None, most: Decimal) -> LimitUse:
        """How much of a limit is used."""
        known = self.window == HOUR or all(move.amount is not None for _, move in self.weights)
        frees_at = next((at for at, _ in self.releases()), None)
        free = None if frees_at is None else pendulum.from_timestamp(frees_at, tz="UTC")
        return LimitUse(limit, ticker, most, self.total if known else None, self.unshown, free)

    def releases(self) -> list[tuple[int | None, Decimal]]:
        """When how much becomes free, earliest first; last, what becomes free at an unknown time."""
        free: dict[int | None, Decimal] = {}
        for weight, move in self.weights:
            at = _free_at(move, self.window)
            free[at] = free.get(at, Decimal(0)) + weight
        return sorted(free.items(), key=lambda one: (one[0] is None, one[0] or 0))


@dataclass(slots=True)
class _Check:
    """Compares moves with the limits over time.

    :param limits: of the connection.
    :param moves: that were made.
    :param now: Unix second before which the next move cannot be accepted.
    """

    limits: Limits
    moves: list[CountedMove]
    now: int

    def add(self, move: Move, amount: Decimal | None) -> None:
        """Check one more move, and count it. :raises WhiteBitLimitError: which limit forbids it."""
        most, ticker = self.limits.max_per_day.get(move.ticker), move.ticker
        if most is not None:
            used = self.moved_in_a_day(ticker)
            self._require_amounts(one for _, one in used.weights)
            if amount is None:
                raise self._error(f"max_per_day cannot be checked: how much would move is not known ({move}).", None)
            self._require(used, amount, most, f"max_per_day of {used.words(most)}")
        if self.limits.max_moves_per_hour is not None:
            number = Decimal(self.limits.max_moves_per_hour)
            self._require(self.made_in_an_hour(), Decimal(1), number, f"max_moves_per_hour of {number}")
        self.moves.append(CountedMove(move.ticker, amount, self.now, planned=True))

    def moved_in_a_day(self, ticker: str) -> _Used:
        """What has moved of an asset in the window of ``max_per_day``."""
        counted = [one for one in self.moves if one.counts(self.now - DAY, ticker)]
        return _Used([(one.amount or Decimal(0), one) for one in counted], DAY, lambda number: f"{number} {ticker}")

    def made_in_an_hour(self) -> _Used:
        """The moves in the window of ``max_moves_per_hour``."""
        counted = [one for one in self.moves if one.counts(self.now - HOUR)]
        return _Used([(Decimal(1), one) for one in counted], HOUR, lambda n: "1 move" if n == "1" else f"{n} moves")

    def _require_amounts(self, counted: Iterable[CountedMove]) -> None:
        unknown = next((one for one in counted if one.amount is None), None)
        if unknown is not None:
            raise self._error(
                f"max_per_day cannot be checked, because this move of the last 24 hours cannot be read: "
                f"{unknown.words}.",
                _free_at(unknown, DAY),
            )

    def _require(self, used: _Used, wanted: Decimal, most: Decimal, limit: str) -> None:
        """:raises WhiteBitLimitError: what is used and what is wanted are more than the limit."""
        total = used.total
        if total + wanted <= most:
            return
        hours = "24 hours" if used.window == DAY else "hour"
        lines = [
            f"{used.words(wanted)} more would exceed its {limit}.",
            f"Moved in the last {hours}: {used.words(total - used.planned)}.",
        ]
        if used.planned:
            lines.append(f"Planned before this move: {used.words(used.planned)}.")
        if unshown := used.unshown:
            lines.append(f"Of these, this package sent {used.words(unshown)} that no record shows so far.")
        left, enough = total, None
        for at, freed in used.releases():
            if at is not None and left == total != used.planned:
                lines.append(f"The next {used.words(freed)} become free at {_in_words(at)}.")
            left -= freed
            if left + wanted <= most:
                enough = at
                break
        raise self._error("\n".join(lines), enough)

    def _error(self, message: str, enough: int | None) -> WhiteBitLimitError:
        """:param enough: the Unix second from which on the move fits, if it is known."""
        later = [] if enough is None else [f"Clear the task after {_in_words(enough)}: then this move fits again."]
        return WhiteBitLimitError(
            f"Connection {self.limits.conn_id!r}: {message}",
            money_moved=False,
            next_step=(*later, "To move earlier, ask the administrator who set this limit on the connection."),
        )


def _free_at(move: CountedMove, window: int) -> int | None:
    return None if move.moved_at is None else move.moved_at + window + _SURELY


def _in_words(seconds: int) -> str:
    return pendulum.from_timestamp(seconds, tz="UTC").isoformat()
