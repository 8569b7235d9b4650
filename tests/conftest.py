"""Shared plugins, and the distribution of tests over processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

# No test depends on how fast this machine is. The examples are the same in every run: `make fuzz` looks for new ones.
settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
# `make check` tries fewer examples.
settings.register_profile("quick", settings.get_profile("tests"), max_examples=15)
settings.register_profile("fuzz", settings.get_profile("tests"), max_examples=1000, derandomize=False)
settings.load_profile("tests")

pytest_plugins = ["tests.leftovers", "tests.running_airflow"]

#: Folders whose tests share one running Airflow, and files in them that can use another one. The two groups take about
#: the same time.
OF_ONE_AIRFLOW = ("tests/browser/", "tests/e2e/")
OF_ANOTHER = ("tests/e2e/test_kill.py", "tests/e2e/test_leftovers.py", "tests/e2e/test_secrets_backends.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Give all tests of the shared Airflow to one process, and keep the tests of every other file together."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "airflow" if file.startswith(OF_ONE_AIRFLOW) and file not in OF_ANOTHER else file

    return Scheduling(config, log)
