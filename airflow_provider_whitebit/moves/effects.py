"""What the protocol asks its driver to do. The result of each is named in its docstring.

A driver performs one effect at a time and sends its result back. A :class:`WhiteBitError` is thrown in instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_whitebit.client.calls import MoveCall, ProbeCall
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Intent, Move
from airflow_provider_whitebit.moves.journal import Page


@dataclass(frozen=True, slots=True)
class ReadJournal:
    """Every document of the move's journal, or of another move of the task (``list[dict]``)."""

    key: str = ""


@dataclass(frozen=True, slots=True)
class PrepareJournal:
    """Nothing; what has to be durable before this writer's first document is durable, so that it is written fast."""


@dataclass(frozen=True, slots=True)
class WriteJournal:
    """Nothing; the history is durable afterwards, in the move's journal or in that of another move of the task."""

    history: MoveHistory
    key: str = ""


@dataclass(frozen=True, slots=True)
class Resolve:
    """The :class:`Move` that the request means now."""


@dataclass(frozen=True, slots=True)
class CheckPromise:
    """Nothing; raises if the account no longer allows the planned move."""

    move: Move


@dataclass(frozen=True, slots=True)
class CheckStop:
    """Nothing; raises if people have stopped all moves, or if it cannot be found out whether they have."""


@dataclass(frozen=True, slots=True)
class AnnounceRun:
    """Nothing; the journal of this plan names this run of the task, and earlier ones stop at their next attempt."""

    plan: str


@dataclass(frozen=True, slots=True)
class ConfirmRun:
    """Nothing; raises a journal error if a later run of the task has taken over its plan, or another plan."""

    plan: str = ""


@dataclass(frozen=True, slots=True)
class ReadClock:
    """A :class:`ClockReading`, without asking the exchange."""


@dataclass(frozen=True, slots=True)
class AskTime:
    """The exchange's Unix seconds (``int``), asked now."""


@dataclass(frozen=True, slots=True)
class ClaimNonce:
    """Nothing; the nonce is used up by a harmless call."""

    nonce: int
    call: ProbeCall


@dataclass(frozen=True, slots=True)
class ReadRecords:
    """The records in which this move would appear, from these Unix seconds on: of the Flex history
    (``list[FlexTransaction]``), the Fixed investments (``list[FixedInvestment]``) or the sub-account's transfers
    (``list[SubAccountTransaction]``)."""

    move: Move
    since: int


@dataclass(frozen=True, slots=True)
class ReadBalances:
    """What both sides of this transfer hold now (:class:`~.intent.Balances`)."""

    move: Move


@dataclass(frozen=True, slots=True)
class ReadMarker:
    """The latest transfer marker of this conflict key (``str | None``)."""

    conflict_key: str


@dataclass(frozen=True, slots=True)
class WriteMarker:
    """Nothing; the marker of an attempt that is about to be sent is durable afterwards."""

    conflict_key: str
    marker: str


@dataclass(frozen=True, slots=True)
class ReadResolution:
    """What a person has answered about this intent (:class:`~.resolution.Resolution` or ``None``)."""

    intent_id: str


@dataclass(frozen=True, slots=True)
class ReadSpending:
    """What the spending log of this lock holds (:class:`~.journal.LogReading`)."""

    name: str


@dataclass(frozen=True, slots=True)
class WriteSpending:
    """Nothing; this page of the spending log of this lock is durable afterwards."""

    name: str
    history: MoveHistory
    pages: tuple[Page, ...]


@dataclass(frozen=True, slots=True)
class FinishSpending:
    """Nothing; this page of the spending log of this lock is found at once afterwards."""

    name: str
    pages: tuple[Page, ...]


@dataclass(frozen=True, slots=True)
class ReadMoves:
    """What the exchange shows of all moves of the account from these Unix seconds on
    (:class:`~.counting.AccountRecords`)."""

    since: int


@dataclass(frozen=True, slots=True)
class ReadInvested:
    """How much is invested now in the plan of this move (``Decimal | None``)."""

    move: Move


@dataclass(frozen=True, slots=True)
class Send:
    """The identifier in the answer to this call (``str | None``), which is sent once."""

    call: MoveCall
    nonce: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing, after this many milliseconds."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Nothing, once the exchange's clock shows this time. Only this wait may leave the worker."""

    until_ms: int
    left_ms: int
    intent: Intent


Effect = (
    ReadJournal
    | PrepareJournal
    | WriteJournal
    | Resolve
    | CheckPromise
    | CheckStop
    | AnnounceRun
    | ConfirmRun
    | ReadClock
    | AskTime
    | ClaimNonce
    | ReadRecords
    | ReadBalances
    | ReadMarker
    | WriteMarker
    | ReadResolution
    | ReadSpending
    | WriteSpending
    | FinishSpending
    | ReadMoves
    | ReadInvested
    | Send
    | Pause
    | WaitUntil
)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The exchange's clock as known here: the best estimate, and the last whole second that the exchange sent."""

    estimate_ms: int
    last_seconds: int
