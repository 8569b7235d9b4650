"""A task that moves money, and the Airflow that retries, replaces and clears it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitInDoubtError, WhiteBitStoppedError
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import RetryPolicy
from airflow_provider_whitebit.hooks.journals import VariableSpendingLog
from airflow_provider_whitebit.moves import effects
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.moves.drivers import ReconcileLater, ask_exchange, execute_move, run
from airflow_provider_whitebit.moves.execution import ApiKey, ExecutionRequest
from airflow_provider_whitebit.moves.intent import Intent, Move, Operation, Receipt
from airflow_provider_whitebit.moves.limits import Limits
from airflow_provider_whitebit.moves.reconciliation import reconcile
from tests.simulation.exchanges import SUB_ACCOUNT
from tests.simulation.stores import SimulatedMarkers, SimulatedVariables, Store
from tests.simulation.wire import KEY, SimulatedTransport, SimulatedWire, Venue
from tests.simulation.world import Killed, Process, World

RECONCILE_MARGIN_MS = 10_000
_LIMITS = Limits("simulated")
Driver = Callable[..., Receipt | None]
STALLS_MS = (3_000, 7_000, 25_000, 60_000, 200_000)


@dataclass(frozen=True)
class SimulatedRequest:
    """A request that always means the same move.

    :param move: that it resolves to.
    :param amount: as the caller writes it.
    """

    move: Move
    amount: str | None = None

    def resolve(self, account: Account) -> Move:
        return self.move

    def to_json(self) -> dict[str, Any]:
        return {**self.move.to_json(), "amount": self.amount}

    def means(self, move: Move | Receipt) -> bool:
        names = ("operation", "plan_id", "ticker", "source", "target", "sub_account_id")
        return all(str(getattr(move, name) or "") == str(getattr(self.move, name)) for name in names)


@dataclass
class Result:
    """What one try reported to Airflow.

    :param request: what it was to make.
    """

    process: Process
    request: SimulatedRequest
    receipt: Any = None
    error: WhiteBitError | None = None


@dataclass
class Said:
    """The error with which a try ended, whether or not Airflow still listened."""

    process: Process
    error: WhiteBitError
    at_ms: int
    current: bool


@dataclass
class Task:
    """A task that makes one move, and the Airflow that runs it: tries, heartbeats, clears.

    :param request: the move; a clear may change it.
    :param steps: about how many steps a run has; it may be killed at any of them.
    :param clears: how often a person clears the task as soon as it has failed, while one of its tries may still run.
    :param woke: whether a replaced try has ended.
    """

    world: World
    venue: Venue
    store: Store
    name: str
    request: SimulatedRequest
    retries: int = 4
    retry_delay_ms: int = 2_000
    heartbeat_ms: int = 20_000
    generation: int = 0
    tries: int = 0
    current: Process | None = None
    results: list[Result] = field(default_factory=list)
    woke: bool = False
    driver: Driver = execute_move
    deferrable: bool = False
    steps: int = 26
    clears: int = 0
    said: list[Said] = field(default_factory=list)
    #: A person may have answered wrongly: what becomes of it is that person's word.
    by_word: bool = False
    #: Its moves have an idempotency key.
    shares_key: bool = False
    #: Of its connection.
    limits: Limits = _LIMITS
    _starts: int = 0
    _begun: int = 0

    def start(self, delay_ms: int = 0) -> None:
        """Start a try later. It takes the place of one that has not begun yet."""
        self._starts += 1
        number = self._starts
        self.world.at(delay_ms, lambda: self._begin() if number == self._starts else None)

    @property
    def result(self) -> Result | None:
        """Result of the last try that Airflow had not replaced."""
        return self.results[-1] if self.results else None

    @property
    def made(self) -> bool:
        """Whether the last try returned a receipt."""
        return self.result is not None and self.result.receipt is not None

    def _begin(self) -> None:
        chance, faults = self.world.random, self.venue.faults
        self.tries += 1
        self._begun += 1
        process = Process(
            self.world,
            f"{self.name}#{self._begun}",
            self,
            self.tries,
            self.retries + 1,
            self._begun,
            drift_ppm=chance.randint(-300, 300),
            skew_ms=chance.choice((0, 0, chance.randint(-500, 500), chance.randint(-90_000, 90_000))),
        )
        if chance.random() < faults.kill:
            process.kill_at = chance.randint(1, self.steps)
        elif chance.random() < faults.stall:
            process.stalls = [(chance.randint(1, self.steps), chance.choice(STALLS_MS))]
            if faults.again and chance.random() < faults.again:
                self._meet_more(process)
        if chance.random() < faults.jump:
            process.jump_at = chance.randint(1, self.steps)
            process.jump_ms = chance.choice((-1, 1)) * chance.choice((700, 4_000, 9_000, 60_000, 3_600_000))
        replaced, self.current = self.current, process
        if replaced is not None:
            self.world.note(f"airflow: {replaced.name} is replaced")
        self.world.note(f"{process.name}: begins, skew {process.skew_ms} ms")
        self.world.spawn(lambda: self._run(process))

    def _meet_more(self, process: Process) -> None:
        """Let a process that stalls do so again, or die, or both."""
        chance, first = self.world.random, process.stalls[0][0]
        if chance.random() < 0.6:
            process.stalls.append((first + chance.randint(1, 12), chance.choice(STALLS_MS)))
        if chance.random() < 0.6:
            process.kill_at = first + chance.randint(1, 14)

    def _watch(self, process: Process, beats: int) -> None:
        """Airflow considers a try dead that does not return in time, and starts the next one."""
        if self.current is process and (process.dead or beats == 0):
            self.world.note(f"airflow: {process.name} is considered dead")
            self._end(process, None)

    def _run(self, process: Process) -> None:
        if process.stalls:
            self.world.at(self.heartbeat_ms + 40_000, lambda: self._watch(process, 0))
        result = Result(process, self.request)
        try:
            result.receipt = self._work(process)
            self.world.note(f"{process.name}: receipt {self.describe(result.receipt)}")
        except WhiteBitError as error:
            result.error = error
            self.said.append(Said(process, error, self.world.clock.now, self.current is process))
            self.world.note(f"{process.name}: {type(error).__name__}: {error}")
        except Killed:
            self.world.at(self.heartbeat_ms, lambda: self._watch(process, 1))
            return
        if self.current is process:
            self._end(process, result)
        else:
            self.woke = True
            self.world.note(f"airflow: the result of {process.name}, which was replaced, is ignored")

    def describe(self, receipt: Any) -> Any:
        """A receipt in the trace."""
        return receipt.transaction_id

    def _work(self, process: Process) -> Any:
        """Run the task's code, again after each deferral."""
        resumed: dict[str, Any] = {}
        while True:
            try:
                return self._move(process, resumed)
            except ReconcileLater as later:
                resumed = self._reconcile(process, later)

    def _move(self, process: Process, resumed: dict[str, Any]) -> Any:
        """The task's code."""
        return self.driver(self._execution(process, self.request, **resumed), sleep=process.sleep)

    def _execution(
        self, process: Process, request: SimulatedRequest, key: str = "move", **options: Any
    ) -> ExecutionRequest:
        """What the hook makes of a call."""
        api_key, previous_key = self._api_keys(process)
        return ExecutionRequest(
            request=request,
            api_key=api_key,
            previous_key=previous_key,
            journal=self.store.journal(process, key),
            limits=self.limits,
            account=Account(api_key.client),
            key=key,
            run=f"{self.generation}|{process.number}",
            generation=str(self.generation),
            begun_before=process.number > 1 or bool(options.get("resumed")),
            defer=self.deferrable,
            check_stop=None if (check_stop := self.venue.check_stop) is None else partial(check_stop, process),
            intent_id=process.next_intent_id(),
            resolutions=self.store.resolutions(process),
            **options,
        )

    def _api_keys(self, process: Process) -> tuple[ApiKey, ApiKey | None]:
        """The API key of the task's connection, and the previous one."""
        return self._api_key(process, KEY, "account"), None

    def _api_key(self, process: Process, credentials: Credentials, fingerprint: str) -> ApiKey:
        transport = SimulatedTransport(
            "http://exchange",
            credentials,
            clock=ExchangeClock(process.local_ms),
            retry=RetryPolicy(attempts=3, jitter=0),
            sleep=process.sleep,
            wire=SimulatedWire(self.venue, process),
        )
        markers = SimulatedMarkers(self.store, process, fingerprint)
        spending = VariableSpendingLog(fingerprint, SimulatedVariables(self.store, process))
        return ApiKey(MovingClient(transport), fingerprint, "whitebit_default", markers, RECONCILE_MARGIN_MS, spending)

    def _reconcile(self, process: Process, later: ReconcileLater) -> dict[str, Any]:
        """What the triggerer does while the task is deferred: another client, another clock, no journal."""
        document = json.loads(json.dumps(later.intent.to_json()))
        api_key = next(one for one in self._api_keys(process) if one and one.fingerprint == later.intent.account)

        def perform(effect: effects.Effect) -> Any:
            if isinstance(effect, effects.WaitUntil):
                return process.sleep(effect.left_ms / 1000)
            if isinstance(effect, effects.ReadMarker):
                return api_key.markers.read(effect.conflict_key)
            return ask_exchange(api_key.client, effect)

        try:
            document = run(reconcile(Intent.from_json(document), RECONCILE_MARGIN_MS), perform).to_json()
        except WhiteBitError as error:
            self.world.note(f"{process.name}: not reconciled by the triggerer: {error}")
        return {"resumed": json.loads(json.dumps(document)), "sent": later.sent}

    def _end(self, process: Process, result: Result | None) -> None:
        self.current = None
        if result is not None:
            self.results.append(result)
            if result.receipt is not None or isinstance(result.error, WhiteBitInDoubtError):
                return
            if self.fails_permanently(result.error):
                return
        if self.tries <= self.retries:
            self.start(self.retry_delay_ms)
        elif self.clears and result is None:
            self.clears -= 1
            self.retries = self.tries + self.world.random.choice((0, 1, 3))
            self.world.at(self.world.random.randint(0, 20_000), self.clear)

    @staticmethod
    def fails_permanently(error: WhiteBitError | None) -> bool:
        return isinstance(error, WhiteBitStoppedError) or getattr(error, "status", None) in (400, 401, 403, 422)

    def clear(self, request: SimulatedRequest | None = None) -> None:
        """A person clears the task, perhaps after its parameters were changed."""
        self.generation += 1
        self.request = request or self.request
        self.world.note(f"airflow: {self.name} is cleared, now {self.request.move}")
        self.start()

    def make_again(self, request: SimulatedRequest) -> None:
        """A person deletes the dag run and triggers one with the same id. The tries count from 1 again.

        :param request: what it is to make.
        """
        self.world.note(f"airflow: the run of {self.name} is deleted and made again, now {request.move}")
        self.generation, self.tries, self.current, self.request = self.generation + 1, 0, None, request
        self.start()

    def clear_at_any_time(self) -> None:
        """A person clears the task, whatever it is doing. A running try is terminated within seconds."""
        running = self.current
        if running is None and self.result is None:
            # Airflow has not started it, or waits for its next try.
            return
        if running is None:
            self.retries = max(self.retries, self.tries)
            self.clear()
            return
        self.world.note(f"airflow: {self.name} is cleared while {running.name} runs")
        if self.world.random.random() < 0.7:
            running.ends_ms = self.world.clock.now + self.world.random.randint(0, 6_000)
        # Clearing a running task leaves the number of its tries as it was, and so its generation.
        self.current = None
        self.start(self.world.random.randint(0, 8_000))


