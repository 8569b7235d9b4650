"""Answers about moves in doubt from a task, which has no access to Airflow's database.

A task knows fewer of the account's other moves than the command and the Treasury page: only those with an asset event,
not those that only stand in the journals of other tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import pendulum

from airflow_provider_whitebit.client.errors import clean
from airflow_provider_whitebit.hooks.airflow_compat import variable_names
from airflow_provider_whitebit.hooks.announced import announced_moves
from airflow_provider_whitebit.hooks.doubts import RESOLUTION, Report, read_report, read_resolution
from airflow_provider_whitebit.hooks.journals import markers_for
from airflow_provider_whitebit.hooks.stores import VariableStore, task_in_words
from airflow_provider_whitebit.moves.doubts import doubt_of_another_key
from airflow_provider_whitebit.moves.drivers import ask_exchange
from airflow_provider_whitebit.moves.effects import AskTime, ReadBalances, ReadRecords
from airflow_provider_whitebit.moves.evidence import Trace, begins_at, has_left, traces_of
from airflow_provider_whitebit.moves.examination import (
    Examined,
    Observation,
    OtherMove,
    examine_records,
    examine_transfer,
    refused,
)
from airflow_provider_whitebit.moves.intent import Intent, Operation
from airflow_provider_whitebit.moves.journal import marker_of
from airflow_provider_whitebit.moves.resolution import Answer, Resolution

if TYPE_CHECKING:
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook


def examine(hook: WhiteBitHook, report: Report) -> Examined:
    """Ask the exchange again about a move in doubt, and exclude what other moves explain. Only reads.

    :param hook: of the connection that the report names.
    :param report: of the move.
    :raises WhiteBitInDoubtError: the connection has another API key than the one that sent the move.
    :raises WhiteBitError: the exchange refuses or cannot be reached.
    """
    intent, margin_ms = report.intent, hook.settings.reconcile_margin_ms
    client = _owner(hook, intent).get_conn()
    # First, so that everything else is read after this time.
    now = ask_exchange(client, AskTime())
    if intent.move.operation is Operation.TRANSFER:
        observation = Observation(now, balances=ask_exchange(client, ReadBalances(intent.move)))
        return examine_transfer(intent, report.nonces, margin_ms, observation, undisturbed=_undisturbed(hook, intent))
    records = ask_exchange(client, ReadRecords(intent.move, begins_at(intent, margin_ms)))
    observation = Observation(now, tuple(traces_of(intent.move, records)))
    made = list(_announced(hook, intent))

    def explain(traces: Sequence[Trace]) -> list[OtherMove | None]:
        return [_explaining(made, intent, trace) for trace in traces]

    return examine_records(intent, report.nonces, margin_ms, observation, explain)


def keep_answer(report: Report, answer: Resolution) -> None:
    """Keep an answer for the task that made the move.

    :raises WhiteBitResolutionError: the move is no longer in doubt, or a person has answered differently before.
    :raises WhiteBitJournalError: it was not kept.
    """
    variables, name = VariableStore(), f"{RESOLUTION}{report.intent.id}"
    if read_report(report.intent.id, variables) != report:
        raise refused("The journal of the move changed meanwhile.", "Clear this task: it looks at the move again.")
    before = None
    with suppress(ValueError):
        # The task could not read a broken answer either.
        before = read_resolution(variables.read(name) or "null")
    if before is not None and before.answers(report.intent, report.nonces):
        if before.says == answer.says:
            return
        raise refused(
            f"{clean(before.resolved_by)} has already answered at {before.resolved_at}: {before.answer}. "
            f"Reason: {clean(before.reason)}",
            f"If that is right, clear {report.task_in_words}. If not, agree with that person first.",
        )
    if claimed := _claimed_by(variables, answer):
        raise refused(
            f"{clean(claimed.resolved_by)} has said that this record is move {clean(claimed.intent_id)}.",
            "Agree with that person which move it is.",
        )
    variables.keep(name, json.dumps(answer.to_json()), "Answer about a move in doubt")


def _claimed_by(variables: VariableStore, answer: Resolution) -> Resolution | None:
    """Another answer that gives the same record to another move, as far as Airflow lists answers (3.3 and later)."""
    if answer.answer is not Answer.RAN or answer.reference is None:
        return None
    for name in variable_names(RESOLUTION):
        with suppress(ValueError):
            other = read_resolution(variables.read(name) or "null")
            if (
                other.answer is Answer.RAN
                and other.reference == answer.reference
                and other.intent_id != answer.intent_id
            ):
                return other
    return None


def _owner(hook: WhiteBitHook, intent: Intent) -> WhiteBitHook:
    """The hook of the API key that sent a move."""
    for owner in (hook, hook.previous):
        if owner is not None and owner.settings.account == intent.account:
            return owner
    raise doubt_of_another_key(intent)


def _hooks(hook: WhiteBitHook) -> list[WhiteBitHook]:
    return [hook] if hook.previous is None else [hook, hook.previous]


def _undisturbed(hook: WhiteBitHook, intent: Intent) -> bool:
    """Whether no other transfer of this asset was sent since, with either key of the account.

    Read after the balances: a transfer that is sent after this has not changed them.
    """
    markers = {markers_for(one.settings.account).read(intent.move.conflict_key) for one in _hooks(hook)} - {None}
    return markers == {marker_of(intent.id, intent.unproven[-1].nonce)}


def _announced(hook: WhiteBitHook, intent: Intent) -> Iterator[OtherMove]:
    """The account's other moves since a move in doubt was sent, as their asset events show them."""
    since = pendulum.from_timestamp(min(attempt.earliest for attempt in intent.attempts), tz="UTC").subtract(minutes=5)
    for receipt, place in announced_moves(hook, since):
        if receipt.status == "executed" and receipt.intent_id not in (None, intent.id):
            yield OtherMove(receipt, task_in_words(*place))


def _explaining(made: Sequence[OtherMove], intent: Intent, trace: Trace) -> OtherMove | None:
    """The move that left a trace; facts come before people's words."""
    if trace.reference is None:
        return None
    fits = [one for one in made if has_left(one.receipt, intent.move, trace)]
    return min(fits, key=lambda one: one.by_person, default=None)
