"""Operators that keep an account in line with a policy, and statements of it. Vendor page: Lending (Flex plans).

The operators that move money read what the account holds, plan, and make each move of the plan exactly once. A retry
continues where the task was, with a new plan. When all moves of a plan have been made, the task moves nothing more.
They return plain JSON: ``status`` (``executed``, ``planned`` or ``nothing_to_do``), ``plan`` (``moves`` with their
reasons, ``notes``, ``shortfalls``) and ``receipts``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import WhiteBitMoveOperator, WhiteBitOperator
from airflow_provider_whitebit.operators.parameters import plain_path

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal
    from typing import Unpack

    from airflow.sdk import XComArg

    from airflow_provider_whitebit.operators.arguments import BaseOperatorKwargs, StoragePath
    from airflow_provider_whitebit.treasury.requests import PlanRequest
    from airflow_provider_whitebit.treasury.statement import Statement

    #: The rules, their text, or a file.
    RawPolicy = Mapping[str, Any] | StoragePath

#: Most discrepancies that a task returns; Airflow keeps what it returns in its database. The page shows all of them.
_MOST_DISCREPANCIES = 100


class WhiteBitPlanOperator(WhiteBitMoveOperator):
    """Base of the operators that plan."""

    template_fields_renderers = {"policy": "json", "approved_plan": "json"}  # noqa: RUF012 - as Airflow declares it
    ui_color = "#eef7e9"

    def __init__(
        self,
        *,
        policy: RawPolicy | XComArg | None = None,
        approved_plan: Mapping[str, Any] | str | XComArg | None = None,
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
        self._refuse_floats(policy=policy)
        self.policy: Any = plain_path(policy)
        self.approved_plan: Any = plain_path(approved_plan)
        self._has_approved_plan = self._is_given("approved_plan", approved_plan)

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render templates, and show the contents of files among the task's rendered fields."""
        from airflow_provider_whitebit.client.errors import WhiteBitError

        super().render_template_fields(context, jinja_env)
        with suppress(WhiteBitError):  # raised again when the task runs
            self._read_files(context)

    def _read_files(self, context: Mapping[str, Any]) -> None:
        from airflow_provider_whitebit.operators.files import read_file

        self.policy = read_file(self, "policy", context)
        self.approved_plan = read_file(self, "approved_plan", context)

    def request(self) -> PlanRequest:
        """Read the task's rendered parameters. Each operator defines this.

        :raises WhiteBitValidationError: one of them is wrong.
        """
        raise NotImplementedError

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Plan, and make the moves of the plan. Return the outcome as plain JSON."""
        with self.moving():
            options = self._options()
            outcome = self.hook.execute_plan(self._request(context, options["idempotency_key"]), **options)
        self._log_receipts(outcome.receipts)
        return self._publish(outcome.to_json(), context)

    def _request(self, context: Mapping[str, Any], idempotency_key: str | None) -> PlanRequest:
        from airflow_provider_whitebit.client.errors import WhiteBitError
        from airflow_provider_whitebit.treasury.requests import ApprovedPlan

        try:
            # Those of mapped tasks are not read when templates are rendered.
            self._read_files(context)
            request, approved = self.request(), self._parameters("approved_plan")["approved_plan"]
            # A plan that was to be approved and is missing must not be replaced by another one.
            return ApprovedPlan(request, approved or "") if self._has_approved_plan else request
        except WhiteBitError as error:
            self.hook._add_plan_history(error, idempotency_key)
            raise


class _PolicyOperator(WhiteBitPlanOperator):
    """What sweep and rebalance share."""

    template_fields: Sequence[str] = (*WhiteBitMoveOperator.template_fields, "approved_plan", "policy")

    def __init__(
        self,
        *,
        policy: RawPolicy | XComArg,
        approved_plan: Mapping[str, Any] | str | XComArg | None = None,
        idempotency_key: str | XComArg | None = None,
        dry_run: bool | str | XComArg = False,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(
            policy=policy,
            approved_plan=approved_plan,
            idempotency_key=idempotency_key,
            dry_run=dry_run,
            deferrable=deferrable,
            whitebit_conn_id=whitebit_conn_id,
            **kwargs,
        )


class WhiteBitSweepOperator(_PolicyOperator):
    """Invest what Main holds above the reserve. Withdraws nothing.

    :param policy: the rules for each ticker: a mapping, its text, or a file (``.yaml``, ``.yml``, ``.json``), whose
        path is absolute, relative to the DAG file, or one of ``ObjectStoragePath``. See ``docs/treasury.md``.
    :param approved_plan: execute exactly this plan, which a dry run of the same task returned and a person
        approved, instead of planning now.
    :param idempotency_key: name of the plan for all tasks of the account: nothing moves twice under one.
    :param dry_run: return the plan, send nothing.
    :param deferrable: wait in the triggerer if an answer is lost. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    def request(self) -> PlanRequest:
        from airflow_provider_whitebit.treasury.requests import Sweep

        return Sweep(**self._parameters("policy"))


