"""Fixtures that several folders share: one running Airflow for all of a session."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.running_airflow"]

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks in the same hook.
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes test side by side: all that needs a running Airflow in one of them, other files whole."""
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            folder = item.path.relative_to(HERE).parts[0]
            group = "airflow" if folder in ("browser", "e2e") else item.path.stem
            item.add_marker(pytest.mark.xdist_group(group))
