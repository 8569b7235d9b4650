"""The same driver without one of the protocol's safeguards: the simulation must notice each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitNonceError, WhiteBitUnavailableError
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.execution import ExecutionRequest
from airflow_provider_whitebit.moves.intent import Receipt
from airflow_provider_whitebit.moves.journal import MemoryMarkers
from tests.simulation.tasks import Driver


class _Proxy:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _ForgetsAttempts(_Proxy):
    """A journal that only keeps how a move ended, and shows its own run the rest."""

    def read(self) -> list[dict[str, Any]]:
        return [*self._inner.read(), *self.__dict__.get("_unkept", ())]

    def write(self, document: dict[str, Any]) -> None:
        if document["intents"] and document["intents"][-1]["state"] != "open":
            self._unkept = []
            self._inner.write(document)
        else:
            self._unkept = [document]


class _DoesNotWait(_Proxy):
    """A client that says the exchange's time is long past every nonce's life."""

    def server_time(self) -> Any:
        return self._inner.server_time().add(hours=1)


class _SeesNoBaseline(_Proxy):
    """A client whose records are empty right after a lock was taken."""

    def claim_nonce(self, nonce: int, *, call: Any) -> None:
        self._inner.claim_nonce(nonce, call=call)
        self._blind = True

    def flex_history(self, **filters: Any) -> Any:
        if self.__dict__.pop("_blind", False):
            return iter(())
        return self._inner.flex_history(**filters)


class _TakesNoLock(_Proxy):
    """A client that pretends to have used up nonces."""

    def claim_nonce(self, nonce: int, *, call: Any) -> None:
        pass


class _TrustsARefusedNonce(_Proxy):
    """A client that takes a refused nonce for proof that the move did not run."""

    def send_move(self, call: Any, *, nonce: int) -> Any:
        try:
            return self._inner.send_move(call, nonce=nonce)
        except WhiteBitNonceError as error:
            raise WhiteBitUnavailableError(error.message, money_moved=False) from None


class _ReadsOnce(_Proxy):
    """A journal that answers each reading with what it held at the first one, and what its run has written since."""

    def read(self) -> Any:
        if not hasattr(self, "_first"):
            self._first = self._inner.read()
        return [*self._first, *self.__dict__.get("_written", ())]

    def write(self, document: dict[str, Any]) -> None:
        self._written = [document]
        self._inner.write(document)


class _BelievesEveryYes(_Proxy):
    """A client that takes every answer with a status of success for one."""

    def send_move(self, call: Any, *, nonce: int) -> Any:
        try:
            return self._inner.send_move(call, nonce=nonce)
        except WhiteBitUnavailableError as error:
            if error.status in range(200, 300):
                return "believed"
            raise


class _BelievesEveryNo(_Proxy):
    """A client that takes every answer with a status of refusal for proof that the move did not run."""

    def send_move(self, call: Any, *, nonce: int) -> Any:
        try:
            return self._inner.send_move(call, nonce=nonce)
        except WhiteBitError as error:
            if error.status in range(400, 500):
                error.money_moved = False
            raise


def denying(execution: ExecutionRequest, **options: Any) -> Receipt | None:
    """A driver each of whose errors says that no money moved."""
    try:
        return execute_move(execution, **options)
    except WhiteBitError as error:
        error.money_moved = False
        raise


def _changed(change: Callable[[ExecutionRequest], ExecutionRequest]) -> Driver:
    """A driver that changes each execution first."""

    def driver(execution: ExecutionRequest, **options: Any) -> Receipt | None:
        return execute_move(change(execution), **options)

    return driver


def _with_client(proxy: Callable[[Any], Any]) -> Driver:
    return _changed(lambda one: replace(one, api_key=replace(one.api_key, client=proxy(one.api_key.client))))


def _with_journal(proxy: Callable[[Any], Any]) -> Driver:
    return _changed(lambda one: replace(one, journal=proxy(one.journal)))


def _with_first_markers(execution: ExecutionRequest) -> ExecutionRequest:
    markers: Any = execution.api_key.markers
    return replace(execution, api_key=replace(execution.api_key, markers=getattr(markers, "_markers", [markers])[0]))


def _asking_once(execution: ExecutionRequest) -> ExecutionRequest:
    """The execution, asking only at first whether people have stopped all moves."""
    left = [execution.check_stop]

    def check_stop() -> None:
        if left and (ask := left.pop()) is not None:
            ask()

    return replace(execution, check_stop=check_stop)


asking_once_for_a_stop = _changed(_asking_once)
trusting_a_refused_nonce = _with_client(_TrustsARefusedNonce)
believing_every_yes = _with_client(_BelievesEveryYes)
believing_every_no = _with_client(_BelievesEveryNo)
without_margin = _changed(lambda one: replace(one, api_key=replace(one.api_key, reconcile_margin_ms=0)))
without_wait = _with_client(_DoesNotWait)
without_baseline = _with_client(_SeesNoBaseline)
without_lock = _with_client(_TakesNoLock)
without_write_ahead = _with_journal(_ForgetsAttempts)
without_second_reading = _with_journal(_ReadsOnce)
without_markers = _changed(lambda one: replace(one, api_key=replace(one.api_key, markers=MemoryMarkers())))
locking_with_one_key = _changed(lambda one: replace(one, previous_key=None))
marking_with_one_key = _changed(_with_first_markers)
