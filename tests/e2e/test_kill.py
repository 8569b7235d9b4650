"""Kills task processes at random points of their moves, the exchange, the API server and the triggerer."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.running_airflow import PATIENCE

KILLS = int(os.environ.get("WHITEBIT_KILLS", "3"))
DAG = "whitebit_kill"
TASKS = ("invest", "withdraw")


def process_of(airflow, run_id, task):
    """Wait until a task's first try has written its process id, and return it."""
    file = Path(airflow.home) / "processes" / run_id.replace("/", "_") / f"{task}.1"
    for _ in range(PATIENCE):
        airflow.clear_failed(DAG, run_id, *TASKS)
        for _ in range(100):
            if file.exists() and (text := file.read_text()):
                return int(text)
            time.sleep(0.01)
    raise AssertionError(f"{task} did not start; {airflow.problems(DAG)}")


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_task_moves_its_money_once(airflow, number):
    chance = random.Random(number)
    airflow.sandbox.fund("SOL", "2.5")
    airflow.sandbox.clear_faults()
    # Every answer is delayed, so that kills hit all steps.
    airflow.sandbox.fault("delay_reply", path="/api/*", seconds="0.15")
    before = len(airflow.moves())
    run_id = airflow.begin(DAG)
    killed = 0
    for task in TASKS:
        process = process_of(airflow, run_id, task)
        time.sleep(chance.uniform(0, 2.5))
        try:
            os.kill(process, signal.SIGKILL)
            killed += 1
        except ProcessLookupError:
            pass
    airflow.sandbox.clear_faults()
    moved_once(airflow, run_id, before, f"{killed} kills")


def moved_once(airflow, run_id, before, what):
    """Assert that the run succeeds, and that the ledger has its two moves once each, with its receipts."""
    state = airflow.finished(DAG, run_id)["state"]
    if state == "failed":
        airflow.clear_failed(DAG, run_id, *TASKS)
        state = airflow.finished(DAG, run_id)["state"]
    assert state == "success", airflow.problems(DAG)
    assert airflow.sandbox.ledger()["balanced"]
    done = airflow.moves()[before:]
    receipts = [airflow.returned(DAG, run_id, task)["transaction_id"] for task in TASKS]
    assert [entry["transaction_id"] for entry in done] == receipts, f"{what}: {done}"
    assert [(entry["action"] in (1, 6), entry["amount"]) for entry in done] == [(True, "5"), (False, "2.5")]


def arrival(airflow, path, count):
    """Wait until some more requests of a path have arrived at the sandbox."""

    def arrived():
        return sum(request["path"].endswith(path) for request in airflow.sandbox.requests())

    begin = arrived()
    airflow.wait(f"{count} requests of {path}", lambda: arrived() >= begin + count)


@pytest.mark.parametrize("number", range(2))
def test_the_exchange_goes_down_during_a_move(airflow, number):
    chance = random.Random(100 + number)
    airflow.sandbox.clear_faults()
    airflow.sandbox.fault("delay_reply", path="/api/*", seconds="0.15")
    before = len(airflow.moves())
    run_id = airflow.begin(DAG)
    process_of(airflow, run_id, "invest")
    time.sleep(chance.uniform(0.2, 2))
    airflow.sandbox.kill()
    time.sleep(chance.uniform(0.5, 4))
    airflow.sandbox.start_again()
    moved_once(airflow, run_id, before, "exchange killed")


@pytest.mark.parametrize("when", ["before the intent is written", "about then", "after it"])
def test_the_api_server_goes_down_while_an_intent_is_written(airflow, when):
    airflow.sandbox.clear_faults()
    before = len(airflow.moves())
    # The nonces of the turn come first, then the baseline; the intent is written after its answer, and sent at once.
    airflow.sandbox.fault("delay_reply", path="*/investments/history", seconds="1.2")
    airflow.sandbox.fault("delay_reply", path="*/investments/invest", seconds="3")
    run_id = airflow.begin(DAG)
    arrival(airflow, "/investments/history", 4)
    server = airflow.part("api-server")
    time.sleep({"before the intent is written": 0, "about then": 1.0, "after it": 2.5}[when])
    server.kill()
    time.sleep(3)
    airflow.sandbox.clear_faults()
    airflow.start_part(server)
    airflow.wait("the API server", airflow.api.healthy)
    moved_once(airflow, run_id, before, f"API server killed {when}")


def test_the_triggerer_goes_down_while_a_move_is_reconciled(airflow, request):
    dag_id = "whitebit_e2e_deferred"
    airflow.sandbox.clear_faults()
    # A long margin, so that the move is not reconciled before the triggerer is killed.
    patient = json.loads(airflow.env["AIRFLOW_CONN_WHITEBIT_DEFAULT"]) | {"extra": {"reconcile_margin": 20}}
    airflow.keep_connections(whitebit_default=patient)
    request.addfinalizer(airflow.keep_connections)
    before = len(airflow.moves())
    airflow.sandbox.fault("lost_reply_after", path="*/investments/invest", count=1)
    run_id = airflow.begin(dag_id)
    airflow.wait("the deferral", lambda: airflow.task(dag_id, run_id, "invest")["state"] == "deferred")
    triggerer = airflow.part("triggerer")
    triggerer.kill()
    time.sleep(2)
    assert airflow.task(dag_id, run_id, "invest")["state"] == "deferred"
    airflow.start_part(triggerer)
    assert airflow.finished(dag_id, run_id)["state"] == "success", airflow.problems(dag_id)
    receipt = airflow.returned(dag_id, run_id, "invest")
    assert receipt["reconciled"] is True
    assert [entry["transaction_id"] for entry in airflow.moves()[before:]] == [receipt["transaction_id"]]
