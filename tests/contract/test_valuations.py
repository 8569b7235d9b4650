"""Values against the sandbox: what the ledger holds, at prices that the tests set."""

from __future__ import annotations

from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.control.moves import value_moves
from airflow_provider_whitebit.hooks.statements import read_statement
from airflow_provider_whitebit.hooks.valuation import read_prices, read_valuation
from airflow_provider_whitebit.operators.valuation import WhiteBitValuationOperator
from tests.sandbox_plans import Fixed, Flex


def test_the_client_reads_prices(sandbox, client):
    sandbox.set_price("BTC_USDT", "95000.50", frozen=True)
    found = client.market_activity()
    assert (found["BTC_USDT"].last_price, found["BTC_USDT"].frozen) == (Decimal("95000.50"), True)
    assert found["ETH_USDT"].quote_volume == 0
    assert not found["ETH_USDT"].frozen
    # A public call has no signature.
    last = next(one for one in reversed(sandbox.requests()) if one["path"] == "/api/v4/public/ticker")
    assert (last["method"], last["api_key"], last["nonce"]) == ("GET", None, None)


def test_with_numbers_instead_of_texts(sandbox, client):
    sandbox.quirks(numbers=True, text_booleans=True)
    assert client.market_activity()["USDT_EUR"].last_price == Decimal("0.9")


def held(sandbox):
    """What the ledger holds of each asset for the user, without this package."""
    view = sandbox.ledger()
    active = {one["id"] for name in ("investments", "fixed_investments") for one in view[name] if one["status"] == 1}
    sums: dict[str, Decimal] = {}
    for account, amounts in view["accounts"].items():
        name = account.partition(":")[2]
        if account == "main:sandbox" or name in active:
            for ticker, amount in amounts.items():
                sums[ticker] = sums.get(ticker, Decimal(0)) + Decimal(amount)
    return sums


def test_everything_is_valued(sandbox, hook):
    hook.flex_invest(plan_id=Flex.USDT, amount="1000.5")
    hook.flex_invest(plan_id=Flex.BTC, amount="0.25")
    hook.fixed_invest(plan_id=Fixed.TEN_DAYS, amount="200")
    hook.fixed_invest(ticker="BTC", amount="0.1")
    sandbox.advance(5 * 86_400)
    hook.get_conn().server_time()
    sandbox.set_price("BTC_USDT", "95000.123456")
    sandbox.set_price("SOL_USDT", 0)
    sandbox.set_price("ETH_USDT", 0)
    sandbox.set_price("ETH_BTC", "0.04")
    # Futures are no prices.
    sandbox.set_price("SOL_PERP", "190")
    before = hook.get_conn().server_time()
    found = read_valuation(hook.get_conn(), "USDT")
    assert before.add(seconds=-1) <= found.valuation.read_at <= found.made_at <= hook.get_conn().server_time()
    amounts = {asset.ticker: sum(asset.amounts.values()) for asset in found.valuation.assets}
    assert amounts == held(sandbox)
    btc = Decimal("95000.123456")
    prices = {"BTC": btc, "ETH": btc * Decimal("0.04"), "EURI": Decimal("1.1"), "USDC": Decimal(1), "USDT": Decimal(1)}
    expected = sum(amounts[ticker] * price for ticker, price in prices.items())
    assert abs(found.valuation.total - expected) < Decimal("1e-7")
    assert [(one.ticker, one.figure, one.amount) for one in found.valuation.left_out] == [("SOL", "main", 50)]
    by_ticker = {asset.ticker: asset for asset in found.valuation.assets}
    assert by_ticker["ETH"].price.markets == "ETH_BTC, BTC_USDT"
    assert by_ticker["USDT"].amounts["flex"] == Decimal("1000.5")
    assert by_ticker["USDT"].amounts["fixed"] == 200


def test_a_statement_and_a_valuation_agree(sandbox, hook):
    """At one moment and at the same prices, to the last decimal."""
    hook.flex_invest(plan_id=Flex.USDT, amount="1000.5", with_reinvest=True)
    hook.flex_invest(plan_id=Flex.BTC, amount="0.25")
    start = hook.get_conn().server_time().subtract(hours=1)
    sandbox.advance(400 * 86_400)
    client = hook.get_conn()
    statement = read_statement(client, start=start, end=client.server_time(), value_in="EUR")
    valuation = read_valuation(client, "EUR").valuation
    assert statement.adds_up
    closing = {one.ticker: one.figures.closing for one in statement.tickers}
    assert closing == {one.ticker: one.amounts["flex"] for one in valuation.assets if "flex" in one.amounts}
    assert statement.valuation.totals["closing"] == valuation.totals["flex"]
    assert valuation.complete


def test_moves_are_valued(sandbox, hook):
    move = {"operation": "flex_invest", "ticker": "EURI", "amount": "10.5", "conn_id": "whitebit_default"}
    found = value_moves([move, {**move, "amount": "0.5"}], "USDT")
    assert found.to_json()["amounts"] == {"EURI": {"flex_invest": "11"}}
    assert found.valuation.totals == {"flex_invest": Decimal("12.1")}


def test_the_operator(sandbox, hook, tmp_path):
    task = WhiteBitValuationOperator(
        task_id="worth", value_in="btc", tickers="USDT,EURI", output_path=str(tmp_path / "worth.csv")
    )
    task.__dict__["hook"] = hook
    found = task.execute({})
    assert found["amounts"]["USDT"] == {"main": "10000", "flex": "0", "fixed": "0"}
    # 10,000 USDT and 5,000 EURI of 1.1 USDT each.
    assert (found["total"], found["complete"]) == ("0.155", True)
    assert "0.055,\n" in (tmp_path / "worth.csv").read_text()


def test_prices_during_maintenance_and_without_an_answer(sandbox, client, make_client):
    sandbox.maintenance(True)
    with pytest.raises(e.WhiteBitMaintenanceError):
        read_prices(client)
    sandbox.maintenance(False)
    sandbox.fault("html_ok", path="*/ticker")
    with pytest.raises(e.WhiteBitUnavailableError):
        read_prices(client)
    sandbox.clear_faults()
    assert isinstance(read_prices(client).read_at, pendulum.DateTime)


def test_a_key_without_fixed_plans_is_told_so(make_hook):
    hook = make_hook("sandbox-key-no-fixed")
    with pytest.raises(e.WhiteBitPermissionError):
        read_valuation(hook.get_conn(), "USDT")
