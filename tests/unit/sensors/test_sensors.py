"""Sensors: what they wait for, what they wait out, and what ends the waiting."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pendulum
import pytest
from airflow.sdk import DAG, BaseSensorOperator

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks.airflow_compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_provider_whitebit.sensors import whitebit as sensors
from airflow_provider_whitebit.treasury.conditions import Question

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # 3.0 and 3.1
    from airflow.exceptions import TaskDeferred

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
SENSORS = {
    sensors.WhiteBitBalanceSensor: {"ticker": "{{ 'usdt' }}", "at_least": "100"},
    sensors.WhiteBitFlexInvestmentSensor: {"plan_id": PLAN},
    sensors.WhiteBitFlexEarningSensor: {"ticker": "USDT"},
    sensors.WhiteBitFixedMaturitySensor: {"investment_id": "inv-1"},
    sensors.WhiteBitRateSensor: {"ticker": "{{ 'usdt' }}", "above": "0.1"},
    sensors.WhiteBitPlanSensor: {"plan_id": PLAN},
    sensors.WhiteBitPlatformSensor: {},
}
OWN = {
    *("above", "below", "changed_by", "changed_from", "product", "state", "admits"),
    *("whitebit_conn_id", "account", "ticker", "at_least", "at_most", "plan_id", "status", "invested_at_least"),
    *("since", "investment_id"),
}


def sensor(*answers, **more):
    """A balance sensor whose hook gives these answers in turn, and the list of its polls."""
    task = sensors.WhiteBitBalanceSensor(task_id="s", poke_interval=0, **{"ticker": "usdt", "at_least": "100", **more})
    left, polls = list(answers), []

    def poll(question, since, names):
        polls.append((question, since))
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    task.__dict__["hook"] = SimpleNamespace(poll=poll, reread_connection=lambda: False)
    return task, polls


def usdt(amount):
    return {"USDT": Decimal(amount)}


CONTEXT = {"data_interval_start": pendulum.datetime(2026, 1, 1)}


@pytest.mark.parametrize("kind", SENSORS)
def test_what_airflow_expects(kind):
    task = kind(task_id="s", **SENSORS[kind])
    assert isinstance(task, BaseSensorOperator)
    assert set(task.template_fields) == OWN & set(vars(task))
    assert kind.__doc__
    with DAG("mapped", schedule=None):
        kind.partial(task_id="m", **SENSORS[kind]).expand(whitebit_conn_id=["a", "b"])


def test_it_waits_out_what_passes():
    task, polls = sensor(
        usdt(1),
        e.WhiteBitUnavailableError("x"),
        e.WhiteBitMaintenanceError("x"),
        e.WhiteBitRateLimitError("x"),
        e.WhiteBitNonceError("x"),
        usdt(100),
    )
    assert task.execute(CONTEXT) == {"account": "main", "ticker": "USDT", "amount": "100"}
    assert len(polls) == 6
    assert polls[0] == (Question.MAIN_BALANCE, None)


@pytest.mark.parametrize("error", [e.WhiteBitPermissionError("no"), e.WhiteBitAuthenticationError("no")])
@pytest.mark.parametrize("deferrable", [True, False])
def test_what_does_not_pass_fails_at_once(error, deferrable):
    task, polls = sensor(error, deferrable=deferrable)
    with pytest.raises((AirflowFailException, type(error))):
        task.execute(CONTEXT)
    assert len(polls) == 1


def test_it_times_out_and_skips_with_soft_fail():
    task, _ = sensor(usdt(1), timeout=0)
    with pytest.raises(AirflowSensorTimeout):
        task.execute(CONTEXT)
    task, _ = sensor(usdt(1), timeout=0, soft_fail=True)
    with pytest.raises(AirflowSkipException):
        task.execute(CONTEXT)


@pytest.mark.parametrize(("answer", "known"), [(usdt(1), True), (e.WhiteBitUnavailableError("x"), False)])
def test_the_triggerer_is_told_whether_the_exchange_has_known_the_names(answer, known):
    """What was known may be gone when it looks, for example a plan: the condition may be met by that."""
    task, _ = sensor(answer, deferrable=True)
    with pytest.raises(TaskDeferred) as caught:
        task.execute(CONTEXT)
    assert caught.value.trigger.known is known
    asked = []
    task, _ = sensor(usdt(1))
    task.hook.poll = lambda question, since, names: asked.append(names) or usdt(100)
    assert task.execute_complete(CONTEXT, {"status": "timeout", "known": known})["amount"] == "100"
    assert bool(asked[0]) is not known


def test_it_defers_only_if_the_condition_is_not_met():

    task, _ = sensor(usdt(100), deferrable=True)
    assert task.execute(CONTEXT)["amount"] == "100"
    task, _ = sensor(usdt(1), deferrable=True, timeout=500)
    with pytest.raises(TaskDeferred) as caught:
        task.execute(CONTEXT)
    _, arguments = caught.value.trigger.serialize()
    assert arguments["condition"]["at_least"] == "100"
    # Without a pause, it would use up the rate limit that moves need.
    assert arguments["poke_interval"] == 1
    assert caught.value.method_name == "execute_complete"
    assert caught.value.timeout.total_seconds() == 560


def test_the_event_of_the_trigger():
    task, _ = sensor(usdt(1))
    assert task.execute_complete(CONTEXT, {"status": "met", "found": {"x": 1}}) == {"x": 1}
    with pytest.raises(AirflowSensorTimeout, match="at_least"):
        task.execute_complete(CONTEXT, {"status": "timeout"})
    failed = {"status": "error", "error": "WhiteBitPermissionError", "message": "no", "said": "not for you"}
    with pytest.raises((AirflowFailException, e.WhiteBitPermissionError), match="not for you"):
        task.execute_complete(CONTEXT, failed)
    with pytest.raises((AirflowFailException, e.WhiteBitPermissionError), match=r"Next steps:\n1\. Call\."):
        task.execute_complete(CONTEXT, {**failed, "next_step": ["Call.", "Clear the task."]})
    task, _ = sensor(usdt(1), soft_fail=True)
    for event in ({"status": "timeout"}, failed):
        with pytest.raises(AirflowSkipException):
            task.execute_complete(CONTEXT, event)


NIGHT = pendulum.datetime(2026, 2, 1, 1)
DAY_BEFORE = NIGHT.subtract(days=1)


@pytest.mark.parametrize(
    ("context", "after"),
    [
        ({"data_interval_start": DAY_BEFORE.subtract(days=6), "data_interval_end": NIGHT}, DAY_BEFORE.subtract(days=6)),
        # A cron schedule, also of a backfill.
        ({"data_interval_start": NIGHT, "data_interval_end": NIGHT, "logical_date": NIGHT}, DAY_BEFORE),
        ({"data_interval_start": None, "data_interval_end": None, "logical_date": NIGHT}, DAY_BEFORE),
        # Manual and asset-triggered.
        ({"logical_date": None}, DAY_BEFORE),
        ({}, DAY_BEFORE),
    ],
)
def test_since_when_earnings_count(context, after):
    task = sensors.WhiteBitFlexEarningSensor(task_id="s", ticker="USDT")
    # A clear changes when a run starts.
    run = SimpleNamespace(run_after=NIGHT, start_date=NIGHT.add(days=30))
    assert task.condition({**context, "dag_run": run}).from_second == after.int_timestamp + 1
    named = sensors.WhiteBitFlexEarningSensor(task_id="s", since="2026-03-01T00:00:00+00:00")
    assert named.condition(context).from_second == pendulum.datetime(2026, 3, 1).int_timestamp


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (sensors.WhiteBitBalanceSensor, {"ticker": "USDT"}),
        (sensors.WhiteBitBalanceSensor, {"ticker": "USDT", "at_least": 1.5}),
        (sensors.WhiteBitFlexInvestmentSensor, {"plan_id": PLAN, "ticker": "USDT"}),
        (sensors.WhiteBitFixedMaturitySensor, {}),
        (sensors.WhiteBitFixedMaturitySensor, {"plan_id": PLAN, "ticker": "USDT"}),
        (sensors.WhiteBitRateSensor, {"ticker": "USDT"}),
        (sensors.WhiteBitRateSensor, {"ticker": "USDT", "above": 0.1}),
        (sensors.WhiteBitRateSensor, {"ticker": "USDT", "above": "0.1", "below": "0.2"}),
        (sensors.WhiteBitPlanSensor, {}),
        (sensors.WhiteBitPlanSensor, {"plan_id": PLAN, "ticker": "USDT"}),
        (sensors.WhiteBitPlanSensor, {"plan_id": PLAN, "admits": 1.5}),
    ],
)
def test_parameters_that_are_refused_when_the_dag_is_parsed(kind, arguments):
    with pytest.raises((ValueError, e.WhiteBitValidationError)):
        kind(task_id="s", **arguments)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (sensors.WhiteBitBalanceSensor, {"ticker": "US DT", "at_least": "1"}),
        (sensors.WhiteBitBalanceSensor, {"ticker": "USDT", "at_least": "much"}),
        (sensors.WhiteBitBalanceSensor, {"ticker": "USDT", "at_most": "-1"}),
        (sensors.WhiteBitBalanceSensor, {"ticker": "USDT", "at_least": "1", "account": "moon"}),
        (sensors.WhiteBitBalanceSensor, {"ticker": "USDT", "at_least": "1", "at_most": "0.5"}),
        (sensors.WhiteBitFlexInvestmentSensor, {"plan_id": "x"}),
        (sensors.WhiteBitFlexInvestmentSensor, {}),
        (sensors.WhiteBitFlexInvestmentSensor, {"plan_id": PLAN, "status": "2"}),
        (sensors.WhiteBitFlexEarningSensor, {"since": "yesterday"}),
        (sensors.WhiteBitFlexEarningSensor, {"plan_id": "x", "since": "5"}),
        (sensors.WhiteBitFixedMaturitySensor, {"investment_id": "a b"}),
        (sensors.WhiteBitRateSensor, {"ticker": "US DT", "above": "0.1"}),
        (sensors.WhiteBitRateSensor, {"ticker": "USDT", "above": "5"}),
        (sensors.WhiteBitRateSensor, {"ticker": "USDT", "above": "0"}),
        (sensors.WhiteBitRateSensor, {"ticker": "USDT", "above": " "}),
        (sensors.WhiteBitRateSensor, {"ticker": "USDT", "changed_by": "0.01"}),
        (sensors.WhiteBitRateSensor, {"ticker": "USDT", "above": "0.01", "changed_from": "0.1"}),
        (sensors.WhiteBitPlanSensor, {"plan_id": PLAN, "state": "sold"}),
        (sensors.WhiteBitPlanSensor, {"plan_id": PLAN, "product": "bond"}),
        (sensors.WhiteBitPlanSensor, {"plan_id": PLAN, "state": "paused"}),
        (sensors.WhiteBitPlanSensor, {"plan_id": PLAN, "state": "gone", "admits": "5"}),
        (sensors.WhiteBitPlanSensor, {"plan_id": PLAN, "admits": "-5"}),
    ],
)
def test_wrong_parameters_fail_before_any_request(kind, arguments):
    task = kind(task_id="s", **arguments)
    task.__dict__["hook"] = SimpleNamespace()
    with pytest.raises((AirflowFailException, e.WhiteBitValidationError)):
        task.execute(CONTEXT)
