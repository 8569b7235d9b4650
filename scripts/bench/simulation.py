"""How many worlds in which everything goes wrong are simulated in a second of one core."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

from figure import REPO, Figure, command

sys.path.insert(0, str(REPO))

from tests.simulation import plans, scenarios

SEEDS_OF_MOVES, SEEDS_OF_PLANS = (30, 300, 3_000), (20, 200, 2_000)


def rate(failure: Callable[[int], str | None], seeds: int) -> float:
    """Seeds in a second of processor time. :raises RuntimeError: if one does not hold."""
    begin = time.process_time()
    for seed in range(seeds):
        if broken := failure(seed):
            raise RuntimeError(broken)
    return seeds / (time.process_time() - begin)


def figures(home: Path) -> list[Figure]:
    """Seeds a second, all of which hold."""
    logging.disable(logging.CRITICAL)
    return [
        *(
            Figure("worlds of one move", rate(scenarios.failure, seeds), "seeds/s", seeds, "seeds", "higher")
            for seeds in SEEDS_OF_MOVES
        ),
        *(
            Figure("worlds of a plan", rate(plans.failure, seeds), "seeds/s", seeds, "seeds", "higher")
            for seeds in SEEDS_OF_PLANS
        ),
    ]


if __name__ == "__main__":
    command(figures)
