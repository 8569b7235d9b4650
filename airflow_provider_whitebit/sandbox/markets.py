"""The public lists of markets and of their prices. Vendor pages: Market info, Market activity.

Nothing is traded here: prices stay as they are set, and volumes are 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_provider_whitebit.sandbox.assets import FIAT
from airflow_provider_whitebit.sandbox.plans import AssetFacts, Market

_FIAT_DECIMALS = 2
#: ``BTC_PERP`` is a perpetual future, which is priced in USDT.
_PERPETUAL, _PRICED_IN = "PERP", "USDT"


def list_markets(markets: Mapping[str, Market], assets: Mapping[str, AssetFacts]) -> list[dict[str, Any]]:
    """Return the markets whose assets are listed.

    :param markets: by name.
    :param assets: those that are listed, by ticker. Fiat currencies are listed too.
    """
    return [
        {
            "name": name,
            "stock": stock,
            "money": money,
            "stockPrec": _precision(stock, assets),
            "moneyPrec": _precision(money, assets),
            "feePrec": "4",
            "makerFee": "0.1",
            "takerFee": "0.1",
            "minAmount": "0.00000001",
            "minTotal": "5",
            "maxTotal": "10000000",
            "tradesEnabled": not market.frozen,
            "isCollateral": True,
            "type": "futures" if name.endswith(f"_{_PERPETUAL}") else "spot",
        }
        for name, market in _listed(markets, assets)
        for stock, money in [_pair(name)]
    ]


def list_prices(markets: Mapping[str, Market], assets: Mapping[str, AssetFacts]) -> dict[str, Any]:
    """Return the activity of the same markets, by name."""
    return {
        name: {
            "base_id": 0,
            "quote_id": 0,
            "last_price": format(market.last_price, "f"),
            "quote_volume": "0",
            "base_volume": "0",
            "isFrozen": market.frozen,
            "change": "0",
        }
        for name, market in _listed(markets, assets)
    }


def unknown_assets(market: str, assets: Iterable[str]) -> list[str]:
    """Return what the name of a market names that is neither an asset nor a fiat currency.

    :param market: its name, for example ``BTC_USDT``.
    :param assets: tickers.
    """
    return [ticker for ticker in _pair(market) if ticker not in assets and ticker not in FIAT]


def _pair(market: str) -> tuple[str, str]:
    """The asset of a market, and what its price is in."""
    stock, _, money = market.partition("_")
    return stock, _PRICED_IN if money == _PERPETUAL else money


def _listed(markets: Mapping[str, Market], assets: Mapping[str, AssetFacts]) -> Iterator[tuple[str, Market]]:
    return ((name, market) for name, market in markets.items() if not unknown_assets(name, assets))


def _precision(ticker: str, assets: Mapping[str, AssetFacts]) -> str:
    return str(assets[ticker].precision if ticker in assets else _FIAT_DECIMALS)
