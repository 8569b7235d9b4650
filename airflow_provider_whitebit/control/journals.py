"""Journals in Airflow's database: the API server and Airflow's commands read them there."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from airflow.models.taskinstance import TaskInstance
from airflow.models.variable import Variable
from airflow.utils.state import State, TaskInstanceState
from sqlalchemy import and_, or_, select, tuple_
from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.errors import WhiteBitJournalError
from airflow_provider_whitebit.control.tasks import Task
from airflow_provider_whitebit.hooks.journals import TaskJournals
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Intent, Outcome

#: Most journals that are searched.
MOST_JOURNALS = 500

_STATE_KEYS = "whitebit_move."
_VARIABLE_KEYS = ("whitebit_move__", "whitebit_key__")
#: The name of a journal's document: the journal's own, and the number of its writer. See ``hooks/journals.py``.
_DOCUMENT = re.compile(r"(whitebit_(?:move\.|move__|key__).+)__(\d{1,9})", re.DOTALL)
#: The description of a Variable that holds a document: the task that wrote it, and the move.
#: The move's name may look like the end of a task's, so the run is as short as possible.
_MOVE_OF = re.compile(r"Move of ([^|]+)\|(.+?)\|([^|]+)\|(-?\d{1,9})\|(.+)", re.DOTALL)
#: A task that ended without success does not resolve its doubt by itself.
UNATTENDED_STATES = State.finished - {TaskInstanceState.SUCCESS}


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

    def history(self) -> MoveHistory:
        """Return what all documents know. :raises ValueError: one of them cannot be read."""
        return MoveHistory.merge(document for _, document in self.documents)

    def known_by(self, intent_id: str) -> list[Task]:
        """Return the tasks that know of an intent. :raises ValueError: a document cannot be read."""
        known = [(task, MoveHistory.merge([document])) for task, document in self.documents]
        return list(dict.fromkeys(task for task, history in known if intent_id in history.intents))


def sent_at(intent: Intent) -> int | None:
    """Return the latest nonce whose outcome is not known; ``None`` if there is none."""
    return max((one.nonce for one in intent.unproven if one.outcome is Outcome.PENDING), default=None)


def release(session: Session) -> None:
    """Give the session's database connection back. The session takes one again when it needs it.

    A request that asks the auth manager must hold none, because the answer can need a connection. If all requests held
    one and waited for a second one, the whole API server would block.
    """
    session.commit()


def find_journals(
    session: Session, dag_ids: Collection[str] | None = None, *, containing: str = "", unattended: bool = True
) -> list[StoredJournal]:
    """Return journals: by default those that may be in doubt.

    :param session: of Airflow's database.
    :param dag_ids: only of these DAGs; ``None``: of all.
    :param containing: only journals with a document that contains this text.
    :param unattended: only of tasks that have ended without success.
    """
    # Only journals with a pending attempt can be in doubt.
    text = containing or str(Outcome.PENDING)
    return [*_in_task_states(session, dag_ids, text, unattended=unattended), *_in_variables(session, dag_ids, text)]


def states_of(session: Session, tasks: Collection[Task]) -> dict[Task, str | None]:
    """Return the states of those tasks that exist.

    :param session: of Airflow's database.
    """
    if not tasks:
        return {}
    columns = [getattr(TaskInstance, name) for name in Task._fields]
    rows = session.execute(select(*columns, TaskInstance.state).where(tuple_(*columns).in_(tasks)))
    return {Task(*task): state for *task, state in rows}


def keeps_states_elsewhere() -> bool:
    """Return whether a custom backend keeps task states, where they cannot be searched."""
    try:
        from airflow.state import get_state_backend
        from airflow.state.metastore import MetastoreBackend
    except ImportError:
        return False
    return not isinstance(get_state_backend(), MetastoreBackend)


def _states_model() -> Any:
    """Return the table of task states; ``None`` before Airflow 3.3."""
    try:
        from airflow.models.task_state_store import TaskStateStoreModel
    except ImportError:
        return None
    return TaskStateStoreModel


def _columns_of(stored: Any) -> list[Any]:
    """Return the columns of a table that name a task. Airflow 3.4 calls the map index of task states a region index."""
    return [getattr(stored, name if hasattr(stored, name) else "region_index") for name in Task._fields]


def _in_task_states(
    session: Session, dag_ids: Collection[str] | None, text: str, *, unattended: bool
) -> Iterator[StoredJournal]:
    stored = _states_model()
    if stored is None:
        return
    columns = _columns_of(stored)
    query = (
        select(*columns, stored.key)
        .join(TaskInstance, and_(*(getattr(TaskInstance, column.key) == column for column in columns)))
        .where(stored.key.startswith(_STATE_KEYS, autoescape=True), stored.value.contains(text, autoescape=True))
        .order_by(stored.updated_at.desc())
        .limit(MOST_JOURNALS)
    )
    if dag_ids is not None:
        query = query.where(stored.dag_id.in_(dag_ids))
    if unattended:
        query = query.where(TaskInstance.state.in_(UNATTENDED_STATES))
    found = {(Task(*task), match[1]) for *task, key in session.execute(query) if (match := _DOCUMENT.fullmatch(key))}
    if not found:
        return
    written: dict[tuple[Task, str], dict[int, Any]] = {}
    # Other tries of these tasks may have resolved the doubt.
    for *task, key, value in session.execute(
        select(*columns, stored.key, stored.value).where(
            stored.key.startswith(_STATE_KEYS, autoescape=True),
            tuple_(*columns).in_({task for task, _ in found}),
        )
    ):
        if (match := _DOCUMENT.fullmatch(key)) and (journal := (Task(*task), match[1])) in found:
            written.setdefault(journal, {})[int(match[2])] = decoded(value)
    for (owner, name), tries in written.items():
        documents = [(owner, tries[number]) for number in sorted(tries)]
        yield StoredJournal(name, "all states of this task whose names begin with this", documents)


def _in_variables(session: Session, dag_ids: Collection[str] | None, text: str) -> Iterator[StoredJournal]:
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
        if any((dag_ids is None or task.dag_id in dag_ids) and text in value for task, value in writers.values())
    }
    if not found:
        return
    # Older documents of these journals too, which may have resolved the doubt.
    begin = or_(*(Variable.key.startswith(f"{name}__", autoescape=True) for name in found))
    for name, writers in _written_in_variables(session, select(Variable).where(begin)).items():
        if name in found:
            documents = [(task, decoded(value)) for _, (task, value) in sorted(writers.items())]
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


def decoded(value: Any) -> Any:
    """Decode JSON. A store may keep it as a JSON string inside JSON."""
    for _ in range(2):
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                break
    return value


def read_variable(session: Session, name: str) -> str | None:
    """Return the text of a Variable in Airflow's database; ``None`` if there is none.

    :param session: of Airflow's database.
    :raises WhiteBitJournalError: it is there and cannot be decrypted.
    """
    variable = session.scalar(select(Variable).where(Variable.key == name).execution_options(populate_existing=True))
    if variable is None:
        return None
    if (text := variable.val) is None:
        raise WhiteBitJournalError(
            f"The Airflow Variable {name} cannot be decrypted.",
            next_step="Give Airflow's processes the Fernet key that the Variable was written with.",
        )
    return str(text)


def journal_of(session: Session, task: Task, intent: Intent) -> MoveHistory:
    """Return what the journal of one intent holds, found by its name.

    :param session: of Airflow's database.
    :param task: that reported the intent.
    :raises ValueError: a document cannot be read.
    :raises WhiteBitJournalError: the same.
    """
    instance = select(TaskInstance.try_number).where(
        *(getattr(TaskInstance, name) == value for name, value in task._asdict().items())
    )
    journals = TaskJournals(
        (task.dag_id, task.run_id, task.task_id, str(task.map_index)),
        try_number=session.scalar(instance) or 1,
        state=None if _states_model() is None else _DatabaseStates(session, task),
        variables=DatabaseVariables(session),
        accounts=(intent.account,),
    )
    return MoveHistory.merge(journals.journal(intent.key).read())


@dataclass(frozen=True, slots=True)
class DatabaseVariables:
    """Variables, for reading only."""

    session: Session

    def read(self, name: str) -> str | None:
        return read_variable(self.session, name)

    def keep(self, name: str, text: str, description: str) -> None:
        raise NotImplementedError

    def delete(self, name: str) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _DatabaseStates:
    """The states of one task, for reading only."""

    session: Session
    task: Task

    def read(self, name: str) -> str | None:
        stored = _states_model()
        of_task = (column == value for column, value in zip(_columns_of(stored), self.task, strict=True))
        value = self.session.scalar(select(stored.value).where(stored.key == name, *of_task))
        return None if value is None else json.dumps(decoded(value))

    def keep(self, name: str, text: str, description: str) -> None:
        raise NotImplementedError
