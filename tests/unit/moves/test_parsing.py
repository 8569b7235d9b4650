"""Parameters as callers and templates give them: an exact value, or a clear error."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import FlexInvestmentStatus, InvestmentStatus
from airflow_provider_whitebit.moves import parsing
from airflow_provider_whitebit.moves.intent import Move, Operation

ID = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"


@pytest.mark.parametrize(
    ("given_", "amount"), [("100", "100"), (" 0.5 ", "0.5"), (7, "7"), (Decimal("1E+2"), "100"), ("007.10", "7.1")]
)
def test_amounts(given_, amount):
    assert parsing.read_amount(given_) == Decimal(amount)


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
def test_values_that_are_not_amounts(bad):
    if bad == "1\n":  # white space around a number is harmless
        assert parsing.read_amount(bad) == 1
        return
    with pytest.raises(WhiteBitValidationError) as caught:
        parsing.read_amount(bad)
    text = str(caught.value)
    assert "amount" in text
    assert "No money moved." in text
    assert len(text) < 600


def test_the_error_for_a_float_shows_its_spelling():
    with pytest.raises(WhiteBitValidationError, match=r'"0\.1"'):
        parsing.read_amount(0.1)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.decimals(), st.binary(), st.none(), st.booleans()))
def test_any_value_is_an_exact_amount_or_a_clear_error(anything):
    try:
        amount = parsing.read_amount(anything)
    except WhiteBitValidationError:
        return
    assert amount > 0
    assert amount.is_finite()


@pytest.mark.parametrize(
    "bad", ["", "x", "-1", "1.5", ID[:-1], ID + "0", None, True, 1.5, "{{ plan }}", ID.replace("8", "g")]
)
def test_values_that_are_not_plan_ids(bad):
    with pytest.raises(WhiteBitValidationError, match="plan_id"):
        parsing.read_plan_id(bad)


@pytest.mark.parametrize(("good", "read"), [(f" {ID.upper()}", ID), ("12", "12"), (12, "12")])
def test_values_that_are_plan_ids(good, read):
    assert parsing.read_plan_id(good) == read


@pytest.mark.parametrize("bad", ["", " ", "US DT", "USDT;", "ticker!", None, 5, "ЦЕНТ", "X" * 21, "../x"])
def test_values_that_are_not_tickers(bad):
    with pytest.raises(WhiteBitValidationError, match="ticker"):
        parsing.read_ticker(bad)


def test_exactly_one_of_plan_and_ticker():
    assert parsing.exactly_one(ID.upper(), None) == (ID, None)
    assert parsing.exactly_one(None, "usdt") == (None, "USDT")
    for both in ((ID, "USDT"), (None, None), ("", "")):
        with pytest.raises(WhiteBitValidationError, match="either"):
            parsing.exactly_one(*both)


@pytest.mark.parametrize(("raw", "value"), [(True, True), ("True", True), (" false ", False), (False, False)])
def test_booleans(raw, value):
    assert parsing.read_boolean("dry_run", raw) is value


@pytest.mark.parametrize("raw", ["yes", 1, 0, None, "", [True]])
def test_values_that_are_not_booleans(raw):
    with pytest.raises(WhiteBitValidationError, match=r"dry_run is .*: write true or false"):
        parsing.read_boolean("dry_run", raw)


@pytest.mark.parametrize(("raw", "limit"), [("0", 0), ("0.000", 0), (0, 0), ("007.10", "7.1"), (Decimal("0E-8"), 0)])
def test_limits_may_be_zero(raw, limit):
    assert parsing.read_limit("at_least", raw) == Decimal(limit)


@pytest.mark.parametrize("raw", ["-1", -1, "1e3", 0.5, None, "", True, Decimal("NaN")])
def test_errors_name_the_limit(raw):
    with pytest.raises(WhiteBitValidationError, match=r"^at_least is"):
        parsing.read_limit("at_least", raw)


HUGE = [10**5000, "9" * 10**6, Decimal("1e999999999"), Decimal("1e-999999999"), "1e" + "9" * 5000, [[["x" * 10**6]]]]
READERS = {
    "amount": parsing.read_amount,
    "max_move": partial(parsing.read_limit, "max_move"),
    "limit": partial(parsing.read_number, "limit"),
    "offset": partial(parsing.read_number, "offset", least=0, most=10_000),
    "investment_id": partial(parsing.read_identifier, "investment_id"),
    "plan_id": parsing.read_plan_id,
    "ticker": parsing.read_ticker,
    "idempotency_key": partial(parsing.read_key, "idempotency_key"),
    "with_reinvest": partial(parsing.read_boolean, "with_reinvest"),
    "status": partial(parsing.read_choice, "status", InvestmentStatus, FlexInvestmentStatus),
    "date_from": partial(parsing.read_time, "date_from"),
}


@pytest.mark.parametrize("raw", HUGE, ids=range(len(HUGE)))
@pytest.mark.parametrize("name", READERS)
def test_a_value_without_measure_names_its_parameter(name, raw):
    with pytest.raises(WhiteBitValidationError, match=name) as caught:
        READERS[name](raw)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("amount", ["1e999999999", "1e-999999999", "9" * 5000, "NaN"])
def test_a_journal_with_an_amount_without_measure(amount):
    move = Move(Operation.FLEX_INVEST, "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "USDT", Decimal(1))
    assert Move.from_json(move.to_json()) == move
    with pytest.raises(ValueError, match="amount cannot be read"):
        Move.from_json(move.to_json() | {"amount": amount})
