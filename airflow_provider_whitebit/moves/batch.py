"""Several moves that one task makes, each once, whatever is killed between them.

The moves of a task have numbers, each with a journal of its own. A run of the task first finds out what its earlier
runs have done under each number, then plans anew from what the exchange shows, and makes the new moves under numbers
that nothing has been sent under. So two runs of a task that do not know of each other meet under the same numbers,
where the single move's protocol lets only one of them through. When a plan has been carried out this is noted, and the
task moves nothing any more.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_whitebit.client.errors import (
    WhiteBitError,
    WhiteBitInDoubt,
    WhiteBitRefusedError,
    WhiteBitValidationError,
)
from airflow_provider_whitebit.moves.intent import Intent, Move, Receipt, State, merge
from airflow_provider_whitebit.moves.journal import Journal, JournalError
from airflow_provider_whitebit.moves.protocol import WhiteBitAlreadyMovedError

log = logging.getLogger(__name__)

#: Moves that were sent and never carried out, after which a task gives up until a person clears it.
_MOST_IN_VAIN = 12
#: Version of the diary's document.
_VERSION = 1


class WhiteBitPlanError(WhiteBitRefusedError):
    """Some moves of a plan were refused; the others were made."""

    advice = "The task's other moves stand. Clear the task to plan anew from what the account holds then."


class NotSentAgain(WhiteBitValidationError):
    """A move of an earlier run was never carried out. It is not sent again: the plan is made anew."""


@dataclass(slots=True)
class Batch:
    """One run of a task that makes a plan and carries it out.

    :param diary: where the task's numbers are kept, and whether it is done.
    :param journal: the journal of a number.
    :param plan: the moves to make now, in order, given the receipts of those that this task has made before.
    :param make: makes a move under a number, once, and asks the permit that it is given before each sending.
    :param requested: the caller's own parameters as plain JSON.
    :param generation: changes when a person clears the task, not when Airflow retries it.
    :param run: names this run of the task.
    """

    diary: Journal
    journal: Callable[[int], Journal]
    plan: Callable[[Sequence[Receipt]], Sequence[Move]]
    make: Callable[[int, Move, Callable[[Move], None]], Receipt]
    requested: Mapping[str, Any]
    generation: str = ""
    run: str = ""
    _receipts: dict[int, Receipt] = field(default_factory=dict)
    _failures: list[tuple[Move, WhiteBitError]] = field(default_factory=list)

    def carry_out(self) -> list[Receipt]:
        """Make the plan and its moves.

        :raises WhiteBitInDoubt: of a move nobody can tell whether it ran; those of other assets were made.
        :raises WhiteBitPlanError: moves were refused; those of other assets were made.
        :raises WhiteBitAlreadyMovedError: the task has moved money before, with other parameters.
        :raises WhiteBitError: the exchange or the journal cannot be reached: run the task again.
        :returns: a receipt for each move of this task, of earlier runs too, in their order.
        """
        try:
            return self._carry_out()
        except (WhiteBitPlanError, WhiteBitInDoubt):
            # They tell of it themselves.
            raise
        except WhiteBitError as error:
            if self._receipts:
                error.after(self._made())
            raise

    def catch_up(self) -> tuple[list[Receipt], bool]:
        """Find out what earlier runs of the task have done, and send nothing.

        :raises WhiteBitInDoubt: of a move nobody can tell whether it ran.
        :raises WhiteBitError: as :meth:`carry_out` does.
        :returns: the receipts so far, and whether the plan was carried out.
        """
        documents = self._documents()
        if (done := self._done_before(documents)) is not None:
            return done, True
        try:
            self._catch_up(_highest(documents))
        except WhiteBitError as error:
            if self._receipts and not isinstance(error, WhiteBitPlanError | WhiteBitInDoubt):
                error.after(self._made())
            raise
        if self._failures:
            raise self._error("What became of a move of an earlier run could not be found out.")
        return [self._receipts[number] for number in sorted(self._receipts)], False

    def _documents(self) -> list[dict[str, Any]]:
        documents = self.diary.read()
        for document in documents:
            if document.get("version") != _VERSION:
                raise WhiteBitInDoubt(
                    f"The journal {self.diary.identity!r} was written by another version of this package. Nothing was "
                    "sent. Finish the task with that version, or start a new dag run."
                )
        return documents

    def _carry_out(self) -> list[Receipt]:
        documents = self._documents()
        if (done := self._done_before(documents)) is not None:
            return done
        highest = _highest(documents)
        if not self.diary.fenced:
            # Before the journals are read: a run that this one replaces, and that only slept, looks for this note after
            # it has written an attempt down. So either its attempt is seen here, or this note is seen there.
            self._note(highest)
            highest = _highest(self.diary.read())
        used = self._catch_up(highest)
        moves = list(self.plan(list(self._receipts.values())))
        free = (number for number in itertools.count(1) if number not in used)
        numbered = list(zip(free, moves, strict=False))
        self._note(max([highest, *(number for number, _ in numbered)]))
        for number, move in numbered:
            if move.ticker not in {failed.ticker for failed, _ in self._failures}:
                self._make(number, move)
        receipts = [self._receipts[number] for number in sorted(self._receipts)]
        if self._failures:
            raise self._incomplete(len(moves))
        self._note(highest, done=receipts)
        return receipts

    def _done_before(self, documents: Sequence[Mapping[str, Any]]) -> list[Receipt] | None:
        """The receipts of a plan that was carried out. :raises WhiteBitAlreadyMovedError: with other parameters."""
        # Only the latest run's word counts: one that was replaced and only slept does not know of what came after it.
        document = documents[-1] if documents else {"done": None}
        # A plan that had nothing to do may be made anew when a person clears the task.
        if not document["done"] and (document["done"] is None or document["generation"] != self.generation):
            return None
        if document["generation"] != self.generation:
            if document["requested"] != dict(self.requested):
                raise WhiteBitAlreadyMovedError(
                    f"This task has already carried out its plan with the parameters {document['requested']}; now it "
                    f"has {dict(self.requested)}.",
                    money_moved=True,
                )
            log.warning("This task carried out its plan before it was cleared: its old receipts are returned")
        return [Receipt.from_json(receipt) for receipt in document["done"]]

    def _catch_up(self, highest: int) -> set[int]:
        """What earlier runs have done. :returns: the numbers under which something was sent."""
        used, in_vain = set(), 0
        for number in range(1, highest + 1):
            for intent in merge(map(Intent.from_json, self.journal(number).read())).values():
                if not intent.attempts:
                    continue
                used.add(number)
                if intent.state is State.EXECUTED and intent.receipt is not None:
                    self._receipts[number] = intent.receipt
                elif intent.in_doubt and not self._settled(number, intent.move):
                    continue
                if number not in self._receipts and intent.generation == self.generation:
                    in_vain += 1
        if in_vain > _MOST_IN_VAIN:
            raise self._error(
                f"{in_vain} moves of this task were sent and the exchange carried out none of them: it is too slow or "
                "refuses them."
            )
        return used

    def _settled(self, number: int, move: Move) -> bool:
        """Find out what came of a move in doubt. :returns: whether that could be found out."""
        try:
            self._receipts[number] = self.make(number, move, _not_again)
        except NotSentAgain:
            log.info("Move %s of an earlier run never ran: %s", number, move)
        except WhiteBitInDoubt as error:
            self._failures.append((move, error))
            return False
        return True

    def _make(self, number: int, move: Move) -> None:
        try:
            receipt = self.make(number, move, self._only_one)
        except (WhiteBitRefusedError, WhiteBitValidationError, WhiteBitInDoubt) as error:
            log.error("Not made: %s: %s", move, error)
            self._failures.append((move, error))
            return
        self._receipts[number] = receipt
        if not _is_of(receipt, move):
            raise WhiteBitAlreadyMovedError(
                f"Another run of this task has gone on with a plan of its own: its move {number} is "
                f"{receipt.to_json()}. This run stops.",
                money_moved=True,
            )

    def _note(self, highest: int, done: Sequence[Receipt] | None = None) -> None:
        self.diary.write(
            {
                "version": _VERSION,
                "run": self.run,
                "generation": self.generation,
                "requested": dict(self.requested),
                "highest": max([highest, *self._receipts]),
                "done": None if done is None else [receipt.to_json() for receipt in done],
            }
        )

    def _only_one(self, move: Move) -> None:
        """Where Airflow does not refuse the writes of a run that it has replaced, see that there is no later one.

        :raises JournalError: if there is.
        """
        if not self.diary.fenced and self.diary.read()[-1]["run"] != self.run:
            raise JournalError("A later run of this task has taken over: this one stops.", money_moved=False)

    def _incomplete(self, planned: int) -> WhiteBitError:
        return self._error(f"Of {planned} planned moves some were not made.")

    def _error(self, what: str) -> WhiteBitError:
        told = "; ".join(f"{move}: {type(error).__name__}: {error}" for move, error in self._failures)
        text = f"{what}{f' Not made: {told}.' if told else ''} Made by this task: {self._made()}."
        if any(isinstance(error, WhiteBitInDoubt) for _, error in self._failures):
            return WhiteBitInDoubt(text)
        return WhiteBitPlanError(text, money_moved=bool(self._receipts))

    def _made(self) -> str:
        return in_words(self._receipts.values()) or "none"


def in_words(receipts: Iterable[Receipt]) -> str:
    """What was made, for a person."""
    return ", ".join(_in_words(receipt) for receipt in receipts)


def _highest(documents: Sequence[Mapping[str, Any]]) -> int:
    """The highest number that any run of the task has given to a move."""
    return max((int(document["highest"]) for document in documents), default=0)


def _not_again(move: Move) -> None:
    raise NotSentAgain(f"{move.operation} of an earlier run never ran and is not sent again.")


def _is_of(receipt: Receipt, move: Move) -> bool:
    """Whether a receipt is this move's: a close may bring more than was planned."""
    return (
        receipt.operation == str(move.operation)
        and receipt.ticker == move.ticker
        and (receipt.plan_id or "") == move.plan_id
        and (receipt.source or "", receipt.target or "") == (move.source, move.target)
        and move.investment_id in ("", receipt.investment_id)
    )


def _in_words(receipt: Receipt) -> str:
    amount = "" if receipt.amount is None else f" {receipt.amount:f}"
    return f"{receipt.operation}{amount} {receipt.ticker}"
