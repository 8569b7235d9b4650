"""The trigger that reconciles a move in doubt: did a move whose answer was lost run, or not?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import TRANSIENT_ERRORS, WhiteBitConfigurationError, WhiteBitError
from airflow_provider_whitebit.hooks.airflow_compat import ask_airflow
from airflow_provider_whitebit.hooks.journals import VariableMarkers
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.moves.drivers import reconcile_in_background
from airflow_provider_whitebit.moves.intent import Intent
from airflow_provider_whitebit.moves.journal import MoveMarkers, SharedMarkers

#: Seconds between two requests to an exchange that does not answer, and after which the trigger ends with an error.
_PAUSE = 10
_PATIENCE = 600


class WhiteBitReconcileTrigger(BaseTrigger):
    """Waits until the exchange can no longer accept a request, then looks for the move in the exchange's records.

    It moves no money and keeps nothing but the intent, so any triggerer can run it again at any time. It emits one
    event with ``intent``, the updated document, and ``sent``. If the records cannot tell or the exchange does not
    answer, the document is unchanged and ``error`` says why.

    :param whitebit_conn_id: the Airflow connection.
    :param intent: the document of the intent in doubt. It contains no secret.
    :param sent: how often the task has sent the request in this try. It is passed on in the event.
    """

    def __init__(self, whitebit_conn_id: str, intent: Mapping[str, Any], sent: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.whitebit_conn_id = whitebit_conn_id
        self.intent = dict(intent)
        self.sent = sent

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the parameters from which Airflow creates the trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"whitebit_conn_id": self.whitebit_conn_id, "intent": self.intent, "sent": self.sent},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Emit one event: the move is reconciled, or cannot be."""
        event: dict[str, Any] = {"intent": self.intent, "sent": self.sent}
        try:
            event["intent"] = (await self._reconciled()).to_json()
        except WhiteBitError as error:
            self.log.warning("The move could not be reconciled here: %s", error)
            event["error"] = f"{type(error).__name__}: {error}"
        except Exception as error:
            # For example, the connection was deleted. The task meets the same problem and fails with Airflow's error.
            self.log.warning("The move could not be reconciled here (%s)", type(error).__name__)
            event["error"] = type(error).__name__
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _reconciled(self) -> Intent:
        hook = WhiteBitHook(self.whitebit_conn_id)
        intent = Intent.from_json(self.intent)
        client, margin_ms, markers = await ask_airflow(_sender, hook, intent.account)

        async def read_marker(conflict_key: str) -> str | None:
            return await ask_airflow(markers.read, conflict_key)

        waited = 0
        try:
            while True:
                try:
                    return await reconcile_in_background(
                        client, intent, reconcile_margin_ms=margin_ms, read_marker=read_marker
                    )
                except TRANSIENT_ERRORS as error:
                    if waited >= _PATIENCE:
                        raise
                    self.log.info("The exchange does not answer, next request in %s s: %s", _PAUSE, error)
                waited += _PAUSE
                await asyncio.sleep(_PAUSE)
        finally:
            client.close()


def _sender(hook: WhiteBitHook, account: str) -> tuple[WhiteBitClient, int, MoveMarkers]:
    """The client with the key that sent a move, the reconcile margin in milliseconds, and the markers of that key.

    :raises WhiteBitConfigurationError: if neither the connection nor its ``previous_conn_id`` has this key.
    """
    margin_ms, previous = hook.settings.reconcile_margin_ms, hook.previous
    if hook.settings.account == account:
        own = VariableMarkers(account)
        markers = own if previous is None else SharedMarkers(own, VariableMarkers(previous.settings.account))
        return hook.get_conn(), margin_ms, markers
    if previous is not None and previous.settings.account == account:
        return previous.get_conn(), margin_ms, VariableMarkers(account)
    raise WhiteBitConfigurationError("The connection has another API key than the one that sent the move.")
