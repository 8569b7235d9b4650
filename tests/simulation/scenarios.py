"""What happens in a simulated world, by seed, and what must be true of it afterwards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from airflow_provider_whitebit.client.errors import WhiteBitInDoubt
from airflow_provider_whitebit.client.signing import sign
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.protocol import WhiteBitAlreadyMovedError
from airflow_provider_whitebit.sandbox.exchange import Exchange
from tests.simulation.world import (
    KEY,
    Faults,
    Shop,
    Store,
    Task,
    Wanted,
    World,
    close,
    fixed_close,
    fixed_invest,
    invest,
    transfer,
    withdraw,
)

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
FLEX = "/api/v4/main-account/smart-flex/investments"
#: Nothing but what is moved: books are made and audited thousands of times.
BALANCES = {"balances": {"sandbox": {"USDT": "10000"}}}

#: A Fixed plan that takes several investments of one user.
TERM = "1b72e30a-c5d7-48f9-a4b5-90a1b2c3d4e5"
SMART = "/api/v4/main-account/smart"

SINGLE = ("invest", "withdraw", "withdraw_all", "close", "fixed_invest", "fixed_close", "transfer")
ALIKE = (
    "two_alike",
    "two_alike",
    "two_leave",
    "two_terms",
    "two_transfers",
    "two_transfers",
    "there_and_back",
    "crowd",
)
KINDS = (*SINGLE, *SINGLE, *SINGLE, *SINGLE, *ALIKE, "two_unlike")
WEATHERS = {
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


def by_hand(shop: Shop, path: str, **params: Any) -> str:
    """A move that this package knows nothing of; the identifier that the exchange gave it."""
    signed = sign(KEY, path, params, nonce=shop.world.clock.now, nonce_window=True)
    answer = shop.exchange.handle("POST", signed.path, signed.headers, signed.body)
    assert answer.status == 201, answer
    shop.world.clock.now += 1
    done = json.loads(answer.body)
    reference: str = done.get("id") or done["data"]["transaction_id"]
    shop.world.note(f"outsider: {path} {params} -> {reference}")
    return reference


@dataclass
class Scenario:
    """One seed's world, run to its end."""

    seed: int
    driver: Callable[..., Any] = execute_move
    make_task: Callable[..., Task] = Task
    world: World = field(init=False)
    shop: Shop = field(init=False)
    tasks: list[Task] = field(init=False, default_factory=list)
    alike: bool = field(init=False, default=False)
    amounts_before: int = field(init=False, default=0)
    mode: ClassVar[str] = ""

    def __post_init__(self) -> None:
        world = self.world = World(self.seed)
        chance = world.random
        self.kind = chance.choice(KINDS)
        self.weather = chance.choice(list(WEATHERS))
        self.fenced = chance.random() < 0.6
        self.lag = chance.choice((0, 0, 0, 2, 8))
        # Somebody else on the same account makes the same move by hand shortly before. Where the exchange's history
        # lags as well, nobody could tell the two apart: that is a stated limit of the promise.
        self.outsider = self.lag == 0 and chance.random() < 0.4
        exchange = Exchange(clock=world.clock, seed=self.seed, scenario=BALANCES, rate_limits=False)
        self.shop = Shop(world, exchange, Faults())
        self._by_hand(f"{FLEX}/invest", plan=PLAN, amount="500")
        self.term = ""
        if self.kind == "fixed_close":
            self.term = self._by_hand(f"{SMART}/investment", planId=TERM, amount="100")
        if self.lag:
            exchange.faults.add("history_lag", seconds=self.lag)
        self.shop.faults = WEATHERS[self.weather]
        world.clock.now += chance.randint(20_000, 21_000)
        world.note(
            f"seed {self.seed}: {self.kind}, {self.weather}, journal {'fenced' if self.fenced else 'per try'}, "
            f"history lags {self.lag} s{', outsider' if self.outsider else ''}"
        )
        store = Store(self.shop, fenced=self.fenced)
        for number, (requested, resolve) in enumerate(self._wanted()):
            task = self.make_task(world, self.shop, store, f"task{number}", requested, resolve, driver=self.driver)
            task.deferrable = self.driver is execute_move and chance.random() < 0.4
            if chance.random() < 0.5:
                task.retries, task.clears = chance.choice((0, 0, 1)), chance.choice((0, 1, 2))
            self.tasks.append(task)

    def _wanted(self) -> list[Wanted]:
        self.alike = self.kind in ALIKE
        match self.kind:
            case "invest":
                return [invest(PLAN, "25")]
            case "withdraw":
                return [withdraw(PLAN, "25")]
            case "withdraw_all":
                return [withdraw(PLAN, "500")]
            case "close":
                return [close(PLAN)]
            case "fixed_invest":
                return [fixed_invest(TERM, "125")]
            case "fixed_close":
                return [fixed_close(TERM, self.term, "100")]
            case "transfer":
                return [transfer("main", "spot", "25")]
            case "two_alike":
                return [invest(PLAN, "25"), invest(PLAN, "25.0")]
            case "two_leave":
                return [withdraw(PLAN, "100"), withdraw(PLAN, "100")]
            case "two_terms":
                return [fixed_invest(TERM, "125"), fixed_invest(TERM, "125")]
            case "two_transfers":
                return [transfer("main", "spot", "25"), transfer("main", "spot", "25")]
            case "there_and_back":
                return [transfer("main", "spot", "25"), transfer("spot", "main", "25")]
            case "two_unlike":
                return [invest(PLAN, "25"), invest(PLAN, "30")]
            case _:
                return [
                    invest(PLAN, "25"),
                    invest(PLAN, "25"),
                    transfer("main", "collateral", "30"),
                    withdraw(PLAN, "40"),
                ]

    def _by_hand(self, path: str, **params: Any) -> str:
        return by_hand(self.shop, path, **params)

    def run(self) -> None:
        world, chance = self.world, self.world.random
        if self.outsider and self.kind in ("invest", "withdraw", "two_unlike"):
            self._by_hand(f"{FLEX}/{'withdraw' if self.kind == 'withdraw' else 'invest'}", plan=PLAN, amount="25")
        for task in self.tasks:
            task.start(chance.choice((0, chance.randint(0, 4_000), chance.randint(0, 20_000))))
        world.run()
        # Then people come: they clear what failed, and sometimes what did not.
        for task in self.tasks:
            result = task.result
            if result is not None and result.receipt is not None and chance.random() < 0.2:
                task.tries, task.retries = task.tries, task.tries + 3
                task.clear()
        world.run()
        self.shop.faults = Faults()
        for task in self.tasks:
            if task.result is None or task.result.receipt is None:
                task.retries = task.tries + 3
                task.clear()
        world.run()
        for task in self.tasks:
            if task.result is not None and task.result.receipt is not None and chance.random() < 0.15:
                self._clear_with_other_parameters(task)

    def _clear_with_other_parameters(self, task: Task) -> None:
        before = len(self.shop.sent)
        requested, resolve = invest(PLAN, "77")
        kept = (task.requested, task.resolve, list(task.results))
        task.retries = task.tries
        task.clear(requested, resolve)
        self.world.run()
        error = task.result.error if task.result else None
        if self.check_refusal_of_changes:
            # Where the end of a transfer could not be written down, its proof is gone once another one followed.
            forgotten = "transfer" in str(kept[0]["operation"]) and isinstance(error, WhiteBitInDoubt) and self.alike
            assert forgotten or isinstance(error, WhiteBitAlreadyMovedError), (
                f"{task.name}: changed parameters gave {error!r}"
            )
        assert len(self.shop.sent) == before, f"{task.name}: cleared with other parameters, it sent again"
        task.requested, task.resolve, task.results = kept

    check_refusal_of_changes = True

    def check(self) -> None:
        """:raises AssertionError: if money moved twice, was lost sight of, or a doubt has no reason."""
        self.shop.exchange.audit()
        receipts: Counter[str] = Counter()
        for task in self.tasks:
            done = [sent for sent in self.shop.sent if sent.process.task is task and sent.executed]
            assert len(done) <= 1, f"{task.name} moved its money {len(done)} times"
            told = [result.receipt for result in task.results if result.receipt is not None]
            for receipt in told:
                # A transfer, and the closing of a term, bear no name of their own: all that counts is that they ran.
                assert done, f"{task.name} has a receipt and moved nothing"
                named = receipt.transaction_id or (receipt.investment_id if done[0].reference else None)
                assert named == done[0].reference, f"{task.name} has the receipt of another move"
            assert len({receipt.intent_id for receipt in told}) <= 1, f"{task.name} has two receipts"
            result = task.result
            assert result is not None, f"{task.name} never came to an end"
            if result.receipt is not None:
                receipts[done[0].reference or f"nonce {done[0].nonce}"] += 1
            elif isinstance(result.error, WhiteBitInDoubt):
                # A try that woke up after it was replaced has left its mark over that of a transfer.
                marked = "transfer" in str(task.requested["operation"]) and task.woke
                assert self.alike or self.outsider or marked, f"{task.name} is in doubt without reason: {result.error}"
            else:
                assert not done, f"{task.name} moved its money and ends with {result.error!r}"
                assert result.error is not None and result.error.money_moved is False, repr(result.error)
        assert all(count == 1 for count in receipts.values()), f"a transaction has two owners: {receipts}"

    def trace(self) -> str:
        return "\n".join(self.world.trace)


def failure(
    seed: int, driver: Callable[..., Any] = execute_move, make: Callable[..., Scenario] | None = None
) -> str | None:
    """Run one seed; what went wrong, with its trace, or ``None``."""
    scenario = (make or Scenario)(seed, driver)
    try:
        scenario.run()
        scenario.check()
    except AssertionError as error:
        return f"{scenario.trace()}\nFAILED: {error}\nreplay: make simulate {scenario.mode}SEED={seed}"
    return None


def first_failure(seeds: range, driver: Callable[..., Any], make: Callable[..., Scenario] | None = None) -> int | None:
    """The first seed that fails, or ``None``."""
    return next((seed for seed in seeds if failure(seed, driver, make) is not None), None)
