"""Which plan or investment a move means, and what its limits allow."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import FlexInvestment, FlexPlan
from airflow_provider_whitebit.moves import selection


def plan(identifier, rate, least="10", most="1000", ticker="USDT"):
    maximum = None if most is None else Decimal(most)
    return FlexPlan(identifier, ticker, Decimal(least), maximum, Decimal(rate))


def held(plan_id, invested, status=1):
    return FlexInvestment(f"inv_{plan_id}", plan_id, "USDT", Decimal(invested), False, status, None, None)


@pytest.mark.parametrize(("amount", "precision", "fine"), [
    ("1.123456", 6, True), ("1.1234567", 6, False), ("1.10000000", 1, True), ("100", 0, True), ("0.1", 0, False),
])  # fmt: skip
def test_decimals(amount, precision, fine):
    if fine:
        selection.check_decimals(Decimal(amount), "USDT", precision)
    else:
        with pytest.raises(WhiteBitValidationError, match=f"at most {precision} decimals"):
            selection.check_decimals(Decimal(amount), "USDT", precision)


def test_the_highest_rate_that_admits_the_amount():
    plans = [plan("a", "0.15"), plan("b", "0.20", least="500"), plan("c", "0.10"), plan("d", "0.9", ticker="BTC")]
    assert selection.plan_for_investment(plans, "USDT", Decimal(100)).id == "a"
    assert selection.plan_for_investment(plans, "USDT", Decimal(500)).id == "b"


def test_of_equal_rates_the_one_that_admits_more():
    plans = [plan("a", "0.1", most="100"), plan("b", "0.1", most=None), plan("c", "0.1", most="5000")]
    assert selection.plan_for_investment(plans, "USDT", Decimal(50)).id == "b"


def test_no_plan_admits():
    with pytest.raises(WhiteBitValidationError, match="at least 10, at most 1000") as caught:
        selection.plan_for_investment([plan("a", "0.1")], "USDT", Decimal(5))
    assert "No open plan of USDT admits 5" in str(caught.value)
    with pytest.raises(WhiteBitValidationError, match="Plans of USDT: none"):
        selection.plan_for_investment([], "USDT", Decimal(5))


def test_withdrawing_from_what_earns_least():
    plans = [plan("a", "0.2"), plan("b", "0.1")]
    investments = [held("a", "100"), held("b", "50"), held("c", "500"), held("d", "900", status=0)]
    assert selection.investment_for_withdrawal(investments, plans, "USDT", Decimal(50)).plan_id == "b"
    assert selection.investment_for_withdrawal(investments, plans, "USDT", Decimal(45)).plan_id == "a"
    assert selection.investment_for_withdrawal(investments, plans, "USDT", Decimal(400)).plan_id == "c"
    for amount in (Decimal(501), None):
        with pytest.raises(WhiteBitValidationError, match="100 in plan a"):
            selection.investment_for_withdrawal(investments, plans, "USDT", amount)
    with pytest.raises(WhiteBitValidationError, match="no active investment"):
        selection.investment_for_withdrawal(investments, plans, "BTC", None)


def test_what_must_stay():
    selection.check_withdrawal(held("a", "100"), plan("a", "1"), Decimal(90))
    selection.check_withdrawal(held("a", "100"), plan("a", "1"), Decimal(100))
    selection.check_withdrawal(held("a", "100"), None, Decimal(99))
    with pytest.raises(WhiteBitValidationError, match="minimum of 10"):
        selection.check_withdrawal(held("a", "100"), plan("a", "1"), Decimal(91))
    with pytest.raises(WhiteBitValidationError, match="100 USDT are invested"):
        selection.check_withdrawal(held("a", "100"), plan("a", "1"), Decimal(101))
