"""What Airflow itself knows about an account's moves: the last receipts, and doubts that want a person.

Read from Airflow's own database, by the API server, for one user: of DAGs that this user may read and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import pendulum

from airflow_provider_whitebit.client.models import parse_amount, to_json
from airflow_provider_whitebit.moves.intent import Intent, Outcome, merge

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: How many of the last moves are shown, and how many journals are looked at for doubts.
MOST_MOVES, MOST_JOURNALS = 50, 500

_STATE_KEYS = "whitebit_move."
_VARIABLE_KEYS = "whitebit_move__"
#: The description that a journal in a Variable has: the move's identity, see ``hooks/journals.py``.
_MOVE_OF = re.compile(r"Move of ([^|]+)\|(.+)\|([^|]+)\|(-?\d+)\|(.+)")
#: A task in one of these states settles its doubt itself, will, or a person has said that it is settled.
_CARED_FOR = (
    "success",
    "running",
    "queued",
    "scheduled",
    "deferred",
    "restarting",
    "up_for_retry",
    "up_for_reschedule",
    "awaiting_input",
)


class Task(NamedTuple):
    """A task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, with the address of its page, relative to Airflow's own."""
        parts = ("dags", self.dag_id, "runs", self.run_id, "tasks", self.task_id)
        mapped = ("mapped", str(self.map_index)) if self.map_index >= 0 else ()
        return {**self._asdict(), "page": "/".join(quote(part, safe="") for part in (*parts, *mapped))}


@dataclass(frozen=True, slots=True)
class Journal:
    """What one task has written down about one move.

    :param task: the task instance.
    :param key: name of the entry: of the task state, or the beginning of the Variables' names.
    :param kept_in: ``task state`` or ``Variables``.
    :param documents: as they were written, earliest first.
    """

    task: Task
    key: str
    kept_in: str
    documents: list[Any]


def last_moves(session: Session, conn_id: str, dag_ids: Collection[str]) -> list[dict[str, Any]]:
    """The last receipts of a connection with the tasks that they come from, newest first, each once.

    :param session: of Airflow's database.
    :param conn_id: the connection.
    :param dag_ids: only of these DAGs.
    """
    from airflow.models.asset import AssetEvent, AssetModel
    from sqlalchemy import select

    rows = session.scalars(
        select(AssetEvent)
        .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        .where(AssetModel.uri == f"whitebit://{conn_id}/moves", AssetEvent.source_dag_id.in_(dag_ids))
        .order_by(AssetEvent.timestamp.desc(), AssetEvent.id.desc())
        # A cleared task announces its old receipt again.
        .limit(2 * MOST_MOVES)
    )
    moves: dict[str, dict[str, Any]] = {}
    for row in rows:
        receipt = row.extra if isinstance(row.extra, dict) else {}
        name = str(receipt.get("intent_id") or f"event {row.id}")
        # The first time that it was announced is when it happened.
        moves.pop(name, None)
        moves[name] = _move(receipt, row)
    return sorted(moves.values(), key=lambda move: move["told_at"], reverse=True)[:MOST_MOVES]


_TEXTS = (
    "operation",
    "transaction_id",
    "plan_id",
    "investment_id",
    "ticker",
    "status",
    "executed_at",
    "intent_id",
    "source",
    "target",
)


def _move(receipt: Mapping[str, Any], row: Any) -> dict[str, Any]:
    """A receipt's own fields only, and each of its kind: whoever may write asset events could put anything there."""
    task = Task(row.source_dag_id, row.source_run_id, row.source_task_id, row.source_map_index)
    shown: dict[str, Any] = {name: value if isinstance(value := receipt.get(name), str) else None for name in _TEXTS}
    try:
        amount = to_json(parse_amount(receipt.get("amount")))
    except ValueError:
        amount = None
    shown |= {"amount": amount, "reconciled": receipt.get("reconciled") is True}
    return {**shown, "told_at": to_json(pendulum.instance(row.timestamp)), "task": task.to_json()}


def doubts(
    session: Session,
    dag_ids: Collection[str],
    *,
    account: str | None,
    may_read_tasks: Callable[[str], bool],
    may_read_variable: Callable[[str], bool],
) -> list[dict[str, Any]]:
    """Moves that nobody settles any more: in doubt, and their task has ended without success.

    All of them, whatever the connection: a doubt with a key that was changed since is one too.

    :param session: of Airflow's database.
    :param dag_ids: only of these DAGs.
    :param account: fingerprint of the connection that is looked at, to tell its own doubts from others.
    :param may_read_tasks: whether the user may read the task instances of a DAG.
    :param may_read_variable: whether the user may read a Variable.
    """
    found = [*_task_states(session, dag_ids), *_variables(session, dag_ids, may_read_variable)]
    shown = [doubt for journal in found if may_read_tasks(journal.task.dag_id) for doubt in in_doubt(journal, account)]
    return sorted(shown, key=lambda doubt: doubt["sent_at"] or "", reverse=True)


