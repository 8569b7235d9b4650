"""Hostile worlds whose tasks share something: a reserve, an idempotency key, an API key that is replaced."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar

from airflow_provider_whitebit.moves.keys import idempotent
from airflow_provider_whitebit.treasury.requests import PlanRequest, Sweep
from tests.simulation.exchanges import PLAN
from tests.simulation.hostile import OTHER_PLAN, Hostile
from tests.simulation.oracles import Broken, check_receipts, check_words, made_by
from tests.simulation.plans import PlanTask
from tests.simulation.rotation import RotatedTask, replace_key
from tests.simulation.scenarios import FLEX
from tests.simulation.tasks import SimulatedRequest, Task, invest
from tests.simulation.world import Process

RESERVE = Decimal(5000)


def _sweep_into(plan: str) -> Sweep:
    return Sweep({"USDT": {"reserve": f"{RESERVE}", "plans": {"only": [plan]}}})


@dataclass
class SweepTask(PlanTask):
    """A task that invests what Main holds beyond a reserve."""

    asked: ClassVar[PlanRequest] = _sweep_into(PLAN)


@dataclass
class OtherSweepTask(PlanTask):
    """The same, into another plan."""

    asked: ClassVar[PlanRequest] = _sweep_into(OTHER_PLAN)


class Sweeps(Hostile):
    """A world in which two tasks sweep one account at the same time, perhaps while a person takes something out."""

    mode = "HOSTILE=1 PLANS=1 "

    def __post_init__(self) -> None:
        kinds = iter((SweepTask, random.Random(self.seed).choice((SweepTask, OtherSweepTask))))
        self.make_task = lambda *args, **options: next(kinds)(*args, **options)
        super().__post_init__()
        self.world.note(f"{' and '.join(type(task).__name__ for task in self.tasks)} sweep one account")

    def _requests(self, term: str) -> list[SimulatedRequest]:
        # Those of the templates, which a plan does not use.
        return [invest(PLAN, "1"), invest(PLAN, "1")]

    def _fill(self) -> str:
        self.venue.move_outside(f"{FLEX}/invest", plan=PLAN, amount="2000")
        self.venue.sent.clear()
        self.world.clock.now += self.world.random.randint(150_000, 151_000)
        return ""

    def _move_by_person(self) -> None:
        self.taken += Decimal(300)
        path = "/api/v4/main-account/transfer"
        self.venue.try_outside(path, ticker="USDT", amount="300", **{"from": "main", "to": "spot"})

    def _make_one_again(self) -> None:
        """Plans have no amount of their own."""

    def check(self) -> None:
        """:raises Broken: if something is not as promised."""
        self.venue.exchange.audit()
        for task in self.tasks:
            check_receipts(task, self.venue)
            check_words(task, self.venue)
            made = {self.venue.exchange.names(str(sent.reference)) for sent in made_by(task, self.venue)}
            receipts = task.result.receipt if task.result is not None else None
            if receipts is None:
                continue
            # An exchange whose records carry no identifiers leaves some receipts without one.
            named = {self.venue.exchange.names(one.transaction_id) for one in receipts if one.transaction_id}
            if len(receipts) != len(made) or not named <= made:
                raise Broken("lost", f"{task.name} has made {made} and returns {receipts}")
        for sent in self.venue.sent:
            left = self.venue.exchange.held_at(sent.at_ms, "main", "USDT")
            if sent.executed and left < RESERVE - self.taken:
                raise Broken("reserve", f"{sent.process.name} leaves {left} in Main")


class HostileRotation(Hostile):
    """A world in whose first minute the API key is replaced."""

    mode = "HOSTILE=1 ROTATION=1 "

    def __post_init__(self) -> None:
        self.make_task = RotatedTask
        super().__post_init__()
        replace_key(self, self.world.clock.now + self.world.random.randint(0, 60_000), self.tasks)


@dataclass
class KeyedTask(Task):
    """A task whose move has an idempotency key."""

    shares_key: bool = True

    def _move(self, process: Process, resumed: dict[str, Any]) -> Any:
        execution = self._execution(process, self.request, idempotent("account", "salary"), **resumed)
        # Another task is not a retry of this one.
        generation = f"{self.name}|{execution.generation}"
        run = f"{self.name}|{execution.run}"
        execution = replace(execution, generation=generation, run=run, begun_before=True)
        return self.driver(execution, sleep=process.sleep)


class OneKey(Hostile):
    """A world in which two or three tasks make the same move under one idempotency key: it is made once."""

    mode = "HOSTILE=1 ONE_KEY=1 "

    def __post_init__(self) -> None:
        self.make_task = KeyedTask
        super().__post_init__()
        self.world.note(f"{len(self.tasks)} tasks with one idempotency key")

    def _requests(self, term: str) -> list[SimulatedRequest]:
        return [super()._requests(term)[0]] * self.world.random.choice((2, 3))

    def _make_one_again(self) -> None:
        """The key belongs to no run."""

    def check(self) -> None:
        """:raises Broken: if something is not as promised."""
        self.venue.exchange.audit()
        made = [sent for sent in self.venue.sent if sent.executed]
        self._check_count(self.tasks[0], len(made))
        names = {name for sent in made if sent.reference for name in self.venue.exchange.names(sent.reference)}
        for task in self.tasks:
            check_words(task, self.venue)
            for receipt in (result.receipt for result in task.results if result.receipt is not None):
                if not made or (names and (receipt.transaction_id or receipt.investment_id) not in (*names, None)):
                    raise Broken("false receipt", f"{task.name} has a receipt of another move: {receipt}")
            error = task.result.error if task.result is not None else None
            if made and error is not None and error.money_moved is False and not task.by_word:
                raise Broken("lost", f"{task.name} ends with {error!r}")
