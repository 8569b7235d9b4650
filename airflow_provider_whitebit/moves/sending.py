"""Send one attempt of a move while this process holds the nonce lock. Without I/O, like the protocol."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pendulum

from airflow_provider_whitebit.client.errors import (
    WhiteBitError,
    WhiteBitJournalError,
    WhiteBitNonceError,
    WhiteBitRateLimitError,
    WhiteBitUnavailableError,
)
from airflow_provider_whitebit.moves.allowance import Allowance, allowance_for
from airflow_provider_whitebit.moves.doubts import REPLACED
from airflow_provider_whitebit.moves.effects import (
    CheckPromise,
    CheckStop,
    ConfirmRun,
    Effect,
    PrepareJournal,
    ReadBalances,
    ReadClock,
    ReadRecords,
    Send,
    WriteJournal,
    WriteMarker,
)
from airflow_provider_whitebit.moves.evidence import begins_at, judge, traces_of
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation, State
from airflow_provider_whitebit.moves.journal import marker_of
from airflow_provider_whitebit.moves.nonce_lock import NonceLock
from airflow_provider_whitebit.moves.reconciliation import judged_intent, verdict_of
from airflow_provider_whitebit.moves.run_record import RunRecord
from airflow_provider_whitebit.moves.supersession import (
    Steps,
    confirm_beside_failed,
    read_history,
    refuse_superseded,
)


def prepare(run: RunRecord) -> Steps:
    """Let the journal do before the lock what it would otherwise do while this process holds it.

    :raises WhiteBitJournalError: it is not certain that this was done; nothing is sent.
    """
    try:
        yield PrepareJournal()
    except WhiteBitJournalError as error:
        _say_not_sent(run, error)
        raise


def send(
    run: RunRecord, intent: Intent | None, move: Move, lock: NonceLock
) -> Generator[Effect, Any, tuple[WhiteBitError | None, Intent]]:
    """Write one attempt to the journal and send it. If it was executed, the journal says so afterwards.

    :raises WhiteBitError: the exchange refused it for good, or the journal could not be written.
    :returns: the intent, and the error if the exchange did not say yes.
    """
    intent = intent or _new_intent(run, move, lock)
    if run.execution.promise is not None:
        yield CheckPromise(move)
    allowance = yield from allowance_for(run.execution.limits, intent, lock, run.margin_ms)
    try:
        intent = yield from _prepared(run, intent, Attempt(lock.nonce, lock.begins))
        if intent.state is State.EXECUTED:
            yield from run.keep(intent)
            return None, intent
        if late := (yield from _late(lock)):
            # Balances that are read after the lock's end may be the next owner's. They must not become evidence.
            return late, intent.last_refused()
        yield from run.write(intent)
    except WhiteBitJournalError as error:
        # Whether or not it is durable, this run does not send it.
        run.history = run.history.with_intent(intent.last_refused()) if intent.attempts else run.history
        _say_not_sent(run, error)
        raise
    return (yield from _send_written(run, intent, lock, allowance))


def _say_not_sent(run: RunRecord, error: WhiteBitJournalError) -> None:
    """Let an error of the journal say whether money moved: this run has sent nothing more."""
    # A later run may have been refused because Airflow has replaced it: then it could not read what was sent.
    error.money_moved = None if run.execution.begun_before else False


def _send_written(
    run: RunRecord, intent: Intent, lock: NonceLock, allowance: Allowance
) -> Generator[Effect, Any, tuple[WhiteBitError | None, Intent]]:
    """Send the attempt that the journal holds, unless something forbids it by now. Returns as :func:`send` does."""
    unsent = intent.last_refused()
    try:
        overtaken = yield from _overtaken(run, intent)
        if overtaken is not None:
            return overtaken, unsent
        yield from allowance.reserve(intent, lock)
        # As late as possible. The clock is read afterwards, because this can take long.
        yield CheckStop()
    except WhiteBitError:
        yield from allowance.settle(unsent, lock)
        yield from run.keep(unsent)
        raise
    if late := (yield from _late(lock)):
        return late, unsent
    try:
        reference = yield Send(intent.move.call(), lock.nonce)
    except (WhiteBitRateLimitError, WhiteBitNonceError) as error:
        # This can be the answer to a second delivery of the request, whose first delivery ran. A refusal by another
        # rule counts as a proof that it did not: we conclude that the exchange checks the nonce first (docs/once.md).
        error.money_moved = None
        return error, intent
    except WhiteBitError as error:
        if error.money_moved is None:
            # No answer; or a gateway in between refused it, perhaps after the exchange had made the move.
            return error, intent
        yield from allowance.settle(unsent, lock)
        if isinstance(error, WhiteBitUnavailableError):
            return error, unsent
        yield from run.keep(intent.refused(error))
        raise
    made = yield from _acknowledged(intent, lock, reference)
    yield from run.keep(made)
    yield from allowance.settle(made, lock)
    return None, made


def _overtaken(run: RunRecord, intent: Intent) -> Generator[Effect, Any, WhiteBitUnavailableError | None]:
    """The error of an attempt that must not be sent, because another run or a person was faster."""
    written = yield from _confirm(run, intent)
    answered = yield from run.is_answered(written, intent)
    if not (answered or run.tells_more(written)):
        return None
    run.history = written
    yield from run.keep(intent.last_refused())
    return WhiteBitUnavailableError(
        "A person has just said whether this move ran. It was not sent again."
        if answered
        else "Another run is making this move. This one was not sent."
    )


def _confirm(run: RunRecord, intent: Intent) -> Generator[Effect, Any, MoveHistory]:
    """Check that this run may send what it has written: after the write, at least one of two runs sees the other.

    :raises WhiteBitError: a later run of the task, or another of its moves, has begun.
    :returns: what the journal holds.
    """
    execution = run.execution
    written = yield from read_history(execution)
    own = written.intents.get(intent.id)
    # A try that Airflow has replaced may read nothing, and the store may have taken what it wrote.
    if own is None or intent.attempts[-1].nonce not in {attempt.nonce for attempt in own.attempts}:
        raise WhiteBitJournalError("The journal does not hold what this run wrote: this run stops.", next_step=REPLACED)
    if execution.journal.by_tries and written.run != execution.run:
        raise WhiteBitJournalError("A later run of this task has taken over: this one stops.", next_step=REPLACED)
    run.check_keys(written)
    if execution.plan_journal is None:
        yield from refuse_superseded(execution, written)
    else:
        yield ConfirmRun()
    yield from confirm_beside_failed(execution)
    return written


def _new_intent(run: RunRecord, move: Move, lock: NonceLock) -> Intent:
    execution = run.execution
    # The new move rests on a person's word that an earlier one did not run.
    answered = [one for one in run.history.intents.values() if one.resolved_by]
    return Intent(
        id=execution.intent_id,
        account=execution.api_key.fingerprint,
        requested=execution.request.to_json(),
        generation=execution.generation,
        move=move,
        created_at=lock.begins,
        connection=execution.api_key.connection,
        key=execution.key,
        task=execution.task,
        resolved_by=answered[-1].resolved_by if answered else "",
        reason=answered[-1].reason if answered else "",
    )


def _prepared(run: RunRecord, intent: Intent, attempt: Attempt) -> Generator[Effect, Any, Intent]:
    """The intent with one more attempt, and what the exchange showed before it: records there are not ours.

    :raises WhiteBitInDoubtError: a record has appeared that an earlier attempt may have left.
    """
    others = [*run.history.unproven, *run.execution.earlier]
    for other in others:
        is_transfer = other.move.operation is Operation.TRANSFER
        # A transfer cannot be judged again: its balances belong to the next one.
        if other.id == intent.id or (is_transfer and run.is_judged(other)):
            continue
        judged = judged_intent(other, (yield from verdict_of(other, run.margin_ms, run.explained)))
        if judged.state is State.EXECUTED:
            return _found(run, judged)
    move = intent.move
    if move.operation is Operation.TRANSFER:
        if run.history.intents:
            # Before their marker is overwritten: it was part of the proof about earlier attempts.
            yield WriteJournal(run.document())
        # Before the balances: a transfer sent after they were read has replaced this marker.
        yield WriteMarker(move.conflict_key, marker_of(intent.id, attempt.nonce))
        return intent.trying(replace(attempt, before=(yield ReadBalances(move))))
    with suppress(WhiteBitJournalError):
        yield WriteMarker(move.conflict_key, marker_of(intent.id, attempt.nonce))
    since = begins_at(intent.trying(attempt), run.margin_ms)
    records = yield ReadRecords(move, since)
    alike = [other for other in others if other.id != intent.id and other.move.conflict_key == move.conflict_key]
    # The others again: a record of theirs that has appeared since they were judged must not become a baseline.
    for known in (*([intent] if intent.unproven else []), *alike):
        traces = traces_of(known.move, records)
        judged = judged_intent(known, judge(known, traces, margin_ms=run.margin_ms, explained=run.explained))
        if judged.state is State.EXECUTED:
            return _found(run, judged)
    traces = traces_of(move, records)
    first = attempt.earliest - run.margin_ms // 1000
    there = tuple(trace.name for trace in traces if trace.made_at >= first or not trace.dated)
    return intent.trying(replace(attempt, baseline=there))


def _found(run: RunRecord, intent: Intent) -> Intent:
    """A move of this journal whose record has appeared late.

    :raises WhiteBitUnavailableError: it is another move of the plan.
    """
    if intent.id in run.history.intents:
        return intent
    raise WhiteBitUnavailableError(
        f"The record of an earlier move of this plan has appeared late: {intent.move}.",
        money_moved=True,
        next_step="Run the task again: it makes a new plan.",
    )


def _late(lock: NonceLock) -> Generator[Effect, Any, WhiteBitUnavailableError | None]:
    """The error of a process that was held back: the exchange would refuse its nonce, and that would be a doubt."""
    if (yield ReadClock()).estimate_ms < lock.ends_ms:
        return None
    return WhiteBitUnavailableError(
        "The move could not be sent within the few seconds in which the exchange accepts it, and was not sent.",
        next_step="Run the task again. If this lasts, find out what is slow: Airflow's API server, this worker or the "
        "network (docs/operations.md, A slow Airflow).",
    )


def _acknowledged(intent: Intent, lock: NonceLock, reference: str | None) -> Generator[Effect, Any, Intent]:
    """The intent that the exchange said yes to."""
    amount = intent.move.amount
    executed_at = pendulum.from_timestamp(max(lock.begins, (yield ReadClock()).estimate_ms // 1000), tz="UTC")
    if intent.move.operation is Operation.FLEX_CLOSE:
        # Only the exchange knows the closed amount: an earning may have been added since the investment was read.
        with suppress(WhiteBitError):
            for trace in traces_of(intent.move, (yield ReadRecords(intent.move, lock.begins))):
                if trace.reference == reference:
                    amount, executed_at = trace.amount, pendulum.from_timestamp(trace.made_at, tz="UTC")
    return intent.executed(reference, amount, executed_at, reconciled=False)
