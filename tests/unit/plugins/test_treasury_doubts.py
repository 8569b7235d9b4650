"""The page's part for one move in doubt: who may see it, who may answer, and what is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from types import SimpleNamespace

import pytest

# The application with an auth manager that needs no database.
from test_treasury_app import desk  # noqa: F401 - a fixture
from treasury_rows import ACCOUNT, history, intent

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError, WhiteBitUnavailableError
from airflow_provider_whitebit.control import examination
from airflow_provider_whitebit.control.connections import KnownKey
from airflow_provider_whitebit.hooks.doubts import DOUBT, RESOLUTION
from airflow_provider_whitebit.moves.evidence import Trace
from airflow_provider_whitebit.moves.examination import Observation
from airflow_provider_whitebit.plugins.treasury_cache import SingleFlightCache
from airflow_provider_whitebit.plugins.whitebit import HAS_PAGES

pytestmark = pytest.mark.skipif(not HAS_PAGES, reason="Airflow 3.0 shows no pages of plugins")

SENT = 1_763_900_000
KEY = "whitebit_move__desk.invest.flex_invest__" + 32 * "a" + "__1"
OF = "Move of desk|manual__1|invest|-1|flex_invest"
SAME = {"Sec-Fetch-Site": "same-origin"}
ANSWER = {
    "intent_id": "int-1",
    "answer": "ran",
    "transaction_id": "tx-1",
    "reason": "Seen on the site",
    "confirm": "100.5 USDT",
}


@pytest.fixture
def doubt(desk, monkeypatch):  # noqa: F811
    """The application with one move in doubt, and an exchange that shows two records."""
    from airflow.api_fastapi.core_api.security import get_user

    from airflow_provider_whitebit.plugins import treasury_doubts

    desk.traces = [Trace(f"tx-{n}", SENT + n, Decimal("100.5"), 1, name=f"1:tx-{n}#1") for n in (1, 2)]
    desk.observed = []
    desk.edits = True

    def observe(*_):
        desk.observed.append(1)
        if isinstance(desk.traces, Exception):
            raise desk.traces
        return Observation(SENT + 3600, tuple(desk.traces))

    def find_key(session, intent, conn_id, may_read):
        if not may_read("whitebit_default"):
            raise WhiteBitConfigurationError("You are not allowed to read the connection.")
        settings = SimpleNamespace(account=ACCOUNT)
        return KnownKey("whitebit_default", settings, 10_000, ("whitebit_default",), (ACCOUNT,))

    def may_use(*, method, access_entity, details, user):
        assert access_entity.value == "TASK_INSTANCE"
        allowed = desk.edits if method == "PUT" else desk.manager.tasks
        return allowed and details.id in desk.manager.dags

    monkeypatch.setattr(treasury_doubts, "observe", observe)
    monkeypatch.setattr(examination, "observe", observe)
    monkeypatch.setattr(examination, "find_key", find_key)
    monkeypatch.setattr(treasury_doubts, "observations", SingleFlightCache())
    monkeypatch.setattr(desk.manager, "is_authorized_dag", may_use)
    desk.app.dependency_overrides[get_user] = lambda: SimpleNamespace(get_name=lambda: "jane")
    desk.tables.task()
    desk.tables.variable(KEY, json.dumps(history(intent())), OF)
    return desk


def look(desk, name="int-1"):  # noqa: F811
    return desk.client.get("/api/doubt", params={"intent_id": name})


def mark(desk):  # noqa: F811
    """Of the evidence that a user sees."""
    shown = look(desk).json()
    return shown["evidence"]["mark"] if shown.get("evidence") else ""


def post(desk, headers=SAME, **changes):  # noqa: F811
    return desk.client.post("/api/doubt", json={**ANSWER, "seen": mark(desk), **changes}, headers=headers)


def kept(desk):  # noqa: F811
    from airflow.models.variable import Variable
    from sqlalchemy import select

    row = desk.tables.session.scalar(select(Variable).where(Variable.key == f"{RESOLUTION}int-1"))
    return None if row is None else json.loads(row.val)


def test_the_evidence(doubt):
    answer = look(doubt)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    shown = answer.json()
    assert (shown["may_resolve"], shown["confirm"], shown["error"]) == (True, "100.5 USDT", None)
    found = shown["evidence"]
    assert [one["transaction"] for one in found["candidates"]] == found["remains"] == ["tx-1", "tx-2"]
    assert found["needs_person"] is True
    assert found["attempts"] == [{"sent": f"2025-11-23T12:13:20+00:00 (nonce {SENT}000)", "outcome": "pending"}]
    assert ACCOUNT not in answer.text


def test_many_viewers_ask_the_exchange_once(doubt):
    for _ in range(5):
        assert look(doubt).status_code == 200
    assert doubt.observed == [1]


def test_while_another_viewer_asks(doubt, monkeypatch):
    from airflow_provider_whitebit.plugins import treasury_doubts

    monkeypatch.setattr(treasury_doubts, "observations", SingleFlightCache(concurrent=0))
    assert look(doubt).json()["evidence"] is None


def test_an_exchange_that_does_not_answer(doubt):
    doubt.traces = WhiteBitUnavailableError("The connection to the exchange failed.")
    shown = look(doubt).json()
    assert (shown["evidence"], shown["error"]["message"]) == (None, "The connection to the exchange failed.")
    answer = post(doubt)
    assert (answer.status_code, kept(doubt)) == (409, None)


def test_an_answer(doubt):
    answer = post(doubt)
    assert answer.status_code == 200, answer.text
    assert answer.json()["message"] == "Kept: jane says that move int-1 ran. It is tx-1."
    assert answer.json()["next_step"].startswith("Clear the task: task invest of desk, run manual__1.")
    assert (kept(doubt)["answer"], kept(doubt)["resolved_by"], kept(doubt)["reference"]) == ("ran", "jane", "tx-1")
    assert look(doubt).json()["evidence"]["answer"]["by"] == "jane"


def test_another_answer_after_the_first_is_refused(doubt):
    assert post(doubt).status_code == 200
    answer = post(doubt, answer="did_not_run", transaction_id=None)
    assert answer.status_code == 409
    assert "jane has already answered" in answer.json()["detail"]
    assert kept(doubt)["answer"] == "ran"


@pytest.mark.parametrize("given", ["ran", "did_not_run"])
def test_an_answer_about_evidence_that_the_user_has_not_seen(doubt, given):
    transaction = {"transaction_id": "tx-1" if given == "ran" else None}
    seen = mark(doubt)
    # The exchange recorded the move late: the user who says that it did not run has not seen this record.
    doubt.traces.append(Trace("tx-3", SENT + 3, Decimal("100.5"), 1, name="1:tx-3#1"))
    for one in (seen, ""):
        answer = post(doubt, answer=given, seen=one, **transaction)
        assert answer.status_code == 409
        assert answer.json()["detail"].startswith("The evidence has changed since you saw it. Nothing was changed.")
    assert kept(doubt) is None


def test_records_of_other_moves_are_left_out(doubt):
    receipt = {"operation": "flex_invest", "transaction_id": "tx-2", "plan_id": intent().move.plan_id, "ticker": "USDT"}
    receipt |= {"amount": "100.5", "status": "executed", "executed_at": "2025-11-23T12:13:21Z", "attempts": 1}
    doubt.tables.event({**receipt, "reconciled": False, "intent_id": "int-2"}, dag="secret")
    found = look(doubt).json()["evidence"]
    assert (found["needs_person"], found["excluded"]) == (False, ["tx-2"])
    # The user may not read the DAG whose receipt explains the record.
    assert found["candidates"][1]["explained_by"]["task"] is None
    assert "secret" not in look(doubt).text
    assert doubt.client.post("/api/doubt", json={"intent_id": "int-1", "answer": "explained"}, headers=SAME).is_success
    assert (kept(doubt)["answer"], kept(doubt)["explained"]) == ("explained", ["tx-2"])


@pytest.mark.parametrize(
    ("denied", "seen", "status"),
    [
        ({}, 200, 200),
        ({"edits": False}, 200, 403),
        ({"tasks": False}, 404, 404),
        ({"dags": set()}, 404, 404),
        ({"variables": False}, 404, 404),
        ({"connections": set()}, "error", 409),
    ],
    ids=str,
)
def test_who_may_see_and_answer(doubt, denied, seen, status):
    for name, value in denied.items():
        setattr(doubt if name == "edits" else doubt.manager, name, value)
    shown = look(doubt)
    if seen == "error":
        assert shown.json()["evidence"] is None
        assert "not allowed to read the connection" in shown.json()["error"]["message"]
    else:
        assert shown.status_code == seen
    if shown.status_code == 200:
        assert shown.json()["may_resolve"] is ("edits" not in denied)
    assert post(doubt).status_code == status
    assert (kept(doubt) is not None) is (status == 200)


def test_nothing_without_a_login(doubt):
    doubt.logged_in(False)
    assert (look(doubt).status_code, post(doubt).status_code, kept(doubt)) == (401, 401, None)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (SAME, 200),
        ({"Origin": "http://testserver"}, 200),
        ({}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://testserver.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        (SAME | {"Content-Type": "text/plain"}, 415),
        (SAME | {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (SAME | {"Content-Type": "multipart/form-data; boundary=application/json"}, 415),
    ],
    ids=str,
)
def test_requests_of_other_sites_are_refused(doubt, headers, status):
    headers = {"Content-Type": "application/json"} | headers
    answer = doubt.client.post("/api/doubt", content=json.dumps({**ANSWER, "seen": mark(doubt)}), headers=headers)
    assert answer.status_code == status
    assert (kept(doubt) is not None) is (status == 200)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"confirm": ""}, 422),
        ({"confirm": "100.50 USDT"}, 422),
        ({"confirm": "yes"}, 422),
        ({"confirm": " 100.5 USDT "}, 200),
        ({"reason": ""}, 409),
        ({"reason": " \u202e\n"}, 409),
        ({"transaction_id": "tx-9"}, 409),
        ({"transaction_id": None}, 409),
        ({"answer": "maybe"}, 422),
        ({"answer": None}, 422),
        ({"answer": "did_not_run"}, 409),
        ({"intent_id": "int-2"}, 404),
        ({"intent_id": "int\x00"}, 422),
        ({"intent_id": "%"}, 422),
        ({"intent_id": "x" * 101}, 422),
        ({"reason": "x" * 501}, 422),
        ({"reason": ["x"]}, 422),
        ({"seen": "x"}, 409),
        ({"seen": "x" * 101}, 422),
        ({"more": 1}, 422),
    ],
    ids=str,
)
def test_what_is_refused(doubt, changes, status):
    answer = post(doubt, **changes)
    assert answer.status_code == status, answer.text
    assert (kept(doubt) is not None) is (status == 200)
    if status != 200:
        assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize("body", ["", "[]", "null", "{", '{"reason": "\\ud800"}', "[" * 100_000], ids=range(6))
def test_a_body_that_is_no_answer(doubt, body):
    headers = SAME | {"Content-Type": "application/json"}
    assert doubt.client.post("/api/doubt", content=body, headers=headers).status_code in (400, 422)


@pytest.mark.parametrize("name", ["", "%00", "a b", "x" * 200, "<script>"])
def test_an_odd_name(doubt, name):
    assert look(doubt, name).status_code == 422


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "null", "{}", '{"intent": {}}', "[" * 100_000, '{"a": "\\ud800"}', '{"nonces": [1e999]}'],
    ids=range(9),
)
@pytest.mark.parametrize("prefix", [DOUBT, RESOLUTION])
def test_variables_with_anything_in_them(doubt, prefix, text):
    doubt.tables.variable(f"{prefix}int-1", text, "")
    assert doubt.client.get("/api/treasury").status_code == 200
    assert look(doubt).status_code == 200
    assert post(doubt).status_code == 200


@pytest.mark.parametrize("odd", [10**18, -(10**18), 10**30], ids=str)
@pytest.mark.parametrize("name", ["nonce", "earliest"])
def test_a_journal_with_times_that_are_none(doubt, name, odd):
    from airflow.models.variable import Variable
    from sqlalchemy import select

    document = history(intent())
    document["intents"][0]["attempts"][0][name] = odd
    doubt.tables.session.scalar(select(Variable).where(Variable.key == KEY)).set_val(json.dumps(document))
    doubt.tables.session.commit()
    assert doubt.client.get("/api/treasury").status_code == 200
    assert look(doubt).status_code in (200, 404)
    assert post(doubt).status_code in (200, 404, 409)


def test_a_task_that_runs_is_left_alone(doubt):
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import update

    doubt.tables.session.execute(update(TaskInstance.__table__).values(state="running"))
    answer = post(doubt)
    assert answer.status_code == 409
    assert "is running" in answer.json()["detail"]


def test_the_scripts_insert_text_as_text(doubt):
    script = doubt.client.get("/static/treasury/doubts.js").text
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://", "style="):
        assert forbidden not in script
