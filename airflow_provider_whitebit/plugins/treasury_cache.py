"""A cache for the Treasury page: many viewers make no more requests to the exchange than one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlightCache(Generic[T]):
    """Keep values for a few seconds, and load each of them at most once at a time.

    No caller waits for another caller's load, because waiting callers would hold threads that the API server needs.
    They get the previous value.

    :param keep: seconds for which a value is fresh.
    :param concurrent: most loads at the same time.
    :param capacity: most values that are kept.
    :param clock: seconds that only go forward.
    """

    def __init__(
        self, keep: int = 15, *, concurrent: int = 4, capacity: int = 100, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keep, self._concurrent, self._capacity = keep, concurrent, capacity
        self._clock = clock
        self._values: dict[str, tuple[float, T]] = {}
        self._loading: set[str] = set()
        self._lock = threading.Lock()

    def kept(self, name: str) -> T | None:
        """Return the previous value, however old; ``None`` if there is none."""
        with self._lock:
            return self._values.get(name, (None, None))[1]

    def get(self, name: str, load: Callable[[], T]) -> T | None:
        """Return a fresh value, or load it.

        :param name: name of the value.
        :param load: loads it; what it raises is raised.
        :returns: the previous value if it is being loaded or too many others are; ``None`` if there is none.
        """
        with self._lock:
            at, value = self._values.get(name, (None, None))
            fresh = at is not None and self._clock() - at < self._keep
            if fresh or name in self._loading or len(self._loading) >= self._concurrent:
                return value
            self._loading.add(name)
        try:
            loaded = load()
            with self._lock:
                self._values.pop(name, None)
                self._values[name] = (self._clock(), loaded)
                if len(self._values) > self._capacity:
                    del self._values[next(iter(self._values))]
            return loaded
        finally:
            with self._lock:
                self._loading.discard(name)
