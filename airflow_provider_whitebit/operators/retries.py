"""A retry policy for WhiteBIT errors. Airflow 3.3 and later."""

from __future__ import annotations

from typing import Any

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy


class WhiteBitRetryPolicy(RetryPolicy):
    """Fails a task at once if no retry can succeed. Other errors are retried as the task says.

    No retry helps against a refusal, a missing permission, a wrong key or parameter, a limit of the connection, or a
    move in doubt. The operators have this policy by default. For a ``@task`` that uses the hook, write
    ``@task(retry_policy=WhiteBitRetryPolicy())``.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any | None = None
    ) -> RetryDecision:
        """Decide in the task's process after a failure."""
        from airflow_provider_whitebit.client.errors import PERMANENT_ERRORS

        if isinstance(exception, PERMANENT_ERRORS):
            return RetryDecision.fail(reason=f"{type(exception).__name__}: no retry can succeed")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return the class name. The policy has no settings."""
        return {"__type": f"{type(self).__module__}.{type(self).__qualname__}"}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> WhiteBitRetryPolicy:
        """Create the policy again."""
        return cls()
