"""How a policy is written, and the errors for a wrong one."""

from __future__ import annotations

import json
from decimal import Decimal

import jsonschema
import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.treasury.policy import (
    Choose,
    LiquidityNeed,
    PlanRules,
    Policy,
    TickerPolicy,
    read_policy,
)
from airflow_provider_whitebit.treasury.policy_schema import policy_schema

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
TEXT = f"""
USDT:
  reserve: "5000"
  reserve_share: "0.1"
  min_move: 100
  auto_reinvest: false
  notice: 2h
  liquidity:
    - {{amount: "20000", by: 2026-03-31T14:00:00+02:00}}
  plans:
    choose: list
    only: [{PLAN.upper()}, inv_2, 17]
    exclude: [other]
    max_share: "0.50"
    max_amount: 100000
btc: {{plans: {{targets: {{a: "0.6", b: "0.25"}}}}}}
ON: {{plans: {{follow_rate: true, min_gain: "0.01", min_rate: "0.050", leave_below: "0.03"}}}}
"""
EXPECTED = Policy(
    {
        "USDT": TickerPolicy(
            reserve=Decimal(5000),
            reserve_share=Decimal("0.1"),
            min_move=Decimal(100),
            auto_reinvest=False,
            notice=7200,
            liquidity=(LiquidityNeed(amount=Decimal(20000), by=pendulum.datetime(2026, 3, 31, 12)),),
            plans=PlanRules(
                choose=Choose.LIST,
                only=(PLAN, "inv_2", "17"),
                exclude=("other",),
                max_share=Decimal("0.5"),
                max_amount=Decimal(100000),
            ),
        ),
        "BTC": TickerPolicy(plans=PlanRules(targets={"a": Decimal("0.6"), "b": Decimal("0.25")})),
        "ON": TickerPolicy(
            plans=PlanRules(
                follow_rate=True,
                min_gain=Decimal("0.01"),
                min_rate=Decimal("0.05"),
                leave_below=Decimal("0.03"),
            )
        ),
    }
)


def fault(raw):
    with pytest.raises(WhiteBitValidationError) as caught:
        read_policy(raw)
    return caught.value.message


def usdt(**fields):
    return {"USDT": fields}


def rules(**fields):
    return {"USDT": {"plans": fields}}


def test_yaml():
    assert read_policy(TEXT) == EXPECTED


def test_json_text_and_mapping_mean_the_same_and_round_trip():
    plain = EXPECTED.to_json()
    assert read_policy(plain) == EXPECTED
    assert read_policy(json.dumps(plain)) == EXPECTED
    assert read_policy(json.dumps(plain, indent="\t")) == EXPECTED
    assert read_policy(EXPECTED) is EXPECTED
    assert plain["BTC"] == {"plans": {"targets": {"a": "0.6", "b": "0.25"}}}
    assert plain["USDT"]["liquidity"] == [{"amount": "20000", "by": "2026-03-31T12:00:00Z"}]


def test_what_is_not_given_is_the_default():
    assert read_policy({"USDT": {}}) == read_policy("USDT: {}") == Policy({"USDT": TickerPolicy()})


@pytest.mark.parametrize("nothing", ["", "~", "null", "None"])
def test_what_a_template_renders_as_nothing_is_not_the_default(nothing):
    """The reserve would be zero, and each plan permitted."""
    assert fault(f"USDT: {nothing}").startswith("USDT: is empty (null)")
    for name in TickerPolicy.model_fields:
        assert fault(f"USDT:\n  {name}: {nothing}") == fault(usdt(**{name: None})), name
        assert fault(usdt(**{name: None})).startswith(f"USDT.{name}: is empty (null)")
    for name in PlanRules.model_fields:
        text = f"USDT:\n  plans:\n    {name}: {nothing}"
        assert fault(text).startswith(f"USDT.plans.{name}: is empty (null)"), name
    assert fault(f"USDT: {{liquidity: [{{amount: {nothing or None}, by: '2026-01-01T00:00:00Z'}}]}}").startswith(
        "USDT.liquidity[0].amount: is empty (null)"
    )


