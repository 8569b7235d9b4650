"""The numbers that the exchange enforces, and the rate limits.

The minimum and maximum of each plan are in :mod:`.plans`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from decimal import Decimal

from airflow_provider_whitebit.sandbox.answers import THROTTLED, Refusal

#: A windowed nonce may differ from the exchange's time by this much. Vendor page: Authentication.
NONCE_WINDOW_MS = 5_000
LARGEST_NONCE = 2**62
LARGEST_BODY = 1024 * 1024

#: Vendor page: Lending.
MINIMUM_FIXED_AMOUNT = Decimal("0.000001")
MOST_DECIMALS = 18
#: Vendor page: Transfer between balances.
MINIMUM_TRANSFER = Decimal("0.00000001")
TRANSFER_DECIMALS = 8

#: Entries per page: the largest number, and the default of lists and of Flex histories. Plans refuse a larger limit.
LARGEST_PAGE = 100
#: Flex investments and histories refuse no limit up to this: the vendor states none.
LARGEST_LIMIT = 2**31 - 1
LIST_PAGE = 100
HISTORY_PAGE = 50
LARGEST_OFFSET = 10_000
#: Vendor pages: Sub-accounts, Get deposit/withdraw history. Offset and limit together stay below the window.
SUB_ACCOUNTS_PAGE = 30
LARGEST_MAIN_PAGE = 500
LARGEST_WINDOW = 10_000

#: Calls per address in ten seconds, by the first beginning of the path that fits. Vendor page: Rate limits.
RATE_WINDOW_MS = 10_000
RATE_LIMITS = (
    ("/api/v4/main-account/history", 200),
    ("/api/v4/main-account/", 1000),
    ("/api/v4/sub-account/", 1000),
    ("/api/v4/trade-account/", 12_000),
    ("/api/v4/collateral-account/", 12_000),
    ("/api/v4/public/", 2000),
)


class RateLimits:
    """Count calls by address and group of paths, in sliding windows. Refused calls do not count."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], deque[int]] = defaultdict(deque)

    def check(self, path: str, client: str, now_ms: int) -> None:
        """Count a call.

        :raises Refusal: with HTTP 429 if it exceeds the limit.
        """
        for prefix, most in RATE_LIMITS:
            if path.startswith(prefix):
                calls = self._calls[client, prefix]
                while calls and calls[0] <= now_ms - RATE_WINDOW_MS:
                    calls.popleft()
                if len(calls) >= most:
                    raise Refusal(429, dict(THROTTLED))
                calls.append(now_ms)
                return
