"""Which plan, and how much: what a caller asked for against what the exchange shows. Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Container, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import FixedInvestment, FixedPlan, FlexInvestment, FlexPlan

#: A withdrawal of everything.
ALL = "all"

_AMOUNT = re.compile(r"\d{1,30}(\.\d{1,30})?", re.ASCII)
#: The balances of an account, and whether a direct transfer leads to each other.
MAIN, SPOT, COLLATERAL = ACCOUNTS = ("main", "spot", "collateral")
#: Decimals that a transfer may carry, whatever the asset.
TRANSFER_DECIMALS = 8

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_MINUTES_A_DAY = 1440
_TICKER = re.compile(r"[A-Z0-9_]{1,20}", re.ASCII)


def read_amount(raw: object) -> Decimal:
    """An amount as a caller gives it: ``str``, ``int`` or ``Decimal``, plain digits, above zero.

    :raises WhiteBitValidationError: what is wrong with it, and how it should be written.
    """
    if isinstance(raw, float):
        raise WhiteBitValidationError(
            f'amount is a float, {raw!r}: floats cannot hold decimal amounts exactly. Write it as a string, "{raw!r}".'
        )
    if isinstance(raw, bool) or not isinstance(raw, str | int | Decimal):
        raise WhiteBitValidationError(f'amount is {_brief(raw)}: write it as a string, for example "100.5".')
    text = format(raw, "f") if isinstance(raw, Decimal) else str(raw).strip()
    if not _AMOUNT.fullmatch(text):
        raise WhiteBitValidationError(
            f'amount is {_brief(raw)}: write plain digits above zero, for example "100.5" '
            "(no sign, no exponent, no thousands separators, a point for decimals)."
        )
    amount = Decimal(text)
    if amount <= 0:
        raise WhiteBitValidationError(f"amount is {_brief(raw)}: it must be above zero.")
    return amount


def read_limit(name: str, raw: object) -> Decimal:
    """A limit as a caller gives it: an amount, or zero.

    :param name: of the parameter.
    :raises WhiteBitValidationError: what is wrong with it.
    """
    if not isinstance(raw, bool | float) and str(raw).strip() in ("0", "0.0"):
        return Decimal(0)
    try:
        return read_amount(raw)
    except WhiteBitValidationError as error:
        raise WhiteBitValidationError(error.message.replace("amount is", f"{name} is", 1)) from None


def read_plan_id(raw: object) -> str:
    """A plan's id: a UUID, as the exchange gives it out.

    :raises WhiteBitValidationError: if it is none.
    """
    try:
        if not isinstance(raw, str):
            raise ValueError
        uuid.UUID(raw.strip())
    except ValueError:
        raise WhiteBitValidationError(
            f"plan_id is {_brief(raw)}, which is no UUID. Take it from the plans call, or give a ticker."
        ) from None
    return raw.strip().lower()


def read_identifier(name: str, raw: object) -> str:
    """An identifier of the exchange, as it gives it out.

    :param name: of the parameter.
    :raises WhiteBitValidationError: if it cannot be one.
    """
    text = str(raw).strip() if isinstance(raw, str | int) and not isinstance(raw, bool) else ""
    if not _IDENTIFIER.fullmatch(text):
        raise WhiteBitValidationError(f"{name} is {_brief(raw)}, which is no identifier of the exchange.")
    return text


def read_account(name: str, raw: object) -> str:
    """One of the balances of an account: ``main``, ``spot`` (also ``trade``) or ``collateral``.

    :param name: of the parameter.
    :raises WhiteBitValidationError: if it is none of them.
    """
    text = raw.strip().lower() if isinstance(raw, str) else ""
    text = SPOT if text == "trade" else text
    if text not in ACCOUNTS:
        raise WhiteBitValidationError(f"{name} is {_brief(raw)}: write one of {', '.join(ACCOUNTS)}.")
    return text


def read_ticker(raw: object) -> str:
    """A ticker, in capitals.

    :raises WhiteBitValidationError: if it is none.
    """
    text = raw.strip().upper() if isinstance(raw, str) else ""
    if not _TICKER.fullmatch(text):
        raise WhiteBitValidationError(f"ticker is {_brief(raw)}: write it like USDT.")
    return text


def read_moment(name: str, raw: Any) -> Any:
    """A time as a caller or a template gives it: ISO 8601 becomes a ``datetime``, digits Unix seconds; others stay.

    :param name: of the parameter.
    :raises WhiteBitValidationError: if a text is neither.
    """
    if raw is None or raw in ("", "None"):
        return None
    if not isinstance(raw, str):
        return raw
    text = raw.strip()
    if text.isascii() and text.isdecimal():
        return int(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise WhiteBitValidationError(
            f"{name} is {raw!r}: write a time like 2026-01-31T00:00:00+00:00, or Unix seconds."
        ) from None


def one_of(plan_id: object, ticker: object) -> tuple[str | None, str | None]:
    """Exactly one of plan and ticker, checked.

    :raises WhiteBitValidationError: if both or neither are given, or the one is wrong.
    """
    has_plan, has_ticker = plan_id not in (None, ""), ticker not in (None, "")
    if has_plan == has_ticker:
        raise WhiteBitValidationError("Give either plan_id or ticker" + (", not both." if has_plan else "."))
    return (read_plan_id(plan_id), None) if has_plan else (None, read_ticker(ticker))


def check_decimals(amount: Decimal, ticker: str, precision: int) -> None:
    """:raises WhiteBitValidationError: if the amount has more decimals than its asset carries."""
    exponent = amount.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > precision:
        raise WhiteBitValidationError(
            f"amount is {amount:f}: {ticker} carries at most {precision} decimals. Round it the way you want it."
        )


def known_ticker(ticker: str, known: Container[str]) -> None:
    """:raises WhiteBitValidationError: if the exchange has no such asset."""
    if ticker not in known:
        raise WhiteBitValidationError(f"ticker is {ticker}: the exchange has no such asset.")


def read_days(raw: object) -> int | None:
    """The term of a Fixed plan in whole days.

    :raises WhiteBitValidationError: if it is none.
    """
    if raw is None or raw in ("", "None"):
        return None
    text = str(raw).strip()
    if isinstance(raw, bool) or not (text.isascii() and text.isdecimal()) or not 0 < len(text) < 6 or int(text) < 1:
        raise WhiteBitValidationError(f"days is {_brief(raw)}: write a whole number of days, for example 30.")
    return int(text)


def fixed_plan_for_investment(plans: Sequence[FixedPlan], ticker: str, amount: Decimal, days: int | None) -> FixedPlan:
    """The open Fixed plan of a ticker with the highest percentage per day of its term that admits the amount.

    Of equal ones the shorter, then the smaller id.

    :param days: only plans of this term.
    :raises WhiteBitValidationError: if none does; it lists the plans and their limits.
    """
    offered = [
        plan for plan in plans if plan.ticker == ticker and (days is None or plan.duration == days * _MINUTES_A_DAY)
    ]
    fitting = [plan for plan in offered if plan.active and plan.duration > 0 and plan.admits(amount)]
    if not fitting:
        limits = "; ".join(_fixed_limits(plan) for plan in offered) or "there is none"
        term = "" if days is None else f" over {days} days"
        raise WhiteBitValidationError(
            f"No open Fixed plan of {ticker}{term} admits {amount:f}. Fixed plans of {ticker}{term}: {limits}."
        )
    return min(fitting, key=lambda plan: (-plan.percent / plan.duration, plan.duration, plan.id))


def check_fixed_plan_admits(plan: FixedPlan, amount: Decimal) -> None:
    """:raises WhiteBitValidationError: if the plan is not open or its limits do not admit the amount."""
    if not plan.active:
        raise WhiteBitValidationError(f"plan_id is {plan.id}, which cannot be invested in now: {_fixed_limits(plan)}.")
    if not plan.admits(amount):
        raise WhiteBitValidationError(f"amount is {amount:f}, which the plan does not admit: {_fixed_limits(plan)}.")


def fixed_investment_for_close(
    investments: Sequence[FixedInvestment], plan_id: str | None, ticker: str | None
) -> FixedInvestment:
    """The one active Fixed investment that is meant.

    :raises WhiteBitValidationError: if there is none, or several; it lists them.
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


