"""Find moves in doubt: in the journals of Airflow's database, and in the Variables through which tasks report them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from airflow.models.variable import Variable
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.errors import WhiteBitError, clean
from airflow_provider_whitebit.control.journals import (
    UNATTENDED_STATES,
    StoredJournal,
    find_journals,
    journal_of,
    read_variable,
    release,
    sent_at,
    states_of,
)
from airflow_provider_whitebit.control.tasks import Task
from airflow_provider_whitebit.hooks.doubts import DOUBT, Report
from airflow_provider_whitebit.moves.history import MoveHistory, merge_intents
from airflow_provider_whitebit.moves.intent import Intent
from airflow_provider_whitebit.moves.resolution import unproven_nonces

#: Most reports of doubts that are read.
MOST_REPORTS = 200
#: The state of a task instance that no longer exists, in words.
GONE = "gone"


def _all(names: Collection[str]) -> Collection[str]:
    return names


def _none(names: Collection[str]) -> Collection[str]:
    return ()


def _anything(name: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Reader:
    """What a user may read; by default everything.

    :param dag_ids: the DAGs whose task instances the user may read; ``None``: all.
    :param readable_variables: those of some Variables that the user may read. It is asked while no database connection
        is held.
    :param editable_dags: those of some DAGs whose task instances the user may edit. It is asked in the same way.
    :param may_read_connection: whether the user may read a connection.
    """

    dag_ids: Collection[str] | None = None
    readable_variables: Callable[[Collection[str]], Collection[str]] = _all
    editable_dags: Callable[[Collection[str]], Collection[str]] = _none
    may_read_connection: Callable[[str], bool] = _anything

    def may_see(self, task: Task) -> bool:
        """Whether the user may know of a task."""
        return self.dag_ids is None or task.dag_id in self.dag_ids


@dataclass(frozen=True, slots=True)
class Doubt:
    """A move in doubt.

    :param task: one of the tasks that know of it: if there is one, a task that has ended without success.
    :param intent: the move and its attempts; ``None`` if its journal cannot be read.
    :param nonces: of all attempts in its journal that may have run.
    :param tasks: all tasks that know of it, and their states: ``None`` before Airflow has scheduled it, :data:`GONE` if
        it no longer exists.
    :param key: begins the names of the journal's entries; empty if it is not known.
    :param variables: names of the Variables that tell of it.
    :param unreadable: why the journal cannot be read; empty if it can.
    :param connection: that the task names, if it has reported it.
    :param hidden: whether the user may read nothing of the move, only that it is in doubt.
    """

    task: Task
    intent: Intent | None = None
    nonces: frozenset[int] = frozenset()
    tasks: dict[Task, str | None] = field(default_factory=dict)
    key: str = ""
    variables: tuple[str, ...] = ()
    unreadable: str = ""
    connection: str = ""
    hidden: bool = False

    @property
    def known_intent(self) -> Intent:
        """The move, if its journal can be read."""
        assert self.intent is not None
        return self.intent

    @property
    def sent_at(self) -> int | None:
        """The nonce of the latest attempt that may have run; ``None`` if the journal cannot be read."""
        if self.intent is None:
            return None
        return sent_at(self.intent) or max((attempt.nonce for attempt in self.intent.unproven), default=None)


def find_doubts(session: Session, reader: Reader | None = None) -> list[Doubt]:
    """Return the moves in doubt whose task has ended without success, latest first.

    :param session: of Airflow's database. It holds no database connection when the reader is asked about Variables.
    :param reader: what the user may read.
    """
    reader = reader or Reader()
    journals = find_journals(session, reader.dag_ids)
    reports = [
        one for name in _report_names(session) for one in _read_report(session, name) if reader.may_see(one.task)
    ]
    states = states_of(
        session, {task for stored in journals for task, _ in stored.documents} | {one.task for one in reports}
    )
    shown = {task for task, state in states.items() if state in UNATTENDED_STATES and reader.may_see(task)}
    found = [doubt for stored in journals for doubt in _in_journal(stored, shown, states)]
    known = {doubt.intent.id for doubt in found if doubt.intent}
    reported = [one for one in reports if one.task in shown and one.intent and one.intent.id not in known]
    found += [doubt for one in reported if (doubt := _with_journal(session, one, states))]
    release(session)
    return sorted(readable(found, reader), key=lambda doubt: doubt.sent_at or 0, reverse=True)


def readable(doubts: Collection[Doubt], reader: Reader) -> list[Doubt]:
    """Return those of the moves in doubt that the user may read, each with a task that the user may read.

    A user who may not read the Variables that hold a journal, but may edit the task, sees that its move is in doubt and
    nothing else of it.

    :param doubts: the moves.
    :param reader: what the user may read. It is asked once about all Variables. No database connection may be held.
    """
    visible = [(doubt, [task for task in (doubt.task, *doubt.tasks) if reader.may_see(task)]) for doubt in doubts]
    shown = [replace(doubt, task=tasks[0]) for doubt, tasks in visible if tasks]
    names = {name for doubt in shown for name in doubt.variables}
    allowed = set(reader.readable_variables(names)) if names else set()
    others = {doubt.task.dag_id for doubt in shown if not allowed.issuperset(doubt.variables)}
    editable = set(reader.editable_dags(others)) if others else set()
    kept = [doubt for doubt in shown if allowed.issuperset(doubt.variables) or doubt.task.dag_id in editable]
    return [one if allowed.issuperset(one.variables) else Doubt(one.task, hidden=True) for one in kept]


def find_doubt(session: Session, intent_id: str) -> Doubt | None:
    """Return one move in doubt, whatever its task does now; ``None`` if it is not in doubt.

    :param session: of Airflow's database. It holds no database connection afterwards.
    :param intent_id: of the move.
    """
    journals = find_journals(session, containing=[intent_id])
    reports = list(_read_report(session, f"{DOUBT}{intent_id}"))
    states = states_of(
        session, {task for stored in journals for task, _ in stored.documents} | {one.task for one in reports}
    )
    reporters = {one.task: states.get(one.task, GONE) for one in reports}
    found = [_with_reporters(doubt, reporters) for stored in journals for doubt in _about(stored, intent_id, states)]
    if not found and not _has_ended(journals, intent_id):
        found = [doubt for one in reports if (doubt := _with_journal(session, one, states))]
    release(session)
    return found[0] if found else None


def _with_reporters(doubt: Doubt, reporters: dict[Task, str | None]) -> Doubt:
    """The doubt with the tasks that have met it under an idempotency key: they need not have written anything.

    :param reporters: tasks that have reported the doubt, and their states.
    """
    tasks = {**doubt.tasks, **reporters}
    task = next((one for one, state in tasks.items() if state in UNATTENDED_STATES), doubt.task)
    return replace(doubt, task=task, tasks=tasks)


def find_intent(session: Session, intent_id: str) -> Intent | None:
    """Return what the journals know of one intent, in doubt or not.

    :param session: of Airflow's database.
    """
    for stored in find_journals(session, containing=[intent_id]):
        intent = _intents_of(stored).get(intent_id)
        if intent is not None:
            return intent
    return None


def _intents_of(stored: StoredJournal) -> dict[str, Intent]:
    try:
        return dict(stored.history().intents)
    except Exception:
        # Anyone who may write Variables could have stored anything there.
        return {}


def _has_ended(journals: Iterable[StoredJournal], intent_id: str) -> bool:
    return any(intent_id in _intents_of(stored) for stored in journals)


def _about(stored: StoredJournal, intent_id: str, states: dict[Task, str | None]) -> Iterator[Doubt]:
    """The doubt about one intent, also if a person or its task has marked it as anything."""
    try:
        history = stored.history()
        intent = next((one for one in history.unproven if one.id == intent_id), None)
        if intent is None:
            return
        tasks = {task: states.get(task, GONE) for task in stored.known_by(intent_id)}
        yield _doubt(stored, intent, history, tasks, tasks)
    except Exception:
        # The list shows it as a journal that cannot be read.
        return


def _in_journal(stored: StoredJournal, shown: Collection[Task], states: dict[Task, str | None]) -> Iterator[Doubt]:
    """:param shown: tasks that have ended without success, and that the user may read."""
    try:
        history = stored.history()
        for intent in history.unproven:
            tasks = {task: states.get(task, GONE) for task in stored.known_by(intent.id)}
            if sent_at(intent) is not None and any(task in shown for task in tasks):
                yield _doubt(stored, intent, history, tasks, shown)
    except Exception as error:
        # An unreadable journal is shown too, because its move may have run. Anyone who may write Variables could have
        # stored anything there.
        why = clean(f"The journal cannot be read: {error}")
        if task := next((task for task, _ in stored.documents if task in shown), None):
            yield Doubt(task, key=f"{stored.name}__", variables=stored.variables, unreadable=why)


def _doubt(
    stored: StoredJournal,
    intent: Intent,
    history: MoveHistory,
    tasks: dict[Task, str | None],
    first: Collection[Task],
) -> Doubt:
    """:param first: the task that is named is one of these."""
    return Doubt(
        task=next(task for task in tasks if task in first),
        intent=intent,
        nonces=unproven_nonces(history.unproven),
        tasks=tasks,
        key=f"{stored.name}__",
        variables=stored.variables,
    )


def _report_names(session: Session) -> list[str]:
    """The names of the Variables with reports, the latest first."""
    query = select(Variable.key).where(Variable.key.startswith(DOUBT, autoescape=True))
    return list(session.scalars(query.order_by(Variable.id.desc()).limit(MOST_REPORTS)))


def _read_report(session: Session, name: str) -> Iterator[Doubt]:
    """One report, as :class:`~..hooks.doubts.VariableResolutions` writes it. Anything else is left out."""
    try:
        report = Report.from_text(read_variable(session, name) or "null")
        task, intent = Task(*report.task), report.intent
        if abs(task.map_index) > 10**9 or name != f"{DOUBT}{intent.id}" or not intent.unproven:
            return
        yield Doubt(task, intent, report.nonces, key=clean(report.entry), variables=(name,), connection=report.conn_id)
    except Exception:
        # Anyone who may write Variables could have stored anything there. What it says about a move is in its journal.
        return


def _with_journal(session: Session, report: Doubt, states: dict[Task, str | None]) -> Doubt | None:
    """A report with what the journal of its task says; ``None`` if that says how the move has ended."""
    reported = report.intent
    assert reported is not None
    report = replace(report, tasks={report.task: states.get(report.task, GONE)})
    try:
        history = journal_of(session, report.task, reported)
        known = history.intents.get(reported.id)
        if known is None:
            # The journal is where only tasks can read it, or it is gone.
            return report
        merged = history.with_intent(merge_intents(reported, known))
    except (WhiteBitError, ValueError, ArithmeticError) as error:
        return replace(report, unreadable=clean(f"The journal cannot be read: {error}"))
    intent = next((one for one in merged.unproven if one.id == reported.id), None)
    if intent is None:
        return None
    return replace(report, intent=intent, nonces=unproven_nonces(merged.unproven))
