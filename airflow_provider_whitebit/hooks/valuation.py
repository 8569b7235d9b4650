"""Reads what a valuation needs from the exchange. Moves no money."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from decimal import Decimal

import pendulum

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import changed_meanwhile
from airflow_provider_whitebit.client.models import FixedInvestment, FlexInvestment
from airflow_provider_whitebit.client.unreadable import UnreadableRecord, warn
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.treasury.promises import read_holdings
from airflow_provider_whitebit.treasury.valuation import MarketPrices, ValuedHoldings, held_amounts, value_amounts

log = logging.getLogger(__name__)

#: How many times the account is read if investments change meanwhile.
_READINGS = 3


def read_prices(client: WhiteBitClient) -> MarketPrices:
    """Read the last prices of all markets. Vendor page: Market activity.

    Markets that cannot be read are logged, and are among the prices' ``unreadable``.

    :param client: ``WhiteBitHook().get_conn()``.
    :raises WhiteBitUnavailableError: no usable answer.
    """
    unreadable: list[UnreadableRecord] = []
    markets = client.market_activity(on_unreadable=unreadable.append)
    for record in unreadable:
        warn(record)
    return MarketPrices(tuple(markets.values()), _now(client), tuple(unreadable))


def read_valuation(client: WhiteBitClient, value_in: str, tickers: Collection[str] | None = None) -> ValuedHoldings:
    """Read what an account holds in Main, Flex and Fixed, and value it. What the total leaves out is logged.

    Vendor pages: Main balance, Lending (Flex and Fixed plans), Market activity.

    :param client: ``WhiteBitHook().get_conn()``.
    :param value_in: the currency, for example ``USDT``.
    :param tickers: only these assets; all by default.
    :raises WhiteBitValidationError: the currency has no market.
    :raises WhiteBitUnavailableError: investments changed each time they were read, or there was no usable answer.
    :raises WhiteBitError: the exchange refused a call.
    """
    prices = read_prices(client)
    prices.check_currency(value_in)
    amounts, unreadable = _read(client, tickers)
    found = ValuedHoldings(_now(client), value_amounts(amounts, prices, value_in), unreadable)
    for one in found.valuation.left_out:
        log.warning("In no total: %s of %s (%s)", one.figure, one.ticker or "an asset without a name", one.reason)
    for record in unreadable:
        log.warning("In no total, because it cannot be read: %s", record)
    return found


def _now(client: WhiteBitClient) -> pendulum.DateTime:
    """The exchange's time, to the second, without another call."""
    return pendulum.from_timestamp(client.clock.now_ms() // 1000, tz="UTC")


def _read(
    client: WhiteBitClient, tickers: Collection[str] | None
) -> tuple[dict[str, dict[str, Decimal | None]], tuple[str, ...]]:
    """Main, Flex and Fixed of one moment, and what cannot be read of them.

    Main is read between two readings of the investments: if these agree, no money was on its way between them.
    """
    account, fixed = Account(client), list(client.fixed_investments(on_unreadable=_ignore))
    for _ in range(_READINGS):
        before, unreadable = fixed, list[UnreadableRecord]()
        holdings = read_holdings(account)
        fixed = list(client.fixed_investments(on_unreadable=unreadable.append))
        after = account.flex_investments(None, _ignore)
        if _state(holdings.investments) == _state(after) and _state(before) == _state(fixed):
            unreadable += (record for record in holdings.unreadable if record.kind is FlexInvestment)
            named = (record for record in unreadable if not record.closed and _concerns(record, tickers))
            return held_amounts(holdings, fixed, tickers), tuple(str(record) for record in named)
    raise changed_meanwhile("Investments", _READINGS)


def _ignore(record: UnreadableRecord) -> None:
    """The list is read again, and its unreadable records are named then."""


def _state(investments: Iterable[FlexInvestment | FixedInvestment]) -> set[tuple[str, Decimal, int]]:
    return {
        (one.id, one.invested if isinstance(one, FlexInvestment) else one.amount, one.status)
        for one in investments
        if not one.closed
    }


def _concerns(record: UnreadableRecord, tickers: Collection[str] | None) -> bool:
    return tickers is None or record.ticker is None or record.ticker in tickers
