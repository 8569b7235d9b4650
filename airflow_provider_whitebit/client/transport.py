"""HTTP to the exchange: one session, deadlines, retries of what is safe to retry, errors by name.

Retries are tenacity's, not ``urllib3.Retry``: whether a call may be repeated depends on the text of the answer,
and every repetition needs a fresh nonce and signature, neither of which urllib3 can do below the session.
"""

from __future__ import annotations

import json
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Protocol

import requests
import tenacity
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.errors import (
    WhiteBitConfigurationError,
    WhiteBitError,
    WhiteBitNonceError,
    WhiteBitRateLimitError,
    WhiteBitUnavailableError,
    error_from_answer,
)
from airflow_provider_whitebit.client.shared import ThreadLock
from airflow_provider_whitebit.client.signing import Credentials, sign
from airflow_provider_whitebit.client.throttle import Throttle

log = logging.getLogger(__name__)

#: Largest answer that is read, in bytes: a page of 100 records takes about 30 kB.
_LARGEST_ANSWER = 32 * 1024 * 1024
_CHUNK = 64 * 1024
_OK = range(200, 300)
_SERVER_FAULT = range(500, 600)
#: Nonces tried one after the other, because other processes with the same key were first.
_NONCES = 4
#: Seconds that a call with a nonce of its own may be held back in all: the nonce would be dead soon.
_LONGEST_HOLD = 1

