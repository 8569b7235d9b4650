"""Which moves bring an account to what is wanted. Pure: holdings and policy in, moves with their reasons out.

Three planners: :func:`plan_sweep` invests what is idle, :func:`plan_raise` makes an amount available,
:func:`plan_rebalance` follows a policy in both directions. They keep to the exchange's rules (vendor page: Lending,
Flex plans): every investment is at least its plan's minimum, an investment in a plan is at most its maximum, and a
withdrawal leaves the minimum or nothing. Moves come in the order in which they must be made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitUnavailableError, WhiteBitValidationError
from airflow_provider_whitebit.client.models import FlexInvestment, plain
from airflow_provider_whitebit.moves import parsing, selection
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.treasury.amounts import ZERO, exact, round_down, round_up, shortest
from airflow_provider_whitebit.treasury.asset_planner import AssetPlanner
from airflow_provider_whitebit.treasury.holdings import Holdings, readable_balance
from airflow_provider_whitebit.treasury.plans import (
    EXECUTED,
    NOTHING,
    PLANNED,
    PlannedMove,
    PlanOutcome,
    TreasuryPlan,
)
from airflow_provider_whitebit.treasury.policy import Policy, TickerPolicy
from airflow_provider_whitebit.treasury.rates import unit_warning

__all__ = [
    "EXECUTED",
    "NOTHING",
    "PLANNED",
    "Holdings",
    "PlanOutcome",
    "PlannedMove",
    "TreasuryPlan",
    "plan_raise",
    "plan_rebalance",
    "plan_sweep",
]


def plan_sweep(holdings: Holdings, policy: Policy, now: pendulum.DateTime) -> TreasuryPlan:
    """Invest what Main holds above the reserve. Withdraws nothing.

    Permitted plans are filled in the policy's order, each up to its own maximum and the policy's caps.

    :param holdings: what the account holds.
    :param policy: what is wanted.
    :param now: aware time, for liquidity needs that are due.
    :raises WhiteBitValidationError: the exchange has none of the policy's assets.
    """
    return _plan_each(holdings, policy, now, AssetPlanner.sweep)


def plan_rebalance(holdings: Holdings, policy: Policy, now: pendulum.DateTime) -> TreasuryPlan:
    """Bring every asset of a policy to what the policy wants.

    In this order: leave plans that are not permitted or whose rate is below ``leave_below``, and trim those above their
    cap or target; if Main is below the reserve, withdraw what is missing (as :func:`plan_raise` does); invest what is
    above the reserve, in plans whose rate is at least ``min_rate``. A reserve that is
    short by less than ``min_move`` stays short, unless a liquidity need is due. Planning is idempotent: after all moves
    the next plan is empty. With ``follow_rate`` a few more rounds can be needed, each of which raises the rate earned.

    :param holdings: what the account holds.
    :param policy: what is wanted.
    :param now: aware time, for liquidity needs that are due.
    :raises WhiteBitValidationError: the exchange has none of the policy's assets.
    """
    return _plan_each(holdings, policy, now, AssetPlanner.rebalance)


def plan_raise(
    holdings: Holdings, ticker: str, amount: Decimal, target: str = parsing.MAIN, *, policy: Policy | None = None
) -> TreasuryPlan:
    """Make an amount available in one of the balances, counting what it holds already.

    For spot and collateral, all of Main is used before anything is withdrawn; no reserve is kept. The plan with the
    lowest ``max_rate`` gives first. Plans whose rate is unknown give last. So do plans that are not on offer; they are
    only closed, because their minimum is not known. What has an unknown status gives nothing. A plan that need not give
    everything gives exactly what is missing; if its minimum forbids that, it gives down to the minimum and the next
    plan gives the rest. Only if no plan can give the rest exactly, one is closed: the one that gives the smallest
    excess. The others then give less, those with the highest rate first.

    :param holdings: what the account holds.
    :param ticker: the asset.
    :param amount: what the balance must hold, in units of the asset.
    :param target: ``main``, ``spot`` or ``collateral``.
    :param policy: plans that it does not permit give first.
    :returns: withdrawals, then a transfer; ``shortfalls`` says what cannot be raised.
    :raises WhiteBitValidationError: unknown asset or balance, or more decimals than the asset carries.
    :raises WhiteBitUnavailableError: a balance of the asset, or how many decimals it carries, cannot be read.
    """
    target = parsing.read_account("target", target)
    precision = holdings.decimals(ticker)
    if precision is not None:
        selection.check_decimals(amount, ticker, precision)
    to_main = target == parsing.MAIN
    decimals = selection.TRANSFER_DECIMALS if precision is None else min(precision, selection.TRANSFER_DECIMALS)
    wanted = policy.tickers.get(ticker) if policy else None
    with exact():
        planner = AssetPlanner(holdings, ticker, wanted or TickerPolicy())
        for record in holdings.unreadable:
            if record.kind is FlexInvestment and record.may_be_of(None, ticker):
                planner.note(f"cannot be read, and is left alone: {record}")
        there = readable_balance(holdings.account(target), target, ticker)
        missing = max(ZERO, amount - there)
        # A transfer carries few decimals, so Main must hold the amount rounded up to them.
        needed = missing if to_main else round_up(missing, decimals)
        planner.withdraw(
            needed if to_main else needed - planner.main, f"{plain(amount)} {ticker} are needed in {target}"
        )
        moves = planner.withdrawals()
        arriving = planner.withdrawn if to_main else round_down(min(needed, planner.main), decimals)
        if not to_main and arriving > 0:
            reason = f"{plain(amount)} {ticker} are needed in {target}, which holds {plain(there)}."
            transfer = Move(Operation.TRANSFER, "", ticker, shortest(arriving), source=parsing.MAIN, target=target)
            moves.append(PlannedMove(transfer, reason))
        short = amount - there - arriving
        if short > 0:
            planner.note(
                f"{plain(short)} of {plain(amount)} are missing in {target}, even after every possible withdrawal"
            )
    notes = (*planner.notes, *_unit_notes([planner]))
    return TreasuryPlan(tuple(moves), notes, {ticker: shortest(short)} if short > 0 else {})


def _plan_each(
    holdings: Holdings, policy: Policy, now: pendulum.DateTime, plan: Callable[[AssetPlanner], None]
) -> TreasuryPlan:
    """Plan each asset of a policy. The withdrawals of all assets come before all investments.

    An asset that cannot be planned gets a note and stops no other.

    :raises WhiteBitError: none of them can be planned; the error of the first.
    """
    if now.utcoffset() is None:
        raise WhiteBitValidationError("now has no time zone: give an aware time.")
    with exact():
        of_ticker, nothing = holdings.by_ticker(), replace(holdings, plans=(), investments=(), unreadable=())
        notes = [f"Which asset it is of is not known: {one}." for one in of_ticker.get("", nothing).unreadable]
        planners: list[AssetPlanner] = []
        failed: list[WhiteBitError] = []
        for ticker, wanted in sorted(policy.tickers.items()):
            held = of_ticker.get(ticker, nothing)
            try:
                if faults := held.faults(ticker):
                    raise WhiteBitUnavailableError(f"{'; '.join(faults)}.")
                planner = AssetPlanner(held, ticker, wanted, wanted.due(now))
                plan(planner)
                planners.append(planner)
            except WhiteBitError as error:
                failed.append(error)
                notes.append(f"{ticker}: nothing is planned: {error.message}")
        if len(failed) == len(policy.tickers) > 0:
            raise failed[0]
        withdrawals = [move for planner in planners for move in planner.withdrawals()]
        return TreasuryPlan(
            moves=(*withdrawals, *(move for planner in planners for move in planner.investments())),
            notes=(*notes, *(note for planner in planners for note in planner.notes), *_unit_notes(planners)),
            shortfalls={planner.ticker: shortest(planner.shortfall) for planner in planners if planner.shortfall},
            auto_reinvest={plan_id: wish for planner in planners for plan_id, wish in planner.switches().items()},
        )


def _unit_notes(planners: Iterable[AssetPlanner]) -> tuple[str, ...]:
    """One note if a rate may be in another unit."""
    plans = (plan for planner in planners for plan in planner.plans.values())
    warning = unit_warning((plan.id, plan.max_rate, None) for plan in plans)
    return () if warning is None else (warning,)
