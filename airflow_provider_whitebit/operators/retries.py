"""Which failures are worth a retry. Airflow 3.3 and later."""

from __future__ import annotations

from typing import Any

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy


class WhiteBitRetryPolicy(RetryPolicy):
    """Fails a task at once where no retry can succeed; everything else is retried as the task says.

    No retry helps against a refusal, missing permission, a wrong key or parameter, a limit of the connection, or a
    doubt that a person has to look at. The operators have this policy by themselves; a ``@task`` that uses the hook
    can be given it: ``@task(retry_policy=WhiteBitRetryPolicy())``.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any | None = None
    ) -> RetryDecision:
        """Asked in the task's process after a failure."""
        from airflow_provider_whitebit.client.errors import FOR_GOOD

        if isinstance(exception, FOR_GOOD):
            return RetryDecision.fail(reason=f"{type(exception).__name__}: no retry can succeed")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Nothing but its name: it has no settings."""
        return {"__type": f"{type(self).__module__}.{type(self).__qualname__}"}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> WhiteBitRetryPolicy:
        """A policy again."""
        return cls()
