"""The exchange's answers as frozen records: exact amounts, times in UTC, unchanged identifiers.

Vendor pages: Lending (Flex and Fixed plans), Main balance, Trading balance, Get deposit/withdraw history, Sub-accounts,
Maintenance status, Asset status list, Market activity. Fields that the exchange adds later are ignored. A missing field
is an error only if callers need it, and the error names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import IntEnum, StrEnum
from functools import cache, lru_cache
from operator import attrgetter
from time import gmtime
from typing import Annotated, Any, NamedTuple, Self, TypeVar, get_args, get_type_hints

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError, clean

#: Unix times above this are milliseconds: as seconds they would be after the year 5138.
LATEST_SECONDS = 100_000_000_000
#: No amount is larger, and none but 0 is smaller. Written out, ``1e999999999`` would fill the memory.
_MOST, _LEAST = Decimal("1e60"), Decimal("1e-40")
_MOST_INT = 10**60
#: Most characters of a number, and most digits of a decimal.
_LONGEST_NUMBER = 120
#: Most characters of an identifier or a name.
_LONGEST_TEXT = 200
#: Whole numbers are statuses, actions, minutes and precisions.
_MOST_WHOLE = 2**31
_MINUTES_A_DAY = 1440

_T = TypeVar("_T")


class FlexAction(IntEnum):
    """What a Flex transaction did (``actionType``)."""

    INVEST = 1
    REINVEST = 2
    WITHDRAW_FROM_INVESTMENT = 3
    DAILY_EARNING = 4
    CLOSE_INVESTMENT = 5
    OPEN_INVESTMENT = 6


class FlexActionType(StrEnum):
    """The words for :class:`FlexAction` that operators accept."""

    INVEST = "invest"
    REINVEST = "reinvest"
    WITHDRAW_FROM_INVESTMENT = "withdraw"
    DAILY_EARNING = "earning"
    CLOSE_INVESTMENT = "close"
    OPEN_INVESTMENT = "open"


class InvestmentStatus(StrEnum):
    """The words for the state of an investment, Flex or Fixed, that operators and sensors accept."""

    ACTIVE = "active"
    CLOSED = "closed"


class FlexInvestmentStatus(IntEnum):
    """State of a Flex investment (``status``)."""

    CLOSED = 0
    ACTIVE = 1


class PlatformState(StrEnum):
    """State of the exchange (``status``)."""

    OPERATIONAL = "system operational"
    MAINTENANCE = "system maintenance"


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


class MainMethod(IntEnum):
    """What a transaction of Main did (``method``)."""

    DEPOSIT = 1
    WITHDRAWAL = 2


class MainMethodName(StrEnum):
    """The words for :class:`MainMethod` that operators accept."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"


class Direction(StrEnum):
    """Where a transfer of a sub-account goes (``direction``)."""

    MAIN_TO_SUB = "main_to_sub"
    SUB_TO_MAIN = "sub_to_main"


class Record:
    """A frozen dataclass that turns into plain JSON."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON: amounts as decimal strings, times as ISO 8601 UTC strings, snake_case keys."""
        return dict(zip(_shape(self.__class__)[0], self.to_row(), strict=True))  # type: ignore[arg-type]

    def to_row(self) -> list[Any]:
        """The values of :meth:`to_json`, in the order of the fields."""
        _, values, conversions = _shape(self.__class__)  # type: ignore[arg-type]
        row = list(values(self))
        for index, convert in conversions:
            row[index] = convert(row[index])
        return row


_Conversions = tuple[tuple[int, Callable[[Any], Any]], ...]
#: Types whose values are plain JSON.
_PLAIN = (str, int, bool, str | None, int | None, bool | None)


@cache
def _shape(kind: type[Any]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]], _Conversions]:
    """The names of a record's fields, a function that returns their values, and how some turn into plain JSON."""
    hints = get_type_hints(kind)
    names = tuple(field.name for field in fields(kind))
    values = attrgetter(*names) if len(names) > 1 else lambda record: (getattr(record, names[0]),)
    known: dict[Any, Callable[[Any], Any]] = {Decimal: _amount_text, pendulum.DateTime: _time_text}
    others = ((index, hint) for index, hint in enumerate(hints[name] for name in names) if hint not in _PLAIN)
    return names, values, tuple((index, known.get(hint, to_json)) for index, hint in others)


