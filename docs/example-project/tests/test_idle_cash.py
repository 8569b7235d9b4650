"""What the DAGs move, on an exchange that starts with 10,000 USDT in Main."""

from __future__ import annotations

import json

import pytest
from idle_cash import idle_cash, payday


# [START first]
def run(dag, **options):
    """Run all tasks of a DAG in this process."""
    assert dag.test(**options).state == "success"


def test_what_is_above_the_reserve_is_invested(whitebit_sandbox):
    run(idle_cash)
    whitebit_sandbox.assert_moved("flex_invest", "USDT", "6000")


# [END first]


# [START nothing]
def test_nothing_moves_below_the_smallest_move(whitebit_sandbox):
    whitebit_sandbox.control("POST", "withdraw", {"ticker": "USDT", "amount": "5950"})
    run(idle_cash)
    whitebit_sandbox.assert_nothing_moved()


# [END nothing]


# [START days]
def test_earnings_are_invested(whitebit_sandbox):
    run(idle_cash)
    run(idle_cash)
    whitebit_sandbox.assert_moved("flex_invest", "USDT", None, times=1)
    whitebit_sandbox.advance(days=60)
    run(idle_cash)
    whitebit_sandbox.assert_moved("flex_invest", "USDT", None, times=2)


# [END days]


# [START several]
def test_a_payday_takes_from_main_first(whitebit_sandbox):
    run(idle_cash)
    run(payday, run_conf={"amount": "4500"})
    whitebit_sandbox.assert_moved("flex_withdraw", "USDT", "500")
    whitebit_sandbox.assert_moved("transfer", "USDT", "4500")


# [END several]


# [START faults]
@pytest.mark.parametrize("fault", ["lost_reply_after", "lost_reply_before"])
def test_money_moves_once_although_an_answer_is_lost(whitebit_sandbox, fault):
    whitebit_sandbox.fault(fault, path="*/invest", count=1)
    run(idle_cash)
    whitebit_sandbox.assert_moved("flex_invest", "USDT", "6000", times=1)


# [END faults]


# [START quirks]
@pytest.mark.parametrize("quirk", ["two_records", "numbers", "short_pages"])
def test_the_exchange_may_differ(whitebit_sandbox, quirk):
    whitebit_sandbox.quirks(**{quirk: True})
    run(idle_cash)
    whitebit_sandbox.assert_moved("flex_invest", "USDT", "6000")


# [END quirks]


# [START limits]
def test_a_connection_that_may_only_read_moves_nothing(whitebit_sandbox, monkeypatch):
    connection = json.loads(whitebit_sandbox.connection_json) | {"extra": {"read_only": True}}
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps(connection))
    assert idle_cash.test().state == "failed"
    whitebit_sandbox.assert_nothing_moved()


# [END limits]
