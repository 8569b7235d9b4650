"""Virtual time, and processes that stall or die in it: all decided by one seed.

Everything under test is the real thing: client, protocol, blocking driver, the sandbox's rules. The simulation only
replaces time, the wire, the store of the journals, and Airflow. Each process is a greenlet: wherever it would wait for
the network, the journal or a sleep, the world goes on, and there it may stall or die.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import greenlet

START_MS = 1_790_000_000_000


class Killed(BaseException):
    """The process is gone: nothing after this runs, not even a handler."""


class Clock:
    """The world's one time, in milliseconds."""

    def __init__(self) -> None:
        self.now = START_MS

    def now_ms(self) -> int:
        return self.now


class World:
    """Runs processes in virtual time, one at a time, the earliest first."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.clock = Clock()
        self._trace: list[tuple[int, str | Callable[[], str]]] = []
        self._queue: list[tuple[int, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._until_ms = START_MS + 10**9
        self._hub = greenlet.getcurrent()

    @property
    def in_process(self) -> bool:
        """Whether a process is running, so that it may :meth:`wait`."""
        return greenlet.getcurrent() is not self._hub

    def note(self, text: str | Callable[[], str]) -> None:
        """Add a line to the trace, or what makes one: few traces are ever read."""
        self._trace.append((self.clock.now, text))

    def trace(self) -> str:
        """Everything that happened, one event a line."""
        return "\n".join(
            f"{(moment - START_MS) / 1000:10.3f}  {text if isinstance(text, str) else text()}"
            for moment, text in self._trace
        )

    def at(self, delay_ms: int, action: Callable[[], object]) -> None:
        """Run an action later."""
        heapq.heappush(self._queue, (self.clock.now + max(0, delay_ms), next(self._order), action))

    def spawn(self, body: Callable[[], None]) -> None:
        """Run a process; it may call :meth:`wait`."""
        self.at(0, greenlet.greenlet(body, self._hub).switch)

    def wait(self, delay_ms: int) -> None:
        """Let the calling process wait while the world goes on."""
        until = self.clock.now + max(0, delay_ms)
        if not self._queue or until < self._queue[0][0]:
            # No other process has anything to do until then.
            self._check_end(until)
            self.clock.now = until
            return
        self.at(delay_ms, greenlet.getcurrent().switch)
        self._hub.switch()

    def run(self) -> None:
        """Run until nothing is left to do."""
        while self._queue:
            moment, _, action = heapq.heappop(self._queue)
            self._check_end(moment)
            self.clock.now = max(self.clock.now, moment)
            action()

    def _check_end(self, moment: int) -> None:
        if moment > self._until_ms:
            raise AssertionError("the world does not come to rest")


@dataclass
class Process:
    """One try of a task: its clock, and the faults that it will meet.

    :param tries: how many tries there may be, as known when it begins.
    :param order: which one of all tries it is, also if a run was deleted and made again.
    :param drift_ppm: how much faster than the world's time its clock runs.
    :param skew_ms: how far its clock is ahead.
    :param kill_at: the step at which it dies.
    :param ends_ms: the moment from which on it dies at its next step: somebody has terminated it.
    :param may_send: whether the last thing that it did was to find out that people have not stopped all moves.
    :param stalls: the steps at which it stands still, and for how many milliseconds, earliest first.
    """

    world: World
    name: str
    task: Any
    number: int
    tries: int = 1
    order: int = 0
    drift_ppm: int = 0
    skew_ms: int = 0
    dead: bool = False
    steps: int = 0
    intents: int = 0
    kill_at: int | None = None
    ends_ms: int | None = None
    may_send: bool = False
    stalls: list[tuple[int, int]] = field(default_factory=list)
    jump_at: int | None = None
    jump_ms: int = 0

    def __post_init__(self) -> None:
        self.began_ms = self.world.clock.now

    def local_ms(self) -> int:
        passed = self.world.clock.now - START_MS
        return START_MS + self.skew_ms + passed + passed * self.drift_ppm // 1_000_000

    def next_intent_id(self) -> str:
        """A new id that the seed decides."""
        self.intents += 1
        return f"{self.name}-{self.intents}"

    def step(self, what: str, delay_ms: int = 0) -> None:
        """A point where time passes, and where this process may stall or die."""
        self.steps += 1
        self.may_send = False
        self._die_if_due(what)
        while self.stalls and self.steps >= self.stalls[0][0]:
            _, stall_ms = self.stalls.pop(0)
            self.world.note(f"{self.name}: STALLS {stall_ms} ms {what}")
            self.world.wait(stall_ms)
        if self.jump_at is not None and self.steps >= self.jump_at:
            self.jump_at = None
            self.world.note(f"{self.name}: its clock JUMPS {self.jump_ms} ms {what}")
            self.skew_ms += self.jump_ms
        if delay_ms:
            self.world.wait(delay_ms)
            if self.ends_ms is not None:
                self._die_if_due(what)

    def _die_if_due(self, what: str) -> None:
        due = self.kill_at is not None and self.steps >= self.kill_at
        if due or (self.ends_ms is not None and self.world.clock.now >= self.ends_ms):
            self.world.note(f"{self.name}: KILLED {what}")
            self.dead = True
            raise Killed

    def sleep(self, seconds: float) -> None:
        self.step("sleeping", int(seconds * 1000) + 1)
