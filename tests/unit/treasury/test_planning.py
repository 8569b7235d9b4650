"""The planners by example, and properties that hold for any holdings and any policy."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal, localcontext

import pendulum
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import Asset, FlexInvestment, FlexPlan
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.treasury.planning import (
    Holdings,
    PlannedMove,
    TreasuryPlan,
    plan_raise,
    plan_rebalance,
    plan_sweep,
)
from airflow_provider_whitebit.treasury.policy import Policy, read_policy
from tests.unit.treasury.applied import apply_plan

NOW = pendulum.datetime(2026, 3, 1, 12)


def plan(name, rate="0.1", least="10", most=None, ticker="USDT"):
    return FlexPlan(name, ticker, Decimal(least), None if most is None else Decimal(most), Decimal(rate))


def held(name, invested, ticker="USDT", reinvest=False, status=1):
    return FlexInvestment(f"inv_{name}", name, ticker, Decimal(invested), reinvest, status, None, None)


def holdings(main="0", plans=(), investments=(), precision=6, **others):
    return Holdings(
        main={"USDT": Decimal(main)},
        plans=tuple(plans),
        investments=tuple(investments),
        assets={name: Asset(name, name, precision, True, True) for name in ("USDT", "BTC")},
        **{name: {"USDT": Decimal(amount)} for name, amount in others.items()},
    )


def wanted(**fields):
    return read_policy({"USDT": fields})


def texts(planned):
    """The moves as short texts: ``invest 100 in a``."""
    words = {
        Operation.FLEX_INVEST: "invest {} in {}",
        Operation.FLEX_WITHDRAW: "withdraw {} from {}",
        Operation.FLEX_CLOSE: "close {} in {}",
        Operation.TRANSFER: "transfer {} to {}",
    }
    return [words[move.operation].format(move.amount, move.plan_id or move.target) for move in moves(planned)]


def moves(planned):
    return [entry.move for entry in planned.moves]


def sweep(what, **fields):
    return plan_sweep(what, wanted(**fields), NOW)


def rebalance(what, **fields):
    return plan_rebalance(what, wanted(**fields), NOW)


class TestSweep:
    def test_what_lies_above_the_reserve_goes_to_the_highest_rate(self):
        planned = sweep(holdings("1500", [plan("a", "0.1"), plan("b", "0.2")]), reserve="500")
        assert texts(planned) == ["invest 1000 in b"]
        assert planned.moves[0].reason == (
            "Main holds 1000 USDT above the reserve of 500; plan b: max_rate 0.2, minimum 10, no maximum."
        )
        assert planned.notes == ()

    def test_the_larger_reserve_counts_and_its_share_is_of_main_and_flex(self):
        what = holdings("1000", [plan("a")], [held("a", "1000")])
        assert texts(sweep(what, reserve="100", reserve_share="0.25")) == ["invest 500 in a"]
        assert texts(sweep(what, reserve="900", reserve_share="0.25")) == ["invest 100 in a"]

    def test_plans_are_filled_one_after_the_other(self):
        what = holdings("1000", [plan("a", "0.1"), plan("b", "0.2", most="600")], [held("b", "300")])
        assert texts(sweep(what)) == ["invest 300 in b", "invest 700 in a"]

    def test_in_the_order_of_the_list(self):
        what = holdings("1000", [plan("a", "0.1", most="600"), plan("b", "0.2"), plan("c", "0.3")])
        assert texts(sweep(what, plans={"choose": "list", "only": ["a", "b"]})) == [
            "invest 600 in a",
            "invest 400 in b",
        ]

    def test_caps_of_the_policy(self):
        what = holdings("1000", [plan("a", "0.1"), plan("b", "0.2"), plan("c", "0.3")])
        assert texts(sweep(what, plans={"max_share": "0.4"})) == [
            "invest 400 in c",
            "invest 400 in b",
            "invest 200 in a",
        ]
        planned = sweep(what, plans={"max_amount": "100", "exclude": ["a"]})
        assert texts(planned) == ["invest 100 in c", "invest 100 in b"]
        assert planned.notes == (
            "USDT: 800 remain idle in Main: plan c is at its maximum or cap; plan b is at its maximum or cap.",
        )

    def test_targets(self):
        what = holdings("1000", [plan("a", "0.1"), plan("b", "0.2"), plan("c", "0.3")], [held("a", "1000")])
        assert texts(sweep(what, plans={"targets": {"a": "0.6", "b": "0.2"}})) == [
            "invest 400 in b",
            "invest 200 in a",
        ]

    def test_every_investment_is_at_least_the_minimum_also_what_is_added(self):
        what = holdings("9.999999", [plan("a")], [held("a", "500")])
        planned = sweep(what)
        assert texts(planned) == []
        assert planned.notes == ("USDT: 9.999999 remain idle in Main: plan a takes at least 10.",)

    def test_the_smallest_move(self):
        assert texts(sweep(holdings("99", [plan("a")]), min_move="100")) == []
        assert texts(sweep(holdings("100", [plan("a")]), min_move="100")) == ["invest 100 in a"]

    def test_amounts_are_rounded_down_to_what_the_asset_carries(self):
        assert texts(sweep(holdings("100.129", [plan("a")], precision=2))) == ["invest 100.12 in a"]
        assert texts(sweep(holdings("100.129", [plan("a")], precision=2), reserve="0.001")) == ["invest 100.11 in a"]

    def test_more_digits_than_decimals_usually_have(self):
        main = "123456789012345678901234567890.123456789012345678"
        assert texts(sweep(holdings(main, [plan("a")], precision=18))) == [f"invest {main} in a"]

    def test_below_the_reserve_nothing_is_invested_or_withdrawn(self):
        planned = sweep(holdings("400", [plan("a")], [held("a", "1000")]), reserve="500")
        assert texts(planned) == []
        assert planned.notes == ("USDT: Main holds 400, less than the reserve of 500.",)

    def test_liquidity_counts_from_its_notice_until_its_moment(self):
        what = holdings("1000", [plan("a")])
        need = {"amount": "300", "by": "2026-03-01T14:00:00Z"}
        assert texts(sweep(what, reserve="100", liquidity=[need])) == ["invest 900 in a"]
        assert texts(sweep(what, reserve="100", liquidity=[need], notice="2h")) == ["invest 600 in a"]
        past = {"amount": "300", "by": "2026-03-01T11:59:59Z"}
        assert texts(sweep(what, reserve="100", liquidity=[past], notice="2h")) == ["invest 900 in a"]

    def test_auto_reinvest_is_set_or_left(self):
        what = holdings("1000", [plan("a", "0.2", most="600"), plan("b")], [held("a", "500", reinvest=True)])
        assert [move.with_reinvest for move in moves(sweep(what))] == [True, False]
        assert sweep(what).auto_reinvest == {}
        off = sweep(what, auto_reinvest=False)
        assert [move.with_reinvest for move in moves(off)] == [False, False]
        assert off.auto_reinvest == {"a": False}
        on = sweep(what, auto_reinvest=True)
        assert [move.with_reinvest for move in moves(on)] == [True, True]
        assert on.auto_reinvest == {}

    def test_a_plan_that_is_named_but_not_on_offer(self):
        planned = sweep(holdings("1000", [plan("a")]), plans={"only": ["z"]})
        assert planned.notes == (
            "USDT: 1000 remain idle in Main: no permitted plan is on offer.",
            "USDT: plan z, which the policy names, is not on offer.",
        )

    def test_an_excluded_plan_that_is_neither_on_offer_nor_held_may_be_a_typing_error(self):
        planned = rebalance(holdings("0", [plan("a")], [held("B", "5")]), plans={"exclude": ["a", "b", "z"]})
        assert texts(planned) == ["close 5 in B"]
        assert planned.notes == (
            "USDT: 5 remain idle in Main: no permitted plan is on offer.",
            "USDT: plan z, which the policy excludes, is not on offer: check its id.",
        )

    def test_plan_ids_are_compared_without_regard_to_capitals(self):
        assert texts(sweep(holdings("1000", [plan("A1")]), plans={"only": ["a1"]})) == ["invest 1000 in A1"]

    def test_an_asset_that_the_exchange_does_not_have(self):
        with pytest.raises(WhiteBitValidationError, match="USDX"):
            plan_sweep(holdings("1"), read_policy({"USDX": {}}), NOW)

    def test_a_time_without_zone(self):
        with pytest.raises(WhiteBitValidationError, match="aware"):
            plan_sweep(holdings("1"), wanted(), pendulum.naive(2026, 1, 1))


class TestRaise:
    def test_what_is_there_already_counts(self):
        what = holdings("600", [plan("a")], [held("a", "1000")])
        assert texts(plan_raise(what, "USDT", Decimal(600))) == []
        assert texts(plan_raise(what, "USDT", Decimal(700))) == ["withdraw 100 from a"]

    def test_the_cheapest_gives_first(self):
        what = holdings("0", [plan("a", "0.1"), plan("b", "0.2")], [held("a", "100"), held("b", "100")])
        planned = plan_raise(what, "USDT", Decimal(150))
        assert texts(planned) == ["close 100 in a", "withdraw 50 from b"]
        assert planned.moves[1].reason == (
            "150 USDT are needed in main; plan b: max_rate 0.2, minimum 10, no maximum; 50 remain in it."
        )

    def test_the_minimum_stays_and_the_next_gives_the_rest(self):
        what = holdings("0", [plan("a", "0.1", least="50"), plan("b", "0.2")], [held("a", "60"), held("b", "100")])
        assert texts(plan_raise(what, "USDT", Decimal(55))) == ["withdraw 10 from a", "withdraw 45 from b"]

    def test_one_is_closed_only_if_no_other_can_give_the_rest(self):
        plans = [plan("a", "0.1", least="50"), plan("b", "0.2", least="90")]
        what = holdings("0", plans, [held("a", "60"), held("b", "100")])
        assert texts(plan_raise(what, "USDT", Decimal(55))) == ["close 60 in a"]
        # Closing a gives 5 more than the 25 that are missing after what b can give; b keeps them.
        assert texts(plan_raise(what, "USDT", Decimal(65))) == ["close 60 in a", "withdraw 5 from b"]

    def test_a_plan_no_longer_on_offer_comes_last_and_is_only_closed(self):
        what = holdings("0", [plan("a")], [held("gone", "100"), held("a", "100")])
        assert texts(plan_raise(what, "USDT", Decimal(100))) == ["close 100 in a"]
        planned = plan_raise(what, "USDT", Decimal(120))
        assert texts(planned) == ["withdraw 20 from a", "close 100 in gone"]
        assert "no longer on offer" in planned.moves[1].reason

    def test_what_is_not_needed_in_the_end_is_left_even_if_it_is_less_than_the_minimum(self):
        # As when a plan raised its minimum: closing "gone" makes the 1 of a unnecessary.
        what = holdings("0", [plan("a", least="2")], [held("a", "1"), held("gone", "4")])
        assert texts(plan_raise(what, "USDT", Decimal(2))) == ["close 4 in gone"]

    def test_what_the_policy_does_not_permit_gives_first(self):
        what = holdings("0", [plan("a", "0.1"), plan("b", "0.2")], [held("a", "100"), held("b", "100")])
        policy = wanted(plans={"exclude": ["b"]})
        assert texts(plan_raise(what, "USDT", Decimal(100), policy=policy)) == ["close 100 in b"]

    def test_spot_takes_main_first(self):
        what = holdings("300", [plan("a")], [held("a", "1000")], spot="100")
        assert texts(plan_raise(what, "USDT", Decimal(100), "spot")) == []
        assert texts(plan_raise(what, "USDT", Decimal(350), "trade")) == ["transfer 250 to spot"]
        planned = plan_raise(what, "USDT", Decimal(500), "spot")
        assert texts(planned) == ["withdraw 100 from a", "transfer 400 to spot"]
        assert planned.moves[1].reason == "500 USDT are needed in spot, which holds 100."

    def test_a_transfer_carries_eight_decimals(self):
        what = holdings("300", precision=18, collateral="0.000000001")
        assert texts(plan_raise(what, "USDT", Decimal("1"), "collateral")) == ["transfer 1 to collateral"]
        assert texts(plan_raise(what, "USDT", Decimal("1.000000002"), "collateral")) == [
            "transfer 1.00000001 to collateral"
        ]

    def test_a_shortfall(self):
        what = holdings("10", [plan("a")], [held("a", "100")], spot="5")
        planned = plan_raise(what, "USDT", Decimal(200))
        assert texts(planned) == ["close 100 in a"]
        assert planned.shortfalls == {"USDT": Decimal(90)}
        assert planned.notes == ("USDT: 90 of 200 are missing in main, even after every possible withdrawal.",)
        planned = plan_raise(what, "USDT", Decimal(200), "spot")
        assert texts(planned) == ["close 100 in a", "transfer 110 to spot"]
        assert planned.shortfalls == {"USDT": Decimal(85)}

    def test_wrong_parameters(self):
        with pytest.raises(WhiteBitValidationError, match="target"):
            plan_raise(holdings(), "USDT", Decimal(1), "bank")
        with pytest.raises(WhiteBitValidationError, match="do not include spot"):
            plan_raise(holdings(), "USDT", Decimal(1), "spot")
        with pytest.raises(WhiteBitValidationError, match="no such asset"):
            plan_raise(holdings(), "USDX", Decimal(1))
        with pytest.raises(WhiteBitValidationError, match="6 decimals"):
            plan_raise(holdings(), "USDT", Decimal("0.0000001"))


class TestDelisted:
    """An asset that left the exchange's list while money lies in it."""

    def what(self, main="100", **others):
        what = holdings(main, [plan("a"), plan("b", ticker="BTC")], [held("a", "500")], **others)
        return replace(what, main={**what.main, "BTC": Decimal(50)}, assets={"BTC": what.assets["BTC"]})

    def test_it_stops_no_other_and_can_be_left(self):
        policy = read_policy({"USDT": {"reserve": "700"}, "BTC": {}})
        planned = plan_rebalance(self.what(), policy, NOW)
        assert texts(planned) == ["close 500 in a", "invest 50 in b"]
        assert planned.shortfalls == {"USDT": Decimal(100)}

    @pytest.mark.parametrize("planner", [plan_sweep, plan_rebalance])
    def test_nothing_is_invested_in_it(self, planner):
        planned = planner(self.what(), read_policy({"USDT": {}, "BTC": {}}), NOW)
        assert texts(planned) == ["invest 50 in b"]
        assert planned.notes == ("USDT: 100 remain idle in Main: the exchange does not list this asset's decimals.",)

    def test_it_is_raised(self):
        assert texts(plan_raise(self.what(), "USDT", Decimal("300.123456789"))) == ["withdraw 200.12345679 from a"]
        what = self.what("100.123456789", spot="1")
        assert texts(plan_raise(what, "USDT", Decimal(51), "spot")) == ["transfer 50 to spot"]
        assert plan_raise(self.what(spot="9"), "USDT", Decimal(9), "spot").empty
        only_spot = replace(what, main={}, investments=())
        assert plan_raise(only_spot, "USDT", Decimal(1), "spot").empty

    def test_an_asset_that_the_account_does_not_hold_is_noted(self):
        planned = plan_sweep(self.what(), read_policy({"USTD": {}, "BTC": {}}), NOW)
        assert texts(planned) == ["invest 50 in b"]
        assert planned.notes == ("USTD: nothing is planned: ticker is USTD: the exchange has no such asset.",)
        with pytest.raises(WhiteBitValidationError, match="no such asset"):
            plan_sweep(self.what(), read_policy({"USTD": {}, "BCT": {}}), NOW)


