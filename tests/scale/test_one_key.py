"""Sixteen processes on one API key and one address, each as fast as it can: no refusal reaches any of them."""

from __future__ import annotations

import json
import os
from collections import Counter
from decimal import Decimal

import pytest

from airflow_provider_whitebit.testing import SandboxProcess
from tests.scale.together import arrived, busiest, over_the_limit, run_together

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

#: A call with a nonce of its own that would be held back for long is not sent: as a task does, it is tried again.
MOVER = """
import sys, time
from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
hook = WhiteBitHook("whitebit_shared")
hook.get_conn().server_time()
print("ready", flush=True)
sys.stdin.readline()
begin, held_back = time.monotonic(), 0
for amount in sys.argv[1:]:
    while True:
        try:
            hook.flex_invest(ticker="USDT", amount=amount)
            break
        except WhiteBitUnavailableError as error:
            if error.money_moved is not False or "Held back here" not in str(error):
                raise
            held_back += 1
print(time.monotonic() - begin, held_back)
"""


@pytest.mark.parametrize(
    ("movers", "moves"),
    [
        pytest.param(4, 1, id="mostly-reading"),
        # Of different amounts, or they would wait for each other and not for the limit.
        pytest.param(12, 10, id="mostly-moving"),
    ],
)
def test_no_refusal_reaches_a_process(tmp_path, capsys, movers, moves):
    sandbox = SandboxProcess()
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
        programs += [(MOVER, *amounts[number::movers]) for number in range(movers)]
        said = run_together([(program, environment) for program in programs], 60 + CALLS // 5)
        requests = arrived(sandbox)
        statuses = Counter(request["status"] for request in requests)
        seconds, held_back = zip(*(line.split() for line in said), strict=True)
        told = {
            "readers": readers,
            "movers": movers,
            "moves of each": moves,
            "seconds": [round(float(taken), 1) for taken in seconds],
            "held back": sum(map(int, held_back)),
            "statuses": statuses,
            "most calls in 10 s": busiest(requests),
        }
        with capsys.disabled():
            print(f"\n  {json.dumps(told)}")
        assert over_the_limit(requests) == []
        # A nonce of a turn that somebody else has used is how movers keep out of each other's way: they leave 1 when
        # divided by 4. No other is used twice.
        refused = [request for request in requests if request["status"] not in (200, 201)]
        assert [request for request in refused if moves == 1 or request["nonce"] % 4 != 1] == []
        made = [entry["amount"] for entry in sandbox.ledger()["transactions"] if entry["nonce"]]
        assert sorted(map(Decimal, made)) == sorted(map(Decimal, amounts))
    finally:
        sandbox.stop()
