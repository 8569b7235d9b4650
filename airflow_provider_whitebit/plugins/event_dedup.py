"""Records which events of the provider's triggers Airflow has stored, in the transaction that stores them.

Airflow does not tell a trigger whether it stored an event. A trigger that is killed at that moment would repeat or lose
the event. Airflow calls these listeners inside the asset event's transaction, so the record is stored exactly if the
event is. Occurrences that were delivered before are removed from the event: a stalled triggerer may repeat what its
replacement has delivered. If the record cannot be written, neither is the event. The triggerer then ends with an
error, and its replacement sends the event again.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from airflow.listeners import hookimpl

log = logging.getLogger(__name__)

#: Adds the occurrences of an event to those already delivered: Unix seconds by id.
_Update = Callable[[Mapping[str, int]], dict[str, int]]


@hookimpl
def on_asset_event_emitted(asset_event: Any) -> None:
    """Record an event of this provider. Airflow 3.3 and later.

    :param asset_event: Airflow's ``AssetEvent``.
    """
    if _payload(asset_event) is None:
        return
    session = _open_session()
    if session is None:
        log.warning("The delivery of a WhiteBIT event is not recorded: there is no open transaction to join")
        return
    _record_latest_event(session)


@hookimpl
def on_asset_changed() -> None:
    """Record an event of this provider. Before Airflow 3.3, which does not pass the event."""
    from airflow.listeners.listener import get_listener_manager

    if get_listener_manager().hook.on_asset_event_emitted.has_spec():
        return
    session = _open_session()
    if session is not None:
        _record_latest_event(session)


def _payload(asset_event: Any) -> Mapping[str, Any] | None:
    """The payload that one of our triggers sent; ``None`` for any other event."""
    try:
        payload = asset_event.extra["payload"]
        _seconds_by_id(payload)
        return payload if isinstance(payload["whitebit_trigger"], str) else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _seconds_by_id(payload: Mapping[str, Any]) -> dict[str, int]:
    return {str(one["id"]): int(one["second"]) for one in payload["occurrences"]}


def _open_session() -> Any:
    """The session that holds the asset event. Airflow scopes it to the thread that stores triggers' events."""
    from airflow import settings

    session = None if settings.Session is None else settings.Session()
    return session if session is not None and session.in_transaction() else None


def _record_latest_event(session: Any) -> None:
    from airflow.models.asset import AssetEvent

    events = [found for found in session.identity_map.values() if isinstance(found, AssetEvent)]
    event = max(events, key=lambda event: event.id, default=None)
    payload = _payload(event)
    if payload is None:
        return
    transaction = session.get_transaction()
    try:
        with session.begin_nested():
            _record(event, payload, session)
    except Exception as error:
        _block_commit(session, transaction, error)
        raise


def _block_commit(session: Any, transaction: Any, reason: Exception) -> None:
    """Make the transaction fail. Airflow only logs what a listener raises, and would store the event all the same."""
    from sqlalchemy import event

    def refuse(session: Any) -> None:
        if session.get_transaction() is transaction:
            raise RuntimeError("The delivery of a WhiteBIT event was not recorded; it will be sent again") from reason

    event.listen(session, "before_commit", refuse)


def _record(event: Any, payload: Mapping[str, Any], session: Any) -> None:
    from airflow.models.asset import AssetModel
    from sqlalchemy import select

    from airflow_provider_whitebit.treasury.occurrences import KEPT, pruned

    # The lock is held until the event is stored, so that the events of one asset are recorded one after the other.
    query = select(AssetModel.name).where(AssetModel.id == event.asset_id).with_for_update(key_share=True)
    asset = session.scalar(query)
    repeated: set[str] = set()

    def update(delivered: Mapping[str, int]) -> dict[str, int]:
        sent = _seconds_by_id(payload)
        # Ids older than this are not kept, so everything older counts as delivered.
        floor = max(delivered.values(), default=0) - KEPT
        repeated.update(name for name, second in sent.items() if name in delivered or second < floor)
        return pruned({**delivered, **sent})

    if not _update_asset_state(event.asset_id, payload["whitebit_trigger"], update, session):
        _update_variable(asset, payload["whitebit_trigger"], update, session)
    if repeated:
        log.warning("Removed from an event, because delivered before: %s", ", ".join(sorted(repeated)))
        left = [one for one in payload["occurrences"] if str(one["id"]) not in repeated]
        event.extra = {**event.extra, "payload": {**payload, "occurrences": left}}


def _update_asset_state(asset_id: int, trigger: str, update: _Update, session: Any) -> bool:
    try:
        from airflow.state import AssetScope, get_state_backend
        from airflow.state.metastore import MetastoreBackend
    except ImportError:
        return False
    backend = get_state_backend()
    if not isinstance(backend, MetastoreBackend):
        # Another store would not take part in this transaction.
        return False
    from airflow_provider_whitebit.triggers.state_store import DELIVERED, state_key

    scope, key = AssetScope(asset_id=asset_id), state_key(trigger, DELIVERED)
    delivered = json.loads(backend.get(scope, key, session=session) or "{}")
    backend.set(scope, key, json.dumps(update(delivered)), session=session)
    return True


def _update_variable(asset: str, trigger: str, update: _Update, session: Any) -> None:
    """Use one Variable for all assets of a trigger, because before Airflow 3.3 the trigger does not know them."""
    from airflow.models.variable import Variable
    from sqlalchemy import select
    from sqlalchemy.exc import IntegrityError

    from airflow_provider_whitebit.triggers.state_store import DELIVERED, variable_name

    name = variable_name(trigger, DELIVERED)
    # Use the row itself: Variable.set would open a transaction of its own.
    if session.scalar(select(Variable.id).where(Variable.key == name)) is None:
        # The event of another asset may create it at the same moment.
        with contextlib.suppress(IntegrityError), session.begin_nested():
            description = "What Airflow has delivered of a WhiteBIT event trigger, by asset"
            session.add(Variable(key=name, val="{}", description=description))  # type: ignore[no-untyped-call]
    variable = session.scalars(select(Variable).where(Variable.key == name).with_for_update()).one()
    text = variable.get_val()
    if text is None:
        # The trigger cannot read it either, and has started as if for the first time.
        log.warning("The Variable %s cannot be decrypted (is Airflow's old Fernet key missing?): it is reset", name)
    by_asset = {} if text is None else json.loads(text)
    by_asset[asset] = update(by_asset.get(asset, {}))
    variable.set_val(json.dumps(by_asset))
