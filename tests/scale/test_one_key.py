"""Sixteen processes with one API key and one address call as fast as they can; none sees a rate limit refusal."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from decimal import Decimal

import pytest

from airflow_provider_whitebit.testing import SandboxProcess
from tests.scale.concurrency import arrived, busiest, over_the_limit, run_concurrently

PROCESSES = 16
#: More than the exchange allows in its ten seconds.
CALLS = int(os.environ.get("WHITEBIT_CALLS", "1500"))

READER = """
import sys, time
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
client = WhiteBitHook("whitebit_shared").get_conn()
print("ready", flush=True)
sys.stdin.readline()
begin = time.monotonic()
for _ in range(int(sys.argv[1])):
    client.main_balance()
print(time.monotonic() - begin, 0)
"""

#: A call with a nonce is not sent if the rate limit would delay it for long. The mover retries it, as a task does.
MOVER = """
import sys, time
from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
hook = WhiteBitHook("whitebit_shared")
hook.get_conn().server_time()
print("ready", flush=True)
sys.stdin.readline()
begin, held_back = time.monotonic(), 0
plan, *amounts = sys.argv[1:]
for amount in amounts:
    while True:
        try:
            hook.flex_invest(plan_id=plan, amount=amount)
            break
        except WhiteBitUnavailableError as error:
            if error.money_moved is not False or "was not sent" not in str(error):
                raise
            held_back += 1
print(time.monotonic() - begin, held_back)
"""


@pytest.mark.parametrize(
    ("movers", "moves"),
    [
        pytest.param(4, 1, id="mostly-reading"),
        pytest.param(12, 3, id="mostly-moving"),
    ],
)
def test_no_refusal_reaches_a_process(tmp_path, capsys, movers, moves):
    # A plan for each mover: moves of one plan wait for each other instead of the rate limit.
    plans = [str(uuid.uuid4()) for _ in range(movers)]
    scenario = tmp_path / "scenario.json"
    listed = [{"id": plan, "ticker": "USDT", "minimum": "10", "maximum": "5000", "rate": "0.05"} for plan in plans]
    scenario.write_text(json.dumps({"plans": listed}))
    sandbox = SandboxProcess("--scenario", str(scenario))
    try:
        environment = {
            **os.environ,
            "AIRFLOW_CONN_WHITEBIT_SHARED": sandbox.connection_json,
            "AIRFLOW_HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
        }
        sandbox.fund("USDT", "100000")
        readers = PROCESSES - movers
        amounts = [str(100 + number) for number in range(movers * moves)]
        programs = [(READER, str(CALLS // readers))] * readers
        programs += [(MOVER, plan, *amounts[number::movers]) for number, plan in enumerate(plans)]
        printed = run_concurrently([(program, environment) for program in programs], 60 + CALLS // 5)
        requests = arrived(sandbox)
        statuses = Counter(request["status"] for request in requests)
        seconds, held_back = zip(*(line.split() for line in printed), strict=True)
        figures = {
            "readers": readers,
            "movers": movers,
            "moves of each": moves,
            "seconds": [round(float(taken), 1) for taken in seconds],
            "held back": sum(map(int, held_back)),
            "statuses": statuses,
            "most calls in 10 s": busiest(requests),
        }
        with capsys.disabled():
            print(f"\n  {json.dumps(figures)}")
        assert over_the_limit(requests) == []
        # A move right behind another one claims the same slot in vain, once. Lock nonces leave 1 when divided by 4.
        # On a slow machine, a request may also come too late.
        refused = [request for request in requests if request["status"] not in (200, 201)]
        in_time = [request for request in refused if "more than 5 seconds" not in str(request["refusal"])]
        assert [request for request in in_time if request["nonce"] % 4 != 1] == []
        made = [entry["amount"] for entry in sandbox.ledger()["transactions"] if entry["nonce"]]
        assert sorted(map(Decimal, made)) == sorted(map(Decimal, amounts))
    finally:
        sandbox.stop()
