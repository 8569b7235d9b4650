"""The trigger that settles a doubt: did a move whose answer was lost run, or not?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import PASSING, WhiteBitConfigurationError, WhiteBitError
from airflow_provider_whitebit.hooks.journals import VariableMarks
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.moves.drivers import settle_in_background
from airflow_provider_whitebit.moves.intent import Intent
from airflow_provider_whitebit.moves.journal import Marks, SharedMarks

#: Seconds between two questions to an exchange that does not answer, and how long that goes on.
_PAUSE = 10
_PATIENCE = 600


class WhiteBitSettleTrigger(BaseTrigger):
    """Waits until a request can no longer be accepted, then asks the exchange's records what came of it.

    It sends nothing that moves money and keeps nothing but the intent, so it can be run again at any time by any
    triggerer. Its one event holds ``intent``, the document as it stands now, and ``sent``; where the records cannot
    tell or the exchange does not answer, the document comes back as it was and ``error`` says why.

    :param whitebit_conn_id: the Airflow connection.
    :param intent: the document of the intent in doubt; it holds no secret.
    :param sent: sendings that the task has made in this try; handed through.
    """

    def __init__(self, whitebit_conn_id: str, intent: Mapping[str, Any], sent: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.whitebit_conn_id = whitebit_conn_id
        self.intent = dict(intent)
        self.sent = sent

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and what makes it anew."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"whitebit_conn_id": self.whitebit_conn_id, "intent": self.intent, "sent": self.sent},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event, when the doubt is settled or cannot be."""
        event: dict[str, Any] = {"intent": self.intent, "sent": self.sent}
        try:
            event["intent"] = (await self._settled()).to_json()
        except WhiteBitError as error:
            self.log.warning("The doubt could not be settled here: %s", error)
            event["error"] = f"{type(error).__name__}: {error}"
        except Exception as error:
            # A connection that is gone, for example. The task meets the same and says so by Airflow's own error.
            self.log.warning("The doubt could not be settled here (%s)", type(error).__name__)
            event["error"] = type(error).__name__
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _settled(self) -> Intent:
        # Airflow hands connections and Variables to triggers through asgiref's thread.
        hook = WhiteBitHook(self.whitebit_conn_id)
        intent = Intent.from_json(self.intent)
        client, margin_ms, marks = await sync_to_async(_what_it_was_sent_with)(hook, intent.account)
        read_mark = sync_to_async(marks.read)
        waited = 0
        try:
            while True:
                try:
                    return await settle_in_background(client, intent, settle_margin_ms=margin_ms, read_mark=read_mark)
                except PASSING as error:
                    if waited >= _PATIENCE:
                        raise
                    self.log.info("The exchange could not be asked, once more in %s s: %s", _PAUSE, error)
                waited += _PAUSE
                await asyncio.sleep(_PAUSE)
        finally:
            client.close()


def _what_it_was_sent_with(hook: WhiteBitHook, account: str) -> tuple[WhiteBitClient, int, Marks]:
    """The client with the key that a move was sent with, the settle margin, and the marks of that key.

    :raises WhiteBitConfigurationError: if the connection has no such key, nor its ``former_connection``.
    """
    margin_ms, former = hook.settings.settle_margin_ms, hook.former
    if hook.settings.account == account:
        own = VariableMarks(account)
        marks = own if former is None else SharedMarks(own, VariableMarks(former.settings.account))
        return hook.get_conn(), margin_ms, marks
    if former is not None and former.settings.account == account:
        return former.get_conn(), margin_ms, VariableMarks(account)
    raise WhiteBitConfigurationError("The connection has another API key or host than the move was made with.")
