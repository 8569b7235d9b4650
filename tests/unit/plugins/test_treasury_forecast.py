"""The forecast on the Treasury page: by day, by asset, and its calendar."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from test_treasury_data import FIXED, NOW, PLAN, answering, daily, data, error_from_answer, investment

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.plugins import treasury_forecast
from airflow_provider_whitebit.plugins.treasury_data import Account
from airflow_provider_whitebit.plugins.treasury_sums import sums_of


def page(**answers):
    return data.page_data(data.load_snapshot(answering(**answers), 10, lambda: 0))


def test_days_totals_and_calendar():
    found = page()["forecast"]
    assert (len(found["days"]), found["days"][0], found["days"][-1]) == (90, "2026-11-23", "2027-02-20")
    usdt = found["by_ticker"]["USDT"]
    # 0.4 a day is realised; today's is credited already.
    assert usdt["earned"][:3] == ["0", "0.4", "0.4"]
    assert Decimal(usdt["totals"]["30"]["earned"]) == Decimal("11.6")
    assert (usdt["advertised"], usdt["complete"]) == (False, True)
    # The interest of the BTC term is paid in USDT.
    assert Decimal(usdt["totals"]["30"]["interest"]) == 1000
    (term,) = found["calendar"]
    assert (term["date"], term["ticker"], term["terms"], term["amount"]) == ("2026-12-03", "BTC", 1, "0.5")
    assert {name: Decimal(amount) for name, amount in term["interest"].items()} == {"USDT": 1000}
    assert found["unknown"] == []


def test_advertised_rates_are_marked():
    usdt = page(flex_payments=[])["forecast"]["by_ticker"]["USDT"]
    assert usdt["advertised"] is True
    assert abs(Decimal(usdt["totals"]["30"]["earned"]) - Decimal("11.92")) < Decimal("0.01")


def test_an_unknown_rate_is_not_0():
    found = page(flex_payments=[], flex_plans=[replace(PLAN, max_rate=None)])["forecast"]
    usdt = found["by_ticker"]["USDT"]
    assert (usdt["totals"]["30"]["earned"], usdt["complete"]) == (None, False)
    assert found["unknown"] != []


def test_terms_of_one_day_are_one_line():
    terms = [FIXED, replace(FIXED, id="f2", amount=Decimal("0.25")), replace(FIXED, id="f3", payment_time=None)]
    calendar = page(fixed_investments=terms)["forecast"]["calendar"]
    assert [(line["date"], line["terms"], line["amount"]) for line in calendar] == [
        ("2026-12-03", 2, "0.75"),
        (None, 1, "0.5"),
    ]


def test_without_permission_for_fixed_plans_it_is_that_of_flex():
    refused = error_from_answer("/p", 403, {"code": 0, "message": "You don't have permission"})
    found = page(fixed_investments=refused)["forecast"]
    assert (found["calendar"], found["unknown"]) == ([], ["Fixed investments could not be loaded."])
    assert Decimal(found["by_ticker"]["USDT"]["totals"]["30"]["earned"]) == Decimal("11.6")


def test_without_earnings_or_history_there_is_none():
    refused = error_from_answer("/p", 403, {"code": 0, "message": "You don't have permission"})
    assert page(flex_payments=refused)["forecast"] is None
    assert page(flex_history=refused)["forecast"] is None


def test_a_forecast_that_cannot_be_made_hides_nothing_else(monkeypatch):
    def fail(*args, **options):
        raise WhiteBitValidationError("The records contradict each other.")

    monkeypatch.setattr(treasury_forecast, "realised_rates", fail)
    shown = page()
    assert (shown["forecast"], shown["positions"] == page()["positions"]) == (None, True)
    assert [problem["what"] for problem in shown["problems"]] == ["Forecast"]


def test_nothing_is_invested():
    found = page(flex_investments=[], fixed_investments=[], flex_payments=[])["forecast"]
    assert (found["by_ticker"], found["calendar"]) == ({}, [])


def test_the_forecast_of_several_accounts():
    one, other = page(), page(flex_investments=[investment(invested="500")], flex_payments=daily("0.2", 90))
    accounts = {name: Account(name, shown, {}) for name, shown in (("one", one), ("other", other))}
    found = sums_of(accounts)["forecast"]
    usdt = found["by_ticker"]["USDT"]
    assert Decimal(usdt["totals"]["30"]["earned"]) == Decimal("17.4")
    assert Decimal(usdt["earned"][5]) == Decimal("0.6")
    (term,) = found["calendar"]
    assert (term["terms"], term["amount"], Decimal(term["interest"]["USDT"])) == (2, "1", 2000)
    lacking = Account("lacking", other | {"forecast": None}, {})
    assert sums_of({**accounts, "lacking": lacking})["forecast"] is None


def test_forecasts_around_midnight_are_added_by_day():
    one, later = page(), data.page_data(data.load_snapshot(answering(server_time=NOW.add(hours=9)), 10, lambda: 0))
    accounts = {name: Account(name, shown, {}) for name, shown in (("later", later), ("one", one))}
    found = sums_of(accounts)["forecast"]
    assert (found["days"], len(found["by_ticker"]["USDT"]["earned"])) == (one["forecast"]["days"], 90)
