"""``make bench``: what the package costs, as figures that the README quotes.

Every way of calling takes turns against one loopback server, so that a machine that gets slower gets slower for
all; the figures are medians over the turns, and ratios to a bare ``requests.Session`` with inline HMAC.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
REPO = HERE.parent.parent
sys.path.insert(0, str(REPO / "scripts"))

import peers  # noqa: E402

TURNS, CALLS = 15, 120


def peer_python(name: str) -> Path | None:
    """The interpreter of a peer's own environment; ``None`` where it cannot be made."""
    try:
        return peers.python_of(name)
    except subprocess.CalledProcessError:
        print(f"{name}: could not be installed; left out", flush=True)
        return None


def calls(airflow_home: Path) -> dict[str, float]:
    """Microseconds of one signed call, by way of calling: medians over the turns."""
    server = subprocess.Popen([sys.executable, HERE / "server.py"], stdout=subprocess.PIPE, text=True)
    callers: dict[str, subprocess.Popen[str]] = {}
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        ways = {name: Path(sys.executable) for name in ("bare_session", "quickstart", "bare_urllib3", "hook")}
        ways |= {name: python for name in peers.PACKAGES if (python := peer_python(name))}
        for name, python in ways.items():
            callers[name] = subprocess.Popen(
                [python, HERE / "caller.py", name, port],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(airflow_home), "PYTHONPATH": str(REPO)},
            )
        for name, caller in list(callers.items()):
            while (line := caller.stdout.readline()) and line.strip() != "ready":  # type: ignore[union-attr]
                pass
            if not line:
                print(f"{name}: did not start; left out", flush=True)
                del callers[name]
        times: dict[str, list[float]] = {name: [] for name in callers}
        for _ in range(TURNS):
            for name, caller in callers.items():
                caller.stdin.write(f"{CALLS}\n")  # type: ignore[union-attr]
                caller.stdin.flush()  # type: ignore[union-attr]
                times[name].append(float(caller.stdout.readline()))  # type: ignore[union-attr]
        return {name: statistics.median(turns) for name, turns in times.items()}
    finally:
        for process in (server, *callers.values()):
            process.kill()
            process.wait()


def signing() -> float:
    """Microseconds of one signature of an invest call: the median of many rounds."""
    from airflow_provider_whitebit.client.signing import Credentials, sign

    credentials = Credentials("bench-key", "bench-secret")
    params = {"plan": "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "amount": "1000.5", "withReinvest": True}
    path = "/api/v4/main-account/smart-flex/investments/invest"
    rounds = []
    for _ in range(50):
        begin = time.perf_counter()
        for nonce in range(1_700_000_000_000, 1_700_000_001_000):
            sign(credentials, path, params, nonce=nonce, nonce_window=True)
        rounds.append((time.perf_counter() - begin) / 1000 * 1e6)
    return statistics.median(rounds)


IMPORT = """
import sys, time
import airflow.sdk
from airflow.sdk import BaseOperator, DAG, task, Param
begin = time.perf_counter()
import {module}
print((time.perf_counter() - begin) * 1000)
"""


def importing(airflow_home: Path) -> float:
    """Milliseconds that the operators add to a DAG file that has imported ``airflow.sdk``: the median of 7."""
    source = IMPORT.format(
        module="airflow_provider_whitebit.operators.flex, airflow_provider_whitebit.operators.fixed, "
        "airflow_provider_whitebit.operators.account, airflow_provider_whitebit.operators.treasury, "
        "airflow_provider_whitebit.sensors.whitebit, airflow_provider_whitebit.triggers.events"
    )
    runs = []
    for _ in range(7):
        done = subprocess.run(
            [sys.executable, "-c", source],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(airflow_home), "PYTHONPATH": str(REPO)},
        )
        runs.append(float(done.stdout.strip().splitlines()[-1]))
    return statistics.median(runs)


