"""Faults between a caller and the exchange, switched on by a test."""

from __future__ import annotations

import fnmatch
import json
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.sandbox import answers
from airflow_provider_whitebit.sandbox.answers import THROTTLED, Answer

if TYPE_CHECKING:
    from airflow_provider_whitebit.sandbox.changes import Fault

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
    "rate_limit_page": "HTTP 429 with an HTML body, as gateways send it; nothing is executed",
    "unavailable": "HTTP 503 with an HTML body; nothing is executed",
    "unavailable_after": "executed; then HTTP 503 with an HTML body",
    "empty_body": "HTTP 502 with an empty body; nothing is executed",
    "cut_reply": "executed; the reply breaks off after `bytes` bytes",
    "garbage": "executed; HTTP 200 with bytes that are not text",
    "html_ok": "executed; HTTP 200 with an HTML body",
    "ok_with_error": "HTTP 200 with an error object in it; nothing is executed",
    "duplicate": "delivered twice; the first answer is returned",
    "duplicate_reply": "delivered twice; the second answer, a refused nonce, is returned",
    "history_lag": "a setting: transactions appear in the histories only `seconds` after they ran",
}
#: Kinds that are useless without a time.
NEED_SECONDS = ("delay_before", "delay_reply", "history_lag")
#: Kinds whose time, if they have one, is in the header ``Retry-After``.
ASK_TO_WAIT = ("rate_limit", "rate_limit_page", "unavailable", "unavailable_after")
_HTML = "text/html"
_SERVER_ERROR = (500, answers.JSON, b'{"message":"Server Error"}')
_MAINTENANCE = (503, _HTML, b"<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>")
#: Replies instead of a call's execution: status, content type, body.
_NOT_EXECUTED: dict[str, tuple[int, str | None, bytes]] = {
    "error_500_before": _SERVER_ERROR,
    "rate_limit": (429, answers.JSON, json.dumps(THROTTLED).encode()),
    "rate_limit_page": (429, _HTML, b"<html><body><h1>429 Too Many Requests</h1></body></html>"),
    "unavailable": _MAINTENANCE,
    "empty_body": (502, None, b""),
    "ok_with_error": (200, answers.JSON, b'{"code":0,"message":"Something went wrong","errors":{}}'),
}
#: Replies instead of the answer to an executed call.
_EXECUTED: dict[str, tuple[int, str | None, bytes]] = {
    "error_500_after": _SERVER_ERROR,
    "unavailable_after": _MAINTENANCE,
    "html_ok": (200, _HTML, b"<html><body>Checking your browser</body></html>"),
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """The reply on the wire: an answer, its beginning, or nothing.

    :param answer: ``None``: the connection ends without a byte.
    :param cut: how many bytes of the body are sent before the connection is closed; ``None``: all.
    :param reset: whether the connection is reset rather than closed.
    """

    answer: Answer | None
    cut: int | None = None
    reset: bool = False


class Faults:
    """The faults that are switched on.

    :param seed: decides their chances.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._noise = random.Random(f"noise:{seed}")
        self._faults: list[Fault] = []
        #: How late the lists of the node are that answers the present request, in milliseconds.
        self.node_lag_ms = 0
        #: How late its balances are.
        self.node_stale_ms = 0

    def add(self, kind: str, **options: Any) -> Fault:
        """Switch a fault on.

        :param kind: one of :data:`KINDS`.
        :param options: ``path``, ``probability``, ``count``, ``seconds`` and ``bytes``, see :class:`~.changes.Fault`.
        :raises ValueError: with the name of the first wrong option.
        """
        from airflow_provider_whitebit.sandbox.changes import Fault, checked

        fault = checked(Fault, {"kind": kind, **options})
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Switch all faults off."""
        self._faults.clear()

    def view(self) -> list[dict[str, object]]:
        """Return the faults that are switched on, as JSON."""
        return [fault.to_json() for fault in self._faults]

    @property
    def history_lag_ms(self) -> int:
        """How late transactions appear in the histories, in milliseconds."""
        lags = (int(fault.seconds * 1000) for fault in self._faults if fault.kind == "history_lag")
        return max([self.node_lag_ms, *lags])

    def take(self, path: str) -> Fault | None:
        """Return the fault for a request to this path, if any, and count it."""
        for fault in self._faults:
            if fault.kind == "history_lag" or not fnmatch.fnmatchcase(path, fault.path):
                continue
            if fault.probability < 1 and Decimal(self._random.random()) >= fault.probability:
                continue
            if fault.count is not None:
                fault.count -= 1
                if fault.count == 0:
                    self._faults.remove(fault)
            return fault
        return None

    def deliver(
        self, path: str, handle: Callable[[], Answer], now_ms: Callable[[], int]
    ) -> Generator[Decimal, None, Delivery]:
        """Carry one request to the exchange and its answer back, with the fault for its path. Without I/O.

        :param handle: lets the exchange answer the request, as if it arrived at that moment.
        :param now_ms: returns the exchange's time, for the ``Date`` of answers that are not its own.
        :returns: a generator that yields how many seconds to wait, and returns the delivery.
        """
        fault = self.take(path)
        if fault is None:
            return Delivery(handle())
        if fault.kind in ("reset", "lost_reply_before"):
            return Delivery(None, reset=fault.kind == "reset")
        if fault.kind in _NOT_EXECUTED:
            return Delivery(_replaced(fault, _NOT_EXECUTED, now_ms()))
        if fault.kind == "delay_before":
            yield fault.seconds
        answer = handle()
        if fault.kind == "delay_reply":
            yield fault.seconds
        return self._reply(fault, answer, handle, now_ms)

    def _reply(self, fault: Fault, answer: Answer, handle: Callable[[], Answer], now_ms: Callable[[], int]) -> Delivery:
        """Return what a fault makes of the answer to an executed call."""
        match fault.kind:
            case "duplicate":
                handle()
            case "duplicate_reply":
                return Delivery(handle())
            case "lost_reply_after":
                return Delivery(None)
            case "cut_reply":
                return Delivery(answer, cut=min(fault.bytes, len(answer.body)))
            case "garbage":
                return Delivery(answers.answer(200, answers.JSON, b"\xff\xfe" + self._noise.randbytes(64), now_ms()))
            case kind if kind in _EXECUTED:
                return Delivery(_replaced(fault, _EXECUTED, now_ms()))
        return Delivery(answer)


def _replaced(fault: Fault, replies: Mapping[str, tuple[int, str | None, bytes]], now_ms: int) -> Answer:
    """Return the reply of a fault that replaces the exchange's."""
    reply = answers.answer(*replies[fault.kind], now_ms)
    if fault.kind in ASK_TO_WAIT and fault.seconds:
        reply.headers["Retry-After"] = f"{fault.seconds:.0f}"
    return reply
