"""Find out from the exchange whether a move ran. Without I/O, like the protocol."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.moves.doubts import doubt
from airflow_provider_whitebit.moves.effects import (
    AskTime,
    Effect,
    ReadBalances,
    ReadMarker,
    ReadRecords,
    WaitUntil,
)
from airflow_provider_whitebit.moves.evidence import (
    NOTHING,
    Explained,
    Trace,
    Verdict,
    begins_at,
    ends_at_ms,
    judge,
    judge_transfer,
    traces_of,
)
from airflow_provider_whitebit.moves.intent import Intent, Operation
from airflow_provider_whitebit.moves.journal import marker_of

log = logging.getLogger(__name__)


def reconcile(intent: Intent, margin_ms: int, explained: Explained = NOTHING) -> Generator[Effect, Any, Intent]:
    """Wait until none of the attempts can be accepted any more, then read the exchange's records.

    :param margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :param explained: what is known of records that are certainly of other moves.
    :raises WhiteBitInDoubtError: the records cannot tell.
    :raises WhiteBitError: the exchange cannot be reached.
    :returns: the intent, executed or with nothing left in doubt. The caller writes it to the journal.
    """
    log.warning("Move %s is in doubt (%s): reading the exchange's records", intent.id, intent.move)
    until_ms = ends_at_ms(intent) + margin_ms
    try:
        while (now_ms := (yield AskTime()) * 1000) <= until_ms:
            # The exchange tells whole seconds: before the next one begins, asking again cannot help.
            yield WaitUntil(until_ms, until_ms // 1000 * 1000 + 1000 - now_ms, intent)
        verdict = yield from verdict_of(intent, margin_ms, explained)
    except WhiteBitError as error:
        error.money_moved = None
        raise
    return judged_intent(intent, verdict)


def judged_intent(intent: Intent, verdict: Verdict) -> Intent:
    """The intent with what the exchange's records show of it.

    :raises WhiteBitInDoubtError: they cannot tell.
    """
    if verdict.unclear:
        raise doubt(intent, verdict)
    if verdict.found is None:
        log.info("Move %s has left no record at the exchange", intent.id)
        return intent.found_absent()
    found: Trace = verdict.found
    log.warning("Move %s did run: the exchange's records show it (%s)", intent.id, found.reference or "balances")
    made_at = pendulum.from_timestamp(found.made_at, tz="UTC")
    return intent.executed(found.reference, found.amount, made_at, reconciled=True)


def verdict_of(intent: Intent, margin_ms: int, explained: Explained = NOTHING) -> Generator[Effect, Any, Verdict]:
    """What the exchange shows of the intent's attempts.

    :param margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :param explained: what is known of records that are certainly of other moves.
    """
    if intent.move.operation is Operation.TRANSFER:
        after = yield ReadBalances(intent.move)
        # Read last: a transfer that is sent after this has not changed the balances above.
        latest = yield ReadMarker(intent.move.conflict_key)
        return judge_transfer(intent, after, undisturbed=latest == marker_of(intent.id, intent.unproven[-1].nonce))
    records = yield ReadRecords(intent.move, begins_at(intent, margin_ms))
    return judge(intent, traces_of(intent.move, records), margin_ms=margin_ms, explained=explained)
