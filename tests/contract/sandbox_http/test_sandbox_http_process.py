"""The command: its ready line, its end, its errors, and what survives a restart."""

from __future__ import annotations

import json
import signal
import subprocess
import threading

import pytest
import requests

from airflow_provider_whitebit.sandbox.quirks import QUIRKS
from tests.sandbox_plans import Flex

INVEST = "/api/v4/main-account/smart-flex/investments/invest"


def test_the_ready_line(start):
    sandbox = start()
    assert "is not an exchange" in sandbox.ready
    assert (sandbox.key, sandbox.secret) == ("sandbox-key", "sandbox-secret")
    assert sandbox.url.startswith("http://127.0.0.1:")
    assert sandbox.get("/sandbox/health").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_by_a_signal(start, number):
    sandbox = start()
    sandbox.balance()
    sandbox.process.send_signal(number)
    out, error = sandbox.process.communicate(timeout=10)
    assert (sandbox.process.returncode, out, error) == (0, "", "")


def test_it_ends_despite_an_outstanding_reply(start):
    sandbox = start()
    sandbox.fault("delay_reply", seconds=60)
    seen = []

    def call():
        try:
            seen.append(sandbox.call("balance").status_code)
        except requests.ConnectionError:
            seen.append(None)

    caller = threading.Thread(target=call)
    caller.start()
    while not sandbox.requests():
        pass
    sandbox.process.terminate()
    assert sandbox.process.wait(timeout=20) == 0
    caller.join()
    assert seen in ([500], [None])


def test_a_port_in_use(start, command):
    sandbox = start()
    again = subprocess.run(
        [*command, "--port", str(sandbox.port)], capture_output=True, text=True, check=False, timeout=30
    )
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1 port {sandbox.port}" in again.stderr


def test_a_warning_if_other_machines_can_connect(start):
    sandbox = start("--host", "0.0.0.0")
    sandbox.process.terminate()
    _, error = sandbox.process.communicate(timeout=10)
    assert error.startswith("warning: 0.0.0.0 can be reached from other machines")


def test_a_scenario_and_a_seed(start, tmp_path):
    scenario = tmp_path / "scenario.json"
    scenario.write_text(
        json.dumps(
            {
                "keys": [{"api_key": "mine", "secret": "hidden", "user": "me"}],
                "balances": {"me": {"USDT": "123.45"}},
            }
        )
    )
    sandboxes = [start("--scenario", scenario, "--seed", seed) for seed in ("7", "7", "8")]
    assert [sandbox.key for sandbox in sandboxes] == ["mine"] * 3
    assert sandboxes[0].balance() == "123.45"
    made = [
        s.flex("investments/invest", plan=Flex.USDT, amount="10").json()["data"]["transaction_id"] for s in sandboxes
    ]
    assert made[0] == made[1] != made[2]


def test_quirks_of_the_command_stay_at_a_reset(start, command):
    sandbox = start("--quirks", "two_records, short_pages")
    assert sandbox.quirks() == ["two_records", "short_pages"]
    assert sandbox.quirks(two_records=False, no_ids=True) == ["no_ids", "short_pages"]
    sandbox.flex("investments/invest", plan=Flex.USDT, amount="10")
    answer = sandbox.flex("investments/history", limit=50).json()
    assert answer["limit"] == 25
    assert [sorted(record) for record in answer["data"]] == [
        ["actionType", "amount", "createdAt", "currency", "planId"]
    ]
    sandbox.reset()
    assert sandbox.quirks() == ["two_records", "short_pages"]
    with pytest.raises(ValueError, match=r"there is no quirk 'two'; known are .*two_records, shared_ids"):
        sandbox.quirks(two=True)
    assert sandbox.post("quirks", two_records="perhaps").status_code == 400
    assert sandbox.quirks() == ["two_records", "short_pages"]
    wrong = subprocess.run(
        [*command, "--quirks", "no_ids,two"], capture_output=True, text=True, check=False, timeout=30
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "there is no quirk 'two'; known are nonces_422, two_records" in wrong.stderr


def test_help_explains_every_quirk(command):
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, timeout=30).stdout
    words = " ".join(shown.split())
    assert [text for name, text in QUIRKS.items() if f"{name} {text}" not in words] == []


def test_rate_limits_over_http(start):
    limited, free = start(), start("--no-rate-limits")
    for sandbox, expected in ((limited, {200, 429}), (free, {200})):
        statuses = [sandbox.call("balance", ticker="USDT").status_code for _ in range(1010)]
        # On a busy machine this takes longer than the time for which calls count.
        while sandbox is limited and 429 not in statuses and len(statuses) < 10_100:
            statuses.append(sandbox.call("balance", ticker="USDT").status_code)
        assert set(statuses) == expected
        if sandbox is limited:
            assert statuses.index(429) >= 1000
