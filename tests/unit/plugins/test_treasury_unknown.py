"""The Treasury page shows what the exchange does not say as unknown, and everything else."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.plugins.treasury_data import load_snapshot, page_data
from tests.readings import ANSWERS, FIXED, FLEX, FLEX_PLAN, MAIN, changed, client_of


def page(path="", field="", value=None):
    answers = changed(path, field, value) if path else ANSWERS
    return page_data(load_snapshot(client_of(answers), 1.0, lambda: 0.0))


def position(shown, ticker):
    return next(line for line in shown["positions"] if line["ticker"] == ticker)


def flex(shown, name="inv-1"):
    return next(held for held in shown["flex"] if held["id"] == name)


WHOLE = page()


def test_whole_answers_have_neither_problems_nor_warnings():
    assert (WHOLE["problems"], WHOLE["warnings"]) == ([], [])
    assert position(WHOLE, "USDT")["total"] == "1600"
    assert [held["id"] for held in WHOLE["flex"]] == ["inv-3", "inv-1"]
    assert [held["id"] for held in WHOLE["fixed"]] == ["fix-1"]


def test_an_unknown_rate_is_not_0():
    shown = page(f"{FLEX}/plans", "0.maxRate", None)
    assert (flex(shown)["max_rate"], flex(shown)["on_offer"]) == (None, True)
    assert position(shown, "USDT")["best_rate"] is None
    assert position(shown, "BTC")["best_rate"] == "0.01"
    shown = page(f"{FIXED}/investments", "records.0.plan.percent", None)
    assert [shown["fixed"][0][name] for name in ("yearly_rate", "interest")] == [None, None]
    assert shown["fixed"][0]["plan"]["percent"] is None


@pytest.mark.parametrize(("ticker", "interest"), [("USDT", "2"), ("WBT", None)])
def test_a_missing_ratio_is_1_only_within_one_asset(ticker, interest):
    answers = changed(f"{FIXED}/investments", "records.0.plan.interestRatio", None)
    answers[f"{FIXED}/investments"]["records"][0]["plan"]["interestTicker"] = ticker
    shown = page_data(load_snapshot(client_of(answers), 1.0, lambda: 0.0))
    assert shown["fixed"][0]["interest"] == interest


@pytest.mark.parametrize(
    ("path", "field", "warning"),
    [
        (
            f"{FLEX}/investments",
            "data.0.status",
            f"Flex investment inv-1 in plan {FLEX_PLAN} has the unknown status 3. It counts as invested.",
        ),
        (
            f"{FIXED}/investments",
            "records.0.status",
            "Fixed investment fix-1 has the unknown status 3. It counts as invested.",
        ),
    ],
)
def test_an_unknown_status_counts_and_is_named(path, field, warning):
    shown = page(path, field, 3)
    assert shown["warnings"] == [warning]
    assert position(shown, "USDT")["total"] == "1600"
    assert 3 in [held["status"] for held in shown["flex"] + shown["fixed"]]


@pytest.mark.parametrize(
    ("path", "field", "column"),
    [
        (f"{MAIN}/balance", "USDT", "idle"),
        (f"{FLEX}/investments", "data.0.invested", "flex"),
        (f"{FLEX}/investments", "data.0", "flex"),
        (f"{FIXED}/investments", "records.0.amount", "fixed"),
    ],
)
def test_a_record_that_cannot_be_read_makes_its_own_column_unknown(path, field, column):
    shown = page(path, field)
    usdt = position(shown, "USDT")
    assert [usdt[name] for name in (column, "total", "at_work")] == [None, None, None]
    others = {"idle": "1000", "flex": "500", "fixed": "100"}
    assert {name: usdt[name] for name in others if name != column} == {
        name: amount for name, amount in others.items() if name != column
    }
    assert len(shown["problems"]) == 1
    assert shown["problems"][0]["message"].startswith("Cannot be read: ")
    if field != "data.0":
        # Of an entry that shows nothing it is not known which asset it is of.
        assert position(shown, "BTC")["total"] == "1500"


def test_a_closed_investment_that_cannot_be_read_changes_no_figure():
    shown = page(f"{FLEX}/investments", "data.1.invested")
    assert shown["positions"] == WHOLE["positions"]
    assert len(shown["problems"]) == 1


def test_an_earning_that_cannot_be_read_makes_figures_of_its_plan_unknown():
    shown = page(f"{FLEX}/investments/payment-history", "data.0.amount")
    for line in (flex(shown), position(shown, "USDT")):
        assert line["windows"]["30"] == {"earned": None, "realised_rate": None}
    assert None not in flex(WHOLE)["windows"]["30"].values()
    assert flex(shown, "inv-3") == flex(WHOLE, "inv-3")


def test_a_plan_that_cannot_be_read_may_be_on_offer():
    shown = page(f"{FLEX}/plans", "0.ticker")
    assert (flex(shown)["max_rate"], flex(shown)["on_offer"]) == (None, None)
    assert flex(shown, "inv-3") == flex(WHOLE, "inv-3")


def test_one_warning_that_rates_may_be_in_percent():
    [warning] = page(f"{FLEX}/plans", "0.maxRate", "15")["warnings"]
    assert warning.endswith("The unit of max_rate may be percent.")


def test_many_unreadable_records_are_named_shortly():
    [problem] = page(f"{FLEX}/plans", "", [None] * 9)["problems"]
    assert problem["what"] == "Flex plans"
    assert problem["message"].count("FlexPlan at position") == 5
    assert problem["message"].endswith(" and 4 more.")
