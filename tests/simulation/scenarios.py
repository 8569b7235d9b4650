"""What happens in a simulated world, by seed, and what must be true of it afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from airflow_provider_whitebit.client.errors import WhiteBitAlreadyMovedError, WhiteBitInDoubtError
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.intent import Operation
from tests.simulation.exchanges import PLAN, SUB_ACCOUNT, TERM
from tests.simulation.nodes import make_exchange
from tests.simulation.oracles import check_words
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

FLEX = "/api/v4/main-account/smart-flex/investments"
#: Only what is moved: a ledger is made and audited thousands of times.
BALANCES = {"balances": {"sandbox": {"USDT": "10000"}}}

SMART = "/api/v4/main-account/smart"
SUB_TRANSFER = "/api/v4/sub-account/transfer"

#: The moves of each kind of world. In a world of the second group, the records cannot tell its moves apart.
SINGLE: dict[str, list[SimulatedRequest]] = {
    "invest": [invest(PLAN, "25")],
    "withdraw": [withdraw(PLAN, "25")],
    "withdraw_all": [withdraw(PLAN, "500")],
    "close": [close(PLAN)],
    "fixed_invest": [fixed_invest(TERM, "125")],
    "fixed_close": [],
    "transfer": [transfer("main", "spot", "25")],
    "to_sub": [sub_account_transfer("main", "sub", "25")],
    "from_sub": [sub_account_transfer("sub", "main", "25")],
}
EQUAL = {
    "two_equal": [invest(PLAN, "25"), invest(PLAN, "25.0")],
    "two_leave": [withdraw(PLAN, "100"), withdraw(PLAN, "100")],
    "two_terms": [fixed_invest(TERM, "125"), fixed_invest(TERM, "125")],
    "two_transfers": [transfer("main", "spot", "25"), transfer("main", "spot", "25")],
    "two_to_sub": [sub_account_transfer("main", "sub", "25"), sub_account_transfer("main", "sub", "25")],
    "there_and_back": [transfer("main", "spot", "25"), transfer("spot", "main", "25")],
    "crowd": [invest(PLAN, "25"), invest(PLAN, "25"), transfer("main", "collateral", "30"), withdraw(PLAN, "40")],
}
DIFFERENT = {"two_different": [invest(PLAN, "25"), invest(PLAN, "30")]}
MOVES = {**SINGLE, **EQUAL, **DIFFERENT}
KINDS = (*[*SINGLE] * 4, *EQUAL, "two_equal", "two_transfers", *DIFFERENT)
CONDITIONS = {
    "calm": Faults(),
    "wire": Faults(wire=0.08),
    "kills": Faults(kill=0.7),
    "kills_and_wire": Faults(wire=0.08, kill=0.6),
    "stalls": Faults(stall=0.8),
    "stalls_and_wire": Faults(wire=0.06, stall=0.7),
    "journal": Faults(journal=0.3),
    "everything": Faults(wire=0.08, journal=0.15, kill=0.4, stall=0.4, jump=0.3),
    "clocks": Faults(wire=0.06, kill=0.2, jump=0.9),
    "slow": Faults(wire=0.04, kill=0.3, latency_ms=500),
}


@dataclass
class Scenario:
    """One seed's world, run to its end."""

    seed: int
    driver: Driver = execute_move
    make_task: Callable[..., Task] = Task
    world: World = field(init=False)
    venue: Venue = field(init=False)
    tasks: list[Task] = field(init=False, default_factory=list)
    equal: bool = field(init=False, default=False)
    mode: ClassVar[str] = ""

    def __post_init__(self) -> None:
        world = self.world = World(self.seed)
        chance = world.random
        self.kind = chance.choice(KINDS)
        self.equal = self.kind in EQUAL
        conditions = chance.choice(list(CONDITIONS))
        lag = chance.choice((0, 0, 0, 2, 8))
        # Another user of the account makes the same move by hand shortly before. If the exchange's history lags as
        # well, the two cannot be told apart: the documentation names that limit of the promise.
        self.outsider = lag == 0 and chance.random() < 0.4
        exchange = make_exchange(world, BALANCES, lag)
        self.venue = Venue(world, exchange, Faults())
        self.venue.move_outside(f"{FLEX}/invest", plan=PLAN, amount="500")
        moves = MOVES[self.kind]
        if self.kind == "fixed_close":
            term = self.venue.move_outside(f"{SMART}/investment", planId=TERM, amount="100")
            moves = [fixed_close(TERM, term, "100")]
        if self.kind == "from_sub":
            self._transfer_outside("main_to_sub", "500")
        if self.kind == "there_and_back":
            # The transfer back must not depend on whether the other one is in doubt.
            exchange.fund("USDT", "25", account="spot")
        self.venue.faults = CONDITIONS[conditions]
        world.clock.now += chance.randint(20_000, 21_000)
        world.note(
            f"seed {self.seed}: {self.kind}, {conditions}, history lags {lag} s{', outsider' if self.outsider else ''}"
        )
        self._make_tasks(Store(self.venue), moves)

    def _make_tasks(self, store: Store, moves: list[SimulatedRequest]) -> None:
        chance = self.world.random
        for number, request in enumerate(moves):
            task = self.make_task(self.world, self.venue, store, f"task{number}", request, driver=self.driver)
            task.deferrable = self.driver is execute_move and chance.random() < 0.4
            if chance.random() < 0.5:
                task.retries, task.clears = chance.choice((0, 0, 1)), chance.choice((0, 1, 2))
            self.tasks.append(task)

    def run(self) -> None:
        world, chance = self.world, self.world.random
        if self.outsider and self.kind in ("invest", "withdraw", "two_different"):
            path = f"{FLEX}/{'withdraw' if self.kind == 'withdraw' else 'invest'}"
            self.venue.move_outside(path, plan=PLAN, amount="25")
        if self.outsider and self.kind in ("to_sub", "from_sub"):
            self._transfer_outside("main_to_sub" if self.kind == "to_sub" else "sub_to_main", "25")
        for task in self.tasks:
            task.start(chance.choice((0, chance.randint(0, 4_000), chance.randint(0, 20_000))))
        world.run()
        # Then people clear what failed, and sometimes what did not.
        for task in self.tasks:
            if task.made and chance.random() < 0.2:
                task.retries = task.tries + 3
                task.clear()
        world.run()
        self.venue.faults = Faults()
        for task in self.tasks:
            if not task.made:
                # One after the other: a transfer back needs the one that it follows.
                task.retries = task.tries + 3
                task.clear()
                world.run()
        for task in self.tasks:
            if task.made and chance.random() < 0.15:
                self._clear_with_other_parameters(task)

    def _transfer_outside(self, direction: str, amount: str) -> None:
        params = {"id": SUB_ACCOUNT, "direction": direction, "ticker": "USDT", "amount": amount}
        self.venue.move_outside(SUB_TRANSFER, **params)

    def _clear_with_other_parameters(self, task: Task) -> None:
        before = len(self.venue.sent)
        request, results = task.request, list(task.results)
        task.retries = task.tries
        task.clear(invest(PLAN, "77"))
        self.world.run()
        error = task.result.error if task.result else None
        # If the end of a transfer could not be written, its proof is gone once another transfer followed.
        unproven = (
            request.move.operation is Operation.TRANSFER and isinstance(error, WhiteBitInDoubtError) and self.equal
        )
        assert unproven or isinstance(error, WhiteBitAlreadyMovedError), (
            f"{task.name}: changed parameters gave {error!r}"
        )
        assert len(self.venue.sent) == before, f"{task.name}: cleared with other parameters, it sent again"
        task.request, task.results = request, results

    def check(self) -> None:
        """:raises AssertionError: if money moved twice, a move was lost, or a move is in doubt without reason."""
        self.venue.exchange.audit()
        owners: Counter[str] = Counter()
        for task in self.tasks:
            made = [sent for sent in self.venue.sent if sent.process.task is task and sent.executed]
            assert len(made) <= 1, f"{task.name} moved its money {len(made)} times"
            self._check_receipts(task, made)
            check_words(task, self.venue)
            result = task.result
            assert result is not None, f"{task.name} never came to an end"
            if result.receipt is not None:
                owners[made[0].reference or f"nonce {made[0].nonce}"] += 1
            elif isinstance(result.error, WhiteBitInDoubtError):
                # A replaced try that woke up has left its marker over that of a transfer.
                marked = task.request.move.operation is Operation.TRANSFER and task.woke
                assert self.equal or self.outsider or marked, f"{task.name} is in doubt without reason: {result.error}"
            else:
                assert not made, f"{task.name} moved its money and ends with {result.error!r}"
                assert result.error is not None and result.error.money_moved is False, repr(result.error)
        assert all(count == 1 for count in owners.values()), f"a transaction has two owners: {owners}"

    def _check_receipts(self, task: Task, made: list[Sent]) -> None:
        receipts = [result.receipt for result in task.results if result.receipt is not None]
        for receipt in receipts:
            # A transfer and the close of a term have no identifier: for them, only that they ran is checked.
            assert made, f"{task.name} has a receipt and moved nothing"
            named = receipt.transaction_id or (receipt.investment_id if made[0].reference else None)
            assert named == made[0].reference, f"{task.name} has the receipt of another move"
        assert len({receipt.intent_id for receipt in receipts}) <= 1, f"{task.name} has two receipts"

    @property
    def doubts(self) -> set[str]:
        return in_doubt(self.tasks)

    def trace(self) -> str:
        return self.world.trace()


class Replayable(Protocol):
    """A world that one seed decides."""

    seed: int
    mode: ClassVar[str]

    @property
    def doubts(self) -> set[str]:
        """The tasks whose doubt needs a person."""

    def run(self) -> None: ...

    def check(self) -> None: ...

    def trace(self) -> str: ...


def failure(seed: int, make: Callable[[int], Replayable] = Scenario) -> str | None:
    """Run one seed. :returns: what went wrong, with its trace, or ``None``."""
    scenario = make(seed)
    try:
        scenario.run()
        scenario.check()
    except AssertionError as error:
        return f"{scenario.trace()}\nFAILED: {error}\nreplay: make simulate {scenario.mode}SEED={seed}"
    return None


def first_failure(seeds: range, make: Callable[[int], Replayable]) -> int | None:
    """The first seed that fails, or ``None``."""
    return next((seed for seed in seeds if failure(seed, make) is not None), None)
