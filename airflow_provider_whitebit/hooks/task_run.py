"""One run of a task in this process: which key it uses for which move, and which of its moves failed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_whitebit.client.errors import (
    WhiteBitError,
    WhiteBitUnavailableError,
    WhiteBitValidationError,
)
from airflow_provider_whitebit.hooks.journals import JournalSlot
from airflow_provider_whitebit.moves.keys import argument_of, idempotent, is_idempotent, split_key


@dataclass(slots=True)
class TaskRun:
    """One run of a task in this process.

    :param claims: what each key is used for: connection and parameters.
    :param failed: keys of moves that failed, and why; for a plan, the key of its failure.
    :param deferred: whether the run was deferred and has not continued since.
    :param doubts: ids of the intents that this run has reported to be in doubt.
    :param lock: held while a thread of the task executes a move or a plan. A move may write into another's journal.
    """

    claims: dict[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    failed: dict[str, WhiteBitError] = field(default_factory=dict)
    deferred: bool = False
    doubts: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def resume(self) -> None:
        """Begin again after a deferral: ``dag.test()`` continues in the same process."""
        if self.deferred:
            self.claims.clear()
            self.failed.clear()
            self.deferred = False

    def fail(self, key: str, error: BaseException) -> None:
        """Remember why a move failed: if the task goes on to another one, it never makes both."""
        self.failed[key] = (
            error
            if isinstance(error, WhiteBitError)
            else WhiteBitUnavailableError(f"The move was interrupted ({type(error).__name__}).", money_moved=None)
        )

    def claim(self, key: str, connection: str, requested: Mapping[str, Any]) -> None:
        """Use a key for a move.

        :raises WhiteBitValidationError: this run uses the key for another move. It shows the line to write.
        """
        wanted = (connection, requested)
        claimed = list(self.claims.items())
        # The moves of a plan, and the steps of a transfer, have numbers (plan.1, plan.2, ...): these keys are used too.
        clash = [by for other, by in claimed if _numbers(other, by[1], key) or _numbers(key, requested, other)]
        before = clash[0] if clash else self.claims.setdefault(key, wanted)
        if clash or not _same(key, before, wanted):
            free = self._free_key(key, requested)
            raise WhiteBitValidationError(
                f"This task uses {argument_of(key)} for two moves: {call_of(*before)} and "
                f"{call_of(connection, requested)}.",
                next_step=f"Give the second move a key: {call_of(connection, requested, free)}",
            )

    def is_taken(self, key: str, connection: str, requested: Mapping[str, Any]) -> bool:
        """Whether this run uses the key for another move."""
        wanted = (connection, requested)
        return not _same(key, self.claims.get(key, wanted), wanted)

    def has_used(self, key: str) -> bool:
        """Whether this run uses the key, perhaps as a step of a transfer."""
        return key in self.claims or any(_numbers(other, by[1], key) for other, by in list(self.claims.items()))

    def other_keys(self, error: WhiteBitError) -> list[str]:
        """The keys under which this run has made a move, or may have made one, besides that of an error."""
        unmoved = [key for key, failed in self.failed.items() if failed is error or failed.money_moved is False]
        return [
            key
            for key, (_, requested) in list(self.claims.items())
            if key not in unmoved and not any(_numbers(key, requested, failed) for failed in unmoved)
        ]

    def _free_key(self, key: str, requested: Mapping[str, Any]) -> str:
        """A key that this run has not used, of the same kind as another one."""
        if is_idempotent(key):
            account, name, _ = split_key(key)
            return next(
                free
                for number in range(2, len(self.claims) + 3)
                if (free := idempotent(account, f"{name} {number}")) not in self.claims
            )
        targets = (requested.get(name) for name in ("ticker", "plan_id", "investment_id"))
        wanted = " ".join(str(part) for part in (requested.get("operation", "plan"), *targets) if part is not None)
        numbered = (wanted, *(f"{wanted} {number}" for number in range(2, len(self.claims) + 3)))
        return next(key for key in numbered if key not in self.claims)


_RUNS: dict[str, TaskRun] = {}


def run_of(slot: JournalSlot) -> TaskRun:
    """The run of the current task in this process; outside a task, a new one."""
    return _RUNS.setdefault(slot.process_run, TaskRun()) if slot.run else TaskRun(lock=slot.lock)


def _same(key: str, *claims: tuple[str, Mapping[str, Any]]) -> bool:
    """Whether two moves under a key are one. Under an idempotency key, the account counts, not the connection."""
    (connection, requested), (other_connection, other) = claims
    return requested == other and (is_idempotent(key) or connection == other_connection)


def _numbers(key: str, requested: Mapping[str, Any], other: str) -> bool:
    """Whether a key is that of a plan or of a transfer in two steps, and the other key that of one of its moves."""
    in_steps = requested.get("operation") == "transfer" and "main" not in (requested["source"], requested["target"])
    return ("plan" in requested or in_steps) and other.startswith(f"{key}.") and other[len(key) + 1 :].isdecimal()


def call_of(connection: str, requested: Mapping[str, Any], key: str | None = None) -> str:
    """A move as a caller writes it: as it was asked for, or with a key of its own."""
    operation = requested.get("operation")
    given = {name: value for name, value in requested.items() if value not in (None, False) and name != "operation"}
    arguments = [f"{name}={value!r}" for name, value in given.items()] if operation else ["..."]
    if key is None:
        return f"{operation or 'execute_plan'}({', '.join(arguments)}) with connection {connection!r}"
    return f"{operation or 'execute_plan'}({', '.join([*arguments, argument_of(key)])})"
