"""Journals in Airflow's database: the API server and Airflow's commands read them there."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow.models.taskinstance import TaskInstance
from airflow.models.variable import Variable
from airflow.utils.state import State, TaskInstanceState
from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.errors import WhiteBitJournalError
from airflow_provider_whitebit.control.tasks import Task
from airflow_provider_whitebit.hooks.journals import PREFIXES, TaskJournals
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Intent, Outcome

#: Most documents whose descriptions are read in one search, and most that are decrypted of the latest ones and of those
#: of tasks that have ended without success; most such tasks.
_MOST_DOCUMENTS, _MOST_DECRYPTED, _MOST_TASKS = 10_000, 500, 2_000

#: The name of a journal's document: the journal's own, and the number of its writer. See ``hooks/journals.py``.
_DOCUMENT = re.compile(r"(whitebit_(?:move|key)__.+)__(\d{1,9})", re.DOTALL)
#: The description of a Variable that holds a document: the task that wrote it, and the move.
#: The move's name may look like the end of a task's, so the run is as short as possible.
_MOVE_OF = re.compile(r"Move of ([^|]+)\|(.+?)\|([^|]+)\|(-?\d{1,9})\|(.+)", re.DOTALL)
#: A task that ended without success does not resolve its doubt by itself.
UNATTENDED_STATES = State.finished - {TaskInstanceState.SUCCESS}


@dataclass(frozen=True, slots=True)
class StoredJournal:
    """The journal of one move.

    :param name: begins the names of its documents.
    :param documents: of each writer, in their order: the task that wrote it, and the document as stored.
    :param variables: the names of the Variables that hold them.
    """

    name: str
    documents: list[tuple[Task, Any]]
    variables: tuple[str, ...]

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
    session: Session, dag_ids: Collection[str] | None = None, *, containing: Collection[str] = ()
) -> list[StoredJournal]:
    """Return journals of tasks and of idempotency keys: by default those that may be in doubt.

    :param session: of Airflow's database.
    :param dag_ids: only of these DAGs; ``None``: of all.
    :param containing: journals with a document that contains one of these texts: of the latest documents, and of those
        of tasks that have ended without success.
    """
    written = {id: task for id, task in _latest(session) if dag_ids is None or task.dag_id in dag_ids}
    ended = _unattended(session, {task.dag_id for task in written.values()})
    ids = [id for id, task in written.items() if task in ended][:_MOST_DECRYPTED]
    if containing:
        ids += list(written)[:_MOST_DECRYPTED]
    if not ids:
        return []
    # Only journals with a pending attempt can be in doubt.
    texts = containing or (str(Outcome.PENDING),)
    documents = _written(session, Variable.id.in_(ids))
    found = {
        name
        for name, writers in documents.items()
        if any(text in value for text in texts for _, value in writers.values())
    }
    if not found:
        return []
    # Other documents of these journals too, which may have resolved the doubt.
    begin = or_(*(Variable.key.startswith(f"{name}__", autoescape=True) for name in found))
    return [
        StoredJournal(
            name,
            [(task, decoded(value)) for _, (task, value) in sorted(writers.items())],
            tuple(f"{name}__{number}" for number in writers),
        )
        for name, writers in _written(session, begin).items()
        if name in found
    ]


def _latest(session: Session) -> Iterator[tuple[int, Task]]:
    """The ids of the Variables with the latest documents, and the tasks that wrote them. None is decrypted."""
    query = (
        select(Variable.id, Variable.description)
        .where(or_(*(Variable.key.startswith(prefix, autoescape=True) for prefix in PREFIXES)))
        # Signs have other descriptions.
        .where(Variable.description.startswith("Move of "))
        .order_by(Variable.id.desc())
        .limit(_MOST_DOCUMENTS)
    )
    for id, description in session.execute(query):
        if (task := _writer_in(description)) is not None:
            yield id, task


def _unattended(session: Session, dag_ids: Collection[str]) -> set[Task]:
    """The latest tasks of these DAGs that have ended without success."""
    columns = [getattr(TaskInstance, name) for name in Task._fields]
    query = (
        select(*columns)
        .where(TaskInstance.dag_id.in_(dag_ids), TaskInstance.state.in_(UNATTENDED_STATES))
        # Databases disagree on where NULL belongs.
        .order_by(TaskInstance.start_date.is_(None), TaskInstance.start_date.desc())
        .limit(_MOST_TASKS)
    )
    return {Task(*row) for row in session.execute(query)} if dag_ids else set()


def _writer_in(description: str | None) -> Task | None:
    of = _MOVE_OF.fullmatch(description or "")
    return of and Task(of[1], of[2], of[3], int(of[4]))


def states_of(session: Session, tasks: Collection[Task]) -> dict[Task, str | None]:
    """Return the states of those tasks that exist.

    :param session: of Airflow's database.
    """
    if not tasks:
        return {}
    columns = [getattr(TaskInstance, name) for name in Task._fields]
    rows = session.execute(select(*columns, TaskInstance.state).where(tuple_(*columns).in_(tasks)))
    return {Task(*task): state for *task, state in rows}


def _written(session: Session, condition: Any) -> dict[str, dict[int, tuple[Task, str]]]:
    """The documents by journal and writer, and the tasks that wrote them."""
    written: dict[str, dict[int, tuple[Task, str]]] = {}
    for variable in session.scalars(select(Variable).where(condition).order_by(Variable.id.desc())):
        name, task = _DOCUMENT.fullmatch(variable.key), _writer_in(variable.description)
        if name and task and (text := variable.val):
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

    def read_all(self, names: Iterable[str]) -> dict[str, str]:
        found = {name: self.read(name) for name in names}
        return {name: text for name, text in found.items() if text is not None}

    def keep(self, name: str, text: str, description: str) -> None:
        raise NotImplementedError

    def delete(self, name: str) -> None:
        raise NotImplementedError