class TestRebalance:
    def test_the_reserve_is_filled_up(self):
        what = holdings("200", [plan("a", "0.1"), plan("b", "0.2")], [held("a", "100"), held("b", "500")])
        planned = rebalance(what, reserve="500")
        assert texts(planned) == ["close 100 in a", "withdraw 200 from b"]
        assert planned.moves[0].reason.startswith("Main would hold 200 USDT, 300 below the reserve of 500;")

    def test_a_reserve_that_is_short_by_less_than_the_smallest_move_stays_short(self):
        what = holdings("495", [plan("a")], [held("a", "100")])
        planned = rebalance(what, reserve="500", min_move="10")
        assert texts(planned) == []
        assert planned.notes == (
            "USDT: Main is 5 below the reserve of 500, which is less than the smallest move of 10.",
        )
        need = [{"amount": "100", "by": "2026-03-01T12:30:00Z"}]
        assert texts(rebalance(what, reserve="400", liquidity=need, min_move="10")) == ["withdraw 5 from a"]

    def test_a_reserve_that_cannot_be_filled(self):
        planned = rebalance(holdings("200", [plan("a")], [held("a", "100")]), reserve="500")
        assert texts(planned) == ["close 100 in a"]
        assert planned.shortfalls == {"USDT": Decimal(200)}
        assert "200 are missing from the reserve of 500" in planned.notes[0]

    def test_plans_that_are_not_permitted_are_left(self):
        what = holdings("0", [plan("a", "0.1"), plan("b", "0.2")], [held("b", "500"), held("gone", "70")])
        planned = rebalance(what, plans={"only": ["a"]})
        assert texts(planned) == ["close 500 in b", "close 70 in gone", "invest 570 in a"]
        assert planned.moves[0].reason.startswith("The policy does not permit this plan, which holds 500 USDT;")

    def test_a_plan_no_longer_on_offer_is_kept(self):
        assert texts(rebalance(holdings("0", [plan("a")], [held("gone", "70")]))) == []

    def test_caps_are_kept(self):
        what = holdings("0", [plan("a", "0.1"), plan("b", "0.2")], [held("b", "1000")])
        assert texts(rebalance(what, plans={"max_share": "0.6"})) == ["withdraw 400 from b", "invest 400 in a"]

    def test_a_cap_below_the_minimum_leaves_nothing(self):
        what = holdings("100", [plan("b", least="50")], [held("b", "100")])
        assert texts(rebalance(what, plans={"max_amount": "40"})) == ["close 100 in b"]

    def test_above_its_own_maximum_a_plan_is_kept(self):
        assert texts(rebalance(holdings("0", [plan("a", most="100")], [held("a", "150")]))) == []

    def test_targets(self):
        what = holdings("0", [plan("a"), plan("b"), plan("c")], [held("a", "900"), held("c", "100")])
        planned = rebalance(what, reserve_share="0.1", plans={"targets": {"a": "0.5", "b": "0.4"}})
        assert texts(planned) == ["withdraw 400 from a", "close 100 in c", "invest 400 in b"]

    def test_targets_share_what_the_reserve_leaves(self):
        what = holdings("1000", [plan("a"), plan("b")])
        assert texts(rebalance(what, reserve="400", plans={"targets": {"a": "0.5", "b": "0.25"}})) == [
            "invest 400 in a",
            "invest 200 in b",
        ]

    def test_an_excess_below_the_smallest_move_is_not_trimmed(self):
        what = holdings("0", [plan("a")], [held("a", "1005")])
        planned = rebalance(what, min_move="10", plans={"max_amount": "1000"})
        assert texts(planned) == []
        assert "plan a keeps 5 more than the policy allows" in planned.notes[0]

    def test_a_higher_rate_alone_moves_nothing(self):
        what = holdings("0", [plan("a", "0.1"), plan("b", "0.2")], [held("a", "500")])
        assert texts(rebalance(what)) == []

    def test_following_the_rate(self):
        what = holdings("20", [plan("a", "0.1"), plan("b", "0.2", most="400")], [held("a", "500")])
        planned = rebalance(what, plans={"follow_rate": True, "min_gain": "0.1"})
        assert texts(planned) == ["withdraw 380 from a", "invest 400 in b"]
        assert planned.moves[0].reason.startswith("Plan b pays more, max_rate 0.2;")
        assert "and 380 come from plans that pay less" in planned.moves[1].reason
        assert texts(rebalance(what, plans={"follow_rate": True, "min_gain": "0.11"})) == ["invest 20 in b"]

    def test_following_the_rate_needs_a_higher_one(self):
        what = holdings("0", [plan("a", "0.1"), plan("b", "0.1", least="20")], [held("a", "500")])
        assert texts(rebalance(what, plans={"follow_rate": True})) == []

    def test_following_the_rate_leaves_the_minimum(self):
        what = holdings("0", [plan("a", "0.1", least="50"), plan("b", "0.2", most="70")], [held("a", "100")])
        assert texts(rebalance(what, plans={"follow_rate": True})) == ["withdraw 50 from a", "invest 50 in b"]

    def test_what_has_been_withdrawn_from_is_not_invested_in_by_the_same_plan(self):
        plans = [plan("a", "0.1", least="50"), plan("b", "0.2"), plan("c", "0.3", most="30")]
        what = holdings("0", plans, [held("a", "60"), held("b", "100")])
        planned = rebalance(what, plans={"follow_rate": True})
        assert texts(planned) == ["withdraw 10 from a", "withdraw 20 from b", "invest 30 in c"]
        # What is left in a goes to b the next time, and then all is where it should be.
        what = apply_plan(what, planned)
        planned = rebalance(what, plans={"follow_rate": True})
        assert texts(planned) == ["close 50 in a", "invest 50 in b"]
        assert rebalance(apply_plan(what, planned), plans={"follow_rate": True}).empty

    def test_a_rate_below_leave_below_is_left(self):
        what = holdings("0", [plan("a", "0.02"), plan("b", "0.06")], [held("a", "500")])
        planned = rebalance(what, plans={"min_rate": "0.05", "leave_below": "0.03"})
        assert texts(planned) == ["close 500 in a", "invest 500 in b"]
        assert planned.moves[0].reason.startswith(
            "This plan holds 500 USDT, and its max_rate 0.02 is below leave_below 0.03; plan a: max_rate 0.02,"
        )

    def test_a_rate_between_leave_below_and_min_rate_moves_nothing(self):
        for rate in ("0.03", "0.049"):
            what = holdings("100", [plan("a", rate)], [held("a", "500")])
            planned = rebalance(what, plans={"min_rate": "0.05", "leave_below": "0.03"})
            assert texts(planned) == []
            assert planned.notes == (
                f"USDT: 100 remain idle in Main: plan a has max_rate {rate}, and min_rate is 0.05.",
            )

    def test_what_is_left_and_pays_too_little_everywhere_stays_in_main(self):
        what = holdings("0", [plan("a", "0.02"), plan("b", "0.04")], [held("a", "500")])
        planned = rebalance(what, plans={"min_rate": "0.05", "leave_below": "0.03"})
        assert texts(planned) == ["close 500 in a"]
        assert planned.notes == (
            "USDT: 500 remain idle in Main: plan b has max_rate 0.04, and min_rate is 0.05; "
            "plan a has max_rate 0.02, and min_rate is 0.05.",
        )
        assert rebalance(apply_plan(what, planned), plans={"min_rate": "0.05", "leave_below": "0.03"}).empty

    @pytest.mark.parametrize(
        "rules",
        [{"only": ["a"]}, {"only": ["a"], "choose": "list"}, {"targets": {"a": "1"}}, {"follow_rate": True}],
        ids=str,
    )
    def test_also_a_plan_that_the_policy_names_must_pay_min_rate(self, rules):
        low = holdings("100", [plan("a", "0.0499999")], [held("a", "500")])
        assert texts(rebalance(low, plans={**rules, "min_rate": "0.05"})) == []
        assert texts(sweep(low, plans={**rules, "min_rate": "0.05"})) == []
        enough = holdings("100", [plan("a", "0.05")])
        assert texts(rebalance(enough, plans={**rules, "min_rate": "0.05"})) == ["invest 100 in a"]
        left = holdings("0", [plan("a", "0.02")], [held("a", "500")])
        wish = {**rules, "min_rate": "0.05", "leave_below": "0.03"}
        assert texts(rebalance(left, plans=wish)) == ["close 500 in a"]
        assert texts(sweep(left, plans=wish)) == []

    def test_money_follows_no_rate_below_min_rate(self):
        what = holdings("0", [plan("a", "0.01"), plan("b", "0.04")], [held("a", "500")])
        assert texts(rebalance(what, plans={"follow_rate": True, "min_rate": "0.05"})) == []

    def test_less_than_the_smallest_move_is_not_left(self):
        what = holdings("0", [plan("a", "0.02")], [held("a", "50")])
        planned = rebalance(what, min_move="100", plans={"min_rate": "0.05", "leave_below": "0.03"})
        assert texts(planned) == []
        assert "plan a keeps 50 more than the policy allows" in planned.notes[0]

    def test_a_delisted_asset_can_be_left_for_its_rate(self):
        what = holdings("0", [plan("a", "0.02")], [held("a", "500")])
        what = replace(what, assets={"BTC": what.assets["BTC"]})
        assert texts(rebalance(what, plans={"min_rate": "0.05", "leave_below": "0.03"})) == ["close 500 in a"]

    def test_withdrawals_of_all_assets_come_before_investments(self):
        what = Holdings(
            main={"USDT": Decimal(100), "BTC": Decimal(0)},
            plans=(plan("a"), plan("x", ticker="BTC", least="1")),
            investments=(held("x", "5", "BTC"),),
            assets=holdings().assets,
        )
        policy = read_policy({"USDT": {}, "BTC": {"reserve": "2"}})
        assert texts(plan_rebalance(what, policy, NOW)) == ["withdraw 2 from x", "invest 100 in a"]

    def test_assets_that_the_policy_does_not_name_are_kept(self):
        what = holdings("100", [plan("x", ticker="BTC")], [held("x", "5", "BTC")])
        assert texts(rebalance(what, reserve="100")) == []


