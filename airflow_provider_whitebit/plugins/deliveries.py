"""Notes which events of the provider's triggers have been delivered, in the transaction that delivers them.

A trigger hands its events to Airflow and is not told whether they were stored. Killed in that moment, it would either
tell an event again or lose it. Airflow calls these listeners while the asset event's transaction is open: what is noted
here is stored exactly if the event is. An occurrence that was delivered before is taken out of the event: a triggerer
that was held up, and replaced meanwhile, tells what its replacement has told. What cannot be noted is not stored: the
triggerer ends with an error, and the one that is started in its place tells it again.
"""

from __future__ import annotations

import contextlib
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
    """What one of our triggers has told; ``None`` of any other event."""
    try:
        payload = asset_event.extra["payload"]
        _told(payload)
        return payload if isinstance(payload["whitebit_trigger"], str) else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _told(payload: Mapping[str, Any]) -> dict[str, int]:
    return {str(one["id"]): int(one["second"]) for one in payload["occurrences"]}


def _open_session() -> Any:
    """The session that holds the asset event: Airflow's are scoped to a thread where triggers' events are stored."""
    from airflow import settings

    session = None if settings.Session is None else settings.Session()
    return session if session is not None and session.in_transaction() else None


def _note_last_event(session: Any) -> None:
    from airflow.models.asset import AssetEvent

    events = [found for found in session.identity_map.values() if isinstance(found, AssetEvent)]
    event = max(events, key=lambda event: event.id, default=None)
    payload = None if event is None else _payload(event)
    if payload is None:
        return
    transaction = session.get_transaction()
    try:
        with session.begin_nested():
            _note(event, payload, session)
    except Exception as error:
        _refuse_to_commit(session, transaction, error)
        raise


def _refuse_to_commit(session: Any, transaction: Any, reason: Exception) -> None:
    """Airflow only logs what a listener raises. The event would be stored without its note, or not stored at all."""
    from sqlalchemy import event

    def refuse(session: Any) -> None:
        if session.get_transaction() is transaction:
            raise RuntimeError("The delivery of a WhiteBIT event could not be noted; it will be told again") from reason

    event.listen(session, "before_commit", refuse)


def _note(event: Any, payload: Mapping[str, Any], session: Any) -> None:
    from airflow.models.asset import AssetModel
    from sqlalchemy import select

    from airflow_provider_whitebit.treasury.occurrences import KEPT, pruned

    # Held until the event is stored: one event of an asset after the other, whoever tells them.
    query = select(AssetModel.name).where(AssetModel.id == event.asset_id).with_for_update(key_share=True)
    asset = session.scalar(query)
    repeated: set[str] = set()

    def note(noted: Mapping[str, int]) -> dict[str, int]:
        told = _told(payload)
        # So far back everything counts as delivered: the names are not kept.
        floor = max(noted.values(), default=0) - KEPT
        repeated.update(name for name, second in told.items() if name in noted or second < floor)
        return pruned({**noted, **told})

    if not _with_asset(event.asset_id, payload["whitebit_trigger"], note, session):
        _in_variable(asset, payload["whitebit_trigger"], note, session)
    if repeated:
        log.warning("Delivered before, and left out of an event: %s", ", ".join(sorted(repeated)))
        left = [one for one in payload["occurrences"] if str(one["id"]) not in repeated]
        event.extra = {**event.extra, "payload": {**payload, "occurrences": left}}


_Note = Callable[[Mapping[str, int]], dict[str, int]]


def _with_asset(asset_id: int, trigger: str, note: _Note, session: Any) -> bool:
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

    scope, key = AssetScope(asset_id=asset_id), state_key(trigger, DELIVERED)
    noted = json.loads(backend.get(scope, key, session=session) or "{}")
    backend.set(scope, key, json.dumps(note(noted)), session=session)
    return True


def _in_variable(asset: str, trigger: str, note: _Note, session: Any) -> None:
    """One Variable for all assets of a trigger, because the trigger does not know them before Airflow 3.3."""
    from airflow.models.variable import Variable
    from sqlalchemy import select
    from sqlalchemy.exc import IntegrityError

    from airflow_provider_whitebit.triggers.memory import DELIVERED, variable_name

    name = variable_name(trigger, DELIVERED)
    # The row itself: Variable.set would be another transaction where a task could be.
    if session.scalar(select(Variable.id).where(Variable.key == name)) is None:
        # Another asset's event may create it in this very moment.
        with contextlib.suppress(IntegrityError), session.begin_nested():
            description = "What Airflow has delivered of a WhiteBIT event trigger, by asset"
            session.add(Variable(key=name, val="{}", description=description))  # type: ignore[no-untyped-call]
    variable = session.scalars(select(Variable).where(Variable.key == name).with_for_update()).one()
    text = variable.get_val()
    if text is None:
        # To the trigger it is not there either: it has begun as if it ran for the first time, and would tell no more.
        log.warning("The Variable %s cannot be decrypted, as without Airflow's old Fernet key: it is begun anew", name)
    noted = {} if text is None else json.loads(text)
    noted[asset] = note(noted.get(asset, {}))
    variable.set_val(json.dumps(noted))
