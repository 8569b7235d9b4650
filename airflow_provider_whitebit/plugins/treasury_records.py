"""The part of the Treasury page that comes from Airflow's database: moves in doubt.

The API server reads it for one user: only from DAGs that this user may read.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pendulum
from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.errors import clean
from airflow_provider_whitebit.client.models import to_json
from airflow_provider_whitebit.control.search import Doubt, Reader, find_doubts
from airflow_provider_whitebit.moves.doubts import RECORD_STEPS, steps_for
from airflow_provider_whitebit.moves.intent import Intent

#: For a user who may edit the task and read nothing of its move.
_HIDDEN_STEPS = (RECORD_STEPS[0], "If it is in doubt again, ask a user who may read Variables and the connection.")


def doubts(session: Session, reader: Reader, *, accounts: Collection[str]) -> list[dict[str, Any]]:
    """Return the moves in doubt whose task has ended without success, latest first.

    They are of all connections, because the key of a connection may have changed since.

    :param session: of Airflow's database.
    :param reader: what the user may read.
    :param accounts: fingerprints of the connections that are shown, to mark the doubts of others. Without one, none is
        marked.
    """
    return [_shown(doubt, accounts) for doubt in find_doubts(session, reader)]


def _shown(doubt: Doubt, accounts: Collection[str]) -> dict[str, Any]:
    about = {"task": doubt.task.to_json(), "key": clean(doubt.key)}
    if doubt.hidden:
        why = "You may not read the Variables that hold its journal."
        return {**about, "operation": None, "sent_at": None, "unreadable": why, "steps": _HIDDEN_STEPS}
    why = doubt.unreadable
    try:
        if doubt.intent is not None and not why:
            return {**about, **_doubt(doubt.intent, doubt.sent_at, accounts)}
    except Exception as error:
        # A time that is none, for example. Anyone who may write Variables could have stored anything there.
        why = clean(f"The journal cannot be read: {error}")
    return {**about, "operation": None, "sent_at": None, "unreadable": why, "steps": steps_for(None)}


def _doubt(intent: Intent, sent_at: int | None, accounts: Collection[str]) -> dict[str, Any]:
    move = intent.move
    about = {
        "intent_id": intent.id,
        "operation": str(move.operation),
        "ticker": move.ticker,
        "amount": to_json(move.amount),
        "plan_id": move.plan_id or None,
        "source": move.source or None,
        "target": move.target or None,
        "sub_account_id": move.sub_account_id or None,
        "attempts": len(intent.attempts),
        # Nonces are milliseconds of the exchange's clock.
        "sent_at": None if sent_at is None else to_json(pendulum.from_timestamp(sent_at // 1000)),
        "ours": intent.account in accounts if accounts else None,
    }
    texts = {name: clean(value) if isinstance(value, str) else value for name, value in about.items()}
    return {**texts, "steps": steps_for(move.operation)}
