"""HTTP to the exchange by pooled connections: no redirects, no cookies, no ``.netrc``, and an end to every call.

The timeouts of sockets, and so those of ``requests`` and urllib3, start again with each byte. Here a call has one
deadline. Connecting, which resolves names and may pass proxies, runs in a thread that is given up at the deadline.
Whatever is read of an answer passes :class:`_Incoming`, which leaves each read only the time that is left.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from typing import Any, NamedTuple

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError, WhiteBitUnavailableError

#: Largest body that is read, in bytes: a page of 100 records takes about 30 kB, the list of all assets 0.5 MB.
_LARGEST_BODY = 8 * 1024 * 1024
#: Most bytes of an answer with all that surrounds its body: headers, sizes of chunks, trailers.
_LARGEST_ANSWER = _LARGEST_BODY + 1024 * 1024
_CHUNK = 64 * 1024
#: zlib finds out by itself which of these two it reads.
_COMPRESSED, _ANY_HEADER = ("gzip", "x-gzip", "deflate"), zlib.MAX_WBITS | 32
#: Shortest timeout that is set, in seconds: to a socket, 0 means not to wait at all.
_LEAST_SECONDS = 1 / 1000
#: Shortest time for each of a host's addresses, in seconds: the way around the world and back takes less.
_LEAST_FOR_ADDRESS = 0.5
#: ``False``: urllib3 raises its own errors at once and repeats nothing.
_NO_RETRIES = urllib3.Retry(False, redirect=False)


class HttpAnswer(NamedTuple):
    """One answer, its body read completely."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpWire:
    """Sends requests to one host.

    A ``requests.Session`` looks up the environment's proxies and CA bundle at every call, which takes longer than the
    rest of the call. Here ``requests`` looks them up once, and all calls use the urllib3 pool that it chose.

    :param base_url: scheme and host.
    :param connect_timeout: seconds for the connection.
    :param read_timeout: seconds for a whole call, from the look-up of the host's name to the last byte of the answer.
    :param all_calls: seconds for all calls together, from the first one on; ``None`` for no limit.
    :param verify: ``True`` (the CA bundle of the environment or of ``requests``), a path to a CA bundle, or ``False``.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout: float,
        read_timeout: float,
        verify: bool | str,
        all_calls: float | None = None,
    ) -> None:
        with requests.Session() as session:
            self._settings = session.merge_environment_settings(base_url + "/", {}, True, verify, None)
        self._base_url = base_url
        self._connect_timeout, self._read_timeout = connect_timeout, read_timeout
        self._all_calls = all_calls
        self._end: float | None = None
        self._prefix = ""
        self._begin()

    def _begin(self) -> None:
        """Start with no connections."""
        self._process = os.getpid()
        self._adapter: Any = HTTPAdapter(pool_connections=2, pool_maxsize=10)
        self._pool: Any = None

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> HttpAnswer:
        """Send one request once and read its answer.

        :raises WhiteBitUnavailableError: if there is no whole answer. ``money_moved`` is ``False`` only if the request
            was certainly not sent, else ``None``.
        :raises WhiteBitConfigurationError: if the proxy, the CA bundle or the address cannot be used.
        """
        if self._process != os.getpid():
            # A forked process has its parent's connections: each would read the other's answers.
            self._begin()
        pool = self._pool or self._open(path)
        deadline = self._deadline(path)
        try:
            response = pool.urlopen(
                method,
                self._prefix + path,
                body=body,
                headers=headers,
                retries=_NO_RETRIES,
                redirect=False,
                assert_same_host=False,
                timeout=deadline,
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError) as error:
            raise _connection_error(path, self._base_url, error) from None
        try:
            if response.status < 200:
                # What follows would be read as the answer to the next call on this connection.
                raise _broken(path, response, "no more than an interim answer")
            return HttpAnswer(response.status, response.headers, self._body(path, response))
        finally:
            # Closes a connection whose answer was not read to its end; another is back in the pool already.
            response.close()
            response.release_conn()

    def close(self) -> None:
        """Close the pooled connections. The next call opens new ones."""
        self._pool = None
        self._adapter.close()

    def _deadline(self, path: str) -> _Deadline:
        """The time that a call has, from this moment on."""
        now = time.monotonic()
        end = now + self._read_timeout
        if self._all_calls is not None:
            if self._end is None:
                self._end = now + self._all_calls
            end = min(end, self._end)
        if now >= end:
            raise WhiteBitUnavailableError("There is no time left for this call.", path=path, money_moved=False)
        return _Deadline(self._connect_timeout, end)

    def _open(self, path: str) -> Any:
        """Choose the pool: direct, through a forwarding proxy, a tunnel or SOCKS, as ``requests`` would."""
        settings = self._settings
        try:
            request = requests.Request("POST", self._base_url + "/").prepare()
            pool = self._adapter.get_connection_with_tls_context(request, settings["verify"], settings["proxies"])
            self._adapter.cert_verify(pool, self._base_url, settings["verify"], None)
            # Threads that send at the same moment open the same pool.
            if not issubclass(kind := pool.ConnectionCls, _Connection):
                pool.ConnectionCls = type("Connection", (_Connection, kind), {})
            # A forwarding proxy needs the whole address.
            self._prefix = self._adapter.request_url(request, settings["proxies"]).removesuffix("/")
        except (requests.RequestException, HTTPError, OSError) as error:
            # The text can hold a proxy's address with its password: its type is enough.
            raise WhiteBitConfigurationError(
                f"The address, the proxy or the CA bundle cannot be used ({type(error).__name__}).",
                path=path,
                next_step="Check the connection's host, and the variables HTTPS_PROXY, NO_PROXY and "
                "REQUESTS_CA_BUNDLE of this machine. Then clear the task.",
            ) from None
        self._pool = pool
        return pool

    def _body(self, path: str, response: Any) -> bytes:
        """The whole body, of a sane size."""
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk := response.read1(_CHUNK, decode_content=False):
                chunks.append(chunk)
                size += len(chunk)
                if size > _LARGEST_BODY:
                    raise _broken(path, response, _TOO_MUCH)
                if response.length_remaining == 0:
                    break
        except ReadTimeoutError:
            raise _broken(path, response, "its body too slowly") from None
        except (HTTPError, OSError) as error:
            raise _broken(path, response, f"an answer that broke off ({type(error).__name__})") from None
        body = b"".join(chunks)
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        return _decompressed(path, response, body) if encoding in _COMPRESSED else body


class _Deadline(urllib3.Timeout):
    """The time that is left of a call whenever urllib3 asks for a timeout.

    :param connect: most seconds for the connection.
    :param end: of the call, on the monotonic clock.
    """

    def __init__(self, connect: float, end: float) -> None:
        super().__init__(connect=connect)
        self._most, self._end = connect, end

    def clone(self) -> _Deadline:
        return self

    @property
    def connect_timeout(self) -> float:
        return min(self._most, self.read_timeout)

    @property
    def read_timeout(self) -> float:
        return max(self._end - time.monotonic(), _LEAST_SECONDS)


class _Incoming(io.RawIOBase):
    """The bytes of one answer as they come. They end at the deadline, and when there are too many.

    :param sock: socket, with or without TLS, whose timeout is what is left of the call.
    """

    def __init__(self, sock: Any) -> None:
        self._sock, self._raw = sock, sock.makefile("rb", buffering=0)
        self._end = time.monotonic() + sock.gettimeout()
        self._room = _LARGEST_ANSWER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the time for this call is over")
        self._sock.settimeout(seconds)
        size: int | None = self._raw.readinto(buffer)
        self._room -= size or 0
        if self._room < 0:
            raise http.client.HTTPException("too long an answer")
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer, of the exchange or of a proxy that opens a tunnel, whose bytes pass :class:`_Incoming`."""

    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Incoming(sock))

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        # The final answer follows all interim ones, but http.client only reads on after this one.
        return version, http.client.CONTINUE if 101 < status < 200 else status, reason