def test_closed_investments_and_other_assets_do_not_count():
    what = holdings("100", [plan("a")], [held("a", "50", status=0), held("x", "5", "BTC"), held("a", "7", ticker="")])
    assert what.invested("USDT") == {"a": Decimal(7)}
    assert what.total("USDT") == 107


def test_a_plan_is_plain_json():
    planned = plan_raise(holdings("10", [plan("a")], [held("a", "100")]), "USDT", Decimal(200))
    again = json.loads(json.dumps(planned.to_json()))
    assert again["shortfalls"] == {"USDT": "90"}
    assert Move.from_json(again["moves"][0]["move"]) == planned.moves[0].move
    assert again["moves"][0]["reason"] == planned.moves[0].reason
    assert again["auto_reinvest"] == {}


@pytest.mark.parametrize(
    "move",
    [
        Move(Operation.FLEX_INVEST, "a", "USDT", Decimal(11)),
        Move(Operation.FLEX_WITHDRAW, "a", "USDT", Decimal(101)),
        Move(Operation.FLEX_CLOSE, "b", "USDT", Decimal(1)),
        Move(Operation.TRANSFER, "", "USDT", Decimal(11), source="main", target="spot"),
        Move(Operation.FIXED_INVEST, "a", "USDT", Decimal(1)),
    ],
)
def test_a_plan_that_does_not_fit_cannot_be_applied(move):
    what = holdings("10", [plan("a")], [held("a", "100")], spot="0")
    with pytest.raises(ValueError):
        apply_plan(what, TreasuryPlan((PlannedMove(move, ""),)))


