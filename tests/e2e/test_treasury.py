"""Treasury operators on a real Airflow: examples, approval by a person, kills during a plan."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from tests.running_airflow import AIRFLOW_VERSION

KILLS = max(1, int(os.environ.get("WHITEBIT_KILLS", "3")) // 5)
DAG = "whitebit_kill_plan"
USDT_A, USDT_B = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "1c9a4f60-2b3d-4e5f-8a7b-9c0d1e2f3a4b"
USDC_A, USDC_B = "502e8da4-6f71-4293-8ebf-3a4b5c6d7e8f", "613f9eb5-7082-43a4-9fc0-4b5c6d7e8f90"
#: Two policies: each moves the assets to other plans than the other one.
THERE = {
    "USDT": {"reserve": "1000", "plans": {"targets": {USDT_A: "0.3"}}},
    "USDC": {"plans": {"targets": {USDC_A: "0.1", USDC_B: "0.05"}}},
    "SOL": {"plans": {"max_amount": "20"}},
}
BACK = {
    "USDT": {"reserve": "1000", "plans": {"targets": {USDT_B: "0.25"}}},
    "USDC": {"plans": {"targets": {USDC_A: "0.02", USDC_B: "0.1"}}},
    "SOL": {"reserve_share": "1"},
}


def made_so_far(airflow):
    return {entry["transaction_id"] for entry in airflow.moves()}


def processes(airflow, run_id):
    folder = Path(airflow.home) / "processes" / run_id.replace("/", "_")
    # A file can exist before its content is written.
    return {file.name: int(text) for file in folder.glob("rebalance.*") if (text := file.read_text())}


def new_process_or_end(airflow, run_id, seen):
    ended = airflow.api.call("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}")["state"] in ("success", "failed")
    return ended or set(processes(airflow, run_id)) - seen


@pytest.mark.parametrize("number", range(KILLS))
def test_a_plan_that_is_killed_repeatedly_is_executed_once(airflow, hook, number):
    chance = random.Random(number)
    for policy in (THERE, BACK):
        before = made_so_far(airflow)
        airflow.sandbox.fault("delay_reply", path="/api/*", seconds="0.1")
        run_id = airflow.begin(DAG, {"policy": policy})
        seen = set()
        for _ in range(2):
            airflow.wait("a try", partial(new_process_or_end, airflow, run_id, seen))
            found = processes(airflow, run_id)
            time.sleep(chance.uniform(0.3, 6))
            for name in set(found) - seen:
                seen.add(name)
                with suppress(ProcessLookupError):
                    os.kill(found[name], signal.SIGKILL)
            airflow.clear_failed(DAG, run_id, "rebalance")
            if airflow.api.call("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}")["state"] == "success":
                break
        airflow.sandbox.clear_faults()
        deadline = time.monotonic() + 240
        while (state := airflow.finished(DAG, run_id)["state"]) == "failed":
            assert time.monotonic() < deadline, airflow.problems(DAG)
            airflow.clear_failed(DAG, run_id, "rebalance")
            time.sleep(1)
        assert state == "success", airflow.problems(DAG)
        done = airflow.returned(DAG, run_id, "rebalance")
        made = made_so_far(airflow) - before
        assert {receipt["transaction_id"] for receipt in done["receipts"]} == made
        assert len(made) >= 3
        # The next run has nothing to do.
        run = airflow.finished(DAG, airflow.begin(DAG, {"policy": policy}))
        again = airflow.returned(DAG, run["dag_run_id"], "rebalance")
        assert (again["status"], again["plan"]["moves"]) == ("nothing_to_do", [])


def test_the_treasury_examples(airflow, hook):
    airflow.sandbox.fund("EURI", "200")
    policy = {"EURI": {"reserve": "100"}}
    run_id = airflow.begin("whitebit_treasury", {"policy": policy})
    assert airflow.finished("whitebit_treasury", run_id)["state"] == "success", airflow.problems("whitebit_treasury")
    done = airflow.returned("whitebit_treasury", run_id, "rebalance")
    assert [receipt["ticker"] for receipt in done["receipts"]] == ["EURI"]
    assert hook.balances("main", "EURI")["EURI"] == 100
    run_id = airflow.begin("whitebit_treasury_many", {"connections": ["whitebit_default"]})
    assert airflow.finished("whitebit_treasury_many", run_id)["state"] == "success"
    for dag_id in ("whitebit_treasury", "whitebit_treasury_many"):
        airflow.api.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})


@pytest.mark.skipif(AIRFLOW_VERSION < (3, 1), reason="Airflow 3.0 has no human in the loop")
def test_an_approved_plan_is_executed(airflow, hook):
    dag_id = "whitebit_approval"
    airflow.sandbox.fund("EURI", "50")
    run_id = airflow.begin(dag_id, {"ticker": "EURI", "reserve": "60", "above": "1"})
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/ask/-1/hitlDetails"

    def question_of():
        return airflow.api.call("GET", path)

    question = airflow.wait("the question", question_of)
    assert "| 1 | flex_invest |" in question["body"]
    planned = airflow.returned(dag_id, run_id, "plan")
    assert planned["status"] == "planned"
    airflow.sandbox.fund("EURI", "7")

    def waits():
        return airflow.task(dag_id, run_id, "ask")["state"] in ("awaiting_input", "deferred")

    airflow.wait("the waiting for a person", waits)

    def seen_by_scheduler():
        log = (airflow.home / "standalone.log").read_text(errors="replace")
        return re.search(rf"TaskInstance Finished: .*task_id=ask, run_id={re.escape(run_id)}", log)

    # Airflow loses a task that is answered before its scheduler has noticed that it waits. No person is that fast.
    airflow.wait("the scheduler", seen_by_scheduler)
    time.sleep(1)
    airflow.api.call("PATCH", path, {"chosen_options": question["options"][:1], "params_input": {}})
    assert airflow.finished(dag_id, run_id)["state"] == "success", airflow.problems(dag_id)
    done = airflow.returned(dag_id, run_id, "carry_out")
    (receipt,) = done["receipts"]
    assert receipt["amount"] == planned["plan"]["moves"][0]["move"]["amount"]
    assert hook.balances("main", "EURI")["EURI"] == Decimal(67)
