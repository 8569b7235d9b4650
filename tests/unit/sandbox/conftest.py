"""An exchange in process, on a clock that moves only when a test moves it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_whitebit.sandbox import Answer, Exchange
from airflow_provider_whitebit.sandbox.faults import Delivery

#: 2026-01-01 00:00:00 UTC
MIDNIGHT_MS = 1_767_225_600_000
MAIN = "/api/v4/main-account"


class Clock:
    def __init__(self) -> None:
        self.now = MIDNIGHT_MS

    def now_ms(self) -> int:
        return self.now


class Bench:
    """An exchange and a caller with its own signing code, so a bug of the client cannot hide one of the sandbox."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.exchange = Exchange(clock=self.clock, **options)
        self.key, self.secret = "sandbox-key", "sandbox-secret"
        self._last = 0

    def nonce(self) -> int:
        self._last = max(self.clock.now, self._last + 1)
        return self._last

    def send(self, path: str, body: bytes, *, method: str = "POST", **headers: str | None) -> Answer:
        """Send exact bytes; ``apikey``, ``payload``, ``signature`` replace those headers (``None`` leaves one out)."""
        return self.exchange.handle(method, path, self.headers(body, **headers), body)

    def headers(self, body: bytes, **changes: str | None) -> dict[str, str]:
        payload = base64.b64encode(body).decode()
        signature = hmac.new(self.secret.encode(), payload.encode(), hashlib.sha512).hexdigest()
        given = {"apikey": self.key, "payload": payload, "signature": signature} | changes
        return {f"X-TXC-{name.upper()}": value for name, value in given.items() if value is not None}

    def deliver(self, path: str, body: bytes, wait: Callable[[Decimal], None]) -> Delivery:
        """Send a request with the faults that are switched on."""
        delivering = self.exchange.faults.deliver(path, lambda: self.send(path, body), self.clock.now_ms)
        while True:
            try:
                wait(next(delivering))
            except StopIteration as end:
                return end.value

    def call(self, call: str, **params: Any) -> tuple[int, Any]:
        """Call ``main-account/...``; ``nonce`` and ``request`` are filled in unless given (``...`` leaves one out)."""
        answer = self.send_call(f"{MAIN}/{call}", params)
        return answer.status, json.loads(answer.body)

    def send_call(self, path: str, params: dict[str, Any]) -> Answer:
        params = {"request": path, "nonce": self.nonce()} | params
        params = {name: value for name, value in params.items() if value is not ...}
        return self.send(path, json.dumps(params).encode())

    def flex(self, call: str, **params: Any) -> tuple[int, Any]:
        return self.call(f"smart-flex/{call}", **params)

    def invest(self, plan: str, amount: str, **params: Any) -> str:
        status, answer = self.flex("investments/invest", plan=plan, amount=amount, **params)
        assert status == 201, answer
        return str(answer["data"]["transaction_id"])

    def balance(self, ticker: str = "USDT") -> str:
        return str(self.call("balance", ticker=ticker)[1]["main_balance"])

    def history(self, **params: Any) -> list[dict[str, Any]]:
        status, answer = self.flex("investments/history", **params)
        assert status == 200, answer
        return list(answer["data"])

    def pass_time(self, *, hours: float = 0, seconds: float = 0) -> None:
        self.clock.now += int(hours * 3_600_000 + seconds * 1000)


@pytest.fixture(scope="session")
def bench_class():
    """For tests that need many."""
    return Bench


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.exchange.audit()
    bench.exchange.close()


@pytest.fixture
def make_bench():
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(**options))
        return made[-1]

    yield make
    for bench in made:
        bench.exchange.audit()
        bench.exchange.close()
