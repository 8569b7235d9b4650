"""``make bench``: what the package costs, as figures that the README quotes.

Each benchmark is a command of its own (``python scripts/bench/calls.py``) and runs in a process of its own; this runs
all of them, or those that are named, one after another, prints a table and keeps the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import table
from figure import HERE, REPO, Figure, slopes
from peers import versions

BENCHMARKS = (
    *("calls", "signing", "importing", "parsing", "moves", "journal", "waiting", "latency", "exporting", "planning"),
    *("backtesting", "simulation"),
)
PACKAGES = ("airflow-provider-whitebit", "apache-airflow", "pendulum", "pyarrow", "requests", "urllib3")


def machine() -> dict[str, Any]:
    """What the figures were taken on; nothing that tells whose it is."""
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.release()
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "os": f"{platform.system()}, {system}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES} | versions(),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def measure(names: list[str], home: Path) -> list[Figure]:
    """The figures of some benchmarks. :raises subprocess.CalledProcessError: if one of them fails."""
    found: list[Figure] = []
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name} ... ", end="", flush=True)
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, HERE / f"{name}.py", "--home", home], stdout=subprocess.PIPE, text=True, timeout=900
        )
        done.check_returncode()
        found += [Figure.from_json(raw) for raw in json.loads(done.stdout.splitlines()[-1])]
        print(f"{time.monotonic() - begin:.0f} s", flush=True)
    return found


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
        key = (one.benchmark, one.name)
        grown = f"{slope[key]:.2f}" if key in slope and largest[key] == one.load else ""
        lines.append(f"  {one.name:<84}{load:>22}{table.short(one.value):>12}  {one.unit:<18}{goal:>14}{grown:>8}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", metavar="BENCHMARK", help=f"only these of {', '.join(BENCHMARKS)}")
    parser.add_argument("--home", type=Path, default=REPO / ".bench", help="where files are kept")
    parser.add_argument("--json", type=Path, help="where the figures are written, by default figures.json in --home")
    parser.add_argument("--readme", action="store_true", help="also put them into the README and docs/figures.json")
    options = parser.parse_args()
    names = [name for one in options.only for name in one.split(",") if name] or list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"{name} is none of {', '.join(BENCHMARKS)}")
    if options.readme and set(names) != set(BENCHMARKS):
        parser.error("the README shows figures of one run of all benchmarks")
    home = options.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    taken_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    figures = measure(names, home)
    print(listed(figures))
    document = {"taken_at": taken_at, "machine": machine(), "figures": [figure.to_json() for figure in figures]}
    text = json.dumps(document, indent=2) + "\n"
    written = options.json or home / "figures.json"
    written.write_text(text)
    if options.readme:
        table.PUBLISHED.write_text(text)
        table.put_into(table.README, document)
    print(f"\n{table.on_what(document)}")
    print("A slope is the cost of one unit under the largest load over that under the smallest: 1 is linear.")
    missed = [figure.name for figure in figures if figure.reached is False]
    print(f"Goals missed: {'; '.join(missed) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
