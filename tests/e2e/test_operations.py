"""The claims of docs/operations.md: connections from a secrets backend, replacing a key while tasks run, tasks that end
while the exchange's answer is outstanding, and two regions."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import urllib.parse
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from airflow_provider_whitebit.testing import SandboxProcess
from tests.running_airflow import AIRFLOW_VERSION

INVEST = "/investments/invest"


@pytest.fixture
def key(airflow):
    """A function that adds an API key to the account and returns a connection with it."""
    airflow.sandbox.clear_faults()
    given = []

    def give(name, **extra):
        airflow.sandbox.add_key(f"vault-key-{name}", f"vault-secret-{name}")
        given.append(f"vault-key-{name}")
        known = {"login": f"vault-key-{name}", "password": f"vault-secret-{name}"}
        extra = {"reconcile_margin": 2} | extra
        return json.loads(airflow.sandbox.connection_json) | known | {"extra": json.dumps(extra)}

    yield give
    airflow.sandbox.clear_faults()
    for name in given:
        with contextlib.suppress(ValueError):
            airflow.sandbox.revoke_key(name)


def sent_with(airflow, since):
    """Return the API keys that the investments were sent with."""
    return [entry["api_key"] for entry in airflow.sandbox.requests()[since:] if entry["path"].endswith(INVEST)]


def transactions(airflow):
    """Return the transactions of all moves, except those with the first key: other DAGs may still make some."""
    others = {entry["transaction_id"] for entry in airflow.sandbox.requests() if entry["api_key"] == "sandbox-key"}
    return [name for entry in airflow.moves() if (name := entry["transaction_id"]) not in others]


def process_of(airflow, run_id, task_id):
    """Return the process id of a task's first try."""
    file = airflow.home / "vault" / f"{run_id.replace('/', '_')}.{task_id}.1"
    airflow.wait("the task's process", file.exists)
    return int(file.read_text())


def no_secret_in_logs(airflow, dag_id):
    text = airflow.logs(dag_id) + (airflow.home / "standalone.log").read_text()
    assert "whitebit_vault" in text
    assert "vault-key" not in text
    assert "vault-secret" not in text


def test_a_connection_from_a_secrets_backend(airflow, key):
    dag_id = "whitebit_e2e_vault"
    airflow.keep_connections(whitebit_vault=key("only"))
    before, since = len(transactions(airflow)), len(airflow.sandbox.requests())
    # The triggerer reconciles the lost answer. It reads the connection from the backend, too.
    receipt, _ = airflow.run_with_a_lost_answer(dag_id)
    assert "did run: the exchange's records show it" in airflow.logs(dag_id)
    assert transactions(airflow)[before:] == [receipt["transaction_id"]]
    # The sensor, the move and its reconciliation. Other DAGs of this Airflow may use another key.
    assert sent_with(airflow, since) == ["vault-key-only"]
    paths = {
        entry["path"].rsplit("/", 1)[1]
        for entry in airflow.sandbox.requests()[since:]
        if entry["api_key"] == "vault-key-only"
    }
    assert {"balance", "invest", "history"} <= paths
    no_secret_in_logs(airflow, dag_id)
    # The API server reads it, too: for the test button and the Treasury page.
    if AIRFLOW_VERSION >= (3, 3):
        tested = airflow.api.call(
            "POST", "/api/v2/connections/test", {"connection_id": "whitebit_vault", "conn_type": "whitebit"}
        )
        assert tested["status"], tested
    if AIRFLOW_VERSION >= (3, 1):
        seen = airflow.api.call("GET", "/whitebit/api/treasury?conn_id=whitebit_vault")
        assert seen["accounts"][0]["exchange"]["error"] is None
        assert [move["transaction_id"] for move in seen["airflow"]["moves"]] == [receipt["transaction_id"]]
        assert "whitebit_vault" in airflow.api.call("GET", "/whitebit/api/connections")["connections"]


@pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="Airflow lists no Variables to tasks before 3.3")
def test_a_journal_that_airflow_cannot_decrypt(airflow, key):
    """As after a change of the Fernet key without the old one: Airflow says that there is no such Variable."""
    dag_id = "whitebit_e2e_vault"
    airflow.keep_connections(whitebit_vault=key("fernet"))
    run = airflow.run(dag_id)
    assert run["state"] == "success", airflow.problems(dag_id)
    receipt = airflow.returned(dag_id, run["dag_run_id"], "invest")
    before = transactions(airflow)

    def replace_texts(change):
        with contextlib.closing(sqlite3.connect(airflow.home / "airflow.db", timeout=60)) as db, db:
            names = f"whitebit_move\\_\\_{dag_id}.invest%"
            for name, text in db.execute(
                "SELECT key, val FROM variable WHERE key LIKE ? ESCAPE '\\'", (names,)
            ).fetchall():
                kept.setdefault(name, text)
                db.execute("UPDATE variable SET val = ? WHERE key = ?", (change(name), name))

    kept = {}
    replace_texts(lambda name: Fernet(Fernet.generate_key()).encrypt(b"{}").decode())
    assert kept
    airflow.clear(dag_id, run["dag_run_id"], "invest")
    assert airflow.finished(dag_id, run["dag_run_id"])["state"] == "failed"
    assert "cannot decrypt it" in airflow.problems(dag_id)
    replace_texts(kept.__getitem__)
    airflow.clear(dag_id, run["dag_run_id"], "invest")
    assert airflow.finished(dag_id, run["dag_run_id"])["state"] == "success", airflow.problems(dag_id)
    assert airflow.returned(dag_id, run["dag_run_id"], "invest") == receipt
    assert transactions(airflow) == before


def test_no_task_fails_while_the_key_is_replaced(airflow, key):
    dag_id = "whitebit_e2e_keys"
    # A long margin, so that both moves are in doubt at the same time.
    old = key("old", reconcile_margin=20)
    airflow.keep_connections(whitebit_vault=old)
    airflow.sandbox.fault("lost_reply_after", path=f"*{INVEST}", count=2)
    before, since = len(transactions(airflow)), len(airflow.sandbox.requests())
    run_id = airflow.begin(dag_id)

    def both_in_doubt():
        deferred = airflow.task(dag_id, run_id, "deferred")["state"] == "deferred"
        return deferred and len(sent_with(airflow, since)) == 2

    airflow.wait("two lost answers", both_in_doubt)
    os.kill(process_of(airflow, run_id, "killed"), signal.SIGKILL)
    new = key("new", previous_conn_id="whitebit_vault_before")
    airflow.keep_connections(whitebit_vault=new, whitebit_vault_before=old)

    if airflow.finished(dag_id, run_id)["state"] == "failed" and AIRFLOW_VERSION < (3, 1):
        # Airflow before 3.1 does not retry a task that was killed with SIGKILL, so an operator clears it.
        airflow.clear(dag_id, run_id, "killed")
    assert airflow.finished(dag_id, run_id)["state"] == "success", airflow.problems(dag_id)
    receipts = {task: airflow.returned(dag_id, run_id, task) for task in ("deferred", "killed", "later")}
    made = {receipt["transaction_id"] for receipt in receipts.values()}
    assert (len(made), set(transactions(airflow)[before:])) == (3, made)
    assert [receipts[task]["reconciled"] for task in receipts] == [True, True, False]
    assert sent_with(airflow, since) == ["vault-key-old", "vault-key-old", "vault-key-new"]
    # Every move with the old key has ended, so the key can be revoked.
    airflow.keep_connections(whitebit_vault=new | {"extra": old["extra"]})
    airflow.sandbox.revoke_key("vault-key-old")
    airflow.clear(dag_id, run_id, "later")
    assert airflow.finished(dag_id, run_id)["state"] == "success", airflow.problems(dag_id)
    assert airflow.returned(dag_id, run_id, "later") == receipts["later"]
    assert len(transactions(airflow)) == before + 3
    no_secret_in_logs(airflow, dag_id)


