"""Sensors for balances, investments, earnings, maturities, rates, plans and the exchange's maintenance.

Vendor pages: Lending (Flex and Fixed plans), balances, Maintenance status.

A sensor keeps waiting after an error that a later poll can change (no answer, rate limit, clocks apart). Other errors
(wrong key, missing permission, wrong parameter, an unknown ticker, plan or investment) fail the task at once. The
connection is read before each poll. With ``deferrable`` a sensor waits in the triggerer, where all sensors of one
connection share their requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.parameters import at_most_one
from airflow_provider_whitebit.sensors.base import WhiteBitSensor

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from typing import Unpack

    from airflow.sdk import XComArg

    from airflow_provider_whitebit.operators.arguments import BaseSensorKwargs
    from airflow_provider_whitebit.treasury.conditions import Condition


_DAY = 86_400


class WhiteBitBalanceSensor(WhiteBitSensor):
    """Wait until a balance is within limits.

    :param account: ``main``, ``spot`` (also ``trade``) or ``collateral``.
    :param ticker: the asset.
    :param at_least: lower limit, inclusive.
    :param at_most: upper limit, inclusive. At least one of the two is needed.
    :param deferrable: wait in the triggerer. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseSensorOperator``, for example ``timeout``.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "account", "ticker", "at_least", "at_most")

    def __init__(
        self,
        *,
        account: str | XComArg = "main",
        ticker: str | XComArg,
        at_least: str | int | Decimal | XComArg | None = None,
        at_most: str | int | Decimal | XComArg | None = None,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseSensorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        if at_least is None and at_most is None:
            raise ValueError("give at_least, or at_most, or both")
        self._refuse_floats(at_least=at_least, at_most=at_most)
        self.account = account
        self.ticker = ticker
        self.at_least = at_least
        self.at_most = at_most
        self.deferrable = deferrable

    def condition(self, context: Mapping[str, Any]) -> Condition:
        from airflow_provider_whitebit.moves import parsing
        from airflow_provider_whitebit.treasury.conditions import BalanceCondition

        account, ticker, at_least, at_most = self._parameters("account", "ticker", "at_least", "at_most").values()
        return BalanceCondition(
            parsing.read_account("account", account),
            parsing.read_ticker(ticker),
            *parsing.read_range(at_least, at_most),
        )


class WhiteBitFlexInvestmentSensor(WhiteBitSensor):
    """Wait until a Flex investment is active, or until all that match are closed.

    A closed investment satisfies the sensor immediately.

    :param plan_id: in this plan; or
    :param ticker: of this asset.
    :param status: ``active`` or ``closed`` (or the exchange's numbers 1, 0).
    :param invested_at_least: only an active investment of at least this amount counts.
    :param deferrable: wait in the triggerer. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseSensorOperator``, for example ``timeout``.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "plan_id", "ticker", "status", "invested_at_least")

    def __init__(
        self,
        *,
        plan_id: str | XComArg | None = None,
        ticker: str | XComArg | None = None,
        status: str | int | XComArg = "active",
        invested_at_least: str | int | Decimal | XComArg | None = None,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseSensorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        at_most_one(plan_id=plan_id, ticker=ticker)
        self._refuse_floats(invested_at_least=invested_at_least)
        self.plan_id = plan_id
        self.ticker = ticker
        self.status = status
        self.invested_at_least = invested_at_least
        self.deferrable = deferrable

    def condition(self, context: Mapping[str, Any]) -> Condition:
        from airflow_provider_whitebit.client.models import FlexInvestmentStatus, InvestmentStatus
        from airflow_provider_whitebit.moves import parsing
        from airflow_provider_whitebit.treasury.conditions import FlexInvestmentCondition

        given = self._parameters("plan_id", "ticker", "status", "invested_at_least")
        plan_id, ticker = parsing.exactly_one(given["plan_id"], given["ticker"])
        least = given["invested_at_least"]
        return FlexInvestmentCondition(
            plan_id=plan_id,
            ticker=ticker,
            status=parsing.read_choice("status", InvestmentStatus, FlexInvestmentStatus, given["status"]),
            invested_at_least=parsing.read_optional(parsing.read_limit, "invested_at_least", least),
        )


class WhiteBitFlexEarningSensor(WhiteBitSensor):
    """Wait until a Flex earning has been credited. If there are several, the first one is returned.

    :param plan_id: of this plan; all by default.
    :param ticker: of this asset; all by default.
    :param since: not before this time: ISO 8601 with zone, a date (00:00 UTC) or Unix seconds. By default, after the
        start of the data interval. If the run has none, or an empty one: after the time 24 hours before the run's,
        because earnings are credited daily.
    :param deferrable: wait in the triggerer. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseSensorOperator``, for example ``timeout``.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "plan_id", "ticker", "since")

    def __init__(
        self,
        *,
        plan_id: str | XComArg | None = None,
        ticker: str | XComArg | None = None,
        since: str | int | datetime | XComArg | None = None,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseSensorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.plan_id = plan_id
        self.ticker = ticker
        self.since = since
        self.deferrable = deferrable

    def condition(self, context: Mapping[str, Any]) -> Condition:
        from airflow_provider_whitebit.client.api import unix_seconds
        from airflow_provider_whitebit.moves import parsing
        from airflow_provider_whitebit.treasury.conditions import FlexEarningCondition

        since, plan_id, ticker = self._parameters("since", "plan_id", "ticker").values()
        moment = parsing.read_moment("since", since)
        # By default, what is credited at the very start belongs to the time before.
        second = _start_of_run(context) + 1 if moment is None else unix_seconds("since", moment) or 0
        return FlexEarningCondition(
            from_second=second,
            plan_id=parsing.read_optional(parsing.read_plan_id, plan_id),
            ticker=parsing.read_optional(parsing.read_ticker, ticker),
        )


def _start_of_run(context: Mapping[str, Any]) -> int:
    """Return the Unix second from which on a run's earnings count. It is the same after a clear.

    With cron schedules Airflow's data intervals are empty. Manual and asset-triggered runs may have neither interval
    nor logical date. They cover the day before.
    """
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is not None and start != end:
        return int(start.timestamp())
    moment = end or start or context.get("logical_date") or context["dag_run"].run_after
    return int(moment.timestamp()) - _DAY


class WhiteBitPlatformSensor(WhiteBitSensor):
    """Wait until the exchange says that it is operational, for example after maintenance.

    A status that is neither ``system operational`` nor ``system maintenance`` is logged, and the sensor keeps waiting.

    :param deferrable: wait in the triggerer. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseSensorOperator``, for example ``timeout``.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id",)

    def __init__(
        self,
        *,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseSensorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.deferrable = deferrable

    def condition(self, context: Mapping[str, Any]) -> Condition:
        from airflow_provider_whitebit.treasury.conditions import PlatformCondition

        return PlatformCondition()


class WhiteBitFixedMaturitySensor(WhiteBitSensor):
    """Wait until a Fixed investment has ended; if several match, until all of them have ended.

    :param investment_id: this investment; or
    :param plan_id: those in this plan; or
    :param ticker: those of this asset.
    :param deferrable: wait in the triggerer. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseSensorOperator``, for example ``timeout``.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "investment_id", "plan_id", "ticker")

    def __init__(
        self,
        *,
        investment_id: str | XComArg | None = None,
        plan_id: str | XComArg | None = None,
        ticker: str | XComArg | None = None,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseSensorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        at_most_one(investment_id=investment_id, plan_id=plan_id, ticker=ticker)
        if investment_id is plan_id is ticker is None:
            raise ValueError("give investment_id, plan_id or ticker")
        self.investment_id = investment_id
        self.plan_id = plan_id
        self.ticker = ticker
        self.deferrable = deferrable

    def condition(self, context: Mapping[str, Any]) -> Condition:
        from airflow_provider_whitebit.moves import parsing
        from airflow_provider_whitebit.treasury.conditions import FixedMaturityCondition

        return FixedMaturityCondition(
            **parsing.one_investment(**self._parameters("investment_id", "plan_id", "ticker")),
        )


class WhiteBitRateSensor(WhiteBitSensor):
    """Wait until the best advertised rate of an asset's Flex plans is above or below a limit, or differs from a rate.

    If a plan does not show its rate, the best rate is not known: it can be above the limit, but is neither below nor
    changed.

    :param ticker: the asset.
    :param above: the rate is higher, a fraction per year: ``"0.05"`` is 5 %; or
    :param below: the rate is lower; or
    :param changed_by: the rate differs from ``changed_from`` by at least this much.
    :param changed_from: the rate to compare with; ``changed_by`` needs it.
    :param deferrable: wait in the triggerer. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseSensorOperator``, for example ``timeout``.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "ticker", "above", "below", "changed_by", "changed_from")

    def __init__(
        self,
        *,
        ticker: str | XComArg,
        above: str | int | Decimal | XComArg | None = None,
        below: str | int | Decimal | XComArg | None = None,
        changed_by: str | int | Decimal | XComArg | None = None,
        changed_from: str | int | Decimal | XComArg | None = None,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseSensorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        at_most_one(above=above, below=below, changed_by=changed_by)
        if above is below is changed_by is None:
            raise ValueError("give above, below or changed_by")
        self._refuse_floats(above=above, below=below, changed_by=changed_by, changed_from=changed_from)
        self.ticker = ticker
        self.above = above
        self.below = below
        self.changed_by = changed_by
        self.changed_from = changed_from
        self.deferrable = deferrable

    def condition(self, context: Mapping[str, Any]) -> Condition:
        from airflow_provider_whitebit.client.errors import WhiteBitValidationError
        from airflow_provider_whitebit.moves import parsing
        from airflow_provider_whitebit.treasury.conditions import RateCondition

        given = self._parameters("above", "below", "changed_by", "changed_from")
        changed_from = parsing.read_optional(parsing.read_limit, "changed_from", given.pop("changed_from"))
        limits = {name: parsing.read_optional(parsing.read_rate, name, raw) for name, raw in given.items()}
        if sum(limit is not None for limit in limits.values()) != 1:
            raise WhiteBitValidationError("Give exactly one of above, below, changed_by.")
        if (limits["changed_by"] is None) is not (changed_from is None):
            raise WhiteBitValidationError("Give changed_by and changed_from together.")
        ticker = parsing.read_ticker(self._parameters("ticker")["ticker"])
        return RateCondition(ticker=ticker, changed_from=changed_from, **limits)


class WhiteBitPlanSensor(WhiteBitSensor):
    """Wait until a plan is open, paused, or gone from the exchange's list.

    A plan is not gone while the list contains a record that may be this plan and cannot be read. The exchange does not
    list Flex plans that are paused: they are gone.

    :param product: ``flex`` or ``fixed``.
    :param plan_id: this plan; or
    :param ticker: for ``open``, any plan of this asset; otherwise all of them.
    :param state: ``open``, ``paused`` (Fixed only: sold out, inactive or paused) or ``gone``.
    :param admits: with ``open``: the plan's limits admit this amount, in units of the asset.
    :param deferrable: wait in the triggerer. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseSensorOperator``, for example ``timeout``.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "product", "plan_id", "ticker", "state", "admits")

    def __init__(
        self,
        *,
        product: str | XComArg = "flex",
        plan_id: str | XComArg | None = None,
        ticker: str | XComArg | None = None,
        state: str | XComArg = "open",
        admits: str | int | Decimal | XComArg | None = None,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseSensorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        at_most_one(plan_id=plan_id, ticker=ticker)
        if plan_id is ticker is None:
            raise ValueError("give plan_id or ticker")
        self._refuse_floats(admits=admits)
        self.product = product
        self.plan_id = plan_id
        self.ticker = ticker
        self.state = state
        self.admits = admits
        self.deferrable = deferrable

    def condition(self, context: Mapping[str, Any]) -> Condition:
        from airflow_provider_whitebit.client.errors import WhiteBitValidationError
        from airflow_provider_whitebit.moves import parsing
        from airflow_provider_whitebit.treasury.conditions import PlanCondition
        from airflow_provider_whitebit.treasury.offers import PlanState, Product

        given = self._parameters("product", "plan_id", "ticker", "state", "admits")
        product = parsing.read_word("product", Product, given["product"])
        state = parsing.read_word("state", PlanState, given["state"])
        plan_id, ticker = parsing.exactly_one(given["plan_id"], given["ticker"])
        admits = parsing.read_optional(parsing.read_limit, "admits", given["admits"])
        if product is Product.FLEX and state is PlanState.PAUSED:
            raise WhiteBitValidationError('The exchange does not list paused Flex plans. Write state="gone".')
        if admits is not None and state is not PlanState.OPEN:
            raise WhiteBitValidationError('admits only works with state="open".')
        return PlanCondition(product=str(product), plan_id=plan_id, ticker=ticker, state=str(state), admits=admits)
