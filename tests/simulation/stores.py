"""Where simulated tasks keep their journals and transfer markers, with failures as Airflow has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitJournalError
from airflow_provider_whitebit.hooks.doubts import DOUBT, RESOLUTION, VariableResolutions
from airflow_provider_whitebit.hooks.journals import TaskJournals
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.journal import Journal
from airflow_provider_whitebit.moves.resolution import Resolutions
from tests.simulation.wire import Venue
from tests.simulation.world import Process

#: What keeps journals. ``task_state``: Airflow 3.3, as it promises. ``gap``: time passes between its check of the try
#: and the write. ``backend``: a state store backend of the worker, written before the API server can refuse.
#: ``variables``: before 3.3.
STORES = ("task_state", "gap", "backend", "variables")


class Store:
    """Keeps journals as Airflow does.

    :param kind: one of :data:`STORES`.
    """

    def __init__(self, venue: Venue, kind: str) -> None:
        self.venue = venue
        self.kind = kind
        self.documents: dict[str, str] = {}
        self.markers: dict[str, str] = {}

    def journal(self, process: Process, key: str) -> Journal:
        """The journal of one of a task's moves, as one try sees it: the package's own, in a simulated store."""
        state = None if self.kind == "variables" else SimulatedTexts(self, process, state=True)
        return TaskJournals(
            (process.task.name, "", "", ""),
            try_number=process.number,
            state=state,
            # What was written before Airflow was upgraded to 3.3 is tested elsewhere.
            begun_before=False,
            variables=SimulatedTexts(self, process, state=False),
        ).journal(key)

    def resolutions(self, process: Process) -> Resolutions:
        """What people have answered, as one try sees it."""
        return VariableResolutions((process.task.name, "", "", "-1"), "", SimulatedTexts(self, process, state=False))

    def of(self, task: str) -> dict[str, str]:
        """The documents of a task."""
        return {name: text for name, text in self.documents.items() if name.startswith(f"{task}|")}

    def histories(self, task: str, *, shares_key: bool) -> list[MoveHistory]:
        """What the journals of a task say, as a person reads them: one for each of its moves.

        :param shares_key: whether its moves have an idempotency key.
        """
        journals: dict[str, dict[int, dict[str, Any]]] = {}
        for name, text in self.documents.items() if shares_key else self.of(task).items():
            journal, _, writer = name.rpartition("__")
            if writer.isdecimal() and "intents" in (document := json.loads(text)):
                journals.setdefault(journal, {})[int(writer)] = document
        return [MoveHistory.merge(tries[number] for number in sorted(tries)) for tries in journals.values()]

    def end_of_run(self, task: str) -> None:
        """Delete what Airflow deletes with a dag run: its tasks' state, but no Variables."""
        for name in self.of(task) if self.kind != "variables" else ():
            del self.documents[name]

    def read(self, process: Process, name: str, what: str) -> str | None:
        """Read a document."""
        process.step(f"before reading the {what}", self.venue.latency())
        if self.venue.random.random() < self.venue.faults.journal / 2:
            process.world.note(f"{process.name}: {what} cannot be read")
            raise WhiteBitJournalError("simulated")
        found = self.documents.get(name)
        process.step(f"after reading the {what}", self.venue.latency())
        return found

    def write(self, process: Process, name: str, text: str, refused: Callable[[], bool]) -> None:
        """Write a document, unless the store refuses it."""
        process.step("before writing the journal", self.venue.latency())
        chance = self.venue.random.random()
        if chance < self.venue.faults.journal / 2:
            process.world.note(f"{process.name}: journal write fails")
            raise WhiteBitJournalError("simulated")
        if self.kind == "backend":
            self._keep(process, name, text)
            process.step("within writing the journal", self.venue.latency())
        if refused():
            process.world.note(f"{process.name}: journal write refused, the try was replaced")
            raise WhiteBitJournalError("simulated: this try was replaced")
        if self.kind == "gap":
            process.step("within writing the journal", self.venue.latency())
        if self.kind != "backend":
            self._keep(process, name, text)
        if chance < self.venue.faults.journal:
            process.world.note(f"{process.name}: journal write succeeds, its answer is lost")
            raise WhiteBitJournalError("simulated: no answer")
        process.step("after writing the journal", self.venue.latency())

    def _keep(self, process: Process, name: str, text: str) -> None:
        if self.venue.faults.forgets and self.venue.random.random() < self.venue.faults.forgets:
            process.world.note(lambda: f"{process.name}: FORGOTTEN is that {_in_words(name, text)}")
            if not name.startswith(f"{process.task.name}|whitebit_move."):
                # The package reads a Variable back.
                raise WhiteBitJournalError("simulated: the Variable was not kept")
            return
        self.documents[name] = text
        process.world.note(lambda: f"{process.name}: {_in_words(name, text)}")