def _amount_text(amount: Decimal) -> str:
    return format(amount, "f")


def _time_text(moment: datetime) -> str:
    if moment.tzinfo is not pendulum.UTC or moment.microsecond:
        return moment.isoformat().replace("+00:00", "Z")
    # As isoformat() writes it, in half the time.
    parts = (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    return "%04d-%02d-%02dT%02d:%02d:%02dZ" % parts  # noqa: UP031


def field_types(kind: type[Record]) -> dict[str, Any]:
    """The type of each field of a record, by name and in order; of an optional field, the type of its values."""
    hints = get_type_hints(kind)
    return {field.name: _without_none(hints[field.name]) for field in fields(kind)}  # type: ignore[arg-type]


def _without_none(hint: Any) -> Any:
    return next((one for one in get_args(hint) if one is not type(None)), hint)


def to_json(value: Any) -> Any:
    """One value as plain JSON: exact decimal strings, ISO 8601 UTC strings; the rest unchanged."""
    if isinstance(value, Decimal):
        return _amount_text(value)
    if isinstance(value, datetime):
        return _time_text(value)
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, Record):
        return value.to_json()
    return value


def plain(amount: Decimal) -> str:
    """The shortest spelling of an amount: no exponent and no trailing zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_amount(value: object) -> Decimal:
    """An amount of the exchange as an exact decimal.

    :raises ValueError: if it is not a finite number, is above 10^60, or is below 10^-40 but not 0.
    """
    # Nearly all are strings, and a history has millions: isinstance is slower.
    if type(value) is not str:
        _check_number(value)
    elif len(value) > _LONGEST_NUMBER:
        raise ValueError("has too many digits")
    try:
        amount = Decimal(value)  # type: ignore[arg-type]
        if _LEAST <= amount <= _MOST:
            return amount
    except InvalidOperation:
        raise ValueError("is not a number") from None
    if not amount.is_finite():
        raise ValueError("is not a finite number")
    if not amount:
        return amount if amount.adjusted() > -_LONGEST_NUMBER else _ZERO
    if not _LEAST <= amount.copy_abs() <= _MOST:
        raise ValueError("is above 10^60 or below 10^-40")
    return amount


def _check_number(value: object) -> None:
    """:raises ValueError: if it is no number, or one that is too large to convert."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("is not a number")
    if isinstance(value, int) and not -_MOST_INT <= value <= _MOST_INT:
        raise ValueError("is above 10^60 or below 10^-40")
    if isinstance(value, Decimal) and len(value.as_tuple().digits) > _LONGEST_NUMBER:
        raise ValueError("has too many digits")


def parse_time(value: object) -> pendulum.DateTime:
    """A Unix time of the exchange (seconds; milliseconds are recognised) as an aware UTC time.

    :raises ValueError: if it is not a time.
    """
    if type(value) is int and 0 < value <= LATEST_SECONDS:
        seconds, micros = value, 0
    else:
        number = parse_amount(value)
        if not 0 < number <= LATEST_SECONDS * 1000:
            raise ValueError("is not a time")
        if number > LATEST_SECONDS:
            number /= 1000
        seconds, micros = divmod(int(number * 1_000_000), 1_000_000)
    try:
        # pendulum.from_timestamp also converts between time zones, which takes ten times as long.
        year, month, day, hour, minute, second, *_ = gmtime(seconds)
        return pendulum.DateTime(year, month, day, hour, minute, second, micros, pendulum.UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError("is not a time") from None


def _whole_number(value: object) -> int:
    if type(value) is int and -_MOST_WHOLE < value < _MOST_WHOLE:
        return value
    number = value if type(value) is int else parse_amount(value)
    if not -_MOST_WHOLE < number < _MOST_WHOLE:
        raise ValueError("is too large")
    if number != int(number):
        raise ValueError("is not a whole number")
    return int(number)


def read_text(value: object) -> str:
    """A name or an identifier. Older answers send numbers.

    :raises ValueError: if it is neither text nor number, is too long, or cannot be written as UTF-8.
    """
    if type(value) is str and 0 < len(value) <= _LONGEST_TEXT and value.isascii():
        return value
    text = value if type(value) is str else str(value) if type(value) is int and abs(value) <= _MOST_INT else ""
    if not text:
        raise ValueError("is not a text")
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"has more than {_LONGEST_TEXT} characters")
    if not text.isascii():
        # A lone surrogate would break each file, database and page that it reaches.
        text.encode()
    return text


