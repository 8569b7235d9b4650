"""``airflow tasks test``: a task that a person starts. Airflow does not count its tries: an unused task has try 0."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_provider_whitebit.client.errors import WhiteBitJournalError, WhiteBitValidationError
from airflow_provider_whitebit.hooks import journals, task_run
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

    def begin(number, **options):
        monkeypatch.setenv("AIRFLOW_TEST_MODE", "True")
        as_task(number, **options)

    return begin


def moved(sandbox):
    return [entry for entry in sandbox.ledger()["entries"] if entry["reason"] != "deposit"]


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_task_that_airflow_has_not_started_yet(sandbox, make_hook, as_task, by_hand, monkeypatch, move):
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


DATE = datetime(2026, 11, 29, tzinfo=UTC)
SCHEDULED, TEST = "scheduled__2026-11-29T00:00:00+00:00", "manual__2026-11-30T08:00:00+00:00"


@pytest.mark.parametrize("run", [SCHEDULED, "monthly"])
@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_date_whose_run_airflow_deletes(sandbox, make_hook, as_task, by_hand, monkeypatch, move, run):
    """``airflow dags test`` deletes the run of its date. Its journals stay, and the audit log names it."""
    started = [] if run == SCHEDULED else [run]
    monkeypatch.setattr(journals, "started_runs", lambda dag, task, date: started if date == DATE else [])
    as_task(1, run=run, date=DATE)
    receipt = move(make_hook())
    monkeypatch.setattr(task_run, "_RUNS", {})
    by_hand(1, run=TEST, date=DATE)
    if move is MOVES["idempotency key"]:
        assert move(make_hook()) == receipt
    else:
        for _ in range(2):
            with pytest.raises(WhiteBitValidationError, match="of the same date had started this task"):
                move(make_hook())
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize("options", [{"started": DATE}, {"user": "dag_test"}], ids=["start", "user"])
def test_airflow_starts_the_task_of_a_test(sandbox, make_hook, as_task, options):
    """The DAG is not paused, so the scheduler may be faster. Its task cannot read the audit log."""
    as_task(1, run=SCHEDULED, date=DATE)
    make_hook().flex_invest(ticker="USDT", amount="100")
    as_task(1, run=TEST, date=DATE, **options)
    with pytest.raises(WhiteBitValidationError, match="of the same date had started this task"):
        make_hook().flex_invest(ticker="USDT", amount="100")
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize("options", [{"started": DATE}, {"user": "dag_test"}], ids=["start", "user"])
def test_what_a_test_has_made_is_found_when_its_run_is_cleared(
    sandbox, make_hook, as_task, by_hand, monkeypatch, options
):
    monkeypatch.setattr(journals, "started_runs", lambda *_: [])
    by_hand(1, run=TEST, date=DATE, **options)
    receipt = make_hook().flex_invest(ticker="USDT", amount="100")
    monkeypatch.delenv("AIRFLOW_TEST_MODE")
    as_task(2, run=TEST, date=DATE, user="dag_test", started="2026-12-01")
    assert make_hook().flex_invest(ticker="USDT", amount="100") == receipt


def test_a_date_that_only_people_have_tested_moves_each_time(sandbox, make_hook, as_task, by_hand, monkeypatch):
    started = ["__airflow_temporary_run_1", "manual__2026-11-30T07:00:00+00:00", TEST]
    monkeypatch.setattr(journals, "started_runs", lambda *_: started)
    by_hand(1, run=TEST, date=DATE)
    make_hook().flex_invest(ticker="USDT", amount="100")
    assert len(moved(sandbox)) == 1


def test_a_date_whose_runs_are_not_known_moves_nothing(sandbox, make_hook, as_task, by_hand, monkeypatch):
    def broken(*_):
        raise RuntimeError("no database")

    monkeypatch.setattr(journals, "started_runs", broken)
    by_hand(1, run=TEST, date=DATE)
    with pytest.raises(WhiteBitJournalError, match="audit log could not be read"):
        make_hook().flex_invest(ticker="USDT", amount="100")
    assert moved(sandbox) == []
