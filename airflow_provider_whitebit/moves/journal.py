"""Where intents are kept: what a journal must do, and its form in memory."""

from __future__ import annotations

import copy
from typing import Any, Protocol

from airflow_provider_whitebit.client.errors import WhiteBitError


class JournalError(WhiteBitError):
    """The journal could not be read or written. Nothing is sent that is not written down before."""

    advice = "Nothing was sent in this run; run the task again when Airflow's API server answers."

    def __init__(self, message: str, *, money_moved: bool | None = None) -> None:
        super().__init__(message, money_moved=money_moved)


class Journal(Protocol):
    """Keeps the documents of one move of one task.

    ``identity`` names the move: dag, run, task, map index and the move within the task. ``fenced`` says that the
    store refuses writes of a try that Airflow has replaced by another.
    """

    @property
    def identity(self) -> str: ...

    @property
    def fenced(self) -> bool: ...

    def read(self) -> list[dict[str, Any]]:
        """Every document that any try wrote; empty only where there certainly is none.

        :raises JournalError: if that cannot be told.
        """

    def write(self, document: dict[str, Any]) -> None:
        """Keep this try's document; it is durable when this returns.

        :raises JournalError: if it is not known to be durable.
        """


class Marks(Protocol):
    """Keeps one short text for each likeness, shared by all tasks that use an API key.

    Transfers leave no record at the exchange. Whoever sends one leaves a mark before, so that whoever has lost an
    answer can tell whether the balances were moved by somebody else meanwhile.
    """

    def read(self, name: str) -> str | None:
        """The latest mark. :raises JournalError: if that cannot be told."""

    def write(self, name: str, mark: str) -> None:
        """Keep a mark; it is durable when this returns. :raises JournalError: if it is not known to be durable."""


class SharedMarks:
    """Marks of two API keys of one account, while one is exchanged for the other.

    Each is left with both keys, so that a move with either sees it; what is not the same with both was left by
    somebody who knows of one key only, in between.

    :param marks: of each key.
    """

    def __init__(self, *marks: Marks) -> None:
        self._marks = marks

    def read(self, name: str) -> str | None:
        left = {mark.read(name) for mark in self._marks}
        return left.pop() if len(left) == 1 else " and ".join(sorted(str(mark) for mark in left))

    def write(self, name: str, mark: str) -> None:
        for one in self._marks:
            one.write(name, mark)


class MemoryMarks:
    """Marks for use outside a task: they live as long as the object."""

    def __init__(self) -> None:
        self._marks: dict[str, str] = {}

    def read(self, name: str) -> str | None:
        return self._marks.get(name)

    def write(self, name: str, mark: str) -> None:
        self._marks[name] = mark


class MemoryJournal:
    """A journal for use outside a task: it lives as long as the object."""

    def __init__(self, identity: str = "memory") -> None:
        self._identity = identity
        self._document: dict[str, Any] | None = None

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def fenced(self) -> bool:
        return True

    def read(self) -> list[dict[str, Any]]:
        return [] if self._document is None else [copy.deepcopy(self._document)]

    def write(self, document: dict[str, Any]) -> None:
        self._document = copy.deepcopy(document)