TICKERS = ("BTC", "ETH", "USDT")
KNOWN_RATES = st.sampled_from([Decimal(rate) for rate in ("0", "0.01", "0.05", "0.1", "0.2")])
RATES = st.one_of(KNOWN_RATES, KNOWN_RATES, KNOWN_RATES, st.none())
SHARES = st.sampled_from(["0", "0.05", "0.1", "0.25", "0.3333", "0.5", "0.9", "1"])


def amounts(precision, most=300):
    """Amounts that an asset of this precision carries, often round ones."""
    unit = Decimal(1).scaleb(-precision)
    fine = st.integers(0, most * 10 ** min(precision, 3)).map(lambda n: n * unit * 10 ** max(0, precision - 3))
    return st.one_of(st.integers(0, most).map(Decimal), fine)


@st.composite
def tickers_held(draw, ticker, precision):
    """Plans and investments of one asset; some investments in plans that are not on offer."""
    names = [f"{ticker.lower()}{at}" for at in range(draw(st.integers(0, 4)))]
    some = amounts(precision, 60)
    plans = []
    for name in names:
        least = draw(some)
        most = draw(st.one_of(st.none(), some.map(lambda more, least=least: least + more)))
        plans.append(FlexPlan(name, ticker, least, most, draw(RATES)))
    investments = []
    for name in (*names, f"{ticker.lower()}gone"):
        invested = draw(st.one_of(st.just(Decimal(0)), amounts(precision)))
        if invested:
            investments.append(held(name, invested, ticker, draw(st.booleans())))
    return plans, investments