_decode = json.JSONDecoder(parse_float=Decimal).decode


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How calls that are safe to repeat are repeated: the vendor's advice for 429 and 5xx.

    :param attempts: tries in all, the first included.
    :param first_wait: seconds before the second try; doubled for each further one.
    :param longest_wait: cap of one wait, in seconds.
    :param jitter: up to this many seconds are added to each wait, so that workers do not come back together.
    """

    attempts: int = 5
    first_wait: int = 1
    longest_wait: int = 30
    jitter: int = 1


NO_RETRIES = RetryPolicy(attempts=1)


@dataclass(frozen=True, slots=True)
class Timeout:
    """Deadlines of one call, in seconds: for the connection, and for the whole answer once connected."""

    connect: float = 5
    read: float = 10


_URGENT = ContextVar("whitebit_urgent", default=False)


@contextmanager
def urgently() -> Iterator[None]:
    """What is asked for inside may use the throttle's reserve: a move's nonce does not live long."""
    token = _URGENT.set(True)
    try:
        yield
    finally:
        _URGENT.reset(token)


class Wire(Protocol):
    """Carries one prepared request to the exchange and brings its answer, the body not yet read."""

    def send(self, prepared: requests.PreparedRequest) -> requests.Response:
        """:raises requests.RequestException: if there is no answer."""

    def close(self) -> None:
        """Give up pooled connections."""


class Observer(Protocol):
    """Is told of every request, to count and time them. It must not raise."""

    def answered(self, path: str, status: int | None, seconds: float) -> None:
        """One request has been answered with a status, or not at all (``None``), after so many seconds."""

    def refused(self, path: str, error: WhiteBitError) -> None:
        """The exchange has refused a call."""

    def repeated(self, path: str | None) -> None:
        """A call is made once more."""


class _OneHostAdapter(HTTPAdapter):
    """An adapter for one host, one set of TLS options and one proxy: their pool is looked up once, not at each call.

    Of an answer it makes what a :class:`Wire` brings; cookies and encodings, which nobody reads, are left out.
    """

    _pool: Any = None

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **options)
        return self._pool

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = resp.status
        # They too can be asked for in any spelling.
        response.headers = resp.headers
        response.raw = resp
        return response

    def close(self) -> None:
        self._pool = None
        super().close()


class HttpWire:
    """HTTP with pooled connections: no redirects, no cookies, no ``.netrc``.

    A ``requests.Session`` looks the environment's proxies and CA bundle up at every call, which costs more than the
    rest of the call. Here it is asked once, and its adapter is used directly from then on.
    """

    def __init__(self, base_url: str, *, timeout: Timeout, verify: bool | str) -> None:
        with requests.Session() as session:
            self._options: dict[str, Any] = dict(
                session.merge_environment_settings(base_url + "/", {}, True, verify, None)
            )
        self._options["timeout"] = (timeout.connect, timeout.read)
        self._adapter = _OneHostAdapter(pool_connections=2, pool_maxsize=10, max_retries=0)

    def send(self, prepared: requests.PreparedRequest) -> requests.Response:
        return self._adapter.send(prepared, **self._options)

    def close(self) -> None:
        self._adapter.close()


@dataclass(slots=True)
class Transport:
    """Sends calls to one exchange as one account.

    :param base_url: scheme and host, for example ``https://whitebit.com``.
    :param credentials: key and secret; ``None`` allows public calls only.
    :param timeout: deadlines of one try.
    :param verify: ``True`` (the system's or ``requests``' CA bundle), a path to a CA bundle, or ``False``.
    :param nonce_window: whether repeatable calls ask for the five-second nonce window.
    :param retry: how repeatable calls are repeated.
    :param clock: the exchange's clock; shared with whoever makes nonces for moves.
    :param sleep: waits between tries, in seconds.
    :param throttle: keeps calls under the rate limits; ``None``: nothing does.
    :param wire: what carries the requests, if not HTTP.
    :param observer: is told of every request; ``None``: nobody is.
    """

    base_url: str
    credentials: Credentials | None = None
    timeout: Timeout = field(default_factory=Timeout)
    verify: bool | str = True
    nonce_window: bool = True
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    clock: ExchangeClock = field(default_factory=ExchangeClock)
    sleep: Callable[[float], None] = time.sleep
    throttle: Throttle | None = None
    wire: Wire | None = None
    observer: Observer | None = None
    _wire: Wire = field(init=False, repr=False)
    _retrying: tenacity.Retrying = field(init=False, repr=False)
    _synchronising: ThreadLock = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.base_url = self.base_url.rstrip("/")
        self._wire = self.wire or HttpWire(self.base_url, timeout=self.timeout, verify=self.verify)
        wait = tenacity.wait_exponential(multiplier=self.retry.first_wait, max=self.retry.longest_wait)
        if self.retry.jitter:
            wait = wait + tenacity.wait_random(0, self.retry.jitter)  # type: ignore[assignment]
        self._synchronising = ThreadLock(self.timeout.connect + self.timeout.read)
        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.retry.attempts),
            wait=_NonceAtOnce(wait),
            retry=tenacity.retry_if_exception_type(
                (WhiteBitUnavailableError, WhiteBitRateLimitError, WhiteBitNonceError)
            ),
            sleep=self.sleep,
            before_sleep=self._before_repeating,
            reraise=True,
        )

    def close(self) -> None:
        """Close the pooled connections. The transport stays usable and opens new ones."""
        self._wire.close()

    def public(self, path: str) -> Any:
        """``GET`` a public call, repeating it as the policy says.

        :returns: the decoded JSON; numbers with a point are ``Decimal``.
        :raises WhiteBitUnavailableError: no usable answer.
        :raises WhiteBitRateLimitError: refused by the rate limit.
        """
        return self._retrying(self._public_once, path)

    def private(self, path: str, params: Mapping[str, Any]) -> Any:
        """``POST`` a private call that may be repeated without harm, repeating it as the policy says.

        :param params: the call's own parameters.
        :returns: the decoded JSON; numbers with a point are ``Decimal``.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        return self._retrying(self._private_once, path, params)

    def once(self, path: str, params: Mapping[str, Any], *, nonce: int) -> Any:
        """``POST`` a private call exactly once, inside the nonce window. For calls that must not be repeated blindly.

        :param nonce: milliseconds; the exchange accepts the call at most 5 s from it on its own clock.
        :returns: the decoded JSON of a success.
        :raises WhiteBitError: with ``money_moved=False`` where the call certainly did not run, ``None`` where
            that is not known.
        """
        self._wait_for_urgent_turn(path)
        status, answer = self._post(path, params, nonce=nonce, nonce_window=True)
        refusal = error_from_answer(path, status, answer)
        if refusal is not None:
            self._learn_limit(refusal)
            self._tell_refusal(refusal)
            raise refusal
        if status not in _OK or _is_error_object(answer):
            raise _unusable(path, status, "an answer that is neither a success nor a refusal", money_moved=None)
        return answer

    def _private_once(self, path: str, params: Mapping[str, Any]) -> Any:
        nonces = 1 if self.retry is NO_RETRIES else _NONCES
        while True:
            self._wait_for_turn(path)
            nonce = self.clock.next_nonce(window=self.nonce_window)
            nonces -= 1
            try:
                status, answer = self._post(path, params, nonce=nonce, nonce_window=self.nonce_window)
                return self._judge(path, status, answer)
            except WhiteBitUnavailableError as error:
                error.money_moved = False
                raise
            except WhiteBitNonceError as error:
                # Another process with this key has used it first. That is nothing to wait for.
                if error.outside_window or not nonces:
                    raise

    def _public_once(self, path: str) -> Any:
        self._wait_for_turn(path)
        try:
            status, answer = self._exchange("GET", path, None, {"Accept": "application/json"})
        except WhiteBitUnavailableError as error:
            error.money_moved = False
            raise
        return self._judge(path, status, answer)

    def _wait_for_turn(self, path: str) -> None:
        if self.throttle is not None:
            while (delay := self.throttle.delay(path, urgent=_URGENT.get())) > 0:
                self.sleep(delay)

    def _wait_for_urgent_turn(self, path: str) -> None:
        if self.throttle is None:
            return
        left: float = _LONGEST_HOLD
        while (delay := self.throttle.delay(path, urgent=True)) > 0:
            left -= delay
            if left < 0:
                raise WhiteBitUnavailableError(
                    "Held back here: the exchange's rate limit was reached.", path=path, money_moved=False
                )
            self.sleep(delay)

    def _judge(self, path: str, status: int, answer: Any) -> Any:
        """The answer of a repeatable call, or the error it stands for."""
        refusal = error_from_answer(path, status, answer)
        if refusal is not None:
            self._learn_limit(refusal)
            self._tell_refusal(refusal)
            raise refusal
        if status not in _OK or _is_error_object(answer):
            what = "a server error" if status in _SERVER_FAULT else "an answer that cannot be understood"
            raise _unusable(path, status, what, money_moved=False)
        return answer

    def _learn_limit(self, refusal: WhiteBitError) -> None:
        if self.throttle is not None and isinstance(refusal, WhiteBitRateLimitError):
            self.throttle.refused()

    def _tell_refusal(self, refusal: WhiteBitError) -> None:
        if self.observer is not None:
            self.observer.refused(refusal.path or "", refusal)

    def _post(self, path: str, params: Mapping[str, Any], *, nonce: int, nonce_window: bool) -> tuple[int, Any]:
        if self.credentials is None:
            raise WhiteBitConfigurationError("This call needs an API key and its secret; none were given.", path=path)
        signed = sign(self.credentials, path, params, nonce=nonce, nonce_window=nonce_window)
        return self._exchange("POST", path, signed.body, signed.headers)

    def _exchange(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        """One request and its decoded answer; learns the exchange's time on the way."""
        if self.observer is None:
            return self._answer(method, path, body, headers)
        begin, status = time.monotonic(), None
        try:
            status, answer = self._answer(method, path, body, headers)
            return status, answer
        except WhiteBitError as error:
            status = error.status
            raise
        finally:
            self.observer.answered(path, status, time.monotonic() - begin)

    def _answer(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        prepared = requests.PreparedRequest()
        prepared.method = method
        prepared.url = self.base_url + path
        headers["User-Agent"] = _USER_AGENT
        if body is not None:
            headers["Content-Length"] = str(len(body))
        # The adapter only reads the headers: a plain dict, in the spelling above, is all it needs.
        prepared.headers = headers  # type: ignore[assignment]
        prepared.body = body
        prepared.hooks = {}
        sent_ms = self.clock.local_ms()
        try:
            response = self._wire.send(prepared)
        except requests.RequestException as error:
            raise _connection_error(path, error) from None
        try:
            received_ms = self.clock.local_ms()
            content = self._read(path, response)
        finally:
            response.close()
        self._learn_time(response.headers.get("Date"), sent_ms, received_ms)
        status = response.status_code
        log.debug("%s %s: HTTP %s, %s bytes", method, path, status, len(content))
        try:
            return status, _decode(content.decode("utf-8"))
        except (ValueError, RecursionError):
            what = "an empty body" if not content.strip() else "a body that is not JSON"
            # 429 says by its status alone that the call was refused before it ran.
            if status == requests.codes.too_many_requests:
                refusal = WhiteBitRateLimitError(
                    "The exchange's rate limit refused the call.", path=path, status=status
                )
                self._learn_limit(refusal)
                self._tell_refusal(refusal)
                raise refusal from None
            raise _unusable(path, status, what, money_moved=None) from None

    def _read(self, path: str, response: requests.Response) -> bytes:
        """The whole body, within the read deadline and a sane size."""
        deadline = time.monotonic() + self.timeout.read
        chunks: list[bytes] = []
        size = 0
        try:
            for chunk in response.raw.stream(_CHUNK, decode_content=True):
                chunks.append(chunk)
                size += len(chunk)
                if size > _LARGEST_ANSWER:
                    raise _unusable(path, response.status_code, "more than 32 MiB", money_moved=None)
                if time.monotonic() > deadline:
                    raise _unusable(path, response.status_code, "its body too slowly", money_moved=None)
        except (HTTPError, OSError) as error:
            raise _unusable(
                path,
                response.status_code,
                f"an answer that broke off ({type(error).__name__})",
                money_moved=None,
            ) from None
        return b"".join(chunks)

    def _learn_time(self, date: str | None, sent_ms: int, received_ms: int) -> None:
        if date is None:
            return
        with suppress(ValueError, TypeError):
            self.clock.observe(_seconds_of(date), sent_ms, received_ms)

    def _before_repeating(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.info("Trying again (try %s of %s): %s", state.attempt_number + 1, self.retry.attempts, error)
        if self.observer is not None:
            self.observer.repeated(getattr(error, "path", None))
        if isinstance(error, WhiteBitNonceError):
            self.synchronise()

    def synchronise(self) -> None:
        """Ask the exchange for its time, once, and drop what was believed before.

        Where it does not answer, nothing is raised: the next answered call teaches the time.
        """
        with self._synchronising:
            self.clock.forget()
            sent_ms = self.clock.local_ms()
            with suppress(WhiteBitError):
                answer = self._public_once(SERVER_TIME)
                self.clock.observe(server_seconds(answer), sent_ms, self.clock.local_ms())


SERVER_TIME = "/api/v4/public/time"
_YEAR_10000 = 253_402_300_800
_USER_AGENT = "airflow-provider-whitebit"
_WHOLE_DATE = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT")


@lru_cache(maxsize=256)
def _seconds_of(date: str) -> int:
    """Unix seconds of an HTTP date. Many answers bear the same one.

    :raises ValueError: if it is not whole: a date that was cut off would still be read, as another time.
    """
    if not _WHOLE_DATE.fullmatch(date):
        raise ValueError(date)
    return int(parsedate_to_datetime(date).timestamp())


def server_seconds(answer: Any) -> int:
    """The exchange's time out of the answer of ``/api/v4/public/time``, in whole Unix seconds.

    :raises WhiteBitUnavailableError: if the answer holds no time.
    """
    seconds = answer.get("time") if isinstance(answer, Mapping) else None
    if isinstance(seconds, str) and seconds.isdecimal():
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 <= seconds < _YEAR_10000:
        raise WhiteBitUnavailableError("The exchange sent no time.", path=SERVER_TIME)
    return seconds


class _NonceAtOnce(tenacity.wait.wait_base):
    """Waits as another policy says, but not at all after the first refused nonce: the clock was asked meanwhile."""

    def __init__(self, otherwise: tenacity.wait.wait_base) -> None:
        self._otherwise = otherwise

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        if isinstance(error, WhiteBitNonceError) and retry_state.attempt_number == 1:
            return 0
        return self._otherwise(retry_state)


def _is_error_object(answer: Any) -> bool:
    """Whether a body says no although its status says yes."""
    if not isinstance(answer, Mapping):
        return False
    return answer.get("success") is False or ("message" in answer and "code" in answer)


def _unusable(path: str, status: int | None, what: str, *, money_moved: bool | None) -> WhiteBitUnavailableError:
    return WhiteBitUnavailableError(f"The exchange sent {what}.", path=path, status=status, money_moved=money_moved)


def _connection_error(path: str, error: requests.RequestException) -> WhiteBitUnavailableError:
    """Name a failure of the wire. Only a connection that was never made proves that nothing ran."""
    # The text of the underlying error can hold a proxy's address with its password: its type is enough.
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None) or cause
    # A connection through a proxy that breaks later, perhaps with the answer under way, is a ProxyError too.
    reason = getattr(reason, "original_error", reason)
    proxy_refused = _is_tunnel_refused(reason)
    never_connected = (
        isinstance(error, requests.ConnectTimeout)
        or isinstance(reason, NewConnectionError | ConnectTimeoutError)
        or _is_certificate_refused(reason)
        or proxy_refused
    )
    if proxy_refused or (never_connected and isinstance(error, requests.exceptions.ProxyError)):
        what = "The proxy did not connect"
    else:
        what = {
            requests.ConnectTimeout: "The exchange could not be connected to in time",
            requests.ReadTimeout: "The exchange did not answer in time",
            requests.exceptions.SSLError: "The exchange's TLS certificate was not accepted",
        }.get(type(error), "The connection to the exchange failed")
    detail = type(reason).__name__ if isinstance(reason, Exception) else type(error).__name__
    return WhiteBitUnavailableError(f"{what} ({detail}).", path=path, money_moved=False if never_connected else None)


def _is_tunnel_refused(reason: object) -> bool:
    """Whether a proxy has said no to CONNECT: what was to go through the tunnel was not sent."""
    return isinstance(reason, OSError) and str(reason).startswith("Tunnel connection failed")


def _is_certificate_refused(reason: object) -> bool:
    """Whether TLS failed at the certificate, before any byte of the call; other TLS errors can come after it."""
    return isinstance(reason, SSLError) and any(isinstance(arg, ssl.SSLCertVerificationError) for arg in reason.args)
