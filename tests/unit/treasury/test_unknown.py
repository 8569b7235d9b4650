"""What the exchange does not say is not compared, not 0, not closed: planners, waiting, statements."""

from __future__ import annotations

import logging
from dataclasses import replace
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.client.models import Asset, FixedInvestment, FlexInvestment, FlexPlan
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.hooks.statements import read_statement
from airflow_provider_whitebit.moves import selection
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.treasury.conditions import (
    BalanceCondition,
    FixedMaturityCondition,
    FlexEarningCondition,
    FlexInvestmentCondition,
)
from airflow_provider_whitebit.treasury.discrepancies import DiscrepancyKind
from airflow_provider_whitebit.treasury.occurrences import BalanceLevels, FixedMaturities, WatchState
from airflow_provider_whitebit.treasury.planning import plan_raise, plan_rebalance, plan_sweep
from airflow_provider_whitebit.treasury.policy import read_policy
from airflow_provider_whitebit.treasury.promises import read_holdings
from airflow_provider_whitebit.treasury.rates import unit_warning
from airflow_provider_whitebit.treasury.statement_page import render_page
from tests.readings import ANSWERS, FIXED, FLEX, FLEX_PLAN, NOW, SECOND, changed, client_of, moment
from tests.unit.treasury.test_planning import held, holdings, plan, rebalance, sweep, texts


def rateless(name, **fields):
    return replace(plan(name, **fields), max_rate=None)


def unreadable(kind, **raw):
    record = UnreadableRecord.of(kind, "/path", raw, 0)
    assert record is not None
    return record


def test_a_plan_without_a_rate_is_not_chosen_by_its_rate():
    offered = (rateless("a"), plan("b", "0.01", most="100"))
    made = sweep(holdings("500", offered))
    assert texts(made) == ["invest 100 in b"]
    assert "USDT: plan a is not chosen by its rate, which is unknown: name it in only or targets." in made.notes
    # A policy that names it needs no rate.
    made = sweep(holdings("500", offered), plans={"only": ["b", "a"]})
    assert texts(made) == ["invest 100 in b", "invest 400 in a"]
    assert "max_rate unknown" in made.moves[1].reason
    made = sweep(holdings("500", offered), plans={"only": ["a", "b"], "choose": "list"})
    assert texts(made) == ["invest 500 in a"]


def test_money_does_not_follow_a_rate_that_is_unknown():
    what = holdings("0", (rateless("a"), plan("b", "0.2")), [held("a", 100)])
    assert texts(rebalance(what, plans={"follow_rate": True})) == []
    what = holdings("0", (rateless("a"), plan("b", "0.2")), [held("b", 100)])
    assert texts(rebalance(what, plans={"follow_rate": True})) == []


def test_a_plan_without_a_rate_gives_last():
    what = holdings("0", (rateless("a"), plan("b", "0.9")), [held("a", 100), held("b", 100)])
    assert texts(plan_raise(what, "USDT", Decimal(50))) == ["withdraw 50 from b"]


def test_an_unknown_rate_is_not_compared_with_the_policys():
    wish = {"min_rate": "0.05", "leave_below": "0.03"}
    what = holdings("100", (rateless("a"),), [held("a", 500), held("gone", 70)])
    for rules in (wish, {**wish, "only": ["a", "gone"]}, {**wish, "targets": {"a": "0.85", "gone": "0.15"}}):
        made = rebalance(what, plans=rules)
        assert texts(made) == []
        for note in (
            "USDT: plan a is not compared with leave_below, because its rate is unknown.",
            "USDT: plan gone is not compared with leave_below, because its rate is unknown.",
            "USDT: plan a is not invested in: its rate is unknown, and the policy has a min_rate.",
        ):
            assert made.notes.count(note) == 1
    made = sweep(what, plans={"only": ["a"], "min_rate": "0.05"})
    assert texts(made) == []
    assert "USDT: 100 remain idle in Main: plan a has max_rate unknown, and min_rate is 0.05." in made.notes
    # The ways out stay open.
    assert texts(rebalance(what, reserve="150", plans=wish)) == ["withdraw 50 from a"]
    assert texts(rebalance(what, plans={**wish, "exclude": ["a", "gone"]})) == ["close 500 in a", "close 70 in gone"]


