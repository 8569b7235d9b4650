"""Notes which events of the provider's triggers have been delivered, in the transaction that delivers them.

A trigger hands its events to Airflow and is not told whether they were stored. Killed in that moment, it would either
tell an event again or lose it. Airflow calls these listeners while the asset event's transaction is open: what is noted
here is stored exactly if the event is. An occurrence that was delivered before is taken out of the event: a triggerer
that was held up, and replaced meanwhile, tells what its replacement has told.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from airflow.listeners import hookimpl

log = logging.getLogger(__name__)


@hookimpl
def on_asset_event_emitted(asset_event: Any) -> None:
    """Note an event of ours. Airflow 3.3 and later.

    :param asset_event: Airflow's ``AssetEvent``.
    """
    if _payload(asset_event) is None:
        return
    session = _open_session()
    if session is None:
        log.warning("An event is stored outside of any transaction that could be joined")
        return
    _note_last_event(session)


@hookimpl
def on_asset_changed() -> None:
    """Note an event of ours. Before Airflow 3.3, which does not say which it is."""
    from airflow.listeners.listener import get_listener_manager

    if get_listener_manager().hook.on_asset_event_emitted.has_spec():
        return
    session = _open_session()
    if session is not None:
        _note_last_event(session)


def _payload(asset_event: Any) -> Mapping[str, Any] | None:
    payload = (asset_event.extra or {}).get("payload")
    return payload if isinstance(payload, dict) and isinstance(payload.get("whitebit_trigger"), str) else None


def _open_session() -> Any:
    """The session that holds the asset event: Airflow's are scoped to a thread where triggers' events are stored."""
    from airflow import settings

    session = None if settings.Session is None else settings.Session()
    return session if session is not None and session.in_transaction() else None


def _note_last_event(session: Any) -> None:
    from airflow.models.asset import AssetEvent, AssetModel
    from sqlalchemy import select

    events = [found for found in session.identity_map.values() if isinstance(found, AssetEvent)]
    event = max(events, key=lambda event: event.id, default=None)
    payload = None if event is None else _payload(event)
    if event is None or payload is None:
        return
    with session.begin_nested():
        # Held until the event is stored: one event of an asset after the other, whoever tells them.
        query = select(AssetModel).where(AssetModel.id == event.asset_id).with_for_update(key_share=True)
        asset = session.scalar(query)
        repeated: set[str] = set()

        def note(noted: Mapping[str, int]) -> dict[str, int]:
            from airflow_provider_whitebit.treasury.occurrences import pruned

            told = {str(one["id"]): int(one["second"]) for one in payload["occurrences"]}
            repeated.update(told.keys() & noted.keys())
            return pruned({**noted, **told})

        if not _with_asset(asset, payload["whitebit_trigger"], note, session):
            _in_variable(asset, payload["whitebit_trigger"], note, session)
        if repeated:
            log.warning("Delivered before, and left out of an event: %s", ", ".join(sorted(repeated)))
            left = [one for one in payload["occurrences"] if str(one["id"]) not in repeated]
            event.extra = {**event.extra, "payload": {**payload, "occurrences": left}}


_Note = Callable[[Mapping[str, int]], dict[str, int]]


def _with_asset(asset: Any, trigger: str, note: _Note, session: Any) -> bool:
    try:
        from airflow.state import AssetScope, get_state_backend
        from airflow.state.metastore import MetastoreBackend
    except ImportError:
        return False
    backend = get_state_backend()
    if not isinstance(backend, MetastoreBackend):
        # Kept elsewhere, it would not be one transaction.
        return False
    from airflow_provider_whitebit.triggers.memory import DELIVERED, state_key

    scope, key = AssetScope(asset_id=asset.id), state_key(trigger, DELIVERED)
    noted = json.loads(backend.get(scope, key, session=session) or "{}")
    backend.set(scope, key, json.dumps(note(noted)), session=session)
    return True


def _in_variable(asset: Any, trigger: str, note: _Note, session: Any) -> None:
    """One Variable for all assets of a trigger, because the trigger does not know them before Airflow 3.3."""
    from airflow.models.variable import Variable
    from sqlalchemy import select

    from airflow_provider_whitebit.triggers.memory import DELIVERED, variable_name

    name = variable_name(trigger, DELIVERED)
    # The row itself: Variable.set would be another transaction where a task could be.
    variable = session.scalar(select(Variable).where(Variable.key == name).with_for_update())
    if variable is None:
        variable = Variable(  # type: ignore[no-untyped-call]
            key=name, description="What Airflow has delivered of a WhiteBIT event trigger, by asset"
        )
        session.add(variable)
    noted = json.loads(variable.get_val() or "{}")
    noted[asset.name] = note(noted.get(asset.name, {}))
    variable.set_val(json.dumps(noted))
