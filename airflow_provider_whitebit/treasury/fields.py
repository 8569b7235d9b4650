"""Reads mappings into pydantic models. Errors name the field and say in plain words how to write it.

Money follows what is read here, so reading is strict: unknown fields, floats and ambiguous values are errors.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, TypeVar

import pendulum
from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from airflow_provider_whitebit.client.errors import WhiteBitValidationError, shown
from airflow_provider_whitebit.client.models import to_json
from airflow_provider_whitebit.moves import parsing

#: How to write what pydantic itself refuses, by its error type.
_ADVICE = {
    **dict.fromkeys(("bool_type", "bool_parsing"), "write true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "write a whole number"),
    "greater_than_equal": "write {ge} or more",
    "less_than_equal": "write {le} or less",
    "string_type": "write text",
    "list_type": "write a list",
    "tuple_type": "write a list",
    "dict_type": "write a mapping of names to values",
}


class UnquotedNumber(str):
    """A number with a fraction or an exponent as a text spelled it. Other programs read it as a float."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Fields(BaseModel):
    """Base of strictly read models: an unknown field is an error, and so is null.

    A template or an XCom that gives nothing must not become a default, for example no reserve at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, arbitrary_types_allowed=True)
    #: Hints for names that are fields of another model.
    _misplaced: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _only_known_fields(cls, raw: object) -> object:
        if isinstance(raw, cls):
            return raw
        if not isinstance(raw, Mapping):
            raise fault(f"is {shown(raw)}: write a mapping of names to values")
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for name in raw:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = cls._misplaced.get(str(name)) or (f" Did you mean {near[0]}?" if near else "")
                raise fault(f"has no field {shown(name)}.{hint} The fields are {', '.join(known)}")
            if raw[name] is None:
                raise fault("is empty (null): write a value, or leave the field out", name)
        return raw


FieldsT = TypeVar("FieldsT", bound=Fields)
EntryT = TypeVar("EntryT")


def read_fields(kind: type[FieldsT], raw: object, path: str = "", *, whole: str = "") -> FieldsT:
    """Read a mapping into a model.

    :param kind: the model.
    :param raw: decoded JSON or YAML.
    :param path: where the mapping is; errors begin with it.
    :param whole: how errors call the mapping itself if ``path`` is empty.
    :raises WhiteBitValidationError: what is wrong and where, for example ``USDT.plans.max_share``.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        where, what = first_fault(error)
        joined = f"{path}.{where}" if path and where else path or where
        raise wrong(joined or whole, what) from None


def read_by_ticker(name: str, raw: Mapping[Any, Any], read: Callable[[str, Any], EntryT]) -> dict[str, EntryT]:
    """Read a mapping of assets.

    :param name: of the parameter.
    :param raw: by ticker.
    :param read: takes the name of an entry, for errors, and its value.
    :raises WhiteBitValidationError: an entry is wrong, or two spellings name one asset.
    """
    found: dict[str, EntryT] = {}
    for spelling, value in raw.items():
        ticker = parsing.read_ticker(spelling)
        if ticker in found:
            raise wrong(name, f"names {ticker} twice")
        found[ticker] = read(f"{name}.{spelling}", value)
    return found


def wrong(path: str, what: str) -> WhiteBitValidationError:
    """The error for a field.

    :param path: where the field is.
    :param what: what is wrong with it, and how to write it.
    """
    return WhiteBitValidationError(f"{path}: {what}.")


def fault(what: str, at: str = "") -> PydanticCustomError:
    """The error that a validator raises.

    :param what: what is wrong, and how to write it.
    :param at: a field inside the value that is validated.
    """
    return PydanticCustomError("fault", "{what}", {"what": what, "at": at})


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Where the first fault is, for example ``plans.only[0]``, and what is wrong there."""
    first: dict[str, Any] = dict(error.errors(include_url=False)[0])
    context, location = first.get("ctx", {}), list(first["loc"])
    if "[key]" in location:
        # The name itself is wrong: the text shows it.
        location = location[: location.index("[key]") - 1]
    if context.get("at"):
        location.append(context["at"])
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    return where, context["what"] if "what" in context else _in_words(first, context)


def _in_words(first: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    if first["type"] == "missing":
        return "is missing"
    if first["type"] in ("enum", "literal_error"):
        advice = "write one of " + str(context["expected"]).replace("'", "").replace(" or ", ", ")
    else:
        advice = _ADVICE.get(first["type"], first["msg"]).format(**context)
    return f"is {shown(first['input'])}: {advice}"


def _amount(raw: object, example: str = "100.5") -> Decimal:
    if isinstance(raw, float | UnquotedNumber):
        raise fault(_not_exact(raw, example))
    try:
        return parsing.read_limit("amount", raw)
    except WhiteBitValidationError:
        raise fault(f'is {shown(raw)}: write plain digits as a string, for example "{example}"') from None


def _not_exact(raw: float | UnquotedNumber, example: str) -> str:
    # A share of more than 1 is none.
    is_too_much = example.startswith("0.") and Decimal(parsing.spelled(raw) or 0) > 1
    spelling = parsing.quoted(example if is_too_much else raw, example)
    if isinstance(raw, UnquotedNumber):
        return f"is {raw} without quotes, which programs read as a float: write it as a string, {spelling}"
    return f"is the float {raw!r}, which cannot hold an amount exactly: write it as a string, {spelling}"


def _share(raw: object) -> Decimal:
    share = _amount(raw, "0.25")
    if share > 1:
        raise fault(f'is {share:f}: a share is between "0" and "1"; a quarter is "0.25"')
    return share


def _rate(raw: object) -> Decimal:
    rate = _amount(raw, "0.05")
    if not 0 < rate <= 1:
        raise fault(f'is {rate:f}: a rate is a fraction per year above 0; 5 % is "0.05"')
    return rate


def _ticker(raw: object) -> str:
    try:
        return parsing.read_ticker(raw)
    except WhiteBitValidationError:
        raise fault(f"{shown(raw)} is not a ticker: write it like USDT") from None


def _time(raw: object) -> pendulum.DateTime:
    try:
        moment = datetime.fromisoformat(raw.strip()) if isinstance(raw, str) else raw
        if isinstance(moment, datetime) and moment.utcoffset() is not None:
            return pendulum.instance(moment).in_timezone("UTC")
    except (ValueError, OverflowError):
        pass
    advice = "write an ISO 8601 time with its time zone, for example 2026-03-31T12:00:00Z"
    raise fault(f"is {shown(raw)}: {advice}")


#: An amount or zero; plain digits, never a float.
Amount = Annotated[Decimal, PlainValidator(_amount), PlainSerializer(to_json)]
#: A fraction from 0 to 1.
Share = Annotated[Decimal, PlainValidator(_share), PlainSerializer(to_json)]
#: A rate per year: a fraction above 0, at most 1.
Rate = Annotated[Decimal, PlainValidator(_rate), PlainSerializer(to_json)]
#: A ticker; read in capitals.
Ticker = Annotated[str, PlainValidator(_ticker)]
#: An ISO 8601 time with its zone; read in UTC.
Time = Annotated[pendulum.DateTime, PlainValidator(_time), PlainSerializer(to_json)]
