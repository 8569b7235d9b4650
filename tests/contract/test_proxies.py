"""Behind a forwarding or tunnelling proxy, only a connection that was never made proves that nothing ran."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
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
#: Never resolved: the proxy has its own target. Without TLS, only this machine is allowed.
HOSTS = {"http": "localhost:9", "https": "exchange.test"}


class Proxy:
    """Forwards or tunnels to the sandbox; ends the connection after the next moves, before their answers."""

    def __init__(self, sandbox, certificate):
        self.target = (urlsplit(sandbox.url).hostname, urlsplit(sandbox.url).port)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(*certificate)
        self.ends = None
        self.refuses = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller):
        with caller:
            request = message(caller)
            if self.refuses:
                caller.sendall(f"HTTP/1.1 {self.refuses}\r\nContent-Length: 0\r\n\r\n".encode())
            elif request.startswith(b"CONNECT "):
                caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                # The caller may refuse the certificate.
                with contextlib.suppress(ssl.SSLError), self.tls.wrap_socket(caller, server_side=True) as inner:
                    self._forward(inner, message(inner))
            else:
                self._forward(caller, request.replace(f"http://{HOSTS['http']}".encode(), b"", 1))

    def _forward(self, caller, request):
        with socket.create_connection(self.target) as exchange:
            exchange.sendall(request)
            answer = message(exchange)
        if b"/investments/invest " not in request or self.ends is None:
            caller.sendall(answer)
        elif self.ends == "reset":
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            caller.sendall(answer[: self.ends])


@pytest.fixture(params=["http", "https"])
def scheme(request):
    return request.param


@pytest.fixture
def proxy(sandbox, tls_certificate, scheme, monkeypatch):
    proxy = Proxy(sandbox, tls_certificate)
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    # The sandbox's controls are reached directly.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls_certificate[0]))
    yield proxy
    proxy.listener.close()


@pytest.fixture
def connect(proxy, scheme):
    """Creates a client with the current environment."""

    def connect():
        credentials = Credentials("sandbox-key", "sandbox-secret")
        timeout = Timeout(connect=5, read=5)
        return MovingClient(Transport(f"{scheme}://{HOSTS[scheme]}", credentials, retry=NO_RETRIES, timeout=timeout))

    return connect


@pytest.fixture
def client(connect):
    client = connect()
    client.server_time()
    client.close()
    return client


def invest(client):
    return client.send_move(flex_invest_call(USDT, Decimal(10)), nonce=client.clock.next_nonce())


def moved(sandbox):
    return [entry for entry in sandbox.ledger()["transactions"] if entry["nonce"] is not None]


def test_a_move_through_a_proxy(client, sandbox):
    assert invest(client) == moved(sandbox)[0]["transaction_id"]


@pytest.mark.parametrize("ends", [0, 5, 40, "reset"])
def test_an_answer_that_a_proxy_loses_may_have_moved_money(client, proxy, sandbox, ends):
    proxy.ends = ends
    with pytest.raises(e.WhiteBitUnavailableError) as caught:
        invest(client)
    assert len(moved(sandbox)) == 1
    assert caught.value.money_moved is None
    assert "proxy did not connect" not in str(caught.value)


@pytest.mark.parametrize("refuses", ["407 Proxy Authentication Required", "502 Bad Gateway"])
def test_a_proxy_that_refuses(client, proxy, sandbox, scheme, refuses):
    proxy.refuses = refuses
    with pytest.raises(e.WhiteBitUnavailableError) as caught:
        invest(client)
    assert moved(sandbox) == []
    # Nothing was sent through a refused tunnel. A forwarding proxy can refuse after it has forwarded.
    assert caught.value.money_moved is (False if scheme == "https" else None)


def test_a_missing_proxy(connect, sandbox, scheme, monkeypatch):
    monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:1")
    with pytest.raises(e.WhiteBitUnavailableError, match=r"(?s)The proxy did not connect.*No money moved") as caught:
        invest(connect())
    assert caught.value.money_moved is False
    assert moved(sandbox) == []


@pytest.mark.parametrize("scheme", ["https"], indirect=True)
def test_an_unknown_certificate(connect, sandbox, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(e.WhiteBitUnavailableError, match="certificate") as caught:
        invest(connect())
    assert caught.value.money_moved is False
    assert moved(sandbox) == []


def test_a_malformed_proxy_is_a_configuration_error(connect, sandbox, scheme, monkeypatch):
    monkeypatch.setenv(f"{scheme}_proxy", "http://user:the-password@:bad")
    with pytest.raises(e.WhiteBitConfigurationError) as caught:
        invest(connect())
    assert caught.value.money_moved is False
    assert "HTTPS_PROXY" in str(caught.value)
    assert "the-password" not in str(caught.value)
    assert moved(sandbox) == []


@pytest.mark.parametrize("scheme", ["https"], indirect=True)
def test_a_missing_ca_bundle_is_a_configuration_error(connect, sandbox, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file")
    with pytest.raises(e.WhiteBitConfigurationError, match="REQUESTS_CA_BUNDLE") as caught:
        invest(connect())
    assert caught.value.money_moved is False
    assert moved(sandbox) == []


def test_settings_of_the_environment_are_read_once(connect, proxy, sandbox, scheme, monkeypatch):
    client = connect()
    client.server_time()
    monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:1")
    client.close()
    assert client.server_time()


def test_hosts_in_no_proxy_are_reached_directly(connect, proxy, scheme, monkeypatch):
    proxy.refuses = "403 Forbidden"
    monkeypatch.setenv("no_proxy", HOSTS[scheme].partition(":")[0])
    with pytest.raises(e.WhiteBitUnavailableError) as caught:
        connect().server_time()
    # Without the proxy there is no such host.
    assert "NewConnectionError" in str(caught.value) or "NameResolutionError" in str(caught.value)
