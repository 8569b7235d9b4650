"""``make demo``: Airflow invests and withdraws on a sandbox exchange; the receipts are compared with its ledger."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from local_airflow import BIN, REPO, end_group, environment, migrate, run_script, xcoms

from airflow_provider_whitebit.testing import SandboxProcess

DAG = "whitebit_flex_lifecycle"
STEPS = {
    "balance_before": "Balance before",
    "plans": "Plans found",
    "invest": "Invested",
    "status": "Status",
    "withdraw": "Withdrawn",
    "balance_after": "Balance after",
}


def main() -> int:
    home = REPO / ".airflow" / "demo"
    home.mkdir(parents=True, exist_ok=True)
    log_file = home / "demo.log"
    print("Starting a sandbox exchange ...", flush=True)
    try:
        sandbox = SandboxProcess()
    except RuntimeError as error:
        return fail(str(error), None)
    try:
        print(f"  {sandbox.url} (made-up money, loopback only)", flush=True)
        return run(home, log_file, sandbox)
    except subprocess.CalledProcessError as error:
        return fail(f"{Path(str(error.cmd[0])).name} {error.cmd[1]} ended with status {error.returncode}", log_file)
    finally:
        sandbox.stop()


def run(home: Path, log_file: Path, sandbox: SandboxProcess) -> int:
    env = environment(home, sandbox.connection_json, dags=REPO / "dags_examples")
    with log_file.open("w") as log:
        if not (home / "migrated").exists():
            with Waiting("Creating Airflow's database"):
                migrate(env, log)
            (home / "migrated").touch()
        print(f"Running the DAG {DAG} in Airflow ...", flush=True)
        status = run_dag(env, log)
    if status != 0:
        return fail(f"the DAG run failed (status {status})", log_file)
    results = xcoms(home, DAG)
    if missing := [task for task in STEPS if task not in results]:
        return fail(f"these tasks returned nothing: {', '.join(missing)}", log_file)
    print("\nWhat the tasks returned")
    for task, title in STEPS.items():
        print(f"  {title:<16}{in_words(task, results[task])}")
    return check(results, sandbox)


def run_dag(env: dict[str, str], log: Any) -> int:
    """Run ``airflow dags test`` and print which task it runs."""
    process = subprocess.Popen(
        [BIN / "airflow", "dags", "test", DAG],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    begin = time.monotonic()
    failed = False
    try:
        for line in process.stdout:
            log.write(line)
            if started := re.search(r"DAG TEST\] starting task_id=(\w+)", line):
                print(f"  {time.monotonic() - begin:4.0f} s  {started[1]}", flush=True)
            # Airflow would wait for the retry of a task, but the demo should report a failure at once.
            if "up_for_retry" in line or "DagRun failed" in line:
                failed = True
                break
        return 1 if failed else process.wait()
    finally:
        if process.poll() is None:
            end_group(process)


def in_words(task: str, result: Any) -> str:
    """Return one line about the value that a task has returned."""
    match task:
        case "plans":
            return ", ".join(f"{plan['id'][:8]}… at {plan['max_rate']}" for plan in result)
        case "invest" | "withdraw":
            return f"{result['amount']} {result['ticker']}, transaction {result['transaction_id']}"
        case "status":
            return ", ".join(f"{entry['invested']} {entry['currency']} in {entry['plan_id'][:8]}…" for entry in result)
        case _:
            return ", ".join(f"{amount} {ticker}" for ticker, amount in result.items())


def check(results: dict[str, Any], sandbox: SandboxProcess) -> int:
    """Compare the receipts with the exchange's ledger."""
    ledger = sandbox.ledger()
    receipts = [results["invest"]["transaction_id"], results["withdraw"]["transaction_id"]]
    moves = [entry["transaction_id"] for entry in ledger["transactions"] if entry["nonce"] is not None]
    same = moves == receipts and ledger["balanced"]
    print("\nThe exchange's ledger")
    print(f"  {len(moves)} moves, {'the same as' if same else 'NOT the same as'} the receipts; ", end="")
    print("the ledger balances" if ledger["balanced"] else "the ledger does NOT balance")
    return 0 if same else 1


class Waiting:
    """Prints what the demo waits for, and every ten seconds that it still waits."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = threading.Event()

    def __enter__(self) -> None:
        print(f"{self._what} ...", flush=True)
        threading.Thread(target=self._repeat, daemon=True).start()

    def _repeat(self) -> None:
        while not self._done.wait(10):
            print("  please wait ...", flush=True)

    def __exit__(self, *_: object) -> None:
        self._done.set()


def fail(what: str, log: Path | None) -> int:
    """Print one line about a failure."""
    where = f"; the log is {os.path.relpath(log)}" if log else ""
    print(f"The demo failed: {what}{where}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    run_script(main)
