"""Exact arithmetic with amounts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal, localcontext

from airflow_provider_whitebit.client.models import plain

ZERO = Decimal(0)
INFINITE = Decimal("Infinity")
#: Digits of results: 30 before and 30 after the point, times a share of 30, summed many times.
_DIGITS = 200


def exact() -> AbstractContextManager[Context]:
    """Return a context in which sums and products of amounts are not rounded, as Python does after 28 digits."""
    return localcontext(prec=_DIGITS)


def round_down(amount: Decimal, decimals: int) -> Decimal:
    """Round an amount down to a number of decimals."""
    return amount.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_DOWN)


def round_up(amount: Decimal, decimals: int) -> Decimal:
    """Round an amount up to a number of decimals."""
    return amount.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_UP)


def shortest(amount: Decimal) -> Decimal:
    """Return an equal amount without trailing zeros after the point."""
    return Decimal(plain(amount))
