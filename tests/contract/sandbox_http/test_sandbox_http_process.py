"""The command: its ready line, its end, its mistakes, and what outlives it."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time

import pytest
import requests

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
INVEST = "/api/v4/main-account/smart-flex/investments/invest"


def test_the_ready_line(start):
    sandbox = start()
    assert "is not an exchange" in sandbox.ready
    assert (sandbox.key, sandbox.secret) == ("sandbox-key", "sandbox-secret")
    assert sandbox.url.startswith("http://127.0.0.1:")
    assert sandbox.get("/sandbox/health").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order(start, number):
    sandbox = start()
    sandbox.balance()
    sandbox.process.send_signal(number)
    out, error = sandbox.process.communicate(timeout=10)
    assert (sandbox.process.returncode, out, error) == (0, "", "")


def test_it_ends_though_a_reply_is_outstanding(start):
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
    time.sleep(0.3)
    before = time.monotonic()
    sandbox.process.terminate()
    sandbox.process.wait(timeout=10)
    caller.join()
    assert sandbox.process.returncode == 0
    assert time.monotonic() - before < 6
    assert seen in ([500], [None])


def test_a_port_in_use(start, command):
    sandbox = start()
    again = subprocess.run(
        [*command, "--port", str(sandbox.port)], capture_output=True, text=True, check=False, timeout=30
    )
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1 port {sandbox.port}" in again.stderr


def test_other_machines_are_warned_about(start):
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
    made = [s.flex("investments/invest", plan=PLAN, amount="10").json()["data"]["transaction_id"] for s in sandboxes]
    assert made[0] == made[1] != made[2]


def test_rate_limits_over_http(start):
    limited, free = start(), start("--no-rate-limits")
    for sandbox, expected in ((limited, {200, 429}), (free, {200})):
        statuses = [sandbox.call("balance", ticker="USDT").status_code for _ in range(1010)]
        assert set(statuses) == expected
        if sandbox is limited:
            assert statuses.index(429) >= 1000


def test_killed_and_back(start, tmp_path):
    books = tmp_path / "books.db"
    first = start("--db", books)
    body, headers = first.signed(INVEST, plan=PLAN, amount="100", nonce=first.now_ms(), nonceWindow=True)
    done = requests.post(first.url + INVEST, data=body, headers=headers, timeout=10)
    assert done.status_code == 201

    answered = []

    def invest_until_it_dies():
        try:
            while True:
                answered.append(first.flex("investments/invest", plan=PLAN, amount="10").status_code)
        except requests.RequestException:
            pass

    caller = threading.Thread(target=invest_until_it_dies)
    caller.start()
    time.sleep(0.4)
    first.process.kill()
    caller.join()
    first.process.wait()

    second = start("--db", books)
    replay = requests.post(second.url + INVEST, data=body, headers=headers, timeout=10)
    assert replay.json()["message"] == "Too many requests."
    ledger = second.ledger()
    assert ledger["balanced"] is True
    kept = ledger["transactions"]
    assert kept[0]["transaction_id"] == done.json()["data"]["transaction_id"]
    # What was answered was kept; the one that was under way may have been.
    assert answered.count(201) > 0
    assert len(kept) - 1 - answered.count(201) in (0, 1)
    (investment,) = second.flex("investments").json()["data"]
    assert float(investment["invested"]) == 100 + 10 * (len(kept) - 1)


def test_the_clock_is_kept_over_a_restart(start, tmp_path):
    first = start("--db", tmp_path / "books.db")
    first.control("clock/advance", seconds=86_400)
    then = first.now_ms()
    first.process.kill()
    first.process.wait()
    second = start("--db", tmp_path / "books.db")
    assert second.now_ms() >= then
