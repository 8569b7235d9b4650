"""``make bench``: what the package costs, as figures.

Each benchmark is a command of its own (``python scripts/bench/calls.py``) and runs in its own process. This runs all of
them, or those that are named, prints a table and keeps the figures as JSON. Only ratios have goals: each compares with
a floor or a peer that was measured in the same run. It ends with 1 if a goal is missed, or if figures were to be
published without those of all peers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import table
from calls import PEERS, WITHOUT_PEERS
from figure import HERE, REPO, Figure, slopes
from peers import DISTRIBUTIONS, version_of

BENCHMARKS = (
    *("calls", "one_key", "refused_nonces", "signing", "importing", "parsing", "moves", "journal", "waiting"),
    *("latency", "exporting", "journal_entries", "planning", "backtesting", "forecasting", "treasury_page"),
    "simulation",
)
PACKAGES = ("airflow-provider-whitebit", "apache-airflow", "pendulum", "pyarrow", "requests", "urllib3")


def machine(peers: Sequence[str] = ()) -> dict[str, Any]:
    """The machine of the figures, without anything that identifies its owner.

    :param peers: those that were measured.
    """
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.release()
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "os": f"{platform.system()}, {system}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES}
        | {DISTRIBUTIONS[peer]: version_of(peer) for peer in peers},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def measure(names: list[str], home: Path) -> Iterator[list[Figure]]:
    """The figures of each of some benchmarks. :raises subprocess.CalledProcessError: if one of them fails."""
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name} ... ", end="", flush=True)
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, HERE / f"{name}.py", "--home", home], stdout=subprocess.PIPE, text=True, timeout=900
        )
        done.check_returncode()
        print(f"{time.monotonic() - begin:.0f} s", flush=True)
        yield [Figure.from_json(raw) for raw in json.loads(done.stdout.splitlines()[-1])]


def peers_in(figures: Sequence[Figure]) -> list[str]:
    """The peers that could be measured."""
    names = {one.name for one in figures if one.benchmark == "calls"}
    return [peer for peer, name in PEERS.items() if name in names]


def listed(figures: list[Figure]) -> str:
    """The figures as a table for the terminal."""
    lines, shown, slope = [], "", slopes(figures)
    largest = {(one.benchmark, one.name): one.load for one in sorted(figures, key=lambda one: one.load or 0)}
    for one in figures:
        if one.benchmark != shown:
            shown = one.benchmark
            lines.append(f"\n{shown:<86}{'load':>22}{'value':>12}  {'unit':<18}{'goal':>14}{'slope':>8}")
        load = f"{one.load:,} {one.load_unit}" if one.load is not None else ""
        goal = ""
        if one.goal is not None:
            sign = "<=" if one.better == "lower" else ">="
            goal = f"{'' if one.reached else 'NOT '}{sign} {one.goal:,.6g}"
        grown = table.slope_of(one, slope) if largest[one.benchmark, one.name] == one.load else ""
        lines.append(f"  {one.name:<84}{load:>22}{table.short(one.value):>12}  {one.unit:<18}{goal:>14}{grown:>8}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", metavar="BENCHMARK", help=f"only these of {', '.join(BENCHMARKS)}")
    parser.add_argument("--home", type=Path, default=REPO / ".bench", help="where files are kept")
    parser.add_argument("--json", type=Path, help="where the figures are written, by default figures.json in --home")
    parser.add_argument("--readme", action="store_true", help="also publish them in docs/figures.md and figures.json")
    parser.add_argument("--without-peers", action="store_true", help="measure no other clients of the exchange")
    options = parser.parse_args()
    names = [name for one in options.only for name in one.split(",") if name] or list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"{name} is not one of {', '.join(BENCHMARKS)}")
    if options.without_peers:
        os.environ[WITHOUT_PEERS] = "1"
    home = options.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    taken_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    figures: list[Figure] = []
    left_out: list[str] = []
    for some in measure(names, home):
        figures += some
        if some and some[0].benchmark == "calls":
            left_out = [PEERS[peer] for peer in PEERS if peer not in peers_in(some)]
            if left_out and options.readme:
                print(f"Nothing is published without all peers. Left out: {'; '.join(left_out)}")
                return 1
    print(listed(figures))
    if options.readme and set(names) != set(BENCHMARKS):
        # The page names one day and one machine.
        published = json.loads(table.PUBLISHED.read_text())
        others = [Figure.from_json(raw) for raw in published["figures"] if raw["benchmark"] not in names]
        place = {name: number for number, name in enumerate(BENCHMARKS)}
        figures = sorted(others + figures, key=lambda one: place[one.benchmark])
        left_out, same = published["left_out"], published["machine"] == machine(peers_in(figures))
        if not same or published["taken_at"][:10] != taken_at[:10]:
            print("Nothing is published: the published figures are of another day or machine")
            return 1
    document = {
        "taken_at": taken_at,
        "machine": machine(peers_in(figures)),
        "left_out": left_out,
        "figures": [figure.to_json() for figure in figures],
    }
    text = json.dumps(document, indent=2) + "\n"
    written = options.json or home / "figures.json"
    written.write_text(text)
    if options.readme:
        table.PUBLISHED.write_text(text)
        table.put_into(table.PAGE, document)
    print(f"\n{table.on_what(document)}")
    print(
        "A slope is the figure for the largest load divided by that for the smallest, inverted if more is better.\n"
        "For figures of one unit (ms/DAG, records/s) 1 means linear; for others, marked *, the same for every load."
    )
    if left_out:
        print(f"Peers left out: {'; '.join(left_out)}")
    missed = [figure.name for figure in figures if figure.reached is False]
    print(f"Goals missed: {'; '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