@st.composite
def all_holdings(draw):
    main, plans, investments, assets = {}, [], [], {}
    for ticker in TICKERS[: draw(st.integers(1, 3))]:
        precision = draw(st.sampled_from([0, 1, 2, 6, 8, 18]))
        assets[ticker] = Asset(ticker, ticker, precision, True, True)
        # Balances may carry more decimals than moves may.
        main[ticker] = draw(st.one_of(amounts(precision), amounts(precision + 3)))
        offered, invested = draw(tickers_held(ticker, precision))
        plans += offered
        investments += invested
    spot, collateral = ({ticker: draw(amounts(6)) for ticker in assets} for _ in range(2))
    order = draw(st.permutations(plans))
    return Holdings(main, tuple(order), tuple(investments), assets, spot, collateral)


@st.composite
def plan_rules(draw, ticker, follow_rate):
    names = [f"{ticker.lower()}{at}" for at in range(4)]
    rules = {
        "max_share": draw(st.one_of(st.none(), SHARES)),
        "max_amount": draw(st.one_of(st.none(), amounts(1).map(str))),
    }
    some = st.lists(st.sampled_from(names), min_size=1, unique=True)
    kind = draw(st.sampled_from(["", "", "exclude"] if follow_rate else ["", "only", "list", "exclude", "targets"]))
    if kind in ("only", "list"):
        rules["only"] = draw(some)
        rules["choose"] = "list" if kind == "list" else None
    elif kind == "exclude":
        rules["exclude"] = draw(some)
    elif kind == "targets":
        chosen = draw(some)
        shares = draw(st.lists(st.integers(0, 10), min_size=len(chosen), max_size=len(chosen)))
        scale = max(10, sum(shares))
        exact = [(Decimal(n) / scale).quantize(Decimal("0.001"), rounding=ROUND_DOWN) for n in shares]
        rules["targets"] = {name: str(share) for name, share in zip(chosen, exact, strict=True)}
    if follow_rate and kind not in ("list", "targets"):
        rules["follow_rate"] = True
        rules["min_gain"] = draw(st.sampled_from([None, None, "0.02", "0.1"]))
    rates = sorted(draw(st.lists(st.sampled_from(["0.02", "0.05", "0.1", "0.15"]), max_size=2)))
    if rates:
        rules["min_rate"] = rates[-1]
        rules["leave_below"] = rates[0] if len(rates) > 1 else None
    return {name: rule for name, rule in rules.items() if rule is not None}


