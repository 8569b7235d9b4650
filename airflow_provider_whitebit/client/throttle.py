"""Keeps one machine under the exchange's rate limits. Vendor page: Rate limits.

The exchange counts by IP address and group of paths, refuses what is over the limit, and may block who goes on. So all
processes of one user on one machine share one count, in a small file of shared memory, and one refusal holds all of
them back. Machines behind one address know nothing of each other: an Airflow pool keeps them apart (README).

A ring of moments for each group is all that a sliding window takes, at a few microseconds a call. The libraries looked
at (limits 5.8, pyrate-limiter 4.5) take 5 to 50 within one process, and a server or a database between several.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from airflow_provider_whitebit.client.shared import Numbers, numbers

#: The vendor's window in seconds, and calls in it by group of paths.
_WINDOW = 10
_LIMITS = {
    "/api/v4/main-account/": 1_000,
    "/api/v4/trade-account/": 12_000,
    "/api/v4/collateral-account/": 12_000,
    "/api/v4/public/": 20_000,
}
#: The vendor's advice after a refusal: seconds to hold back, doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 1, 30
#: What is kept: until when all is held back, the next pause, and a ring for each group (the place of its latest call,
#: then the moments).
_HELD_UNTIL, _PAUSE, _RINGS = 0, 1, 2


class Throttle:
    """Says how long a call has to wait.

    :param share: percent of the vendor's limits that may be used.
    :param clock: seconds that only go forward, the same for all who share the count.
    :param jitter: a number between 0 and 1, so that processes do not come back together.
    :param count: gives so many numbers to count in.
    """

    def __init__(
        self,
        *,
        share: int = 90,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        count: Callable[[int], Numbers] = Numbers,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._rings: dict[str, tuple[int, int]] = {}
        length = _RINGS
        for prefix, most in _LIMITS.items():
            self._rings[prefix] = (length, max(1, most * share // 100))
            length += 1 + self._rings[prefix][1]
        counted = count(length)
        self._kept, self._lock = counted.row, counted.lock

    def delay(self, path: str) -> float:
        """Seconds to wait before a call of this path; 0 counts the call as made.

        :param path: the path of the call.
        """
        kept, now = self._kept, self._clock()
        held: float = kept[_HELD_UNTIL] - now
        if 0 < held <= _LONGEST_PAUSE + 1:
            return held
        for prefix, (start, most) in self._rings.items():
            if path.startswith(prefix):
                with self._lock:
                    place = start + 1 + int(kept[start]) % most
                    waiting: float = kept[place] + _WINDOW - now if kept[place] else 0
                    if 0 < waiting <= _WINDOW:
                        return waiting
                    # A full ring forgets its oldest call.
                    kept[place] = now
                    kept[start] = place - start
                return 0
        return 0

    def refused(self) -> None:
        """The exchange has refused a call by its rate limit: hold everything back, each time longer."""
        with self._lock:
            now = self._clock()
            if now < self._kept[_HELD_UNTIL]:
                # A call that was under way when the first refusal came: it is no news.
                return
            pause = self._kept[_PAUSE] or _FIRST_PAUSE
            self._kept[_HELD_UNTIL] = now + pause + self._jitter()
            self._kept[_PAUSE] = min(pause * 2, _LONGEST_PAUSE)

    def accepted(self) -> None:
        """The exchange has answered a call: the next refusal is a first one again."""
        if self._kept[_PAUSE]:
            self._kept[_PAUSE] = 0


_SHARED: dict[str, Throttle] = {}
_SHARED_LOCK = threading.Lock()


def shared(base_url: str) -> Throttle:
    """The throttle of this machine for one host.

    :param base_url: scheme and host.
    """
    with _SHARED_LOCK:
        if base_url not in _SHARED:
            _SHARED[base_url] = Throttle(count=lambda length: numbers(f"throttle|{base_url}|{length}", length))
        return _SHARED[base_url]
