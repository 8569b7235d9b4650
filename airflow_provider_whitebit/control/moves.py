"""Receipts of moves, from the events of Airflow's assets: what tasks have moved, and which task each belongs to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any

import pendulum
from airflow.models.asset import AssetEvent, AssetModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.errors import clean
from airflow_provider_whitebit.client.models import parse_amount, to_json
from airflow_provider_whitebit.control.tasks import Task
from airflow_provider_whitebit.hooks.assets import SCHEME, address, conn_id_of
from airflow_provider_whitebit.moves.intent import Receipt

#: Most moves that the Treasury page shows.
MOST_MOVES = 50


def last_moves(session: Session, conn_id: str, dag_ids: Collection[str]) -> list[dict[str, Any]]:
    """Return the last receipts of a connection and their tasks, newest first, each once.

    :param session: of Airflow's database.
    :param conn_id: the connection.
    :param dag_ids: only of these DAGs.
    """
    rows = session.scalars(
        select(AssetEvent)
        .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        .where(AssetModel.uri == address(conn_id), AssetEvent.source_dag_id.in_(dag_ids))
        .order_by(AssetEvent.timestamp.desc(), AssetEvent.id.desc())
        # A cleared task announces its old receipt again.
        .limit(2 * MOST_MOVES)
    )
    moves = _each_once((conn_id, row) for row in rows)
    return sorted(moves, key=lambda move: str(move["announced_at"]), reverse=True)[:MOST_MOVES]


def moves_between(
    session: Session,
    since: pendulum.DateTime,
    until: pendulum.DateTime | None = None,
    *,
    conn_id: str | None = None,
    dag_id: str | None = None,
) -> list[dict[str, Any]]:
    """Return the receipts of all connections and DAGs, newest first, each once.

    A receipt without a time of its own counts when it was announced.

    :param session: of Airflow's database.
    :param since: moved then or later.
    :param until: moved before; ``None``: up to now.
    :param conn_id: only of this connection.
    :param dag_id: only of this DAG.
    :raises ValueError: if the id of the connection cannot be one.
    """
    query = (
        select(AssetModel.uri, AssetEvent)
        .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        # A receipt is announced after its move.
        .where(
            AssetEvent.timestamp >= since, AssetEvent.source_dag_id.is_not(None), AssetEvent.source_task_id.is_not(None)
        )
        .order_by(AssetEvent.timestamp.desc(), AssetEvent.id.desc())
    )
    uri = AssetModel.uri
    query = query.where(uri.like(f"{SCHEME}://%/moves") if conn_id is None else uri == address(conn_id))
    if dag_id is not None:
        query = query.where(AssetEvent.source_dag_id == dag_id)
    named = ((conn_id_of(uri), row) for uri, row in session.execute(query))
    moves = [(_moved_at(move), move) for move in _each_once((conn, row) for conn, row in named if conn is not None)]
    found = [(at, move) for at, move in moves if at >= since and (until is None or at < until)]
    return [move for _, move in sorted(found, key=lambda one: one[0], reverse=True)]


def _each_once(rows: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
    """The moves of events, latest event first. The earliest announcement of a receipt is the time of its move."""
    named = (((conn_id, _receipt(row).get("intent_id") or row.id), _move(conn_id, row)) for conn_id, row in rows)
    return list({str(name): move for name, move in named}.values())


def _receipt(row: Any) -> Mapping[str, Any]:
    return row.extra if isinstance(row.extra, dict) else {}


def _move(conn_id: str, row: Any) -> dict[str, Any]:
    """The fields of a receipt, each checked: anyone who may write asset events could have stored anything there."""
    receipt = _receipt(row)
    try:
        amount = to_json(parse_amount(receipt.get("amount")))
    except ValueError:
        amount = None
    task = Task(row.source_dag_id, row.source_run_id, row.source_task_id, row.source_map_index)
    values = ((field.name, receipt.get(field.name)) for field in fields(Receipt))
    attempts = receipt.get("attempts")
    return {
        **{name: clean(value) if isinstance(value, str) else None for name, value in values},
        "amount": amount,
        "attempts": attempts if type(attempts) is int else None,
        "reconciled": receipt.get("reconciled") is True,
        "announced_at": to_json(pendulum.instance(row.timestamp)),
        "conn_id": conn_id,
        "task": task.to_json(),
    }


def _moved_at(move: Mapping[str, Any]) -> pendulum.DateTime:
    with suppress(ValueError, TypeError, OverflowError):
        moved = pendulum.parse(move["executed_at"])
        if isinstance(moved, pendulum.DateTime):
            return moved
    announced = pendulum.parse(move["announced_at"])
    assert isinstance(announced, pendulum.DateTime)
    return announced
