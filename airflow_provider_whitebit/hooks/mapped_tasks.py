"""Mapped tasks: keep a clear that shifts the map indexes from repeating a move under a new index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.hooks.stores import Store, variable_name

_MAPPED = "whitebit_mapped__"


@dataclass(frozen=True, slots=True)
class MappedTask:
    """One map index of a task, whose moves have no idempotency key.

    The journals of the other indexes cannot be read here. So the first index that makes a move writes a note for all
    of them: since when the dag run has been running, and how often it was cleared. Each index notes its own request.

    :param task: dag, run, task and map index.
    :param generation: changes when a person clears tasks of the dag run.
    :param variables: where the notes are kept.
    """

    task: tuple[str, str, str, str]
    generation: str
    variables: Store

    def admit(self, key: str, requested: Mapping[str, Any]) -> None:
        """Let this index make a move, unless another index may have made the same one before a clear.

        :param key: of the move or the plan.
        :param requested: its parameters as plain JSON.
        :raises WhiteBitValidationError: the others moved before a clear, and this index did not ask for this then.
        :raises WhiteBitJournalError: the notes cannot be read or written.
        """
        asked = hashlib.sha256(json.dumps(requested, sort_keys=True).encode()).hexdigest()
        own, others = self._name(key, *self.task), self._name(key, *self.task[:3])
        if self.variables.read(own) == asked:
            return
        begun = self.variables.read(others)
        if begun not in (None, self.generation):
            raise _index_is_new(self.task)
        if begun is None:
            self.variables.keep(others, self.generation, f"First move of {'|'.join(self.task[:3])}")
        self.variables.keep(own, asked, f"Request of {'|'.join(self.task)}")

    def _name(self, key: str, *names: str) -> str:
        return variable_name(_MAPPED, f"{self.task[0]}.{self.task[2]}.{key}", "|".join((*names, key)))


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
