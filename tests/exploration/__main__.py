"""``make explore``: every order of steps in small worlds, and a fault for each missing safeguard."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.exploration.sabotage import FLAWS, flawed
from tests.exploration.search import explore
from tests.exploration.worlds import NAMES, SMALL, world

#: When worlds begin, in milliseconds: nonce locks lie differently each time. All but the first are the small ones.
BEGINNINGS_MS = (0, 2_700, 5_400)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="with as few failures as in a test run")
    parser.add_argument("--world", choices=NAMES, action="append", help="only this world, and no flaws")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    failed, begin = False, time.monotonic()
    print(f"{'world':36}{'begins':>7}{'states':>11}{'steps':>11}{'orders':>10}{'s':>7}  ends of tries")
    for name in options.world or NAMES:
        for after_ms in BEGINNINGS_MS if name in SMALL else BEGINNINGS_MS[:1]:
            failed |= not _explored(name, after_ms, small=options.small or after_ms > 0)
    for flaw in () if options.world else FLAWS:
        found = explore(flawed(flaw))
        failed |= not found.broken
        words = found.broken.rpartition("BROKEN: ")[2] or "NOT NOTICED"
        print(f"if {flaw}: {words} ({FLAWS[flaw][0]}, {found.states} states)", flush=True)
    print(f"{time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


def _explored(name: str, after_ms: int, *, small: bool) -> bool:
    """Explore one world and print what was found. :returns: whether the promise holds and all ends were reached."""
    explored = world(name, small=small, after_ms=after_ms)
    found = explore(explored)
    ends = ", ".join(f"{kind} {count}" for kind, count in found.ends.most_common())
    print(
        f"{name:36}{after_ms / 1000:6.1f}s{found.states:11,}{found.steps:11,}{found.orders:10.2g}"
        f"{found.seconds:7.1f}  {ends}",
        flush=True,
    )
    missing = [] if found.broken else found.missing(explored)
    if missing:
        print(f"  NOTHING TO EXPLORE: did not find {', '.join(missing)}")
    if found.broken:
        print(found.broken)
    return not found.broken and not missing


if __name__ == "__main__":
    sys.exit(main())
