"""Airflow Variables through which tasks report moves in doubt, and people answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

from airflow_provider_whitebit.client.errors import WhiteBitJournalError, clean
from airflow_provider_whitebit.hooks.stores import Store, VariableStore
from airflow_provider_whitebit.moves.intent import Intent
from airflow_provider_whitebit.moves.resolution import Resolution

log = logging.getLogger(__name__)

#: Begin the names of the Variables; then follows the id of the intent.
DOUBT, RESOLUTION = "whitebit_doubt__", "whitebit_resolution__"
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
    """

    task: tuple[str, str, str, str]
    conn_id: str
    variables: Store = field(default_factory=VariableStore)

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

    def close(self, intent_id: str) -> None:
        name = f"{DOUBT}{intent_id}"
        # What is left over names a move whose journal shows how it ended.
        with suppress(WhiteBitJournalError):
            if self.variables.read(name) not in (None, _ENDED):
                self.variables.keep(name, _ENDED, f"Ended doubt of {'|'.join(self.task)}")


def read_resolution(text: str) -> Resolution:
    """Read the text of a Variable. :raises ValueError: what is wrong with it."""
    raw = json.loads(text)
    if not isinstance(raw, dict):
        raise ValueError(f"it holds {type(raw).__name__}")
    return Resolution.from_json(raw)
