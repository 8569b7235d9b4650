"""What can go wrong between a caller and the exchange, made to order."""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from email.utils import formatdate

from airflow_provider_whitebit.sandbox.answers import Answer

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
    "duplicate_reply": "delivered twice; the second answer, a refused nonce, is returned",
    "history_lag": "a setting: transactions appear in the histories only `seconds` after they ran",
}
#: Those that are nothing without a time.
_WAITING = ("delay_before", "delay_reply", "history_lag")
_JSON, _HTML = "application/json", "text/html"
_SERVER_ERROR = b'{"message":"Server Error"}'
_MAINTENANCE = b"<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"
#: What a caller gets instead of an answer from the exchange: status, content type, body.
_INSTEAD = {
    "error_500_before": (500, _JSON, _SERVER_ERROR),
    "rate_limit": (429, _JSON, b'{"message":"Too Many Attempts.","code":0,"errors":{}}'),
    "unavailable": (503, _HTML, _MAINTENANCE),
    "empty_body": (502, None, b""),
    "ok_with_error": (200, _JSON, b'{"code":0,"message":"Something went wrong","errors":{}}'),
}
#: What a caller gets in place of the answer to a call that was executed.
_SPOILT = {
    "error_500_after": (500, _JSON, _SERVER_ERROR),
    "unavailable_after": (503, _HTML, _MAINTENANCE),
    "html_ok": (200, _HTML, b"<html><body>Checking your browser</body></html>"),
}


class ConnectionLost(Exception):
    """The connection ended before the reply was whole.

    :param reset: whether it was reset rather than closed.
    :param received: the answer's first bytes, where some arrived.
    """

    def __init__(self, *, reset: bool = False, received: bytes = b"") -> None:
        self.reset = reset
        self.received = received
        super().__init__("connection reset" if reset else "connection closed")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What goes back over the wire: an answer, its beginning, or nothing.

    :param answer: ``None``: the connection ends without a byte.
    :param cut: after how many bytes of the body the connection is closed; ``None``: the answer is whole.
    :param reset: the connection is reset rather than closed.
    """

    answer: Answer | None
    cut: int | None = None
    reset: bool = False


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
        self._noise = random.Random(f"noise:{seed}")
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
        chance, wait = _number("probability", probability), _number("seconds", seconds)
        if not 0 <= chance <= 1:
            raise ValueError("probability lies between 0 and 1")
        if wait < 0 or bytes < 0 or (count is not None and count < 1):
            raise ValueError("seconds and bytes are not negative, count is at least 1")
        if kind in _WAITING and not wait:
            raise ValueError(f"{kind} needs seconds")
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

    def deliver(
        self, fault: Fault | None, handle: Callable[[], Answer], now_ms: Callable[[], int]
    ) -> Generator[Decimal, None, Delivery]:
        """Carry one request to the exchange and its answer back, as a fault would have it. Without I/O.

        :param fault: what :meth:`take` gave.
        :param handle: has the exchange answer the request as if it arrived at that moment.
        :param now_ms: the exchange's time, for the Date of answers that are not its own.
        :returns: a generator that yields how many seconds to wait now, and returns the delivery.
        """
        if fault is None:
            return Delivery(handle())
        if fault.kind in ("reset", "lost_reply_before"):
            return Delivery(None, reset=fault.kind == "reset")
        if fault.kind in _INSTEAD:
            return Delivery(_edge(*_INSTEAD[fault.kind], now_ms()))
        if fault.kind == "delay_before":
            yield fault.seconds
        answer = handle()
        if fault.kind == "duplicate":
            handle()
        elif fault.kind == "duplicate_reply":
            return Delivery(handle())
        elif fault.kind == "delay_reply":
            yield fault.seconds
        elif fault.kind == "lost_reply_after":
            return Delivery(None)
        elif fault.kind == "cut_reply":
            return Delivery(answer, cut=min(fault.bytes, len(answer.body)))
        elif fault.kind == "garbage":
            return Delivery(_edge(200, _JSON, b"\xff\xfe" + self._noise.randbytes(64), now_ms()))
        elif fault.kind in _SPOILT:
            return Delivery(_edge(*_SPOILT[fault.kind], now_ms()))
        return Delivery(answer)

    def perform(
        self,
        fault: Fault | None,
        handle: Callable[[], Answer],
        *,
        now_ms: Callable[[], int],
        wait: Callable[[Decimal], None] = lambda seconds: None,
    ) -> Answer:
        """What a caller in this process sees of one request; see :meth:`deliver`.

        :param wait: lets so many seconds pass.
        :raises ConnectionLost: if no whole answer comes back.
        """
        delivering = self.deliver(fault, handle, now_ms)
        while True:
            try:
                wait(next(delivering))
            except StopIteration as end:
                delivery: Delivery = end.value
                break
        if delivery.answer is None:
            raise ConnectionLost(reset=delivery.reset)
        if delivery.cut is not None and delivery.cut < len(delivery.answer.body):
            raise ConnectionLost(received=delivery.answer.body[: delivery.cut])
        return delivery.answer


def _edge(status: int, content_type: str | None, body: bytes, now_ms: int) -> Answer:
    """An answer that the exchange's edge gives rather than its rules."""
    headers = {"Date": formatdate(now_ms // 1000, usegmt=True)}
    if content_type:
        headers["Content-Type"] = content_type
    return Answer(status, headers, body)


def _number(name: str, raw: Decimal | str | int) -> Decimal:
    try:
        number = Decimal(raw)
    except (InvalidOperation, TypeError, ValueError):
        number = Decimal("NaN")
    if not number.is_finite():
        raise ValueError(f"{name} is a number, not {raw!r}")
    return number
