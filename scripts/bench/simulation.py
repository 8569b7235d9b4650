"""How many worlds in which everything goes wrong are simulated in a second of one core."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figure import REPO, Figure, command

sys.path.insert(0, str(REPO))

from tests.simulation.plans import PlanScenario
from tests.simulation.scenarios import Scenario, failure

SEEDS_OF_MOVES, SEEDS_OF_PLANS = (30, 300, 3_000), (20, 200, 2_000)


def rate(make: Callable[[int], Any], seeds: int) -> float:
    """Seeds in a second of processor time. :raises RuntimeError: if one fails."""
    begin = time.process_time()
    for seed in range(seeds):
        if broken := failure(seed, make):
            raise RuntimeError(broken)
    return seeds / (time.process_time() - begin)


def figures(home: Path) -> list[Figure]:
    """Seeds a second. Each of them must hold."""
    logging.disable(logging.CRITICAL)
    return [
        *(
            Figure("worlds of one move", rate(Scenario, seeds), "seeds/s", seeds, "seeds", "higher")
            for seeds in SEEDS_OF_MOVES
        ),
        *(
            Figure("worlds of a plan", rate(PlanScenario, seeds), "seeds/s", seeds, "seeds", "higher")
            for seeds in SEEDS_OF_PLANS
        ),
    ]


if __name__ == "__main__":
    command(figures)
