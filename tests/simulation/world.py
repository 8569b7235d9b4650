"""Virtual time, an exchange, a lossy wire and an Airflow that kills, stalls, retries and clears: all by one seed.

Everything that is under test is the real thing: client, protocol, blocking driver, the sandbox's rules. Made here
are time, the wire, the journal's store and Airflow. Each process is a greenlet: wherever it would wait for the
network, the journal or a sleep, the world goes on, and there it may stall or die.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import greenlet
import requests

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitInDoubt
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import RetryPolicy, Transport
from airflow_provider_whitebit.hooks.journals import VariableJournal
from airflow_provider_whitebit.moves import protocol
from airflow_provider_whitebit.moves.drivers import SettleLater, ask_exchange, execute_move, run
from airflow_provider_whitebit.moves.intent import Intent, Move, Operation, Receipt
from airflow_provider_whitebit.moves.journal import Journal, JournalError, Marks

START_MS = 1_790_000_000_000
KEY = Credentials("sandbox-key", "sandbox-secret")


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
        self.random = random.Random(seed)
        self.clock = Clock()
        self.trace: list[str] = []
        self._queue: list[tuple[int, int, Any, Any]] = []
        self._order = itertools.count()
        self._until_ms = START_MS + 10**9
        self._hub = greenlet.getcurrent()

    def note(self, text: str) -> None:
        self.trace.append(f"{(self.clock.now - START_MS) / 1000:10.3f}  {text}")

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Run an action later."""
        heapq.heappush(self._queue, (self.clock.now + max(0, delay_ms), next(self._order), action, None))

    def spawn(self, body: Callable[[], None]) -> greenlet.greenlet:
        """Run a process; it may call :meth:`wait`."""
        process = greenlet.greenlet(body, self._hub)
        self.at(0, process.switch)
        return process

    def wait(self, delay_ms: int) -> None:
        """Let the calling process wait while the world goes on."""
        until = self.clock.now + max(0, delay_ms)
        if not self._queue or until < self._queue[0][0]:
            # Nobody else has anything to do until then.
            if until > self._until_ms:
                raise AssertionError("the world does not come to rest")
            self.clock.now = until
            return
        self.at(delay_ms, greenlet.getcurrent().switch)
        self._hub.switch()

    def run(self) -> None:
        """Run until nothing is left to do."""
        while self._queue:
            moment, _, action, _ = heapq.heappop(self._queue)
            if moment > self._until_ms:
                raise AssertionError("the world does not come to rest")
            self.clock.now = max(self.clock.now, moment)
            action()


@dataclass
class Sent:
    """A money-moving request that the exchange saw."""

    process: Process
    path: str
    nonce: int
    executed: bool
    reference: str | None
    plan: str = ""
    amount: Decimal = Decimal(0)


@dataclass
class Faults:
    """How often what goes wrong, as chances per request, journal write or step."""

    wire: float = 0.0
    journal: float = 0.0
    kill: float = 0.0
    stall: float = 0.0
    jump: float = 0.0
    latency_ms: int = 60


@dataclass
class Process:
    """One try of a task: its clock, its place, and what it has left to suffer."""

    world: World
    name: str
    task: Any
    number: int
    #: As many as there may be, by what is known when it begins.
    tries: int = 1
    drift_ppm: int = 0
    skew_ms: int = 0
    dead: bool = False
    steps: int = 0
    kill_at: int | None = None
    stall_at: int | None = None
    stall_ms: int = 0
    jump_at: int | None = None
    jump_ms: int = 0

    def local_ms(self) -> int:
        passed = self.world.clock.now - START_MS
        return START_MS + self.skew_ms + passed + passed * self.drift_ppm // 1_000_000

    def step(self, what: str, delay_ms: int = 0) -> None:
        """A point where time passes, and where this process may stall or die."""
        self.steps += 1
        if self.kill_at is not None and self.steps >= self.kill_at:
            self.world.note(f"{self.name}: KILLED {what}")
            self.dead = True
            raise Killed
        if self.stall_at is not None and self.steps >= self.stall_at:
            self.stall_at = None
            self.world.note(f"{self.name}: STALLS {self.stall_ms} ms {what}")
            self.world.wait(self.stall_ms)
        if self.jump_at is not None and self.steps >= self.jump_at:
            self.jump_at = None
            self.world.note(f"{self.name}: its clock JUMPS {self.jump_ms} ms {what}")
            self.skew_ms += self.jump_ms
        if delay_ms:
            self.world.wait(delay_ms)

    def sleep(self, seconds: float) -> None:
        self.step("sleeping", int(seconds * 1000) + 1)


