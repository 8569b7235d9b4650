"""Metrics: their names and tags, and that nothing is measured where nobody listens."""

from __future__ import annotations

from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks import airflow_compat, metrics
from airflow_provider_whitebit.moves.intent import Move, Operation, Receipt

FLEX = "/api/v4/main-account/smart-flex/investments/invest"
ENDPOINT = "main-account.smart-flex.investments.invest"


class Stats:
    def __init__(self):
        self.told = []

    def incr(self, name, tags):
        self.told.append((name, tags))

    def timing(self, name, milliseconds, tags):
        self.told.append((name, round(milliseconds), tags))


@pytest.fixture
def told(monkeypatch):
    stats = Stats()
    monkeypatch.setattr(metrics, "stats", lambda: stats)
    return stats.told


def test_requests(told):
    meter = metrics.RequestMetrics()
    meter.answered(FLEX, 201, 0.25)
    meter.answered(FLEX, None, 10)
    meter.refused(FLEX, e.WhiteBitNotEnoughBalanceError("no"))
    meter.repeated(FLEX)
    meter.repeated(None)
    assert told == [
        ("whitebit.requests", {"endpoint": ENDPOINT, "status": "201"}),
        ("whitebit.request.duration", 250, {"endpoint": ENDPOINT}),
        ("whitebit.requests", {"endpoint": ENDPOINT, "status": "none"}),
        ("whitebit.request.duration", 10_000, {"endpoint": ENDPOINT}),
        ("whitebit.refusals", {"endpoint": ENDPOINT, "error": "WhiteBitNotEnoughBalanceError"}),
        ("whitebit.retries", {"endpoint": ENDPOINT}),
        ("whitebit.retries", {"endpoint": ""}),
    ]


@pytest.mark.parametrize("reconciled", [True, False])
def test_moves(told, reconciled):
    at = pendulum.datetime(2026, 1, 2)
    receipt = Receipt.of(
        Move(Operation.FLEX_INVEST, "p", "USDT", Decimal(1)),
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
    settled = [("whitebit.moves.reconciled", tags), ("whitebit.moves.settle_duration", 16_500, tags)]
    assert told == [("whitebit.moves.executed", tags), *(settled if reconciled else [])]


@pytest.mark.parametrize(
    ("error", "name"),
    [(e.WhiteBitInDoubt("?"), "whitebit.moves.in_doubt"), (e.WhiteBitRefusedError("no"), "whitebit.moves.failed")],
)
def test_moves_that_were_not_made(told, error, name):
    metrics.count_failure("flex_close", error)
    assert told == [(name, {"operation": "flex_close", "error": type(error).__name__})]


def test_requests_are_measured_where_metrics_are_on(monkeypatch):
    assert metrics.request_metrics() is None
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    assert airflow_compat.metrics_are_on()
    assert isinstance(metrics.request_metrics(), metrics.RequestMetrics)
    assert callable(airflow_compat.stats().incr)
