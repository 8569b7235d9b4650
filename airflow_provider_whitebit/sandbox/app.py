"""The sandbox over HTTP: the exchange under ``/api``, its controls under ``/sandbox``.

The exchange's side is a bare ASGI application because faults work below HTTP: they close and reset connections and cut
answers short, which a web framework does not offer. The controls are FastAPI.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_whitebit.sandbox import answers
from airflow_provider_whitebit.sandbox.answers import Answer
from airflow_provider_whitebit.sandbox.controls import controls
from airflow_provider_whitebit.sandbox.exchange import Exchange
from airflow_provider_whitebit.sandbox.faults import Delivery
from airflow_provider_whitebit.sandbox.limits import LARGEST_BODY

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_FOREIGN = b'{"detail":"the controls refuse requests from other web pages: foreign Origin"}'
_UNKNOWN_HOST = (
    b'{"detail":"the controls refuse this Host: reach them by an IP address, localhost, a name without dots, or one '
    b'that ends in .internal, .local, .localhost or .test"}'
)
_TOO_LARGE = b'{"detail":"the body is too large"}'
#: Names that no stranger can register, for example those of containers. Any other may be a web page's own, whose owner
#: lets it resolve to this machine.
_PRIVATE_NAMES = (".internal", ".local", ".localhost", ".test")


class Sandbox:
    """The ASGI application.

    :param exchange: the rules behind it. Only a :class:`~.clock.SandboxClock` can be set forward.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.controls = controls(exchange)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/sandbox"):
            with contextlib.suppress(_Gone):
                await self._trade(scope, receive, send)
        elif scope["type"] == "http":
            with contextlib.suppress(_Gone):
                await self._control(scope, receive, send)
        else:
            await self.controls(scope, receive, send)

    async def _control(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        body = await _whole_body(receive)
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> MutableMapping[str, Any]:
            return parts.pop() if parts else await receive()

        if _is_foreign(scope["method"], headers):
            await self._refuse(send, 403, _FOREIGN)
        elif not _is_private(headers.get("host", "")):
            await self._refuse(send, 403, _UNKNOWN_HOST)
        elif len(body) > LARGEST_BODY:
            await self._refuse(send, 413, _TOO_LARGE)
        else:
            await self.controls(scope, again, send)

    async def _refuse(self, send: Send, status: int, body: bytes) -> None:
        await _reply(send, answers.answer(status, answers.JSON, body, self.exchange.clock.now_ms()))

    async def _trade(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _whole_body(receive)
        now_ms = self.exchange.clock.now_ms
        delivering = self.exchange.faults.deliver(scope["path"], lambda: self._handle(scope, body), now_ms)
        while True:
            try:
                await asyncio.sleep(float(next(delivering)))
            except StopIteration as end:
                delivery: Delivery = end.value
                break
        if delivery.answer is not None:
            await _reply(send, delivery.answer, length=delivery.cut)
        if delivery.answer is None or delivery.cut is not None:
            await _end_connection(send, reset=delivery.reset)

    def _handle(self, scope: Scope, body: bytes) -> Answer:
        client = scope["client"][0] if scope.get("client") else "unknown"
        return self.exchange.handle(scope["method"], scope["path"], _headers(scope), body, client_ip=client)


class _Gone(Exception):
    """The connection was closed: no answer can be sent."""


async def _end_connection(send: Send, *, reset: bool) -> None:
    """Close or reset the connection of a request.

    :raises _Gone: always.
    """
    # uvicorn's send is a method of the request's cycle, which has the transport.
    transport: asyncio.Transport = send.__self__.transport  # type: ignore[attr-defined]
    if reset:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
    # The loop closes the connection on its next turn. Before that, the server would report a missing answer.
    for _ in range(3):
        await asyncio.sleep(0)
    raise _Gone


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope.get("headers", ())}


def _is_private(host: str) -> bool:
    """Return whether ``Host`` is an address or a name that no web page of a stranger can have."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        if "." not in name and ":" not in name:
            return True
        return name.endswith(_PRIVATE_NAMES) or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _is_foreign(method: str, headers: dict[str, str]) -> bool:
    """Return whether a browser sends a request for a page that is not the sandbox's own.

    A page is the sandbox's own if its origin is the address in ``Host``, and that is an IP address or ``localhost``: a
    foreign domain may resolve to this machine.
    """
    if method not in ("GET", "HEAD") and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        page = urlsplit(origin)
        if page.hostname != "localhost":
            ipaddress.ip_address(page.hostname or "")
    except ValueError:
        return True
    return page.netloc != headers.get("host")


async def _whole_body(receive: Receive) -> bytes:
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        # A body that is too large is read to its end, because the refusal would be lost with the connection.
        if len(parts) <= LARGEST_BODY:
            parts += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(parts)


async def _reply(send: Send, answer: Answer, length: int | None = None) -> None:
    """Send an answer, or only its first bytes with the full length in the header."""
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body[:length], "more_body": length is not None})