def test_an_investment_with_an_unknown_status_counts_and_is_left_alone():
    offered = (plan("a", "0.2"), plan("b", "0.1"))
    what = holdings("1000", offered, [held("a", 9000, status=3)])
    assert what.total("USDT") == 10_000
    # A tenth of the total; without the 9000 it would be 100.
    made = sweep(what, reserve_share="0.05")
    assert texts(made) == ["invest 500 in b"]
    note = "USDT: plan a holds 9000 with the unknown status 3: it counts in the total and is left alone."
    assert note in made.notes
    made = rebalance(what, reserve="5000", plans={"only": ["b"]})
    assert texts(made) == []
    assert made.shortfalls == {"USDT": 4000}
    assert note in plan_raise(what, "USDT", Decimal(2000)).notes


def test_a_plan_that_cannot_be_read_is_left_alone():
    record = unreadable(FlexPlan, id="a", ticker="USDT", maxRate="abc")
    what = replace(holdings("100", (plan("b"),), [held("a", 500)]), unreadable=(record,))
    made = rebalance(what, reserve="300", plans={"only": ["b"]})
    assert texts(made) == []
    assert made.shortfalls == {"USDT": 200}
    assert f"USDT: cannot be read, and is left alone: {record}." in made.notes


POLICY = read_policy({"BTC": {}, "USDT": {}})


@pytest.mark.parametrize(
    "fault",
    [
        {"main": {"USDT": Decimal(50), "BTC": None}},
        {"unreadable": (unreadable(FlexInvestment, id="i", planId="p", currency="BTC", status=1, invested=None),)},
        {"unreadable": (unreadable(FlexInvestment, id="i", planId="btc", status=1, invested=None),)},
    ],
)
def test_an_asset_of_which_something_is_unknown_stops_no_other(fault):
    offered = (plan("btc", ticker="BTC"), plan("a"))
    what = replace(holdings("50", offered), **{"main": {"USDT": Decimal(50), "BTC": Decimal(50)}, **fault})
    for make in (plan_sweep, plan_rebalance):
        made = make(what, POLICY, NOW)
        assert texts(made) == ["invest 50 in a"]
        assert [note for note in made.notes if note.startswith("BTC: nothing is planned: ")]
        with pytest.raises(errors.WhiteBitUnavailableError):
            make(what, read_policy({"BTC": {}}), NOW)


def test_an_asset_without_decimals_stops_no_other():
    offered = (plan("btc", ticker="BTC"), plan("a"))
    what = holdings("50", offered)
    what = replace(what, assets={**what.assets, "BTC": Asset("BTC", "BTC", None, True, True)})
    what = replace(what, main={"USDT": Decimal(50), "BTC": Decimal(50)})
    assert texts(plan_sweep(what, POLICY, NOW)) == ["invest 50 in a"]


def test_an_entry_of_which_nothing_can_be_read_is_named_once():
    record = UnreadableRecord.of(FlexInvestment, "/path", None, 7)
    made = plan_sweep(replace(holdings("50", (plan("a"),)), unreadable=(record,)), read_policy({"USDT": {}}), NOW)
    assert texts(made) == ["invest 50 in a"]
    assert made.notes == (
        "Which asset it is of is not known: FlexInvestment at position 7: it is null instead of an object.",
    )


