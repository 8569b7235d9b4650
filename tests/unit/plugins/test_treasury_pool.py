"""The page's use of database connections: few queries, and none held while another one is needed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import QueuePool

# The application with an auth manager that needs no database.
from test_treasury_app import desk  # noqa: F401 - a fixture
from treasury_rows import Tables, history, intent

from airflow_provider_whitebit.plugins.whitebit import HAS_PAGES

pytestmark = pytest.mark.skipif(not HAS_PAGES, reason="Airflow 3.0 shows no pages of plugins")

#: Requests to every route of the page.
REQUESTS = {
    "/treasury": ["/treasury"],
    "/static/{folder}/{name}": ["/static/treasury/treasury.js"],
    "/api/connections": ["/api/connections"],
    "/api/treasury": ["/api/treasury", "/api/treasury?conn_id=desk", "/api/treasury?conn_id=hidden0"],
    "/api/stop": ["/api/stop"],
    "/api/resume": ["/api/resume"],
}
#: Of the routes that change something.
BODIES = {
    "/api/stop": {"reason": "market", "confirm": "stop"},
    "/api/resume": {"reason": "over", "confirm": "resume", "seen": {}},
}
KEY = "whitebit_move__desk.invest.flex_invest__" + 32 * "a" + "__1"
OF = "Move of desk|manual__1|invest|-1|flex_invest"


def pool_of_one(url, **options):
    """An engine with one connection. Whoever holds it and asks for another one waits in vain."""
    return create_engine(url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=30, **options)


@pytest.fixture
def engine(tmp_path):
    """An empty database with Airflow's tables."""
    from airflow.models import import_all_models
    from airflow.models.base import Base

    import_all_models()
    engine = pool_of_one(f"sqlite:///{tmp_path}/airflow.db", connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def rows(engine):
    """Rows of Airflow's tables that every session sees."""
    with Session(engine) as session:
        if engine.dialect.name == "postgresql":
            # Rows of tables that the page does not read are left out.
            session.execute(text("SET session_replication_role = replica"))
        yield Tables(session)


@pytest.fixture
def pooled(desk, engine, rows, monkeypatch):  # noqa: F811
    """The application with Airflow's own sessions, and an auth manager that needs a connection for each answer."""
    from airflow import settings
    from airflow.api_fastapi.common.db.common import _get_session

    from airflow_provider_whitebit.plugins import treasury_permissions

    def asking(question):
        def ask(*args, **options):
            asked.append(engine.pool.checkedout())
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            return question(*args, **options)

        return ask

    def managed_by(manager, user=None):
        """:param user: who is logged in, if the manager cares."""
        from airflow.api_fastapi.core_api.security import get_user

        for name in dir(manager):
            if name.startswith("is_authorized"):
                monkeypatch.setattr(manager, name, asking(getattr(manager, name)), raising=False)
        monkeypatch.setattr(treasury_permissions, "get_auth_manager", lambda: manager)
        if user is not None:
            desk.app.dependency_overrides[get_user] = lambda: user

    asked: list[int] = []
    sessions = sessionmaker(engine, autoflush=False, expire_on_commit=False)
    monkeypatch.setattr(settings, "NonScopedSession", sessions)
    monkeypatch.setattr(settings, "Session", scoped_session(sessions))
    del desk.app.dependency_overrides[_get_session]
    for name in ("desk", "whitebit_default", *(f"hidden{number}" for number in range(5))):
        rows.connection(name)
    rows.task()
    rows.event({"operation": "flex_invest", "intent_id": "int-0", "amount": "1"})
    rows.variable(KEY, json.dumps(history(intent())), OF)
    rows.dag("desk")
    rows.session.commit()
    managed_by(desk.manager, SimpleNamespace(name="user", get_name=lambda: "user"))
    return SimpleNamespace(desk=desk, asked=asked, engine=engine, rows=rows, managed_by=managed_by)


def airflow_manager():
    """Airflow's own simple auth manager, and a user who may read everything that no other team owns."""
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    of_teams = "teams" in SimpleAuthManagerUser.__init__.__code__.co_varnames
    teams = {"teams": ["ours"]} if of_teams else {}
    return SimpleAuthManager(), SimpleAuthManagerUser(username="user", role="OP", **teams)


@pytest.fixture(params=["a manager that answers one by one", "Airflow's own manager"])
def manager(request, pooled):
    if request.param == "Airflow's own manager":
        pooled.managed_by(*airflow_manager())


def statements(engine, client, path):
    """An answer, and the statements that it took."""
    found = []

    def note(connection, cursor, statement, *_):
        if statement.startswith("SELECT") and statement != "SELECT 1":
            found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json(), found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def ask(client, path):
    if path in BODIES:
        return client.post(path, json=BODIES[path], headers={"Sec-Fetch-Site": "same-origin"})
    return client.get(path)


def test_these_are_all_routes(pooled):
    from fastapi.routing import APIRoute

    from airflow_provider_whitebit.plugins import treasury_stop

    routes = [*pooled.desk.module.router.routes, *treasury_stop.router.routes]
    assert set(REQUESTS) == {route.path for route in routes if isinstance(route, APIRoute)}


@pytest.mark.usefixtures("manager")
@pytest.mark.parametrize("path", [path for paths in REQUESTS.values() for path in paths])
def test_whoever_asks_the_auth_manager_holds_no_database_connection(pooled, path):
    answer = ask(pooled.desk.client, path)
    assert answer.status_code in (200, 403, 422), answer.text
    assert bool(pooled.asked) == (path.startswith("/api/") and answer.status_code != 422)
    assert set(pooled.asked) <= {0}
    assert pooled.engine.pool.checkedout() == 0


@pytest.mark.usefixtures("manager")
def test_the_evidence_of_a_doubt_needs_one_connection_at_a_time(pooled):
    answer = pooled.desk.client.get("/api/doubt?intent_id=int-1")
    assert (answer.status_code, answer.json()["evidence"]) == (200, None)
    assert "No connection has the API key" in answer.json()["error"]["message"]
    assert pooled.asked
    assert set(pooled.asked) == {0}
    assert pooled.engine.pool.checkedout() == 0


@pytest.mark.usefixtures("manager")
def test_many_viewers_share_one_database_connection(pooled):
    from fastapi.testclient import TestClient

    paths = [path for paths in REQUESTS.values() for path in paths] * 8
    with TestClient(pooled.desk.app) as client, ThreadPoolExecutor(16) as viewers:
        answers = list(viewers.map(lambda path: ask(client, path), paths))
    assert {answer.status_code for answer in answers} <= {200, 403, 422}
    known = [answer.json() for answer, path in zip(answers, paths, strict=True) if path == "/api/treasury"]
    assert [len(one["airflow"]["doubts"]) for one in known] == [1] * 8


def test_thousands_of_connections_take_a_few_queries(pooled):
    pooled.managed_by(*airflow_manager())
    rows = pooled.rows
    rows.many_connections(f"conn_{number}" for number in range(3000))
    for number in range(50):
        rows.asset(f"whitebit://vault_{number}/moves")
    rows.session.commit()
    answer, queries = statements(pooled.engine, pooled.desk.client, "/api/connections")
    assert len(answer["connections"]) == 3000 + 50 + 7
    assert len(queries) <= 4


def test_many_dags_and_doubts_take_a_few_queries(pooled):
    pooled.managed_by(*airflow_manager())
    rows = pooled.rows
    for number in range(100):
        rows.dag(f"dag_{number}")
        rows.task(dag=f"dag_{number}")
        key = f"whitebit_move__dag_{number}.invest.flex_invest__{32 * 'a'}__1"
        rows.variable(key, json.dumps(history(intent(f"int-{number}"))), OF.replace("desk", f"dag_{number}"))
    rows.session.commit()
    answer, queries = statements(pooled.engine, pooled.desk.client, "/api/treasury")
    assert len(answer["airflow"]["doubts"]) == 101
    assert len(queries) <= 15


def test_what_another_team_owns_is_not_shown(pooled):
    from airflow.models.connection import Connection

    if not hasattr(Connection, "team_name"):
        pytest.skip("Airflow 3.2 and later keep the name of the team with each connection")
    pooled.managed_by(*airflow_manager())
    rows = pooled.rows
    for number in range(40):
        rows.connection(f"ours_{number}", team_name="ours")
        rows.connection(f"theirs_{number}", team_name="theirs")
    rows.session.commit()
    answer, queries = statements(pooled.engine, pooled.desk.client, "/api/connections")
    assert sum(name.startswith("ours_") for name in answer["connections"]) == 40
    assert not any(name.startswith("theirs_") for name in answer["connections"])
    assert len(queries) <= 4
    assert pooled.desk.client.get("/api/treasury?conn_id=ours_1").status_code == 200
    (refused,) = pooled.desk.client.get("/api/treasury?conn_id=theirs_1").json()["accounts"]
    assert refused["exchange"]["error"] == {"message": "You are not allowed to read the connection 'theirs_1'."}
    assert [name for name, _ in pooled.desk.loads] == ["ours_1"]


@pytest.mark.parametrize("table", ["Variable", "DAG"])
def test_a_doubt_in_what_another_team_owns_is_not_shown(pooled, table):
    from airflow.models.variable import Variable

    if not hasattr(Variable, "team_name"):
        pytest.skip("Airflow 3.2 and later keep the name of the team with each Variable")
    pooled.managed_by(*airflow_manager())
    assert len(pooled.desk.client.get("/api/treasury").json()["airflow"]["doubts"]) == 1
    if table == "Variable":
        pooled.rows.session.execute(text(f"UPDATE variable SET team_name = 'theirs' WHERE key = '{KEY}'"))
    else:
        pooled.rows.owned("desk", "theirs")
    pooled.rows.session.commit()
    answer, queries = statements(pooled.engine, pooled.desk.client, "/api/treasury")
    # The user may edit the task, but read nothing of the Variable.
    shown = [doubt["task"]["task_id"] for doubt in answer["airflow"]["doubts"]]
    assert shown == (["invest"] if table == "Variable" else [])
    assert not any("intent_id" in doubt for doubt in answer["airflow"]["doubts"])
    assert len(queries) <= 16


def test_older_releases_ask_for_teams_only_if_there_are_some(pooled, monkeypatch):
    from airflow.models.connection import Connection

    from airflow_provider_whitebit.plugins import treasury_permissions as permissions

    asked = []

    class Older:
        @staticmethod
        def get_team_name(conn_id, session):
            asked.append(conn_id)
            return "theirs"

    monkeypatch.setattr(permissions, "Connection", Older)
    for has_teams in (False, True):
        monkeypatch.setattr(permissions, "_has_teams", lambda session, found=has_teams: found)
        with Session(pooled.engine) as session:
            may = permissions.Permissions(None, session)
            assert may.connections({"desk", "whitebit_default", "x"}) == {"desk", "whitebit_default"}
        assert sorted(asked) == (["desk", "whitebit_default", "x"] if has_teams else [])
    assert Connection is not permissions.Connection
