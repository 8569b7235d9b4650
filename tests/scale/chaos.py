"""What goes wrong while the moves are made: by seed, so that a run can be told about."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable

from tests.scale.cluster import WORKERS, Cluster, Process, signal_all

#: Longer than Airflow waits for a heartbeat: whoever wakes up has been replaced.
STALL_SECONDS = 15


#: What each run must show, whatever else it has time for: it goes wrong first, and the last moves wait for it.
ESSENTIAL = ("worker killed", "broker killed", "database killed", "database restarted")


class Chaos:
    """Kills and restarts, one after the other, at random moments."""

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
        """Every kind once, in random order; in the first round what is essential comes first."""
        names = list(self.kinds)
        self.chance.shuffle(names)
        return names if self.done else sorted(names, key=lambda name: name not in ESSENTIAL)

    def happen(self, name: str) -> bool:
        """Do it, if there is something to do it to."""
        happened = self.kinds[name]()
        if happened:
            self.done[name] += 1
        return happened

    def tend(self) -> None:
        """Start again what is due."""
        now = time.monotonic()
        due = [action for moment, action in self._later if moment <= now]
        self._later = [entry for entry in self._later if entry[0] > now]
        for action in due:
            action()

    def settle(self) -> None:
        """Start everything again."""
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
        if (name := self._worker()) is None:
            return False
        return self._kill(name)

    def _orphan_tasks(self) -> bool:
        if (name := self._worker()) is None:
            return False
        return self._kill(name, orphans=True)

    def _kill_supervisor(self) -> bool:
        if (name := self._worker()) is None:
            return False
        return self._one(self.cluster.supervisors(name))

    def _kill_task(self) -> bool:
        if (name := self._worker()) is None:
            return False
        return self._one(self.cluster.running_tasks(name))

    def _one(self, found: list[Process]) -> bool:
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

    def _kill_broker(self) -> bool:
        if not self.cluster.redis.running() or not self.cluster.redis.kill():
            return False
        self._in(self.chance.uniform(0, 4), self.cluster.redis.start)
        return True

    def _lose_broker(self) -> bool:
        if not self.cluster.redis.running() or not self.cluster.redis.kill():
            return False
        self.cluster.redis.forget()
        self._in(self.chance.uniform(0, 4), self.cluster.redis.start)
        return True

    def _kill_database(self) -> bool:
        if not self.cluster.postgres.running() or not self.cluster.postgres.kill():
            return False
        self._in(self.chance.uniform(0, 4), self.cluster.postgres.start)
        return True

    def _restart_database(self) -> bool:
        if not self.cluster.postgres.running():
            return False
        self.cluster.postgres.stop()
        self.cluster.postgres.start()
        return True

    def _kill_triggerer(self) -> bool:
        if not self._deferred():
            return False
        return self._kill("triggerer")

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
