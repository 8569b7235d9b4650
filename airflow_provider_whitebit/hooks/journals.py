"""Journals of moves that Airflow keeps: in a task's state (3.3 and later) or in Variables (3.0 to 3.2)."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError
from airflow_provider_whitebit.hooks.airflow_compat import (
    begun_by_a_task,
    current_context,
    never_expire,
    runs_for_airflow,
    stored_variable,
)
from airflow_provider_whitebit.moves.journal import Journal, JournalError, Marks, MemoryJournal, MemoryMarks

_PREFIX = "whitebit_move"
_LONGEST_VARIABLE = 250


class TaskStateJournal:
    """In the task instance's state store. Airflow refuses writes of a try that it has replaced.

    :param store: ``context["task_state_store"]``.
    :param identity: name of the move.
    :param key: name of the move within the task.
    :param before: what this task wrote before Airflow was upgraded to 3.3; read as long as nothing was written here.
    """

    fenced = True

    def __init__(self, store: Any, identity: str, key: str, before: VariableJournal | None = None) -> None:
        self._store = store
        self.identity = identity
        self._key = f"{_PREFIX}.{_distinct(key)}"
        self._before = before

    @property
    def entry(self) -> str:
        also = "" if self._before is None else f" and {self._before.entry}"
        return f"task state {self._key}{also}"

    def read(self) -> list[dict[str, Any]]:
        try:
            document = self._store.get(self._key)
        except Exception as error:
            raise JournalError(f"Airflow's task state could not be read ({type(error).__name__}).") from error
        if document is None:
            return [] if self._before is None else self._before.read()
        return [_document(self.identity, document)]

    def write(self, document: dict[str, Any]) -> None:
        try:
            self._store.set(self._key, document, retention=never_expire())
        except Exception as error:
            raise JournalError(
                f"Airflow's task state could not be written ({type(error).__name__}); Airflow refuses this where it "
                "has started another try of the task."
            ) from error


class Variables(Protocol):
    """Texts by name."""

    def read(self, name: str) -> str | None:
        """One of them; ``None`` if there certainly is none. :raises JournalError: if that cannot be told."""

    def keep(self, name: str, text: str, description: str) -> None:
        """Keep one; it is durable when this returns. :raises JournalError: if it is not known to be durable."""


class AirflowVariables:
    """Airflow's own."""

    def read(self, name: str) -> str | None:
        return read_variable(name)

    def keep(self, name: str, text: str, description: str) -> None:
        keep_variable(name, text, description)


class VariableJournal:
    """In Airflow Variables, one for each try: two tries of one task never overwrite each other.

    :param identity: name of the move.
    :param readable: beginning of the Variables' names, for people.
    :param try_number: the try that writes.
    :param tries: how many tries there may be.
    :param variables: where they are kept, if not in Airflow.
    """

    fenced = False

    def __init__(
        self, identity: str, readable: str, try_number: int, tries: int, variables: Variables | None = None
    ) -> None:
        self.identity = identity
        self._variables = variables or AirflowVariables()
        digest = hashlib.sha256(identity.encode()).hexdigest()[:32]
        self._name = f"{_PREFIX}__{_plain(readable)[: _LONGEST_VARIABLE - 60]}__{digest}"
        self._own = try_number
        self._tries = max(try_number, tries)
        self._told = False

    @property
    def entry(self) -> str:
        return f"the Variables whose names begin with {self._name}__"

    def name(self, try_number: int) -> str:
        """Name of the Variable of one try."""
        return f"{self._name}__{try_number}"

    def read(self) -> list[dict[str, Any]]:
        found = [self._variables.read(self.name(number)) for number in range(1, max(self._tries, self._reached()) + 1)]
        try:
            return [_document(self.identity, json.loads(text)) for text in found if text is not None]
        except ValueError as error:
            raise JournalError(f"The journal of {self.identity} is no JSON ({error}).") from None

    def write(self, document: dict[str, Any]) -> None:
        # First, so that whoever does not find the document cannot have looked for it in vain.
        self._tell_tries()
        self._variables.keep(self.name(self._own), json.dumps(document, sort_keys=True), f"Move of {self.identity}")

    def _reached(self) -> int:
        """The highest try that may have written, by the signs that tries have left; 1 if there is none.

        A try knows how many there may be from when it began. When a person has cleared the task since there are more,
        and one that only slept must see what they wrote.
        """
        power = 2
        while self._variables.read(self._sign(power)) is not None:
            power *= 2
        return power - 1

    def _tell_tries(self) -> None:
        """Leave the signs that reach to this try: one for each power of two, which are never written another way."""
        if self._told:
            return
        power = 2
        while power <= self._own:
            name = self._sign(power)
            if self._variables.read(name) is None:
                self._variables.keep(name, "begun", f"A try from {power} on has begun: {self.identity}")
            power *= 2
        self._told = True

    def _sign(self, power: int) -> str:
        return f"{self._name}__from_{power}"


