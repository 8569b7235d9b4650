"""Which moves of other tasks explain what the exchange shows: receipts, journals, and answers of people."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pendulum
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.variable import Variable
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_whitebit.control.journals import find_journals, read_variable
from airflow_provider_whitebit.control.search import Reader
from airflow_provider_whitebit.control.tasks import Task, in_words
from airflow_provider_whitebit.hooks.assets import address
from airflow_provider_whitebit.hooks.doubts import RESOLUTION, read_resolution
from airflow_provider_whitebit.moves.evidence import Trace, has_left
from airflow_provider_whitebit.moves.examination import OtherMove
from airflow_provider_whitebit.moves.intent import Intent, Move, Operation, Receipt, State
from airflow_provider_whitebit.moves.resolution import Answer, Resolution

#: Most asset events and most answers that are read.
MOST_EVENTS, MOST_ANSWERS = 2_000, 500


@dataclass(frozen=True, slots=True)
class Explanation(OtherMove):
    """A move of another task.

    :param task: that made it; ``None`` if it is not known, or if the user may not know it.
    :param source: where this was found, in words.
    """

    task: Task | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class OtherMoves:
    """What is known of the account's other moves.

    :param made: moves with a receipt.
    :param answers: what people have answered about other moves that are in doubt.
    """

    made: tuple[Explanation, ...] = ()
    answers: tuple[Resolution, ...] = ()

    def explaining(self, move: Move, trace: Trace) -> Explanation | None:
        """Return the other move that left a trace; ``None`` if none is known. Facts come before people's words.

        :param move: in doubt.
        :param trace: that it may have left.
        """
        if trace.reference is None:
            return None
        fits = [one for one in self.made if has_left(one.receipt, move, trace)]
        fits += [_answered(one, move) for one in self.answers if one.reference == trace.reference]
        return min(fits, key=lambda one: one.by_person, default=None)


def other_moves(session: Session, intent: Intent, conn_ids: Collection[str], reader: Reader) -> OtherMoves:
    """Return what is known of an account's moves since a move in doubt was sent.

    :param session: of Airflow's database.
    :param intent: the move in doubt. It is none of them.
    :param conn_ids: the connections of the account.
    :param reader: what the user may read: other tasks are not named.
    """
    since = min(attempt.earliest for attempt in intent.attempts)
    found = (one for one in _announced(session, conn_ids, since, reader) if one.receipt.intent_id != intent.id)
    made = {one.receipt.intent_id: one for one in found}
    answers = [one for one in answers_of_people(session) if one.intent_id != intent.id]
    return OtherMoves(tuple(made.values()), tuple(answers))


def in_journals(
    session: Session, others: OtherMoves, intent: Intent, references: Iterable[str], reader: Reader
) -> OtherMoves:
    """Return what is known, with the moves whose journals contain an identifier.

    :param session: of Airflow's database.
    :param others: what is known so far.
    :param intent: the move in doubt. It is none of them.
    :param references: the exchange's identifiers of what the move may have left.
    :param reader: what the user may read: other tasks are not named.
    """
    made = {one.receipt.intent_id: one for one in others.made}
    for one in _written(session, references, reader):
        if one.receipt.intent_id != intent.id:
            made.setdefault(one.receipt.intent_id, one)
    return replace(others, made=tuple(made.values()))


def answers_of_people(session: Session) -> Iterator[Resolution]:
    """Yield what people have answered that a move ran, the latest first. A task may have taken it over since.

    :param session: of Airflow's database.
    """
    names = session.scalars(
        select(Variable.key)
        .where(Variable.key.startswith(RESOLUTION, autoescape=True))
        .order_by(Variable.id.desc())
        .limit(MOST_ANSWERS)
    ).all()
    for name in names:
        # Anyone who may write Variables could have stored anything there.
        with suppress(Exception):
            found = read_resolution(read_variable(session, name) or "null")
            if found.answer is Answer.RAN and name == f"{RESOLUTION}{found.intent_id}":
                yield found


def _answered(answer: Resolution, move: Move) -> Explanation:
    """A person's answer that a record belongs to another move, which has no receipt yet."""
    receipt = move.receipt(
        transaction_id=answer.reference,
        amount=answer.amount,
        status="answered",
        executed_at=answer.executed_at,
        attempts=len(answer.nonces),
        reconciled=True,
        intent_id=answer.intent_id,
        resolved_by=answer.resolved_by,
        reason=answer.reason,
    )
    return Explanation(receipt, f"move {answer.intent_id}", source=f"the answer of {answer.resolved_by}")


