"""Values of flows in one currency, in cents that add up. Pure.

A day's earning can be worth less than a cent. Rounding each alone would lose it, or double it. So the running total of
each way from account to account is rounded, and a flow has the difference: totals are right to half a cent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.moves.parsing import read_limit
from airflow_provider_whitebit.treasury.amounts import ZERO
from airflow_provider_whitebit.treasury.chart_of_accounts import read_mapping
from airflow_provider_whitebit.treasury.fields import read_by_ticker
from airflow_provider_whitebit.treasury.journal_entries import Flow, JournalEntry, Role

_CENT = Decimal("0.01")


def read_book_prices(raw: object) -> dict[str, Decimal]:
    """Read prices: what one unit of each asset is worth in the currency of the books.

    :param raw: asset to price; ``None``: none.
    :raises WhiteBitValidationError: what is wrong with them.
    """
    if raw is None:
        return {}
    found = read_by_ticker("prices", read_mapping("prices", raw, '{"USDT": "0.92"}'), read_limit)
    if zero := [ticker for ticker, price in found.items() if not price]:
        raise WhiteBitValidationError(f"prices.{zero[0]} is 0: it must be above zero.")
    return found


def require_prices(prices: Mapping[str, Decimal], tickers: Iterable[str]) -> None:
    """Check that there is a price for each of these assets.

    :raises WhiteBitValidationError: names those that have none.
    """
    if lacking := sorted(set(tickers) - set(prices)):
        raise WhiteBitValidationError(
            f"prices names no price for {', '.join(lacking)}.",
            next_step=(
                "Xero and QuickBooks Online keep one currency with two decimals, so each asset needs its price in "
                "the currency of the books.",
                'Write for example prices={"USDT": "0.92"}.',
            ),
        )


class Values:
    """What flows are worth. Use within :func:`.exact`, for the entries of a period in order.

    :param prices: by asset.
    """

    def __init__(self, prices: Mapping[str, Decimal]) -> None:
        self._prices = prices
        #: Of each way from account to account: the running total, and what is booked of it.
        self._sums: dict[tuple[Role, Role, str], tuple[Decimal, Decimal]] = {}

    def lines(self, entry: JournalEntry) -> list[tuple[Role, str, Decimal, Decimal]]:
        """Return role, asset, value and amount of each line of an entry; the values add up to zero.

        :returns: without lines of no value; nothing if the entry is worth less than a cent.
        """
        if len(entry.flows) == 1:
            value = self._value(entry.flows[0])
            into, out = entry.legs()
            return [(*into[:2], value, into[2]), (*out[:2], -value, out[2])] if value else []
        values: dict[tuple[Role, str], Decimal] = defaultdict(Decimal)
        for flow in entry.flows:
            value = self._value(flow)
            values[flow.target, flow.ticker] += value
            values[flow.source, flow.ticker] -= value
        amounts = {(role, ticker): amount for role, ticker, amount in entry.legs()}
        return [(*key, value, amounts.get(key, Decimal(0))) for key, value in values.items() if value]

    def _value(self, flow: Flow) -> Decimal:
        key = (flow.source, flow.target, flow.ticker)
        total, before = self._sums.get(key, (ZERO, ZERO))
        total += flow.amount * self._prices[flow.ticker]
        booked = total.quantize(_CENT, ROUND_HALF_EVEN)
        self._sums[key] = (total, booked)
        return booked - before
