from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError
from airflow_provider_whitebit.client.models import (
    Asset,
    FixedInvestment,
    FixedPlan,
    FlexInvestment,
    FlexPlan,
    FlexTransaction,
    InterestPayment,
    MainTransaction,
    MarketActivity,
    SubAccount,
    SubAccountBalance,
    SubAccountTransaction,
    TradeBalance,
    parse_amount,
    parse_time,
)

PLAN = {
    "id": "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f",
    "ticker": "USDT",
    "minInvestment": "10.0",
    "maxInvestment": "100000.0",
    "maxRate": "0.15",
}
TRANSACTION = {
    "createdAt": 1640995200,
    "planId": PLAN["id"],
    "investmentId": "inv_1",
    "currency": "USDT",
    "amount": "15.75",
    "transaction_id": "tx_1",
    "actionType": 4,
}


def test_plan():
    plan = FlexPlan.from_api({**PLAN, "addedLater": {"x": 1}})
    assert plan.max_rate == Decimal("0.15")
    assert plan.to_json() == {
        "id": PLAN["id"],
        "ticker": "USDT",
        "min_investment": "10.0",
        "max_investment": "100000.0",
        "max_rate": "0.15",
    }


def test_identifiers_may_be_numbers():
    assert FlexPlan.from_api({**PLAN, "id": 17}).id == "17"


@pytest.mark.parametrize("field", ["id", "ticker"])
def test_a_missing_field_is_named(field):
    with pytest.raises(WhiteBitUnavailableError, match=field):
        FlexPlan.from_api({name: value for name, value in PLAN.items() if name != field})


def test_a_plan_without_upper_limit_admits_everything_above_the_minimum():
    plan = FlexPlan.from_api({**PLAN, "maxInvestment": None})
    assert plan.admits(Decimal(10**12))
    assert not plan.admits(Decimal("9.99"))


def test_transaction_as_json():
    assert FlexTransaction.from_api(TRANSACTION).to_json() == {
        "created_at": "2022-01-01T00:00:00Z",
        "plan_id": PLAN["id"],
        "investment_id": "inv_1",
        "currency": "USDT",
        "amount": "15.75",
        "transaction_id": "tx_1",
        "action_type": 4,
    }


@pytest.mark.parametrize("field", ["planId", "investmentId", "currency", "transaction_id"])
def test_a_transaction_can_lack_every_name(field):
    name = {"planId": "plan_id", "investmentId": "investment_id"}.get(field, field)
    without = {key: value for key, value in TRANSACTION.items() if key != field}
    for raw in (without, {**TRANSACTION, field: None}, {**TRANSACTION, field: ""}):
        assert FlexTransaction.from_api(raw) == replace(FlexTransaction.from_api(TRANSACTION), **{name: None})
    assert getattr(FlexTransaction.from_api({**TRANSACTION, field: 17}), name) == "17"


def test_investment_without_times():
    raw = {"id": "inv_1", "planId": PLAN["id"], "currency": "USDT", "invested": "0.00000001", "status": 1}
    investment = FlexInvestment.from_api(raw)
    assert investment.active
    assert investment.created_at is None
    assert investment.to_json()["invested"] == "0.00000001"


@pytest.mark.parametrize("raw", ["", "abc", "NaN", "Infinity", None, True, [], {}, 1.5])
def test_what_is_not_an_amount_is_refused(raw):
    with pytest.raises(ValueError):
        parse_amount(raw)


def test_small_amounts_are_never_written_with_an_exponent():
    raw = {**TRANSACTION, "amount": "1E-8"}
    assert FlexTransaction.from_api(raw).to_json()["amount"] == "0.00000001"


@pytest.mark.parametrize("raw", [1640995200, "1640995200", 1640995200000])
def test_times(raw):
    assert parse_time(raw) == pendulum.datetime(2022, 1, 1, tz="UTC")


@given(st.integers(min_value=1, max_value=100_000_000_000), st.integers(min_value=0, max_value=999_999))
def test_times_are_exact_to_the_microsecond(seconds, micros):
    expected = pendulum.from_timestamp(seconds)
    for raw in (seconds, str(seconds), Decimal(seconds)):
        assert parse_time(raw) == expected
    exact = parse_time(f"{seconds}.{micros:06d}")
    if seconds < 100_000_000_000:
        assert exact == expected.set(microsecond=micros)
    assert isinstance(exact, pendulum.DateTime)
    assert exact.timezone_name == "UTC"


@pytest.mark.parametrize("raw", ["2022-01-01", 10**30, "-1e40", -(10**30), True, 0, "0", -1])
def test_what_is_not_a_time_is_refused(raw):
    with pytest.raises(ValueError):
        parse_time(raw)


