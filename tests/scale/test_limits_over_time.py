"""Sixteen processes in two groups that share no memory: by the exchange's ledger, no limit over time is exceeded."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from decimal import Decimal

import pytest

from airflow_provider_whitebit.testing import SandboxProcess
from tests.scale.concurrency import run_concurrently

PROCESSES, PLANS = 16, 4
AMOUNT = Decimal(100)

#: A process outside a task knows nothing of the others but what the exchange shows it.
MOVER = """
import sys
from airflow_provider_whitebit.client.errors import WhiteBitLimitError, WhiteBitUnavailableError
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
hook = WhiteBitHook("whitebit_shared")
hook.get_conn().server_time()
print("ready", flush=True)
sys.stdin.readline()
plan, amount = sys.argv[1:]
while True:
    try:
        hook.flex_invest(plan_id=plan, amount=amount)
        print("made")
        break
    except WhiteBitLimitError as error:
        if "would exceed its max_" not in error.message:
            raise
        print("refused")
        break
    except WhiteBitUnavailableError as error:
        if error.money_moved is not False:
            raise
"""


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"max_per_day": {"USDT": "650"}}, id="amount"),
        pytest.param({"max_moves_per_hour": 6}, id="number"),
    ],
)
def test_no_process_exceeds_a_limit(tmp_path, capsys, limits):
    plans = [str(uuid.uuid4()) for _ in range(PLANS)]
    scenario = tmp_path / "scenario.json"
    listed = [{"id": plan, "ticker": "USDT", "minimum": "10", "maximum": "5000", "rate": "0.05"} for plan in plans]
    scenario.write_text(json.dumps({"plans": listed}))
    sandbox = SandboxProcess("--scenario", str(scenario))
    try:
        sandbox.fund("USDT", "100000")
        connection = json.loads(sandbox.connection_json)
        connection["extra"] = {**connection.get("extra", {}), **limits}
        groups = []
        for name in ("one", "two"):
            own = tmp_path / name
            own.mkdir()
            places = dict.fromkeys(("TMPDIR", "XDG_RUNTIME_DIR", "AIRFLOW_HOME"), str(own))
            groups.append({**os.environ, **places, "AIRFLOW_CONN_WHITEBIT_SHARED": json.dumps(connection)})
        programs = [
            ((MOVER, plans[number % PLANS], str(AMOUNT)), groups[number // (PROCESSES // 2)])
            for number in range(PROCESSES)
        ]
        # Each waits for its turn, and each turn takes eight seconds.
        ends = Counter(run_concurrently(programs, 600))
        made = [Decimal(entry["amount"]) for entry in sandbox.ledger()["transactions"] if entry["nonce"]]
        with capsys.disabled():
            print(f"\n  {limits}: {dict(ends)}, by the ledger {sum(made)} in {len(made)} moves")
        assert (len(made), sum(made)) == (6, 600)
        assert ends == {"made": 6, "refused": 10}
    finally:
        sandbox.stop()
