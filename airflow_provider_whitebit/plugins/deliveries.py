"""Notes which events of the provider's triggers have been delivered, in the transaction that delivers them.

A trigger hands its events to Airflow and is not told whether they were stored. Killed in that moment, it would either
tell an event again or lose it. Airflow calls this listener while the asset event's transaction is open: what is noted
here is stored exactly if the event is.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from airflow.listeners import hookimpl

log = logging.getLogger(__name__)


@hookimpl
def on_asset_event_emitted(asset_event: Any) -> None:
    """Note an event of ours with its asset. Airflow 3.3 and later, where assets have a state.

    :param asset_event: Airflow's ``AssetEvent``.
    """
    payload = (asset_event.extra or {}).get("payload")
    if not isinstance(payload, dict) or not isinstance(payload.get("whitebit_trigger"), str):
        return
    try:
        from airflow.state import AssetScope, get_state_backend
        from airflow.state.metastore import MetastoreBackend
    except ImportError:
        return
    backend = get_state_backend()
    if not isinstance(backend, MetastoreBackend):
        # Kept elsewhere, it would not be one transaction; the trigger's own notes have to do.
        return
    from airflow import settings
    from airflow.models.asset import AssetModel
    from sqlalchemy import select

    from airflow_provider_whitebit.treasury.occurrences import pruned
    from airflow_provider_whitebit.triggers.memory import DELIVERED, state_key

    if settings.Session is None:
        return
    # Airflow's sessions are scoped: this is the one that holds the asset event.
    session = settings.Session()
    if not session.in_transaction():
        log.warning("An event is stored outside of any transaction that could be joined")
        return
    asset, key = asset_event.asset, state_key(payload["whitebit_trigger"], DELIVERED)
    with session.begin_nested():
        asset_id = session.scalar(
            select(AssetModel.id).where(AssetModel.name == asset.name, AssetModel.uri == asset.uri)
        )
        scope = AssetScope(asset_id=asset_id)
        told = json.loads(backend.get(scope, key, session=session) or "{}")
        told |= {str(one["id"]): int(one["second"]) for one in payload["occurrences"]}
        backend.set(scope, key, json.dumps(pruned(told)), session=session)
