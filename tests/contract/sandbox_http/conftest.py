"""The sandbox as a process of its own, called over loopback by somebody who signs by hand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

MAIN = "/api/v4/main-account"
COMMAND = [sys.executable, "-m", "airflow_provider_whitebit.sandbox.cli", "serve"]


class Sandbox:
    """One running ``whitebit-sandbox`` and its only caller."""

    def __init__(self, *options: str, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "--port", str(port), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()
        found = re.search(r"(http://\S+) key=(\S+) secret=(\S+)", self.ready)
        if found is None:
            _, error = self.process.communicate(timeout=10)
            raise AssertionError(f"not ready: {self.ready!r}, {error}")
        self.url, self.key, self.secret = found.groups()
        self.port = int(self.url.rsplit(":", 1)[1])
        self.session = requests.Session()
        self._nonces = itertools.count(1)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=10)
        self.session.close()
        return int(self.process.returncode)

    def now_ms(self) -> int:
        return int(self.session.get(f"{self.url}/sandbox/clock", timeout=10).json()["now_ms"])

    def signed(self, path: str, **params: Any) -> tuple[bytes, dict[str, str]]:
        """Body and headers; without ``nonce`` it is the time of day and a number, so that it grows."""
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

    def call(self, call: str, **params: Any) -> requests.Response:
        path = f"{MAIN}/{call}"
        body, headers = self.signed(path, **params)
        return self.session.post(self.url + path, data=body, headers=headers, timeout=10)

    def flex(self, call: str, **params: Any) -> requests.Response:
        return self.call(f"smart-flex/{call}", **params)

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.url + path, timeout=10)

    def control(self, path: str, /, **body: Any) -> requests.Response:
        return self.session.post(f"{self.url}/sandbox/{path}", json=body, timeout=10)

    def fault(self, kind: str, **options: Any) -> None:
        answer = self.control("faults", kind=kind, **({"count": 1, "path": "/api/*"} | options))
        assert answer.status_code == 200, answer.text

    def balance(self, ticker: str = "USDT") -> str:
        return str(self.call("balance", ticker=ticker).json()["main_balance"])

    def ledger(self) -> dict[str, Any]:
        return dict(self.get("/sandbox/ledger").json())


@pytest.fixture(scope="module")
def running():
    sandbox = Sandbox()
    yield sandbox
    assert sandbox.stop() == 0


@pytest.fixture
def sandbox(running):
    """A sandbox that begins anew, and whose books balance at the end."""
    assert running.control("reset").status_code == 200
    yield running
    running.session.delete(f"{running.url}/sandbox/faults", timeout=10)
    assert running.ledger()["balanced"] is True


@pytest.fixture
def start():
    """Start sandboxes with options of one's own."""
    started: list[Sandbox] = []

    def begin(*options: str | Path, port: int = 0) -> Sandbox:
        started.append(Sandbox(*map(str, options), port=port))
        return started[-1]

    yield begin
    for sandbox in started:
        sandbox.stop()


@pytest.fixture
def command():
    return COMMAND
