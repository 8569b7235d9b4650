"""What the exchange's own records say about a move that was sent and not heard of again. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import pendulum

from airflow_provider_whitebit.client.models import FixedInvestment, FlexAction, FlexTransaction
from airflow_provider_whitebit.moves.intent import Attempt, Balances, Intent, Move, Operation, Outcome

#: A windowed nonce lives so long on the exchange's clock, in milliseconds (vendor page: Authentication).
NONCE_LIFE_MS = 5_000

#: Actions of the Flex history that each operation leaves.
ACTIONS: dict[Operation, frozenset[int]] = {
    Operation.FLEX_INVEST: frozenset({FlexAction.INVEST, FlexAction.OPEN_INVESTMENT}),
    Operation.FLEX_WITHDRAW: frozenset({FlexAction.WITHDRAW_FROM_INVESTMENT, FlexAction.CLOSE_INVESTMENT}),
    Operation.FLEX_CLOSE: frozenset({FlexAction.CLOSE_INVESTMENT}),
}


@dataclass(frozen=True, slots=True)
class Trace:
    """Something in the exchange's records that a move may have left.

    :param reference: the identifier that the exchange gave it; ``None`` where only balances tell of it.
    :param made_at: Unix seconds.
    :param amount: how much it moved.
    """

    reference: str | None
    made_at: int
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the records show of an intent's attempts.

    :param found: the one trace that is this intent's; ``None`` where there is none or it cannot be told.
    :param unclear: traces that may or may not be this intent's, in words; where there are any, nobody can tell.
    """

    found: Trace | None = None
    unclear: tuple[str, ...] = ()

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


def traces_of(move: Move, records: Iterable[FlexTransaction | FixedInvestment]) -> list[Trace]:
    """What among the records this move, carried out, would have left. A Flex close may have moved any amount."""
    traces = []
    for record in records:
        trace = _of_transaction(move, record) if isinstance(record, FlexTransaction) else _of_investment(move, record)
        if trace is not None:
            traces.append(trace)
    return traces


def _of_transaction(move: Move, record: FlexTransaction) -> Trace | None:
    # The vendor does not say whether what leaves a plan is shown with a sign; the kind of record tells the direction.
    amount = abs(record.amount)
    alike = (
        record.action_type in ACTIONS[move.operation]
        and (not record.plan_id or record.plan_id == move.plan_id)
        and (move.operation is Operation.FLEX_CLOSE or amount == move.amount)
    )
    return Trace(record.transaction_id, int(record.created_at.timestamp()), amount) if alike else None


def _of_investment(move: Move, record: FixedInvestment) -> Trace | None:
    if move.operation is Operation.FIXED_INVEST:
        alike = record.plan.id == move.plan_id and record.amount == move.amount
        return Trace(record.id, int(record.created.timestamp()), record.amount) if alike else None
    # What ran to the end of its term was not closed by anybody.
    ended_early = not record.active and (record.payment_time is None or record.updated < record.payment_time)
    alike = record.id == move.investment_id and ended_early
    return Trace(record.id, int(record.updated.timestamp()), record.amount) if alike else None


def judge(intent: Intent, traces: Iterable[Trace], *, margin_ms: int) -> Verdict:
    """Find this intent's own among the traces that moves like it have left.

    A trace is the intent's own if it was not there before and was made while a pending attempt could be accepted.
    One that was made within the settle margin before or after proves nothing either way (it may be another's, or the
    exchange may have stamped it early or late), and neither does one that shows up for an attempt that was found
    absent.

    :param intent: the intent and its attempts.
    :param traces: what the records show, read after the last attempt had ended.
    :param margin_ms: how late the exchange may record what it has accepted, in milliseconds.
    """
    margin = margin_ms // 1000
    attempts = [attempt for attempt in intent.attempts if attempt.outcome is not Outcome.REFUSED]
    candidates = {trace.reference: trace for trace in traces if trace.reference not in intent.baseline}
    certain: list[Trace] = []
    unclear: list[Trace] = []
    for trace in candidates.values():
        if any(_within(trace.made_at, attempt, 0) for attempt in attempts if attempt.outcome is Outcome.PENDING):
            certain.append(trace)
        elif any(_within(trace.made_at, attempt, margin) for attempt in attempts):
            unclear.append(trace)
    if len(certain) == 1:
        return Verdict(found=certain[0])
    return Verdict(unclear=tuple(_in_words(trace, intent.move) for trace in certain + unclear))


def judge_transfer(intent: Intent, after: Balances, *, undisturbed: bool) -> Verdict:
    """Find out by the balances whether a transfer ran: nothing else tells of it.

    It ran if both sides moved by exactly its amount, it did not if both are as they were. Anything else, or another
    transfer of the asset meanwhile, proves nothing.

    :param intent: the intent and its attempts.
    :param after: what both sides hold after the last attempt had ended.
    :param undisturbed: whether no other transfer of this asset has been sent since this one.
    """
    pending = [attempt for attempt in intent.attempts if attempt.outcome is Outcome.PENDING]
    if len(pending) == 1 and pending[0].before is not None and undisturbed:
        left, came = pending[0].before.source - after.source, after.target - pending[0].before.target
        if left == came == intent.move.amount:
            return Verdict(found=Trace(None, pending[0].earliest, intent.move.amount))
        if left == came == 0:
            return Verdict()
    before = [attempt.before for attempt in pending if attempt.before is not None]
    words = [_balances_in_words("before", one, intent.move) for one in before]
    words.append(_balances_in_words("now", after, intent.move))
    if not undisturbed:
        words.append(f"another transfer of {intent.move.ticker} was sent meanwhile")
    return Verdict(unclear=tuple(words))


def _balances_in_words(when: str, held: Balances, move: Move) -> str:
    return f"{when} {held.source:f} in {move.source} and {held.target:f} in {move.target}"


def _in_words(trace: Trace, move: Move) -> str:
    amount = "" if trace.amount is None else f", {trace.amount:f} {move.ticker}"
    return f"{trace.reference} of {pendulum.from_timestamp(trace.made_at, tz='UTC').isoformat()}{amount}"


def _within(made_at: int, attempt: Attempt, margin: int) -> bool:
    return attempt.earliest - margin <= made_at <= (attempt.nonce + NONCE_LIFE_MS) // 1000 + margin
