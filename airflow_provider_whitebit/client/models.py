"""What the exchange answers, as frozen records: exact amounts, times in UTC, identifiers untouched.

Vendor pages: Lending (Flex and Fixed plans), Main balance, Trading balance, Asset status list. Fields that the
exchange adds later are ignored; a missing field is an error only where a caller could not do without it, and the
error names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import IntEnum
from functools import cache
from typing import Any, Self

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError

#: Unix times above this are milliseconds: as seconds they would lie beyond the year 5138.
_LATEST_SECONDS = 100_000_000_000


class FlexAction(IntEnum):
    """What a Flex transaction did (``actionType``)."""

    INVEST = 1
    REINVEST = 2
    WITHDRAW_FROM_INVESTMENT = 3
    DAILY_EARNING = 4
    CLOSE_INVESTMENT = 5
    OPEN_INVESTMENT = 6


class FlexInvestmentStatus(IntEnum):
    """State of a Flex investment (``status``)."""

    CLOSED = 0
    ACTIVE = 1


class FixedPlanStatus(IntEnum):
    """State of a Fixed plan (``status``)."""

    ACTIVE = 1
    NO_COINS_LEFT = 2
    INACTIVE = 3
    PAUSED = 4


class FixedInvestmentStatus(IntEnum):
    """State of a Fixed investment (``status``)."""

    ACTIVE = 1
    CLOSED = 2


class Record:
    """Common to all records: how they turn into plain JSON."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON: amounts as decimal strings, times as ISO 8601 UTC strings, snake_case keys."""
        return {name: to_json(getattr(self, name)) for name in _field_names(type(self))}  # type: ignore[arg-type]


@cache
def _field_names(kind: type[Record]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))  # type: ignore[arg-type]


def to_json(value: Any) -> Any:
    """One value as plain JSON: exact decimal strings, ISO 8601 UTC strings; the rest as it is."""
    if type(value) in (str, int):
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, Record):
        return value.to_json()
    return value


@dataclass(frozen=True, slots=True)
class FlexPlan(Record):
    """A Flex plan that is on offer. ``max_rate`` as sent; the vendor's examples read as a fraction per year."""

    id: str
    ticker: str
    min_investment: Decimal
    max_investment: Decimal | None
    max_rate: Decimal

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> Self:
        """:raises WhiteBitUnavailableError: if a needed field is missing or unreadable."""
        read = _Reader("FlexPlan", raw)
        return cls(
            id=read.identifier("id"),
            ticker=read.text("ticker"),
            min_investment=read.amount("minInvestment", default=Decimal(0)),
            max_investment=read.optional_amount("maxInvestment"),
            max_rate=read.amount("maxRate", default=Decimal(0)),
        )

    def admits(self, amount: Decimal) -> bool:
        """Whether the plan's own limits admit an investment of this amount."""
        return self.min_investment <= amount and (self.max_investment is None or amount <= self.max_investment)


@dataclass(frozen=True, slots=True)
class FlexInvestment(Record):
    """What is invested in one plan. ``status`` is 1 (active) or 0 (closed)."""

    id: str
    plan_id: str
    currency: str
    invested: Decimal
    with_auto_reinvest: bool
    status: int
    created_at: pendulum.DateTime | None
    updated_at: pendulum.DateTime | None

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> Self:
        """:raises WhiteBitUnavailableError: if a needed field is missing or unreadable."""
        read = _Reader("FlexInvestment", raw)
        return cls(
            id=read.identifier("id"),
            plan_id=read.identifier("planId"),
            currency=read.text("currency", default=""),
            invested=read.amount("invested"),
            with_auto_reinvest=bool(raw.get("withAutoReinvest", False)),
            status=read.integer("status"),
            created_at=read.optional_time("createdAt"),
            updated_at=read.optional_time("updatedAt"),
        )

    @property
    def active(self) -> bool:
        """Whether the investment is open."""
        return self.status == FlexInvestmentStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class FlexTransaction(Record):
    """One entry of a Flex history; ``action_type`` is a :class:`FlexAction` number."""

    created_at: pendulum.DateTime
    plan_id: str
    investment_id: str
    currency: str
    amount: Decimal
    transaction_id: str
    action_type: int

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> Self:
        """:raises WhiteBitUnavailableError: if a needed field is missing or unreadable."""
        read = _Reader("FlexTransaction", raw)
        return cls(
            created_at=read.time("createdAt"),
            plan_id=read.identifier("planId", default=""),
            investment_id=read.identifier("investmentId", default=""),
            currency=read.text("currency", default=""),
            amount=read.amount("amount"),
            transaction_id=read.identifier("transaction_id", "transactionId"),
            action_type=read.integer("actionType"),
        )


