"""Read the fields of a request as the vendor does, and name what is wrong with them in the vendor's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from airflow_provider_whitebit.sandbox.answers import invalid
from airflow_provider_whitebit.sandbox.limits import LARGEST_OFFSET, LARGEST_PAGE

_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?", re.ASCII)
_WHOLE_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
_DATE = re.compile(r"\d{1,11}", re.ASCII)
_MOST_DIGITS = 60

T = TypeVar("T")


class Fields:
    """The fields of one request.

    The vendor reports all wrong fields together. Each method therefore notes what is wrong and goes on;
    :meth:`check` refuses the request.

    :param params: the request's own parameters.
    """

    __slots__ = ("_errors", "params")

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params
        self._errors: dict[str, list[str]] = {}

    def wrong(self, name: str, *texts: str) -> None:
        """Note what is wrong with a field."""
        self._errors.setdefault(name, []).extend(texts)

    def check(self) -> None:
        """Refuse the request if a field is wrong.

        :raises Refusal: with HTTP 400.
        """
        if self._errors:
            raise invalid(self._errors)

    def existing(self, name: str, find: Callable[[str], Any], label: str = "") -> str | None:
        """Read an optional field that must name something that exists.

        :param find: returns something true if it exists.
        :param label: how the vendor's text names the field, if differently.
        """
        if self.params.get(name) is None:
            return None
        value = text(self.params[name])
        if value is None or not find(value):
            self.wrong(name, f"The selected {label or name} is invalid.")
        return value

    def selected(self, name: str, known: Container[str]) -> str | None:
        """Read an optional field that must be one of the known names."""
        return self.existing(name, known.__contains__)

    def required(self, name: str, known: Mapping[str, T]) -> T | None:
        """Read a field that must be one of the known names, and return what it names."""
        found = known.get(text(self.params.get(name)) or "")
        if found is None:
            self.wrong(name, f"The selected {name} is invalid.")
        return found

    def number(self, name: str, known: Container[int], label: str = "") -> int | None:
        """Read an optional field that must be one of the known numbers."""
        number = whole_number(self.params.get(name))
        if self.params.get(name) is not None and number not in known:
            self.wrong(name, f"The selected {label or name} is invalid.")
        return number

    def numbers(self, name: str, known: Container[int], label: str, *, places: bool = True) -> list[int]:
        """Read an optional list of known numbers.

        :param places: whether the vendor names the place of a wrong number.
        """
        raw = self.params.get(name)
        if not isinstance(raw, list):
            if raw is not None:
                self.wrong(name, f"The {label}s must be an array.")
            return []
        numbers = [whole_number(entry) for entry in raw]
        wrong = [position for position, number in enumerate(numbers) if number not in known]
        for place in [f"{name}.{position}" for position in wrong] if places else [name] * bool(wrong):
            self.wrong(place, f"The selected {label} is invalid.")
        return [number for number in numbers if number is not None]

    def flag(self, name: str, label: str = "") -> bool:
        """Read an optional boolean, by default false."""
        value = self.params.get(name, False)
        if not isinstance(value, bool):
            self.wrong(name, f"The {label or name} field must be true or false.")
        return value is True

    def date(self, name: str, label: str) -> int | None:
        """Read an optional Unix time in seconds."""
        raw = self.params.get(name)
        if raw is None:
            return None
        if isinstance(raw, bool) or not _DATE.fullmatch(str(raw)):
            self.wrong(name, f"The {label} is invalid.")
            return None
        return int(raw)

    def amount(self, precision: int) -> Decimal | None:
        """Read the required field ``amount``."""
        number = amount(self.params.get("amount"), precision)
        if number is None:
            self.wrong("amount", "The amount field must be a valid number")
        return number

    def page(
        self, default: int, most: int = LARGEST_PAGE, *, longest: int = LARGEST_PAGE, window: int | None = None
    ) -> tuple[int, int]:
        """Read ``limit`` and ``offset``.

        :param default: the limit if none is given.
        :param most: the largest limit that is not refused.
        :param longest: no page has more entries.
        :param window: what both together must stay below; ``None``: any sum.
        """
        limit = min(self._bounded("limit", default, 1, most), longest)
        offset = self._bounded("offset", 0, 0, LARGEST_OFFSET)
        if window is not None and "offset" not in self._errors and limit + offset >= window:
            self.wrong("offset", f"Offset is too big. Please use offset + limit less than {window}.")
        return limit, offset

    def _bounded(self, name: str, default: int, least: int, most: int) -> int:
        number = whole_number(self.params.get(name, default))
        if number is None:
            self.wrong(name, f"The {name} must be an integer.")
        elif number > most:
            self.wrong(name, f"The {name} may not be greater than {most}.")
        elif number < least:
            self.wrong(name, f"The {name} must be at least {least}.")
        return number or 0


def whole_number(raw: Any) -> int | None:
    """Return a whole number, given as a number or as decimal digits; ``None`` for anything else."""
    if isinstance(raw, str) and _WHOLE_NUMBER.fullmatch(raw):
        return int(raw)
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else None


def amount(raw: Any, precision: int) -> Decimal | None:
    """Return an amount, given as plain decimal digits or as a JSON number.

    :param precision: the most decimals that it may have.
    :returns: ``None`` if it is not an amount or has more decimals.
    """
    if isinstance(raw, bool):
        return None
    if isinstance(raw, Decimal):
        # Written out, a number such as 1e999999999 would fill the memory.
        raw = format(raw, "f") if abs(raw.adjusted()) <= _MOST_DIGITS else None
    elif isinstance(raw, int):
        raw = str(raw) if raw.bit_length() <= 4 * _MOST_DIGITS else None
    if not isinstance(raw, str) or not _NUMBER.fullmatch(raw):
        return None
    whole, _, decimals = raw.partition(".")
    decimals = decimals.rstrip("0")
    if len(decimals) > precision:
        return None
    return Decimal(f"{whole}.{decimals}" if decimals else whole)


def text(value: Any) -> str | None:
    """Return a string that can be looked up, else ``None``. JSON allows lone surrogates, which SQLite refuses."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value
