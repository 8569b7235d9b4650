"""Which moves an account has made lately: by the exchange's records and by the spending log. Pure.

What is not certain counts: a move is counted twice rather than not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FixedInvestmentStatus,
    FlexAction,
    FlexTransaction,
    SubAccountTransaction,
)
from airflow_provider_whitebit.client.records import group_movements
from airflow_provider_whitebit.client.unreadable import UnreadableRecord, split
from airflow_provider_whitebit.moves.evidence import (
    NONCE_LIFE_MS,
    Evidence,
    is_matured,
    is_no_move,
    judge,
    traces_of,
)
from airflow_provider_whitebit.moves.intent import Intent, Operation, State


@dataclass(frozen=True, slots=True)
class AccountRecords:
    """What the exchange shows of the moves of an account.

    :param flex: of the Flex history, of all plans.
    :param fixed: Fixed investments, of all plans.
    :param transfers: of each sub-account, by its id.
    """

    flex: Sequence[FlexTransaction | UnreadableRecord] = ()
    fixed: Sequence[FixedInvestment | UnreadableRecord] = ()
    transfers: Mapping[str, Sequence[SubAccountTransaction | UnreadableRecord]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CountedMove:
    """A move that was made, or may have been made.

    :param ticker: the asset; empty if it is not known: it may be any.
    :param amount: in units of the asset; ``None`` if it is not known.
    :param moved_at: the last Unix second in which it may have moved; ``None`` if it is not known.
    :param names: what the exchange calls it.
    :param words: describes it if its amount is not known.
    :param shown: whether the exchange's records show it.
    :param planned: whether it is only planned, before the move that is checked.
    """

    ticker: str
    amount: Decimal | None
    moved_at: int | None
    names: frozenset[str] = frozenset()
    words: str = ""
    shown: bool = True
    planned: bool = False

    def counts(self, since: int, ticker: str | None = None) -> bool:
        """Whether it may have moved in or after a Unix second.

        :param ticker: only of this asset; of any by default.
        """
        return (self.moved_at is None or self.moved_at >= since) and (ticker is None or self.ticker in ("", ticker))


def counted_moves(
    records: AccountRecords, logged: Iterable[Intent], *, since: int, margin_ms: int
) -> tuple[list[CountedMove], set[str]]:
    """All moves since a moment: those that records show, and those of the log that no record shows.

    :param records: of the exchange.
    :param logged: the intents in the spending log.
    :param since: in Unix seconds.
    :param margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :returns: the moves; and the ids of the intents that records show.
    """
    recorded = [*_flex(records.flex), *_fixed(records.fixed, since)]
    for transfers in records.transfers.values():
        recorded += _transfers(transfers)
    found = [move for move in recorded if move.counts(since)]
    # Each record counts for one move: equal records may have been grouped.
    free, shown = [*recorded], set()
    for intent in logged:
        move = _logged_move(intent)
        if move is None:
            continue
        if _is_shown(intent, records, free, margin_ms):
            shown.add(intent.id)
        elif move.counts(since):
            found.append(move)
    return found, shown


def last_second(intent: Intent) -> int:
    """The last Unix second in which an intent of the log may have moved money."""
    attempts = intent.unproven or intent.attempts
    return (max((attempt.nonce for attempt in attempts), default=0) + NONCE_LIFE_MS) // 1000 + 1


def _logged_move(intent: Intent) -> CountedMove | None:
    """An intent of the log as a move; ``None`` if it certainly did not run."""
    if intent.state is not State.EXECUTED and not intent.unproven:
        return None
    amounts = (intent.move.amount, None if intent.receipt is None else intent.receipt.amount)
    amount = max((one for one in amounts if one is not None), default=None)
    return CountedMove(intent.move.ticker, amount, last_second(intent), words=str(intent.move), shown=False)


def _is_shown(intent: Intent, records: AccountRecords, free: list[CountedMove], margin_ms: int) -> bool:
    """Whether a record is certainly this intent's. That record is no other's then.

    :param free: the recorded moves that explain no other intent.
    """
    move, receipt = intent.move, intent.receipt
    if move.operation is Operation.TRANSFER:
        return False
    reference = receipt and (
        receipt.investment_id if move.operation is Operation.FIXED_INVEST else receipt.transaction_id
    )
    if reference and _take(free, reference):
        return True
    traces = traces_of(move, _records_of(intent, records))
    if reference:
        # The records may carry no identifiers. One with another identifier is another move's.
        traces = [trace for trace in traces if trace.reference is None]
    found = judge(replace(intent, state=State.OPEN), traces, margin_ms=margin_ms).found
    if found is None:
        return False
    if found.reference is None:
        return True
    return _take(free, _closed(found.reference) if move.operation is Operation.FIXED_CLOSE else found.reference)


def _take(free: list[CountedMove], name: str) -> bool:
    place = next((place for place, move in enumerate(free) if name in move.names), None)
    if place is None:
        return False
    del free[place]
    return True


def _records_of(intent: Intent, records: AccountRecords) -> Iterable[Evidence | UnreadableRecord]:
    match intent.move.operation:
        case Operation.FIXED_INVEST | Operation.FIXED_CLOSE:
            return records.fixed
        case Operation.SUB_ACCOUNT_TRANSFER:
            return records.transfers.get(intent.move.sub_account_id, ())
        case _:
            return records.flex


def _flex(records: Iterable[FlexTransaction | UnreadableRecord]) -> Iterable[CountedMove]:
    readable, unreadable = split(records)
    moves = [record for record in readable if not is_no_move(record.action_type)]
    for movement in group_movements(moves):
        main, amount = movement.main, movement.amount.copy_abs()
        if not amount and main.action_type not in tuple(FlexAction):
            # Whatever the exchange did: nothing has moved.
            continue
        latest = max(int(record.created_at.timestamp()) for record in movement.records)
        names = frozenset(record.transaction_id for record in movement.records if record.transaction_id)
        yield CountedMove(_asset(main.currency), amount, latest, names)
    for record in unreadable:
        if not is_no_move(record.known.get("action_type")):
            yield _of_unreadable(record)


def _fixed(records: Iterable[FixedInvestment | UnreadableRecord], since: int) -> Iterable[CountedMove]:
    readable, unreadable = split(records)
    for record in readable:
        ticker, created, updated = record.plan.ticker, record.created, record.updated
        yield CountedMove(ticker, record.amount, int(created.timestamp()), frozenset((record.id,)))
        ended = record.payment_time is not None and record.payment_time.timestamp() < since
        if record.active or is_matured(record) or (updated <= created and ended):
            continue
        # Without a time of its own, the close may have been at any time of the term.
        closed_at = int(updated.timestamp()) if updated > created else None
        yield CountedMove(ticker, record.amount, closed_at, frozenset((_closed(record.id),)))
    for unread in unreadable:
        yield _of_unreadable(unread)
        if unread.known.get("status") != FixedInvestmentStatus.ACTIVE:
            closed = unread.known.get("updated") if "status" in unread.known else None
            yield replace(_of_unreadable(unread), moved_at=None if closed is None else int(closed.timestamp()))


def _transfers(records: Iterable[SubAccountTransaction | UnreadableRecord]) -> Iterable[CountedMove]:
    readable, unreadable = split(records)
    for record in readable:
        names = frozenset(filter(None, (record.transaction_id,)))
        yield CountedMove(_asset(record.currency), record.amount.copy_abs(), int(record.created_at.timestamp()), names)
    yield from map(_of_unreadable, unreadable)


def _of_unreadable(record: UnreadableRecord) -> CountedMove:
    amount, made_at = record.known.get("amount"), record.made_at
    return CountedMove(
        _asset(record.ticker),
        None if amount is None else amount.copy_abs(),
        None if made_at is None else int(made_at.timestamp()),
        words=str(record),
    )


def _asset(name: str | None) -> str:
    """A ticker; empty if it is none. A name that is not in capitals may be any, written in an unexpected way."""
    return name if name and name.isupper() else ""


def _closed(investment_id: str) -> str:
    """The name of a close: its record has the name of the investment."""
    return f"closed {investment_id}"
