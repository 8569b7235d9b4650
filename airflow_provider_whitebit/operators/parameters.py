"""Parameters of operators as templates render them, read and checked when the task runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decimal import Decimal

    import pendulum

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


def as_tickers(raw: Sequence[str] | str | None) -> list[str] | None:
    """Tickers in capitals, each once, as a list or comma separated; nothing, also an empty list, is all of them.

    :raises WhiteBitValidationError: if one is none.
    """
    from airflow_provider_whitebit.treasury.choice import read_ticker

    if raw is None or raw in ("", "None"):
        return None
    # A template writes a list as ['BTC', 'USDT'].
    entries: Sequence[Any] = (
        raw.strip("[]() ").replace("'", "").replace('"', "").split(",") if isinstance(raw, str) else raw
    )
    return list(dict.fromkeys(read_ticker(entry) for entry in entries if entry != "")) or None


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


def as_time(name: str, raw: Any) -> pendulum.DateTime | None:
    """A time in UTC, from what :func:`as_moment` reads, or from a date, which is its beginning in UTC.

    :raises WhiteBitValidationError: if it is none, or has no zone.
    """
    from datetime import date, datetime

    import pendulum

    from airflow_provider_whitebit.client.errors import WhiteBitValidationError

    if isinstance(raw, date) and not isinstance(raw, datetime):
        raw = raw.isoformat()
    moment = as_moment(name, raw)
    if isinstance(raw, str) and len(raw.strip()) == len("2026-01-31") and isinstance(moment, datetime):
        moment = moment.replace(tzinfo=moment.tzinfo or pendulum.UTC)
    if moment is None:
        return None
    if isinstance(moment, int) and not isinstance(moment, bool):
        return pendulum.from_timestamp(moment, tz="UTC")
    if not isinstance(moment, datetime):
        raise WhiteBitValidationError(f"{name} is {raw!r}: write a time like 2026-01-31T00:00:00+00:00, or a date.")
    if moment.tzinfo is None:
        raise WhiteBitValidationError(f"{name} is {raw!r}, which has no time zone: write 2026-01-31T00:00:00+00:00.")
    return pendulum.instance(moment).in_timezone("UTC")