class Answered:
    """As much of an HTTP answer as the transport reads."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status_code = status
        self.headers = headers
        self.raw = self
        self._body = body

    def stream(self, _amount: int, decode_content: bool = True) -> list[bytes]:
        return [self._body]

    def close(self) -> None:
        pass


#: What the wire can do to a request, and whether the exchange gets it first.
WIRE_FAULTS = (
    "never_connected",
    "lost_before",
    "lost_after",
    "error_500_before",
    "error_500_after",
    "html_503_after",
    "empty_502_before",
    "garbage_after",
    "error_in_200_before",
    "rate_limit",
    "late_arrival",
    "late_reply",
    "duplicate",
    "second_answer",
    "arrives_after_timeout",
)


class SimulatedWire:
    """Carries requests to the exchange's rules, or not."""

    def __init__(self, shop: Shop, process: Process) -> None:
        self._shop = shop
        self._process = process
        self._world = process.world

    def close(self) -> None:
        pass

    def send(self, prepared: requests.PreparedRequest) -> Any:
        process, world, shop = self._process, self._world, self._shop
        path = prepared.url.split("//", 1)[1].partition("/")[2]
        path = "/" + path
        moves = shop.moves_money(path)
        fault = shop.pick_fault(path)
        process.step(f"before {path}", shop.latency())
        if fault:
            world.note(f"{process.name}: {path} meets {fault}")
        if fault == "never_connected":
            raise requests.ConnectTimeout("simulated")
        if fault == "rate_limit":
            return Answered(429, shop.date(), b'{"message":"Too Many Attempts.","code":0}')
        if fault in ("lost_before", "error_500_before", "empty_502_before", "error_in_200_before"):
            process.step("without an answer", 2_000)
            if fault == "lost_before":
                raise requests.ReadTimeout("simulated")
            if fault == "error_500_before":
                return Answered(500, shop.date(), b'{"message":"Server Error"}')
            if fault == "empty_502_before":
                return Answered(502, shop.date(), b"")
            return Answered(200, shop.date(), b'{"code":0,"message":"Something is wrong","errors":{}}')
        if fault == "late_arrival":
            process.step("while the request is on its way", shop.random.randint(1_000, 9_000))
        if fault == "arrives_after_timeout":
            # The client gives up, the request is still under way and reaches the exchange later.
            world.at(shop.random.randint(500, 12_000), lambda: self._deliver(path, prepared, moves))
            process.step("giving up", 2_000)
            raise requests.ReadTimeout("simulated")
        answer = self._deliver(path, prepared, moves)
        if fault in ("duplicate", "second_answer"):
            second = self._deliver(path, prepared, moves)
            answer = second if fault == "second_answer" else answer
        process.step(f"after {path}", shop.latency())
        if fault == "lost_after":
            raise requests.ConnectionError("simulated")
        if fault == "late_reply":
            process.step("waiting for a late reply", shop.random.randint(1_000, 30_000))
        if fault == "error_500_after":
            return Answered(500, shop.date(), b"<html>oops</html>")
        if fault == "html_503_after":
            return Answered(503, shop.date(), b"<html>maintenance</html>")
        if fault == "garbage_after":
            return Answered(200, shop.date(), b"\xff\x00\xfe{")
        return answer

    def _deliver(self, path: str, prepared: requests.PreparedRequest, moves: bool) -> Answered:
        answer = self._shop.exchange.handle(prepared.method or "POST", path, prepared.headers, prepared.body or b"")
        if moves:
            body = json.loads(prepared.body or b"{}")
            done = json.loads(answer.body) if answer.status in (200, 201) else None
            reference = done.get("id") or done.get("data", {}).get("transaction_id") if done else None
            self._shop.sent.append(
                Sent(
                    self._process,
                    path,
                    body["nonce"],
                    done is not None,
                    reference,
                    body.get("plan", ""),
                    Decimal(body.get("amount", 0)),
                )
            )
            self._world.note(
                f"{self._process.name}: exchange has {path.rsplit('/', 1)[1]} {body.get('amount', '')} "
                f"nonce {body['nonce'] - START_MS} -> {answer.status} {reference or answer.body[:90]!r}"
            )
        return Answered(answer.status, answer.headers, answer.body)


