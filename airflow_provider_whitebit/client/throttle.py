"""Keeps one process under the exchange's rate limits. Vendor page: Rate limits.

The exchange counts by IP address and group of paths, refuses what is over the limit, and may block who goes on. So all
clients of a process share one count, and one refusal holds all of them back. Several processes of one machine know
nothing of each other: an Airflow pool keeps them apart (README).

A queue of moments for each group is all that a sliding window takes, at about a microsecond a call. The libraries
looked at (limits 5.8, pyrate-limiter 4.5) take 5 to 50, some in a thread that goes over everything counted.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable

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


class Throttle:
    """Says how long a call has to wait.

    :param share: percent of the vendor's limits that this process may use.
    :param clock: seconds that only go forward.
    :param jitter: a number between 0 and 1, so that processes do not come back together.
    """

    def __init__(
        self,
        *,
        share: int = 90,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        # Of each group the moments of its latest calls, as many as fit into one window.
        self._calls = {prefix: deque[float](maxlen=max(1, most * share // 100)) for prefix, most in _LIMITS.items()}
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._held_until = 0.0
        self._pause = _FIRST_PAUSE

    def delay(self, path: str) -> float:
        """Seconds to wait before a call of this path; 0 counts the call as made.

        :param path: the path of the call.
        """
        now = self._clock()
        if now < self._held_until:
            return self._held_until - now
        for prefix, calls in self._calls.items():
            if path.startswith(prefix):
                with self._lock:
                    if len(calls) == calls.maxlen and calls[0] > now - _WINDOW:
                        return calls[0] + _WINDOW - now
                    # A full queue forgets its oldest call.
                    calls.append(now)
        return 0

    def refused(self) -> None:
        """The exchange has refused a call by its rate limit: hold everything back, each time longer."""
        with self._lock:
            now = self._clock()
            if now < self._held_until:
                # A call that was under way when the first refusal came: it is no news.
                return
            self._held_until = now + self._pause + self._jitter()
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def accepted(self) -> None:
        """The exchange has answered a call: the next refusal is a first one again."""
        self._pause = _FIRST_PAUSE


_SHARED: dict[str, Throttle] = {}
_SHARED_LOCK = threading.Lock()


def shared(base_url: str) -> Throttle:
    """The throttle of this process for one host.

    :param base_url: scheme and host.
    """
    with _SHARED_LOCK:
        return _SHARED.setdefault(base_url, Throttle())
