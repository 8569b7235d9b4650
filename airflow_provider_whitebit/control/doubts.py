"""Resolve moves in doubt: the commands and the Treasury page call these functions.

An answer is a Variable that the task reads at its next try. It names the attempts that it is about; if the task's
journal then holds others, the task does not apply it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pendulum
from airflow.models.variable import Variable
from airflow.utils.state import State
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.errors import WhiteBitResolutionError, clean
from airflow_provider_whitebit.control import audit
from airflow_provider_whitebit.control.connections import Patience
from airflow_provider_whitebit.control.examination import Examination, examine
from airflow_provider_whitebit.control.explanations import answers_of_people
from airflow_provider_whitebit.control.search import GONE, Doubt, Reader, find_doubt, find_doubts, find_intent
from airflow_provider_whitebit.control.tasks import in_words
from airflow_provider_whitebit.hooks.doubts import RESOLUTION, read_resolution
from airflow_provider_whitebit.moves.examination import evidence_mark, refused
from airflow_provider_whitebit.moves.intent import Intent
from airflow_provider_whitebit.moves.resolution import Answer, Resolution

__all__ = ["Outcome", "examine", "find_doubt", "find_doubts", "get_doubt", "resolve", "settle"]

#: How often an answer is written again after another process has written one at the same moment.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was answered.

    :param examination: what the exchange shows, and what explains it.
    :param resolution: the answer that the task will read; ``None`` if it needs none.
    """

    examination: Examination
    resolution: Resolution | None

    @property
    def in_words(self) -> str:
        """What was kept, in one sentence."""
        kept = self.resolution
        if kept is None:
            return f"Move {self.examination.examined.intent.id} needs no answer."
        if kept.answer is Answer.EXPLAINED:
            return f"Records that belong to other moves are excluded: {', '.join(map(clean, kept.explained))}."
        if kept.answer is Answer.DID_NOT_RUN:
            return f"Kept: {clean(kept.resolved_by)} says that move {kept.intent_id} did not run."
        which = f" It is {clean(kept.reference)}." if kept.reference else ""
        return f"Kept: {clean(kept.resolved_by)} says that move {kept.intent_id} ran.{which}"

    @property
    def next_step(self) -> str:
        """What to do now."""
        answer = Answer.EXPLAINED if self.resolution is None else self.resolution.answer
        if answer is Answer.RAN:
            effect = "It returns a receipt with this answer."
        elif answer is Answer.DID_NOT_RUN:
            effect = "It makes the move."
        elif self.examination.examined.verdict.found is not None:
            effect = "It finds that the move ran."
        else:
            effect = "It finds that the move did not run, and goes on."
        return f"Clear the task: {in_words(self.examination.doubt.task)}. {effect}"


