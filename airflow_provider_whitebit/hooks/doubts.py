"""Airflow Variables through which tasks report moves in doubt, and people answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from airflow_provider_whitebit.client.errors import WhiteBitJournalError, clean
from airflow_provider_whitebit.hooks.airflow_compat import current_context
from airflow_provider_whitebit.hooks.stores import Store, VariableStore, task_in_words
from airflow_provider_whitebit.moves.intent import Intent
from airflow_provider_whitebit.moves.resolution import Resolution

log = logging.getLogger(__name__)

#: Begin the names of the Variables; then follows the id of the intent.
DOUBT, RESOLUTION = "whitebit_doubt__", "whitebit_resolution__"
#: The XCom of a task that has reported doubts: the ids of the intents.
DOUBTS_XCOM = "whitebit_doubts"
#: The text of a report that was taken back.
_ENDED = "{}"


@dataclass(frozen=True, slots=True)
class VariableResolutions:
    """Reports of doubts and answers to them, as one task sees them.

    They are Variables on every version of Airflow, because people and other tasks cannot write into the state of a
    task, and must not write into its journal.

    :param task: dag, run, task and map index.
    :param conn_id: the connection that the task names.
    :param variables: where Variables are kept.
    :param reported: ids of the intents that this run of the task has reported.
    """

    task: tuple[str, str, str, str]
    conn_id: str
    variables: Store = field(default_factory=VariableStore)
    reported: list[str] = field(default_factory=list)

    def read(self, intent_id: str) -> Resolution | None:
        text = self.variables.read(f"{RESOLUTION}{intent_id}")
        if text is None:
            return None
        try:
            return read_resolution(text)
        except ValueError as error:
            raise WhiteBitJournalError(
                f"The Variable {RESOLUTION}{intent_id} cannot be read: {clean(str(error))}",
                money_moved=None,
                next_step="Resolve the doubt again, then clear the task.",
            ) from None

    def report(self, intent: Intent, nonces: Collection[int], entry: str) -> None:
        names = ("dag_id", "run_id", "task_id", "map_index")
        document = {
            "intent": intent.to_json(),
            "nonces": sorted(nonces),
            "task": dict(zip(names, (*self.task[:3], int(self.task[3])), strict=True)),
            "connection": self.conn_id,
            "journal_entry": entry,
        }
        try:
            self.variables.keep(f"{DOUBT}{intent.id}", json.dumps(document), f"Doubt of {'|'.join(self.task)}")
        except WhiteBitJournalError as error:
            log.warning("The move in doubt %s was not reported to Airflow: %s", intent.id, error.message)
            return
        if intent.id not in self.reported:
            self.reported.append(intent.id)
        _push(self.reported)

    def close(self, intent_id: str) -> None:
        name = f"{DOUBT}{intent_id}"
        # What is left over names a move whose journal shows how it ended.
        with suppress(WhiteBitJournalError):
            if self.variables.read(name) not in (None, _ENDED):
                self.variables.keep(name, _ENDED, f"Ended doubt of {'|'.join(self.task)}")


@dataclass(frozen=True, slots=True)
class Report:
    """What a task has reported about a move in doubt.

    :param intent: the move and its attempts.
    :param nonces: of every attempt in its journal that may have run.
    :param task: dag, run, task and map index.
    :param conn_id: the connection that the task names.
    :param entry: where its journal is, in words.
    """

    intent: Intent
    nonces: frozenset[int]
    task: tuple[str, str, str, int]
    conn_id: str
    entry: str = ""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the text of a Variable. :raises ValueError: what is wrong with it."""
        try:
            raw = json.loads(text)
            about = raw["task"]
            task = (str(about["dag_id"]), str(about["run_id"]), str(about["task_id"]), int(about["map_index"]))
            nonces = frozenset(map(int, raw["nonces"]))
            return cls(Intent.from_json(raw["intent"]), nonces, task, str(raw["connection"]), str(raw["journal_entry"]))
        except (KeyError, TypeError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None

    @property
    def task_in_words(self) -> str:
        """The task that made the move."""
        return clean(task_in_words(*self.task))


def read_report(intent_id: str, variables: Store | None = None) -> Report | None:
    """Return what a task has reported about a move; ``None`` if it is not in doubt any more, or was never.

    :raises WhiteBitJournalError: the report cannot be read.
    """
    text = (variables or VariableStore()).read(f"{DOUBT}{intent_id}")
    if text is None or text == _ENDED:
        return None
    try:
        return Report.from_text(text)
    except ValueError as error:
        raise WhiteBitJournalError(
            f"The Variable {DOUBT}{intent_id} cannot be read: {clean(str(error))}",
            next_step="Clear the task that made the move: it reports the doubt again.",
        ) from None


def _push(intent_ids: list[str]) -> None:
    """Let later tasks of the dag run find the reports of this one."""
    instance = (current_context() or {}).get("ti")
    # What is in doubt is told by the error too.
    with suppress(Exception):
        if instance is not None and instance.task.do_xcom_push:
            instance.xcom_push(DOUBTS_XCOM, list(intent_ids))


def read_resolution(text: str) -> Resolution:
    """Read the text of a Variable. :raises ValueError: what is wrong with it."""
    raw = json.loads(text)
    if not isinstance(raw, dict):
        raise ValueError(f"it holds {type(raw).__name__}")
    return Resolution.from_json(raw)
