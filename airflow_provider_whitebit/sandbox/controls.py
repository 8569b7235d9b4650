"""The sandbox's own controls over HTTP. They are not part of the vendor's API."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from airflow_provider_whitebit.sandbox import changes
from airflow_provider_whitebit.sandbox.exchange import Exchange, UnknownName
from airflow_provider_whitebit.sandbox.quirks import QUIRKS

OK = {"ok": True}


class AsciiResponse(JSONResponse):
    """JSON that can show any string, lone surrogates included."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


def controls(exchange: Exchange) -> FastAPI:
    """Return the application with all controls of an exchange."""
    app = FastAPI(
        title="whitebit-sandbox controls",
        docs_url="/sandbox/docs",
        openapi_url="/sandbox/openapi.json",
        default_response_class=AsciiResponse,
    )
    _handle_errors(app)
    _add_state(app, exchange)
    _add_market(app, exchange)
    _add_faults(app, exchange)
    _add_quirks(app, exchange)
    return app


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def wrong_body(request: Request, error: RequestValidationError) -> AsciiResponse:
        # Without this header, FastAPI does not read the body as JSON: curl -d sends another one.
        unread = isinstance(error.body, bytes)
        fault = "send the header Content-Type: application/json" if unread else changes.first_fault(error.errors())
        return AsciiResponse({"detail": fault}, 400)

    @app.exception_handler(ValueError)
    async def refused(request: Request, error: ValueError) -> AsciiResponse:
        return AsciiResponse({"detail": str(error)}, 404 if isinstance(error, UnknownName) else 400)


def _add_state(app: FastAPI, exchange: Exchange) -> None:
    """What the sandbox holds: time, maintenance, ledger, requests."""

    @app.get("/sandbox/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "time": exchange.clock.now_ms() // 1000}

    @app.get("/sandbox/clock")
    async def clock() -> dict[str, Any]:
        return {"now_ms": exchange.clock.now_ms()}

    @app.post("/sandbox/clock/advance")
    async def advance(body: changes.AdvanceBody) -> dict[str, Any]:
        exchange.advance(body.seconds)
        return await clock()

    @app.get("/sandbox/maintenance")
    async def maintenance() -> dict[str, Any]:
        return {"on": exchange.maintenance is not None, "notice": exchange.maintenance}

    @app.post("/sandbox/maintenance")
    async def change_maintenance(body: changes.MaintenanceBody) -> dict[str, Any]:
        exchange.maintenance = body.notice if body.on else None
        return await maintenance()

    @app.get("/sandbox/ledger")
    async def ledger() -> dict[str, Any]:
        return exchange.ledger_view()

    @app.get("/sandbox/requests")
    async def requests() -> list[dict[str, Any]]:
        return exchange.requests_view()

    @app.post("/sandbox/reset")
    async def reset() -> dict[str, Any]:
        exchange.reset()
        return OK


def _add_market(app: FastAPI, exchange: Exchange) -> None:
    """What the exchange offers: money, plans, assets, keys."""

    @app.post("/sandbox/fund")
    async def fund(body: changes.FundBody) -> dict[str, Any]:
        exchange.fund(**body.model_dump())
        return OK

    @app.post("/sandbox/withdraw")
    async def withdraw(body: changes.WithdrawBody) -> dict[str, Any]:
        exchange.withdraw(**body.model_dump())
        return OK

    @app.post("/sandbox/sub-accounts/{identifier}")
    async def change_sub_account(identifier: str, body: changes.SubAccountChanges) -> dict[str, Any]:
        exchange.change("sub-account", identifier, **body.model_dump())
        return OK

    @app.post("/sandbox/plans/{identifier}")
    async def change_plan(identifier: str, body: changes.PlanChanges) -> dict[str, Any]:
        exchange.change("plan", identifier, **body.model_dump())
        return OK

    @app.post("/sandbox/fixed-plans/{identifier}")
    async def change_fixed_plan(identifier: str, body: changes.FixedPlanChanges) -> dict[str, Any]:
        exchange.change("fixed plan", identifier, **body.model_dump())
        return OK

    @app.post("/sandbox/assets/{ticker}")
    async def change_asset(ticker: str, body: changes.AssetChanges) -> dict[str, Any]:
        exchange.change("asset", ticker, **body.model_dump())
        return OK

    @app.post("/sandbox/markets/{name}")
    async def change_market(name: str, body: changes.MarketChanges) -> dict[str, Any]:
        exchange.change_market(name, **body.model_dump())
        return OK

    @app.post("/sandbox/keys")
    async def add_key(body: changes.KeyBody) -> dict[str, Any]:
        exchange.keys.add_like(body.api_key, body.api_secret, body.like)
        return OK

    @app.delete("/sandbox/keys/{api_key}")
    async def revoke_key(api_key: str) -> dict[str, Any]:
        exchange.keys.revoke(api_key)
        return OK


def _add_faults(app: FastAPI, exchange: Exchange) -> None:
    @app.post("/sandbox/faults")
    async def add_fault(body: changes.Fault) -> dict[str, Any]:
        return exchange.faults.add(**body.model_dump()).to_json()

    @app.get("/sandbox/faults")
    async def faults() -> list[dict[str, Any]]:
        return exchange.faults.view()

    @app.delete("/sandbox/faults")
    async def clear_faults() -> dict[str, Any]:
        exchange.faults.clear()
        return OK


def _add_quirks(app: FastAPI, exchange: Exchange) -> None:
    @app.get("/sandbox/quirks")
    async def quirks() -> dict[str, bool]:
        return {name: name in exchange.quirks.names for name in QUIRKS}

    @app.post("/sandbox/quirks")
    async def switch_quirks(body: dict[str, bool]) -> dict[str, bool]:
        exchange.switch_quirks(body)
        return await quirks()
