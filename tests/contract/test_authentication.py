"""Every authentication refusal of the vendor's contract, nonces, clocks, and which calls are repeated."""

from __future__ import annotations

import json

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client import transport as transport_module
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.signing import Credentials, SignedRequest, sign
from airflow_provider_whitebit.client.transport import RetryPolicy

QUICK = RetryPolicy(attempts=3, first_wait=0, jitter=0)
MAIN = "/api/v4/main-account/balance"


@pytest.mark.parametrize(
    ("key", "secret", "kind", "text"),
    [
        ("no-such-key", "no-such-secret", e.WhiteBitAuthenticationError, "Unauthorized request."),
        ("sandbox-key", "wrong", e.WhiteBitAuthenticationError, "Unauthorized request."),
        ("sandbox-key-disabled", None, e.WhiteBitAuthenticationError, "This action is unauthorized."),
        ("sandbox-key-no-lending", None, e.WhiteBitPermissionError, "B2B"),
    ],
)
def test_keys(make_client, key, secret, kind, text):
    secret = secret or key.replace("sandbox-key", "sandbox-secret")
    with pytest.raises(kind) as caught:
        list(make_client(key, secret).flex_plans())
    assert type(caught.value) is kind
    assert text in str(caught.value)
    assert secret not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    ("spoil", "kind", "text"),
    [
        (lambda h, b: h.pop("X-TXC-PAYLOAD"), e.WhiteBitAuthenticationError, "Payload not provided."),
        (lambda h, b: h.update({"X-TXC-PAYLOAD": "e30="}), e.WhiteBitAuthenticationError, "Invalid payload"),
        (lambda h, b: h.update({"X-TXC-SIGNATURE": "0" * 128}), e.WhiteBitAuthenticationError, "Unauthorized request."),
        (lambda h, b: b.pop("nonce"), e.WhiteBitNonceError, "Nonce not provided."),
        (lambda h, b: b.pop("request"), e.WhiteBitAuthenticationError, "Request not provided."),
        (lambda h, b: b.update(nonceWindow="x"), e.WhiteBitNonceError, "Invalid nonceWindow."),
        (lambda h, b: b.update(nonce=b["nonce"] - 60_000), e.WhiteBitNonceError, "Your nonce is more than 5 seconds"),
    ],
)
def test_incorrect_requests(client, monkeypatch, spoil, kind, text):
    credentials = Credentials("sandbox-key", "sandbox-secret")

    def spoilt(_credentials, path, params, *, nonce, nonce_window):
        fields = {"request": path, "nonce": nonce, "nonceWindow": True}
        spoil({"X-TXC-PAYLOAD": "", "X-TXC-SIGNATURE": ""}, fields)
        body = json.dumps(fields).encode()
        good = sign(credentials, path, {}, nonce=nonce, nonce_window=True)
        import base64
        import hashlib
        import hmac

        payload = base64.b64encode(body).decode()
        headers = dict(good.headers)
        headers["X-TXC-PAYLOAD"] = payload
        headers["X-TXC-SIGNATURE"] = hmac.new(b"sandbox-secret", payload.encode(), hashlib.sha512).hexdigest()
        spoil(headers, {"nonce": 0, "request": ""})
        return SignedRequest(path, nonce, body, headers)

    monkeypatch.setattr(transport_module, "sign", spoilt)
    with pytest.raises(kind) as caught:
        client.main_balance()
    assert text in str(caught.value)


def test_a_nonce_counts_once(client):
    client.server_time()
    nonce = client.clock.next_nonce()
    client._transport._once(MAIN, {}, nonce=nonce)
    with pytest.raises(e.WhiteBitNonceError) as caught:
        client._transport._once(MAIN, {}, nonce=nonce)
    assert "Too many requests." in str(caught.value)


def test_without_a_window_nonces_grow(make_client, monkeypatch):
    client = make_client(nonce_window=False)
    assert client.main_balance()
    smaller = client.clock.next_nonce(window=False) - 10_000
    monkeypatch.setattr(client.clock, "next_nonce", lambda **options: smaller)
    with pytest.raises(e.WhiteBitNonceError):
        client.main_balance()


@pytest.mark.parametrize("skew_ms", [-3_600_000, -7_000, 7_000, 3_600_000])
def test_a_wrong_clock_is_noticed_and_corrected(make_client, sandbox, skew_ms):
    clock = ExchangeClock()
    right = clock._local_ms
    clock._local_ms = lambda: right() + skew_ms
    client = make_client(retry=QUICK, clock=clock)
    assert client.main_balance()["BTC"] == 1
    assert abs(clock.now_ms() - sandbox.control("GET", "clock")["now_ms"]) < 2_000


