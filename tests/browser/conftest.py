"""A browser, and Airflow with something to show in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from airflow_provider_whitebit.testing import SandboxProcess
from tests.browser import page_fixture as scenes
from tests.missing import missing, need_module
from tests.running_airflow import BIN, PATIENCE, RunningAirflow, free_port, process_group

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The system's Chromium."""
    found = next((path for path in map(shutil.which, _NAMES) if path), None)
    if found is None:
        missing(
            "THE TREASURY PAGE IS NOT TESTED: there is no Chromium here. As root, scripts/browser.sh installs it; "
            "else install Debian's package chromium."
        )
    return found


@pytest.fixture(scope="module")
def chromium(chromium_path: str) -> Iterator[Any]:
    """Chromium under Playwright, only while its tests run, because Playwright occupies the main thread's event loop."""
    need_module("playwright.sync_api", "THE TREASURY PAGE IS NOT TESTED: there is no playwright")
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def scene(chromium_path: str, airflow: RunningAirflow) -> Iterator[scenes.Scene]:
    """Two months of a treasury. It needs the browser first, so that nothing starts without one."""
    sandbox = SandboxProcess("--no-rate-limits")
    try:
        yield scenes.play(airflow, sandbox)
    finally:
        sandbox.stop()


@pytest.fixture(scope="session")
def site(scene: scenes.Scene) -> Iterator[str]:
    """A second API server of the same Airflow, which requires a password."""
    home, port = scene.airflow.home, free_port()
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps(scenes.PASSWORDS))
    base = f"http://127.0.0.1:{port}"
    env = scene.airflow.env | {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "boss:admin,guest:viewer,trader:user",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": base,
    }
    command = [BIN / "airflow", "api-server", "--port", str(port)]
    with (home / "strict.log").open("w") as log, process_group(command, env, log) as process:
        scene.airflow.api.wait("a login", lambda: _answers(f"{base}/auth/login"), PATIENCE, process)
        yield base


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False
