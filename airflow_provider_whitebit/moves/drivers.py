"""Perform the effects of the protocol: blocking in a worker, or without blocking in a trigger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from airflow_provider_whitebit.client.api import Report, WhiteBitClient
from airflow_provider_whitebit.client.errors import (
    WhiteBitAuthenticationError,
    WhiteBitConfigurationError,
    WhiteBitError,
    WhiteBitInDoubtError,
    WhiteBitJournalError,
    WhiteBitPermissionError,
    WhiteBitUnavailableError,
    WhiteBitValidationError,
)
from airflow_provider_whitebit.client.transport import urgently
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.moves import effects as e
from airflow_provider_whitebit.moves import protocol
from airflow_provider_whitebit.moves.account import collateral_balance, spot_balance
from airflow_provider_whitebit.moves.allowance import LimitUse, foresee, used_limits
from airflow_provider_whitebit.moves.doubts import REPLACED
from airflow_provider_whitebit.moves.evidence import Evidence
from airflow_provider_whitebit.moves.execution import ApiKey, ExecutionRequest
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Balances, Intent, Move, Operation, Receipt
from airflow_provider_whitebit.moves.journal import Journal, SpendingLog
from airflow_provider_whitebit.moves.limits import Limits
from airflow_provider_whitebit.moves.reading import read_invested, read_moves
from airflow_provider_whitebit.moves.reconciliation import reconcile
from airflow_provider_whitebit.moves.resolution import unproven_nonces
from airflow_provider_whitebit.moves.supersession import (
    add_moves_instead,
    failure_key,
    highest_number,
    refuse_if_superseded,
)

ResultT = TypeVar("ResultT")


class ReconcileLater(Exception):
    """A move in doubt can only be reconciled later. Execute the same move again when the time has come.

    :param until_ms: the exchange's time to wait for, in milliseconds.
    :param intent: the intent in doubt; :func:`reconcile_in_background` can reconcile it.
    :param sent: how often this run of the task has sent the move.
    """

    def __init__(self, until_ms: int, intent: Intent, sent: int) -> None:
        self.until_ms = until_ms
        self.intent = intent
        self.sent = sent
        super().__init__(f"move {intent.id} can be reconciled once the exchange's clock has passed {until_ms}")


def execute_move(execution: ExecutionRequest, *, sleep: Callable[[float], None] = time.sleep) -> Receipt | None:
    """Make a move once, blocking until it is made, refused, or in doubt.

    :param execution: what to make, with what, and where its journal is.
    :param sleep: waits, in seconds.
    :raises ReconcileLater: only with ``execution.defer``.
    :raises WhiteBitInDoubtError: the records cannot tell whether the move ran.
    :raises WhiteBitError: refused, unreachable, or the journal cannot be kept.
    :returns: the receipt; ``None`` if nothing was made and ``execution.send`` is false.
    """
    chosen = _with_its_key(execution)
    worker = _Worker(chosen, sleep)
    try:
        receipt = run(protocol.execute(chosen), worker.perform)
    except WhiteBitInDoubtError as error:
        previous = chosen.previous_key
        if previous is not None and _was_sent_with(previous, execution, error.intent_id):
            # Since the key was chosen, another run of the task has begun the move with the previous key.
            return execute_move(replace(execution, api_key=previous, previous_key=None), sleep=sleep)
        error.journal_entry = execution.journal.entry
        _report(execution, error)
        raise
    for intent_id in dict.fromkeys(worker.asked):
        execution.resolutions.close(intent_id)
    return receipt


def refuse_superseded_plan(template: ExecutionRequest) -> None:
    """Repeat the error of a plan, if the task went on to another move that was made or may have been.

    :param template: of the plan's moves.
    :raises WhiteBitError: the error, or a journal cannot be read.
    """
    run(refuse_if_superseded(template, failure_key(template.key)), _Worker(template, time.sleep).perform)


def add_moves_instead_of_plan(template: ExecutionRequest, error: WhiteBitError) -> None:
    """Let a plan's error that says that no money moved say what the task made instead, perhaps in an older run.

    :param template: of the plan's moves.
    :param error: it is changed.
    """
    run(add_moves_instead(template, error, failure_key(template.key)), _Worker(template, time.sleep).perform)


def check_limits_over_time(limits: Limits, api_key: ApiKey, moves: Sequence[Move]) -> None:
    """Check moves that are not sent against the limits over time.

    :param limits: of the connection.
    :param api_key: of the connection.
    :param moves: in their order.
    :raises WhiteBitLimitError: a limit does not allow one of them now.
    :raises WhiteBitError: the exchange or the spending log cannot be read.
    """

    def perform(effect: e.Effect) -> Any:
        if isinstance(effect, e.ReadSpending):
            return api_key.spending.read(effect.name)
        return ask_exchange(api_key.client, effect)

    run(foresee(limits, moves, api_key.reconcile_margin_ms), perform)


def read_used_limits(
    limits: Limits, client: WhiteBitClient, spending: SpendingLog, reconcile_margin_ms: int
) -> list[LimitUse]:
    """Find how much of each limit over time is used now.

    :param limits: of the connection.
    :param client: reads the account.
    :param spending: the spending log of the account.
    :param reconcile_margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :raises WhiteBitError: the exchange or the spending log cannot be read.
    """

    def perform(effect: e.Effect) -> Any:
        if isinstance(effect, e.ReadSpending):
            return spending.read(effect.name)
        # Not urgent: what the rate limit reserves for moves stays there.
        return read_moves(client, effect.since) if isinstance(effect, e.ReadMoves) else ask_exchange(client, effect)

    found: list[LimitUse] = run(used_limits(limits, reconcile_margin_ms), perform)
    return found


class _Worker:
    """Performs the effects of one execution, blocking."""

    def __init__(self, execution: ExecutionRequest, sleep: Callable[[float], None]) -> None:
        self._execution = execution
        self._client = execution.api_key.client
        self._sleep = sleep
        self._sent = execution.sent
        #: Ids of the intents whose doubt an earlier run may have reported.
        self.asked: list[str] = []

    def perform(self, effect: e.Effect) -> Any:
        """Perform one effect. :raises WhiteBitError: the effect failed."""
        execution = self._execution
        match effect:
            case e.Pause(milliseconds):
                self._sleep(milliseconds / 1000)
                return None
            case e.WaitUntil(until_ms, left_ms, intent):
                if execution.defer:
                    raise ReconcileLater(until_ms, intent, self._sent)
                self._sleep(left_ms / 1000)
                return None
            case e.Send(call, nonce):
                self._sent += 1
                return self._client.send_move(call, nonce=nonce)
            case e.ClaimNonce(nonce, call):
                if execution.previous_key is not None:
                    # First, because processes that still use the old key lock with that key alone.
                    _claim_with_previous(execution.previous_key, nonce, call)
                return self._client.claim_nonce(nonce, call=call)
            case e.ReadJournal(key):
                return (execution.journal.sibling(key) if key else execution.journal).read()
            case e.PrepareJournal():
                return execution.journal.prepare()
            case e.WriteJournal(history, key):
                return (execution.journal.sibling(key) if key else execution.journal).write(history.to_json())
            case e.ReadMarker(conflict_key):
                return execution.api_key.markers.read(conflict_key)
            case e.WriteMarker(conflict_key, marker):
                return execution.api_key.markers.write(conflict_key, marker)
            case e.ReadResolution(intent_id):
                self.asked.append(intent_id)
                return execution.resolutions.read(intent_id)
            case e.ReadSpending(name):
                return execution.api_key.spending.read(name)
            case e.WriteSpending(name, history, pages):
                return execution.api_key.spending.write(name, history.to_json(), pages)
            case e.FinishSpending(name, pages):
                return execution.api_key.spending.finish(name, pages)
            case e.Resolve():
                return execution.request.resolve(execution.account)
            case e.CheckPromise(move):
                return None if execution.promise is None else execution.promise.check(execution.account, move)
            case e.CheckStop():
                return None if execution.check_stop is None else execution.check_stop()
            case e.AnnounceRun(plan):
                return _announce_run(execution, execution.journal.sibling(plan))
            case e.ConfirmRun(plan):
                return _confirm_run(execution, execution.journal.sibling(plan) if plan else execution.plan_journal)
        return ask_exchange(self._client, effect)


def _with_its_key(execution: ExecutionRequest) -> ExecutionRequest:
    """The same execution with the previous API key, if its move was begun with that.

    Such a move is finished with its own key: nonces and locks of another one prove nothing about it.

    :raises WhiteBitJournalError: the journal cannot be read.
    """
    previous = execution.previous_key
    if previous is None:
        return execution
    try:
        history = MoveHistory.merge(execution.journal.read())
    except ValueError:
        # The protocol reads the journal again and reports what is wrong with it.
        return execution
    keys = {history.executed.account} if history.executed else {one.account for one in history.begun}
    # With attempts of both keys, the new one finishes the move: the records are the account's, and both are locked.
    return replace(execution, api_key=previous, previous_key=None) if keys == {previous.fingerprint} else execution


def _was_sent_with(key: ApiKey, execution: ExecutionRequest, intent_id: str) -> bool:
    """Whether the intent that an error names, if any, belongs to an API key."""
    if not intent_id:
        return False
    intent = MoveHistory.merge(execution.journal.read()).intents.get(intent_id)
    return intent is not None and intent.account == key.fingerprint


def _report(execution: ExecutionRequest, error: WhiteBitInDoubtError) -> None:
    """Let people find the intent that an error names."""
    with suppress(WhiteBitError, ValueError):
        unproven = {one.id: one for one in MoveHistory.merge(execution.journal.read()).unproven}
        if error.intent_id in unproven:
            nonces = unproven_nonces(unproven.values())
            execution.resolutions.report(unproven[error.intent_id], nonces, execution.journal.entry)


def _announce_run(execution: ExecutionRequest, plan_journal: Journal) -> None:
    """Write the name of this run into the plan journal, if a run of the plan has ever done so."""
    documents = plan_journal.read()
    if documents and "run" in documents[-1]:
        plan_journal.write({**documents[-1], "run": execution.run, "highest": highest_number(documents)})


def _confirm_run(execution: ExecutionRequest, plan_journal: Journal | None) -> None:
    """:raises WhiteBitJournalError: another run is the latest that has written its name into the plan journal."""
    documents = [] if plan_journal is None else plan_journal.read()
    if documents and documents[-1].get("run", execution.run) != execution.run:
        raise WhiteBitJournalError("A later run of this task has taken over: this one stops.", next_step=REPLACED)
    number = execution.key.rpartition(".")[2]
    if plan_journal is execution.plan_journal is not None and highest_number(documents) < int(number):
        raise WhiteBitJournalError("The plan's journal does not hold what this run wrote: this run stops.")


def _claim_with_previous(previous: ApiKey, nonce: int, call: Any) -> None:
    try:
        previous.client.claim_nonce(nonce, call=call)
    except (WhiteBitAuthenticationError, WhiteBitPermissionError) as error:
        raise WhiteBitConfigurationError(
            "The exchange no longer accepts the key of the connection's previous_conn_id.",
            said=error.said,
            next_step="Remove previous_conn_id from the connection. Moves begun with that key cannot be finished.",
        ) from error


def ask_exchange(client: WhiteBitClient, effect: e.Effect) -> Any:
    """Perform an effect that reads from the exchange, or its clock.

    :raises WhiteBitError: as the client's methods do.
    """
    with urgently():
        match effect:
            case e.ReadClock():
                return e.ClockReading(client.clock.now_ms(), client.clock.last_seconds)
            case e.AskTime():
                client.clock.forget()
                return client.server_time().int_timestamp
            case e.ReadRecords(move, since):
                unreadable: list[UnreadableRecord] = []
                narrow, wide = _readings(client, move, since, unreadable.append)
                try:
                    found = [*narrow()]
                except WhiteBitValidationError:
                    # The exchange refuses to filter by a plan or asset that is gone.
                    unreadable.clear()
                    found = [*wide()]
                return [*found, *unreadable]
            case e.ReadBalances(move):
                return Balances(_held(client, move.source, move.ticker), _held(client, move.target, move.ticker))
            case e.ReadMoves(since):
                return read_moves(client, since)
            case e.ReadInvested(move):
                return read_invested(client, move)
    raise TypeError(f"cannot perform {effect!r}")


def _readings(
    client: WhiteBitClient, move: Move, since: int, on_unreadable: Report
) -> tuple[Callable[[], Iterator[Evidence]], Callable[[], Iterator[Evidence]]]:
    """Two ways to read the records in which a move would appear: narrowly, and without naming a plan or an asset."""
    options: dict[str, Any] = {"on_unreadable": on_unreadable, "strict": True}
    match move.operation:
        case Operation.FIXED_INVEST:
            fixed = partial(client.fixed_investments, **options)
            return partial(fixed, ticker=move.ticker), fixed
        case Operation.FIXED_CLOSE:
            closed = partial(client.fixed_investments, investment=move.investment_id, **options)
            return closed, closed
        case Operation.SUB_ACCOUNT_TRANSFER:
            # Of both directions: one with an unknown name may be this move's.
            transfers = partial(client.sub_account_transfers, move.sub_account_id, date_from=since, **options)
            return transfers, transfers
        case _:
            # Of every action: one with an unknown number may be this move.
            flex = partial(client.flex_history, date_from=since, **options)
            return partial(flex, plan=move.plan_id), flex


def _held(client: WhiteBitClient, account: str, ticker: str) -> Decimal:
    """What one balance holds, with what open orders hold of it: placing an order moves nothing away."""
    if account == "main":
        return client.main_balance(ticker)[ticker]
    if account == "collateral":
        return collateral_balance(client, ticker)
    balance = spot_balance(client, ticker)
    if balance.freeze is None:
        raise WhiteBitUnavailableError(
            f"The exchange does not say how much {ticker} open orders hold (field 'freeze')."
        )
    return balance.available + balance.freeze


async def reconcile_in_background(
    client: WhiteBitClient,
    intent: Intent,
    *,
    reconcile_margin_ms: int,
    read_marker: Callable[[str], Awaitable[str | None]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Intent:
    """Reconcile a move in doubt without blocking the event loop: the client runs in a thread. Sends nothing.

    :param intent: the intent in doubt.
    :param reconcile_margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :param read_marker: reads one of the :class:`~.journal.MoveMarkers`.
    :param sleep: waits, in seconds.
    :raises WhiteBitInDoubtError: the records cannot tell.
    :raises WhiteBitError: the exchange cannot be reached.
    :returns: the intent, executed or with nothing left in doubt.
    """
    steps = reconcile(intent, reconcile_margin_ms)
    outcome: Any = None
    while True:
        try:
            effect = steps.throw(outcome) if isinstance(outcome, WhiteBitError) else steps.send(outcome)
        except StopIteration as end:
            reconciled: Intent = end.value
            return reconciled
        try:
            if isinstance(effect, e.WaitUntil):
                await sleep(effect.left_ms / 1000)
                outcome = None
            elif isinstance(effect, e.ReadMarker):
                outcome = await read_marker(effect.conflict_key)
            else:
                outcome = await asyncio.to_thread(ask_exchange, client, effect)
        except WhiteBitError as error:
            outcome = error


def run(protocol: Generator[e.Effect, Any, ResultT], perform: Callable[[e.Effect], Any]) -> ResultT:
    """Drive a protocol to its end.

    :param perform: performs one effect. A :class:`WhiteBitError` that it raises is thrown into the protocol; any other
        exception ends the run and leaves the journal as it is.
    """
    outcome: Any = None
    try:
        while True:
            effect = protocol.throw(outcome) if isinstance(outcome, WhiteBitError) else protocol.send(outcome)
            try:
                outcome = perform(effect)
            except WhiteBitError as error:
                outcome = error
    except StopIteration as end:
        result: ResultT = end.value
        return result
    finally:
        protocol.close()
