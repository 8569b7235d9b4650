"""Moves of one plan with two API keys of the account, and lost answers: most doubts end without a person.

``WHITEBIT_LOST=100`` loses 100 answers. It counts the doubts, and those that needed a person.
"""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.e2e.test_operations import INVEST, key
from tests.running_airflow import BIN

__all__ = ["key"]
DAG, DESKS = "whitebit_e2e_desks", ("a", "b")
MANY = 1_000
#: Lost answers that are counted; none by default.
LOST = int(os.environ.get("WHITEBIT_LOST", "0"))


@pytest.fixture(autouse=True)
def two_keys(airflow, key):
    airflow.keep_connections(**{f"whitebit_desk_{desk}": key(f"desk-{desk}") for desk in DESKS})


def doubts(airflow, *arguments):
    """Call the command, and return what it prints as JSON."""
    command = [BIN / "python", "-m", "airflow_provider_whitebit", "doubts", *arguments]
    # Airflow writes its own log lines before what a command prints.
    env = airflow.env | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def listed(airflow, run_id):
    return [one for one in json.loads(doubts(airflow, "list", "--output", "json")) if one["run"] == run_id]


class Desks:
    """One run of the DAG, and how its doubts ended.

    :ivar in_doubt: moves that a task could not decide by itself.
    :ivar by_person: those of them that a person answered.
    """

    def __init__(self, airflow, faults):
        self._airflow = airflow
        airflow.sandbox.fund("EURI", "1000")
        self._before = len(airflow.moves())
        for fault in faults:
            airflow.sandbox.fault(path=f"*{INVEST}", **{"count": MANY} | fault)
        self.run_id = airflow.begin(DAG)
        airflow.finished(DAG, self.run_id)
        self.lost = sum(MANY - fault["left"] for fault in airflow.sandbox.control("GET", "faults"))
        airflow.sandbox.clear_faults()
        self.in_doubt, self.by_person = set(), set()

    def settle(self):
        """Answer what needs a person, truly, and clear, until no move is in doubt."""
        while found := listed(self._airflow, self.run_id):
            self.in_doubt |= {one["id"] for one in found}
            examined = [json.loads(doubts(self._airflow, "show", one["id"], "--output", "json"))[0] for one in found]
            # A person answers only if a clear decides nothing more.
            if all(one["needs_person"] for one in examined):
                for one in examined:
                    self._answer(one)
            for one in found:
                task = one["task"].removeprefix(f"{DAG}.")
                self._airflow.clear(DAG, self.run_id, task)
            self._airflow.finished(DAG, self.run_id)

    def _answer(self, examined):
        """Say what the exchange's ledger shows."""
        self.by_person.add(examined["id"])
        made = {f"(nonce {entry['nonce']})": entry["transaction_id"] for entry in self._airflow.moves()}
        ran = [made[text] for attempt in examined["attempts"] for text in made if text in attempt["sent"]]
        answer = ["--ran", *ran] if ran else ["--did-not-run"]
        doubts(self._airflow, "resolve", examined["id"], *answer, "--reason", "the ledger shows it")

    def check(self):
        """Each task has made its move once, and returned its own receipt."""
        tasks = self._airflow.tasks(DAG, self.run_id)
        assert {task["state"] for task in tasks} == {"success"}, self._airflow.problems(DAG)
        receipts = [self._airflow.returned(DAG, self.run_id, task["task_id"]) for task in tasks]
        made = [entry["transaction_id"] for entry in self._airflow.moves()[self._before :]]
        assert sorted(receipt["transaction_id"] for receipt in receipts) == sorted(made)
        assert sum("resolved_by" in receipt for receipt in receipts) <= len(self.by_person)


def test_the_receipt_of_another_task_settles_a_doubt(airflow):
    # The first request never arrives. The other desk's move of this plan runs in the same seconds.
    run = Desks(airflow, [{"kind": "lost_reply_before", "count": 1}])
    run.settle()
    run.check()
    assert (len(run.in_doubt), len(run.by_person)) == (1, 0)


@pytest.mark.skipif(not LOST, reason="counts with WHITEBIT_LOST=100")
def test_how_many_doubts_need_a_person(airflow):
    lost, in_doubt, by_person = 0, 0, 0
    while lost < LOST:
        kinds = ("lost_reply_before", "lost_reply_after")
        run = Desks(airflow, [{"kind": kind, "probability": "0.4"} for kind in kinds])
        run.settle()
        run.check()
        lost, in_doubt, by_person = lost + run.lost, in_doubt + len(run.in_doubt), by_person + len(run.by_person)
        print(f"{lost} lost answers, {in_doubt} doubts, {by_person} needed a person", flush=True)
