"""How a move is made once, without I/O: it yields what it wants done and is told the outcome.

Drivers perform the effects: in a worker, in a trigger, in a simulation. An effect that fails is thrown in at its
``yield``. The promise and what it rests on: ``docs/once.md``.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pendulum

from airflow_provider_whitebit.client.api import IdleCall, MoveCall
from airflow_provider_whitebit.client.errors import (
    WhiteBitError,
    WhiteBitInDoubt,
    WhiteBitNonceError,
    WhiteBitRateLimitError,
    WhiteBitUnavailableError,
    WhiteBitValidationError,
)
from airflow_provider_whitebit.moves.evidence import (
    NONCE_LIFE_MS,
    Trace,
    Verdict,
    begins_at,
    ends_at_ms,
    judge,
    judge_transfer,
    traces_of,
)
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation, Receipt, State, merge
from airflow_provider_whitebit.moves.journal import JournalError, mark_of

log = logging.getLogger(__name__)

#: A turn takes the nonces of a grid this fine, this far to both sides of the exchange's time, in milliseconds. Divided
#: by 4 they leave 1, those of moves 3, and those of reading calls are even (``ExchangeClock``): the three are never in
#: each other's way.
TURN_GRID_MS = 2_800
TURN_REACH_MS = 4_200
#: So two turns for moves that look alike lie at least this far apart (proof in docs/once.md).
TURN_APART_MS = 2 * TURN_REACH_MS - TURN_GRID_MS
#: A move's nonce is so much older than its turn: it is dead before the next turn can begin.
NONCE_AGE_MS = 1_000
#: Pauses after a failed writing of how a move ended; after the last one it is left as it is.
_KEEPING_PAUSES_MS = (500, 2_000, 1)


class WhiteBitAlreadyMovedError(WhiteBitValidationError):
    """The task has moved its money before, with other parameters than it has now."""

    advice = (
        "Nothing was sent this time. A new dag run is the way to move again; to keep the old result, restore the "
        "parameters or mark the task as success."
    )


@dataclass(frozen=True, slots=True)
class ReadJournal:
    """Wanted: every document of the journal (``list[dict]``)."""


@dataclass(frozen=True, slots=True)
class WriteJournal:
    """Wanted: this intent, durable."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class Resolve:
    """Wanted: the :class:`Move` that the caller's parameters come to now."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Wanted: an objection to this move by the account's own limits, now, as an error; nothing otherwise."""

    move: Move


@dataclass(frozen=True, slots=True)
class ReadClock:
    """Wanted: a :class:`ClockReading`, without asking the exchange."""


@dataclass(frozen=True, slots=True)
class AskTime:
    """Wanted: the exchange's Unix seconds (``int``), asked now."""


@dataclass(frozen=True, slots=True)
class NewNonce:
    """Wanted: a nonce (``int``) that no move was sent with, not after these milliseconds, made here."""

    latest: int


@dataclass(frozen=True, slots=True)
class TakeNonce:
    """Wanted: one nonce used up by a harmless call."""

    nonce: int
    call: IdleCall


@dataclass(frozen=True, slots=True)
class ReadRecords:
    """Wanted: the records in which this move would appear, from these Unix seconds on: of the Flex history
    (``list[FlexTransaction]``) or the Fixed investments (``list[FixedInvestment]``)."""

    move: Move
    since: int


@dataclass(frozen=True, slots=True)
class ReadBalances:
    """Wanted: what both sides of this transfer hold now (:class:`~.intent.Balances`)."""

    move: Move


@dataclass(frozen=True, slots=True)
class ReadMark:
    """Wanted: the latest mark of this name (``str | None``)."""

    name: str


@dataclass(frozen=True, slots=True)
class WriteMark:
    """Wanted: this mark, of an attempt that is about to be sent, durable."""

    name: str
    mark: str


@dataclass(frozen=True, slots=True)
class Send:
    """Wanted: this call, sent once; the identifier that it is answered with (``str | None``)."""

    call: MoveCall
    nonce: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Wanted: so many milliseconds of waiting."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Wanted: to be resumed when the exchange's clock shows this time. The one wait that may leave the worker."""

    until_ms: int
    left_ms: int
    intent: Intent