def _announced(session: Session, conn_ids: Collection[str], since: int, reader: Reader) -> Iterator[Explanation]:
    """Receipts in asset events, the latest announcement of each last."""
    uris = [uri for conn_id in conn_ids for uri in _address(conn_id)]
    rows = session.scalars(
        select(AssetEvent)
        .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        .where(
            AssetModel.uri.in_(uris),
            AssetEvent.timestamp >= pendulum.from_timestamp(since).subtract(minutes=5),
            # Anyone who may create asset events could write a receipt that is none. Events of tasks name the task.
            AssetEvent.source_task_id.is_not(None),
        )
        .order_by(AssetEvent.timestamp, AssetEvent.id)
        .limit(MOST_EVENTS)
    )
    for row in rows:
        with suppress(Exception):
            receipt = Receipt.from_json(row.extra)
            place: Any = (row.source_dag_id, row.source_run_id, row.source_task_id, row.source_map_index)
            if receipt.intent_id and receipt.status == "executed":
                yield _made(receipt, Task(*place), "its receipt", reader)


def _address(conn_id: str) -> Iterator[str]:
    with suppress(ValueError):
        yield address(conn_id)


def _written(session: Session, references: Iterable[str], reader: Reader) -> Iterator[Explanation]:
    """Receipts in the journals that contain one of these identifiers."""
    # As JSON writes them. Without any, the journals in doubt would be found.
    texts = [json.dumps(reference)[1:-1] for reference in references]
    for stored in find_journals(session, containing=texts) if texts else ():
        # A journal that cannot be read explains nothing.
        with suppress(Exception):
            for one in stored.history().intents.values():
                if one.state is State.EXECUTED and one.receipt is not None:
                    task = next(iter(stored.known_by(one.id)), None)
                    yield _made(one.receipt, task, "its journal", reader)


def _made(receipt: Receipt, task: Task | None, source: str, reader: Reader) -> Explanation:
    seen = task if task is not None and reader.may_see(task) else None
    owner = f"move {receipt.intent_id}" if seen is None else in_words(seen)
    return Explanation(receipt, owner, seen, source)


def since_then(move: Move, others: Iterable[Explanation], since: int) -> list[Explanation]:
    """Return the other moves of a transfer's asset since it was sent, earliest first.

    :param move: the transfer.
    :param others: of the account.
    :param since: Unix seconds.
    """
    found = [
        one
        for one in others
        if one.receipt.ticker == move.ticker
        and one.receipt.executed_at is not None
        and one.receipt.executed_at.timestamp() >= since
    ]
    return sorted(found, key=lambda one: str(one.receipt.executed_at))


def change_of(receipt: Receipt, balance: str) -> Decimal:
    """Return by how much a move has changed a balance, in units of the asset.

    :param balance: ``main``, ``spot`` or ``collateral``.
    """
    leaves, goes = _places(receipt)
    return (receipt.amount or Decimal(0)) * ((goes == balance) - (leaves == balance))


def _places(receipt: Receipt) -> tuple[str, str]:
    if receipt.source and receipt.target:
        return receipt.source, receipt.target
    into_plan = receipt.operation in (Operation.FLEX_INVEST, Operation.FIXED_INVEST)
    return ("main", "plan") if into_plan else ("plan", "main")
