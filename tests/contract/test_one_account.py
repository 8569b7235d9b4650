"""The account is the API key, however the connection spells the host: markers, locks and counts are shared."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client import throttle
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.hooks import journals, settings
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.moves.drivers import ReconcileLater

SPELLINGS = ["http://localhost:{port}", "HTTP://LocalHost.:{port}/", " localhost:{port} "]


@pytest.fixture(params=SPELLINGS)
def spelling(request, sandbox):
    """Another spelling of the sandbox's host."""
    return request.param.format(port=sandbox.url.rpartition(":")[2])


@pytest.fixture
def hooks(make_hook, spelling, monkeypatch):
    """A hook with the address as the sandbox prints it, and one with another spelling of host and key."""
    shared = throttle.shared
    usual = make_hook()
    monkeypatch.setattr(throttle, "shared", shared)
    connection = {"conn_type": "whitebit", "login": " sandbox-key\n", "password": "sandbox-secret ", "host": spelling}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({**connection, "extra": {"reconcile_margin": 0}}))
    other = WhiteBitHook("other")
    clock = other.get_conn()._transport.clock
    other.get_conn()._transport.clock = ExchangeClock(usual.get_conn()._transport.clock._local_ms, clock._nonces)
    other.get_conn().server_time()
    return usual, other


@pytest.fixture
def task(as_task, monkeypatch):
    """Lets what follows run in the task of this name: ``task("a", 2)`` is its second try."""
    as_task(1)

    def begin(name, number=1):
        ids = {"dag_id": "d", "run_id": "r", "task_id": name, "map_index": -1}
        instance = SimpleNamespace(**ids, try_number=number, max_tries=3, task=SimpleNamespace(retries=3))
        monkeypatch.setattr(journals, "current_context", lambda: {"ti": instance})

    return begin


def test_nonces_markers_and_counts_are_shared(hooks, task, make_hook):
    usual, other = hooks
    task("a")
    assert usual._api_key.fingerprint == other._api_key.fingerprint
    usual._api_key.markers.write("transfer USDT", "intent:1")
    assert other._api_key.markers.read("transfer USDT") == "intent:1"
    clocks = [hook.get_conn()._transport.clock for hook in hooks]
    assert clocks[0]._nonces is clocks[1]._nonces
    assert len({clock.next_nonce() for clock in (*clocks, *clocks)}) == 4
    assert throttle.shared(usual.settings.exchange) is other.get_conn()._transport.throttle


def test_a_transfer_that_never_ran_gets_no_receipt_for_another_tasks_transfer(hooks, sandbox, task):
    usual, other = hooks
    transfer = {"ticker": "USDT", "amount": "100", "source": "main", "target": "spot"}
    task("a")
    sandbox.fault("lost_reply_before", path="*/transfer", count=1)
    with pytest.raises(ReconcileLater):
        usual.transfer(**transfer, deferrable=True)
    task("b")
    assert other.transfer(**transfer)[0].status == "executed"
    task("a", 2)
    with pytest.raises(e.WhiteBitInDoubtError):
        usual.transfer(**transfer)
    assert sum(entry["nonce"] is not None for entry in sandbox.ledger()["transactions"]) <= 1


def test_a_doubt_is_reconciled_by_a_connection_that_spells_its_host_differently(hooks, sandbox, task, monkeypatch):
    usual, other = hooks
    task("a")
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        usual.flex_invest(ticker="USDT", amount="1000", deferrable=True)
    task("a", 2)
    receipt = other.flex_invest(ticker="USDT", amount="1000")
    assert receipt.reconciled


def test_a_previous_key_at_another_spelling_of_the_host(hooks, sandbox, spelling, monkeypatch):
    sandbox.add_key("second-key", "second-secret")
    second = {"conn_type": "whitebit", "login": "second-key", "password": "second-secret", "host": spelling}
    monkeypatch.setenv("AIRFLOW_CONN_SECOND", json.dumps({**second, "extra": {"previous_conn_id": "whitebit_default"}}))
    assert WhiteBitHook("second").previous.whitebit_conn_id == "whitebit_default"
    monkeypatch.setenv("AIRFLOW_CONN_RELAYED", json.dumps({**second, "extra": {"previous_conn_id": "second"}}))
    assert WhiteBitHook("relayed").previous is None


def test_spaces_around_a_secret_do_not_keep_it_out_of_the_masker(hooks, monkeypatch):
    masked = []
    monkeypatch.setattr(settings, "mask_secret", masked.append)
    assert WhiteBitHook("other").settings.credentials.api_key == "sandbox-key"
    texts = {text for text in masked if isinstance(text, str)}
    assert texts == {"sandbox-key", " sandbox-key\n", "sandbox-secret", "sandbox-secret "}
