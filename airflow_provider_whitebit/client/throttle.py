"""Keeps one machine under the exchange's rate limits. Vendor page: Rate limits.

The exchange counts by IP address and group of paths, refuses calls over the limit, and may block an address that goes
on. So all processes of one user on one machine share one count, in a small file of shared memory, and one refusal
delays all of them. Machines behind one address do not know of each other: limit them with an Airflow pool (README).

The count is a ring of the latest calls' times for each group: a sliding window, at a few microseconds a call. The
libraries examined (limits 5.8, pyrate-limiter 4.5) take 5 to 50 within one process, and need a server or a database
for several.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from airflow_provider_whitebit.client.shared import OPENING_PATIENCE, SharedInt64Array, ThreadLock, shared_array

#: Times are in nanoseconds.
_SECOND = 1_000_000_000
#: The vendor's window, and calls in it by group of paths. A path belongs to the first group that fits.
_WINDOW = 10 * _SECOND
_LIMITS = {
    "/api/v4/main-account/history": 200,
    "/api/v4/main-account/": 1_000,
    "/api/v4/sub-account/": 1_000,
    "/api/v4/trade-account/": 12_000,
    "/api/v4/collateral-account/": 12_000,
    "/api/v4/public/": 2_000,
}
#: The vendor's advice after a refusal: how long to wait, doubled each time, plus a random part of a second.
_FIRST_PAUSE, _LONGEST_PAUSE = _SECOND, 30 * _SECOND
#: The longest delay that the exchange did not ask for, in seconds.
LONGEST_OWN_DELAY = (_LONGEST_PAUSE + _SECOND) // _SECOND
#: The longest delay that an answer can ask for. After it, one call finds out whether the limit still counts.
_LONGEST_ASKED = 300 * _SECOND
#: The shared integers: until when all calls wait, the length of that pause, and two rings for each group (the position
#: of its latest call, then the times).
_HELD_UNTIL, _PAUSE, _RINGS = 0, 1, 2


class Throttle:
    """Decides how long a call must wait.

    :param share: percent of the vendor's limits that may be used.
    :param reserve: percent of them that urgent calls may use in addition, so that they do not wait behind an export.
    :param clock: monotonic nanoseconds, the same for all processes that share the count.
    :param jitter: returns a number between 0 and 1, so that processes do not return at the same time.
    :param count: returns an array of this length to count in.
    """

    def __init__(
        self,
        *,
        share: int = 90,
        reserve: int = 5,
        clock: Callable[[], int] = time.monotonic_ns,
        jitter: Callable[[], float] = random.random,
        count: Callable[[int], SharedInt64Array] = SharedInt64Array,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._rings: list[tuple[str, _Ring, _Ring]] = []
        length = _RINGS
        for prefix, most in _LIMITS.items():
            usual = _Ring(length, max(1, most * share // 100))
            urgent = _Ring(usual.end, max(1, most * reserve // 100))
            self._rings.append((prefix, usual, urgent))
            length = urgent.end
        self._counted = count(length)
        self._lock = self._counted.lock

    def delay(self, path: str, *, urgent: bool = False) -> float:
        """Seconds to wait before a call of this path; 0 counts the call as made.

        :param path: the path of the call.
        :param urgent: whether it may use the reserve.
        """
        with self._lock:
            kept, now = self._counted.row, self._clock()
            if held := self._held(now):
                return held / _SECOND
            for prefix, usual, reserve in self._rings:
                if path.startswith(prefix):
                    waiting = usual.count(kept, now)
                    if waiting and urgent:
                        waiting = min(waiting, reserve.count(kept, now))
                    return waiting / _SECOND
        return 0

    def refused(self, seconds: int = 0) -> None:
        """Delay all calls because the exchange's rate limit refused one; each time longer.

        After a whole window without a delay, the next refusal counts as the first.

        :param seconds: how long the answer asks to wait at least; 0 if it does not.
        """
        with self._lock:
            kept, now = self._counted.row, self._clock()
            asked = now + min(seconds * _SECOND, _LONGEST_ASKED)
            if self._held(now):
                # This call was already under way when the first refusal came.
                kept[_HELD_UNTIL] = max(kept[_HELD_UNTIL], asked)
                return
            pause = _FIRST_PAUSE
            if 0 <= now - kept[_HELD_UNTIL] <= _WINDOW:
                pause = min(max(kept[_PAUSE] * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            kept[_PAUSE] = pause
            kept[_HELD_UNTIL] = max(now + pause, asked) + int(self._jitter() * _SECOND)

    def _held(self, now: int) -> int:
        left: int = self._counted.row[_HELD_UNTIL] - now
        return left if 0 < left <= _LONGEST_ASKED + _SECOND else 0


class _Ring:
    """The times of the latest calls, as many as a window may hold."""

    def __init__(self, start: int, most: int) -> None:
        self._start, self._most = start, most
        self.end = start + 1 + most

    def count(self, kept: Any, now: int) -> int:
        """Count a call and return 0, or return the nanoseconds until there is room for it."""
        place = kept[self._start] % self._most + 1
        oldest = kept[self._start + place]
        waiting: int = oldest + _WINDOW - now if oldest else 0
        if 0 < waiting <= _WINDOW:
            return waiting
        # In this order, a process that is killed between the two leaves a call uncounted, but delays no other.
        kept[self._start] = place
        kept[self._start + place] = now
        return 0


_SHARED: dict[str, Throttle] = {}
_SHARED_LOCK = ThreadLock(OPENING_PATIENCE)


def shared(exchange: str) -> Throttle:
    """The throttle of this machine for one exchange.

    :param exchange: its host and port, always in the same spelling.
    """
    with _SHARED_LOCK:
        if exchange not in _SHARED:
            _SHARED.setdefault(exchange, Throttle(count=lambda length: shared_array(f"throttle|{exchange}", length)))
        return _SHARED[exchange]
