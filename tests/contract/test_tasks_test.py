"""``airflow tasks test``: a task that a person starts. Airflow does not count its tries: an unused task has try 0."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.hooks import task_run
from airflow_provider_whitebit.treasury.requests import Sweep

POLICY = {"USDT": {"reserve": "9000", "min_move": "100"}}


def transfer(hook):
    return hook.transfer(ticker="USDT", amount="100", source="main", target="spot")[0]


def sweep(hook):
    return hook.execute_plan(Sweep(POLICY)).receipts[0]


MOVES = {
    "move": lambda hook: hook.flex_invest(ticker="USDT", amount="100"),
    "idempotency key": lambda hook: hook.flex_invest(ticker="USDT", amount="100", idempotency_key="one"),
    "transfer": transfer,
    "plan": sweep,
}


@pytest.fixture
def by_hand(as_task, monkeypatch):
    """A function that lets the hook run as in a task that a person starts."""

    def begin(number):
        monkeypatch.setenv("AIRFLOW_TEST_MODE", "True")
        as_task(number)

    return begin


def moved(sandbox):
    return [entry for entry in sandbox.ledger()["entries"] if entry["reason"] != "deposit"]


@pytest.mark.parametrize("has_state", [True, False], ids=["3.3", "before 3.3"])
@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_task_that_airflow_has_not_started_yet(sandbox, make_hook, as_task, by_hand, monkeypatch, move, has_state):
    as_task.has_state = has_state
    by_hand(0)
    receipt = move(make_hook())
    assert receipt.status == "executed"
    by_hand(0)
    assert move(make_hook()) == receipt
    monkeypatch.delenv("AIRFLOW_TEST_MODE")
    # Airflow's first try and its retry find the move that was made by hand.
    for number in (1, 2):
        as_task(number)
        assert move(make_hook()) == receipt
    # So does a person who starts Airflow's latest try again.
    by_hand(2)
    assert move(make_hook()) == receipt
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize(("with_hand", "status"), [(True, "executed"), (False, "planned")])
def test_a_try_that_is_repeated_by_hand_looks_for_what_it_did(
    make_hook, as_task, by_hand, monkeypatch, with_hand, status
):
    as_task(1)
    make_hook().flex_invest(ticker="USDT", amount="100")
    (by_hand if with_hand else as_task)(1)
    monkeypatch.setattr(task_run, "_RUNS", {})
    assert make_hook().flex_invest(ticker="USDT", amount="100", dry_run=True).status == status
