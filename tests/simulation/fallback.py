"""Worlds in which a task goes on to another move after an error, and the first one becomes possible meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitRefusedError
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.moves.intent import Move, Receipt
from airflow_provider_whitebit.moves.plans import PlanRun
from airflow_provider_whitebit.moves.supersession import failure_key
from tests.simulation.exchanges import PLAN
from tests.simulation.nodes import make_exchange
from tests.simulation.oracles import check_words
from tests.simulation.plans import PARAMETERS
from tests.simulation.scenarios import BALANCES
from tests.simulation.stores import Store
from tests.simulation.tasks import SimulatedRequest, Task, in_doubt, invest
from tests.simulation.wire import Faults, Venue
from tests.simulation.world import Process, World

#: More than the account holds at first, and what the task falls back to.
MUCH, LITTLE = invest(PLAN, "12000"), invest(PLAN, "25")
#: Airflow answers soon: before 3.3, the journals of a failed plan are read while the next move's nonce is alive.
QUICK = Faults(latency_ms=15)
CONDITIONS = {
    "calm": QUICK,
    "wire": replace(QUICK, wire=0.06),
    "kills": replace(QUICK, wire=0.03, kill=0.6),
    "stalls": replace(QUICK, stall=0.8),
    "stalls_and_wire": replace(QUICK, wire=0.06, stall=0.7),
    "journal": replace(QUICK, journal=0.1, stall=0.3),
    "everything": replace(QUICK, wire=0.06, journal=0.1, kill=0.3, stall=0.4, jump=0.3),
}


@dataclass(frozen=True)
class Sometimes(SimulatedRequest):
    """A request that a run of the task cannot always resolve.

    :param possible: whether it can.
    """

    possible: bool = True

    def resolve(self, account: Account) -> Move:
        if not self.possible:
            raise WhiteBitRefusedError("No open plan admits this amount.")
        return self.move


@dataclass
class FallbackTask(Task):
    """A task that makes a large move or plan, and after an error a small one with another key.

    :param plans: whether the first and the second are plans.
    :param catches: the errors after which it goes on.
    :param possible: how often its first request can be resolved.
    :param untrue: errors that say something untrue.
    """

    plans: tuple[bool, bool] = (False, False)
    catches: type[WhiteBitError] = WhiteBitRefusedError
    possible: float = 1.0
    untrue: list[str] = field(default_factory=list)

    def _begin(self) -> None:
        super()._begin()
        process = self.current
        if process is not None:
            lengths = (1_500, 3_000, 3_000, 7_000, 25_000, 90_000)
            process.stalls = [(step, self.world.random.choice(lengths)) for step, _ in process.stalls]

    def _move(self, process: Process, resumed: dict[str, Any]) -> Receipt:
        try:
            return self._either(process, resumed)
        except WhiteBitError as error:
            self._check(process, error)
            raise

    def _either(self, process: Process, resumed: dict[str, Any]) -> Receipt:
        move = MUCH.move
        request = Sometimes(move, MUCH.amount, self.world.random.random() < self.possible)
        first, second = self.plans
        try:
            return self._make(process, request, "much", first, resumed, {})
        except self.catches as error:
            self._check(process, error)
            self.world.note(f"{process.name}: goes on after {type(error).__name__}: {error.message}")
            failed = {failure_key("much") if first else "much": error}
            return self._make(process, LITTLE, "little", second, resumed, failed)

    def _make(
        self,
        process: Process,
        request: SimulatedRequest,
        key: str,
        is_plan: bool,
        resumed: dict[str, Any],
        failed: Mapping[str, WhiteBitError],
    ) -> Receipt:
        """Make a move, or a plan of this one move."""
        execution = replace(self._execution(process, request, key, **resumed), failed=failed)
        if not is_plan:
            receipt = self.driver(execution, sleep=process.sleep)
            assert receipt is not None
            return receipt
        run = PlanRun(replace(execution, sent=0), PARAMETERS, process.sleep)
        receipts = run.done()
        if receipts is None:
            made = run.recover(announce=True)
            receipts = run.execute([] if made else [request.resolve(execution.account)])
        (only,) = receipts
        return only

    def _check(self, process: Process, error: WhiteBitError) -> None:
        """Note what an error says that is not true. Airflow ignores those of a replaced try."""
        if self.current is not process:
            return
        executed = {sent.reference for sent in self.venue.sent if sent.executed}
        own = [sent for sent in self.venue.sent if sent.executed and sent.process is process]
        named = {one["transaction_id"] for one in error.completed_moves}
        if not named <= executed or (error.money_moved is True and not executed):
            self.untrue.append(f"{process.name}: moved nothing of that: {error}")
        if error.money_moved is False and own:
            self.untrue.append(f"{process.name}: moved money: {error}")

    @staticmethod
    def fails_permanently(error: WhiteBitError | None) -> bool:
        # Airflow retries a function whatever it raises.
        return False


@dataclass
class Fallback:
    """One seed's world, run to its end."""

    seed: int
    world: World = field(init=False)
    venue: Venue = field(init=False)
    task: FallbackTask = field(init=False)
    mode: ClassVar[str] = "FALLBACK=1 "

    def __post_init__(self) -> None:
        world = self.world = World(self.seed)
        chance = world.random
        conditions = chance.choice(list(CONDITIONS))
        exchange = make_exchange(world, BALANCES)
        self.venue = Venue(world, exchange, CONDITIONS[conditions])
        world.clock.now += chance.randint(20_000, 21_000)
        task = self.task = FallbackTask(world, self.venue, Store(self.venue), "task", MUCH)
        task.plans = chance.choice(((False, False), (False, False), (False, True), (True, False), (True, True)))
        task.catches = chance.choice((WhiteBitRefusedError, WhiteBitError))
        task.possible = chance.choice((1.0, 0.5))
        task.deferrable = chance.random() < 0.3
        task.retries = chance.choice((0, 1, 4))
        # Spread over both moves.
        task.steps = 110
        world.note(f"seed {self.seed}: {conditions}, plans {task.plans}, catches {task.catches.__name__}")

    def run(self) -> None:
        world, task, chance = self.world, self.task, self.world.random
        task.start()
        world.at(chance.choice((0, chance.randint(0, 10_000), chance.randint(0, 150_000))), self._fund)
        # A person clears the task at any moment, also while it runs.
        moment = 0
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            moment += chance.choice((chance.randint(0, 8_000), chance.randint(0, 120_000)))
            world.at(moment, self._clear)
        world.run()
        self.venue.faults = QUICK
        for _ in range(4):
            if not task.made:
                self._clear(retries=3)
                world.run()
        before = len(self.venue.sent)
        self._clear(retries=0)
        world.run()
        assert len(self.venue.sent) == before, "cleared when it was done, it sent again"

    def _fund(self) -> None:
        self.world.note("the account is funded")
        self.venue.exchange.fund("USDT", "50000")

    def _clear(self, retries: int = 1) -> None:
        self.task.retries = self.task.tries + retries
        self.task.clear()

    def check(self) -> None:
        """:raises AssertionError: if both moves were made, none was, or the task returned something untrue."""
        self.venue.exchange.audit()
        made = [f"{sent.amount:f} {sent.reference}" for sent in self.venue.sent if sent.executed]
        assert len(made) <= 1, f"the task made {made}"
        check_words(self.task, self.venue)
        assert not self.task.untrue, "\n".join(self.task.untrue)
        assert self.task.result is not None, "the task never came to an end"
        receipts = [result.receipt for result in self.task.results if result.receipt is not None]
        assert self.task.made, f"not made: {self.task.result.error!r}"
        for receipt in receipts:
            assert made == [f"{receipt.amount:f} {receipt.transaction_id}"], f"the receipt of another move: {receipt}"

    @property
    def doubts(self) -> set[str]:
        return in_doubt([self.task])

    def trace(self) -> str:
        return self.world.trace()
