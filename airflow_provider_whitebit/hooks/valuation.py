"""Reads what a valuation needs from the exchange. Moves no money."""

from __future__ import annotations

import pendulum

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.unreadable import UnreadableRecord, warn
from airflow_provider_whitebit.treasury.valuation import MarketPrices


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
    read_at = pendulum.from_timestamp(client.clock.now_ms() // 1000, tz="UTC")
    return MarketPrices(tuple(markets.values()), read_at, tuple(unreadable))
