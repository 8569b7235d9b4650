"""The page's switch for all moves: who may use it, from where, and what it leaves behind."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from airflow_provider_whitebit.control.stop import current_stop, stop_moves
from airflow_provider_whitebit.plugins.whitebit import HAS_PAGES

pytestmark = pytest.mark.skipif(not HAS_PAGES, reason="Airflow 3.0 shows no pages of plugins")

STOP = {"reason": "market", "confirm": "stop"}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def switch(tables, monkeypatch):
    """The application with a user who may edit the Variable; ``switch.allowed = False`` for one who may not."""
    from airflow.api_fastapi.common.db.common import _get_session
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient

    from airflow_provider_whitebit.plugins import treasury_app, treasury_permissions

    asked = []

    def is_authorized_variable(*, method, details, user):
        asked.append((method, details.key))
        return found.allowed

    app = treasury_app.create_app()
    app.dependency_overrides[_get_session] = lambda: tables.session
    manager = SimpleNamespace(is_authorized_variable=is_authorized_variable)
    monkeypatch.setattr(treasury_permissions, "get_auth_manager", lambda: manager)
    found = SimpleNamespace(allowed=True, session=tables.session, asked=asked, client=TestClient(app))

    def post(path, body, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return found.client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json", **named})

    def logged_in(there=True):
        if there:
            app.dependency_overrides[get_user] = lambda: SimpleNamespace(get_name=lambda: "jane")
        else:
            app.dependency_overrides.pop(get_user)

    found.post, found.logged_in = post, logged_in
    found.stop = lambda **changes: post("/api/stop", {**STOP, **changes}, Sec_Fetch_Site="same-origin")
    logged_in()
    return found


def resume(switch, seen, **changes):
    body = {"reason": "over", "confirm": "resume", "seen": seen, **changes}
    return switch.post("/api/resume", body, Sec_Fetch_Site="same-origin")


def audit_log(session):
    from airflow.models.log import Log

    return [(row.event, row.owner) for row in session.scalars(select(Log).order_by(Log.id))]


def test_stop_and_resume(switch):
    answer = switch.stop()
    assert answer.status_code == 200
    stop = answer.json()["stop"]
    assert (stop["by"], stop["reason"]) == ("jane", "market")
    assert current_stop(switch.session).to_json() == stop
    answer = resume(switch, stop)
    assert (answer.status_code, answer.json()) == (200, {"stop": None})
    assert current_stop(switch.session) is None
    assert audit_log(switch.session) == [("whitebit_stop", "jane"), ("whitebit_resume", "jane")]
    assert set(switch.asked) == {("PUT", "whitebit_stop")}


@pytest.mark.parametrize("path", ["/api/stop", "/api/resume"])
@pytest.mark.parametrize(("there", "allowed", "status"), [(False, True, 401), (False, False, 401), (True, False, 403)])
def test_who_may_not(switch, path, there, allowed, status):
    switch.allowed = allowed
    if not there:
        switch.logged_in(False)
    seen = stop_moves(switch.session, by="joe", reason="before").to_json() if path == "/api/resume" else None
    body = {"reason": "x", "confirm": path.rpartition("/")[2], **({"seen": seen} if seen else {})}
    assert switch.post(path, body, Sec_Fetch_Site="same-origin").status_code == status
    assert (current_stop(switch.session) is None) == (seen is None)
    assert len(audit_log(switch.session)) == (seen is not None)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("http://airflow.example", True), ("http://other.example", False), ("", False), ("null", False)],
)
def test_a_proxy_that_rewrites_the_host(switch, monkeypatch, origin, allowed):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://Airflow.example/prefix")
    assert switch.post("/api/stop", STOP, Host="internal:8080", Origin=origin).status_code == (200 if allowed else 403)


@pytest.mark.parametrize("path", ["/api/stop", "/api/resume"])
@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"}, False),
        ({"Origin": "http://testserver"}, True),
        ({"Origin": "http://TestServer"}, True),
        ({"Origin": "http://testserver:8080"}, False),
        ({"Origin": "http://testserver.example"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({}, False),
    ],
)
def test_where_a_request_may_come_from(switch, path, headers, allowed):
    seen = stop_moves(switch.session, by="joe", reason="before").to_json()
    body = {"reason": "x", "confirm": path.rpartition("/")[2], **({"seen": seen} if "resume" in path else {})}
    answer = switch.client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json", **headers})
    assert answer.status_code == (200 if allowed else 403), answer.text
    assert len(audit_log(switch.session)) == 1 + allowed


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json5", ""]
)
def test_only_json_is_taken(switch, kind):
    headers = {"Content-Type": kind, **SAME_ORIGIN}
    answer = switch.client.post("/api/stop", content=json.dumps(STOP), headers=headers)
    assert answer.status_code in (415, 422)
    assert current_stop(switch.session) is None


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "head", "options"])
@pytest.mark.parametrize("path", ["/api/stop", "/api/resume"])
def test_no_other_method(switch, method, path):
    assert switch.client.request(method, path, headers=SAME_ORIGIN).status_code == 405


@pytest.mark.parametrize(
    "changes",
    [
        {"confirm": ""},
        {"confirm": "yes"},
        {"confirm": "resume"},
        {"reason": " "},
        {"reason": "x" * 1001},
        {"reason": None},
        {"more": 1},
    ],
)
def test_an_order_that_is_not_complete(switch, changes):
    assert switch.stop(**changes).status_code == 422
    assert current_stop(switch.session) is None
    assert audit_log(switch.session) == []


def test_a_stop_that_changed_meanwhile_is_not_lifted(switch):
    seen = switch.stop().json()["stop"]
    other = stop_moves(switch.session, by="joe", reason="audit")
    answer = resume(switch, seen)
    assert answer.status_code == 409
    assert "jane, joe: market; audit" in answer.json()["detail"]
    assert current_stop(switch.session) == other
    assert resume(switch, other.to_json()).status_code == 200
    assert resume(switch, other.to_json()).status_code == 409


@pytest.mark.parametrize("seen", [{}, None, [], {"by": "jane"}, {"by": "jane", "reason": 5, "at": None}])
def test_what_nobody_can_have_seen(switch, seen):
    switch.stop()
    assert resume(switch, seen).status_code == 422
    assert current_stop(switch.session) is not None


@pytest.mark.parametrize("allowed", [True, False])
def test_everybody_sees_the_stop(switch, monkeypatch, allowed):
    from airflow_provider_whitebit.plugins import treasury_stop
    from airflow_provider_whitebit.plugins.treasury_permissions import Permissions

    switch.stop()
    switch.allowed = allowed
    permissions = Permissions(None, switch.session)
    shown = treasury_stop.state(switch.session, permissions)
    assert (shown["stop"]["by"], shown["configuration"], shown["may_switch"]) == ("jane", None, allowed)
    monkeypatch.setenv("AIRFLOW__WHITEBIT__READ_ONLY", "True")
    assert "[whitebit] read_only" in treasury_stop.state(switch.session, permissions)["configuration"]
    monkeypatch.setenv("AIRFLOW__WHITEBIT__READ_ONLY", "maybe")
    assert "cannot be read" in treasury_stop.state(switch.session, permissions)["configuration"]


@pytest.mark.parametrize("path", ["/api/stop", "/api/resume"])
def test_answers_have_the_security_headers(switch, path):
    answer = switch.post(path, STOP)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