def get_doubt(session: Session, intent_id: str) -> Doubt:
    """Return one move in doubt.

    :param session: of Airflow's database. It holds no database connection afterwards.
    :param intent_id: of the move.
    :raises WhiteBitResolutionError: it is not in doubt, or its journal cannot be read.
    """
    doubt = find_doubt(session, intent_id)
    if doubt is None:
        known = find_intent(session, intent_id)
        session.commit()
        if known is None:
            raise refused(f"No move {clean(intent_id)!r} is known.", "List the moves: airflow whitebit doubts list.")
        raise refused(
            f"Move {known.id} ({clean(str(known.move))}) is not in doubt: it is {known.state}.",
            "If its task has failed, clear the task.",
        )
    if doubt.unreadable:
        raise refused(doubt.unreadable, "Clear the task. Its error says what is wrong with the journal.")
    try:
        for seconds in (*(nonce // 1000 for nonce in doubt.nonces), *_times(doubt.known_intent)):
            pendulum.from_timestamp(seconds)
    except (ValueError, OverflowError, OSError):
        # Anyone who may write Variables could have stored anything there.
        raise refused(
            f"The journal of move {clean(intent_id)} holds times that are none.",
            "Find out who has changed the journal. Clear the task: its error says what is wrong.",
        ) from None
    return doubt


def _times(intent: Intent) -> list[int]:
    return [seconds for one in intent.attempts for seconds in (one.earliest, one.nonce // 1000)]


def settle(
    session: Session,
    intent_id: str,
    *,
    user: str,
    reader: Reader | None = None,
    patience: Patience | None = None,
) -> Outcome:
    """Examine a move in doubt. If no person is needed, keep for its task which records belong to other moves.

    :param session: of Airflow's database.
    :param intent_id: of the move.
    :param user: who asks for it.
    :param reader: what the user may read.
    :param patience: how long to wait for the exchange.
    :raises WhiteBitResolutionError: it is not in doubt.
    :raises WhiteBitError: the exchange cannot be asked.
    :returns: without a resolution if a person is needed, or if there is nothing to exclude.
    """
    doubt = get_doubt(session, intent_id)
    found = examine(session, doubt, reader=reader, patience=patience)
    examined = found.examined
    if examined.open_until is not None or examined.needs_person or not examined.excluded or _attended(doubt):
        return Outcome(found, None)
    answer = examined.answer(ran=False, user=user, reason="The records belong to other moves.")
    return Outcome(found, None) if answer is None else _kept(session, found, answer)


def resolve(
    session: Session,
    intent_id: str,
    *,
    ran: bool,
    user: str,
    reason: str,
    transaction_id: str | None = None,
    seen: str | None = None,
    reader: Reader | None = None,
    patience: Patience | None = None,
) -> Outcome:
    """Keep a person's answer about a move in doubt for its task. The exchange is asked again first.

    If what it shows needs no person, no answer is kept, only which records belong to other moves.

    :param session: of Airflow's database.
    :param intent_id: of the move.
    :param ran: whether it ran.
    :param user: who says so.
    :param reason: why, in that person's words.
    :param transaction_id: the record of the move, if it ran and left one: a transaction, a Fixed investment, or the
        name of a record without an identifier. It may be left out if only one record remains.
    :param seen: the ``mark`` of the evidence that the person has seen. A record that appeared later may be this move.
        By default, whatever the exchange shows now.
    :param reader: what the user may read.
    :param patience: how long to wait for the exchange.
    :raises WhiteBitResolutionError: the answer cannot be accepted. Nothing was changed; the error says why.
    :raises WhiteBitError: the exchange cannot be asked.
    """
    doubt = get_doubt(session, intent_id)
    _require_ended(doubt)
    found = examine(session, doubt, reader=reader, patience=patience)
    examined = found.examined
    if examined.needs_person and seen is not None and seen != evidence_mark(examined):
        raise refused("The evidence has changed since you saw it.", "Look at the move again.")
    answer = examined.answer(ran=ran, user=user, reason=reason, name=transaction_id)
    return Outcome(found, None) if answer is None else _kept(session, found, answer)


def _attended(doubt: Doubt) -> list[str]:
    """The tasks that have not ended, in words."""
    return [
        f"{in_words(task)} is {clean(str(state or 'about to be scheduled'))}"
        for task, state in doubt.tasks.items()
        if state != GONE and state not in State.finished
    ]


def _require_ended(doubt: Doubt) -> None:
    if attended := _attended(doubt):
        raise refused(
            f"The move may be reconciled or sent at this moment: {'; '.join(attended)}.",
            "Wait until the task has ended: most doubts end by themselves. If its DAG is paused, unpause it.",
        )
    if all(state == GONE for state in doubt.tasks.values()):
        raise refused(
            f"No answer can reach the move, because its task no longer exists: {in_words(doubt.task)}.",
            "Compare the exchange's records with your books, and correct the books by hand.",
        )


def _kept(session: Session, found: Examination, answer: Resolution) -> Outcome:
    """Write an answer, and take it back if the journal or another answer has changed meanwhile."""
    for _ in range(_TRIES):
        try:
            kept = _write(session, found, answer)
            break
        except IntegrityError:
            # Another process has written the first answer at the same moment.
            session.rollback()
    else:
        raise refused("Another answer was written at the same moment.", "Look at the move again.")
    if kept is not answer:
        return Outcome(found, kept)
    if why := _overtaken(session, found.doubt, answer):
        _withdraw(session, found, answer)
        raise WhiteBitResolutionError(f"{why} The answer was taken back.")
    return Outcome(found, answer)


def _write(session: Session, found: Examination, answer: Resolution) -> Resolution:
    """Write an answer and the row in the audit log.

    :raises WhiteBitResolutionError: there is another answer.
    :returns: the answer that counts: an equal one may have been there before.
    """
    row = _row(session, answer.intent_id)
    before = None if row is None else _read(row)
    if before is not None and {*before.nonces} == {*answer.nonces}:
        if before.says == answer.says:
            if answer.answer is not Answer.EXPLAINED or {*before.explained} >= {*answer.explained}:
                session.rollback()
                return before
        elif before.answer is not Answer.EXPLAINED:
            session.rollback()
            raise _answered_before(before)
    if row is None:
        row = Variable(  # type: ignore[no-untyped-call]
            key=f"{RESOLUTION}{answer.intent_id}", description="Answer about a move in doubt"
        )
        session.add(row)
    row.set_val(json.dumps(answer.to_json()))
    facts = {name: value for name, value in answer.to_json().items() if name not in ("nonces", "resolved_by")}
    audit.record(session, audit.Event.RESOLVE, user=answer.resolved_by, facts=facts, task=found.doubt.task)
    session.commit()
    return answer


def _answered_before(before: Resolution) -> WhiteBitResolutionError:
    which = f" ({clean(before.reference)})" if before.reference else ""
    said = "ran" if before.answer is Answer.RAN else "did not run"
    return refused(
        f"{clean(before.resolved_by)} has already answered at {before.resolved_at}: the move {said}{which}. "
        f"Reason: {clean(before.reason)}",
        "If that is right, clear the task. If it is wrong, agree with that person, delete the Variable "
        f"{RESOLUTION}{before.intent_id}, and answer again before anybody clears the task.",
    )


def _row(session: Session, intent_id: str) -> Any:
    query = select(Variable).where(Variable.key == f"{RESOLUTION}{intent_id}").with_for_update()
    return session.scalar(query.execution_options(populate_existing=True))


def _read(row: Any) -> Resolution | None:
    try:
        return read_resolution(row.val or "null")
    except (ValueError, ArithmeticError, RecursionError):
        # The task could not read it either.
        return None


def _overtaken(session: Session, doubt: Doubt, answer: Resolution) -> str:
    """Why an answer that was written must not count; empty if it may."""
    row = _row(session, answer.intent_id)
    if row is None or _read(row) != answer:
        # A task that asks people writes without a lock.
        session.commit()
        return "Another answer was written at the same moment."
    again = find_doubt(session, answer.intent_id)
    if again is None:
        known = find_intent(session, answer.intent_id)
        session.commit()
        if known is None or (known.resolved_by, known.reason) != (answer.resolved_by, answer.reason):
            return "The journal of the move changed meanwhile: it is no longer in doubt."
        return ""
    if again.intent != doubt.intent or again.nonces != doubt.nonces or again.unreadable:
        return "The journal of the move changed meanwhile."
    return _claimed_by(answer, [one for one in answers_of_people(session) if one.intent_id != answer.intent_id])


def _claimed_by(answer: Resolution, others: Collection[Resolution]) -> str:
    if answer.answer is not Answer.RAN or answer.reference is None:
        return ""
    same = next((one for one in others if one.reference == answer.reference), None)
    if same is None:
        return ""
    return f"{clean(same.resolved_by)} has just said that this record is move {clean(same.intent_id)}."


def _withdraw(session: Session, found: Examination, answer: Resolution) -> None:
    row = _row(session, answer.intent_id)
    if row is not None and _read(row) == answer:
        session.delete(row)
        facts = {"intent_id": answer.intent_id, "answer": "taken back"}
        audit.record(session, audit.Event.RESOLVE, user=answer.resolved_by, facts=facts, task=found.doubt.task)
    session.commit()
