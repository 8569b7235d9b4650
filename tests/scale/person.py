"""What a person does about tasks that have failed: the README's section 'When a move is in doubt', step by step."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.scale.cluster import Cluster

#: Of a try that ended without a word: it was killed, or Airflow replaced it.
SILENT = "its own log knows of no error"


class Person:
    """Looks after one run.

    :param cluster: the Airflow.
    :param dag_id: the DAG.
    :param run_id: its run.
    """

    def __init__(self, cluster: Cluster, dag_id: str, run_id: str) -> None:
        self.cluster = cluster
        self.dag_id = dag_id
        self.run_id = run_id
        #: What doubts were settled by, and what the last try of a cleared task had failed with.
        self.settled: Counter[str] = Counter()
        self.cleared: Counter[str] = Counter()
        #: Tasks that were marked as success, with the transaction that was left over for them.
        self.marked: dict[tuple[str, int], str] = {}

    def attend(self) -> None:
        """The run has failed: clear what failed by the way; when nothing but doubts is left, settle those."""
        instances = self.cluster.tasks(self.dag_id, self.run_id)
        failed = [instance for instance in instances if instance["state"] == "failed"]
        doubts = [instance for instance in failed if self._doubt(instance)]
        others = [instance for instance in failed if instance not in doubts]
        for instance in others:
            kinds = list(_failures(self._log(instance)))
            self.cleared[kinds[-1] if kinds else SILENT] += 1
            self._clear(instance)
        if not others and doubts:
            done = [instance for instance in instances if instance["state"] == "success" and instance["map_index"] >= 0]
            taken = {self.receipt(instance["task_id"], instance["map_index"])["transaction_id"] for instance in done}
            for instance in doubts:
                self._settle(instance, taken)

    def receipt(self, task_id: str, map_index: int) -> dict[str, Any]:
        """A task's receipt; of one that was marked, what is known."""
        if (task_id, map_index) in self.marked:
            return {"transaction_id": self.marked[task_id, map_index]}
        found: dict[str, Any] = self.cluster.returned(self.dag_id, self.run_id, task_id, map_index)
        return found

    def _settle(self, instance: dict[str, Any], taken: set[str]) -> None:
        place = instance["task_id"], instance["map_index"]
        path = f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances"
        if left := [name for name in self._doubt(instance) if name not in taken]:
            taken.add(left[0])
            self.marked[place] = left[0]
            self.cluster.api.call("PATCH", f"{path}/{place[0]}/{place[1]}", {"new_state": "success"})
            self.settled["its transaction left over: marked as success"] += 1
            return
        store = f"{path}/{place[0]}/state-store"
        kept = self.cluster.api.call("GET", f"{store}?map_index={place[1]}")["task_state_store"]
        for entry in kept:
            if entry["key"].startswith("whitebit_move"):
                self.cluster.api.call("DELETE", f"{store}/{entry['key']}?map_index={place[1]}")
        self._clear(instance)
        self.settled["all transactions with other tasks: journal deleted, cleared"] += 1

    def _clear(self, instance: dict[str, Any]) -> None:
        mapped = instance["map_index"] >= 0
        task = [instance["task_id"], instance["map_index"]] if mapped else instance["task_id"]
        self.cluster.clear(self.dag_id, self.run_id, task)

    def _doubt(self, instance: dict[str, Any]) -> list[str]:
        """The transactions that a doubt names; nothing if this is none."""
        errors = [line for line in self._log(instance) if '"level":"error"' in line and "WhiteBitInDoubt" in line]
        return re.findall(r"(tx_[0-9a-f-]+) of ", errors[-1]) if errors else []

    def failures(self) -> Counter[str]:
        """What tries have failed with, of all tasks of the run; for one that failed several times, each."""
        return Counter(kind for file in self._logs.rglob("attempt=*.log") for kind in _failures(_lines(file)))

    def deferred(self, instance: dict[str, Any]) -> bool:
        """Whether the last try of a task has waited in the triggerer."""
        log = self._file(instance)
        return any(log.parent.glob(f"{log.name}.trigger.*"))

    @property
    def _logs(self) -> Path:
        return self.cluster.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"

    def _log(self, instance: dict[str, Any]) -> list[str]:
        return _lines(self._file(instance))

    def _file(self, instance: dict[str, Any]) -> Path:
        place = self._logs / f"task_id={instance['task_id']}"
        if instance["map_index"] >= 0:
            place /= f"map_index={instance['map_index']}"
        return place / f"attempt={instance['try_number']}.log"


def _lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").splitlines() if file.exists() else []


def _failures(lines: list[str]) -> Iterator[str]:
    """The exceptions that ended a task, by their names."""
    for line in lines:
        if '"Task failed with exception"' in line:
            # A process that is killed may leave half a line.
            with contextlib.suppress(ValueError):
                yield json.loads(line)["error_detail"][0]["exc_type"]
