"""A digest: what happened to an account in a day or a week, what is in doubt, and what is due. Pure.

:func:`make_digest` puts together what was read. :mod:`.digest_page` writes it as HTML and as plain text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pendulum

from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FlexAction,
    FlexTransaction,
    InterestPayment,
    Record,
    to_json,
)
from airflow_provider_whitebit.client.records import FlexMovement, group_movements, same_amount, same_plan
from airflow_provider_whitebit.moves.evidence import RECEIPT_APART, is_matured
from airflow_provider_whitebit.moves.intent import Operation, Receipt
from airflow_provider_whitebit.treasury.amounts import ZERO, exact
from airflow_provider_whitebit.treasury.forecast import Forecast, Maturity, maturities
from airflow_provider_whitebit.treasury.statement import Statement

#: Most moves, and most discrepancies, that a task returns; Airflow keeps what it returns in its database.
_MOST_MOVES, _MOST_DISCREPANCIES = 100, 10

_OPERATIONS = {
    FlexAction.INVEST: Operation.FLEX_INVEST,
    FlexAction.OPEN_INVESTMENT: Operation.FLEX_INVEST,
    FlexAction.WITHDRAW_FROM_INVESTMENT: Operation.FLEX_WITHDRAW,
    FlexAction.CLOSE_INVESTMENT: Operation.FLEX_CLOSE,
}


@dataclass(frozen=True, slots=True)
class DigestMove(Record):
    """One move of the period.

    :param at: when it moved.
    :param operation: the move's :class:`.Operation`.
    :param amount: in units of the asset; ``None``: unknown.
    :param plan_id: the plan; ``None`` for a transfer.
    :param source: the balance that a transfer left.
    :param target: the balance that it went to.
    :param task: that made it, in words; ``None``: the exchange shows it, and no receipt of the connection does.
    :param reference: the exchange's identifier.
    :param intent_id: of its receipt.
    """

    at: pendulum.DateTime
    operation: str
    ticker: str
    amount: Decimal | None
    plan_id: str | None = None
    source: str | None = None
    target: str | None = None
    task: str | None = None
    reference: str | None = None
    intent_id: str | None = None


@dataclass(frozen=True, slots=True)
class DigestDoubt(Record):
    """A move in doubt.

    :param intent_id: names it in commands.
    :param move: what was to be moved, in words.
    :param sent_at: when it was last sent.
    :param task: that made it, in words.
    :param next_step: what a person does first.
    """

    intent_id: str
    move: str
    sent_at: pendulum.DateTime
    task: str
    next_step: str


@dataclass(frozen=True, slots=True)
class DigestInterest(Record):
    """What Fixed investments paid in one asset in the period."""

    ticker: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Digest:
    """Everything that a digest tells.

    :param account: name of the account, for example the Airflow connection.
    :param statement: of the period.
    :param forecast: of the time after it.
    :param moves: of the period, latest first.
    :param interest: of Fixed investments, by asset; ``None``: unknown.
    :param due: the ends of terms until the end of the forecast; ``None``: unknown.
    :param doubts: moves in doubt now; ``None``: unknown.
    :param limits: how much of each limit over time is used now, as ``WhiteBitHook.limits_used`` returns it; ``None``:
        unknown.
    :param limits_in_words: all limits of the connection.
    :param problems: what could not be read, and why; and whether people have stopped all moves.
    """

    account: str
    statement: Statement
    forecast: Forecast
    moves: tuple[DigestMove, ...]
    interest: tuple[DigestInterest, ...] | None
    due: tuple[Maturity, ...] | None
    doubts: tuple[DigestDoubt, ...] | None
    limits: tuple[dict[str, Any], ...] | None
    limits_in_words: str
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: the statement and the forecast without their days, and the first of many moves."""
        return {
            "account": self.account,
            "start": to_json(self.statement.start),
            "end": to_json(self.statement.end),
            "statement": self.statement.to_json(days=False, most_discrepancies=_MOST_DISCREPANCIES),
            "forecast": self.forecast.to_json(days=False),
            "move_count": len(self.moves),
            "moves": [one.to_json() for one in self.moves[:_MOST_MOVES]],
            "interest": _list(self.interest),
            "due": _list(self.due),
            "doubts": _list(self.doubts),
            "limits": None if self.limits is None else list(self.limits),
            "limits_in_words": self.limits_in_words,
            "problems": list(self.problems),
        }


def _list(records: Sequence[Record] | None) -> list[dict[str, Any]] | None:
    return None if records is None else [one.to_json() for one in records]


