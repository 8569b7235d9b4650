"""What a running Airflow and its sandbox did last, for the report of a failed test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.running_airflow import RunningAirflow

_OVER = ("success", "failed", "skipped", "upstream_failed", "removed")


def write_stacks_on_signal(home: Path) -> dict[str, str]:
    """Prepare that each Python process writes the stacks of its threads when it receives SIGUSR1.

    :param home: of the Airflow that will be started.
    :returns: what to add to its environment.
    """
    startup = home / "startup"
    startup.mkdir()
    (startup / "sitecustomize.py").write_text(
        "import faulthandler, signal\n"
        f"faulthandler.register(signal.SIGUSR1, open({str(_stacks(home))!r}, 'a'), all_threads=True)\n"
    )
    return {"PYTHONPATH": str(startup)}


def recent(airflow: RunningAirflow) -> str:
    """Return the last runs, the logs and stacks of the tasks that have not ended, and the last requests."""
    lines = []
    with contextlib.suppress(OSError, ValueError):
        lines += _runs(airflow)
    with contextlib.suppress(OSError, ValueError):
        lines.append(f"The exchange's time is {_time(airflow.sandbox.control('GET', 'clock')['now_ms'])}.")
    with contextlib.suppress(OSError, ValueError):
        lines += [
            f"{_time(entry['at_ms'])} {entry['path']}: {entry['status']}, {entry['api_key']}, nonce {entry['nonce']}"
            for entry in airflow.sandbox.requests()[-30:]
        ]
    text = (airflow.home / "standalone.log").read_text(errors="replace").lower().splitlines()
    lines += [line for line in text if any(f"[{word}" in line for word in ("error", "critical"))][-10:]
    files = sorted((airflow.home / "logs").rglob("attempt=*.log"), key=lambda file: file.stat().st_mtime)
    for file in files[-2:]:
        lines += _end_of_log(airflow.home, file)
    return "\n".join(line[:300] for line in lines)


def stacks_of(home: Path, name: str) -> str:
    """Return the stacks of all processes whose title has a name in it, such as the id of a task instance.

    :param home: of the Airflow that started them, after :func:`write_stacks_on_signal`.
    """
    file = _stacks(home)
    before = file.stat().st_size if file.exists() else 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, StopIteration):
            if name not in (entry / "cmdline").read_text(errors="replace"):
                continue
            status = (entry / "status").read_text().splitlines()
            caught = int(next(line for line in status if line.startswith("SigCgt:")).split()[1], 16)
            # Without a handler, the signal would end the process.
            if caught >> signal.SIGUSR1 - 1 & 1:
                os.kill(int(entry.name), signal.SIGUSR1)
                time.sleep(0.5)
    with contextlib.suppress(OSError), file.open(errors="replace") as stacks:
        stacks.seek(before)
        return stacks.read()
    return ""


def _runs(airflow: RunningAirflow) -> Iterator[str]:
    path = "/api/v2/dags/~/dagRuns?order_by=-id&limit="
    latest = (
        airflow.api.call("GET", f"{path}3")["dag_runs"] + airflow.api.call("GET", f"{path}9&state=running")["dag_runs"]
    )
    for run in {run["dag_run_id"] + run["dag_id"]: run for run in latest}.values():
        yield f"{run['dag_id']} {run['dag_run_id']}: {run['state']} since {run['start_date']}"
        tasks = airflow.tasks(run["dag_id"], run["dag_run_id"])
        for task in tasks:
            yield (
                f"  {task['task_id']} [{task['map_index']}]: {task['state']}, try {task['try_number']}"
                f" since {task['start_date']}, queued at {task['queued_when']}"
            )
        for task in tasks:
            if task["state"] not in (None, *_OVER):
                yield from _unfinished(airflow.home, task)


def _unfinished(home: Path, task: dict[str, Any]) -> Iterator[str]:
    folder = home / "logs" / f"dag_id={task['dag_id']}" / f"run_id={task['dag_run_id']}" / f"task_id={task['task_id']}"
    if task["map_index"] >= 0:
        folder /= f"map_index={task['map_index']}"
    for file in sorted(folder.glob(f"attempt={task['try_number']}.log*")):
        yield from _end_of_log(home, file)
    yield from stacks_of(home, task["id"]).splitlines()


def _end_of_log(home: Path, file: Path) -> Iterator[str]:
    yield str(file.relative_to(home))
    for line in file.read_text(errors="replace").splitlines()[-20:]:
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            line = f"{entry['timestamp']} {entry['level']}: {entry['event']} {entry.get('error_detail', '')}"
        yield line


def _stacks(home: Path) -> Path:
    return home / "stacks.log"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
