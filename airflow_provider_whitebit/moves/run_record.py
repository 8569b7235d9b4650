"""What one run of the protocol knows of its move, and how it reads and writes the journal. Without I/O."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitAlreadyMovedError, WhiteBitJournalError
from airflow_provider_whitebit.moves.doubts import REPLACED, doubt_of_another_key
from airflow_provider_whitebit.moves.effects import Effect, Pause, ReadMarker, ReadResolution, WriteJournal, WriteMarker
from airflow_provider_whitebit.moves.evidence import Explained
from airflow_provider_whitebit.moves.execution import ExecutionRequest
from airflow_provider_whitebit.moves.history import MoveHistory, merge_intents
from airflow_provider_whitebit.moves.intent import Intent, State
from airflow_provider_whitebit.moves.journal import done, marker_of
from airflow_provider_whitebit.moves.keys import is_idempotent, made_with_another_key
from airflow_provider_whitebit.moves.resolution import Answer, Resolution, unproven_nonces
from airflow_provider_whitebit.moves.supersession import Steps, read_history

log = logging.getLogger(__name__)

#: Pauses after a failed write of how a move ended, in milliseconds. After the last one the journal is left as it is.
_WRITE_PAUSES_MS = (500, 2_000, 1)


class RunRecord:
    """One run of the protocol, and what it knows of the move.

    :param execution: what this run is to do.
    """

    def __init__(self, execution: ExecutionRequest) -> None:
        self.execution = execution
        self.margin_ms = execution.api_key.reconcile_margin_ms
        #: What the journal holds, and what this run has found out since.
        self.history = MoveHistory()
        #: Nonces of attempts that this run has judged by the exchange's records.
        self.judged: set[int] = set()
        #: What is known of records that are certainly of other moves.
        self.explained = Explained(receipts=execution.explained)

    def read(self) -> Steps:
        """Read the journal. If an earlier run of the task has begun, first write that this one has.

        An earlier run that only stood still reads the journal after it has written an attempt. So either its attempt is
        seen here, or it sees that it was replaced.
        """
        execution = self.execution
        self.history = yield from read_history(execution)
        resumed = execution.resumed or {}
        if resumed.get("key") == execution.key and str(resumed["id"]) not in self.history.intents:
            # What this run writes now could replace what it wrote before it was deferred.
            raise WhiteBitJournalError("The journal no longer shows what this run did.", next_step=REPLACED)
        in_plan = execution.plan_journal is not None
        replaces = execution.begun_before and execution.journal.by_tries and self.history.run != execution.run
        if execution.send and replaces and not in_plan:
            yield WriteJournal(replace(self.history, run=execution.run))
            self.history = yield from read_history(execution)
            if self.history.run != execution.run:
                # A try that Airflow has replaced reads nothing, or what the later try has written.
                raise WhiteBitJournalError(
                    "A later run of this task has taken over: this one stops.", next_step=REPLACED
                )

    def apply_resumed(self) -> Steps:
        """Take over what a trigger found out about one intent, if it is about the same attempts."""
        known = self.history.intents[str((self.execution.resumed or {})["id"])]
        try:
            told = Intent.from_json(self.execution.resumed or {})
        except ValueError:
            return
        same = [one.nonce for one in told.attempts] == [one.nonce for one in known.attempts]
        if same and told.account == known.account and (merged := merge_intents(known, told)) != known:
            yield from self.keep(merged)

    def apply_resolutions(self) -> Steps:
        """Take over what people have answered about the moves in doubt of this journal.

        :raises WhiteBitJournalError: an answer cannot be read.
        """
        answers: list[Resolution] = []
        for intent in self.history.unproven:
            resolution = yield ReadResolution(intent.id)
            if resolution is not None:
                references = self.explained.references.union(resolution.explained)
                self.explained = replace(self.explained, references=references)
                answers += [resolution] if resolution.answer is not Answer.EXPLAINED else []
        if not answers:
            return
        # Another run may have found out meanwhile that some of these attempts were never sent.
        written = yield from read_history(self.execution)
        self.history = MoveHistory.merge((written.to_json(), self.document().to_json()))
        unproven = {intent.id: intent for intent in self.history.unproven}
        nonces = unproven_nonces(unproven.values())
        for answer in answers:
            known = unproven.get(answer.intent_id)
            if known is not None and answer.answers(known, nonces):
                log.warning("Move %s: %s says that it %s", known.id, answer.resolved_by, answer.answer)
                yield from self.keep(answer.applied_to(known))

    def is_answered(self, written: MoveHistory, intent: Intent) -> Generator[Effect, Any, bool]:
        """Whether a person has answered whether earlier attempts ran, after this run has judged them.

        :param written: what the journal holds.
        :param intent: with the attempt that is about to be sent.
        """
        known = merge_intents(written.intents[intent.id], intent.last_refused())
        earlier = written.with_intent(known).unproven
        nonces = unproven_nonces(earlier)
        for one in earlier:
            resolution = yield ReadResolution(one.id)
            if resolution is not None and resolution.answers(one, nonces):
                return True
        return False

    def check_keys(self, history: MoveHistory) -> None:
        """Check that this API key may judge and repeat what the history holds.

        :raises WhiteBitInDoubtError: a move sent with another key is in doubt: this key proves nothing about it.
        :raises WhiteBitAlreadyMovedError: the move was made with another connection, or with another key before the
            task was cleared.
        """
        key, previous, made = self.execution.api_key, self.execution.previous_key, history.executed
        if made is None:
            accounts = {one.fingerprint for one in (key, previous) if one is not None}
            for intent in history.intents.values():
                if intent.in_doubt and intent.account not in accounts:
                    raise doubt_of_another_key(intent)
            return
        if made.account == key.fingerprint or is_idempotent(self.execution.key):
            # An idempotency key's journal belongs to the account, whichever of its API keys has made the move.
            return
        receipts = [] if made.receipt is None else [made.receipt.to_json()]
        # A retry gets the receipt of a move that ran, whatever the key: nothing is sent for it.
        if made.connection not in ("", key.connection):
            raise WhiteBitAlreadyMovedError(
                f"This task has already made this move ({made.move}) with the connection {made.connection!r}; this "
                f"time it names {key.connection!r}.",
                completed_moves=receipts,
                next_step=f'Give each connection a move of its own: key="{made.move.operation} {key.connection}".',
            )
        if made.generation != self.execution.generation and not made.resolved_by:
            raise made_with_another_key(made)

    def tells_more(self, written: MoveHistory) -> bool:
        """Whether another run of this task has sent something, or gone on, that this one does not know of."""
        nonces = {attempt.nonce for intent in self.history.intents.values() for attempt in intent.attempts}
        return written.superseded_by != self.history.superseded_by or any(
            intent.state is State.EXECUTED or any(attempt.nonce not in nonces for attempt in intent.attempts)
            for intent in written.intents.values()
        )

    def is_judged(self, intent: Intent) -> bool:
        return self.judged.issuperset(attempt.nonce for attempt in intent.unproven)

    def write(self, intent: Intent) -> Steps:
        """Write what is known of an intent. :raises WhiteBitJournalError: it is not certain that it is durable."""
        self.history = self.history.with_intent(intent)
        yield WriteJournal(self.document())

    def document(self) -> MoveHistory:
        """What this run writes into the journal."""
        return replace(self.history, run=self.execution.run)

    def keep(self, intent: Intent) -> Steps:
        """Write how a move ended. If that fails, the records tell the next run the same."""
        for pause in _WRITE_PAUSES_MS:
            try:
                yield from self.write(intent)
            except WhiteBitJournalError as error:
                log.warning("The end of move %s (%s) was not written: %s", intent.id, intent.state, error.message)
                yield Pause(pause)
            else:
                return (yield from _finish_marker(intent))


def _finish_marker(intent: Intent) -> Steps:
    """Let the next move of the conflict key no longer wait for this one, if it is known what became of it."""
    if intent.unproven or not intent.attempts:
        return
    marker = marker_of(intent.id, intent.attempts[-1].nonce)
    with suppress(WhiteBitJournalError):
        if (yield ReadMarker(intent.move.conflict_key)) == marker:
            yield WriteMarker(intent.move.conflict_key, done(marker))
