"""The operators and examples under a real Airflow: scheduler, API server and task processes."""

from __future__ import annotations

import base64
import json
import subprocess
import time

import pytest
from local_airflow import BIN

from airflow_provider_whitebit.hooks.connection_form import FIELDS
from tests.running_airflow import AIRFLOW_VERSION


def test_the_lifecycle_example(airflow):
    before = len(airflow.moves())
    run = airflow.run("whitebit_flex_lifecycle")
    assert run["state"] == "success", airflow.problems("whitebit_flex_lifecycle")

    def returned(task):
        return airflow.returned("whitebit_flex_lifecycle", run["dag_run_id"], task)

    invest, withdraw = returned("invest"), returned("withdraw")
    done = airflow.moves()[before:]
    assert [entry["transaction_id"] for entry in done] == [invest["transaction_id"], withdraw["transaction_id"]]
    assert set(invest) == {
        "operation",
        "transaction_id",
        "plan_id",
        "ticker",
        "amount",
        "status",
        "executed_at",
        "attempts",
        "reconciled",
        "intent_id",
    }
    assert (invest["amount"], invest["ticker"], invest["status"], invest["reconciled"]) == (
        "100",
        "USDT",
        "executed",
        False,
    )
    assert invest["executed_at"].endswith("Z")
    assert [entry["invested"] for entry in returned("status")] == ["100"]
    assert returned("balance_before") == returned("balance_after")
    assert airflow.sandbox.ledger()["balanced"]


def test_the_taskflow_example(airflow):
    before = len(airflow.moves())
    run = airflow.run("whitebit_flex_taskflow")
    assert run["state"] == "success", airflow.problems("whitebit_flex_taskflow")
    assert len(airflow.moves()) == before + 2


def test_every_flex_operator(airflow):
    run = airflow.run("whitebit_e2e_all")
    assert run["state"] == "success", airflow.problems("whitebit_e2e_all")

    def returned(task):
        return airflow.returned("whitebit_e2e_all", run["dag_run_id"], task)

    assert [plan["ticker"] for plan in returned("plans")] == ["BTC"]
    assert returned("planned")["status"] == "planned"
    assert returned("planned")["transaction_id"] is None
    assert returned("reinvest") == {
        "operation": "flex_auto_reinvest",
        "plan_id": returned("invest")["plan_id"],
        "ticker": "BTC",
        "enabled": False,
        "status": "executed",
    }
    assert [entry["invested"] for entry in returned("investments")] == ["0.55"]
    assert [entry["with_auto_reinvest"] for entry in returned("investments")] == [False]
    assert returned("close")["amount"] == "0.55"
    receipts = [returned(task)["transaction_id"] for task in ("close", "partly", "again", "invest")]
    assert [entry["transaction_id"] for entry in returned("history")] == receipts
    assert returned("payments") == [] or returned("payments")[0]["action_type"] == 4
    assert returned("balance")["BTC"].startswith("1")


def test_fixed_plans_transfers_and_export(airflow):
    # The answer to the last transfer is lost. The triggerer reconciles it by balances and a Variable.
    airflow.sandbox.fault("lost_reply_after", path="*/investment", count=1)
    airflow.api.call("POST", "/api/v2/variables", {"key": "whitebit_e2e_folder", "value": str(airflow.home)})
    # The sandbox applies the first fault that matches, up to its count.
    airflow.sandbox.fault("delay_reply", path="*/transfer", count=3, seconds="0.01")
    airflow.sandbox.fault("lost_reply_after", path="*/transfer", count=1)
    before = len(airflow.sandbox.ledger()["moves"])
    run = airflow.run("whitebit_e2e_fixed")
    run_id = run["dag_run_id"]
    assert run["state"] == "success", airflow.problems("whitebit_e2e_fixed")

    def returned(task):
        return airflow.returned("whitebit_e2e_fixed", run_id, task)

    lent, ended = returned("lend"), returned("end")
    assert (lent["reconciled"], lent["transaction_id"], lent["amount"]) == (True, None, "0.125")
    assert [entry["id"] for entry in returned("running")] == [lent["investment_id"]]
    assert ended["investment_id"] == lent["investment_id"]
    assert [(step["source"], step["target"]) for step in returned("through")] == [
        ("spot", "main"),
        ("main", "collateral"),
    ]
    assert returned("held") == {"ETH": "1.5"}
    assert (returned("home")["reconciled"], returned("home")["amount"]) == (True, "1.5")
    done = airflow.sandbox.ledger()["moves"][before:]
    assert [move["path"].rsplit("/main-account/")[1] for move in done] == [
        "smart/investment",
        "smart/investment/close",
        *["transfer"] * 4,
    ]
    exported = returned("export")
    assert exported["count"] == len(airflow.sandbox.ledger()["transactions"])
    assert (airflow.home / "flex.parquet").stat().st_size > 0


