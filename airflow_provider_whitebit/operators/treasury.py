"""Operators that keep an account as a policy wants it, and statements of it. Vendor page: Lending (Flex plans).

Those that move money read what the account holds, plan, and make the moves of the plan once: killed and retried, they
go on where they were, with a plan made anew; when its plan has been carried out a task moves nothing any more. They
return plain JSON: ``status`` (``executed``, ``planned`` or ``nothing_to_do``), ``plan`` (``moves`` with their reasons,
``notes``, ``shortfalls``) and ``receipts``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import WhiteBitMoveOperator, WhiteBitOperator
from airflow_provider_whitebit.operators.parameters import as_boolean, as_plan_id, as_tickers, as_time, refuse_float

if TYPE_CHECKING:
    import pendulum

    from airflow_provider_whitebit.moves.intent import Receipt
    from airflow_provider_whitebit.treasury.planning import PlanOutcome, TreasuryPlan
    from airflow_provider_whitebit.treasury.policy import Policy
    from airflow_provider_whitebit.treasury.statement import Statement


#: Discrepancies that an error spells out.
_SPELT_OUT = 3
#: Most discrepancies that a task returns; Airflow keeps what it returns in its database. The page shows all of them.
_MOST_DISCREPANCIES = 100


class WhiteBitPlanOperator(WhiteBitMoveOperator):
    """Base of the operators that plan.

    :param approved_plan: carry out exactly this plan, which a dry run of the same task has returned and a person has
        approved, in place of planning now.
    :param kwargs: those of :class:`.WhiteBitMoveOperator`: with ``dry_run`` the plan is returned and nothing is sent.
    """

    template_fields: Sequence[str] = (*WhiteBitMoveOperator.template_fields, "approved_plan")
    ui_color = "#eef7e9"

    def __init__(self, *, approved_plan: Mapping[str, Any] | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approved_plan = approved_plan

    def requested(self) -> dict[str, Any]:
        """The task's own parameters, rendered, as plain JSON; written by each operator."""
        raise NotImplementedError

    def plan(self) -> TreasuryPlan:
        """What to do with what the account holds now; written by each operator."""
        raise NotImplementedError

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Plan, and carry out the plan; what came of it as plain JSON."""
        from airflow_provider_whitebit.moves.drivers import SettleLater

        try:
            outcome = self.ask(self._carried_out)
        except SettleLater as later:
            self._defer(later)
        for receipt in outcome.receipts:
            self.log.info("%s", receipt)
        return outcome.to_json()

    def _carried_out(self) -> PlanOutcome:
        options = self.options("plan")
        approved = self._read("plan", self._approved)
        asked = self._read("plan", self.requested)
        requested = {**asked, "approved_plan": None if approved is None else approved.to_json()}

        def make_plan(made: Sequence[Receipt]) -> TreasuryPlan:
            from airflow_provider_whitebit.treasury.planning import without_made

            return self.plan() if approved is None else without_made(approved, made)

        return self.hook.carry_out(make_plan, requested, **options)

    def _approved(self) -> TreasuryPlan | None:
        import json

        from airflow_provider_whitebit.client.errors import WhiteBitValidationError
        from airflow_provider_whitebit.treasury.planning import TreasuryPlan

        given = self.approved_plan
        if given is None or given in ("", "None"):
            return None
        if isinstance(given, str):
            try:
                given = json.loads(given)
            except ValueError:
                raise WhiteBitValidationError(
                    "approved_plan is no JSON: hand it on with .output or the filter tojson."
                ) from None
        if isinstance(given, Mapping) and "plan" in given:
            given = given["plan"]
        return TreasuryPlan.from_json(given)


class WhiteBitPolicyOperator(WhiteBitPlanOperator):
    """Base of the operators that follow a policy.

    :param policy: a mapping of tickers, or the text or the file name (``.yaml``, ``.json``) of one; see
        ``docs/treasury.md``.
    """

    template_fields: Sequence[str] = (*WhiteBitPlanOperator.template_fields, "policy")
    template_fields_renderers = {"policy": "json", "approved_plan": "json"}  # noqa: RUF012 - as Airflow declares it
    template_ext: Sequence[str] = (".yaml", ".yml", ".json")

    def __init__(self, *, policy: Mapping[str, Any] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.policy = policy

    def read_policy(self) -> Policy:
        """The policy, rendered and checked. :raises WhiteBitValidationError: what is wrong with it and where."""
        from airflow_provider_whitebit.treasury.policy import read_policy

        return read_policy(self.policy)

    def requested(self) -> dict[str, Any]:
        """The policy."""
        return {"policy": self.read_policy().to_json()}


class WhiteBitSweepOperator(WhiteBitPolicyOperator):
    """Invest what lies idle in Main above the reserve. Withdraws nothing.

    :param policy: what is wanted, by ticker.
    """

    def plan(self) -> TreasuryPlan:
        """Investments of what is idle."""
        import pendulum

        from airflow_provider_whitebit.treasury.planning import plan_sweep

        return plan_sweep(self.hook.holdings(), self.read_policy(), pendulum.now("UTC"))


class WhiteBitRebalanceOperator(WhiteBitPolicyOperator):
    """Bring each asset of a policy to what it asks for: out of plans, back to the reserve, into plans.

    :param policy: what is wanted, by ticker.
    """

    def plan(self) -> TreasuryPlan:
        """Withdrawals, then investments."""
        import pendulum

        from airflow_provider_whitebit.treasury.planning import plan_rebalance

        return plan_rebalance(self.hook.holdings(), self.read_policy(), pendulum.now("UTC"))


class WhiteBitRaiseLiquidityOperator(WhiteBitPlanOperator):
    """Have so much of an asset in Main, spot or collateral now, counting what is there: cheapest plans give first.

    Where there is not enough, the task fails and moves nothing.

    :param ticker: the asset.
    :param amount: what has to be there, in units of the asset.
    :param target: ``main``, ``spot`` (also ``trade``) or ``collateral``.
    :param policy: plans that it does not permit give first.
    :param accept_less: raise what there is in place of failing; ``plan.shortfalls`` says what is missing.
    """

    template_fields: Sequence[str] = (
        *WhiteBitPlanOperator.template_fields,
        "ticker",
        "amount",
        "target",
        "policy",
        "accept_less",
    )
    template_ext: Sequence[str] = (".yaml", ".yml", ".json")

    def __init__(
        self,
        *,
        ticker: str,
        amount: Any,
        target: str = "main",
        policy: Mapping[str, Any] | str | None = None,
        accept_less: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        refuse_float(amount)
        self.ticker = ticker
        self.amount = amount
        self.target = target
        self.policy = policy
        self.accept_less = accept_less

    def requested(self) -> dict[str, Any]:
        """Asset, amount and target."""
        from airflow_provider_whitebit.treasury.choice import read_account, read_amount, read_ticker

        return {
            "ticker": read_ticker(self.ticker),
            "amount": format(read_amount(self.amount), "f"),
            "target": read_account("target", self.target),
        }

    def plan(self) -> TreasuryPlan:
        """Withdrawals, then a transfer."""
        from airflow_provider_whitebit.client.errors import WhiteBitNotEnoughBalanceError
        from airflow_provider_whitebit.treasury.choice import read_account, read_amount, read_ticker
        from airflow_provider_whitebit.treasury.planning import plan_raise
        from airflow_provider_whitebit.treasury.policy import read_policy

        target = read_account("target", self.target)
        policy = None if self.policy in (None, "") else read_policy(self.policy)
        holdings = self.hook.holdings(target)
        plan = plan_raise(holdings, read_ticker(self.ticker), read_amount(self.amount), target, policy=policy)
        if plan.shortfalls and not as_boolean("accept_less", self.accept_less):
            missing = ", ".join(f"{amount:f} {ticker}" for ticker, amount in plan.shortfalls.items())
            raise WhiteBitNotEnoughBalanceError(
                f"{missing} could not be raised, even with all that can be withdrawn. With accept_less=True this task "
                "raises what there is."
            )
        return plan


class WhiteBitFlexStatementOperator(WhiteBitOperator):
    """Make a statement of Flex lending: what was invested, what it earned, and whether the records add up.

    Reads only; moves no money. What the figures mean, and what is assumed: :mod:`~..treasury.statement`.

    :param tickers: only these assets, as a list or comma separated; all by default.
    :param plan_id: only this plan.
    :param start: beginning of the period, included: an ISO 8601 time with zone, a date (then 00:00 UTC) or Unix
        seconds. By default the data interval; for runs that have none, the whole month in UTC before the run.
    :param end: end of the period, not included: likewise.
    :param output_path: write the statement: into this folder under a name made of assets and period, or to this file
        if it ends in ``.html``. Any path of Airflow's ``ObjectStoragePath``. Beside the page lie the records of the
        period (``.movements``) and the figures of each plan (``.summary``). Files are put in place only when whole,
        the page last.
    :param output_format: of movements and summary: ``csv`` (default), ``jsonl`` or ``parquet``.
    :param output_conn_id: Airflow connection of the storage.
    :param reinvested_as: how the exchange records earnings that auto-reinvest keeps: ``both`` (as a daily earning and
        a reinvest; default), ``earning`` or ``reinvest`` (only as the one or the other). The vendor does not say;
        where the records contradict it, the statement reports that.
    :param full_history: read every record there is (default): only then can a move that is missing from before the
        period be noticed. Otherwise those since ``start``.
    :param fail_on_discrepancy: fail the task if the records do not add up, after everything was written.
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
    )

    def __init__(
        self,
        *,
        tickers: Sequence[str] | str | None = None,
        plan_id: str | None = None,
        start: Any = None,
        end: Any = None,
        output_path: str | None = None,
        output_format: str = "csv",
        output_conn_id: str | None = None,
        reinvested_as: str = "both",
        full_history: bool | str = True,
        fail_on_discrepancy: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tickers = tickers
        self.plan_id = plan_id
        self.start = start
        self.end = end
        self.output_path = output_path
        self.output_format = output_format
        self.output_conn_id = output_conn_id
        self.reinvested_as = reinvested_as
        self.full_history = full_history
        self.fail_on_discrepancy = fail_on_discrepancy

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """``start``, ``end``, ``adds_up``, ``discrepancies`` (the first hundred), ``discrepancy_count``, ``tickers``
        (ticker -> figures and plans), ``paths`` (``page``, ``movements``, ``summary``; empty without
        ``output_path``), and how the statement was made; without the single days.

        :raises WhiteBitDiscrepancyError: the records do not add up, with ``fail_on_discrepancy``.
        """
        return self.ask(lambda: self._make(context))

    def _make(self, context: Mapping[str, Any]) -> dict[str, Any]:
        from airflow_provider_whitebit.client.errors import WhiteBitDiscrepancyError

        fail = as_boolean("fail_on_discrepancy", self.fail_on_discrepancy)
        statement = self._read(context)
        paths = self._write(statement) if self.output_path else {}
        for found in statement.discrepancies:
            self.log.warning("Does not add up: %s", found.message)
        if fail and not statement.adds_up:
            raise WhiteBitDiscrepancyError(_complaint([found.message for found in statement.discrepancies], paths))
        return {**statement.to_json(days=False, most_discrepancies=_MOST_DISCREPANCIES), "paths": paths}

    def _read(self, context: Mapping[str, Any]) -> Statement:
        from airflow_provider_whitebit.hooks.statements import read_statement
        from airflow_provider_whitebit.operators.export import file_format
        from airflow_provider_whitebit.treasury.statement import read_reinvested_as

        if self.output_path:
            # A wrong format is found before the exchange is asked.
            file_format(self.output_path, self.output_format)
        tickers, plan_id = as_tickers(self.tickers), as_plan_id(self.plan_id)
        reinvested_as = read_reinvested_as(self.reinvested_as)
        full_history = as_boolean("full_history", self.full_history)
        start, end = self._period(context)
        return read_statement(
            self.hook.get_conn(),
            start=start,
            end=end,
            tickers=tickers,
            plan_id=plan_id,
            reinvested_as=reinvested_as,
            full_history=full_history,
        )

    def _period(self, context: Mapping[str, Any]) -> tuple[pendulum.DateTime, pendulum.DateTime]:
        from airflow_provider_whitebit.client.errors import WhiteBitValidationError
        from airflow_provider_whitebit.treasury.statement import previous_month

        start, end = as_time("start", self.start), as_time("end", self.end)
        if (start is None) != (end is None):
            raise WhiteBitValidationError("Give both start and end, or neither of them.")
        if start is None:
            start, end = context.get("data_interval_start"), context.get("data_interval_end")
        if start is not None and end is not None and start != end:
            return start, end
        run = context.get("dag_run")
        return previous_month(getattr(run, "run_after", None) or self.hook.get_conn().server_time())

    def _write(self, statement: Statement) -> dict[str, str]:
        from airflow_provider_whitebit.operators.export import put_in_place, write_records, write_table
        from airflow_provider_whitebit.treasury.statement import StatementRow
        from airflow_provider_whitebit.treasury.statement_page import render_page

        stem = self._stem(statement)
        form = str(self.output_format).strip().lower()
        paths = {"page": f"{stem}.html", **{name: f"{stem}.{name}.{form}" for name in ("movements", "summary")}}
        storage = self.output_conn_id
        page = render_page(statement, account=self.whitebit_conn_id).encode()
        write_records(statement.movements, paths["movements"], wanted=form, conn_id=storage)
        write_table(statement.rows(), StatementRow, paths["summary"], wanted=form, conn_id=storage)
        # Last, so that a page never speaks of files that are not there.
        put_in_place(paths["page"], lambda file: file.write(page), conn_id=storage)
        self.log.info("Wrote the statement to %s", paths["page"])
        return paths

    def _stem(self, statement: Statement) -> str:
        """Where the files go, without what they end in."""
        path = str(self.output_path)
        if path.lower().endswith(".html"):
            return path[: -len(".html")]
        name = ["flex-statement", *(as_tickers(self.tickers) or ()), as_plan_id(self.plan_id) or "", statement.label]
        return f"{path.rstrip('/')}/{'-'.join(part for part in name if part)}"


def _complaint(messages: Sequence[str], paths: Mapping[str, str]) -> str:
    many = "One thing does" if len(messages) == 1 else f"{len(messages)} things do"
    more = f" And {len(messages) - _SPELT_OUT} more." if len(messages) > _SPELT_OUT else ""
    seen = f" The statement is at {paths['page']}." if paths else ""
    return f"{many} not add up: {' '.join(messages[:_SPELT_OUT])}{more}{seen}"
