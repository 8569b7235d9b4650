"""Keeps one machine under the exchange's rate limits. Vendor page: Rate limits.

The exchange counts by IP address and group of paths, refuses what is over the limit, and may block who goes on. So all
processes of one user on one machine share one count, in a small file of shared memory, and one refusal holds all of
them back. Machines behind one address know nothing of each other: an Airflow pool keeps them apart (README).

A ring of moments for each group is all that a sliding window takes, at a few microseconds a call. The libraries looked
at (limits 5.8, pyrate-limiter 4.5) take 5 to 50 within one process, and a server or a database between several.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from airflow_provider_whitebit.client.shared import OPENING_PATIENCE, Numbers, ThreadLock, numbers

#: Moments are nanoseconds.
_SECOND = 1_000_000_000
#: The vendor's window, and calls in it by group of paths.
_WINDOW = 10 * _SECOND
_LIMITS = {
    "/api/v4/main-account/": 1_000,
    "/api/v4/trade-account/": 12_000,
    "/api/v4/collateral-account/": 12_000,
    "/api/v4/public/": 20_000,
}
#: The vendor's advice after a refusal: how long to hold back, doubled each time. Up to a second comes on top.
_FIRST_PAUSE, _LONGEST_PAUSE = _SECOND, 30 * _SECOND
#: What is kept: until when all is held back, the pause until then, and two rings for each group (the place of its
#: latest call, then the moments).
_HELD_UNTIL, _PAUSE, _RINGS = 0, 1, 2


class Throttle:
    """Says how long a call has to wait.

    :param share: percent of the vendor's limits that may be used.
    :param reserve: percent of them that urgent calls may use on top, so that they do not starve behind an export.
    :param clock: nanoseconds that only go forward, the same for all who share the count.
    :param jitter: a number between 0 and 1, so that processes do not come back together.
    :param count: gives so many numbers to count in.
    """

    def __init__(
        self,
        *,
        share: int = 90,
        reserve: int = 5,
        clock: Callable[[], int] = time.monotonic_ns,
        jitter: Callable[[], float] = random.random,
        count: Callable[[int], Numbers] = Numbers,
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
        counted = count(length)
        self._kept, self._lock = counted.row, counted.lock

    def delay(self, path: str, *, urgent: bool = False) -> float:
        """Seconds to wait before a call of this path; 0 counts the call as made.

        :param path: the path of the call.
        :param urgent: whether it may use the reserve.
        """
        kept = self._kept
        with self._lock:
            now = self._clock()
            if held := self._held(now):
                return held / _SECOND
            for prefix, usual, reserve in self._rings:
                if path.startswith(prefix):
                    waiting = usual.count(kept, now)
                    if waiting and urgent:
                        waiting = min(waiting, reserve.count(kept, now))
                    return waiting / _SECOND
        return 0

    def refused(self) -> None:
        """The exchange has refused a call by its rate limit: hold everything back, each time longer.

        It is a first refusal again when nothing was held back for a whole window.
        """
        kept = self._kept
        with self._lock:
            now = self._clock()
            if self._held(now):
                # A call that was under way when the first refusal came: it is no news.
                return
            pause = _FIRST_PAUSE
            if 0 <= now - kept[_HELD_UNTIL] <= _WINDOW:
                pause = min(max(kept[_PAUSE] * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            kept[_PAUSE] = pause
            kept[_HELD_UNTIL] = now + pause + int(self._jitter() * _SECOND)

    def _held(self, now: int) -> int:
        left: int = self._kept[_HELD_UNTIL] - now
        return left if 0 < left <= _LONGEST_PAUSE + _SECOND else 0


class _Ring:
    """The moments of the latest calls, as many as a window may hold."""

    def __init__(self, start: int, most: int) -> None:
        self._start, self._most = start, most
        self.end = start + 1 + most

    def count(self, kept: Any, now: int) -> int:
        """Count a call and return 0, or return the time until there is room for it."""
        place = kept[self._start] % self._most + 1
        oldest = kept[self._start + place]
        waiting: int = oldest + _WINDOW - now if oldest else 0
        if 0 < waiting <= _WINDOW:
            return waiting
        # In this order: whoever is killed between the two has not counted a call, but holds nobody back.
        kept[self._start] = place
        kept[self._start + place] = now
        return 0


_SHARED: dict[str, Throttle] = {}
_SHARED_LOCK = ThreadLock(OPENING_PATIENCE)


def shared(base_url: str) -> Throttle:
    """The throttle of this machine for one host.

    :param base_url: scheme and host.
    """
    with _SHARED_LOCK:
        if base_url not in _SHARED:
            _SHARED.setdefault(base_url, Throttle(count=lambda length: numbers(f"throttle|{base_url}", length)))
        return _SHARED[base_url]
