"""Calls of four machines on one key, if the exchange refuses used nonces with HTTP 429, and if it does with 422.

Machines share no files, so some of their nonces are equal. A refused nonce is no rate limit: it must not hold a
machine back. Both kinds take turns. All readers of a key share 500 nonces a second. A burst of four machines can use up
more, so a call fails now and then although it was repeated.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from figure import REPO, Figure, clean_environment, command

sys.path.insert(0, str(REPO))

from airflow_provider_whitebit.testing import SandboxProcess
from tests.scale.concurrency import run_concurrently

MACHINES, SECONDS, TURNS = 4, 20, 3
#: Least calls with 429, against those with 422.
GOAL = 0.9
READER = """
import sys, time
from airflow_provider_whitebit.client.errors import WhiteBitNonceError
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

client = WhiteBitHook("whitebit_bench").get_conn()
client.main_balance()
print("ready", flush=True)
sys.stdin.readline()
end, calls, failed = time.monotonic() + int(sys.argv[1]), 0, 0
while time.monotonic() < end:
    try:
        client.main_balance()
        calls += 1
    except WhiteBitNonceError:
        failed += 1
print(calls, failed)
"""


def calls_of_all(*quirks: str) -> tuple[int, int, float]:
    """Calls that were answered and that failed, and the share of the last 10,000 requests that were refused."""
    sandbox = SandboxProcess("--no-rate-limits", *quirks)
    try:
        with tempfile.TemporaryDirectory() as folder:
            programs = []
            for number in range(MACHINES):
                home = Path(folder, str(number))
                home.mkdir()
                environment = clean_environment(
                    home, TMPDIR=str(home), AIRFLOW_CONN_WHITEBIT_BENCH=sandbox.connection_json
                )
                programs.append(((READER, str(SECONDS)), environment))
            printed = [map(int, line.split()) for line in run_concurrently(programs, 10 * SECONDS)]
        statuses = [request["status"] for request in sandbox.requests()]
        calls, failed = map(sum, zip(*printed, strict=True))
        return calls, failed, sum(status != 200 for status in statuses) / len(statuses)
    finally:
        sandbox.stop()


def figures(home: Path) -> list[Figure]:
    """Calls with each status, failed ones, the share of refused requests, and the ratio in the same turn: medians."""
    kinds = {"429": (), "422": ("--quirks", "nonces_422")}
    turns = [{status: calls_of_all(*quirks) for status, quirks in kinds.items()} for _ in range(TURNS)]
    found = []
    name = f"{MACHINES} machines on one key for {SECONDS} s, refused nonces with HTTP"
    for status in kinds:
        values = zip(*(turn[status] for turn in turns), strict=True)
        calls, failed, refused = map(statistics.median, values)
        found.append(Figure(f"{name} {status}: calls", calls, "calls", better="higher"))
        found.append(Figure(f"{name} {status}: failed", failed, "calls"))
        found.append(Figure(f"{name} {status}: refused", refused, "of all calls"))
    ratio = statistics.median(turn["429"][0] / turn["422"][0] for turn in turns)
    return [*found, Figure(f"{name} 429 against 422", ratio, "ratio", better="higher", goal=GOAL)]


if __name__ == "__main__":
    command(figures)
