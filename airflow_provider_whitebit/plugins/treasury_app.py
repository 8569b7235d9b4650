"""The Treasury page and what it asks: a FastAPI application that Airflow's API server mounts. It only ever reads.

Every route wants a user who is logged in to Airflow, what belongs to a connection one who may read that connection, and
what belongs to a DAG one who may read that DAG: Airflow's own auth manager decides. Routes are plain functions, which
FastAPI runs in threads, so that the API server goes on while the exchange is asked.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import (
    ConnectionDetails,
    DagAccessEntity,
    DagDetails,
    VariableDetails,
)
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from airflow.models.asset import AssetModel
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.models.variable import Variable
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import FileResponse, PlainTextResponse, Response
from sqlalchemy import select

from airflow_provider_whitebit.hooks.assets import SCHEME
from airflow_provider_whitebit.hooks.connection_form import CONNECTION_TYPE
from airflow_provider_whitebit.plugins.treasury_cache import Glances
from airflow_provider_whitebit.plugins.treasury_data import WINDOWS, Account, look
from airflow_provider_whitebit.plugins.treasury_records import doubts, keeps_states_elsewhere, last_moves

DEFAULT_CONNECTION = "whitebit_default"

_STATIC = Path(__file__).resolve().parent.parent / "static"
_PAGE = _STATIC / "treasury" / "treasury.html"
#: Everything that is served, by address; nothing else can be asked for.
_FILES = {
    "treasury/treasury.css": "text/css",
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
#: Amounts and moves are nobody's but the viewer's: no cache on the way keeps them.
_NO_STORE = {"Cache-Control": "no-store"}

#: What the exchange showed lately, by connection. Asked only after the viewer's permission was.
glances: Glances[Account] = Glances()
router = APIRouter(dependencies=[Depends(get_user)])


def create_app() -> FastAPI:
    """The application, without the pages that FastAPI adds by itself: those would want no login."""
    app = FastAPI(title="WhiteBIT Treasury", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    app.add_exception_handler(HTTPException, _refused)

    @app.middleware("http")
    async def protect(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    return app


@router.get("/treasury")
def page() -> FileResponse:
    """The page. It holds no data."""
    return FileResponse(_PAGE, media_type="text/html", headers={"Cache-Control": "private, no-cache"})


@router.get("/static/{folder}/{name}")
def static(folder: str, name: str) -> FileResponse:
    """The page's own files."""
    media_type = _FILES.get(f"{folder}/{name}")
    if media_type is None:
        raise HTTPException(404, "There is no such file.")
    return FileResponse(_STATIC / folder / name, media_type=media_type, headers={"Cache-Control": "private, no-cache"})


@router.get("/api/connections")
def connections(response: Response, session: SessionDep, user: GetUserDep) -> dict[str, Any]:
    """The connections of this type that the user may read.

    Those of secrets backends and environment variables cannot be listed, but whatever has moved money has an asset.
    """
    response.headers.update(_NO_STORE)
    kept = session.scalars(select(Connection.conn_id).where(Connection.conn_type == CONNECTION_TYPE))
    moves = session.scalars(select(AssetModel.uri).where(AssetModel.uri.like(f"{SCHEME}://%/moves")))
    known = {*kept, *(urlsplit(uri).netloc for uri in moves)}
    return {
        "default": DEFAULT_CONNECTION,
        "connections": sorted(conn_id for conn_id in known if _may_read_connection(conn_id, user)),
    }


@router.get("/api/treasury")
def treasury(
    response: Response,
    session: SessionDep,
    user: GetUserDep,
    conn_id: Annotated[str, Query(min_length=1, max_length=250)] = DEFAULT_CONNECTION,
) -> dict[str, Any]:
    """Everything that the page shows of one connection.

    :param conn_id: the Airflow connection.
    """
    response.headers.update(_NO_STORE)
    if not _may_read_connection(conn_id, user):
        raise HTTPException(403, f"You may not read the connection {conn_id!r}.")
    # The exchange first: no session to the database is open while it is asked.
    account = glances.get(conn_id, lambda: look(conn_id))
    return {
        "conn_id": conn_id,
        "windows": WINDOWS,
        "exchange": None if account is None else account.shown,
        "airflow": _records(session, user, conn_id, None if account is None else account.fingerprint),
    }


def _records(session: Any, user: Any, conn_id: str, account: str | None) -> dict[str, Any]:
    """What Airflow itself knows, as far as the user may read it; ``None`` where that is nothing."""
    manager = get_auth_manager()
    dag_ids = manager.get_authorized_dag_ids(user=user, method="GET")
    return {
        "doubts": doubts(
            session,
            dag_ids,
            account=account,
            may_read_tasks=lru_cache(maxsize=None)(lambda dag_id: _may_read_tasks(dag_id, user)),
            may_read_variable=lambda key: _may_read_variable(key, user),
        ),
        "moves": last_moves(session, conn_id, dag_ids) if _may_read_assets(user) else None,
        "states_elsewhere": keeps_states_elsewhere(),
    }


def _may_read_connection(conn_id: str, user: Any) -> bool:
    details = ConnectionDetails(conn_id=conn_id, **_team(Connection, conn_id))
    return bool(get_auth_manager().is_authorized_connection(method="GET", details=details, user=user))


def _may_read_tasks(dag_id: str, user: Any) -> bool:
    details = DagDetails(id=dag_id, **_team(DagModel, dag_id))
    return bool(
        get_auth_manager().is_authorized_dag(
            method="GET", access_entity=DagAccessEntity.TASK_INSTANCE, details=details, user=user
        )
    )


def _may_read_variable(key: str, user: Any) -> bool:
    details = VariableDetails(key=key, **_team(Variable, key))
    return bool(get_auth_manager().is_authorized_variable(method="GET", details=details, user=user))


def _may_read_assets(user: Any) -> bool:
    return bool(get_auth_manager().is_authorized_asset(method="GET", user=user))


def _team(model: Any, name: str) -> dict[str, str | None]:
    """The team that something belongs to, where Airflow has teams (3.1 and later)."""
    return {"team_name": model.get_team_name(name)} if hasattr(model, "get_team_name") else {}


async def _refused(request: Request, error: Exception) -> Response:
    """A refusal: JSON for scripts, a sentence for somebody who has opened the page."""
    assert isinstance(error, HTTPException)
    if error.status_code == 401 and "text/html" in request.headers.get("accept", ""):
        return PlainTextResponse("Log in to Airflow, then load this page again.", 401, headers=error.headers)
    return await http_exception_handler(request, error)