#: Variables that belong to no task.
_SHARED = ("whitebit_key__", DOUBT, RESOLUTION)


class SimulatedMarkers:
    """One try's view of the transfer markers, which all tasks with an API key share."""

    def __init__(self, store: Store, process: Process, fingerprint: str = "account") -> None:
        self._store = store
        self._process = process
        self._fingerprint = fingerprint

    def read(self, conflict_key: str) -> str | None:
        process, venue = self._process, self._store.venue
        process.step("before reading a marker", venue.latency())
        if venue.random.random() < venue.faults.journal / 2:
            raise WhiteBitJournalError("simulated: no marker")
        marker = self._store.markers.get(f"{self._fingerprint}|{conflict_key}")
        process.step("after reading a marker", venue.latency())
        return marker

    def write(self, conflict_key: str, marker: str) -> None:
        process, venue = self._process, self._store.venue
        process.step("before writing a marker", venue.latency())
        chance = venue.random.random()
        if chance < venue.faults.journal / 2:
            raise WhiteBitJournalError("simulated: marker not written")
        self._store.markers[f"{self._fingerprint}|{conflict_key}"] = marker
        if chance < venue.faults.journal:
            raise WhiteBitJournalError("simulated: marker written, its answer is lost")
        process.step("after writing a marker", venue.latency())


class SimulatedVariables:
    """One try's view of Variables that all tasks share: those of the spending logs."""

    def __init__(self, store: Store, process: Process) -> None:
        self._store = store
        self._process = process
        self._texts = SimulatedMarkers(store, process, "variable")

    def read(self, name: str) -> str | None:
        return self._texts.read(name)

    def keep(self, name: str, text: str, description: str) -> None:
        self._texts.write(name, text)

    def delete(self, name: str) -> None:
        venue = self._store.venue
        self._process.step("before deleting a Variable", venue.latency())
        if venue.random.random() >= venue.faults.journal:
            self._store.markers.pop(f"variable|{name}", None)


class SimulatedTexts:
    """One try's view of Airflow's Variables, or of its task's state, where a replaced try reads nothing."""

    def __init__(self, store: Store, process: Process, *, state: bool) -> None:
        self._store = store
        self._process = process
        self._state = state

    def _replaced(self) -> bool:
        return self._state and self._process.task.current is not self._process

    def read(self, name: str) -> str | None:
        text = self._store.read(self._process, self._full(name), "journal")
        return None if self._replaced() else text

    def keep(self, name: str, text: str, description: str) -> None:
        self._store.write(self._process, self._full(name), text, self._replaced)

    def _full(self, name: str) -> str:
        # All tasks share the journal of an idempotency key.
        return name if name.startswith(_SHARED) else f"{self._process.task.name}|{name}"


def _in_words(name: str, text: str) -> str:
    document = json.loads(text) if text.startswith("{") else {}
    if not {"highest", "intents"} & {*document}:
        return f"{name} is {text}"
    if "highest" in document:
        return f"{name} has {document['highest']} numbers, {'done' if document['done'] is not None else 'not done'}"
    intents = [f"{one['id']} {one['state']} attempts {len(one['attempts'])}" for one in document["intents"]]
    superseded = f", superseded by {document['superseded_by']}" if document["superseded_by"] else ""
    return f"{name} has {', '.join(intents) or 'no intent'}{superseded}"
