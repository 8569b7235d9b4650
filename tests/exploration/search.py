"""Visit every state of a world once, and count the orders that lead through them."""

from __future__ import annotations

import gc
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.exploration.promise import Broken
from tests.exploration.states import State
from tests.exploration.world import Transition, World


@dataclass
class Found:
    """What an exploration has found.

    :param states: how many states there are.
    :param steps: how many steps lead from one to another.
    :param orders: in how many orders these steps can happen, from the first state to an end.
    :param ends: in how many ways tries end how, over all states in which nothing more can happen.
    :param seconds: how long it took.
    :param broken: the steps that break the promise; empty if it holds.
    """

    states: int = 0
    steps: int = 0
    orders: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    broken: str = ""

    def missing(self, world: World) -> list[str]:
        """What the world had to reach and did not: then there was too little to explore."""
        missing = sorted(world.reaches - self.ends.keys())
        return missing if self.states >= world.least else [*missing, f"{world.least} states"]


class _Visit(NamedTuple):
    """A state on the way, what is left to be tried in it, and the step that led to it."""

    state: State
    left: list[Transition]
    label: str


def explore(world: World) -> Found:
    """Explore a world until the promise is broken, or to its end."""
    begin = time.monotonic()
    # All states are kept, so looking for garbage among them takes most of the time.
    gc.disable()
    try:
        found = _visit(world)
    finally:
        gc.enable()
    found.seconds = time.monotonic() - begin
    return found


def _visit(world: World) -> Found:
    found = Found()
    # A state is never its own successor: each step uses up time, budget, or a process's way to its end.
    orders: dict[State, int] = {}
    first = world.begin()
    way, counts = [_Visit(first, world.transitions(first), "begin")], [0]
    while way:
        state, left, _ = way[-1]
        if not left:
            way.pop()
            orders[state] = counts.pop()
            if counts:
                counts[-1] += orders[state]
            continue
        label, perform = left.pop()
        found.steps += 1
        try:
            after = perform()
        except Broken as error:
            found.broken = _trace(world, [*way, _Visit(state, [], label)], str(error))
            break
        if after in orders:
            counts[-1] += orders[after]
            continue
        following = world.transitions(after)
        way.append(_Visit(after, following, label))
        counts.append(0 if following else 1)
        if not following:
            found.ends.update(_ends(after))
    found.orders = orders.get(first, 0)
    found.states = len(orders) + len(way)
    return found


def _ends(state: State) -> list[str]:
    ends = []
    for process in state.processes:
        end = process.node.end
        assert end is not None, f"{process} never ends"
        ends += [end.kind, *["reconciled"] * end.reconciled, *["sent again"] * (end.attempts > 1)]
        ends += ["answered"] * end.answered
    return ends


def _trace(world: World, way: list[_Visit], words: str) -> str:
    lines = [f"{(one.state.now - world.start_ms) / 1000:9.3f}  {one.label}" for one in way]
    return "\n".join([*lines, f"BROKEN: {words}"])
