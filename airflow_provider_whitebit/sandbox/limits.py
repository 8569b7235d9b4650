"""How often one address may call: sliding windows of ten seconds. Vendor page: Rate limits."""

from __future__ import annotations

from collections import defaultdict, deque

from airflow_provider_whitebit.sandbox.answers import refuse

WINDOW_MS = 10_000
LIMITS = (
    ("/api/v4/main-account/", 1000),
    ("/api/v4/trade-account/", 12_000),
    ("/api/v4/collateral-account/", 12_000),
    ("/api/v4/public/", 20_000),
)


class RateLimits:
    """Counts calls by address and group of paths; refused calls are not counted, and never queued."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], deque[int]] = defaultdict(deque)

    def check(self, path: str, client: str, now_ms: int) -> None:
        """:raises Refusal: with HTTP 429 if this call is one too many."""
        for prefix, most in LIMITS:
            if path.startswith(prefix):
                calls = self._calls[client, prefix]
                while calls and calls[0] <= now_ms - WINDOW_MS:
                    calls.popleft()
                if len(calls) >= most:
                    raise refuse(429, "Too Many Attempts.")
                calls.append(now_ms)
                return
