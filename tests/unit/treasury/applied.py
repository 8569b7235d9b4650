"""What an account holds after a plan: the exchange's part, for tests of planners."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from airflow_provider_whitebit.client.models import FlexInvestment, FlexInvestmentStatus
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.treasury.amounts import ZERO, exact
from airflow_provider_whitebit.treasury.planning import Holdings, TreasuryPlan


def apply_plan(holdings: Holdings, plan: TreasuryPlan) -> Holdings:
    """Return what is held after all moves of a plan.

    :raises ValueError: a move takes more than is there.
    """
    with exact():
        for planned in plan.moves:
            holdings = _apply(holdings, planned.move)
    switched = tuple(
        replace(entry, with_auto_reinvest=plan.auto_reinvest.get(entry.plan_id, entry.with_auto_reinvest))
        for entry in holdings.investments
    )
    return replace(holdings, investments=switched)


def _apply(holdings: Holdings, move: Move) -> Holdings:
    match move.operation:
        case Operation.FLEX_INVEST:
            return _add(_pay(holdings, "main", move.ticker, -(move.amount or ZERO)), move)
        case Operation.FLEX_WITHDRAW | Operation.FLEX_CLOSE:
            return _take(holdings, move)
        case Operation.TRANSFER:
            left = _pay(holdings, move.source, move.ticker, -(move.amount or ZERO))
            return _pay(left, move.target, move.ticker, move.amount or ZERO)
        case _:
            raise ValueError(f"{move.operation} is not part of treasury plans")


def _pay(holdings: Holdings, account: str, ticker: str, amount: Decimal) -> Holdings:
    """Add to a balance, or take from it."""
    balances = holdings.account(account)
    after = balances.get(ticker, ZERO) + amount
    if amount < 0 and after < 0:
        raise ValueError(f"{account} holds {balances.get(ticker, ZERO):f} {ticker}, less than {-amount:f}")
    changed = {**balances, ticker: after}
    match account:
        case "main":
            return replace(holdings, main=changed)
        case "spot":
            return replace(holdings, spot=changed)
        case _:
            return replace(holdings, collateral=changed)


def _add(holdings: Holdings, move: Move) -> Holdings:
    amount = move.amount or ZERO
    entries = list(holdings.investments)
    for at, entry in enumerate(entries):
        if entry.active and entry.plan_id == move.plan_id:
            reinvest = entry.with_auto_reinvest or move.with_reinvest
            entries[at] = replace(entry, invested=entry.invested + amount, with_auto_reinvest=reinvest)
            return replace(holdings, investments=tuple(entries))
    status = FlexInvestmentStatus.ACTIVE
    made = FlexInvestment("", move.plan_id, move.ticker, amount, move.with_reinvest, status, None, None)
    return replace(holdings, investments=(*entries, made))


def _take(holdings: Holdings, move: Move) -> Holdings:
    """Move money from a plan to Main."""
    there = holdings.invested(move.ticker).get(move.plan_id, ZERO)
    taken = there if move.operation is Operation.FLEX_CLOSE else move.amount or ZERO
    if not 0 < taken <= there:
        raise ValueError(f"plan {move.plan_id} holds {there:f} {move.ticker}; {taken:f} cannot be withdrawn")
    entries, left = [], taken
    for entry in holdings.investments:
        if entry.active and entry.plan_id == move.plan_id:
            here = min(left, entry.invested)
            left -= here
            if entry.invested == here:
                continue
            entry = replace(entry, invested=entry.invested - here)
        entries.append(entry)
    return _pay(replace(holdings, investments=tuple(entries)), "main", move.ticker, taken)
