"""Which journal a call of a task belongs to."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.hooks.asked import Run, Wanted

KIND = "flex_invest"


def wanted(amount, plan_id="plan"):
    return Wanted("whitebit_default", {"plan_id": plan_id, "amount": amount})


@pytest.fixture
def failed():
    """A run whose first move has failed."""
    run = Run()
    run.call(KIND, wanted("10"), lambda number: False).failed = True
    return run


@pytest.mark.parametrize(
    ("amount", "plan_id", "in_doubt", "number"),
    [
        ("10", "plan", False, 1),
        ("10.0", "plan", False, 1),
        ("11", "plan", False, 2),
        ("11", "plan", True, 1),
        ("10", "another", True, 2),
    ],
)
def test_what_is_asked_for_after_an_error(failed, amount, plan_id, in_doubt, number):
    call = failed.call(KIND, wanted(amount, plan_id), lambda number: in_doubt)
    assert (call.number, call.again) == (number, number == 1)


def test_only_one_thread_goes_on_with_a_failed_move(failed):
    """While one reads the journal another has found it, and makes the move."""

    def meanwhile(number):
        assert failed.call(KIND, wanted("10"), lambda number: False).number == number == 1
        return True

    assert failed.call(KIND, wanted("11"), meanwhile).number == 2