@dataclass(frozen=True, slots=True)
class FixedPlan(Record):
    """A Fixed plan.

    ``percent`` is the interest over the whole term, ``duration`` the term in minutes; interest is paid in
    ``interest_ticker``, one unit of which stands for ``interest_ratio`` units of ``ticker``. ``status`` is a
    :class:`FixedPlanStatus` number.
    """

    id: str
    ticker: str
    status: int
    percent: Decimal
    duration: int
    interest_ticker: str
    interest_ratio: Decimal
    min_investment: Decimal
    max_investment: Decimal | None
    max_possible_investment: Decimal | None

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> Self:
        """:raises WhiteBitUnavailableError: if a needed field is missing or unreadable."""
        read = _Reader("FixedPlan", raw)
        ticker = read.text("ticker")
        return cls(
            id=read.identifier("id"),
            ticker=ticker,
            status=read.integer("status"),
            percent=read.amount("percent", default=Decimal(0)),
            duration=read.integer("duration", default=0),
            interest_ticker=read.text("interestTicker", default=ticker),
            interest_ratio=read.amount("interestRatio", default=Decimal(1)),
            min_investment=read.amount("minInvestment", default=Decimal(0)),
            max_investment=read.optional_amount("maxInvestment"),
            max_possible_investment=read.optional_amount("maxPossibleInvestment"),
        )

    @property
    def active(self) -> bool:
        """Whether it can be invested in."""
        return self.status == FixedPlanStatus.ACTIVE

    def admits(self, amount: Decimal) -> bool:
        """Whether the plan's own limits, and what is left in it, admit an investment of this amount."""
        limits = (self.max_investment, self.max_possible_investment)
        return self.min_investment <= amount and all(limit is None or amount <= limit for limit in limits)


@dataclass(frozen=True, slots=True)
class FixedInvestment(Record):
    """An investment in a Fixed plan, with the plan as the exchange shows it beside. ``status`` is a
    :class:`FixedInvestmentStatus` number; ``payment_time`` is the end of its term."""

    id: str
    plan: FixedPlan
    status: int
    created: pendulum.DateTime
    updated: pendulum.DateTime
    payment_time: pendulum.DateTime | None
    amount: Decimal
    interest_paid: Decimal

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> Self:
        """:raises WhiteBitUnavailableError: if a needed field is missing or unreadable."""
        read = _Reader("FixedInvestment", raw)
        created = read.time("created")
        return cls(
            id=read.identifier("id"),
            plan=FixedPlan.from_api(read.value("plan")),
            status=read.integer("status"),
            created=created,
            updated=read.optional_time("updated") or created,
            payment_time=read.optional_time("paymentTime"),
            amount=read.amount("amount"),
            interest_paid=read.amount("interestPaid", default=Decimal(0)),
        )

    @property
    def active(self) -> bool:
        """Whether its term runs."""
        return self.status == FixedInvestmentStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class InterestPayment(Record):
    """Interest that a Fixed investment has paid."""

    plan_id: str
    investment_id: str
    amount: Decimal
    ticker: str
    timestamp: pendulum.DateTime

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> Self:
        """:raises WhiteBitUnavailableError: if a needed field is missing or unreadable."""
        read = _Reader("InterestPayment", raw)
        return cls(
            plan_id=read.identifier("planId", default=""),
            investment_id=read.identifier("investmentId", default=""),
            amount=read.amount("amount"),
            ticker=read.text("ticker", default=""),
            timestamp=read.time("timestamp"),
        )


@dataclass(frozen=True, slots=True)
class TradeBalance(Record):
    """The trade (spot) balance of one asset: what is free, and what open orders hold."""

    available: Decimal
    freeze: Decimal

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> Self:
        """:raises WhiteBitUnavailableError: if a needed field is missing or unreadable."""
        read = _Reader("TradeBalance", raw)
        return cls(available=read.amount("available"), freeze=read.amount("freeze", default=Decimal(0)))


