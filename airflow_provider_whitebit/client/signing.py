"""Signatures of WhiteBIT's private HTTP API v4. Pure: no clock, no network, no state.

Vendor page: Authentication. The signature covers the exact bytes of the body, so they are made here, once.
"""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key and its secret. ``repr`` shows neither."""

    api_key: str
    api_secret: str

    def __repr__(self) -> str:
        return "Credentials(api_key='***', api_secret='***')"


class SignedRequest(NamedTuple):
    """The bytes of a signed body and its headers. ``repr`` shows neither."""

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
    :param nonce_window: if true, the exchange requires a unique nonce within 5 s of its clock, instead of one larger
        than every earlier one.
    :returns: body and headers, to be sent unchanged.
    :raises ValueError: if a parameter is a number that JSON cannot express.
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
