"""Signing alone, against the standard library's calls that it must make. There is no load: all bodies are short."""

from __future__ import annotations

import hmac
import json
import statistics
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

from figure import Figure, command

from airflow_provider_whitebit.client.signing import Credentials, sign

PATH = "/api/v4/main-account/smart-flex/investments/invest"
PARAMS = {"plan": "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "amount": "1000.5", "withReinvest": True}
CREDENTIALS = Credentials("bench-key", "bench-secret")
TURNS = 50
GOAL = 1.5

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def ours(nonce: int) -> None:
    """Sign one invest call."""
    sign(CREDENTIALS, PATH, PARAMS, nonce=nonce, nonce_window=True)


def floor(nonce: int) -> None:
    """Encode the same body, once as JSON and once in base 64, and hash it."""
    body = _encode({"request": PATH, "nonce": nonce, **PARAMS, "nonceWindow": True}).encode()
    hmac.digest(b"bench-secret", b64encode(body), "sha512").hex()


def microseconds(call: Callable[[int], None]) -> float:
    """Processor time of one call."""
    begin = time.process_time()
    for nonce in range(1_700_000_000_000, 1_700_000_001_000):
        call(nonce)
    return (time.process_time() - begin) / 1000 * 1e6


def figures(home: Path) -> list[Figure]:
    """One signature, and its ratio to the floor in the same turn: medians."""
    turns = [(microseconds(ours), microseconds(floor)) for _ in range(TURNS)]
    ratio = statistics.median(mine / least for mine, least in turns)
    return [
        Figure("one signature", statistics.median(mine for mine, _ in turns), "us"),
        Figure("one signature against the standard library's calls that it must make", ratio, "ratio", goal=GOAL),
    ]


if __name__ == "__main__":
    command(figures)
