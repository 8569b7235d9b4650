"""pytest plugin for users' own DAG tests: the fixture ``whitebit_sandbox``.

::

    def test_my_dag(whitebit_sandbox, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", whitebit_sandbox.connection_json)
        ...
        assert whitebit_sandbox.ledger()["balanced"]

Needs the extra ``[sandbox]``. Every test gets an exchange of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest


class SandboxProcess:
    """A sandbox exchange in a process of its own, on a free loopback port.

    :param options: further options of ``whitebit-sandbox serve``.
    """

    api_key = "sandbox-key"
    api_secret = "sandbox-secret"

    def __init__(self, *options: str) -> None:
        self._options = options
        self._start(0)

    def _start(self, port: int) -> None:
        serve = ("-m", "airflow_provider_whitebit.sandbox.cli", "serve", "--port", str(port))
        command = [sys.executable, *serve, *self._options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        if " at http://" not in ready:
            _, complaint = self.process.communicate(timeout=10)
            raise RuntimeError(f"the sandbox did not start: {complaint.strip()}")
        self.url = ready.split(" at ", 1)[1].split()[0]

    @property
    def connection_json(self) -> str:
        """An Airflow connection to this sandbox, for ``AIRFLOW_CONN_...``."""
        return json.dumps(
            {"conn_type": "whitebit", "login": self.api_key, "password": self.api_secret, "host": self.url}
        )

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Use one of the sandbox's controls, for example ``control("POST", "faults", {"kind": "reset"})``."""
        import requests

        with requests.Session() as session:
            # It is on this machine, wherever the environment's proxies lead.
            session.trust_env = False
            answer = session.request(method, f"{self.url}/sandbox/{path}", json=body, timeout=30)
        if not answer.ok:
            raise ValueError(f"{method} /sandbox/{path}: {answer.status_code} {answer.text}")
        return answer.json()

    def fund(self, ticker: str, amount: str | int) -> None:
        """Deposit made-up money."""
        self.control("POST", "fund", {"ticker": ticker, "amount": amount})

    def advance(self, seconds: int) -> None:
        """Put the exchange's clock forward."""
        self.control("POST", "clock/advance", {"seconds": seconds})

    def fault(self, kind: str, **options: Any) -> None:
        """Switch a fault on, see ``airflow_provider_whitebit.sandbox.faults.KINDS``."""
        self.control("POST", "faults", {"kind": kind, **options})

    def add_key(self, api_key: str, api_secret: str) -> None:
        """Give the account one more API key, as one does before the old one is exchanged."""
        self.control("POST", "keys", {"api_key": api_key, "api_secret": api_secret})

    def revoke_key(self, api_key: str) -> None:
        """Have the exchange forget an API key."""
        self.control("DELETE", f"keys/{api_key}")

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self.control("DELETE", "faults")

    def ledger(self) -> dict[str, Any]:
        """The books: ``balanced``, ``accounts``, ``transactions``, ``investments``."""
        books: dict[str, Any] = self.control("GET", "ledger")
        return books

    def requests(self) -> list[dict[str, Any]]:
        """The requests that arrived, oldest first."""
        arrived: list[dict[str, Any]] = self.control("GET", "requests")
        return arrived

    def reset(self) -> None:
        """Begin again."""
        self.control("POST", "reset")

    def kill(self) -> None:
        """End the process as a crash does: nothing is answered or tidied up. With ``--db`` the books stay."""
        self.process.kill()
        self.process.communicate()

    def start_again(self) -> None:
        """Start anew at the same address, after :meth:`kill` or :meth:`stop`. Faults do not survive that."""
        self._start(int(self.url.rsplit(":", 1)[1]))

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def whitebit_sandbox() -> Iterator[SandboxProcess]:
    """A sandbox exchange of this test's own."""
    sandbox = SandboxProcess()
    try:
        yield sandbox
    finally:
        sandbox.stop()
