"""The same driver with one of the protocol's safeguards taken out: the simulation must notice each."""

from __future__ import annotations

from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitNonceError, WhiteBitUnavailableError
from airflow_provider_whitebit.moves.drivers import execute_move


class _Proxy:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _ForgetsWhatIsOnItsWay(_Proxy):
    """A journal that only keeps how it ended."""

    def write(self, document: dict[str, Any]) -> None:
        if document["state"] != "open":
            self._inner.write(document)


class _DoesNotWait(_Proxy):
    """A client that says the exchange's time is long past every nonce's life."""

    def server_time(self) -> Any:
        return self._inner.server_time().add(hours=1)


class _SeesNoBaseline(_Proxy):
    """A client whose records are empty right after a turn was taken."""

    def take_nonce(self, nonce: int, *, call: Any) -> None:
        self._inner.take_nonce(nonce, call=call)
        self._blind = True

    def flex_history(self, **filters: Any) -> Any:
        if self.__dict__.pop("_blind", False):
            return iter(())
        return self._inner.flex_history(**filters)


class _TakesNoTurn(_Proxy):
    """A client that pretends to have used up nonces."""

    def take_nonce(self, nonce: int, *, call: Any) -> None:
        pass


class _TrustsARefusedNonce(_Proxy):
    """A client that takes a refused nonce for proof that the move did not run."""

    def send_move(self, call: Any, *, nonce: int) -> Any:
        try:
            return self._inner.send_move(call, nonce=nonce)
        except WhiteBitNonceError as error:
            raise WhiteBitUnavailableError(error.message, money_moved=False) from None


def trusting_a_refused_nonce(client: Any, journal: Any, **options: Any) -> Any:
    return execute_move(_TrustsARefusedNonce(client), journal, **options)


class _AlwaysItsOwn:
    """Marks that nobody else ever seems to leave."""

    def __init__(self) -> None:
        self._mark: str | None = None

    def read(self, name: str) -> str | None:
        return self._mark

    def write(self, name: str, mark: str) -> None:
        self._mark = mark


def without_marks(client: Any, journal: Any, **options: Any) -> Any:
    return execute_move(client, journal, **{**options, "marks": _AlwaysItsOwn()})


def without_write_ahead(client: Any, journal: Any, **options: Any) -> Any:
    return execute_move(client, _ForgetsWhatIsOnItsWay(journal), **options)


def without_wait(client: Any, journal: Any, **options: Any) -> Any:
    return execute_move(_DoesNotWait(client), journal, **options)


def without_baseline(client: Any, journal: Any, **options: Any) -> Any:
    return execute_move(_SeesNoBaseline(client), journal, **options)


def without_turn(client: Any, journal: Any, **options: Any) -> Any:
    return execute_move(_TakesNoTurn(client), journal, **options)


def turning_with_one_key(client: Any, journal: Any, **options: Any) -> Any:
    return execute_move(client, journal, **{**options, "former": None})


def marking_with_one_key(client: Any, journal: Any, **options: Any) -> Any:
    marks = options["marks"]
    return execute_move(client, journal, **{**options, "marks": getattr(marks, "_marks", [marks])[0]})


def blind_to_later_tries(client: Any, journal: Any, **options: Any) -> Any:
    """A journal that reads of as many tries as there could be when its own began."""
    if not journal.fenced:
        journal._reached = lambda: 1
    return execute_move(client, journal, **options)
