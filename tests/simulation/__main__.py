"""``make simulate``: more seeds than a test run has time for, or one seed with its trace."""

from __future__ import annotations

import argparse
import functools
import logging
import sys
import time
from collections.abc import Callable

from tests.simulation import fallback, hostile, hostile_accounts, over_time, plans, rotation, stopping
from tests.simulation.scenarios import Replayable, Scenario, failure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100_000, help="how many worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="only this one, with its trace")
    parser.add_argument("--plans", action="store_true", help="worlds in which one task makes five moves")
    parser.add_argument("--rotation", action="store_true", help="worlds in which the API key is replaced meanwhile")
    parser.add_argument("--fallback", action="store_true", help="worlds in which a task goes on to another move")
    parser.add_argument("--stops", action="store_true", help="worlds in which people stop all moves, and resume")
    parser.add_argument("--limits", action="store_true", help="worlds whose connection has limits over time")
    parser.add_argument("--hostile", action="store_true", help="worlds that are not as the package expects them")
    parser.add_argument("--lag", action="store_true", help="hostile worlds whose records are later than the margin")
    parser.add_argument("--one-key", action="store_true", help="hostile worlds of tasks with one idempotency key")
    parser.add_argument("--people", action="store_true", help="hostile worlds in which people answer at any moment")
    parser.add_argument("--skew", type=int, default=hostile.SKEW_MS, help="milliseconds between the clocks of nodes")
    parser.add_argument("--tally", action="store_true", help="do not stop at a fault: count by kind")
    options = parser.parse_args()
    world: Callable[[int], Replayable]
    if options.hostile or options.lag:
        kinds = (
            (options.lag and options.people, hostile.PeopledLag),
            (options.lag, hostile.Lag),
            (options.people, hostile.Peopled),
            (options.plans, hostile_accounts.Sweeps),
            (options.one_key, hostile_accounts.OneKey),
        )
        kinds = (*kinds, (options.rotation, hostile_accounts.HostileRotation), (True, hostile.Hostile))
        world = functools.partial(next(kind for chosen, kind in kinds if chosen), skew_ms=options.skew)
    elif options.stops:
        world = stopping.StoppingPlans if options.plans else stopping.Stopping
    elif options.limits:
        world = over_time.OverTimeRotation if options.rotation else over_time.OverTime
    elif options.fallback:
        world = fallback.Fallback
    elif options.plans:
        world = rotation.PlanRotation if options.rotation else plans.PlanScenario
    else:
        world = rotation.Rotation if options.rotation else Scenario
    logging.disable(logging.CRITICAL)
    if options.seed is not None:
        broken = failure(options.seed, world)
        if broken is None:
            scenario = world(options.seed)
            scenario.run()
            print(scenario.trace())
        print(broken or f"seed {options.seed} holds")
        return 1 if broken else 0
    if options.tally:
        for kind, count in hostile.tally(world, range(options.first, options.first + options.seeds)).items():
            print(f"{count:8.1f} in 1000 worlds: {kind}")
        return 0
    begin = reported = time.monotonic()
    for count, seed in enumerate(range(options.first, options.first + options.seeds), 1):
        broken = failure(seed, world)
        if broken is not None:
            print(broken)
            return 1
        if time.monotonic() - reported > 10 or count == options.seeds:
            reported = time.monotonic()
            print(f"{count} seeds hold, {count / (reported - begin):.0f} a second", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
