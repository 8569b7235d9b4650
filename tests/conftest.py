"""Fixtures that several folders share: one running Airflow for all of a session. What may be tested side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.running_airflow"]

#: Folders whose tests share the running Airflow.
OF_ONE_AIRFLOW = ("tests/browser/", "tests/e2e/")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Where processes test side by side: all that needs the running Airflow in one of them, other files whole."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "airflow" if nodeid.startswith(OF_ONE_AIRFLOW) else nodeid.partition("::")[0]

    return Scheduling(config, log)
