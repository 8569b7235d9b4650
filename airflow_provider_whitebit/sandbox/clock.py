"""The sandbox's one clock: every timestamp, nonce check and rate window uses it."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Protocol


class Clock(Protocol):
    """Tells the exchange's time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""


class SandboxClock:
    """Real time plus what :meth:`advance` has added."""

    def __init__(self) -> None:
        self._ahead_ms = 0

    @property
    def ahead_ms(self) -> int:
        """How far it has been put forward."""
        return self._ahead_ms

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead_ms

    def advance(self, seconds: Decimal | int) -> None:
        """Put the clock forward.

        :param seconds: how far; not negative, because the exchange's time never runs backwards.
        :raises ValueError: if it is negative.
        """
        if seconds < 0:
            raise ValueError("seconds must not be negative: the exchange's time never runs backwards")
        self._ahead_ms += int(seconds * 1000)
