"""Parameters of operators as templates render them, read and checked when the task runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decimal import Decimal

# Everything below airflow.sdk is imported when a task runs, not when its DAG file is parsed.


def as_boolean(name: str, value: Any) -> bool:
    """A boolean, or what a template makes of one.

    :raises WhiteBitValidationError: if it is neither.
    """
    from airflow_provider_whitebit.client.errors import WhiteBitValidationError

    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("true", "false"):
        return text == "true"
    raise WhiteBitValidationError(f"{name} is {value!r}: write true or false.")


def refuse_both(plan_id: Any, ticker: Any) -> None:
    """:raises ValueError: if a plan and a ticker are given, as soon as the DAG file is read."""
    if plan_id is not None and ticker is not None:
        raise ValueError("give either plan_id or ticker, not both")


def refuse_float(amount: Any) -> None:
    """Refuse a float as soon as the DAG file is read. :raises WhiteBitValidationError: with the right spelling."""
    if isinstance(amount, float):
        from airflow_provider_whitebit.treasury.choice import read_amount

        read_amount(amount)


def as_ticker(raw: str | None) -> str | None:
    """A ticker in capitals, or nothing. :raises WhiteBitValidationError: if it is none."""
    from airflow_provider_whitebit.treasury.choice import read_ticker

    return None if raw in (None, "") else read_ticker(raw)


def as_plan_id(raw: str | None) -> str | None:
    """A plan's id, or nothing. :raises WhiteBitValidationError: if it is none."""
    from airflow_provider_whitebit.treasury.choice import read_plan_id

    return None if raw in (None, "") else read_plan_id(raw)


def as_amount(name: str, raw: Any) -> Decimal | None:
    """An amount that may be zero, or nothing. :raises WhiteBitValidationError: if it is none."""
    from airflow_provider_whitebit.treasury.choice import read_limit

    return None if raw is None or raw in ("", "None") else read_limit(name, raw)


def as_number(name: str, raw: int | str | None, *, least: int = 1, most: int | None = None) -> int | None:
    """A whole number, or nothing. :raises WhiteBitValidationError: if it is none, or too small."""
    from airflow_provider_whitebit.client.errors import WhiteBitValidationError

    if raw is None or raw in ("", "None"):
        return None
    text = str(raw).strip()
    if isinstance(raw, bool) or not (text.isascii() and text.isdecimal()) or int(text[:12]) < least:
        raise WhiteBitValidationError(f"{name} is {raw!r}: write a whole number, at least {least}.")
    number = int(text[:12])
    if most is not None and number > most:
        raise WhiteBitValidationError(f"{name} is {raw!r}: write a whole number from {least} to {most}.")
    return number


def as_identifier(name: str, raw: Any) -> str | None:
    """An identifier of the exchange, or nothing. :raises WhiteBitValidationError: if it is none."""
    from airflow_provider_whitebit.treasury.choice import read_identifier

    return None if raw in (None, "", "None") else read_identifier(name, raw)


def as_numbers(raw: Sequence[int] | str | None) -> list[int] | None:
    """Action types, as a list or as a template writes one. :raises WhiteBitValidationError: if it is none."""
    if raw is None or raw in ("", "None"):
        return None
    entries: Sequence[Any] = raw.strip("[]() ").split(",") if isinstance(raw, str) else raw
    return [number for entry in entries if (number := as_number("action_types", entry)) is not None]


def as_moment(name: str, raw: Any) -> Any:
    """A time with zone, or Unix seconds, also as a template renders them. :raises WhiteBitValidationError: if not."""
    from airflow_provider_whitebit.treasury.choice import read_moment

    return read_moment(name, raw)
