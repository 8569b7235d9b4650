"""The same worlds, and in the midst of them the account's API key is exchanged for another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.moves.drivers import begun_with, execute_move
from airflow_provider_whitebit.moves.journal import Journal, Marks, SharedMarks
from tests.simulation.plans import PlanScenario, PlanTask
from tests.simulation.scenarios import Scenario
from tests.simulation.world import START_MS, Process, SimulatedMarks, Task

OLD, NEW = "old", "new"
NEW_KEY = Credentials("second-key", "second-secret")


@dataclass
class RotatedTask(Task):
    """A task whose connection gets another key at a moment, and names one with the old key as its former connection.

    Whoever has begun before keeps to the old key.
    """

    rotated_at: int = 0

    def _account(self, process: Process, journal: Journal) -> tuple[WhiteBitClient, dict[str, Any]]:
        old, marks = self._client(process), self._marks(process, OLD)
        if self.world.clock.now < self.rotated_at or begun_with(OLD, journal):
            return old, {"account": OLD, "marks": marks}
        both = SharedMarks(self._marks(process, NEW), marks)
        return self._client(process, NEW_KEY), {"account": NEW, "marks": both, "former": old}

    def _sent_with(self, process: Process, account: str) -> tuple[WhiteBitClient, Marks]:
        if account == OLD:
            return self._client(process), self._marks(process, OLD)
        return self._client(process, NEW_KEY), SharedMarks(self._marks(process, NEW), self._marks(process, OLD))

    def _marks(self, process: Process, account: str) -> SimulatedMarks:
        return SimulatedMarks(self.store, process, account)


class RotatedPlanTask(RotatedTask, PlanTask):
    """The same with a task that makes a plan of moves."""


class PlanRotation(PlanScenario):
    """A world of :class:`PlanScenario` in whose first minutes the key is exchanged."""

    mode = "ROTATION=1 PLANS=1 "

    def __init__(self, seed: int) -> None:
        super().__init__(seed, RotatedPlanTask)
        self.shop.exchange.add_key_like(NEW_KEY.api_key, NEW_KEY.api_secret)
        assert isinstance(self.task, RotatedPlanTask)
        self.task.rotated_at = self.world.clock.now + self.world.random.randint(0, 120_000)
        self.world.note(f"the key is exchanged at {(self.task.rotated_at - START_MS) / 1000:.3f}")


class Rotation(Scenario):
    """A world of :class:`Scenario` in whose first minute the key is exchanged."""

    mode = "ROTATION=1 "

    def __init__(self, seed: int, driver: Callable[..., Any] = execute_move) -> None:
        super().__init__(seed, driver, RotatedTask)
        self.shop.exchange.add_key_like(NEW_KEY.api_key, NEW_KEY.api_secret)
        rotated_at = self.world.clock.now + self.world.random.choice((0, 1, 1, 1)) * self.world.random.randint(
            1, 60_000
        )
        self.world.note(f"the key is exchanged at {(rotated_at - START_MS) / 1000:.3f}")
        for task in self.tasks:
            task.rotated_at = rotated_at  # type: ignore[attr-defined]
