"""Worlds in which one task rebalances an account by five moves, and is killed, stalled and cleared between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, ClassVar

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitInDoubtError, WhiteBitPlanOutdatedError
from airflow_provider_whitebit.moves.execution import ExecutionRequest
from airflow_provider_whitebit.moves.intent import Move, Receipt
from airflow_provider_whitebit.moves.plans import PlanRun
from airflow_provider_whitebit.treasury.policy import read_policy
from airflow_provider_whitebit.treasury.promises import StillPlanned, read_holdings
from airflow_provider_whitebit.treasury.requests import PlanRequest, Rebalance
from tests.simulation.nodes import make_exchange
from tests.simulation.oracles import check_words
from tests.simulation.scenarios import CONDITIONS, FLEX
from tests.simulation.stores import Store
from tests.simulation.tasks import Task, in_doubt, invest
from tests.simulation.wire import Faults, Venue
from tests.simulation.world import Process, World

LEFT, TRIMMED, FILLED, BEST, BITCOIN = (f"0000000{number}-0000-4000-8000-000000000000" for number in range(1, 6))
SCENARIO = {
    "balances": {"sandbox": {"USDT": "10000", "BTC": "5"}},
    "plans": [
        {"id": name, "ticker": ticker, "minimum": least, "maximum": "5000", "rate": rate}
        for name, ticker, least, rate in (
            (LEFT, "USDT", "10", "0.01"),
            (TRIMMED, "USDT", "10", "0.05"),
            (FILLED, "USDT", "10", "0.04"),
            (BEST, "USDT", "10", "0.09"),
            (BITCOIN, "BTC", "0.01", "0.02"),
        )
    ],
}
#: Out of one plan, less in another, and into three.
POLICY = read_policy(
    {
        "USDT": {"reserve": "9000", "plans": {"targets": {TRIMMED: "0.02", FILLED: "0.03", BEST: "0.04"}}},
        "BTC": {"plans": {"targets": {BITCOIN: "0.5"}}},
    }
)
TARGETS = {TRIMMED: Decimal(200), FILLED: Decimal(300), BEST: Decimal(400), BITCOIN: Decimal("2.5")}
RESERVE = Decimal(9000)
MOST_EARNED = Decimal("0.01")
PARAMETERS = {"policy": "p"}
_MOST_ROUNDS = 10


@dataclass
class PlanTask(Task):
    """A task that rebalances."""

    asked: ClassVar[PlanRequest] = Rebalance(POLICY)

    def describe(self, receipt: Any) -> Any:
        return [one.transaction_id for one in receipt]

    def _move(self, process: Process, resumed: dict[str, Any]) -> list[Receipt]:
        execution = self._execution(process, self.request, "plan", resumed=resumed.get("resumed"))
        template = replace(execution, promise=StillPlanned(self.asked))
        run = PlanRun(template, PARAMETERS, process.sleep)
        receipts = run.done()
        if receipts is None:
            run.recover(announce=True)
        for _ in range(_MOST_ROUNDS):
            if receipts is not None:
                return receipts
            with suppress(WhiteBitPlanOutdatedError):
                receipts = run.execute(self._plan(template, run))
        raise WhiteBitPlanOutdatedError("planned too often")

    def _plan(self, template: ExecutionRequest, run: PlanRun) -> list[Move]:
        now = pendulum.from_timestamp(self.world.clock.now / 1000)
        try:
            planned = self.asked.plan(read_holdings(template.account), now, ())
        except WhiteBitError as error:
            run.add_facts(error)
            raise
        self.world.note(f"{template.run}: plans {[str(one) for one in planned.moves]}")
        return [one.move for one in planned.moves]


@dataclass
class PlanScenario:
    """One seed's world, run to its end."""

    seed: int
    make_task: Callable[..., PlanTask] = PlanTask
    world: World = field(init=False)
    venue: Venue = field(init=False)
    task: PlanTask = field(init=False)
    mode: ClassVar[str] = "PLANS=1 "

    def __post_init__(self) -> None:
        world = self.world = World(self.seed)
        chance = world.random
        conditions = chance.choice(list(CONDITIONS))
        exchange = make_exchange(world, SCENARIO)
        self.venue = Venue(world, exchange, Faults())
        for plan, amount in ((LEFT, "500"), (TRIMMED, "400")):
            self.venue.move_outside(f"{FLEX}/invest", plan=plan, amount=amount)
        self.venue.faults = CONDITIONS[conditions]
        world.clock.now += chance.randint(20_000, 21_000)
        world.note(f"seed {self.seed}: rebalance, {conditions}")
        store = Store(self.venue)
        # The request is that of the template, which a plan does not use.
        self.task = self.make_task(world, self.venue, store, "task", invest(LEFT, "1"), retries=12)
        self.task.deferrable = chance.random() < 0.4
        if chance.random() < 0.5:
            self.task.retries, self.task.clears = chance.choice((0, 1, 2)), chance.choice((0, 1, 3))
        # Spread over all five moves, not over the first alone.
        self.task.steps = 170

    def run(self) -> None:
        task = self.task
        task.start()
        self.world.run()
        if task.made and self.world.random.random() < 0.3:
            self._clear(retries=3)
        self.venue.faults = Faults()
        for _ in range(3):
            if not task.made:
                self._clear(retries=3)
        before = len(self.venue.sent)
        self._clear(retries=0)
        assert len(self.venue.sent) == before, "cleared when it was done, it sent again"

    def _clear(self, *, retries: int) -> None:
        self.task.retries = self.task.tries + retries
        self.task.clear()
        self.world.run()

    def check(self) -> None:
        """:raises AssertionError: if a move was made twice or not at all, or if its receipt is missing."""
        exchange, task = self.venue.exchange, self.task
        exchange.audit()
        check_words(task, self.venue)
        result = task.result
        assert result is not None, "the task never came to an end"
        assert not any(isinstance(one.error, WhiteBitInDoubtError) for one in task.results), "in doubt without reason"
        assert result.receipt is not None, f"not made: {result.error!r}"
        made = Counter(sent.reference for sent in self.venue.sent if sent.executed)
        reported = Counter(receipt.transaction_id for receipt in result.receipt)
        assert reported == made, f"the exchange has {made}, the receipts {reported}"
        held = {name: Decimal(amount) for name, amount in exchange.invested().items()}
        # A world that lasts for more than an hour earns a little, of which a plan made later invests its share.
        earned = {name: amount - TARGETS.get(name, 0) for name, amount in held.items()}
        assert held.keys() == TARGETS.keys(), f"invested is {held}"
        assert all(0 <= more <= MOST_EARNED for more in earned.values()), f"invested is {held}"
        assert self._least_in_main() >= RESERVE, "below the reserve"

    def _least_in_main(self) -> Decimal:
        """What Main held of USDT when it held least, after an investment."""
        main, least = Decimal(9100), Decimal(10**9)
        for sent in self.venue.sent:
            if not sent.executed or sent.plan == BITCOIN:
                continue
            if sent.path.endswith("/invest"):
                main -= sent.amount
                least = min(least, main)
            else:
                main += sent.amount if sent.path.endswith("/withdraw") else Decimal(500)
        return least

    @property
    def doubts(self) -> set[str]:
        return in_doubt([self.task])

    def trace(self) -> str:
        return self.world.trace()
