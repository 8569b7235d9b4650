"""Operators for Fixed plans. Vendor page: Lending (Fixed plans).

All of them return plain JSON: amounts as decimal strings, times as ISO 8601 UTC strings. Those that move money
return a receipt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import WhiteBitListOperator, WhiteBitMoveOperator
from airflow_provider_whitebit.operators.parameters import at_most_one

if TYPE_CHECKING:
    from decimal import Decimal
    from typing import Unpack

    from airflow.sdk import XComArg

    from airflow_provider_whitebit.operators.arguments import BaseOperatorKwargs


class WhiteBitFixedPlansOperator(WhiteBitListOperator):
    """Read the Fixed plans: ``id``, ``ticker``, ``status``, ``percent`` over ``duration`` (minutes), limits, ...

    :param ticker: only plans of this asset.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    method = "fixed_plans"
    template_fields: Sequence[str] = ("whitebit_conn_id", "ticker")

    def __init__(
        self,
        *,
        ticker: str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.ticker = ticker


class WhiteBitFixedInvestmentsOperator(WhiteBitListOperator):
    """Read the account's Fixed investments: ``id``, ``plan``, ``status``, ``payment_time``, ``amount``, ...

    :param investment_id: only the investment with this id.
    :param ticker: only of this asset.
    :param investment_status: ``active`` or ``closed`` (or the exchange's numbers 1, 2); both by default.
    :param limit: at most this many; all by default.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    method = "fixed_investments"
    template_fields: Sequence[str] = ("whitebit_conn_id", "investment_id", "ticker", "investment_status", "limit")

    def __init__(
        self,
        *,
        investment_id: str | XComArg | None = None,
        ticker: str | XComArg | None = None,
        investment_status: str | int | XComArg | None = None,
        limit: int | str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.investment_id = investment_id
        self.ticker = ticker
        self.investment_status = investment_status
        self.limit = limit


class WhiteBitFixedPaymentsOperator(WhiteBitListOperator):
    """Read the interest that Fixed investments have paid: ``plan_id``, ``investment_id``, ``amount``, ``ticker``, ...

    :param plan_id: only of this plan.
    :param ticker: only paid in this asset.
    :param limit: at most this many; all by default.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    method = "fixed_payments"
    skips_unreadable = False
    template_fields: Sequence[str] = ("whitebit_conn_id", "plan_id", "ticker", "limit")

    def __init__(
        self,
        *,
        plan_id: str | XComArg | None = None,
        ticker: str | XComArg | None = None,
        limit: int | str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.plan_id = plan_id
        self.ticker = ticker
        self.limit = limit


class WhiteBitFixedInvestOperator(WhiteBitMoveOperator):
    """Invest in a Fixed plan, exactly once, whatever is lost, killed or retried. The receipt has ``investment_id``.

    :param plan_id: the plan; or
    :param ticker: the asset. The open plan with the highest percentage per day that admits the amount is chosen.
    :param days: with ``ticker``: only plans of this term, in days.
    :param amount: units of the asset, as a string, an int or a Decimal.
    :param idempotency_key: name of the move for all tasks of the account: nothing moves twice under one.
    :param dry_run: check everything, send nothing. The receipt's status is ``planned``.
    :param deferrable: wait in the triggerer if an answer is lost. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (*WhiteBitMoveOperator.template_fields, "plan_id", "ticker", "days", "amount")

    def __init__(
        self,
        *,
        plan_id: str | XComArg | None = None,
        ticker: str | XComArg | None = None,
        days: int | str | XComArg | None = None,
        amount: str | int | Decimal | XComArg,
        idempotency_key: str | XComArg | None = None,
        dry_run: bool | str | XComArg = False,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(
            idempotency_key=idempotency_key,
            dry_run=dry_run,
            deferrable=deferrable,
            whitebit_conn_id=whitebit_conn_id,
            **kwargs,
        )
        at_most_one(plan_id=plan_id, ticker=ticker)
        self._refuse_floats(amount=amount)
        self.plan_id: Any = plan_id
        self.ticker: Any = ticker
        self.days: Any = days
        self._has_days = self._is_given("days", days)
        self.amount: Any = amount

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Invest. Return the receipt as plain JSON."""
        given = self._parameters("plan_id", "ticker", "days", "amount")
        if given["days"] is None and self._has_days:
            # Without a term, the money could be locked for a longer one.
            given["days"] = ""
        with self.moving():
            receipt = self.hook.fixed_invest(**given, **self._options())
        return self.result(receipt, context)


class WhiteBitFixedCloseOperator(WhiteBitMoveOperator):
    """Close a Fixed investment before its term ends, exactly once. Its interest is forfeited.

    :param investment_id: the investment; or
    :param plan_id: the plan, if one investment in it is active; or
    :param ticker: the asset, if one Fixed investment of it is active.
    :param idempotency_key: name of the move for all tasks of the account: nothing moves twice under one.
    :param dry_run: check everything, send nothing. The receipt's status is ``planned``.
    :param deferrable: wait in the triggerer if an answer is lost. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (*WhiteBitMoveOperator.template_fields, "investment_id", "plan_id", "ticker")

    def __init__(
        self,
        *,
        investment_id: str | XComArg | None = None,
        plan_id: str | XComArg | None = None,
        ticker: str | XComArg | None = None,
        idempotency_key: str | XComArg | None = None,
        dry_run: bool | str | XComArg = False,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(
            idempotency_key=idempotency_key,
            dry_run=dry_run,
            deferrable=deferrable,
            whitebit_conn_id=whitebit_conn_id,
            **kwargs,
        )
        at_most_one(investment_id=investment_id, plan_id=plan_id, ticker=ticker)
        self.investment_id: Any = investment_id
        self.plan_id: Any = plan_id
        self.ticker: Any = ticker

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Close. Return the receipt as plain JSON."""
        with self.moving():
            receipt = self.hook.fixed_close(**self._parameters("investment_id", "plan_id", "ticker"), **self._options())
        return self.result(receipt, context)
