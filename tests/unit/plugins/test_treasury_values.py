"""Values on the Treasury page: beside the exact amounts, and never with an unknown part."""

from __future__ import annotations

from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import MarketActivity
from airflow_provider_whitebit.plugins import treasury_values as values
from airflow_provider_whitebit.plugins.treasury_data import Account, failed
from airflow_provider_whitebit.treasury.valuation import MarketPrices

NOW = pendulum.datetime(2026, 11, 23, 16, 5)
ALL = dict.fromkeys(values.FIGURES, "0")


def market(name, price, frozen=False):
    return MarketActivity.from_api({"market": name, "last_price": price, "isFrozen": frozen})


PRICES = MarketPrices((market("BTC_USDT", "50000"), market("ETH_BTC", "0.05"), market("USDT_UAH", "40")), NOW)


def line(ticker, idle="0", flex="0", fixed="0"):
    return {"ticker": ticker, "idle": idle, "flex": flex, "fixed": fixed}


def account(*positions, host="https://whitebit.com", elsewhere=ALL):
    return Account("k", {"error": None, "host": host, "positions": list(positions)}, elsewhere)


def test_values_with_price_market_and_time():
    found = values.value_positions(
        [line("BTC", "0.5", "0.25"), line("ETH", fixed="2"), line("USDT", "7.5")], PRICES, "USDT", []
    )
    assert (found["error"], found["complete"], found["left_out"]) == (None, True, [])
    assert found["totals"] == {"idle": "25007.5", "flex": "12500", "fixed": "5000"}
    assert (found["total"], found["by_asset"]["ETH"]) == ("42507.5", "5000")
    price = found["assets"]["ETH"]["price"]
    assert [leg["market"] for leg in price["markets"]] == ["ETH_BTC", "BTC_USDT"]
    assert (price["price"], price["read_at"], found["read_at"]) == (
        "2500",
        "2026-11-23T16:05:00Z",
        "2026-11-23T16:05:00Z",
    )


def test_what_has_no_price_or_cannot_be_read_is_named_and_in_no_total():
    found = values.value_positions([line("JUNK", "9"), line("BTC", None, "1")], PRICES, "USDT", ["fixed"])
    assert (found["complete"], found["total"]) == (False, "50000")
    assert [(one["ticker"], one["figure"], one["reason"]) for one in found["left_out"]] == [
        ("BTC", "idle", "unreadable_amount"),
        ("JUNK", "idle", "no_price"),
        ("other assets", "fixed", "unreadable_amount"),
    ]
    assert found["by_asset"] == {"BTC": None, "JUNK": None}


def test_a_currency_without_a_market():
    found = values.value_positions([], PRICES, "XYZ", [])
    assert found.keys() == {"error"}
    assert "XYZ" in found["error"]["message"]
    assert found["error"]["next_steps"] == ["Choose another currency."]
    assert values.value_positions([], {"message": "No answer."}, "USDT", []) == {"error": {"message": "No answer."}}


class TestValuesOf:
    ONE = account(line("BTC", "1"))
    OTHER = account(line("BTC", "2"), elsewhere=ALL | {"fixed": None})
    BROKEN = Account(None, failed({"message": "No."}))

    def test_of_several_accounts(self):
        sums = {"counted": ["one", "other"], "positions": [line("BTC", "3")]}
        accounts = {"one": self.ONE, "other": self.OTHER, "broken": self.BROKEN, "slow": None}
        found = values.values_of(accounts, sums, {"https://whitebit.com": PRICES}, "USDT")
        assert {conn_id: one["total"] for conn_id, one in found["accounts"].items()} == {
            "one": "50000",
            "other": "100000",
        }
        assert (found["sums"]["total"], found["sums"]["complete"]) == ("150000", False)
        assert found["value_in"] == "USDT"

    def test_of_several_exchanges_there_are_no_sums(self):
        accounts = {"one": self.ONE, "eu": account(line("BTC", "2"), host="https://whitebit.eu")}
        sums = {"counted": ["one", "eu"], "positions": [line("BTC", "3")]}
        prices = dict.fromkeys(("https://whitebit.com", "https://whitebit.eu"), PRICES)
        found = values.values_of(accounts, sums, prices, "USDT")
        assert (list(found["accounts"]), found["sums"]) == (["one", "eu"], None)

    def test_while_prices_are_loaded(self):
        assert values.values_of({"one": self.ONE}, None, {}, "USDT")["accounts"] == {}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (e.WhiteBitUnavailableError("No answer."), "No answer."),
        (KeyError("x"), "Connection 'desk' cannot be read (KeyError)."),
    ],
)
def test_prices_that_cannot_be_read_are_facts(monkeypatch, error, message):
    def fail(conn_id, team_name):
        raise error

    monkeypatch.setattr(values, "open_account", fail)
    assert values.load_prices("desk")["message"] == message


def test_prices_of_the_exchange(monkeypatch):
    from tests.readings import client_of

    monkeypatch.setattr(values, "open_account", lambda conn_id, team_name: (None, client_of()))
    found = values.load_prices("desk")
    assert isinstance(found, MarketPrices)
    assert found.price("USDT", "USDT").value(Decimal(1)) == 1
