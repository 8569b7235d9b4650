"""What a person does about a move in doubt, step by step. Errors, the Treasury page and the docs show these texts."""

from __future__ import annotations

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitInDoubtError
from airflow_provider_whitebit.moves.evidence import Verdict
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Operation

_CLEAR = "Clear the task. It reads the exchange's records again before it sends anything, and most doubts end here."
_RAN = "Then clear the task: it returns a receipt with your answer."
_DID_NOT_RUN = (
    "airflow whitebit doubts resolve ID --did-not-run --reason '...'. Then clear the task: it makes the move."
)

#: Steps for a move that leaves a record at the exchange.
RECORD_STEPS = (
    _CLEAR,
    "If the task is in doubt again, look at the evidence: airflow whitebit doubts show ID, or the Treasury page. It "
    "lists the transactions that may be this move, and which of them belong to other tasks. If no person is needed, it "
    "says so: clear the task.",
    "Find out which of the remaining transactions belong to other programs or to people. If one is left over, it is "
    f"this move: airflow whitebit doubts resolve ID --ran TRANSACTION --reason '...'. {_RAN}",
    f"If none is left over, this move did not run: {_DID_NOT_RUN}",
)

#: Steps for a transfer, which leaves no record, only balances.
TRANSFER_STEPS = (
    _CLEAR,
    "If the task is in doubt again, look at the evidence: airflow whitebit doubts show ID, or the Treasury page. It "
    "lists the balances, and what other tasks have moved of this asset since then. If no person is needed, it says so: "
    "clear the task.",
    "Compare what remains with everything else that moved this asset: orders, interest, people. If the transfer "
    f"explains the difference, it ran: airflow whitebit doubts resolve ID --ran --reason '...'. {_RAN}",
    f"If the balances are explained without it, the transfer did not run: {_DID_NOT_RUN}",
)

#: Steps for a journal that the package cannot read, so that it does not know the move.
UNREADABLE_STEPS = (
    "Clear the task. If a newer version of this package wrote the journal, install that version before.",
    "If the task fails again because of its journal, compare its parameters with the exchange's history and balances "
    "since the task first ran. Leave out what belongs to other tasks, to other programs or to people.",
    "If the move is there, it ran: mark the task as success.",
    "If the move is not there, it did not run: make it in a new dag run, with a new idempotency_key if it has one.",
)


#: For a run that stops because of another one.
REPLACED = "Look at the latest try of the task: it finds out what this one did. If there is none, clear the task."


def steps_for(operation: str | None) -> tuple[str, ...]:
    """Return the steps for a move in doubt.

    :param operation: its :class:`~.intent.Operation`; ``None`` if its journal cannot be read.
    """
    if operation is None:
        return UNREADABLE_STEPS
    return TRANSFER_STEPS if operation == Operation.TRANSFER else RECORD_STEPS


def doubt_of_another_key(intent: Intent) -> WhiteBitInDoubtError:
    """The error for a move in doubt that another API key sent."""
    return WhiteBitInDoubtError(
        f"This task has a move in doubt ({intent.id}, {intent.move}) that was sent with another API key. Only "
        "that key can find out whether it ran. Nothing was sent this time.",
        intent_id=intent.id,
        next_step="Give the connection the old key back, or name a connection with the old key in its "
        "previous_conn_id. Then clear the task.",
    )


def doubt(intent: Intent, verdict: Verdict) -> WhiteBitInDoubtError:
    """The error for a move of which the records cannot tell whether it ran."""
    sent = ", ".join(sent_at(attempt) for attempt in intent.attempts)
    shown = "; ".join(verdict.unclear)
    if intent.move.operation is Operation.TRANSFER:
        records = f"A transfer leaves no record, and the balances cannot tell: {shown}."
    else:
        records = f"The exchange's history shows transactions that may be this move or another one: {shown}."
    return WhiteBitInDoubtError(
        f"Move {intent.id} ({intent.move}) was sent at {sent} and its answer was lost. {records}",
        intent_id=intent.id,
        path=intent.move.call().path,
        next_step=steps_for(intent.move.operation),
    )


def sent_at(attempt: Attempt) -> str:
    """When an attempt was sent, in words."""
    return f"{pendulum.from_timestamp(attempt.nonce // 1000, tz='UTC').isoformat()} (nonce {attempt.nonce})"
