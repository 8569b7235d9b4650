"""What docs/operations.md says: connections out of a secrets backend, and an exchange of keys that no task notices."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from importlib.metadata import version

import pytest

VERSION = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
INVEST = "/investments/invest"


@pytest.fixture
def key(airflow):
    """Gives the account one more key; the connection that holds it."""
    airflow.sandbox.clear_faults()
    given = []

    def give(name, **extra):
        airflow.sandbox.add_key(f"vault-key-{name}", f"vault-secret-{name}")
        given.append(f"vault-key-{name}")
        known = {"login": f"vault-key-{name}", "password": f"vault-secret-{name}"}
        extra = {"settle_margin": 2} | extra
        return json.loads(airflow.sandbox.connection_json) | known | {"extra": json.dumps(extra)}

    yield give
    airflow.sandbox.clear_faults()
    for name in given:
        with contextlib.suppress(ValueError):
            airflow.sandbox.revoke_key(name)


def sent_with(airflow, since):
    """The keys that the investments were sent with."""
    return [entry["api_key"] for entry in airflow.sandbox.requests()[since:] if entry["path"].endswith(INVEST)]


def transactions(airflow):
    return [entry["transaction_id"] for entry in airflow.sandbox.ledger()["transactions"] if entry["nonce"] is not None]


def no_secret_in_logs(airflow, dag_id):
    text = airflow.logs(dag_id) + (airflow.home / "standalone.log").read_text()
    assert "whitebit_vault" in text
    assert "vault-key" not in text
    assert "vault-secret" not in text


def test_a_connection_out_of_a_secrets_backend(airflow, key):
    dag_id = "whitebit_e2e_vault"
    airflow.keep_connections(whitebit_vault=key("only"))
    airflow.sandbox.fault("lost_reply_after", path=f"*{INVEST}", count=1)
    before, asked = len(transactions(airflow)), len(airflow.sandbox.requests())
    run = airflow.run(dag_id)
    assert run["state"] == "success", airflow.problems(dag_id)
    receipt = airflow.returned(dag_id, run["dag_run_id"], "invest")
    # The lost answer was looked for by the triggerer, which has the connection from the backend as well.
    assert receipt["reconciled"] is True
    assert "did run: the exchange's records show it" in airflow.logs(dag_id)
    assert transactions(airflow)[before:] == [receipt["transaction_id"]]
    assert {entry["api_key"] for entry in airflow.sandbox.requests()[asked:] if "/public/" not in entry["path"]} == {
        "vault-key-only"
    }
    no_secret_in_logs(airflow, dag_id)
    # The API server has it too: for the test button and for the Treasury page.
    if VERSION >= (3, 3):
        tested = airflow.api.call(
            "POST", "/api/v2/connections/test", {"connection_id": "whitebit_vault", "conn_type": "whitebit"}
        )
        assert tested["status"], tested
    if VERSION >= (3, 1):
        seen = airflow.api.call("GET", "/whitebit/api/treasury?conn_id=whitebit_vault")
        assert seen["exchange"]["error"] is None
        assert [move["transaction_id"] for move in seen["airflow"]["moves"]] == [receipt["transaction_id"]]
        assert "whitebit_vault" in airflow.api.call("GET", "/whitebit/api/connections")["connections"]


def test_no_task_fails_while_the_key_is_exchanged(airflow, key):
    dag_id = "whitebit_e2e_keys"
    old = key("old")
    airflow.keep_connections(whitebit_vault=old)
    airflow.sandbox.fault("lost_reply_after", path=f"*{INVEST}", count=2)
    before, asked = len(transactions(airflow)), len(airflow.sandbox.requests())
    run_id = airflow.begin(dag_id)

    def both_in_doubt():
        deferred = airflow.task(dag_id, run_id, "deferred")["state"] == "deferred"
        return deferred and len(sent_with(airflow, asked)) == 2

    airflow.api.wait("two lost answers", both_in_doubt, 90, airflow.process)
    told = airflow.home / "vault" / f"{run_id.replace('/', '_')}.1"
    os.kill(int(told.read_text()), signal.SIGKILL)
    new = key("new", former_connection="whitebit_vault_before")
    airflow.keep_connections(whitebit_vault=new, whitebit_vault_before=old)

    def ended():
        if VERSION < (3, 1) and airflow.task(dag_id, run_id, "killed")["state"] == "failed":
            # Airflow before 3.1 does not retry a task that was killed with -9: a person clears it.
            airflow.clear(dag_id, run_id, "killed")
        return airflow.api.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"] in ("success", "failed")

    airflow.api.wait("the end", ended, 120, airflow.process)
    assert airflow.finished(dag_id, run_id)["state"] == "success", airflow.problems(dag_id)
    receipts = {task: airflow.returned(dag_id, run_id, task) for task in ("deferred", "killed", "later")}
    made = {receipt["transaction_id"] for receipt in receipts.values()}
    assert (len(made), set(transactions(airflow)[before:])) == (3, made)
    assert [receipts[task]["reconciled"] for task in receipts] == [True, True, False]
    assert sent_with(airflow, asked) == ["vault-key-old", "vault-key-old", "vault-key-new"]
    # All that was begun with the old key is over: it can go.
    airflow.keep_connections(whitebit_vault=new | {"extra": old["extra"]})
    airflow.sandbox.revoke_key("vault-key-old")
    airflow.clear(dag_id, run_id, "later")
    assert airflow.finished(dag_id, run_id)["state"] == "success", airflow.problems(dag_id)
    assert airflow.returned(dag_id, run_id, "later") == receipts["later"]
    assert len(transactions(airflow)) == before + 3
    no_secret_in_logs(airflow, dag_id)