@pytest.mark.parametrize(
    ("method", "status", "moved"),
    [
        *((1, status, True) for status in (3, 7)),
        *((1, status, False) for status in (4, 5, 9, 15, 21, 22, 27, 28)),
        *((1, status, None) for status in (0, 18, 99)),
        *((2, status, True) for status in (3, 7)),
        (2, 4, False),
        *((2, status, None) for status in (1, 2, 5, 6, *range(10, 19), 21, 99)),
        (3, 3, None),
    ],
)
def test_whether_a_deposit_or_withdrawal_has_moved_money(method, status, moved):
    raw = {"createdAt": 1593437922, "ticker": "BTC", "amount": "0.0006", "method": method, "status": status}
    record = MainTransaction.from_api(raw)
    assert (record.moved, record.fee, record.transaction_id) == (moved, None, None)


def test_a_deposit_as_older_pages_show_it():
    raw = {"createdAt": 1593437922, "ticker": "BTC", "amount": "0.0006", "method": 1, "status": 3, "memo": ""}
    record = MainTransaction.from_api({**raw, "transactionId": "5e112b38", "uniqueId": 24529041, "network": None})
    assert (record.transaction_id, record.unique_id, record.network) == ("5e112b38", "24529041", None)


@pytest.mark.parametrize("odd", [[], {}, True, 1.5, "x" * 300, "\ud800"])
def test_what_only_people_read_stops_no_record(odd):
    raw = {"createdAt": 1593437922, "ticker": "BTC", "amount": "0.0006", "method": 1, "status": 3}
    names = ("network", "address", "memo", "unique_id", "transactionHash", "description")
    record = MainTransaction.from_api({**raw, **dict.fromkeys(names, odd)})
    assert (record.amount, record.moved, record.address, record.unique_id) == (Decimal("0.0006"), True, None, None)
    assert len(record.description or "") <= 200
    account = SubAccount.from_api({"id": "s", **dict.fromkeys(("alias", "email", "userId", "permissions"), odd)})
    assert (account.id, account.email) == ("s", None)
    given = SubAccount.from_api({"id": "s", "permissions": {"spotEnabled": odd, "collateralEnabled": 1}})
    assert given.permissions.collateral_enabled is True
    market = {"market": "BTC_USDT", "last_price": "5", **dict.fromkeys(("base_volume", "quote_volume", "change"), "-")}
    assert MarketActivity.from_api(market).last_price == 5


def test_a_transfer_of_a_sub_account():
    raw = {"id": 7, "direction": "main_to_sub", "currency": "ETH", "amount": "0.5", "createdAt": 1641081600}
    assert SubAccountTransaction.from_api(raw).to_json() == {
        "created_at": "2022-01-02T00:00:00Z",
        "transaction_id": "7",
        "direction": "main_to_sub",
        "currency": "ETH",
        "amount": "0.5",
    }
    assert SubAccountTransaction.from_api({**raw, "transaction_id": "tx"}).transaction_id == "tx"


def test_another_type_than_an_object_is_refused():
    with pytest.raises(WhiteBitUnavailableError, match="FlexPlan"):
        FlexPlan.from_api("plan")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(max_size=8) | st.just("1.5"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
KINDS = [
    FlexPlan.from_api,
    FlexInvestment.from_api,
    FlexTransaction.from_api,
    FixedPlan.from_api,
    FixedInvestment.from_api,
    InterestPayment.from_api,
    MainTransaction.from_api,
    SubAccount.from_api,
    SubAccountBalance.from_api,
    SubAccountTransaction.from_api,
    TradeBalance.from_api,
    lambda raw: Asset.from_api("USDT", raw),
]
NAMES = [
    *("id", "ticker", "minInvestment", "maxInvestment", "maxRate", "planId", "currency", "invested", "status"),
    *("withAutoReinvest", "createdAt", "updatedAt", "amount", "transaction_id", "actionType", "plan", "created"),
    *("updated", "paymentTime", "interestPaid", "percent", "duration", "timestamp", "available", "freeze"),
    *("currency_precision", "name", "interestRatio", "investmentId", "method", "fee", "permissions", "main", "spot"),
]


@given(kind=st.sampled_from(KINDS), raw=st.dictionaries(st.sampled_from(NAMES), values) | values)
def test_any_answer_is_a_record_or_a_clear_error(kind, raw):
    try:
        record = kind(raw)
    except WhiteBitUnavailableError as error:
        assert "The exchange sent" in str(error)
    else:
        json.dumps(record.to_json())


@given(amount=st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=0, max_value=10**18))
def test_amounts_pass_through_exactly(amount):
    raw = {**TRANSACTION, "amount": format(amount, "f")}
    record = FlexTransaction.from_api(raw)
    assert record.amount == amount
    assert Decimal(record.to_json()["amount"]) == amount


@given(moment=st.integers(1, 4_102_444_800), fraction=st.integers(0, 999))
def test_times_in_seconds_and_milliseconds(moment, fraction):
    assert parse_time(moment).int_timestamp == moment
    if moment > 100_000_000:
        assert parse_time(moment * 1000 + fraction).int_timestamp == moment
