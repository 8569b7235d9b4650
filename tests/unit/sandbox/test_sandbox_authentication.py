"""Authentication: every refusal of the vendor's page."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_provider_whitebit.sandbox.plans import Key
from airflow_provider_whitebit.sandbox.quirks import Quirks
from tests.sandbox_plans import Flex

BALANCE = "/api/v4/main-account/balance"
OLD = "Your nonce is more than 5 seconds lesser than the current nonce"
AHEAD = "Your nonce is more than 5 seconds greater than the current nonce"


def body(bench, **more):
    return json.dumps({"request": BALANCE, "nonce": bench.nonce()} | more).encode()


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({"payload": None}, 401, "Payload not provided."),
        ({"payload": ""}, 401, "Payload not provided."),
        ({"payload": "e30="}, 401, "Invalid payload."),
        ({"payload": "not base64!"}, 401, "Invalid payload."),
        ({"payload": "é"}, 401, "Invalid payload."),
        ({"signature": "0" * 128}, 401, "Unauthorized request."),
        ({"signature": None}, 401, "Unauthorized request."),
        ({"signature": "é"}, 401, "Unauthorized request."),
        ({"apikey": "stranger"}, 401, "Unauthorized request."),
        ({"apikey": None}, 401, "Unauthorized request."),
    ],
)
def test_wrong_headers(bench, headers, status, message):
    answer = bench.send(BALANCE, body(bench), **headers)
    assert (answer.status, json.loads(answer.body)) == (status, {"code": 0, "message": message, "errors": {}})


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"nonce": ...}, 422, "Nonce not provided."),
        ({"nonce": None}, 422, "Nonce not provided."),
        ({"nonce": "soon"}, 422, "Nonce not provided."),
        ({"nonce": True}, 422, "Nonce not provided."),
        ({"nonce": 0}, 429, "Too many requests."),
        ({"nonce": 10**30}, 429, "Too many requests."),
        ({"request": ...}, 401, "Request not provided."),
        ({"request": ""}, 401, "Request not provided."),
        ({"request": "/api/v4/main-account/history"}, 401, "Invalid payload."),
        ({"nonceWindow": "yes"}, 422, "Invalid nonceWindow."),
        ({"nonceWindow": None}, 422, "Invalid nonceWindow."),
    ],
)
def test_wrong_fields(bench, fields, status, message):
    assert bench.call("balance", **fields) == (status, {"code": 0, "message": message, "errors": {}})


@pytest.mark.parametrize(("quirks", "status"), [([], 429), (["nonces_422"], 422)])
def test_the_status_of_a_used_nonce(make_bench, quirks, status):
    bench = make_bench(quirks=Quirks.named(quirks))
    nonce = bench.nonce()
    for window in (False, True):
        bench.call("balance", nonce=nonce, nonceWindow=window)
        refusal = status, {"code": 0, "message": "Too many requests.", "errors": {}}
        assert bench.call("balance", nonce=nonce, nonceWindow=window) == refusal


def test_upper_case_signature_and_any_spelling_of_headers(bench):
    import base64
    import hashlib
    import hmac

    raw = body(bench)
    payload = base64.b64encode(raw).decode()
    signature = hmac.new(b"sandbox-secret", payload.encode(), hashlib.sha512).hexdigest().upper()
    headers = {"x-txc-apikey": "sandbox-key", "X-Txc-Payload": payload, "x-TXC-signature": signature}
    assert bench.exchange.handle("POST", BALANCE, headers, raw).status == 200


def test_disabled_key(bench):
    bench.key, bench.secret = "sandbox-key-disabled", "sandbox-secret-disabled"
    status, answer = bench.call("balance")
    assert (status, answer["message"]) == (403, "This action is unauthorized. Enable your key in API settings")


def test_a_key_of_a_new_account_is_added_and_disabled(bench):
    bench.exchange.keys["mine"] = key = Key("mine", "mine too", user="me")
    bench.key, bench.secret = "mine", "mine too"
    assert bench.balance() == "0"
    bench.exchange.fund("USDT", "12.50", api_key="mine")
    assert bench.balance() == "12.5"
    bench.exchange.keys["mine"] = replace(key, enabled=False)
    assert bench.call("balance")[0] == 403


def test_a_second_key_of_an_account_and_the_first_one_revoked(bench):
    bench.exchange.keys.add_like("second", "second secret")
    bench.exchange.keys.revoke("sandbox-key")
    assert bench.call("balance") == (401, {"code": 0, "message": "Unauthorized request.", "errors": {}})
    bench.key, bench.secret = "second", "second secret"
    assert bench.balance() == "10000"
    with pytest.raises(ValueError, match="already a key 'second'"):
        bench.exchange.keys.add_like("second", "another")
    with pytest.raises(ValueError, match="no key 'gone'"):
        bench.exchange.keys.add_like("third", "third secret", "gone")
    with pytest.raises(ValueError, match="no key 'gone'"):
        bench.exchange.keys.revoke("gone")
    for name in list(bench.exchange.keys)[:-1]:
        bench.exchange.keys.revoke(name)
    with pytest.raises(ValueError, match="the last key"):
        bench.exchange.keys.revoke("second")


def test_a_key_in_use_is_disabled(bench):
    assert bench.call("balance")[0] == 200
    bench.exchange.keys.revoke("sandbox-key")
    bench.exchange.keys.add_like("sandbox-key", "sandbox-secret", "sandbox-key-disabled")
    assert bench.call("balance")[1]["message"] == "This action is unauthorized. Enable your key in API settings"


def test_key_without_lending(bench):
    bench.key, bench.secret = "sandbox-key-no-lending", "sandbox-secret-no-lending"
    assert bench.balance() == "10000"
    message = "You don't have permission to use this endpoint. Please contact support for more details"
    for call in ("smart-flex/plans", "smart/plans"):
        assert bench.call(call) == (403, {"code": 0, "message": message})


def test_key_without_an_endpoint(bench):
    bench.key, bench.secret = "sandbox-key-no-fixed", "sandbox-secret-no-fixed"
    assert bench.flex("plans")[0] == 200
    refusal = {"code": 0, "message": "You don't have permission to use this endpoint."}
    assert bench.call("smart/plans") == (403, refusal)


def test_key_that_only_reads(bench):
    bench.key, bench.secret = "sandbox-key-read-only", "sandbox-secret-read-only"
    assert bench.flex("plans")[0] == bench.call("balance")[0] == 200
    refusal = {"code": 4, "message": "This API Key is not authorized to perform this action.", "errors": {}}
    for call in ("transfer", "smart-flex/investments/invest", "smart-flex/investments/auto-invest", "smart/investment"):
        assert bench.call(call) == (403, refusal)


def test_nonce_must_grow(bench):
    now = bench.clock.now
    assert bench.call("balance", nonce=now)[0] == 200
    for nonce in (now, now - 1, str(now)):
        assert bench.call("balance", nonce=nonce)[1]["message"] == "Too many requests."
    assert bench.call("balance", nonce=str(now + 1))[0] == 200


def test_windowed_nonces_need_not_grow_but_be_unique(bench):
    now = bench.clock.now
    for nonce in (now + 5000, now - 5000, now):
        assert bench.call("balance", nonce=nonce, nonceWindow=True)[0] == 200
    assert bench.call("balance", nonce=now, nonceWindow=True)[1]["message"] == "Too many requests."
    assert bench.call("balance", nonce=now - 5001, nonceWindow=True) == (
        422,
        {"code": 0, "message": OLD, "errors": {}},
    )
    assert bench.call("balance", nonce=now + 5001, nonceWindow=True)[1]["message"] == AHEAD


def test_windowed_nonces_do_not_raise_the_minimum_of_others(bench):
    now = bench.clock.now
    assert bench.call("balance", nonce=now + 4000, nonceWindow=True)[0] == 200
    assert bench.call("balance", nonce=now + 1)[0] == 200
    assert bench.call("balance", nonce=now + 4000)[1]["message"] == "Too many requests."


def test_a_windowed_nonce_expires(bench):
    nonce = bench.clock.now
    bench.pass_time(seconds=5)
    assert bench.call("balance", nonce=nonce, nonceWindow=True)[0] == 200
    bench.clock.now += 1
    assert bench.call("balance", nonce=nonce - 1, nonceWindow=True)[1]["message"] == OLD


def test_a_refused_call_has_used_its_nonce(bench):
    nonce = bench.clock.now
    assert bench.flex("investments/invest", plan=Flex.USDT, amount="1", nonce=nonce, nonceWindow=True)[0] == 422
    again = bench.flex("investments/invest", plan=Flex.USDT, amount="10", nonce=nonce, nonceWindow=True)
    assert again[1]["message"] == "Too many requests."


def test_a_wrong_signature_has_not_used_the_nonce(bench):
    raw = body(bench)
    assert bench.send(BALANCE, raw, signature="0").status == 401
    assert bench.send(BALANCE, raw).status == 200


def test_each_key_has_its_own_nonces(bench):
    now = bench.clock.now
    assert bench.call("balance", nonce=now)[0] == 200
    bench.key, bench.secret = "sandbox-key-second-user", "sandbox-secret-second-user"
    assert bench.call("balance", nonce=now)[0] == 200


def test_refused_requests_move_no_money(bench):
    raw = json.dumps(
        {"request": "/api/v4/main-account/smart-flex/investments/invest", "nonce": 1, "plan": Flex.USDT, "amount": "10"}
    ).encode()
    bench.send("/api/v4/main-account/smart-flex/investments/invest", raw, signature="0")
    bench.send("/api/v4/main-account/smart-flex/investments/close", raw)
    assert bench.exchange.transactions() == []
    assert bench.balance() == "10000"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"nonce": 1' + b"1" * 5000, b'{"x": NaN}']
)
def test_a_body_that_is_not_a_json_object(bench, raw):
    answer = bench.send(BALANCE, raw)
    payload_missing = not raw
    assert answer.status == (401 if payload_missing else 400)
    if not payload_missing:
        assert json.loads(answer.body)["message"] == "Validation failed"


def test_paths_and_methods(bench):
    assert bench.call("smart-flex/no-such-call")[0] == 404
    assert bench.exchange.handle("GET", BALANCE, {}, b"").status == 405
    assert bench.exchange.handle("POST", "/api/v4/public/time", {}, b"").status == 405
    unknown = bench.exchange.handle("GET", "/api/v4/public/no-such-call", {}, b"")
    assert (unknown.status, json.loads(unknown.body)) == (404, {"success": False, "message": "Not found", "params": []})
    assert bench.send(BALANCE, b" " * (1024 * 1024 + 1)).status == 413


def test_rate_limits(bench):
    for _ in range(1000):
        assert bench.call("balance", ticker="USDT")[0] == 200
    nonce = bench.nonce()
    assert bench.call("balance", nonce=nonce) == (429, {"message": "Too Many Attempts.", "code": 0})
    raw = body(bench)
    elsewhere = bench.exchange.handle("POST", BALANCE, {}, raw, client_ip="192.0.2.1")
    assert elsewhere.status == 401
    bench.pass_time(seconds=9.999)
    assert bench.call("balance")[0] == 429
    bench.pass_time(seconds=0.001)
    assert bench.call("balance", nonce=nonce + 2)[0] == 200


def test_rate_limits_of_public_calls(bench):
    for _ in range(2000):
        bench.exchange.limits.check("/api/v4/public/ping", "127.0.0.1", bench.clock.now)
    assert bench.exchange.handle("GET", "/api/v4/public/time", {}, b"").status == 429
    assert bench.call("balance")[0] == 200


def test_rate_limits_can_be_switched_off(make_bench):
    bench = make_bench(rate_limits=False)
    assert {bench.call("balance")[0] for _ in range(1001)} == {200}


def test_public_calls_and_the_date_header(bench):
    answer = bench.exchange.handle("GET", "/api/v4/public/time", {}, b"")
    assert json.loads(answer.body) == {"time": 1_767_225_600}
    assert answer.headers == {"Content-Type": "application/json", "Date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    assert json.loads(bench.exchange.handle("GET", "/api/v4/public/ping", {}, b"").body) == ["pong"]
    assets = json.loads(bench.exchange.handle("GET", "/api/v4/public/assets", {}, b"").body)
    assert assets["USDT"]["currency_precision"] == 6
    assert {"name", "can_withdraw", "can_deposit"} <= assets["BTC"].keys()
    assert {ticker for ticker, entry in assets.items() if "currency_precision" not in entry} == {"UAH", "UAH_IBAN"}
    assert assets["EUR"]["currency_precision"] == 2
    assert all(type(entry["unified_cryptoasset_id"]) is int for entry in assets.values())


def test_main_balance(bench):
    status, everything = bench.call("balance")
    assert (status, everything["USDT"], everything["BTC"]) == (200, {"main_balance": "10000"}, {"main_balance": "1"})
    assert bench.call("balance", ticker="ETH") == (200, {"main_balance": "10"})
    for unknown in ("DOGE", "", "\ud800"):
        assert bench.call("balance", ticker=unknown) == (200, {"main_balance": "0"})
    for wrong in (1, [], {}, True):
        assert bench.call("balance", ticker=wrong) == (
            400,
            {"code": 0, "message": "Validation failed", "errors": {"ticker": ["validation.string"]}},
        )


def test_requests_view_shows_no_secrets(bench):
    bench.call("balance", ticker="USDT")
    bench.call("balance", nonce=5)
    transaction = bench.invest(Flex.USDT, "10")
    first, refused, invested = bench.exchange.requests_view()
    assert set(first) == {"at_ms", "method", "path", "status", "api_key", "nonce", "transaction_id", "refusal"}
    assert (refused["status"], refused["nonce"], refused["api_key"]) == (429, 5, "sandbox-key")
    assert (invested["status"], invested["transaction_id"]) == (201, transaction)
    written = json.dumps(bench.exchange.requests_view())
    assert "sandbox-secret" not in written
    assert "signature" not in written.lower()
