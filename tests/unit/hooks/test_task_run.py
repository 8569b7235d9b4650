"""The keys that one run of a task uses, and the lines that it shows instead of a clash."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.hooks.task_run import TaskRun
from airflow_provider_whitebit.moves.keys import idempotent

INVEST = {"operation": "flex_invest", "ticker": "USDT", "plan_id": None, "amount": "1", "with_reinvest": False}
CLOSE = {"operation": "fixed_close", "investment_id": "inv-1"}
WITHDRAW = {"operation": "flex_withdraw", "plan_id": "plan-1", "amount": "5"}
PLAN = {"plan": {"policy": "p"}}
IN_STEPS = {"operation": "transfer", "ticker": "USDT", "amount": "1", "source": "spot", "target": "collateral"}
KEY = idempotent("beef", "rent")


def suggested(run, key, requested, connection="whitebit"):
    """The call that the error of a clash shows."""
    with pytest.raises(WhiteBitValidationError) as caught:
        run.claim(key, connection, requested)
    assert caught.value.money_moved is False
    assert isinstance(caught.value.next_step, str)
    return caught.value.message, caught.value.next_step.removeprefix("Give the second move a key: ")


def claimed(*keys, requested=INVEST):
    run = TaskRun()
    for key in keys:
        run.claim(key, "whitebit", requested)
    return run


@pytest.mark.parametrize(
    ("requested", "call"),
    [
        (INVEST | {"amount": "2"}, "flex_invest(ticker='USDT', amount='2', key='flex_invest USDT')"),
        (WITHDRAW, "flex_withdraw(plan_id='plan-1', amount='5', key='flex_withdraw plan-1')"),
        (CLOSE, "fixed_close(investment_id='inv-1', key='fixed_close inv-1')"),
        (PLAN, "execute_plan(..., key='plan')"),
    ],
)
def test_a_clash_names_both_moves_and_shows_the_line_to_write(requested, call):
    message, shown = suggested(claimed("k"), "k", requested)
    assert shown == call
    second = "execute_plan(...)" if requested is PLAN else call[: call.rindex(", key=")] + ")"
    assert message == (
        "This task uses key='k' for two moves: flex_invest(ticker='USDT', amount='1') with connection 'whitebit' and "
        f"{second} with connection 'whitebit'."
    )


@pytest.mark.parametrize(
    ("used", "free"),
    [
        (["k"], "flex_invest USDT"),
        (["k", "flex_invest USDT"], "flex_invest USDT 2"),
        (["k", "flex_invest USDT", "flex_invest USDT 2", "flex_invest USDT 3"], "flex_invest USDT 4"),
    ],
)
def test_the_key_that_is_shown_is_free(used, free):
    _, shown = suggested(claimed(*used), "k", INVEST | {"amount": "2"})
    assert f"key={free!r}" in shown


@pytest.mark.parametrize(
    ("used", "free"),
    [
        ([KEY], "rent 2"),
        ([KEY, idempotent("beef", "rent 2"), idempotent("beef", "rent 3")], "rent 4"),
    ],
)
def test_the_idempotency_key_that_is_shown_is_free(used, free):
    _, shown = suggested(claimed(*used), KEY, INVEST | {"amount": "2"})
    assert f"idempotency_key={free!r}" in shown


@pytest.mark.parametrize("requested", [PLAN, IN_STEPS])
@pytest.mark.parametrize("steps_first", [True, False])
def test_the_keys_of_a_plans_moves_and_of_a_transfers_steps_are_used(requested, steps_first):
    claims = [("k", requested), ("k.1", INVEST)]
    (first, first_request), (second, second_request) = claims if steps_first else claims[::-1]
    run = TaskRun()
    run.claim(first, "whitebit", first_request)
    assert run.has_used("k.1")
    assert run.has_used("k.2") is steps_first
    suggested(run, second, second_request)
    for other in ("k.x", "k1", "kk.1"):
        run.claim(other, "whitebit", INVEST)


def test_a_transfer_in_one_step_uses_one_key():
    run = claimed("k", requested=IN_STEPS | {"target": "main"})
    assert not run.has_used("k.1")
    run.claim("k.1", "whitebit", INVEST)


def test_a_move_is_that_of_one_connection_or_with_an_idempotency_key_of_one_account():
    run = claimed("k", KEY)
    run.claim("k", "whitebit", INVEST)
    run.claim(KEY, "other", INVEST)
    assert not run.is_taken("k", "whitebit", INVEST)
    assert not run.is_taken(KEY, "other", INVEST)
    assert run.is_taken("k", "other", INVEST)
    assert run.is_taken("k", "whitebit", CLOSE)
    assert not run.is_taken("free", "other", CLOSE)
    assert run.claims == {"k": ("whitebit", INVEST), KEY: ("whitebit", INVEST)}
    suggested(run, "k", INVEST, "other")


def test_a_run_begins_again_once_after_a_deferral():
    run = claimed("k")
    run.fail("k", RuntimeError("killed"))
    run.resume()
    assert run.has_used("k")
    assert run.failed["k"].money_moved is None
    run.deferred = True
    run.resume()
    assert not run.claims
    assert not run.failed
    run.claim("k", "whitebit", CLOSE)
    run.resume()
    assert run.has_used("k")