@dataclass
class Shop:
    """The exchange and the weather around it."""

    world: World
    exchange: Any
    faults: Faults
    sent: list[Sent] = field(default_factory=list)

    @property
    def random(self) -> random.Random:
        return self.world.random

    def moves_money(self, path: str) -> bool:
        return path.endswith(("/invest", "/withdraw", "/close", "/investment", "/transfer"))

    def latency(self) -> int:
        return 5 + int(self.random.random() * (self.faults.latency_ms - 4))

    def date(self) -> dict[str, str]:
        return {}

    def pick_fault(self, path: str) -> str | None:
        # What moves money meets faults far more often: that is what is being looked at.
        chance = self.faults.wire * (6 if self.moves_money(path) else 1)
        return self.random.choice(WIRE_FAULTS) if self.random.random() < chance else None


class Store:
    """Keeps journals as Airflow does: on 3.3 a replaced try is refused, before that each try has its own place."""

    def __init__(self, shop: Shop, *, fenced: bool) -> None:
        self.shop = shop
        self.fenced = fenced
        self.documents: dict[str, str] = {}
        self.marks: dict[str, str] = {}


class SimulatedMarks:
    """One try's view of the marks, which all tries and tasks share."""

    def __init__(self, store: Store, process: Process, account: str = "account") -> None:
        self._store = store
        self._process = process
        self._account = account

    def read(self, name: str) -> str | None:
        process, shop = self._process, self._store.shop
        process.step("before reading a mark", shop.latency())
        if shop.random.random() < shop.faults.journal / 2:
            raise JournalError("simulated: no mark")
        mark = self._store.marks.get(f"{self._account}|{name}")
        process.step("after reading a mark", shop.latency())
        return mark

    def write(self, name: str, mark: str) -> None:
        process, shop = self._process, self._store.shop
        process.step("before writing a mark", shop.latency())
        chance = shop.random.random()
        if chance < shop.faults.journal / 2:
            raise JournalError("simulated: mark not written")
        self._store.marks[f"{self._account}|{name}"] = mark
        if chance < shop.faults.journal:
            raise JournalError("simulated: mark written unheard")
        process.step("after writing a mark", shop.latency())


class SimulatedState:
    """One try's view of the task's state, which refuses what a replaced try writes: the journal on Airflow 3.3."""

    fenced = True

    def __init__(self, store: Store, process: Process, name: str) -> None:
        self._store = store
        self._process = process
        self.identity = f"{process.task.name}{name}"

    def _replaced(self) -> bool:
        return self._process.task.current is not self._process

    def read(self) -> list[dict[str, Any]]:
        document = _read(self._store, self._process, self.identity, "journal")
        return [] if document is None or self._replaced() else [json.loads(document)]

    def write(self, document: dict[str, Any]) -> None:
        _write(self._store, self._process, self.identity, json.dumps(document), self._replaced)


class SimulatedVariables:
    """One try's view of Airflow's Variables."""

    def __init__(self, store: Store, process: Process) -> None:
        self._store = store
        self._process = process

    def read(self, name: str) -> str | None:
        return _read(self._store, self._process, name, "Variable")

    def keep(self, name: str, text: str, description: str) -> None:
        _write(self._store, self._process, name, text, lambda: False)


def journal_of(store: Store, process: Process, name: str = "") -> Journal:
    """The journal of one of a task's moves, as this try has it. Where Variables keep it, it is the package's own."""
    if store.fenced:
        return SimulatedState(store, process, name)
    identity = f"{process.task.name}{name}"
    return VariableJournal(identity, identity, process.number, process.tries, SimulatedVariables(store, process))


def _read(store: Store, process: Process, name: str, what: str) -> str | None:
    process.step(f"before reading the {what}", store.shop.latency())
    if store.shop.random.random() < store.shop.faults.journal / 2:
        process.world.note(f"{process.name}: {what} cannot be read")
        raise JournalError("simulated")
    found = store.documents.get(name)
    process.step(f"after reading the {what}", store.shop.latency())
    return found


def _write(store: Store, process: Process, name: str, text: str, refused: Callable[[], bool]) -> None:
    process.step("before writing the journal", store.shop.latency())
    chance = store.shop.random.random()
    if chance < store.shop.faults.journal / 2:
        process.world.note(f"{process.name}: journal write fails")
        raise JournalError("simulated")
    if refused():
        process.world.note(f"{process.name}: journal write refused, the try was replaced")
        raise JournalError("simulated: this try was replaced")
    store.documents[name] = text
    process.world.note(f"{process.name}: {_in_words(name, text)}")
    if chance < store.shop.faults.journal:
        process.world.note(f"{process.name}: journal write succeeds unheard")
        raise JournalError("simulated: no answer")
    process.step("after writing the journal", store.shop.latency())


