"""Many deferred sensors that wait at a sandbox in one event loop, as in a triggerer, and what that takes."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from decimal import Decimal
from pathlib import Path

from figure import Figure, child, command

from airflow_provider_whitebit.testing import SandboxProcess
from airflow_provider_whitebit.treasury.conditions import BalanceCondition
from airflow_provider_whitebit.triggers.watch import WhiteBitConditionTrigger

SENSORS = (1, 10, 100, 1_000, 10_000)
SECONDS, INTERVAL = 30, 5
#: Most requests of many sensors against those of one: one more, if the last question comes at the end.
GOAL = 1.2


async def wait(number: int, seconds: float, interval: float) -> float:
    """CPU seconds of this many triggers that wait, each for another amount, without their creation."""

    async def one(amount: int) -> None:
        condition = BalanceCondition("main", "USDT", at_least=Decimal(10**9 + amount)).to_json()
        async for event in WhiteBitConditionTrigger("whitebit_bench", condition, interval).run():
            raise RuntimeError(f"no balance is that large: {event}")

    tasks = [asyncio.create_task(one(amount)) for amount in range(number)]
    await asyncio.sleep(interval / 2)
    begin = time.process_time()
    await asyncio.sleep(seconds)
    taken = time.process_time() - begin
    for task in tasks:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    for error in done:
        if not isinstance(error, asyncio.CancelledError):
            raise error
    return taken


def figures(home: Path) -> list[Figure]:
    """Requests, CPU seconds and memory of a process."""
    found = []
    sandbox = SandboxProcess()
    try:
        for number in SENSORS:
            before = len(sandbox.requests())
            result = child("waiting.py", number, home=home, AIRFLOW_CONN_WHITEBIT_BENCH=sandbox.connection_json)
            paths = [request["path"] for request in sandbox.requests()[before:]]
            requests = sum(path.endswith("/main-account/balance") for path in paths)
            name = f"sensors that wait {SECONDS} s, one question every {INTERVAL} s"
            alone = found[0].value if found else requests
            found.append(Figure(f"{name}: requests", requests, "requests", number, "sensors"))
            against = f"{name}: requests against those of one sensor"
            found.append(Figure(against, requests / alone, "ratio", number, "sensors", goal=GOAL))
            found.append(Figure(f"{name}: CPU", result["cpu"] / number * 1000, "ms/sensor", number, "sensors"))
            found.append(Figure(f"{name}: memory of the process", result["memory_mb"], "MB", number, "sensors"))
    finally:
        sandbox.stop()
    return found


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].isdecimal():
        cpu = asyncio.run(wait(int(sys.argv[1]), SECONDS, INTERVAL))
        print(json.dumps({"cpu": cpu, "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
    else:
        command(figures)