def _if_readable(convert: Callable[[Any], _T]) -> Callable[[Any], _T | None]:
    """A converter for a field that only people read: ``None`` for what it cannot convert. The record stays usable."""

    def read(value: object) -> _T | None:
        with suppress(ValueError):
            return convert(value)
        return None

    return read


def _remark(value: object) -> str | None:
    """A text that only people read, shortened. :raises ValueError: if it is neither text nor number."""
    if type(value) is int and abs(value) <= _MOST_INT:
        return str(value)
    return clean(_word(value), _LONGEST_TEXT) or None


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def _boolean(value: object) -> bool:
    """A boolean, also as number or text. :raises ValueError: if it is not one."""
    if type(value) is bool:
        return value
    if not isinstance(value, str | int) or (isinstance(value, int) and value > 1):
        raise ValueError("is neither true nor false")
    try:
        return _BOOLEANS[str(value).strip().lower()]
    except KeyError:
        raise ValueError("is neither true nor false") from None


#: Most decimals that an asset can have. The vendor's example has 18.
_MOST_DECIMALS = 36


def _precision(value: object) -> int | None:
    """A number of decimals; ``None`` if it is not one, because the other assets can be used without it."""
    try:
        decimals = _whole_number(value)
    except ValueError:
        return None
    return decimals if 0 <= decimals <= _MOST_DECIMALS else None


def _word(value: object) -> str:
    """The exchange's text on one line. :raises ValueError: if it is not a text."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("is not a text")
    return clean(value)


_REQUIRED: Any = object()


class FieldError(ValueError):
    """A field that is missing or unreadable.

    :param name: of the field in the answer.
    :param what: is wrong with it.
    """

    def __init__(self, name: str, what: str = "") -> None:
        self.name, self.what = name, what
        super().__init__(f"field {name!r} {what}")


#: Faster forms of converters. The records of one night share their second, and each time takes a quarter of a record.
_FAST: dict[Callable[[Any], Any], Callable[[Any], Any]] = {parse_time: lru_cache(maxsize=1024, typed=True)(parse_time)}


class _Field(NamedTuple):
    """How a field is read from an answered object."""

    convert: Callable[[Any], Any]
    name: str
    others: tuple[str, ...]
    default: Any

    def read(self, raw: Mapping[str, Any]) -> Any:
        """:raises FieldError: if the field is missing or unreadable."""
        value = next((raw[name] for name in (self.name, *self.others) if not self._is_blank(raw.get(name))), None)
        if value is None:
            if self.default is _REQUIRED:
                raise FieldError(self.name, "is missing or empty")
            return self.default
        try:
            return self.convert(value)
        except FieldError as error:
            raise FieldError(f"{self.name}.{error.name}", error.what) from None
        except ValueError as error:
            raise FieldError(self.name, str(error)) from None

    def _is_blank(self, value: object) -> bool:
        """Whether a value means that there is none. PHP writes 0 for a time that is not set."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return True
        return self.convert is parse_time and str(value) in ("0", "0.0", "False")


def _api(convert: Callable[[Any], Any], name: str, *others: str, default: Any = _REQUIRED) -> _Field:
    """Say how a field is read from an answered object.

    :param convert: converts the value; raises ``ValueError`` if it cannot.
    :param name: the field's name in the answer.
    :param others: names to use if it is missing.
    :param default: used if all are missing; without a default that is an error.
    """
    return _Field(convert, name, others, default)


