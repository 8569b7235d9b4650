"""Signatures of WhiteBIT's private HTTP API v4. Pure: no clock, no network, no state.

Vendor page: Authentication. The body's bytes are what is signed, so they are made here, once, and sent as they are.
"""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key and its secret. Neither shows up in ``repr``."""

    api_key: str
    api_secret: str

    def __repr__(self) -> str:
        return "Credentials(api_key='***', api_secret='***')"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """The bytes of a signed body and the headers that go with it. Neither shows up in ``repr``."""

    path: str
    nonce: int
    body: bytes
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"SignedRequest(path={self.path!r}, nonce={self.nonce})"


def sign(
    credentials: Credentials, path: str, params: Mapping[str, Any], *, nonce: int, nonce_window: bool
) -> SignedRequest:
    """Sign one private call.

    :param credentials: key and secret of the account.
    :param path: API path, for example ``/api/v4/main-account/balance``; it is part of what is signed.
    :param params: the call's own parameters, JSON-able. Amounts are decimal strings.
    :param nonce: Unix time in milliseconds.
    :param nonce_window: whether the exchange shall check the nonce against its clock (within 5 s) and for
        uniqueness, in place of "larger than every earlier one".
    :returns: body and headers, ready to be sent unchanged.
    :raises ValueError: if a parameter is not a number that JSON can carry.
    """
    fields = {"request": path, "nonce": nonce, **params}
    if nonce_window:
        fields["nonceWindow"] = True
    body = _encode(fields).encode()
    payload = b64encode(body)
    signature = hmac.digest(credentials.api_secret.encode(), payload, "sha512").hex()
    return SignedRequest(
        path,
        nonce,
        body,
        {
            "Content-Type": "application/json",
            "X-TXC-APIKEY": credentials.api_key,
            "X-TXC-PAYLOAD": payload.decode("ascii"),
            "X-TXC-SIGNATURE": signature,
        },
    )