@pytest.mark.parametrize(
    "dag_id",
    [
        "whitebit_fixed_term",
        "whitebit_bring_home",
        "whitebit_sub_account",
        "whitebit_valuation",
        "whitebit_unwind",
        "whitebit_reports",
    ],
)
def test_the_other_examples(airflow, dag_id):
    airflow.sandbox.clear_faults()
    run = airflow.run(dag_id)
    assert run["state"] == "success", airflow.problems(dag_id)


def test_the_example_of_books_writes_the_month_before(airflow):
    run = airflow.run("whitebit_books", {"folder": f"file://{airflow.home}/books"})
    assert run["state"] == "success", airflow.problems("whitebit_books")
    books = airflow.returned("whitebit_books", run["dag_run_id"], "books")
    assert (books["adds_up"], books["written"]) == (True, True)
    assert sorted(books["paths"]) == ["beancount", "hledger", "manifest"]


def test_the_digest_example_mails_a_digest(airflow):
    airflow.mail.clear()
    run = airflow.run("whitebit_digest_of_the_day")
    assert run["state"] == "success", airflow.problems("whitebit_digest_of_the_day")
    digest = airflow.returned("whitebit_digest_of_the_day", run["dag_run_id"], "digest")
    # Airflow also starts a scheduled run if the DAG is unpaused soon after a time of its schedule.
    mails = [(one["subject"], one.get_body(("html",)).get_content().split()) for one in airflow.mail]
    assert (digest["subject"], digest["html"].split()) in mails


def test_a_cleared_task_returns_its_old_receipt(airflow):
    run = airflow.run("whitebit_flex_lifecycle")
    run_id = run["dag_run_id"]
    receipt = airflow.returned("whitebit_flex_lifecycle", run_id, "invest")
    before = airflow.moves()
    airflow.clear("whitebit_flex_lifecycle", run_id, "invest")
    assert airflow.finished("whitebit_flex_lifecycle", run_id)["state"] == "success"
    assert airflow.task("whitebit_flex_lifecycle", run_id, "invest")["try_number"] == 2
    assert airflow.returned("whitebit_flex_lifecycle", run_id, "invest") == receipt
    assert airflow.moves() == before
    assert "its receipt is returned" in airflow.logs("whitebit_flex_lifecycle")