class AnsweredRecord(Record):
    """A record that is read from an answered object, each field as its annotation says."""

    __slots__ = ()

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> Self:
        """Read an answered object.

        :raises WhiteBitUnavailableError: if a needed field is missing or unreadable.
        """
        shortcut = _fields_of(cls)[1]  # type: ignore[arg-type]
        try:
            # Millions of records pass here. Nearly all have every field, in its usual type.
            record = object.__new__(cls)
            for convert, name, put in shortcut:
                put(record, convert(raw[name]))
            return record
        except (KeyError, TypeError, ValueError):
            pass
        try:
            return cls.read(raw)
        except FieldError as error:
            raise WhiteBitUnavailableError(f"The exchange sent a {cls.__name__} whose {error}.") from None
        except ValueError as error:
            raise WhiteBitUnavailableError(f"The exchange sent a {cls.__name__} that {error}.") from None

    @classmethod
    def read(cls, raw: object) -> Self:
        """Read an answered object, whatever it lacks.

        :raises FieldError: a needed field is missing or unreadable.
        :raises ValueError: it is not an object.
        """
        if not isinstance(raw, Mapping):
            raise ValueError(f"is {_JSON_NAMES.get(type(raw), type(raw).__name__)} instead of an object")
        return cls(*[field.read(raw) for field in _fields_of(cls)[0]])  # type: ignore[arg-type]

    @classmethod
    def read_partly(cls, raw: object) -> dict[str, Any]:
        """The fields of an answered object that can be read, by name, with the defaults of those that it lacks."""
        found: dict[str, Any] = {}
        if isinstance(raw, Mapping):
            names = (field.name for field in fields(cls))  # type: ignore[arg-type]
            for name, field in zip(names, _fields_of(cls)[0], strict=True):  # type: ignore[arg-type]
                with suppress(ValueError):
                    found[name] = field.read(raw)
        return found


_JSON_NAMES = {
    type(None): "null",
    str: "a text",
    bool: "a boolean",
    list: "a list",
    int: "a number",
    Decimal: "a number",
}


@cache
def _fields_of(kind: type[Any]) -> tuple[list[_Field], list[tuple[Callable[[Any], Any], str, Callable[..., None]]]]:
    """The fields of a record; and how to convert them if none is missing, and to put them into their slots.

    The ``__init__`` of a frozen dataclass takes twice as long.
    """
    hints = get_type_hints(kind, include_extras=True)
    found: list[_Field] = [hints[field.name].__metadata__[0] for field in fields(kind)]
    slots = (getattr(kind, field.name).__set__ for field in fields(kind))
    return found, [(_FAST.get(one.convert, one.convert), one.name, put) for one, put in zip(found, slots, strict=True)]


_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class FlexPlan(AnsweredRecord):
    """A Flex plan on offer.

    ``max_rate`` is what the exchange sent; in the vendor's examples, a fraction per year. ``None``: unknown.
    """

    id: Annotated[str, _api(read_text, "id")]
    ticker: Annotated[str, _api(read_text, "ticker")]
    min_investment: Annotated[Decimal, _api(parse_amount, "minInvestment", default=_ZERO)]
    max_investment: Annotated[Decimal | None, _api(parse_amount, "maxInvestment", default=None)]
    max_rate: Annotated[Decimal | None, _api(parse_amount, "maxRate", default=None)]

    def admits(self, amount: Decimal) -> bool:
        """Whether the plan's own limits allow an investment of this amount."""
        return self.min_investment <= amount and (self.max_investment is None or amount <= self.max_investment)


@dataclass(frozen=True, slots=True)
class FlexInvestment(AnsweredRecord):
    """The investment in one Flex plan.

    ``status`` is a :class:`FlexInvestmentStatus` number; another one means neither open nor closed. ``currency`` is
    empty if neither the exchange nor its plan names it.
    """

    id: Annotated[str, _api(read_text, "id")]
    plan_id: Annotated[str, _api(read_text, "planId")]
    currency: Annotated[str, _api(read_text, "currency", default="")]
    invested: Annotated[Decimal, _api(parse_amount, "invested")]
    with_auto_reinvest: Annotated[bool, _api(_boolean, "withAutoReinvest", default=False)]
    status: Annotated[int, _api(_whole_number, "status")]
    created_at: Annotated[pendulum.DateTime | None, _api(parse_time, "createdAt", default=None)]
    updated_at: Annotated[pendulum.DateTime | None, _api(parse_time, "updatedAt", default=None)]

    @property
    def active(self) -> bool:
        """Whether the investment is open."""
        return self.status == FlexInvestmentStatus.ACTIVE

    @property
    def closed(self) -> bool:
        """Whether the investment is over. With an unknown status it is neither active nor closed."""
        return self.status == FlexInvestmentStatus.CLOSED


