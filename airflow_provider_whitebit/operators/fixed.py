"""Operators for Fixed plans. Vendor page: Lending (Fixed plans).

All of them return plain JSON: amounts as decimal strings, times as ISO 8601 UTC strings. Those that move money
return a receipt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import (
    WhiteBitListOperator,
    WhiteBitMoveOperator,
    WhiteBitPlanMoveOperator,
)
from airflow_provider_whitebit.operators.parameters import (
    as_identifier,
    as_number,
    as_plan_id,
    as_ticker,
    refuse_float,
)

if TYPE_CHECKING:
    from airflow_provider_whitebit.moves.intent import Receipt


class WhiteBitFixedPlansOperator(WhiteBitListOperator):
    """Read the Fixed plans: ``id``, ``ticker``, ``status``, ``percent`` over ``duration`` (minutes), limits, ...

    :param ticker: only plans of this asset.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "ticker")

    def __init__(self, *, ticker: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ticker = ticker

    def records(self) -> Iterable[Any]:
        return self.hook.get_conn().fixed_plans(ticker=as_ticker(self.ticker))


class WhiteBitFixedInvestmentsOperator(WhiteBitListOperator):
    """Read the account's Fixed investments: ``id``, ``plan``, ``status``, ``payment_time``, ``amount``, ...

    :param investment: only the investment with this id.
    :param ticker: only of this asset.
    :param investment_status: 1 active, 2 closed; both by default.
    :param limit: at most so many; all by default.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "investment", "ticker", "investment_status", "limit")

    def __init__(
        self,
        *,
        investment: str | None = None,
        ticker: str | None = None,
        investment_status: int | str | None = None,
        limit: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.investment = investment
        self.ticker = ticker
        self.investment_status = investment_status
        self.limit = limit

    def records(self) -> Iterable[Any]:
        return self.hook.get_conn().fixed_investments(
            investment=as_identifier("investment", self.investment),
            ticker=as_ticker(self.ticker),
            investment_status=as_number("investment_status", self.investment_status),
            limit=as_number("limit", self.limit),
        )


class WhiteBitFixedPaymentsOperator(WhiteBitListOperator):
    """Read the interest that Fixed investments have paid: ``plan_id``, ``investment_id``, ``amount``, ``ticker``, ...

    :param plan_id: only of this plan.
    :param ticker: only paid in this asset.
    :param limit: at most so many; all by default.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "plan_id", "ticker", "limit")

    def __init__(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        limit: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan_id = plan_id
        self.ticker = ticker
        self.limit = limit

    def records(self) -> Iterable[Any]:
        return self.hook.get_conn().fixed_payments(
            plan=as_plan_id(self.plan_id), ticker=as_ticker(self.ticker), limit=as_number("limit", self.limit)
        )


class WhiteBitFixedInvestOperator(WhiteBitPlanMoveOperator):
    """Invest in a Fixed plan, once, whatever is lost, killed or retried. The receipt names the ``investment_id``.

    :param plan_id: the plan; or
    :param ticker: the asset: the open plan of it with the highest percentage per day that admits the amount is taken.
    :param days: with ``ticker``: only plans of this term.
    :param amount: how much, in units of the asset, as a string, an int or a Decimal.
    :param dry_run: check everything, send nothing.
    :param deferrable: let a triggerer do the waiting where a lost answer has to be waited out.
    """

    template_fields: Sequence[str] = (*WhiteBitPlanMoveOperator.template_fields, "amount", "days")

    def __init__(self, *, amount: Any, days: int | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        refuse_float(amount)
        self.amount = amount
        self.days = days

    def move(self) -> Receipt:
        return self.hook.fixed_invest(amount=self.amount, days=self.days, **self.options("fixed_invest"))


class WhiteBitFixedCloseOperator(WhiteBitMoveOperator):
    """Close a Fixed investment before its term ends, once: its interest is forfeited.

    :param investment_id: the investment; or
    :param plan_id: the plan, if one investment in it is active; or
    :param ticker: the asset, if one Fixed investment of it is active.
    :param dry_run: check everything, send nothing.
    :param deferrable: let a triggerer do the waiting where a lost answer has to be waited out.
    """

    template_fields: Sequence[str] = (*WhiteBitMoveOperator.template_fields, "investment_id", "plan_id", "ticker")

    def __init__(
        self,
        *,
        investment_id: str | None = None,
        plan_id: str | None = None,
        ticker: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if sum(given is not None for given in (investment_id, plan_id, ticker)) > 1:
            raise ValueError("give either investment_id, or plan_id, or ticker")
        self.investment_id = investment_id
        self.plan_id = plan_id
        self.ticker = ticker

    def move(self) -> Receipt:
        return self.hook.fixed_close(
            investment_id=self.investment_id,
            plan_id=self.plan_id,
            ticker=self.ticker,
            **self.options("fixed_close"),
        )
