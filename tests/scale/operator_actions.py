"""What an operator does about failed tasks: the steps of ``moves.doubts.RECORD_STEPS``."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.scale.cluster import Cluster

#: A try that was killed, or that Airflow replaced.
NO_ERROR = "no error in its log"


class OperatorActions:
    """Clears and resolves the failed tasks of one run.

    :param cluster: the Airflow.
    :param dag_id: the DAG.
    :param run_id: its run.
    """

    def __init__(self, cluster: Cluster, dag_id: str, run_id: str) -> None:
        self.cluster = cluster
        self.dag_id = dag_id
        self.run_id = run_id
        #: How moves in doubt were resolved, and the errors of the last tries of cleared tasks.
        self.resolved: Counter[str] = Counter()
        self.cleared: Counter[str] = Counter()
        #: Tasks that were cleared because they were in doubt.
        self._tried: set[tuple[str, int]] = set()

    def handle_failed_run(self) -> None:
        """Clear all failed tasks. When only tasks are left that are in doubt again after a clear, resolve those."""
        instances = self.cluster.tasks(self.dag_id, self.run_id)
        failed = [instance for instance in instances if instance["state"] == "failed"]
        in_doubt = [instance for instance in failed if self._candidates(instance) and _place(instance) in self._tried]
        others = [instance for instance in failed if instance not in in_doubt]
        for instance in others:
            if self._candidates(instance):
                self._tried.add(_place(instance))
            kinds = list(_failures(self._log(instance)))
            self.cleared[kinds[-1] if kinds else NO_ERROR] += 1
            self._clear(instance)
        if not others and in_doubt:
            done = [instance for instance in instances if instance["state"] == "success" and instance["map_index"] >= 0]
            taken = {self.receipt(instance["task_id"], instance["map_index"])["transaction_id"] for instance in done}
            for instance in in_doubt:
                self._resolve(instance, taken)

    def receipt(self, task_id: str, map_index: int) -> dict[str, Any]:
        """Return a task's receipt."""
        found: dict[str, Any] = self.cluster.returned(self.dag_id, self.run_id, task_id, map_index)
        return found

    def _resolve(self, instance: dict[str, Any], taken: set[str]) -> None:
        left = [name for name in self._candidates(instance) if name not in taken]
        taken |= {*left[:1]}
        answer = ["--ran", left[0]] if left else ["--did-not-run"]
        command = [sys.executable, "-m", "airflow_provider_whitebit", "doubts", "resolve", self._intent(instance)]
        command += [*answer, "--reason", "scale test"]
        answered = subprocess.run(command, env=self.cluster.env, capture_output=True, text=True, check=False)
        self._clear(instance)
        kind = "one transaction left: it ran" if left else "all belong to other tasks: it did not run"
        # A refused answer leaves the task in doubt: it is answered again.
        self.resolved[kind if answered.returncode == 0 else f"refused: {answered.stderr.strip()[-300:]}"] += 1

    def _clear(self, instance: dict[str, Any]) -> None:
        mapped = instance["map_index"] >= 0
        task = [instance["task_id"], instance["map_index"]] if mapped else instance["task_id"]
        self.cluster.clear(self.dag_id, self.run_id, task)

    def _candidates(self, instance: dict[str, Any]) -> list[str]:
        """Return the transactions that an error of a move in doubt names; nothing if the task is not in doubt."""
        errors = [line for line in self._log(instance) if '"level":"error"' in line and "WhiteBitInDoubtError" in line]
        return re.findall(r"(tx_[0-9a-f-]+) of ", errors[-1]) if errors else []

    def _intent(self, instance: dict[str, Any]) -> str:
        """Return the id of the move in doubt that the last error of a task names."""
        errors = [line for line in self._log(instance) if '"level":"error"' in line and "WhiteBitInDoubtError" in line]
        return re.findall(r"Move ([0-9a-f]+) \(", errors[-1])[0]

    def failures(self) -> Counter[str]:
        """Count the errors of all failed tries of the run."""
        return Counter(kind for file in self._logs.rglob("attempt=*.log") for kind in _failures(_lines(file)))

    def deferred(self, instance: dict[str, Any]) -> bool:
        """Return whether the last try of a task was deferred."""
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


def _place(instance: dict[str, Any]) -> tuple[str, int]:
    return instance["task_id"], instance["map_index"]


def _lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").splitlines() if file.exists() else []


def _failures(lines: list[str]) -> Iterator[str]:
    """Yield the class names of the exceptions that ended a task."""
    for line in lines:
        if '"Task failed with exception"' in line:
            # A process that is killed may leave half a line.
            with contextlib.suppress(ValueError):
                error = json.loads(line)["error_detail"][0]
                # A mapped task that is terminated before Airflow has expanded it has no on_kill: Airflow's own error.
                if "'on_kill'" not in error["exc_value"]:
                    yield error["exc_type"]
