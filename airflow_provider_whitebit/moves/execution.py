"""One value that carries everything an execution needs from the hook to the protocol."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.moves.intent import Intent, Move, Receipt
from airflow_provider_whitebit.moves.journal import Journal, MemorySpendingLog, MoveMarkers, SpendingLog
from airflow_provider_whitebit.moves.limits import Limits
from airflow_provider_whitebit.moves.resolution import MemoryResolutions, Resolutions

if TYPE_CHECKING:
    from airflow_provider_whitebit.client._moving import MovingClient


class Request(Protocol):
    """What is asked for: a :class:`~.requests.MoveRequest`, or a move that a plan has decided."""

    def resolve(self, account: Account) -> Move:
        """Decide the move. :raises WhiteBitError: it is not possible now."""

    def to_json(self) -> dict[str, Any]:
        """The parameters as plain JSON, equal for equal requests."""

    def means(self, move: Move | Receipt) -> bool:
        """Whether a move goes where this request asks for, whatever the amount."""


class Promise(Protocol):
    """What a planned move must keep, whatever else has moved since it was planned."""

    def check(self, account: Account, move: Move) -> None:
        """Compare the promise with what the account shows now.

        :raises WhiteBitPlanOutdatedError: the move would break it.
        :raises WhiteBitError: the exchange refuses or cannot be reached.
        """


@dataclass(frozen=True, slots=True)
class DecidedMove:
    """A move of a plan as a request: it means itself."""

    move: Move

    def resolve(self, account: Account) -> Move:
        return self.move

    def to_json(self) -> dict[str, Any]:
        return self.move.to_json()

    def means(self, move: Move | Receipt) -> bool:
        # Checked when the receipt is there, so that the receipt is not lost.
        return True


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One API key of the account.

    :param client: sends with this key.
    :param fingerprint: of the key; journals name it.
    :param connection: name of the Airflow connection that the task names.
    :param markers: of all tasks with this key.
    :param reconcile_margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :param spending: of all tasks with this key, for limits over time.
    """

    client: MovingClient
    fingerprint: str
    connection: str
    markers: MoveMarkers
    reconcile_margin_ms: int = 10_000
    spending: SpendingLog = field(default_factory=MemorySpendingLog)


@dataclass(frozen=True, slots=True)
class ExecutionRequest:
    """One run of a task that wants a move made.

    :param request: what is asked for.
    :param api_key: sends the move.
    :param journal: holds the move's history.
    :param limits: of the connection.
    :param account: what the request is resolved against.
    :param key: name of the move within the task.
    :param previous_key: the account's old API key, while it is being replaced by ``api_key``.
    :param plan_journal: of the plan that the move is part of.
    :param run: names this run of the task.
    :param generation: changes when a person clears the task, not when Airflow retries it.
    :param task: names the task instance in words; empty outside a task.
    :param send: ``False``: find out what earlier runs did, and send nothing.
    :param defer: raise :class:`~.drivers.ReconcileLater` instead of sleeping.
    :param resumed: the document of an intent that a trigger has reconciled. If the journal does not hold it, it proves
        nothing.
    :param sent: how often this run sent that intent before it was deferred.
    :param again: this run asks once more for what was refused.
    :param failed: keys of moves that failed earlier in this run, and why; for a plan, the key of its failure.
    :param begun_before: whether an earlier run may have written into the journal.
    :param promise: what the move must keep, checked while no other planned move of the asset can be made.
    :param check_stop: raises a :class:`WhiteBitError` if people have stopped all moves, or if that is not known.
    :param earlier: moves of the same plan that were sent and left no record.
    :param explained: receipts of the plan's moves.
    :param intent_id: id of the intent if this run is the first to write one.
    :param resolutions: what people have answered about moves in doubt.
    """

    request: Request
    api_key: ApiKey
    journal: Journal
    limits: Limits
    account: Account
    key: str = ""
    previous_key: ApiKey | None = None
    plan_journal: Journal | None = None
    run: str = ""
    generation: str = ""
    task: str = ""
    send: bool = True
    defer: bool = False
    resumed: Mapping[str, Any] | None = None
    sent: int = 0
    again: bool = False
    failed: Mapping[str, WhiteBitError] = field(default_factory=dict)
    begun_before: bool = True
    promise: Promise | None = None
    check_stop: Callable[[], None] | None = None
    earlier: Sequence[Intent] = ()
    explained: tuple[Receipt, ...] = ()
    intent_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    resolutions: Resolutions = field(default_factory=MemoryResolutions)

    def lock_names(self, move: Move) -> list[str]:
        """The names of the locks that a move needs.

        Moves that keep a promise exclude each other on their asset, and so do moves that a limit over time concerns.
        """
        promise = [] if self.promise is None else [f"promise|{move.ticker}"]
        return [move.conflict_key, *promise, *self.limits.lock_names(move.ticker)]


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient the protocol is.

    :param tries: how often one run of the task sends a move.
    :param lock_patience_ms: how long it waits for the nonce lock, which other moves may hold for 8 s each.
    :param first_pause_ms: pause before a refused move is sent again; doubled each time.
    """

    tries: int = 4
    lock_patience_ms: int = 600_000
    first_pause_ms: int = 1_000
