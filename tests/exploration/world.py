"""A small world, and all that can happen in each of its states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.intent import Move
from airflow_provider_whitebit.moves.limits import Limits
from tests.exploration import people
from tests.exploration.exchange import WINDOW_MS, accept, held, records, use_nonce
from tests.exploration.processes import DEAD, MARGIN_MS, NO_LIMITS, Automaton, Driver, Failure, Try
from tests.exploration.promise import check_end, check_limits, check_moved, check_sent
from tests.exploration.states import Budget, Entry, Process, Request, State, Task, in_words

START_MS = 1_790_000_000_000
#: Moments that matter after a nonce of a move, in milliseconds: the last one at which the exchange accepts it, the
#: first one at which it does not, and one after which all records of it are visible.
_AFTER_MOVE = (WINDOW_MS, WINDOW_MS + 1, WINDOW_MS + MARGIN_MS + 1_001)

#: What the stores hold that tasks share: nothing of it is one process's own.
_SHARED = ("marker|", "whitebit_spent__")

#: What a process is told that asks whether people have stopped all moves.
_GO_ON = "moves may go on"

#: What happens, in words, and how the state after it is found.
Transition = tuple[str, Callable[[], State]]


@dataclass
class World:
    """Few tasks, and how often each thing may happen to them.

    :param moves: of each task: the move that its first try asks for, and those of later tries.
    :param budget: how often each thing may happen.
    :param retries: of each task.
    :param funds: what Main holds.
    :param refund: what a person adds to it before clearing a task.
    :param foreign: moves of another program: amount, milliseconds from the start, and delay of the record.
    :param doubts: whether a task may end in doubt.
    :param reaches: ends that must be found, or there was nothing to explore.
    :param lag_ms: how late a late record is visible. With more than the margin, a task may move twice.
    :param least: states that must be found, or there was nothing to explore.
    :param limits: of all tasks. What they count over time covers all that a world lasts.
    :param driver: runs a try.
    :param start_ms: the exchange's time at the start.
    """

    moves: tuple[tuple[Move, ...], ...]
    budget: Budget
    retries: int = 1
    funds: int = 1_000
    refund: int = 0
    foreign: tuple[tuple[str, int, int], ...] = ()
    doubts: bool = False
    reaches: frozenset[str] = frozenset({"receipt"})
    lag_ms: int = MARGIN_MS
    least: int = 50
    limits: Limits = NO_LIMITS
    driver: Driver = execute_move
    start_ms: int = START_MS
    automata: dict[tuple[int, Try], Automaton] = field(default_factory=dict)

    def begin(self) -> State:
        """The first state: the first try of each task has begun."""
        start = self.start_ms
        ledger = tuple(
            Entry(Request(-1, start + made, "invest", amount), start + made, start + made + delay)
            for amount, made, delay in self.foreign
        )
        tasks = tuple(Task(-1, 0, self.retries + 1) for _ in self.moves)
        state = State(start, (), tasks, self.budget, ledger=ledger)
        for task in range(len(tasks)):
            state = self._start(state, task)
        return state

    def transitions(self, state: State) -> list[Transition]:
        """All that can happen next. If one step's order with all others makes no difference, only that one."""
        for index in range(len(state.processes)):
            if self._is_private(state, index):
                return list(self._steps(state, index))
        found: list[Transition] = []
        for index, process in enumerate(state.processes):
            if process.ready(state.now):
                found += self._steps(state, index)
            if process.running and state.budget.deaths:
                found.append((f"{process} dies", partial(_die, state, index)))
        for request in state.flying:
            found += self._arrivals(state, request)
        found += self._of_people(state)
        found += self._of_airflow(state)
        found += people.steps(state)
        found += self._time(state)
        return found

    # Processes

    def _start(self, state: State, index: int) -> State:
        """Begin the next try of a task."""
        task = state.tasks[index]
        number = 1 + sum(one.task == index for one in state.processes)
        this = Try(f"task{index}", number, task.generation)
        if (index, this) not in self.automata:
            moves = self.moves[index]
            move = moves[min(number, len(moves)) - 1]
            options = {"limits": self.limits, "stops": bool(self.budget.stops)}
            self.automata[index, this] = Automaton(this, move, self.driver, **options)
        process = _arrived(state, Process(index, number, self.automata[index, this].root))
        state = state.with_task(index, task._replace(current=len(state.processes), left=task.left - 1))
        return state._replace(processes=(*state.processes, process))

    def _receive(self, state: State, index: int, result: Any, *, answered: bool = False) -> State:
        """The state after a process has received the result of its step.

        :param answered: whether the exchange's time came with it.
        """
        process = state.processes[index]
        node = process.node.after(result)
        seconds = state.now // 1000 if answered else process.seconds
        step = process.node.step
        may_send = process.may_send if step is not None and step.what == "clock" else result == _GO_ON
        process = process._replace(node=node, seconds=seconds, may_send=may_send)
        state = state.with_process(index, _arrived(state, process))
        check_end(state, index, doubts=self.doubts or self.lag_ms > MARGIN_MS)
        return state

    def _is_private(self, state: State, index: int) -> bool:
        """Whether nothing that can happen before a process's next step depends on it, or the step on that.

        A step after which the process has ended is not: until then it can die, or be overtaken.
        """
        process, budget = state.processes[index], state.budget
        step = process.node.step
        if step is None or process.stalled or not process.ready(state.now):
            return False
        if step.what == "clock":
            # Time cannot pass while this process can go on.
            return not budget.stalls and process.node.after((state.now, process.seconds)).end is None
        if step.what not in ("read", "write"):
            return False
        if str(step.details[0]).startswith(_SHARED) and len(state.tasks) > 1:
            return False
        if budget.answers or state.answering is not None:
            # A person reads the journal and writes answers.
            return False
        if any(one.running and one.task == process.task for one in state.processes if one is not process):
            return False
        if budget.overtakes and state.tasks[process.task].left:
            return False
        if step.what == "write":
            return not budget.deaths and not budget.store
        return process.node.after(state.text(str(step.details[0]))).end is None

    def _steps(self, state: State, index: int) -> Iterator[Transition]:
        """What can become of a process's next step."""
        process = state.processes[index]
        step = process.node.step
        assert step is not None
        label = f"{process} {step.what}"
        details: Any = step.details
        receive = partial(self._receive, state, index)
        match step.what:
            case "read":
                text = state.text(*details)
                yield f"{label} {in_words(*details, text, self.start_ms)}", partial(receive, text)
            case "write":
                written = state.written(*details)
                label = f"{label} {in_words(*details, self.start_ms)}"
                yield label, partial(self._receive, written, index, None)
                if state.budget.store:
                    failed = partial(self._receive, written.spend("store"), index, Failure("store"))
                    yield f"{label}, without an answer", failed
            case "clock":
                yield label, partial(receive, (state.now, process.seconds))
            case "sleep":
                yield f"{label} is over", partial(receive, None)
            case "stop":
                told = Failure("stopped") if state.stopped else _GO_ON
                yield f"{label}: {told}", partial(receive, told)
                if state.budget.store:
                    unknown = partial(self._receive, state.spend("store"), index, Failure("unknown"))
                    yield f"{label}, without an answer", unknown
            case "time":
                yield label, partial(receive, state.now // 1000, answered=True)
            case "claim":
                after, refused = use_nonce(state, *details)
                label = f"{label} {details[0] - self.start_ms}{f': {refused.kind}' if refused else ''}"
                yield label, partial(self._receive, after, index, refused, answered=True)
            case "balance":
                amount = held(state, *details, self._funds(state))
                yield f"{label} {details[0]}: {amount}", partial(receive, amount, answered=True)
            case "records":
                if state.budget.outsiders and not state.attempted():
                    yield "another program makes an equal move", partial(self._move_outside, state, process)
                rows = records(state, *details)
                yield f"{label}: {[row[:2] for row in rows]}", partial(receive, rows, answered=True)
            case "send":
                yield from self._sends(state, index, Request(index, *details))

    def _sends(self, state: State, index: int, request: Request) -> Iterator[Transition]:
        """What can become of a move that is sent."""
        label = f"{state.processes[index]} sends {request.nonce - self.start_ms}"
        if self.budget.stops and not state.processes[index].may_send:
            yield label, partial(check_sent, state, index)
            return
        for words, after, answer in accept(state, request, self._funds(state), self.lag_ms):
            yield f"{label}: {words}", partial(self._answer, after, index, answer)
            if state.budget.repeats and not isinstance(answer, Failure):
                twice = partial(self._answer, after.spend("repeats"), index, answer, Failure("used"))
                yield f"{label}: {words}, delivered twice", twice
        if state.budget.losses:
            flying = state.spend("losses")._replace(flying=(*state.flying, request))
            yield f"{label}: no answer", partial(self._receive, flying, index, Failure("lost"))
        if state.budget.unreached:
            unreached = partial(self._receive, state.spend("unreached"), index, Failure("unreached"))
            yield f"{label}: never connected", unreached

    def _answer(self, after: State, index: int, answer: Any, received: Failure | None = None) -> State:
        """The exchange has dealt with a move, and its sender receives the answer, or another one."""
        return self._receive(self._dealt_with(after, answer), index, received or answer, answered=True)

    # The exchange, other programs and Airflow

    def _funds(self, state: State) -> int:
        return self.funds + self.refund * (self.budget.clears - state.budget.clears)

    def _arrivals(self, state: State, request: Request) -> Iterator[Transition]:
        """A request whose sender has given up arrives."""
        rest = state._replace(flying=tuple(one for one in state.flying if one != request))
        for words, after, answer in accept(rest, request, self._funds(state), self.lag_ms):
            yield f"{request.nonce - self.start_ms} arrives late: {words}", partial(self._dealt_with, after, answer)

    def _dealt_with(self, state: State, answer: Any) -> State:
        if not isinstance(answer, Failure):
            check_moved(state, twice=self.lag_ms > MARGIN_MS)
            check_limits(state, self.limits)
        return state

    def _move_outside(self, state: State, process: Process) -> State:
        amount = str(self.moves[process.task][0].amount)
        entry = Entry(Request(-1, state.now, "invest", amount), state.now, state.now)
        return state.spend("outsiders")._replace(ledger=(*state.ledger, entry))

    def _of_people(self, state: State) -> Iterator[Transition]:
        """People stop all moves, or let them go on."""
        if state.stopped and state.budget.resumes:
            yield "people let moves go on", partial(_same, state.spend("resumes")._replace(stopped=False))
        if not state.stopped and state.budget.stops:
            yield "people stop all moves", partial(_same, state.spend("stops")._replace(stopped=True))

    def _of_airflow(self, state: State) -> Iterator[Transition]:
        """The next tries that can begin."""
        for index, task in enumerate(state.tasks):
            end = state.processes[task.current].node.end
            if end is None:
                if state.budget.overtakes and task.left:
                    yield f"task{index} is overtaken", partial(self._start, state.spend("overtakes"), index)
            elif end.kind != "receipt" and not end.permanent and task.left:
                yield f"task{index} is retried", partial(self._start, state, index)
            elif end.kind != "receipt" and state.budget.clears:
                again = Task(task.current, task.generation + 1, self.retries + 1)
                yield (
                    f"task{index} is cleared",
                    partial(self._start, state.spend("clears").with_task(index, again), index),
                )

    def _time(self, state: State) -> Iterator[Transition]:
        """Time passes until the next moment that matters. Processes that could go on stand still."""
        ready = [index for index, one in enumerate(state.processes) if one.ready(state.now)]
        stopped = [index for index in ready if not state.processes[index].stalled]
        if len(stopped) > state.budget.stalls:
            return
        moments = {one.wake_ms for one in state.processes if one.running}
        moments |= {one.nonce + WINDOW_MS for one in state.flying}
        if ready or state.budget.answers or next(self._of_airflow(state), None):
            moments |= self._deadlines(state)
        now = min((one for one in moments if one > state.now), default=None)
        if now is None:
            return
        after = state.spend("stalls", len(stopped)) if stopped else state
        for index in stopped:
            after = after.with_process(index, after.processes[index]._replace(stalled=True))
        flying = tuple(one for one in state.flying if one.nonce + WINDOW_MS >= now)
        names = " and ".join(str(state.processes[index]) for index in stopped)
        yield f"{names or 'nothing'} stands still", partial(_same, after._replace(now=now, flying=flying))

    def _deadlines(self, state: State) -> set[int]:
        """Moments that matter to the moves that are known."""
        nonces = state.attempted() | {one.nonce for one in state.flying}
        steps = [one.node.step for one in state.processes]
        nonces |= {step.details[0] for step in steps if step is not None and step.what == "send"}  # type: ignore[misc]
        return {nonce + after for nonce in nonces for after in _AFTER_MOVE}


def _arrived(state: State, process: Process) -> Process:
    """A process that has come to its node: a sleep begins at once, and an end leaves nothing else to know."""
    if process.node.end is not None:
        return Process(process.task, process.number, process.node)
    step = process.node.step
    sleeps = step is not None and step.what == "sleep"
    wake_ms = state.now + max(1, step.details[0]) + 1 if sleeps else 0  # type: ignore[operator,type-var,union-attr]
    return process._replace(wake_ms=wake_ms, stalled=False)


def _die(state: State, index: int) -> State:
    process = state.processes[index]
    return state.spend("deaths").with_process(index, Process(process.task, process.number, DEAD))


def _same(state: State) -> State:
    return state
