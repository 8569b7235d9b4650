"""What the operators add to the import of ``airflow.sdk``. There is no load: a process imports them once."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from figure import Figure, clean_environment, command

MODULES = ("operators.flex", "operators.fixed", "operators.account", "operators.treasury", "sensors.whitebit")
SOURCE = """
import sys, time
begin = time.process_time()
import airflow.sdk
from airflow.sdk import BaseOperator, DAG, task, Param
middle = time.process_time()
import {modules}
print((time.process_time() - middle) * 1000, (middle - begin) * 1000)
"""
RUNS = 9
#: Most that this package may add to the import of ``airflow.sdk``.
GOAL = 0.03


def figures(home: Path) -> list[Figure]:
    """Milliseconds in a process that has imported ``airflow.sdk``, and their ratio to that import: medians."""
    modules = ", ".join(f"airflow_provider_whitebit.{name}" for name in (*MODULES, "triggers.events"))
    source = SOURCE.format(modules=modules)
    runs = []
    for _ in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-c", source], capture_output=True, text=True, check=True, env=clean_environment(home)
        )
        ours, sdk = map(float, done.stdout.strip().splitlines()[-1].split())
        runs.append((ours, ours / sdk))
    name = "all operators, sensors and event triggers"
    return [
        Figure(name, statistics.median(ours for ours, _ in runs), "ms"),
        Figure(f"{name}: against it", statistics.median(ratio for _, ratio in runs), "ratio", goal=GOAL),
    ]


if __name__ == "__main__":
    command(figures)
