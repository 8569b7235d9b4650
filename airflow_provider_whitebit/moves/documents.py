"""Frozen values that a journal keeps, and their form as plain JSON."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Self

import pendulum
from pydantic import PlainValidator, TypeAdapter, ValidationError

from airflow_provider_whitebit.client.models import parse_amount, to_json

#: A time that JSON holds as ISO 8601.
Moment = Annotated[
    pendulum.DateTime,
    PlainValidator(lambda raw: raw if isinstance(raw, pendulum.DateTime) else pendulum.parse(str(raw))),
]


#: An amount of a sane size.
Amount = Annotated[Decimal, PlainValidator(parse_amount)]

_PLAIN = (str, int, bool, dict, type(None))


class Document:
    """A frozen dataclass whose JSON form is read back exactly."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, which :meth:`from_json` reads: amounts as decimal strings, times as ISO 8601 UTC."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}  # type: ignore[arg-type]
        return {name: value if type(value) in _PLAIN else _plain(value) for name, value in values.items()}

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Read the JSON form.

        :raises ValueError: which field cannot be read.
        """
        try:
            found: Self = _adapter(cls).validate_python(raw)  # type: ignore[arg-type]  # a class is hashable
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "it"
            raise ValueError(f"{place} cannot be read: {first['msg']}") from None
        return found


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _plain(value: Any) -> Any:
    if isinstance(value, Document):
        return value.to_json()
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, StrEnum):
        return str(value)
    return to_json(value)
