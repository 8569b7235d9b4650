"""The same worlds, and during them the account's API key is replaced by another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.execution import ApiKey
from airflow_provider_whitebit.moves.journal import SharedMarkers, SharedSpendingLog
from tests.simulation.plans import PlanScenario, PlanTask
from tests.simulation.scenarios import Scenario
from tests.simulation.tasks import Driver, Task
from tests.simulation.wire import KEY
from tests.simulation.world import START_MS, Process

OLD, NEW = "old", "new"
NEW_KEY = Credentials("second-key", "second-secret")


@dataclass
class RotatedTask(Task):
    """A task whose connection gets another key at a moment, and then names one with the old key as its previous one.

    Tries that began before keep the old key.
    """

    rotated_at: int = 0

    def _api_keys(self, process: Process) -> tuple[ApiKey, ApiKey | None]:
        old = self._api_key(process, KEY, OLD)
        if self.world.clock.now < self.rotated_at:
            return old, None
        new = self._api_key(process, NEW_KEY, NEW)
        shared = {
            "markers": SharedMarkers(new.markers, old.markers),
            "spending": SharedSpendingLog(new.spending, old.spending),
        }
        return replace(new, **shared), replace(old, connection="whitebit_previous")


class RotatedPlanTask(RotatedTask, PlanTask):
    """The same with a task that makes the moves of a plan."""


class PlanRotation(PlanScenario):
    """A world of :class:`PlanScenario` in whose first minutes the key is replaced."""

    mode = "ROTATION=1 PLANS=1 "

    def __init__(self, seed: int) -> None:
        super().__init__(seed, RotatedPlanTask)
        replace_key(self, self.world.clock.now + self.world.random.randint(0, 120_000), [self.task])


class Rotation(Scenario):
    """A world of :class:`Scenario` in whose first minute the key is replaced."""

    mode = "ROTATION=1 "

    def __init__(self, seed: int, driver: Driver = execute_move) -> None:
        super().__init__(seed, driver, RotatedTask)
        chance = self.world.random
        replace_key(self, self.world.clock.now + chance.choice((0, 1, 1, 1)) * chance.randint(1, 60_000), self.tasks)


def replace_key(scenario: Any, moment: int, tasks: Sequence[Task]) -> None:
    """Let the tasks' connection get another key at a moment."""
    scenario.venue.exchange.add_key(NEW_KEY.api_key, NEW_KEY.api_secret)
    scenario.world.note(f"the key is replaced at {(moment - START_MS) / 1000:.3f}")
    for task in tasks:
        assert isinstance(task, RotatedTask)
        task.rotated_at = moment
