"""What a move takes: journal writes, requests and the package's own time, in virtual time without a network.

The exchange is the sandbox's rules in this process; their time is not counted.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from exporting import PLAN, long_history
from figure import Figure, best_of, command

from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import RetryPolicy, Transport
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.execution import ApiKey, DecidedMove, ExecutionRequest
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation, Receipt
from airflow_provider_whitebit.moves.journal import Journal, MemoryJournal, MemoryMarkers
from airflow_provider_whitebit.moves.limits import Limits
from airflow_provider_whitebit.moves.plans import PlanRun
from airflow_provider_whitebit.sandbox.exchange import Exchange

HISTORIES = (1_000, 10_000, 100_000)
PLANS = (1, 10, 100)
ATTEMPTS = (1, 10, 100)
ROUNDS = 30


class Clock:
    """The one time of exchange and client, in milliseconds. It never blocks."""

    def __init__(self) -> None:
        self.now = int(time.time() * 1000)

    def now_ms(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1000) + 1


class Wire:
    """Carries requests to the exchange's rules, counts them, and knows how long the rules took."""

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self._exchange, self._clock = exchange, clock
        self.requests = 0
        self.seconds = 0.0
        self.lose_next_answer_of = ""

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Any:
        begin = time.process_time()
        # Never the same twice: nonces are milliseconds.
        self._clock.now += 37 + self.requests % 7
        self.requests += 1
        answer = self._exchange.handle(method, path, headers, body or b"")
        self.seconds += time.process_time() - begin
        if self.lose_next_answer_of and path.endswith(self.lose_next_answer_of):
            self.lose_next_answer_of = ""
            raise WhiteBitUnavailableError("The answer was lost.", path=path, money_moved=None)
        return answer

    def close(self) -> None:
        """Nothing is open."""


class Task:
    """A task with its own exchange, and what its moves take."""

    def __init__(self, db: str | Path = ":memory:", plans: int = 1) -> None:
        self.clock = Clock()
        self.plans = [PLAN, *(f"{number:08d}-0000-4000-8000-000000000000" for number in range(1, plans))]
        scenario = {
            "balances": {"sandbox": {"USDT": "1000000"}},
            "plans": [
                {"id": plan, "ticker": "USDT", "minimum": "1", "maximum": "1000000", "rate": "0.1"}
                for plan in self.plans
            ],
        }
        exchange = Exchange(clock=self.clock, db=db, scenario=scenario, rate_limits=False)
        self.wire = Wire(exchange, self.clock)
        self.client = MovingClient(
            Transport(
                "http://sandbox",
                Credentials("sandbox-key", "sandbox-secret"),
                clock=ExchangeClock(self.clock.now_ms),
                retry=RetryPolicy(jitter=0),
                sleep=self.clock.sleep,
                wire=self.wire,
            )
        )
        self.client.server_time()
        self.api_key = ApiKey(self.client, "bench", "bench", MemoryMarkers())
        self.writes = 0

    def execution(self, move: Move) -> ExecutionRequest:
        """One run of the task for a move, with a new journal whose writes are counted."""
        task = self

        class Counting(MemoryJournal):
            def write(self, document: dict[str, Any]) -> None:
                task.writes += 1
                super().write(document)

            def sibling(self, key: str) -> Journal:
                return siblings.setdefault(key, Counting())

        siblings: dict[str, Journal] = {}
        limits, account = Limits("bench"), Account(self.client)
        return ExecutionRequest(DecidedMove(move), self.api_key, Counting(), limits, account, key="bench")

    def make(self, move: Move) -> Receipt:
        """Make a move once."""
        receipt = execute_move(self.execution(move), sleep=self.clock.sleep)
        if receipt is None:
            raise RuntimeError("the move was not made")
        return receipt

    def own_seconds(self, work: Callable[[], object]) -> float:
        """Processor seconds of some work, without the exchange's part."""
        before, begin = self.wire.seconds, time.process_time()
        work()
        return time.process_time() - begin - (self.wire.seconds - before)


