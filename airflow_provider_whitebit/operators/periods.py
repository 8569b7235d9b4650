"""The period that a task reports on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.moves.parsing import read_time
from airflow_provider_whitebit.treasury.statement import previous_month

if TYPE_CHECKING:
    import pendulum

    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook


def read_period(
    hook: WhiteBitHook, start: object, end: object, context: Mapping[str, Any]
) -> tuple[pendulum.DateTime, pendulum.DateTime]:
    """Read the beginning and the end of a period.

    :param hook: tells the time of the exchange, where the context has none.
    :param start: as given; ``None``: that of the data interval, or of the calendar month (UTC) before the run.
    :param end: likewise.
    :param context: of the task.
    :raises WhiteBitValidationError: only one of them is given, or one is no time.
    """
    begin, until = read_time("start", start), read_time("end", end)
    if (begin is None) != (until is None):
        raise WhiteBitValidationError("Give both start and end, or neither of them.")
    if begin is None:
        begin, until = context.get("data_interval_start"), context.get("data_interval_end")
    if begin is not None and until is not None and begin != until:
        return begin, until
    run = context.get("dag_run")
    return previous_month(getattr(run, "run_after", None) or hook.get_conn().server_time())