def test_the_exchanges_clock_is_set_forward(make_client, sandbox):
    client = make_client(retry=QUICK)
    assert client.main_balance()
    sandbox.advance(3600)
    assert client.main_balance()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("lost_reply_before", e.WhiteBitUnavailableError),
        ("lost_reply_after", e.WhiteBitUnavailableError),
        ("reset", e.WhiteBitUnavailableError),
        ("error_500_before", e.WhiteBitUnavailableError),
        ("error_500_after", e.WhiteBitUnavailableError),
        ("unavailable", e.WhiteBitUnavailableError),
        ("empty_body", e.WhiteBitUnavailableError),
        ("cut_reply", e.WhiteBitUnavailableError),
        ("garbage", e.WhiteBitUnavailableError),
        ("html_ok", e.WhiteBitUnavailableError),
        ("ok_with_error", e.WhiteBitUnavailableError),
        ("rate_limit", e.WhiteBitRateLimitError),
        ("rate_limit_page", e.WhiteBitRateLimitError),
    ],
)
def test_reading_calls_are_repeated(make_client, sandbox, fault, kind):
    sandbox.fault(fault, path=MAIN, count=2, bytes=3)
    assert make_client(retry=QUICK).main_balance()["BTC"] == 1
    sandbox.fault(fault, path=MAIN, count=3, bytes=3)
    with pytest.raises(kind) as caught:
        make_client(retry=QUICK).main_balance()
    assert caught.value.money_moved is False
    sandbox.clear_faults()


@pytest.mark.parametrize(
    ("fault", "moved"),
    [
        ("lost_reply_before", None),
        ("lost_reply_after", None),
        ("reset", None),
        ("error_500_before", None),
        ("error_500_after", None),
        ("unavailable_after", None),
        ("cut_reply", None),
        ("garbage", None),
        ("html_ok", None),
        ("ok_with_error", None),
        ("rate_limit", False),
        ("rate_limit_page", None),
    ],
)
def test_moves_are_not_repeated_blindly(make_client, sandbox, fault, moved):
    client = make_client(retry=QUICK)
    client.server_time()
    sandbox.fault(fault, path="*/invest", count=1, bytes=3)
    path = "/api/v4/main-account/smart-flex/investments/invest"
    with pytest.raises(e.WhiteBitError) as caught:
        client._transport._once(
            path,
            {"plan": "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "amount": "10"},
            nonce=client.clock.next_nonce(),
        )
    assert caught.value.money_moved is moved
    assert sum(request["path"] == path for request in sandbox.requests()) <= 1


def test_a_slow_answer_is_given_up(make_client, sandbox):
    sandbox.fault("delay_reply", path=MAIN, count=1, seconds="4")
    with pytest.raises(e.WhiteBitUnavailableError) as caught:
        make_client().main_balance()
    assert "in time" in str(caught.value)


def test_no_server(make_client, sandbox):
    from airflow_provider_whitebit.client.api import WhiteBitClient
    from airflow_provider_whitebit.client.transport import NO_RETRIES, Transport

    client = WhiteBitClient(Transport("http://127.0.0.1:9", Credentials("k", "s"), retry=NO_RETRIES))
    with pytest.raises(e.WhiteBitUnavailableError) as caught:
        client._transport._once(MAIN, {}, nonce=1)
    assert caught.value.money_moved is False


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(tmp_path, status):
    import http.server
    import threading

    from airflow_provider_whitebit.client.api import WhiteBitClient
    from airflow_provider_whitebit.client.transport import NO_RETRIES, Transport

    seen = []

    class Redirects(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(self.path)
            self.send_response(status)
            self.send_header("Location", "https://elsewhere.example/login")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Redirects)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        client = WhiteBitClient(Transport(url, Credentials("k", "s"), retry=NO_RETRIES))
        with pytest.raises(
            e.WhiteBitUnavailableError, match=r"redirected.* 'https://elsewhere.example/login'"
        ) as caught:
            client.main_balance()
        with pytest.raises(e.WhiteBitUnavailableError) as sent:
            client._transport._once(MAIN, {}, nonce=1)
    finally:
        server.shutdown()
        server.server_close()
    assert seen == [MAIN, MAIN]
    assert "host and region" in str(caught.value)
    assert sent.value.money_moved is None
