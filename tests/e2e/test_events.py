"""Events at the exchange start DAG runs, even if the triggerer is killed or stopped meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import sqlite3
import time
import uuid
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

RESTARTS = int(os.environ.get("WHITEBIT_RESTARTS", "2"))
EARNING, CLOSED, RICH = DAGS = ("whitebit_e2e_earning", "whitebit_e2e_closed", "whitebit_e2e_rich")


@pytest.fixture(scope="module")
def events(airflow):
    airflow.sandbox.clear_faults()
    file = airflow.home / "dags" / "whitebit_events.py"
    shutil.copy(Path(__file__).parent / "dags_on_demand" / file.name, file)
    for dag_id in DAGS:
        airflow.wait(dag_id, lambda dag_id=dag_id: airflow.api.call("GET", f"/api/v2/dags/{dag_id}"))
    yield airflow
    file.unlink()


def delivered(airflow, name):
    """Return the transactions of all occurrences of an asset, once per delivery."""
    (asset,) = airflow.api.call("GET", f"/api/v2/assets?name_pattern={name}")["assets"]
    found, total = [], 1
    while len(found) < total:
        page = airflow.api.call("GET", f"/api/v2/assets/events?asset_id={asset['id']}&limit=50&offset={len(found)}")
        found += page["asset_events"]
        total = page["total_entries"]
    return [transaction(one["id"]) for event in found for one in event["extra"]["payload"]["occurrences"]]


def transaction(occurrence):
    """Return the transaction in the id of an occurrence, which also names the record's other content."""
    return occurrence.partition("/")[0]


def consumed(airflow, dag_id):
    """Return the transactions of all occurrences that started a successful run of a DAG."""
    ended = [run["dag_run_id"] for run in runs_of(airflow, dag_id) if run["state"] == "success"]
    return [transaction(name) for run_id in ended for name in airflow.returned(dag_id, run_id, "received")]


def runs_of(airflow, dag_id):
    found, total = [], 1
    while len(found) < total:
        page = airflow.api.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?order_by=id&limit=100&offset={len(found)}")
        found += page["dag_runs"]
        total = page["total_entries"]
    return found


def in_ledger(airflow, action, ticker=None):
    return [
        entry["transaction_id"]
        for entry in airflow.sandbox.ledger()["transactions"]
        if entry["action"] == action and ticker in (None, entry["ticker"])
    ]


def watching(airflow):
    """Wait until the triggerer polls for all triggers."""
    begin = len(airflow.sandbox.requests())

    def polled():
        paths = [request["path"] for request in airflow.sandbox.requests()[begin:]]
        return {path.rsplit("/", 1)[1] for path in paths} >= {"payment-history", "history", "balance"}

    airflow.wait("the polls of all triggers", polled)


def invest(airflow, hook):
    """Invest in several plans, which then pay interest every day."""
    for plan in list(hook.get_conn().flex_plans())[:6]:
        airflow.sandbox.fund(plan.ticker, str(plan.min_investment))
        hook.flex_invest(plan_id=plan.id, amount=str(plan.min_investment))


def test_closures_and_balances_start_their_dags(events, hook):
    watching(events)
    (plan,) = [entry for entry in hook.get_conn().flex_plans(ticker="SOL")][:1]
    hook.flex_invest(plan_id=plan.id, amount=str(plan.min_investment))
    hook.flex_close(plan_id=plan.id)
    closed = in_ledger(events, 5, "SOL")[-1]
    events.wait("the run for a closure", lambda: closed in consumed(events, CLOSED))
    events.sandbox.fund("ETH", "1000")
    events.wait("the run for a balance", lambda: len(consumed(events, RICH)) == 1)
    time.sleep(10)
    events.sandbox.fund("ETH", "1")
    events.wait("the run for another amount", lambda: len(consumed(events, RICH)) == 2)
    time.sleep(3)
    assert delivered(events, CLOSED) == [closed]
    assert len(delivered(events, RICH)) == 2


