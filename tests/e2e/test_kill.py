"""Task processes killed with -9 at random points of an invest and of a withdraw: each moves its money once."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

KILLS = int(os.environ.get("WHITEBIT_KILLS", "5"))
DAG = "whitebit_kill"


def process_of(airflow, run_id, task, patience=90):
    """The process of a task's first try, as soon as it tells it."""
    told = Path(airflow.home) / "processes" / run_id.replace("/", "_") / f"{task}.1"
    for _ in range(patience):
        insist(airflow, run_id)
        for _ in range(100):
            if told.exists() and (text := told.read_text()):
                return int(text)
            time.sleep(0.01)
    raise AssertionError(f"{task} did not start; {airflow.problems(DAG)}")


def insist(airflow, run_id):
    """Airflow before 3.1 does not retry a task that was killed with -9: a person clears it."""
    for task in ("invest", "withdraw"):
        if airflow.task(DAG, run_id, task)["state"] == "failed":
            airflow.clear(DAG, run_id, task)


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_task_moves_its_money_once(airflow, number):
    chance = random.Random(number)
    airflow.sandbox.clear_faults()
    # Every answer takes its time, so that kills fall between all steps.
    airflow.sandbox.fault("delay_reply", path="/api/*", seconds="0.15")
    before = {entry["transaction_id"] for entry in airflow.sandbox.ledger()["transactions"]}
    airflow.api.wait(DAG, lambda: airflow.api.call("GET", f"/api/v2/dags/{DAG}"), 60, airflow.process)
    run = airflow.api.call("POST", f"/api/v2/dags/{DAG}/dagRuns", {"logical_date": None, "conf": {}})
    run_id = run["dag_run_id"]
    killed = 0
    for task in ("invest", "withdraw"):
        process = process_of(airflow, run_id, task)
        time.sleep(chance.uniform(0, 2.5))
        try:
            os.kill(process, signal.SIGKILL)
            killed += 1
        except ProcessLookupError:
            pass
    airflow.sandbox.clear_faults()
    state = airflow.finished(DAG, run_id, seconds=240)["state"]
    if state == "failed":
        insist(airflow, run_id)
        state = airflow.finished(DAG, run_id, seconds=240)["state"]
    assert state == "success", airflow.problems(DAG)
    books = airflow.sandbox.ledger()
    assert books["balanced"]
    done = [
        entry for entry in books["transactions"] if entry["nonce"] is not None and entry["transaction_id"] not in before
    ]
    told = [airflow.returned(DAG, run_id, task)["transaction_id"] for task in ("invest", "withdraw")]
    assert [entry["transaction_id"] for entry in done] == told, f"{killed} kills: {done}"
    assert [(entry["action"] in (1, 6), entry["amount"]) for entry in done] == [(True, "5"), (False, "2.5")]
