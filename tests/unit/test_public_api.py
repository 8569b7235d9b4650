"""No public name, parameter or default changes unnoticed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "scripts" / "public_api.py"


def test_the_list_is_the_code():
    pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="the retry policy is for Airflow 3.3 and later")
    spec = importlib.util.spec_from_file_location("public_api", FILE)
    public_api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(public_api)
    listed, found = set(public_api.FILE.read_text().splitlines()), set(public_api.text().splitlines())
    assert listed - found == set(), "gone or changed: users have these in their DAGs (CHANGELOG)"
    assert found - listed == set(), "new: list them with python scripts/public_api.py"
