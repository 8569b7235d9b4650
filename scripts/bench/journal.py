"""How long writing and reading a move's journal takes in a task.

A task of ``airflow dags test`` does it: the Variables are Airflow's own, in its SQLite, behind its API in this process.
A scheduler's task speaks to that API over HTTP, and a production database answers in its own time.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from figure import Figure, command
from local_airflow import BIN, environment

#: Sendings of one move, which the document lists.
ATTEMPTS = (1, 10, 100)
ROUNDS = 30
DAG = f"""
import json, os, statistics, time
from decimal import Decimal
from airflow.sdk import DAG, task

with DAG("bench_journal", schedule=None):

    @task
    def measure():
        from airflow_provider_whitebit.hooks.journals import TaskJournals
        from airflow_provider_whitebit.moves.history import MoveHistory
        from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation

        journal = TaskJournals(("bench", "run", "measure", "-1")).journal("bench")
        move = Move(Operation.FLEX_INVEST, "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "USDT", Decimal(1))
        results = []

        def took(work):
            begin = time.perf_counter()
            work()
            return (time.perf_counter() - begin) * 1000

        for attempts in {ATTEMPTS}:
            intent = Intent(id="bench", account="bench", requested={{}}, generation="", move=move, created_at=1)
            for number in range(attempts):
                intent = intent.trying(Attempt(1_760_000_000_000 + number, 1_760_000_000)).last_refused()
            document = MoveHistory().with_intent(intent).to_json()
            journal.write(document)
            writes = [took(lambda: journal.write(document)) for _ in range({ROUNDS})]
            reads = [took(journal.read) for _ in range({ROUNDS})]
            results.append([attempts, statistics.median(writes), statistics.median(reads)])
        with open(os.environ["BENCH_RESULTS"], "w") as file:
            json.dump(results, file)

    measure()
"""


def figures(home: Path) -> list[Figure]:
    """Milliseconds of one write and one read, by length of the document."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        (folder / "dags").mkdir()
        (folder / "dags" / "bench_journal.py").write_text(DAG)
        env = environment(folder, "{}", dags=folder / "dags") | {"BENCH_RESULTS": str(folder / "results.json")}
        env["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"
        for arguments in (["db", "migrate"], ["dags", "test", "bench_journal"]):
            subprocess.run([BIN / "airflow", *arguments], env=env, capture_output=True, check=True, timeout=300)
        results = json.loads((folder / "results.json").read_text())
    found = []
    for attempts, write, read in results:
        found.append(Figure("journal, write", write, "ms", attempts, "attempts"))
        found.append(Figure("journal, read", read, "ms", attempts, "attempts"))
    return found


if __name__ == "__main__":
    command(figures)
