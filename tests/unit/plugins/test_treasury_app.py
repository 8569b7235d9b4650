"""The page's application: who may use it, what it answers, and that it only reads."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pendulum
import pytest
from treasury_rows import ACCOUNT, history, intent

from airflow_provider_whitebit.moves.doubts import RECORD_STEPS, TRANSFER_STEPS
from airflow_provider_whitebit.plugins.treasury_cache import SingleFlightCache
from airflow_provider_whitebit.plugins.treasury_data import Account
from airflow_provider_whitebit.plugins.whitebit import HAS_PAGES, WhiteBitPlugin
from airflow_provider_whitebit.treasury.valuation import MarketPrices

pytestmark = pytest.mark.skipif(not HAS_PAGES, reason="Airflow 3.0 shows no pages of plugins")

PATHS = (
    "/treasury",
    "/static/treasury/treasury.js",
    "/static/treasury/doubts.js",
    "/static/treasury/forecast.js",
    "/static/treasury/values.js",
    "/static/treasury/treasury.css",
    "/static/uplot/uPlot.iife.min.js",
    "/api/connections",
    "/api/treasury",
    "/api/treasury?conn_id=desk",
)
SHOWN = {
    "error": None,
    "problems": [],
    "positions": [],
    "earnings": None,
    "forecast": None,
    "host": "https://whitebit.com",
}


class Manager:
    """An auth manager that allows what the test sets."""

    def __init__(self):
        self.connections = {"whitebit_default", "desk"}
        self.dags = {"desk"}
        self.assets = self.tasks = self.variables = self.edits = True

    def is_authorized_connection(self, *, method, details, user):
        assert method == "GET"
        return details.conn_id in self.connections

    def is_authorized_dag(self, *, method, access_entity, details, user):
        assert method in ("GET", "PUT")
        assert access_entity.value == "TASK_INSTANCE"
        return self.tasks and details.id in self.dags and (self.edits or method == "GET")

    def is_authorized_variable(self, *, method, details, user):
        return self.variables

    def is_authorized_asset(self, *, method, user):
        return self.assets

    def get_authorized_dag_ids(self, *, user, method):
        return self.dags


@pytest.fixture
def desk(tables, monkeypatch):
    """The application with a user who is logged in; after ``logged_in(False)`` without one."""
    from airflow.api_fastapi.common.db.common import _get_session
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient

    from airflow_provider_whitebit.plugins import treasury_app as module
    from airflow_provider_whitebit.plugins import treasury_permissions

    manager, loads = Manager(), []

    def load_account(conn_id, team_name=None):
        loads.append(conn_id if team_name is None else (conn_id, team_name))
        return Account(ACCOUNT, SHOWN)

    monkeypatch.setattr(treasury_permissions, "get_auth_manager", lambda: manager)
    monkeypatch.setattr(module, "load_account", load_account)
    monkeypatch.setattr(module, "accounts", SingleFlightCache())
    app = module.create_app()

    def logged_in(there=True):
        if there:
            app.dependency_overrides[get_user] = lambda: SimpleNamespace(name="user")
        else:
            app.dependency_overrides.pop(get_user)

    app.dependency_overrides[_get_session] = lambda: tables.session
    logged_in()
    yield SimpleNamespace(
        app=app, client=TestClient(app), manager=manager, loads=loads, logged_in=logged_in, tables=tables, module=module
    )


def test_the_connection_of_a_team(desk, monkeypatch):
    from airflow_provider_whitebit.plugins.treasury_permissions import Permissions

    monkeypatch.setattr(Permissions, "teams_of", lambda self, conn_ids: dict.fromkeys(conn_ids, "lending"))
    assert desk.client.get("/api/treasury?conn_id=desk").status_code == 200
    assert desk.loads == [("desk", "lending")]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_without_a_login(desk, path):
    desk.logged_in(False)
    answer = desk.client.get(path)
    assert answer.status_code == 401
    assert desk.loads == []
    assert answer.json() == {"detail": "Not authenticated"}


def test_a_browser_without_a_login_gets_a_sentence(desk):
    desk.logged_in(False)
    answer = desk.client.get("/treasury", headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 401
    assert answer.text == "Log in to Airflow, then reload this page."


@pytest.mark.parametrize("accept", ["application/json", "text/html,*/*"])
def test_a_login_that_is_over_is_not_a_missing_permission(desk, monkeypatch, accept):
    from airflow.api_fastapi.core_api import security
    from jwt import InvalidTokenError

    async def get_user_from_token(token):
        raise InvalidTokenError("Token has been revoked")

    manager = SimpleNamespace(get_user_from_token=get_user_from_token)
    monkeypatch.setattr(security, "get_auth_manager", lambda: manager)
    desk.logged_in(False)
    desk.client.cookies.set("_token", "revoked")
    answer = desk.client.get("/api/treasury", headers={"Accept": accept})
    assert answer.status_code == 401
    assert ("Log in to Airflow" in answer.text) is ("html" in accept)


def test_every_route_requires_a_user_and_only_reads(desk):
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
        # A coroutine would block the whole API server during a request to the exchange; these run in threads.
        assert not inspect.iscoroutinefunction(route.endpoint), route.path
        assert get_user in [dependency.call for dependency in route.dependant.dependencies], route.path
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert desk.client.get(path).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", PATHS)
def test_nothing_can_be_changed(desk, method, path):
    assert desk.client.request(method, path).status_code == 405


@pytest.mark.parametrize("path", [*PATHS, "/nowhere", "/static/treasury/treasury.html", "/static/uplot/LICENSE"])
def test_every_answer_has_security_headers(desk, path):
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


def test_the_script_has_no_steps_for_doubts_of_its_own(desk):
    script = desk.client.get("/static/treasury/treasury.js").text
    assert "doubt.steps" in script
    for text in (*RECORD_STEPS, *TRANSFER_STEPS, "lear the task", "as success", "elete the journal"):
        assert text not in script


@pytest.mark.parametrize(
    "path", ["/static/treasury/treasury.html", "/static/uplot/LICENSE", "/static/..%2f/pyproject.toml", "/static/x/y"]
)
def test_no_other_file(desk, path):
    assert desk.client.get(path).status_code == 404


def test_a_connection_that_the_user_may_not_read(desk):
    desk.manager.connections.clear()
    desk.manager.edits = desk.manager.variables = False
    answer = desk.client.get("/api/treasury?conn_id=desk")
    assert answer.status_code == 403
    assert answer.json() == {"detail": "You are not allowed to read the connection 'desk'."}
    assert desk.loads == []


def test_a_user_without_a_connection_sees_the_own_tasks_in_doubt_and_the_stop(desk, monkeypatch):
    from airflow_provider_whitebit.control.stop import stop_moves

    desk.manager.connections, desk.manager.variables, desk.manager.dags = set(), False, {"desk", "readable"}
    for dag in ("desk", "readable", "secret"):
        desk.tables.task(dag=dag, run=dag)
        desk.tables.journal(json.dumps(history(intent(f"of-{dag}"))), dag=dag, run=dag)
    desk.tables.event({"operation": "flex_invest", "intent_id": "int-0", "amount": "1"})
    stop_moves(desk.tables.session, by="joe", reason="market")
    editable = {"desk"}
    monkeypatch.setattr(
        desk.manager,
        "is_authorized_dag",
        lambda *, method, access_entity, details, user: (
            details.id in (editable if method == "PUT" else desk.manager.dags)
        ),
    )
    answer = desk.client.get("/api/treasury?conn_id=whitebit_default&conn_id=desk").json()
    assert [doubt["task"]["dag_id"] for doubt in answer["airflow"]["doubts"]] == ["desk"]
    assert (answer["switch"]["stop"]["by"], answer["switch"]["may_switch"]) == ("joe", False)
    assert (answer["airflow"]["moves"], desk.loads) == (None, [])
    assert {one["exchange"]["error"]["message"] for one in answer["accounts"]} == {
        "You are not allowed to read the connection 'whitebit_default'.",
        "You are not allowed to read the connection 'desk'.",
    }
    # A user who may only read tasks sees nothing, as before.
    editable.clear()
    assert desk.client.get("/api/treasury").status_code == 403
    # A user who may stop all moves can do so.
    monkeypatch.setattr(desk.manager, "is_authorized_variable", lambda *, method, details, user: method == "PUT")
    answer = desk.client.get("/api/treasury").json()
    assert (answer["airflow"]["doubts"], answer["switch"]["may_switch"]) == ([], True)


def test_several_connections(desk):
    desk.tables.event({"operation": "flex_invest", "intent_id": "int-0", "amount": "1"}, conn="desk")
    desk.tables.event({"operation": "flex_invest", "intent_id": "int-1", "amount": "1"}, minute=1)
    answer = desk.client.get("/api/treasury?conn_id=whitebit_default&conn_id=desk&conn_id=desk").json()
    assert [(one["conn_id"], one["exchange"]) for one in answer["accounts"]] == [
        ("whitebit_default", SHOWN),
        ("desk", SHOWN),
    ]
    assert sorted(desk.loads) == ["desk", "whitebit_default"]
    assert answer["sums"]["left_out"] == [{"conn_id": "desk", "why": "it is the account of whitebit_default"}]
    assert [move["conn_id"] for move in answer["airflow"]["moves"]] == ["whitebit_default", "desk"]
    assert desk.client.get("/api/treasury?conn_id=desk").json()["sums"] is None


def test_a_connection_that_the_user_may_not_read_does_not_hide_the_others(desk):
    desk.tables.event({"operation": "flex_invest", "intent_id": "int-0", "amount": "1"}, conn="secret")
    answer = desk.client.get("/api/treasury?conn_id=secret&conn_id=desk").json()
    refused, shown = answer["accounts"]
    assert refused["exchange"]["error"] == {"message": "You are not allowed to read the connection 'secret'."}
    assert (refused["exchange"]["positions"], shown["exchange"]) == (None, SHOWN)
    assert answer["sums"]["counted"] == ["desk"]
    assert (desk.loads, answer["airflow"]["moves"]) == (["desk"], [])
    desk.manager.connections.clear()
    desk.manager.edits = desk.manager.variables = False
    answer = desk.client.get("/api/treasury?conn_id=secret&conn_id=desk")
    assert (answer.status_code, answer.json()["detail"][-7:]) == (403, "'desk'.")


def test_accounts_load_side_by_side(desk, monkeypatch):
    desk.manager.connections |= {"one", "other"}
    both = threading.Barrier(2, timeout=30)

    def load_account(conn_id, team_name=None):
        both.wait()
        return Account(conn_id, SHOWN)

    monkeypatch.setattr(desk.module, "load_account", load_account)
    answer = desk.client.get("/api/treasury?conn_id=one&conn_id=other").json()
    assert answer["sums"]["counted"] == ["one", "other"]


def test_no_load_begins_after_the_time_that_a_viewer_waits(desk, monkeypatch):
    monkeypatch.setattr(desk.module, "BUDGET", -1)
    answer = desk.client.get("/api/treasury?conn_id=desk&conn_id=whitebit_default").json()
    assert [one["exchange"] for one in answer["accounts"]] == [None, None]
    assert [one["why"] for one in answer["sums"]["left_out"]] == ["still loading"] * 2
    assert desk.loads == []


def test_so_many_connections_and_no_more(desk):
    many = "&".join(f"conn_id=c{number}" for number in range(desk.module.MOST_ACCOUNTS + 1))
    assert desk.client.get(f"/api/treasury?{many}").status_code == 422


class TestValues:
    """What the amounts are worth, beside them."""

    @pytest.fixture
    def priced(self, desk, monkeypatch):
        prices = MarketPrices((), pendulum.datetime(2026, 11, 23))
        asked = []
        monkeypatch.setattr(desk.module, "last_prices", SingleFlightCache())
        monkeypatch.setattr(desk.module, "load_prices", lambda conn_id, team_name: asked.append(conn_id) or prices)
        return SimpleNamespace(get=desk.client.get, asked=asked, desk=desk)

    def test_none_unless_a_currency_is_chosen(self, priced):
        assert priced.get("/api/treasury").json()["values"] is None
        assert priced.asked == []

    def test_prices_are_read_once_for_each_exchange(self, priced):
        priced.desk.manager.connections |= {"another"}
        several = "conn_id=desk&conn_id=another&conn_id=secret"
        found = priced.get(f"/api/treasury?{several}&value_in=usdt").json()["values"]
        assert (priced.asked, found["value_in"], list(found["accounts"])) == (["desk"], "USDT", ["desk", "another"])
        assert "no market" in found["sums"]["error"]["message"]

    def test_what_is_no_currency(self, priced):
        answer = priced.get("/api/treasury?value_in=a%20b")
        assert (answer.status_code, priced.desk.loads) == (422, [])
        assert "value_in" in answer.json()["detail"]


def test_a_cached_account_needs_the_permission_too(desk):
    assert desk.client.get("/api/treasury?conn_id=desk").json()["accounts"][0]["exchange"] == SHOWN
    desk.manager.connections.clear()
    shown = desk.client.get("/api/treasury?conn_id=desk").json()["accounts"][0]["exchange"]
    assert shown["error"]["message"] == "You are not allowed to read the connection 'desk'."
    assert shown["positions"] is None
    desk.manager.edits = desk.manager.variables = False
    assert desk.client.get("/api/treasury?conn_id=desk").status_code == 403


@pytest.mark.parametrize("query", ["conn_id=", "conn_id=" + 1001 * "x", "conn_id=" + 501 * "%D1%8F", "conn_id=a%00"])
def test_an_impossible_connection_name(desk, query):
    assert desk.client.get(f"/api/treasury?{query}").status_code == 422


def test_many_viewers_load_once(desk):
    for _ in range(5):
        assert desk.client.get("/api/treasury").json()["accounts"] == [
            {"conn_id": "whitebit_default", "exchange": SHOWN}
        ]
    assert desk.loads == ["whitebit_default"]


def test_while_another_viewer_loads(desk):
    desk.module.accounts = SingleFlightCache(concurrent=0)
    answer = desk.client.get("/api/treasury").json()
    assert answer["accounts"] == [{"conn_id": "whitebit_default", "exchange": None}]
    assert answer["airflow"]["doubts"] == []


def test_doubts_and_moves(desk):
    desk.tables.task()
    key = "whitebit_move__desk.invest.flex_invest__" + 32 * "a" + "__1"
    desk.tables.variable(key, json.dumps(history(intent())), "Move of desk|manual__1|invest|-1|flex_invest")
    desk.tables.event({"operation": "flex_invest", "intent_id": "int-0", "amount": "1"})
    known = desk.client.get("/api/treasury").json()["airflow"]
    assert [doubt["intent_id"] for doubt in known["doubts"]] == ["int-1"]
    assert known["doubts"][0]["steps"] == list(RECORD_STEPS)
    assert [move["intent_id"] for move in known["moves"]] == ["int-0"]
    desk.manager.variables = False
    (hidden,) = desk.client.get("/api/treasury").json()["airflow"]["doubts"]
    assert (hidden["task"]["task_id"], hidden["unreadable"]) == (
        "invest",
        "You may not read the Variables that hold its journal.",
    )
    assert hidden["steps"][0] == RECORD_STEPS[0]
    assert not {"intent_id", "amount", "ticker", "plan_id"} & hidden.keys()
    assert (hidden["operation"], hidden["sent_at"], hidden["key"]) == (None, None, "")
    desk.manager.edits = False
    assert desk.client.get("/api/treasury").json()["airflow"]["doubts"] == []
    desk.manager.variables, desk.manager.tasks, desk.manager.assets = True, False, False
    known = desk.client.get("/api/treasury").json()["airflow"]
    assert (known["doubts"], known["moves"]) == ([], None)
    desk.manager.dags = set()
    desk.manager.assets = True
    assert desk.client.get("/api/treasury").json()["airflow"]["moves"] == []


def test_the_fingerprint_of_the_key_is_not_sent(desk):
    assert ACCOUNT not in desk.client.get("/api/treasury").text


def test_an_exchange_that_cannot_be_reached(desk, monkeypatch):
    error = {"message": "The connection to the exchange failed.", "said": "", "next_steps": []}
    account = Account(ACCOUNT, {"error": error, "problems": []})
    monkeypatch.setattr(desk.module, "load_account", lambda conn_id, team_name: account)
    desk.tables.event({"operation": "flex_invest", "intent_id": "int-0", "amount": "1"})
    answer = desk.client.get("/api/treasury").json()
    assert answer["accounts"][0]["exchange"]["error"] == error
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


@pytest.mark.parametrize("conn", ["team/treasury#1", "a b%2F", "ключ", "ю" * 400, " "])
def test_a_connection_with_any_id(desk, conn):
    desk.manager.connections = {conn}
    desk.tables.event({"operation": "flex_invest", "intent_id": "int-0", "amount": "1"}, conn=conn)
    assert desk.client.get("/api/connections").json()["connections"] == [conn]
    answer = desk.client.get("/api/treasury", params={"conn_id": conn}).json()
    assert (answer["accounts"][0]["conn_id"], [move["intent_id"] for move in answer["airflow"]["moves"]]) == (
        conn,
        ["int-0"],
    )


def test_an_address_that_this_package_did_not_write(desk):
    desk.manager.connections = {"a/b", "a%2fb"}
    desk.tables.asset("whitebit://a%2fb/moves")
    desk.tables.asset("whitebit://=%%/moves")
    assert desk.client.get("/api/connections").json()["connections"] == []


def test_the_plugin_brings_page_and_application():
    (view,) = WhiteBitPlugin.external_views
    (app,) = WhiteBitPlugin().fastapi_apps
    assert app["url_prefix"] == "/whitebit"
    assert view["href"] == "whitebit/treasury"
    assert view["destination"] == "nav"


def test_an_error_in_the_page_does_not_stop_the_api_server(monkeypatch):
    from airflow_provider_whitebit.plugins import treasury_app

    monkeypatch.setattr(treasury_app, "create_app", lambda: 1 // 0)
    assert WhiteBitPlugin().fastapi_apps == []


@pytest.mark.slow
def test_only_the_api_server_imports_the_page():
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules);"
        "from airflow_provider_whitebit.plugins.whitebit import WhiteBitPlugin; WhiteBitPlugin();"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"fastapi", "starlette", "requests", "sqlalchemy"} & set(done.stdout.split())


def test_only_so_many_requests_at_the_same_time(desk, monkeypatch):
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.responses import PlainTextResponse
    from fastapi.testclient import TestClient

    place, never, met = threading.Lock(), threading.Event(), []

    def page(path, **_):
        if place.acquire(blocking=False):
            # Time for others to come, if they may.
            never.wait(0.01)
            place.release()
        else:
            met.append(path)
        return PlainTextResponse("page")

    monkeypatch.setattr(desk.module, "FileResponse", page)
    monkeypatch.setattr(desk.module, "MOST_REQUESTS", 1)
    app = desk.module.create_app()
    app.dependency_overrides[get_user] = lambda: SimpleNamespace(name="user")
    with TestClient(app) as client, ThreadPoolExecutor(16) as viewers:
        answers = list(viewers.map(client.get, ["/treasury"] * 64))
    assert [answer.status_code for answer in answers] == [200] * 64
    assert met == []


@pytest.mark.parametrize(
    "name",
    [
        "whitebit_move__abc",
        "whitebit_move__",
        "whitebit_move__a__",
        "whitebit_move__a__1",
        "whitebit_key__x__" + "9" * 30,
    ],
)
@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "null", '"x"', "{}", '{"intents": 1}', '{"pending": "pending"}', "[" * 100_000, '{"a": "\\ud800"}'],
    ids=range(10),
)
@pytest.mark.parametrize("index", ["-1", "9" * 30, "-" + "9" * 9, "x"])
def test_a_variable_that_is_no_journal(desk, name, text, index):
    desk.tables.task()
    desk.tables.variable(name, f"{text}pending", f"Move of desk|manual__1|invest|{index}|flex_invest")
    desk.tables.variable(f"{name}2", text, "Move of desk")
    answer = desk.client.get("/api/treasury")
    assert answer.status_code == 200
    assert len(answer.json()["airflow"]["doubts"]) <= 1


def _damage(value, hostile):
    """Every copy of plain JSON in which one value is another one."""
    yield hostile
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from ({**value, name: other} for other in _damage(inner, hostile))
    if isinstance(value, list):
        for place, inner in enumerate(value):
            yield from ([*value[:place], other, *value[place + 1 :]] for other in _damage(inner, hostile))


HOSTILE = ["1e999999999", "\ud800\u202e\n", 10**30, -(10**30), True, None, [], {}, {"x": []}, "9" * 5000, 1.5]


def _shown_or_left_out(desk, damaged):
    answer = desk.client.get("/api/treasury")
    assert answer.status_code == 200, damaged
    for doubt in answer.json()["airflow"]["doubts"]:
        assert all(text.isprintable() and len(text) <= 300 for text in doubt.values() if isinstance(text, str))


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(11))
def test_a_journal_with_any_damage_is_shown_or_left_out(desk, hostile):
    desk.tables.task()
    desk.tables.journal("{}")
    for damaged in _damage(history(intent()), hostile):
        written = json.dumps({"pending": 1, "document": damaged} if damaged is hostile else damaged)
        for text in (written, json.dumps(written)):
            desk.tables.rewrite_variables(text)
            _shown_or_left_out(desk, damaged)


@pytest.mark.parametrize(
    "name", ["", "a", "a__", "a__1", "__1", "x__" + "9" * 30, "a\n\u202e__1", "100%_\\__1"], ids=range(8)
)
def test_a_variable_with_another_name_and_any_text(desk, name):
    run = "../a?b#c%20\u202e<i>"
    desk.tables.task(run=run)
    desk.tables.variable(f"whitebit_move__{name}", "pending", f"Move of desk|{run}|invest|-1|flex_invest")
    for text in (
        "pending",
        "[" * 100_000 + "pending",
        '"pending',
        '{"pending": "\\ud800"}',
        '{"intents": ["pending"]}',
    ):
        desk.tables.rewrite_variables(text)
        _shown_or_left_out(desk, text)


@pytest.mark.parametrize(
    "hostile", ["1e999999999", "\ud800\u202e\n", "x" * 10**6, 10**30, [], {"x": "y"}, 1.5], ids=range(7)
)
def test_an_asset_event_with_anything_in_it(desk, hostile):
    names = ("operation", "intent_id", "amount", "ticker", "plan_id", "transaction_id", "executed_at")
    for number, name in enumerate(names):
        desk.tables.event({"intent_id": f"int-{number}", name: hostile}, minute=number)
    answer = desk.client.get("/api/treasury")
    assert answer.status_code == 200
    assert len(answer.text) < 20_000
    assert len(answer.json()["airflow"]["moves"]) >= len(names) - 1