class VariableMarks:
    """Marks in Airflow Variables, for all tasks that use an API key.

    :param account: fingerprint of host and API key.
    """

    def __init__(self, account: str) -> None:
        self._account = account

    def name(self, likeness: str) -> str:
        """Name of the Variable of one likeness."""
        return f"whitebit_mark__{self._account}__{_plain(likeness)}"

    def read(self, name: str) -> str | None:
        return read_variable(self.name(name))

    def write(self, name: str, mark: str) -> None:
        keep_variable(self.name(name), mark, f"The latest {name} with one API key: intent and nonce")


def read_variable(name: str) -> str | None:
    """An Airflow Variable; ``None`` if there is none. :raises JournalError: if it cannot be read."""
    try:
        text = stored_variable(name)
    except Exception as error:
        raise JournalError(f"The Airflow Variable could not be read ({type(error).__name__}).") from error
    return None if text is None else str(text)


def keep_variable(name: str, text: str, description: str) -> None:
    """Write an Airflow Variable and read it back. :raises JournalError: if it was not kept."""
    from airflow.sdk import Variable

    try:
        Variable.set(name, text, description=description)
    except Exception as error:
        raise JournalError(f"The Airflow Variable could not be written ({type(error).__name__}).") from error
    # Variable.set only logs some failures: what is not there again was not kept.
    if read_variable(name) != text:
        raise JournalError("The Airflow Variable was not kept.")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one move of the task that runs here is kept.

    :param journal: its journal.
    :param generation: changes when a person clears the task, not when Airflow retries it: a clear makes
        ``max_tries`` what was tried by then and the task's ``retries``.
    :param run: names this try of the task; empty outside a task.
    :param process_run: the same, and another one for another dag run of the same name in this process.
    :param begun_before: whether an earlier run of the task may have written anything.
    """

    journal: Journal
    generation: str
    run: str
    process_run: str = ""
    begun_before: bool = False


#: Marks of moves outside a task, by account.
_MEMORY_MARKS: dict[str, MemoryMarks] = {}


def marks_for(account: str) -> Marks:
    """What all tasks with this API key share; outside a task, what this process shares.

    :param account: fingerprint of host and API key.
    """
    if current_context() is not None:
        return VariableMarks(account)
    return _MEMORY_MARKS.setdefault(account, MemoryMarks())


def place_for(key: str, *, otherwise: MemoryJournal, resumed: bool = False) -> Place:
    """The place of one move of the task that runs here.

    :param key: name of the move within the task.
    :param otherwise: the journal outside a task.
    :param resumed: whether this try of the task was deferred and goes on now.
    :raises WhiteBitConfigurationError: this process has no journal, although Airflow or a task of it has started it.
    """
    context = current_context()
    if context is None:
        if begun_by_a_task():
            raise _without_a_journal(
                "This process was started by an Airflow task and has no access to the task's journal, so a retry could "
                "move the money again. Make moves in the task itself: with an operator, or with the hook in a @task; "
                "a @task.virtualenv, an @task.external_python or a script can work out what to move and return it."
            )
        if runs_for_airflow():
            raise _without_a_journal(
                "Airflow runs this outside of any task (a callback, or a DAG file that is read), where there is no "
                "journal and the same is run again and again. Make moves in a task: with an operator, or with the hook "
                "in a @task; one that follows a failure has a trigger_rule."
            )
        return Place(otherwise, "", "")
    instance = context["ti"]
    parts = (instance.dag_id, instance.run_id, instance.task_id, str(instance.map_index), key)
    identity = "|".join(parts)
    # Without the retries a clear after they were changed could come to the same number.
    generation = f"{instance.max_tries}|{instance.task.retries}"
    store = context.get("task_state_store")
    readable = f"{instance.dag_id}.{instance.task_id}.{key}"
    variables = VariableJournal(identity, readable, instance.try_number, instance.max_tries + 1)
    # The very first beginning of a task cannot have been preceded by anything: it need not ask.
    begun_before = resumed or instance.try_number > 1
    journal: Journal = variables
    if store is not None:
        journal = TaskStateJournal(store, identity, key, before=variables if begun_before else None)
    run = "|".join((*parts[:-1], generation, str(instance.try_number)))
    return Place(journal, generation, run, f"{run}|{getattr(instance, 'id', '')}", begun_before)


def _without_a_journal(why: str) -> WhiteBitConfigurationError:
    error = WhiteBitConfigurationError(why)
    # What it says of connections is of no use here.
    error.advice = ""
    return error


def _document(identity: str, document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise JournalError(f"The journal of {identity} holds {type(document).__name__}, not a move.")
    return document


def _plain(text: str) -> str:
    """Only characters that URLs and names of Variables carry as they are."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _distinct(text: str) -> str:
    """As :func:`_plain`, and another text for each text."""
    plain = _plain(text)
    return plain if plain == text else f"{plain}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"
