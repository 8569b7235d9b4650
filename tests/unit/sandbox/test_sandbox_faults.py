"""Faults in process: what a caller sees, and whether the exchange executed the call."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from airflow_provider_whitebit.sandbox import Faults, Quirks
from airflow_provider_whitebit.sandbox.faults import KINDS
from tests.sandbox_plans import Flex

INVEST = "/api/v4/main-account/smart-flex/investments/invest"
NOT_EXECUTED = {
    "lost_reply_before",
    "error_500_before",
    "reset",
    "rate_limit",
    "rate_limit_page",
    "unavailable",
    "empty_body",
    "ok_with_error",
}
DELAYS = {"delay_before", "delay_reply"}
LOST = {"lost_reply_after", "lost_reply_before", "reset"}
SEEN = {
    "error_500_after": (500, b"Server Error"),
    "error_500_before": (500, b"Server Error"),
    "rate_limit": (429, b"Too Many Attempts."),
    "rate_limit_page": (429, b"<html>"),
    "unavailable": (503, b"<html>"),
    "unavailable_after": (503, b"<html>"),
    "empty_body": (502, b""),
    "garbage": (200, b"\xff\xfe"),
    "html_ok": (200, b"<html>"),
    "ok_with_error": (200, b'"errors"'),
    "cut_reply": (201, b"transaction_id"),
    "duplicate": (201, b"transaction_id"),
    "duplicate_reply": (429, b"Too many requests."),
    "delay_before": (201, b"transaction_id"),
    "delay_reply": (201, b"transaction_id"),
}


def deliver(bench, wait=lambda seconds: None, **params):
    fields = {
        "request": INVEST,
        "nonce": bench.nonce(),
        "plan": Flex.USDT,
        "amount": "10",
        "nonceWindow": True,
    } | params
    return bench.deliver(INVEST, json.dumps(fields).encode(), wait)


def test_every_kind_is_covered():
    assert set(SEEN) | LOST | {"history_lag"} == set(KINDS)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"history_lag"}))
def test_each_kind_once(bench, kind):
    bench.exchange.faults.add(kind, count=1, bytes=5, seconds="1.5" if kind in DELAYS else 0)
    waited = []

    def wait(seconds):
        # A delayed request is executed after the wait, a delayed reply before it.
        waited.append((seconds, len(bench.exchange.transactions())))

    delivery = deliver(bench, wait)
    assert delivery.reset is (kind == "reset")
    if kind in LOST:
        assert delivery.answer is None
    else:
        assert delivery.answer.status == SEEN[kind][0]
        assert SEEN[kind][1] in delivery.answer.body
        assert delivery.answer.headers["Date"] == "Thu, 01 Jan 2026 00:00:00 GMT"
        assert delivery.cut == (5 if kind == "cut_reply" else None)
    assert waited == ([(Decimal("1.5"), int(kind == "delay_reply"))] if kind in DELAYS else [])
    assert len(bench.exchange.transactions()) == (0 if kind in NOT_EXECUTED else 1)
    assert bench.balance() == ("10000" if kind in NOT_EXECUTED else "9990")
    assert deliver(bench).answer.status == 201


@pytest.mark.parametrize("kind", ["rate_limit", "rate_limit_page", "unavailable", "unavailable_after"])
def test_a_gateway_says_how_long_to_wait(bench, kind):
    bench.exchange.faults.add(kind, count=1, seconds=120)
    bench.exchange.faults.add(kind, count=1)
    assert deliver(bench).answer.headers["Retry-After"] == "120"
    assert "Retry-After" not in deliver(bench).answer.headers


def test_a_duplicate_is_refused_by_its_nonce(bench):
    bench.exchange.faults.add("duplicate", count=1)
    deliver(bench)
    assert [row["status"] for row in bench.exchange.requests_view()] == [201, 429]


def test_a_request_delayed_beyond_its_window_is_refused(bench):
    bench.exchange.faults.add("delay_before", seconds=6, count=1)
    delivery = deliver(bench, lambda seconds: bench.pass_time(seconds=float(seconds)))
    assert json.loads(delivery.answer.body)["message"].startswith("Your nonce is more than 5 seconds lesser")
    assert bench.exchange.transactions() == []


def test_a_cut_after_the_last_byte_changes_nothing(bench):
    bench.exchange.faults.add("cut_reply", bytes=10_000)
    delivery = deliver(bench)
    assert (delivery.answer.status, delivery.cut) == (201, len(delivery.answer.body))


def test_the_longest_lag_counts(make_bench):
    bench = make_bench(quirks=Quirks(late_records=True))
    bench.exchange.faults.add("history_lag", seconds=1)
    bench.invest(Flex.USDT, "10")
    bench.pass_time(seconds=2)
    assert bench.history() == []
    bench.pass_time(seconds=1)
    assert len(bench.history()) == 1


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
        ({"probability": "1.1"}, "probability: Input should be less than or equal to 1"),
        ({"probability": "often"}, "probability: Input should be a valid decimal, not 'often'"),
        ({"probability": "NaN"}, "probability: Input should be a finite number"),
        ({"seconds": -1}, "seconds: Input should be greater than or equal to 0"),
        ({"seconds": "soon"}, "seconds: Input should be a valid decimal"),
        ({"bytes": -1}, "bytes: Input should be greater than or equal to 0"),
        ({"count": 0}, "count: Input should be greater than or equal to 1"),
        ({"kind": "delay_reply"}, "delay_reply needs seconds"),
        ({"path": "\ud800"}, "path: Input should be a valid string"),
        ({"seconds": 5}, "seconds: reset does not use it"),
        ({"kind": "history_lag", "seconds": 5, "path": "*/smart/*"}, "path: history_lag does not use it"),
        ({"kind": "history_lag", "seconds": 5, "probability": 0}, "probability: history_lag does not use it"),
        ({"kind": "history_lag", "seconds": 5, "count": 1}, "count: history_lag does not use it"),
    ],
)
def test_wrong_faults(options, message):
    with pytest.raises(ValueError, match=message):
        Faults().add(**({"kind": "reset"} | options))