def move_cost() -> tuple[int, int]:
    """Journal writes and requests of one move in the good case, counted at the journal and at a sandbox."""
    from decimal import Decimal

    from airflow_provider_whitebit.client.api import WhiteBitClient
    from airflow_provider_whitebit.client.signing import Credentials
    from airflow_provider_whitebit.client.transport import Transport
    from airflow_provider_whitebit.moves.drivers import execute_move
    from airflow_provider_whitebit.moves.intent import Move, Operation
    from airflow_provider_whitebit.moves.journal import MemoryJournal, MemoryMarks
    from airflow_provider_whitebit.testing import SandboxProcess

    writes = []

    class Counting(MemoryJournal):
        def write(self, document: dict[str, object]) -> None:
            writes.append(document["state"])
            super().write(document)

    sandbox = SandboxProcess()
    try:
        client = WhiteBitClient(Transport(sandbox.url, Credentials(sandbox.api_key, sandbox.api_secret)))
        client.server_time()
        before = len(sandbox.requests())
        move = Move(Operation.FLEX_INVEST, "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "USDT", Decimal(100))
        execute_move(client, Counting(), requested={}, resolve=lambda: move, marks=MemoryMarks(), account="bench")
        return len(writes), len(sandbox.requests()) - before
    finally:
        sandbox.stop()


def long_history(path: Path, count: int) -> None:
    """Books with so many Flex transactions: a daily earning each, a few in each second."""
    from airflow_provider_whitebit.sandbox.ledger import Ledger

    ledger = Ledger(path)
    now_ms = int(time.time() * 1000)
    plan = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
    rows = (
        (
            now_ms - (count - number) * 300,
            "main:sandbox",
            plan,
            "inv_bench",
            "USDT",
            f"0.{number % 999983:06d}",
            f"tx_{number:08d}-0000-4000-8000-000000000000",
            4,
            None,
        )
        for number in range(count)
    )
    with ledger.transaction():
        ledger.db.executemany(
            "INSERT INTO history (at_ms, account, plan, investment, ticker, amount, transaction_id, action, nonce) "
            "VALUES (?,?,?,?,?,?,?,?,?)",
            rows,
        )
    ledger.close()


def exporting(count: int) -> dict[str, dict[str, float]]:
    """Records, seconds and added megabytes of an export out of a sandbox, by format."""
    from airflow_provider_whitebit.testing import SandboxProcess

    with tempfile.TemporaryDirectory() as folder:
        long_history(Path(folder) / "books.db", count)
        sandbox = SandboxProcess("--db", str(Path(folder) / "books.db"), "--no-rate-limits")
        try:
            done = subprocess.run(
                [sys.executable, HERE / "export.py", sandbox.url, folder, "jsonl", "parquet"],
                capture_output=True,
                text=True,
                check=True,
            )
        finally:
            sandbox.stop()
    told: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return told


def waiting() -> dict[int, dict[str, float]]:
    """Requests, CPU seconds and memory of so many waiting sensors on one connection, in one event loop."""
    from airflow_provider_whitebit.testing import SandboxProcess

    seconds, interval = 30, 5
    sandbox = SandboxProcess()
    try:
        told = {}
        for number in (1, 100, 10_000):
            before = len(sandbox.requests())
            done = subprocess.run(
                [sys.executable, HERE / "waiting.py", str(number), str(seconds), str(interval)],
                capture_output=True,
                text=True,
                check=True,
                env={"PATH": "/usr/bin:/bin", "AIRFLOW_CONN_WHITEBIT_BENCH": sandbox.connection_json},
            )
            paths = [request["path"] for request in sandbox.requests()[before:]]
            asked = sum(path.endswith("/main-account/balance") for path in paths)
            told[number] = {"requests": asked, **json.loads(done.stdout.splitlines()[-1])}
        return told
    finally:
        sandbox.stop()


def latency() -> dict[str, object]:
    """Seconds from an event on the exchange to the start of its run, and the poll interval."""
    done = subprocess.run([sys.executable, HERE / "latency.py"], capture_output=True, text=True, check=True)
    told: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=REPO / ".bench", help="where its files are kept")
    parser.add_argument("--records", type=int, default=1_000_000, help="how long a history is exported")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    options.home.mkdir(parents=True, exist_ok=True)
    airflow_home = options.home / "airflow"
    figures = calls(airflow_home)
    bare = figures["bare_session"]
    print(f"\nOne signed call on loopback, median of {TURNS} turns of {CALLS} calls")
    print(f"  {'way':<34}{'us':>8}{'ratio':>8}")
    names = {
        "bare_session": "bare requests.Session, inline HMAC",
        "quickstart": "vendor quickstart: requests.post",
        "sdk": "whitebit-python-sdk",
        "ccxt": "ccxt",
        "bare_urllib3": "bare urllib3, inline HMAC",
        "hook": "this package: the hook's client",
    }
    for name, text in names.items():
        if name in figures:
            print(f"  {text:<34}{figures[name]:>8.0f}{figures[name] / bare:>8.2f}")
    figures["signing"] = signing()
    print(f"Signing alone: {figures['signing']:.1f} us")
    figures["import_ms"] = importing(airflow_home)
    print(f"Operators' import, over airflow.sdk: {figures['import_ms']:.1f} ms")
    figures["journal_writes"], figures["requests"] = move_cost()
    print(f"A move: {figures['journal_writes']} journal writes, {figures['requests']} requests (a bare call: 0 and 1)")
    exported = exporting(options.records)
    for form, told in exported.items():
        print(
            f"Export of {told['count']} records to {form}: {told['seconds']:.0f} s, "
            f"{told['count'] / told['seconds']:.0f} records/s, {told['added_mb']:.0f} MB of memory added"
        )
        figures |= {f"export_{form}_{name}": value for name, value in told.items()}
    waited = waiting()
    for number, told in waited.items():
        print(
            f"{number} sensors that wait 30 s, one question every 5 s: {told['requests']:.0f} requests, "
            f"{told['cpu']:.2f} s of CPU, {told['memory_mb']:.0f} MB"
        )
        figures |= {f"waiting_{number}_{name}": value for name, value in told.items()}
    done = subprocess.run([sys.executable, HERE / "backtest.py"], capture_output=True, text=True, check=True)
    year = json.loads(done.stdout.splitlines()[-1])
    print(
        f"A year of hourly rebalancing of {year['tickers']} assets on virtual time: {year['seconds']:.1f} s, "
        f"{year['moves']} moves"
    )
    figures["backtest_seconds"] = year["seconds"]
    started = latency()
    longest, middle = max(started["latencies"]), statistics.median(started["latencies"])  # type: ignore[call-overload, type-var]
    print(
        f"From an event on the exchange to the start of its run, asking every {started['interval']} s: "
        f"median {middle:.1f} s, longest {longest:.1f} s of {len(started['latencies'])}"  # type: ignore[arg-type]
    )
    figures |= {"latency_median": middle, "latency_longest": longest}  # type: ignore[dict-item]
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
