"""The fields of a connection, checked and typed. Nothing is sent before they are right."""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, ValidationError

from airflow_provider_whitebit.client.errors import (
    WhiteBitConfigurationError,
    WhiteBitValidationError,
    shown,
)
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.hooks.airflow_compat import mask_secret
from airflow_provider_whitebit.hooks.assets import encode_conn_id
from airflow_provider_whitebit.hooks.connection_form import CONNECTION_TYPE, FIELDS
from airflow_provider_whitebit.moves.limits import OPERATIONS, Limits
from airflow_provider_whitebit.moves.parsing import read_limit, read_ticker, spelled
from airflow_provider_whitebit.treasury.fields import fault, first_fault

if TYPE_CHECKING:
    from airflow.sdk import Connection

HOSTS = {"global": "whitebit.com", "eu": "whitebit.eu"}
_PORTS = {"https": 443, "http": 80}
_HIGHEST_PORT = 65_535
_LONGEST_SECONDS = 600
#: More moves than the locks let an account make in an hour.
_MOST_MOVES = 10_000
_PREFIX = "extra__whitebit__"
#: The exchange's nodes may have clocks this far apart, and the time that one tells is not another's.
LEAST_MARGIN_MS = 2_000
#: Earlier names of fields, which connections may still have.
_OLD_NAMES = {"settle_margin": "reconcile_margin", "former_connection": "previous_conn_id"}


@dataclass(frozen=True, slots=True)
class Settings:
    """One connection.

    :param base_url: scheme, host and port.
    :param credentials: API key and secret.
    :param region: ``global`` or ``eu``.
    :param timeout: seconds that a call may take, from connecting to the last byte of its answer.
    :param limits: which moves an administrator allows.
    :param nonce_window: whether reading calls use the nonce window.
    :param reconcile_margin_ms: how late the exchange may record what it accepted, in milliseconds; at least
        :data:`LEAST_MARGIN_MS`, whatever the connection says.
    :param verify_tls: whether the certificate is checked.
    :param previous_conn_id: the connection that holds this account's old key while it is being exchanged; empty: none.
    """

    base_url: str
    credentials: Credentials
    limits: Limits
    region: str = "global"
    timeout: int = 10
    nonce_window: bool = True
    reconcile_margin_ms: int = 10_000
    verify_tls: bool = True
    previous_conn_id: str = ""

    @property
    def account(self) -> str:
        """A fingerprint of the API key. Journals keep it: a move in doubt is never reconciled with another key.

        The host is no part of it: the exchange's keys are unique, and one host has many names.
        """
        return hashlib.sha256(self.credentials.api_key.encode()).hexdigest()[:16]

    @property
    def exchange(self) -> str:
        """Host and port in one spelling. The exchange counts calls by IP address, whatever name they are sent to."""
        parts = urlsplit(self.base_url)
        name = (parts.hostname or "").removeprefix("www.")
        return f"{'localhost' if _is_loopback(name) else name}:{parts.port or _PORTS[parts.scheme]}"


def settings_of(conn_id: str, connection: Connection) -> Settings:
    """Check the fields of an Airflow connection. Key and secret are masked in logs from here on.

    :param conn_id: names the connection.
    :raises WhiteBitConfigurationError: which field is wrong.
    """
    for secret in (connection.password, connection.login):
        # A number is refused below. The exchange gets a text without the spaces around it.
        for spelling in {str(secret), str(secret).strip()} - {""} if secret else ():
            mask_secret(spelling)
    if connection.conn_type != CONNECTION_TYPE:
        # Never send another service's credentials to the exchange.
        raise WhiteBitConfigurationError(
            f"Connection {conn_id!r} is of type {connection.conn_type!r}, not {CONNECTION_TYPE!r}: nothing was sent.",
            next_step="Name a connection of this type, or change the connection's type.",
        )
    extra = _decode(conn_id, connection.extra)
    # Airflow passes it on as JSON, in which there are no decimals. Airflow 3.0 lets the task fail if it cannot.
    mask_secret(json.loads(json.dumps(extra, default=str)))
    return read_settings(
        conn_id,
        login=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        schema=connection.schema,
        extra=extra,
    )


