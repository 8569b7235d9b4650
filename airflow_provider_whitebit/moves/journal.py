"""Where the history of a move is kept: what a journal must do, and its form in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from airflow_provider_whitebit.moves.evidence import NONCE_LIFE_MS

_DONE = ":done"


class Journal(Protocol):
    """Keeps the documents of one move (:class:`~.history.MoveHistory`).

    Each writer, a try of a task, has a document of its own, so none overwrites another's. No store is relied on to
    refuse a try that Airflow has replaced.
    """

    @property
    def identity(self) -> str:
        """Names the move: dag, run, task, map index and the move's key."""

    @property
    def entry(self) -> str:
        """Where a person finds the journal; empty if a person cannot."""

    @property
    def by_tries(self) -> bool:
        """Whether the documents are of the tries of one task, so that the last one's try has replaced the others."""

    def read(self) -> list[dict[str, Any]]:
        """Every document that any writer wrote, the earliest try first; empty only if there certainly is none.

        :raises WhiteBitJournalError: it is not certain what the journal holds.
        """

    def prepare(self) -> None:
        """Do what has to be done once before this writer's first document, so that writing it takes less time.

        :raises WhiteBitJournalError: it is not certain that this was done.
        """

    def write(self, document: dict[str, Any]) -> None:
        """Store this writer's document. It is durable when this returns.

        :raises WhiteBitJournalError: it is not certain that the document is durable.
        """

    def sibling(self, key: str) -> Journal:
        """The journal of another move of the same task.

        :param key: of that move.
        """


class MoveMarkers(Protocol):
    """Keeps one short text for each conflict key, shared by all tasks that use an API key.

    A task leaves a marker before it sends a move, and marks it as done when it knows what became of the move. Until
    then, other moves of the conflict key wait for a while, so that records and balances are not confused. Transfers
    leave no record at the exchange: after a lost answer, the marker shows whether another one was sent in between.
    """

    def read(self, conflict_key: str) -> str | None:
        """The latest marker. :raises WhiteBitJournalError: it cannot be read."""

    def write(self, conflict_key: str, marker: str) -> None:
        """Store a marker. It is durable when this returns.

        :raises WhiteBitJournalError: it is not certain that the marker is durable.
        """


#: How many pages of a spending log are kept. A process that stood still may have named an older page as the latest one.
PAGES_KEPT = 8


@dataclass(frozen=True, slots=True)
class Page:
    """A place in a spending log.

    :param number: from 1; 0 is the place before the first page.
    :param named: the page that the log named as its latest one when it was read.
    """

    number: int = 0
    named: int = 0

    @property
    def next(self) -> Page:
        """The page after this one."""
        return replace(self, number=self.number + 1)


@dataclass(frozen=True, slots=True)
class LogReading:
    """What a spending log holds.

    :param documents: the latest page, and perhaps earlier ones; empty if there is no page.
    :param pages: the place of the latest page; with two API keys, that in the log of each.
    """

    documents: Sequence[dict[str, Any]] = ()
    pages: tuple[Page, ...] = (Page(),)


class SpendingLog(Protocol):
    """Keeps what was sent lately, by the name of a lock. Its latest page holds everything.

    A process that stood still may write long after it has lost the lock. So the owner of the lock first adds a page
    with what it has read, and then, while it still owns the lock, one more page with its own move. All later owners see
    the first page. So none of them ever writes its own move into the second one, and no earlier owner does: it would
    have added the first page itself.
    """

    def read(self, name: str) -> LogReading:
        """What the log holds.

        :param name: of the lock.
        :raises WhiteBitJournalError: it is not certain what the log holds.
        """

    def write(self, name: str, document: dict[str, Any], pages: tuple[Page, ...]) -> None:
        """Store a page. It is durable when this returns.

        :param name: of the lock.
        :param pages: its place.
        :raises WhiteBitJournalError: it is not certain that the page is durable.
        """

    def finish(self, name: str, pages: tuple[Page, ...]) -> None:
        """Name the latest page, so that it is found at once, and delete those long before it.

        :param name: of the lock.
        :param pages: the place of the latest page.
        :raises WhiteBitJournalError: it may not have been named.
        """


class SharedSpendingLog:
    """The spending logs of two API keys of one account, while one replaces the other: what either holds counts.

    :param logs: of each key.
    """

    def __init__(self, *logs: SpendingLog) -> None:
        self._logs = logs

    def read(self, name: str) -> LogReading:
        read = [one.read(name) for one in self._logs]
        documents = [document for one in read for document in one.documents]
        return LogReading(documents, tuple(page for one in read for page in one.pages))

    def write(self, name: str, document: dict[str, Any], pages: tuple[Page, ...]) -> None:
        for one, page in zip(self._logs, pages, strict=True):
            one.write(name, document, (page,))

    def finish(self, name: str, pages: tuple[Page, ...]) -> None:
        for one, page in zip(self._logs, pages, strict=True):
            one.finish(name, (page,))


