"""The Treasury page and its data: a FastAPI application that Airflow's API server mounts.

The routes of this module only read. Those that change something are in ``treasury_stop.py`` and
``treasury_doubts.py``.

Every route requires a user who is logged in to Airflow. Data of a connection or a DAG requires permission to read it;
Airflow's own auth manager decides. Routes are plain functions: FastAPI runs them in threads, so requests to the
exchange do not block the API server.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from pydantic import StringConstraints

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.control.connections import known_connections
from airflow_provider_whitebit.control.journals import release
from airflow_provider_whitebit.control.moves import last_moves
from airflow_provider_whitebit.control.search import Reader
from airflow_provider_whitebit.hooks.assets import LONGEST_CONN_ID, encode_conn_id
from airflow_provider_whitebit.moves.stop import STOP_VARIABLE
from airflow_provider_whitebit.plugins import treasury_doubts, treasury_stop
from airflow_provider_whitebit.plugins.treasury_cache import SingleFlightCache
from airflow_provider_whitebit.plugins.treasury_data import BUDGET, Account, failed, load_account
from airflow_provider_whitebit.plugins.treasury_load import Places, pace
from airflow_provider_whitebit.plugins.treasury_permissions import Permissions
from airflow_provider_whitebit.plugins.treasury_records import doubts
from airflow_provider_whitebit.plugins.treasury_sums import sums_of
from airflow_provider_whitebit.plugins.treasury_values import Prices, load_prices, values_of
from airflow_provider_whitebit.treasury.valuation import read_value_in

DEFAULT_CONNECTION = "whitebit_default"

_STATIC = Path(__file__).resolve().parent.parent / "static"
_PAGE = _STATIC / "treasury" / "treasury.html"
#: Every file that is served, with its type. There are no other addresses.
_FILES = {
    "treasury/treasury.css": "text/css",
    "treasury/doubts.js": "text/javascript",
    "treasury/forecast.js": "text/javascript",
    "treasury/values.js": "text/javascript",
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
#: Airflow's words for a login that is over, with the status of a missing permission.
_INVALID_TOKEN = "Invalid JWT token"

#: Most requests that are answered at the same time. The others wait, without a thread or a database connection. At most
#: four of these load accounts, which can take seconds (:class:`.SingleFlightCache`).
MOST_REQUESTS = 8

#: Most accounts in one request, and most that are loaded at the same time.
MOST_ACCOUNTS, CONCURRENT = 20, 4

_ConnId = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_CONN_ID)]

#: Accounts by connection, shared by all users. Every request checks the user's permission first.
accounts: SingleFlightCache[Account] = SingleFlightCache(concurrent=CONCURRENT)
#: Last prices by host. They are public.
last_prices: SingleFlightCache[Prices] = SingleFlightCache()
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
    conn_id: Annotated[list[_ConnId], Query(min_length=1, max_length=MOST_ACCOUNTS)] = [DEFAULT_CONNECTION],  # noqa: B006
    value_in: Annotated[str, Query(max_length=50)] = "",
) -> dict[str, Any]:
    """Return everything that the page shows of some connections.

    A user who may read none of the connections, but edit task instances or the stop, sees the stop and the doubts of
    these tasks.

    :param conn_id: the Airflow connections. One that the user may not read is shown as an error beside the others.
    :param value_in: also return what the amounts are worth in this currency.
    """
    response.headers.update(_NO_STORE)
    wanted = list(dict.fromkeys(conn_id))
    try:
        for one in wanted:
            encode_conn_id(one)
        currency = read_value_in(value_in) if value_in else None
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    except WhiteBitValidationError as error:
        raise HTTPException(422, error.message) from None
    permissions = Permissions(user, session)
    with pace.turn():
        readable = permissions.connections(wanted)
        teams = permissions.teams_of(readable)
        if not readable and not _is_concerned(permissions):
            raise HTTPException(403, _not_allowed(wanted))
    # The exchange comes first, so that no database transaction is open meanwhile.
    found = load_accounts([one for one in wanted if one in readable], teams)
    found |= {one: Account(None, failed({"message": _not_allowed([one])})) for one in wanted if one not in readable}
    prices = {} if currency is None else load_all_prices(found, teams)
    keys = {one.fingerprint for one in found.values() if one is not None and one.fingerprint is not None}
    with pace.turn():
        known = _records(session, permissions, sorted(readable), keys)
        switch = treasury_stop.state(session, permissions)
        release(session)
    in_order = {one: found[one] for one in wanted}
    sums = sums_of(in_order) if len(in_order) > 1 else None
    return {
        "accounts": [
            {"conn_id": one, "exchange": None if account is None else account.shown}
            for one, account in in_order.items()
        ],
        "sums": sums,
        "values": None if currency is None else values_of(in_order, sums, prices, currency),
        "airflow": known,
        "switch": switch,
    }


def load_accounts(conn_ids: Sequence[str], teams: Mapping[str, str | None]) -> dict[str, Account | None]:
    """Load accounts side by side, in about the time that the slowest of them takes.

    :param conn_ids: their connections.
    :param teams: the teams that own them.
    :returns: ``None`` for each account that is not loaded yet. It is loaded the next time that the page asks.
    """
    until = time.monotonic() + BUDGET

    def load(conn_id: str) -> Account | None:
        if time.monotonic() > until:
            return accounts.kept(conn_id)
        return accounts.get(conn_id, lambda: load_account(conn_id, team_name=teams[conn_id]))

    if len(conn_ids) <= 1:
        return {conn_id: load(conn_id) for conn_id in conn_ids}
    with ThreadPoolExecutor(min(CONCURRENT, len(conn_ids)), thread_name_prefix="treasury") as loaders:
        return dict(zip(conn_ids, loaders.map(load, conn_ids), strict=True))


def load_all_prices(found: Mapping[str, Account | None], teams: Mapping[str, str | None]) -> dict[str, Prices]:
    """Load the last prices of each exchange, with the first connection that leads there.

    :param found: the accounts.
    :param teams: the teams that own their connections.
    :returns: by host; those that are not loaded yet are missing.
    """
    hosts: dict[str, str] = {}
    for conn_id, one in found.items():
        if one is not None and "host" in one.shown:
            hosts.setdefault(one.shown["host"], conn_id)
    known = {
        host: last_prices.get(host, partial(load_prices, conn_id, team_name=teams[conn_id]))
        for host, conn_id in hosts.items()
    }
    return {host: prices for host, prices in known.items() if prices is not None}


def _not_allowed(conn_ids: Sequence[str]) -> str:
    names = ", ".join(map(repr, conn_ids))
    return f"You are not allowed to read the connection{'s' if len(conn_ids) > 1 else ''} {names}."


def _is_concerned(permissions: Permissions) -> bool:
    """Whether the user may edit a task instance, or the stop of all moves."""
    if permissions.may_edit_variable(STOP_VARIABLE):
        return True
    return bool(permissions.editable_tasks(permissions.tasks(permissions.dag_ids())))


def _records(session: Any, permissions: Permissions, conn_ids: Sequence[str], keys: Collection[str]) -> dict[str, Any]:
    """What Airflow itself knows and the user may read.

    :param conn_ids: those that the user may read. Without one, there are only doubts of tasks that the user may edit.
    :returns: ``None`` instead of moves if the user may read no assets, or none of the connections.
    """
    dag_ids = permissions.dag_ids()
    tasks = permissions.tasks(dag_ids)
    if not conn_ids:
        tasks = permissions.editable_tasks(tasks)
    moves = last_moves(session, conn_ids, dag_ids) if conn_ids and permissions.assets() else None
    reader = Reader(tasks, permissions.variables, permissions.editable_tasks)
    return {
        "doubts": doubts(session, reader, accounts=keys),
        "moves": moves,
    }


async def _refusal(request: Request, error: Exception) -> Response:
    """Answer a refused request: JSON for scripts, a sentence for a person who opens the page."""
    assert isinstance(error, HTTPException)
    if error.detail == _INVALID_TOKEN:
        # So Airflow answers after a logout, or after a restart with another secret: the user has to log in.
        error = HTTPException(401, "Not authenticated")
    if error.status_code == 401 and "text/html" in request.headers.get("accept", ""):
        return PlainTextResponse("Log in to Airflow, then reload this page.", 401, headers=error.headers)
    return await http_exception_handler(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    """Answer a request that is not as a route expects it. What it contained is not repeated."""
    return JSONResponse({"detail": "The request is not valid. Nothing was changed."}, 422)
