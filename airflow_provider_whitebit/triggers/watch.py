"""The trigger that waits for a condition. Triggers that wait for similar conditions share their requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_whitebit.client.errors import WhiteBitError, quoted
from airflow_provider_whitebit.hooks.airflow_compat import AirflowNotFoundException
from airflow_provider_whitebit.treasury.conditions import Condition, Names, condition_from_json
from airflow_provider_whitebit.triggers.polls import shared_poll


class WhiteBitConditionTrigger(BaseTrigger):
    """Waits until a condition is met. All such triggers of one triggerer share their requests.

    It emits one event, with ``status`` ``met`` (and ``found``), ``timeout`` (and ``known``, as below) or ``error`` (and
    ``error``, the error's class, ``message``, ``said``). It has no secret and no state: any triggerer can run it again
    at any time.

    :param whitebit_conn_id: the Airflow connection.
    :param condition: the condition, as ``Condition.to_json`` returns it.
    :param poke_interval: seconds between two polls.
    :param until: Unix seconds at which it ends with ``timeout``; ``None``: never.
    :param known: whether the exchange has known what the condition names. It may be gone by now.
    """

    def __init__(
        self,
        whitebit_conn_id: str,
        condition: Mapping[str, Any],
        poke_interval: float = 60,
        until: float | None = None,
        known: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.whitebit_conn_id = whitebit_conn_id
        self.condition = dict(condition)
        self.poke_interval = poke_interval
        self.until = until
        self.known = known

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the parameters from which Airflow creates the trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "whitebit_conn_id": self.whitebit_conn_id,
                "condition": self.condition,
                "poke_interval": self.poke_interval,
                "until": self.until,
                "known": self.known,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Emit one event: the condition is met, the time is over, or no further request can help."""
        left = None if self.until is None else max(0, self.until - time.time())
        event: dict[str, Any]
        try:
            async with asyncio.timeout(left) as limit:
                event = {"status": "met", "found": await self._found(condition_from_json(self.condition))}
        except WhiteBitError as error:
            event = {
                "status": "error",
                "error": type(error).__name__,
                "message": error.message,
                "said": quoted(error),
                "next_step": error.next_step if isinstance(error.next_step, str) else list(error.next_step),
            }
        except AirflowNotFoundException as error:
            event = {
                "status": "error",
                "error": type(error).__name__,
                "message": f"Airflow has no connection {self.whitebit_conn_id!r}",
            }
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                event = {"status": "timeout", "known": self.known}
            else:
                # The text may contain anything, so only the class is passed on.
                event = {"status": "error", "error": type(error).__name__, "message": "see the triggerer's log"}
                self.log.exception("Waiting failed")
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _found(self, condition: Condition) -> dict[str, Any]:
        poll = shared_poll(self.whitebit_conn_id, condition.question, self.poke_interval)
        answers = poll.answers(lambda: condition.since, Names() if self.known else condition.names)
        try:
            async for answer in answers:
                self.known = True
                if (found := condition.judge(answer)) is not None:
                    return found
            raise AssertionError("a poll never ends by itself")
        finally:
            await answers.aclose()  # type: ignore[attr-defined]