@dataclass(frozen=True, slots=True)
class Asset(Record):
    """Public facts of one asset; amounts of it carry at most ``currency_precision`` decimals."""

    ticker: str
    name: str
    currency_precision: int
    can_deposit: bool
    can_withdraw: bool

    @classmethod
    def from_api(cls, ticker: str, raw: Mapping[str, Any]) -> Self:
        """:raises WhiteBitUnavailableError: if a needed field is missing or unreadable."""
        read = _Reader("Asset", raw)
        return cls(
            ticker=ticker,
            name=read.text("name", default=ticker),
            currency_precision=read.integer("currency_precision"),
            can_deposit=bool(raw.get("can_deposit", True)),
            can_withdraw=bool(raw.get("can_withdraw", True)),
        )


def parse_amount(value: object) -> Decimal:
    """An amount of the exchange as an exact decimal.

    :raises ValueError: if it is not a finite number.
    """
    # Nearly all are strings, and a history has millions: the question after the rest is a slow one.
    if type(value) is not str and (isinstance(value, bool) or not isinstance(value, str | int | Decimal)):
        raise ValueError("is not a number")
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError("is not a number") from None
    if not amount.is_finite():
        raise ValueError("is not a finite number")
    return amount


def parse_time(value: object) -> pendulum.DateTime:
    """A Unix time of the exchange (seconds; milliseconds are recognised) as an aware UTC time.

    :raises ValueError: if it is no time.
    """
    if type(value) is int and value <= _LATEST_SECONDS:
        seconds, micros = value, 0
    else:
        number = parse_amount(value)
        if number > _LATEST_SECONDS:
            number /= 1000
        seconds, micros = divmod(int(number * 1_000_000), 1_000_000)
    try:
        utc = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError("is not a time") from None
    # pendulum.from_timestamp converts between time zones on the way, which takes ten times as long.
    return pendulum.DateTime(
        utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, micros, tzinfo=pendulum.UTC
    )


_MISSING: Any = object()


class _Reader:
    """Takes fields out of one answered object and says which one is at fault."""

    __slots__ = ("_raw", "_record")

    def __init__(self, record: str, raw: Mapping[str, Any]) -> None:
        if not isinstance(raw, Mapping):
            raise WhiteBitUnavailableError(f"The exchange sent {type(raw).__name__} where a {record} was expected.")
        self._record = record
        self._raw = raw

    def _get(self, name: str, default: Any = _MISSING) -> Any:
        value = self._raw.get(name)
        if value is not None:
            return value
        if default is _MISSING:
            raise self._fault(name, "is missing")
        return default

    def _fault(self, name: str, what: str) -> WhiteBitUnavailableError:
        return WhiteBitUnavailableError(f"The exchange sent a {self._record} whose field {name!r} {what}.")

    def value(self, name: str) -> Any:
        return self._get(name)

    def identifier(self, *names: str, default: Any = _MISSING) -> str:
        for name in names:
            if (value := self._raw.get(name)) is not None:
                return str(value)
        return str(self._get(names[0], default))

    def text(self, name: str, default: Any = _MISSING) -> str:
        return str(self._get(name, default))

    def amount(self, name: str, default: Any = _MISSING) -> Decimal:
        try:
            return parse_amount(self._get(name, default))
        except ValueError as error:
            raise self._fault(name, str(error)) from None

    def optional_amount(self, name: str) -> Decimal | None:
        return None if self._raw.get(name) is None else self.amount(name)

    def integer(self, name: str, default: Any = _MISSING) -> int:
        value = self._raw.get(name)
        if type(value) is int:
            return value
        number = self.amount(name, default)
        if number != number.to_integral_value():
            raise self._fault(name, "is not a whole number")
        return int(number)

    def time(self, name: str) -> pendulum.DateTime:
        try:
            return parse_time(self._get(name))
        except ValueError as error:
            raise self._fault(name, str(error)) from None

    def optional_time(self, name: str) -> pendulum.DateTime | None:
        return None if self._raw.get(name) is None else self.time(name)
