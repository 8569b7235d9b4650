"""A network that cuts, garbles and repeats: it never produces a false success, and nothing runs twice."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.calls import flex_invest_call
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import NO_RETRIES, Timeout, Transport
from tests.contract.wire import message

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"


class Wire:
    """A relay to the sandbox that changes answers, and may deliver a request more than once."""

    def __init__(self, url: str) -> None:
        self.target = (urlsplit(url).hostname, urlsplit(url).port)
        self.change: Callable[[bytes], bytes] = lambda answer: answer
        self.deliveries = 1
        self.answers: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            with caller:
                request = message(caller)
                if request:
                    self.answers = [self._deliver(request) for _ in range(self.deliveries)]
                    caller.sendall(self.change(self.answers[0]))

    def _deliver(self, request: bytes) -> bytes:
        with socket.create_connection(self.target) as exchange:
            exchange.sendall(request)
            return message(exchange)


@pytest.fixture
def wire(sandbox) -> Iterator[Wire]:
    relay = Wire(sandbox.url)
    yield relay
    relay.listener.close()


@pytest.fixture
def client(wire):
    transport = Transport(
        wire.url, Credentials("sandbox-key", "sandbox-secret"), retry=NO_RETRIES, timeout=Timeout(connect=2, read=2)
    )
    client = MovingClient(transport)
    client.server_time()
    # The relay answers once on each connection.
    client.close()
    return client


def invest(client):
    return client.send_move(flex_invest_call(USDT, Decimal(10)), nonce=client.clock.next_nonce())


def moved(sandbox):
    return [entry["transaction_id"] for entry in sandbox.ledger()["transactions"] if entry["nonce"] is not None]


def test_an_answer_cut_at_any_byte_is_never_a_success(client, wire, sandbox):
    whole = invest(client)
    assert moved(sandbox) == [whole]
    length = len(wire.answers[0])
    # The last byte is the closing brace: without it, the body is not JSON, whatever its announced length.
    for end in range(length):
        wire.change = lambda answer, end=end: answer[:end]
        with pytest.raises(e.WhiteBitUnavailableError) as caught:
            invest(client)
        assert caught.value.money_moved is None, end
        client.close()
    assert len(moved(sandbox)) == 1 + length


def test_an_answer_with_a_wrong_byte_names_its_own_transaction_or_none(client, wire, sandbox):
    chance = random.Random(1)
    for _ in range(150):
        place, value = chance.random(), chance.randrange(256)

        def garble(answer: bytes, place: float = place, value: int = value) -> bytes:
            body = answer.index(b"\r\n\r\n") + 4
            at = body + int(place * (len(answer) - body))
            return answer[:at] + bytes([value]) + answer[at + 1 :]

        wire.change = garble
        try:
            named = invest(client)
        except e.WhiteBitError as error:
            assert error.money_moved is None or "exchange refused" in str(error), error
        else:
            # A letter of the identifier itself may have changed: the vendor has no checksum for it.
            right = moved(sandbox)[-1]
            assert sum(a != b for a, b in zip(named, right, strict=True)) <= 1
        client.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00" * 100,
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nnull",
        b'HTTP/1.1 201 Created\r\nContent-Length: 12\r\n\r\n{"data":null',
        b'HTTP/1.1 201 Created\r\nContent-Length: 11\r\n\r\n{"data":{}}',
        b'HTTP/1.1 201 Created\r\nContent-Length: 32\r\n\r\n{"data":{"transaction_id":false}}',
        b'HTTP/1.1 201 Created\r\nContent-Length: 29\r\n\r\n{"data":{"transaction_id":""}}',
        b'HTTP/1.1 201 Created\r\nContent-Length: 999\r\n\r\n{"data":{"transaction_id":"tx"}}',
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 422 Unprocessable\r\nContent-Length: 2\r\n\r\n{}",
        b'HTTP/1.1 500 Oops\r\nContent-Length: 52\r\n\r\n{"data":{"transaction_id":"tx"}}                   ',
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/9.9 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n{}",
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ],
    ids=range(20),
)
def test_another_answer_is_never_a_success(client, wire, sandbox, answer):
    wire.change = lambda _: answer
    with pytest.raises(e.WhiteBitUnavailableError) as caught:
        invest(client)
    assert caught.value.money_moved is None
    assert len(moved(sandbox)) == 1


def test_a_request_that_the_network_delivers_several_times_runs_once(client, wire, sandbox):
    wire.deliveries = 3
    named = invest(client)
    assert moved(sandbox) == [named]
    assert [json.loads(answer.partition(b"\r\n\r\n")[2]).get("code") for answer in wire.answers[1:]] == [0, 0]
    # If the first answer is lost, the caller sees the refusal of a later delivery.
    wire.change = lambda _: wire.answers[1]
    with pytest.raises(e.WhiteBitNonceError):
        invest(client)
