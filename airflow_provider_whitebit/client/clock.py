"""An estimate of the exchange's clock, and nonces based on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import randrange
from typing import NamedTuple

from airflow_provider_whitebit.client.shared import SharedInt64Array

#: Assumed drift between two machines' clocks, as a divisor: one millisecond in 5,000 (200 ppm).
_DRIFT = 5_000
#: A windowed nonce is refused when it is further than this from the exchange's clock (vendor page: Authentication).
_NONCE_LIFE_MS = 5_000
#: How far from the exchange's time a nonce is chosen at most after a refusal. The estimate of that time may be wrong.
_APART_MS = 4_000
#: No clock is this far ahead of another: larger values are wrong.
_CENTURY_MS = 100 * 366 * 86_400_000


def _steady_ms() -> Callable[[], int]:
    """A clock in milliseconds that starts at the wall clock's time and never jumps."""
    start, base = time.time_ns(), time.monotonic_ns()
    return lambda: (start + time.monotonic_ns() - base) // 1_000_000


class ExchangeClock:
    """Estimates the exchange's time from the whole seconds it sends, and chooses nonces.

    Every answer contains the exchange's time to the second (``Date`` header, ``/api/v4/public/time``). A time ``s``,
    requested at local time ``a`` and received at local time ``b``, proves that the offset between the clocks is
    between ``s - b`` and ``s + 1 s - a``. Such intervals are intersected, so the estimate improves with use. An
    interval that contradicts the earlier ones means that a clock was set, so the earlier ones are dropped.

    :param local_ms: local time in milliseconds; by default the wall clock at start, then monotonic.
    :param nonces: one integer, shared with other users of the same key: the latest nonce of a reading call.
    """

    def __init__(self, local_ms: Callable[[], int] | None = None, nonces: SharedInt64Array | None = None) -> None:
        self._local_ms = local_ms or _steady_ms()
        self._nonces = nonces or SharedInt64Array(1)
        # Replaced as a whole, without a lock: of two simultaneous observations, one may be lost.
        self._observed = _Observed()

    def local_ms(self) -> int:
        """Local time in milliseconds, to bracket a request with for :meth:`observe`."""
        return self._local_ms()

    @property
    def offset_ms(self) -> int:
        """Milliseconds that the exchange's clock is ahead of the local one (best estimate)."""
        # A synchronised machine is closer to the truth than the middle of the interval. And workers that all used the
        # middle would choose the same nonces.
        low, high, _, _ = self._observed
        return 0 if low <= 0 <= high else (low + high) // 2

    def now_ms(self) -> int:
        """The exchange's time now, in milliseconds since the epoch (best estimate)."""
        return self._local_ms() + self.offset_ms

    @property
    def last_seconds(self) -> int:
        """The last time that the exchange sent, in whole Unix seconds; 0 before the first."""
        return self._observed.seconds

    def observe(self, seconds: int, sent_ms: int, received_ms: int) -> None:
        """Learn from a time that the exchange sent.

        :param seconds: the exchange's time, whole Unix seconds.
        :param sent_ms: local time before the request left.
        :param received_ms: local time after the answer came.
        """
        low = seconds * 1000 - received_ms
        high = seconds * 1000 + 999 - sent_ms
        old_low, old_high, observed_at, _ = self._observed
        if observed_at is not None:
            spread = abs(received_ms - observed_at) // _DRIFT + 1
            old_low, old_high = old_low - spread, old_high + spread
            if max(low, old_low) <= min(high, old_high):
                low, high = max(low, old_low), min(high, old_high)
        self._observed = _Observed(low, high, received_ms, seconds)

    def forget(self) -> None:
        """Drop the earlier observations: only the next one counts."""
        self._observed = self._observed._replace(observed_at=None)

    def next_nonce(self, *, window: bool = True, apart: bool = False) -> int:
        """Choose an unused nonce for a reading call: the exchange's time, or just after the last nonce.

        It is even. Odd nonces are for moves and their locks (``moves/nonce_lock.py``), so that a busy reader with the
        same key does not use them up.

        :param window: whether the exchange checks the nonce against its clock. If so, nonces follow that clock back
            when the estimate was far ahead; if not, they only grow.
        :param apart: choose any nonce that the window allows. After a refusal, the next one is likely to be used too:
            machines with one key that call equally often choose the same ones.
        :returns: milliseconds.
        """
        now = self.now_ms()
        if apart and window:
            return (now + randrange(-_APART_MS, _APART_MS)) // 2 * 2
        with self._nonces.lock:
            last: int = self._nonces.row[0]
            if last - now <= (_NONCE_LIFE_MS if window else _CENTURY_MS):
                now = max(last + 1, now)
            nonce = now + now % 2
            self._nonces.row[0] = nonce
            return nonce


class _Observed(NamedTuple):
    """The bounds of the offset, the local time of the observation, and the exchange's last time."""

    low: int = 0
    high: int = 0
    observed_at: int | None = None
    seconds: int = 0
