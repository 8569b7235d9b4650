"""Worlds in which one task rebalances an account by five moves, and is killed, stalled and cleared between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitInDoubt
from airflow_provider_whitebit.client.models import FlexInvestmentStatus
from airflow_provider_whitebit.moves.batch import Batch
from airflow_provider_whitebit.moves.drivers import SettleLater, execute_move
from airflow_provider_whitebit.moves.intent import Move, Receipt
from airflow_provider_whitebit.moves.journal import Journal
from airflow_provider_whitebit.sandbox.exchange import Exchange
from airflow_provider_whitebit.treasury.planning import Holdings, plan_rebalance
from airflow_provider_whitebit.treasury.policy import read_policy
from tests.simulation.scenarios import WEATHERS, by_hand
from tests.simulation.world import Faults, Process, Shop, Store, Task, World, journal_of

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
WANTED = {TRIMMED: Decimal(200), FILLED: Decimal(300), BEST: Decimal(400), BITCOIN: Decimal("2.5")}
RESERVE = Decimal(9000)
MOST_EARNED = Decimal("0.01")


@dataclass
class PlanTask(Task):
    """A task that rebalances."""

    def told(self, receipt: Any) -> Any:
        return [one.transaction_id for one in receipt]

    def _work(self, process: Process) -> Any:
        settled: dict[str, Any] = {}
        while True:
            try:
                return self._carry_out(process, settled)
            except SettleLater as later:
                settled = self._settle(process, later)

    def _carry_out(self, process: Process, settled: dict[str, Any]) -> list[Receipt]:
        client = self._client(process)
        assets = client.assets()

        def journal(number: int) -> Journal:
            return journal_of(self.store, process, f"|{number}")

        def plan(made: Any) -> list[Move]:
            active = client.flex_investments(investment_status=FlexInvestmentStatus.ACTIVE)
            holdings = Holdings(client.main_balance(), tuple(client.flex_plans()), tuple(active), assets)
            planned = plan_rebalance(holdings, POLICY, pendulum.from_timestamp(self.world.clock.now / 1000))
            self.world.note(f"{process.name}: plans {[str(one) for one in planned.moves]}")
            return [one.move for one in planned.moves]

        def make(number: int, move: Move, permit: Callable[[Move], None]) -> Receipt:
            kept = journal(number)
            account_client, account = self._account(process, kept)
            return execute_move(
                account_client,
                kept,
                requested=move.to_json(),
                resolve=lambda: move,
                permit=permit,
                **account,
                generation=str(self.generation),
                settle_margin_ms=self.settle_margin_ms,
                sleep=process.sleep,
                new_id=lambda: f"{self.name}-{process.number}-{number}",
                defer=self.deferrable,
                settled=settled.get("settled"),
            )

        return Batch(
            diary=journal_of(self.store, process, "|diary"),
            journal=journal,
            plan=plan,
            make=make,
            requested=self.requested,
            generation=str(self.generation),
            run=f"{self.generation}|{process.number}",
        ).carry_out()


@dataclass
class PlanScenario:
    """One seed's world, run to its end."""

    seed: int
    make_task: Callable[..., PlanTask] = PlanTask
    world: World = field(init=False)
    task: PlanTask = field(init=False)
    mode: ClassVar[str] = "PLANS=1 "

    def __post_init__(self) -> None:
        world = self.world = World(self.seed)
        chance = world.random
        weather = chance.choice(list(WEATHERS))
        fenced = chance.random() < 0.6
        exchange = Exchange(clock=world.clock, seed=self.seed, scenario=SCENARIO, rate_limits=False)
        self.shop = Shop(world, exchange, Faults())
        for plan, amount in ((LEFT, "500"), (TRIMMED, "400")):
            by_hand(self.shop, "/api/v4/main-account/smart-flex/investments/invest", plan=plan, amount=amount)
        self.shop.faults = WEATHERS[weather]
        world.clock.now += chance.randint(20_000, 21_000)
        world.note(f"seed {self.seed}: rebalance, {weather}, journal {'fenced' if fenced else 'per try'}")
        store = Store(self.shop, fenced=fenced)
        self.task = self.make_task(world, self.shop, store, "task", {"policy": "p"}, lambda: None, retries=12)  # type: ignore[arg-type, return-value]
        self.task.deferrable = chance.random() < 0.4
        if chance.random() < 0.5:
            self.task.retries, self.task.clears = chance.choice((0, 1, 2)), chance.choice((0, 1, 3))
        # Spread over all five moves, not over the first alone.
        self.task.steps = 170

    def run(self) -> None:
        task = self.task
        task.start()
        self.world.run()
        if self._made() and self.world.random.random() < 0.3:
            task.retries = task.tries + 3
            task.clear()
            self.world.run()
        self.shop.faults = Faults()
        for _ in range(3):
            if not self._made():
                task.retries = task.tries + 3
                task.clear()
                self.world.run()
        before = len(self.shop.sent)
        task.retries = task.tries
        task.clear()
        self.world.run()
        assert len(self.shop.sent) == before, "cleared when it was done, it sent again"

    def _made(self) -> bool:
        return self.task.result is not None and self.task.result.receipt is not None

    def check(self) -> None:
        """:raises AssertionError: if a move was made twice, or not at all, or nobody has its receipt."""
        exchange, task = self.shop.exchange, self.task
        exchange.audit()
        result = task.result
        assert result is not None, "the task never came to an end"
        assert not any(isinstance(one.error, WhiteBitInDoubt) for one in task.results), "in doubt without reason"
        assert result.receipt is not None, f"not made: {result.error!r}"
        done = Counter(sent.reference for sent in self.shop.sent if sent.executed)
        told = Counter(receipt.transaction_id for receipt in result.receipt)  # type: ignore[attr-defined]
        assert told == done, f"the exchange has {done}, the receipts {told}"
        held = {name: Decimal(amount) for name, amount in exchange_holds(exchange).items()}
        # A world that lasts for more than an hour earns a little, of which a plan made later invests its share.
        earned = {name: amount - WANTED.get(name, 0) for name, amount in held.items()}
        assert held.keys() == WANTED.keys(), f"invested is {held}"
        assert all(0 <= more <= MOST_EARNED for more in earned.values()), f"invested is {held}"
        assert self._least_in_main() >= RESERVE, "below the reserve"

    def _least_in_main(self) -> Decimal:
        """What Main held of USDT when it held least, after an investment."""
        main, least = Decimal(9100), Decimal(10**9)
        for sent in self.shop.sent:
            if not sent.executed or sent.plan == BITCOIN:
                continue
            if sent.path.endswith("/invest"):
                main -= sent.amount
                least = min(least, main)
            else:
                main += sent.amount if sent.path.endswith("/withdraw") else Decimal(500)
        return least

    def trace(self) -> str:
        return "\n".join(self.world.trace)


def exchange_holds(exchange: Any) -> dict[str, str]:
    """What is invested, by plan."""
    return {
        entry["planId"]: entry["invested"] for entry in exchange.ledger_view()["investments"] if entry["status"] == 1
    }


def failure(seed: int, make: Callable[[int], PlanScenario] = PlanScenario) -> str | None:
    """Run one seed; what went wrong, with its trace, or ``None``."""
    scenario = make(seed)
    try:
        scenario.run()
        scenario.check()
    except AssertionError as error:
        return f"{scenario.trace()}\nFAILED: {error}\nreplay: make simulate {scenario.mode}SEED={seed}"
    return None
