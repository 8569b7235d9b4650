"""Answers of the exchange: successes, and refusals in the vendor's own words."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from decimal import Decimal
from email.utils import formatdate
from functools import lru_cache
from typing import Any

#: HTTP status and JSON body of a call that was executed.
Success = tuple[int, Any]

JSON = "application/json"
#: The answer to a call over the rate limit. Vendor page: Rate limits.
THROTTLED = {"message": "Too Many Attempts.", "code": 0}
#: What the sandbox says during maintenance by default. The vendor's pages give no text.
MAINTENANCE = "The exchange is under maintenance."


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Refusal(Exception):
    """A refused call. Nothing was executed.

    :param status: HTTP status.
    :param body: JSON object with the reason.
    """

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.body = body
        super().__init__(f"{status} {body}")


def refuse(status: int, message: str, *, code: int = 0, **errors: str) -> Refusal:
    """Return a refusal in the shape of the private API."""
    return Refusal(
        status, {"code": code, "message": message, "errors": {name: [text] for name, text in errors.items()}}
    )


def inner(code: int = 0, **errors: str) -> Refusal:
    """Return a refusal by a rule of the exchange (HTTP 422)."""
    return refuse(422, "Inner validation failed", code=code, **errors)


def invalid(errors: dict[str, list[str]]) -> Refusal:
    """Return a refusal because of the request's fields (HTTP 400)."""
    return Refusal(400, {"code": 0, "message": "Validation failed", "errors": errors})


_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode(body: Any) -> bytes:
    """Return a JSON body."""
    return _encode(body).encode()


@lru_cache(maxsize=16)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)


def answer(status: int, content_type: str | None, body: bytes, now_ms: int) -> Answer:
    """Return an answer with the exchange's time in its ``Date`` header."""
    headers = {"Content-Type": content_type} if content_type else {}
    return Answer(status, {**headers, "Date": _http_date(now_ms // 1000)}, body)


def unavailable(notice: str, now_ms: int, *, public: bool) -> Answer:
    """Return what every call except the platform status answers during maintenance: HTTP 503, not JSON.

    :param notice: the text in it.
    :param public: whether the call is a public one: plain text, not HTML.
    """
    if public:
        return answer(503, "text/plain", notice.encode(errors="replace"), now_ms)
    page = f"<html><head><title>503</title></head><body><h1>{html.escape(notice)}</h1></body></html>"
    return answer(503, "text/html", page.encode(errors="replace"), now_ms)


def plain(amount: Decimal) -> str:
    """Return an amount as the vendor writes it: no exponent, no trailing zeros."""
    written = format(amount, "f")
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    return "0" if written in ("-0", "") else written
