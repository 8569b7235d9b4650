"""How the waiting ends: alike in each mode, whatever ends it, at the first poll or later."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import FlexPlan
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.hooks.airflow_compat import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_provider_whitebit.sensors.whitebit import WhiteBitBalanceSensor, WhiteBitPlanSensor, WhiteBitRateSensor
from airflow_provider_whitebit.triggers import polls

try:
    from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred
except ImportError:  # 3.0 and 3.1
    from airflow.exceptions import AirflowRescheduleException, TaskDeferred

WAITING = {"USDT": Decimal(1)}
MET = {"USDT": Decimal(100)}
UNREADABLE = {"USDT": None}


class Hook:
    """Answers one after the other, the last one again and again; an answer that is an error is raised."""

    def __init__(self, *answers):
        self.left = list(answers)

    def __call__(self, conn_id):
        return self

    def reread_connection(self):
        # These come from the connection, before any request.
        if isinstance(self.left[0], e.WhiteBitConfigurationError | AirflowNotFoundException):
            raise self.left[0]
        return False

    def poll(self, question, since, names=None):
        answer = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def require_known(self, question, names, answer):
        assert not names.unseen(answer)


@pytest.fixture
def run(monkeypatch):
    def in_mode(mode, *answers, timeout=0.05, kind=WhiteBitBalanceSensor, wants=None, poke_interval=0.01, **flags):
        hook = Hook(*answers)
        monkeypatch.setattr(polls, "WhiteBitHook", hook)
        deferrable = mode == "deferred"
        task = kind(
            task_id="s",
            **(wants or {"ticker": "USDT", "at_least": "100"}),
            poke_interval=poke_interval,
            timeout=timeout,
            deferrable=deferrable,
            mode="poke" if deferrable else mode,
            **flags,
        )
        task.__dict__["hook"] = hook
        begun = []
        context = {"ti": SimpleNamespace(get_first_reschedule_date=lambda _: begun[0] if begun else None)}
        context["ti"].xcom_push = lambda *_: None
        while True:
            try:
                return task.execute(context)
            except AirflowRescheduleException as again:
                begun.append(again.reschedule_date)
            except TaskDeferred as deferred:
                event = asyncio.run(anext(deferred.trigger.run())).payload
                return task.resume_execution(deferred.method_name, {"event": event}, context)

    return in_mode


TIMEOUT = AirflowSensorTimeout
ERRORS = {
    "permission": (e.WhiteBitPermissionError("no"), AirflowFailException),
    "unknown ticker": (e.WhiteBitValidationError("ticker is USTD"), AirflowFailException),
    "configuration": (e.WhiteBitConfigurationError("wrong host"), AirflowFailException),
    "connection missing": (AirflowNotFoundException("no connection"), AirflowNotFoundException),
    "no answer": (e.WhiteBitUnavailableError("down"), TIMEOUT),
    "maintenance": (e.WhiteBitMaintenanceError("down"), TIMEOUT),
    "rate limit": (e.WhiteBitRateLimitError("slow"), TIMEOUT),
    "nonce": (e.WhiteBitNonceError("late"), TIMEOUT),
    "unreadable": (UNREADABLE, TIMEOUT),
    "not met": (WAITING, TIMEOUT),
}
MODES = ["poke", "reschedule", "deferred"]


@pytest.mark.parametrize("earlier", [(), (WAITING, WAITING)], ids=["first poll", "third poll"])
@pytest.mark.parametrize("flag", ["", "soft_fail", "never_fail"])
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("mode", MODES)
def test_the_end_of_waiting(run, mode, kind, flag, earlier):
    answer, expected = ERRORS[kind]
    flags = {flag: True} if flag else {}
    timeout = 0.05 if expected is TIMEOUT else 60
    with pytest.raises(AirflowSkipException if flag else expected) as caught:
        run(mode, *earlier, answer, timeout=timeout, **flags)
    assert type(caught.value) is (AirflowSkipException if flag else expected)
    if expected is AirflowFailException and not flag:
        assert answer.message in str(caught.value)


@pytest.mark.parametrize("earlier", [(), (WAITING, WAITING)], ids=["first poll", "third poll"])
@pytest.mark.parametrize("mode", MODES)
def test_only_never_fail_skips_an_unexpected_error(run, mode, earlier):
    for flags in ({}, {"soft_fail": True}):
        # Retries apply.
        with pytest.raises((RuntimeError, e.WhiteBitUnavailableError)):
            run(mode, *earlier, RuntimeError("bug"), timeout=60, **flags)
    with pytest.raises(AirflowSkipException):
        run(mode, *earlier, RuntimeError("bug"), timeout=60, never_fail=True)


@pytest.mark.parametrize("passing", [error for error, expected in ERRORS.values() if expected is TIMEOUT])
@pytest.mark.parametrize("mode", MODES)
def test_what_passes_is_waited_out(run, mode, passing):
    assert run(mode, passing, passing, MET, timeout=60)["amount"] == "100"


@pytest.mark.parametrize("flag", ["", "soft_fail", "never_fail"])
def test_the_last_look_comes_after_the_end_of_the_time(run, flag):
    """The trigger polls at the beginning, and would poll again after the end."""
    flags = {flag: True} if flag else {}
    assert run("deferred", WAITING, WAITING, MET, poke_interval=60, **flags)["amount"] == "100"


@pytest.mark.parametrize("flag", ["", "soft_fail", "never_fail"])
def test_a_triggerer_that_does_not_run(flag):
    task = WhiteBitBalanceSensor(task_id="s", ticker="USDT", at_least="100", **({flag: True} if flag else {}))
    for answer in (WAITING, e.WhiteBitUnavailableError("down")):
        task.__dict__["hook"] = Hook(answer)
        with pytest.raises(AirflowSkipException if flag else TIMEOUT):
            task.resume_execution("__fail__", {"error": "Trigger timeout"}, {})
    task.__dict__["hook"] = Hook(MET)
    assert task.resume_execution("__fail__", {"error": "Trigger timeout"}, {})["amount"] == "100"
    with pytest.raises(AirflowSkipException if flag else Exception, match=None if flag else "Trigger failure"):
        task.resume_execution("__fail__", {"error": "Trigger failure"}, {})


PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"


def offer(rate, name=PLAN):
    return FlexPlan(name, "USDT", Decimal(10), Decimal(100), None if rate is None else Decimal(rate))


UNREADABLE_PLAN = UnreadableRecord.of(FlexPlan, "/plans", {"id": PLAN, "ticker": "USDT", "minInvestment": "x"}, 0)
OFFERS = {
    "above": (WhiteBitRateSensor, {"ticker": "USDT", "above": "0.1"}, [offer("0.1")], [offer("0.11")]),
    "below": (WhiteBitRateSensor, {"ticker": "USDT", "below": "0.1"}, [offer("0.05"), offer(None)], [offer("0.05")]),
    "changed": (
        WhiteBitRateSensor,
        {"ticker": "USDT", "changed_by": "0.02", "changed_from": "0.1"},
        [offer("0.0801")],
        [offer("0.08")],
    ),
    "open": (WhiteBitPlanSensor, {"plan_id": PLAN}, [offer("0.1", "other")], [offer(None)]),
    "gone": (WhiteBitPlanSensor, {"plan_id": PLAN, "state": "gone"}, [UNREADABLE_PLAN], [offer("0.1", "other")]),
}


@pytest.mark.parametrize("name", OFFERS)
@pytest.mark.parametrize("mode", MODES)
def test_rates_and_plans_are_waited_for_alike(run, monkeypatch, mode, name):
    monkeypatch.setattr(Hook, "require_known", lambda *_: None)
    kind, wants, waiting, met = OFFERS[name]
    assert run(mode, waiting, e.WhiteBitUnavailableError("down"), met, timeout=60, kind=kind, wants=wants)
    unknown = e.WhiteBitValidationError("the exchange has no such plan")
    for flag, timeout, permanent in (
        ({}, AirflowSensorTimeout, AirflowFailException),
        ({"soft_fail": True}, AirflowSkipException, AirflowSkipException),
        ({"never_fail": True}, AirflowSkipException, AirflowSkipException),
    ):
        with pytest.raises(timeout):
            run(mode, waiting, kind=kind, wants=wants, **flag)
        with pytest.raises(permanent, match="no such plan"):
            run(mode, unknown, timeout=60, kind=kind, wants=wants, **flag)