def in_doubt(tasks: Iterable[Task]) -> set[str]:
    """The names of those that have ended in doubt."""
    return {task.name for task in tasks if task.result and isinstance(task.result.error, WhiteBitInDoubtError)}


def _requested(operation: Operation, plan: str = "", amount: str | None = None, **more: str) -> SimulatedRequest:
    move = Move(operation, plan, "USDT", None if amount is None else Decimal(amount), **more)
    return SimulatedRequest(move, amount)


def invest(plan: str, amount: str) -> SimulatedRequest:
    return _requested(Operation.FLEX_INVEST, plan, amount)


def withdraw(plan: str, amount: str) -> SimulatedRequest:
    return _requested(Operation.FLEX_WITHDRAW, plan, amount)


def close(plan: str) -> SimulatedRequest:
    return _requested(Operation.FLEX_CLOSE, plan)


def fixed_invest(plan: str, amount: str) -> SimulatedRequest:
    return _requested(Operation.FIXED_INVEST, plan, amount)


def fixed_close(plan: str, investment: str, amount: str) -> SimulatedRequest:
    return _requested(Operation.FIXED_CLOSE, plan, amount, investment_id=investment)


def transfer(source: str, target: str, amount: str) -> SimulatedRequest:
    return _requested(Operation.TRANSFER, "", amount, source=source, target=target)


def sub_account_transfer(source: str, target: str, amount: str) -> SimulatedRequest:
    operation = Operation.SUB_ACCOUNT_TRANSFER
    return _requested(operation, "", amount, source=source, target=target, sub_account_id=SUB_ACCOUNT)
