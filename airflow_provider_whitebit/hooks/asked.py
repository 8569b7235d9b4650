"""What the task that runs here has asked for so far: which journal belongs to which of its moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitValidationError
from airflow_provider_whitebit.client.shared import ThreadLock
from airflow_provider_whitebit.moves.batch import in_words
from airflow_provider_whitebit.moves.intent import Intent, State, merge
from airflow_provider_whitebit.moves.journal import Journal

#: What a move takes money from and puts it into; together they say which move is meant, apart from its amount.
TARGET = ("plan_id", "ticker", "investment_id", "source", "target")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a move was asked for as.

    :param connection: name of the connection.
    :param requested: the caller's parameters as plain JSON.
    :param whole: the larger move that it is a part of.
    """

    connection: str
    requested: Mapping[str, Any]
    whole: str = ""

    def is_like(self, other: Wanted) -> bool:
        """Whether both move the same asset the same way, whatever the amounts."""
        return (self.connection, self.whole) == (other.connection, other.whole) and all(
            self.requested.get(name) == other.requested.get(name) for name in TARGET
        )

    def is_same(self, other: Wanted) -> bool:
        """Whether both ask for the same, however their amounts are written."""
        return (self.connection, self.whole) == (other.connection, other.whole) and (
            _with_plain_amount(self.requested) == _with_plain_amount(other.requested)
        )

    def __str__(self) -> str:
        return f"{dict(self.requested)} with {self.connection!r}"


def _with_plain_amount(requested: Mapping[str, Any]) -> dict[str, Any]:
    amount = requested.get("amount")
    try:
        return {**requested, "amount": Decimal(str(amount)).normalize()}
    except ArithmeticError:
        return dict(requested)


@dataclass(slots=True)
class Call:
    """A move without a name.

    :param number: its place among those of its kind.
    :param wanted: what it was asked for as.
    :param failed: whether it ended with an error.
    :param again: whether it is asked for again after that.
    """

    number: int
    wanted: Wanted
    failed: bool = False
    again: bool = False


@dataclass(slots=True)
class Run:
    """One run of a task, in this process.

    :param calls: its moves without a name, by kind.
    :param rehearsals: its dry runs without a name, by kind: the first belongs to the first move.
    :param owners: what each journal is for.
    :param deferred: whether it was put off and has not gone on since.
    """

    calls: dict[str, list[Call]] = field(default_factory=dict)
    rehearsals: Counter[str] = field(default_factory=Counter)
    owners: dict[str, object] = field(default_factory=dict)
    deferred: bool = False

    def resume(self) -> None:
        """It was put off and begins from its beginning again: ``dag.test()`` goes on in the same process."""
        if self.deferred:
            self.calls.clear()
            self.rehearsals.clear()
            self.owners.clear()
            self.deferred = False

    def call(self, kind: str, wanted: Wanted, in_doubt: Callable[[int], bool]) -> Call:
        """The call that is meant: a new one, or one that failed before and is asked for again.

        A task that catches an error and asks again means the same move, and what becomes of it belongs into the same
        journal, where the task's next run meets it first. While nobody knows whether it ran, another amount is no
        other move.

        :param kind: of move.
        :param wanted: what is asked for.
        :param in_doubt: whether the move of a number may have run without anybody here knowing.
        """
        calls = self.calls.setdefault(kind, [])
        for call in list(calls):
            if not (call.failed and call.wanted.is_like(wanted)):
                continue
            if call.wanted.is_same(wanted) or in_doubt(call.number):
                with _ONE_BY_ONE:
                    # Another thread may have gone on with it meanwhile.
                    if call.failed:
                        call.failed, call.again = False, True
                        return call
        with _ONE_BY_ONE:
            call = Call(len(calls) + 1, wanted)
            calls.append(call)
        return call

    def asked_for(self, kind: str) -> int:
        """How many moves of a kind it has asked for.

        :param kind: of move.
        """
        return len(self.calls.get(kind, ()))

    def claim(self, journal: Journal, owner: object, name: str) -> None:
        """Take a journal for a move.

        :raises WhiteBitValidationError: it is another move's; the error says what that one may have moved.
        """
        before = self.owners.setdefault(journal.identity, owner)
        if before == owner or (isinstance(before, Wanted) and isinstance(owner, Wanted) and before.is_same(owner)):
            return
        error = WhiteBitValidationError(
            f"Two moves of this task have the name key={name!r}: {before}, and {owner}. Give each its own."
        )
        correct(error, begun_in([journal]))
        raise error


_RUNS: dict[str, Run] = {}
#: A task may ask from several threads.
_ONE_BY_ONE = ThreadLock()


def run_of(name: str) -> Run:
    """A run of a task in this process.

    :param name: names it.
    """
    return _RUNS.setdefault(name, Run())


def in_doubt(journal: Journal) -> bool:
    """Whether a journal's move may have run without anybody here knowing; also if that cannot be told."""
    begun = begun_in([journal])
    return begun is None or any(intent.in_doubt for intent in begun)


def begun_in(journals: list[Journal]) -> list[Intent] | None:
    """The intents that were carried out, or may have been; ``None``: not known."""
    intents = _intents(journals)
    if intents is None:
        return None
    return [intent for intent in intents if intent.in_doubt or intent.state is State.EXECUTED]


def refused_in(journal: Journal) -> WhiteBitError | None:
    """The last refusal of a journal's move, as it was first raised; ``None``: there is none."""
    refusals = [intent.refusal for intent in _intents([journal]) or () if intent.refusal is not None]
    return refusals[-1].error() if refusals else None


def _intents(journals: list[Journal]) -> list[Intent] | None:
    try:
        return [one for kept in journals for one in merge(map(Intent.from_json, kept.read())).values()]
    except (WhiteBitError, ValueError):
        return None


def correct(error: WhiteBitError, begun: list[Intent] | None) -> None:
    """Let an error that comes before a journal was asked say what the journal says of money.

    :param error: it is changed.
    :param begun: what earlier runs of the task have carried out, or may have; ``None``: not known.
    """
    if begun is None or any(intent.in_doubt for intent in begun):
        error.money_moved = None
    if made := [intent.receipt for intent in begun or () if intent.receipt is not None]:
        error.after(in_words(made))
