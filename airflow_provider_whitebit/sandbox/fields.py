"""Reads the fields of a request as the vendor does, and names what is wrong with them in the vendor's words."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.sandbox.answers import Validation

#: HTTP status and JSON body of a call that was carried out.
Success = tuple[int, Any]

LARGEST_PAGE = 100
LARGEST_OFFSET = 10_000
_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?", re.ASCII)
_MOST_DIGITS = 60
_DATE = re.compile(r"\d{1,11}", re.ASCII)


def whole_number(raw: Any) -> int | None:
    """A whole number, given as one or as its decimal digits; ``None`` if it is neither."""
    if isinstance(raw, str) and re.fullmatch(r"-?\d{1,18}", raw, re.ASCII):
        return int(raw)
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else None


def page(params: Mapping[str, Any], wrong: Validation, default: int) -> tuple[int, int]:
    """``limit`` and ``offset``."""
    limit, offset = whole_number(params.get("limit", default)), whole_number(params.get("offset", 0))
    if limit is None:
        wrong.add("limit", "The limit must be an integer.")
    elif limit > LARGEST_PAGE:
        wrong.add("limit", "The limit may not be greater than 100.")
    elif limit < 1:
        wrong.add("limit", "The limit must be at least 1.")
    if offset is None:
        wrong.add("offset", "The offset must be an integer.")
    elif offset < 0:
        wrong.add("offset", "The offset must be at least 0.")
    elif offset > LARGEST_OFFSET:
        wrong.add("offset", "The offset may not be greater than 10000.")
    return limit or 0, offset or 0


def date(params: Mapping[str, Any], name: str, words: str, wrong: Validation) -> int | None:
    """A Unix time in seconds."""
    raw = params.get(name)
    if raw is None:
        return None
    if isinstance(raw, bool) or not _DATE.fullmatch(str(raw)):
        wrong.add(name, f"The {words} is invalid.")
        return None
    return int(raw)


def amount(raw: Any, precision: int) -> Decimal | None:
    """An amount: plain decimal digits, or a JSON number; ``None`` where it is none or has too many decimals."""
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
    """A string that can be looked up, or ``None``: JSON also knows half a character, which no database keeps."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def must_be_among(known: Container[str], params: Mapping[str, Any], name: str, wrong: Validation) -> None:
    """A field that may be missing, but names something if it is there."""
    if params.get(name) is not None and text(params[name]) not in known:
        wrong.add(name, f"The selected {name} is invalid.")


def plain(amount: Decimal) -> str:
    """An amount as the vendor writes it: no exponent, no zeros at the end."""
    written = format(amount, "f")
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    return "0" if written in ("-0", "") else written
