"""The transport has no public method that sends something, and few steps between a call and its bytes."""

from __future__ import annotations

import inspect
import itertools
import logging
import os
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.calls import flex_invest_call
from airflow_provider_whitebit.client.endpoints import MAIN_BALANCE, SERVER_TIME
from airflow_provider_whitebit.client.errors import WhiteBitNotEnoughBalanceError, WhiteBitUnavailableError
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import RetryPolicy, Transport
from airflow_provider_whitebit.client.transport_http import HttpAnswer, HttpWire


def test_no_public_method_sends():
    public = {name for name, value in vars(Transport).items() if callable(value) and not name.startswith("_")}
    assert public == {"close", "synchronise"}


class Wire:
    """Answers with an empty object, and counts the frames of this package above it."""

    def send(self, *request):
        package = str(Path(inspect.getfile(Transport)).parents[1])
        self.frames = sum(frame.filename.startswith(package) for frame in inspect.stack()[1:])
        return HttpAnswer(200, {}, b"{}")

    def close(self):
        pass


@pytest.mark.parametrize(
    "send",
    [
        lambda transport: transport._once(MAIN_BALANCE, {}, nonce=1),
        lambda transport: transport._repeatable(MAIN_BALANCE, {}),
        lambda transport: transport._repeatable(SERVER_TIME),
    ],
    ids=["once", "repeatable", "public"],
)
def test_two_frames_between_a_call_and_its_bytes(send):
    wire = Wire()
    send(Transport("http://x", Credentials("k", "s"), wire=wire))
    assert wire.frames == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (201, b'{"data":{"transaction_id":"tx"}}'),
        (422, b'{"code":4,"message":"Inner validation failed","errors":{"amount":["Available 9 < 10"]}}'),
    ],
)
def test_a_byte_order_mark_is_no_part_of_an_answer(status, body):
    wire = Wire()
    wire.send = lambda *request: HttpAnswer(status, {}, b"\xef\xbb\xbf" + body)
    client = MovingClient(Transport("http://x", Credentials("k", "s"), wire=wire))
    call = flex_invest_call("8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", Decimal(10))
    if status == 201:
        assert client.send_move(call, nonce=1) == "tx"
    else:
        with pytest.raises(WhiteBitNotEnoughBalanceError) as caught:
            client.send_move(call, nonce=1)
        assert caught.value.money_moved is False


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_connections_of_its_own():
    """Two processes that send on one connection read each other's answers."""
    numbers = itertools.count(1)

    class NumberOfTheConnection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            self.number = str(next(numbers)).encode()

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.number)))
            self.end_headers()
            self.wfile.write(self.number)

        def log_message(self, *_):
            pass

    reading, writing = os.pipe()
    with ThreadingHTTPServer(("127.0.0.1", 0), NumberOfTheConnection) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wire = HttpWire(f"http://127.0.0.1:{server.server_port}", connect_timeout=10, read_timeout=10, verify=True)

        def connection():
            return wire.send("GET", "/", {}, None).body

        assert connection() == b"1"
        forked = os.fork()
        if forked == 0:
            try:
                os.write(writing, connection())
            finally:
                os._exit(0)
        os.close(writing)
        assert (os.read(reading, 9), connection()) == (b"2", b"1")
        os.waitpid(forked, 0)
        os.close(reading)
        wire.close()
        server.shutdown()


def test_threads_that_send_their_first_call_at_the_same_moment():
    """Each opens the pool before it sees that of another thread."""
    wire = HttpWire("http://127.0.0.1:1", connect_timeout=1, read_timeout=1, verify=True)
    assert wire._open("/") is wire._open("/")


def test_waits_double_up_to_a_limit():
    policy = RetryPolicy(first_wait=1, longest_wait=30, jitter=0)
    assert [policy.wait(attempt) for attempt in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert RetryPolicy(first_wait=0, jitter=0).wait(5) == 0


def test_jitter_is_added_to_each_wait():
    waits = [RetryPolicy(first_wait=2, jitter=1).wait(1) for _ in range(50)]
    assert all(2 <= wait <= 3 for wait in waits)
    assert len(set(waits)) > 1


def test_a_reading_call_is_repeated_after_a_refusal_with_the_status_of_a_success():
    refusal = b'{"response":null,"status":429,"errors":{},"warning":"Too many requests."}'
    answers = iter([refusal, b'{"main_balance":"1"}'])
    wire = Wire()
    wire.send = lambda *request: HttpAnswer(200, {}, next(answers))
    transport = Transport("http://x", Credentials("k", "s"), wire=wire, sleep=lambda seconds: None)
    assert transport._repeatable(MAIN_BALANCE, {}) == {"main_balance": "1"}


def test_the_log_of_a_repetition_asks_nobody_for_a_next_step(caplog):
    caplog.set_level(logging.INFO)
    answers = iter([HttpAnswer(502, {}, b""), HttpAnswer(200, {}, b'{"main_balance":"1"}')])
    wire = Wire()
    wire.send = lambda *request: next(answers)
    transport = Transport("http://x", Credentials("k", "s"), wire=wire, sleep=lambda seconds: None)
    assert transport._repeatable(MAIN_BALANCE, {}) == {"main_balance": "1"}
    (repetition,) = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert repetition == f"Trying {MAIN_BALANCE} again (try 2 of 5): The exchange sent an empty body."


@pytest.mark.parametrize(
    ("base_url", "next_step"),
    [
        (
            "http://127.0.0.1:1",
            "Next step: Start the sandbox (whitebit-sandbox serve), or correct the connection's host, "
            "http://127.0.0.1:1. Then clear the task.",
        ),
        (
            "https://127.0.0.1:1",
            "Next step: Run the task again later. If this lasts, see the exchange's status page.",
        ),
    ],
)
def test_a_sandbox_that_is_not_started(base_url, next_step):
    wire = HttpWire(base_url, connect_timeout=1, read_timeout=1, verify=True)
    with pytest.raises(WhiteBitUnavailableError) as caught:
        wire.send("GET", SERVER_TIME, {}, None)
    assert str(caught.value).splitlines() == [
        "The connection to the exchange failed (NewConnectionError).",
        f"Call: {SERVER_TIME}",
        "No money moved.",
        next_step,
    ]
