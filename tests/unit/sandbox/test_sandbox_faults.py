"""Faults in process: what a caller sees, and whether the exchange carried it out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from decimal import Decimal

import pytest

from airflow_provider_whitebit.sandbox import ConnectionLost, Faults
from airflow_provider_whitebit.sandbox.faults import KINDS

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
INVEST = "/api/v4/main-account/smart-flex/investments/invest"
NOT_EXECUTED = {
    "lost_reply_before",
    "error_500_before",
    "reset",
    "rate_limit",
    "unavailable",
    "empty_body",
    "ok_with_error",
}
DELAYS = {"delay_before", "delay_reply"}
LOST = {"lost_reply_after", "lost_reply_before", "reset", "cut_reply"}
SEEN = {
    "error_500_after": (500, b"Server Error"),
    "error_500_before": (500, b"Server Error"),
    "rate_limit": (429, b"Too Many Attempts."),
    "unavailable": (503, b"<html>"),
    "unavailable_after": (503, b"<html>"),
    "empty_body": (502, b""),
    "garbage": (200, b"\xff\xfe"),
    "html_ok": (200, b"<html>"),
    "ok_with_error": (200, b'"errors"'),
    "duplicate": (201, b"transaction_id"),
    "duplicate_reply": (422, b"Too many requests."),
    "delay_before": (201, b"transaction_id"),
    "delay_reply": (201, b"transaction_id"),
}


def deliver(bench, wait=lambda seconds: None, **params):
    fields = {"request": INVEST, "nonce": bench.nonce(), "plan": PLAN, "amount": "10", "nonceWindow": True} | params
    body = json.dumps(fields).encode()
    payload = base64.b64encode(body).decode()
    signature = hmac.new(b"sandbox-secret", payload.encode(), hashlib.sha512).hexdigest()
    headers = {"X-TXC-APIKEY": "sandbox-key", "X-TXC-PAYLOAD": payload, "X-TXC-SIGNATURE": signature}
    return bench.exchange.deliver("POST", INVEST, headers, body, wait=wait)


def test_every_kind_is_covered_here():
    assert set(SEEN) | LOST | {"history_lag"} == set(KINDS)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"history_lag"}))
def test_each_kind_once(bench, kind):
    bench.exchange.faults.add(kind, count=1, seconds="1.5", bytes=5)
    waited = []

    def wait(seconds):
        # A delayed request is executed after the wait, a delayed reply before it.
        waited.append((seconds, len(bench.exchange.transactions())))

    if kind in LOST:
        with pytest.raises(ConnectionLost) as lost:
            deliver(bench, wait)
        assert lost.value.reset is (kind == "reset")
        assert lost.value.received == (b'{"dat' if kind == "cut_reply" else b"")
    else:
        answer = deliver(bench, wait)
        assert answer.status == SEEN[kind][0]
        assert SEEN[kind][1] in answer.body
        assert answer.headers["Date"] == "Thu, 01 Jan 2026 00:00:00 GMT"
    assert waited == ([(Decimal("1.5"), int(kind == "delay_reply"))] if kind in DELAYS else [])
    assert len(bench.exchange.transactions()) == (0 if kind in NOT_EXECUTED else 1)
    assert bench.balance() == ("10000" if kind in NOT_EXECUTED else "9990")
    assert deliver(bench).status == 201


def test_the_nonce_rule_refuses_the_duplicate(bench):
    bench.exchange.faults.add("duplicate", count=1)
    deliver(bench)
    assert [row["status"] for row in bench.exchange.requests_view()] == [201, 422]


def test_a_request_that_is_delayed_beyond_its_window_is_refused(bench):
    bench.exchange.faults.add("delay_before", seconds=6, count=1)
    answer = deliver(bench, lambda seconds: bench.pass_time(seconds=float(seconds)))
    assert json.loads(answer.body)["message"].startswith("Your nonce is more than 5 seconds lesser")
    assert bench.exchange.transactions() == []


def test_a_cut_after_the_last_byte_is_none(bench):
    bench.exchange.faults.add("cut_reply", bytes=10_000)
    assert deliver(bench).status == 201


def test_handle_applies_no_fault(bench):
    bench.exchange.faults.add("reset")
    assert bench.balance() == "10000"


def test_paths_counts_and_order():
    faults = Faults()
    faults.add("reset", path="*/invest", count=2)
    faults.add("unavailable")
    assert [faults.take("/a/invest").kind for _ in range(3)] == ["reset", "reset", "unavailable"]
    assert faults.take("/a/close").kind == "unavailable"
    assert [fault["left"] for fault in faults.view()] == [None]
    faults.clear()
    assert faults.take("/a/invest") is None


def test_chances_come_from_the_seed():
    def drawn(seed):
        faults = Faults(seed)
        faults.add("reset", probability="0.3")
        return [faults.take("/") is not None for _ in range(1000)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 250 < sum(drawn(1)) < 350
    faults = Faults()
    faults.add("reset", probability=0)
    assert all(faults.take("/") is None for _ in range(100))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "earthquake"}, "unknown kind 'earthquake'; known are lost_reply_after"),
        ({"probability": "1.1"}, "probability lies between"),
        ({"probability": "often"}, "probability is a number, not 'often'"),
        ({"probability": "NaN"}, "probability is a number"),
        ({"seconds": -1}, "not negative"),
        ({"seconds": "soon"}, "seconds is a number"),
        ({"bytes": -1}, "not negative"),
        ({"count": 0}, "at least 1"),
    ],
)
def test_wrong_faults(options, message):
    with pytest.raises(ValueError, match=message):
        Faults().add(**({"kind": "reset"} | options))
