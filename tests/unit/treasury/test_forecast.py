"""Forecasts by hand: rates and where they come from, compounding, terms, needs, and what is not known."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from itertools import chain

import pendulum
import pytest

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FixedPlan,
    FlexInvestment,
    FlexPlan,
    FlexTransaction,
)
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.treasury.forecast import (
    MOST_DAYS,
    RateBasis,
    make_forecast,
    rates_since,
    realised_rates,
)
from airflow_provider_whitebit.treasury.policy import read_policy

NOW = pendulum.datetime(2026, 3, 1)
A, B = "plan-a", "plan-b"


def flex(plan=A, amount="3650", *, auto=False, status=1, created=None, ticker="USDT"):
    return FlexInvestment(f"of-{plan}", plan, ticker, Decimal(amount), auto, status, created, None)


def offered(plan=A, rate="0.1", ticker="USDT"):
    return FlexPlan(plan, ticker, Decimal(10), None, None if rate is None else Decimal(rate))


def fixed(days=10, *, percent="2", ratio="1", pays="USDT", status=1, amount="1000", paid=None):
    plan = FixedPlan(
        "term",
        "USDT",
        1,
        None if percent is None else Decimal(percent),
        days and days * 1440,
        pays,
        ratio and Decimal(ratio),
        Decimal(1),
        None,
        None,
    )
    at = None if days is None else NOW.add(days=days, hours=12)
    return FixedInvestment("fixed-1", plan, status, NOW, NOW, at, Decimal(amount), paid)


def forecast(investments=(), terms=(), plans=(), *, days=10, now=NOW, main=None, realised=None, **more):
    return make_forecast(
        investments,
        terms,
        plans,
        main={"USDT": Decimal(0)} if main is None else main,
        realised=realised or {},
        now=now,
        until=now.add(days=days, seconds=1),
        **more,
    )


def usdt(found):
    return next(one for one in found.tickers if one.ticker == "USDT")


def test_each_midnight_credits_a_day():
    found = usdt(forecast([flex()], realised={A: Decimal("0.1")}))
    # 3650 at 10 % is 1 a day.
    assert (found.per_day, found.earned, found.earned_reinvested, found.complete) == (1, 10, 0, True)
    assert [day.date for day in found.days] == [f"2026-03-{day:02}" for day in range(1, 12)]
    assert [day.earned for day in found.days] == [0, *[1] * 10]
    assert (found.days[-1].main, found.days[-1].invested) == (10, 3650)


def test_what_has_accrued_today_is_credited_with_the_first_night():
    noon = NOW.add(hours=12)
    old = usdt(forecast([flex()], realised={A: Decimal("0.1")}, now=noon, days=1))
    assert old.earned == 1
    new = usdt(forecast([flex(created=noon.subtract(hours=6))], realised={A: Decimal("0.1")}, now=noon, days=1))
    assert new.earned == Decimal("0.75")


def test_auto_reinvest_compounds():
    found = usdt(forecast([flex(auto=True)], realised={A: Decimal("0.1")}, days=365))
    expected = 3650 * ((1 + Decimal("0.1") / 365) ** 365 - 1)
    assert abs(found.earned - expected) < Decimal("0.00001")
    assert found.earned == found.earned_reinvested == found.investments[0].closing - 3650
    assert sum(day.earned for day in found.days) == found.earned
    assert found.days[-1].main == 0


def test_realised_before_advertised_before_unknown():
    plans = [offered(A, "0.5"), offered(B, "0.1")]
    found = usdt(forecast([flex(A), flex(B), flex("gone")], plans=plans, realised={A: Decimal("0.1")}))
    assert [one.basis for one in found.investments] == [RateBasis.REALISED, RateBasis.ADVERTISED, RateBasis.UNKNOWN]
    assert [one.per_day for one in found.investments] == [1, 1, None]
    assert (found.earned, found.earned_advertised, found.complete) == (20, 10, False)


def test_an_investment_whose_asset_is_unknown_is_named():
    found = forecast([flex(ticker="")], realised={A: Decimal("0.1")})
    text = "Flex investment of-plan-a names no asset, and its plan is not on offer, so nothing is expected of its 3650."
    assert (found.unknown, found.tickers) == ((text,), ())
    assert forecast([flex(ticker="")], plans=[offered()]).unknown == ()


def test_an_unknown_rate_is_named_and_never_0():
    found = forecast([flex()], plans=[offered(A, None)])
    only = usdt(found)
    assert (only.per_day, only.earned, only.investments[0].rate, only.days[1].earned) == (None, None, None, None)
    [text] = found.unknown
    assert text == (
        "Plan plan-a has neither a realised nor an advertised rate, so nothing is expected of its 3650 USDT."
    )
    shown = found.to_json()["tickers"]["USDT"]
    assert (shown["earned"], shown["investments"][0]["basis"]) == (None, "unknown")


def test_rates_that_cannot_be_rates():
    found = forecast([flex()], plans=[offered(A, "15")])
    assert usdt(found).earned is None
    assert "shows the rate 15" in found.unknown[0]
    assert "may be percent" in found.warnings[0]


def test_unknown_status_and_unreadable_records_are_named():
    unreadable = UnreadableRecord.of(FlexInvestment, "investments", {"id": "x", "currency": "USDT"}, 0)
    found = forecast([flex(status=7), flex(B, status=0)], [fixed(status=7)], unreadable=[unreadable])
    assert usdt(found).invested == usdt(found).fixed == 0
    assert not usdt(found).complete
    assert len(found.unknown) == 3


def test_a_term_ends_once_and_earns_nothing_after_it():
    found = forecast([], [fixed(5)])
    [end] = found.maturities
    assert (end.at, end.amount, end.interest) == (NOW.add(days=5, hours=12), 1000, 20)
    only = usdt(found)
    assert (only.fixed, only.interest, only.matured) == (1000, 20, 1000)
    assert [day.date for day in only.days if day.matured] == ["2026-03-06"]
    assert only.days[4].main == 0
    assert only.days[-1].main == 1020


def test_interest_in_another_asset():
    found = forecast([], [fixed(5, pays="BTC", ratio="50000")])
    [end] = found.maturities
    assert (end.interest, end.interest_ticker) == (Decimal("0.0004"), "BTC")
    by_name = {one.ticker: one for one in found.tickers}
    assert (by_name["BTC"].interest, by_name["BTC"].days[-1].main) == (Decimal("0.0004"), Decimal("0.0004"))
    assert (by_name["USDT"].interest, by_name["USDT"].matured) == (0, 1000)
    only = forecast([], [fixed(5, pays="BTC", ratio="50000")], tickers=["BTC"])
    assert ([one.ticker for one in only.tickers], only.maturities) == (["BTC"], found.maturities)


def test_terms_beyond_the_end_are_in_the_calendar_only():
    found = forecast([], [fixed(20), fixed(5)])
    assert [one.at for one in found.maturities] == [NOW.add(days=5, hours=12), NOW.add(days=20, hours=12)]
    assert usdt(found).matured == 1000


@pytest.mark.parametrize(
    ("term", "what"),
    [
        (fixed(None), "The end of Fixed investment fixed-1 is unknown"),
        (fixed(percent=None), "The interest of Fixed investment fixed-1 is unknown"),
        (fixed(pays="BTC", ratio=None), "The interest of Fixed investment fixed-1 is unknown"),
    ],
)
def test_unknown_terms_are_named(term, what):
    found = forecast([], [term])
    assert found.unknown[0].startswith(what)
    assert found.maturities


def test_what_is_due_already_is_expected_at_once():
    term = fixed(-3)
    found = forecast([], [term])
    assert (found.maturities[0].at, usdt(found).days[0].matured) == (term.payment_time, 1000)


def test_interest_that_was_paid_is_not_expected_again():
    assert forecast([], [fixed(paid=Decimal(5))]).maturities[0].interest == 15


def policy(**wanted):
    return read_policy({"USDT": wanted})


def need(amount, day):
    return {"amount": amount, "by": f"2026-03-{day:02}T12:00:00Z"}


def test_needs_take_main_then_the_plans_that_earn_least():
    wanted = policy(reserve="100", liquidity=[need("500", 3), need("4000", 6)])
    rates = {A: Decimal("0.1"), B: Decimal("0.05")}
    found = usdt(
        forecast([flex(A), flex(B, "1000")], main={"USDT": Decimal("600")}, realised=rates, policy=wanted, days=10)
    )
    first, second = found.needs
    assert (first.amount, first.reserve, first.from_flex, first.missing) == (500, 100, 0, 0)
    # Main has 100, the reserve, and what was earned since.
    assert second.from_flex < 4000
    assert second.missing == 0
    assert [one.closing for one in found.investments][1] == 0
    assert 600 < found.investments[0].closing < 700
    assert found.days[-1].earned < found.days[1].earned
    assert not forecast([flex(A)], policy=policy(reserve="3000"), realised=rates).shortfalls


def test_a_shortfall_has_a_date_and_an_amount():
    wanted = policy(reserve="50", liquidity=[need("1000", 4), need("5", 28)])
    found = forecast([flex(A, "365")], main={"USDT": Decimal("100")}, realised={A: Decimal(0)}, policy=wanted)
    [short] = found.shortfalls
    assert (short.at, short.missing) == (pendulum.datetime(2026, 3, 4, 12), 1050 - 465)
    assert found.to_json()["shortfalls"] == [
        {"ticker": "USDT", "at": "2026-03-04T12:00:00Z", "missing": "585.00000000"},
    ]
    assert usdt(found).days[-1].main == 0


def test_a_term_that_ends_in_time_meets_a_need():
    wanted = policy(liquidity=[need("1000", 8)])
    assert not forecast([], [fixed(5)], policy=wanted).shortfalls
    assert forecast([], [fixed(9)], policy=wanted).shortfalls[0].missing == 1000


def test_a_reserve_that_is_missing_already():
    [short] = forecast([flex(A, "10")], policy=policy(reserve="100")).shortfalls
    assert (short.at, short.amount, short.missing) == (NOW, 0, 90)
    share = forecast([flex(A, "100")], policy=policy(reserve_share="0.5", liquidity=[need("60", 2)]))
    # Half of 100 stays in Main.
    assert (share.shortfalls[0].reserve, share.shortfalls[0].missing) == (50, 10)


def test_an_unreadable_main_is_not_compared():
    found = forecast([flex()], main={"USDT": None}, policy=policy(reserve="1"))
    assert not found.shortfalls
    assert "Main cannot be read" in found.unknown[-1]
    assert usdt(found).days[-1].main is None


def test_assets_that_are_shown():
    found = forecast([flex(), flex(B, ticker="BTC")], main={"ETH": Decimal(1)}, tickers=["BTC", "ETH"])
    assert [one.ticker for one in found.tickers] == ["BTC", "ETH"]
    assert forecast().tickers == ()


@pytest.mark.parametrize("until", [NOW, NOW.subtract(days=1), NOW.add(days=MOST_DAYS + 1), NOW.naive()])
def test_times_that_are_no_period(until):
    with pytest.raises(WhiteBitValidationError):
        make_forecast([], [], [], main={}, realised={}, now=NOW, until=until)


def test_json_is_plain():
    found = forecast([flex(auto=True)], [fixed()], [offered()], policy=policy(liquidity=[need("1", 3)]))
    shown = found.to_json()
    assert json.loads(json.dumps(shown)) == shown
    assert type(shown["tickers"]["USDT"]["investments"][0]["basis"]) is str
    assert len(shown["tickers"]["USDT"]["days"]) == 11
    assert found.to_json(days=False)["tickers"]["USDT"]["days"] is None


def test_the_largest_amounts_and_rates():
    found = usdt(forecast([flex(amount="1e60", auto=True)], realised={A: Decimal(10)}, days=MOST_DAYS - 1))
    assert found.earned > Decimal("1e100")


def earning(at, amount, *, plan=A, action=4):
    return FlexTransaction(at, plan, f"of-{plan}", "USDT", Decimal(amount), f"tx-{at}-{action}", action)


def nightly(days, amount="1", **more):
    """One earning for each of the last nights, newest first."""
    return [earning(NOW.subtract(days=back).add(minutes=5), amount, **more) for back in range(days)]


def rates(history, investments):
    now = NOW.add(hours=9)
    return realised_rates(history, investments, since=rates_since(now), now=now)


def test_rates_of_whole_days():
    assert rates_since(NOW.add(hours=9)) == NOW.subtract(days=30)
    # The first of 31 credits is for a day before. The nine hours since the last one count for nothing.
    assert rates(nightly(31), [flex()]) == {A: Decimal("0.1")}


def later(plan, days=31, *, seconds=40):
    """The nights of a plan that is credited after the others."""
    return [replace(one, created_at=one.created_at.add(seconds=seconds)) for one in nightly(days, plan=plan)]


def in_order(*histories):
    return sorted(chain(*histories), key=lambda one: one.created_at, reverse=True)


def test_a_night_credits_one_plan_after_the_other():
    expected = {A: Decimal("0.1"), B: Decimal("0.1")}
    history, held = in_order(nightly(31), later(B)), [flex(), flex(B)]
    assert rates(history, held) == expected
    # In the middle of the last night.
    assert rates(history[1:], held) == expected
    assert rates(in_order(nightly(31), later(B, seconds=36_000)), held) == expected


def test_older_records_do_not_count():
    twice = [replace(one, amount=Decimal(2)) for one in nightly(60)[31:]]
    assert rates([*nightly(31), *twice], [flex()]) == {A: Decimal("0.1")}


def test_rates_of_an_investment_younger_than_the_period():
    opened = NOW.subtract(days=3).add(minutes=5)
    history = [*nightly(3), earning(opened, "3650", action=6)]
    assert rates(history, [flex(created=opened)]) == {A: Decimal("0.1")}


def test_no_rate_without_a_whole_day_or_an_earning():
    opened = NOW.subtract(minutes=30)
    assert rates([*nightly(1), earning(opened, "3650", action=6)], [flex(created=opened)]) == {}
    assert rates([], [flex(created=NOW.subtract(days=1))]) == {}


def test_a_plan_that_has_earned_nothing_has_no_rate():
    assert rates(nightly(31, plan=B), [flex(), flex(B)]) == {B: Decimal("0.1")}


def test_what_closing_pays_is_no_night():
    closed = FlexInvestment("of-plan-b", B, "USDT", Decimal(0), False, 0, NOW.subtract(days=60), None)
    closing = [earning(NOW.add(hours=8), amount, plan=B, action=action) for amount, action in (("0.3", 4), ("365", 5))]
    found = rates([*closing, *nightly(31)], [flex(), closed])
    assert found[A] == Decimal("0.1")