def test_a_policy_that_a_template_renders():
    """Jinja writes a mapping as Python does."""
    given = {"USDT": {"reserve": "5", "auto_reinvest": True, "plans": {"follow_rate": False, "max_share": "0.5"}}}
    assert read_policy(str(given)) == read_policy(given)


def test_when_liquidity_is_due():
    need = LiquidityNeed(amount=Decimal(1), by=pendulum.datetime(2026, 1, 1, 12))
    at = pendulum.datetime(2026, 1, 1, 11)
    assert need.due(at, 3600)
    assert not need.due(at, 3599)
    assert need.due(need.by, 0)
    assert not need.due(need.by.add(microseconds=1), 3600)
    assert TickerPolicy(liquidity=(need, need), notice=3600).due(at) == 2


def test_which_plans_are_permitted():
    assert PlanRules().permits("A")
    assert PlanRules(only=("a",)).permits("A")
    assert not PlanRules(only=("a",)).permits("b")
    assert not PlanRules(exclude=("a",)).permits("A")
    assert not PlanRules(targets={"a": Decimal(1)}).permits("b")


@pytest.mark.parametrize(
    ("rate", "enters", "leaves"),
    [
        ("0.05", True, False),
        ("0.0499", False, False),
        ("0.03", False, False),
        ("0.0299", False, True),
        ("0", False, True),
        (None, False, False),
    ],
)
def test_rates_between_the_two_neither_enter_nor_leave(rate, enters, leaves):
    wanted = PlanRules(min_rate=Decimal("0.05"), leave_below=Decimal("0.03"))
    known = None if rate is None else Decimal(rate)
    assert (wanted.pays_enough(known), wanted.leaves(known)) == (enters, leaves)
    assert (PlanRules().pays_enough(known), PlanRules().leaves(known)) == (True, False)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (None, "policy: is None"),
        ([], "policy: is []"),
        ({}, "policy: names no ticker"),
        ("", "policy: is None"),
        ("just text", "policy: is 'just text'"),
        ("[[", "policy: is not valid JSON or YAML (line 1)"),
        ("a: !!python/object/apply:os.getcwd []", "policy: is not valid JSON or YAML"),
        ("[" * 10000, "policy: is not valid JSON or YAML"),
        ("USDT: {reserve: 1, reserve: 2}", "policy: 'reserve' appears twice"),
        ('{"USDT": {"reserve": 1, "reserve": 2}}', "policy: 'reserve' appears twice"),
        ("? [a]\n: 1", "policy: ['a'] cannot be a name"),
        ({"usdt": {}, "USDT": {}}, "policy: names USDT twice"),
        ({"US DT": {}}, "policy: 'US DT' is not a ticker"),
        ({True: {}}, "policy: True is not a ticker"),
        ({"USDT": "all"}, "USDT: is 'all': write a mapping"),
        (usdt(reserv="1"), "USDT: has no field 'reserv'. Did you mean reserve? The fields are reserve, "),
        (usdt(max_share="1"), "USDT: has no field 'max_share'. It belongs under plans."),
        (usdt(fixed={}), "USDT: has no field 'fixed'. The fields are"),
        (rules(max_shar="1"), "USDT.plans: has no field 'max_shar'. Did you mean max_share?"),
        (usdt(reserve=0.1), 'USDT.reserve: is the float 0.1, which cannot hold an amount exactly: write it as a '),
        (usdt(reserve=0.1), '"0.1"'),
        (usdt(reserve=1e22), '"10000000000000000000000"'),
        (usdt(reserve=float("nan")), 'write it as a string, for example "100.5"'),
        ("USDT: {reserve: 100.10}", 'USDT.reserve: is 100.10 without quotes, which programs read as a float'),
        ("USDT: {reserve: 100.10}", 'write it as a string, "100.10"'),
        ("USDT: {reserve: 010}", 'write it as a string, "10"'),
        ("USDT: {reserve: 1e999999999}", 'write it as a string, for example "100.5"'),
        ('{"USDT": {"reserve": 1E3}}', 'write it as a string, "1000"'),
        ("USDT: {reserve: 1_000}", "USDT.reserve: is '1_000': write plain digits"),
        ("USDT: {reserve: 1:30}", "USDT.reserve: is '1:30': write plain digits"),
        (usdt(reserve="-1"), "USDT.reserve: is '-1': write plain digits as a string"),
        (usdt(reserve=-1), "USDT.reserve: is -1"),
        (usdt(reserve=True), "USDT.reserve: is True"),
        (usdt(reserve=False), "USDT.reserve: is False"),
        (usdt(reserve=""), "USDT.reserve: is ''"),
        (usdt(reserve="."), "USDT.reserve: is '.'"),
        (usdt(reserve="1,000"), "USDT.reserve: is '1,000'"),
        (usdt(reserve=Decimal("NaN")), "USDT.reserve: is Decimal('NaN')"),
        (usdt(reserve_share="1.01"), 'USDT.reserve_share: is 1.01: a share is between "0" and "1"'),
        (usdt(reserve_share="25"), 'a quarter is "0.25"'),
        (usdt(auto_reinvest="yes"), "USDT.auto_reinvest: is 'yes': write true or false"),
        (usdt(notice="soon"), "USDT.notice: is 'soon': write whole seconds"),
        (usdt(notice=1.5), "USDT.notice: is 1.5"),
        (usdt(notice="400d"), "USDT.notice: is '400d': a year is the longest"),
        (usdt(liquidity={}), "USDT.liquidity: is {}: write a list"),
        (usdt(liquidity=[{}]), "USDT.liquidity[0].amount: is missing"),
        (usdt(liquidity=[{"amount": "0", "by": "2026-01-01T00:00:00Z"}]), "USDT.liquidity[0].amount: is zero"),
        (usdt(liquidity=[None]), "USDT.liquidity[0]: is None: write a mapping"),
        (usdt(liquidity=[{"amount": "1"}]), "USDT.liquidity[0].by: is missing"),
        (usdt(liquidity=[{"amount": "1", "by": "2026-01-01T00:00:00"}]), "write an ISO 8601 time with its time zone"),
        (usdt(liquidity=[{"amount": "1", "by": "2026-01-01"}]), "write an ISO 8601 time with its time zone"),
        (usdt(liquidity=[{"amount": "1", "by": "tomorrow"}]), "is 'tomorrow': write an ISO 8601 time"),
        (usdt(liquidity=[{"amount": "1", "by": "0001-01-01T00:00:00+14:00"}]), "USDT.liquidity[0].by: is"),
        (usdt(liquidity=[{"amount": "1", "at": "x"}]), "USDT.liquidity[0]: has no field 'at'"),
        (rules(choose="lowest"), "USDT.plans.choose: is 'lowest': write one of highest_rate, list"),
        (rules(choose=["list"]), "USDT.plans.choose: is ['list']"),
        (rules(choose="list"), "USDT.plans.choose: is list, but there is no list"),
        (rules(only=[]), "USDT.plans.only: is empty"),
        (rules(targets={}), "USDT.plans.targets: is empty"),
        (rules(only="a"), "USDT.plans.only: is 'a': write a list"),
        (rules(only=["a b"]), "USDT.plans.only[0]: 'a b' is not a plan id"),
        (rules(only=["a", "A"]), "USDT.plans.only: names a twice"),
        (rules(only=["a"], exclude=["a"]), "USDT.plans.exclude: names a, which only or targets name"),
        (rules(targets={"a": "1"}, exclude=["a"]), "USDT.plans.exclude: names a"),
        (rules(targets={"a": "0.6", "b": "0.5"}), "USDT.plans.targets: add up to 1.1"),
        (rules(targets={"a": "0.5", "b": f"0.5{'0' * 28}1"}), f"USDT.plans.targets: add up to 1.0{'0' * 28}1"),
        (rules(targets={"a": "2"}), "USDT.plans.targets.a: is 2: a share"),
        (rules(targets={"a": "0.1", "A": "0.1"}), "USDT.plans.targets: names a twice"),
        (rules(targets={"a": "0.1"}, only=["a"]), "USDT.plans.only: cannot be combined with targets"),
        (rules(targets={"a": "0.1"}, follow_rate=True), "USDT.plans.follow_rate: only works"),
        (rules(choose="list", only=["a"], follow_rate=True), "USDT.plans.follow_rate: only works"),
        (rules(min_gain="0.1"), "USDT.plans.min_gain: has no effect without follow_rate"),
        (rules(min_rate=0.05), 'USDT.plans.min_rate: is the float 0.05, which cannot hold an amount exactly'),
        (rules(min_rate="5"), 'USDT.plans.min_rate: is 5: a rate is a fraction per year above 0; 5 % is "0.05"'),
        (rules(min_rate="0"), "USDT.plans.min_rate: is 0: a rate is a fraction per year above 0"),
        ("USDT: {plans: {min_rate: 5.5}}", 'USDT.plans.min_rate: is 5.5 without quotes'),
        (rules(min_rate="5 %"), "USDT.plans.min_rate: is '5 %': write plain digits"),
        (usdt(min_rate="0.05"), "USDT: has no field 'min_rate'. It belongs under plans."),
        (rules(leave_below="0.05"), "USDT.plans.leave_below: needs min_rate"),
        (rules(leave_below="0.05", min_rate="0.049"), "USDT.plans.leave_below: is 0.05, above min_rate 0.049"),
        (usdt(reserve_share="0.5", plans={"targets": {"a": "0.6"}}), "USDT.plans.targets: claim 1.1 of the total"),
    ],
)  # fmt: skip
def test_faults(raw, says):
    text = fault(raw)
    assert says in text
    assert len(text) < 400


