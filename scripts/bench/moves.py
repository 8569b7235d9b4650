"""What a move takes: journal writes, requests, and the package's own time, on virtual time without a network.

The exchange is the sandbox's rules in this process; the time that they take is not counted.
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

import requests
from exporting import PLAN, Answer, long_history
from figure import Figure, best_of, command

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import RetryPolicy, Transport
from airflow_provider_whitebit.moves.batch import Batch
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation, Receipt
from airflow_provider_whitebit.moves.journal import MemoryJournal, MemoryMarks
from airflow_provider_whitebit.sandbox.exchange import Exchange

HISTORIES = (1_000, 10_000, 100_000)
PLANS = (1, 10, 100)
ATTEMPTS = (1, 10, 100)
ROUNDS = 30


class Clock:
    """The one time of exchange and client, in milliseconds. Nobody waits for it."""

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

    def send(self, prepared: Any) -> Any:
        begin = time.process_time()
        # Never the same twice: nonces are milliseconds.
        self._clock.now += 37 + self.requests % 7
        self.requests += 1
        path = "/" + str(prepared.url).split("//", 1)[1].partition("/")[2]
        told = self._exchange.handle(str(prepared.method), path, dict(prepared.headers), prepared.body or b"")
        answer = Answer(told.body)
        answer.status_code, answer.headers = told.status, dict(told.headers)
        self.seconds += time.process_time() - begin
        if self.lose_next_answer_of and path.endswith(self.lose_next_answer_of):
            self.lose_next_answer_of = ""
            raise requests.ReadTimeout
        return answer

    def close(self) -> None:
        """Nothing is open."""


class Account:
    """An account on an exchange of its own, and what making moves in it takes."""

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
        self.client = WhiteBitClient(
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
        self.marks = MemoryMarks()
        self.writes = 0

    def journal(self) -> MemoryJournal:
        """A journal whose writes are counted."""
        account = self

        class Counting(MemoryJournal):
            def write(self, document: dict[str, Any]) -> None:
                account.writes += 1
                super().write(document)

        return Counting()

    def make(self, move: Move, journal: MemoryJournal, permit: Callable[[Move], None] = lambda move: None) -> Receipt:
        """Make a move once."""
        return execute_move(
            self.client,
            journal,
            requested={},
            resolve=lambda: move,
            permit=permit,
            marks=self.marks,
            account="bench",
            sleep=self.clock.sleep,
        )

    def own_seconds(self, work: Callable[[], object]) -> float:
        """Processor seconds that something takes, without the exchange's part of it."""
        before, begin = self.wire.seconds, time.process_time()
        work()
        return time.process_time() - begin - (self.wire.seconds - before)


def invest(plan: str = PLAN) -> Move:
    """One unit into a plan."""
    return Move(Operation.FLEX_INVEST, plan, "USDT", Decimal(1))


def in_the_good_case() -> list[Figure]:
    """A move that nothing disturbs."""
    account = Account()
    account.make(invest(), account.journal())
    before = account.writes
    own = [account.own_seconds(lambda: account.make(invest(), account.journal())) for _ in range(ROUNDS)]
    writes = account.writes - before
    # With no other move like it in the seconds before: then no turn has to be waited for.
    account.clock.sleep(60)
    asked = account.wire.requests
    account.make(invest(), account.journal())
    return [
        Figure("one move: journal writes", writes / ROUNDS, "writes"),
        Figure("one move: requests", account.wire.requests - asked, "requests"),
        Figure("one move: the package's own time", statistics.median(own) * 1000, "ms"),
    ]


def settled(count: int) -> list[Figure]:
    """A move whose answer is lost, and which the exchange's records settle, in an account with so long a history."""
    with tempfile.TemporaryDirectory() as folder:
        long_history(Path(folder) / "books.db", count)
        account = Account(Path(folder) / "books.db")

        def lose_and_settle() -> None:
            account.wire.lose_next_answer_of = "/invest"
            if not account.make(invest(), account.journal()).reconciled:
                raise RuntimeError("the answer was not lost")

        lose_and_settle()
        own, asked = [], []
        for _ in range(ROUNDS):
            account.clock.sleep(60)
            before = account.wire.requests
            own.append(account.own_seconds(lose_and_settle) * 1000)
            asked.append(account.wire.requests - before)
    name = "a move with a lost answer, settled"
    return [
        Figure(f"{name}: the package's own time", statistics.median(own), "ms", count, "transactions"),
        Figure(f"{name}: requests", statistics.median(asked), "requests", count, "transactions"),
    ]


def of_a_plan(count: int) -> list[Figure]:
    """A task that makes so many moves."""
    taken = [_carried_out(count) for _ in range(max(3, 30 // count))]
    own, writes = statistics.median(own for own, _ in taken), taken[0][1]
    return [
        Figure("moves of one plan: the package's own time", own / count * 1000, "ms/move", count, "moves"),
        Figure("moves of one plan: journal writes", writes / count, "writes/move", count, "moves"),
    ]


def _carried_out(count: int) -> tuple[float, int]:
    """Processor seconds and journal writes of one such task."""
    account = Account(plans=count)
    journals: dict[int, MemoryJournal] = {}

    def journal(number: int) -> MemoryJournal:
        return journals.setdefault(number, account.journal())

    batch = Batch(
        diary=account.journal(),
        journal=journal,
        plan=lambda made: [invest(plan) for plan in account.plans],
        make=lambda number, move, permit: account.make(move, journal(number), permit),
        requested={},
    )
    return account.own_seconds(batch.carry_out), account.writes


def journal_of(attempts: int) -> list[Figure]:
    """Writing and reading the journal in memory, for an intent that was tried so often."""
    intent = Intent(id="bench", account="bench", requested={}, generation="", move=invest(), created_at=1_760_000_000)
    for number in range(attempts):
        second = 1_760_000_000 + 10 * number
        intent = intent.trying(Attempt(second * 1000, second), ()).last_refused()
    journal, rounds = MemoryJournal(), max(3, 300 // attempts)
    write = best_of(rounds, lambda: journal.write(intent.to_json()))
    read = best_of(rounds, lambda: [Intent.from_json(document) for document in journal.read()])
    return [
        Figure("journal in memory, write", write / attempts * 1e6, "us/attempt", attempts, "attempts"),
        Figure("journal in memory, read", read / attempts * 1e6, "us/attempt", attempts, "attempts"),
    ]


def figures(home: Path) -> list[Figure]:
    """All of them."""
    logging.disable(logging.CRITICAL)
    found = in_the_good_case()
    for count in HISTORIES:
        found += settled(count)
    for count in PLANS:
        found += of_a_plan(count)
    for count in ATTEMPTS:
        found += journal_of(count)
    return found


if __name__ == "__main__":
    command(figures)