def test_what_is_read_for_planning_leaves_out_what_does_not_matter():
    client = client_of(changed(f"{FLEX}/investments", "data.1.invested", None))
    assert read_holdings(Account(client)).unreadable == ()
    client = client_of(changed(f"{FLEX}/investments", "data.0.invested", None))
    assert [str(one) for one in read_holdings(Account(client)).unreadable] == [
        f"FlexInvestment inv-1 of plan {FLEX_PLAN}: field 'invested' is missing or empty"
    ]


# --- the unit of rates


@pytest.mark.parametrize(
    ("advertised", "realised", "warns"),
    [
        ("1", None, False),
        ("1.01", None, True),
        ("15", "0.15", True),
        ("0.15", "0.15", False),
        ("0.15", "0.0015", True),
        ("0.15", "0.00075", True),
        ("0.15", "0.003", True),
        ("0.15", "0.0031", False),
        ("0.15", "0.0007", False),
        ("0.15", "0", False),
        ("0.15", None, False),
        ("0", "0", False),
        (None, "0.1", False),
    ],
)
def test_a_rate_that_may_be_in_percent(advertised, realised, warns):
    rates = [None if rate is None else Decimal(rate) for rate in (advertised, realised)]
    assert (unit_warning([("fine", Decimal("0.1"), None), ("plan", *rates)]) is not None) is warns


def test_a_plan_warns_once_that_rates_may_be_in_percent():
    made = sweep(holdings("50", (plan("a", "15"), plan("b", "12"))))
    assert [note for note in made.notes if "percent" in note] == [
        "Plan a shows max_rate 15, which is 1500 % if it is a fraction. The unit of max_rate may be percent."
    ]


# --- choosing by rate


def test_an_unknown_rate_is_not_the_best():
    plans = [rateless("a"), plan("b", "0.1"), rateless("c")]
    assert selection.plan_for_investment(plans, "USDT", Decimal(50)).id == "b"
    assert selection.plan_for_investment(plans[:1], "USDT", Decimal(50)).id == "a"
    with pytest.raises(errors.WhiteBitValidationError, match="does not show the rate of any open plan") as caught:
        selection.plan_for_investment([plans[0], plans[2]], "USDT", Decimal(50))
    assert "rate unknown" in str(caught.value)
    investments = [held("a", 50), held("b", 50)]
    assert selection.investment_for_withdrawal(investments, plans, "USDT", Decimal(20)).plan_id == "b"


@pytest.mark.parametrize(
    ("field", "value", "method", "arguments"),
    [
        (f"{FLEX}/plans 1", None, "flex_plan", (FLEX_PLAN,)),
        (f"{FLEX}/investments data.1.invested", None, "flex_investment", (FLEX_PLAN, None, [], None)),
        (f"{FIXED}/plans 1.status", None, "fixed_plan", ("fixed-1",)),
        (f"{FIXED}/investments records.1.amount", None, "fixed_investment", ("fix-1", None, None)),
    ],
)
def test_a_bad_record_does_not_hide_the_one_that_is_meant(field, value, method, arguments):
    path, where = field.split(" ")
    assert getattr(Account(client_of(changed(path, where, value))), method)(*arguments)


@pytest.mark.parametrize(
    ("field", "method", "arguments"),
    [
        (f"{FLEX}/plans 0.maxRate", "flex_plan", (FLEX_PLAN,)),
        (f"{FLEX}/investments data.0.invested", "flex_investment", (FLEX_PLAN, None, [], None)),
        (f"{FLEX}/investments data.0.invested", "flex_investment", (None, "USDT", [], None)),
        (f"{FIXED}/plans 0.status", "fixed_plan", ("fixed-1",)),
        (f"{FIXED}/investments records.0.amount", "fixed_investment", ("fix-1", None, None)),
        (f"{FIXED}/investments records.0.amount", "fixed_investment", (None, "fixed-1", None)),
    ],
)
def test_a_record_that_is_needed_and_cannot_be_read_is_named(field, method, arguments):
    path, where = field.split(" ")
    with pytest.raises(errors.WhiteBitUnavailableError, match="unreadable") as caught:
        getattr(Account(client_of(changed(path, where, "?"))), method)(*arguments)
    assert where.rpartition(".")[2] in str(caught.value)


