"""Where an event trigger keeps what it has told: with the watched asset (Airflow 3.3 and later), or in a Variable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from asgiref.sync import sync_to_async

from airflow_provider_whitebit.hooks.airflow_compat import asset_states
from airflow_provider_whitebit.hooks.journals import keep_variable, read_variable
from airflow_provider_whitebit.treasury.occurrences import Memory

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

    async def read(self) -> Memory | None:
        """What was noted, with all that Airflow has delivered; ``None`` at the very first time."""
        # What was noted before an upgrade to Airflow 3.3, and what a state backend of one's own cannot note.
        memory = await VariableKeeper(self._trigger).read()
        for state in self._states:
            noted = await state.aget(state_key(self._trigger, _NOTED))
            if noted is None:
                continue
            found = Memory.from_json(noted)
            found.add(await state.aget(state_key(self._trigger, DELIVERED)) or {})
            if memory is not None:
                found.add(memory.told)
                found.armed_after = max(found.armed_after, memory.armed_after)
            memory = found
        if memory is not None:
            memory.add(await _delivered(self._trigger))
        return memory

    async def write(self, memory: Memory) -> None:
        """Note it."""
        for state in self._states:
            await state.aset(state_key(self._trigger, _NOTED), memory.to_json())


class VariableKeeper:
    """In an Airflow Variable.

    :param trigger: the trigger's fingerprint.
    """

    def __init__(self, trigger: str) -> None:
        self._trigger = trigger

    async def read(self) -> Memory | None:
        """What was noted, with all that Airflow has delivered; ``None`` at the very first time."""
        noted = await _variable(variable_name(self._trigger))
        if noted is None:
            return None
        memory = Memory.from_json(noted)
        memory.add(await _delivered(self._trigger))
        return memory

    async def write(self, memory: Memory) -> None:
        """Note it. :raises JournalError: if Airflow does not keep it."""
        text = json.dumps(memory.to_json(), sort_keys=True)
        name = variable_name(self._trigger)
        await sync_to_async(keep_variable)(name, text, "What a WhiteBIT event trigger has told")


async def _variable(name: str) -> Any:
    text = await sync_to_async(read_variable)(name)
    return None if text is None else json.loads(text)


async def _delivered(trigger: str) -> dict[str, int]:
    by_asset = await _variable(variable_name(trigger, DELIVERED)) or {}
    return {name: second for told in by_asset.values() for name, second in told.items()}