class Outstanding:
    """A move that is made, and whose answer is delayed until after the test."""

    def __init__(self, airflow):
        self._airflow = airflow
        airflow.sandbox.fund("EURI", "100")
        self._before, self._since = transactions(airflow), len(airflow.sandbox.requests())
        airflow.sandbox.fault("delay_reply", path=f"*{INVEST}", count=1, seconds=180)

    def begin(self, dag_id):
        """Trigger a DAG and wait until its move is made. :returns: the id of the run."""
        for _ in range(3):
            run_id = self._airflow.begin(dag_id)
            path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"

            def made_or_over(path=path):
                return self.made() or self._airflow.api.call("GET", path)["state"] in ("success", "failed")

            self._airflow.wait("the move", made_or_over, every=0.1)
            if self.made():
                assert len(sent_with(self._airflow, self._since)) == 1
                return run_id
            # On a very busy machine its timeout can pass before it starts.
        raise AssertionError(f"{dag_id} made no move: {self._airflow.problems(dag_id)}")

    def made(self):
        """Return the transactions that were made since then."""
        return transactions(self._airflow)[len(self._before) :]


@pytest.fixture
def outstanding(airflow, key):
    # The timeout is long, so the task waits for the answer until something else ends it.
    airflow.keep_connections(whitebit_vault=key("patient", timeout=240))
    return Outstanding(airflow)


def ended(airflow, run_id, task_id="invest"):
    """Wait until the process of a task's first try has ended."""
    process = process_of(airflow, run_id, task_id)

    def gone():
        try:
            return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    airflow.wait("the end of the task's process", gone)


def failure_callbacks(airflow, run_id):
    return [path.name for path in (airflow.home / "vault").glob(f"{run_id.replace('/', '_')}.*.failed")]


def shown_in_doubt(airflow, run_id):
    """Return whether the Treasury page shows the move of a run as in doubt; None before Airflow 3.1."""
    if AIRFLOW_VERSION < (3, 1):
        return None
    seen = airflow.api.call("GET", "/whitebit/api/treasury?conn_id=whitebit_vault")
    return any(doubt["task"]["run_id"] == run_id for doubt in seen["airflow"]["doubts"])


def reconciled_when_cleared(airflow, dag_id, run_id, outstanding, task_id="invest", clears=1):
    for _ in range(clears):
        airflow.clear(dag_id, run_id, task_id)
        if airflow.finished(dag_id, run_id)["state"] == "success":
            break
    else:
        raise AssertionError(airflow.problems(dag_id))
    receipt = airflow.returned(dag_id, run_id, task_id)
    assert receipt["reconciled"] is True
    assert outstanding.made() == [receipt["transaction_id"]]
    return receipt


def test_an_execution_timeout_while_the_answer_is_outstanding(airflow, outstanding):
    dag_id = "whitebit_e2e_execution_timeout"
    run_id = outstanding.begin(dag_id)
    assert airflow.finished(dag_id, run_id)["state"] == "success", airflow.problems(dag_id)
    receipt = airflow.returned(dag_id, run_id, "invest")
    assert "AirflowTaskTimeout" in airflow.logs(dag_id)
    assert airflow.task(dag_id, run_id, "invest")["try_number"] >= 2
    assert receipt["reconciled"] is True
    assert outstanding.made() == [receipt["transaction_id"]]


def test_a_dagrun_timeout_while_the_answer_is_outstanding(airflow, outstanding):
    dag_id = "whitebit_e2e_dagrun_timeout"
    run_id = outstanding.begin(dag_id)
    assert airflow.finished(dag_id, run_id)["state"] == "failed"
    assert airflow.task(dag_id, run_id, "invest")["state"] == "skipped"
    ended(airflow, run_id)
    # There is no retry, and no failure callback.
    assert airflow.task(dag_id, run_id, "invest")["try_number"] == 1
    assert failure_callbacks(airflow, run_id) == []
    assert shown_in_doubt(airflow, run_id) in (True, None)
    # On a very busy machine the timeout of the run can be too short for the cleared task, too.
    reconciled_when_cleared(airflow, dag_id, run_id, outstanding, clears=3)


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_task_is_marked_while_the_answer_is_outstanding(airflow, outstanding, state):
    dag_id = "whitebit_e2e_marked"
    run_id = outstanding.begin(dag_id)
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/invest"
    airflow.api.call("PATCH", path, {"new_state": state})
    ended(airflow, run_id)
    assert airflow.finished(dag_id, run_id)["state"] == state
    assert airflow.task(dag_id, run_id, "invest")["try_number"] == 1
    assert shown_in_doubt(airflow, run_id) in (state == "failed", None)
    reconciled_when_cleared(airflow, dag_id, run_id, outstanding)


