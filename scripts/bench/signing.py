"""Signing alone. There is no load: one call is signed at a time, and all bodies are short."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from figure import Figure, command

from airflow_provider_whitebit.client.signing import Credentials, sign


def figures(home: Path) -> list[Figure]:
    """One signature of an invest call: the median of many rounds."""
    credentials = Credentials("bench-key", "bench-secret")
    params = {"plan": "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "amount": "1000.5", "withReinvest": True}
    path = "/api/v4/main-account/smart-flex/investments/invest"
    rounds = []
    for _ in range(50):
        begin = time.process_time()
        for nonce in range(1_700_000_000_000, 1_700_000_001_000):
            sign(credentials, path, params, nonce=nonce, nonce_window=True)
        rounds.append((time.process_time() - begin) / 1000 * 1e6)
    return [Figure("one signature", statistics.median(rounds), "us", goal=12)]


if __name__ == "__main__":
    command(figures)
