"""The part of the Treasury page that comes from Airflow's database: moves in doubt.

The API server reads it for one user: only from DAGs that this user may read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pendulum
from airflow.models.taskinstance import TaskInstance
from airflow.models.variable import Variable
from airflow.utils.state import State, TaskInstanceState
from sqlalchemy import and_, or_, select, tuple_
from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.errors import clean
from airflow_provider_whitebit.client.models import to_json
from airflow_provider_whitebit.control.tasks import Task
from airflow_provider_whitebit.moves.doubts import steps_for
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Intent, Outcome

#: Most journals that are searched for doubts.
MOST_JOURNALS = 500

_STATE_KEYS = "whitebit_move."
_VARIABLE_KEYS = ("whitebit_move__", "whitebit_key__")
#: The name of a journal's document: the journal's own, and the number of its writer. See ``hooks/journals.py``.
_DOCUMENT = re.compile(r"(whitebit_(?:move\.|move__|key__).+)__(\d{1,9})", re.DOTALL)
#: The description of a Variable that holds a document: the task that wrote it, and the move.
_MOVE_OF = re.compile(r"Move of ([^|]+)\|(.+)\|([^|]+)\|(-?\d{1,9})\|(.+)", re.DOTALL)
#: A task that ended without success does not resolve its doubt by itself.
_UNATTENDED_STATES = State.finished - {TaskInstanceState.SUCCESS}


@dataclass(frozen=True, slots=True)
class StoredJournal:
    """The journal of one move.

    :param name: begins the names of its documents.
    :param kept_in: what these names are of, in words.
    :param documents: of each writer, in their order: the task that wrote it, and the document as stored.
    :param variables: the names of the Variables that hold them, if they are kept there.
    """

    name: str
    kept_in: str
    documents: list[tuple[Task, Any]]
    variables: tuple[str, ...] = ()

    def in_doubt(self) -> list[tuple[Intent, list[Task]]]:
        """Return the intents in doubt, and the tasks that know of each.

        An intent is merged from all documents, because a later one may have resolved the doubt of an earlier one.

        :raises ValueError: if a document cannot be read.
        """
        known = [(task, MoveHistory.merge([document])) for task, document in self.documents]
        merged = MoveHistory.merge(document for _, document in self.documents)
        return [
            (intent, [task for task, history in known if intent.id in history.intents])
            for intent in merged.unproven
            if _sent_at(intent) is not None
        ]


def release(session: Session) -> None:
    """Give the session's database connection back. The session takes one again when it needs it.

    A request that asks the auth manager must hold none, because the answer can need a connection. If all requests held
    one and waited for a second one, the whole API server would block.
    """
    session.commit()


def doubts(
    session: Session,
    dag_ids: Collection[str],
    *,
    account: str | None,
    readable_variables: Callable[[Collection[str]], set[str]],
) -> list[dict[str, Any]]:
    """Return the moves in doubt whose task has ended without success, latest first.

    They are of all connections, because the key of a connection may have changed since.

    :param session: of Airflow's database.
    :param dag_ids: only of these DAGs, whose task instances the user may read.
    :param account: fingerprint of the connection that is shown, to mark the doubts of others.
    :param readable_variables: those of some Variables that the user may read. It is asked once, while the session holds
        no database connection.
    """
    journals = [*_task_states(session, dag_ids), *_variables(session, dag_ids)]
    unattended = _unattended(session, {task for stored in journals for task, _ in stored.documents})
    release(session)
    if names := {name for stored in journals for name in stored.variables}:
        readable = readable_variables(names)
        journals = [stored for stored in journals if readable.issuperset(stored.variables)]
    shown = {task for task in unattended if task.dag_id in dag_ids}
    found = [doubt for stored in journals for doubt in _in_doubt(stored, shown, account)]
    return sorted(found, key=lambda doubt: doubt["sent_at"] or "", reverse=True)


def _in_doubt(journal: StoredJournal, shown: Collection[Task], account: str | None) -> Iterator[dict[str, Any]]:
    """:param shown: tasks that have ended without success, and that the user may read."""
    about = {"key": f"{journal.name}__", "kept_in": journal.kept_in}
    try:
        for intent, tasks in journal.in_doubt():
            if task := next((task for task in tasks if task in shown), None):
                yield {"task": task.to_json(), **about, **_doubt(intent, account)}
    except Exception as error:
        # An unreadable journal is shown too, because its move may have run. Anyone who may write Variables could have
        # stored anything there.
        why = clean(f"The journal cannot be read: {error}")
        if task := next((task for task, _ in journal.documents if task in shown), None):
            unknown = {"operation": None, "sent_at": None, "unreadable": why, "steps": steps_for(None)}
            yield {"task": task.to_json(), **about, **unknown}


def _sent_at(intent: Intent) -> int | None:
    """The latest nonce whose outcome is not known; ``None`` if there is none."""
    return max((one.nonce for one in intent.unproven if one.outcome is Outcome.PENDING), default=None)


def _doubt(intent: Intent, account: str | None) -> dict[str, Any]:
    move, sent_at = intent.move, _sent_at(intent)
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
        "ours": None if account is None else intent.account == account,
    }
    texts = {name: clean(value) if isinstance(value, str) else value for name, value in about.items()}
    return {**texts, "steps": steps_for(move.operation)}


def keeps_states_elsewhere() -> bool:
    """Return whether a custom backend keeps task states, where this page cannot search."""
    try:
        from airflow.state import get_state_backend
        from airflow.state.metastore import MetastoreBackend
    except ImportError:
        return False
    return not isinstance(get_state_backend(), MetastoreBackend)


def _task_states(session: Session, dag_ids: Collection[str]) -> Iterator[StoredJournal]:
    """Journals in the state of unattended task instances. Airflow 3.3 and later."""
    try:
        from airflow.models.task_state_store import TaskStateStoreModel as Stored
    except ImportError:
        return
    columns = [getattr(Stored, name) for name in Task._fields]
    rows = session.execute(
        select(*columns, Stored.key)
        .join(TaskInstance, and_(*(getattr(TaskInstance, column.key) == column for column in columns)))
        .where(
            Stored.key.startswith(_STATE_KEYS, autoescape=True),
            Stored.dag_id.in_(dag_ids),
            TaskInstance.state.in_(_UNATTENDED_STATES),
            # Only journals with a pending attempt can be in doubt.
            Stored.value.contains(str(Outcome.PENDING)),
        )
        .order_by(Stored.updated_at.desc())
        .limit(MOST_JOURNALS)
    )
    found = {(Task(*task), match[1]) for *task, key in rows if (match := _DOCUMENT.fullmatch(key))}
    if not found:
        return
    written: dict[tuple[Task, str], dict[int, Any]] = {}
    # Other tries of these tasks may have resolved the doubt.
    for *task, key, value in session.execute(
        select(*columns, Stored.key, Stored.value).where(
            Stored.key.startswith(_STATE_KEYS, autoescape=True),
            tuple_(*columns).in_({task for task, _ in found}),
        )
    ):
        if (match := _DOCUMENT.fullmatch(key)) and (journal := (Task(*task), match[1])) in found:
            written.setdefault(journal, {})[int(match[2])] = _decoded(value)
    for (owner, name), tries in written.items():
        documents = [(owner, tries[number]) for number in sorted(tries)]
        yield StoredJournal(name, "all states of this task whose names begin with this", documents)


def _variables(session: Session, dag_ids: Collection[str]) -> Iterator[StoredJournal]:
    """Journals in Variables: of idempotency keys, and of all moves before Airflow 3.3."""
    written = _written_in_variables(
        session,
        select(Variable)
        .where(or_(*(Variable.key.startswith(prefix, autoescape=True) for prefix in _VARIABLE_KEYS)))
        # Signs have other descriptions.
        .where(Variable.description.startswith("Move of "))
        .order_by(Variable.id.desc())
        .limit(MOST_JOURNALS),
    )
    found = {
        name
        for name, writers in written.items()
        # Only journals with a pending attempt can be in doubt.
        if any(task.dag_id in dag_ids and str(Outcome.PENDING) in text for task, text in writers.values())
    }
    if not found:
        return
    # Older documents of these journals too, which may have resolved the doubt.
    begin = or_(*(Variable.key.startswith(f"{name}__", autoescape=True) for name in found))
    for name, writers in _written_in_variables(session, select(Variable).where(begin)).items():
        if name in found:
            documents = [(task, _decoded(text)) for _, (task, text) in sorted(writers.items())]
            variables = tuple(f"{name}__{number}" for number in writers)
            yield StoredJournal(name, "all Variables whose names begin with this", documents, variables)


def _written_in_variables(session: Session, query: Any) -> dict[str, dict[int, tuple[Task, str]]]:
    """The documents in Variables by journal and writer, and the tasks that wrote them."""
    written: dict[str, dict[int, tuple[Task, str]]] = {}
    for variable in session.scalars(query):
        name, of = _DOCUMENT.fullmatch(variable.key), _MOVE_OF.fullmatch(variable.description or "")
        if name and of and (text := variable.val):
            task = Task(of[1], of[2], of[3], int(of[4]))
            written.setdefault(name[1], {})[int(name[2])] = (task, text)
    return written


def _unattended(session: Session, tasks: Collection[Task]) -> set[Task]:
    """Those of the tasks that have ended without success."""
    if not tasks:
        return set()
    columns = [getattr(TaskInstance, name) for name in Task._fields]
    rows = session.execute(
        select(*columns).where(tuple_(*columns).in_(tasks), TaskInstance.state.in_(_UNATTENDED_STATES))
    )
    return {Task(*row) for row in rows}


def _decoded(value: Any) -> Any:
    """Decode JSON. A store may keep it as a JSON string inside JSON."""
    for _ in range(2):
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                break
    return value
