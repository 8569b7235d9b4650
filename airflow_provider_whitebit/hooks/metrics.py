"""What the provider tells Airflow's metrics. The names are documented in ``docs/waiting.md``.

Nothing is measured where no metrics are switched on: requests are many, and measuring is not free.
"""

from __future__ import annotations

from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitInDoubt
from airflow_provider_whitebit.hooks.airflow_compat import metrics_are_on, stats
from airflow_provider_whitebit.moves.intent import Receipt

_ACCOUNT = "/api/v4/"


class RequestMetrics:
    """Counts and times requests; the client calls it."""

    def answered(self, path: str, status: int | None, seconds: float) -> None:
        """One request has been answered, or not.

        :param path: of the call.
        :param status: HTTP status; ``None``: no answer.
        :param seconds: from sending to the end of the answer.
        """
        endpoint = _endpoint(path)
        stats().incr("whitebit.requests", tags={"endpoint": endpoint, "status": str(status or "none")})
        stats().timing("whitebit.request.duration", seconds * 1000, tags={"endpoint": endpoint})

    def refused(self, path: str, error: WhiteBitError) -> None:
        """The exchange has refused a call."""
        stats().incr("whitebit.refusals", tags={"endpoint": _endpoint(path), "error": type(error).__name__})

    def repeated(self, path: str | None) -> None:
        """A call is made once more."""
        stats().incr("whitebit.retries", tags={"endpoint": _endpoint(path or "")})


def request_metrics() -> RequestMetrics | None:
    """The meter of requests, where Airflow's metrics are switched on."""
    return RequestMetrics() if metrics_are_on() else None


def count_move(receipt: Receipt, now_ms: int) -> None:
    """Count a move that was made, by this run of the task or an earlier one.

    :param receipt: its receipt.
    :param now_ms: the exchange's time in milliseconds.
    """
    tags = {"operation": str(receipt.operation)}
    stats().incr("whitebit.moves.executed", tags=tags)
    if receipt.reconciled:
        stats().incr("whitebit.moves.reconciled", tags=tags)
        if receipt.executed_at is not None:
            taken = max(0.0, now_ms - receipt.executed_at.timestamp() * 1000)
            stats().timing("whitebit.moves.settle_duration", taken, tags=tags)


def count_failure(operation: str, error: WhiteBitError) -> None:
    """Count a move that was not made, or of which nobody knows.

    :param operation: what it was to do.
    :param error: why not.
    """
    name = "whitebit.moves.in_doubt" if isinstance(error, WhiteBitInDoubt) else "whitebit.moves.failed"
    stats().incr(name, tags={"operation": operation, "error": type(error).__name__})


def _endpoint(path: str) -> str:
    return path.removeprefix(_ACCOUNT).replace("/", ".")
