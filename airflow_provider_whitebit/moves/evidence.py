"""What the exchange's own records say about a move that was sent and not heard of again. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_whitebit.client.models import FlexAction, FlexTransaction
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation, Outcome

#: A windowed nonce lives so long on the exchange's clock, in milliseconds (vendor page: Authentication).
NONCE_LIFE_MS = 5_000

ACTIONS: dict[Operation, frozenset[int]] = {
    Operation.FLEX_INVEST: frozenset({FlexAction.INVEST, FlexAction.OPEN_INVESTMENT}),
    Operation.FLEX_WITHDRAW: frozenset({FlexAction.WITHDRAW_FROM_INVESTMENT, FlexAction.CLOSE_INVESTMENT}),
    Operation.FLEX_CLOSE: frozenset({FlexAction.CLOSE_INVESTMENT}),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the records show of an intent's attempts.

    :param found: the one transaction that is this intent's; ``None`` where there is none or it cannot be told.
    :param unclear: transactions that may or may not be this intent's; where there are any, nobody can tell.
    """

    found: FlexTransaction | None = None
    unclear: tuple[FlexTransaction, ...] = ()

    @property
    def absent(self) -> bool:
        """Whether the move certainly did not run."""
        return self.found is None and not self.unclear


def ends_at_ms(intent: Intent) -> int:
    """When, on the exchange's clock, no attempt of this intent can be accepted any more, in milliseconds."""
    return max(attempt.nonce for attempt in intent.attempts) + NONCE_LIFE_MS


def begins_at(intent: Intent, margin_ms: int) -> int:
    """The Unix second from which on records matter to this intent."""
    return min(attempt.earliest for attempt in intent.attempts) - margin_ms // 1000


def looks_like(move: Move, record: FlexTransaction) -> bool:
    """Whether this move, carried out, would have left such a record. A close may have moved any amount."""
    return (
        record.action_type in ACTIONS[move.operation]
        and (not record.plan_id or record.plan_id == move.plan_id)
        and (move.operation is Operation.FLEX_CLOSE or record.amount == move.amount)
    )


def judge(intent: Intent, records: Iterable[FlexTransaction], *, margin_ms: int) -> Verdict:
    """Find this intent's transaction among the records of its plan.

    A transaction is the intent's own if it looks like the move, was not there before, and was made while a pending
    attempt could be accepted. One that was made within the settle margin before or after proves nothing either way
    (it may be another's, or the exchange may have stamped it early or late), and neither does one that shows up
    for an attempt that was found absent.

    :param intent: the intent and its attempts.
    :param records: history of the plan, read after the last attempt had ended.
    :param margin_ms: how late the exchange may record what it has accepted, in milliseconds.
    """
    margin = margin_ms // 1000
    attempts = [attempt for attempt in intent.attempts if attempt.outcome is not Outcome.REFUSED]
    candidates = {
        record.transaction_id: record
        for record in records
        if looks_like(intent.move, record) and record.transaction_id not in intent.baseline
    }
    certain: list[FlexTransaction] = []
    unclear: list[FlexTransaction] = []
    for record in candidates.values():
        made_at = int(record.created_at.timestamp())
        if any(_within(made_at, attempt, 0) for attempt in attempts if attempt.outcome is Outcome.PENDING):
            certain.append(record)
        elif any(_within(made_at, attempt, margin) for attempt in attempts):
            unclear.append(record)
    if len(certain) == 1:
        return Verdict(found=certain[0])
    return Verdict(unclear=tuple(certain + unclear))


def _within(made_at: int, attempt: Attempt, margin: int) -> bool:
    return attempt.earliest - margin <= made_at <= (attempt.nonce + NONCE_LIFE_MS) // 1000 + margin