def invest(plan: str = PLAN) -> Move:
    """Invest one unit in a plan."""
    return Move(Operation.FLEX_INVEST, plan, "USDT", Decimal(1))


def in_the_good_case() -> list[Figure]:
    """A move without faults."""
    task = Task()
    task.make(invest())
    before = task.writes
    own = [task.own_seconds(lambda: task.make(invest())) for _ in range(ROUNDS)]
    writes = task.writes - before
    # Without an equal move in the seconds before, it does not wait for the lock.
    task.clock.sleep(60)
    earlier = task.wire.requests
    task.make(invest())
    return [
        Figure("one move: journal writes", writes / ROUNDS, "writes"),
        Figure("one move: requests", task.wire.requests - earlier, "requests"),
        Figure("one move: the package's own time", statistics.median(own) * 1000, "ms"),
    ]


def reconciled(count: int) -> list[Figure]:
    """A move whose answer is lost and which the exchange's records reconcile, with a history of this length."""
    with tempfile.TemporaryDirectory() as folder:
        long_history(Path(folder) / "ledger.db", count)
        task = Task(Path(folder) / "ledger.db")

        def lose_and_reconcile() -> None:
            task.wire.lose_next_answer_of = "/invest"
            if not task.make(invest()).reconciled:
                raise RuntimeError("the answer was not lost")

        lose_and_reconcile()
        own, requests = [], []
        for _ in range(ROUNDS):
            task.clock.sleep(60)
            before = task.wire.requests
            own.append(task.own_seconds(lose_and_reconcile) * 1000)
            requests.append(task.wire.requests - before)
    name = "a move with a lost answer, reconciled"
    return [
        Figure(f"{name}: the package's own time", statistics.median(own), "ms", count, "transactions"),
        Figure(f"{name}: requests", statistics.median(requests), "requests", count, "transactions"),
    ]


def of_a_plan(count: int) -> list[Figure]:
    """A task that makes this many moves."""
    taken = [_executed(count) for _ in range(max(3, 30 // count))]
    own, writes = statistics.median(own for own, _ in taken), taken[0][1]
    return [
        Figure("moves of one plan: the package's own time", own / count * 1000, "ms/move", count, "moves"),
        Figure("moves of one plan: journal writes", writes / count, "writes/move", count, "moves"),
    ]


def _executed(count: int) -> tuple[float, int]:
    """Processor seconds and journal writes of one such task."""
    task = Task(plans=count)
    plan = PlanRun(task.execution(invest()), {}, task.clock.sleep)

    def execute() -> None:
        plan.recover(announce=True)
        plan.execute([invest(plan_id) for plan_id in task.plans])

    return task.own_seconds(execute), task.writes


def journal_of(attempts: int) -> list[Figure]:
    """Writing and reading the journal in memory, for an intent with this many attempts."""
    intent = Intent(id="bench", account="bench", requested={}, generation="", move=invest(), created_at=1_760_000_000)
    for number in range(attempts):
        second = 1_760_000_000 + 10 * number
        intent = intent.trying(Attempt(second * 1000, second)).last_refused()
    journal, rounds = MemoryJournal(), max(3, 300 // attempts)
    history = MoveHistory().with_intent(intent)
    write = best_of(rounds, lambda: journal.write(history.to_json()))
    read = best_of(rounds, lambda: MoveHistory.merge(journal.read()))
    return [
        Figure("journal in memory, write", write / attempts * 1e6, "us/attempt", attempts, "attempts"),
        Figure("journal in memory, read", read / attempts * 1e6, "us/attempt", attempts, "attempts"),
    ]


def figures(home: Path) -> list[Figure]:
    """All figures of moves."""
    logging.disable(logging.CRITICAL)
    found = in_the_good_case()
    for count in HISTORIES:
        found += reconciled(count)
    for count in PLANS:
        found += of_a_plan(count)
    for count in ATTEMPTS:
        found += journal_of(count)
    return found


if __name__ == "__main__":
    command(figures)
