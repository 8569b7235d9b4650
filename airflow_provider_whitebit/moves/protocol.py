"""How a move is made once, without I/O: it yields the effects that it wants, and receives their results.

Drivers perform the effects: in a worker, in a trigger, in a simulation. The promise and what it rests on:
``docs/once.md``. The states of an intent: :class:`~.intent.State`.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from typing import Any

from airflow_provider_whitebit.client.errors import (
    WhiteBitAlreadyMovedError,
    WhiteBitError,
    WhiteBitInDoubtError,
    WhiteBitUnavailableError,
    quoted,
)
from airflow_provider_whitebit.moves.allowance import foresee
from airflow_provider_whitebit.moves.doubts import sent_at
from airflow_provider_whitebit.moves.effects import (
    CheckStop,
    Effect,
    Pause,
    Resolve,
)
from airflow_provider_whitebit.moves.execution import ExecutionRequest, Rules
from airflow_provider_whitebit.moves.intent import Intent, Move, Receipt, State
from airflow_provider_whitebit.moves.keys import by, is_idempotent, key_advice, made_with_others, shown_key
from airflow_provider_whitebit.moves.nonce_lock import take_lock
from airflow_provider_whitebit.moves.reconciliation import judged_intent, reconcile, verdict_of
from airflow_provider_whitebit.moves.run_record import RunRecord
from airflow_provider_whitebit.moves.sending import prepare, send
from airflow_provider_whitebit.moves.supersession import (
    Steps,
    add_moves_instead,
    read_history,
    refuse_superseded,
    supersede_failed,
)

log = logging.getLogger(__name__)


def execute(execution: ExecutionRequest, rules: Rules | None = None) -> Generator[Effect, Any, Receipt | None]:
    """Make a move once, whatever earlier runs of the task have left behind.

    :raises WhiteBitInDoubtError: the records cannot tell whether the move ran; nothing more is sent.
    :raises WhiteBitAlreadyMovedError: it ran before, with other parameters.
    :raises WhiteBitError: the exchange refused it or cannot be reached, or the journal cannot.
    :returns: the receipt; ``None`` if nothing was made and ``execution.send`` is false.
    """
    return (yield from _Run(execution, rules or Rules()).execute())


class _Run(RunRecord):
    """One run of the protocol."""

    def __init__(self, execution: ExecutionRequest, rules: Rules) -> None:
        super().__init__(execution)
        self.rules = rules

    def execute(self) -> Generator[Effect, Any, Receipt | None]:
        try:
            return (yield from self._execute())
        except WhiteBitError as error:
            if error.money_moved is False:
                yield from self._qualify(error)
            raise

    def _qualify(self, error: WhiteBitError) -> Steps:
        """Let an error that says that no money moved say what others did meanwhile.

        They are other tasks with this idempotency key, or an older run of the task that has gone on to another move.
        """
        if not self.execution.journal.by_tries:
            try:
                self.history = yield from read_history(self.execution)
            except WhiteBitError:
                error.money_moved = None
                return
        if self.history.executed is not None and self.history.executed.receipt is not None:
            error.add_completed([self.history.executed.receipt.to_json()])
        elif self.history.unproven:
            _add_unproven(error, self.history.unproven)
        elif self.execution.begun_before:
            yield from add_moves_instead(self.execution, error)

    def _execute(self) -> Generator[Effect, Any, Receipt | None]:
        execution, tries_left = self.execution, self.rules.tries
        yield from self.read()
        if execution.resumed is not None and str(execution.resumed.get("id")) in self.history.intents:
            # Only the deferred move of a task has used up tries.
            tries_left -= execution.sent
            yield from self.apply_resumed()
        pause = self.rules.first_pause_ms
        last_error: WhiteBitError | None = None
        while True:
            intent = yield from self._catch_up()
            if execution.send and (intent is None or intent.state is not State.EXECUTED):
                yield from refuse_superseded(execution, self.history)
            if intent is not None and intent.state is not State.OPEN:
                return self._conclude(intent)
            if not execution.send:
                return None
            # First, so that a stopped run asks the exchange for nothing more and leaves no trace.
            yield CheckStop()
            # Before the lock, so that nothing is claimed in vain.
            yield from supersede_failed(execution)
            if tries_left <= 0:
                raise self._gave_up(last_error)
            tries_left -= 1
            move = intent.move if intent is not None else (yield Resolve())
            self._permit(move, intent)
            own = execution.intent_id if intent is None else intent.id
            # Before the lock, so that a move that does not fit makes no other one wait.
            yield from foresee(execution.limits, [move], self.margin_ms, own=own, certain=True)
            yield from prepare(self)
            own_intents = (execution.intent_id, *self.history.intents)
            # The rest of a slot may have been too short for everything that comes before the sending.
            whole = last_error is not None
            lock = yield from take_lock(execution, self.rules, move, own_intents, whole=whole)
            last_error, intent = yield from send(self, intent, move, lock)
            self.history = self.history.with_intent(intent)
            if intent.state is State.EXECUTED:
                return self._conclude(intent)
            log.info("Move %s: %s", intent.id, last_error)
            if not intent.in_doubt:
                if tries_left <= 0 and last_error is not None:
                    yield from self.keep(intent)
                    raise last_error
                yield Pause(pause)
                pause *= 2

    def _catch_up(self) -> Generator[Effect, Any, Intent | None]:
        """Apply what people have answered, reconcile what is in doubt, and look again for what was found absent.

        :returns: the intent to conclude or to continue; ``None`` to start afresh.
        """
        execution = self.execution
        if self.history.executed is None:
            yield from self.apply_resolutions()
        self.check_keys(self.history)
        if self.history.executed is not None:
            return self.history.executed
        doubts: list[WhiteBitInDoubtError] = []
        for known in self.history.unproven:
            try:
                intent = yield from self._judged_again(known)
            except WhiteBitInDoubtError as error:
                # What it is unclear about may certainly be another attempt's.
                doubts.append(error)
                continue
            self.judged.update(attempt.nonce for attempt in intent.attempts)
            if intent != known:
                yield from self.keep(intent)
            if intent.state is State.EXECUTED:
                return intent
        if doubts:
            raise doubts[0]
        own = [one for one in self.history.intents.values() if one.account == execution.api_key.fingerprint]
        latest = own[-1] if own else None
        if latest is None or latest.generation != execution.generation:
            return None
        if latest.state is State.REFUSED and (execution.again or not execution.send):
            return None
        if latest.state is State.OPEN and latest.requested != execution.request.to_json():
            log.warning("The parameters changed since move %s began; it keeps %s", latest.id, latest.requested)
        return latest

    def _judged_again(self, intent: Intent) -> Generator[Effect, Any, Intent]:
        if intent.in_doubt:
            return (yield from reconcile(intent, self.margin_ms, self.explained))
        if self.is_judged(intent):
            return intent
        return judged_intent(intent, (yield from verdict_of(intent, self.margin_ms, self.explained)))

    def _conclude(self, intent: Intent) -> Receipt | None:
        """The receipt or the refusal of an intent that has ended."""
        execution = self.execution
        if intent.refusal is not None:
            raise intent.refusal.error()
        if intent.receipt is None:
            raise ValueError(f"intent {intent.id} has not ended")
        elsewhere = not execution.request.means(intent.receipt)
        if elsewhere and not execution.send and not is_idempotent(execution.key):
            return None
        requested = execution.request.to_json()
        cleared = intent.generation != execution.generation
        if elsewhere or (cleared and intent.requested != requested):
            before, now = _parameters(intent.requested, requested), _parameters(requested, intent.requested)
            error = made_with_others(execution, intent, before, now)
            error.next_step = key_advice(execution.key) if elsewhere else error.next_step
            raise error
        if cleared:
            when = by(intent.task, execution.task) if is_idempotent(execution.key) else "before this task was cleared"
            log.warning("Move %s was made %s: its receipt is returned", intent.id, when)
        return intent.receipt

    def _permit(self, move: Move, intent: Intent | None) -> None:
        """Check a move that is about to be sent.

        :raises WhiteBitLimitError: the connection's limits forbid it.
        :raises WhiteBitAlreadyMovedError: it is an earlier run's, and goes elsewhere than what is asked for now.
        """
        execution = self.execution
        execution.limits.check(move.operation, move.ticker, move.amount)
        if intent is not None and not execution.request.means(move):
            raise WhiteBitAlreadyMovedError(
                f"An earlier run of this task began its move {shown_key(execution.key)} as {move} and did not carry it "
                f"out; this time it asks for {_parameters(execution.request.to_json(), intent.requested)}.",
                money_moved=False,
                next_step=key_advice(execution.key),
            )

    def _gave_up(self, last_error: WhiteBitError | None) -> WhiteBitError:
        return WhiteBitUnavailableError(
            f"The move was tried {self.rules.tries} times and the exchange carried out none of the tries."
            + (f" The last one: {last_error.message}" if last_error else ""),
            said=quoted(last_error) if last_error else "",
        )


def _add_unproven(error: WhiteBitError, unproven: Sequence[Intent]) -> None:
    """Let an error say that an earlier attempt may have run. The refusal may even be its consequence."""
    sent = ", ".join(sent_at(attempt) for intent in unproven for attempt in intent.unproven)
    error.money_moved = None
    error.next_step = (
        f"This move was also sent at {sent}, and left no record so far. Clear the task later: it looks for that record "
        "before it sends anything.",
        *([error.next_step] if isinstance(error.next_step, str) else error.next_step),
    )


def _parameters(requested: dict[str, Any], others: dict[str, Any]) -> str:
    """Parameters as a person writes them; the operation only if it is not that of the others."""
    same = {"operation"} if requested.get("operation") == others.get("operation") else set()
    given = (f"{name}={value}" for name, value in requested.items() if value is not None and name not in same)
    return ", ".join(given) or "other parameters"
