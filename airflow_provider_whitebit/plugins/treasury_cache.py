"""A cache for the Treasury page: many viewers make no more requests to the exchange than one."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlightCache(Generic[T]):
    """Keep values for a few seconds, and load each of them at most once at a time.

    No caller waits for another caller's load, because waiting callers would hold threads that the API server needs.
    They get the previous value, unless it is old.

    :param keep: seconds for which a value is fresh.
    :param old: seconds after which a value is not returned any more.
    :param concurrent: most loads at the same time.
    :param capacity: most values that are kept.
    :param clock: seconds that only go forward.
    """

    def __init__(
        self,
        keep: int = 15,
        *,
        old: int = 300,
        concurrent: int = 4,
        capacity: int = 100,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep, self._old, self._concurrent, self._capacity = keep, old, concurrent, capacity
        self._clock = clock
        self._values: dict[str, tuple[float, T]] = {}
        self._loading: set[str] = set()
        self._lock = threading.Lock()

    def kept(self, name: str) -> T | None:
        """Return the previous value; ``None`` if there is none, or only an old one."""
        with self._lock:
            return self._kept(name)[1]

    def _kept(self, name: str) -> tuple[float, T | None]:
        """The age of a value, and the value."""
        at, value = self._values.get(name, (-math.inf, None))
        age = self._clock() - at
        return age, value if age < self._old else None

    def get(self, name: str, load: Callable[[], T]) -> T | None:
        """Return a fresh value, or load it.

        :param name: name of the value.
        :param load: loads it; what it raises is raised.
        :returns: the previous value if it is being loaded or too many others are; ``None`` if there is none.
        """
        with self._lock:
            age, value = self._kept(name)
            if age < self._keep or name in self._loading or len(self._loading) >= self._concurrent:
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
