"""The metrics that the provider sends to Airflow. Their names are documented in ``docs/waiting.md``.

Requests are measured only if metrics are switched on, because they are many. A metric that cannot be sent never fails
a task: the error is logged once.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import cache
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitInDoubtError
from airflow_provider_whitebit.hooks.after_move import after_move
from airflow_provider_whitebit.hooks.airflow_compat import metrics_are_on, stats
from airflow_provider_whitebit.moves.intent import Receipt

log = logging.getLogger(__name__)

_ACCOUNT = "/api/v4/"


class RequestMetrics:
    """Counts and times requests; the client calls it."""

    def answered(self, path: str, status: int | None, seconds: float) -> None:
        """Measure one request.

        :param path: of the call.
        :param status: HTTP status; ``None``: no answer.
        :param seconds: from sending to the end of the answer.
        """
        endpoint = _endpoint(path)
        _send("incr", "whitebit.requests", tags={"endpoint": endpoint, "status": str(status or "none")})
        _send("timing", "whitebit.request.duration", seconds * 1000, tags={"endpoint": endpoint})

    def refused(self, path: str, error: WhiteBitError) -> None:
        """Count a call that the exchange refused."""
        _send("incr", "whitebit.refusals", tags={"endpoint": _endpoint(path), "error": type(error).__name__})

    def repeated(self, path: str | None) -> None:
        """Count a call that is sent again."""
        _send("incr", "whitebit.retries", tags={"endpoint": _endpoint(path or "")})


def request_metrics() -> RequestMetrics | None:
    """Return what measures requests; ``None`` if Airflow's metrics are switched off."""
    try:
        return RequestMetrics() if metrics_are_on() else None
    except Exception as error:
        _report(type(error).__name__)
        return None


def count_move(receipt: Receipt, now_ms: int) -> None:
    """Count a move that was made, by this run of the task or an earlier one.

    :param receipt: its receipt.
    :param now_ms: the exchange's time in milliseconds.
    """
    with after_move("it is not counted"):
        tags = {"operation": str(receipt.operation)}
        _send("incr", "whitebit.moves.executed", tags=tags)
        if receipt.reconciled:
            _send("incr", "whitebit.moves.reconciled", tags=tags)
            if receipt.executed_at is not None:
                taken = max(0.0, now_ms - receipt.executed_at.timestamp() * 1000)
                _send("timing", "whitebit.moves.reconcile_duration", taken, tags=tags)


def count_failure(operation: str, error: WhiteBitError) -> None:
    """Count a move that failed or is in doubt.

    :param operation: of the move.
    :param error: its error.
    """
    name = "whitebit.moves.in_doubt" if isinstance(error, WhiteBitInDoubtError) else "whitebit.moves.failed"
    _send("incr", name, tags={"operation": operation, "error": type(error).__name__})


def _send(method: str, *arguments: Any, tags: dict[str, str]) -> None:
    try:
        getattr(stats(), method)(*arguments, tags=tags)
    except Exception as error:
        # Logging may be what fails.
        with suppress(Exception):
            _report(type(error).__name__)


@cache
def _report(error: str) -> None:
    """Log each kind of error once per process."""
    log.warning("Metrics are not sent (%s)", error, exc_info=True)


def _endpoint(path: str) -> str:
    return path.removeprefix(_ACCOUNT).replace("/", ".")
