"""Who is calling: key, payload, signature, nonce. Vendor page: Authentication.

The vendor sends these refusals with several statuses. The sandbox uses these, in the order of its checks:

=====================================================================  ======
message                                                                status
=====================================================================  ======
``Payload not provided.``, ``Invalid payload.``                        401
``Unauthorized request.`` (wrong signature, unknown key)               401
``Validation failed`` (the body is not a JSON object)                  400
``Request not provided.``                                              401
``Invalid payload.`` (``request`` is not the path)                     401
``Nonce not provided.``, ``Invalid nonceWindow.``                      422
``Your nonce is more than 5 seconds lesser (greater) than ...``        422
``Too many requests.`` (used before, or not larger than the last)      429
``This action is unauthorized. Enable your key ...``                   403
``You don't have permission to use this endpoint. Please ...``         403
``You don't have permission to use this endpoint.``                    403
``This API Key is not authorized to perform this action.`` (code 4)    403
=====================================================================  ======

It checks the rate limit (429), path (404), method (405) and size (413) before, fields (400) and rules (422) after.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NoReturn

from airflow_provider_whitebit.sandbox.answers import Refusal, invalid, refuse
from airflow_provider_whitebit.sandbox.ledger import Ledger
from airflow_provider_whitebit.sandbox.limits import LARGEST_NONCE, NONCE_WINDOW_MS
from airflow_provider_whitebit.sandbox.plans import Key

_NO_PERMISSION = "You don't have permission to use this endpoint."


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_number).decode


@dataclass(frozen=True, slots=True)
class Caller:
    """A request with a valid signature."""

    key: Key
    nonce: int
    params: dict[str, Any]

    @property
    def account(self) -> str:
        """The ledger account of the caller's Main balance."""
        return f"main:{self.key.user}"


class Keys(dict[str, Key]):
    """All API keys by name. Changes last until the exchange's next reset."""

    def named(self, api_key: str | None) -> Key:
        """Return a key.

        :param api_key: its name; by default the first key.
        :raises ValueError: if it does not exist.
        """
        if api_key and api_key not in self:
            raise ValueError(f"there is no key {api_key!r}")
        return self[api_key] if api_key else next(iter(self.values()))

    def add_like(self, api_key: str, secret: str, like: str | None = None) -> None:
        """Add one more API key to an account, with the permissions and the state of an existing key.

        :param like: a key of the account; by default the first key.
        :raises ValueError: if that key does not exist, or the new name is taken.
        """
        known = self.named(like)
        if api_key in self:
            raise ValueError(f"there is already a key {api_key!r}")
        self[api_key] = replace(known, api_key=api_key, secret=secret)

    def revoke(self, api_key: str) -> None:
        """Delete an API key.

        :raises ValueError: if it does not exist, or is the last key.
        """
        name = self.named(api_key).api_key
        if len(self) == 1:
            raise ValueError("the last key cannot be revoked: the sandbox would be unusable")
        del self[name]


def authenticate(
    keys: Mapping[str, Key],
    ledger: Ledger,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    now_ms: int,
    *,
    used_nonce: int = 429,
) -> Caller:
    """Check a private request and use up its nonce.

    A nonce is used up once the signature is valid, even if a rule refuses the call later. A windowed nonce does not
    raise the minimum for nonces without a window.

    :param used_nonce: HTTP status of the refusal of a nonce that was used, or is too small.
    :raises Refusal: in the vendor's words.
    """
    key = _check_signature(keys, headers, body)
    params = _read_body(body)
    if not params.get("request"):
        raise refuse(401, "Request not provided.")
    if params["request"] != path:
        raise refuse(401, "Invalid payload.")
    nonce = _use_nonce(ledger, key, params, now_ms, used_nonce)
    if not key.enabled:
        raise refuse(403, "This action is unauthorized. Enable your key in API settings")
    rest = {name: value for name, value in params.items() if name not in ("request", "nonce", "nonceWindow")}
    return Caller(key, nonce, rest)


def require(caller: Caller, permission: str, *, writes: bool) -> None:
    """Check that the key may use an endpoint.

    :param permission: the endpoint's group.
    :param writes: whether the call changes something.
    :raises Refusal: if lending is not enabled for the account, or the endpoint or the right for the key.
    """
    key = caller.key
    if permission != "balance" and not key.lending:
        raise Refusal(403, {"code": 0, "message": f"{_NO_PERMISSION} Please contact support for more details"})
    if permission not in key.permissions:
        raise Refusal(403, {"code": 0, "message": _NO_PERMISSION})
    if writes and key.read_only:
        raise refuse(403, "This API Key is not authorized to perform this action.", code=4)


def _check_signature(keys: Mapping[str, Key], headers: Mapping[str, str], body: bytes) -> Key:
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
    signature = given.get("x-txc-signature", "").lower().encode(errors="replace")
    if key is None or not hmac.compare_digest(expected.encode(), signature):
        raise refuse(401, "Unauthorized request.")
    return key


def _read_body(body: bytes) -> dict[str, Any]:
    try:
        params = _decode(body.decode())
    except (ValueError, ArithmeticError, RecursionError):
        params = None
    if not isinstance(params, dict):
        raise invalid({"body": ["Invalid JSON."]})
    return params


def _use_nonce(ledger: Ledger, key: Key, params: dict[str, Any], now_ms: int, used: int) -> int:
    nonce, window = _read_nonce(params, now_ms, used)
    if not window:
        last = ledger.db.execute("SELECT nonce FROM last_nonce WHERE api_key=?", (key.api_key,)).fetchone()
        if last and nonce <= last[0]:
            raise refuse(used, "Too many requests.")
    added = ledger.db.execute("INSERT OR IGNORE INTO nonce VALUES (?,?)", (key.api_key, nonce)).rowcount
    if not added:
        raise refuse(used, "Too many requests.")
    if not window:
        ledger.db.execute("INSERT OR REPLACE INTO last_nonce VALUES (?,?)", (key.api_key, nonce))
    return nonce


def _read_nonce(params: dict[str, Any], now_ms: int, used: int) -> tuple[int, bool]:
    """Return the nonce, and whether it is windowed."""
    nonce, window = params.get("nonce"), params.get("nonceWindow", False)
    if isinstance(nonce, str) and nonce.isascii() and nonce.isdecimal():
        nonce = int(nonce) if len(nonce) < 20 else LARGEST_NONCE
    if isinstance(nonce, bool) or not isinstance(nonce, int):
        raise refuse(422, "Nonce not provided.")
    if not 0 < nonce < LARGEST_NONCE:
        raise refuse(used, "Too many requests.")
    if not isinstance(window, bool):
        raise refuse(422, "Invalid nonceWindow.")
    if window and nonce < now_ms - NONCE_WINDOW_MS:
        raise refuse(422, "Your nonce is more than 5 seconds lesser than the current nonce")
    if window and nonce > now_ms + NONCE_WINDOW_MS:
        raise refuse(422, "Your nonce is more than 5 seconds greater than the current nonce")
    return nonce, window