@dataclass(frozen=True, slots=True)
class FlexTransaction(AnsweredRecord):
    """One entry of a Flex history. ``action_type`` is a :class:`FlexAction` number.

    The exchange may leave out every name. Several records can share a ``transaction_id``; see :mod:`.records`.
    """

    created_at: Annotated[pendulum.DateTime, _api(parse_time, "createdAt")]
    plan_id: Annotated[str | None, _api(read_text, "planId", default=None)]
    investment_id: Annotated[str | None, _api(read_text, "investmentId", default=None)]
    currency: Annotated[str | None, _api(read_text, "currency", default=None)]
    amount: Annotated[Decimal, _api(parse_amount, "amount")]
    transaction_id: Annotated[str | None, _api(read_text, "transaction_id", "transactionId", default=None)]
    action_type: Annotated[int, _api(_whole_number, "actionType")]


@dataclass(frozen=True, slots=True)
class FixedPlan(AnsweredRecord):
    """A Fixed plan.

    ``percent`` is the interest over the whole term and ``duration`` the term in minutes. Interest is paid in
    ``interest_ticker``, one unit of which is worth ``interest_ratio`` units of ``ticker``. ``None`` in one of them:
    unknown. ``status`` is a :class:`FixedPlanStatus` number.
    """

    id: Annotated[str, _api(read_text, "id")]
    ticker: Annotated[str, _api(read_text, "ticker")]
    status: Annotated[int, _api(_whole_number, "status")]
    percent: Annotated[Decimal | None, _api(parse_amount, "percent", default=None)]
    duration: Annotated[int | None, _api(_whole_number, "duration", default=None)]
    interest_ticker: Annotated[str, _api(read_text, "interestTicker", "ticker")]
    interest_ratio: Annotated[Decimal | None, _api(parse_amount, "interestRatio", default=None)]
    min_investment: Annotated[Decimal, _api(parse_amount, "minInvestment", default=_ZERO)]
    max_investment: Annotated[Decimal | None, _api(parse_amount, "maxInvestment", default=None)]
    max_possible_investment: Annotated[Decimal | None, _api(parse_amount, "maxPossibleInvestment", default=None)]

    @property
    def active(self) -> bool:
        """Whether the plan accepts investments."""
        return self.status == FixedPlanStatus.ACTIVE

    @property
    def daily_percent(self) -> Decimal | None:
        """Interest for one day of the term, in percent; ``None`` if percentage or term are unknown."""
        if self.percent is None or not self.duration or self.duration < 0:
            return None
        return self.percent * _MINUTES_A_DAY / self.duration

    def admits(self, amount: Decimal) -> bool:
        """Whether the plan's own limits, and what is left in it, allow an investment of this amount."""
        limits = (self.max_investment, self.max_possible_investment)
        return self.min_investment <= amount and all(limit is None or amount <= limit for limit in limits)


@dataclass(frozen=True, slots=True)
class FixedInvestment(AnsweredRecord):
    """An investment in a Fixed plan, with the plan as the exchange shows it now.

    ``status`` is a :class:`FixedInvestmentStatus` number; another one means neither active nor closed.
    ``payment_time`` is the end of the term.
    """

    id: Annotated[str, _api(read_text, "id")]
    plan: Annotated[FixedPlan, _api(FixedPlan.read, "plan")]
    status: Annotated[int, _api(_whole_number, "status")]
    created: Annotated[pendulum.DateTime, _api(parse_time, "created")]
    updated: Annotated[pendulum.DateTime, _api(parse_time, "updated", "created")]
    payment_time: Annotated[pendulum.DateTime | None, _api(parse_time, "paymentTime", default=None)]
    amount: Annotated[Decimal, _api(parse_amount, "amount")]
    interest_paid: Annotated[Decimal | None, _api(parse_amount, "interestPaid", default=None)]

    @property
    def term_end(self) -> pendulum.DateTime | None:
        """When the term ends. If the exchange does not say, by the plan's duration; ``None`` if that is unknown too."""
        minutes = self.plan.duration
        return self.payment_time or (None if minutes is None else self.created.add(minutes=minutes))

    @property
    def active(self) -> bool:
        """Whether its term has not ended."""
        return self.status == FixedInvestmentStatus.ACTIVE

    @property
    def closed(self) -> bool:
        """Whether the investment is over. With an unknown status it is neither active nor closed."""
        return self.status == FixedInvestmentStatus.CLOSED


