"""A browser, and Airflow with something to show in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_whitebit.testing import SandboxProcess
from tests.browser import scene as scenes
from tests.running_airflow import RunningAirflow

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The system's Chromium."""
    found = next((path for path in map(shutil.which, _NAMES) if path), None)
    if found is None:
        pytest.skip(
            "THE TREASURY PAGE IS NOT TESTED: there is no Chromium here. As root, scripts/browser.sh installs it; "
            "else install Debian's package chromium."
        )
    return found


@pytest.fixture(scope="module")
def chromium(chromium_path: str) -> Iterator[Any]:
    """It, driven by Playwright: no longer than its tests run, because Playwright holds on to the main thread's loop."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="THE TREASURY PAGE IS NOT TESTED: no playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def scene(chromium_path: str, airflow: RunningAirflow) -> Iterator[scenes.Scene]:
    """Two months of a treasury's life. Asks for the browser first: without one, nothing is started."""
    sandbox = SandboxProcess("--no-rate-limits")
    try:
        yield scenes.play(airflow, sandbox)
    finally:
        sandbox.stop()
