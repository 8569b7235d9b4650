"""The base of the sensors: how they wait, and how the waiting ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_whitebit.operators.base import WhiteBitOperator

if TYPE_CHECKING:
    from airflow_provider_whitebit.treasury.conditions import Condition

#: Shortest time between two polls of a triggerer, in seconds.
_LEAST_INTERVAL = 1


class WhiteBitSensor(WhiteBitOperator, BaseSensorOperator):
    """Base of the sensors: waits for one condition, and returns the record or balance that met it."""

    ui_color = "#eafbea"
    deferrable: bool | None
    #: Whether the exchange has known what the condition names: as an earlier process has seen, and this one.
    _was_known = _is_known = False

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
        from airflow_provider_whitebit.treasury.conditions import Names

        with self.airflow_errors():
            condition = self.condition(context)
            try:
                self.hook.reread_connection()
                names = Names() if self._was_known else condition.names
                answer = self.hook.poll(condition.question, condition.since, names)
            except TRANSIENT_ERRORS as error:
                self.log.warning("No answer this time: %s", error)
                return PokeReturnValue(is_done=False)
            self._is_known = True
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
        # All triggers of a triggerer share threads, and all calls of a machine share the exchange's rate limit.
        interval = max(_LEAST_INTERVAL, self.poke_interval)
        self.defer(
            trigger=WhiteBitConditionTrigger(
                self.whitebit_conn_id, self.condition(context).to_json(), interval, until, self._is_known
            ),
            method_name="execute_complete",
            # The trigger ends by itself; this is for a triggerer that does not run.
            timeout=timedelta(seconds=self.timeout + 60),
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Continue after the triggerer. Airflow 3.0 ignores ``never_fail`` here, and ``soft_fail`` after a timeout."""
        if next_method == "__fail__" and (next_kwargs or {}).get("error") == "Trigger timeout":
            # No triggerer ran at the end, so none has looked.
            next_method, next_kwargs = "execute_complete", {"event": {"status": "timeout"}}
        with self.airflow_errors():
            return super().resume_execution(next_method, next_kwargs, context)

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
                # Like Airflow's own waiting, which looks once more after the time is over. The trigger's last look may
                # be a poke_interval ago.
                self._was_known = bool(event.get("known"))
                last = self.poke(context)
                if last.is_done:
                    return self._publish(last.xcom_value, context)
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
