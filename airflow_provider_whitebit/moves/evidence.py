"""What the exchange's records say about a move whose answer was lost. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

import pendulum

from airflow_provider_whitebit.client.models import (
    Direction,
    FixedInvestment,
    FixedInvestmentStatus,
    FlexAction,
    FlexTransaction,
    SubAccountTransaction,
)
from airflow_provider_whitebit.client.records import SECONDS_APART, same_amount, same_plan, unsigned
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.moves.intent import Attempt, Balances, Intent, Move, Operation, Receipt

#: How long the exchange accepts a windowed nonce, on its own clock, in milliseconds (vendor page: Authentication).
NONCE_LIFE_MS = 5_000

_IN = frozenset({FlexAction.INVEST, FlexAction.OPEN_INVESTMENT})
_OUT = frozenset({FlexAction.WITHDRAW_FROM_INVESTMENT, FlexAction.CLOSE_INVESTMENT})
#: The actions that each operation may leave in the Flex history: one of them, or each of them once.
ACTIONS: dict[Operation, frozenset[int]] = {
    Operation.FLEX_INVEST: _IN,
    Operation.FLEX_WITHDRAW: _OUT,
    Operation.FLEX_CLOSE: _OUT,
}
#: Actions that no move leaves.
_NO_MOVES = frozenset(FlexAction) - _IN - _OUT
#: Seconds by which a record may be late. The next move of the conflict key is accepted later than that
#: (``nonce_lock.py``).
_STAMPED_LATE = 1
#: A record was made at most this many seconds before or after the receipt that names it. Identifiers may repeat.
RECEIPT_APART = 900


@dataclass(frozen=True, slots=True)
class Trace:
    """Something in the exchange's records that a move may have left.

    :param reference: the exchange's identifier; ``None`` if the record has none, or if only balances show the move.
    :param made_at: Unix seconds.
    :param amount: how much moved, in units of the asset.
    :param kind: the record's action, for Flex.
    :param fits: whether every field fits the move. Otherwise another move may have left it, or the exchange shows
        this one in an unexpected way.
    :param name: identifies the record in a baseline.
    :param dated: whether ``made_at`` is known. An undated record may be of any time.
    :param readable: whether the record can be read. Any move of the plan may have left one that cannot.
    """

    reference: str | None
    made_at: int
    amount: Decimal | None
    kind: int = 0
    fits: bool = True
    name: str = ""
    dated: bool = True
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the records show of an intent's attempts.

    :param found: the one trace that is this intent's; ``None`` if there is none, or if it is unclear.
    :param unclear: traces that may or may not be this intent's, in words.
    :param traces: the traces that it is about: those that are this intent's, or those that are unclear.
    """

    found: Trace | None = None
    unclear: tuple[str, ...] = ()
    traces: tuple[Trace, ...] = ()

    @property
    def absent(self) -> bool:
        """Whether nothing shows that the move ran."""
        return self.found is None and not self.unclear


@dataclass(frozen=True, slots=True)
class Explained:
    """What is known of records that are certainly of other moves.

    :param references: the exchange's identifiers of such records.
    :param receipts: of other moves.
    """

    references: frozenset[str] = frozenset()
    receipts: tuple[Receipt, ...] = ()

    def without(self, move: Move, traces: Iterable[Trace]) -> list[Trace]:
        """Return the traces that may be a move's own.

        :param move: that may have left them.
        """
        left = list(traces)
        repeated = ambiguous(left)
        return [one for one in left if one.reference in repeated or not self._explains(move, one)]

    def _explains(self, move: Move, trace: Trace) -> bool:
        return trace.reference in self.references or any(has_left(one, move, trace) for one in self.receipts)


NOTHING = Explained()


def ambiguous(traces: Iterable[Trace]) -> set[str | None]:
    """Return the identifiers that name several different records of one kind: they do not tell which one is meant."""
    contents = {(one.reference, one.kind, one.made_at, one.amount) for one in traces}
    named = Counter((reference, kind) for reference, kind, *_ in contents)
    return {reference for (reference, _), count in named.items() if count > 1}


