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
import airflow.sdk
from airflow.sdk import BaseOperator, DAG, task, Param
begin = time.process_time()
import {modules}
print((time.process_time() - begin) * 1000)
"""
RUNS = 9


def figures(home: Path) -> list[Figure]:
    """Milliseconds in a process that has imported ``airflow.sdk``: the median of some."""
    modules = ", ".join(f"airflow_provider_whitebit.{name}" for name in (*MODULES, "triggers.events"))
    source = SOURCE.format(modules=modules)
    runs = []
    for _ in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-c", source], capture_output=True, text=True, check=True, env=clean_environment(home)
        )
        runs.append(float(done.stdout.strip().splitlines()[-1]))
    return [Figure("all operators, sensors and event triggers", statistics.median(runs), "ms", goal=30)]


if __name__ == "__main__":
    command(figures)