@dataclass(frozen=True, slots=True)
class InterestPayment(AnsweredRecord):
    """Interest paid by a Fixed investment."""

    plan_id: Annotated[str, _api(read_text, "planId", default="")]
    investment_id: Annotated[str, _api(read_text, "investmentId", default="")]
    amount: Annotated[Decimal, _api(parse_amount, "amount")]
    ticker: Annotated[str, _api(read_text, "ticker", default="")]
    timestamp: Annotated[pendulum.DateTime, _api(parse_time, "timestamp")]


@dataclass(frozen=True, slots=True)
class TradeBalance(AnsweredRecord):
    """The trade (spot) balance of one asset: the free amount, and the amount in open orders (``None``: unknown)."""

    available: Annotated[Decimal, _api(parse_amount, "available")]
    freeze: Annotated[Decimal | None, _api(parse_amount, "freeze", default=None)]


@dataclass(frozen=True, slots=True)
class MainTransaction(AnsweredRecord):
    """A deposit to Main or a withdrawal from it. ``method`` is a :class:`MainMethod` number.

    What each ``status`` means: :attr:`moved`. The vendor does not say whether ``amount`` includes the ``fee``.
    """

    created_at: Annotated[pendulum.DateTime, _api(parse_time, "createdAt")]
    transaction_id: Annotated[str | None, _api(read_text, "transaction_id", "transactionId", default=None)]
    method: Annotated[int, _api(_whole_number, "method")]
    ticker: Annotated[str, _api(read_text, "ticker")]
    amount: Annotated[Decimal, _api(parse_amount, "amount")]
    fee: Annotated[Decimal | None, _api(parse_amount, "fee", default=None)]
    status: Annotated[int, _api(_whole_number, "status")]
    network: Annotated[str | None, _api(_if_readable(read_text), "network", default=None)]
    address: Annotated[str | None, _api(_if_readable(read_text), "address", default=None)]
    memo: Annotated[str | None, _api(_if_readable(read_text), "memo", default=None)]
    unique_id: Annotated[str | None, _api(_if_readable(read_text), "unique_id", "uniqueId", default=None)]
    transaction_hash: Annotated[str | None, _api(_if_readable(read_text), "transactionHash", default=None)]
    description: Annotated[str | None, _api(_if_readable(_remark), "description", default=None)]

    @property
    def moved(self) -> bool | None:
        """Whether the Main balance has changed by it; ``None`` if the vendor does not say so of this status."""
        if self.method not in tuple(MainMethod):
            return None
        if self.status in _SUCCESSFUL:
            return True
        unmoved = _NOT_CREDITED if self.method == MainMethod.DEPOSIT else _NOT_WITHDRAWN
        return False if self.status in unmoved else None


#: Status numbers of :class:`MainTransaction`: successful; not credited (cancelled, unconfirmed, frozen, uncredited,
#: pending, travel rule); cancelled withdrawals. A pending withdrawal may or may not have left Main yet.
_SUCCESSFUL = frozenset({3, 7})
_NOT_CREDITED = frozenset({4, 5, 9, 15, 21, 22, 27, 28})
_NOT_WITHDRAWN = frozenset({4})


@dataclass(frozen=True, slots=True)
class SubAccountPermissions(AnsweredRecord):
    """What a sub-account may do; ``None`` if the exchange does not say."""

    spot_enabled: Annotated[bool | None, _api(_if_readable(_boolean), "spotEnabled", default=None)]
    collateral_enabled: Annotated[bool | None, _api(_if_readable(_boolean), "collateralEnabled", default=None)]


