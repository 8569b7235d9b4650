"""The vendor's calls and the sandbox's controls over HTTP."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import pytest
import requests

from tests.sandbox_plans import Flex

INVEST = "/api/v4/main-account/smart-flex/investments/invest"


def test_public_calls(sandbox):
    time = sandbox.get("/api/v4/public/time")
    assert abs(time.json()["time"] * 1000 - sandbox.now_ms()) < 3000
    assert abs(parsedate_to_datetime(time.headers["Date"]).timestamp() - time.json()["time"]) <= 1
    assert time.headers["Content-Type"] == "application/json"
    assert sandbox.get("/api/v4/public/ping").json() == ["pong"]
    assert sandbox.get("/api/v4/public/assets").json()["BTC"]["currency_precision"] == 8
    assert sandbox.session.head(f"{sandbox.url}/api/v4/public/ping", timeout=10).status_code == 200
    assert sandbox.get("/api/v4/public/nothing").status_code == 404
    assert sandbox.get("/").status_code == 404


def test_an_investment_from_open_to_close(sandbox):
    opened = sandbox.flex("investments/invest", plan=Flex.USDT, amount="1000.50", withReinvest=True)
    assert opened.status_code == 201
    assert opened.json()["data"]["transaction_id"].startswith("tx_")
    added = sandbox.flex("investments/invest", plan=Flex.USDT, amount="10")
    withdrawn = sandbox.flex("investments/withdraw", plan=Flex.USDT, amount="500")
    switched = sandbox.flex("investments/auto-invest", plan=Flex.USDT, enabled=False)
    closed = sandbox.flex("investments/close", plan=Flex.USDT)
    assert [answer.status_code for answer in (added, withdrawn, switched, closed)] == [201, 201, 200, 201]
    assert switched.json() == {"data": []}
    assert sandbox.balance() == "10000"
    history = sandbox.flex("investments/history").json()
    assert [(row["actionType"], row["amount"]) for row in history["data"]] == [
        (5, "510.5"),
        (3, "500"),
        (1, "10"),
        (6, "1000.5"),
    ]
    assert [row["transaction_id"] for row in history["data"]] == [
        answer.json()["data"]["transaction_id"] for answer in (closed, withdrawn, added, opened)
    ]
    (investment,) = sandbox.flex("investments").json()["data"]
    assert investment["status"] == 0
    assert sandbox.flex("plans").json()[0]["id"] == Flex.USDT


@pytest.mark.parametrize(
    ("call", "params", "status", "code", "errors"),
    [
        ("plans", {"limit": 101}, 400, 0, {"limit": ["The limit may not be greater than 100."]}),
        ("investments", {"plan": "x"}, 400, 0, {"plan": ["The selected plan is invalid."]}),
        (
            "investments/history",
            {"actionTypes": "all"},
            400,
            0,
            {"actionTypes": ["The action types must be an array."]},
        ),
        ("investments/payment-history", {"dateFrom": "x"}, 400, 0, {"dateFrom": ["The date from is invalid."]}),
        (
            "investments/invest",
            {"plan": Flex.USDT, "amount": "1e3"},
            400,
            0,
            {"amount": ["The amount field must be a valid number"]},
        ),
        (
            "investments/invest",
            {"plan": Flex.USDT, "amount": "9"},
            422,
            2,
            {"amount": ["Amount is less than min investment"]},
        ),
        (
            "investments/invest",
            {"plan": Flex.USDT, "amount": "100001"},
            422,
            3,
            {"amount": ["Amount is more than max investment"]},
        ),
        ("investments/invest", {"plan": Flex.USDT, "amount": "10001"}, 422, 4, {"amount": ["Available 10000 < 10001"]}),
        (
            "investments/invest",
            {"plan": Flex.CAPPED, "amount": "2001"},
            422,
            0,
            {"amount": ["Investment limit is exceeded"]},
        ),
        (
            "investments/withdraw",
            {"plan": Flex.USDT, "amount": "10"},
            422,
            0,
            {"amount": ["Investment does not exist"]},
        ),
        ("investments/close", {"plan": Flex.USDT}, 422, 0, {"amount": ["Investment does not exist"]}),
        ("investments/auto-invest", {}, 400, 0, {"plan": ["The plan field is required."]}),
    ],
)
def test_refusals(sandbox, call, params, status, code, errors):
    answer = sandbox.flex(call, **params)
    message = "Validation failed" if status == 400 else "Inner validation failed"
    assert (answer.status_code, answer.json()) == (status, {"code": code, "message": message, "errors": errors})


def test_authentication(sandbox):
    path = "/api/v4/main-account/balance"
    body, headers = sandbox.signed(path)

    def post(data=body, **changed):
        return sandbox.session.post(sandbox.url + path, data=data, headers=headers | changed, timeout=10)

    assert post(**{"X-TXC-PAYLOAD": ""}).json()["message"] == "Payload not provided."
    assert post(data=body + b" ").json()["message"] == "Invalid payload."
    assert post(**{"X-TXC-SIGNATURE": "0" * 128}).json()["message"] == "Unauthorized request."
    assert post().status_code == 200
    assert post().json()["message"] == "Too many requests."
    old = sandbox.call("balance", nonce=sandbox.now_ms() - 6000, nonceWindow=True)
    assert old.json()["message"] == "Your nonce is more than 5 seconds lesser than the current nonce"
    assert sandbox.get(path).status_code == 405
    assert sandbox.session.post(sandbox.url + path, data=b"x" * (1024 * 1024 + 1), timeout=10).status_code == 413
    huge = requests.post(sandbox.url + path, data=b"x" * (3 * 1024 * 1024), timeout=10)
    assert huge.status_code == 413


def test_the_connection_is_kept(sandbox):
    sandbox.balance()
    first = sandbox.session.get_adapter(sandbox.url).poolmanager.connection_from_url(sandbox.url).num_connections
    for _ in range(20):
        sandbox.balance()
    after = sandbox.session.get_adapter(sandbox.url).poolmanager.connection_from_url(sandbox.url).num_connections
    assert after == first


def test_concurrent_callers(sandbox):
    base = sandbox.now_ms() - 2000

    def invest(number):
        path = INVEST
        body, headers = sandbox.signed(path, plan=Flex.USDT, amount="10", nonce=base + number, nonceWindow=True)
        return requests.post(sandbox.url + path, data=body, headers=headers, timeout=10).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(invest, range(0, 4000, 50)))
    assert statuses == [201] * 80
    assert len(sandbox.ledger()["transactions"]) == 80


def test_headers_that_are_not_ascii(sandbox):
    body, _ = sandbox.signed("/api/v4/main-account/balance")
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as wire:
        wire.sendall(
            b"POST /api/v4/main-account/balance HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"X-TXC-PAYLOAD: \xe9\r\nX-TXC-SIGNATURE: \xe9\r\nX-TXC-APIKEY: \xe9\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        assert wire.recv(100).startswith(b"HTTP/1.1 401")


def test_funding(sandbox):
    assert sandbox.post("fund", ticker="USDT", amount="0.5").json() == {"ok": True}
    assert sandbox.balance() == "10000.5"
    assert sandbox.post("fund", ticker="EURI", amount=7, api_key="sandbox-key-second-user").status_code == 200


def test_the_clock(sandbox):
    sandbox.flex("investments/invest", plan=Flex.USDT, amount="1000")
    before = sandbox.now_ms()
    answer = sandbox.post("clock/advance", seconds=3 * 86_400)
    assert answer.json()["now_ms"] - before >= 3 * 86_400_000
    assert sandbox.get("/api/v4/public/time").json()["time"] * 1000 >= before + 3 * 86_400_000 - 1000
    assert len(sandbox.flex("investments/payment-history").json()["data"]) == 3
    late = sandbox.call("balance", nonce=before, nonceWindow=True)
    assert late.json()["message"] == "Your nonce is more than 5 seconds lesser than the current nonce"


def test_maintenance_begins_and_ends(sandbox):
    status = "/api/v4/public/platform/status"
    assert sandbox.control("GET", "maintenance") == {"on": False, "notice": None}
    sandbox.maintenance(notice="Maintenance until 04:00 UTC")
    assert sandbox.control("GET", "maintenance") == {"on": True, "notice": "Maintenance until 04:00 UTC"}
    assert sandbox.get(status).json() == {"status": "system maintenance"}
    assert (sandbox.get("/api/v4/public/time").status_code, sandbox.flex("plans").status_code) == (503, 503)
    assert sandbox.control("GET", "health")["status"] == "ok"
    sandbox.maintenance(on=False)
    assert sandbox.get(status).json() == {"status": "system operational"}
    assert (sandbox.get("/api/v4/public/time").status_code, sandbox.flex("plans").status_code) == (200, 200)


def test_keys_are_added_and_revoked(sandbox):
    assert sandbox.post("keys", api_key="second", api_secret="s").json() == {"ok": True}
    assert "already a key" in sandbox.post("keys", api_key="second", api_secret="s").json()["detail"]
    revoked = requests.delete(f"{sandbox.url}/sandbox/keys/second", timeout=10)
    assert revoked.json() == {"ok": True}
    assert requests.delete(f"{sandbox.url}/sandbox/keys/second", timeout=10).status_code == 400


def test_a_plan_changes(sandbox):
    assert sandbox.post(f"plans/{Flex.USDT}", status="paused", max_rate="0.2").status_code == 200
    refused = sandbox.flex("investments/invest", plan=Flex.USDT, amount="10")
    assert refused.json()["errors"] == {"plan": ["Plan is paused"]}
    sandbox.post(f"plans/{Flex.USDT}", status="open")
    assert sandbox.flex("plans").json()[0]["maxRate"] == "0.2"
    assert sandbox.post("plans/nothing", status="open").status_code == 404


def test_a_price_changes(sandbox):
    sandbox.set_price("BTC_USDT", "95000.5", frozen=True)
    sandbox.set_price("ETH_BTC", "0.04")
    prices = sandbox.get("/api/v4/public/ticker").json()
    assert (prices["BTC_USDT"]["last_price"], prices["BTC_USDT"]["isFrozen"]) == ("95000.5", True)
    assert prices["ETH_BTC"]["last_price"] == "0.04"
    with pytest.raises(ValueError, match=r"404.*there is no asset 'JUNK'"):
        sandbox.set_price("JUNK_BTC", 1)


def test_ledger_and_requests(sandbox):
    sandbox.flex("investments/invest", plan=Flex.USDT, amount="10")
    ledger = sandbox.ledger()
    assert ledger["accounts"]["main:sandbox"]["USDT"] == "9990"
    (transaction,) = ledger["transactions"]
    (request,) = [row for row in sandbox.get("/sandbox/requests").json() if row["path"] == INVEST]
    assert request["transaction_id"] == transaction["transaction_id"]
    assert request["nonce"] == transaction["nonce"]
    assert "sandbox-secret" not in json.dumps([ledger, request])
    assert sandbox.get("/sandbox/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("fund", {"ticker": "DOGE", "amount": "1"}, "there is no asset 'DOGE'"),
        ("fund", {"ticker": "USDT", "amount": "-1"}, "amount must be a number above 0"),
        ("fund", {"ticker": "USDT", "amount": 1.5}, "amount: write amounts as strings, not 1.5"),
        ("fund", {"ticker": "USDT", "amount": True}, "amount: write amounts as strings, not True"),
        ("fund", {"ticker": "USDT"}, "amount: Field required"),
        ("fund", {"ticker": "USDT", "amount": "1", "api_key": "unknown"}, "there is no key 'unknown'"),
        ("fund", {"ticker": "USDT", "amount": "1", "colour": "red"}, "colour: unknown field"),
        ("clock/advance", {"seconds": -1}, "seconds: Input should be greater than or equal to 0"),
        ("clock/advance", {}, "seconds: Field required"),
        ("faults", {"kind": "earthquake"}, "unknown kind 'earthquake'"),
        ("faults", {"kind": "reset", "probability": 2}, "probability: Input should be less than or equal to 1, not 2"),
        ("faults", {"kind": "reset", "count": 0}, "count: Input should be greater than or equal to 1"),
        ("faults", {"kind": "reset", "path": "\ud800"}, "path: Input should be a valid string"),
        ("faults", {"kind": "reset", "\ud800": 1}, "Input should be a valid string"),
        ("faults", {"kind": "\ud800"}, "unknown kind '\\ud800'"),
        ("keys", {"api_key": "mine", "api_secret": "\ud800"}, "api_secret: Input should be a valid string"),
        (f"plans/{Flex.USDT}", {"status": "gone"}, "status: Input should be 'open', 'paused' or 'unavailable'"),
    ],
)
def test_wrong_controls(sandbox, path, body, message):
    answer = sandbox.post(path, **body)
    assert answer.status_code == 400
    assert message in answer.json()["detail"]


def test_a_control_body_without_the_header_of_json(sandbox):
    """As ``curl -d`` sends it."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = '{"ticker": "USDT", "amount": "1"}'
    answer = sandbox.session.post(f"{sandbox.url}/sandbox/fund", data=body, headers=form, timeout=10)
    assert (answer.status_code, answer.json()) == (400, {"detail": "send the header Content-Type: application/json"})


