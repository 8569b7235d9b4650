"""Calls to the exchange as one account: signed, under the rate limits, repeated if that is safe, errors by name.

Whether a call may be repeated depends on the text of its answer, and each repetition needs a fresh nonce and
signature. So calls are repeated here, not below, by urllib3.
"""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Protocol

from airflow_provider_whitebit.client.answers import error_from_answer, error_from_page, unusable
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.endpoints import PLATFORM_STATUS, SERVER_TIME
from airflow_provider_whitebit.client.errors import (
    TRANSIENT_ERRORS,
    WhiteBitConfigurationError,
    WhiteBitError,
    WhiteBitMaintenanceError,
    WhiteBitNonceError,
    WhiteBitRateLimitError,
    WhiteBitUnavailableError,
    in_one_line,
    printable,
    shown,
)
from airflow_provider_whitebit.client.meanings import REDIRECTED
from airflow_provider_whitebit.client.models import PlatformStatus, parse_time
from airflow_provider_whitebit.client.shared import ThreadLock
from airflow_provider_whitebit.client.signing import Credentials, sign
from airflow_provider_whitebit.client.throttle import LONGEST_OWN_DELAY, Throttle
from airflow_provider_whitebit.client.transport_http import HttpWire

log = logging.getLogger(__name__)

_USER_AGENT = "airflow-provider-whitebit"
#: The status of every reading call's success. Calls that move money name their own.
_OK = frozenset({200})
#: The status of all answers but the platform status during maintenance (vendor page: Maintenance status).
_UNAVAILABLE = 503
#: Nonces that one try may use up because other processes with the same key used them first.
_NONCES_OF_ONE_TRY = 4
_HELD = "The call was not sent: this machine has reached the exchange's rate limit."
#: Most seconds that the throttle may delay a call whose nonce is already chosen: it expires after 5 s.
_LONGEST_HOLD = 1


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """:raises ValueError: a name occurs twice: each reader could take another value for it."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError
    return fields


#: Longer whole numbers are read as decimals: Python needs quadratic time for integers, and forbids the longest.
_MOST_DIGITS = 100


def _whole(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _MOST_DIGITS else Decimal(digits)


_decoder = json.JSONDecoder(parse_float=Decimal, parse_int=_whole, object_pairs_hook=_unambiguous)


def _decode(body: bytes) -> Any:
    """The JSON in a body. Its texts have no control characters, line separators or changes of the writing direction.

    So none can forge a line of a log, whatever is made of it.

    :raises ValueError: it is not JSON.
    """
    # Some gateways put a byte order mark before the JSON.
    text = body.decode("utf-8-sig")
    try:
        decoded = _decoder.decode(text)
        # Such characters are not ASCII, or escaped. Nearly all answers are plain ASCII.
        plain = text.isascii() and "\\" not in text and "\x7f" not in text
        return decoded if plain else _printable(decoded)
    except (ArithmeticError, RecursionError):
        raise ValueError from None


def _printable(decoded: Any) -> Any:
    if isinstance(decoded, str):
        return printable(decoded)
    if isinstance(decoded, list):
        return [_printable(entry) for entry in decoded]
    if isinstance(decoded, dict):
        return {printable(name): _printable(value) for name, value in decoded.items()}
    return decoded


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How reading calls are repeated; the defaults are the vendor's advice for 429 and 5xx.

    :param attempts: tries in all, including the first.
    :param first_wait: seconds before the second try; doubled before each further one.
    :param longest_wait: most seconds of one wait. An answer that asks for a longer one (``Retry-After``) is an error
        at once.
    :param jitter: up to this many seconds are added to each wait, so that workers do not return at the same time.
    """

    attempts: int = 5
    first_wait: int = 1
    longest_wait: int = 30
    jitter: int = 1

    def wait(self, attempt: int) -> float:
        """Seconds to wait after a failed attempt.

        :param attempt: its number, from 1.
        """
        return min(self.first_wait << (attempt - 1), self.longest_wait) + random.random() * self.jitter


NO_RETRIES = RetryPolicy(attempts=1)


