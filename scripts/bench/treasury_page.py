"""How long the data of the Treasury page takes for a large account, against the reads that it needs.

The sandbox runs in a process of its own, on loopback, without rate limits. The reads are the same lists, read to their
end by the same client; the rest is what the page makes of them.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from figure import Figure, command

from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.calls import MoveCall, fixed_invest_call, flex_close_call, flex_invest_call
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import Transport
from airflow_provider_whitebit.testing import SandboxProcess

TICKERS = ("USDT", "USDC", "BTC", "ETH", "SOL")
#: Flex investments that are open; as many closed ones, and twice as many Fixed ones: 500. Each open one is paid daily.
OPEN, DAYS = 125, 80
#: A turn takes 250 calls. The pause after it, in seconds, keeps them below the limit of the rate: 1,000 in 10 s.
TURNS, PAUSE = 7, 3.5
#: Most time of the page in units of the reads.
GOAL = 2.0
FLEX, FIXED = "{:08d}-0000-4000-8000-000000000001", "{:08d}-0000-4000-8000-000000000002"


def scenario() -> dict[str, object]:
    """Plans for that many investments, and money for them."""
    limits = {"minimum": "1", "maximum": "1000000"}
    flex = [{"id": FLEX.format(number), "ticker": _ticker(number), "rate": "0.1", **limits} for number in range(OPEN)]
    fixed = [
        {"id": FIXED.format(number), "ticker": ticker, "percent": "5", "duration": 525_600, "several": True, **limits}
        for number, ticker in enumerate(TICKERS)
    ]
    return {
        "plans": flex,
        "fixed_plans": fixed,
        "balances": {"sandbox": dict.fromkeys(TICKERS, "1000000")},
    }


def _ticker(number: int) -> str:
    return TICKERS[number % len(TICKERS)]


def invest(sandbox: SandboxProcess) -> None:
    """Make the investments, and let their earnings come."""
    client = MovingClient(Transport(sandbox.url, Credentials(sandbox.api_key, sandbox.api_secret)))

    def send(*calls: MoveCall) -> None:
        for call in calls:
            client.send_move(call, nonce=client.clock.next_nonce(window=True))

    client.server_time()
    open_all = [flex_invest_call(FLEX.format(number), Decimal(10)) for number in range(OPEN)]
    send(*open_all)
    send(*(fixed_invest_call(FIXED.format(number % len(TICKERS)), Decimal(1)) for number in range(2 * OPEN)))
    sandbox.advance(DAYS * 86_400)
    client.server_time()
    send(*(flex_close_call(FLEX.format(number)) for number in range(OPEN)), *open_all)


def figures(home: Path) -> list[Figure]:
    """Seconds of the page's data, and how many times as long as its reads it takes."""
    from airflow_provider_whitebit.plugins import treasury_data

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.json"
        path.write_text(json.dumps(scenario()))
        sandbox = SandboxProcess("--no-rate-limits", "--scenario", str(path))
        try:
            invest(sandbox)
            os.environ["AIRFLOW_CONN_BENCH"] = sandbox.connection_json
            ratios, seconds = [], []
            # The first turns load modules, and let the sandbox skip through all offsets once.
            for turn in range(TURNS + 2):
                # A client like the page's own: it does not wait for the rate limit.
                _, client = treasury_data.open_account("bench")
                begin = time.perf_counter()
                snapshot = treasury_data.load_snapshot(client, begin + 600, time.perf_counter)
                reads = time.perf_counter() - begin
                client.close()
                begin = time.perf_counter()
                shown = treasury_data.load_account("bench").shown
                json.dumps(shown)
                page = time.perf_counter() - begin
                time.sleep(PAUSE)
                if turn > 1:
                    ratios.append(page / reads)
                    seconds.append(page)
            paid = sum(map(len, (snapshot.payments or {}).values()))
            if shown["problems"] or paid < OPEN * DAYS:
                raise RuntimeError(f"the account is not whole: {paid} payments, {shown['problems']}")
        finally:
            sandbox.stop()
    load = f"Treasury page, {paid:,} payments and {4 * OPEN} investments"
    return [
        Figure(f"{load}: all of its data", statistics.median(seconds), "s"),
        Figure(f"{load}: against the reads that it needs", statistics.median(ratios), "ratio", goal=GOAL),
    ]


if __name__ == "__main__":
    command(figures)
