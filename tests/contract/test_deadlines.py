"""However slowly or endlessly an answer comes, the call ends, and says what is known of the money."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.calls import flex_invest_call
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import NO_RETRIES, Timeout, Transport
from tests.contract.wire import message

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
OK = b"HTTP/1.1 201 Created\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
YES = b'{"data":{"transaction_id":"tx"}}'
#: Seconds after which a server that nobody left gives up, which fails the test.
PATIENCE = 60
#: What begins an answer, and what then comes without end.
PHASES = {
    "status line": (b"", b"H"),
    "reason": (b"HTTP/1.1 201 ", b"O"),
    "one header": (OK + b"X: ", b"y"),
    "many headers": (OK, b"X: y\r\n"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers of 100 Continue": (b"HTTP/1.1 100 Continue\r\n", b"X: y\r\n"),
    "103 Early Hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
    "body with a length": (OK + b"Content-Length: 100000000\r\n\r\n", b" "),
    "body without a length": (OK + b"\r\n" + YES, b" "),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "size of a chunk": (CHUNKED, b"0"),
    "extension of a chunk": (CHUNKED + b"1;a=", b"b"),
    "trailers": (CHUNKED + b"20\r\n" + YES + b"\r\n0\r\n", b"X: y\r\n"),
}


class Server:
    """Answers every request with bytes that do not end, and learns whether the caller went away.

    :param tls: a context for TLS; ``None`` for none.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.begin, self.rest = b"", b""
        #: Seconds between two bytes; 0: as many bytes as the caller takes.
        self.pause = 0.02
        #: Whether bytes come at once after the connection, without waiting for a request.
        self.at_once = False
        self.left = threading.Event()
        self.requests: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.closing(caller):
            if self.tls:
                caller = self.tls.wrap_socket(caller, server_side=True)
            try:
                while self.at_once or (request := message(caller)):
                    if not self.at_once:
                        self.requests.append(request)
                    self._answer(caller)
            except TimeoutError:
                return
            except OSError:
                pass
            self.left.set()

    def _answer(self, caller: socket.socket) -> None:
        caller.sendall(self.begin)
        if not self.rest:
            return
        end = time.monotonic() + PATIENCE
        caller.settimeout(self.pause or PATIENCE)
        many = self.rest * (1 if self.pause else 1000)
        for number in itertools.count():
            if time.monotonic() > end:
                raise TimeoutError
            if not self.pause:
                caller.sendall(many)
                continue
            caller.sendall(many[number % len(many) :][:1])
            with contextlib.suppress(TimeoutError):
                if not caller.recv(1):
                    raise ConnectionError


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.listener.close()


def client_of(url: str, *, connect: float = 5, read: float = 0.5, **more: float) -> MovingClient:
    timeout = Timeout(connect=connect, read=read, **more)
    return MovingClient(Transport(url, Credentials("key", "secret"), retry=NO_RETRIES, timeout=timeout))


def invest(client: MovingClient) -> e.WhiteBitUnavailableError:
    with pytest.raises(e.WhiteBitUnavailableError) as caught:
        client.send_move(flex_invest_call(USDT, Decimal(10)), nonce=1)
    return caught.value


@pytest.mark.parametrize("phase", PHASES)
def test_an_answer_that_drips(server, phase):
    server.begin, server.rest = PHASES[phase]
    error = invest(client_of(f"http://127.0.0.1:{server.port}"))
    assert error.money_moved is None
    assert ("slowly" if error.status else "did not answer in time") in error.message
    assert server.left.wait(PATIENCE)
    assert len(server.requests) == 1


@pytest.mark.parametrize("phase", PHASES)
def test_an_answer_without_end(server, phase):
    server.begin, server.rest = PHASES[phase]
    server.pause = 0
    error = invest(client_of(f"http://127.0.0.1:{server.port}", read=5))
    assert error.money_moved is None
    assert server.left.wait(PATIENCE)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_body_that_grows_when_it_is_decompressed(server, layers):
    body = b"[" + b" " * 50_000_000 + b"]"
    for _ in range(layers):
        body = gzip.compress(body)
    encoding = ", ".join(["gzip"] * layers)
    server.begin = OK + f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    error = invest(client_of(f"http://127.0.0.1:{server.port}", read=20))
    assert ("more than 8 MiB" if layers == 1 else "not JSON") in error.message


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "identity", "GZIP"])
def test_a_compressed_body(server, encoding):
    body = YES if encoding == "identity" else gzip.compress(YES)
    server.begin = OK + f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    client = client_of(f"http://127.0.0.1:{server.port}", read=20)
    assert client.send_move(flex_invest_call(USDT, Decimal(10)), nonce=1) == "tx"


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_an_interim_answer_before_the_final_one(server, interim):
    final = OK + f"Content-Length: {len(YES)}\r\n\r\n".encode() + YES
    server.begin = (b"HTTP/1.1 " + interim + b"\r\nLink: x\r\n\r\n") * 2 + final
    client = client_of(f"http://127.0.0.1:{server.port}", read=20)
    assert client.send_move(flex_invest_call(USDT, Decimal(10)), nonce=1) == "tx"


