"""Containers behind one address share its rate limit but no files; the pool's slots keep them below the limit."""

from __future__ import annotations

import json
import os
from collections import Counter
from decimal import Decimal

import pytest

from airflow_provider_whitebit.testing import SandboxProcess
from tests.scale.concurrency import arrived, busiest, limited, over_the_limit, run_concurrently

CONTAINERS = 4
#: Each slot makes one move per second, for longer than the exchange's window of ten seconds.
MOVES = 12
#: The documented number of requests per move.
REQUESTS_OF_A_MOVE = 7

#: A thread is a slot that runs one task after the other: each reads its connection and starts without a cache.
CONTAINER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

def moves(name):
    for number in range(int(sys.argv[1])):
        time.sleep(max(0, begin + number - time.monotonic()))
        while True:
            try:
                WhiteBitHook(f"{name}_{number}").flex_invest(ticker="USDT", amount=100 + number)
                break
            except WhiteBitError as error:
                if error.money_moved is not False:
                    raise

for name in sys.argv[2:]:
    WhiteBitHook(f"{name}_0").get_conn().server_time()
print("ready", flush=True)
sys.stdin.readline()
begin = time.monotonic()
with ThreadPoolExecutor(len(sys.argv)) as slots:
    list(slots.map(moves, sys.argv[2:]))
print(time.monotonic() - begin)
"""


@pytest.mark.parametrize(("slots", "enough"), [(8, False), (32, True)])
def test_the_recommended_pool_stays_below_the_limit_and_one_four_times_as_large_does_not(
    tmp_path, capsys, slots, enough
):
    # A key for each move: moves of one plan with one key would wait for each other and make fewer calls.
    names = [f"slot-{number}" for number in range(slots)]
    keys = [f"{name}-{number}" for name in names for number in range(MOVES)]
    scenario = tmp_path / "scenario.json"
    scenario.write_text(
        json.dumps(
            {
                "keys": [{"api_key": name, "secret": f"secret-of-{name}", "user": name} for name in keys],
                "balances": {name: {"USDT": "100000"} for name in keys},
            }
        )
    )
    sandbox = SandboxProcess("--scenario", str(scenario))
    try:
        connections = {
            f"AIRFLOW_CONN_{name.upper().replace('-', '_')}": json.dumps(
                {
                    "conn_type": "whitebit",
                    "login": name,
                    "password": f"secret-of-{name}",
                    "host": sandbox.url,
                    "extra": {"reconcile_margin": 2},
                }
            )
            for name in keys
        }
        programs = []
        for number in range(CONTAINERS):
            home = tmp_path / f"container-{number}"
            home.mkdir()
            environment = {**os.environ, **connections, "AIRFLOW_HOME": str(home), "TMPDIR": str(home)}
            own = [name.replace("-", "_") for name in names[number::CONTAINERS]]
            programs.append(((CONTAINER, str(MOVES), *own), environment))
        printed = run_concurrently(programs, 180)
        requests, made = arrived(sandbox), sandbox.ledger()["transactions"]
        refused = over_the_limit(requests)
        figures = {
            "slots": slots,
            "containers": CONTAINERS,
            "requests of a move": round(len(limited(requests)) / slots / MOVES, 1),
            "most calls in 10 s": busiest(requests),
            "refused by the limit": len(refused),
            "statuses": Counter(request["status"] for request in requests),
            "seconds": [round(float(line), 1) for line in printed],
        }
        with capsys.disabled():
            print(f"\n  {json.dumps(figures)}")
        assert bool(refused) == enough
        if not enough:
            assert busiest(requests) <= slots * REQUESTS_OF_A_MOVE * 10
        # Every move is made once, even if some calls were refused.
        amounts = Counter(Decimal(entry["amount"]) for entry in made if entry["nonce"])
        assert amounts == {Decimal(100 + number): slots for number in range(MOVES)}
    finally:
        sandbox.stop()
