"""The page's application: who is let in, what they are told, and that it only reads."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from treasury_rows import ACCOUNT, intent

from airflow_provider_whitebit.plugins.treasury_cache import Glances
from airflow_provider_whitebit.plugins.treasury_data import Account
from airflow_provider_whitebit.plugins.whitebit import HAS_PAGES, WhiteBitPlugin

pytestmark = pytest.mark.skipif(not HAS_PAGES, reason="Airflow 3.0 shows no pages of plugins")

PATHS = (
    "/treasury",
    "/static/treasury/treasury.js",
    "/static/treasury/treasury.css",
    "/static/uplot/uPlot.iife.min.js",
    "/api/connections",
    "/api/treasury",
    "/api/treasury?conn_id=desk",
)
SHOWN = {"error": None, "problems": [], "positions": [], "host": "https://whitebit.com"}


class Manager:
    """An auth manager that allows what it is told to."""

    def __init__(self):
        self.connections = {"whitebit_default", "desk"}
        self.dags = {"desk"}
        self.assets = self.tasks = self.variables = True

    def is_authorized_connection(self, *, method, details, user):
        assert method == "GET"
        return details.conn_id in self.connections

    def is_authorized_dag(self, *, method, access_entity, details, user):
        assert (method, access_entity.value) == ("GET", "TASK_INSTANCE")
        return self.tasks and details.id in self.dags

    def is_authorized_variable(self, *, method, details, user):
        return self.variables

    def is_authorized_asset(self, *, method, user):
        return self.assets

    def get_authorized_dag_ids(self, *, user, method):
        return self.dags


@pytest.fixture
def desk(tables, monkeypatch):
    """The application with somebody logged in; without, ``logged_in(False)``."""
    from airflow.api_fastapi.common.db.common import _get_session
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient

    from airflow_provider_whitebit.plugins import treasury_app as module

    manager, looks = Manager(), []

    def look(conn_id):
        looks.append(conn_id)
        return Account(ACCOUNT, SHOWN)

    monkeypatch.setattr(module, "get_auth_manager", lambda: manager)
    monkeypatch.setattr(module, "_team", lambda model, name: {})
    monkeypatch.setattr(module, "look", look)
    monkeypatch.setattr(module, "glances", Glances())
    app = module.create_app()

    def logged_in(there=True):
        if there:
            app.dependency_overrides[get_user] = lambda: SimpleNamespace(name="somebody")
        else:
            app.dependency_overrides.pop(get_user)

    app.dependency_overrides[_get_session] = lambda: tables.session
    logged_in()
    yield SimpleNamespace(
        app=app, client=TestClient(app), manager=manager, looks=looks, logged_in=logged_in, tables=tables, module=module
    )


@pytest.mark.parametrize("path", PATHS)
def test_nothing_without_a_login(desk, path):
    desk.logged_in(False)
    answer = desk.client.get(path)
    assert answer.status_code == 401
    assert desk.looks == []
    assert answer.json() == {"detail": "Not authenticated"}


def test_a_browser_without_a_login_is_told_in_words(desk):
    desk.logged_in(False)
    answer = desk.client.get("/treasury", headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 401
    assert answer.text == "Log in to Airflow, then load this page again."


def test_every_route_wants_a_user_and_only_reads(desk):
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.routing import APIRoute

    routes = [route for route in desk.module.router.routes if isinstance(route, APIRoute)]
    assert {route.path for route in routes} == {
        "/treasury",
        "/static/{folder}/{name}",
        "/api/connections",
        "/api/treasury",
    }
    for route in routes:
        assert route.methods == {"GET"}, route.path
        # A coroutine would hold up the whole API server while the exchange is asked; these run in threads.
        assert not inspect.iscoroutinefunction(route.endpoint), route.path
        assert get_user in [dependency.call for dependency in route.dependant.dependencies], route.path
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert desk.client.get(path).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", PATHS)
def test_nothing_can_be_changed(desk, method, path):
    assert desk.client.request(method, path).status_code == 405


@pytest.mark.parametrize("path", [*PATHS, "/nowhere", "/static/treasury/treasury.html", "/static/uplot/LICENSE"])
def test_every_answer_is_guarded(desk, path):
    headers = desk.client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers.get("cache-control", "no-store") in ("no-store", "private, no-cache")


def test_the_page_has_no_script_and_no_style_of_its_own(desk):
    page = desk.client.get("/treasury")
    assert page.headers["content-type"].startswith("text/html")
    for forbidden in ("<style", "style=", "onclick", "onload", "http://", "https://", "<script>"):
        assert forbidden not in page.text
    script = desk.client.get("/static/treasury/treasury.js").text
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://"):
        assert forbidden not in script


@pytest.mark.parametrize(
    "path", ["/static/treasury/treasury.html", "/static/uplot/LICENSE", "/static/..%2f/pyproject.toml", "/static/x/y"]
)
def test_no_other_file(desk, path):
    assert desk.client.get(path).status_code == 404


def test_a_connection_that_the_user_may_not_read(desk):
    desk.manager.connections.clear()
    answer = desk.client.get("/api/treasury?conn_id=desk")
    assert answer.status_code == 403
    assert answer.json() == {"detail": "You may not read the connection 'desk'."}
    assert desk.looks == []


def test_what_was_seen_by_one_is_not_shown_to_another_who_may_not(desk):
    assert desk.client.get("/api/treasury?conn_id=desk").status_code == 200
    desk.manager.connections.clear()
    assert desk.client.get("/api/treasury?conn_id=desk").status_code == 403


@pytest.mark.parametrize("query", ["conn_id=", "conn_id=" + 251 * "x"])
def test_no_name_of_a_connection(desk, query):
    assert desk.client.get(f"/api/treasury?{query}").status_code == 422


def test_many_viewers_make_one_look(desk):
    for _ in range(5):
        assert desk.client.get("/api/treasury").json()["exchange"] == SHOWN
    assert desk.looks == ["whitebit_default"]


def test_while_somebody_else_is_looking(desk):
    desk.module.glances = Glances(at_once=0)
    answer = desk.client.get("/api/treasury").json()
    assert answer["exchange"] is None
    assert answer["airflow"]["doubts"] == []


def test_doubts_and_moves(desk):
    desk.tables.task()
    key = "whitebit_move__desk.invest.flex_invest__" + 32 * "a" + "__1"
    desk.tables.variable(key, json.dumps(intent().to_json()), "Move of desk|manual__1|invest|-1|flex_invest")
    desk.tables.event({"operation": "flex_invest", "intent_id": "int-0", "amount": "1"})
    known = desk.client.get("/api/treasury").json()["airflow"]
    assert [doubt["intent_id"] for doubt in known["doubts"]] == ["int-1"]
    assert [move["intent_id"] for move in known["moves"]] == ["int-0"]
    assert known["states_elsewhere"] is False
    desk.manager.variables = False
    assert desk.client.get("/api/treasury").json()["airflow"]["doubts"] == []
    desk.manager.variables, desk.manager.tasks, desk.manager.assets = True, False, False
    known = desk.client.get("/api/treasury").json()["airflow"]
    assert (known["doubts"], known["moves"]) == ([], None)
    desk.manager.dags = set()
    desk.manager.assets = True
    assert desk.client.get("/api/treasury").json()["airflow"]["moves"] == []


def test_the_fingerprint_of_the_key_stays_here(desk):
    assert ACCOUNT not in desk.client.get("/api/treasury").text


def test_an_exchange_that_cannot_be_reached(desk, monkeypatch):
    text = "The exchange could not be connected to in time."
    monkeypatch.setattr(desk.module, "look", lambda conn_id: Account(ACCOUNT, {"error": text, "problems": []}))
    desk.tables.event({"operation": "flex_invest", "intent_id": "int-0", "amount": "1"})
    answer = desk.client.get("/api/treasury").json()
    assert answer["exchange"]["error"] == text
    assert len(answer["airflow"]["moves"]) == 1


def test_connections_that_the_user_may_read(desk):
    for name, kind in (("desk", "whitebit"), ("hidden", "whitebit"), ("whitebit_default", "postgres")):
        desk.tables.connection(name, kind)
    assert desk.client.get("/api/connections").json() == {"default": "whitebit_default", "connections": ["desk"]}


def test_connections_of_a_backend_are_listed_once_they_have_moved_money(desk):
    desk.manager.connections = {"vault"}
    assert desk.client.get("/api/connections").json()["connections"] == []
    for conn in ("vault", "hidden"):
        desk.tables.event({"operation": "flex_invest", "intent_id": "int-0", "amount": "1"}, conn=conn)
    assert desk.client.get("/api/connections").json()["connections"] == ["vault"]


def test_the_plugin_brings_page_and_application():
    (view,) = WhiteBitPlugin.external_views
    (app,) = WhiteBitPlugin().fastapi_apps
    assert app["url_prefix"] == "/whitebit"
    assert view["href"] == "whitebit/treasury"
    assert view["destination"] == "nav"


def test_a_page_that_cannot_be_made_does_not_stop_the_api_server(monkeypatch):
    from airflow_provider_whitebit.plugins import treasury_app

    monkeypatch.setattr(treasury_app, "create_app", lambda: 1 // 0)
    assert WhiteBitPlugin().fastapi_apps == []


def test_only_the_api_server_imports_the_page():
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules);"
        "from airflow_provider_whitebit.plugins.whitebit import WhiteBitPlugin; WhiteBitPlugin();"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"fastapi", "starlette", "requests", "sqlalchemy"} & set(done.stdout.split())
