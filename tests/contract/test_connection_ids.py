"""Connections with any id: secrets backends allow every character."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks import executor
from airflow_provider_whitebit.hooks.assets import address
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator

IDS = ["team/treasury#1", "a b%2F", "ключ", "x" * 200, "ключ" * 50, "😀" * 200, "?q&@:[", "..", "% ", "a|b", "=a"]


@pytest.fixture
def conn_of(make_hook, monkeypatch):
    """Stores the connection of the sandbox under another id."""

    def store(conn_id):
        usual = make_hook()
        connection = usual.get_connection("whitebit_default")
        connection.conn_id = conn_id
        monkeypatch.setattr(WhiteBitHook, "get_connection", classmethod(lambda cls, name: {conn_id: connection}[name]))
        hook = WhiteBitHook(conn_id)
        hook.get_conn()._transport.clock = usual.get_conn()._transport.clock
        return hook

    return store


@pytest.fixture
def outlets(monkeypatch):
    """The context of a task, with Airflow's own outlet events."""
    events, pushed = OutletEventAccessors(), {}
    task = SimpleNamespace(outlets=[])
    context = {"ti": SimpleNamespace(task=task, xcom_push=pushed.__setitem__), "outlet_events": events}
    monkeypatch.setattr(executor, "current_context", lambda: context)
    return context


def addresses(context):
    [alias] = context["ti"].task.outlets
    return [event.dest_asset_key.uri for event in context["outlet_events"][alias].asset_alias_events]


@pytest.mark.parametrize("conn_id", IDS)
def test_a_move_with_any_id(conn_of, outlets, as_task, sandbox, conn_id):
    hook = conn_of(conn_id)
    as_task(1)
    operator = WhiteBitFlexInvestOperator(task_id="t", whitebit_conn_id=conn_id, ticker="USDT", amount="1000")
    operator.__dict__["hook"] = hook
    receipt = operator.execute(outlets)
    assert receipt["status"] == "executed"
    assert addresses(outlets) == [address(conn_id), address(conn_id, "flex/USDT")]
    # A retry finds the same move.
    as_task(2)
    assert operator.execute(outlets) == receipt
    assert sum(entry["nonce"] is not None for entry in sandbox.ledger()["transactions"]) == 1


@pytest.mark.parametrize("conn_id", ["", "a\0b", "\udcff", "x" * 1001])
def test_an_id_that_nothing_can_keep_is_refused_before_anything_is_sent(make_hook, sandbox, monkeypatch, conn_id):
    connection = make_hook().get_connection("whitebit_default")
    connection.conn_id = conn_id
    monkeypatch.setattr(WhiteBitHook, "get_connection", classmethod(lambda cls, name: connection))
    before = len(sandbox.requests())
    with pytest.raises(e.WhiteBitConfigurationError, match=r"the connection's id|name of a connection") as caught:
        WhiteBitHook(conn_id).flex_invest(ticker="USDT", amount="1000")
    assert caught.value.money_moved is False
    assert len(sandbox.requests()) == before


@pytest.mark.parametrize("conn_id", ["team/treasury#1", "a b%2F", "ключ"])
def test_an_id_that_airflow_reads_from_the_environment(make_hook, monkeypatch, conn_id):
    make_hook()
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    assert WhiteBitHook(conn_id).test_connection()[0]