def _in_words(name: str, text: str) -> str:
    if not text.startswith("{"):
        return f"{name} is {text}"
    document = json.loads(text)
    if "state" in document:
        return f"{name} has {document['state']} attempts {len(document['attempts'])}"
    return f"{name} has {document['highest']} numbers, {'done' if document['done'] is not None else 'not done'}"


@dataclass
class Result:
    """What one try told Airflow."""

    process: Process
    receipt: Receipt | None = None
    error: WhiteBitError | None = None


@dataclass
class Task:
    """A money-moving task and the Airflow that runs it: tries, heartbeats, clears.

    :param requested: what it asks for; changes of a clear go here.
    :param resolve: the move it comes to.
    :param steps: about how many steps a run has; it may be killed at any of them.
    """

    world: World
    shop: Shop
    store: Store
    name: str
    requested: dict[str, Any]
    resolve: Callable[[], Move]
    retries: int = 4
    retry_delay_ms: int = 2_000
    heartbeat_ms: int = 20_000
    generation: int = 0
    tries: int = 0
    current: Process | None = None
    results: list[Result] = field(default_factory=list)
    woke: bool = False
    settle_margin_ms: int = 10_000
    driver: Callable[..., Receipt] = execute_move
    deferrable: bool = False
    steps: int = 26
    #: How often a person clears the task as soon as it has failed, while one of its tries may only be sleeping.
    clears: int = 0

    def start(self, delay_ms: int = 0) -> None:
        self.world.at(delay_ms, self._begin)

    @property
    def result(self) -> Result | None:
        """What the last try that Airflow listened to came to."""
        return self.results[-1] if self.results else None

    def _begin(self) -> None:
        chance, faults = self.world.random, self.shop.faults
        self.tries += 1
        process = Process(
            self.world,
            f"{self.name}#{self.tries}",
            self,
            self.tries,
            self.retries + 1,
            drift_ppm=chance.randint(-300, 300),
            skew_ms=chance.choice((0, 0, chance.randint(-500, 500), chance.randint(-90_000, 90_000))),
        )
        if chance.random() < faults.kill:
            process.kill_at = chance.randint(1, self.steps)
        elif chance.random() < faults.stall:
            process.stall_at = chance.randint(1, self.steps)
            process.stall_ms = chance.choice((3_000, 7_000, 25_000, 60_000, 200_000))
        if chance.random() < faults.jump:
            process.jump_at = chance.randint(1, self.steps)
            process.jump_ms = chance.choice((-1, 1)) * chance.choice((700, 4_000, 9_000, 60_000, 3_600_000))
        self.current = process
        self.world.note(f"{process.name}: begins, skew {process.skew_ms} ms")
        self.world.spawn(lambda: self._run(process))

    def _watch(self, process: Process, beats: int) -> None:
        """Airflow takes a try for dead that does not come back in time, and starts the next."""
        if self.current is process and (process.dead or beats == 0):
            self.world.note(f"airflow: {process.name} is taken for dead")
            self._over(process, None)

    def _run(self, process: Process) -> None:
        if process.stall_at is not None:
            self.world.at(self.heartbeat_ms + 40_000, lambda: self._watch(process, 0))
        result = Result(process)
        try:
            result.receipt = self._work(process)
            self.world.note(f"{process.name}: receipt {self.told(result.receipt)}")
        except WhiteBitError as error:
            result.error = error
            self.world.note(f"{process.name}: {type(error).__name__}: {error}")
        except Killed:
            self.world.at(self.heartbeat_ms, lambda: self._watch(process, 1))
            return
        if self.current is process:
            self._over(process, result)
        else:
            self.woke = True
            self.world.note(f"airflow: nobody listens to {process.name}")

    def told(self, receipt: Any) -> Any:
        """A receipt in the trace."""
        return receipt.transaction_id

    def _work(self, process: Process) -> Receipt:
        settled: dict[str, Any] = {}
        while True:
            journal = journal_of(self.store, process)
            client, account = self._account(process, journal)
            try:
                return self.driver(
                    client,
                    journal,
                    requested=self.requested,
                    resolve=self.resolve,
                    **account,
                    generation=str(self.generation),
                    settle_margin_ms=self.settle_margin_ms,
                    sleep=process.sleep,
                    new_id=lambda: f"{self.name}-{process.number}",
                    **({"defer": True, **settled} if self.deferrable else {}),
                )
            except SettleLater as later:
                settled = self._settle(process, later)

    def _account(self, process: Process, journal: Journal) -> tuple[WhiteBitClient, dict[str, Any]]:
        """The client that a run of the task has, and whose it is."""
        return self._client(process), {"account": "account", "marks": SimulatedMarks(self.store, process)}

    def _settle(self, process: Process, later: SettleLater) -> dict[str, Any]:
        """What the triggerer does while the task is deferred: another client, another clock, no journal."""
        document = json.loads(json.dumps(later.intent.to_json()))
        client, marks = self._sent_with(process, later.intent.account)

        def perform(effect: protocol.Effect) -> Any:
            if isinstance(effect, protocol.WaitUntil):
                return process.sleep(effect.left_ms / 1000)
            if isinstance(effect, protocol.ReadMark):
                return marks.read(effect.name)
            return ask_exchange(client, effect)

        try:
            document = run(protocol.settle(Intent.from_json(document), self.settle_margin_ms), perform).to_json()
        except WhiteBitError as error:
            self.world.note(f"{process.name}: not settled by the triggerer: {error}")
        return {"settled": json.loads(json.dumps(document)), "sent": later.sent}

    def _sent_with(self, process: Process, account: str) -> tuple[WhiteBitClient, Marks]:
        """The client and the marks with which a doubt of an account is settled."""
        return self._client(process), SimulatedMarks(self.store, process)

    def _client(self, process: Process, key: Credentials = KEY) -> WhiteBitClient:
        transport = Transport(
            "http://exchange",
            key,
            clock=ExchangeClock(process.local_ms),
            retry=RetryPolicy(attempts=3, jitter=0),
            sleep=process.sleep,
            wire=SimulatedWire(self.shop, process),
        )
        return WhiteBitClient(transport)

    def _over(self, process: Process, result: Result | None) -> None:
        self.current = None
        if result is not None:
            self.results.append(result)
            if result.receipt is not None or isinstance(result.error, WhiteBitInDoubt):
                return
            if self.fails_for_good(result.error):
                return
        if self.tries <= self.retries:
            self.start(self.retry_delay_ms)
        elif self.clears and result is None:
            self.clears -= 1
            self.retries = self.tries + self.world.random.choice((0, 1, 3))
            self.world.at(self.world.random.randint(0, 20_000), self.clear)

    @staticmethod
    def fails_for_good(error: WhiteBitError | None) -> bool:
        return getattr(error, "status", None) in (400, 401, 403, 422)

    def clear(self, requested: dict[str, Any] | None = None, resolve: Callable[[], Move] | None = None) -> None:
        """A person clears the task, perhaps after its parameters were changed."""
        self.generation += 1
        self.requested = requested or self.requested
        self.resolve = resolve or self.resolve
        self.world.note(f"airflow: {self.name} is cleared, now {self.requested}")
        self.start()


Wanted = tuple[dict[str, Any], Callable[[], Move]]


def wanted(operation: Operation, plan: str = "", amount: str | None = None, **more: str) -> Wanted:
    """What a task asks for, and the move that it comes to."""
    move = Move(operation, plan, "USDT", None if amount is None else Decimal(amount), **more)
    return {"operation": str(operation), "plan_id": plan, "amount": amount, **more}, lambda: move


def invest(plan: str, amount: str) -> Wanted:
    return wanted(Operation.FLEX_INVEST, plan, amount)


def withdraw(plan: str, amount: str) -> Wanted:
    return wanted(Operation.FLEX_WITHDRAW, plan, amount)


def close(plan: str) -> Wanted:
    return wanted(Operation.FLEX_CLOSE, plan)


def fixed_invest(plan: str, amount: str) -> Wanted:
    return wanted(Operation.FIXED_INVEST, plan, amount)


def fixed_close(plan: str, investment: str, amount: str) -> Wanted:
    return wanted(Operation.FIXED_CLOSE, plan, amount, investment_id=investment)


def transfer(source: str, target: str, amount: str) -> Wanted:
    return wanted(Operation.TRANSFER, "", amount, source=source, target=target)
