"""Calls go downwards only: from an operator's ``execute()`` to the bytes there are few frames of this package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "trace_invest.py"
if not SCRIPT.exists():
    pytest.skip("only in a clone", allow_module_level=True)
MOST_FRAMES = 12


@pytest.fixture
def trace_invest():
    spec = importlib.util.spec_from_file_location("trace_invest", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.trace_invest


@pytest.mark.parametrize("target", [{"ticker": "USDT"}, {"plan_id": "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"}])
def test_every_request_of_an_invest_passes_through_few_frames(trace_invest, sandbox, monkeypatch, target):
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", sandbox.connection_json)
    trace = trace_invest("100", **target)
    assert any(path.endswith("/investments/invest") for path, _ in trace.sent)
    assert len(trace.deepest()) <= MOST_FRAMES, "\n".join(trace.deepest())
