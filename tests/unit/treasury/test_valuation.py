"""Values in one currency: prices, what is left out, totals."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import MarketActivity
from airflow_provider_whitebit.hooks.valuation import read_prices
from airflow_provider_whitebit.treasury.valuation import (
    MarketPrices,
    Missing,
    add_amounts,
    read_value_in,
    value_amounts,
)
from tests.readings import NOW, changed, client_of


def prices_of(*, frozen=(), **by_market):
    """Prices of markets, such as ``BTC_USDT="100000"``."""
    markets = (
        MarketActivity.from_api({"market": name, "last_price": price, "isFrozen": name in frozen})
        for name, price in by_market.items()
    )
    return MarketPrices(tuple(markets), NOW)


def price(prices, ticker, value_in="USDT"):
    """The price and the markets it comes from."""
    found = prices.price(ticker, value_in)
    return None if found is None else (str(found.price), found.markets)


@pytest.mark.parametrize(
    ("ticker", "value_in", "expected"),
    [
        ("BTC", "USDT", ("100000", "BTC_USDT")),
        ("USDT", "USDT", ("1", "")),
        ("USDT", "BTC", ("0.00001", "1/BTC_USDT")),
        ("ETH", "USDT", ("4000", "ETH_BTC, BTC_USDT")),
        ("BTC", "EUR", ("80000", "BTC_USDT, USDT_EUR")),
        ("EUR", "BTC", ("0.0000125", "1/USDT_EUR, 1/BTC_USDT")),
        ("JUNK", "USDT", None),
        ("BTC", "JUNK", None),
        # Two intermediates are too many.
        ("ETH", "EUR", None),
    ],
)
def test_prices(ticker, value_in, expected):
    prices = prices_of(BTC_USDT="100000", ETH_BTC="0.04", USDT_EUR="0.8", JUNK_X="1")
    assert price(prices, ticker, value_in) == expected


def test_a_direct_market_comes_first_then_a_reversed_one_then_the_intermediates_in_their_order():
    markets = {"Z_A": "0.5", "A_AAA": "3", "AAA_Z": "1", "A_BTC": "4", "BTC_Z": "1", "A_USDT": "5", "USDT_Z": "1"}
    steps = [
        ("A_Z", "1", "A_Z"),
        ("Z_A", "2", "1/Z_A"),
        ("A_USDT", "5", "A_USDT, USDT_Z"),
        ("A_BTC", "4", "A_BTC, BTC_Z"),
        ("A_AAA", "3", "A_AAA, AAA_Z"),
    ]
    markets["A_Z"] = "1"
    for market, expected, names in steps:
        assert price(prices_of(**markets), "A", "Z") == (expected, names)
        del markets[market]
    assert price(prices_of(**markets), "A", "Z") is None


@pytest.mark.parametrize("last_price", ["0", "0.000", "-1"])
def test_a_price_of_zero_or_below_is_none(last_price):
    assert price(prices_of(A_USDT=last_price), "A") is None
    assert price(prices_of(USDT_A=last_price), "A") is None
    assert price(prices_of(A_USDT=last_price, A_BTC="2", BTC_USDT="3"), "A") == ("6", "A_BTC, BTC_USDT")


def test_perpetual_futures_are_no_prices():
    """``PERP`` is an asset too, and ``BTC_PERP`` no price in it."""
    prices = prices_of(BTC_PERP="99000", PERP_USDT="0.5", A_B_USDT="1", USDT="1", _USDT="1")
    assert price(prices, "BTC") is None
    assert price(prices, "PERP") == ("0.5", "PERP_USDT")
    assert price(prices, "A") is None


def test_a_frozen_market_is_used_only_without_another_way_and_is_marked():
    markets = {"A_USDT": "5", "A_BTC": "2", "BTC_USDT": "3"}
    assert price(prices_of(**markets, frozen=["A_USDT"]), "A") == ("6", "A_BTC, BTC_USDT")
    prices = prices_of(**markets, frozen=["A_USDT", "A_BTC"])
    assert price(prices, "A") == ("5", "A_USDT")
    assert prices.price("A", "USDT").frozen
    (row,) = value_amounts({"main": {"A": Decimal(2)}}, prices, "USDT").rows()
    assert (row.value, row.note) == (10, "frozen")


def test_totals_name_what_they_leave_out():
    prices = prices_of(BTC_USDT="100000", ETH_BTC="0.04")
    amounts = {
        "main": {"BTC": Decimal("0.5"), "JUNK": Decimal(7), "USDT": Decimal(10), "NOTHING": Decimal(0)},
        "flex": {"BTC": None, "ETH": Decimal(1)},
    }
    found = value_amounts(amounts, prices, "USDT")
    assert found.totals == {"main": 50010, "flex": 4000}
    assert (found.total, found.complete) == (54010, False)
    assert [(one.ticker, one.figure, one.amount, one.reason) for one in found.left_out] == [
        ("BTC", "flex", None, Missing.UNREADABLE_AMOUNT),
        ("JUNK", "main", Decimal(7), Missing.NO_PRICE),
    ]
    assert [asset.ticker for asset in found.assets] == ["BTC", "ETH", "JUNK", "USDT"]
    document = json.loads(json.dumps(found.to_json()))
    assert document["left_out"][1] == {"ticker": "JUNK", "figure": "main", "amount": "7", "reason": "no_price"}
    assert document["assets"]["JUNK"] == {"price": None, "values": {"main": None, "flex": "0"}}
    assert document["assets"]["ETH"] == {
        "price": {
            "price": "4000",
            "markets": [
                {"market": "ETH_BTC", "last_price": "0.04", "reversed": False, "frozen": False},
                {"market": "BTC_USDT", "last_price": "100000", "reversed": False, "frozen": False},
            ],
            "frozen": False,
            "read_at": "2026-03-01T12:00:00Z",
        },
        "values": {"main": "0", "flex": "4000"},
    }


def test_rows_hold_the_exact_amount_and_its_value_in_fields_of_their_own():
    found = value_amounts({"main": {"EUR": Decimal("3"), "X": Decimal(1)}}, prices_of(USDT_EUR="0.9"), "USDT")
    assert [row.to_json() for row in found.rows()] == [
        {
            "read_at": "2026-03-01T12:00:00Z",
            "ticker": "EUR",
            "figure": "main",
            "amount": "3",
            "value_in": "USDT",
            "price": "1.111111111111111111",
            "markets": "1/USDT_EUR",
            "value": "3.33333333",
            "note": None,
        },
        {
            **dict.fromkeys(("price", "markets", "value")),
            "read_at": "2026-03-01T12:00:00Z",
            "ticker": "X",
            "figure": "main",
            "amount": "1",
            "value_in": "USDT",
            "note": "no_price",
        },
    ]


def test_a_market_that_cannot_be_read_is_the_reason():
    client = client_of(changed("/api/v4/public/ticker", "BTC_USDT.last_price", "?"))
    prices = read_prices(client)
    assert prices.read_at == NOW
    assert [str(one) for one in prices.unreadable] == [
        "MarketActivity BTC_USDT: field 'last_price' is not a number",
    ]
    found = value_amounts({"main": {"BTC": Decimal(1), "JUNK": Decimal(1)}}, prices, "USDT")
    assert [(one.ticker, one.reason) for one in found.left_out] == [
        ("BTC", Missing.UNREADABLE_PRICE),
        ("JUNK", Missing.NO_PRICE),
    ]


def test_a_currency_without_a_market_is_refused():
    prices = prices_of(BTC_USDT="1", JUNK_X="0")
    prices.check_currency("BTC")
    for unknown in ("USDX", "JUNK"):
        with pytest.raises(WhiteBitValidationError, match=f"value_in is {unknown}: the exchange has no market"):
            prices.check_currency(unknown)


def test_the_name_of_a_currency():
    assert read_value_in(" usdt ") == "USDT"
    for wrong in ("", None, 5, "US DT"):
        with pytest.raises(WhiteBitValidationError, match=r"value_in is .*: write it like USDT"):
            read_value_in(wrong)


def test_a_sum_with_an_unreadable_amount_is_unknown():
    pairs = [("A", Decimal("0.1")), ("B", None), ("A", Decimal("0.2")), ("B", Decimal(1))]
    assert add_amounts(pairs) == {"A": Decimal("0.3"), "B": None}


numbers = st.decimals(min_value=Decimal("1e-12"), max_value=Decimal("1e12"), places=12).filter(bool)
ASSETS = ["AAA", "BBB", "BTC", "USDT", "EUR"]
tickers = st.sampled_from(ASSETS)
markets = st.dictionaries(st.tuples(tickers, tickers).filter(lambda pair: pair[0] != pair[1]), numbers, max_size=8)


@given(markets, tickers, tickers, numbers)
def test_a_value_is_the_amount_along_its_markets(markets, ticker, value_in, amount):
    """Compared with exact fractions."""
    found = prices_of(**{"_".join(pair): str(one) for pair, one in markets.items()}).price(ticker, value_in)
    linked = {frozenset(pair) for pair in markets}
    reachable = ticker == value_in or frozenset((ticker, value_in)) in linked
    through = any(frozenset((ticker, one)) in linked and frozenset((one, value_in)) in linked for one in ASSETS)
    assert (found is not None) == (reachable or through)
    if found is None:
        return
    assert len(found.legs) == 0 if ticker == value_in else len(found.legs) == (1 if reachable else 2)
    exact, at = Fraction(amount), ticker
    for leg in found.legs:
        base, quote = leg.market.split("_")
        assert leg.last_price == markets[base, quote]
        assert at == (quote if leg.reversed else base)
        exact = exact / Fraction(leg.last_price) if leg.reversed else exact * Fraction(leg.last_price)
        at = base if leg.reversed else quote
    assert at == value_in
    assert abs(Fraction(found.value(amount)) - exact) <= Fraction(1, 2 * 10**8)
    assert abs(Fraction(found.price) - exact / Fraction(amount)) <= Fraction(1, 2 * 10**18)


amounts = st.dictionaries(
    st.sampled_from(["main", "flex", "fixed"]),
    st.dictionaries(tickers | st.just("JUNK"), st.none() | st.just(Decimal(0)) | numbers, max_size=5),
    max_size=3,
)


@given(amounts, markets, tickers)
def test_everything_is_in_a_total_or_named(amounts, markets, value_in):
    found = value_amounts(amounts, prices_of(**{"_".join(pair): str(one) for pair, one in markets.items()}), value_in)
    named = {(one.ticker, one.figure): one for one in found.left_out}
    valued = {(row.ticker, row.figure): row for row in found.rows() if row.value is not None}
    held = {
        (ticker, figure): amount
        for figure, by_ticker in amounts.items()
        for ticker, amount in by_ticker.items()
        if amount is None or amount
    }
    assert named.keys() | valued.keys() == held.keys()
    assert not named.keys() & valued.keys()
    assert found.complete == (not named)
    for place, amount in held.items():
        assert (named.get(place) or valued[place]).amount == amount
    for figure in amounts:
        parts = [row.value for (_, name), row in valued.items() if name == figure]
        assert found.totals[figure] == sum(parts, Decimal(0))
    json.dumps(found.to_json())


def test_the_largest_numbers_do_not_fail():
    most, least = "1e60", "1e-40"
    prices = prices_of(A_USDT=most, USDT_Z=most, Y_A=least, Y_Z=least)
    assert prices.price("A", "Z").value(Decimal(most)) == Decimal("1e180")
    assert prices.price("A", "Y").value(Decimal(most)) == Decimal("1e100")
    assert prices.price("Y", "Z").value(Decimal(least)) == 0
    assert pendulum.instance(prices.read_at) == NOW
