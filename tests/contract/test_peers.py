"""Clients that this project did not write run on the sandbox unchanged, and get from it what they understand."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))

import peers  # noqa: E402

FLEX = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"


def drive(name, sandbox):
    done = subprocess.run(
        [peers.python_of(name), HERE / "peers" / f"{name}_calls.py", sandbox.url],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "NO_PROXY": "127.0.0.1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["sdk", "ccxt"])
def test_every_call(name, whitebit_sandbox):
    # These clients know no clock but their own: the sandbox must be one whose clock nobody has put forward.
    sandbox = whitebit_sandbox
    told = drive(name, sandbox)
    books = sandbox.ledger()
    assert books["balanced"]
    paths = [move["path"].rsplit("/api/v4/main-account/")[-1] for move in books["moves"]]
    assert paths == [
        "smart-flex/investments/invest",
        "smart-flex/investments/withdraw",
        "smart-flex/investments/close",
        "smart/investment",
        "smart/investment/close",
        "transfer",
        "transfer",
    ]
    moved = [told[call]["data"]["transaction_id"] for call in ("flex_invest", "flex_withdraw", "flex_close")]
    assert moved == [move["reference"] for move in books["moves"][:3]]
    assert [plan["ticker"] for plan in told["flex_plans"]] == ["USDT", "USDT"]
    assert told["flex_reinvest"] == {"data": []}
    [investment] = told["flex_investments"]["data"]
    assert (investment["planId"], investment["invested"], investment["withAutoReinvest"]) == (FLEX, "100", False)
    assert [int(entry["actionType"]) for entry in told["flex_history"]["data"]] == [5, 3, 6]
    assert [entry["transaction_id"] for entry in told["flex_history"]["data"]] == moved[::-1]
    assert told["flex_payments"]["data"] == []
    assert {plan["ticker"] for plan in told["fixed_plans"]} == {"USDT"}
    [term] = told["fixed_investments"]["records"]
    assert (term["id"], term["amount"], int(term["status"])) == (told["fixed_invest"]["id"], "200", 1)
    assert told["fixed_close"] == {}
    assert told["fixed_payments"]["records"] == []
    assert told["transfer_method"] == []
    refusals = str(told["refusals"])
    for text in ("Amount is less than min investment", "Investment is already closed", "have such amount"):
        assert text in refusals
    assert told["main"]["USDT"] == {"main_balance": "9985"}
    assert told["trade"]["USDT"] == {"available": "10", "freeze": "0"}
    assert Decimal(told["collateral"]["USDT"]) == 5
    if name == "ccxt":
        assert (told["unified_main"], told["unified_trade"]) == (9985, 10)
        assert abs(told["time"] / 1000 - time.time()) < 60
    else:
        assert told["transfer"] == []
        statuses = {name: answer[0] for name, answer in told["refusals"].items()}
        assert statuses == {"flex_invest": 422, "flex_close": 400, "fixed_close": 422, "transfer": 422}