def test_what_is_neither_active_nor_closed_can_be_taken_out_and_is_named(caplog):
    client = client_of(changed(f"{FLEX}/investments", "data.0.status", 3))
    assert Account(client).flex_investment(FLEX_PLAN, None, [], None).id == "inv-1"
    client = client_of(changed(f"{FIXED}/investments", "records.0.status", 3))
    assert Account(client).fixed_investment("fix-1", None, None).id == "fix-1"
    assert "Neither active nor closed: inv-1 has status 3." in caplog.text
    assert "Neither active nor closed: fix-1 has status 3." in caplog.text


# --- waiting


def records(path, field, value):
    """The answer to a poll, with one changed field."""
    client, found = client_of(changed(path, field, value)), []
    read = client.flex_investments if path.startswith(FLEX) else client.fixed_investments
    return [*read(on_unreadable=found.append), *found]


@pytest.mark.parametrize(
    ("condition", "path", "field", "value", "met"),
    [
        (FlexInvestmentCondition(plan_id="flex-2", status=0), f"{FLEX}/investments", "data.1.status", 0, True),
        (FlexInvestmentCondition(plan_id="flex-2", status=0), f"{FLEX}/investments", "data.1.status", 3, False),
        (FlexInvestmentCondition(plan_id="flex-2", status=0), f"{FLEX}/investments", "data.1.status", "?", False),
        (FlexInvestmentCondition(plan_id="flex-2", status=0), f"{FLEX}/investments", "data.1.invested", None, True),
        # The sensor of another plan.
        (FlexInvestmentCondition(plan_id="flex-2", status=0), f"{FLEX}/investments", "data.0.invested", None, True),
        (FlexInvestmentCondition(plan_id=FLEX_PLAN), f"{FLEX}/investments", "data.0.status", 3, False),
        (FlexInvestmentCondition(plan_id=FLEX_PLAN), f"{FLEX}/investments", "data.1", None, True),
        (FixedMaturityCondition(investment_id="fix-2"), f"{FIXED}/investments", "records.1.status", 2, True),
        (FixedMaturityCondition(investment_id="fix-2"), f"{FIXED}/investments", "records.1.status", 3, False),
        (FixedMaturityCondition(investment_id="fix-2"), f"{FIXED}/investments", "records.1.status", None, False),
        (FixedMaturityCondition(investment_id="fix-2"), f"{FIXED}/investments", "records.0", None, False),
        (FixedMaturityCondition(investment_id="fix-2"), f"{FIXED}/investments", "records.0.amount", None, True),
    ],
)
def test_waiting_goes_on_while_it_is_not_known_whether_an_investment_is_over(
    condition, path, field, value, met, caplog
):
    answer = records(path, field, value)
    assert (condition.judge(answer) is not None) is met
    if not met and value != 0 and not (isinstance(condition, FlexInvestmentCondition) and condition.status):
        assert "Neither active nor closed" in caplog.text


def test_a_closed_investment_whose_amount_is_unknown_is_over():
    condition = FlexInvestmentCondition(ticker="USDT", status=0)
    answer = records(f"{FLEX}/investments", "data.1.invested", None)
    first = answer[0]
    assert isinstance(first, FlexInvestment)
    assert condition.judge([replace(first, status=0), *answer[1:]]) is not None


def test_a_balance_that_cannot_be_read_is_not_empty(caplog):
    condition = BalanceCondition("main", "USDT", at_most=Decimal(10))
    assert condition.judge({"USDT": None, "BTC": Decimal(1)}) is None
    assert "the main balance of USDT cannot be read" in caplog.text
    assert condition.judge({"USDT": Decimal(1), "BTC": None}) is not None
    # It is not outside the limits either: the same amount is not emitted again.
    watch, state = BalanceLevels(condition), WatchState()
    assert len(watch.new_events({"USDT": Decimal(1)}, state, SECOND)) == 1
    state.mark_emitted(watch.new_events({"USDT": Decimal(1)}, state, SECOND)[0])
    assert watch.new_events({"USDT": None}, state, SECOND) == []
    assert watch.new_events({"USDT": Decimal(1)}, state, SECOND) == []