def ways(source: str, target: str) -> list[tuple[str, str]]:
    """The transfers that lead from one balance to another: one, or two by way of Main.

    :raises WhiteBitValidationError: if they are the same.
    """
    if source == target:
        raise WhiteBitValidationError(f"source and target are both {source}.")
    if MAIN in (source, target):
        return [(source, target)]
    return [(source, MAIN), (MAIN, target)]


def plan_for_investment(plans: Sequence[FlexPlan], ticker: str, amount: Decimal) -> FlexPlan:
    """The open plan of a ticker with the highest ``max_rate`` whose limits admit the amount.

    Of equal rates the one that admits more, then the smaller id.

    :raises WhiteBitValidationError: if none does; it lists the plans and their limits.
    """
    offered = [plan for plan in plans if plan.ticker == ticker]
    fitting = [plan for plan in offered if plan.admits(amount)]
    if not fitting:
        limits = "; ".join(_limits(plan) for plan in offered) or "there is none"
        raise WhiteBitValidationError(f"No open plan of {ticker} admits {amount:f}. Plans of {ticker}: {limits}.")
    unlimited = Decimal("Infinity")
    return min(
        fitting,
        key=lambda plan: (
            -plan.max_rate,
            -(unlimited if plan.max_investment is None else plan.max_investment),
            plan.id,
        ),
    )


