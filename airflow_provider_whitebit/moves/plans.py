"""Several moves that one task makes, each once, even if the task is killed between them.

The moves of a plan have numbers, and each number has a journal. A run of the task first recovers what earlier runs
did under each number. Then it plans from what the exchange shows, and makes the new moves under numbers that nothing
was sent under. Two runs that do not know of each other meet under the same numbers, where the protocol lets only one
of them through. The plan journal records the highest number, and that the plan is done.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_whitebit.client.errors import (
    WhiteBitAlreadyMovedError,
    WhiteBitError,
    WhiteBitInDoubtError,
    WhiteBitJournalError,
    WhiteBitPlanError,
    WhiteBitPlanOutdatedError,
    WhiteBitRefusedError,
    WhiteBitStoppedError,
    WhiteBitUnavailableError,
    WhiteBitValidationError,
    describe_receipt,
    in_one_line,
)
from airflow_provider_whitebit.moves.doubts import REPLACED, doubt_of_another_key
from airflow_provider_whitebit.moves.drivers import add_moves_instead_of_plan, execute_move, refuse_superseded_plan
from airflow_provider_whitebit.moves.execution import DecidedMove, ExecutionRequest
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Intent, Move, Receipt, State
from airflow_provider_whitebit.moves.journal import Journal
from airflow_provider_whitebit.moves.keys import by, is_idempotent, plan_with_others
from airflow_provider_whitebit.moves.supersession import highest_number

log = logging.getLogger(__name__)

#: Moves that were sent and never carried out, after which a task gives up until a person clears it.
_MOST_IN_VAIN = 12
#: Version of the plan journal's document.
_VERSION = 1


@dataclass(slots=True)
class PlanRun:
    """One run of a task that makes the moves of a plan.

    :param template: what the executions of all its moves share. Its ``key`` names the plan, its ``journal`` is the plan
        journal, and its ``request`` is not used.
    :param requested: the caller's parameters as plain JSON.
    :param sleep: waits, in seconds.
    """

    template: ExecutionRequest
    requested: Mapping[str, Any]
    sleep: Callable[[float], None] = time.sleep
    #: What this run found out or made: each move with its receipt or its error.
    results: list[tuple[Move, Receipt | WhiteBitError]] = field(default_factory=list)
    _receipts: dict[int, Receipt] = field(default_factory=dict)
    _used: set[int] = field(default_factory=set)
    _highest: int = 0
    #: Generations that have made moves.
    _made_in: set[str] = field(default_factory=set)
    #: Moves that were sent and left no record.
    _earlier: list[Intent] = field(default_factory=list)
    #: Those of which this run was the first to find no record.
    _just_absent: list[Move] = field(default_factory=list)
    #: Moves that need what a failed move of their asset did not bring.
    _skipped: list[Move] = field(default_factory=list)

    @property
    def receipts(self) -> list[Receipt]:
        """Of every move that the task has made, in their order."""
        return [self._receipts[number] for number in sorted(self._receipts)]

    def done(self) -> list[Receipt] | None:
        """The receipts of a plan that was carried out; ``None`` if it was not.

        :raises WhiteBitAlreadyMovedError: it was carried out with another account; or with other parameters, and the
            task was cleared since.
        :raises WhiteBitInDoubtError: another version of this package wrote the plan journal.
        :raises WhiteBitError: the plan journal cannot be read.
        """
        document = self._last_document()
        if document is None:
            return None
        cleared = document["generation"] != self.template.generation
        # A plan that had nothing to do may be made again when a person clears the task.
        if document["done"] is None or (not document["done"] and cleared):
            return None
        receipts = [Receipt.from_json(receipt) for receipt in document["done"]]
        if receipts:
            self._refuse_other_account(document["account"], document["connection"], receipts)
        changed = _changed(document["requested"], self.requested)
        if cleared and changed:
            raise plan_with_others(self.template, document["task"], changed, document["done"])
        if cleared:
            shared = is_idempotent(self.template.key)
            when = by(document["task"], self.template.task) if shared else "before this task was cleared"
            log.warning("This plan was carried out %s: its receipts are returned", when)
        return receipts

    def _last_document(self) -> Mapping[str, Any] | None:
        documents = self._documents()
        # Of a task's runs only the last one counts: one that was replaced and only stopped does not know of what came
        # after it. Of tasks that share an idempotency key, one that has carried out the plan counts.
        shared = [] if self.template.journal.by_tries else [document for document in documents if document["done"]]
        return next(reversed(shared or documents), None)

    def recover(self, *, announce: bool) -> list[Receipt]:
        """Find out what earlier runs of the task did. Sends nothing.

        :param announce: this run is about to send: write its name into the plan journal first.
        :raises WhiteBitInDoubtError: the records cannot tell whether a move ran.
        :raises WhiteBitError: the exchange or a journal cannot be reached; or this run is about to send, and an earlier
            one failed and went on to another move.
        :returns: the receipts so far.
        """
        documents = self._documents()
        if not documents and str((self.template.resumed or {}).get("key", "")).startswith(f"{self.template.key}."):
            # What this run writes now could replace what it wrote before it was deferred.
            raise WhiteBitJournalError("The plan's journal no longer shows what this run did.", next_step=REPLACED)
        self._highest = highest_number(documents)
        if announce:
            # Before the journals are read. A stopped run that this one replaces checks for a later run's name after it
            # has written an attempt, so either this run sees the attempt or that run sees the name.
            self._note()
            self._highest = highest_number(self._documents())
        try:
            in_vain = sum(self._recover(number) for number in range(1, self._highest + 1))
            self._refuse_other_parameters()
            if announce:
                refuse_superseded_plan(self.template)
        except WhiteBitError as error:
            self.add_facts(error)
            raise
        if in_vain > _MOST_IN_VAIN:
            raise self._error(
                f"{in_vain} moves of this task were sent and the exchange carried out none of them: it is too slow or "
                "refuses them."
            )
        if not announce and self._failures:
            raise self._error("It could not be found out whether a move of an earlier run was made.")
        return self.receipts

    def _refuse_other_parameters(self) -> None:
        """:raises WhiteBitAlreadyMovedError: another task has made moves of a plan with other parameters."""
        if not is_idempotent(self.template.key):
            return
        for document in self._documents():
            others = document["generation"] in self._made_in - {self.template.generation}
            changed = _changed(document["requested"], self.requested)
            if others and changed:
                made = [receipt.to_json() for receipt in self.receipts]
                raise plan_with_others(self.template, document["task"], changed, made)

    def _refuse_other_account(self, account: str, connection: str, made: Sequence[Receipt]) -> None:
        """Check that what was made is of an account of this run.

        :param account: fingerprint of the API key that made it.
        :param connection: name of the connection; empty if it is not known.
        :raises WhiteBitAlreadyMovedError: it was made with another account.
        """
        if self._is_own(account, connection):
            return
        key = self.template.api_key
        raise WhiteBitAlreadyMovedError(
            f"This task has already made moves of its plan with the connection {connection!r}; this time it names "
            f"{key.connection!r}.",
            completed_moves=[receipt.to_json() for receipt in made],
            next_step=f'Give each connection a plan of its own: key="plan {key.connection}".',
        )

    def _is_own(self, account: str, connection: str) -> bool:
        """Whether a connection is one of this run, or of the same account."""
        own = [key for key in (self.template.api_key, self.template.previous_key) if key is not None]
        known = any(account == key.fingerprint or connection == key.connection for key in own)
        return known or not connection or is_idempotent(self.template.key)

    def execute(self, moves: Sequence[Move], failures: Sequence[str] = ()) -> list[Receipt]:
        """Make the moves, each once. After a refusal, the moves that do not need the refused one are still made.

        :param moves: in order.
        :param failures: what else of the plan failed, in words. The plan is not done then.
        :raises WhiteBitInDoubtError: the records cannot tell whether a move ran.
        :raises WhiteBitPlanError: moves were refused.
        :raises WhiteBitStoppedError: people have stopped all moves; the error lists those that were made.
        :raises WhiteBitAlreadyMovedError: another run of the task continued with a plan of its own.
        :raises WhiteBitPlanOutdatedError: something else has moved since this was planned. Plan and call again.
        :raises WhiteBitUnavailableError: a move that the plan no longer contains may have run, or as below.
        :raises WhiteBitError: the exchange or a journal cannot be reached: run the task again.
        :returns: a receipt for each move of the task, of earlier runs too.
        """
        free = (number for number in itertools.count(1) if number not in self._used)
        numbered = list(zip(free, moves, strict=False))
        self._highest = max([self._highest, *(number for number, _ in numbered)])
        try:
            self._note()
            for number, move in numbered:
                if any(_prevents(failed, error, move) for failed, error in self._failures):
                    self._skipped.append(move)
                else:
                    self._make(number, move)
            if not self._failures and not failures:
                self._refuse_missing()
                self._note(done=self.receipts)
        except WhiteBitError as error:
            self.add_facts(error)
            raise
        if self._failures:
            raise self._error(f"Of {len(moves)} planned moves some were not made.", failures)
        if failures:
            raise self._error("The moves of the plan were made, but not all of the plan.", failures)
        return self.receipts

    def _refuse_missing(self) -> None:
        """Do not end a plan that no longer wants a move because, perhaps, that move ran and its record is late.

        Only the first run that finds no record fails. The next one looks again, and then it is absent.

        :raises WhiteBitUnavailableError: there is such a move.
        """
        made = {move.conflict_key for move, result in self.results if isinstance(result, Receipt)}
        missing = [str(move) for move in self._just_absent if move.conflict_key not in made]
        if missing:
            raise WhiteBitUnavailableError(
                f"The plan no longer contains what was sent for it and left no record so far: {'; '.join(missing)}.",
                money_moved=None,
                next_step="Run the task again: it looks for that record first.",
            )

    @property
    def _failures(self) -> list[tuple[Move, WhiteBitError]]:
        return [(move, result) for move, result in self.results if isinstance(result, WhiteBitError)]

    def _journal(self, number: int) -> Journal:
        return self.template.journal.sibling(self._key(number))

    def _key(self, number: int) -> str:
        return f"{self.template.key}.{number}"

    def _execution(self, number: int, move: Move, *, send: bool) -> ExecutionRequest:
        return replace(
            self.template,
            request=DecidedMove(move),
            journal=self._journal(number),
            plan_journal=self.template.journal,
            earlier=self._earlier,
            explained=tuple(self._receipts.values()),
            key=self._key(number),
            send=send,
            intent_id=f"{self.template.intent_id}.{number}",
        )

    def _recover(self, number: int) -> bool:
        """Find out what was done under a number. :returns: whether a move of this generation was sent in vain."""
        try:
            history = MoveHistory.merge(self._journal(number).read())
        except ValueError as error:
            raise WhiteBitInDoubtError(
                f"The journal {self._journal(number).identity!r} cannot be read: {error}."
            ) from None
        in_vain = reconciled = False
        for intent in history.intents.values():
            if not intent.attempts:
                continue
            self._used.add(number)
            if intent.state is State.EXECUTED and intent.receipt is not None:
                self._receipts[number] = intent.receipt
                self._refuse_other_account(intent.account, intent.connection, [intent.receipt])
            elif intent.in_doubt and not self._is_own(intent.account, intent.connection):
                # Nothing is sent with this account either.
                raise doubt_of_another_key(intent)
            elif intent.unproven:
                reconciled = True
                if not self._reconcile(number, intent.move):
                    continue
                if intent.in_doubt and number not in self._receipts:
                    self._just_absent.append(intent.move)
            in_vain |= number not in self._receipts and intent.generation == self.template.generation
        self._made_in |= {intent.generation for intent in history.intents.values() if number in self._receipts}
        if number not in self._receipts:
            # Read again: a person may have answered about some of them.
            self._earlier += MoveHistory.merge(self._journal(number).read()).unproven if reconciled else []
        return in_vain

    def _reconcile(self, number: int, move: Move) -> bool:
        """Find out whether a move in doubt ran. :returns: whether that could be found out."""
        try:
            receipt = execute_move(self._execution(number, move, send=False), sleep=self.sleep)
        except WhiteBitInDoubtError as error:
            log.error("In doubt: %s: %s", move, error)
            self.results.append((move, error))
            return False
        if receipt is None:
            log.info("Move %s of an earlier run never ran: %s", number, move)
        else:
            self._receipts[number] = receipt
            self.results.append((move, receipt))
        return True

    def _make(self, number: int, move: Move) -> None:
        self._used.add(number)
        try:
            receipt = execute_move(self._execution(number, move, send=True), sleep=self.sleep)
        except (WhiteBitRefusedError, WhiteBitValidationError, WhiteBitInDoubtError) as error:
            log.error("Not made: %s: %s", move, error)
            self.results.append((move, error))
            return
        except WhiteBitPlanOutdatedError:
            # What moved the asset may be what this run has sent: its record may appear late.
            known = len(self._earlier)
            self._recover(number)
            if len(self._earlier) > known:
                self._just_absent.append(move)
            raise
        if receipt is None:
            raise ValueError(f"move {number} was neither made nor refused")
        self._receipts[number] = receipt
        self.results.append((move, receipt))
        if not receipt.is_of(move):
            made = describe_receipt(receipt.to_json())
            raise WhiteBitAlreadyMovedError(
                f"Another run of this task continued with a plan of its own: its move {number} is {made}. "
                "This run stops.",
                money_moved=True,
                next_step="Clear the task when no run of it is active any more.",
            )

    def _documents(self) -> list[dict[str, Any]]:
        documents = self.template.journal.read()
        for document in documents:
            if document.get("version") != _VERSION or type(document.get("highest")) is not int:
                raise WhiteBitInDoubtError(
                    f"The journal {self.template.journal.identity!r} was written by another version of this package, "
                    "or for a single move. Nothing was sent.",
                    next_step="Finish the task with that version, or start a new dag run.",
                )
        return documents

    def _note(self, done: Sequence[Receipt] | None = None) -> None:
        self.template.journal.write(
            {
                "version": _VERSION,
                "run": self.template.run,
                "generation": self.template.generation,
                "task": self.template.task,
                "account": self.template.api_key.fingerprint,
                "connection": self.template.api_key.connection,
                "requested": dict(self.requested),
                "highest": max([self._highest, *self._receipts]),
                "done": None if done is None else [receipt.to_json() for receipt in done],
            }
        )

    def add_facts(self, error: WhiteBitError) -> None:
        """Let an error say what is known of the plan's moves: those that were made, and those that may have run.

        :param error: it is changed.
        """
        error.add_completed([receipt.to_json() for receipt in self.receipts])
        for _, failed in self._failures:
            # A move that is refused beside another one of the task says what is known of that one.
            error.add_completed(failed.completed_moves)
            if failed.money_moved is None:
                error.money_moved = None
                error.journal_entry = error.journal_entry or failed.journal_entry
        if self._earlier and error.money_moved is False:
            error.money_moved = None
        if error.money_moved is False and self.template.begun_before:
            add_moves_instead_of_plan(self.template, error)

    def _error(self, what: str, failures: Sequence[str] = ()) -> WhiteBitError:
        """The failure of a plan, with the facts of its moves.

        :param failures: what failed besides moves, in words.
        """
        doubt = next((error for _, error in self._failures if isinstance(error, WhiteBitInDoubtError)), None)
        parts = [what, *(f"Not made: {move}: {in_one_line(error)}" for move, error in self._failures)]
        stopped = next((error for _, error in self._failures if isinstance(error, WhiteBitStoppedError)), None)
        why = "it needs what was not made before it." if stopped is None else "all moves are stopped."
        parts += [f"Not made: {move}: {why}" for move in self._skipped]
        parts += failures
        error: WhiteBitError = WhiteBitPlanError("\n".join(parts))
        if stopped is not None:
            error = WhiteBitStoppedError("\n".join(parts), next_step=stopped.next_step)
        if doubt is not None:
            error = WhiteBitInDoubtError(
                "\n".join(parts), intent_id=doubt.intent_id, path=doubt.path, next_step=doubt.next_step
            )
        self.add_facts(error)
        return error


def _prevents(failed: Move, error: WhiteBitError, move: Move) -> bool:
    """Whether a move of a plan cannot be made because an earlier one has failed.

    What leaves a plan needs no other move. Investments and transfers need what was to leave a plan before them.
    """
    if isinstance(error, WhiteBitStoppedError):
        # Nothing else of this run is tried, even if moves may go on meanwhile: a person clears the task.
        return True
    if failed.ticker != move.ticker:
        return False
    in_doubt = error.money_moved is not False
    return in_doubt or failed.conflict_key == move.conflict_key or (failed.leaves_plan and not move.leaves_plan)


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
