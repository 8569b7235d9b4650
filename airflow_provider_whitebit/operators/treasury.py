"""Operators that keep an account as a policy wants it. Vendor page: Lending (Flex plans).

Each reads what the account holds, plans, and makes the moves of its plan once: killed and retried, it goes on where it
was, with a plan made anew; when its plan has been carried out it moves nothing any more. They return plain JSON:
``status`` (``executed``, ``planned`` or ``nothing_to_do``), ``plan`` (``moves`` with their reasons, ``notes``,
``shortfalls``) and ``receipts``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import WhiteBitMoveOperator
from airflow_provider_whitebit.operators.parameters import as_boolean, refuse_float

if TYPE_CHECKING:
    from airflow_provider_whitebit.moves.intent import Receipt
    from airflow_provider_whitebit.treasury.planning import PlanOutcome, TreasuryPlan
    from airflow_provider_whitebit.treasury.policy import Policy


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
        approved = self._approved()
        requested = {**self.requested(), "approved_plan": None if approved is None else approved.to_json()}

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
