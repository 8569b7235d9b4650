"""The fields of a connection, checked and typed. Nothing is sent before they are right."""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError
from airflow_provider_whitebit.client.models import parse_amount
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.hooks.connection_form import FIELDS

log = logging.getLogger(__name__)

HOSTS = {"global": "whitebit.com", "eu": "whitebit.eu"}
_PORTS = {"https": 443, "http": 80}
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")
_LONGEST_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Settings:
    """One connection.

    :param base_url: scheme, host and port.
    :param credentials: API key and secret.
    :param region: ``global`` or ``eu``.
    :param timeout: seconds that an answer may take.
    :param read_only: no move is sent.
    :param max_move: largest amount of one move by ticker.
    :param allowed_tickers: tickers that may be moved; empty: all.
    :param nonce_window: whether reading calls use the nonce window.
    :param settle_margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :param verify_tls: whether the certificate is checked.
    :param former_connection: the connection that holds this account's old key while it is being exchanged; empty: none.
    """

    base_url: str
    credentials: Credentials
    region: str = "global"
    timeout: int = 10
    read_only: bool = False
    max_move: Mapping[str, Decimal] = field(default_factory=dict)
    allowed_tickers: frozenset[str] = frozenset()
    nonce_window: bool = True
    settle_margin_ms: int = 10_000
    verify_tls: bool = True
    former_connection: str = ""

    @property
    def limits_in_words(self) -> str:
        """The limits that an administrator has set, as one phrase."""
        parts = ["read only"] if self.read_only else []
        if self.allowed_tickers:
            parts.append(f"only {', '.join(sorted(self.allowed_tickers))}")
        if self.max_move:
            most = ", ".join(f"{amount:f} {ticker}" for ticker, amount in sorted(self.max_move.items()))
            parts.append(f"at most {most} in one move")
        return f"limits of this connection: {'; '.join(parts)}" if parts else "this connection sets no limits"

    @property
    def account(self) -> str:
        """A fingerprint of host and API key: journals keep it, so that a doubt is never settled with another key."""
        return hashlib.sha256(f"{self.base_url}|{self.credentials.api_key}".encode()).hexdigest()[:16]


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
    """Settings out of a connection's fields.

    :param conn_id: names the connection in errors.
    :raises WhiteBitConfigurationError: which field is wrong, and how it should be. Never shows key or secret.
    """
    read = _Fields(conn_id, extra or {})
    key, secret = (login or "").strip(), (password or "").strip()
    for name, value in (("login (API key)", key), ("password (API secret)", secret)):
        if not value:
            raise read.fault(name, "is empty")
        if not value.isascii() or not value.isprintable() or " " in value:
            raise read.fault(name, "holds spaces or characters that no API key has")
    region = read.choice("region", tuple(HOSTS))
    return Settings(
        base_url=_base_url(read, region, host, port, schema, custom=read.boolean("allow_custom_host")),
        credentials=Credentials(key, secret),
        region=region,
        timeout=read.seconds("timeout", least=1),
        read_only=read.boolean("read_only"),
        max_move=read.amounts("max_move"),
        allowed_tickers=read.tickers("allowed_tickers"),
        nonce_window=read.boolean("nonce_window"),
        settle_margin_ms=read.seconds("settle_margin", least=0) * 1000,
        verify_tls=read.boolean("verify_tls"),
        former_connection=read.text("former_connection"),
    )


def _base_url(
    read: _Fields, region: str, host: str | None, port: int | None, schema: str | None, *, custom: bool
) -> str:
    given = (host or "").strip().rstrip("/")
    if not given:
        return f"https://{HOSTS[region]}"
    if "://" not in given:
        scheme = schema if schema in ("http", "https") else None
        bare = f"//{given}" if given.count(":") < 2 or given.startswith("[") else f"//[{given}]"
        name = urlsplit(bare).hostname or ""
        given = f"{scheme or ('http' if _is_loopback(name) else 'https')}:{bare}"
    try:
        parts = urlsplit(given)
        number = parts.port or port
    except ValueError:
        raise read.fault("host", "is no base URL; leave it empty or write https://whitebit.com") from None
    name = (parts.hostname or "").lower()
    if not name or parts.path or parts.query or parts.fragment or parts.scheme not in ("http", "https"):
        raise read.fault("host", "is no base URL; leave it empty or write https://whitebit.com")
    if parts.username is not None or parts.password is not None:
        raise read.fault("host", "holds a user name or password; they belong into login and password")
    loopback = _is_loopback(name)
    if parts.scheme == "http" and not loopback:
        raise read.fault("host", f"names {name} without TLS; write https://{name}")
    for other, vendor in HOSTS.items():
        if name in (vendor, f"www.{vendor}") and other != region:
            raise read.fault("region", f"is {region!r}, but host is that of region {other!r}")
    if not loopback and name not in HOSTS.values() and not custom:
        raise read.fault("host", f"is {name}, neither the exchange's nor this machine; allow_custom_host allows it")
    shown = f"[{name}]" if ":" in name else name
    # Written out or not, it is the same host: what is kept by host must be found again.
    usual = _PORTS[parts.scheme]
    return f"{parts.scheme}://{shown}" + (f":{number}" if number and number != usual else "")


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