def has_left(receipt: Receipt, move: Move, trace: Trace) -> bool:
    """Whether a receipt names a record that a move may have left, and was made at the record's time.

    :param receipt: of another move.
    :param move: in doubt.
    :param trace: the record.
    """
    if trace.reference is None or not _is_near(receipt, trace):
        return False
    match move.operation:
        case Operation.FLEX_INVEST | Operation.FLEX_WITHDRAW | Operation.FLEX_CLOSE:
            same = receipt.operation in ACTIONS and same_plan(receipt.plan_id or "", move.plan_id) is True
            return same and receipt.transaction_id == trace.reference
        case Operation.FIXED_INVEST | Operation.FIXED_CLOSE:
            return receipt.operation == move.operation and receipt.investment_id == trace.reference
        case Operation.SUB_ACCOUNT_TRANSFER:
            return receipt.operation == move.operation and receipt.transaction_id == trace.reference
        case _:
            return False


def _is_near(receipt: Receipt, trace: Trace) -> bool:
    if receipt.executed_at is None or not trace.dated:
        return True
    return abs(receipt.executed_at.timestamp() - trace.made_at) <= RECEIPT_APART


def ends_at_ms(intent: Intent) -> int:
    """When no attempt of this intent can be accepted any more, in milliseconds of the exchange's clock."""
    return max(attempt.nonce for attempt in intent.attempts) + NONCE_LIFE_MS


def begins_at(intent: Intent, margin_ms: int) -> int:
    """The Unix second from which on records matter to this intent."""
    return min(attempt.earliest for attempt in intent.attempts) - margin_ms // 1000


#: A record of one of the lists in which moves appear.
Evidence = FlexTransaction | FixedInvestment | SubAccountTransaction


def traces_of(move: Move, records: Iterable[Evidence | UnreadableRecord]) -> list[Trace]:
    """The records that this move may have left, the earliest first.

    A record that cannot be read may be the move's, unless what can be read of it says otherwise.
    """
    found = (_trace_of(move, record) for record in records)
    traces = sorted((trace for trace in found if trace is not None), key=lambda trace: trace.made_at)
    # Records may share an identifier, or have none.
    seen: Counter[str] = Counter()
    for index, trace in enumerate(traces):
        seen[trace.name] += 1
        traces[index] = replace(trace, name=f"{trace.name}#{seen[trace.name]}")
    return traces


def _trace_of(move: Move, record: Evidence | UnreadableRecord) -> Trace | None:
    match record:
        case FlexTransaction():
            return _of_transaction(move, record)
        case FixedInvestment():
            return _of_investment(move, record)
        case SubAccountTransaction():
            return _of_sub_account(move, record)
        case _:
            return _of_unreadable(move, record)


def _of_transaction(move: Move, record: FlexTransaction) -> Trace | None:
    kind, plan, currency = record.action_type, same_plan(record.plan_id or "", move.plan_id), record.currency or ""
    same_asset = currency in ("", move.ticker)
    if kind in _NO_MOVES or (kind in _IN | _OUT and kind not in ACTIONS[move.operation]):
        return None
    if plan is False or (plan is None and not same_asset):
        return None
    # The vendor does not say whether what leaves a plan is shown with a sign; the kind of record tells the direction.
    amount = unsigned(record)
    if move.operation is Operation.FLEX_CLOSE:
        # Only the exchange knows how much a close moves.
        fits = kind == FlexAction.CLOSE_INVESTMENT
    else:
        fits = kind in ACTIONS[move.operation] and move.amount is not None and same_amount(amount, move.amount)
    made_at = int(record.created_at.timestamp())
    name = f"{kind}:{record.transaction_id or f'{made_at}:{amount.normalize():f}'}"
    return Trace(record.transaction_id or None, made_at, amount, kind, fits and same_asset and plan is True, name)


