"""Choose the plan or the investment that a move means, and check its limits. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import TypeVar

from airflow_provider_whitebit.client.endpoints import ASSETS
from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError, WhiteBitValidationError
from airflow_provider_whitebit.client.models import FixedInvestment, FixedPlan, FlexInvestment, FlexPlan, plain
from airflow_provider_whitebit.moves.parsing import ALL

#: Most decimals that a transfer can carry, whatever the asset.
TRANSFER_DECIMALS = 8
_MINUTES_A_DAY = 1440
#: Digits with which amounts are not rounded.
_EXACT = 200
_UNLIMITED = Decimal("Infinity")

PlanT = TypeVar("PlanT", FlexPlan, FixedPlan)


def check_decimals(amount: Decimal, ticker: str, precision: int) -> None:
    """:raises WhiteBitValidationError: the amount has more decimals than its asset carries."""
    exponent = amount.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > precision:
        raise WhiteBitValidationError(
            f"amount is {amount:f}: {ticker} carries at most {precision} decimals. Round it the way you want it."
        )


def no_precision(ticker: str) -> WhiteBitUnavailableError:
    """The error if the exchange does not say how many decimals an asset carries."""
    return WhiteBitUnavailableError(
        f"The exchange does not show how many decimals {ticker} carries (field 'currency_precision').", path=ASSETS
    )


def transferable(held: Decimal, decimals: int) -> tuple[Decimal, Decimal]:
    """Split a balance into what a transfer can carry and the dust that stays.

    :param held: in units of the asset.
    :param decimals: most decimals of the transfer.
    """
    with localcontext(prec=_EXACT):
        amount = held.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_DOWN)
        return amount, held - amount


def require_ticker(ticker: str, known: Container[str]) -> None:
    """:raises WhiteBitValidationError: the exchange has no such asset."""
    if ticker not in known:
        raise WhiteBitValidationError(f"ticker is {ticker}: the exchange has no such asset.")


def plan_for_investment(plans: Sequence[FlexPlan], ticker: str, amount: Decimal) -> FlexPlan:
    """Return the open plan of a ticker with the highest ``max_rate`` whose limits admit the amount.

    Of equal rates the one that admits more, then the smaller id. A plan whose rate is unknown is not compared: it is
    chosen only if it is the only one.

    :raises WhiteBitValidationError: no plan admits the amount, or their rates are unknown; the error lists the plans
        and their limits.
    """
    offered = [plan for plan in plans if plan.ticker == ticker]
    fitting = [plan for plan in offered if plan.admits(amount)]
    if not fitting:
        raise _no_plan("plan", ticker, amount, map(_limits, offered))
    ranked = [((-plan.max_rate, -_most(plan), plan.id), plan) for plan in fitting if plan.max_rate is not None]
    if ranked:
        return min(ranked, key=lambda entry: entry[0])[1]
    return _only_one("plan", ticker, fitting, map(_limits, fitting))


def fixed_plan_for_investment(plans: Sequence[FixedPlan], ticker: str, amount: Decimal, days: int | None) -> FixedPlan:
    """Return the open Fixed plan of a ticker with the highest percentage per day that admits the amount.

    Of equal percentages the shorter plan, then the smaller id. A plan whose percentage or term is unknown is not
    compared: it is chosen only if it is the only one.

    :param days: only plans of this term.
    :raises WhiteBitValidationError: no plan admits the amount, or their percentages are unknown; the error lists the
        plans and their limits.
    """
    offered = [
        plan for plan in plans if plan.ticker == ticker and (days is None or plan.duration == days * _MINUTES_A_DAY)
    ]
    fitting = [plan for plan in offered if plan.active and plan.admits(amount)]
    term = "" if days is None else f" over {days} days"
    if not fitting:
        raise _no_plan("Fixed plan", f"{ticker}{term}", amount, map(_fixed_limits, offered))
    ranked = [
        ((-plan.daily_percent, plan.duration or 0, plan.id), plan) for plan in fitting if plan.daily_percent is not None
    ]
    if ranked:
        return min(ranked, key=lambda entry: entry[0])[1]
    return _only_one("Fixed plan", f"{ticker}{term}", fitting, map(_fixed_limits, fitting))


def _only_one(kind: str, of: str, plans: Sequence[PlanT], limits: Iterable[str]) -> PlanT:
    """The only plan, whose rate need not be compared. :raises WhiteBitValidationError: there are several."""
    if len(plans) == 1:
        return plans[0]
    raise WhiteBitValidationError(
        f"The exchange does not show the rate of any open {kind} of {of}, so none is the best: {'; '.join(limits)}.",
        next_step="Give a plan_id instead of a ticker. Then clear the task.",
    )


def _no_plan(kind: str, of: str, amount: Decimal, limits: Iterable[str]) -> WhiteBitValidationError:
    kinds = f"{kind[0].upper()}{kind[1:]}s"
    listed = "; ".join(limits) or "none"
    return WhiteBitValidationError(f"No open {kind} of {of} admits {amount:f}. {kinds} of {of}: {listed}.")


def check_plan_admits(plan: FlexPlan, amount: Decimal) -> None:
    """:raises WhiteBitValidationError: the plan's limits do not admit the amount."""
    if not plan.admits(amount):
        raise WhiteBitValidationError(f"amount is {amount:f}, which the plan does not admit: {_limits(plan)}.")


