"""Worlds that contradict the package: an exchange, a store, an Airflow and people that are not as it expects them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, ClassVar

from airflow_provider_whitebit.client.errors import WhiteBitInDoubtError
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.intent import Intent, Operation
from tests.simulation.exchanges import PLAN, SUB_ACCOUNT, TERM
from tests.simulation.nodes import Nature, NodesExchange
from tests.simulation.oracles import Broken, check_baselines, check_receipts, check_words, made_by
from tests.simulation.people import People
from tests.simulation.scenarios import FLEX, SMART, SUB_TRANSFER
from tests.simulation.stores import Store
from tests.simulation.tasks import (
    RECONCILE_MARGIN_MS,
    Driver,
    SimulatedRequest,
    Task,
    close,
    fixed_close,
    fixed_invest,
    invest,
    sub_account_transfer,
    transfer,
    withdraw,
)
from tests.simulation.wire import Faults, Venue
from tests.simulation.world import World

#: How far apart the clocks of two nodes are at most, in milliseconds.
SKEW_MS = 1_000
OTHER_PLAN = "9f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
#: More decimals than a rounded history shows.
_FINE = "25.0000000049"
_FULL = Faults(wire=0.06, journal=0.1, kill=0.3, stall=0.45, jump=0.1, odd=0.3, again=0.4, forgets=0.05)
CONDITIONS = {
    "calm": Faults(),
    "odd": Faults(wire=0.08, odd=0.8),
    "lost": Faults(wire=0.12),
    "deaths": Faults(wire=0.04, kill=0.6),
    "stalls": Faults(wire=0.05, stall=0.8, again=0.7),
    "stalled writes": Faults(journal=0.15, stall=0.8, again=0.5, forgets=0.1),
    "everything": _FULL,
    "slow": replace(_FULL, latency_ms=500),
}


def requests_of(kind: str, nature: Nature, term: str) -> list[SimulatedRequest]:
    """The moves of a kind of world, one for each task."""
    much = _FINE if nature.rounded else "25"
    match kind:
        case "invest" | "open":
            return [invest(PLAN, much)]
        case "withdraw":
            return [withdraw(PLAN, much)]
        case "withdraw_all":
            return [withdraw(PLAN, "500")]
        case "close":
            return [close(PLAN)]
        case "fixed_invest":
            return [fixed_invest(TERM, much)]
        case "fixed_close":
            return [fixed_close(TERM, term, "100")]
        case "transfer":
            return [transfer("main", "spot", "25")]
        case "to_sub":
            return [sub_account_transfer("main", "sub", much)]
        case "from_sub":
            return [sub_account_transfer("sub", "main", much)]
        case "two_to_sub":
            return [sub_account_transfer("main", "sub", much), sub_account_transfer("main", "sub", "30")]
        case "two_equal":
            return [invest(PLAN, much), invest(PLAN, much)]
        case "two_different":
            return [invest(PLAN, much), invest(PLAN, "30")]
        case "two_leave":
            return [withdraw(PLAN, "100"), withdraw(PLAN, "60")]
        case "two_transfers":
            return [transfer("main", "spot", "25"), transfer("main", "spot", "25")]
    return [
        invest(PLAN, much),
        transfer("main", "collateral", "30"),
        withdraw(PLAN, "40"),
        transfer("main", "spot", "25"),
    ]


SINGLE = (
    *("invest", "open", "withdraw", "withdraw_all", "close", "fixed_invest", "fixed_close", "transfer"),
    *("to_sub", "from_sub"),
)
KINDS = (*SINGLE * 3, "two_to_sub", "two_equal", "two_different", "two_leave", "two_transfers", "crowd")


def choose_nature(world: World, skew_ms: int, longest_lag_ms: int) -> Nature:
    """What a seed's exchange is like."""
    chance = world.random
    half = skew_ms // 2
    lag = chance.randint(0, longest_lag_ms)
    return Nature(
        skews_ms=chance.choice(((0,), (-half, half), (-half, chance.randint(-half, half), half))),
        lags_ms=chance.choice(((0,), (0, lag), (lag,), (0, lag // 3, lag))),
        stamp_late_ms=chance.choice((0, 0, 900)),
        signed=chance.random() < 0.4,
        rounded=chance.random() < 0.15,
        interest=chance.random() < 0.25,
        records=chance.choice((1, 1, 2)),
        ids=chance.choice(("own", "own", "shared", "missing")),
        new_actions=chance.choice((0.0,) * 8 + (0.5, 1.0)),
        answers_second=chance.random() < 0.4,
        repeats=chance.choice((0.0, 0.0, 0.3)),
        page=chance.choice((100, 100, 100, 2)),
        bare=chance.random() < 0.3,
    )


@dataclass
class Hostile:
    """One seed's world, run to its end.

    :param skew_ms: how far apart the clocks of two nodes are at most.
    """

    seed: int
    driver: Driver = execute_move
    make_task: Callable[..., Task] = Task
    skew_ms: int = SKEW_MS
    world: World = field(init=False)
    venue: Venue = field(init=False)
    store: Store = field(init=False)
    tasks: list[Task] = field(init=False, default_factory=list)
    people: People = field(init=False)
    #: Tasks for which a person had to do more than to clear them.
    doubts: set[str] = field(init=False, default_factory=set)
    #: Those of them whose doubt the receipts of other tasks have settled.
    settled: set[str] = field(init=False, default_factory=set)
    #: What a person has taken out of Main.
    taken: Decimal = field(init=False, default=Decimal(0))
    mode: ClassVar[str] = "HOSTILE=1 "
    #: Whether records appear later than the reconcile margin.
    late_records: ClassVar[bool] = False

    def __post_init__(self) -> None:
        world = self.world = World(self.seed)
        chance = world.random
        self.kind = chance.choice(KINDS)
        conditions = chance.choice(list(CONDITIONS))
        nature = self.nature = self._nature()
        exchange = NodesExchange(
            world,
            nature,
            [{"id": name, "ticker": "USDT", "minimum": "10"} for name in (PLAN, OTHER_PLAN)],
            {"USDT": "10000"},
            TERM,
        )
        self.venue = Venue(world, exchange, Faults())
        self.venue.outside_key = "person"
        term = self._fill()
        self.faults = self.venue.faults = CONDITIONS[conditions]
        self.store = Store(self.venue)
        world.note(f"seed {self.seed}: {self.kind}, {conditions}, exchange: {nature}")
        for number, request in enumerate(self._requests(term)):
            task = self.make_task(world, self.venue, self.store, f"task{number}", request, driver=self.driver)
            task.deferrable = self.driver is execute_move and chance.random() < 0.4
            task.retries = chance.choice((0, 1, 1, 4))
            task.clears = chance.choice((0, 0, 1, 2))
            self.tasks.append(task)
        self.people = People(self.venue, self.store, self.tasks)

    def _nature(self) -> Nature:
        # A record is stamped up to a second early, and read by a node whose clock is ahead.
        return choose_nature(self.world, self.skew_ms, RECONCILE_MARGIN_MS - self.skew_ms - 1_000)

    def _requests(self, term: str) -> list[SimulatedRequest]:
        return requests_of(self.kind, self.nature, term)

    def _fill(self) -> str:
        """Fill the account. :returns: the id of a Fixed investment."""
        term = self.venue.move_outside(f"{SMART}/investment", planId=TERM, amount="100")
        if self.kind != "open":
            self.venue.move_outside(f"{FLEX}/invest", plan=PLAN, amount="500")
        self._transfer_by_person("main_to_sub", "500")
        self.venue.sent.clear()
        self.world.clock.now += self.world.random.randint(150_000, 151_000)
        return term

    def run(self) -> None:
        world, chance = self.world, self.world.random
        for task in self.tasks:
            task.start(chance.choice((0, chance.randint(0, 4_000), chance.randint(0, 20_000))))
            for _ in range(chance.choice((0, 0, 1, 2))):
                world.at(chance.randint(0, chance.choice((20_000, 120_000))), task.clear_at_any_time)
        if chance.random() < 0.35:
            for _ in range(chance.choice((1, 1, 2))):
                world.at(chance.randint(0, 60_000), self._move_by_person)
        world.run()
        self.venue.faults = Faults()
        self._clear_before_advice()
        for _ in range(3):
            self._follow_advice()
        self._clear_at_the_end()
        if chance.random() < 0.1:
            self._make_one_again()

    def _move_by_person(self) -> None:
        """A person makes a move that looks like a task's, but of another amount."""
        chance = self.world.random
        move = chance.choice(self.tasks).request.move
        amount = chance.choice(("26", "24.5", "31"))
        match move.operation:
            case Operation.FLEX_INVEST:
                self.venue.try_outside(f"{FLEX}/invest", plan=PLAN, amount=amount)
            case Operation.FLEX_WITHDRAW | Operation.FLEX_CLOSE:
                self.venue.try_outside(f"{FLEX}/withdraw", plan=PLAN, amount=amount)
            case Operation.TRANSFER:
                path = "/api/v4/main-account/transfer"
                self.venue.try_outside(path, ticker="USDT", amount=amount, **{"from": "main", "to": "spot"})
            case Operation.SUB_ACCOUNT_TRANSFER:
                self._transfer_by_person(f"{move.source}_to_{move.target}", amount)
            case _:
                self.venue.try_outside(f"{SMART}/investment", planId=TERM, amount=amount)

    def _transfer_by_person(self, direction: str, amount: str) -> None:
        params = {"id": SUB_ACCOUNT, "direction": direction, "ticker": "USDT", "amount": amount}
        self.venue.try_outside(SUB_TRANSFER, **params)

    def _follow_advice(self) -> None:
        """People do what the error of a move in doubt tells them. They have cleared the task before."""
        for task in self.tasks:
            if not self._in_doubt(task):
                continue
            self.doubts.add(task.name)
            others = {name for one in self.tasks if one is not task for name in self._known(one)}
            self.people.exclude(task, others)
            self._clear(task)
            if not self._in_doubt(task):
                self.settled.add(task.name)
                continue
            # Records that appear later than the margin can prove a careful person wrong.
            task.by_word |= self.late_records
            self.people.answer(task, self._finds_move, explained=others)
            self._clear(task)

    @staticmethod
    def _in_doubt(task: Task) -> bool:
        return task.result is not None and isinstance(task.result.error, WhiteBitInDoubtError)

    def _clear(self, task: Task) -> None:
        task.retries = task.tries + 1
        task.clear()
        self.world.run()

    def _finds_move(self, intent: Intent) -> bool:
        """Whether a careful person finds that a move in doubt has run."""
        return self.people.sent_for(intent) is not None

    def _known(self, task: Task) -> frozenset[str]:
        """The transactions that a person knows to be a task's."""
        returned = [result.receipt for result in task.results if result.receipt is not None]
        receipts = [one for each in returned for one in (each if isinstance(each, list) else [each])]
        names = {receipt.transaction_id or receipt.investment_id for receipt in receipts}
        return frozenset(name for one in names if one for name in self.venue.exchange.names(one))

    def _clear_at_the_end(self) -> None:
        """Much later, what was made is cleared once more: nothing may be sent."""
        self.world.clock.now += 300_000
        for task in self.tasks:
            # A plan that had nothing to do may be made again.
            done = task.result is not None and task.result.receipt
            if done and not task.by_word and self.world.random.random() < 0.3:
                before = len(self.venue.sent)
                task.retries = task.tries
                task.clear()
                self.world.run()
                if len(self.venue.sent) != before:
                    raise Broken("sent again", f"{task.name} was done, was cleared, and sent again")

    def _clear_before_advice(self) -> None:
        """The first step of all advice: clear what was not made."""
        for _ in range(2):
            for task in self.tasks:
                if not task.made:
                    task.retries = task.tries + 1
                    task.clear()
            self.world.run()

    def _make_one_again(self) -> None:
        """A dag run is deleted and made again with the same id, and asks for another amount."""
        task = self.world.random.choice(self.tasks)
        if not task.made:
            return
        before, results, said = len(self.venue.sent), len(task.results), len(task.said)
        task.retries = 1
        task.make_again(invest(PLAN, "77"))
        self.world.run()
        receipt = task.result.receipt if task.result is not None else None
        made = [sent.amount for sent in self.venue.sent[before:] if sent.executed]
        if receipt is not None and receipt.amount != 77:
            raise Broken("false receipt", f"{task.name} asked for 77 and has {receipt}")
        if made not in ([], [Decimal(77)]):
            raise Broken("twice", f"{task.name} asked for 77 and moved {made}")
        # The checks are about the first run.
        del self.venue.sent[before:], task.results[results:], task.said[said:]

    def check(self) -> None:
        """:raises Broken: if something is not as promised."""
        self.venue.exchange.audit()
        for task in self.tasks:
            made = made_by(task, self.venue)
            self._check_count(task, len(made))
            self._check_receipts(task)
            check_words(task, self.venue)
            result = task.result
            if result is None:
                raise Broken("lost", f"{task.name} never came to an end")
            denied = result.error is not None and result.error.money_moved is False
            if made and denied and not task.by_word:
                raise Broken("lost", f"{task.name} moved its money and ends with {result.error!r}")
        check_baselines(self.tasks, self.venue, self.store)
        self.people.check()

    def _check_receipts(self, task: Task) -> None:
        try:
            check_receipts(task, self.venue)
        except Broken:
            # A receipt that rests on a wrong answer says whose answer that was.
            receipts = [result.receipt for result in task.results if result.receipt is not None]
            if not task.by_word or any(receipt.resolved_by is None for receipt in receipts):
                raise

    def _check_count(self, task: Task, count: int) -> None:
        if count > 1 and not task.by_word:
            raise Broken("twice", f"{task.name} moved its money {count} times")

    def trace(self) -> str:
        return self.world.trace()


class Lag(Hostile):
    """A world whose records appear later than the reconcile margin allows.

    Then a move may run twice. But nothing is forgotten: once a record is visible, the next run finds it, and no run
    ever denies a move.
    """

    mode = "HOSTILE=1 LAG=1 "
    late_records = True

    def _nature(self) -> Nature:
        lag = self.world.random.choice((15_000, 40_000, 100_000))
        return choose_nature(self.world, self.skew_ms, lag)

    def _check_count(self, task: Task, count: int) -> None:
        """A try that began when every replica showed an earlier move must have found it."""
        first, *later = made_by(task, self.venue) or [None]
        is_transfer = task.request.move.operation is Operation.TRANSFER
        # Balances are never late.
        lag_ms = self.nature.stamp_late_ms + (0 if is_transfer else max(self.nature.lags_ms))
        for sent in later:
            if first is not None and first.at_ms + lag_ms < sent.process.began_ms:
                raise Broken("forgotten", f"{task.name} made {first.reference} again, which was visible to all")

    def _clear_at_the_end(self) -> None:
        self.world.clock.now += 300_000
        for task in self.tasks:
            if not task.made:
                task.retries = task.tries + 2
                task.clear()
                self.world.run()
        super()._clear_at_the_end()


class Careless(Hostile):
    """A world whose people answer at once that nothing ran, without clearing the task and without looking."""

    def _clear_before_advice(self) -> None:
        pass

    def _finds_move(self, intent: Intent) -> bool:
        return False


class Peopled(Hostile):
    """A world in which people answer at any moment: rightly or wrongly, twice, also while the task runs."""

    mode = "HOSTILE=1 PEOPLE=1 "

    def run(self) -> None:
        chance = self.world.random
        honest = chance.random() < 0.6
        for number in range(chance.choice((1, 2, 4))):
            task, by = chance.choice(self.tasks), chance.choice(("ann", "bob"))
            self.world.at(chance.randint(10_000, 150_000), functools.partial(self._answer, task, by, number, honest))
        super().run()

    def _answer(self, task: Task, by: str, number: int, honest: bool) -> None:
        lies = not honest and self.world.random.random() < 0.5
        task.by_word |= not honest

        def say() -> None:
            self.people.answer(task, lambda intent: self._finds_move(intent) is not lies, by=f"{by} {number}")

        self.world.spawn(say)


class PeopledLag(Peopled, Lag):
    """The same, with records that appear later than the reconcile margin: an answer comes before them."""

    mode = "HOSTILE=1 LAG=1 PEOPLE=1 "

    def _check_count(self, task: Task, count: int) -> None:
        if not task.by_word:
            super()._check_count(task, count)


def tally(make: Callable[[int], Any], seeds: range) -> dict[str, float]:
    """Run worlds to their end and count by kind what is not as promised, and the doubts that need a person.

    :returns: how often in 1000 worlds.
    """
    counts: dict[str, int] = {}
    for seed in seeds:
        scenario = make(seed)
        try:
            scenario.run()
            scenario.check()
        except Broken as broken:
            counts[broken.kind] = counts.get(broken.kind, 0) + 1
        except Exception as error:
            kind = "fault" if isinstance(error, AssertionError) else f"crash {type(error).__name__}"
            counts[kind] = counts.get(kind, 0) + 1
        settled = getattr(scenario, "settled", set())
        for kind, tasks in (
            ("doubts for a person", scenario.doubts - settled),
            ("doubts settled by receipts", settled),
        ):
            counts[kind] = counts.get(kind, 0) + len(tasks)
    return {kind: round(count * 1000 / len(seeds), 1) for kind, count in sorted(counts.items())}
