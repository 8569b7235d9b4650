"""Worlds in which people stop all moves and let them go on, at any moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError
from airflow_provider_whitebit.moves.stop import Stop
from tests.simulation.plans import PlanScenario
from tests.simulation.scenarios import Scenario
from tests.simulation.wire import Venue
from tests.simulation.world import Process


@dataclass
class StopSwitch:
    """What people have ordered, and what processes find out about it.

    :param stopped: whether all moves are stopped now.
    :param refused: how often a process was told so.
    """

    venue: Venue
    stopped: bool = False
    refused: int = 0

    def turn(self, stopped: bool) -> None:
        """People stop all moves, or let them go on. It is durable at once."""
        self.stopped = stopped
        self.venue.world.note(f"people: moves {'are STOPPED' if stopped else 'may go on'}")

    def turn_at_random(self) -> None:
        """Stop and resume up to three times, some time from now on. In the end moves may go on."""
        world, moment = self.venue.world, 0
        for _ in range(world.random.choice((1, 1, 2, 3))):
            for stopped, longest in ((True, 25_000), (False, 40_000)):
                moment += world.random.choice((world.random.randint(0, 3_000), world.random.randint(0, longest)))
                world.at(moment, lambda stopped=stopped: self.turn(stopped))  # type: ignore[misc]

    def check(self, process: Process) -> None:
        """Let a process ask, as the task side does. The answer may be lost, or as old as it took to arrive."""
        process.step("before asking whether moves are stopped", self.venue.latency())
        if self.venue.random.random() < self.venue.faults.journal / 4:
            raise WhiteBitUnavailableError("simulated: it is not known whether moves are stopped")
        stopped = self.stopped
        process.step("after asking whether moves are stopped", self.venue.latency())
        if stopped:
            self.refused += 1
            raise Stop("people", "simulated", None).error()
        process.may_send = True


def check_sent(venue: Venue) -> None:
    """Check that each process asked right before each request that moves money, and was told that moves may go on."""
    assert not venue.unchecked, f"sent without asking whether moves are stopped: {venue.unchecked}"


@dataclass
class Stopping(Scenario):
    """One seed's world with people, run to its end."""

    switch: StopSwitch = field(init=False)
    mode: ClassVar[str] = "STOPS=1 "

    def run(self) -> None:
        self.switch = _people(self.venue)
        super().run()

    def check(self) -> None:
        check_sent(self.venue)
        super().check()


@dataclass
class StoppingPlans(PlanScenario):
    """The same, with a task that makes several moves."""

    switch: StopSwitch = field(init=False)
    mode: ClassVar[str] = "STOPS=1 PLANS=1 "

    def run(self) -> None:
        self.switch = _people(self.venue)
        super().run()

    def check(self) -> None:
        check_sent(self.venue)
        super().check()


def _people(venue: Venue) -> StopSwitch:
    switch = StopSwitch(venue)
    venue.check_stop = switch.check
    switch.turn_at_random()
    return switch


def refusals(world: type[Stopping | StoppingPlans], seeds: range) -> int:
    """How often processes were told that moves are stopped: without that, such worlds would show nothing."""
    count = 0
    for seed in seeds:
        scenario = world(seed)
        scenario.run()
        count += scenario.switch.refused
    return count