def in_doubt(journal: Journal, account: str | None) -> Iterator[dict[str, Any]]:
    """What a journal says that is in doubt.

    :param journal: of one task.
    :param account: fingerprint of the connection that is looked at.
    """
    about = {"task": journal.task.to_json(), "key": journal.key, "kept_in": journal.kept_in}
    try:
        intents = merge(Intent.from_json(document) for document in journal.documents)
        yield from [{**about, **_doubt(intent, account)} for intent in intents.values() if intent.in_doubt]
    except (ValueError, AttributeError, OverflowError) as error:
        # There may be money in it: what cannot be read is not passed over.
        unknown = dict.fromkeys(("operation", "ticker", "amount", "plan_id", "sent_at", "intent_id", "ours"))
        yield {**about, **unknown, "unreadable": f"The journal's document: {error}"[:300], "attempts": None}


def _doubt(intent: Intent, account: str | None) -> dict[str, Any]:
    move = intent.move
    pending = [attempt.nonce for attempt in intent.attempts if attempt.outcome is Outcome.PENDING]
    return {
        "intent_id": intent.id,
        "operation": str(move.operation),
        "ticker": move.ticker,
        "amount": to_json(move.amount),
        "plan_id": move.plan_id or None,
        "investment_id": move.investment_id or None,
        "source": move.source or None,
        "target": move.target or None,
        "attempts": len(intent.attempts),
        # Nonces are milliseconds of the exchange's clock.
        "sent_at": to_json(pendulum.from_timestamp(max(pending) // 1000, tz="UTC")),
        "ours": None if account is None else intent.account == account,
        "unreadable": None,
    }


def keeps_states_elsewhere() -> bool:
    """Whether task states lie in a store of the administrator's own, where this page cannot look."""
    try:
        from airflow.state import get_state_backend
        from airflow.state.metastore import MetastoreBackend
    except ImportError:
        return False
    return not isinstance(get_state_backend(), MetastoreBackend)


def _task_states(session: Session, dag_ids: Collection[str]) -> Iterator[Journal]:
    """Journals in the state of task instances that nobody cares for any more. Airflow 3.3 and later."""
    try:
        from airflow.models.task_state_store import TaskStateStoreModel as State
    except ImportError:
        return
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import and_, select

    same_task = and_(
        TaskInstance.dag_id == State.dag_id,
        TaskInstance.run_id == State.run_id,
        TaskInstance.task_id == State.task_id,
        TaskInstance.map_index == State.map_index,
    )
    rows = session.execute(
        select(State.dag_id, State.run_id, State.task_id, State.map_index, State.key, State.value)
        .join(TaskInstance, same_task)
        .where(
            State.key.startswith(_STATE_KEYS, autoescape=True),
            State.dag_id.in_(dag_ids),
            TaskInstance.state.not_in(_CARED_FOR),
            # Of all journals ever written those that can be in doubt at all: the rest need not be read.
            State.value.contains(str(Outcome.PENDING)),
        )
        .order_by(State.updated_at.desc())
        .limit(MOST_JOURNALS)
    )
    for dag_id, run_id, task_id, map_index, key, value in rows:
        yield Journal(Task(dag_id, run_id, task_id, map_index), key, "task state", [_decoded(value)])


def _variables(session: Session, dag_ids: Collection[str], may_read: Callable[[str], bool]) -> Iterator[Journal]:
    """Journals in Variables, one for each try, of tasks that nobody cares for any more. Airflow 3.0 to 3.2."""
    from airflow.models.variable import Variable
    from sqlalchemy import select

    rows = session.execute(
        select(Variable.key, Variable.description)
        .where(Variable.key.startswith(_VARIABLE_KEYS, autoescape=True))
        .order_by(Variable.id.desc())
        .limit(MOST_JOURNALS)
    )
    names: dict[tuple[Task, str], list[str]] = {}
    for key, description in rows:
        told = _MOVE_OF.fullmatch(description or "")
        if told is None or told[1] not in dag_ids or not may_read(key):
            continue
        task = Task(told[1], told[2], told[3], int(told[4]))
        names.setdefault((task, key.rpartition("__")[0]), []).append(key)
    left_alone = _left_alone(session, {task for task, _ in names})
    for (task, key), keys in names.items():
        if task in left_alone:
            tries = sorted(keys, key=lambda name: int(name.rpartition("__")[2]))
            entries = session.scalars(select(Variable).where(Variable.key.in_(tries))).all()
            values = {entry.key: entry.val for entry in entries}
            texts = [text for text in map(values.get, tries) if text]
            # All tries together: a later one may have found out what came of an earlier one's sending.
            if any(str(Outcome.PENDING) in text for text in texts):
                yield Journal(task, key, "Variables", [_decoded(text) for text in texts])


def _left_alone(session: Session, tasks: Iterable[Task]) -> set[Task]:
    """Those of some tasks that nobody cares for any more."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    found = set()
    for task in tasks:
        state = session.scalar(select(TaskInstance.state).filter_by(**task._asdict()))
        if state is not None and str(state) not in _CARED_FOR:
            found.add(task)
    return found


def _decoded(value: Any) -> Any:
    # A store may keep JSON, or a JSON string with JSON in it.
    for _ in range(2):
        if not isinstance(value, str):
            break
        try:
            value = json.loads(value)
        except ValueError:
            break
    return value
