"""Sensors for balances, investments, earnings, maturities and the exchange's maintenance.

Vendor pages: Lending (Flex and Fixed plans), balances, Maintenance status.

A sensor keeps waiting after an error that a later poll can change (no answer, rate limit, clocks apart). Other errors
(wrong key, missing permission, wrong parameter, an unknown ticker, plan or investment) fail the task at once. The
connection is read before each poll. With ``deferrable`` a sensor waits in the triggerer, where all sensors of one
connection share their requests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_whitebit.operators.base import WhiteBitOperator
from airflow_provider_whitebit.operators.parameters import at_most_one

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from typing import Unpack

    from airflow.sdk import XComArg

    from airflow_provider_whitebit.operators.arguments import BaseSensorKwargs
    from airflow_provider_whitebit.treasury.conditions import Condition


_DAY = 86_400


class WhiteBitSensor(WhiteBitOperator, BaseSensorOperator):
    """Base of the sensors: waits for one condition, and returns the record or balance that met it."""

    ui_color = "#eafbea"
    deferrable: bool | None

    def condition(self, context: Mapping[str, Any]) -> Condition:
        """Read the sensor's rendered parameters. Each sensor defines this.

        :raises WhiteBitValidationError: one of them is wrong.
        """
        raise NotImplementedError

    @contextmanager
    def airflow_errors(self) -> Iterator[None]:
        """End the waiting alike in all modes and on all versions of Airflow.

        :raises AirflowSkipException: with ``soft_fail`` or ``never_fail``, instead of the following ones; with
            ``never_fail`` also instead of an unexpected error.
        :raises AirflowFailException: an error that no further poll can change.
        :raises AirflowSensorTimeout: the time is over.
        :raises AirflowNotFoundException: there is no such connection. Airflow's retries apply.
        """
        from airflow_provider_whitebit.client.errors import PERMANENT_ERRORS
        from airflow_provider_whitebit.hooks import airflow_compat as airflow

        try:
            yield
        except airflow.AirflowSkipException:
            raise
        except Exception as error:
            permanent = isinstance(error, PERMANENT_ERRORS)
            text = f"{type(error).__name__}: {error}" if permanent else str(error)
            ends = (airflow.AirflowFailException, airflow.AirflowSensorTimeout, airflow.AirflowNotFoundException)
            skips = self.soft_fail or self.never_fail if permanent or isinstance(error, ends) else self._never_raises
            if skips:
                raise airflow.AirflowSkipException(text) from error
            if permanent:
                raise airflow.AirflowFailException(text) from error
            raise

    @property
    def _never_raises(self) -> bool:
        """Whether an unexpected error skips the task. With ``silent_fail`` Airflow logs it and polls again."""
        return self.never_fail and not self.silent_fail

    def poke(self, context: Mapping[str, Any]) -> PokeReturnValue:
        """Query the exchange once."""
        from airflow_provider_whitebit.client.errors import TRANSIENT_ERRORS

        with self.airflow_errors():
            condition = self.condition(context)
            try:
                self.hook.reread_connection()
                answer = self.hook.poll(condition.question, condition.since, condition.names)
            except TRANSIENT_ERRORS as error:
                self.log.warning("No answer this time: %s", error)
                return PokeReturnValue(is_done=False)
            found = condition.judge(answer)
        return PokeReturnValue(is_done=found is not None, xcom_value=found)

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Return the record or balance that met the condition, as plain JSON."""
        from airflow_provider_whitebit.hooks.airflow_compat import AirflowSensorTimeout, default_deferrable

        if not (default_deferrable() if self.deferrable is None else self.deferrable):
            try:
                found = super().execute(context)  # type: ignore[arg-type]
            except AirflowSensorTimeout:
                # Airflow's own execute() does not look at never_fail here.
                with self.airflow_errors():
                    raise
            return self._publish(found, context)
        now = self.poke(context)
        if now.is_done:
            return self._publish(now.xcom_value, context)
        from airflow_provider_whitebit.triggers.watch import WhiteBitConditionTrigger

        until = time.time() + self.timeout
        self.defer(
            trigger=WhiteBitConditionTrigger(
                self.whitebit_conn_id, self.condition(context).to_json(), self.poke_interval, until
            ),
            method_name="execute_complete",
            # The trigger ends by itself; this is for a triggerer that does not run.
            timeout=timedelta(seconds=self.timeout + 60),
        )

    def resume_execution(self, *args: Any, **kwargs: Any) -> Any:
        """Continue after the triggerer. Airflow 3.0 ignores ``never_fail`` here, and ``soft_fail`` after a timeout."""
        with self.airflow_errors():
            return super().resume_execution(*args, **kwargs)

    def execute_complete(self, context: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
        """Return what the trigger found, or raise the error that it met.

        :param event: of :class:`.WhiteBitConditionTrigger`.
        """
        from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError, error_class
        from airflow_provider_whitebit.hooks.airflow_compat import AirflowNotFoundException, AirflowSensorTimeout

        if event["status"] == "met":
            return self._publish(event["found"], context)
        with self.airflow_errors():
            if event["status"] == "timeout":
                condition = json.dumps(self.condition(context).to_json())
                raise AirflowSensorTimeout(f"The condition was not met within {self.timeout} s: {condition}")
            if event["error"] == AirflowNotFoundException.__name__:
                raise AirflowNotFoundException(event["message"])
            kind = error_class(event["error"])
            text = event["message"] if kind else f"{event['error']}: {event['message']}"
            error = (kind or WhiteBitUnavailableError)(text)
            error.said = event.get("said", "")
            error.next_step = event.get("next_step", error.next_step)
            raise error


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
        from airflow_provider_whitebit.client.errors import WhiteBitValidationError
        from airflow_provider_whitebit.moves import parsing
        from airflow_provider_whitebit.treasury.conditions import BalanceCondition

        account, ticker, at_least, at_most = self._parameters("account", "ticker", "at_least", "at_most").values()
        if at_least is at_most is None:
            raise WhiteBitValidationError("Give at_least, or at_most, or both.")
        return BalanceCondition(
            account=parsing.read_account("account", account),
            ticker=parsing.read_ticker(ticker),
            at_least=parsing.read_optional(parsing.read_limit, "at_least", at_least),
            at_most=parsing.read_optional(parsing.read_limit, "at_most", at_most),
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
    :param since: not before this time: ISO 8601 with zone, or Unix seconds. By default, after the start of the data
        interval. If the run has none, or an empty one: after the time 24 hours before the run's, because earnings are
        credited daily.
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
