"""Receipts of moves, from the events of Airflow's assets: what tasks have moved, and which task each belongs to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import pendulum
from airflow.models.asset import AssetEvent, AssetModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError, clean
from airflow_provider_whitebit.client.models import parse_amount, plain, to_json
from airflow_provider_whitebit.control.connections import Patience, find_settings
from airflow_provider_whitebit.control.tasks import Task
from airflow_provider_whitebit.hooks.assets import SCHEME, address, conn_id_of
from airflow_provider_whitebit.hooks.valuation import read_prices
from airflow_provider_whitebit.moves.intent import Receipt
from airflow_provider_whitebit.treasury.valuation import Valuation, add_amounts, value_amounts

#: Most moves that the Treasury page shows.
MOST_MOVES = 50
#: How long a person waits for prices.
_PATIENCE = Patience(timeout=10, retries=1)


@dataclass(frozen=True, slots=True)
class ValuedMoves:
    """What was moved, by operation and asset, and what it is worth.

    :param valuation: its figures are operations, such as ``flex_invest``.
    :param conn_id: the connection whose exchange showed the prices.
    """

    valuation: Valuation
    conn_id: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: ``conn_id``, ``amounts`` (exact: ticker -> operation -> amount), and ``valuation``."""
        found = self.valuation
        amounts = {
            one.ticker: {name: None if amount is None else plain(amount) for name, amount in one.amounts.items()}
            for one in found.assets
        }
        return {"conn_id": self.conn_id, "amounts": amounts, "valuation": found.to_json()}


def value_moves(moves: Iterable[Mapping[str, Any]], value_in: str, conn_id: str | None = None) -> ValuedMoves | None:
    """Value moves in one currency, by the last prices of now, not of the time of the moves.

    The prices are those of one exchange, so that the totals belong together.

    :param moves: as :func:`moves_between` returns them.
    :param value_in: the currency, for example ``USDT``.
    :param conn_id: the connection whose exchange is read; by default, the first one of the moves that can be read.
    :raises WhiteBitConfigurationError: no such connection can be read.
    :raises WhiteBitValidationError: the currency has no market.
    :raises WhiteBitError: the exchange refused the call, or cannot be reached.
    :returns: ``None`` if there are no moves.
    """
    pairs: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    names: set[str] = set()
    for move in moves:
        amount = None if move["amount"] is None else parse_amount(move["amount"])
        pairs[move["operation"] or ""].append((move["ticker"] or "", amount))
        names.add(move["conn_id"])
    if not pairs:
        return None
    wanted = sorted(names) if conn_id is None else [conn_id]
    name, settings = next(((one, found) for one in wanted if (found := find_settings(one)) is not None), ("", None))
    if settings is None:
        raise WhiteBitConfigurationError(
            f"There are no prices, because no connection could be read ({', '.join(wanted)}).",
            next_step="Name a connection with --conn-id, or list the moves without --value-in.",
        )
    prices = read_prices(_PATIENCE.client(settings))
    prices.check_currency(value_in)
    amounts = {operation: add_amounts(pairs[operation]) for operation in sorted(pairs)}
    return ValuedMoves(value_amounts(amounts, prices, value_in), name)


def last_moves(session: Session, conn_ids: Collection[str], dag_ids: Collection[str]) -> list[dict[str, Any]]:
    """Return the last receipts of some connections and their tasks, newest first, each once.

    :param session: of Airflow's database.
    :param conn_ids: the connections.
    :param dag_ids: only of these DAGs.
    """
    conn_id_by_uri = {address(conn_id): conn_id for conn_id in conn_ids}
    rows = session.execute(
        select(AssetModel.uri, AssetEvent)
        .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        .where(AssetModel.uri.in_(conn_id_by_uri), AssetEvent.source_dag_id.in_(dag_ids))
        .order_by(AssetEvent.timestamp.desc(), AssetEvent.id.desc())
        # A cleared task announces its old receipt again.
        .limit(2 * MOST_MOVES)
    )
    moves = _each_once((conn_id_by_uri[uri], row) for uri, row in rows)
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
        # A receipt is announced after its move, but the exchange's clock may be ahead of Airflow's.
        .where(
            AssetEvent.timestamp >= since.subtract(days=1),
            AssetEvent.source_dag_id.is_not(None),
            AssetEvent.source_task_id.is_not(None),
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
        moved = pendulum.parse(move["executed_at"], exact=True)
        if isinstance(moved, pendulum.DateTime):
            return moved
    announced = pendulum.parse(move["announced_at"])
    assert isinstance(announced, pendulum.DateTime)
    return announced
