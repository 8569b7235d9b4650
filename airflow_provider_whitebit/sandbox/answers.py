"""What the exchange answers: successes, and refusals in the vendor's own words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Refusal(Exception):
    """A call that is refused: nothing has been executed.

    :param status: HTTP status.
    :param body: the JSON object that says why.
    """

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.body = body
        super().__init__(f"{status} {body}")


def refuse(status: int, message: str, *, code: int = 0, **errors: str) -> Refusal:
    """A refusal in the shape of the private API."""
    return Refusal(
        status, {"code": code, "message": message, "errors": {name: [text] for name, text in errors.items()}}
    )


def inner(code: int = 0, **errors: str) -> Refusal:
    """A refusal by a rule of the exchange (HTTP 422)."""
    return refuse(422, "Inner validation failed", code=code, **errors)


@dataclass(slots=True)
class Validation:
    """Collects what is wrong with a request's fields; the vendor reports all of them together (HTTP 400)."""

    errors: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, text: str) -> None:
        self.errors.setdefault(name, []).append(text)

    def done(self) -> None:
        """:raises Refusal: if anything was wrong."""
        if self.errors:
            raise Refusal(400, {"code": 0, "message": "Validation failed", "errors": self.errors})


_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode(body: Any) -> bytes:
    """A JSON body."""
    return _encode(body).encode()
