"""Metrics, lineage and links of calls and moves over HTTP."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks import airflow_compat, metrics
from airflow_provider_whitebit.hooks import whitebit as hook_module
from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator
from airflow_provider_whitebit.operators.links import WhiteBitLendingLink

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"


class Stats:
    def __init__(self):
        self.counted = []

    def incr(self, name, tags):
        self.counted.append((name, *tags.values()))

    def timing(self, name, milliseconds, tags):
        assert milliseconds >= 0
        self.counted.append((name, *tags.values()))


@pytest.fixture
def counted(monkeypatch):
    stats = Stats()
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    monkeypatch.setattr(metrics, "stats", lambda: stats)
    return stats.counted


def test_a_move_and_its_requests_are_counted(counted, make_hook, sandbox):
    hook = make_hook()
    sandbox.fault("lost_reply_after", path="*/investments/invest", count=1)
    assert hook.flex_invest(plan_id=USDT, amount="10").reconciled
    assert ("whitebit.requests", "main-account.smart-flex.investments.invest", "none") in counted
    assert ("whitebit.requests", "main-account.smart-flex.investments.history", "200") in counted
    assert ("whitebit.moves.executed", "flex_invest") in counted
    assert ("whitebit.moves.reconciled", "flex_invest") in counted
    assert ("whitebit.moves.reconcile_duration", "flex_invest") in counted


def test_refusals_and_retries_are_counted(counted, make_hook, sandbox):
    hook = make_hook()
    sandbox.fault("unavailable", path="*/smart-flex/plans", count=1)
    list(hook.get_conn().flex_plans())
    assert ("whitebit.retries", "main-account.smart-flex.plans") in counted
    with pytest.raises(e.WhiteBitValidationError):
        list(hook.get_conn().flex_plans(ticker="NOPE"))
    assert any(entry[:2] == ("whitebit.refusals", "main-account.smart-flex.plans") for entry in counted)
    with pytest.raises(e.WhiteBitError):
        hook.flex_invest(plan_id=USDT, amount="99999999")
    assert [entry[0] for entry in counted if entry[0].startswith("whitebit.moves")] == ["whitebit.moves.failed"]


def test_moves_are_outputs_of_lineage(hook, monkeypatch):
    seen = []

    class Collector:
        def add_output_asset(self, context, scheme, asset_kwargs):
            seen.append((context, scheme, asset_kwargs))

    monkeypatch.setattr(airflow_compat, "lineage_collector", Collector)
    hook.flex_invest(plan_id=USDT, amount="10")
    hook.transfer(ticker="USDT", amount="10", source="main", target="spot")
    hook.flex_invest(plan_id=USDT, amount="10", dry_run=True, key="planned")
    assert seen == [
        (hook, "whitebit", {"conn_id": "whitebit_default", "path": "flex/USDT"}),
        (hook, "whitebit", {"conn_id": "whitebit_default", "path": "transfers/USDT"}),
    ]


def test_the_link_leads_to_the_sandboxs_ledger_and_to_the_exchanges_site(hook, make_hook, sandbox, monkeypatch):
    task = WhiteBitFlexInvestOperator(task_id="t", ticker="USDT", amount="1")
    link = WhiteBitLendingLink()
    assert link in task.operator_extra_links
    task.__dict__["hook"] = hook
    assert link.get_link(task, ti_key=None) == f"{sandbox.url}/sandbox/ledger"
    for region, site in (("global", "https://whitebit.com"), ("eu", "https://whitebit.eu")):
        monkeypatch.setenv(
            "AIRFLOW_CONN_DESK",
            f'{{"conn_type": "whitebit", "login": "k", "password": "s", "extra": {{"region": "{region}"}}}}',
        )
        task.__dict__["hook"] = hook_module.WhiteBitHook("desk")
        assert link.get_link(task, ti_key=None).startswith(site)
    task.__dict__["hook"] = hook_module.WhiteBitHook("no_such_connection")
    assert link.get_link(task, ti_key=None) == ""
