"""Drivers without one of the protocol's safeguards, and the world that must notice each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_whitebit.hooks.journals import Tries
from airflow_provider_whitebit.moves.journal import LogReading, Page
from tests.exploration.processes import Driver
from tests.exploration.world import World
from tests.exploration.worlds import world
from tests.simulation import sabotage
from tests.simulation.sabotage import _changed, _Proxy, _with_client, _with_journal


class _ForgetsAttempts(_Proxy):
    """A journal that only keeps how a move ended, and shows the rest to its own process."""

    _own: Sequence[Any] = ()

    def read(self) -> Any:
        return [*self._inner.read(), *self._own]

    def write(self, document: dict[str, Any]) -> None:
        self._own = [document]
        if all(intent["state"] != "open" for intent in document["intents"]):
            self._inner.write(document)


class _KnowsNoLaterTry(Tries):
    """The tries of a task up to its own one."""

    def known(self, exists: Callable[[str], bool]) -> Sequence[int]:
        return range(1, self._own + 1)


class _ReadsOnce(_Proxy):
    """A journal that shows what it held at first, and its own process's document."""

    _own: Sequence[Any] = ()

    def read(self) -> Any:
        if not hasattr(self, "_known"):
            self._known = self._inner.read()
        return [*self._known, *self._own]

    def write(self, document: dict[str, Any]) -> None:
        self._inner.write(document)
        self._own = [document]


class _ReadsNothingAfterwards(_ReadsOnce):
    """A journal that shows nothing new right after an attempt was written."""

    def read(self) -> Any:
        if self.__dict__.pop("_written", False):
            return [*self._known, *self._own]
        self._known = self._inner.read()
        return self._known

    def write(self, document: dict[str, Any]) -> None:
        super().write(document)
        self._written = bool(document["intents"])


class _SeesNoBaseline(_Proxy):
    """A client that shows no records right after a claim."""

    def claim_nonce(self, nonce: int, *, call: Any) -> None:
        self._inner.claim_nonce(nonce, call=call)
        self._blind = True

    def flex_history(self, **filters: Any) -> Any:
        found = self._inner.flex_history(**filters)
        return [] if self.__dict__.pop("_blind", False) else found


class _ReadsAnswersOnce(_Proxy):
    """Answers as they were when they were first read."""

    def read(self, intent_id: str) -> Any:
        known = self.__dict__.setdefault("_known", {})
        return known[intent_id] if intent_id in known else known.setdefault(intent_id, self._inner.read(intent_id))


class _LogsNothing(_Proxy):
    """A spending log that forgets."""

    def write(self, name: str, document: dict[str, Any], pages: tuple[Page, ...]) -> None:
        pass


class _AddsNoPages(_Proxy):
    """A spending log whose owners all write into the same pages."""

    def read(self, name: str) -> LogReading:
        return replace(self._inner.read(name), pages=(Page(),))


def _with_spending(proxy: Callable[[Any], Any]) -> Driver:
    return _changed(lambda one: replace(one, api_key=replace(one.api_key, spending=proxy(one.api_key.spending))))


#: Each missing safeguard: a world that notices it, and a driver without it.
FLAWS: dict[str, tuple[str, Driver]] = {
    "the attempt is not written before it is sent": ("one death", _with_journal(_ForgetsAttempts)),
    "the end of the nonce's life is not awaited": ("lost answer", sabotage.without_wait),
    "the reconcile margin is 0": (
        "lost answer",
        _changed(lambda one: replace(one, api_key=replace(one.api_key, reconcile_margin_ms=0))),
    ),
    "a refused nonce is taken for proof": ("lost answer", sabotage.trusting_a_refused_nonce),
    "the claim of a nonce is ignored": ("equal tasks", sabotage.without_lock),
    "the baseline is not read": ("equal move of another program", _with_client(_SeesNoBaseline)),
    "the journal is read once": ("stalled try", _with_journal(_ReadsOnce)),
    "the journal is not read after the attempt is written": ("stalled try", _with_journal(_ReadsNothingAfterwards)),
    "later tries are not read": (
        "stalled try of a cleared task",
        _with_journal(lambda journal: replace(journal, writers=_KnowsNoLaterTry(journal.writer, in_teams=False))),
    ),
    "answers are read once": (
        "answered before a very late record",
        _changed(lambda one: replace(one, resolutions=_ReadsAnswersOnce(one.resolutions))),
    ),
    "a stop is read once": ("people stop all moves", sabotage.asking_once_for_a_stop),
    "what is sent is not logged": ("limit of two tasks", _with_spending(_LogsNothing)),
    "owners of the spending log add no pages": ("limit of two tasks", _with_spending(_AddsNoPages)),
    "transfer markers are not shared": ("equal transfers", sabotage.without_markers),
}


def flawed(flaw: str) -> World:
    """The world that must notice a missing safeguard. A doubt is not enough: something untrue must happen.

    :param flaw: one of :data:`FLAWS`.
    """
    name, driver = FLAWS[flaw]
    return world(name, driver=driver, doubts=True)
