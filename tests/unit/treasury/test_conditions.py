"""Conditions: when they are fulfilled, and that they survive the way to a trigger."""

from __future__ import annotations

import json
from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FixedPlan,
    FlexInvestment,
    FlexTransaction,
    PlatformStatus,
)
from airflow_provider_whitebit.treasury.conditions import (
    BalanceCondition,
    FixedMaturityCondition,
    FlexEarningCondition,
    FlexInvestmentCondition,
    Names,
    PlatformCondition,
    condition_from_json,
)

AT = pendulum.datetime(2026, 1, 2)


def flex(plan="p", currency="USDT", invested="50", status=1):
    return FlexInvestment("i", plan, currency, Decimal(invested), False, status, AT, AT)


def earning(second=0, plan="p", currency="USDT"):
    return FlexTransaction(AT.add(seconds=second), plan, "i", currency, Decimal("0.1"), f"tx{second}", 4)


def fixed(name="f", status=1, plan="q", ticker="BTC"):
    terms = FixedPlan(plan, ticker, 1, Decimal(1), 60, ticker, Decimal(1), Decimal(1), None, None)
    return FixedInvestment(name, terms, status, AT, AT, AT, Decimal(1), Decimal(0))


@pytest.mark.parametrize(
    ("condition", "answer", "met"),
    [
        (BalanceCondition("main", "USDT", at_least=Decimal(10)), {"USDT": Decimal(10)}, True),
        (BalanceCondition("main", "USDT", at_least=Decimal(10)), {"USDT": Decimal("9.999999")}, False),
        (BalanceCondition("main", "USDT", at_least=Decimal(10)), {}, False),
        (BalanceCondition("spot", "USDT", at_most=Decimal(0)), {"USDT": Decimal(0)}, True),
        (BalanceCondition("spot", "USDT", at_most=Decimal(0)), {}, True),
        (BalanceCondition("spot", "USDT", Decimal(1), Decimal(2)), {"USDT": Decimal("2.1")}, False),
        (FlexInvestmentCondition(plan_id="p"), [flex()], True),
        (FlexInvestmentCondition(plan_id="p"), [], False),
        (FlexInvestmentCondition(plan_id="x"), [flex()], False),
        (FlexInvestmentCondition(ticker="BTC"), [flex()], False),
        (FlexInvestmentCondition(plan_id="p"), [flex(status=0)], False),
        (FlexInvestmentCondition(plan_id="p", invested_at_least=Decimal(51)), [flex()], False),
        (FlexInvestmentCondition(plan_id="p", invested_at_least=Decimal(50)), [flex()], True),
        (FlexInvestmentCondition(plan_id="p", status=0), [flex(status=0)], True),
        (FlexInvestmentCondition(plan_id="p", status=0), [flex(status=0), flex()], False),
        (FlexInvestmentCondition(plan_id="p", status=0), [], False),
        (FlexEarningCondition(AT.int_timestamp), [earning(0)], True),
        (FlexEarningCondition(AT.int_timestamp + 1), [earning(0)], False),
        (FlexEarningCondition(0, plan_id="x"), [earning()], False),
        (FlexEarningCondition(0, ticker="USDT"), [earning(currency="BTC"), earning()], True),
        (FixedMaturityCondition(investment_id="f"), [fixed(status=2), fixed("g")], True),
        (FixedMaturityCondition(investment_id="f"), [fixed()], False),
        (FixedMaturityCondition(investment_id="f"), [], False),
        (FixedMaturityCondition(plan_id="q"), [fixed(status=2), fixed("g")], False),
        (FixedMaturityCondition(ticker="BTC"), [fixed(status=2), fixed("g", ticker="USDT")], True),
        (PlatformCondition(), PlatformStatus("system operational"), True),
        (PlatformCondition(), PlatformStatus("system maintenance"), False),
        (PlatformCondition(), PlatformStatus("partial outage"), False),
    ],
)
def test_conditions(condition, answer, met):
    again = condition_from_json(json.loads(json.dumps(condition.to_json())))
    assert again == condition
    found = again.judge(answer)
    assert (found is not None) is met
    json.dumps(found)


def test_what_is_not_a_condition():
    with pytest.raises(e.WhiteBitValidationError, match="is not a condition"):
        condition_from_json({"kind": "weather"})


def test_the_first_earning_is_meant():
    condition = FlexEarningCondition(AT.int_timestamp)
    newest_first = [earning(200), earning(100), earning(-1)]
    assert condition.judge(newest_first)["transaction_id"] == "tx100"


@pytest.mark.parametrize(
    ("condition", "answer", "unseen"),
    [
        (BalanceCondition("main", "USDT", at_most=Decimal(1)), {"USDT": Decimal(0)}, Names()),
        (BalanceCondition("main", "USDT", at_most=Decimal(1)), {"USDT": None}, Names()),
        (BalanceCondition("main", "USTD", at_most=Decimal(1)), {"USDT": Decimal(0)}, Names("USTD")),
        (FlexInvestmentCondition(plan_id="p"), [flex("P", status=7)], Names()),
        (FlexInvestmentCondition(plan_id="p"), [flex("q")], Names(plan_id="p")),
        (FlexEarningCondition(0, plan_id="p", ticker="BTC"), [earning()], Names("BTC")),
        (FixedMaturityCondition(investment_id="f"), [fixed("g"), fixed(status=9)], Names()),
        (FixedMaturityCondition(investment_id="f"), [fixed("g")], Names(investment_id="f")),
        (PlatformCondition(), PlatformStatus("system operational"), Names()),
    ],
)
def test_names_that_an_answer_does_not_show(condition, answer, unseen):
    assert condition.names.unseen(answer) == unseen
