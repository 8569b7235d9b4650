"""Every kind of fault as a caller sees it at the other end of a connection."""

from __future__ import annotations

import socket
import time

import pytest
import requests

from tests.sandbox_plans import Flex


def invest(sandbox, **params):
    # A windowed nonce, so a retry after a fault does not depend on the order of arrival.
    return sandbox.flex(
        "investments/invest",
        **({"plan": Flex.USDT, "amount": "10", "nonce": sandbox.now_ms(), "nonceWindow": True} | params),
    )


def executed(sandbox):
    return len(sandbox.ledger()["transactions"])


@pytest.mark.parametrize(("kind", "moves"), [("lost_reply_after", 1), ("lost_reply_before", 0), ("reset", 0)])
def test_connections_that_end(sandbox, kind, moves):
    sandbox.fault(kind)
    with pytest.raises(requests.ConnectionError) as lost:
        invest(sandbox)
    assert ("reset" in str(lost.value).lower()) is (kind == "reset")
    assert executed(sandbox) == moves
    assert invest(sandbox).status_code == 201


def test_reset_on_the_wire(sandbox):
    sandbox.fault("reset")
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as wire:
        wire.sendall(b"GET /api/v4/public/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            wire.recv(10)


def test_a_lost_reply_sends_no_byte(sandbox):
    sandbox.fault("lost_reply_after")
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as wire:
        wire.sendall(b"GET /api/v4/public/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.recv(10) == b""


@pytest.mark.parametrize(
    ("kind", "moves", "status", "content_type", "body"),
    [
        ("error_500_after", 1, 500, "application/json", b"Server Error"),
        ("error_500_before", 0, 500, "application/json", b"Server Error"),
        ("rate_limit", 0, 429, "application/json", b"Too Many Attempts."),
        ("unavailable", 0, 503, "text/html", b"<html>"),
        ("unavailable_after", 1, 503, "text/html", b"<html>"),
        ("empty_body", 0, 502, None, b""),
        ("garbage", 1, 200, "application/json", b"\xff\xfe"),
        ("html_ok", 1, 200, "text/html", b"<html>"),
        ("ok_with_error", 0, 200, "application/json", b'"message"'),
        ("duplicate", 1, 201, "application/json", b"transaction_id"),
        ("duplicate_reply", 1, 429, "application/json", b"Too many requests."),
    ],
)
def test_replaced_answers(sandbox, kind, moves, status, content_type, body):
    sandbox.fault(kind)
    answer = invest(sandbox)
    assert (answer.status_code, answer.headers.get("Content-Type")) == (status, content_type)
    assert body in answer.content
    assert "Date" in answer.headers
    assert executed(sandbox) == moves
    assert invest(sandbox).status_code == 201


def test_the_duplicate_was_refused(sandbox):
    sandbox.fault("duplicate")
    invest(sandbox)
    statuses = [row["status"] for row in sandbox.get("/sandbox/requests").json() if row["path"].endswith("/invest")]
    assert statuses == [201, 429]


def test_a_cut_reply(sandbox):
    sandbox.fault("cut_reply", bytes=7)
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        invest(sandbox)
    assert executed(sandbox) == 1
    sandbox.fault("cut_reply", bytes=3)
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as wire:
        wire.sendall(b"GET /api/v4/public/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while part := wire.recv(1000):
            received += part
    assert b"content-length: 8" in received.lower()
    assert received.endswith(b'\r\n\r\n["p')


def invest_impatiently(sandbox):
    with pytest.raises(requests.ReadTimeout):
        sandbox.flex("investments/invest", plan=Flex.USDT, amount="10", timeout=0.2)


def test_a_late_reply(sandbox):
    sandbox.fault("delay_reply", seconds="0.5")
    invest_impatiently(sandbox)
    assert executed(sandbox) == 1
    sandbox.fault("delay_reply", seconds="0.3")
    before = time.monotonic()
    assert invest(sandbox).status_code == 201
    assert time.monotonic() - before >= 0.3


def test_a_late_request(sandbox):
    sandbox.fault("delay_before", seconds="0.5")
    invest_impatiently(sandbox)
    # The caller no longer waits, but the request is under way and will be executed.
    assert executed(sandbox) == 0
    while not executed(sandbox):
        pass


def test_a_late_request_is_refused_by_its_nonce(sandbox):
    sandbox.fault("delay_before", seconds="0.5")
    answer = invest(sandbox, nonce=sandbox.now_ms() - 4_800)
    assert answer.json()["message"] == "Your nonce is more than 5 seconds lesser than the current nonce"
    assert executed(sandbox) == 0


def test_a_delay_does_not_block_other_requests(sandbox):
    sandbox.fault("delay_before", seconds=9, path="*/ping")
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as wire:
        wire.sendall(b"GET /api/v4/public/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        while sandbox.get("/sandbox/faults").json():
            pass
        assert sandbox.get("/api/v4/public/time").status_code == 200
        wire.setblocking(False)
        with pytest.raises(BlockingIOError):
            wire.recv(1)


def test_history_lag(sandbox):
    sandbox.fault("history_lag", seconds=60, count=None, path="*")
    assert invest(sandbox).status_code == 201
    assert sandbox.flex("investments/history").json()["data"] == []
    assert sandbox.balance() == "9990"
    sandbox.post("clock/advance", seconds=60)
    assert len(sandbox.flex("investments/history").json()["data"]) == 1


def test_paths_counts_and_clearing(sandbox):
    sandbox.fault("unavailable", path="*/plans", count=2)
    assert sandbox.balance() == "10000"
    assert [sandbox.flex("plans").status_code for _ in range(3)] == [503, 503, 200]
    sandbox.fault("unavailable", count=None, probability=0.5)
    (fault,) = sandbox.get("/sandbox/faults").json()
    assert (fault["kind"], fault["left"], fault["probability"]) == ("unavailable", None, "0.5")
    sandbox.clear_faults()
    assert sandbox.get("/sandbox/faults").json() == []
    assert {sandbox.flex("plans").status_code for _ in range(10)} == {200}


def test_faults_do_not_affect_controls(sandbox):
    sandbox.fault("reset", path="*", count=None)
    assert sandbox.get("/sandbox/health").status_code == 200
