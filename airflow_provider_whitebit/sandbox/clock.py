"""The sandbox's single clock. Every timestamp, nonce check and rate limit uses it."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Protocol


class Clock(Protocol):
    """The exchange's time."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch."""


#: Dates of the year 10000 cannot be written.
_LATEST_MS = 253_402_300_000_000


class SandboxClock:
    """Real time plus ``ahead_ms``, which :meth:`advance` increases."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms

    def advance(self, seconds: Decimal | int) -> None:
        """Set the clock forward.

        :raises ValueError: if ``seconds`` is negative, because the exchange's time never runs backwards, or leads
            beyond the year 9999.
        """
        if seconds < 0:
            raise ValueError("seconds must not be negative: the exchange's time never runs backwards")
        if self.now_ms() + seconds * 1000 > _LATEST_MS:
            raise ValueError("seconds lead beyond the year 9999")
        self.ahead_ms += int(seconds * 1000)
