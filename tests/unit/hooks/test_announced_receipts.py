"""Receipts of tasks from asset events: only executed ones of tasks, each with its task, earliest first."""

from __future__ import annotations

from types import SimpleNamespace

import pendulum
import pytest

from airflow_provider_whitebit.hooks import announced as reading
from airflow_provider_whitebit.hooks import journal_entries as hooks

NOON = pendulum.datetime(2026, 1, 2, 12)
RECEIPT = {
    "operation": "transfer",
    "transaction_id": None,
    "plan_id": None,
    "ticker": "USDT",
    "amount": "5",
    "status": "executed",
    "executed_at": "2026-01-02T12:00:00Z",
    "attempts": 1,
    "reconciled": False,
    "intent_id": "i",
    "source": "main",
    "target": "spot",
}


def event(minute, receipt, task="move", number=-1):
    return SimpleNamespace(
        timestamp=NOON.add(minutes=minute),
        extra=receipt,
        source_dag_id="desk",
        source_run_id="run",
        source_task_id=task,
        source_map_index=number,
    )


@pytest.fixture
def announced(monkeypatch):
    """Returns intents and tasks of the receipts in the events of two connections."""

    def of(**events):
        asked = []

        def ask(uri, since):
            # Airflow's clock may be behind that of the exchange.
            assert since <= NOON.subtract(minutes=10)
            asked.append(uri)
            return events.get(uri.split("/")[2], [])

        monkeypatch.setattr(reading, "asset_events", ask)
        hook = SimpleNamespace(whitebit_conn_id="now", previous=SimpleNamespace(whitebit_conn_id="before"))
        found = [(receipt.intent_id, task) for receipt, task in hooks.announced_receipts(hook, NOON)]
        assert asked == ["whitebit://now/moves", "whitebit://before/moves"]
        return found

    return of


def test_events_of_both_connections_in_order(announced):
    found = announced(
        now=[event(5, {**RECEIPT, "intent_id": "c"}, number=3), event(2, {**RECEIPT, "intent_id": "b"})],
        before=[event(1, {**RECEIPT, "intent_id": "a"}, number=None)],
    )
    assert found == [("a", "desk/run/move"), ("b", "desk/run/move"), ("c", "desk/run/move/3")]


@pytest.mark.parametrize(
    "extra", [{}, None, "x", [], {**RECEIPT, "amount": "much"}, {**RECEIPT, "executed_at": "noon"}]
)
def test_what_is_no_receipt_is_left_out(announced, extra):
    assert announced(now=[event(1, extra), event(2, RECEIPT)]) == [("i", "desk/run/move")]


def test_an_event_that_no_task_made_is_left_out(announced):
    assert announced(now=[event(1, RECEIPT, task=None)]) == []
