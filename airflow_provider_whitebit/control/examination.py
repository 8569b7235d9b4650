"""What the exchange shows of a move in doubt, which other moves explain it, and what remains."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.errors import clean
from airflow_provider_whitebit.client.models import to_json
from airflow_provider_whitebit.control.connections import KnownKey, Patience, find_key
from airflow_provider_whitebit.control.explanations import (
    Explanation,
    OtherMoves,
    change_of,
    in_journals,
    other_moves,
    since_then,
)
from airflow_provider_whitebit.control.journals import read_variable, release
from airflow_provider_whitebit.control.search import Doubt, Reader
from airflow_provider_whitebit.hooks.doubts import RESOLUTION, read_resolution
from airflow_provider_whitebit.hooks.journals import VariableMarkers
from airflow_provider_whitebit.moves.doubts import sent_at
from airflow_provider_whitebit.moves.drivers import ask_exchange
from airflow_provider_whitebit.moves.effects import AskTime, ReadBalances, ReadRecords
from airflow_provider_whitebit.moves.evidence import Trace, begins_at, traces_of
from airflow_provider_whitebit.moves.examination import (
    Candidate,
    Examined,
    Observation,
    evidence_mark,
    examine_records,
    examine_transfer,
    moment,
)
from airflow_provider_whitebit.moves.intent import Intent, Operation
from airflow_provider_whitebit.moves.journal import marker_of
from airflow_provider_whitebit.moves.resolution import Answer, Resolution


@dataclass(frozen=True, slots=True)
class Examination:
    """A move in doubt, and everything that is known about it.

    :param doubt: the move.
    :param key: the API key that the exchange was asked with.
    :param examined: what the exchange shows, and which other moves explain it.
    :param others: for a transfer, other moves of its asset since then.
    :param answer: what a person has answered about these attempts already.
    """

    doubt: Doubt
    key: KnownKey
    examined: Examined
    others: tuple[Explanation, ...] = ()
    answer: Resolution | None = None

    @property
    def conclusion(self) -> str:
        """What follows, in one or two sentences."""
        found = self.examined
        if found.open_until is not None:
            return f"An attempt can still be accepted until {moment(found.open_until)}. Look again after that."
        if found.verdict.found is not None:
            return "No person is needed: what remains shows that the move ran. Clear the task: it returns the receipt."
        if not found.verdict.unclear:
            return "No person is needed: nothing that remains can be this move. Clear the task: it goes on from there."
        if found.intent.move.operation is Operation.TRANSFER:
            return "The balances cannot tell whether the transfer ran. A person has to decide."
        if not found.remaining:
            # Only people's words explain what is left, so the task cannot judge without an answer.
            return "People have said that every record belongs to another move. A person has to decide."
        left = "1 record remains" if len(found.remaining) == 1 else f"{len(found.remaining)} records remain"
        return f"{left} that may be this move. A person has to decide."


def examine(
    session: Session, doubt: Doubt, *, reader: Reader | None = None, patience: Patience | None = None
) -> Examination:
    """Ask the exchange again about a move in doubt, and find out which other moves explain what it shows. Only reads.

    :param session: of Airflow's database. It holds no database connection while the exchange is asked.
    :param doubt: the move. Its journal must be readable.
    :param reader: what the user may read.
    :param patience: how long to wait for the exchange.
    :raises WhiteBitConfigurationError: no connection has the API key that sent the move.
    :raises WhiteBitError: the exchange refuses or cannot be reached.
    """
    reader, patience = reader or Reader(), patience or Patience()
    key = key_of(session, doubt, reader)
    return explain(session, doubt, key, observe(key, doubt.known_intent, patience), reader)


def key_of(session: Session, doubt: Doubt, reader: Reader) -> KnownKey:
    """Find the API key that sent a move in doubt.

    :param session: of Airflow's database. It holds no database connection afterwards.
    :param doubt: the move.
    :param reader: what the user may read.
    :raises WhiteBitConfigurationError: no connection has it, or the user may read none that has it.
    """
    key = find_key(session, doubt.known_intent, doubt.connection, reader.may_read_connection)
    release(session)
    return key


def explain(session: Session, doubt: Doubt, key: KnownKey, observation: Observation, reader: Reader) -> Examination:
    """Find out which other moves explain what the exchange shows.

    :param session: of Airflow's database. It holds no database connection afterwards.
    :param doubt: the move.
    :param key: that sent it.
    :param observation: what the exchange shows.
    :param reader: what the user may read: other tasks are not named.
    """
    intent = doubt.known_intent
    others = other_moves(session, intent, key.conn_ids, reader)
    try:
        if intent.move.operation is Operation.TRANSFER:
            found = _of_transfer(session, doubt, key, observation)
            since = tuple(since_then(intent.move, others.made, intent.unproven[-1].earliest))
        else:
            found, since = _of_records(session, doubt, key, observation, others, reader), ()
        return Examination(doubt, key, found, since, _answer(session, doubt))
    finally:
        release(session)


def _answer(session: Session, doubt: Doubt) -> Resolution | None:
    """What a person has answered about exactly these attempts."""
    # Anyone who may write Variables could have stored anything there. The task says so if it cannot read an answer.
    with suppress(Exception):
        found = read_resolution(read_variable(session, f"{RESOLUTION}{doubt.known_intent.id}") or "null")
        return found if found.answers(doubt.known_intent, doubt.nonces) else None
    return None


def observe(key: KnownKey, intent: Intent, patience: Patience) -> Observation:
    """Ask the exchange about a move in doubt. Only reads.

    :param key: that sent the move.
    :param patience: how long to wait.
    :raises WhiteBitError: the exchange refuses or cannot be reached.
    """
    client = patience.client(key.settings)
    try:
        # First, so that everything else is read after this time.
        now = ask_exchange(client, AskTime())
        if intent.move.operation is Operation.TRANSFER:
            return Observation(now, balances=ask_exchange(client, ReadBalances(intent.move)))
        records = ask_exchange(client, ReadRecords(intent.move, begins_at(intent, key.margin_ms)))
        return Observation(now, tuple(traces_of(intent.move, records)))
    finally:
        client.close()


def _of_records(
    session: Session, doubt: Doubt, key: KnownKey, observation: Observation, others: OtherMoves, reader: Reader
) -> Examined:
    intent = doubt.known_intent

    def explain_all(traces: Sequence[Trace]) -> list[Explanation | None]:
        references = [trace.reference for trace in traces if trace.reference]
        known = in_journals(session, others, intent, references, reader)
        return [known.explaining(intent.move, trace) for trace in traces]

    return examine_records(intent, doubt.nonces, key.margin_ms, observation, explain_all)


def _of_transfer(session: Session, doubt: Doubt, key: KnownKey, observation: Observation) -> Examined:
    intent = doubt.known_intent
    # Read after the balances: a transfer that is sent after this has not changed them.
    names = [VariableMarkers(account).name(intent.move.conflict_key) for account in key.accounts]
    markers = {read_variable(session, name) for name in names} - {None}
    undisturbed = markers == {marker_of(intent.id, intent.unproven[-1].nonce)}
    return examine_transfer(intent, doubt.nonces, key.margin_ms, observation, undisturbed=undisturbed)


def examination_json(found: Examination) -> dict[str, Any]:
    """Return an examination as plain JSON, for commands and the Treasury page.

    :param found: the examination.
    """
    examined, intent = found.examined, found.examined.intent
    return {
        "id": clean(intent.id),
        "move": clean(str(intent.move)),
        "connection": clean(found.key.conn_id),
        "as_of": moment(examined.observation.now),
        "attempts": [{"sent": sent_at(one), "outcome": str(one.outcome)} for one in intent.attempts],
        "candidates": [_candidate_json(one) for one in examined.candidates],
        "balances": _balances_json(found),
        "others": [_explanation_json(one) for one in found.others],
        "remains": [clean(one.name) for one in examined.remaining],
        "open_until": None if examined.open_until is None else moment(examined.open_until),
        "needs_person": examined.needs_person,
        "excluded": [clean(one) for one in examined.excluded],
        "conclusion": found.conclusion,
        # An answer repeats it, so it is about the evidence that the user has seen.
        "mark": evidence_mark(examined),
        "answer": None if found.answer is None else _answer_json(found.answer),
    }


def _answer_json(answer: Resolution) -> dict[str, Any]:
    return {
        "ran": answer.answer is Answer.RAN,
        "transaction": answer.reference and clean(answer.reference),
        "by": clean(answer.resolved_by),
        "reason": clean(answer.reason),
        "at": to_json(answer.resolved_at),
    }


def _candidate_json(one: Candidate) -> dict[str, Any]:
    trace, other = one.trace, one.explanation
    return {
        "transaction": clean(one.name),
        "at": moment(trace.made_at) if trace.dated else None,
        "amount": to_json(trace.amount),
        "fits": trace.fits,
        "readable": trace.readable,
        "explained_by": _explanation_json(other) if isinstance(other, Explanation) else None,
    }


def _explanation_json(one: Explanation) -> dict[str, Any]:
    receipt = one.receipt
    return {
        "operation": clean(receipt.operation),
        "amount": to_json(receipt.amount),
        "at": to_json(receipt.executed_at),
        "source": clean(one.source),
        "task": None if one.task is None else one.task.to_json(),
        "by_person": one.by_person,
    }


def _balances_json(found: Examination) -> list[dict[str, Any]] | None:
    """Both sides of a transfer: before, now, and what the other moves of the account do not explain."""
    after, intent = found.examined.observation.balances, found.examined.intent
    if after is None:
        return None
    before, move = intent.unproven[-1].before, intent.move
    sides: Sequence[tuple[str, Decimal | None, Decimal]] = (
        (move.source, None if before is None else before.source, after.source),
        (move.target, None if before is None else before.target, after.target),
    )
    lines = []
    for name, held, now in sides:
        known = sum((change_of(one.receipt, name) for one in found.others), Decimal(0))
        change = None if held is None else now - held
        lines.append(
            {
                "balance": clean(name),
                "before": to_json(held),
                "now": to_json(now),
                "change": to_json(change),
                "other_moves": to_json(known),
                "remains": None if change is None else to_json(change - known),
            }
        )
    return lines