Effect = (
    ReadJournal
    | WriteJournal
    | Resolve
    | Permit
    | ReadClock
    | NewNonce
    | AskTime
    | TakeNonce
    | ReadRecords
    | ReadBalances
    | ReadMark
    | WriteMark
    | Send
    | Pause
    | WaitUntil
)
Protocol = Generator[Effect, Any, Receipt]


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The exchange's clock as known here: the best estimate, and the last whole second that it sent itself."""

    estimate_ms: int
    last_seconds: int


@dataclass(frozen=True, slots=True)
class Errand:
    """One run of a task that wants a move made.

    :param intent_id: id of the intent if this run is the first to write one.
    :param account: fingerprint of host and API key.
    :param requested: the caller's own parameters as plain JSON.
    :param generation: changes when a person clears the task, not when Airflow retries it.
    :param journal: name of the journal.
    :param fenced: whether the journal refuses writes of a try that Airflow has replaced.
    :param settled: the document of an intent whose doubt was settled elsewhere meanwhile. If the journal does not hold
        it, it is no proof of anything.
    :param sent: sendings of that intent that this run of the task made before it was put off.
    :param connection: name of the connection that the move is wanted with.
    :param again: whether this run asks once more for what it has been refused.
    """

    intent_id: str
    account: str
    requested: Mapping[str, Any]
    generation: str = ""
    journal: str = ""
    fenced: bool = True
    settled: Mapping[str, Any] | None = None
    sent: int = 0
    connection: str = ""
    again: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient the protocol is.

    :param settle_margin_ms: how late the exchange may record what it accepted.
    :param tries: sendings in one run of the task.
    :param turn_patience_ms: how long a turn is waited for.
    :param first_pause_ms: pause before a refused sending is repeated; doubled each time.
    """

    settle_margin_ms: int = 10_000
    tries: int = 4
    turn_patience_ms: int = 300_000
    first_pause_ms: int = 1_000


@dataclass(frozen=True, slots=True)
class Turn:
    """The exclusive right to send one move of its likeness: when it was had, and the nonce to send with."""

    taken_ms: int
    seconds: int
    nonce: int


def execute(errand: Errand, rules: Rules | None = None) -> Protocol:
    """Make the move of this errand, once, whatever earlier runs of it have left behind.

    :raises WhiteBitInDoubt: the records cannot tell whether the move ran; nothing more is sent.
    :raises WhiteBitAlreadyMovedError: it ran before, with other parameters.
    :raises WhiteBitError: the exchange refused it, cannot be reached, or the journal cannot.
    :returns: the receipt.
    """
    rules = rules or Rules()
    intents = _read(errand, (yield ReadJournal()))
    tries_left = rules.tries
    if errand.settled is not None and str(errand.settled.get("id")) in intents:
        # Of several moves of a task one was put off: the others have all their tries.
        tries_left -= errand.sent
        intents = yield from _with_settled(errand, intents, errand.settled)
    intents = _of_this_account(errand, intents)
    pause = rules.first_pause_ms
    last_error: WhiteBitError | None = None
    while True:
        intent = yield from _catch_up(errand, rules, intents)
        if intent is not None and intent.state is not State.OPEN:
            return _conclude(errand, intent)
        if tries_left <= 0:
            raise WhiteBitUnavailableError(
                f"The move was sent {rules.tries} times and the exchange carried out none of them"
                f"{f' (the last time: {last_error.message})' if last_error else ''}.",
                money_moved=False,
            )
        tries_left -= 1
        move = intent.move if intent is not None else (yield Resolve())
        yield Permit(move)
        turn = yield from _take_turn(errand, rules, move)
        if not errand.fenced:
            # A first try that Airflow took for dead may wake up here while the second has moved the money already.
            written = _of_this_account(errand, _read(errand, (yield ReadJournal())))
            if _tells_more(written, intents):
                intents = written
                continue
        last_error, intent = yield from _send(errand, rules, intent, move, turn)
        intents[intent.id] = intent
        if intent.state is State.EXECUTED:
            yield from _keep(intent)
            return _conclude(errand, intent)
        log.info("Move %s: %s", intent.id, last_error)
        if not intent.in_doubt:
            if tries_left <= 0 and last_error is not None:
                yield from _keep(intent)
                raise last_error
            yield Pause(pause)
            pause *= 2


def settle(intent: Intent, margin_ms: int) -> Generator[Effect, Any, Intent]:
    """Wait until none of the attempts can be accepted any more, then ask the records what came of them.

    :raises WhiteBitInDoubt: the records cannot tell.
    :raises WhiteBitError: the exchange cannot be asked.
    :returns: the intent, executed or with nothing left in doubt. Keeping it is the caller's.
    """
    log.warning("Move %s is in doubt (%s): asking the exchange's records", intent.id, _in_words(intent))
    until_ms = ends_at_ms(intent) + margin_ms
    try:
        while (now_ms := (yield AskTime()) * 1000) <= until_ms:
            yield WaitUntil(until_ms, until_ms - now_ms, intent)
        verdict = yield from _verdict(intent, margin_ms)
    except WhiteBitError as error:
        error.money_moved = None
        raise
    if verdict.unclear:
        raise _doubt(intent, verdict)
    if verdict.found is None:
        log.info("Move %s never ran: nothing fits it in the exchange's records", intent.id)
        return intent.found_absent()
    return _reconciled(intent, verdict.found)


def _verdict(intent: Intent, margin_ms: int) -> Generator[Effect, Any, Verdict]:
    """What the exchange shows of the intent's attempts now."""
    if intent.move.operation is Operation.TRANSFER:
        after = yield ReadBalances(intent.move)
        # Asked last: whoever sends after this has not moved the balances before they were read.
        latest = yield ReadMark(intent.move.likeness)
        return judge_transfer(intent, after, undisturbed=latest == mark_of(intent.id, intent.attempts[-1].nonce))
    records = yield ReadRecords(intent.move, begins_at(intent, margin_ms))
    return judge(intent, traces_of(intent.move, records), margin_ms=margin_ms)


