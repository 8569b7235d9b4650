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
        memory: Memory | None = None
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
        self._name = f"whitebit_events__{trigger}"

    async def read(self) -> Memory | None:
        """What was noted; ``None`` at the very first time."""
        text = await sync_to_async(read_variable)(self._name)
        return None if text is None else Memory.from_json(json.loads(text))

    async def write(self, memory: Memory) -> None:
        """Note it. :raises JournalError: if Airflow does not keep it."""
        text = json.dumps(memory.to_json(), sort_keys=True)
        await sync_to_async(keep_variable)(self._name, text, "What a WhiteBIT event trigger has told")
