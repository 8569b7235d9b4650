"""Keep a policy's promises although other runs, tasks or people move money at the same time."""

from __future__ import annotations

from dataclasses import dataclass

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitPlanOutdatedError, WhiteBitValidationError, shown
from airflow_provider_whitebit.client.unreadable import UnreadableRecord, warn
from airflow_provider_whitebit.moves import parsing
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.treasury.holdings import Holdings
from airflow_provider_whitebit.treasury.requests import PlanRequest


class AsApproved:
    """A move of an approved plan is sent as a person approved it. It takes turns with the moves of other plans.

    The plan may have been written by hand. The connection's limits go by asset, so it must name the right one.
    """

    def check(self, account: Account, move: Move) -> None:
        """Check that the move is of the asset that it names.

        :raises WhiteBitValidationError: it is of another one.
        :raises WhiteBitError: refused or unreachable.
        """
        known = _tickers_of(account, move)
        if not known and not move.leaves_plan:
            raise WhiteBitValidationError(
                f"The exchange does not list the plan of this move, so its asset cannot be checked: {move}.",
                next_step="Start a new dag run: it plans and asks again.",
            )
        if strange := known - {move.ticker}:
            raise WhiteBitValidationError(
                f"The approved plan says {shown(move.ticker)}, but this moves {', '.join(sorted(strange))}: {move}.",
                next_step="Start a new dag run: it plans and asks again.",
            )


def _tickers_of(account: Account, move: Move) -> set[str]:
    """The assets in which the exchange shows a move's plan or investment; empty if it shows neither."""
    plan_id = move.plan_id.lower()
    match move.operation:
        case Operation.FLEX_INVEST:
            return {plan.ticker for plan in account.flex_plans() if plan.id.lower() == plan_id}
        case Operation.FLEX_WITHDRAW | Operation.FLEX_CLOSE:
            held = account.flex_investments(None, warn)
            return {entry.currency for entry in held if entry.plan_id.lower() == plan_id}
        case Operation.FIXED_INVEST:
            return {plan.ticker for plan in account.fixed_plans() if plan.id.lower() == plan_id}
        case Operation.FIXED_CLOSE:
            fixed = account.client.fixed_investments(investment=move.investment_id, on_unreadable=warn)
            return {entry.plan.ticker for entry in fixed if entry.id == move.investment_id}
        case _:
            # The ticker itself is sent.
            return {parsing.read_ticker(move.ticker)}


@dataclass(frozen=True, slots=True)
class StillPlanned:
    """A move may be sent if its request, planned again from what the account holds now, still wants it.

    So what a policy promises (reserve, caps, liquidity) holds whatever has moved since the plan was made.

    :param request: of the plan.
    """

    request: PlanRequest

    def check(self, account: Account, move: Move) -> None:
        """Plan the move's asset again.

        :raises WhiteBitPlanOutdatedError: the new plan does not contain the move.
        :raises WhiteBitError: refused or unreachable.
        """
        holdings = read_holdings(account, *self.request.accounts, ticker=move.ticker)
        plan = self.request.plan(holdings, pendulum.now("UTC"), ())
        if not any(_covers(planned.move, move) for planned in plan.moves):
            raise WhiteBitPlanOutdatedError(f"Something else has moved {move.ticker} since this was planned: {move}.")


def read_holdings(account: Account, *accounts: str, ticker: str | None = None) -> Holdings:
    """What the account holds: Main, Flex plans and investments. What cannot be read of them is named, not left out.

    :param accounts: further balances to read: ``spot``, ``collateral``.
    :param ticker: only of this asset; all by default.
    :raises WhiteBitError: refused or unreachable.
    """
    unreadable: list[UnreadableRecord] = []
    # Of every status: one that this package does not know may hold money.
    investments = account.flex_investments(ticker, unreadable.append)
    main = dict(account.shown_balances(ticker=ticker))
    for entry in investments:
        # The list of all balances may leave out an asset that is delisted.
        if entry.currency and entry.currency not in main:
            main.update(account.shown_balances(ticker=entry.currency))
    return Holdings(
        main=main,
        plans=tuple(account.flex_plans(ticker, on_unreadable=unreadable.append)),
        investments=tuple(entry for entry in investments if not entry.closed),
        assets=account.assets,
        unreadable=tuple(record for record in unreadable if not record.closed),
        **{name: account.shown_balances(name, ticker) for name in accounts if name != parsing.MAIN},
    )


def _covers(planned: Move, move: Move) -> bool:
    """Whether a planned move is a given one, or the same with a larger amount."""
    names = ("operation", "plan_id", "source", "target", "with_reinvest")
    same = all(getattr(planned, name) == getattr(move, name) for name in names)
    whole = move.operation is Operation.FLEX_CLOSE or planned.amount is None or move.amount is None
    return same and planned.ticker == move.ticker and (whole or planned.amount >= move.amount)  # type: ignore[operator]
