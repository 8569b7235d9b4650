"""Sixteen processes on one API key and one address, each as fast as it can: no refusal reaches any of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from decimal import Decimal

from airflow_provider_whitebit.testing import SandboxProcess

PROCESSES, MOVERS = 16, 4
#: More than the exchange allows in its ten seconds.
CALLS = int(os.environ.get("WHITEBIT_CALLS", "1500"))

READER = """
import sys, time
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
client = WhiteBitHook("whitebit_shared").get_conn()
sys.stdin.readline()
begin = time.monotonic()
for _ in range(int(sys.argv[1])):
    client.main_balance()
print(time.monotonic() - begin)
"""

MOVER = """
import sys, time
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
hook = WhiteBitHook("whitebit_shared")
hook.get_conn().server_time()
sys.stdin.readline()
begin = time.monotonic()
hook.flex_invest(ticker="USDT", amount=sys.argv[1])
print(time.monotonic() - begin)
"""


def test_no_refusal_reaches_a_process(tmp_path):
    sandbox = SandboxProcess()
    try:
        environment = {
            **os.environ,
            "AIRFLOW_CONN_WHITEBIT_SHARED": sandbox.connection_json,
            "AIRFLOW_HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
        }
        reads = str(CALLS // (PROCESSES - MOVERS))
        programs = [(READER, reads)] * (PROCESSES - MOVERS) + [(MOVER, str(100 + n)) for n in range(MOVERS)]
        running = [
            subprocess.Popen(
                [sys.executable, "-c", source, argument],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for source, argument in programs
        ]
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=30 + CALLS // 5) for process in running]
        assert [process.returncode for process in running] == [0] * PROCESSES, said
        seconds = [round(float(out.splitlines()[-1]), 1) for out, _ in said]
        statuses = Counter(request["status"] for request in sandbox.requests())
        print(json.dumps({"processes": PROCESSES, "seconds": seconds, "statuses": statuses}))
        # None over the rate limit, and no nonce twice.
        assert set(statuses) == {200, 201}
        amounts = sorted(entry["amount"] for entry in sandbox.ledger()["transactions"] if entry["nonce"])
        assert [Decimal(amount) for amount in amounts] == [100 + n for n in range(MOVERS)]
    finally:
        sandbox.stop()
