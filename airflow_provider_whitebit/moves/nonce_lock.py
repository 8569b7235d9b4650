"""The nonce lock: while one move may be accepted by the exchange, no move of the same conflict key can be.

The exchange's time is cut into slots of :data:`SLOT_MS` for each conflict key. A slot has two nonces: the lock's, which
a harmless call uses up (the *claim*), and the move's, which is :data:`MOVE_AGE_MS` older. The exchange accepts each
nonce once, from 5 s before it until 5 s after it. So one process owns a slot: the one whose claim is accepted, which is
possible from 5 s before the lock's nonce on. Its move can be accepted after that, until 1 s past the lock's nonce. The
next slot can only be claimed 2 s later. So of two moves in different slots, the first has been accepted or never will
be before the second one's process begins, and their records have different times.

These 2 s also cover nodes of the exchange whose clocks differ. What the vendor promises, and what is inferred from it:
``docs/once.md``.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_whitebit.client.errors import (
    WhiteBitError,
    WhiteBitJournalError,
    WhiteBitNonceError,
    WhiteBitRateLimitError,
    WhiteBitUnavailableError,
)
from airflow_provider_whitebit.moves.effects import (
    AskTime,
    ClaimNonce,
    ClockReading,
    Effect,
    Pause,
    ReadClock,
    ReadMarker,
)
from airflow_provider_whitebit.moves.evidence import NONCE_LIFE_MS
from airflow_provider_whitebit.moves.execution import ExecutionRequest, Rules
from airflow_provider_whitebit.moves.intent import Move
from airflow_provider_whitebit.moves.journal import in_flight_since

log = logging.getLogger(__name__)

#: Distance of two slots of one conflict key, in milliseconds.
SLOT_MS = 8_000
#: How much older the move's nonce is than its lock's. Divided by 4, nonces of locks leave 1 and those of moves 3. Those
#: of reading calls are even (``ExchangeClock``). So none is in another's way.
MOVE_AGE_MS = 3_998
#: The clocks of the exchange's nodes may differ by this many seconds.
CLOCKS_APART = 2
#: The slots of all names begin within this time of each other, so that two of them have enough time in common.
_PHASES_MS = 2_000
#: How long before the lock's nonce it is claimed. Less than 5 s, because our clock is an estimate.
_CLAIM_EARLY_MS = 4_500
#: A slot with less time left than this is not claimed any more.
_LEAST_LEFT_MS = 1_000
#: The time after the beginning of a slot in which it is claimed if all of it is wanted.
_BEGINNING_MS = 1_000
#: How long a move waits for one in doubt to be reconciled, besides the time until that can begin.
_COURTESY_MS = 25_000
#: A lock is not waited for while the exchange asks to wait longer than this, in seconds.
_LONGEST_RETRY_AFTER = 30


@dataclass(frozen=True, slots=True)
class NonceLock:
    """A slot that this process owns.

    :param nonce: sends the move.
    :param begins: no record of the move is older than these Unix seconds.
    """

    nonce: int
    begins: int

    @property
    def ends_ms(self) -> int:
        """Until when the exchange accepts the move, in milliseconds of its clock."""
        return self.nonce + NONCE_LIFE_MS


def take_lock(
    execution: ExecutionRequest, rules: Rules, move: Move, own: Collection[str] = (), *, whole: bool = False
) -> Generator[Effect, Any, NonceLock]:
    """Wait for a slot of the move's conflict key, and claim it.

    :param own: ids of the intents of this move.
    :param whole: claim a slot at its beginning only.
    :raises WhiteBitUnavailableError: other moves held the lock for as long as the rules allow to wait.
    """
    names = execution.lock_names(move)
    if not (yield ReadClock()).last_seconds:
        yield AskTime()
    deadline: int | None = None
    refusal: WhiteBitError | None = None
    while True:
        before = yield ReadClock()
        deadline = deadline or before.estimate_ms + rules.lock_patience_ms
        if before.estimate_ms > deadline:
            if refusal is not None and not isinstance(refusal, WhiteBitNonceError):
                raise refusal
            raise WhiteBitUnavailableError(
                f"Other moves with the same API key held the lock of this move ({', '.join(names)}) for "
                f"{rules.lock_patience_ms // 1000} s.",
                next_step="Run the task again. If this lasts, run fewer moves of one plan at the same time.",
            )
        # Names whose slots have the same nonce exclude each other: one claim is enough for both.
        claims = sorted({lock_nonce(name, before.estimate_ms) for name in names})
        early = max(claims) - _CLAIM_EARLY_MS - before.estimate_ms
        if whole and early < -_BEGINNING_MS:
            early += SLOT_MS
        if early > 0:
            yield Pause(early)
            continue
        if (yield from _is_another_in_doubt(execution, move, own, before)):
            log.info("Waiting until it is known whether the last move of %s ran", move.conflict_key)
            yield Pause(2_000)
            continue
        lock = lock_of(claims)
        refusal = yield from _claim(execution, move, claims, before)
        if refusal is not None:
            continue
        after = yield ReadClock()
        # A time far from our estimate was not the exchange's, or this process stood still.
        if lock.begins <= after.last_seconds < lock.ends_ms // 1000 and after.estimate_ms < lock.ends_ms:
            return replace(lock, begins=max(lock.begins, after.last_seconds - CLOCKS_APART))
        yield AskTime()
        yield Pause(1_000)


def lock_nonce(name: str, now_ms: int) -> int:
    """The nonce of the slot of a name to claim now, or of the next one: the same for all processes.

    :param name: of the lock.
    :param now_ms: the exchange's time, in milliseconds.
    """
    phase = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % _PHASES_MS // 4 * 4 + 1
    first = now_ms + _LEAST_LEFT_MS - (NONCE_LIFE_MS - MOVE_AGE_MS)
    return first + (phase - first) % SLOT_MS


def lock_of(claims: Sequence[int]) -> NonceLock:
    """The lock that consists of these slots, each given by its nonce: the time that they have in common."""
    nonce = min(claims) - MOVE_AGE_MS
    return NonceLock(nonce, (max(claims) - MOVE_AGE_MS + NONCE_LIFE_MS - SLOT_MS) // 1000 + 1)


def _is_another_in_doubt(
    execution: ExecutionRequest, move: Move, own: Collection[str], reading: ClockReading
) -> Generator[Effect, Any, bool]:
    """Whether to wait for another move. The owner of an earlier slot wrote its marker before this slot began."""
    try:
        since = in_flight_since((yield ReadMarker(move.conflict_key)), own)
    except WhiteBitJournalError:
        return False
    patience = NONCE_LIFE_MS + execution.api_key.reconcile_margin_ms + _COURTESY_MS
    return bool(since) and since <= reading.estimate_ms + NONCE_LIFE_MS and reading.estimate_ms < since + patience


def _claim(
    execution: ExecutionRequest, move: Move, claims: Sequence[int], reading: ClockReading
) -> Generator[Effect, Any, WhiteBitError | None]:
    """Claim slots, oldest first; after a pause, the error if one is taken or the exchange cannot be asked."""
    try:
        for nonce in claims:
            yield ClaimNonce(nonce, move.probe_call())
    except (WhiteBitNonceError, WhiteBitUnavailableError, WhiteBitRateLimitError) as error:
        if error.retry_after > _LONGEST_RETRY_AFTER:
            raise
        log.info("Waiting for the lock of %s: %s", move.conflict_key, error.message)
        if isinstance(error, WhiteBitNonceError) and error.outside_window:
            yield AskTime()
            yield Pause(500)
        else:
            yield Pause(max(claims) + SLOT_MS - _CLAIM_EARLY_MS - reading.estimate_ms + _spread(execution, reading))
        return error
    return None


def _spread(execution: ExecutionRequest, reading: ClockReading) -> int:
    """Some milliseconds, different for each process, so that waiting processes do not all claim at once."""
    return int.from_bytes(hashlib.sha256(f"{execution.intent_id}{reading.estimate_ms}".encode()).digest()[:4]) % 1_000