@pytest.mark.skipif(AIRFLOW_VERSION < (3, 1), reason="Airflow 3.1 and later have deadline alerts")
def test_a_missed_deadline_only_sends_a_mail(airflow, key):
    dag_id = "whitebit_e2e_deadline"
    airflow.keep_connections(whitebit_vault=key("patient", timeout=240))
    airflow.sandbox.fault("delay_reply", path=f"*{INVEST}", count=1, seconds=15)
    before = transactions(airflow)
    run_id = airflow.begin(dag_id)

    def mailed():
        return any(mail["Subject"] == "The deadline was missed" for mail in airflow.mail)

    airflow.wait("the mail", mailed)
    assert airflow.finished(dag_id, run_id)["state"] == "success", airflow.problems(dag_id)
    receipt = airflow.returned(dag_id, run_id, "invest")
    assert (receipt["reconciled"], airflow.task(dag_id, run_id, "invest")["try_number"]) == (False, 1)
    assert transactions(airflow)[len(before) :] == [receipt["transaction_id"]]


@pytest.fixture
def eu():
    """The other region's exchange."""
    sandbox = SandboxProcess()
    sandbox.add_key("eu-key", "eu-secret")
    yield sandbox
    sandbox.stop()


def events_of(airflow, run_id):
    """Return the assets and transactions of a run's asset events."""
    path = f"/api/v2/assets/events?source_run_id={urllib.parse.quote(run_id)}"
    events = airflow.api.call("GET", path)["asset_events"]
    return {(event["uri"], event["extra"]["transaction_id"]) for event in events if event["uri"].endswith("/moves")}


def test_two_regions(airflow, key, eu):
    dag_id = "whitebit_e2e_regions"
    extra = json.dumps({"reconcile_margin": 2, "timeout": 240, "region": "eu"})
    european = json.loads(eu.connection_json) | {"login": "eu-key", "password": "eu-secret", "extra": extra}
    worldwide = key("global", timeout=240, region="global")
    airflow.keep_connections(whitebit_global=worldwide, whitebit_eu=european)
    outstanding = Outstanding(airflow)
    run_id = outstanding.begin(dag_id)

    def made_in_eu():
        return airflow.task(dag_id, run_id, "eu")["state"] == "success"

    airflow.wait("the move in the other region", made_in_eu)
    airflow.api.call("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/global", {"new_state": "failed"})
    ended(airflow, run_id, "global")
    assert airflow.finished(dag_id, run_id)["state"] == "failed"
    elsewhere = airflow.returned(dag_id, run_id, "eu")
    # The other region's records show an equal move, which proves nothing about this one.
    airflow.keep_connections(whitebit_global=european, whitebit_eu=european)
    requests = len(eu.requests())
    airflow.clear(dag_id, run_id, "global")
    assert airflow.finished(dag_id, run_id)["state"] == "failed"
    assert "another API key" in airflow.problems(dag_id)
    assert len(eu.requests()) == requests
    airflow.keep_connections(whitebit_global=worldwide, whitebit_eu=european)
    receipt = reconciled_when_cleared(airflow, dag_id, run_id, outstanding, "global")
    made = [entry["transaction_id"] for entry in eu.ledger()["transactions"] if entry["nonce"] is not None]
    assert (made, elsewhere["reconciled"]) == ([elsewhere["transaction_id"]], False)
    assert (elsewhere["plan_id"], elsewhere["amount"]) == (receipt["plan_id"], receipt["amount"])
    assert events_of(airflow, run_id) == {
        ("whitebit://whitebit_eu/moves", elsewhere["transaction_id"]),
        ("whitebit://whitebit_global/moves", receipt["transaction_id"]),
    }