def test_every_earning_is_delivered_once_while_the_triggerer_is_killed_repeatedly(events, hook):
    chance = random.Random(RESTARTS)
    watching(events)
    invest(events, hook)
    before = set(in_ledger(events, 4))
    for _ in range(RESTARTS):
        events.sandbox.advance(86_400)
        time.sleep(chance.uniform(0, 4))
        triggerer = events.part("triggerer")
        way = chance.choice(["kill", "kill", "terminate"])
        if way == "kill":
            triggerer.kill()
        else:
            os.kill(triggerer.pid, signal.SIGTERM)
            time.sleep(chance.uniform(0, 1))
            triggerer.kill()
        if chance.random() < 0.5:
            events.sandbox.advance(86_400)
        events.start_part(triggerer)
        if chance.random() < 0.8:
            watching(events)
    events.sandbox.advance(86_400)
    earned = Counter(entry for entry in in_ledger(events, 4) if entry not in before)
    assert len(earned) > 5 * RESTARTS
    events.wait("all events", lambda: set(delivered(events, EARNING)) >= set(earned))
    delivered_once(events, earned)


def delivered_once(airflow, earned):
    """Assert that each earning is in one event and has started one run."""
    checks = itertools.count(1)

    def all_runs():
        if set(consumed(airflow, EARNING)) >= set(earned):
            return True
        if next(checks) % 40 == 0:
            # The scheduler takes an event that comes while it is busy only with the next one.
            airflow.sandbox.advance(86_400)
        return False

    airflow.wait("all runs", all_runs)
    time.sleep(5)
    assert Counter(entry for entry in delivered(airflow, EARNING) if entry in earned) == earned
    assert Counter(entry for entry in consumed(airflow, EARNING) if entry in earned) == earned


def suspend(airflow, part):
    """Stop a process, but not while it holds the lock of the database."""
    for _ in range(100):
        part.signal(signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(airflow.home / "airflow.db", timeout=0.5)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                part.signal(signal.SIGCONT)
        time.sleep(0.3)
    raise AssertionError(f"{part} always holds the lock of the database")


def test_a_triggerer_that_was_suspended_and_replaced_delivers_nothing_twice(events, hook):
    watching(events)
    invest(events, hook)
    before = set(in_ledger(events, 4))
    suspended = events.part("triggerer")
    suspend(events, suspended)
    try:
        events.start_part(suspended)
        events.sandbox.advance(86_400)
        earned = Counter(entry for entry in in_ledger(events, 4) if entry not in before)
        assert earned
        events.wait("the events of its replacement", lambda: set(delivered(events, EARNING)) >= set(earned))
    finally:
        suspended.signal(signal.SIGCONT)
    # It polls once more before it notices that it was replaced, or it ends by itself.
    time.sleep(15)
    suspended.kill()
    delivered_once(events, earned)


def switch_on(airflow, dag_id):
    airflow.api.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})


def switch_off(airflow, dag_id):
    airflow.api.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})


def deliver(airflow, name, event, records):
    """Create an event of a watched asset like its trigger, which polls only once a minute.

    :returns: the ids of its occurrences.
    """
    (asset,) = airflow.api.call("GET", f"/api/v2/assets?name_pattern={name}")["assets"]
    occurrences = [{"id": f"test-{uuid.uuid4()}", "second": 0, "record": record} for record in records]
    payload = {"event": event, "whitebit_conn_id": "whitebit_default", "occurrences": occurrences}
    extra = {"from_trigger": True, "payload": payload}
    airflow.api.call("POST", "/api/v2/assets/events", {"asset_id": asset["id"], "extra": extra})
    return [occurrence["id"] for occurrence in occurrences]


def occurrences_of(airflow, dag_id, run_id):
    """Return all occurrences that started a run; those of the example's own trigger may be among them."""
    found = airflow.api.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/upstreamAssetEvents")["asset_events"]
    return [one for event in found for one in event["extra"]["payload"]["occurrences"]]


def run_of(airflow, dag_id, occurrences):
    """Wait for the run that these occurrences started, and return its id."""

    def ended():
        for run in runs_of(airflow, dag_id):
            started_by = {one["id"] for one in occurrences_of(airflow, dag_id, run["dag_run_id"])}
            if started_by >= set(occurrences) and run["state"] in ("success", "failed"):
                return run
        return None

    run = airflow.wait(f"a run of {dag_id}", ended)
    assert run["state"] == "success", airflow.problems(dag_id)
    return run["dag_run_id"]