class WhiteBitRebalanceOperator(_PolicyOperator):
    """Bring each asset in line with its policy: leave or trim plans, restore the reserve, invest the rest.

    :param policy: the rules for each ticker: a mapping, its text, or a file (``.yaml``, ``.yml``, ``.json``), whose
        path is absolute, relative to the DAG file, or one of ``ObjectStoragePath``. See ``docs/treasury.md``.
    :param approved_plan: execute exactly this plan, which a dry run of the same task returned and a person
        approved, instead of planning now.
    :param idempotency_key: name of the plan for all tasks of the account: nothing moves twice under one.
    :param dry_run: return the plan, send nothing.
    :param deferrable: wait in the triggerer if an answer is lost. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    def request(self) -> PlanRequest:
        from airflow_provider_whitebit.treasury.requests import Rebalance

        return Rebalance(**self._parameters("policy"))


class WhiteBitRaiseLiquidityOperator(WhiteBitPlanOperator):
    """Make an amount of an asset available in Main, spot or collateral. Counts what is already there.

    Withdraws from the plans that earn least first. If the account does not hold enough, the task fails
    and moves nothing.

    :param ticker: the asset.
    :param amount: what the balance must hold, in units of the asset.
    :param target: ``main``, ``spot`` (also ``trade``) or ``collateral``.
    :param policy: withdraw first from plans that it does not permit. A mapping, its text, or a file.
    :param accept_less: raise what is available instead of failing. The plan's ``shortfalls`` say what is missing.
    :param approved_plan: execute exactly this plan, which a dry run of the same task returned and a person
        approved, instead of planning now.
    :param idempotency_key: name of the plan for all tasks of the account: nothing moves twice under one.
    :param dry_run: return the plan, send nothing.
    :param deferrable: wait in the triggerer if an answer is lost. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (
        *WhiteBitMoveOperator.template_fields,
        "approved_plan",
        "ticker",
        "amount",
        "target",
        "policy",
        "accept_less",
    )

    def __init__(
        self,
        *,
        ticker: str | XComArg,
        amount: str | int | Decimal | XComArg,
        target: str | XComArg = "main",
        policy: RawPolicy | XComArg | None = None,
        accept_less: bool | str | XComArg = False,
        approved_plan: Mapping[str, Any] | str | XComArg | None = None,
        idempotency_key: str | XComArg | None = None,
        dry_run: bool | str | XComArg = False,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(
            policy=policy,
            approved_plan=approved_plan,
            idempotency_key=idempotency_key,
            dry_run=dry_run,
            deferrable=deferrable,
            whitebit_conn_id=whitebit_conn_id,
            **kwargs,
        )
        self._refuse_floats(amount=amount)
        self.ticker: Any = ticker
        self.amount: Any = amount
        self.target: Any = target
        self.accept_less: Any = accept_less

    def request(self) -> PlanRequest:
        from airflow_provider_whitebit.treasury.requests import RaiseLiquidity

        return RaiseLiquidity(**self._parameters("ticker", "amount", "target", "policy", "accept_less"))


class WhiteBitFlexStatementOperator(WhiteBitOperator):
    """Create a statement of Flex lending: what was invested, what it earned, and whether the records add up.

    Reads only. For the meaning of the figures and the assumptions see :mod:`~..treasury.statement`.

    :param tickers: only these assets, as a list or a comma-separated text; all by default.
    :param plan_id: only this plan.
    :param start: beginning of the period, included: an ISO 8601 time with zone, a date (meaning 00:00 UTC) or Unix
        seconds. By default the data interval; for runs without one, the whole calendar month (UTC) before the run.
    :param end: end of the period, not included: likewise.
    :param output_path: write the statement into this folder, under a name made of connection, assets and period, or to
        this file if it ends in ``.html``. Any path of Airflow's ``ObjectStoragePath``. The records of the period
        (``.movements``) and the figures of each plan (``.summary``) are written beside the page. Each file appears
        only when it is complete, the page last.
    :param output_format: of movements and summary: ``csv``, ``jsonl`` or ``parquet``.
    :param output_conn_id: Airflow connection of the storage.
    :param reinvested_as: how the exchange records earnings that auto-reinvest keeps: ``both`` (as a daily earning and
        a reinvest), or only as ``earning`` or ``reinvest``. The vendor does not say. The statement reports records
        that contradict the choice.
    :param full_history: read all records. Only then can the statement notice each move that is missing.
        Otherwise, it reads only the records since a day before ``start``.
    :param fail_on_discrepancy: fail the task if the records do not add up, after everything was written.
    :param main_changes: also state what changed the Main balance: deposits, withdrawals, transfers of sub-accounts and
        Flex. The key needs these endpoints. Not with ``plan_id``.
    :param value_in: also value the figures in this currency, for example ``USDT``, by the exchange's last prices of
        today, in a block and a file (``.values``) of their own.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (
        "whitebit_conn_id",
        "tickers",
        "plan_id",
        "start",
        "end",
        "output_path",
        "output_format",
        "output_conn_id",
        "reinvested_as",
        "full_history",
        "fail_on_discrepancy",
        "main_changes",
        "value_in",
    )

    def __init__(
        self,
        *,
        tickers: Sequence[str] | str | XComArg | None = None,
        plan_id: str | XComArg | None = None,
        start: str | int | date | XComArg | None = None,
        end: str | int | date | XComArg | None = None,
        output_path: StoragePath | XComArg | None = None,
        output_format: str | XComArg = "csv",
        output_conn_id: str | XComArg | None = None,
        reinvested_as: str | XComArg = "both",
        full_history: bool | str | XComArg = True,
        fail_on_discrepancy: bool | str | XComArg = False,
        main_changes: bool | str | XComArg = False,
        value_in: str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.tickers = tickers
        self.plan_id = plan_id
        self.start = start
        self.end = end
        self.output_path: Any = plain_path(output_path)
        self.output_format: Any = output_format
        self.output_conn_id: Any = output_conn_id
        self.reinvested_as: Any = reinvested_as
        self.full_history = full_history
        self.fail_on_discrepancy = fail_on_discrepancy
        self.main_changes = main_changes
        self.value_in: Any = value_in

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Return the statement without its daily figures.

        Its keys: ``start``, ``end``, ``adds_up``, ``discrepancies`` (the first hundred), ``discrepancy_count``,
        ``tickers`` (ticker -> figures and plans), ``main`` (ticker -> changes; null without ``main_changes``),
        ``valuation`` (null without ``value_in``), ``paths`` (``page``, ``movements``, ``summary``, ``values``; empty
        without ``output_path``), and the parameters of the statement.

        :raises WhiteBitDiscrepancyError: with ``fail_on_discrepancy``, if the records do not add up.
        """
        with self.airflow_errors():
            return self._publish(self._make(context), context)

    def _make(self, context: Mapping[str, Any]) -> dict[str, Any]:
        from airflow_provider_whitebit.client.errors import WhiteBitDiscrepancyError
        from airflow_provider_whitebit.moves.parsing import read_boolean

        given = self._parameters(*self.template_fields)
        fail = read_boolean("fail_on_discrepancy", given["fail_on_discrepancy"])
        statement = self._read(given, context)
        paths = {} if given["output_path"] is None else self._write(statement, given)
        for found in statement.discrepancies:
            self.log.warning("Does not add up: %s", found.message)
        if fail and not statement.adds_up:
            raise WhiteBitDiscrepancyError(_complaint([found.message for found in statement.discrepancies], paths))
        return {**statement.to_json(days=False, most_discrepancies=_MOST_DISCREPANCIES), "paths": paths}

    def _read(self, given: Mapping[str, Any], context: Mapping[str, Any]) -> Statement:
        from airflow_provider_whitebit.hooks.statements import read_statement
        from airflow_provider_whitebit.moves.parsing import read_boolean, read_optional
        from airflow_provider_whitebit.operators.export import file_format
        from airflow_provider_whitebit.operators.periods import read_period
        from airflow_provider_whitebit.treasury.statement import read_reinvested_as
        from airflow_provider_whitebit.treasury.valuation import read_value_in

        if given["output_path"] is not None:
            # A wrong format is found before anything is requested from the exchange.
            file_format(given["output_path"], given["output_format"])
        tickers, plan_id = self._chosen(given)
        reinvested_as = read_reinvested_as(given["reinvested_as"])
        full_history = read_boolean("full_history", given["full_history"])
        start, end = read_period(self.hook, given["start"], given["end"], context)
        return read_statement(
            self.hook.get_conn(),
            start=start,
            end=end,
            tickers=tickers,
            plan_id=plan_id,
            reinvested_as=reinvested_as,
            full_history=full_history,
            main=read_boolean("main_changes", given["main_changes"]),
            value_in=read_optional(read_value_in, given["value_in"]),
        )

    def _write(self, statement: Statement, given: Mapping[str, Any]) -> dict[str, str]:
        from airflow_provider_whitebit.operators.export import file_format, replace_file, write_records, write_table
        from airflow_provider_whitebit.treasury.statement import StatementRow
        from airflow_provider_whitebit.treasury.statement_page import render_page
        from airflow_provider_whitebit.treasury.valuation import ValuedRow

        stem = self._stem(statement, given)
        form, storage = file_format(stem, given["output_format"]), given["output_conn_id"]
        paths = {"page": f"{stem}.html", **{name: f"{stem}.{name}.{form}" for name in ("movements", "summary")}}
        tickers, plan_id = self._chosen(given)
        only = [*(tickers or ()), *([f"plan {plan_id}"] if plan_id else [])]
        page = render_page(statement, account=self.whitebit_conn_id, only=only).encode()
        write_records(statement.movements, paths["movements"], output_format=form, conn_id=storage)
        write_table(statement.rows(), StatementRow, paths["summary"], output_format=form, conn_id=storage)
        if statement.valuation is not None:
            paths["values"] = f"{stem}.values.{form}"
            rows = statement.valuation.rows()
            write_table(rows, ValuedRow, paths["values"], output_format=form, conn_id=storage)
        # Last, so that a page never refers to files that do not exist.
        replace_file(paths["page"], lambda file: file.write(page), conn_id=storage)
        self.log.info("Wrote the statement to %s", paths["page"])
        return paths

    @staticmethod
    def _chosen(given: Mapping[str, Any]) -> tuple[list[str] | None, str | None]:
        """The assets and the plan that are wanted; ``None``: all."""
        from airflow_provider_whitebit.moves.parsing import read_optional, read_plan_id, read_tickers

        return read_optional(read_tickers, given["tickers"]), read_optional(read_plan_id, given["plan_id"])

    def _stem(self, statement: Statement, given: Mapping[str, Any]) -> str:
        """The path of the files without their extensions."""
        path = str(given["output_path"])
        if path.lower().endswith(".html"):
            return path[: -len(".html")]
        tickers, plan_id = self._chosen(given)
        return f"{path.rstrip('/')}/{self._file_name('flex-statement', *(tickers or ()), plan_id, statement.label)}"


def _complaint(messages: Sequence[str], paths: Mapping[str, str]) -> str:
    from airflow_provider_whitebit.treasury.discrepancies import in_words

    page = f" The statement is at {paths['page']}." if paths else ""
    return f"{in_words(messages)}{page}"
