"""The states of a small world: immutable values that decide everything that can happen next."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import NamedTuple

from tests.exploration.processes import Node

_NONCES = re.compile(r'"nonce": (\d+)')


class Request(NamedTuple):
    """A request to move money.

    :param process: index of the process that sends it; -1 for another program.
    :param what: ``invest``, or the two balances of a transfer.
    """

    process: int
    nonce: int
    what: str
    amount: str


class Entry(NamedTuple):
    """A request that the exchange has carried out.

    :param visible_ms: when its records show it.
    """

    request: Request
    made_ms: int
    visible_ms: int

    @property
    def reference(self) -> str | None:
        """What the exchange calls it; it has no name for a transfer."""
        owner = "foreign" if self.request.process < 0 else "own"
        return None if ">" in self.request.what else f"{owner} {self.request.nonce}"


class Process(NamedTuple):
    """One try of a task, as far as it has come.

    :param wake_ms: until when it sleeps.
    :param stalled: whether time passes although it could go on.
    :param seconds: the exchange's last time that it received.
    :param may_send: whether the last thing that it did, except for reading its clock, was to find out that people have
        not stopped all moves.
    """

    task: int
    number: int
    node: Node
    wake_ms: int = 0
    stalled: bool = False
    seconds: int = 0
    may_send: bool = False

    @property
    def running(self) -> bool:
        return self.node.end is None

    def ready(self, now: int) -> bool:
        """Whether it could go on."""
        return self.node.end is None and self.wake_ms <= now

    def __str__(self) -> str:
        return f"task{self.task}#{self.number}"


class Task(NamedTuple):
    """What Airflow knows of a task.

    :param current: index of its latest try's process.
    :param generation: how often a person has cleared it.
    :param left: how many more tries there may be before a person clears it.
    """

    current: int
    generation: int
    left: int


class Answered(NamedTuple):
    """What a person says about an intent.

    :param nonces: of every attempt in its journal that may have run.
    """

    task: int
    intent: str
    nonces: tuple[int, ...]
    ran: bool


class Budget(NamedTuple):
    """How often each of these may still happen.

    :param stalls: a process stands still while time passes.
    :param deaths: a process dies.
    :param losses: an answer to a move is lost; its request arrives at any time, or never.
    :param repeats: a move is delivered twice, and only the second answer, a refused nonce, is received.
    :param unreached: a connection is never made.
    :param overtakes: Airflow takes a running try for dead and starts the next one.
    :param clears: a person clears a failed task.
    :param lags: a record appears as late as the reconcile margin allows.
    :param store: the store's answer to a write is lost.
    :param outsiders: another program makes an equal move, right before the first attempt's records are read.
    :param answers: a person answers whether a move in doubt ran.
    :param stops: people stop all moves.
    :param resumes: people let moves go on.
    """

    stalls: int = 0
    deaths: int = 0
    losses: int = 0
    repeats: int = 0
    unreached: int = 0
    overtakes: int = 0
    clears: int = 0
    lags: int = 0
    store: int = 0
    outsiders: int = 0
    answers: int = 0
    stops: int = 0
    resumes: int = 0

    def without(self, name: str, count: int = 1) -> Budget:
        return self._replace(**{name: getattr(self, name) - count})


class State(NamedTuple):
    """Everything that decides what can happen next.

    :param now: the exchange's time, in milliseconds.
    :param store: texts by name.
    :param used: nonces.
    :param flying: requests whose senders have given up.
    :param answering: what a person has answered, and not yet looked at again.
    :param answered: the answers that stand.
    :param stopped: whether people have stopped all moves.
    """

    now: int
    processes: tuple[Process, ...]
    tasks: tuple[Task, ...]
    budget: Budget
    store: frozenset[tuple[str, str]] = frozenset()
    used: frozenset[int] = frozenset()
    ledger: tuple[Entry, ...] = ()
    flying: tuple[Request, ...] = ()
    answering: Answered | None = None
    answered: tuple[Answered, ...] = ()
    stopped: bool = False

    def spend(self, name: str, count: int = 1) -> State:
        return self._replace(budget=self.budget.without(name, count))

    def with_process(self, index: int, process: Process) -> State:
        return self._replace(processes=(*self.processes[:index], process, *self.processes[index + 1 :]))

    def with_task(self, index: int, task: Task) -> State:
        return self._replace(tasks=(*self.tasks[:index], task, *self.tasks[index + 1 :]))

    def text(self, name: str) -> str | None:
        return next((text for one, text in self.store if one == name), None)

    def written(self, name: str, text: str | None) -> State:
        """The state with a text; without one of this name if there is no text."""
        kept = {one for one in self.store if one[0] != name}
        return self._replace(store=frozenset(kept if text is None else kept | {(name, text)}))

    def attempted(self) -> set[int]:
        """The nonces of all attempts in journals."""
        return {nonce for _, text in self.store for nonce in _nonces_in(text)}


@lru_cache(maxsize=100_000)
def _nonces_in(text: str) -> frozenset[int]:
    return frozenset(map(int, _NONCES.findall(text)))


@lru_cache(maxsize=100_000)
def in_words(name: str, text: str | None, start_ms: int) -> str:
    """A document in a trace: its name, and what it says of each attempt."""
    short = name if "|" in name else name.rpartition("__")[2]
    short = f"log {short}" if name.startswith("whitebit_spent__") else short
    if text is None or not text.startswith("{"):
        return f"{short}: {text}"
    document = json.loads(text)
    if "answer" in document:
        return f"{short}: {document['answer']}"
    if "intents" not in document:
        return f"{short}: a doubt"
    intents = [
        f"{one['id']} {one['state']} "
        + " ".join(f"{attempt['nonce'] - start_ms}:{attempt['outcome']}" for attempt in one["attempts"])
        for one in document["intents"]
    ]
    return f"{short}: {', '.join(intents)}"
