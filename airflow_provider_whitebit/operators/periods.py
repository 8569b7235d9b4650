"""The period that a task reports on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.moves.parsing import read_time
from airflow_provider_whitebit.treasury.statement import previous_month

if TYPE_CHECKING:
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

    Period = tuple[pendulum.DateTime, pendulum.DateTime]


def read_period(
    hook: WhiteBitHook,
    start: object,
    end: object,
    context: Mapping[str, Any],
    *,
    by_interval: bool = True,
    otherwise: Callable[[datetime], Period] = previous_month,
) -> Period:
    """Read the beginning and the end of a period.

    :param hook: asked for the time of the exchange, where the context has none.
    :param start: as given; ``None``: that of the data interval, or of the period before the run.
    :param end: likewise.
    :param context: of the task.
    :param by_interval: whether the data interval counts.
    :param otherwise: makes the period before a moment, by default the calendar month (UTC).
    :raises WhiteBitValidationError: only one of them is given, or one is no time.
    """
    begin, until = read_time("start", start), read_time("end", end)
    if (begin is None) != (until is None):
        raise WhiteBitValidationError("Give both start and end, or neither of them.")
    if begin is not None and until is not None:
        return _utc(begin), _utc(until)
    if by_interval:
        begin, until = context.get("data_interval_start"), context.get("data_interval_end")
        # That of a plain cron schedule is a moment.
        if begin is not None and until is not None and begin != until:
            return _utc(begin), _utc(until)
    # Airflow gives a task datetimes of Python.
    return otherwise(_utc(getattr(context.get("dag_run"), "run_after", None) or hook.get_conn().server_time()))


def previous_days(moment: datetime, *, days: int) -> Period:
    """Return the beginning and the end of the whole days (UTC) before the day of a moment.

    :param moment: an aware time.
    :param days: how many.
    """
    end = _utc(moment).start_of("day")
    return end.subtract(days=days), end


def _utc(moment: datetime) -> pendulum.DateTime:
    return pendulum.instance(moment).in_timezone("UTC")
