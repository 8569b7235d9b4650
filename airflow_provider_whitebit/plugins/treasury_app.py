"""The Treasury page and its data: a FastAPI application that Airflow's API server mounts.

The routes of this module only read. Those that change something are in ``treasury_stop.py`` and
``treasury_doubts.py``.

Every route requires a user who is logged in to Airflow. Data of a connection or a DAG requires permission to read it;
Airflow's own auth manager decides. Routes are plain functions: FastAPI runs them in threads, so requests to the
exchange do not block the API server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from airflow_provider_whitebit.control.connections import known_connections
from airflow_provider_whitebit.control.journals import keeps_states_elsewhere, release
from airflow_provider_whitebit.control.moves import last_moves
from airflow_provider_whitebit.control.search import Reader
from airflow_provider_whitebit.hooks.assets import LONGEST_CONN_ID, encode_conn_id
from airflow_provider_whitebit.plugins import treasury_doubts, treasury_stop
from airflow_provider_whitebit.plugins.treasury_cache import SingleFlightCache
from airflow_provider_whitebit.plugins.treasury_data import Account, load_account
from airflow_provider_whitebit.plugins.treasury_load import Places, pace
from airflow_provider_whitebit.plugins.treasury_permissions import Permissions
from airflow_provider_whitebit.plugins.treasury_records import doubts

DEFAULT_CONNECTION = "whitebit_default"

_STATIC = Path(__file__).resolve().parent.parent / "static"
_PAGE = _STATIC / "treasury" / "treasury.html"
#: Every file that is served, with its type. There are no other addresses.
_FILES = {
    "treasury/treasury.css": "text/css",
    "treasury/doubts.js": "text/javascript",
    "treasury/treasury.js": "text/javascript",
    "treasury/icon.svg": "image/svg+xml",
    "uplot/uPlot.min.css": "text/css",
    "uplot/uPlot.iife.min.js": "text/javascript",
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: Amounts and moves are for this user only: no cache may keep them.
_NO_STORE = {"Cache-Control": "no-store"}

#: Most requests that are answered at the same time. The others wait, without a thread or a database connection. At most
#: four of these load accounts, which can take seconds (:class:`.SingleFlightCache`).
MOST_REQUESTS = 8

#: Accounts by connection, shared by all users. Every request checks the user's permission first.
accounts: SingleFlightCache[Account] = SingleFlightCache()
router = APIRouter(dependencies=[Depends(get_user)])


def create_app() -> FastAPI:
    """Create the application, without FastAPI's own pages: those would require no login."""
    app = FastAPI(title="WhiteBIT Treasury", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    app.include_router(treasury_stop.router)
    app.include_router(treasury_doubts.router)
    app.add_exception_handler(HTTPException, _refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Places, most=MOST_REQUESTS, headers=_HEADERS)
    return app


@router.get("/treasury")
def page() -> FileResponse:
    """Return the page. It contains no data."""
    return FileResponse(_PAGE, media_type="text/html", headers={"Cache-Control": "private, no-cache"})


@router.get("/static/{folder}/{name}")
def static(folder: str, name: str) -> FileResponse:
    """Return one of the page's own files."""
    media_type = _FILES.get(f"{folder}/{name}")
    if media_type is None:
        raise HTTPException(404, "There is no such file.")
    return FileResponse(_STATIC / folder / name, media_type=media_type, headers={"Cache-Control": "private, no-cache"})


@router.get("/api/connections")
def connections(response: Response, session: SessionDep, user: GetUserDep) -> dict[str, Any]:
    """Return the connections of this type that the user may read.

    Airflow cannot list connections of secrets backends and environment variables. Those that have moved money have an
    asset.
    """
    response.headers.update(_NO_STORE)
    with pace.turn():
        known = Permissions(user, session).connections(known_connections(session))
        return {"default": DEFAULT_CONNECTION, "connections": sorted(known)}


@router.get("/api/treasury")
def treasury(
    response: Response,
    session: SessionDep,
    user: GetUserDep,
    conn_id: Annotated[str, Query(min_length=1, max_length=LONGEST_CONN_ID)] = DEFAULT_CONNECTION,
) -> dict[str, Any]:
    """Return everything that the page shows of one connection.

    :param conn_id: the Airflow connection.
    """
    response.headers.update(_NO_STORE)
    try:
        encode_conn_id(conn_id)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    permissions = Permissions(user, session)
    with pace.turn():
        readable, team_name = permissions.connections({conn_id}), permissions.team_of(conn_id)
    if not readable:
        raise HTTPException(403, f"You are not allowed to read the connection {conn_id!r}.")
    # The exchange comes first, so that no database transaction is open meanwhile.
    account = accounts.get(conn_id, lambda: load_account(conn_id, team_name=team_name))
    with pace.turn():
        known = _records(session, permissions, conn_id, None if account is None else account.fingerprint)
        switch = treasury_stop.state(session, permissions)
        release(session)
    shown = None if account is None else account.shown
    return {"conn_id": conn_id, "exchange": shown, "airflow": known, "switch": switch}


def _records(session: Any, permissions: Permissions, conn_id: str, account: str | None) -> dict[str, Any]:
    """What Airflow itself knows and the user may read; ``None`` instead of moves if the user may read no assets."""
    dag_ids = permissions.dag_ids()
    moves = last_moves(session, conn_id, dag_ids) if permissions.assets() else None
    reader = Reader(permissions.tasks(dag_ids), permissions.variables)
    return {
        "doubts": doubts(session, reader, account=account),
        "moves": moves,
        "states_elsewhere": keeps_states_elsewhere(),
    }


async def _refusal(request: Request, error: Exception) -> Response:
    """Answer a refused request: JSON for scripts, a sentence for a person who opens the page."""
    assert isinstance(error, HTTPException)
    if error.status_code == 401 and "text/html" in request.headers.get("accept", ""):
        return PlainTextResponse("Log in to Airflow, then reload this page.", 401, headers=error.headers)
    return await http_exception_handler(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    """Answer a request that is not as a route expects it. What it contained is not repeated."""
    return JSONResponse({"detail": "The request is not valid. Nothing was changed."}, 422)
