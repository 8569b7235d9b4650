"""Where intents are kept: what a journal must do, and its form in memory."""

from __future__ import annotations

import copy
from typing import Any, Protocol

from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.moves.evidence import NONCE_LIFE_MS


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

    @property
    def entry(self) -> str:
        """Where a person finds it, in words; empty where nobody can."""

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

    Each is left with both keys, so that a move with either sees it. Where they differ, somebody who knows of one key
    only has left the other one: long before, and the latest stands for both, or perhaps in between.

    :param marks: of each key.
    """

    def __init__(self, *marks: Marks) -> None:
        self._marks = marks

    def read(self, name: str) -> str | None:
        left = sorted({mark for one in self._marks if (mark := one.read(name)) is not None}, key=_nonce_of)
        if len(left) > 1 and _nonce_of(left[-1]) <= _nonce_of(left[-2]) + NONCE_LIFE_MS:
            return " and ".join(left)
        return left[-1] if left else None

    def write(self, name: str, mark: str) -> None:
        for one in self._marks:
            one.write(name, mark)


def mark_of(intent_id: str, nonce: int) -> str:
    """What an attempt leaves.

    :param intent_id: its intent's.
    :param nonce: milliseconds.
    """
    return f"{intent_id}:{nonce}"


def _nonce_of(mark: str) -> int:
    nonce = mark.rpartition(":")[2]
    return int(nonce) if nonce.isdecimal() else 0


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

    @property
    def entry(self) -> str:
        return ""

    def read(self) -> list[dict[str, Any]]:
        return [] if self._document is None else [copy.deepcopy(self._document)]

    def write(self, document: dict[str, Any]) -> None:
        self._document = copy.deepcopy(document)
