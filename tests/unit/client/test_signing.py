"""Signatures compared with vectors from OpenSSL.

Each vector was made in a shell, without this package::

    payload=$(printf '%s' "$body" | base64 -w0)
    printf '%s' "$payload" | openssl dgst -sha512 -hmac "$secret" -r | cut -d' ' -f1
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.signing import Credentials, sign

VECTORS = [
    (
        "sandbox-secret",
        "/api/v4/main-account/smart-flex/plans",
        1594297865000,
        {"ticker": "USDT"},
        True,
        '{"request":"/api/v4/main-account/smart-flex/plans","nonce":1594297865000,"ticker":"USDT","nonceWindow":true}',
        "eyJyZXF1ZXN0IjoiL2FwaS92NC9tYWluLWFjY291bnQvc21hcnQtZmxleC9wbGFucyIsIm5vbmNlIjoxNTk0Mjk3ODY1MDAw"
        "LCJ0aWNrZXIiOiJVU0RUIiwibm9uY2VXaW5kb3ciOnRydWV9",
        "d9c0c69013e8f692605d9482be1c2ac2f4acd4fa0b12e09592faaec65860a17371b9e4c2d21cbb4e0cf9f0590aeca6a0"
        "00887a0ba39491798bee13894b05d2d4",
    ),
    (
        "0123456789abcdef0123456789abcdef",
        "/api/v4/main-account/balance",
        1700000000123,
        {},
        False,
        '{"request":"/api/v4/main-account/balance","nonce":1700000000123}',
        "eyJyZXF1ZXN0IjoiL2FwaS92NC9tYWluLWFjY291bnQvYmFsYW5jZSIsIm5vbmNlIjoxNzAwMDAwMDAwMTIzfQ==",
        "3ce9bf0b2c2ba7fda3ddb02fe51169b5887e6bea8bd75cea288c71ce238277016a75b4f4dc97911fe9e36c8b02fa6e52"
        "28d037405d745d2d8f6013ecf3f6b4bc",
    ),
    (
        'a secret with spaces & "quotes"',
        "/api/v4/main-account/smart-flex/investments/invest",
        1700000000456,
        {"plan": "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "amount": "1000.500000", "withReinvest": True},
        True,
        '{"request":"/api/v4/main-account/smart-flex/investments/invest","nonce":1700000000456,'
        '"plan":"8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f","amount":"1000.500000","withReinvest":true,'
        '"nonceWindow":true}',
        "eyJyZXF1ZXN0IjoiL2FwaS92NC9tYWluLWFjY291bnQvc21hcnQtZmxleC9pbnZlc3RtZW50cy9pbnZlc3QiLCJub25jZSI6"
        "MTcwMDAwMDAwMDQ1NiwicGxhbiI6IjhmMmU5ZDNjLTFhNGItNGMyZC05ZTVmLTZhN2I4YzlkMGUxZiIsImFtb3VudCI6IjEw"
        "MDAuNTAwMDAwIiwid2l0aFJlaW52ZXN0Ijp0cnVlLCJub25jZVdpbmRvdyI6dHJ1ZX0=",
        "330fbc0a3d4ea994156e02e818718dea2667111d41ba2bc391dfcd9a48fbe5b1fb8e3671c84064a754bd526ae431c7da"
        "e0694f81c870311457e05a0f5ff90df0",
    ),
    (
        "sandbox-secret",
        "/api/v4/main-account/smart-flex/investments/history",
        1700000000789,
        {"plan": "грн-ü-💶", "actionTypes": [1, 6]},
        True,
        '{"request":"/api/v4/main-account/smart-flex/investments/history","nonce":1700000000789,'
        '"plan":"грн-ü-💶","actionTypes":[1,6],"nonceWindow":true}',
        "eyJyZXF1ZXN0IjoiL2FwaS92NC9tYWluLWFjY291bnQvc21hcnQtZmxleC9pbnZlc3RtZW50cy9oaXN0b3J5Iiwibm9uY2Ui"
        "OjE3MDAwMDAwMDA3ODksInBsYW4iOiLQs9GA0L0tw7wt8J+StiIsImFjdGlvblR5cGVzIjpbMSw2XSwibm9uY2VXaW5kb3ci"
        "OnRydWV9",
        "d3fbb272a94ef7e9e3cb2352dd2f7eea499b6d572fcbaf846b18fe07345805f87fb15f4fe4fbbf1a7ddc352d1463e486"
        "b505a245190389b89c06e90ee077cb19",
    ),
]


@pytest.mark.parametrize(("secret", "path", "nonce", "params", "window", "body", "payload", "signature"), VECTORS)
def test_agrees_with_openssl(secret, path, nonce, params, window, body, payload, signature):
    signed = sign(Credentials("the-key", secret), path, params, nonce=nonce, nonce_window=window)
    assert signed.body == body.encode()
    assert signed.headers == {
        "Content-Type": "application/json",
        "X-TXC-APIKEY": "the-key",
        "X-TXC-PAYLOAD": payload,
        "X-TXC-SIGNATURE": signature,
    }


@given(
    secret=st.text(min_size=1).filter(lambda text: text.encode("utf-8", "ignore").decode() == text),
    nonce=st.integers(0, 2**53),
    params=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1).filter(
            lambda name: name not in ("request", "nonce", "nonceWindow")
        ),
        st.one_of(st.text(st.characters(codec="utf-8")), st.integers(), st.booleans(), st.lists(st.integers())),
    ),
)
def test_the_signature_covers_the_bytes_of_the_body(secret, nonce, params):
    signed = sign(Credentials("k", secret), "/api/v4/x", params, nonce=nonce, nonce_window=True)
    payload = signed.headers["X-TXC-PAYLOAD"]
    assert base64.b64decode(payload) == signed.body
    assert json.loads(signed.body) == {"request": "/api/v4/x", "nonce": nonce, **params, "nonceWindow": True}
    expected = hmac.new(secret.encode(), payload.encode(), hashlib.sha512).hexdigest()
    assert signed.headers["X-TXC-SIGNATURE"] == expected


def test_a_number_that_json_cannot_express_is_refused():
    with pytest.raises(ValueError):
        sign(Credentials("k", "s"), "/x", {"amount": float("nan")}, nonce=1, nonce_window=True)


def test_repr_shows_no_secret():
    credentials = Credentials("my-api-key", "my-api-secret")
    signed = sign(credentials, "/api/v4/x", {}, nonce=1, nonce_window=True)
    shown = repr(credentials) + repr(signed) + str(signed)
    for secret in ("my-api-key", "my-api-secret", *signed.headers.values()):
        if secret != "application/json":
            assert secret not in shown
