"""Kills and restarts while moves are made. A seed decides them, so a run can be described by its seed."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable

from tests.scale.cluster import WORKERS, Cluster, Process, signal_all
from tests.scale.servers import Server

#: Longer than Airflow waits for a heartbeat: a process that wakes up has been replaced.
STALL_SECONDS = 15
#: Every run must include these, so they happen first and the last moves wait for them.
ESSENTIAL = ("worker killed", "broker killed", "database killed", "database restarted")


class Chaos:
    """Kills and restarts components and servers, one after the other, at random moments."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.processes_killed = 0
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._stalled: set[str] = set()
        self.kinds: dict[str, Callable[[], bool]] = {
            "worker killed": self._kill_worker,
            "worker killed, its tasks orphaned": self._orphan_tasks,
            "task supervisor killed": self._kill_supervisor,
            "task killed": self._kill_task,
            "worker stalled": self._stall_worker,
            "broker killed": self._kill_broker,
            "broker killed, its messages lost": self._lose_broker,
            "database killed": self._kill_database,
            "database restarted": self._restart_database,
            "triggerer killed": self._kill_triggerer,
        }

    def round(self) -> list[str]:
        """Return every kind once, in random order; in the first round the essential ones come first."""
        names = list(self.kinds)
        self.chance.shuffle(names)
        return names if self.done else sorted(names, key=lambda name: name not in ESSENTIAL)

    def cause(self, name: str) -> bool:
        """Cause one kind of failure. :returns: False if it has no target at this moment."""
        caused = self.kinds[name]()
        if caused:
            self.done[name] += 1
        return caused

    def restart_due(self) -> None:
        """Restart what has been down long enough."""
        now = time.monotonic()
        due = [action for moment, action in self._later if moment <= now]
        self._later = [entry for entry in self._later if entry[0] > now]
        for action in due:
            action()

    def restart_all(self) -> None:
        """Restart everything that is down."""
        for _, action in self._later:
            action()
        self._later = []

    def _in(self, seconds: float, action: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, action))

    def _worker(self) -> str | None:
        away = self._stalled | self.cluster.down
        ready = [name for name in WORKERS if name not in away and self.cluster.running_tasks(name)]
        return self.chance.choice(ready) if ready else None

    def _kill_worker(self) -> bool:
        return (name := self._worker()) is not None and self._kill(name)

    def _orphan_tasks(self) -> bool:
        return (name := self._worker()) is not None and self._kill(name, orphans=True)

    def _kill_supervisor(self) -> bool:
        return (name := self._worker()) is not None and self._kill_one_of(self.cluster.supervisors(name))

    def _kill_task(self) -> bool:
        return (name := self._worker()) is not None and self._kill_one_of(self.cluster.running_tasks(name))

    def _kill_one_of(self, found: list[Process]) -> bool:
        died = signal_all([self.chance.choice(found)]) if found else 0
        self.processes_killed += died
        return died > 0

    def _stall_worker(self) -> bool:
        if self._stalled or (name := self._worker()) is None:
            return False
        self._stalled.add(name)
        asleep = self.cluster.members(name)
        signal_all(asleep, signal.SIGSTOP)

        def wake() -> None:
            signal_all(asleep, signal.SIGCONT)
            self._stalled.discard(name)

        self._in(STALL_SECONDS, wake)
        return True

    def _kill_server(self, server: Server) -> bool:
        if not server.running() or not server.kill():
            return False
        self._in(self.chance.uniform(0, 4), server.start)
        return True

    def _kill_broker(self) -> bool:
        return self._kill_server(self.cluster.redis)

    def _lose_broker(self) -> bool:
        killed = self._kill_server(self.cluster.redis)
        if killed:
            self.cluster.redis.forget()
        return killed

    def _kill_database(self) -> bool:
        return self._kill_server(self.cluster.postgres)

    def _restart_database(self) -> bool:
        if not self.cluster.postgres.running():
            return False
        self.cluster.postgres.stop()
        self.cluster.postgres.start()
        return True

    def _kill_triggerer(self) -> bool:
        return self._deferred() and self._kill("triggerer")

    def _kill(self, name: str, *, orphans: bool = False) -> bool:
        died = self.cluster.kill(name, orphans=orphans)
        self.processes_killed += died
        self._in(self.chance.uniform(0, 3), lambda: self.cluster.restart(name))
        return died > 0

    def _deferred(self) -> bool:
        if "triggerer" in self.cluster.down:
            return False
        path = "/api/v2/dags/~/dagRuns/~/taskInstances?state=deferred&limit=1"
        try:
            return bool(self.cluster.api.call("GET", path)["total_entries"])
        except OSError:
            return False
