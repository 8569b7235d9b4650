"""Where simulated tasks keep their journals and transfer markers, with failures as Airflow has them."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitJournalError
from airflow_provider_whitebit.hooks.doubts import DOUBT, RESOLUTION, VariableResolutions
from airflow_provider_whitebit.hooks.journals import TaskJournals
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.journal import Journal
from airflow_provider_whitebit.moves.resolution import Resolutions
from tests.simulation.wire import Venue
from tests.simulation.world import Process
from tests.texts import OneByOne


class Store:
    """Keeps journals as Airflow's Variables do."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.documents: dict[str, str] = {}
        self.markers: dict[str, str] = {}

    def journal(self, process: Process, key: str) -> Journal:
        """The journal of one of a task's moves, as one try sees it: the package's own, in a simulated store."""
        task = (process.task.name, "", "", "")
        texts = SimulatedTexts(self, process)
        return TaskJournals(task, try_number=process.number, variables=texts).journal(key)

    def resolutions(self, process: Process) -> Resolutions:
        """What people have answered, as one try sees it."""
        return VariableResolutions((process.task.name, "", "", "-1"), "", SimulatedTexts(self, process))

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

    def read(self, process: Process, name: str, what: str) -> str | None:
        """Read a document."""
        process.step(f"before reading the {what}", self.venue.latency())
        if self.venue.random.random() < self.venue.faults.journal / 2:
            process.world.note(f"{process.name}: {what} cannot be read")
            raise WhiteBitJournalError("simulated")
        found = self.documents.get(name)
        process.step(f"after reading the {what}", self.venue.latency())
        return found

    def write(self, process: Process, name: str, text: str) -> None:
        """Write a document."""
        process.step("before writing the journal", self.venue.latency())
        chance = self.venue.random.random()
        if chance < self.venue.faults.journal / 2:
            process.world.note(f"{process.name}: journal write fails")
            raise WhiteBitJournalError("simulated")
        self._keep(process, name, text)
        if chance < self.venue.faults.journal:
            process.world.note(f"{process.name}: journal write succeeds, its answer is lost")
            raise WhiteBitJournalError("simulated: no answer")
        process.step("after writing the journal", self.venue.latency())

    def _keep(self, process: Process, name: str, text: str) -> None:
        if self.venue.faults.forgets and self.venue.random.random() < self.venue.faults.forgets:
            process.world.note(lambda: f"{process.name}: FORGOTTEN is that {_in_words(name, text)}")
            # The package reads a Variable back.
            raise WhiteBitJournalError("simulated: the Variable was not kept")
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


class SimulatedTexts(OneByOne):
    """One try's view of Airflow's Variables."""

    def __init__(self, store: Store, process: Process) -> None:
        self._store = store
        self._process = process

    def read(self, name: str) -> str | None:
        return self._store.read(self._process, self._full(name), "journal")

    def keep(self, name: str, text: str, description: str) -> None:
        self._store.write(self._process, self._full(name), text)

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
