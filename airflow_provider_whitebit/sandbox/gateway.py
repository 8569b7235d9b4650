"""Answers of a gateway between the caller and the exchange. They prove nothing about the request."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle

from airflow_provider_whitebit.sandbox import answers
from airflow_provider_whitebit.sandbox.answers import Answer

_HTML = "text/html"


@dataclass(frozen=True, slots=True)
class GatewayAnswer:
    """One answer.

    :param executed: whether the exchange executes the request, and only its answer is lost.
    """

    status: int
    content_type: str
    body: bytes
    executed: bool

    def answer(self, now_ms: int) -> Answer:
        """Return the HTTP answer."""
        return answers.answer(self.status, self.content_type, self.body, now_ms)


_ANSWERS = (
    (403, answers.JSON, b'{"message":"Forbidden"}'),
    (403, _HTML, b"<html><head><title>403 Forbidden</title></head><body><h1>Access denied</h1></body></html>"),
    (413, answers.JSON, b'{"message":"Request Entity Too Large"}'),
    (502, answers.JSON, b'{"message":"Bad Gateway"}'),
    (502, _HTML, b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"),
)


class Gateway:
    """Decides which requests it answers: every other one, in turn after the exchange executed it and before."""

    def __init__(self) -> None:
        executed = cycle((True, False))
        kinds = cycle(_ANSWERS)
        passes = cycle((False, True))
        self._turns = (None if passing else GatewayAnswer(*next(kinds), next(executed)) for passing in passes)

    def take(self) -> GatewayAnswer | None:
        """Return the gateway's answer to the next request; ``None`` if it passes the request and its answer on."""
        return next(self._turns)
