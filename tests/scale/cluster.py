"""Airflow's components as separate processes: API server, scheduler, DAG processor, triggerer and Celery workers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.running_airflow import BIN, RunningAirflow, migrate
from tests.scale.servers import Postgres, Redis

WORKERS = ("worker-1", "worker-2")
SLOTS = 5
PARTS = ("api-server", "scheduler", "dag-processor", "triggerer", *WORKERS)
#: The pool that docs/operations.md recommends. It has fewer slots than the workers, so the pool limits the moves.
POOL, POOL_SLOTS = "whitebit", 8

#: Airflow notices a lost process within seconds; its defaults are minutes, for tasks that run for hours.
SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": str(SLOTS * len(WORKERS) + 2),
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(SLOTS),
    "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
    "AIRFLOW__CELERY__TASK_ACKS_LATE": "True",
    # Shorter than some moves take: Redis hands their messages out a second time while they run.
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "20",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "9",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES": "1000",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}


@dataclass
class Process:
    """A running process."""

    pid: int
    parent: int
    session: int


def processes() -> Iterator[Process]:
    """Return all running processes."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent, _, session = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            if state != "Z":
                yield Process(int(entry.name), int(parent), int(session))


def signal_all(found: list[Process], number: signal.Signals = signal.SIGKILL) -> int:
    """Send a signal. :returns: how many processes received it."""
    reached = 0
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
            reached += 1
    return reached


@dataclass
class Cluster(RunningAirflow):
    """The running components, and the servers that they need."""

    postgres: Postgres = field(kw_only=True)
    redis: Redis = field(kw_only=True)
    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    #: Every component leads a session of its own, so its orphans can be found.
    sessions: set[int] = field(default_factory=set)
    #: Components that were killed and are not due for a restart yet.
    down: set[str] = field(default_factory=set)
    ended_by_themselves: Counter[str] = field(default_factory=Counter)

    def migrate(self) -> None:
        """Create the database, and the configuration whose secrets all components share."""
        with (self.home / "migrate.log").open("w") as log:
            migrate(self.env, log)
            command = [BIN / "airflow", "pools", "set", POOL, str(POOL_SLOTS), "calls to WhiteBIT from this address"]
            subprocess.run(command, env=self.env, stdout=log, stderr=log, check=True)

    def start(self, name: str) -> None:
        """Start a component."""
        words = ["celery", "worker", "--celery-hostname", name] if name in WORKERS else [name]
        if name in (*WORKERS, "triggerer"):
            # The tests read logs as files; the default ports may be in use.
            words.append("--skip-serve-logs")
        # Like containers behind one address, components do not share files of one machine.
        own = self.home / "tmp" / name
        own.mkdir(parents=True, exist_ok=True)
        with (self.home / f"{name}.log").open("ab") as log:
            self.parts[name] = subprocess.Popen(
                [BIN / "airflow", *words],
                env=self.env | {"TMPDIR": str(own)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.sessions.add(self.parts[name].pid)

    def keep_up(self) -> None:
        """Restart components that ended by themselves, as systemd or Kubernetes would."""
        for name, process in self.parts.items():
            if name not in self.down and process.poll() is not None:
                self.ended_by_themselves[name] += 1
                self.start(name)

    def kill(self, name: str, *, orphans: bool = False) -> int:
        """Kill a component with SIGKILL.

        :param orphans: kill only the first process, not those that it has started.
        :returns: how many processes died; 0 if the component had ended by itself.
        """
        self.down.add(name)
        family = self.members(name)
        died = signal_all([process for process in family if not orphans or process.pid == self.parts[name].pid])
        return died if self.parts[name].wait() == -signal.SIGKILL else 0

    def restart(self, name: str) -> None:
        """Restart a killed component."""
        self.parts[name].wait()
        self.start(name)
        self.down.discard(name)

    def members(self, name: str) -> list[Process]:
        """Return the processes of a component, orphans included."""
        session = self.parts[name].pid
        return [process for process in processes() if process.session == session]

    def supervisors(self, name: str) -> list[Process]:
        """Return the forked children of a worker that supervise a task."""
        family = self.members(name)
        busy = {process.parent for process in family}
        return [process for process in family if process.parent == self.parts[name].pid and process.pid in busy]

    def running_tasks(self, name: str) -> list[Process]:
        """Return the processes in which a worker's tasks run."""
        family = self.members(name)
        supervisors = {process.pid for process in self.supervisors(name)}
        return [process for process in family if process.parent in supervisors]

    def healthy(self) -> bool:
        """Return whether all components are up."""
        self.keep_up()
        return self.api.healthy() and all(len(self.members(name)) > SLOTS for name in WORKERS)

    def stop(self) -> None:
        """End all components and their orphans."""
        signal_all([process for process in processes() if process.session in self.sessions])
        for process in self.parts.values():
            process.wait()
