"""What people answer about moves in doubt, and how a journal takes it in. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

import pendulum

from airflow_provider_whitebit.moves.documents import Amount, Document, Moment
from airflow_provider_whitebit.moves.intent import Intent, Outcome


class Answer(StrEnum):
    """What is known of a move in doubt that its task cannot find out by itself.

    ``EXPLAINED`` is no answer of a person: records that the move may have left belong to other moves, and the task
    judges without them.
    """

    RAN = "ran"
    DID_NOT_RUN = "did_not_run"
    EXPLAINED = "explained"


@dataclass(frozen=True, slots=True)
class Resolution(Document):
    """An answer about one move in doubt.

    :param intent_id: of the move.
    :param nonces: of every attempt in the move's journal that may have run when the question was answered. With other
        attempts in the journal, the answer to another question is needed.
    :param answer: what is known.
    :param resolved_by: who says so.
    :param reason: why, in that person's words.
    :param resolved_at: when, UTC.
    :param reference: the exchange's identifier of the move's record, if the move ran and left one: a transaction, or a
        Fixed investment.
    :param amount: how much moved, in units of the asset; ``None``: what was sent.
    :param executed_at: when it moved, UTC; ``None``: when it was last sent.
    :param explained: the exchange's identifiers of records that belong to other moves.
    """

    intent_id: str
    nonces: tuple[int, ...]
    answer: Answer
    resolved_by: str
    reason: str
    resolved_at: Moment
    reference: str | None = None
    amount: Amount | None = None
    executed_at: Moment | None = None
    explained: tuple[str, ...] = ()

    @property
    def says(self) -> tuple[object, ...]:
        """The answer without its author. Amount and time tell records without an identifier apart."""
        return self.answer, self.reference, self.amount, self.executed_at

    def answers(self, intent: Intent, nonces: Collection[int]) -> bool:
        """Whether this says if an intent ran.

        :param nonces: of every attempt in its journal that may have run.
        """
        return self.answer is not Answer.EXPLAINED and self.intent_id == intent.id and {*self.nonces} == {*nonces}

    def applied_to(self, intent: Intent) -> Intent:
        """The intent that this answers, with the answer."""
        intent = replace(intent, resolved_by=self.resolved_by, reason=self.reason)
        if self.answer is Answer.DID_NOT_RUN:
            return replace(intent, attempts=tuple(replace(one, outcome=Outcome.REFUSED) for one in intent.attempts))
        sent_at = pendulum.from_timestamp(intent.unproven[-1].earliest, tz="UTC")
        amount = intent.move.amount if self.amount is None else self.amount
        return intent.executed(self.reference, amount, self.executed_at or sent_at, reconciled=True)


class Resolutions(Protocol):
    """Where answers are kept, and where tasks report their doubts. People and tasks share it."""

    def read(self, intent_id: str) -> Resolution | None:
        """The answer about one intent. :raises WhiteBitJournalError: it cannot be read."""

    def report(self, intent: Intent, nonces: Collection[int], entry: str) -> None:
        """Let people find a move in doubt. Nothing is raised: its journal tells the same.

        :param nonces: of every attempt in its journal that may have run.
        :param entry: where its journal is, in words.
        """

    def close(self, intent_id: str) -> None:
        """Take a report back: the move is no longer in doubt. Nothing is raised."""


class MemoryResolutions:
    """Answers for use outside a task: nobody can give any."""

    def read(self, intent_id: str) -> Resolution | None:
        return None

    def report(self, intent: Intent, nonces: Collection[int], entry: str) -> None:
        pass

    def close(self, intent_id: str) -> None:
        pass


def unproven_nonces(intents: Iterable[Intent]) -> frozenset[int]:
    """The nonces of all attempts that may have run."""
    return frozenset(attempt.nonce for intent in intents for attempt in intent.unproven)