def test_a_control_body_that_is_not_json(sandbox):
    answer = sandbox.session.post(f"{sandbox.url}/sandbox/fund", data="{", timeout=10)
    assert answer.status_code == 400
    assert sandbox.get("/sandbox/nothing").status_code == 404


def test_a_nonce_with_a_lone_surrogate_is_shown(sandbox):
    assert sandbox.call("balance", nonce="\ud800").status_code == 422
    assert sandbox.requests()[-1]["nonce"] == "\ud800"


@pytest.mark.parametrize("path", ["reset", "fund", "clock/advance", "faults", "keys", "quirks"])
@pytest.mark.parametrize(
    "origin", ["https://example.com", "null", "http://127.0.0.1:1", "http://localhost.example.com", "http://["]
)
def test_controls_refuse_other_web_pages(sandbox, path, origin):
    sandbox.fund("USDT", 1)
    answer = sandbox.session.post(
        f"{sandbox.url}/sandbox/{path}", json={"ticker": "USDT", "amount": 1}, headers={"Origin": origin}, timeout=10
    )
    assert (answer.status_code, "Origin" in answer.json()["detail"]) == (403, True)
    assert sandbox.balance() == "10001"


def test_controls_refuse_a_domain_that_resolves_to_this_machine(sandbox):
    headers = {"Origin": f"http://rebound.example.com:{sandbox.port}", "Host": f"rebound.example.com:{sandbox.port}"}
    assert sandbox.session.post(f"{sandbox.url}/sandbox/reset", headers=headers, timeout=10).status_code == 403


def test_controls_accept_their_own_page(sandbox):
    for host in ("127.0.0.1", "localhost"):
        url = f"http://{host}:{sandbox.port}"
        assert requests.post(f"{url}/sandbox/reset", headers={"Origin": url}, timeout=10).json() == {"ok": True}
