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

#: Folders whose tests share one running Airflow. The files share a second one, so that two processes have work.
OF_ONE_AIRFLOW = ("tests/browser/", "tests/e2e/")
OF_ANOTHER = tuple(f"tests/e2e/test_{name}.py" for name in ("kill", "events", "treasury"))
#: Files in these folders that start what they need.
OF_NONE = tuple(f"tests/e2e/test_{name}.py" for name in ("leftovers", "secrets_backends"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Give all tests of a shared Airflow to one process, and keep the tests of every other file together."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file in OF_NONE or not file.startswith(OF_ONE_AIRFLOW):
                return file
            return "another airflow" if file in OF_ANOTHER else "airflow"

    return Scheduling(config, log)
