"""Worlds in which many tasks move money with a connection whose limits count over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar

from airflow_provider_whitebit.client.errors import WhiteBitInDoubtError
from airflow_provider_whitebit.moves.allowance import DAY, HOUR
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.intent import Operation
from airflow_provider_whitebit.moves.limits import Limits
from tests.simulation.exchanges import PLAN, TERM
from tests.simulation.hostile import OTHER_PLAN
from tests.simulation.nodes import make_exchange
from tests.simulation.oracles import check_words
from tests.simulation.rotation import RotatedTask, replace_key
from tests.simulation.scenarios import BALANCES, CONDITIONS, FLEX, SMART
from tests.simulation.stores import Store
from tests.simulation.tasks import (
    Driver,
    SimulatedRequest,
    Task,
    close,
    fixed_close,
    fixed_invest,
    in_doubt,
    invest,
    sub_account_transfer,
    transfer,
    withdraw,
)
from tests.simulation.wire import Faults, Sent, Venue
from tests.simulation.world import World

MOST, NUMBER = Decimal(150), 4
#: Of each kind of connection.
LIMITS = (
    Limits("daily", max_per_day={"USDT": MOST}),
    Limits("hourly", max_moves_per_hour=NUMBER),
    Limits("both", max_per_day={"USDT": MOST}, max_moves_per_hour=NUMBER),
)
REQUESTS = (
    invest(PLAN, "50"),
    invest(PLAN, "50"),
    withdraw(PLAN, "40"),
    fixed_invest(TERM, "125"),
    transfer("main", "spot", "50"),
    transfer("main", "collateral", "45"),
    sub_account_transfer("main", "sub", "60"),
)
#: What closing brings, but for interest.
FLEX_CLOSED, FIXED_CLOSED = Decimal(60), Decimal(100)
#: Two Flex plans: closing one must not leave the withdrawals from the other without anything.
_SCENARIO = {
    **BALANCES,
    "plans": [
        {"id": plan, "ticker": "USDT", "minimum": "10", "maximum": "5000", "rate": "0.05"}
        for plan in (PLAN, OTHER_PLAN)
    ],
}


@dataclass
class OverTime:
    """One seed's world, run to its end."""

    seed: int
    driver: Driver = execute_move
    make_task: Callable[..., Task] = Task
    world: World = field(init=False)
    venue: Venue = field(init=False)
    tasks: list[Task] = field(init=False, default_factory=list)
    mode: ClassVar[str] = "LIMITS=1 "

    def __post_init__(self) -> None:
        world = self.world = World(self.seed)
        chance = world.random
        conditions = chance.choice(list(CONDITIONS))
        lag = chance.choice((0, 0, 2, 8))
        limits = chance.choice(LIMITS)
        self.venue = Venue(world, make_exchange(world, _SCENARIO, lag), Faults())
        self.venue.move_outside(f"{FLEX}/invest", plan=PLAN, amount="500")
        closes = self._investments_to_close()
        world.clock.now += (DAY + 600) * 1000
        self.taken = chance.random() < 0.3
        if self.taken:
            # A person's move counts too.
            self.venue.move_outside(f"{FLEX}/withdraw", plan=PLAN, amount="45")
            world.clock.now += 60_000
        self.began_ms = world.clock.now
        self.venue.faults = CONDITIONS[conditions]
        world.clock.now += chance.randint(0, 8_000)
        world.note(f"seed {self.seed}: {limits.conn_id}, {conditions}, history lags {lag} s")
        store = Store(self.venue)
        requests = [chance.choice(REQUESTS) for _ in range(chance.randint(4, 8))]
        # Each can be closed once.
        number = chance.choice((0, 0, 1, 2))
        requests[:number] = closes[:number]
        for number, request in enumerate(requests):
            task = self.make_task(world, self.venue, store, f"task{number}", request, driver=self.driver, limits=limits)
            task.deferrable = self.driver is execute_move and chance.random() < 0.3
            # Spread over the longer run of a move with limits.
            task.steps = 100
            self.tasks.append(task)

    def _investments_to_close(self) -> list[SimulatedRequest]:
        self.venue.move_outside(f"{FLEX}/invest", plan=OTHER_PLAN, amount=f"{FLEX_CLOSED}")
        term = self.venue.move_outside(f"{SMART}/investment", planId=TERM, amount=f"{FIXED_CLOSED}")
        requests = [close(OTHER_PLAN), fixed_close(TERM, term, f"{FIXED_CLOSED}")]
        self.world.random.shuffle(requests)
        return requests

    def run(self) -> None:
        world, chance = self.world, self.world.random
        for task in self.tasks:
            # At once, one after the other, or around the end of a window.
            span = chance.choice((0, 20_000, 20_000, 300_000, HOUR * 1000, DAY * 1000))
            around = chance.choice((0, 0, 0, HOUR * 1000, DAY * 1000))
            task.start(around + chance.randint(0, span))
        world.run()
        self.venue.faults = Faults()
        for task in self.tasks:
            if not task.made:
                # A day later, nothing of this counts any more.
                task.retries = task.tries + 3
                world.at((DAY + 300) * 1000, task.clear)
                world.run()

    def check(self) -> None:
        """:raises AssertionError: if more was moved than a limit allows, a move twice, or one never."""
        self.venue.exchange.audit()
        self._check_windows()
        for task in self.tasks:
            made = [sent for sent in self.venue.sent if sent.process.task is task and sent.executed]
            assert len(made) <= 1, f"{task.name} moved its money {len(made)} times"
            check_words(task, self.venue)
            result = task.result
            assert result is not None, f"{task.name} never came to an end"
            doubt = isinstance(result.error, WhiteBitInDoubtError)
            assert result.receipt is not None or doubt, f"{task.name}: not made a day later: {result.error!r}"

    def _check_windows(self) -> None:
        """By the exchange's ledger, in any sliding window that ends with a move of a task."""
        limits = self.tasks[0].limits
        moves = [(sent.at_ms, _amount(sent)) for sent in self.venue.sent if sent.executed]
        moves += self._of_people()
        for sent in self.venue.sent:
            if not sent.executed:
                continue
            for seconds, most in ((DAY, limits.max_per_day.get("USDT")), (HOUR, limits.max_moves_per_hour)):
                if most is None:
                    continue
                window = [amount for at, amount in moves if sent.at_ms - seconds * 1000 < at <= sent.at_ms]
                used = sum(window, Decimal(0)) if seconds == DAY else Decimal(len(window))
                assert used <= most, f"{used} in the {seconds} s before {sent.process.name} moved at {sent.at_ms}"

    def _of_people(self) -> list[tuple[int, Decimal]]:
        # The withdrawal above, a minute before the beginning.
        return [(self.began_ms - 60_001, Decimal(45))] if self.taken else []

    @property
    def doubts(self) -> set[str]:
        return in_doubt(self.tasks)

    def trace(self) -> str:
        return self.world.trace()


class OverTimeRotation(OverTime):
    """The same, and in the first minutes or after hours the API key is replaced."""

    mode = "LIMITS=1 ROTATION=1 "

    def __post_init__(self) -> None:
        self.make_task = RotatedTask
        super().__post_init__()
        span = self.world.random.choice((20_000, 300_000, HOUR * 1000, DAY * 1000))
        replace_key(self, self.world.clock.now + self.world.random.randint(0, span), self.tasks)


def _amount(sent: Sent) -> Decimal:
    """How much a request has moved, without interest."""
    match sent.process.task.request.move.operation:
        case Operation.FLEX_CLOSE:
            return FLEX_CLOSED
        case Operation.FIXED_CLOSE:
            return FIXED_CLOSED
    return sent.amount