def test_the_date_of_a_scheduled_run_is_not_tested(airflow):
    """``airflow dags test`` deletes the run with its journals, and would make its move again."""
    dag_id = "whitebit_e2e_date"
    airflow.api.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})
    runs = f"/api/v2/dags/{dag_id}/dagRuns"
    [scheduled] = airflow.wait("a scheduled run", lambda: airflow.api.call("GET", runs)["dag_runs"])
    assert airflow.finished(dag_id, scheduled["dag_run_id"])["state"] == "success", airflow.problems(dag_id)
    before = airflow.sandbox.moves()
    command = [BIN / "airflow", "dags", "test", dag_id, scheduled["logical_date"]]
    tested = subprocess.run(command, env=airflow.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # The scheduler may start the task before the test does. Then its log says why it moved nothing.
    said = tested.stdout + airflow.logs(dag_id)
    assert "of the same date had started this task" in said or "Pause the DAG" in said
    assert airflow.sandbox.moves() == before


def test_a_permanent_error_is_not_retried(airflow):
    run = airflow.run("whitebit_e2e_refused")
    assert run["state"] == "failed"
    assert airflow.task("whitebit_e2e_refused", run["dag_run_id"], "too_much")["try_number"] == 1
    text = airflow.logs("whitebit_e2e_refused")
    assert "WhiteBitNotEnoughBalanceError" in text
    assert "No money moved." in text


def test_a_program_that_a_task_starts_moves_nothing(airflow):
    before = len(airflow.sandbox.ledger()["transactions"])
    assert airflow.run("whitebit_e2e_program")["state"] == "failed"
    assert "no access to the task's journal" in airflow.logs("whitebit_e2e_program")
    assert len(airflow.sandbox.ledger()["transactions"]) == before


def test_a_lost_answer_is_reconciled(airflow):
    receipt, made = airflow.run_with_a_lost_answer("whitebit_flex_lifecycle")
    assert (made[0], len(made)) == (receipt["transaction_id"], 2)


def test_the_triggerer_waits_for_the_end_of_a_doubt(airflow):
    receipt, made = airflow.run_with_a_lost_answer("whitebit_e2e_deferred")
    assert made == [receipt["transaction_id"]]
    log = airflow.logs("whitebit_e2e_deferred")
    assert "the triggerer reconciles it" in log
    assert "did run: the exchange's records show it" in log
    # The triggerer writes a separate log.
    assert list((airflow.home / "logs" / "dag_id=whitebit_e2e_deferred").rglob("*.trigger.*"))


def test_deferred_sensors_share_their_polls(airflow):
    dag_id = "whitebit_e2e_wait"
    airflow.sandbox.clear_faults()
    run_id = airflow.begin(dag_id)

    def states():
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = airflow.api.call("GET", path)["task_instances"]
        return {(entry["task_id"], entry["map_index"]): entry["state"] for entry in found}

    waiting = [("rich", number) for number in range(3)]

    def deferred():
        now = states()
        # The sensor that waits in vain may have timed out by now, but it is not between two states.
        return all(now.get(one) == "deferred" for one in waiting) and now.get(("never", -1)) in ("deferred", "skipped")

    airflow.wait("the deferral", deferred)
    triggerer = airflow.part("triggerer")
    triggerer.kill()
    airflow.start_part(triggerer)
    try:
        airflow.wait("the timeout", lambda: states()[("never", -1)] == "skipped")
    except TimeoutError as error:
        log = (airflow.home / "restarted.log").read_text()[-6000:]
        raise AssertionError(f"{error}: {states()}\n{airflow.problems(dag_id)}\n{log}") from None
    assert all(states()[one] == "deferred" for one in waiting)

    def polls(since):
        return [entry["path"] for entry in airflow.sandbox.requests()[since:] if entry["path"].endswith("/balance")]

    begin = len(airflow.sandbox.requests())
    airflow.wait("the new triggerer's polls", lambda: polls(begin))
    begin = len(airflow.sandbox.requests())
    time.sleep(9)
    # Three sensors share one poll every two seconds.
    assert 2 <= len(polls(begin)) <= 7
    # An operator marks one of them as success; the others still wait.
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/rich/2"
    airflow.api.call("PATCH", path, {"new_state": "success", "note": "not needed"})
    airflow.sandbox.fund("USDC", "1500")
    assert airflow.finished(dag_id, run_id)["state"] == "success", airflow.problems(dag_id)
    assert states() == {**dict.fromkeys(waiting, "success"), ("never", -1): "skipped", ("none", -1): "skipped"}
    begin = len(airflow.sandbox.requests())
    time.sleep(5)
    assert polls(begin) == []


def test_receipts_trigger_bookkeeping_are_mailed_and_link_to_the_exchange(airflow):
    dag_id, books = "whitebit_e2e_announced", "whitebit_e2e_books"
    airflow.sandbox.clear_faults()
    airflow.mail.clear()
    run = airflow.run(dag_id)
    assert run["state"] == "failed"
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances"
    receipts = []
    for number in range(2):
        entry = airflow.api.call("GET", f"{path}/invest/xcomEntries/return_value?map_index={number}&deserialize=false")
        receipts.append(entry["value"] if isinstance(entry["value"], dict) else json.loads(entry["value"]))
    assert [receipt["amount"] for receipt in receipts] == ["0.11", "0.12"]

    def booked():
        runs = airflow.api.call("GET", f"/api/v2/dags/{books}/dagRuns?limit=100")["dag_runs"]
        ended = [entry["dag_run_id"] for entry in runs if entry["state"] == "success"]
        return [receipt for run_id in ended for receipt in airflow.returned(books, run_id, "book")]

    # Only the two executed moves, not the planned or the refused one.
    airflow.wait("the bookkeeping", lambda: len(booked()) >= 2)
    assert sorted(booked(), key=lambda receipt: receipt["amount"]) == receipts
    # Before 3.3, assets that came through an alias are inactive until a DAG names them.
    listed = airflow.api.call("GET", "/api/v2/assets?limit=100&only_active=false")["assets"]
    uris = {asset["uri"] for asset in listed}
    assert {"whitebit://whitebit_default/moves", "whitebit://whitebit_default/flex/ETH"} <= uris

    airflow.wait("the mails", lambda: len(airflow.mail) >= 3)
    assert [mail["subject"] for mail in airflow.mail] == [
        f"WhiteBIT: flex_invest 0.11 ETH executed - {dag_id}.invest",
        f"WhiteBIT: flex_invest 0.12 ETH executed - {dag_id}.invest",
        f"WhiteBIT: failed - {dag_id}.refused",
    ]
    bodies = [mail.get_body(("html",)).get_content() for mail in airflow.mail]
    assert all(receipt["intent_id"] in body for receipt, body in zip(receipts, bodies, strict=False))
    assert "No money moved" in bodies[2]
    assert not any(secret in body for body in bodies for secret in ("sandbox-key", "sandbox-secret"))

    metrics = {"requests", "request.duration", "moves.executed", "moves.failed"}
    assert {f"airflow.whitebit.{name}" for name in metrics} <= airflow.metrics

    links = airflow.api.call("GET", f"{path}/planned/links")["extra_links"]
    assert links == {"WhiteBIT lending": f"{airflow.sandbox.url}/sandbox/ledger"}


def test_the_connection_form(airflow):
    hooks = airflow.api.call("GET", "/ui/connections/hook_meta")
    form = next(entry for entry in hooks if entry["connection_type"] == "whitebit")
    assert form["hook_name"] == "WhiteBIT"
    if AIRFLOW_VERSION < (3, 1) and form["standard_fields"] is None:
        # Without the form libraries of the FAB provider, the API server of 3.0 shows no hook's fields.
        return
    assert set(form["extra_fields"]) == {entry.name for entry in FIELDS}
    assert form["extra_fields"]["region"]["schema"]["enum"] == ["global", "eu"]
    standard = form["standard_fields"]
    assert standard["login"]["title"] == "API key"
    assert standard["password"]["title"] == "API secret"
    assert "https://whitebit.eu" in standard["host"]["placeholder"]
    assert standard["port"]["hidden"]
    assert standard["url_schema"]["hidden"]


def test_no_secret_in_any_log(airflow):
    assert airflow.run("whitebit_flex_lifecycle")["state"] == "success"
    payload_start = base64.b64encode(b'{"request":"/api/v4/').decode()[:20]
    for dag_id in ("whitebit_flex_lifecycle", "whitebit_flex_taskflow", "whitebit_e2e_all"):
        text = airflow.logs(dag_id)
        assert '"level":"debug"' in text or dag_id != "whitebit_flex_lifecycle"
        for secret in (
            "sandbox-secret",
            "sandbox-key",
            "X-TXC-SIGNATURE",
            "X-TXC-PAYLOAD",
            "X-TXC-APIKEY",
            payload_start,
        ):
            assert secret not in text, f"{secret} is in a log of {dag_id}"


def test_no_secret_in_rendered_templates(airflow):
    run = airflow.run("whitebit_flex_lifecycle")
    for task_id in ("invest", "withdraw", "status"):
        fields = airflow.task("whitebit_flex_lifecycle", run["dag_run_id"], task_id)["rendered_fields"]
        assert fields["whitebit_conn_id"] == "whitebit_default"
        assert "sandbox-secret" not in str(fields)