@dataclass(frozen=True, slots=True)
class Timeout:
    """Deadlines in seconds.

    :param connect: for the connection of a call.
    :param read: for a whole call, from the look-up of the host's name to the last byte of the answer.
    :param all_calls: for all calls of a transport together, from the first one on; ``None`` for no limit.
    """

    connect: float = 5
    read: float = 10
    all_calls: float | None = None


_URGENT = ContextVar("whitebit_urgent", default=False)


@contextmanager
def urgently() -> Iterator[None]:
    """Let the calls inside use the throttle's reserve, because the nonce of a move expires soon."""
    token = _URGENT.set(True)
    try:
        yield
    finally:
        _URGENT.reset(token)


class WireAnswer(Protocol):
    """One answer of the exchange, its body read completely."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def body(self) -> bytes: ...


class Wire(Protocol):
    """Carries requests to the exchange."""

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> WireAnswer:
        """Send one request once.

        :raises WhiteBitUnavailableError: if there is no whole answer. ``money_moved`` is ``False`` only if the request
            was certainly not sent, else ``None``.
        """

    def close(self) -> None:
        """Close pooled connections."""


class Observer(Protocol):
    """Counts and times requests. Its methods must not raise."""

    def answered(self, path: str, status: int | None, seconds: float) -> None:
        """One request was answered with a status, or without one (``None``), after this many seconds."""

    def refused(self, path: str, error: WhiteBitError) -> None:
        """The exchange refused a call."""

    def repeated(self, path: str | None) -> None:
        """A call is sent once more."""


@dataclass(slots=True)
class Transport:
    """Sends calls to one exchange as one account. Its public methods only read.

    :param base_url: scheme and host, for example ``https://whitebit.com``.
    :param credentials: key and secret; ``None`` allows public calls only.
    :param timeout: deadlines of one try.
    :param verify: ``True`` (the CA bundle of the environment or of ``requests``), a path to a CA bundle, or ``False``.
    :param nonce_window: whether reading calls use the five-second nonce window.
    :param retry: how reading calls are repeated.
    :param clock: the exchange's clock, which also makes the nonces of moves.
    :param sleep: waits between tries, in seconds.
    :param throttle: keeps calls under the rate limits; ``None`` for no limit.
    :param wire: carries the requests; by default HTTP.
    :param observer: counts and times every request.
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
    _synchronising: ThreadLock = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.base_url = self.base_url.rstrip("/")
        given = self.timeout
        self._wire = self.wire or HttpWire(
            self.base_url,
            connect_timeout=given.connect,
            read_timeout=given.read,
            all_calls=given.all_calls,
            verify=self.verify,
        )
        self._synchronising = ThreadLock(given.read)

    def close(self) -> None:
        """Close the pooled connections. The transport stays usable and opens new ones."""
        self._wire.close()

    def synchronise(self) -> None:
        """Ask the exchange for its time, once, and drop the earlier estimate.

        Without an answer nothing is raised: the next answered call teaches the time.
        """
        with self._synchronising:
            self.clock.forget()
            sent_ms = self.clock.local_ms()
            with suppress(WhiteBitError):
                self._wait_for_turn(SERVER_TIME)
                answer = self._exchange(SERVER_TIME, None)
                self.clock.observe(server_seconds(answer), sent_ms, self.clock.local_ms())

    def _repeatable(self, path: str, params: Mapping[str, Any] | None = None, *, success: Container[int] = _OK) -> Any:
        """Send a call that may run several times without harm, repeated as the retry policy says.

        Only the reading client calls this, and the moving client to switch auto-reinvest.

        :param path: of the call.
        :param params: of a signed call; ``None`` for a public one.
        :param success: the HTTP statuses of a success.
        :returns: the decoded JSON; numbers with a point are ``Decimal``.
        :raises WhiteBitMaintenanceError: the last answer was a 503, and the platform status says why.
        :raises WhiteBitError: another of its subclasses, by what the exchange answered.
        """
        attempt, nonces, used = 1, _NONCES_OF_ONE_TRY, False
        while True:
            try:
                self._wait_for_turn(path)
                nonce = 0 if params is None else self.clock.next_nonce(window=self.nonce_window, apart=used)
                nonces -= 1
                return self._exchange(path, params, nonce=nonce, nonce_window=self.nonce_window, success=success)
            except WhiteBitError as error:
                error.money_moved = False
                if not isinstance(error, TRANSIENT_ERRORS):
                    raise
                used = isinstance(error, WhiteBitNonceError) and not error.outside_window
                if used and nonces:
                    # Another process with this key used the nonce first: take another one at once.
                    continue
                if attempt >= self.retry.attempts or error.retry_after > self.retry.longest_wait:
                    if error.status == _UNAVAILABLE and path != PLATFORM_STATUS and self._in_maintenance():
                        text = "The exchange is in maintenance."
                        named = WhiteBitMaintenanceError(text, path=path, status=error.status, said=error.said)
                        raise self._asks_to_wait(named, error.retry_after) from None
                    raise
                self._prepare_repetition(error, attempt)
            attempt, nonces = attempt + 1, _NONCES_OF_ONE_TRY

    def _in_maintenance(self) -> bool:
        """Ask for the platform status, once. Without an answer it is not known, so no maintenance."""
        with suppress(WhiteBitError):
            self._wait_for_turn(PLATFORM_STATUS)
            return PlatformStatus.from_api(self._exchange(PLATFORM_STATUS, None)).maintenance
        return False

    def _once(self, path: str, params: Mapping[str, Any], *, nonce: int, success: Container[int] = _OK) -> Any:
        """Send a signed call exactly once, with the nonce window. It may move money.

        Only the private senders of this package call this: they check the connection's limits and keep the journal.

        :param path: any path.
        :param params: the call's own parameters.
        :param nonce: milliseconds; the exchange accepts the call at most 5 s from it on its own clock.
        :param success: the HTTP statuses of a success.
        :returns: the decoded JSON of a success.
        :raises WhiteBitError: with ``money_moved=False`` if the call certainly did not run, ``None`` if that is
            not known.
        """
        left: float = _LONGEST_HOLD
        while self.throttle is not None and (delay := self.throttle.delay(path, urgent=True)) > 0:
            left -= delay
            if left < 0:
                unsent = WhiteBitUnavailableError(
                    _HELD,
                    path=path,
                    next_step="Run the task again. If this lasts, spread the calls out with an Airflow pool.",
                )
                raise self._asks_to_wait(unsent, int(delay) + 1) if delay > LONGEST_OWN_DELAY else unsent
            self.sleep(delay)
        return self._exchange(path, params, nonce=nonce, nonce_window=True, success=success)

    def _wait_for_turn(self, path: str) -> None:
        if self.throttle is not None:
            while (delay := self.throttle.delay(path, urgent=_URGENT.get())) > 0:
                if delay > LONGEST_OWN_DELAY:
                    error = WhiteBitRateLimitError(_HELD, path=path)
                    raise self._asks_to_wait(error, int(delay) + 1)
                self.sleep(delay)

    def _exchange(
        self,
        path: str,
        params: Mapping[str, Any] | None,
        *,
        nonce: int = 0,
        nonce_window: bool = False,
        success: Container[int] = _OK,
    ) -> Any:
        """Send one request, learn the exchange's time from its answer, and return the decoded JSON of a success."""
        if params is None:
            method, headers, body = "GET", {"Accept": "application/json"}, None
        elif self.credentials is None:
            raise WhiteBitConfigurationError("This call needs an API key and its secret; none were given.", path=path)
        else:
            signed = sign(self.credentials, path, params, nonce=nonce, nonce_window=nonce_window)
            method, headers, body = "POST", signed.headers, signed.body
        headers["User-Agent"] = _USER_AGENT
        status, begin, sent_ms = None, time.monotonic(), self.clock.local_ms()
        try:
            answer = self._wire.send(method, path, headers, body)
            status = answer.status
        except WhiteBitUnavailableError as error:
            status = error.status
            raise
        finally:
            if self.observer is not None:
                self.observer.answered(path, status, time.monotonic() - begin)
        if (date := answer.headers.get("Date")) is not None:
            with suppress(ValueError, TypeError):
                self.clock.observe(_seconds_of(date), sent_ms, self.clock.local_ms())
        log.debug("%s %s: HTTP %s, %s bytes", method, path, status, len(answer.body))
        return self._judge(path, answer, success)

    def _judge(self, path: str, answer: WireAnswer, success: Container[int]) -> Any:
        """The decoded JSON of a success. :raises WhiteBitError: if the answer is anything else."""
        status = answer.status
        try:
            decoded = _decode(answer.body)
        except ValueError:
            error = error_from_page(path, status, answer.headers, answer.body)
        else:
            refusal = error_from_answer(path, status, decoded)
            if refusal is None and status in success and not _is_error_object(decoded):
                return decoded
            error = refusal or unusable(path, status, decoded)
        if error.meaning == REDIRECTED.name and (target := answer.headers.get("Location")):
            error.message += f" It names {shown(target)}."
        if isinstance(error, WhiteBitRateLimitError | WhiteBitUnavailableError):
            seconds = _seconds_to_wait(answer.headers.get("Retry-After", ""), self.clock.now_ms() // 1000)
            self._asks_to_wait(error, seconds)
        if self.throttle is not None and isinstance(error, WhiteBitRateLimitError):
            self.throttle.refused(error.retry_after)
        if self.observer is not None and not isinstance(error, WhiteBitUnavailableError):
            self.observer.refused(path, error)
        raise error

    def _asks_to_wait(self, error: WhiteBitError, seconds: int) -> WhiteBitError:
        """Add to an error until when the exchange asks to wait, if it does."""
        if not seconds:
            return error
        until = datetime.fromtimestamp(self.clock.now_ms() // 1000 + seconds, UTC)
        error.retry_after = seconds
        error.message += f" The exchange asks to wait {seconds} s, until {until:%Y-%m-%d %H:%M:%S} UTC."
        error.advice = error.next_step = "Run the task again after that time."
        return error

    def _prepare_repetition(self, error: WhiteBitError, attempt: int) -> None:
        """Wait before the next try. A refused nonce is first answered by a look at the exchange's clock."""
        # Without the error's next step, which is for a task that has failed.
        reason = printable(in_one_line(error))
        log.info("Trying %s again (try %s of %s): %s", error.path, attempt + 1, self.retry.attempts, reason)
        if self.observer is not None:
            self.observer.repeated(error.path)
        if isinstance(error, WhiteBitNonceError):
            self.synchronise()
            if attempt == 1:
                return
        self.sleep(max(self.retry.wait(attempt), error.retry_after))


#: Seconds of about three years: a larger value is no time that anybody waits for, and could leave the calendar.
_LONGEST_RETRY_AFTER = 10**8
_WHOLE_DATE = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT")


@lru_cache(maxsize=256)
def _seconds_of(date: str) -> int:
    """Unix seconds of an HTTP date. Cached, because many answers carry the same one.

    :raises ValueError: if it is not complete: a truncated date could be read as another time.
    """
    if not _WHOLE_DATE.fullmatch(date):
        raise ValueError(date)
    return int(parsedate_to_datetime(date).timestamp())


def _seconds_to_wait(header: str, now: int) -> int:
    """The seconds of a ``Retry-After`` header, which holds seconds or an HTTP date; 0 if it is neither.

    urllib3's parser compares the date with this machine's clock, which may be wrong.

    :param header: its value.
    :param now: the exchange's time in Unix seconds.
    """
    header = header.strip()
    if header.isascii() and header.isdecimal():
        return min(int(header[:10]), _LONGEST_RETRY_AFTER)
    with suppress(ValueError):
        return min(max(0, _seconds_of(header) - now), _LONGEST_RETRY_AFTER)
    return 0


def server_seconds(answer: Any) -> int:
    """The exchange's time in whole Unix seconds, rounded down, from the answer of :data:`~.endpoints.SERVER_TIME`.

    :raises WhiteBitUnavailableError: if the answer holds no time.
    """
    try:
        return parse_time(answer.get("time") if isinstance(answer, Mapping) else None).int_timestamp
    except ValueError:
        raise WhiteBitUnavailableError("The exchange sent no time.", path=SERVER_TIME) from None


def _is_error_object(answer: Any) -> bool:
    """Whether a body refuses the call although its status says success."""
    if not isinstance(answer, dict):
        return False
    fails = answer.get("success") is False or answer.get("error") or answer.get("errors")
    # This exchange has sent refusals as {"response": null, "status": 422, "errors": {}, "warning": ...}.
    fails = fails or ("response" in answer and answer["response"] is None)
    return bool(fails) or isinstance(answer.get("message"), str) or ("message" in answer and "code" in answer)
