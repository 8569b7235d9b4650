"""Fixtures that several folders share: one running Airflow for all of a session. What may be tested side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.running_airflow"]

#: Folders whose tests share the running Airflow, and the files that have, or may have, one of their own: so two
#: processes are busy for about as long.
OF_ONE_AIRFLOW = ("tests/browser/", "tests/e2e/")
OF_ANOTHER = ("tests/e2e/test_kill.py", "tests/e2e/test_secrets_backends.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Where processes test side by side: what needs the running Airflow in one of them, other files whole."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "airflow" if file.startswith(OF_ONE_AIRFLOW) and file not in OF_ANOTHER else file

    return Scheduling(config, log)
