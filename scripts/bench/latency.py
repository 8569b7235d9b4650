"""How long it takes from something that happens on the exchange to the run that it starts, on a real Airflow."""

from __future__ import annotations

import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from figure import Figure, command
from local_airflow import BIN, Api, environment, free_port, process_group

from airflow_provider_whitebit.testing import SandboxProcess

INTERVAL, EVENTS = 5, 6
DAG = f"""
from airflow.sdk import DAG, Asset, AssetWatcher, task
from airflow_provider_whitebit.triggers.events import WhiteBitBalanceTrigger
trigger = WhiteBitBalanceTrigger(ticker="ETH", at_least="1000", poke_interval={INTERVAL})
with DAG("bench_latency", schedule=[Asset("bench_rich", watchers=[AssetWatcher(name="bench_rich", trigger=trigger)])]):
    @task
    def nothing():
        pass
    nothing()
"""


def latencies(folder: Path) -> list[float]:
    """Seconds from each deposit on the exchange to the start of the run for it."""
    (folder / "dags").mkdir()
    (folder / "dags" / "bench_latency.py").write_text(DAG)
    port, sandbox = free_port(), SandboxProcess()
    env = environment(folder, sandbox.connection_json, dags=folder / "dags", port=port)
    path = "/api/v2/dags/bench_latency/dagRuns?limit=100"
    found = []
    try:
        with (folder / "log").open("w") as log, process_group([BIN / "airflow", "standalone"], env, log) as process:
            api = Api(port)
            api.wait("a healthy Airflow", api.healthy, 180, process)
            api.wait("the DAG", lambda: api.call("GET", path), 90, process)
            api.wait("the trigger", sandbox.requests, 90, process)
            for number in range(1, EVENTS + 1):
                time.sleep(12 + number * INTERVAL / EVENTS)
                begin = time.time()
                sandbox.fund("ETH", "1000")

                def runs(number: int = number) -> list[dict[str, str]] | None:
                    told = [run for run in api.call("GET", path)["dag_runs"] if run["start_date"]]
                    return told if len(told) >= number else None

                newest = max(run["start_date"] for run in api.wait("the run", runs, 60, process))
                found.append(datetime.fromisoformat(newest).timestamp() - begin)
    finally:
        sandbox.stop()
    return found


def figures(home: Path) -> list[Figure]:
    """Seconds from an event to its run."""
    with tempfile.TemporaryDirectory() as directory:
        found = latencies(Path(directory))
    name = f"from an event on the exchange to the start of its run, asking every {INTERVAL} s"
    return [
        Figure(f"{name}: median of {len(found)}", statistics.median(found), "s"),
        Figure(f"{name}: longest of {len(found)}", max(found), "s"),
    ]


if __name__ == "__main__":
    command(figures)
