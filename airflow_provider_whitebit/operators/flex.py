"""Operators for Flex plans. Vendor page: Lending (Flex plans).

All of them return plain JSON: amounts as decimal strings, times as ISO 8601 UTC strings. Those that move money
return a receipt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import WhiteBitListOperator, WhiteBitMoveOperator, WhiteBitOperator
from airflow_provider_whitebit.operators.parameters import at_most_one, plain_path

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from typing import Unpack

    from airflow.sdk import XComArg

    from airflow_provider_whitebit.operators.arguments import BaseOperatorKwargs, StoragePath


class WhiteBitFlexPlansOperator(WhiteBitListOperator):
    """Read the Flex plans on offer: ``id``, ``ticker``, ``min_investment``, ``max_investment``, ``max_rate``.

    :param ticker: only plans of this asset.
    :param limit: at most this many; all by default.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    method = "flex_plans"
    template_fields: Sequence[str] = ("whitebit_conn_id", "ticker", "limit")

    def __init__(
        self,
        *,
        ticker: str | XComArg | None = None,
        limit: int | str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.ticker = ticker
        self.limit = limit


class WhiteBitFlexInvestmentsOperator(WhiteBitListOperator):
    """Read the account's Flex investments: ``id``, ``plan_id``, ``currency``, ``invested``, ``status``, ...

    :param ticker: only of this asset.
    :param plan_id: only in this plan.
    :param investment_id: only the investment with this id.
    :param investment_status: ``active`` or ``closed`` (or the exchange's numbers 1, 0); both by default.
    :param limit: at most this many; all by default.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    method = "flex_investments"
    template_fields: Sequence[str] = (
        "whitebit_conn_id",
        "ticker",
        "plan_id",
        "investment_id",
        "investment_status",
        "limit",
    )

    def __init__(
        self,
        *,
        ticker: str | XComArg | None = None,
        plan_id: str | XComArg | None = None,
        investment_id: str | XComArg | None = None,
        investment_status: str | int | XComArg | None = None,
        limit: int | str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.ticker = ticker
        self.plan_id = plan_id
        self.investment_id = investment_id
        self.investment_status = investment_status
        self.limit = limit


class _FlexTransactionsOperator(WhiteBitListOperator):
    """What history and payments share."""

    skips_unreadable = False
    template_fields: Sequence[str] = (
        "whitebit_conn_id",
        "plan_id",
        "investment_id",
        "transaction",
        "date_from",
        "date_to",
        "limit",
        "output_path",
        "output_format",
        "output_conn_id",
    )

    def __init__(
        self,
        *,
        plan_id: str | XComArg | None = None,
        investment_id: str | XComArg | None = None,
        transaction: str | XComArg | None = None,
        date_from: str | int | datetime | XComArg | None = None,
        date_to: str | int | datetime | XComArg | None = None,
        limit: int | str | XComArg | None = None,
        output_path: StoragePath | XComArg | None = None,
        output_format: str | XComArg | None = None,
        output_conn_id: str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.plan_id = plan_id
        self.investment_id = investment_id
        self.transaction = transaction
        self.date_from = date_from
        self.date_to = date_to
        self.limit = limit
        self.output_path: Any = plain_path(output_path)
        self.output_format: Any = output_format
        self.output_conn_id: Any = output_conn_id

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Return the records as plain JSON; with ``output_path``, where they were written and their totals."""
        from airflow_provider_whitebit.operators.export import collect_records, write_records

        with self.airflow_errors():
            path, output_format, conn_id = self._parameters("output_path", "output_format", "output_conn_id").values()
            if path is None:
                return collect_records(self.records())
            written = write_records(self.records(), path, output_format=output_format, conn_id=conn_id)
        self.log.info("Wrote %s records to %s", written["count"], written["path"])
        return self._publish(written, context)


class WhiteBitFlexPaymentsOperator(_FlexTransactionsOperator):
    """Read daily Flex earnings, in the exchange's order: newest first, which it does not promise.

    :param plan_id: only of this plan.
    :param investment_id: only of the investment with this id.
    :param transaction: only the transaction with this id.
    :param date_from: not before: an ISO 8601 time with zone, a date (00:00 UTC) or Unix seconds.
    :param date_to: not after: likewise.
    :param limit: at most this many, from the beginning of this order; all by default.
    :param output_path: write them to this file instead of returning them: any path of Airflow's
        ``ObjectStoragePath``. Without it, at most 10,000 records are returned.
    :param output_format: ``jsonl``, ``csv`` or ``parquet``; by default, the file's extension.
    :param output_conn_id: Airflow connection of the storage.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    method = "flex_payments"


class WhiteBitFlexHistoryOperator(_FlexTransactionsOperator):
    """Read Flex transactions, in the exchange's order: newest first, which it does not promise.

    :param plan_id: only of this plan.
    :param investment_id: only of the investment with this id.
    :param transaction: only the transaction with this id.
    :param date_from: not before: an ISO 8601 time with zone, a date (00:00 UTC) or Unix seconds.
    :param date_to: not after: likewise.
    :param action_types: only these: a list or a comma-separated text of ``invest``, ``reinvest``, ``withdraw``,
        ``earning``, ``close``, ``open`` (or the exchange's numbers 1, 2, 3, 4, 5, 6).
    :param limit: at most this many, from the beginning of this order; all by default.
    :param output_path: write them to this file instead of returning them: any path of Airflow's
        ``ObjectStoragePath``. Without it, at most 10,000 records are returned.
    :param output_format: ``jsonl``, ``csv`` or ``parquet``; by default, the file's extension.
    :param output_conn_id: Airflow connection of the storage.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    method = "flex_history"
    template_fields: Sequence[str] = (*_FlexTransactionsOperator.template_fields, "action_types")

    def __init__(
        self,
        *,
        plan_id: str | XComArg | None = None,
        investment_id: str | XComArg | None = None,
        transaction: str | XComArg | None = None,
        date_from: str | int | datetime | XComArg | None = None,
        date_to: str | int | datetime | XComArg | None = None,
        action_types: Sequence[str | int] | str | XComArg | None = None,
        limit: int | str | XComArg | None = None,
        output_path: StoragePath | XComArg | None = None,
        output_format: str | XComArg | None = None,
        output_conn_id: str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(
            plan_id=plan_id,
            investment_id=investment_id,
            transaction=transaction,
            date_from=date_from,
            date_to=date_to,
            limit=limit,
            output_path=output_path,
            output_format=output_format,
            output_conn_id=output_conn_id,
            whitebit_conn_id=whitebit_conn_id,
            **kwargs,
        )
        self.action_types = action_types


class WhiteBitFlexInvestOperator(WhiteBitMoveOperator):
    """Invest in a Flex plan, exactly once, whatever is lost, killed or retried.

    :param plan_id: the plan; or
    :param ticker: the asset. The open plan with the highest ``max_rate`` that admits the amount is chosen.
    :param amount: units of the asset, as a string, an int or a Decimal.
    :param with_reinvest: whether earnings are added to the investment.
    :param idempotency_key: name of the move for all tasks of the account: nothing moves twice under one.
    :param dry_run: check everything, send nothing. The receipt's status is ``planned``.
    :param deferrable: wait in the triggerer if an answer is lost. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (
        *WhiteBitMoveOperator.template_fields,
        "plan_id",
        "ticker",
        "amount",
        "with_reinvest",
    )

    def __init__(
        self,
        *,
        plan_id: str | XComArg | None = None,
        ticker: str | XComArg | None = None,
        amount: str | int | Decimal | XComArg,
        with_reinvest: bool | str | XComArg = False,
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
        self.amount: Any = amount
        self.with_reinvest: Any = with_reinvest

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Invest. Return the receipt as plain JSON."""
        with self.moving():
            receipt = self.hook.flex_invest(
                **self._parameters("plan_id", "ticker", "amount", "with_reinvest"), **self._options()
            )
        return self.result(receipt, context)


class WhiteBitFlexWithdrawOperator(WhiteBitMoveOperator):
    """Withdraw from the investment in a Flex plan, exactly once, whatever is lost, killed or retried.

    :param plan_id: the plan; or
    :param ticker: the asset. Of its active investments, the one that earns least and can give the amount is chosen.
    :param amount: units of the asset, or ``"all"``, which closes the investment. What remains must be zero or at least
        the plan's minimum.
    :param idempotency_key: name of the move for all tasks of the account: nothing moves twice under one.
    :param dry_run: check everything, send nothing. The receipt's status is ``planned``.
    :param deferrable: wait in the triggerer if an answer is lost. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (*WhiteBitMoveOperator.template_fields, "plan_id", "ticker", "amount")

    def __init__(
        self,
        *,
        plan_id: str | XComArg | None = None,
        ticker: str | XComArg | None = None,
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
        self.amount: Any = amount

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Withdraw. Return the receipt as plain JSON."""
        with self.moving():
            receipt = self.hook.flex_withdraw(**self._parameters("plan_id", "ticker", "amount"), **self._options())
        return self.result(receipt, context)


class WhiteBitFlexCloseOperator(WhiteBitMoveOperator):
    """Close the investment in a Flex plan, exactly once, whatever is lost, killed or retried.

    :param plan_id: the plan; or
    :param ticker: the asset, if one investment of it is active.
    :param idempotency_key: name of the move for all tasks of the account: nothing moves twice under one.
    :param dry_run: check everything, send nothing. The receipt's status is ``planned``.
    :param deferrable: wait in the triggerer if an answer is lost. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (*WhiteBitMoveOperator.template_fields, "plan_id", "ticker")

    def __init__(
        self,
        *,
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
        at_most_one(plan_id=plan_id, ticker=ticker)
        self.plan_id: Any = plan_id
        self.ticker: Any = ticker

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Close. Return the receipt as plain JSON."""
        with self.moving():
            receipt = self.hook.flex_close(**self._parameters("plan_id", "ticker"), **self._options())
        return self.result(receipt, context)


class WhiteBitFlexAutoReinvestOperator(WhiteBitOperator):
    """Switch auto-reinvest of the investment in a Flex plan. Moves no money; repeating it changes nothing.

    :param plan_id: the plan; or
    :param ticker: the asset, if one investment of it is active.
    :param enabled: on or off.
    :param dry_run: check everything, send nothing.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "plan_id", "ticker", "enabled", "dry_run")

    def __init__(
        self,
        *,
        plan_id: str | XComArg | None = None,
        ticker: str | XComArg | None = None,
        enabled: bool | str | XComArg,
        dry_run: bool | str | XComArg = False,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        at_most_one(plan_id=plan_id, ticker=ticker)
        self.plan_id: Any = plan_id
        self.ticker: Any = ticker
        self.enabled: Any = enabled
        self.dry_run: Any = dry_run

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``operation``, ``plan_id``, ``ticker``, ``enabled`` and ``status``."""
        with self.airflow_errors():
            switched = self.hook.flex_auto_reinvest(**self._parameters("plan_id", "ticker", "enabled", "dry_run"))
        return self._publish(switched, context)
