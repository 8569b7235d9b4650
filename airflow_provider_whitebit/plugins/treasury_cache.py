"""Remembers what was just seen, so that many viewers do not multiply the requests to the exchange."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Glances(Generic[T]):
    """What was seen under each name, for a few seconds.

    Only one viewer looks at a time, the others are given what was seen before: nobody waits in line, because those who
    would wait hold threads that the API server needs for everybody else.

    :param keep: seconds that something counts as just seen.
    :param at_once: how many names may be looked at at the same time.
    :param most: how many names are remembered.
    :param monotonic: seconds that only go forward.
    """

    def __init__(
        self, keep: int = 15, *, at_once: int = 4, most: int = 100, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._keep, self._at_once, self._most = keep, at_once, most
        self._monotonic = monotonic
        self._seen: dict[str, tuple[float, T]] = {}
        self._looking: set[str] = set()
        self._lock = threading.Lock()

    def get(self, name: str, look: Callable[[], T]) -> T | None:
        """What was seen within the last seconds, or is seen now.

        :param name: what to look at.
        :param look: looks.
        :returns: something older if somebody else is looking; ``None`` if there is nothing older either.
        """
        with self._lock:
            at, seen = self._seen.get(name, (None, None))
            if at is not None and self._monotonic() - at < self._keep:
                return seen
            if name in self._looking or len(self._looking) >= self._at_once:
                return seen
            self._looking.add(name)
        try:
            found = look()
            with self._lock:
                self._seen.pop(name, None)
                self._seen[name] = (self._monotonic(), found)
                while len(self._seen) > self._most:
                    del self._seen[next(iter(self._seen))]
            return found
        finally:
            with self._lock:
                self._looking.discard(name)