def test_the_answer_after_an_interim_one_is_not_taken_for_the_next_call(server):
    server.begin = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    client = client_of(f"http://127.0.0.1:{server.port}")
    invest(client)
    assert server.left.wait(PATIENCE)
    server.begin = OK + f"Content-Length: {len(YES)}\r\n\r\n".encode() + YES
    assert client.send_move(flex_invest_call(USDT, Decimal(10)), nonce=2) == "tx"
    assert len(server.requests) == 2


def test_the_deadline_counts_from_the_beginning_of_each_call(server):
    server.begin = OK + f"Content-Length: {len(YES)}\r\n\r\n".encode() + YES
    client = client_of(f"http://127.0.0.1:{server.port}", read=20, all_calls=20)
    for nonce in range(1, 4):
        assert client.send_move(flex_invest_call(USDT, Decimal(10)), nonce=nonce) == "tx"
    client._transport._wire._end = time.monotonic()
    error = invest(client)
    assert (error.money_moved, len(server.requests)) == (False, 3)
    assert "no time left" in error.message


def test_all_calls_together_have_an_end(server):
    server.begin, server.rest = PHASES["body with a length"]
    client = client_of(f"http://127.0.0.1:{server.port}", read=20, all_calls=0.3)
    assert "slowly" in invest(client).message
    assert "no time left" in invest(client).message
    assert len(server.requests) == 1


def test_a_name_that_is_not_resolved_in_time(monkeypatch, server):
    resolved = threading.Event()
    look_up = socket.getaddrinfo

    def slow(host, *args, **options):
        resolved.wait(PATIENCE)
        return look_up("127.0.0.1", *args, **options)

    server.begin, server.rest = PHASES["status line"]
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    error = invest(client_of(f"http://localhost:{server.port}", connect=0.2))
    assert error.money_moved is False
    assert "connected to in time" in error.message
    # The late connection is closed, and no request was sent by it.
    resolved.set()
    assert server.left.wait(PATIENCE) or not server.requests
    assert not any(server.requests)


def test_an_address_that_swallows_packets_leaves_time_for_the_next_one(monkeypatch, server):
    """As IPv6 behind a firewall that drops it."""
    with contextlib.ExitStack() as stack:
        swallows = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(swallows.getsockname())
        places = [(swallows.getsockname())] * 2 + [("127.0.0.1", server.port)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
        server.begin = OK + f"Content-Length: {len(YES)}\r\n\r\n".encode() + YES
        client = client_of(f"http://two-ways.test:{server.port}", connect=2, read=20)
        assert client.send_move(flex_invest_call(USDT, Decimal(10)), nonce=1) == "tx"


@pytest.fixture
def tls(tls_certificate, monkeypatch) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_certificate)
    server = Server(context)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls_certificate[0]))
    monkeypatch.setattr(socket, "getaddrinfo", _to_this_machine(socket.getaddrinfo))
    yield server
    server.listener.close()


def _to_this_machine(look_up):
    return lambda host, *args, **options: look_up("127.0.0.1", *args, **options)


@pytest.mark.parametrize("phase", ["status line", "one header", "chunks", "body without a length"])
def test_an_answer_that_drips_through_tls(tls, phase):
    tls.begin, tls.rest = PHASES[phase]
    error = invest(client_of(f"https://exchange.test:{tls.port}"))
    assert error.money_moved is None
    assert tls.left.wait(PATIENCE)
    assert len(tls.requests) == 1


def test_a_handshake_that_drips(server, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", _to_this_machine(socket.getaddrinfo))
    server.at_once = True
    # The beginning of a record of 16 kB.
    server.begin, server.rest = b"\x16\x03\x03\x40\x00", b"\x00"
    error = invest(client_of(f"https://exchange.test:{server.port}", connect=0.3))
    assert error.money_moved is False
    assert server.left.wait(PATIENCE)


@pytest.mark.parametrize("phase", ["status line", "one header", "many headers"])
def test_a_tunnel_that_drips(server, phase, monkeypatch):
    server.begin, server.rest = PHASES[phase]
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.port}")
    error = invest(client_of("https://exchange.test", connect=0.3))
    assert error.money_moved is False
    assert server.left.wait(PATIENCE)
    assert [request.split(b" ")[0] for request in server.requests] == [b"CONNECT"]
