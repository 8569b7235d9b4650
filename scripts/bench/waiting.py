"""Lets many deferred sensors wait at a sandbox in one event loop, as a triggerer does, and says what that takes."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from decimal import Decimal

from airflow_provider_whitebit.treasury.conditions import BalanceCondition
from airflow_provider_whitebit.triggers.watch import WhiteBitConditionTrigger


async def wait(number: int, seconds: float, interval: float) -> float:
    """CPU seconds of so many triggers that wait so long, each for another amount; making them is not counted."""

    async def one(amount: int) -> None:
        condition = BalanceCondition("main", "USDT", at_least=Decimal(10**9 + amount)).to_json()
        async for event in WhiteBitConditionTrigger("whitebit_bench", condition, interval).run():
            raise RuntimeError(f"nobody has that much: {event}")

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


def main() -> None:
    number, seconds, interval = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    cpu = asyncio.run(wait(number, seconds, interval))
    print(json.dumps({"cpu": cpu, "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
