"""What can go wrong between a caller and the exchange, made to order."""

from __future__ import annotations

import fnmatch
import random
from dataclasses import dataclass
from decimal import Decimal

#: Kinds of fault, and what each does.
KINDS = {
    "lost_reply_after": "executed; then the connection is closed without a reply",
    "lost_reply_before": "the connection is closed; nothing is executed",
    "error_500_after": "executed; then HTTP 500",
    "error_500_before": "HTTP 500; nothing is executed",
    "reset": "the connection is reset at once; nothing is executed",
    "delay_before": "waits `seconds`, then accepts the request: the nonce is checked after the wait",
    "delay_reply": "executed; the reply comes `seconds` later",
    "rate_limit": "HTTP 429; nothing is executed",
    "unavailable": "HTTP 503 with an HTML body; nothing is executed",
    "unavailable_after": "executed; then HTTP 503 with an HTML body",
    "empty_body": "HTTP 502 with an empty body; nothing is executed",
    "cut_reply": "executed; the reply breaks off after `bytes` bytes",
    "garbage": "executed; HTTP 200 with bytes that are no text",
    "html_ok": "executed; HTTP 200 with an HTML body",
    "ok_with_error": "HTTP 200 with an error object in it; nothing is executed",
    "duplicate": "delivered twice; the first answer is returned",
    "history_lag": "a setting: transactions appear in the histories only `seconds` after they ran",
}
#: Kinds in which the exchange carries the request out.
EXECUTED = frozenset(
    {
        "lost_reply_after",
        "error_500_after",
        "delay_before",
        "delay_reply",
        "unavailable_after",
        "cut_reply",
        "garbage",
        "html_ok",
        "duplicate",
    }
)


@dataclass(slots=True)
class Fault:
    """One kind of fault on some paths: how often, and how many times more (``None``: until cleared)."""

    kind: str
    path: str
    probability: Decimal
    left: int | None
    seconds: Decimal
    bytes: int

    def to_json(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "path": self.path,
            "probability": str(self.probability),
            "left": self.left,
            "seconds": str(self.seconds),
            "bytes": self.bytes,
        }


class Faults:
    """The faults that are switched on, decided by a seed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._faults: list[Fault] = []

    def add(
        self,
        kind: str,
        *,
        path: str = "*",
        probability: Decimal | str | int = 1,
        count: int | None = None,
        seconds: Decimal | str | int = 0,
        bytes: int = 0,
    ) -> Fault:
        """Switch a fault on.

        :param kind: one of :data:`KINDS`.
        :param path: which paths, with ``*`` and ``?``.
        :param probability: chance for each request, 0 to 1.
        :param count: for so many requests; until cleared by default.
        :param seconds: how long, for the kinds that wait, in real seconds, and for ``history_lag``.
        :param bytes: after how many bytes ``cut_reply`` cuts.
        :raises ValueError: what is wrong.
        """
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r}; known are {', '.join(KINDS)}")
        chance, wait = Decimal(probability), Decimal(seconds)
        if not 0 <= chance <= 1:
            raise ValueError("probability lies between 0 and 1")
        if wait < 0 or bytes < 0 or (count is not None and count < 1):
            raise ValueError("seconds and bytes are not negative, count is at least 1")
        fault = Fault(kind, path, chance, count, wait, bytes)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Switch all faults off."""
        self._faults.clear()

    def view(self) -> list[dict[str, object]]:
        """The faults that are on, as JSON."""
        return [fault.to_json() for fault in self._faults]

    @property
    def history_lag_ms(self) -> int:
        """How late transactions appear in the histories, in milliseconds."""
        return max((int(fault.seconds * 1000) for fault in self._faults if fault.kind == "history_lag"), default=0)

    def take(self, path: str) -> Fault | None:
        """The fault that a request to this path meets, if any; counts it."""
        for fault in self._faults:
            if fault.kind == "history_lag" or not fnmatch.fnmatchcase(path, fault.path):
                continue
            if fault.probability < 1 and Decimal(self._random.random()) >= fault.probability:
                continue
            if fault.left is not None:
                fault.left -= 1
                if fault.left == 0:
                    self._faults.remove(fault)
            return fault
        return None