class MemorySpendingLog:
    """A spending log for use outside a task: it lives as long as the object."""

    def __init__(self) -> None:
        self._pages: dict[str, dict[int, dict[str, Any]]] = {}

    def read(self, name: str) -> LogReading:
        pages = self._pages.get(name, {})
        latest = max(pages, default=0)
        return LogReading([pages[latest]] if latest else [], (Page(latest),))

    def write(self, name: str, document: dict[str, Any], pages: tuple[Page, ...]) -> None:
        self._pages.setdefault(name, {})[pages[0].number] = document

    def finish(self, name: str, pages: tuple[Page, ...]) -> None:
        kept = {number: page for number, page in self._pages[name].items() if number > pages[0].number - PAGES_KEPT}
        self._pages[name] = kept


class SharedMarkers:
    """Transfer markers of two API keys of one account, while one replaces the other.

    Each marker is written with both keys, so a move with either sees it. If the two differ, a process that knows one
    key only has written the other marker. The later one counts, unless both could have been sent at the same time.

    :param markers: of each key.
    """

    def __init__(self, *markers: MoveMarkers) -> None:
        self._markers = markers

    def read(self, conflict_key: str) -> str | None:
        found = {marker for one in self._markers if (marker := one.read(conflict_key)) is not None}
        ordered = sorted(found, key=_nonce_of)
        if len(ordered) > 1 and _nonce_of(ordered[-1]) <= _nonce_of(ordered[-2]) + NONCE_LIFE_MS:
            return " and ".join(ordered)
        return ordered[-1] if ordered else None

    def write(self, conflict_key: str, marker: str) -> None:
        for one in self._markers:
            one.write(conflict_key, marker)


class SharedJournal:
    """The journal of an idempotency key: tasks that do not know of each other write into it.

    While one API key of the account replaces another, it is kept with both, so that a task with either sees it. A
    writer takes a number, once, that is higher than all numbers it has read. The documents are in this order.

    :param journals: that of the connection's own key, then that of the previous one.
    :param sibling: the journal of another move.
    """

    by_tries = False

    def __init__(self, journals: Sequence[Journal], sibling: Callable[[str], Journal]) -> None:
        self._journals = journals
        self._order: int | None = None
        self.sibling = sibling
        self.identity = journals[0].identity

    @property
    def entry(self) -> str:
        return " and ".join(journal.entry for journal in self._journals if journal.entry)

    def read(self) -> list[dict[str, Any]]:
        return sorted((one for journal in self._journals for one in journal.read()), key=_order_of)

    def prepare(self) -> None:
        self._own_order()
        for journal in self._journals:
            journal.prepare()

    def write(self, document: dict[str, Any]) -> None:
        order = self._own_order()
        for journal in self._journals:
            journal.write({**document, "order": order})

    def _own_order(self) -> int:
        if self._order is None:
            self._order = 1 + max((_order_of(one)[0] for one in self.read()), default=0)
        return self._order


def _order_of(document: Mapping[str, Any]) -> tuple[int, str]:
    # The name of the run decides between two that have taken the same number.
    return int(document.get("order", 0)), str(document.get("run", ""))


def marker_of(intent_id: str, nonce: int) -> str:
    """The marker of an attempt.

    :param intent_id: of its intent.
    :param nonce: milliseconds.
    """
    return f"{intent_id}:{nonce}"


def done(marker: str) -> str:
    """The same marker after it is known what became of the attempt."""
    return f"{marker}{_DONE}"


def in_flight_since(marker: str | None, own: Collection[str]) -> int:
    """The nonce of a move that is not done; 0 if there is none.

    :param marker: of its conflict key.
    :param own: ids of the intents that do not count.
    """
    if marker is None or marker.endswith(_DONE) or marker.rpartition(":")[0] in own:
        return 0
    return _nonce_of(marker)


def _nonce_of(marker: str) -> int:
    nonce = marker.removesuffix(_DONE).rpartition(":")[2]
    return int(nonce) if nonce.isdecimal() else 0


class MemoryMarkers:
    """Markers for use outside a task: they live as long as the object."""

    def __init__(self) -> None:
        self._markers: dict[str, str] = {}

    def read(self, conflict_key: str) -> str | None:
        return self._markers.get(conflict_key)

    def write(self, conflict_key: str, marker: str) -> None:
        self._markers[conflict_key] = marker


class MemoryJournal:
    """A journal for use outside a task: it and its siblings live as long as the object.

    :param identity: names the move.
    :param siblings: that were made before, by their keys.
    """

    entry = ""
    by_tries = False

    def __init__(self, identity: str = "memory", siblings: dict[str, MemoryJournal] | None = None) -> None:
        self.identity = identity
        self._document: dict[str, Any] | None = None
        self._siblings: dict[str, MemoryJournal] = {} if siblings is None else siblings

    def read(self) -> list[dict[str, Any]]:
        return [] if self._document is None else [copy.deepcopy(self._document)]

    def prepare(self) -> None:
        pass

    def write(self, document: dict[str, Any]) -> None:
        self._document = copy.deepcopy(document)

    def sibling(self, key: str) -> MemoryJournal:
        return self._siblings.setdefault(key, MemoryJournal(f"{self.identity}.{key}", self._siblings))