@st.composite
def policies(draw, held_, follow_rate=False):
    wishes = {}
    for ticker in held_.assets:
        rules = draw(plan_rules(ticker, follow_rate))
        claimed = sum(Decimal(share) for share in rules.get("targets", {}).values())
        share = draw(st.one_of(st.just("0"), SHARES))
        hours = draw(st.lists(st.sampled_from([-1, 0, 1, 2]), max_size=2))
        wishes[ticker] = {
            # A large reserve leaves nothing for rates to be followed with.
            "reserve": draw(st.one_of(st.just("0"), amounts(2, 30 if follow_rate else 300).map(str))),
            "reserve_share": share if Decimal(share) + claimed <= 1 and not follow_rate else "0",
            "min_move": draw(st.one_of(st.just("0"), amounts(1, 40).map(str))),
            **draw(st.sampled_from([{}, {"auto_reinvest": True}, {"auto_reinvest": False}])),
            "liquidity": [
                {"amount": str(draw(st.integers(1, 200))), "by": NOW.add(hours=hour).isoformat()} for hour in hours
            ],
            "plans": rules,
        }
    return read_policy(wishes)


@st.composite
def situations(draw, follow_rate=False):
    what = draw(all_holdings())
    return what, draw(policies(what, follow_rate))


def reserve(what, policy, ticker):
    wish = policy.tickers[ticker]
    return max(wish.reserve, wish.reserve_share * total(what, ticker)) + sum(
        need.amount for need in wish.liquidity if 0 <= (need.by - NOW).total_seconds() <= wish.notice
    )


def total(what, ticker):
    return what.main[ticker] + sum(entry.invested for entry in what.investments if entry.currency == ticker)


def fits(amount, precision):
    return amount == amount.quantize(Decimal(1).scaleb(-precision))


def check_rules_of_the_exchange(what, planned):
    """Each move as the exchange would judge it, one after the other."""
    offered = {entry.id: entry for entry in what.plans}
    for entry in planned.moves:
        move, ticker = entry.move, entry.move.ticker
        before = what.invested(ticker).get(move.plan_id, Decimal(0))
        what = apply_plan(what, TreasuryPlan((entry,)))
        after = what.invested(ticker).get(move.plan_id, Decimal(0))
        assert move.amount > 0
        match move.operation:
            case Operation.FLEX_INVEST:
                terms = offered[move.plan_id]
                assert terms.ticker == ticker
                assert move.amount >= terms.min_investment
                assert terms.max_investment is None or after <= terms.max_investment
                assert fits(move.amount, what.decimals(ticker))
            case Operation.FLEX_WITHDRAW:
                assert after >= offered[move.plan_id].min_investment
                assert 0 < after < before
                assert fits(move.amount, what.decimals(ticker))
            case Operation.FLEX_CLOSE:
                assert move.amount == before
                assert after == 0
            case Operation.TRANSFER:
                assert fits(move.amount, min(8, what.decimals(ticker)))
        assert all(what.main[ticker] >= 0 for ticker in what.main)
        assert entry.reason.endswith(".")
    return what


def check_order(planned):
    """Withdrawals, investments, transfers; and each plan is moved once and one way."""
    ranks = [
        {Operation.FLEX_WITHDRAW: 0, Operation.FLEX_CLOSE: 0}.get(entry.move.operation, 1) for entry in planned.moves
    ]
    assert ranks == sorted(ranks)
    touched = Counter(entry.move.plan_id or "transfer" for entry in planned.moves)
    assert all(count == 1 for count in touched.values())


