"""Mapped tasks: keep a clear that shifts the map indexes from repeating a move under a new index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitJournalError, WhiteBitValidationError
from airflow_provider_whitebit.hooks.stores import Store, variable_name

_MAPPED = "whitebit_mapped__"


@dataclass(frozen=True, slots=True)
class MappedTask:
    """One map index of a task, whose moves have no idempotency key.

    The journals of the other indexes cannot be read here. So the first index that makes a move writes a note for all
    of them: since when the dag run has been running, how often it was cleared, and how many indexes there are. Each
    index notes its own request.

    Not every clear changes the dag run: Airflow before 3.2 leaves one as it is that still runs, and every version can
    clear tasks alone. So an index also looks at what such a clear changes: its own number of tries, and how many
    indexes there are.

    :param task: dag, run, task and map index.
    :param generation: changes when a person clears tasks of the dag run.
    :param variables: where the notes are kept.
    :param max_tries: of this index: it grows when a person clears it.
    :param cleared: whether a person has cleared this index, in a dag run that does not show that it was cleared.
    :param count: returns how many indexes the task has now.
    """

    task: tuple[str, str, str, str]
    generation: str
    variables: Store
    max_tries: int
    cleared: bool
    count: Callable[[], int]

    def admit(self, key: str, requested: Mapping[str, Any]) -> None:
        """Let this index make a move, unless another index may have made the same one before a clear.

        :param key: of the move or the plan.
        :param requested: its parameters and connection as plain JSON.
        :raises WhiteBitValidationError: the others moved before a clear, and this index did not ask for this then.
        :raises WhiteBitJournalError: the notes cannot be read or written.
        """
        asked = hashlib.sha256(json.dumps(requested, sort_keys=True).encode()).hexdigest()
        own, others = self._name(key, *self.task), self._name(key, *self.task[:3])
        before, begun = _note(self.variables, own), _note(self.variables, others)
        if before is not None and before["asked"] == asked:
            return
        if begun is not None and self._may_have_shifted(before, begun):
            raise _index_is_new(self.task)
        if begun is None:
            first = {"generation": self.generation, "cleared": self.cleared, "indexes": self.count()}
            self.variables.keep(others, json.dumps(first), f"First move of {'|'.join(self.task[:3])}")
        note = json.dumps({"asked": asked, "max_tries": self.max_tries})
        self.variables.keep(own, note, f"Request of {'|'.join(self.task)}")

    def _may_have_shifted(self, before: Mapping[str, Any] | None, begun: Mapping[str, Any]) -> bool:
        """Whether the indexes may mean other moves than when the first of them was made.

        :param before: what this index has noted; ``None`` if it has not asked for a move.
        :param begun: what the first index has noted.
        """
        if begun["generation"] != self.generation:
            return True
        if before is not None:
            return bool(before["max_tries"] != self.max_tries)
        return int(self.task[3]) >= begun["indexes"] or (self.cleared and not begun["cleared"])

    def _name(self, key: str, *names: str) -> str:
        return variable_name(_MAPPED, f"{self.task[0]}.{self.task[2]}.{key}", "|".join((*names, key)))


def _note(variables: Store, name: str) -> dict[str, Any] | None:
    text = variables.read(name)
    if text is None:
        return None
    with suppress(ValueError):
        note = json.loads(text)
        if isinstance(note, dict):
            return note
    raise WhiteBitJournalError(f"The Airflow Variable {name} is not a JSON object.")


def _index_is_new(task: tuple[str, str, str, str]) -> WhiteBitValidationError:
    _, run, name, index = task
    return WhiteBitValidationError(
        f"Map index {index} of task {name} did not ask for this move before tasks of run {run} were cleared, and other "
        "indexes had begun by then. The indexes may have shifted: another one may have made this move.",
        next_step=(
            "Compare the receipts of the other indexes with what this one asks for.",
            "If this move is still to be made, start a new dag run.",
            "So that it does not happen again, name what each index moves: write a text that no other move has, for "
            'example idempotency_key=f"{run_id} desk-7".',
        ),
    )