def is_no_move(action: object) -> bool:
    """Whether a Flex record with this action is certainly of no move: an earning, or one that was reinvested."""
    return action in _NO_MOVES


def is_matured(record: FixedInvestment) -> bool:
    """Whether an investment that is over reached the end of its term: then it was not closed by a move."""
    # The exchange may not say when an investment was changed.
    if record.updated <= record.created:
        return bool(record.interest_paid)
    return record.payment_time is not None and record.updated >= record.payment_time


def _of_investment(move: Move, record: FixedInvestment) -> Trace | None:
    if move.operation is Operation.FIXED_INVEST:
        plan = same_plan(record.plan.id, move.plan_id)
        if plan is False or (plan is None and record.plan.ticker not in ("", move.ticker)):
            return None
        fits = plan is True and move.amount is not None and same_amount(record.amount, move.amount)
        return Trace(record.id, int(record.created.timestamp()), record.amount, fits=fits, name=record.id)
    if record.id != move.investment_id or record.active or is_matured(record):
        return None
    dated = record.updated > record.created
    fits = record.status == FixedInvestmentStatus.CLOSED
    made_at = int(record.updated.timestamp())
    return Trace(record.id, made_at, record.amount, fits=fits, name=record.id, dated=dated)


def _of_unreadable(move: Move, record: UnreadableRecord) -> Trace | None:
    if move.operation is Operation.FIXED_CLOSE:
        if record.known.get("id", move.investment_id) != move.investment_id:
            return None
        moment = record.known.get("updated") if "status" in record.known else None
    elif move.operation is Operation.SUB_ACCOUNT_TRANSFER:
        if _is_other_transfer(move, record.known.get("direction") or "", record.known.get("currency") or ""):
            return None
        moment = record.made_at
    else:
        plan = None if record.plan_id is None else same_plan(record.plan_id, move.plan_id)
        if plan is False or record.known.get("action_type") in _NO_MOVES:
            return None
        moment = record.made_at
    made_at = 0 if moment is None else int(moment.timestamp())
    return Trace(None, made_at, None, fits=False, name=record.id, dated=moment is not None, readable=False)


def _of_sub_account(move: Move, record: SubAccountTransaction) -> Trace | None:
    direction, currency = record.direction or "", record.currency or ""
    if _is_other_transfer(move, direction, currency):
        return None
    made_at = int(record.created_at.timestamp())
    known = direction == f"{move.source}_to_{move.target}" and currency.upper() == move.ticker
    fits = known and move.amount is not None and same_amount(record.amount, move.amount)
    amount = record.amount.copy_abs()
    name = record.transaction_id or f"{made_at}:{direction}:{currency}:{amount.normalize():f}"
    return Trace(record.transaction_id, made_at, amount, fits=fits, name=name)


def _is_other_transfer(move: Move, direction: str, currency: str) -> bool:
    """Whether a sub-account's record is certainly not of this direction, or not of this asset.

    A name in capitals is another asset's. Any other name may be this asset's, written in an unexpected way.
    """
    other_way = direction in tuple(Direction) and direction != f"{move.source}_to_{move.target}"
    return other_way or (currency.upper() != move.ticker and currency.isupper())


