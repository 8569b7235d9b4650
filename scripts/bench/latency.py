"""How long it takes from an event on the exchange to the start of its run, on a real Airflow.

Its one triggerer runs up to 100 triggers. All but one of them wait for a balance that is never reached.
"""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from figure import Figure, command
from local_airflow import BIN, Api, environment, free_port, process_group

from airflow_provider_whitebit.testing import SandboxProcess

INTERVAL, EVENTS = 5, 4
TRIGGERS = (1, 10, 100)
#: Seconds in which a trigger starts no second run.
SPACING = 12
DAG = f"""
from airflow.sdk import DAG, Asset, AssetAny, AssetWatcher, task
from airflow_provider_whitebit.triggers.events import WhiteBitBalanceTrigger

def watched(name, at_least):
    trigger = WhiteBitBalanceTrigger(ticker="ETH", at_least=str(at_least), poke_interval={INTERVAL})
    return Asset(name, watchers=[AssetWatcher(name=name, trigger=trigger)])

with DAG("bench_latency", schedule=[watched("bench_rich", 1000)]):
    @task
    def nothing():
        pass
    nothing()

others = [watched(f"bench_{{number}}", 10**9 + number) for number in range(1, %d)]
if others:
    with DAG("bench_others", schedule=AssetAny(*others)):
        nothing()
"""


def latencies(folder: Path, triggers: int) -> list[float]:
    """Seconds from each deposit on the exchange to the start of its run, with this many triggers in all."""
    (folder / "dags").mkdir()
    (folder / "dags" / "bench_latency.py").write_text(DAG % triggers)
    port, sandbox = free_port(), SandboxProcess()
    env = environment(folder, sandbox.connection_json, dags=folder / "dags", port=port)
    path = "/api/v2/dags/bench_latency/dagRuns?limit=100"
    found = []
    try:
        with (folder / "log").open("w") as log, process_group([BIN / "airflow", "standalone"], env, log) as process:
            api = Api(port)
            api.wait("a healthy Airflow", api.healthy, 180, process)
            api.wait("the DAG", lambda: api.call("GET", path), 90, process)
            api.wait("the triggers", lambda: running_triggers(folder) == triggers, 180, process)
            api.wait("the first question", sandbox.requests, 90, process)
            for number in range(1, EVENTS + 1):
                time.sleep(SPACING + number * INTERVAL / EVENTS)
                begin = time.time()
                sandbox.fund("ETH", "1000")

                def runs(number: int = number) -> list[dict[str, str]] | None:
                    started = [run for run in api.call("GET", path)["dag_runs"] if run["start_date"]]
                    return started if len(started) >= number else None

                newest = max(run["start_date"] for run in api.wait("the run", runs, 60, process))
                found.append(datetime.fromisoformat(newest).timestamp() - begin)
    finally:
        sandbox.stop()
    return found


def running_triggers(folder: Path) -> int:
    """How many triggers the triggerer runs."""
    with contextlib.closing(sqlite3.connect(f"file:{folder / 'airflow.db'}?mode=ro", uri=True)) as db:
        count: int = db.execute('SELECT count(*) FROM "trigger" WHERE triggerer_id IS NOT NULL').fetchone()[0]
        return count


def figures(home: Path) -> list[Figure]:
    """Seconds from an event to its run."""
    name, figures = f"from an event on the exchange to the start of its run, asking every {INTERVAL} s", []
    for triggers in TRIGGERS:
        with tempfile.TemporaryDirectory() as directory:
            found = latencies(Path(directory), triggers)
        for what, seconds in (("median", statistics.median(found)), ("longest", max(found))):
            figures.append(Figure(f"{name}: {what} of {EVENTS}", seconds, "s", triggers, "triggers"))
    return figures


if __name__ == "__main__":
    command(figures)