def _read(errand: Errand, documents: Iterable[Mapping[str, Any]]) -> dict[str, Intent]:
    """The intents of the journal by id, earliest first."""
    try:
        return merge([Intent.from_json(document) for document in documents])
    except ValueError as error:
        raise WhiteBitInDoubt(
            f"The journal {errand.journal!r} holds a document that this version does not understand: {error}. "
            "Nothing was sent. Look at it, compare it with the exchange's history, and delete it to start afresh."
        ) from None


def _of_this_account(errand: Errand, intents: Mapping[str, Intent]) -> dict[str, Intent]:
    """All that this errand has to know of.

    :raises WhiteBitInDoubt: a move that was sent with another key is in doubt: this key proves nothing about it.
    :raises WhiteBitAlreadyMovedError: a move was made with another key, and a person has cleared the task since; or it
        was made with another connection.
    """
    made = next((intent for intent in intents.values() if intent.state is State.EXECUTED), None)
    if made is not None:
        if made.account != errand.account and made.connection != errand.connection and made.connection:
            raise WhiteBitAlreadyMovedError(
                f"This task has already made this move ({_in_words(made)}) with the connection {made.connection!r}; "
                f"now it is asked for with {errand.connection!r}. A task that moves money with several connections "
                "gives each move a name (key=...), and keeps to one connection for each name.",
                money_moved=True,
            )
        if made.account != errand.account and made.generation != errand.generation:
            raise WhiteBitAlreadyMovedError(
                f"This task has already moved its money ({_in_words(made)}) with another API key or host than the "
                "connection has now.",
                money_moved=True,
            )
        # What was carried out sends nothing any more, whatever the key is: a retry gets its receipt.
        return dict(intents)
    for intent in intents.values():
        if intent.in_doubt and intent.account != errand.account:
            raise WhiteBitInDoubt(
                f"This task has a move in doubt ({intent.id}, {_in_words(intent)}) that was sent with another API key "
                "or host. Nothing was sent now. Only with that key it can be found out what came of it: give the "
                "connection the old key back, or name a connection that has it as its former_connection, and clear the "
                "task.",
                intent_id=intent.id,
            )
    return {name: intent for name, intent in intents.items() if intent.account == errand.account}


