"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from tests.running_airflow import RunningAirflow


@pytest.fixture
def hook(airflow: RunningAirflow, monkeypatch: pytest.MonkeyPatch) -> WhiteBitHook:
    """A hook outside a task, with the same account as the running Airflow."""
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", airflow.env["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    airflow.sandbox.clear_faults()
    return WhiteBitHook()
