"""Where an event trigger keeps what it has told: with the watched asset (Airflow 3.3 and later), or in a Variable."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from typing import Any

from asgiref.sync import sync_to_async

from airflow_provider_whitebit.hooks.airflow_compat import asset_states
from airflow_provider_whitebit.hooks.journals import keep_variable, read_variable
from airflow_provider_whitebit.treasury.occurrences import Memory

log = logging.getLogger(__name__)

#: Where Airflow itself notes, together with each asset event, that the event has been delivered.
DELIVERED = "delivered"
_NOTED = "noted"


def fingerprint(classpath: str, arguments: Mapping[str, Any]) -> str:
    """Names a trigger by what it watches: the same for each of its runs, another for any other trigger."""
    text = json.dumps([classpath, arguments], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def state_key(trigger: str, what: str) -> str:
    """Key in an asset's state.

    :param trigger: the trigger's :func:`fingerprint`.
    :param what: ``delivered`` or ``noted``.
    """
    return f"whitebit.{trigger}.{what}"


def variable_name(trigger: str, what: str | None = None) -> str:
    """Name of a Variable.

    :param trigger: the trigger's :func:`fingerprint`.
    :param what: ``delivered``; what the trigger notes itself by default.
    """
    return f"whitebit_events__{trigger}" + ("" if what is None else f"__{what}")


class AssetKeeper:
    """In the state of the assets that the trigger watches for.

    :param accessors: ``trigger.asset_state_store``.
    :param trigger: the trigger's fingerprint.
    """

    def __init__(self, accessors: Any, trigger: str) -> None:
        self._states = asset_states(accessors)
        self._trigger = trigger
        # Noted before an upgrade to Airflow 3.3; deliveries also where the state backend is not Airflow's own.
        self._variables = VariableKeeper(trigger, self._states)
        self._to_move = False

    async def read(self) -> Memory:
        """What was noted, with all that Airflow has delivered; without ``since`` if nothing was noted."""
        memory = await self._variables.read()
        self._to_move = memory.since is not None
        for noted in await self._all(_NOTED):
            found = Memory.from_json(noted)
            memory.since = found.since
            memory.armed_after = max(memory.armed_after, found.armed_after)
            memory.add(found.told)
        delivered = await self._delivered()
        if memory.since is None and delivered:
            memory.since = min(delivered.values())
        memory.add(delivered)
        return memory

    async def delivered(self) -> dict[str, int]:
        """What Airflow has delivered lately: Unix second of each occurrence by its id."""
        return {**await self._variables.delivered(), **await self._delivered()}

    async def write(self, memory: Memory) -> None:
        """Note it. :raises Exception: if Airflow keeps it with none of the assets."""
        errors = []
        for name, state in self._states.items():
            try:
                await state.aset(state_key(self._trigger, _NOTED), memory.to_json())
            except Exception as error:
                # Airflow lets a trigger go on watching for an asset that no DAG names any more, but keeps no state.
                log.warning("Nothing could be noted with the asset %s (%s)", name, type(error).__name__)
                errors.append(error)
        if errors and len(errors) == len(self._states):
            raise errors[-1]
        if self._to_move:
            # Airflow deletes the state of an asset that is not used. The Variable would then bring old times back.
            await self._variables.move()
            self._to_move = False

    async def _delivered(self) -> dict[str, int]:
        return {name: second for told in await self._all(DELIVERED) for name, second in told.items()}

    async def _all(self, what: str) -> list[Any]:
        found = [await state.aget(state_key(self._trigger, what)) for state in self._states.values()]
        return [value for value in found if value is not None]


class VariableKeeper:
    """In an Airflow Variable.

    :param trigger: the trigger's fingerprint.
    :param assets: names of the assets that the trigger watches for, if it knows them.
    """

    def __init__(self, trigger: str, assets: Collection[str] | None = None) -> None:
        self._trigger = trigger
        self._assets = assets

    async def read(self) -> Memory:
        """What was noted, with all that Airflow has delivered; without ``since`` if nothing was noted."""
        memory = Memory.from_json(await self._get() or {})
        memory.add(await self.delivered())
        return memory

    async def delivered(self) -> dict[str, int]:
        """What Airflow has delivered lately: Unix second of each occurrence by its id."""
        by_asset = await self._get(DELIVERED) or {}
        return {
            name: second
            for asset, told in by_asset.items()
            if self._assets is None or asset in self._assets
            for name, second in told.items()
        }

    async def write(self, memory: Memory) -> None:
        """Note it. :raises JournalError: if Airflow does not keep it."""
        await self._set(memory.to_json())

    async def move(self) -> None:
        """From now on it is noted elsewhere. :raises JournalError: if Airflow does not keep it."""
        await self._set({"moved": True})

    async def _get(self, what: str | None = None) -> Any:
        text = await sync_to_async(read_variable)(variable_name(self._trigger, what))
        return None if text is None else json.loads(text)

    async def _set(self, document: Mapping[str, Any]) -> None:
        text = json.dumps(document, sort_keys=True)
        await sync_to_async(keep_variable)(variable_name(self._trigger), text, "What a WhiteBIT event trigger has told")
