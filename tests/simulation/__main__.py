"""``make simulate``: more seeds than a test run has time for, or one seed with its trace."""

from __future__ import annotations

import argparse
import functools
import logging
import sys
import time

from tests.simulation import plans, rotation, scenarios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100_000, help="how many worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="only this one, with its trace")
    parser.add_argument("--plans", action="store_true", help="worlds in which one task makes five moves")
    parser.add_argument("--rotation", action="store_true", help="worlds in which the API key is exchanged meanwhile")
    options = parser.parse_args()
    if options.plans:
        world = rotation.PlanRotation if options.rotation else plans.PlanScenario
        failure = functools.partial(plans.failure, make=world)
    else:
        world = rotation.Rotation if options.rotation else scenarios.Scenario
        failure = functools.partial(scenarios.failure, make=world)
    logging.disable(logging.CRITICAL)
    if options.seed is not None:
        broken = failure(options.seed)
        if broken is None:
            scenario = world(options.seed)
            scenario.run()
            print(scenario.trace())
        print(broken or f"seed {options.seed} holds")
        return 1 if broken else 0
    begin = told = time.monotonic()
    for count, seed in enumerate(range(options.first, options.first + options.seeds), 1):
        broken = failure(seed)
        if broken is not None:
            print(broken)
            return 1
        if time.monotonic() - told > 10 or count == options.seeds:
            told = time.monotonic()
            print(f"{count} seeds hold, {count / (told - begin):.0f} a second", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