def check_plan_admits(plan: FlexPlan, amount: Decimal) -> None:
    """:raises WhiteBitValidationError: if the plan's limits do not admit the amount."""
    if not plan.admits(amount):
        raise WhiteBitValidationError(f"amount is {amount:f}, which the plan does not admit: {_limits(plan)}.")


def investment_for_withdrawal(
    investments: Sequence[FlexInvestment], plans: Sequence[FlexPlan], ticker: str, amount: Decimal | None
) -> FlexInvestment:
    """The active investment of a ticker to take an amount out of: the one that earns least and can give it.

    :param amount: how much; ``None``: everything, which is only clear where there is one investment.
    :raises WhiteBitValidationError: if none can, or it is not clear which; it lists them.
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
        # A plan that is no longer offered shows no rate: leave it for last.
        return (plan.max_rate if plan else Decimal("Infinity"), entry.invested, entry.plan_id)

    return min(able, key=cost)


def can_give(investment: FlexInvestment, plan: FlexPlan | None, amount: Decimal) -> bool:
    """Whether an investment can give an amount: all of it, or so that its plan's minimum stays."""
    left = investment.invested - amount
    return left == 0 or (left > 0 and (plan is None or left >= plan.min_investment))


def check_withdrawal(investment: FlexInvestment, plan: FlexPlan | None, amount: Decimal) -> None:
    """:raises WhiteBitValidationError: if more is asked for than there is, or less than the minimum would stay."""
    if amount > investment.invested:
        raise WhiteBitValidationError(
            f"amount is {amount:f}, but {investment.invested:f} {investment.currency} are invested in this plan."
        )
    if not can_give(investment, plan, amount) and plan is not None:
        raise WhiteBitValidationError(
            f"Withdrawing {amount:f} would leave {investment.invested - amount:f} {investment.currency}, less than the "
            f'plan\'s minimum of {plan.min_investment:f}. Withdraw less, or "{ALL}".'
        )


def _limits(plan: FlexPlan) -> str:
    most = "no maximum" if plan.max_investment is None else f"at most {plan.max_investment:f}"
    return f"{plan.id} (at least {plan.min_investment:f}, {most}, rate {plan.max_rate:f})"


def _fixed_limits(plan: FixedPlan) -> str:
    most = "no maximum" if plan.max_investment is None else f"at most {plan.max_investment:f}"
    left = "" if plan.max_possible_investment is None else f", now at most {plan.max_possible_investment:f}"
    state = "open" if plan.active else f"not open (status {plan.status})"
    return (
        f"{plan.id} ({state}, at least {plan.min_investment:f}, {most}{left}, {plan.percent:f} % over "
        f"{plan.duration // _MINUTES_A_DAY} days)"
    )


def _brief(raw: object) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else f"{text[:57]}..."