def check_fixed_plan_admits(plan: FixedPlan, amount: Decimal) -> None:
    """:raises WhiteBitValidationError: the plan is not open, or its limits do not admit the amount."""
    if not plan.active:
        raise WhiteBitValidationError(f"plan_id is {plan.id}, which cannot be invested in now: {_fixed_limits(plan)}.")
    if not plan.admits(amount):
        raise WhiteBitValidationError(f"amount is {amount:f}, which the plan does not admit: {_fixed_limits(plan)}.")


def fixed_investment_for_close(
    investments: Sequence[FixedInvestment], plan_id: str | None, ticker: str | None
) -> FixedInvestment:
    """Return the one active Fixed investment in a plan or of an asset.

    :raises WhiteBitValidationError: there is none, or several; the error lists them.
    """
    held = [
        entry
        for entry in investments
        if entry.active
        and (plan_id is None or entry.plan.id.lower() == plan_id)
        and (ticker is None or entry.plan.ticker == ticker)
    ]
    where = f"plan {plan_id}" if plan_id else str(ticker)
    if not held:
        raise WhiteBitValidationError(f"There is no active Fixed investment of {where}.")
    if len(held) > 1:
        listed = "; ".join(f"{entry.id} ({entry.amount:f} {entry.plan.ticker})" for entry in held)
        raise WhiteBitValidationError(
            f"Several Fixed investments of {where} are active: {listed}. Give an investment_id."
        )
    return held[0]


def investment_for_withdrawal(
    investments: Sequence[FlexInvestment], plans: Sequence[FlexPlan], ticker: str, amount: Decimal | None
) -> FlexInvestment:
    """Return the active investment of a ticker that earns least and can give an amount.

    :param amount: how much; ``None``: everything, which is only clear if there is one investment.
    :raises WhiteBitValidationError: no investment can give it, or it is not clear which; the error lists them.
    """
    held = [entry for entry in investments if entry.active and entry.currency == ticker]
    if not held:
        raise WhiteBitValidationError(f"There is no active investment of {ticker}.")
    listed = "; ".join(f"{entry.invested:f} in plan {entry.plan_id}" for entry in held)
    if amount is None:
        if len(held) > 1:
            raise WhiteBitValidationError(f"Several investments of {ticker} are active: {listed}. Give a plan_id.")
        return held[0]
    by_id = {plan.id: plan for plan in plans}
    able = [entry for entry in held if can_give(entry, by_id.get(entry.plan_id), amount)]
    if not able:
        raise WhiteBitValidationError(
            f"No single investment of {ticker} can give {amount:f} and keep its plan's minimum. Active: {listed}."
        )

    def cost(entry: FlexInvestment) -> tuple[Decimal, Decimal, str]:
        plan = by_id.get(entry.plan_id)
        # A plan that is no longer offered shows no rate, so it comes last, like one whose rate is unknown.
        rate = None if plan is None else plan.max_rate
        return (_UNLIMITED if rate is None else rate, entry.invested, entry.plan_id)

    return min(able, key=cost)


def can_give(investment: FlexInvestment, plan: FlexPlan | None, amount: Decimal) -> bool:
    """Whether an investment can give an amount: all of it, or so that its plan's minimum remains."""
    left = investment.invested - amount
    return left == 0 or (left > 0 and (plan is None or left >= plan.min_investment))


def check_withdrawal(investment: FlexInvestment, plan: FlexPlan | None, amount: Decimal) -> None:
    """:raises WhiteBitValidationError: the investment holds less, or less than the plan's minimum would remain."""
    if amount > investment.invested:
        raise WhiteBitValidationError(
            f"amount is {amount:f}, but {investment.invested:f} {investment.currency} are invested in this plan."
        )
    if not can_give(investment, plan, amount) and plan is not None:
        raise WhiteBitValidationError(
            f"Withdrawing {amount:f} would leave {investment.invested - amount:f} {investment.currency}, less than the "
            f'plan\'s minimum of {plan.min_investment:f}. Withdraw less, or "{ALL}".'
        )


def shown_rate(rate: Decimal | None) -> str:
    """A rate or percentage for a sentence."""
    return "unknown" if rate is None else plain(rate)


def _most(plan: FlexPlan) -> Decimal:
    return _UNLIMITED if plan.max_investment is None else plan.max_investment


def _range(plan: FlexPlan | FixedPlan) -> str:
    most = "no maximum" if plan.max_investment is None else f"at most {plan.max_investment:f}"
    return f"at least {plan.min_investment:f}, {most}"


def _limits(plan: FlexPlan) -> str:
    return f"{plan.id} ({_range(plan)}, rate {shown_rate(plan.max_rate)})"


def _fixed_limits(plan: FixedPlan) -> str:
    left = "" if plan.max_possible_investment is None else f", now at most {plan.max_possible_investment:f}"
    state = "open" if plan.active else f"not open (status {plan.status})"
    days = "an unknown number of" if plan.duration is None else plan.duration // _MINUTES_A_DAY
    term = f"{shown_rate(plan.percent)} % over {days} days"
    return f"{plan.id} ({state}, {_range(plan)}{left}, {term})"
