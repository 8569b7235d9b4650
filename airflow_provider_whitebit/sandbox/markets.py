"""The public lists of markets and of their prices. Vendor pages: Market info, Market activity.

Nothing is traded here: prices stay as they are, and volumes are 0. Of a scenario's assets only those below have a
market.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_whitebit.sandbox.plans import AssetFacts

_MONEY = "USDT"
_PRICES = {"BTC": "100000", "ETH": "4000", "EURI": "1.1", "SOL": "200", "USDC": "1"}


def list_markets(assets: Mapping[str, AssetFacts]) -> list[dict[str, Any]]:
    """Return the markets of these assets."""
    return [
        {
            "name": f"{stock}_{_MONEY}",
            "stock": stock,
            "money": _MONEY,
            "stockPrec": str(assets[stock].precision),
            "moneyPrec": str(assets[_MONEY].precision),
            "feePrec": "4",
            "makerFee": "0.1",
            "takerFee": "0.1",
            "minAmount": "0.00000001",
            "minTotal": "5",
            "maxTotal": "10000000",
            "tradesEnabled": False,
            "isCollateral": True,
            "type": "spot",
        }
        for stock in _traded(assets)
    ]


def list_prices(assets: Mapping[str, AssetFacts]) -> dict[str, Any]:
    """Return the activity of these assets' markets, by market."""
    return {
        f"{stock}_{_MONEY}": {
            "base_id": 0,
            "quote_id": 0,
            "last_price": price,
            "quote_volume": "0",
            "base_volume": "0",
            "isFrozen": True,
            "change": "0",
        }
        for stock, price in _traded(assets).items()
    }


def _traded(assets: Mapping[str, AssetFacts]) -> dict[str, str]:
    """Return the prices of assets that have a market."""
    return {stock: price for stock, price in _PRICES.items() if {stock, _MONEY} <= assets.keys()}