def judge(intent: Intent, traces: Iterable[Trace], *, margin_ms: int, explained: Explained = NOTHING) -> Verdict:
    """Find this intent's own trace.

    A trace is the intent's own if it fits the move, was not there before, and was made while an attempt that is not
    known to be refused could be accepted. Two things make it unclear: a trace within the reconcile margin before or
    after that time, which may be another move's or stamped early or late; and a trace of that time that does not fit. A
    record of that time that cannot be read makes it unclear too, even beside a trace that fits. So does a trace of
    another move whose second record may be the one that fits: the two may have different identifiers.

    :param intent: the intent and its attempts.
    :param traces: what the records show, read after the last attempt had ended.
    :param margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :param explained: what is known of records that are certainly of other moves.
    """
    margin, traces = margin_ms // 1000, list(traces)
    known = explained.without(intent.move, traces)
    others = [trace for trace in traces if trace not in known]
    certain = [trace for trace in known if trace.fits and _may_be(trace, intent.unproven, 0, 0)]
    hidden = any(not trace.readable and _may_be(trace, intent.unproven, 0, _STAMPED_LATE) for trace in known)
    # A move that opens or ends an investment may leave one record of each kind, and one of another move may remain.
    halves = any(one.kind != other.kind and _at_once([one, other]) for one in certain for other in others)
    alone = bool(certain) and len({trace.kind for trace in certain}) == len(certain) and _at_once(certain)
    if alone and not hidden and not halves:
        found = min(certain, key=lambda trace: trace.kind)
        dated = found if found.dated else replace(found, made_at=intent.unproven[-1].earliest)
        return Verdict(dated, traces=tuple(certain))
    unclear = [
        trace
        for trace in known
        if _may_be(trace, intent.unproven, *((margin, margin) if trace.fits else (0, _STAMPED_LATE)))
    ]
    return Verdict(unclear=tuple(_describe_trace(trace, intent.move) for trace in unclear), traces=tuple(unclear))


def judge_transfer(intent: Intent, after: Balances, *, undisturbed: bool) -> Verdict:
    """Find out from the balances whether a transfer ran: it leaves no record.

    It ran if both sides changed by exactly its amount. Nothing shows that it ran if both are unchanged. Anything else,
    or another transfer of the asset in between, proves nothing. A transfer that was found absent before stays absent
    unless the balances have changed by its amount, or more, since then.

    :param intent: the intent and its attempts.
    :param after: what both sides hold after the last attempt had ended.
    :param undisturbed: whether no other transfer of this asset was sent since the last attempt.
    """
    before = intent.unproven[-1].before
    if before is not None and undisturbed:
        left, came = before.source - after.source, after.target - before.target
        if left == came == intent.move.amount:
            return Verdict(found=Trace(None, intent.unproven[-1].earliest, intent.move.amount))
        if left == came == 0:
            return Verdict()
        doubtful = intent.in_doubt or min(left, came) >= (intent.move.amount or 0)
    else:
        doubtful = intent.in_doubt
    if not doubtful:
        return Verdict()
    words = [] if before is None else [_describe_balances("before", before, intent.move)]
    words.append(_describe_balances("now", after, intent.move))
    if not undisturbed:
        words.append(f"another transfer of {intent.move.ticker} was sent in between")
    return Verdict(unclear=tuple(words))


def _describe_balances(when: str, held: Balances, move: Move) -> str:
    return f"{when} {held.source:f} in {move.source} and {held.target:f} in {move.target}"


def _describe_trace(trace: Trace, move: Move) -> str:
    amount = "" if trace.amount is None else f", {trace.amount:f} {move.ticker}"
    nameless = "a record without an identifier" if trace.readable else "a record that cannot be read"
    when = f" of {pendulum.from_timestamp(trace.made_at, tz='UTC').isoformat()}" if trace.dated else ", without a time"
    return f"{trace.reference or nameless}{when}{amount}"


def _may_be(trace: Trace, attempts: Iterable[Attempt], before: int, after: int) -> bool:
    """Whether one of the attempts may have left a trace: it was not there before, and made in time, or seconds off."""
    return any(
        (not trace.dated or one.earliest - before <= trace.made_at <= (one.nonce + NONCE_LIFE_MS) // 1000 + after)
        and trace.name not in one.baseline
        for one in attempts
    )


def _at_once(traces: list[Trace]) -> bool:
    """Whether traces were made within seconds of each other, as the records of one move are."""
    times = [trace.made_at for trace in traces]
    return max(times) - min(times) <= SECONDS_APART
