"""The sandbox in its own process, called over loopback by a caller with its own signing code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_whitebit.testing import SandboxProcess

MAIN = "/api/v4/main-account"
COMMAND = [sys.executable, "-m", "airflow_provider_whitebit.sandbox.cli", "serve"]


class Sandbox(SandboxProcess):
    """One running ``whitebit-sandbox`` and its only caller."""

    def __init__(self, *options: str) -> None:
        super().__init__(*options)
        self.ready = self._ready_line
        found = re.search(r"key=(\S+) secret=(\S+)", self.ready)
        assert found is not None
        self.key, self.secret = found.groups()
        self.port = int(self.url.rsplit(":", 1)[1])
        self.session = requests.Session()
        self._nonces = itertools.count(1)

    def stop(self) -> None:
        super().stop()
        self.session.close()

    def now_ms(self) -> int:
        return int(self.control("GET", "clock")["now_ms"])

    def signed(self, path: str, **params: Any) -> tuple[bytes, dict[str, str]]:
        """Return body and headers; the default ``nonce`` is the time of day and a number, so that it grows."""
        fields = {"request": path, "nonce": int(time.time() * 1000) * 1000 + next(self._nonces)} | params
        body = json.dumps(fields).encode()
        payload = base64.b64encode(body).decode()
        signature = hmac.new(self.secret.encode(), payload.encode(), hashlib.sha512).hexdigest()
        return body, {
            "Content-Type": "application/json",
            "X-TXC-APIKEY": self.key,
            "X-TXC-PAYLOAD": payload,
            "X-TXC-SIGNATURE": signature,
        }

    def call(self, call: str, *, timeout: float = 10, **params: Any) -> requests.Response:
        path = f"{MAIN}/{call}"
        body, headers = self.signed(path, **params)
        return self.session.post(self.url + path, data=body, headers=headers, timeout=timeout)

    def flex(self, call: str, **params: Any) -> requests.Response:
        return self.call(f"smart-flex/{call}", **params)

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.url + path, timeout=10)

    def post(self, path: str, /, **body: Any) -> requests.Response:
        """Use a control, and return what it answers."""
        return self.session.post(f"{self.url}/sandbox/{path}", json=body, timeout=10)

    def fault(self, kind: str, **options: Any) -> None:
        super().fault(kind, **({"count": 1, "path": "/api/*"} | options))

    def balance(self, ticker: str = "USDT") -> str:
        return str(self.call("balance", ticker=ticker).json()["main_balance"])


@pytest.fixture(scope="module")
def running():
    sandbox = Sandbox()
    yield sandbox
    sandbox.stop()
    assert sandbox.process.returncode == 0


@pytest.fixture
def sandbox(running):
    """A sandbox after a reset, whose ledger balances at the end."""
    running.reset()
    yield running
    running.clear_faults()
    assert running.ledger()["balanced"] is True


@pytest.fixture
def start():
    """Start sandboxes with further options."""
    started: list[Sandbox] = []

    def begin(*options: str | Path) -> Sandbox:
        started.append(Sandbox(*map(str, options)))
        return started[-1]

    yield begin
    for sandbox in started:
        sandbox.stop()


@pytest.fixture
def command():
    return COMMAND