def check_money(before, after, planned):
    """Nothing appears or vanishes."""
    for ticker in before.assets:
        sides = [
            total(each, ticker) + each.spot.get(ticker, 0) + each.collateral.get(ticker, 0) for each in (before, after)
        ]
        assert sides[0] == sides[1]
    if not any(entry.move.operation is Operation.TRANSFER for entry in planned.moves):
        assert (before.spot, before.collateral) == (after.spot, after.collateral)


def check_investments_keep_to_the_policy(what, after, policy, planned):
    for entry in planned.moves:
        move = entry.move
        if move.operation is not Operation.FLEX_INVEST:
            continue
        wish, ticker = policy.tickers[move.ticker], move.ticker
        rules, whole = wish.plans, total(what, move.ticker)
        now_held = after.invested(ticker)[move.plan_id]
        assert move.amount >= wish.min_move
        assert after.main[ticker] >= reserve(what, policy, ticker)
        assert move.plan_id not in rules.exclude
        assert not rules.only or move.plan_id in rules.only
        rate = rate_of(what, move.plan_id)
        assert rules.min_rate is None or (rate is not None and rate >= rules.min_rate)
        assert rules.max_share is None or now_held <= rules.max_share * whole
        assert rules.max_amount is None or now_held <= rules.max_amount
        if rules.targets:
            assert now_held <= rules.targets[move.plan_id] * whole


def check_nothing_idle_could_be_invested(after, policy, ticker):
    """What stays idle above the reserve fits in no permitted plan."""
    wish, whole = policy.tickers[ticker], total(after, ticker)
    rules = wish.plans
    idle = after.main[ticker] - reserve(after, policy, ticker)
    unit = Decimal(1).scaleb(-after.decimals(ticker))
    for terms in after.plans:
        if terms.ticker != ticker or terms.id in rules.exclude or (rules.only and terms.id not in rules.only):
            continue
        if rules.targets or (terms.max_rate is None and terms.id not in rules.only):
            continue
        if rules.min_rate is not None and (terms.max_rate is None or terms.max_rate < rules.min_rate):
            continue
        caps = [idle, *(cap - after.invested(ticker).get(terms.id, 0) for cap in caps_of(rules, terms, whole))]
        # The reserve is rounded up and room is rounded down to the asset's decimals: two units at most.
        assert min(caps) < max(terms.min_investment, wish.min_move, unit) + 2 * unit


def rate_of(what, plan_id):
    return next((terms.max_rate for terms in what.plans if terms.id == plan_id), None)


def caps_of(rules, terms, whole):
    if terms.max_investment is not None:
        yield terms.max_investment
    if rules.max_share is not None:
        yield rules.max_share * whole
    if rules.max_amount is not None:
        yield rules.max_amount


def exactly(test):
    """Calculate with more digits than money has, as the planners do."""

    def run(*args, **kwargs):
        with localcontext() as context:
            context.prec = 200
            return test(*args, **kwargs)

    return run


MANY = settings(max_examples=2 * settings.default.max_examples)


@MANY
@given(situations())
def test_property_sweep(situation):
    exactly(_check_sweep)(*situation)


def _check_sweep(what, policy):
    planned = plan_sweep(what, policy, NOW)
    assert planned == plan_sweep(what, policy, NOW)
    assert all(entry.move.operation is Operation.FLEX_INVEST for entry in planned.moves)
    check_order(planned)
    after = apply_plan(what, planned)
    assert check_rules_of_the_exchange(what, planned).main == after.main
    check_money(what, after, planned)
    check_investments_keep_to_the_policy(what, after, policy, planned)
    for ticker in policy.tickers:
        check_nothing_idle_could_be_invested(after, policy, ticker)
    assert plan_sweep(after, policy, NOW).empty
    json.dumps(planned.to_json())


@MANY
@given(situations())
def test_property_rebalance(situation):
    exactly(_check_rebalance)(*situation)


def _check_rebalance(what, policy):
    planned = plan_rebalance(what, policy, NOW)
    assert planned == plan_rebalance(what, policy, NOW)
    check_order(planned)
    after = apply_plan(what, planned)
    assert check_rules_of_the_exchange(what, planned).main == after.main
    check_money(what, after, planned)
    check_investments_keep_to_the_policy(what, after, policy, planned)
    for ticker in policy.tickers:
        check_reserve_is_kept(what, after, policy, ticker, planned)
        check_caps_are_kept(after, policy, ticker)
        check_nothing_idle_could_be_invested(after, policy, ticker)
        check_withdrawals_are_needed(what, policy, ticker, planned)
    assert plan_rebalance(after, policy, NOW).empty
    assert plan_sweep(after, policy, NOW).empty


def check_reserve_is_kept(what, after, policy, ticker, planned):
    wish = policy.tickers[ticker]
    missing = reserve(what, policy, ticker) - after.main[ticker]
    unit = Decimal(1).scaleb(-what.decimals(ticker))
    due = any(0 <= (need.by - NOW).total_seconds() <= wish.notice for need in wish.liquidity)
    if ticker in planned.shortfalls:
        assert not after.invested(ticker)
        assert 0 <= planned.shortfalls[ticker] - missing < unit
    elif due or not after.invested(ticker):
        assert missing <= 0
    else:
        assert missing <= 0 or missing < wish.min_move


def check_caps_are_kept(after, policy, ticker):
    """What exceeds a cap of the policy is less than the smallest move."""
    wish, whole = policy.tickers[ticker], total(after, ticker)
    rules, unit = wish.plans, Decimal(1).scaleb(-after.decimals(ticker))
    for name, invested in after.invested(ticker).items():
        permitted = name not in rules.exclude and (not rules.only or name in rules.only)
        rate = rate_of(after, name)
        is_left = rules.leave_below is not None and rate is not None and rate < rules.leave_below
        caps = [] if permitted and not is_left else [Decimal(0)]
        caps += [rules.targets.get(name, Decimal(0)) * whole] if rules.targets else []
        caps += [rules.max_share * whole] if rules.max_share is not None else []
        caps += [rules.max_amount] if rules.max_amount is not None else []
        assert not caps or invested <= min(caps) or invested - min(caps) < wish.min_move + unit


