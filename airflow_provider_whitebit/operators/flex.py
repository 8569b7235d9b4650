"""Operators for Flex plans. Vendor page: Lending (Flex plans).

All of them return plain JSON: amounts as decimal strings, times as ISO 8601 UTC strings. Those that move money
return a receipt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import WhiteBitListOperator, WhiteBitOperator, WhiteBitPlanMoveOperator
from airflow_provider_whitebit.operators.parameters import (
    as_boolean,
    as_identifier,
    as_moment,
    as_number,
    as_numbers,
    as_plan_id,
    as_ticker,
    refuse_both,
    refuse_float,
)

if TYPE_CHECKING:
    from airflow_provider_whitebit.moves.intent import Receipt


class WhiteBitFlexPlansOperator(WhiteBitListOperator):
    """Read the Flex plans on offer: ``id``, ``ticker``, ``min_investment``, ``max_investment``, ``max_rate``.

    :param ticker: only plans of this asset.
    :param limit: at most so many; all by default.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "ticker", "limit")

    def __init__(self, *, ticker: str | None = None, limit: int | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ticker = ticker
        self.limit = limit

    def records(self) -> Iterable[Any]:
        return self.hook.get_conn().flex_plans(ticker=as_ticker(self.ticker), limit=as_number("limit", self.limit))


class WhiteBitFlexInvestmentsOperator(WhiteBitListOperator):
    """Read the account's Flex investments: ``id``, ``plan_id``, ``currency``, ``invested``, ``status``, ...

    :param ticker: only of this asset.
    :param plan_id: only in this plan.
    :param investment: only the investment with this id.
    :param investment_status: 1 active, 0 closed; both by default.
    :param limit: at most so many; all by default.
    """

    template_fields: Sequence[str] = (
        "whitebit_conn_id",
        "ticker",
        "plan_id",
        "investment",
        "investment_status",
        "limit",
    )

    def __init__(
        self,
        *,
        ticker: str | None = None,
        plan_id: str | None = None,
        investment: str | None = None,
        investment_status: int | str | None = None,
        limit: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ticker = ticker
        self.plan_id = plan_id
        self.investment = investment
        self.investment_status = investment_status
        self.limit = limit

    def records(self) -> Iterable[Any]:
        return self.hook.get_conn().flex_investments(
            ticker=as_ticker(self.ticker),
            plan=as_plan_id(self.plan_id),
            investment=as_identifier("investment", self.investment),
            investment_status=as_number("investment_status", self.investment_status, least=0),
            limit=as_number("limit", self.limit),
        )


#: Most records that a task returns; Airflow keeps what it returns in its database.
_LARGEST_RESULT = 10_000


class _FlexTransactionsOperator(WhiteBitListOperator):
    """What history and payments share."""

    template_fields: Sequence[str] = (
        "whitebit_conn_id",
        "plan_id",
        "investment",
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
        plan_id: str | None = None,
        investment: str | None = None,
        transaction: str | None = None,
        date_from: Any = None,
        date_to: Any = None,
        limit: int | str | None = None,
        output_path: str | None = None,
        output_format: str | None = None,
        output_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan_id = plan_id
        self.investment = investment
        self.transaction = transaction
        self.date_from = date_from
        self.date_to = date_to
        self.limit = limit
        self.output_path = output_path
        self.output_format = output_format
        self.output_conn_id = output_conn_id

    def filters(self) -> dict[str, Any]:
        """The filters that history and payments share, checked."""
        return {
            "plan": as_plan_id(self.plan_id),
            "investment": as_identifier("investment", self.investment),
            "transaction": as_identifier("transaction", self.transaction),
            "date_from": as_moment("date_from", self.date_from),
            "date_to": as_moment("date_to", self.date_to),
            "limit": as_number("limit", self.limit),
        }

    def execute(self, context: Mapping[str, Any]) -> Any:
        """The records as plain JSON, or with ``output_path`` where they were written to and what they come to."""
        return self.ask(self._write if self.output_path else self._read)

    def _read(self) -> list[dict[str, Any]]:
        from itertools import islice

        from airflow_provider_whitebit.client.errors import WhiteBitValidationError

        found = [record.to_json() for record in islice(self.records(), _LARGEST_RESULT + 1)]
        if len(found) > _LARGEST_RESULT:
            raise WhiteBitValidationError(
                f"There are more than {_LARGEST_RESULT} records, too many to return: give output_path to write them to "
                "a file, or narrow the dates, or give a limit."
            )
        return found

    def _write(self) -> dict[str, Any]:
        from airflow_provider_whitebit.operators.export import write_records

        told = write_records(
            self.records(), self.output_path or "", wanted=self.output_format, conn_id=self.output_conn_id
        )
        self.log.info("Wrote %s records to %s", told["count"], told["path"])
        return told


class WhiteBitFlexHistoryOperator(_FlexTransactionsOperator):
    """Read Flex transactions, newest first.

    :param plan_id: only of this plan.
    :param investment: only of the investment with this id.
    :param transaction: only the transaction with this id.
    :param date_from: not before: an ISO 8601 time with zone, or Unix seconds.
    :param date_to: not after: likewise.
    :param limit: at most so many, newest first; all by default.
    :param output_path: write them to this file in place of returning them: any path of Airflow's
        ``ObjectStoragePath``. At most 10,000 records are returned without it.
    :param output_format: ``jsonl``, ``csv`` or ``parquet``; by default what the path ends in.
    :param output_conn_id: Airflow connection of the storage.
    :param action_types: only these: 1 invest, 2 reinvest, 3 withdraw, 4 daily earning, 5 close, 6 open.
    """

    template_fields: Sequence[str] = (*_FlexTransactionsOperator.template_fields, "action_types")

    def __init__(self, *, action_types: Sequence[int] | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.action_types = action_types

    def records(self) -> Iterable[Any]:
        return self.hook.get_conn().flex_history(**self.filters(), action_types=as_numbers(self.action_types))


class WhiteBitFlexPaymentsOperator(_FlexTransactionsOperator):
    """Read daily Flex earnings, newest first.

    :param plan_id: only of this plan.
    :param investment: only of the investment with this id.
    :param transaction: only the transaction with this id.
    :param date_from: not before: an ISO 8601 time with zone, or Unix seconds.
    :param date_to: not after: likewise.
    :param limit: at most so many, newest first; all by default.
    :param output_path: write them to this file in place of returning them: any path of Airflow's
        ``ObjectStoragePath``. At most 10,000 records are returned without it.
    :param output_format: ``jsonl``, ``csv`` or ``parquet``; by default what the path ends in.
    :param output_conn_id: Airflow connection of the storage.
    """

    def records(self) -> Iterable[Any]:
        return self.hook.get_conn().flex_payments(**self.filters())


class WhiteBitFlexInvestOperator(WhiteBitPlanMoveOperator):
    """Invest in a Flex plan, once, whatever is lost, killed or retried.

    :param plan_id: the plan; or
    :param ticker: the asset: the open plan of it with the highest ``max_rate`` that admits the amount is taken.
    :param amount: how much, in units of the asset, as a string, an int or a Decimal.
    :param with_reinvest: whether earnings are added to the investment.
    :param dry_run: check everything, send nothing.
    :param deferrable: let a triggerer do the waiting where a lost answer has to be waited out.
    """

    template_fields: Sequence[str] = (*WhiteBitPlanMoveOperator.template_fields, "amount", "with_reinvest")

    def __init__(self, *, amount: Any, with_reinvest: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        refuse_float(amount)
        self.amount = amount
        self.with_reinvest = with_reinvest

    def move(self) -> Receipt:
        return self.hook.flex_invest(
            amount=self.amount,
            with_reinvest=self._read("flex_invest", lambda: as_boolean("with_reinvest", self.with_reinvest)),
            **self.options("flex_invest"),
        )


class WhiteBitFlexWithdrawOperator(WhiteBitPlanMoveOperator):
    """Withdraw from the investment in a Flex plan, once, whatever is lost, killed or retried.

    :param plan_id: the plan; or
    :param ticker: the asset: of its active investments the one is taken that earns least and can give the amount.
    :param amount: how much, in units of the asset, or ``"all"``. What stays must be the plan's minimum or nothing.
    :param dry_run: check everything, send nothing.
    :param deferrable: let a triggerer do the waiting where a lost answer has to be waited out.
    """

    template_fields: Sequence[str] = (*WhiteBitPlanMoveOperator.template_fields, "amount")

    def __init__(self, *, amount: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        refuse_float(amount)
        self.amount = amount

    def move(self) -> Receipt:
        return self.hook.flex_withdraw(amount=self.amount, **self.options("flex_withdraw"))


class WhiteBitFlexCloseOperator(WhiteBitPlanMoveOperator):
    """Close the investment in a Flex plan, once, whatever is lost, killed or retried.

    :param plan_id: the plan; or
    :param ticker: the asset, if one investment of it is active.
    :param dry_run: check everything, send nothing.
    :param deferrable: let a triggerer do the waiting where a lost answer has to be waited out.
    """

    def move(self) -> Receipt:
        return self.hook.flex_close(**self.options("flex_close"))


class WhiteBitFlexAutoReinvestOperator(WhiteBitOperator):
    """Switch auto-reinvest of the investment in a Flex plan. Moves no money; doing it again changes nothing.

    :param plan_id: the plan; or
    :param ticker: the asset, if one investment of it is active.
    :param enabled: on or off.
    :param dry_run: check everything, send nothing.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "plan_id", "ticker", "enabled", "dry_run")

    def __init__(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        enabled: bool | str,
        dry_run: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        refuse_both(plan_id, ticker)
        self.plan_id = plan_id
        self.ticker = ticker
        self.enabled = enabled
        self.dry_run = dry_run  # type: ignore[assignment]

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """``operation``, ``plan_id``, ``ticker``, ``enabled`` and ``status``."""
        return self.ask(
            lambda: self.hook.flex_auto_reinvest(
                plan_id=self.plan_id,
                ticker=self.ticker,
                enabled=as_boolean("enabled", self.enabled),
                dry_run=as_boolean("dry_run", self.dry_run),
            )
        )