def test_an_unknown_status_is_no_maturity(caplog):
    for status, count in ((1, 0), (2, 1), (3, 0)):
        answer = records(f"{FIXED}/investments", "records.1.status", status)
        answer = [
            replace(one, payment_time=one.updated) if isinstance(one, FixedInvestment) and one.id == "fix-2" else one
            for one in answer
        ]
        assert len(FixedMaturities().new_events(answer, WatchState(since=0), SECOND)) == count
    assert "investment fix-2 has the unknown status 3" in caplog.text


def test_an_earning_is_seen_beside_a_record_that_cannot_be_read(caplog):
    found: list[UnreadableRecord] = []
    client = client_of(changed(f"{FLEX}/investments/payment-history", "data.0.amount", None))
    answer = [*client.flex_payments(on_unreadable=found.append), *found]
    caplog.set_level(logging.WARNING)
    assert FlexEarningCondition(0, ticker="USDT").judge(answer) is not None
    assert len(answer) == 3


# --- statements


def statement(path="", field="", value=None):
    answers = changed(path, field, value) if path else ANSWERS
    return read_statement(client_of(answers), start=moment(50), end=moment(0))


def test_a_statement_shows_unknown_rates_as_unknown():
    made = statement(f"{FLEX}/plans", "0.maxRate", None)
    assert made.to_json()["tickers"]["USDT"]["plans"][FLEX_PLAN]["advertised_rate"] is None
    page = render_page(made)
    assert "unknown" in page
    assert "0.0000 %" not in page.partition("Advertised rate per year")[2].partition("</tr>")[0]


@pytest.mark.parametrize(
    ("path", "field", "value", "kind"),
    [
        (f"{FLEX}/investments", "data.0.status", 3, DiscrepancyKind.UNKNOWN_STATUS),
        (f"{FLEX}/investments", "data.0.invested", None, DiscrepancyKind.UNREADABLE_RECORD),
        (f"{FLEX}/investments/history", "data.0.amount", None, DiscrepancyKind.UNREADABLE_RECORD),
        (f"{FLEX}/investments/history", "data.0.actionType", 27, DiscrepancyKind.UNKNOWN_ACTION),
        (f"{FLEX}/investments/payment-history", "data.0", None, DiscrepancyKind.UNREADABLE_RECORD),
    ],
)
def test_a_statement_names_what_is_unknown(path, field, value, kind):
    found = [one for one in statement(path, field, value).discrepancies if one.kind is kind]
    assert len(found) == 1
    assert found[0].message in render_page(statement(path, field, value)).replace("&#39;", "'")
    assert kind not in [one.kind for one in statement().discrepancies]


def test_an_unknown_status_still_counts_in_a_statement():
    assert statement(f"{FLEX}/investments", "data.0.status", 3).plans[0].figures.closing == 500


@pytest.mark.parametrize(("path", "field"), [(f"{FLEX}/investments", "data.1.invested"), (f"{FLEX}/plans", "0.ticker")])
def test_a_bad_record_that_changes_no_figure_is_a_warning(path, field):
    made = statement(path, field)
    assert made.discrepancies == statement().discrepancies
    assert [text for text in made.warnings if "unreadable" in text]
    assert made.to_json()["warnings"] == list(made.warnings)
    assert "Please note" in render_page(made)


def test_a_statement_warns_that_a_rate_may_be_in_percent():
    assert [text for text in statement(f"{FLEX}/plans", "0.maxRate", "15").warnings if "percent" in text]
    assert statement().warnings == ()
