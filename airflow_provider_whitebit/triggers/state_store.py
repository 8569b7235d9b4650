"""Where an event trigger keeps its state: with the watched asset (Airflow 3.3 and later), or in a Variable."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from typing import Any

from airflow_provider_whitebit.hooks.airflow_compat import ask_airflow, asset_states
from airflow_provider_whitebit.hooks.stores import keep_variable, read_variable
from airflow_provider_whitebit.treasury.occurrences import WatchState

log = logging.getLogger(__name__)

#: Airflow itself records here, together with each asset event, that the event has been delivered.
DELIVERED = "delivered"
_STATE = "state"


def fingerprint(classpath: str, arguments: Mapping[str, Any]) -> str:
    """Identify a trigger by what it watches: the same in each of its runs, different for any other trigger."""
    text = json.dumps([classpath, arguments], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def state_key(trigger: str, what: str) -> str:
    """The key in an asset's state.

    :param trigger: the trigger's :func:`fingerprint`.
    :param what: ``delivered`` or ``state``.
    """
    return f"whitebit.{trigger}.{what}"


def variable_name(trigger: str, what: str | None = None) -> str:
    """The name of a Variable.

    :param trigger: the trigger's :func:`fingerprint`.
    :param what: ``delivered``; by default, the trigger's own state.
    """
    return f"whitebit_events__{trigger}" + ("" if what is None else f"__{what}")


class AssetStateStore:
    """Keeps the state with the assets that the trigger watches for.

    :param accessors: ``trigger.asset_state_store``.
    :param trigger: the trigger's fingerprint.
    """

    def __init__(self, accessors: Any, trigger: str) -> None:
        self._states = asset_states(accessors)
        self._trigger = trigger
        # They hold the state from before an upgrade to Airflow 3.3, and deliveries if the state backend is not
        # Airflow's own.
        self._variables = VariableStateStore(trigger, self._states)
        self._migrating = False

    async def read(self) -> WatchState:
        """Read the state and all that Airflow has delivered; ``since`` is ``None`` if no state was written."""
        state = await self._variables.read()
        self._migrating = state.since is not None
        for document in await self._all(_STATE):
            found = WatchState.from_json(document)
            state.since = found.since
            state.armed_after = max(state.armed_after, found.armed_after)
            if found.writes >= state.writes:
                state.memory, state.writes = found.memory, found.writes
            state.add(found.emitted)
        delivered = await self._delivered()
        if state.since is None and delivered:
            state.since = min(delivered.values())
        state.add(delivered)
        return state

    async def delivered(self) -> dict[str, int]:
        """Read what Airflow has delivered lately: Unix second of each occurrence by its id."""
        return {**await self._variables.delivered(), **await self._delivered()}

    async def write(self, state: WatchState) -> None:
        """Write the state.

        :raises Exception: if Airflow keeps it with none of the assets.
        """
        errors = []
        for name, asset in self._states.items():
            try:
                await asset.aset(state_key(self._trigger, _STATE), state.to_json())
            except Exception as error:
                # A trigger keeps running for an asset that no DAG names, but Airflow keeps no state for it.
                log.warning("No state could be kept with the asset %s (%s)", name, type(error).__name__)
                errors.append(error)
        if errors and len(errors) == len(self._states):
            raise errors[-1]
        if self._migrating:
            # Airflow deletes the state of unused assets. The Variable would then bring an outdated state back.
            await self._variables.retire()
            self._migrating = False

    async def _delivered(self) -> dict[str, int]:
        return {name: second for delivered in await self._all(DELIVERED) for name, second in delivered.items()}

    async def _all(self, what: str) -> list[Any]:
        found = [await asset.aget(state_key(self._trigger, what)) for asset in self._states.values()]
        return [value for value in found if value is not None]


class VariableStateStore:
    """Keeps the state in an Airflow Variable.

    :param trigger: the trigger's fingerprint.
    :param assets: names of the assets that the trigger watches for, if they are known.
    """

    def __init__(self, trigger: str, assets: Collection[str] | None = None) -> None:
        self._trigger = trigger
        self._assets = assets

    async def read(self) -> WatchState:
        """Read the state and all that Airflow has delivered; ``since`` is ``None`` if no state was written."""
        state = WatchState.from_json(await self._get() or {})
        state.add(await self.delivered())
        return state

    async def delivered(self) -> dict[str, int]:
        """Read what Airflow has delivered lately: Unix second of each occurrence by its id."""
        by_asset = await self._get(DELIVERED) or {}
        return {
            name: second
            for asset, delivered in by_asset.items()
            if self._assets is None or asset in self._assets
            for name, second in delivered.items()
        }

    async def write(self, state: WatchState) -> None:
        """Write the state.

        :raises WhiteBitJournalError: if Airflow does not keep it.
        """
        await self._set(state.to_json())

    async def retire(self) -> None:
        """Mark the Variable as outdated: the state is kept with the assets.

        :raises WhiteBitJournalError: if Airflow does not keep it.
        """
        await self._set({"moved": True})

    async def _get(self, what: str | None = None) -> Any:
        text = await ask_airflow(read_variable, variable_name(self._trigger, what))
        return None if text is None else json.loads(text)

    async def _set(self, document: Mapping[str, Any]) -> None:
        text = json.dumps(document, sort_keys=True)
        await ask_airflow(keep_variable, variable_name(self._trigger), text, "State of a WhiteBIT event trigger")
