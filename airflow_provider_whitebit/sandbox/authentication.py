"""Who is calling: key, payload, signature, nonce. Vendor page: Authentication.

The vendor has been seen to send these refusals with several statuses; the sandbox has chosen, in the order of checks:

====================================================================  ======
message                                                               status
====================================================================  ======
``Payload not provided.``, ``Invalid payload.``                       401
``Unauthorized request.`` (wrong signature, unknown key)              401
``Validation failed`` (the body is no JSON object)                    400
``Request not provided.``                                             401
``Invalid payload.`` (``request`` is not the path)                    401
``Nonce not provided.``, ``Invalid nonceWindow.``                     422
``Your nonce is more than 5 seconds lesser (greater) than ...``       422
``Too many requests.`` (used before, or not larger than the last)     422
``This action is unauthorized. Enable your key ...``                  403
``You don't have permission to use this endpoint. ...``               403
====================================================================  ======

The rate limit (429), unknown paths (404), methods (405) and size (413) come before, fields (400) and rules (422) after.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.sandbox.answers import Refusal, refuse
from airflow_provider_whitebit.sandbox.ledger import Ledger
from airflow_provider_whitebit.sandbox.plans import Key

WINDOW_MS = 5_000
_LARGEST_NONCE = 2**62
_decode = json.JSONDecoder(parse_float=Decimal).decode


@dataclass(frozen=True, slots=True)
class Caller:
    """A request whose signature was right."""

    key: Key
    nonce: int
    params: dict[str, Any]

    @property
    def account(self) -> str:
        """The ledger's name of the caller's Main balance."""
        return f"main:{self.key.user}"


def authenticate(
    keys: Mapping[str, Key], ledger: Ledger, path: str, headers: Mapping[str, str], body: bytes, now_ms: int
) -> Caller:
    """Check a private request and use its nonce up.

    A nonce is used up once the signature is right, even if a rule refuses the call later. A windowed nonce does not
    raise the mark that unwindowed ones have to pass.

    :raises Refusal: in the vendor's words.
    """
    given = headers if "x-txc-payload" in headers else {name.lower(): value for name, value in headers.items()}
    payload = given.get("x-txc-payload", "")
    if not payload:
        raise refuse(401, "Payload not provided.")
    try:
        signed = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise refuse(401, "Invalid payload.") from None
    if signed != body:
        raise refuse(401, "Invalid payload.")
    key = keys.get(given.get("x-txc-apikey", ""))
    secret = key.secret if key else "no such key"
    expected = hmac.new(secret.encode(), payload.encode(), hashlib.sha512).hexdigest()
    if key is None or not hmac.compare_digest(
        expected.encode(), given.get("x-txc-signature", "").lower().encode(errors="replace")
    ):
        raise refuse(401, "Unauthorized request.")
    params = _params(body)
    if not params.get("request"):
        raise refuse(401, "Request not provided.")
    if params["request"] != path:
        raise refuse(401, "Invalid payload.")
    nonce = _use_nonce(ledger, key, params, now_ms)
    if not key.enabled:
        raise refuse(403, "This action is unauthorized. Enable your key in API settings")
    rest = {name: value for name, value in params.items() if name not in ("request", "nonce", "nonceWindow")}
    return Caller(key, nonce, rest)


def require(caller: Caller, permission: str) -> None:
    """:raises Refusal: if the key may not use such an endpoint."""
    if permission not in caller.key.permissions:
        raise refuse(403, "You don't have permission to use this endpoint. Please contact support for more details")


def _params(body: bytes) -> dict[str, Any]:
    try:
        params = _decode(body.decode())
    except (ValueError, RecursionError):
        raise Refusal(400, {"code": 0, "message": "Validation failed", "errors": {"body": ["Invalid JSON."]}}) from None
    if not isinstance(params, dict):
        raise Refusal(400, {"code": 0, "message": "Validation failed", "errors": {"body": ["Invalid JSON."]}})
    return params


def _use_nonce(ledger: Ledger, key: Key, params: dict[str, Any], now_ms: int) -> int:
    raw = params.get("nonce")
    if isinstance(raw, str) and raw.isascii() and raw.isdecimal():
        raw = int(raw) if len(raw) < 20 else _LARGEST_NONCE
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise refuse(422, "Nonce not provided.")
    if not 0 < raw < _LARGEST_NONCE:
        raise refuse(422, "Too many requests.")
    window = params.get("nonceWindow", False)
    if not isinstance(window, bool):
        raise refuse(422, "Invalid nonceWindow.")
    if window:
        if raw < now_ms - WINDOW_MS:
            raise refuse(422, "Your nonce is more than 5 seconds lesser than the current nonce")
        if raw > now_ms + WINDOW_MS:
            raise refuse(422, "Your nonce is more than 5 seconds greater than the current nonce")
    else:
        last = ledger.db.execute("SELECT nonce FROM last_nonce WHERE api_key=?", (key.api_key,)).fetchone()
        if last and raw <= last[0]:
            raise refuse(422, "Too many requests.")
    taken = ledger.db.execute("INSERT OR IGNORE INTO nonce VALUES (?,?)", (key.api_key, raw)).rowcount == 0
    if taken:
        raise refuse(422, "Too many requests.")
    if not window:
        ledger.db.execute("INSERT OR REPLACE INTO last_nonce VALUES (?,?)", (key.api_key, raw))
    return raw
