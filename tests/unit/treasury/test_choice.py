from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import FlexInvestment, FlexPlan
from airflow_provider_whitebit.treasury import choice

ID = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"


def plan(identifier, rate, least="10", most="1000", ticker="USDT"):
    maximum = None if most is None else Decimal(most)
    return FlexPlan(identifier, ticker, Decimal(least), maximum, Decimal(rate))


def held(plan_id, invested, status=1):
    return FlexInvestment(f"inv_{plan_id}", plan_id, "USDT", Decimal(invested), False, status, None, None)


@pytest.mark.parametrize(
    ("given_", "amount"), [("100", "100"), (" 0.5 ", "0.5"), (7, "7"), (Decimal("1E+2"), "100"), ("007.10", "7.1")]
)
def test_amounts(given_, amount):
    assert choice.read_amount(given_) == Decimal(amount)


@pytest.mark.parametrize(
    "bad",
    [
        0.1, 1.0, float("nan"), True, False, None, [], {}, b"1", "", " ", "0", "0.0", "-1", "+1", "1e3", "1E400", "NaN",
        "nan", "Infinity", "-Infinity", "sNaN", "1_000", "1,000", "1,5", ".5", "5.", "1 000", "0x10", "½",
        "\u0661\u0660",
        "\uff11\uff10",
        "100 USDT", "$100", "{{ amount }}", "None", "all", "1.2.3", "1\n", "1" * 40, -5, 0, Decimal("NaN"),
        Decimal("Infinity"), Decimal(-1), Decimal(0), "'; DROP TABLE", "\x00", "1\u200b",
    ],
)  # fmt: skip
def test_no_amounts(bad):
    if bad == "1\n":  # white space around a number is harmless
        assert choice.read_amount(bad) == 1
        return
    with pytest.raises(WhiteBitValidationError) as caught:
        choice.read_amount(bad)
    text = str(caught.value)
    assert "amount" in text
    assert "No money moved." in text
    assert len(text) < 600


def test_a_float_is_told_its_spelling():
    with pytest.raises(WhiteBitValidationError, match=r'"0\.1"'):
        choice.read_amount(0.1)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.decimals(), st.binary(), st.none(), st.booleans()))
def test_whatever_is_given_is_an_exact_amount_or_a_clear_error(anything):
    try:
        amount = choice.read_amount(anything)
    except WhiteBitValidationError:
        return
    assert amount > 0
    assert amount.is_finite()


@pytest.mark.parametrize("bad", ["", "x", "123", ID[:-1], ID + "0", None, 5, "{{ plan }}", ID.replace("8", "g")])
def test_no_plan_ids(bad):
    with pytest.raises(WhiteBitValidationError, match="plan_id"):
        choice.read_plan_id(bad)


@pytest.mark.parametrize("bad", ["", " ", "US DT", "USDT;", "ticker!", None, 5, "ЦЕНТ", "X" * 21, "../x"])
def test_no_tickers(bad):
    with pytest.raises(WhiteBitValidationError, match="ticker"):
        choice.read_ticker(bad)


def test_one_of():
    assert choice.one_of(ID.upper(), None) == (ID, None)
    assert choice.one_of(None, "usdt") == (None, "USDT")
    for both in ((ID, "USDT"), (None, None), ("", "")):
        with pytest.raises(WhiteBitValidationError, match="either"):
            choice.one_of(*both)


@pytest.mark.parametrize(("amount", "precision", "fine"), [
    ("1.123456", 6, True), ("1.1234567", 6, False), ("1.10000000", 1, True), ("100", 0, True), ("0.1", 0, False),
])  # fmt: skip
def test_decimals(amount, precision, fine):
    if fine:
        choice.check_decimals(Decimal(amount), "USDT", precision)
    else:
        with pytest.raises(WhiteBitValidationError, match=f"at most {precision} decimals"):
            choice.check_decimals(Decimal(amount), "USDT", precision)


def test_the_highest_rate_that_admits_the_amount():
    plans = [plan("a", "0.15"), plan("b", "0.20", least="500"), plan("c", "0.10"), plan("d", "0.9", ticker="BTC")]
    assert choice.plan_for_investment(plans, "USDT", Decimal(100)).id == "a"
    assert choice.plan_for_investment(plans, "USDT", Decimal(500)).id == "b"


def test_of_equal_rates_the_one_that_admits_more():
    plans = [plan("a", "0.1", most="100"), plan("b", "0.1", most=None), plan("c", "0.1", most="5000")]
    assert choice.plan_for_investment(plans, "USDT", Decimal(50)).id == "b"


def test_no_plan_admits():
    with pytest.raises(WhiteBitValidationError, match="at least 10, at most 1000") as caught:
        choice.plan_for_investment([plan("a", "0.1")], "USDT", Decimal(5))
    assert "No open plan of USDT admits 5" in str(caught.value)
    with pytest.raises(WhiteBitValidationError, match="there is none"):
        choice.plan_for_investment([], "USDT", Decimal(5))


def test_withdrawing_from_what_earns_least():
    plans = [plan("a", "0.2"), plan("b", "0.1")]
    investments = [held("a", "100"), held("b", "50"), held("c", "500"), held("d", "900", status=0)]
    assert choice.investment_for_withdrawal(investments, plans, "USDT", Decimal(50)).plan_id == "b"
    assert choice.investment_for_withdrawal(investments, plans, "USDT", Decimal(45)).plan_id == "a"
    assert choice.investment_for_withdrawal(investments, plans, "USDT", Decimal(400)).plan_id == "c"
    for amount in (Decimal(501), None):
        with pytest.raises(WhiteBitValidationError, match="100 in plan a"):
            choice.investment_for_withdrawal(investments, plans, "USDT", amount)
    with pytest.raises(WhiteBitValidationError, match="no active investment"):
        choice.investment_for_withdrawal(investments, plans, "BTC", None)


def test_what_must_stay():
    choice.check_withdrawal(held("a", "100"), plan("a", "1"), Decimal(90))
    choice.check_withdrawal(held("a", "100"), plan("a", "1"), Decimal(100))
    choice.check_withdrawal(held("a", "100"), None, Decimal(99))
    with pytest.raises(WhiteBitValidationError, match="minimum of 10"):
        choice.check_withdrawal(held("a", "100"), plan("a", "1"), Decimal(91))
    with pytest.raises(WhiteBitValidationError, match="100 USDT are invested"):
        choice.check_withdrawal(held("a", "100"), plan("a", "1"), Decimal(101))