def check_withdrawals_are_needed(what, policy, ticker, planned):
    """Below the smallest move, only what the reserve lacks is withdrawn."""
    wish = policy.tickers[ticker]
    for entry in planned.moves:
        move = entry.move
        if move.ticker != ticker or move.operation is Operation.FLEX_INVEST:
            continue
        if move.amount < wish.min_move:
            assert "below the reserve" in entry.reason
        rate = rate_of(what, move.plan_id)
        assert "leave_below" not in entry.reason or (rate is not None and rate < wish.plans.leave_below)


@MANY
@given(situations(follow_rate=True))
def test_property_following_rates_settles(situation):
    exactly(_check_following)(*situation)


def _check_following(what, policy):
    planned = plan_rebalance(what, policy, NOW)
    for round_ in range(12):
        check_order(planned)
        after = apply_plan(what, planned)
        assert check_rules_of_the_exchange(what, planned).main == after.main
        check_money(what, after, planned)
        check_investments_keep_to_the_policy(what, after, policy, planned)
        if round_ and planned.moves:
            assert earned(after) > earned(what)
        if not planned.moves:
            return
        what, planned = after, plan_rebalance(after, policy, NOW)
    raise AssertionError("planning does not come to an end")


def earned(what):
    rates = {terms.id: terms.max_rate for terms in what.plans}
    return sum(entry.invested * (rates.get(entry.plan_id) or 0) for entry in what.investments)


@MANY
@given(all_holdings(), st.data())
def test_property_raise(what, data):
    ticker = data.draw(st.sampled_from(sorted(what.assets)))
    target = data.draw(st.sampled_from(["main", "spot", "collateral"]))
    amount = data.draw(amounts(what.decimals(ticker), 1500))
    policy = data.draw(st.one_of(st.none(), policies(what)))
    exactly(_check_raise)(what, ticker, amount, target, policy)


def _check_raise(what, ticker, amount, target, policy):
    planned = plan_raise(what, ticker, amount, target, policy=policy)
    check_order(planned)
    assert all(entry.move.operation is not Operation.FLEX_INVEST for entry in planned.moves)
    after = apply_plan(what, planned)
    assert check_rules_of_the_exchange(what, planned).main == after.main
    check_money(what, after, planned)
    reached = after.account(target)[ticker]
    if planned.shortfalls:
        assert planned.shortfalls == {ticker: amount - reached}
        assert not after.invested(ticker)
        assert target == "main" or after.main[ticker] < Decimal("0.00000001") or what.decimals(ticker) < 8
    else:
        assert reached >= amount
    assert plan_raise(after, ticker, amount, target, policy=policy).moves == ()
    check_little_is_withdrawn_beyond_the_need(what, after, planned, ticker, amount, target)
    if policy is None and after.main[ticker] == (amount if target == "main" else 0):
        check_the_cheapest_gave(what, after, ticker)


def priced(terms):
    """A plan's rate; what is not known gives last."""
    return Decimal("Infinity") if terms.max_rate is None else terms.max_rate


def check_the_cheapest_gave(what, after, ticker):
    """A plan that pays more gave a part only after plans that pay less had given all they could.

    A closed plan proves nothing: closing it may have made what the others would have given unnecessary.
    """
    before, left = what.invested(ticker), after.invested(ticker)
    terms = {entry.id: entry for entry in what.plans}
    gave = [priced(terms[name]) for name in left if name in terms and left[name] != before[name]]
    for name, amount in left.items():
        if name in terms and gave and priced(terms[name]) < max(gave):
            assert amount - terms[name].min_investment < Decimal(1).scaleb(-what.decimals(ticker))


def check_little_is_withdrawn_beyond_the_need(what, after, planned, ticker, amount, target):
    """The excess could not have stayed in any of the plans that gave."""
    withdrawals = [entry.move for entry in planned.moves if entry.move.operation is not Operation.TRANSFER]
    if not withdrawals or planned.shortfalls:
        return
    unit = Decimal(1).scaleb(-min(8, what.decimals(ticker)))
    excess = after.main[ticker] - (amount if target == "main" else 0)
    offered = {terms.id: terms for terms in what.plans}
    for move in withdrawals:
        if move.operation is Operation.FLEX_WITHDRAW:
            assert excess < 2 * unit
        elif move.plan_id in offered:
            assert excess < offered[move.plan_id].min_investment + 2 * unit
        assert excess < move.amount + 2 * unit


@MANY
@given(situations())
def test_property_auto_reinvest_is_as_wished_afterwards(situation):
    what, policy = situation
    for planner in (plan_sweep, plan_rebalance):
        after = apply_plan(what, planner(what, policy, NOW))
        for entry in after.investments:
            wish = policy.tickers[entry.currency].auto_reinvest
            assert wish is None or entry.with_auto_reinvest is wish


@given(all_holdings(), st.data())
def test_property_by_ticker_shows_the_same_of_each_asset(what, data):
    unnamed = data.draw(st.lists(st.booleans(), min_size=len(what.investments), max_size=len(what.investments)))
    entries = zip(what.investments, unnamed, strict=True)
    what = replace(what, investments=tuple(replace(one, currency="") if bare else one for one, bare in entries))
    of_ticker = what.by_ticker()
    for ticker in what.assets:
        one = of_ticker.get(ticker, replace(what, plans=(), investments=()))
        assert one.plans == tuple(terms for terms in what.plans if terms.ticker == ticker)
        assert list(one.invested(ticker).items()) == list(what.invested(ticker).items())
        assert one.total(ticker) == what.total(ticker)


@given(all_holdings())
def test_property_no_policy_no_moves(what):
    assert plan_rebalance(what, Policy({}), NOW).empty
    assume(what.investments)
    assert apply_plan(what, TreasuryPlan()) == what
