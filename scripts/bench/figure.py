"""A figure, and what all benchmarks share. Each runs in its own process and prints its figures on the last line."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
REPO = HERE.parent.parent
sys.path.insert(0, str(REPO / "scripts"))


#: Units of figures that compare two values of the same run.
RATIOS = ("ratio", "of a bare session", "of all calls")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    :param name: what was measured.
    :param value: how much.
    :param unit: of what. ``ms/DAG`` with a load in ``DAGs``, or ``records/s`` with one in ``records``, says that the
        figure is the cost of one unit of the load; any other, that it belongs to the load as a whole.
    :param load: how much there was to do; ``None`` if the figure has no load.
    :param load_unit: of what.
    :param better: ``lower`` or ``higher``.
    :param goal: most that the value may be, or least if higher is better; ``None``: no goal. Only ratios have goals:
        others depend on the machine.
    :param benchmark: the benchmark that it comes from.
    """

    name: str
    value: float
    unit: str
    load: int | None = None
    load_unit: str = ""
    better: str = "lower"
    goal: float | None = None
    benchmark: str = ""

    @property
    def is_ratio(self) -> bool:
        """Whether it compares two values of the same run."""
        return self.unit in RATIOS

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; ``None`` without a goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal

    @property
    def of_one_unit(self) -> bool:
        """Whether it is the cost of one unit of the load, or the rate of such units: then a slope of 1 means that the
        cost of the whole grows as the load does; else that it is the same whatever the load."""
        if not self.load_unit:
            return False
        per = self.unit.rpartition("/")[2]
        return f"{per}s" == self.load_unit or self.unit == f"{self.load_unit}/s"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """:raises TypeError: if this is not a figure."""
        return cls(**raw)


def slopes(figures: Sequence[Figure]) -> dict[tuple[str, str], float]:
    """By benchmark and name: the value under the largest load over that under the smallest, inverted if higher is
    better. :attr:`Figure.of_one_unit` says what 1 means."""
    by_name: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        if figure.load is not None:
            by_name.setdefault((figure.benchmark, figure.name), []).append(figure)
    found = {}
    for name, series in by_name.items():
        least, most = min(series, key=lambda one: one.load or 0), max(series, key=lambda one: one.load or 0)
        if least.load != most.load and least.value and most.value:
            found[name] = most.value / least.value if most.better == "lower" else least.value / most.value
    return found


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a child: an Airflow home of its own, this package, and nothing of the caller's settings."""
    return {"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(home / "airflow"), "PYTHONPATH": str(REPO), **more}


def child(
    file: str, *arguments: object, home: Path, python: str | Path = sys.executable, timeout: int = 600, **more: str
) -> Any:
    """What a script of this folder prints on its last line, as JSON.

    :raises subprocess.CalledProcessError: if it fails; what it complained of has been printed.
    """
    done = subprocess.run(
        [python, HERE / file, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=clean_environment(home, **more),
    )
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr, flush=True)
        done.check_returncode()
    return json.loads(done.stdout.splitlines()[-1])


def best_of(rounds: int, work: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of several rounds: other work of the machine only adds to them."""
    found = []
    for _ in range(rounds):
        begin = clock()
        work()
        found.append(clock() - begin)
    return min(found)


def command(measure: Callable[[Path], Sequence[Figure]]) -> None:
    """Run one benchmark and print its figures on the last line of standard output.

    :param measure: makes the figures; it is given the folder where files may be kept.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--home", type=Path, default=REPO / ".bench", help="where its files are kept")
    home = parser.parse_args().home.resolve()
    (home / "airflow").mkdir(parents=True, exist_ok=True)
    os.environ["AIRFLOW_HOME"] = str(home / "airflow")
    name = Path(sys.argv[0]).stem
    figures = [dataclasses.replace(figure, benchmark=name) for figure in measure(home)]
    print(json.dumps([figure.to_json() for figure in figures]))
