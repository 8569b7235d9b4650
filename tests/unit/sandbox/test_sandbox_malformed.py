"""Thousands of malformed requests: the sandbox refuses them, never fails, and its books balance.

``WHITEBIT_FUZZ_REQUESTS=20000`` sends as many, ``WHITEBIT_FUZZ_SEED=1`` others.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import os
import random
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi")

from airflow_provider_whitebit.sandbox import Exchange, app
from airflow_provider_whitebit.sandbox.clock import SandboxClock

REQUESTS = int(os.environ.get("WHITEBIT_FUZZ_REQUESTS", "1500"))
SEED = int(os.environ.get("WHITEBIT_FUZZ_SEED", "1"))
DEEP = "[" * 50_000
#: Values as JSON text, wrong nearly everywhere. Some of them are no JSON.
HOSTILE = [
    *("null", "true", "false", "0", "-1", "1", "100", "1.5", "-0.0", "1e3", "1e500", "1e-500", "NaN", "-Infinity"),
    *("9" * 30, "9" * 5000, "-" + "9" * 400, "1e999999999", "1e-999999999", "1e99999999999999999999"),
    *('""', '" "', '"0"', '"-1"', '"1e500"', '"1e1500000"', '"NaN"', '"Infinity"', '"sNaN"', '"0x10"', '"1_000"'),
    *('"\\ud800"', '"a\\udfff"', '"\\u0000"', '"\\n\\r\\u2028"', '"\\u0661"', '"💩"', '"../.."', '"\' OR 1=1 --"'),
    *(f'"{"9" * 30}"', f'"{"9" * 5000}"', f'"{"x" * 20_000}"', f'"0.{"0" * 5000}1"', '"*?["', f'"{"*a" * 200}"'),
    *(
        "[]",
        "{}",
        "[[]]",
        '{"a": null}',
        '[1, "1", null]',
        '{"\\ud800": 1}',
        DEEP,
        '"',
        "{",
        "'",
        "\\",
        "undefined",
        "01",
    ),
]
#: Values that are right somewhere.
RIGHT = [
    *('"8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"', '"9461c1e8-a3b5-46d7-82f3-7e8f90a1b2c3"', '"USDT"', '"BTC"', '"USDC"'),
    *('"10"', '"100"', '"0.00000001"', "10", "50", '"main"', '"spot"', '"collateral"', "[1, 3, 5]", "1767225600"),
    *('"sandbox-key"', '"sandbox"', '"paused"', '"open"', '"history_lag"', '"cut_reply"', '"duplicate"', '"/api/*"'),
]
NAMES = (
    *("plan", "planId", "amount", "ticker", "limit", "offset", "investment", "transaction", "dateFrom", "dateTo", "id"),
    *("actionTypes", "investmentStatus", "status", "withReinvest", "autoReinvest", "from", "to", "transactionMethod"),
    *(
        "api_key",
        "api_secret",
        "like",
        "account",
        "seconds",
        "kind",
        "path",
        "probability",
        "count",
        "bytes",
        "max_rate",
    ),
    *(
        "rate",
        "minimum",
        "maximum",
        "cap",
        "percent",
        "coins",
        "interest_fund",
        "deposits",
        "withdrawals",
        "on",
        "notice",
    ),
    *("address", "uniqueId", "alias", "email", "permissions", "fromId", "toId", "direction"),
)
#: Fields of a call that moves money, whatever the call.
MOVE = {
    "plan": RIGHT[0],
    "planId": '"1b72e30a-c5d7-48f9-a4b5-90a1b2c3d4e5"',
    "amount": '"100"',
    "ticker": '"USDT"',
    "from": '"main"',
    "to": '"spot"',
}
METHODS = ("POST", "POST", "POST", "GET", "DELETE", "PUT", "HEAD", "OPTIONS", "BREW", "\ud800")


class Caller:
    """Sends requests to the application, without a network."""

    def __init__(self, seed: int) -> None:
        self.exchange = Exchange(clock=SandboxClock(), seed=seed, rate_limits=False)
        self.application = app.Sandbox(self.exchange)
        self.random = random.Random(seed)
        self.nonces = itertools.count(1)
        #: How many calls moved money.
        self.moved = 0
        routes = self.application.controls.routes
        self.controls = [route.path for route in routes if route.path.startswith("/sandbox/")]
        self.paths = [*self.exchange._private, *self.exchange._public]
        self.transport = SimpleNamespace(close=lambda: None, abort=lambda: None, get_extra_info=lambda _: self)

    def setsockopt(self, *_: Any) -> None: ...

    async def call(self, method: str, path: str, headers: dict[str, str], body: bytes) -> int | None:
        """The status, or ``None`` if the connection was closed instead."""
        parts = [{"type": "http.request", "body": body, "more_body": False}]
        answer = SimpleNamespace(status=None, transport=self.transport)

        async def receive() -> dict[str, Any]:
            return parts.pop() if parts else {"type": "http.disconnect"}

        class Cycle:
            transport = self.transport

            async def send(self, message: dict[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    answer.status = message["status"]

        raw = [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers.items()
        ]
        scope = {"type": "http", "method": method, "path": path, "headers": raw, "query_string": b"", "root_path": ""}
        await self.application({**scope, "scheme": "http", "http_version": "1.1"}, receive, Cycle().send)
        return answer.status

    def value(self) -> str:
        return self.random.choice(RIGHT if self.random.random() < 0.4 else HOSTILE)

    def fields(self) -> dict[str, str]:
        names = self.random.sample(NAMES, self.random.randrange(6))
        return {name: self.value() for name in names}

    def private(self) -> tuple[str, str, dict[str, str], bytes]:
        """A signed call whose fields, and sometimes more, are wrong."""
        chance = self.random.random
        path = self.random.choice(self.paths)
        fields = {"request": json.dumps(path), "nonce": str(self.exchange.clock.now_ms() * 1000 + next(self.nonces))}
        fields |= MOVE | dict([*self.fields().items()][:1]) if chance() < 0.5 else self.fields()
        if chance() < 0.1:
            fields[self.random.choice(["request", "nonce", "nonceWindow"])] = self.value()
        body = _json(fields) if chance() < 0.95 else self.value().encode("utf-8", "surrogatepass")
        if chance() < 0.05:
            body = self.random.randbytes(50) + body[self.random.randrange(20) :]
        payload = base64.b64encode(body).decode()
        secret = b"sandbox-secret"
        headers = {
            "x-txc-apikey": "sandbox-key",
            "x-txc-payload": payload,
            "x-txc-signature": hmac.new(secret, payload.encode(), hashlib.sha512).hexdigest(),
        }
        if chance() < 0.05:
            headers[self.random.choice([*headers])] = self.random.choice(["", "é", "x" * 5000, "=", payload[:-1]])
        return self.random.choice(METHODS) if chance() < 0.05 else "POST", path, headers, body

    def control(self) -> tuple[str, str, dict[str, str], bytes]:
        """A control with wrong fields."""
        path = self.random.choice(self.controls)
        for name in ("identifier", "ticker", "api_key"):
            value = self.value()
            path = path.replace(f"{{{name}}}", json.loads(value) if value.startswith('"') and len(value) > 2 else "x")
        fields = self.fields()
        if path.endswith("/faults"):
            # Other kinds answer 500, as they should.
            fields["kind"] = self.random.choice(['"history_lag"', '"cut_reply"', '"duplicate"', '"x"', "1"])
            fields |= {"seconds": self.value(), "path": self.value()}
        if path.endswith("/advance"):
            # Most often an hour.
            fields = {"seconds": self.random.choice(["3600", "3600", "3600", "86400", self.value()])}
        if path.endswith("/fund"):
            fields = {"ticker": '"USDT"', "amount": '"1000"', self.random.choice(NAMES): self.value()}
        body = _json(fields) if self.random.random() < 0.95 else self.value().encode("utf-8", "surrogatepass")
        headers = {
            "content-type": self.random.choice(["application/json", "text/plain", "x"]),
            "host": "localhost:8787",
        }
        return self.random.choice(METHODS), path, headers, body

    def junk(self) -> tuple[str, str, dict[str, str], bytes]:
        """Nothing that the sandbox knows."""
        path = self.random.choice(["/", "", "/api", "/api/v4/\ud800", "/sandbox", "/sandbox/\udfff", "/" + "x" * 9000])
        return (
            self.random.choice(METHODS),
            path,
            {"origin": "\ud800", "host": "a:b:c"},
            self.value().encode("utf-8", "replace"),
        )


def _json(fields: dict[str, str]) -> bytes:
    return ("{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}").encode(
        "utf-8", "surrogatepass"
    )


async def _flood(caller: Caller, count: int) -> dict[int | None, int]:
    statuses: dict[int | None, int] = {}
    for number in range(count):
        make = caller.random.choices([caller.private, caller.control, caller.junk], [70, 25, 5])[0]
        request = make()
        if request[:2] == ("POST", "/sandbox/reset") and number % 50:
            continue
        try:
            status = await caller.call(*request)
        except Exception as error:
            raise AssertionError(f"request {number} failed: {request!r:.3000}") from error
        assert status is None or status < 500, f"request {number}: {status}: {request!r:.3000}"
        statuses[status] = statuses.get(status, 0) + 1
        caller.moved += status == 201 and request[1].endswith(("/invest", "/investment", "/transfer"))
        # Its maintenance answers 503, as it should.
        caller.exchange.maintenance = None
        if number % 100 == 0:
            caller.exchange.faults.clear()
            caller.exchange.audit()
    return statuses


def test_malformed_requests_neither_fail_nor_unbalance_the_books(monkeypatch):
    caller = Caller(SEED)

    async def at_once(seconds: float) -> None:
        assert 0 <= seconds < 1e10

    monkeypatch.setattr(app.asyncio, "sleep", at_once)
    statuses = asyncio.run(_flood(caller, REQUESTS))
    caller.exchange.faults.clear()
    assert caller.exchange.ledger_view()["balanced"] is True
    # Requests get as far as the rules: some move money, others are refused by each of them.
    assert caller.moved
    assert {200, 201, 400, 401, 404, 422} <= set(statuses), statuses
    caller.exchange.close()


def test_the_clock_stops_before_the_last_date_that_can_be_written():
    clock = SandboxClock()
    exchange = Exchange(clock=clock)
    with pytest.raises(ValueError, match="year"):
        for _ in range(2000):
            exchange.advance(Decimal(10**9))
    assert exchange.ledger_view()["balanced"]
    exchange.close()


def _ask(method: str, path: str, body: bytes = b"", **headers: str) -> int | None:
    caller = Caller(1)
    try:
        given = {"content-type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        return asyncio.run(caller.call(method, path, given, body))
    finally:
        caller.exchange.close()


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8787", "localhost:8787", "[::1]:8787", "sandbox:8787", "x.svc.cluster.local", "localhost.", ""]
)
def test_hosts_that_reach_the_controls(host):
    assert _ask("GET", "/sandbox/ledger", host=host) == 200
    assert _ask("POST", "/sandbox/reset", host=host) == 200


@pytest.mark.parametrize("host", ["evil.example:8787", "127.0.0.1.evil.example", "evil.example.", "[", "1.2.3.4.5"])
@pytest.mark.parametrize("path", ["/sandbox/ledger", "/sandbox/reset", "/sandbox/docs", "/sandbox"])
def test_a_name_that_a_stranger_lets_resolve_to_this_machine(host, path):
    for method in ("GET", "POST"):
        assert _ask(method, path, host=host) == 403
    # Whatever its name, the exchange's side needs a key.
    assert _ask("GET", "/api/v4/public/time", host=host) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://evil.example:8787", "host": "evil.example:8787"},
        {"origin": "http://127.0.0.1:8080", "host": "127.0.0.1:8787"},
        {"origin": "http://localhost:8787", "host": "127.0.0.1:8787"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "http://[", "host": "127.0.0.1"},
    ],
)
def test_other_web_pages_change_nothing(headers):
    given = {"host": "127.0.0.1:8787", **headers}
    assert _ask("POST", "/sandbox/reset", **given) == 403
    assert _ask("DELETE", "/sandbox/faults", **given) == 403


def test_the_sandboxs_own_page_and_a_link_to_it():
    own = {"host": "127.0.0.1:8787", "origin": "http://127.0.0.1:8787", "sec_fetch_site": "same-origin"}
    assert _ask("POST", "/sandbox/reset", **own) == 200
    assert _ask("GET", "/sandbox/ledger", host="127.0.0.1:8787", sec_fetch_site="cross-site") == 200


def test_a_body_without_measure():
    body = json.dumps({"ticker": "USDT", "amount": "1", "account": "x" * 2_000_000}).encode()
    assert _ask("POST", "/sandbox/fund", body, host="localhost") == 413


@pytest.mark.parametrize("seconds", ["1e999999999", "1e-999999999", 10**12, "NaN"])
def test_seconds_without_measure_name_their_field(seconds):
    exchange = Exchange(clock=SandboxClock())
    for kind in ("history_lag", "delay_reply"):
        with pytest.raises(ValueError, match="seconds"):
            exchange.faults.add(kind, seconds=seconds)
    for field in ("rate", "minimum", "maximum", "cap"):
        with pytest.raises(ValueError, match=field):
            exchange.change("plan", "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", **{field: f"{seconds}e30"})
    exchange.close()