@dataclass(frozen=True, slots=True)
class SubAccount(AnsweredRecord):
    """A sub-account. ``status`` is the exchange's word, for example ``active``."""

    id: Annotated[str, _api(read_text, "id")]
    alias: Annotated[str | None, _api(_if_readable(_remark), "alias", default=None)]
    user_id: Annotated[str | None, _api(_if_readable(read_text), "userId", default=None)]
    email: Annotated[str | None, _api(_if_readable(read_text), "email", default=None)]
    status: Annotated[str | None, _api(_if_readable(_remark), "status", default=None)]
    permissions: Annotated[
        SubAccountPermissions | None, _api(_if_readable(SubAccountPermissions.read), "permissions", default=None)
    ]


@dataclass(frozen=True, slots=True)
class SubAccountBalance(AnsweredRecord):
    """What a sub-account holds of one asset; ``None`` if the exchange does not say."""

    main: Annotated[Decimal | None, _api(parse_amount, "main", default=None)]
    spot: Annotated[Decimal | None, _api(parse_amount, "spot", default=None)]
    collateral: Annotated[Decimal | None, _api(parse_amount, "collateral", default=None)]


@dataclass(frozen=True, slots=True)
class SubAccountTransaction(AnsweredRecord):
    """A transfer between Main and a sub-account. ``direction`` is one of :class:`Direction`, or a new word."""

    created_at: Annotated[pendulum.DateTime, _api(parse_time, "createdAt")]
    transaction_id: Annotated[str | None, _api(read_text, "transaction_id", "id", default=None)]
    direction: Annotated[str | None, _api(read_text, "direction", default=None)]
    currency: Annotated[str | None, _api(read_text, "currency", default=None)]
    amount: Annotated[Decimal, _api(parse_amount, "amount")]


@dataclass(frozen=True, slots=True)
class PlatformStatus(AnsweredRecord):
    """The state of the exchange. ``status`` is a :class:`PlatformState`, or another text, which means neither."""

    status: Annotated[str, _api(_word, "status")]

    @property
    def operational(self) -> bool:
        """Whether the exchange says that all its services are available."""
        return self.status == PlatformState.OPERATIONAL

    @property
    def maintenance(self) -> bool:
        """Whether the exchange says that it is in maintenance."""
        return self.status == PlatformState.MAINTENANCE


@dataclass(frozen=True, slots=True)
class Asset(AnsweredRecord):
    """Public facts of one asset.

    Its amounts have at most ``currency_precision`` decimals. ``None``: not known, so it cannot be moved.
    """

    ticker: Annotated[str, _api(read_text, "ticker")]
    name: Annotated[str, _api(read_text, "name", "ticker")]
    currency_precision: Annotated[int | None, _api(_precision, "currency_precision", default=None)]
    can_deposit: Annotated[bool, _api(_boolean, "can_deposit", default=True)]
    can_withdraw: Annotated[bool, _api(_boolean, "can_withdraw", default=True)]

    @classmethod
    def from_api(cls, ticker: str, raw: Mapping[str, Any]) -> Self:  # type: ignore[override]
        """Read one entry of the list of assets. What cannot be read in it is not known."""
        facts: dict[str, Any] = {"currency_precision": None, "can_deposit": True, "can_withdraw": True, "name": ticker}
        return cls(**{**facts, **cls.read_partly(raw), "ticker": ticker})


@dataclass(frozen=True, slots=True)
class MarketActivity(AnsweredRecord):
    """The last price of one market, and what was traded in it within 24 hours.

    ``last_price`` is in units of the market's second asset for one unit of the first: of ``BTC_USDT``, USDT for one
    BTC. ``change`` is in percent. ``None``: the exchange does not say. ``frozen``: trading is disabled, so the price
    may be old.
    """

    market: Annotated[str, _api(read_text, "market")]
    last_price: Annotated[Decimal, _api(parse_amount, "last_price")]
    base_volume: Annotated[Decimal | None, _api(_if_readable(parse_amount), "base_volume", default=None)]
    quote_volume: Annotated[Decimal | None, _api(_if_readable(parse_amount), "quote_volume", default=None)]
    change: Annotated[Decimal | None, _api(_if_readable(parse_amount), "change", default=None)]
    frozen: Annotated[bool, _api(_boolean, "isFrozen", default=False)]