def receipts_of(airflow, dag_id, run_id, task_id, upstream_id):
    """Return the receipts of a mapped task, which has one instance per entry of its upstream's result."""
    planned = airflow.returned(dag_id, run_id, upstream_id)
    return [airflow.returned(dag_id, run_id, task_id, number) for number in range(len(planned))]


def test_the_compounding_example(events, hook):
    (ether,) = hook.get_conn().flex_plans(ticker="ETH")
    record = {"plan_id": ether.id, "currency": "ETH", "amount": "0.007"}
    events.sandbox.fund("ETH", "1")
    switch_on(events, "whitebit_compounding")
    # Two earnings that together reach the minimum, and one that does not.
    small = {"plan_id": str(next(hook.get_conn().flex_plans(ticker="USDC")).id), "currency": "USDC", "amount": "0.1"}
    occurrences = deliver(events, "whitebit_flex_earned", "flex_earning_credited", [record, record, small])
    run_id = run_of(events, "whitebit_compounding", occurrences)
    switch_off(events, "whitebit_compounding")
    receipts = receipts_of(events, "whitebit_compounding", run_id, "reinvest", "to_reinvest")
    (receipt,) = [receipt for receipt in receipts if receipt["plan_id"] == ether.id]
    records = [one["record"] for one in occurrences_of(events, "whitebit_compounding", run_id)]
    due = sum(Decimal(one["amount"]) for one in records if one["plan_id"] == ether.id)
    assert due >= Decimal("0.014")
    assert (Decimal(receipt["amount"]), receipt["status"]) == (due, "executed")
    assert small["plan_id"] not in [receipt["plan_id"] for receipt in receipts] or len(records) > len(occurrences)


def test_the_ladder_example(events, hook):
    events.sandbox.fund("USDT", "1000")
    run_id = events.begin("whitebit_ladder_build", {"amount": "100", "days": [10]})
    build = events.finished("whitebit_ladder_build", run_id)
    assert build["state"] == "success", events.problems("whitebit_ladder_build")
    receipt = events.returned("whitebit_ladder_build", run_id, "invest", 0)
    events.sandbox.advance(10 * 86_400 + 1)
    (over,) = hook.get_conn().fixed_investments(investment=receipt["investment_id"])
    assert not over.active
    switch_on(events, "whitebit_ladder_renew")
    occurrences = deliver(events, "whitebit_fixed_matured", "fixed_investment_matured", [over.to_json()])
    run_id = run_of(events, "whitebit_ladder_renew", occurrences)
    switch_off(events, "whitebit_ladder_renew")
    again = receipts_of(events, "whitebit_ladder_renew", run_id, "renew", "to_renew")
    renewed = [one["record"] for one in occurrences_of(events, "whitebit_ladder_renew", run_id)]
    assert sorted((one["plan_id"], one["amount"]) for one in again) == sorted(
        (one["plan"]["id"], one["amount"]) for one in renewed
    )
    assert (over.plan.id, "100") in [(one["plan_id"], one["amount"]) for one in again]
    assert not {one["investment_id"] for one in again} & {one["id"] for one in renewed}


def test_the_nightly_check_reports_moves_without_a_receipt(events, hook):
    dag_id = "whitebit_nightly_check"
    switch_on(events, dag_id)
    begin = hook.get_conn().server_time()
    # Two moves by the hook in tasks.
    made = events.run("whitebit_flex_taskflow")
    assert made["state"] == "success"
    period = {"since": begin.isoformat(), "until": hook.get_conn().server_time().isoformat()}
    events.sandbox.maintenance()
    run_id = events.begin(dag_id, period)
    waits = "exchange_is_operational"
    events.wait("the end of maintenance", lambda: events.task(dag_id, run_id, waits)["state"] == "deferred")
    events.sandbox.maintenance(on=False)
    assert events.finished(dag_id, run_id)["state"] == "success", events.problems(dag_id)
    # Outside a task, the hook creates no asset event.
    receipt = hook.flex_invest(ticker="USDT", amount="10")
    period["until"] = hook.get_conn().server_time().isoformat()
    run_id = events.begin(dag_id, period)
    assert events.finished(dag_id, run_id)["state"] == "failed"

    def reported():
        bodies = [mail.get_body(("html",)) for mail in list(events.mail) if "compare" in mail["subject"]]
        return any(receipt.transaction_id in body.get_content() for body in bodies)

    events.wait("the mail", reported)
    switch_off(events, dag_id)
