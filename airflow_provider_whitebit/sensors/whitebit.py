"""Sensors for balances, investments, earnings and maturities. Vendor pages: Lending (Flex and Fixed plans), balances.

What passes by itself (no answer, rate limit, clocks apart) is waited out; what does not (wrong key, missing
permission, wrong parameter) fails the task at once. With ``deferrable`` the waiting is done in the triggerer, where
all sensors of one connection share their requests.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_whitebit.operators.base import WhiteBitOperator
from airflow_provider_whitebit.operators.parameters import (
    as_amount,
    as_identifier,
    as_moment,
    as_number,
    as_plan_id,
    as_ticker,
    refuse_both,
    refuse_float,
)

if TYPE_CHECKING:
    from airflow_provider_whitebit.treasury.conditions import Condition


class WhiteBitSensor(WhiteBitOperator, BaseSensorOperator):
    """Base of the sensors: waits for one condition, and returns what fulfilled it.

    :param whitebit_conn_id: the Airflow connection.
    :param deferrable: wait in the triggerer; Airflow's own default by default.
    :param kwargs: those of Airflow's ``BaseSensorOperator``: ``poke_interval``, ``timeout``, ``soft_fail``, ``mode``.
    """

    ui_color = "#eafbea"

    def __init__(self, *, deferrable: bool | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable

    def condition(self, context: Mapping[str, Any]) -> Condition:
        """What is waited for, rendered and checked; written by each sensor."""
        raise NotImplementedError

    def poke(self, context: Mapping[str, Any]) -> PokeReturnValue:
        """Ask once."""
        return PokeReturnValue(**self._asked(context))

    def execute(self, context: Mapping[str, Any]) -> Any:
        """What fulfilled the condition, as plain JSON."""
        from airflow_provider_whitebit.hooks.airflow_compat import default_deferrable

        if not (default_deferrable() if self.deferrable is None else self.deferrable):
            return super().execute(context)  # type: ignore[arg-type]
        asked = self._asked(context)
        if asked["is_done"]:
            return asked["xcom_value"]
        from airflow_provider_whitebit.triggers.watch import WhiteBitConditionTrigger

        until = time.time() + self.timeout
        self.defer(
            trigger=WhiteBitConditionTrigger(
                self.whitebit_conn_id, self.condition(context).to_json(), self.poke_interval, until
            ),
            method_name="execute_complete",
            # The trigger gives up by itself; this is for a triggerer that is not there.
            timeout=timedelta(seconds=self.timeout + 60),
        )

    def execute_complete(self, context: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
        """What the trigger found."""
        if event["status"] == "met":
            return event["found"]
        from airflow_provider_whitebit.hooks.airflow_compat import AirflowSensorTimeout, AirflowSkipException

        if event["status"] == "timeout":
            text = f"Not fulfilled within {self.timeout} s: {self.condition(context).to_json()}"
            if self.soft_fail:
                raise AirflowSkipException(text)
            raise AirflowSensorTimeout(text)
        if self.soft_fail:
            raise AirflowSkipException(f"{event['error']}: {event['message']}")
        self.ask(lambda: _raise(event))

    def _asked(self, context: Mapping[str, Any]) -> dict[str, Any]:
        from airflow_provider_whitebit.client.errors import PASSING

        condition = self.ask(lambda: self.condition(context))
        try:
            answer = self.ask(lambda: self.hook.observe(condition.question, condition.since))
        except PASSING as error:
            self.log.warning("No answer this time: %s", error)
            return {"is_done": False, "xcom_value": None}
        found = condition.judge(answer)
        return {"is_done": found is not None, "xcom_value": found}


class WhiteBitBalanceSensor(WhiteBitSensor):
    """Waits until a balance lies within limits.

    :param account: ``main``, ``spot`` (also ``trade``) or ``collateral``.
    :param ticker: the asset.
    :param at_least: lower limit, inclusive.
    :param at_most: upper limit, inclusive; at least one of the two.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "account", "ticker", "at_least", "at_most")

    def __init__(
        self, *, account: str = "main", ticker: str, at_least: Any = None, at_most: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if at_least is None and at_most is None:
            raise ValueError("give at_least, or at_most, or both")
        for limit in (at_least, at_most):
            refuse_float(limit)
        self.account = account
        self.ticker = ticker
        self.at_least = at_least
        self.at_most = at_most

    def condition(self, context: Mapping[str, Any]) -> Condition:
        from airflow_provider_whitebit.treasury.choice import read_account, read_ticker
        from airflow_provider_whitebit.treasury.conditions import BalanceCondition

        return BalanceCondition(
            account=read_account("account", self.account),
            ticker=read_ticker(self.ticker),
            at_least=as_amount("at_least", self.at_least),
            at_most=as_amount("at_most", self.at_most),
        )


class WhiteBitFlexInvestmentSensor(WhiteBitSensor):
    """Waits until a Flex investment is active (with so much in it), or closed.

    :param plan_id: in this plan; or
    :param ticker: of this asset.
    :param status: 1 active, 0 closed: then none may be active.
    :param invested_at_least: for an active one, so much in it.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "plan_id", "ticker", "status", "invested_at_least")

    def __init__(
        self,
        *,
        plan_id: str | None = None,
        ticker: str | None = None,
        status: int | str = 1,
        invested_at_least: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        refuse_both(plan_id, ticker)
        refuse_float(invested_at_least)
        self.plan_id = plan_id
        self.ticker = ticker
        self.status = status
        self.invested_at_least = invested_at_least

    def condition(self, context: Mapping[str, Any]) -> Condition:
        from airflow_provider_whitebit.treasury.choice import one_of
        from airflow_provider_whitebit.treasury.conditions import FlexInvestmentCondition

        plan, ticker = one_of(self.plan_id, self.ticker)
        return FlexInvestmentCondition(
            plan_id=plan,
            ticker=ticker,
            status=as_number("status", self.status, least=0, most=1) or 0,
            invested_at_least=as_amount("invested_at_least", self.invested_at_least),
        )


class WhiteBitFlexEarningSensor(WhiteBitSensor):
    """Waits until a Flex earning has been credited.

    :param plan_id: of this plan; all by default.
    :param ticker: of this asset; all by default.
    :param since: an aware time, ISO 8601, or Unix seconds; by default the start of the data interval, or of the dag run
        where it has none.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "plan_id", "ticker", "since")

    def __init__(
        self, *, plan_id: str | None = None, ticker: str | None = None, since: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.plan_id = plan_id
        self.ticker = ticker
        self.since = since

    def condition(self, context: Mapping[str, Any]) -> Condition:
        from airflow_provider_whitebit.client.api import unix_seconds
        from airflow_provider_whitebit.treasury.conditions import FlexEarningCondition

        moment = as_moment("since", self.since)
        if moment is None:
            moment = context.get("data_interval_start") or context["dag_run"].start_date
        return FlexEarningCondition(
            from_second=unix_seconds("since", moment) or 0,
            plan_id=as_plan_id(self.plan_id),
            ticker=as_ticker(self.ticker),
        )


class WhiteBitFixedMaturitySensor(WhiteBitSensor):
    """Waits until a Fixed investment has come to its end; of several, all of them.

    :param investment_id: this investment; or
    :param plan_id: those in this plan; or
    :param ticker: those of this asset.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "investment_id", "plan_id", "ticker")

    def __init__(
        self,
        *,
        investment_id: str | None = None,
        plan_id: str | None = None,
        ticker: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if sum(given is not None for given in (investment_id, plan_id, ticker)) != 1:
            raise ValueError("give either investment_id, or plan_id, or ticker")
        self.investment_id = investment_id
        self.plan_id = plan_id
        self.ticker = ticker

    def condition(self, context: Mapping[str, Any]) -> Condition:
        from airflow_provider_whitebit.treasury.conditions import FixedMaturityCondition

        return FixedMaturityCondition(
            investment_id=as_identifier("investment_id", self.investment_id),
            plan_id=as_plan_id(self.plan_id),
            ticker=as_ticker(self.ticker),
        )


def _raise(event: Mapping[str, Any]) -> None:
    """Raise what the trigger met, by its own name."""
    from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError, error_class

    raise (error_class(event["error"]) or WhiteBitUnavailableError)(f"{event['error']}: {event['message']}")
