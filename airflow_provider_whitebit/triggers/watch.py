"""The trigger that waits for a condition, with as few requests as it takes for all who wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.treasury.conditions import Condition, condition_from_json
from airflow_provider_whitebit.triggers.polls import shared_poll


class WhiteBitConditionTrigger(BaseTrigger):
    """Waits until a condition is fulfilled. All such triggers of one triggerer share their requests.

    Its one event has ``status`` ``met`` (with ``found``), ``timeout`` or ``error`` (with ``error`` and ``message``).
    It holds no secret and no state: any triggerer can run it again at any time.

    :param whitebit_conn_id: the Airflow connection.
    :param condition: what is waited for, as ``Condition.to_json`` gives it.
    :param poke_interval: seconds between two questions.
    :param until: Unix seconds at which it gives up; ``None``: never.
    """

    def __init__(
        self,
        whitebit_conn_id: str,
        condition: Mapping[str, Any],
        poke_interval: float = 60,
        until: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.whitebit_conn_id = whitebit_conn_id
        self.condition = dict(condition)
        self.poke_interval = poke_interval
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and what makes it anew."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "whitebit_conn_id": self.whitebit_conn_id,
                "condition": self.condition,
                "poke_interval": self.poke_interval,
                "until": self.until,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event, when the condition is fulfilled, the time is over, or no further question can help."""
        left = None if self.until is None else max(0, self.until - time.time())
        event: dict[str, Any]
        try:
            async with asyncio.timeout(left):
                event = {"status": "met", "found": await self._found(condition_from_json(self.condition))}
        except TimeoutError:
            event = {"status": "timeout"}
        except WhiteBitError as error:
            event = {"status": "error", "error": type(error).__name__, "message": error.message}
        except Exception as error:
            # A connection that is gone, for example. Its text may hold anything, so only its name is told.
            event = {"status": "error", "error": type(error).__name__, "message": "see the triggerer's log"}
            self.log.exception("Waiting came to an end")
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _found(self, condition: Condition) -> dict[str, Any]:
        poll = shared_poll(self.whitebit_conn_id, condition.question, self.poke_interval)
        answers = poll.answers(lambda: condition.since)
        try:
            async for answer in answers:
                if (found := condition.judge(answer)) is not None:
                    return found
            raise AssertionError("a poll never ends by itself")
        finally:
            await answers.aclose()  # type: ignore[attr-defined]
