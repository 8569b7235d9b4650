"""Metrics: names and tags, when they are sent, and that they never fail a task."""

from __future__ import annotations

import sys
from decimal import Decimal
from types import SimpleNamespace

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks import airflow_compat, metrics
from airflow_provider_whitebit.moves.intent import Move, Operation

FLEX = "/api/v4/main-account/smart-flex/investments/invest"
ENDPOINT = "main-account.smart-flex.investments.invest"


class Stats:
    def __init__(self):
        self.sent = []

    def incr(self, name, tags):
        self.sent.append((name, tags))

    def timing(self, name, milliseconds, tags):
        self.sent.append((name, round(milliseconds), tags))


@pytest.fixture
def sent(monkeypatch):
    stats = Stats()
    monkeypatch.setattr(metrics, "stats", lambda: stats)
    return stats.sent


def test_requests(sent):
    meter = metrics.RequestMetrics()
    meter.answered(FLEX, 201, 0.25)
    meter.answered(FLEX, None, 10)
    meter.refused(FLEX, e.WhiteBitNotEnoughBalanceError("no"))
    meter.repeated(FLEX)
    meter.repeated(None)
    assert sent == [
        ("whitebit.requests", {"endpoint": ENDPOINT, "status": "201"}),
        ("whitebit.request.duration", 250, {"endpoint": ENDPOINT}),
        ("whitebit.requests", {"endpoint": ENDPOINT, "status": "none"}),
        ("whitebit.request.duration", 10_000, {"endpoint": ENDPOINT}),
        ("whitebit.refusals", {"endpoint": ENDPOINT, "error": "WhiteBitNotEnoughBalanceError"}),
        ("whitebit.retries", {"endpoint": ENDPOINT}),
        ("whitebit.retries", {"endpoint": ""}),
    ]


@pytest.mark.parametrize("reconciled", [True, False])
def test_moves(sent, reconciled):
    at = pendulum.datetime(2026, 1, 2)
    receipt = Move(Operation.FLEX_INVEST, "p", "USDT", Decimal(1)).receipt(
        transaction_id="tx",
        amount=Decimal(1),
        status="executed",
        executed_at=at,
        attempts=1,
        reconciled=reconciled,
        intent_id="i",
    )
    metrics.count_move(receipt, at.int_timestamp * 1000 + 16_500)
    tags = {"operation": "flex_invest"}
    reconciliation = [("whitebit.moves.reconciled", tags), ("whitebit.moves.reconcile_duration", 16_500, tags)]
    assert sent == [("whitebit.moves.executed", tags), *(reconciliation if reconciled else [])]


@pytest.mark.parametrize(
    ("error", "name"),
    [(e.WhiteBitInDoubtError("?"), "whitebit.moves.in_doubt"), (e.WhiteBitRefusedError("no"), "whitebit.moves.failed")],
)
def test_moves_that_failed(sent, error, name):
    metrics.count_failure("flex_close", error)
    assert sent == [(name, {"operation": "flex_close", "error": type(error).__name__})]


def test_requests_are_measured_if_metrics_are_on(monkeypatch):
    assert metrics.request_metrics() is None
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    assert airflow_compat.metrics_are_on()
    assert isinstance(metrics.request_metrics(), metrics.RequestMetrics)
    assert callable(airflow_compat.stats().incr)


def test_a_metric_that_cannot_be_sent_is_logged_once(monkeypatch, caplog):
    def broken():
        raise AttributeError("no incr")

    monkeypatch.setattr(metrics, "stats", broken)
    metrics._report.cache_clear()
    for _ in range(3):
        metrics.count_failure("flex_close", e.WhiteBitRefusedError("no"))
    metrics.RequestMetrics().answered(FLEX, 200, 1)
    assert [record.message for record in caplog.records] == ["Metrics are not sent (AttributeError)"]


def test_a_wrong_setting_of_metrics_is_not_an_error(monkeypatch):
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "perhaps")
    assert metrics.request_metrics() is None


def test_this_version_has_what_metrics_use():
    stats = airflow_compat.stats()
    stats.incr("whitebit.requests", tags={})
    stats.timing("whitebit.request", 1.0, tags={})


def test_each_version_has_metrics(monkeypatch):
    """The functions belong to the module (3.3), to a class in it (3.2), or to a class elsewhere (before)."""
    name = "airflow.sdk.observability"
    for names, found in (({"incr": 1}, "module"), ({"Stats": "class"}, "class")):
        module = SimpleNamespace(**names)
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(stats=module))
        assert airflow_compat.stats() is (module if found == "module" else "class")
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "airflow.stats", SimpleNamespace(Stats="older"))
    assert airflow_compat.stats() == "older"