def _tells_more(written: Mapping[str, Intent], known: Mapping[str, Intent]) -> bool:
    """Whether another try of this task has sent something that we did not know of."""
    nonces = {attempt.nonce for intent in known.values() for attempt in intent.attempts}
    return any(
        intent.state is State.EXECUTED or any(attempt.nonce not in nonces for attempt in intent.attempts)
        for intent in written.values()
    )


def _catch_up(errand: Errand, rules: Rules, intents: dict[str, Intent]) -> Generator[Effect, Any, Intent | None]:
    """Settle what is in doubt, and say which intent is to be concluded or gone on with; ``None``: start afresh."""
    for intent in intents.values():
        if intent.state is State.EXECUTED:
            return intent
    for intent in list(intents.values()):
        if intent.in_doubt:
            intent = intents[intent.id] = yield from settle(intent, rules.settle_margin_ms)
            if intent.state is State.EXECUTED:
                yield from _keep(intent)
                return intent
    latest = next(reversed(intents.values()), None)
    if latest is None or latest.generation != errand.generation:
        return None
    if errand.again and latest.state is State.REFUSED:
        # In the same journal: the task's next run must meet what becomes of it first.
        return None
    if latest.state is State.OPEN and latest.requested != dict(errand.requested):
        log.warning("Parameters changed since move %s was written down; it keeps to %s", latest.id, latest.requested)
    return latest


def _with_settled(
    errand: Errand, intents: dict[str, Intent], document: Mapping[str, Any]
) -> Generator[Effect, Any, dict[str, Intent]]:
    """The journal's intents with what was found out about one of them."""
    known = intents[str(document["id"])]
    told = _read(errand, [document]).get(known.id)
    if told is None or told.account != known.account:
        return intents
    if [one.nonce for one in told.attempts] != [one.nonce for one in known.attempts]:
        return intents
    (merged,) = merge([known, told]).values()
    if merged != known:
        yield from _keep(merged)
    return {**intents, merged.id: merged}


def _conclude(errand: Errand, intent: Intent) -> Receipt:
    """What an intent that has come to its end gives its task."""
    if intent.refusal is not None:
        raise intent.refusal.error()
    if intent.receipt is None:
        raise ValueError(f"intent {intent.id} has not come to its end")
    if intent.generation != errand.generation:
        if intent.requested != dict(errand.requested):
            raise WhiteBitAlreadyMovedError(
                f"This task has already moved its money ({_in_words(intent)}, {_named(intent.receipt)}) with the "
                f"parameters {intent.requested}; now it has "
                f"{dict(errand.requested)}.",
                money_moved=True,
            )
        log.warning("Move %s was made before this task was cleared: its old receipt is returned", intent.id)
    return intent.receipt


def _take_turn(errand: Errand, rules: Rules, move: Move) -> Generator[Effect, Any, Turn]:
    """Wait for the exclusive right to send a move of this likeness with this API key.

    The exchange accepts each nonce once, which makes nonces locks that it keeps for us: whoever has used every
    nonce of the likeness's grid around now is alone with it until the next who can do so comes.
    """
    names = [move.likeness] if errand.fenced else [move.likeness, f"journal|{errand.journal}"]
    if not (yield ReadClock()).last_seconds:
        yield AskTime()
    deadline: int | None = None
    while True:
        reading = yield ReadClock()
        deadline = deadline or reading.estimate_ms + rules.turn_patience_ms
        if reading.estimate_ms > deadline:
            raise WhiteBitUnavailableError(
                f"Other moves like this one ({move.likeness}, same key) left no turn to send it.",
                money_moved=False,
            )
        nonces = sorted(nonce for name in names for nonce in turn_nonces(name, reading.estimate_ms))
        try:
            for nonce in nonces:
                yield TakeNonce(nonce, move.idle_call())
        except (WhiteBitNonceError, WhiteBitUnavailableError, WhiteBitRateLimitError) as error:
            log.info("No turn yet for a move like this one: %s", error.message)
            if isinstance(error, WhiteBitNonceError) and error.outside_window:
                yield AskTime()
            yield Pause(_until_free(errand, reading))
            continue
        after = yield ReadClock()
        # Whoever had the turn before can have been accepted up to here; our own records begin later.
        ended = (reading.estimate_ms - TURN_APART_MS + NONCE_LIFE_MS - NONCE_AGE_MS) // 1000
        # What is far ahead of our own idea of the time was not the exchange's word, or this process stood still.
        if ended < after.last_seconds <= (reading.estimate_ms + NONCE_LIFE_MS) // 1000:
            nonce = yield NewNonce(reading.estimate_ms - NONCE_AGE_MS)
            return Turn(reading.estimate_ms, after.last_seconds, nonce)
        yield AskTime()
        yield Pause(1_000)


