"""The sandbox over HTTP: the exchange under ``/api``, its controls under ``/sandbox``.

The exchange's side is a bare ASGI application, because faults reach below HTTP: they close and reset connections
and cut answers short, which a web framework rightly does not offer. The controls are FastAPI.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from decimal import Decimal
from typing import Any, Literal

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from airflow_provider_whitebit.sandbox.answers import Answer
from airflow_provider_whitebit.sandbox.exchange import Exchange
from airflow_provider_whitebit.sandbox.faults import Delivery

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_LARGEST_BODY = 2 * 1024 * 1024


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FundBody(_Body):
    """``POST /sandbox/fund``."""

    ticker: str
    amount: str | int
    api_key: str | None = None
    account: str = "main"


class AdvanceBody(_Body):
    """``POST /sandbox/clock/advance``."""

    seconds: Decimal = Field(ge=0, le=Decimal(10) ** 10)


class FaultBody(_Body):
    """``POST /sandbox/faults``."""

    kind: str
    path: str = "*"
    probability: Decimal = Decimal(1)
    count: int | None = None
    seconds: Decimal = Decimal(0)
    bytes: int = 0


class PlanBody(_Body):
    """``POST /sandbox/plans/{id}``."""

    status: Literal["open", "paused", "unavailable"] | None = None
    rate: Decimal | None = Field(default=None, ge=0, validation_alias=AliasChoices("max_rate", "rate"))
    minimum: Decimal | None = Field(default=None, ge=0)
    maximum: Decimal | None = Field(default=None, ge=0)
    cap: Decimal | None = Field(default=None, ge=0)


class FixedPlanBody(_Body):
    """``POST /sandbox/fixed-plans/{id}``."""

    status: Literal[1, 2, 3, 4] | None = None
    percent: Decimal | None = Field(default=None, ge=0)
    minimum: Decimal | None = Field(default=None, ge=0)
    maximum: Decimal | None = Field(default=None, ge=0)
    coins: Decimal | None = Field(default=None, ge=0)
    interest_fund: Decimal | None = Field(default=None, ge=0)


class AssetBody(_Body):
    """``POST /sandbox/assets/{ticker}``."""

    deposits: bool | None = None
    withdrawals: bool | None = None


class KeyBody(_Body):
    """``POST /sandbox/keys``."""

    api_key: str = Field(min_length=1)
    api_secret: str = Field(min_length=1)
    like: str | None = None


class Sandbox:
    """The ASGI application.

    :param exchange: the rules behind it; its clock must be a :class:`~.clock.SandboxClock` to be put forward.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.controls = controls(exchange)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/sandbox"):
            with contextlib.suppress(_Gone):
                await self._trade(scope, receive, send)
        else:
            await self.controls(scope, receive, send)

    async def _trade(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _whole_body(receive)
        path = scope["path"]
        faults = self.exchange.faults
        delivering = faults.deliver(faults.take(path), lambda: self._handle(scope, body), self.exchange.clock.now_ms)
        while True:
            try:
                await asyncio.sleep(float(next(delivering)))
            except StopIteration as end:
                delivery: Delivery = end.value
                break
        if delivery.answer is None:
            wire = _Wire(send)
            await (wire.reset() if delivery.reset else wire.close())
        elif delivery.cut is None:
            await _reply(send, delivery.answer)
        else:
            await _reply(send, delivery.answer, length=delivery.cut)
            await _Wire(send).close()

    def _handle(self, scope: Scope, body: bytes) -> Answer:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        client = scope["client"][0] if scope.get("client") else "unknown"
        return self.exchange.handle(scope["method"], scope["path"], headers, body, client_ip=client)


class _Gone(Exception):
    """The connection was closed on purpose: there is nothing left to answer."""


class _Wire:
    """The connection below a request."""

    def __init__(self, send: Send) -> None:
        # uvicorn's send is a method of the request's cycle, which knows the transport.
        self._transport: asyncio.Transport = send.__self__.transport  # type: ignore[attr-defined]

    async def close(self) -> None:
        """Close without another byte. :raises _Gone: always."""
        self._transport.close()
        await self._gone()

    async def reset(self) -> None:
        """Reset the connection. :raises _Gone: always."""
        connection: socket.socket = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        await self._gone()

    async def _gone(self) -> None:
        # The loop closes the connection on its next turn; until then the server would miss an answer.
        for _ in range(3):
            await asyncio.sleep(0)
        raise _Gone


async def _whole_body(receive: Receive) -> bytes:
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        # What is too large is read to its end, or the refusal would be lost with the connection, but not kept.
        if len(parts) <= _LARGEST_BODY:
            parts += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(parts)


async def _reply(send: Send, answer: Answer, length: int | None = None) -> None:
    """Send an answer, or only its first bytes under its full length."""
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    body = answer.body if length is None else answer.body[:length]
    await send({"type": "http.response.body", "body": body, "more_body": length is not None})


def controls(exchange: Exchange) -> FastAPI:
    """The sandbox's own controls. They are no part of the vendor's API."""
    app = FastAPI(title="whitebit-sandbox controls", docs_url="/sandbox/docs", openapi_url="/sandbox/openapi.json")

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part != "body")
        return JSONResponse({"detail": f"{field}: {first['msg']}" if field else first["msg"]}, 400)

    @app.get("/sandbox/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "time": exchange.clock.now_ms() // 1000}

    @app.post("/sandbox/fund")
    async def fund(body: FundBody) -> dict[str, Any]:
        with _said():
            exchange.fund(body.ticker, body.amount, api_key=body.api_key, account=body.account)
        return {"ok": True}

    @app.get("/sandbox/clock")
    async def clock() -> dict[str, Any]:
        return {"now_ms": exchange.clock.now_ms()}

    @app.post("/sandbox/clock/advance")
    async def advance(body: AdvanceBody) -> dict[str, Any]:
        with _said():
            exchange.advance(body.seconds)
        return {"now_ms": exchange.clock.now_ms()}

    @app.post("/sandbox/faults")
    async def add_fault(body: FaultBody) -> dict[str, Any]:
        with _said():
            fault = exchange.faults.add(**body.model_dump())
        return fault.to_json()

    @app.get("/sandbox/faults")
    async def faults() -> list[dict[str, Any]]:
        return exchange.faults.view()

    @app.delete("/sandbox/faults")
    async def clear_faults() -> dict[str, Any]:
        exchange.faults.clear()
        return {"ok": True}

    @app.post("/sandbox/plans/{identifier}")
    async def change_plan(identifier: str, body: PlanBody) -> dict[str, Any]:
        if identifier not in exchange.flex.plans:
            raise HTTPException(404, f"there is no plan {identifier!r}")
        with _said():
            exchange.change_plan(identifier, **body.model_dump(exclude_none=True))
        return {"ok": True}

    @app.post("/sandbox/fixed-plans/{identifier}")
    async def change_fixed_plan(identifier: str, body: FixedPlanBody) -> dict[str, Any]:
        if identifier not in exchange.fixed.plans:
            raise HTTPException(404, f"there is no fixed plan {identifier!r}")
        with _said():
            exchange.change_fixed_plan(identifier, **body.model_dump(exclude_none=True))
        return {"ok": True}

    @app.post("/sandbox/assets/{ticker}")
    async def change_asset(ticker: str, body: AssetBody) -> dict[str, Any]:
        if ticker not in exchange.balances.assets:
            raise HTTPException(404, f"there is no asset {ticker!r}")
        with _said():
            exchange.change_asset(ticker, **body.model_dump())
        return {"ok": True}

    @app.post("/sandbox/keys")
    async def add_key(body: KeyBody) -> dict[str, Any]:
        with _said():
            exchange.add_key_like(body.api_key, body.api_secret, body.like)
        return {"ok": True}

    @app.delete("/sandbox/keys/{api_key}")
    async def revoke_key(api_key: str) -> dict[str, Any]:
        with _said():
            exchange.revoke_key(api_key)
        return {"ok": True}

    @app.get("/sandbox/ledger")
    async def ledger() -> dict[str, Any]:
        return exchange.ledger_view()

    @app.get("/sandbox/requests")
    async def requests() -> list[dict[str, Any]]:
        return exchange.requests_view()

    @app.post("/sandbox/reset")
    async def reset() -> dict[str, Any]:
        exchange.reset()
        return {"ok": True}

    return app


@contextlib.contextmanager
def _said() -> Any:
    try:
        yield
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