class _Connection:
    """Mixed into urllib3's connections, with and without TLS, SOCKS or a proxy."""

    response_class = _Response
    host: str
    port: int
    timeout: float
    close: Any

    def connect(self) -> None:
        """Connect. Nothing of a request is sent yet, so a failure proves that the call did not run.

        :raises ConnectTimeoutError: it takes too long. Names are resolved by the system, which cannot be interrupted.
        """
        connected: Future[None] = Future()
        seconds = self.timeout

        def run() -> None:
            try:
                try:
                    super(_Connection, self).connect()  # type: ignore[misc]
                except BaseException as error:
                    connected.set_exception(error)
                else:
                    connected.set_result(None)
            except InvalidStateError:
                # The caller has given up.
                self.close()

        threading.Thread(target=run, name="whitebit-connect", daemon=True).start()
        wait([connected], seconds)
        if connected.cancel():
            raise ConnectTimeoutError(self, "no connection in time")
        try:
            connected.result()
        except TimeoutError:
            raise ConnectTimeoutError(self, "no connection in time") from None

    def _new_conn(self) -> Any:
        """Try the host's addresses one after the other, each for a part of the time.

        urllib3 lets each address take all of it: where a firewall drops IPv6, IPv4 would never be tried.
        """
        seconds = self.timeout
        # Through a SOCKS proxy, the host's name is the proxy's business.
        if not hasattr(self, "_socks_options"):
            with suppress(OSError, UnicodeError):
                addresses = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
                self.timeout = max(seconds / len(addresses), min(seconds, _LEAST_FOR_ADDRESS))
        try:
            sock = super()._new_conn()  # type: ignore[misc]
        finally:
            self.timeout = seconds
        sock.settimeout(seconds)
        return sock


