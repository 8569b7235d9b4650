"""The exchange's clock as seen from here, and nonces made from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError
from airflow_provider_whitebit.client.shared import Numbers

#: How far two machines' clocks may run apart, as a divisor: one millisecond in 5,000 (200 ppm).
_DRIFT = 5_000
#: A windowed nonce is refused when it is further than this from the exchange's clock (vendor page: Authentication).
_NONCE_LIFE_MS = 5_000
#: No clock is so far ahead of another: numbers beyond are nonsense.
_CENTURY_MS = 100 * 366 * 86_400_000
_MOVES_KEPT = 256
#: The latest nonce of a reading call, and one of a move at each place.
NONCES_KEPT = 1 + _MOVES_KEPT


def _steady_ms() -> Callable[[], int]:
    """A clock that starts at the wall clock and never jumps, in milliseconds."""
    start, base = time.time_ns(), time.monotonic_ns()
    return lambda: (start + time.monotonic_ns() - base) // 1_000_000


class ExchangeClock:
    """Estimates the exchange's time from the whole seconds it sends, and hands out nonces.

    Every answer tells the exchange's time to the second (``Date`` header, ``/api/v4/public/time``). A reading
    ``s`` that was sent for at local time ``a`` and arrived at local time ``b`` proves that the offset between the
    clocks lies between ``s - b`` and ``s + 1 s - a``; readings are intersected, so the estimate sharpens with use.
    A reading that contradicts the earlier ones means that a clock was set: the earlier ones are dropped.

    :param local_ms: local time in milliseconds; by default the wall clock at start, then monotonic.
    :param nonces: :data:`NONCES_KEPT` numbers, shared with others that make nonces for the same key.
    """

    def __init__(self, local_ms: Callable[[], int] | None = None, nonces: Numbers | None = None) -> None:
        self._local_ms = local_ms or _steady_ms()
        self._nonces = nonces or Numbers(NONCES_KEPT)
        # Replaced as a whole, without a lock: of two readings at the same moment one may be lost.
        self._learnt = _Learnt()

    def local_ms(self) -> int:
        """Local time in milliseconds, to bracket a request with for :meth:`observe`."""
        return self._local_ms()

    @property
    def offset_ms(self) -> int:
        """Milliseconds that the exchange's clock is ahead of the local one (best estimate)."""
        # A machine that keeps time is nearer to the truth than the middle of what whole seconds can prove; and
        # workers that all believed the middle would all make the same nonces.
        low, high, _, _ = self._learnt
        return 0 if low <= 0 <= high else (low + high) // 2

    def now_ms(self) -> int:
        """The exchange's time now, in milliseconds since the epoch (best estimate)."""
        return self._local_ms() + self.offset_ms

    @property
    def last_seconds(self) -> int:
        """The last time that the exchange sent, whole Unix seconds; 0 if it never did."""
        return self._learnt.seconds

    def observe(self, seconds: int, sent_ms: int, received_ms: int) -> None:
        """Learn from a time that the exchange sent.

        :param seconds: the exchange's time, whole Unix seconds.
        :param sent_ms: local time before the request left.
        :param received_ms: local time after the answer came.
        """
        low = seconds * 1000 - received_ms
        high = seconds * 1000 + 999 - sent_ms
        old_low, old_high, learnt_at, _ = self._learnt
        if learnt_at is not None:
            spread = abs(received_ms - learnt_at) // _DRIFT + 1
            old_low, old_high = old_low - spread, old_high + spread
            if max(low, old_low) <= min(high, old_high):
                low, high = max(low, old_low), min(high, old_high)
        self._learnt = _Learnt(low, high, received_ms, seconds)

    def forget(self) -> None:
        """Drop what was learnt: the next reading stands alone."""
        self._learnt = self._learnt._replace(learnt_at=None)

    def next_nonce(self, *, window: bool = True) -> int:
        """A nonce for a reading call that was not given before: the exchange's time, or just past the last.

        All are even: odd ones are for moves and their turns (``moves/protocol.py``), which a busy reader with the same
        key must not get in the way of.

        :param window: whether the nonce is checked against the exchange's clock. If so it follows that clock back
            when the estimate was far ahead; if not, nonces only ever grow.
        """
        now = self.now_ms()
        with self._nonces.lock:
            last: int = self._nonces.row[0]
            if last - now <= (_NONCE_LIFE_MS if window else _CENTURY_MS):
                now = max(last + 1, now)
            nonce = now + now % 2
            self._nonces.row[0] = nonce
            return nonce

    def move_nonce(self, latest: int) -> int:
        """A nonce for a move that was not given before: the latest one, or one just before it.

        All leave 3 when divided by 4: those that leave 1 are for turns.

        :param latest: milliseconds; the nonce is not after it.
        :raises WhiteBitUnavailableError: if all those that the exchange would accept were given.
        """
        with self._nonces.lock:
            row = self._nonces.row
            newest = latest - (latest - 3) % 4
            for nonce in range(newest, newest - 4 * _MOVES_KEPT, -4):
                place = 1 + nonce // 4 % _MOVES_KEPT
                # A later one can have taken the place of this one. What is later than the exchange would accept beside
                # this one is from a clock that was wrong.
                if not 0 <= row[place] - nonce <= _NONCE_LIFE_MS:
                    row[place] = nonce
                    return nonce
        raise WhiteBitUnavailableError(
            f"Other moves with the same key have used all nonces of {4 * _MOVES_KEPT} ms.", money_moved=False
        )


class _Learnt(NamedTuple):
    """Between what the offset lies, the local time when that was learnt, and the exchange's last word."""

    low: int = 0
    high: int = 0
    learnt_at: int | None = None
    seconds: int = 0
