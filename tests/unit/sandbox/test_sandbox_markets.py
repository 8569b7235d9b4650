"""The public lists of markets and prices."""

from __future__ import annotations

import json
import re

import pytest

from airflow_provider_whitebit.sandbox import Exchange
from airflow_provider_whitebit.sandbox.exchange import UnknownName
from airflow_provider_whitebit.sandbox.plans import ScenarioError
from airflow_provider_whitebit.sandbox.scenario import read_scenario


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

    assert markets("BTC", "DOGE", "USDT") == ["BTC_USDT", "USDT_EUR"]
    assert markets("BTC", "ETH") == []


def test_prices_are_set_and_markets_opened_until_a_reset(bench):
    exchange = bench.exchange
    exchange.change_market("BTC_USDT", last_price="95000.10", frozen=True)
    exchange.change_market("ETH_BTC", last_price="0.04")
    exchange.change_market("ETH_BTC", frozen=True)
    prices = public(exchange, "ticker")
    assert (prices["BTC_USDT"]["last_price"], prices["BTC_USDT"]["isFrozen"]) == ("95000.10", True)
    assert (prices["ETH_BTC"]["last_price"], prices["ETH_BTC"]["isFrozen"]) == ("0.04", True)
    assert [market["tradesEnabled"] for market in public(exchange, "markets")][:2] == [False, True]
    exchange.reset()
    assert "ETH_BTC" not in public(exchange, "ticker")


def test_a_perpetual_future_is_priced_in_usdt(bench):
    bench.exchange.change_market("BTC_PERP", last_price="99000")
    assert public(bench.exchange, "ticker")["BTC_PERP"]["last_price"] == "99000"
    future = public(bench.exchange, "markets")[-1]
    assert [future[name] for name in ("name", "stock", "money", "type")] == ["BTC_PERP", "BTC", "USDT", "futures"]


@pytest.mark.parametrize(
    ("name", "changes", "error", "message"),
    [
        ("ETH_BTC", {}, ValueError, "last_price: a new market needs it"),
        ("ETH_BTC", {"last_price": "-1"}, ValueError, "last_price: Input should be greater than or equal to 0"),
        ("ETH_JUNK", {"last_price": "1"}, UnknownName, "there is no asset 'JUNK'"),
        ("ETH", {"last_price": "1"}, UnknownName, "there is no asset ''"),
        ("ETH_BTC_EUR", {"last_price": "1"}, UnknownName, "there is no asset 'BTC_EUR'"),
    ],
)
def test_wrong_changes_of_markets(bench, name, changes, error, message):
    with pytest.raises(error, match=re.escape(message)):
        bench.exchange.change_market(name, **changes)


def test_markets_of_a_scenario():
    scenario = read_scenario({"markets": {"USDT_EUR": {"last_price": "0.85"}, "ETH_BTC": {"last_price": 1}}})
    assert scenario.markets["ETH_BTC"].last_price == 1
    for wrong, message in (
        ({"ETH_JUNK": {"last_price": "1"}}, "market ETH_JUNK: ticker 'JUNK' is not among the assets"),
        ({"ETH_BTC": {"last_price": 0.5}}, "markets.ETH_BTC.last_price: write amounts as strings"),
        ({"ETH_BTC": {}}, "markets.ETH_BTC.last_price: "),
    ):
        with pytest.raises(ScenarioError, match=re.escape(message)):
            read_scenario({"markets": wrong})