_TOO_MUCH = f"more than {_LARGEST_BODY // 1024**2} MiB"


def _decompressed(path: str, response: Any, body: bytes) -> bytes:
    """A compressed body. None is asked for, but a proxy may compress all the same."""
    decompress = zlib.decompressobj(_ANY_HEADER)
    try:
        whole = decompress.decompress(body, _LARGEST_BODY + 1)
    except zlib.error:
        raise _broken(path, response, "a body that cannot be decompressed") from None
    if len(whole) > _LARGEST_BODY:
        raise _broken(path, response, _TOO_MUCH)
    if not decompress.eof:
        raise _broken(path, response, "a compressed body that broke off")
    return whole


def _broken(path: str, response: Any, what: str) -> WhiteBitUnavailableError:
    return WhiteBitUnavailableError(f"The exchange sent {what}.", path=path, status=response.status, money_moved=None)


def _connection_error(path: str, base_url: str, error: Exception) -> WhiteBitUnavailableError:
    """Name a failed request. Only a connection that was never made proves that nothing was sent."""
    reason = error
    # A connection through a proxy that breaks later, perhaps while the answer is under way, is a ProxyError too.
    if isinstance(reason, ProxyError):
        reason = reason.original_error
    if isinstance(reason, ProtocolError) and isinstance(reason.args[-1], Exception):
        reason = reason.args[-1]
    tunnel_refused = isinstance(reason, OSError) and str(reason).startswith("Tunnel connection failed")
    certificate_refused = isinstance(reason, SSLError) and any(
        isinstance(arg, ssl.SSLCertVerificationError) for arg in reason.args
    )
    never_connected = isinstance(reason, NewConnectionError | ConnectTimeoutError)
    not_sent = never_connected or certificate_refused or tunnel_refused
    next_step = None
    if tunnel_refused or (not_sent and isinstance(error, ProxyError)):
        what = "The proxy did not connect"
        next_step = "Check the variables HTTPS_PROXY and NO_PROXY of this machine, and the proxy. Then clear the task."
    elif certificate_refused:
        what = "The exchange's TLS certificate was not accepted"
        next_step = "Check the CA bundle (variable REQUESTS_CA_BUNDLE) and this machine's clock. Then clear the task."
    elif isinstance(reason, ConnectTimeoutError) and not isinstance(reason, NewConnectionError):
        what = "The exchange could not be connected to in time"
    elif isinstance(reason, ReadTimeoutError):
        what = "The exchange did not answer in time"
    else:
        what = "The connection to the exchange failed"
        # Only a host on this machine may be http, so it is no exchange that has a status page.
        if never_connected and base_url.startswith("http:"):
            next_step = (
                f"Start the sandbox (whitebit-sandbox serve), or correct the connection's host, {base_url}. "
                "Then clear the task."
            )
    # The text of the error can hold a proxy's address with its password: its type is enough.
    return WhiteBitUnavailableError(
        f"{what} ({type(reason).__name__}).", path=path, money_moved=False if not_sent else None, next_step=next_step
    )