def read_settings(
    conn_id: str,
    *,
    login: str | None,
    password: str | None,
    host: str | None,
    port: int | None = None,
    schema: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Settings:
    """Read settings from a connection's fields.

    :param conn_id: names the connection in errors.
    :raises WhiteBitConfigurationError: which field is wrong, and how to write it. Never shows key or secret.
    """
    try:
        # Moves are announced under this id: find out before they are made whether that is possible.
        encode_conn_id(conn_id)
    except ValueError as error:
        raise WhiteBitConfigurationError(f"Connection {conn_id!r:.100}: {error}.") from None
    try:
        read = _Extra.model_validate(_by_name(extra or {}))
        for name in ("max_move", "max_per_day"):
            if read.allowed_tickers and (strange := getattr(read, name).keys() - read.allowed_tickers):
                raise _Wrong(
                    name, f"names {', '.join(sorted(strange))}, not among allowed_tickers; correct one of them"
                )
        for name, value in (("login (API key)", login), ("password (API secret)", password), ("host", host)):
            # JSON and YAML make a number of digits without quotes, whose spelling is lost.
            if not isinstance(value, str | None):
                raise _Wrong(name, "is not a text; write it in quotes")
        key, secret = (login or "").strip(), (password or "").strip()
        for name, value in (("login (API key)", key), ("password (API secret)", secret)):
            if not value:
                raise _Wrong(name, "is empty")
            if not value.isascii() or not value.isprintable() or " " in value:
                raise _Wrong(name, "contains spaces or characters that no API key has")
        return Settings(
            base_url=_base_url(read, host, port, schema),
            credentials=Credentials(key, secret),
            limits=Limits(
                conn_id,
                read.read_only,
                read.max_move,
                read.allowed_tickers,
                read.allowed_operations,
                read.max_per_day,
                read.max_moves_per_hour,
            ),
            region=read.region,
            timeout=read.timeout,
            nonce_window=read.nonce_window,
            reconcile_margin_ms=max(read.reconcile_margin * 1000, LEAST_MARGIN_MS),
            verify_tls=read.verify_tls,
            previous_conn_id=read.previous_conn_id,
        )
    except ValidationError as error:
        name, what = first_fault(error)
        raise _wrong(conn_id, name, what) from None
    except _Wrong as error:
        raise _wrong(conn_id, *error.args) from None


def _decode(conn_id: str, text: str | dict[str, Any] | None) -> dict[str, Any]:
    """Decode the extra. Airflow's own ``extra_dejson`` is empty if the text is not valid, so no limit would remain.

    :param text: JSON; a secrets backend may have decoded it already.
    :raises WhiteBitConfigurationError: it is not a JSON object, or names a field twice.
    """
    if isinstance(text, dict):
        return text
    try:
        extra = json.loads(text, parse_float=Decimal, object_pairs_hook=_each_once) if text and text.strip() else {}
    except _Wrong as error:
        raise _wrong(conn_id, *error.args) from None
    except (ValueError, RecursionError):
        extra = None
    if not isinstance(extra, dict):
        raise WhiteBitConfigurationError(f"Connection {conn_id!r}: extra is not a JSON object.")
    return extra


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            # Python itself would silently take the last one.
            raise _Wrong(name, "is given twice in the extra: keep one of them")
        found[name] = value
    return found


class _Wrong(Exception):
    """A field is wrong: its name, and what is wrong with it."""


def _wrong(conn_id: str, name: str, what: str) -> WhiteBitConfigurationError:
    return WhiteBitConfigurationError(f"Connection {conn_id!r}: {name} {what}.")


def _by_name(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are given by their names in the form, and defaults for the others."""
    given: dict[str, Any] = {}
    fields = {entry.name: entry.default for entry in FIELDS}
    for spelling, value in extra.items():
        name = spelling.removeprefix(_PREFIX)
        name = _OLD_NAMES.get(name, name)
        if name not in fields:
            # A misspelt limit would be no limit.
            meant = difflib.get_close_matches(re.sub("[^a-z]+", "_", name.lower()), fields, n=1)
            hint = f"did you mean {meant[0]}" if meant else f"the fields are {', '.join(fields)}"
            raise _Wrong(shown(name), f"is not a field of the extra; {hint}")
        if value is not None and not (isinstance(value, str) and not value.strip()):
            if name in given:
                raise _Wrong(name, f"is given twice in the extra, once as {spelling}: keep one of them")
            given[name] = value.strip() if isinstance(value, str) else value
    return {**fields, **given}


def _read_amounts(raw: Any) -> dict[str, Decimal]:
    """Read amounts by ticker. What names no ticker is refused: it would be no limit."""
    if raw is None:
        return {}
    if isinstance(raw, str):
        try:
            raw = json.loads(raw, parse_float=Decimal, object_pairs_hook=_each_once)
        except (ValueError, ArithmeticError, RecursionError):
            raise fault('is not JSON; write it like {"USDT": "5000"}') from None
    if not isinstance(raw, Mapping):
        raise fault('is not an object; write it like {"USDT": "5000"}')
    if not raw:
        raise fault('names no tickers; write it like {"USDT": "5000"}, or leave it empty to set no limit')
    limits: dict[str, Decimal] = {}
    for spelling, amount in raw.items():
        ticker = _read_ticker(spelling)
        if ticker in limits:
            raise fault(f"names {ticker} twice: keep one of them")
        limits[ticker] = _read_limit(ticker, amount)
    return limits


def _read_limit(ticker: object, raw: object) -> Decimal:
    try:
        # A connection's JSON may contain a bare number.
        return read_limit("limit", spelled(raw) if isinstance(raw, float) else raw)
    except WhiteBitValidationError:
        raise fault(f'has no amount for {ticker}; write it like {{"{ticker}": "5000"}}') from None


def _read_allowed_tickers(raw: Any) -> frozenset[str]:
    return frozenset(map(_read_ticker, _read_words(raw, "tickers", "USDT, USDC")))


def _read_allowed_operations(raw: Any) -> frozenset[str]:
    return frozenset(map(_read_operation, _read_words(raw, "operations", "flex_withdraw, flex_close")))


def _read_words(raw: Any, what: str, example: str) -> list[str]:
    """Read a list of words, or words that commas separate. A list without a word is refused: it would be no limit."""
    if raw is None:
        return []
    if isinstance(raw, str):
        try:
            raw = json.loads(raw) if raw.startswith("[") else raw.split(",")
        except (ValueError, RecursionError):
            raise fault(f"is not a list; write it like {example}") from None
    if not isinstance(raw, list | tuple) or not all(isinstance(word, str) for word in raw):
        raise fault(f"is not a list of {what}; write it like {example}")
    words = [word for word in raw if word.strip()]
    if not words:
        raise fault(f"names no {what}; write it like {example}, or leave it empty to allow all")
    return words


def _read_operation(raw: str) -> str:
    operation = raw.strip().lower()
    if operation not in OPERATIONS:
        meant = difflib.get_close_matches(re.sub("[^a-z]+", "_", operation), OPERATIONS, n=1)
        hint = f"did you mean {meant[0]}" if meant else f"the operations are {', '.join(OPERATIONS)}"
        raise fault(f"names {shown(raw.strip())}, which is no operation; {hint}")
    return operation


def _read_ticker(raw: object) -> str:
    try:
        return read_ticker(raw)
    except WhiteBitValidationError:
        raise fault(f"names {shown(raw)}, which is not a ticker; write it like USDT") from None


class _Extra(BaseModel):
    """The extra, typed. The UI sends booleans and numbers as text, JSON connections send them as they are."""

    region: Annotated[Literal["global", "eu"], BeforeValidator(lambda raw: str(raw).lower())]
    # As text, because pydantic itself reads the boolean true as 1.
    timeout: Annotated[int, BeforeValidator(str), Field(ge=1, le=_LONGEST_SECONDS)]
    read_only: bool
    max_move: Annotated[dict[str, Decimal], PlainValidator(_read_amounts)]
    allowed_tickers: Annotated[frozenset[str], PlainValidator(_read_allowed_tickers)]
    allowed_operations: Annotated[frozenset[str], PlainValidator(_read_allowed_operations)]
    max_per_day: Annotated[dict[str, Decimal], PlainValidator(_read_amounts)]
    max_moves_per_hour: Annotated[
        Annotated[int, Field(ge=1, le=_MOST_MOVES)] | None,
        BeforeValidator(lambda raw: None if raw is None else str(raw)),
    ]
    nonce_window: bool
    reconcile_margin: Annotated[int, BeforeValidator(str), Field(ge=0, le=_LONGEST_SECONDS)]
    verify_tls: bool
    allow_custom_host: bool
    previous_conn_id: Annotated[str, BeforeValidator(lambda raw: "" if raw is None else raw)]


def _base_url(extra: _Extra, host: str | None, port: int | None, schema: str | None) -> str:
    """Scheme, host and port. A usual port is left out."""
    given = (host or "").strip().rstrip("/")
    if not given:
        return f"https://{HOSTS[extra.region]}"
    try:
        parts = urlsplit(_with_scheme(given, schema))
        number = int(parts.port or port or 0)
    except ValueError:
        raise _no_url(extra) from None
    if not 0 <= number <= _HIGHEST_PORT:
        raise _Wrong("port", f"is {number}; leave it empty")
    name = (parts.hostname or "").removesuffix(".")
    if not name or parts.path or parts.query or parts.fragment or parts.scheme not in _PORTS:
        raise _no_url(extra)
    if parts.username is not None or parts.password is not None:
        raise _Wrong("host", "contains a user name or password; they belong into login and password")
    _check_host(extra, parts.scheme, name)
    shown_name = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{shown_name}" + (f":{number}" if number and number != _PORTS[parts.scheme] else "")


def _no_url(extra: _Extra) -> _Wrong:
    return _Wrong("host", f"is not a base URL; leave it empty or write https://{HOSTS[extra.region]}")


def _with_scheme(host: str, schema: str | None) -> str:
    if "://" in host:
        return host
    bare = f"//{host}" if host.count(":") < 2 or host.startswith("[") else f"//[{host}]"
    usual = "http" if _is_loopback(urlsplit(bare).hostname or "") else "https"
    return f"{schema if schema in _PORTS else usual}:{bare}"


def _check_host(extra: _Extra, scheme: str, name: str) -> None:
    loopback = _is_loopback(name)
    for region, vendor in HOSTS.items():
        if name in (vendor, f"www.{vendor}") and region != extra.region:
            raise _Wrong("region", f"is {extra.region!r}, but host is that of region {region!r}")
    if not loopback and name not in HOSTS.values() and not extra.allow_custom_host:
        raise _Wrong("host", f"is {name!a}, neither the exchange's nor this machine; allow_custom_host allows it")
    if scheme == "http" and not loopback:
        raise _Wrong("host", f"names {name} without TLS; write https://{name}")


def _is_loopback(name: str) -> bool:
    try:
        return name.removesuffix(".") == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
