"""The public lists of markets and prices."""

from __future__ import annotations

import json

from airflow_provider_whitebit.sandbox import Exchange


def public(exchange, name):
    answer = exchange.handle("GET", f"/api/v4/public/{name}", {}, b"")
    assert answer.status == 200
    return json.loads(answer.body)


def test_every_market_has_a_price(bench):
    markets, prices = public(bench.exchange, "markets"), public(bench.exchange, "ticker")
    assert [market["name"] for market in markets] == list(prices)
    assert (markets[0]["stock"], markets[0]["money"], markets[0]["stockPrec"]) == ("BTC", "USDT", "8")
    assert prices["BTC_USDT"]["last_price"] == "100000"


def test_assets_that_a_scenario_lacks_have_no_market():
    def markets(*tickers):
        exchange = Exchange(
            scenario={
                "assets": {ticker: {"name": ticker, "precision": 6} for ticker in tickers},
                "plans": [],
                "balances": {},
            }
        )
        try:
            return list(public(exchange, "ticker"))
        finally:
            exchange.close()

    assert markets("BTC", "DOGE", "USDT") == ["BTC_USDT"]
    assert markets("BTC", "ETH") == []
