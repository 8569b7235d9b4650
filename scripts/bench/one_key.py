"""Processes that sign with one API key as fast as they can, through the hook's client, its shared limiter and nonces.

``one_key.py CALLS LIMITED`` is one of these processes. Both the rate and the refusals are read from the sandbox's own
list of requests, so a refusal after which the client tried again counts too.

Under the limiter the first seconds, in which the whole limit is still free, are not counted. Without a limit, on the
sandbox's side and on the client's, all processes together make a fixed number of calls. That rate depends on the
sandbox's speed as much as on theirs, because they share the machine. There is no load of 100 processes: it would
measure the memory of the machine.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from figure import Figure, clean_environment, command

from airflow_provider_whitebit.testing import SandboxProcess

PROCESSES = (1, 4, 16)
#: Seconds that are not counted, and seconds that are. The vendor's window is 10 s, so calls come in a burst every
#: 10 s. Both ends are between two bursts.
FIRST, COUNTED = 5, 10
#: Calls of all together without a limit. Nonces of reading calls are even milliseconds, at most 5 s ahead of the clock:
#: 500 calls/s can go on without end, and 2,500 can be made at once.
CALLS, ROUNDS, BETWEEN = 2_000, 3, 5
ENDLESS = 10**9
#: Percent of the vendor's limits: 2,000 calls in a second.
ENOUGH = 2_000
REFUSALS = {422: "refused by nonce", 429: "refused by rate limit"}


def call(calls: int, limited: bool) -> None:
    """Make this many calls for each line of standard input."""
    if not limited:
        from caller import raise_limits

        raise_limits(share=ENOUGH)
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

    client = WhiteBitHook("whitebit_bench").get_conn()
    client.main_balance()
    print("ready", flush=True)
    for _ in sys.stdin:
        for _ in range(calls):
            client.main_balance()
        print("ready", flush=True)


class Process:
    """A process that makes calls with the key."""

    def __init__(self, calls: int, limited: bool, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(calls), str(int(limited))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def wait_until_ready(self) -> None:
        """Wait for its first call, or for the calls of a release. :raises RuntimeError: if they failed."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.strip() == "ready":
                return
        raise RuntimeError("an error reached a process")

    def release(self) -> None:
        """Let it make its calls."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def is_running(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def under_the_limit(running: list[Process], sandbox: SandboxProcess) -> tuple[float, Counter[int]]:
    """Calls answered in a second once the limit is used up, and how often each status was answered."""
    before = len(sandbox.requests())
    for process in running:
        process.release()
    time.sleep(FIRST + COUNTED + 1)
    if not all([process.is_running() for process in running]):
        raise RuntimeError("an error reached a process")
    requests = sandbox.requests()[before:]
    moments = [request["at_ms"] / 1000 for request in requests if request["status"] == 200]
    begin = moments[0] + FIRST
    counted = sum(begin <= moment < begin + COUNTED for moment in moments)
    return counted / COUNTED, Counter(request["status"] for request in requests)


def without_a_limit(running: list[Process], sandbox: SandboxProcess) -> tuple[float, Counter[int]]:
    """Calls answered in a second while all call, the median of some rounds, and how often each status was answered."""
    rates, statuses = [], Counter[int]()
    for _ in range(ROUNDS):
        # The clock must catch up with the nonces.
        time.sleep(BETWEEN)
        before = len(sandbox.requests())
        for process in running:
            process.release()
        for process in running:
            process.wait_until_ready()
        requests = sandbox.requests()[before:]
        statuses.update(request["status"] for request in requests)
        moments = [request["at_ms"] / 1000 for request in requests if request["status"] == 200]
        rates.append((len(moments) - 1) / (moments[-1] - moments[0]))
    return statistics.median(rates), statuses


def measured(processes: int, *, limited: bool) -> tuple[float, Counter[int]]:
    """Calls in a second of this many processes, and the statuses, on a sandbox of their own."""
    with tempfile.TemporaryDirectory() as folder:
        sandbox = SandboxProcess(*(() if limited else ("--no-rate-limits",)))
        running: list[Process] = []
        try:
            environment = clean_environment(
                Path(folder), TMPDIR=folder, AIRFLOW_CONN_WHITEBIT_BENCH=sandbox.connection_json
            )
            calls = ENDLESS if limited else CALLS // processes
            running = [Process(calls, limited, environment) for _ in range(processes)]
            for process in running:
                process.wait_until_ready()
            return (under_the_limit if limited else without_a_limit)(running, sandbox)
        finally:
            for process in running:
                process.end()
            sandbox.stop()


def figures(home: Path) -> list[Figure]:
    """Calls in a second of all processes together, and how many were refused."""
    found = []
    for limited, where in ((True, "under the vendor's limit"), (False, "without a limit")):
        for processes in PROCESSES:
            rate, statuses = measured(processes, limited=limited)
            if unknown := statuses.keys() - {200, *REFUSALS}:
                raise RuntimeError(f"unexpected answers: {unknown}")
            name = f"processes on one key, {where}"
            found.append(Figure(f"{name}: calls of all together", rate, "calls/s", processes, "processes", "higher"))
            for status, refused in REFUSALS.items():
                # Without a limit, nothing can be refused by it.
                if limited or status != 429:
                    share = statuses[status] / statuses.total()
                    found.append(Figure(f"{name}: {refused}", share, "of all calls", processes, "processes", goal=0))
    return found


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1].isdecimal():
        call(int(sys.argv[1]), sys.argv[2] == "1")
    else:
        command(figures)