def moves_of_period(
    receipts: Iterable[tuple[Receipt, str]],
    flex: Iterable[FlexTransaction],
    fixed: Iterable[FixedInvestment],
    start: pendulum.DateTime,
    end: pendulum.DateTime,
) -> tuple[DigestMove, ...]:
    """Return the moves of a period, ``start`` included and ``end`` not, latest first, each once.

    :param receipts: of tasks, each with its task in words. They show transfers too.
    :param flex: Flex transactions, for moves without a receipt.
    :param fixed: Fixed investments, likewise.
    """
    made = [(receipt, task) for receipt, task in receipts if receipt.status == "executed"]
    known = {name for receipt, _ in made for name in (receipt.transaction_id, _fixed_name(receipt)) if name}
    found = [_of_receipt(receipt, task) for receipt, task in made]
    unknown: list[DigestMove] = []
    for movement in group_movements(one for one in flex if one.action_type in _OPERATIONS):
        names = {one.transaction_id for one in movement.records if one.transaction_id}
        if not names & known:
            unknown.append(_of_movement(movement))
    # Where records have no identifiers, receipts have none either.
    for receipt in (one for one, _ in made if one.operation in _OPERATIONS.values() and not one.transaction_id):
        alike = [one for one in unknown if one.reference is None and _looks_like(one, receipt)]
        made_at = receipt.executed_at or start
        own = min(alike, key=lambda one: abs(one.at - made_at), default=None)
        if own is not None and abs(own.at - made_at).total_seconds() <= RECEIPT_APART:
            unknown = [one for one in unknown if one is not own]
    found += unknown
    for term in fixed:
        if f"{Operation.FIXED_INVEST} {term.id}" not in known:
            found.append(_of_term(term, Operation.FIXED_INVEST, term.created))
        # Where the exchange does not show when it was closed, only a receipt does.
        dated = term.updated > term.created
        if term.closed and dated and not is_matured(term) and f"{Operation.FIXED_CLOSE} {term.id}" not in known:
            found.append(_of_term(term, Operation.FIXED_CLOSE, term.updated))
    inside = (one for one in found if start <= one.at < end)
    return tuple(sorted(inside, key=lambda one: one.at, reverse=True))


def _fixed_name(receipt: Receipt) -> str | None:
    return f"{receipt.operation} {receipt.investment_id}" if receipt.investment_id else None


def _of_receipt(receipt: Receipt, task: str) -> DigestMove:
    assert receipt.executed_at is not None
    return DigestMove(
        at=receipt.executed_at,
        operation=receipt.operation,
        ticker=receipt.ticker,
        amount=receipt.amount,
        plan_id=receipt.plan_id,
        source=receipt.source,
        target=receipt.target,
        task=task,
        reference=receipt.transaction_id or receipt.investment_id,
        intent_id=receipt.intent_id,
    )


def _of_movement(movement: FlexMovement) -> DigestMove:
    record = movement.main
    return DigestMove(
        at=record.created_at,
        operation=str(_OPERATIONS[FlexAction(record.action_type)]),
        ticker=record.currency or "",
        amount=movement.amount,
        plan_id=record.plan_id,
        reference=next((one.transaction_id for one in movement.records if one.transaction_id), None),
    )


def _looks_like(move: DigestMove, receipt: Receipt) -> bool:
    """Whether a receipt can be of a move of the records, by all but its time."""
    return (
        (move.operation == Operation.FLEX_INVEST) is (receipt.operation == Operation.FLEX_INVEST)
        and move.ticker == receipt.ticker
        and same_plan(move.plan_id or "", receipt.plan_id or "") is not False
        and move.amount is not None
        and receipt.amount is not None
        and same_amount(move.amount, receipt.amount)
    )


def _of_term(term: FixedInvestment, operation: Operation, at: pendulum.DateTime) -> DigestMove:
    return DigestMove(at, str(operation), term.plan.ticker, term.amount, term.plan.id, reference=term.id)


def interest_of_period(
    payments: Iterable[InterestPayment],
    start: pendulum.DateTime,
    end: pendulum.DateTime,
    tickers: Sequence[str] | None = None,
) -> tuple[DigestInterest, ...]:
    """Return what Fixed investments paid in a period, ``start`` included and ``end`` not, by asset.

    :param payments: in any order.
    :param tickers: only these assets; all by default.
    """
    sums: dict[str, Decimal] = {}
    with exact():
        for payment in payments:
            if start <= payment.timestamp < end and (tickers is None or payment.ticker in tickers):
                sums[payment.ticker] = sums.get(payment.ticker, ZERO) + payment.amount
    return tuple(DigestInterest(*one) for one in sorted(sums.items()))


def due_until(fixed: Iterable[FixedInvestment], until: pendulum.DateTime) -> tuple[Maturity, ...]:
    """Return the active terms that end before a moment, and those whose end is unknown.

    :param fixed: Fixed investments in any order.
    """
    return tuple(one for one in maturities(fixed) if one.at is None or one.at < until)