def turn_nonces(name: str, now_ms: int) -> list[int]:
    """The nonces that make up a turn, oldest first: all points of this name's grid around now."""
    phase = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % TURN_GRID_MS // 4 * 4 + 1
    start = now_ms - TURN_REACH_MS
    first = start + (phase - start) % TURN_GRID_MS
    return list(range(first, now_ms + TURN_REACH_MS, TURN_GRID_MS))


def _until_free(errand: Errand, reading: ClockReading) -> int:
    """Milliseconds until a used nonce cannot be in the way any more, spread so that those who wait do not collide."""
    spread = int.from_bytes(hashlib.sha256(f"{errand.intent_id}{reading.estimate_ms}".encode()).digest()[:4])
    return TURN_GRID_MS + spread % (2 * TURN_GRID_MS)


def _send(
    errand: Errand, rules: Rules, intent: Intent | None, move: Move, turn: Turn
) -> Generator[Effect, Any, tuple[WhiteBitError | None, Intent]]:
    """Write one attempt down and send it.

    :raises WhiteBitError: the exchange refused it for good, or it could not be written down.
    :returns: the intent as it stands, and the error if the exchange did not say yes.
    """
    if intent is None:
        intent = Intent(
            id=errand.intent_id,
            account=errand.account,
            requested=dict(errand.requested),
            generation=errand.generation,
            move=move,
            created_at=turn.seconds,
            connection=errand.connection,
        )
    try:
        intent = yield from _prepared(rules, intent, Attempt(turn.nonce, turn.seconds))
        yield WriteJournal(intent)
    except JournalError as error:
        error.money_moved = False
        raise
    if not errand.fenced:
        # Once more, now that others can read of this attempt: either they do, or what they have written is read here.
        try:
            yield Permit(move)
        except WhiteBitError:
            yield from _keep(intent.last_refused())
            raise
    if (yield ReadClock()).estimate_ms >= turn.nonce + NONCE_LIFE_MS:
        # Held back by a rate limit, or stood still: the exchange would refuse it, and that would have to be settled.
        late = WhiteBitUnavailableError("The move could not be sent in time and was not sent.", money_moved=False)
        return late, intent.last_refused()
    try:
        reference = yield Send(move.call(), turn.nonce)
    except (WhiteBitRateLimitError, WhiteBitNonceError) as error:
        # It may be the answer to a second delivery of this request, by whoever stands in between: then the first one
        # has run. A refusal by the rules proves that it has not, because the exchange looks at the nonce before.
        error.money_moved = None
        return error, intent
    except WhiteBitUnavailableError as error:
        return error, intent if error.money_moved is None else intent.last_refused()
    except WhiteBitError as error:
        yield from _keep(intent.refused(error))
        raise
    return None, (yield from _acknowledged(intent, turn, reference))


