"""Where Airflow keeps what moves leave behind: in Variables.

Airflow deletes the state of a task (3.3 and later) with its dag run, when the task succeeds or when a person clears it,
depending on version and configuration. A move has to be known after all of these.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from typing import Any, Protocol

from airflow_provider_whitebit.client.errors import WhiteBitJournalError
from airflow_provider_whitebit.hooks.airflow_compat import HiddenVariableError, boolean_option, stored_variables

log = logging.getLogger(__name__)

#: Most characters of the name of a Variable, and how many of them prefixes, digests, signs and writers may need.
LONGEST_NAME, _REST = 250, 70

_OTHER_TEAM = "Give each team an API key of its own (docs/airflow-uses.md, multi-team mode)."
_OLD_FERNET_KEY = (
    "Give Airflow's API server the Fernet key that the Variable was written with: in [core] fernet_key, behind the new "
    "one. Then clear the task."
)


class Store(Protocol):
    """JSON texts by name. After a text is kept, every reader finds it, or a later one of the same name."""

    def read(self, name: str) -> str | None:
        """One text; ``None`` if there certainly is none.

        :raises WhiteBitJournalError: it is not certain whether there is one.
        """

    def read_all(self, names: Iterable[str]) -> dict[str, str]:
        """Those of several texts that exist. There certainly is none of the others.

        :raises WhiteBitJournalError: it is not certain whether there is one.
        """

    def keep(self, name: str, text: str, description: str) -> None:
        """Store a text. It is durable when this returns.

        :raises WhiteBitJournalError: it is not certain that the text is durable.
        """


class Variables(Store, Protocol):
    """A store whose texts can be deleted."""

    def delete(self, name: str) -> None:
        """Delete a text, if possible."""


class VariableStore:
    """Airflow Variables."""

    def read(self, name: str) -> str | None:
        return read_variable(name)

    def read_all(self, names: Iterable[str]) -> dict[str, str]:
        return read_variables(names)

    def keep(self, name: str, text: str, description: str) -> None:
        keep_variable(name, text, description)

    def delete(self, name: str) -> None:
        delete_variable(name)


def read_variable(name: str) -> str | None:
    """An Airflow Variable; ``None`` if there is none. :raises WhiteBitJournalError: it cannot be read."""
    return read_variables([name]).get(name)


def read_variables(names: Iterable[str]) -> dict[str, str]:
    """Those of several Airflow Variables that exist. :raises WhiteBitJournalError: one cannot be read."""
    try:
        return stored_variables(names)
    except HiddenVariableError as error:
        why, next_steps = "and cannot decrypt it", [_OLD_FERNET_KEY]
        if boolean_option("core", "multi_team"):
            why = "and does not show it: it cannot decrypt it, or a team owns it"
            next_steps.insert(0, _OTHER_TEAM)
        raise WhiteBitJournalError(f"Airflow has the Variable {error} {why}.", next_step=tuple(next_steps)) from None
    except Exception as error:
        raise WhiteBitJournalError(f"The Airflow Variable could not be read ({type(error).__name__}).") from error


def keep_variable(name: str, text: str, description: str) -> None:
    """Write an Airflow Variable and read it back. :raises WhiteBitJournalError: it was not kept."""
    from airflow.sdk import Variable

    try:
        Variable.set(name, text, description=description)
    except Exception as error:
        raise WhiteBitJournalError(f"The Airflow Variable could not be written ({type(error).__name__}).") from error
    # Variable.set only logs some failures, so the text is read back.
    kept = read_variable(name)
    if kept is None:
        # In multi-team mode Airflow writes into a Variable of another team, but does not show it.
        raise WhiteBitJournalError(
            f"The Airflow Variable {name} was not kept, or it belongs to another team.",
            next_step=_OTHER_TEAM,
        )
    if kept != text:
        raise WhiteBitJournalError("The Airflow Variable was not kept.")


def count_instances(instance: Any) -> int:
    """Ask Airflow how many instances the task of one instance has in its dag run; of a mapped task, its map indexes.

    :param instance: ``context["ti"]``.
    :raises WhiteBitJournalError: Airflow does not answer.
    """
    about = {"task_ids": [instance.task_id], "run_ids": [instance.run_id]}
    try:
        return int(instance.get_ti_count(dag_id=instance.dag_id, **about))
    except Exception as error:
        raise WhiteBitJournalError(
            f"Airflow's task instances could not be counted ({type(error).__name__})."
        ) from error


def delete_variable(name: str) -> None:
    """Delete an Airflow Variable, if possible."""
    from airflow.sdk import Variable

    try:
        Variable.delete(name)
    except Exception as error:
        log.info("The Airflow Variable %s could not be deleted (%s)", name, type(error).__name__)


def variable_name(prefix: str, readable: str, identity: str) -> str:
    """A name for Variables, different for each identity. A number of a try or the sign of one fits behind it."""
    digest = hashlib.sha256(identity.encode()).hexdigest()[:32]
    return f"{prefix}{plain_name(readable)[: LONGEST_NAME - _REST]}__{digest}"


def task_in_words(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """A task instance in words."""
    mapped = f", map index {map_index}" if map_index >= 0 else ""
    return f"task {task_id} of {dag_id}, run {run_id}{mapped}"


def plain_name(text: str) -> str:
    """A text with only the characters that URLs and names of Variables carry unchanged."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)