def test_the_error_says_that_nothing_moved():
    with pytest.raises(WhiteBitValidationError, match="No money moved"):
        read_policy({})


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.decimals()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from([*TickerPolicy.model_fields, *PlanRules.model_fields, "amount", "by", "a"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


@given(st.one_of(JSON, st.text(), JSON.map(lambda inner: {"USDT": inner})))
def test_property_a_policy_that_round_trips_or_a_clear_error(raw):
    try:
        policy = read_policy(raw)
    except WhiteBitValidationError as error:
        assert ":" in error.message
        return
    again = json.loads(json.dumps(policy.to_json()))
    assert read_policy(again) == policy
    assert read_policy(json.dumps(again)) == policy
    jsonschema.validate(again, policy_schema())


def admits(raw):
    return jsonschema.Draft202012Validator(policy_schema()).is_valid(raw)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(policy_schema())
    json.dumps(policy_schema())


@pytest.mark.parametrize(
    "raw",
    [
        EXPECTED.to_json(),
        {"USDT": {}},
        {"usdt": {"plans": {}}},
        usdt(reserve=5000, reserve_share="0.25", notice="2h", plans={}, auto_reinvest=False),
        usdt(notice=60, reserve_share=1, liquidity=[{"amount": 5, "by": "2026-01-01T00:00:00Z"}]),
        rules(choose="list", only=["a"], max_share=0, follow_rate=False),
        rules(min_rate="0.05", leave_below="0.05"),
        rules(min_rate=1),
    ],
)
def test_the_schema_admits_what_can_be_read(raw):
    assert admits(raw)
    read_policy(raw)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        [],
        {"US DT": {}},
        {"USDT": "all"},
        usdt(reserv="1"),
        usdt(reserve=0.1),
        usdt(reserve="-1"),
        usdt(reserve=-1),
        usdt(reserve="1,000"),
        usdt(reserve=True),
        usdt(reserve=None),
        usdt(plans=None),
        {"USDT": None},
        usdt(reserve_share="1.01"),
        usdt(reserve_share=2),
        usdt(auto_reinvest="yes"),
        usdt(notice="soon"),
        usdt(liquidity=[{"amount": "1"}]),
        usdt(liquidity=[None]),
        usdt(liquidity=[{"by": "2026-01-01T00:00:00Z"}]),
        rules(choose="lowest"),
        rules(only=[]),
        rules(targets={}),
        rules(targets=None),
        rules(only="a"),
        rules(only=["a b"]),
        rules(max_shar="1"),
        rules(targets={"a": "2"}),
        rules(targets={"a b": "1"}),
        rules(min_rate="5"),
        rules(min_rate="0.1", leave_below=0.1),
    ],
)
def test_the_schema_refuses_what_cannot_be_read(raw):
    assert not admits(raw)
    fault(raw)