def _prepared(rules: Rules, intent: Intent, attempt: Attempt) -> Generator[Effect, Any, Intent]:
    """The intent with one more attempt, and what the exchange showed before it: what is there now is not ours.

    :raises WhiteBitInDoubt: something has appeared that an earlier attempt may have done.
    """
    move = intent.move
    if move.operation is Operation.TRANSFER:
        if intent.attempts:
            # What is known of earlier attempts, before their mark is overwritten: it was part of their proof.
            yield WriteJournal(intent)
        # Before the balances: whoever sends after they were read has left another mark in place of this.
        yield WriteMark(move.likeness, mark_of(intent.id, attempt.nonce))
        return intent.trying(replace(attempt, before=(yield ReadBalances(move))), ())
    since = begins_at(intent.trying(attempt, ()), rules.settle_margin_ms)
    traces = traces_of(move, (yield ReadRecords(move, since)))
    verdict = judge(intent, traces, margin_ms=rules.settle_margin_ms)
    if not verdict.absent:
        raise _doubt(intent, verdict)
    return intent.trying(attempt, [trace.reference for trace in traces if trace.reference is not None])


def _acknowledged(intent: Intent, turn: Turn, reference: str | None) -> Generator[Effect, Any, Intent]:
    """The intent that the exchange said yes to."""
    amount = intent.move.amount
    executed_at = pendulum.from_timestamp(max(turn.seconds, (yield ReadClock()).estimate_ms // 1000), tz="UTC")
    if intent.move.operation is Operation.FLEX_CLOSE:
        # The amount closed is the exchange's to say: an earning may have been added since the investment was read.
        with suppress(WhiteBitError):
            for trace in traces_of(intent.move, (yield ReadRecords(intent.move, turn.seconds))):
                if trace.reference == reference:
                    amount, executed_at = trace.amount, pendulum.from_timestamp(trace.made_at, tz="UTC")
    return intent.executed(reference, amount, executed_at, reconciled=False)


def _keep(intent: Intent) -> Generator[Effect, Any, None]:
    """Write down how it ended. If that fails the attempt stands, and the records tell the next run the same."""
    for pause in _KEEPING_PAUSES_MS:
        try:
            yield WriteJournal(intent)
        except JournalError as error:
            log.warning("The end of move %s (%s) could not be written down: %s", intent.id, intent.state, error.message)
            yield Pause(pause)
        else:
            return


def _reconciled(intent: Intent, found: Trace) -> Intent:
    log.warning("Move %s did run: the exchange's records show it (%s)", intent.id, found.reference or "balances")
    made_at = pendulum.from_timestamp(found.made_at, tz="UTC")
    return intent.executed(found.reference, found.amount, made_at, reconciled=True)


def _in_words(intent: Intent) -> str:
    move = intent.move
    amount = "everything" if move.amount is None else f"{move.amount:f} {move.ticker}"
    if move.operation is Operation.TRANSFER:
        return f"transfer of {amount} from {move.source} to {move.target}"
    place = f"investment {move.investment_id}" if move.investment_id else f"plan {move.plan_id}"
    return f"{move.operation} of {amount}, {place}"


def _named(receipt: Receipt) -> str:
    if receipt.transaction_id is not None:
        return f"transaction {receipt.transaction_id}"
    return f"investment {receipt.investment_id}" if receipt.investment_id else f"intent {receipt.intent_id}"


def _doubt(intent: Intent, verdict: Verdict) -> WhiteBitInDoubt:
    sent = ", ".join(
        f"{pendulum.from_timestamp(attempt.nonce // 1000, tz='UTC').isoformat()} (nonce {attempt.nonce})"
        for attempt in intent.attempts
    )
    shown = "; ".join(verdict.unclear)
    if intent.move.operation is Operation.TRANSFER:
        records = f"A transfer leaves no record, and the balances cannot tell: {shown}."
        look = (
            "look at both balances and at everything else that moved this asset since then (other tasks, orders, "
            "people). If the difference is there, the transfer ran: mark the task as success. If not, it did not run"
        )
    else:
        records = f"The exchange's history shows transactions that may be this move or another like it: {shown}."
        look = (
            "find out which of them belong to other tasks, programs or people (their receipts name the transaction). "
            "If one is left over, it is this move: mark the task as success. If none is left over, the move did not run"
        )
    return WhiteBitInDoubt(
        f"Move {intent.id} ({_in_words(intent)}) was sent at {sent} and its answer was lost. {records} What to do: "
        f"{look}: delete this move's journal entry and clear the task (README, section 'When a move is in doubt').",
        intent_id=intent.id,
        path=intent.move.call().path,
    )