_TICKER = re.compile(r"[A-Z0-9_]{1,20}", re.ASCII)


class _Fields:
    """Reads the extra. The UI sends booleans and numbers as strings, JSON connections send them as they are."""

    def __init__(self, conn_id: str, extra: Mapping[str, Any]) -> None:
        self._conn_id = conn_id
        prefix = "extra__whitebit__"
        self._extra = {name.removeprefix(prefix): value for name, value in extra.items()}
        self._defaults = {entry.name: entry.default for entry in FIELDS}
        unknown = sorted(set(self._extra) - set(self._defaults))
        for name in unknown:
            # A limit that is misspelt would be no limit.
            if meant := difflib.get_close_matches(name, self._defaults, n=1, cutoff=0.75):
                raise self.fault(name, f"is no field of the extra; did you mean {meant[0]}")
        if unknown:
            log.warning("Connection %r has fields in its extra that mean nothing here: %s", conn_id, ", ".join(unknown))

    def fault(self, name: str, what: str) -> WhiteBitConfigurationError:
        return WhiteBitConfigurationError(f"Connection {self._conn_id!r}: {name} {what}.")

    def _get(self, name: str) -> Any:
        value = self._extra.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return self._defaults[name]
        return value.strip() if isinstance(value, str) else value

    def text(self, name: str) -> str:
        value = self._get(name)
        if value is not None and not isinstance(value, str):
            raise self.fault(name, "is no text")
        return value or ""

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = str(self._get(name)).lower()
        if value not in allowed:
            raise self.fault(name, f"is {value!r}, not one of {', '.join(allowed)}")
        return value

    def boolean(self, name: str) -> bool:
        value = self._get(name)
        if isinstance(value, bool):
            return value
        text = str(value).lower()
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        raise self.fault(name, f"is {value!r}, not true or false")

    def seconds(self, name: str, *, least: int) -> int:
        value = self._get(name)
        text = str(value)
        if isinstance(value, bool) or not (text.isascii() and text.isdecimal()):
            raise self.fault(name, f"is {value!r}, not a whole number of seconds")
        number = int(text[:9])
        if not least <= number <= _LONGEST_SECONDS:
            raise self.fault(name, f"is {text} s; it lies between {least} and {_LONGEST_SECONDS}")
        return number

    def amounts(self, name: str) -> dict[str, Decimal]:
        value = self._get(name)
        if isinstance(value, str):
            try:
                value = json.loads(value, parse_float=Decimal)
            except ValueError:
                raise self.fault(name, 'is not JSON; write it like {"USDT": "5000"}') from None
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.fault(name, 'is not an object; write it like {"USDT": "5000"}')
        limits: dict[str, Decimal] = {}
        for ticker, raw in value.items():
            try:
                # A connection's JSON may hold a bare number; repr spells a float as it was written.
                limit = parse_amount(repr(raw) if isinstance(raw, float) else raw)
            except ValueError:
                limit = Decimal(-1)
            if limit < 0:
                raise self.fault(name, f'has no amount for {ticker}; write it like {{"{ticker}": "5000"}}')
            limits[self._ticker(name, ticker)] = limit
        return limits

    def tickers(self, name: str) -> frozenset[str]:
        value = self._get(name)
        if isinstance(value, str):
            if value.startswith("["):
                try:
                    value = json.loads(value)
                except ValueError:
                    raise self.fault(name, "is not a list; write it like USDT, USDC") from None
            else:
                value = value.split(",")
        if value is None:
            return frozenset()
        if not isinstance(value, list | tuple) or not all(isinstance(ticker, str) for ticker in value):
            raise self.fault(name, "is not a list of tickers; write it like USDT, USDC")
        return frozenset(self._ticker(name, ticker) for ticker in value if ticker.strip())

    def _ticker(self, name: str, raw: Any) -> str:
        ticker = str(raw).strip().upper()
        if not _TICKER.fullmatch(ticker):
            raise self.fault(name, f"names {str(raw)[:30]!r}, which is no ticker; write it like USDT")
        return ticker
