"""Requests for plans: they check their parameters, say what identifies them, and plan."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client.errors import WhiteBitNotEnoughBalanceError, WhiteBitValidationError
from airflow_provider_whitebit.client.models import Asset, FlexInvestment, FlexPlan
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.treasury.planning import (
    PLANNED,
    Holdings,
    PlannedMove,
    PlanOutcome,
    TreasuryPlan,
    plan_raise,
    plan_rebalance,
    plan_sweep,
)
from airflow_provider_whitebit.treasury.policy import read_policy
from airflow_provider_whitebit.treasury.requests import ApprovedPlan, RaiseLiquidity, Rebalance, Sweep

NOW = pendulum.datetime(2026, 3, 1, 12)
POLICY = {"USDT": {"reserve": "500", "min_move": 10}}
HOLDINGS = Holdings(
    main={"USDT": Decimal(300)},
    plans=(FlexPlan("a", "USDT", Decimal(10), None, Decimal("0.1")),),
    investments=(FlexInvestment("inv", "a", "USDT", Decimal(1000), False, 1, None, None),),
    assets={"USDT": Asset("USDT", "USDT", 6, True, True)},
    spot={"USDT": Decimal(20)},
)


def moved(operation, plan_id="a", ticker="USDT"):
    return PlannedMove(Move(operation, plan_id, ticker, Decimal(1)), "because.")


@pytest.mark.parametrize("kind", [Sweep, Rebalance])
class TestByPolicy:
    @pytest.mark.parametrize(
        "raw", [POLICY, json.dumps(POLICY), "USDT: {reserve: '500', min_move: 10}", read_policy(POLICY)]
    )
    def test_a_policy_is_a_mapping_text_or_policy(self, kind, raw):
        request = kind(raw)
        assert request.policy == read_policy(POLICY)
        assert request == kind(policy=POLICY)
        assert request.accounts == ()
        assert request.to_json() == {
            "operation": {Sweep: "sweep", Rebalance: "rebalance"}[kind],
            "policy": {"USDT": {"reserve": "500", "min_move": "10"}},
            "approved_plan": None,
        }

    def test_a_wrong_policy_is_refused_at_once(self, kind):
        with pytest.raises(WhiteBitValidationError, match=r"USDT\.reserve"):
            kind({"USDT": {"reserve": 1.5}})

    def test_it_is_frozen(self, kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            kind(POLICY).policy = None

    def test_it_plans(self, kind):
        planner = {Sweep: plan_sweep, Rebalance: plan_rebalance}[kind]
        assert kind(POLICY).plan(HOLDINGS, NOW, ()) == planner(HOLDINGS, read_policy(POLICY), NOW)


def test_a_sweep_is_not_a_rebalance():
    assert Sweep(POLICY) != Rebalance(POLICY)


class TestRaiseLiquidity:
    def test_parameters_are_checked_and_identify_the_plan(self):
        request = RaiseLiquidity("usdt", "0100.50", "trade", POLICY, "True")
        assert (request.ticker, request.amount, request.target) == ("USDT", Decimal("100.5"), "spot")
        assert (request.policy, request.accept_less) == (read_policy(POLICY), True)
        assert request.accounts == ("spot",)
        assert request.to_json() == {"ticker": "USDT", "amount": "100.5", "target": "spot", "approved_plan": None}

    def test_defaults(self):
        request = RaiseLiquidity(ticker="USDT", amount=5, policy="")
        assert (request.target, request.accounts, request.policy, request.accept_less) == ("main", (), None, False)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"ticker": "U S"}, "ticker is 'U S'"),
            ({"amount": 1.5}, "amount is a float"),
            ({"amount": "0"}, "above zero"),
            ({"target": "fixed"}, "target is 'fixed'"),
            ({"policy": {"USDT": {"reserv": 1}}}, "Did you mean reserve"),
            ({"accept_less": "maybe"}, "accept_less is 'maybe': write true or false"),
        ],
    )
    def test_wrong_parameters_are_refused_at_once(self, wrong, message):
        with pytest.raises(WhiteBitValidationError, match=message):
            RaiseLiquidity(**{"ticker": "USDT", "amount": "1", **wrong})

    def test_it_plans(self):
        request = RaiseLiquidity("USDT", "500", "spot")
        assert request.plan(HOLDINGS, NOW, ()) == plan_raise(HOLDINGS, "USDT", Decimal(500), "spot")

    def test_too_little_is_an_error_unless_less_is_accepted(self):
        with pytest.raises(WhiteBitNotEnoughBalanceError, match=r"^700 USDT could not be raised") as caught:
            RaiseLiquidity("USDT", "2000").plan(HOLDINGS, NOW, ())
        assert "accept_less=True" in caught.value.next_step
        planned = RaiseLiquidity("USDT", "2000", accept_less=True).plan(HOLDINGS, NOW, ())
        assert planned.shortfalls == {"USDT": Decimal(700)}
        assert len(planned.moves) == 1


class TestApprovedPlan:
    PLAN = TreasuryPlan((moved(Operation.FLEX_CLOSE), moved(Operation.FLEX_INVEST, "b")), ("n.",))

    @pytest.mark.parametrize(
        "given",
        [
            PLAN,
            PLAN.to_json(),
            json.dumps(PLAN.to_json()),
            PlanOutcome(PLANNED, PLAN).to_json(),
            json.dumps(PlanOutcome(PLANNED, PLAN).to_json()),
        ],
        ids=["plan", "json", "text", "outcome", "outcome text"],
    )
    def test_it_is_read(self, given):
        request = ApprovedPlan(RaiseLiquidity("USDT", "5", "spot"), given)
        assert request.approved == self.PLAN
        assert request.accounts == ()
        assert request.to_json() == {
            "ticker": "USDT",
            "amount": "5",
            "target": "spot",
            "approved_plan": self.PLAN.to_json(),
        }
        assert request.plan(HOLDINGS, NOW, ()) == self.PLAN

    def test_what_was_made_is_left_out_once(self):
        twice = TreasuryPlan((*self.PLAN.moves, moved(Operation.FLEX_INVEST, "b")))
        made = moved(Operation.FLEX_INVEST, "b").move.planned()
        left = ApprovedPlan(Sweep(POLICY), twice).plan(HOLDINGS, NOW, [made])
        assert [planned.move.plan_id for planned in left.moves] == ["a", "b"]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("{broken", "not valid JSON"),
            ({"moves": 1}, "approved_plan is"),
            (5, "approved_plan is"),
            ("[5]", "neither a plan nor the receipt"),
            ({"moves": [], "notes": [], "shortfalls": {}, "auto_reinvest": {"a": None}}, "auto_reinvest is None"),
        ],
    )
    def test_what_is_not_a_plan_is_refused(self, given, message):
        with pytest.raises(WhiteBitValidationError, match=message):
            ApprovedPlan(Sweep(POLICY), given)
