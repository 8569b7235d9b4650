"""pytest plugin for your own DAG tests: the fixture ``whitebit_sandbox``.

::

    def test_my_dag(whitebit_sandbox, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", whitebit_sandbox.connection_json)
        ...
        whitebit_sandbox.assert_moved("flex_invest", "USDT", "100")

Needs the extra ``[sandbox]``. Every test gets its own exchange. How to test DAGs with it: ``docs/testing.md``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

#: What a move is called in receipts and in :meth:`SandboxProcess.assert_moved`.
OPERATIONS = (
    *("flex_invest", "flex_withdraw", "flex_close", "fixed_invest", "fixed_close"),
    *("transfer", "sub_account_transfer"),
)


class SandboxProcess:
    """A sandbox exchange in its own process, on a free loopback port. It ends when this process ends.

    :param options: further options of ``whitebit-sandbox serve``.
    :raises RuntimeError: if it does not start.
    """

    api_key = "sandbox-key"
    api_secret = "sandbox-secret"

    def __init__(self, *options: str) -> None:
        self._options = options
        self._start(0)

    def _start(self, port: int) -> None:
        serve = ("-m", "airflow_provider_whitebit.sandbox.cli", "serve")
        command = [sys.executable, *serve, "--port", str(port), "--parent-pid", str(os.getpid()), *self._options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self._ready_line = self.process.stdout.readline()
        if " at http://" not in self._ready_line:
            _, complaint = self.process.communicate(timeout=10)
            raise RuntimeError(f"the sandbox did not start: {complaint.strip()}")
        self.url = self._ready_line.split(" at ", 1)[1].split()[0]

    @property
    def connection_json(self) -> str:
        """An Airflow connection to this sandbox, for ``AIRFLOW_CONN_...``."""
        return json.dumps(
            {"conn_type": "whitebit", "login": self.api_key, "password": self.api_secret, "host": self.url}
        )

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Use one of the sandbox's controls, for example ``control("POST", "faults", {"kind": "reset"})``.

        :raises ValueError: if the sandbox refuses it.
        :returns: decoded JSON.
        """
        import requests

        with requests.Session() as session:
            # The sandbox is on this machine, so the environment's proxies must not be used.
            session.trust_env = False
            answer = session.request(method, f"{self.url}/sandbox/{path}", json=body, timeout=30)
        if not answer.ok:
            raise ValueError(f"{method} /sandbox/{path}: {answer.status_code} {answer.text}")
        return answer.json()

    def fund(self, ticker: str, amount: str | int) -> None:
        """Deposit made-up money."""
        self.control("POST", "fund", {"ticker": ticker, "amount": amount})

    def advance(self, seconds: int = 0, *, days: int = 0) -> None:
        """Set the exchange's clock forward. Interest and the ends of terms of that time happen at once."""
        self.control("POST", "clock/advance", {"seconds": seconds + days * 86_400})

    def now(self) -> datetime:
        """Return the time on the exchange's clock, in UTC."""
        return datetime.fromtimestamp(self.control("GET", "clock")["now_ms"] / 1000, UTC)

    def set_price(self, market: str, last_price: str | int, *, frozen: bool = False) -> None:
        """Set the last price of a market, for example ``set_price("BTC_USDT", "95000")``, or open it.

        :param market: its two assets.
        :param last_price: units of the second asset for one unit of the first.
        :param frozen: whether trading is disabled.
        """
        self.control("POST", f"markets/{market}", {"last_price": last_price, "frozen": frozen})

    def fault(self, kind: str, **options: Any) -> None:
        """Switch a fault on, see ``airflow_provider_whitebit.sandbox.faults.KINDS``."""
        self.control("POST", "faults", {"kind": kind, **options})

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self.control("DELETE", "faults")

    def quirks(self, **switches: bool) -> list[str]:
        """Switch quirks on or off, see ``airflow_provider_whitebit.sandbox.quirks.QUIRKS``.

        :param switches: by name, whether it is on.
        :returns: the names of those that are on.
        :raises ValueError: if there is no such quirk, or two exclude each other.
        """
        return [name for name, on in self.control("POST", "quirks", switches).items() if on]

    def maintenance(self, on: bool = True, **options: str) -> None:
        """Begin or end the exchange's maintenance.

        :param options: ``notice``: what the exchange says meanwhile.
        """
        self.control("POST", "maintenance", {"on": on, **options})

    def add_key(self, api_key: str, api_secret: str) -> None:
        """Add one more API key to the account, for example before the old key is replaced."""
        self.control("POST", "keys", {"api_key": api_key, "api_secret": api_secret})

    def revoke_key(self, api_key: str) -> None:
        """Delete an API key."""
        self.control("DELETE", f"keys/{api_key}")

    def ledger(self) -> dict[str, Any]:
        """Return the ledger: ``balanced``, ``accounts``, ``transactions``, ``investments``."""
        ledger: dict[str, Any] = self.control("GET", "ledger")
        return ledger

    def moves(self) -> list[dict[str, Any]]:
        """Return all moves of money that were executed, oldest first.

        :returns: for each move ``operation``, ``ticker``, ``amount`` (decimal string), ``source`` and ``target``
            (accounts of the ledger, for example ``main:sandbox``), ``at_ms``, ``path``, ``params``, ``reference`` and
            others. Deposits, withdrawals and interest are no moves.
        """
        moves: list[dict[str, Any]] = self.ledger()["moves"]
        return moves

    def assert_moved(self, operation: str, ticker: str, amount: Decimal | str | int | None, times: int = 1) -> None:
        """Assert that the ledger has this move exactly ``times`` times. Other moves do not matter.

        :param operation: as in receipts, for example ``flex_invest``: one of :data:`OPERATIONS`.
        :param ticker: the asset.
        :param amount: in units of the asset, without interest that is paid with a close; ``None``: any amount.
        :param times: how often; 0 for never.
        :raises AssertionError: if it moved more or less often. The message lists all moves.
        :raises ValueError: if there is no such operation.
        :raises TypeError: if the amount is a float.
        """
        __tracebackhide__ = True
        if operation not in OPERATIONS:
            raise ValueError(f"there is no operation {operation!r}; known are {', '.join(OPERATIONS)}")
        if isinstance(amount, float):
            raise TypeError(f'a float is not exact: write amount="{amount}"')
        wanted, moves = None if amount is None else Decimal(amount), self.moves()
        found = [
            move
            for move in moves
            if (move["operation"], move["ticker"]) == (operation, ticker) and wanted in (None, Decimal(move["amount"]))
        ]
        if len(found) != times:
            expected = " ".join([operation, *([] if wanted is None else [f"{wanted:f}"]), ticker])
            raise AssertionError(f"{expected}: moved {_often(len(found))}, not {_often(times)}. {_all_moves(moves)}")

    def assert_nothing_moved(self) -> None:
        """Assert that no money was moved.

        :raises AssertionError: otherwise. The message lists all moves.
        """
        __tracebackhide__ = True
        if moves := self.moves():
            raise AssertionError(f"Money moved. {_all_moves(moves)}")

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests that arrived, oldest first."""
        requests: list[dict[str, Any]] = self.control("GET", "requests")
        return requests

    def reset(self) -> None:
        """Return to the initial balances, plans, keys and quirks, without history, faults and maintenance."""
        self.control("POST", "reset")

    def kill(self) -> None:
        """End the process as a crash does, without an answer or a cleanup. With ``--db`` the ledger stays."""
        self.process.kill()
        self.process.communicate()

    def start_again(self) -> None:
        """Start again at the same address, after :meth:`kill` or :meth:`stop`.

        With ``--db``, money, history and clock stay. Without it, this is a new exchange. Faults, quirks, maintenance
        and changes of plans, assets, markets and keys are lost in both cases.
        """
        self._start(int(self.url.rsplit(":", 1)[1]))

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()


def _often(times: int) -> str:
    return "once" if times == 1 else f"{times} times"


def _all_moves(moves: list[dict[str, Any]]) -> str:
    """All moves as text, one in a line."""
    if not moves:
        return "Nothing moved at all."
    lines = (
        f"  {datetime.fromtimestamp(move['at_ms'] // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC  {move['operation']}"
        f" {move['amount']} {move['ticker']}, {move['source']} to {move['target']}"
        for move in moves
    )
    return "\n".join(["All moves:", *lines])


@pytest.fixture
def whitebit_sandbox() -> Iterator[SandboxProcess]:
    """A sandbox exchange for one test."""
    sandbox = SandboxProcess()
    try:
        yield sandbox
    finally:
        sandbox.stop()
