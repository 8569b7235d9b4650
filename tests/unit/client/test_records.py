"""Which records are one record, and which are one movement."""

from __future__ import annotations

from decimal import Decimal

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.models import FlexAction, FlexTransaction
from airflow_provider_whitebit.client.records import group_movements, record_keys, same_amount

INVEST, REINVEST, WITHDRAW, EARNING, CLOSE, OPEN = FlexAction
NOON = pendulum.datetime(2026, 5, 1, 12)


def record(action, amount, *, at=0, name="tx", plan="plan", investment="inv", currency="USDT"):
    return FlexTransaction(NOON.add(seconds=at), plan, investment, currency, Decimal(amount), name, action)


@pytest.mark.parametrize(
    ("first", "second", "amount"),
    [
        (record(OPEN, "1000"), record(INVEST, "1000", name="other"), "1000"),
        (record(INVEST, "1000"), record(OPEN, "1000", name="other", at=2), "1000"),
        (record(OPEN, "1000", name=None), record(INVEST, "-1000", name=None, investment=None), "1000"),
        (record(OPEN, "0"), record(INVEST, "1000", name="other"), "1000"),
        (record(OPEN, "1000"), record(INVEST, "0", name="other"), "1000"),
        (record(CLOSE, "-1000"), record(WITHDRAW, "1000", name="other"), "1000"),
        (record(CLOSE, "1000.27"), record(WITHDRAW, "1000", name="other"), "1000"),
        (record(CLOSE, "0"), record(WITHDRAW, "1000", name="other"), "1000"),
        (record(CLOSE, "1010"), record(WITHDRAW, "1000"), "1000"),
        (record(OPEN, "0.12345679"), record(INVEST, "0.123456789", name="other"), "0.123456789"),
    ],
)
def test_two_records_of_one_movement(first, second, amount):
    for records in ([first, second], [second, first]):
        [movement] = group_movements(records)
        assert movement.amount == Decimal(amount)
        assert movement.main.action_type in (OPEN, CLOSE)
        assert set(movement.records) == {first, second}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (record(OPEN, "1000"), record(INVEST, "1000", at=3)),
        (record(OPEN, "1000"), record(INVEST, "999", name="other")),
        (record(OPEN, "1000"), record(INVEST, "1000", plan="other")),
        (record(OPEN, "1000"), record(INVEST, "1000", investment="other")),
        (record(OPEN, "1000"), record(INVEST, "1000", currency="EURI")),
        (record(OPEN, "1000"), record(OPEN, "1000")),
        (record(INVEST, "1000"), record(INVEST, "1000")),
        (record(OPEN, "1000"), record(WITHDRAW, "1000")),
        (record(CLOSE, "1000"), record(EARNING, "1000")),
        (record(CLOSE, "1010"), record(WITHDRAW, "1000", name="other")),
        (record(CLOSE, "1000"), record(WITHDRAW, "1000.27", name="other")),
        (record(OPEN, "0.12345679"), record(INVEST, "0.12345678", name="other")),
    ],
)
def test_records_of_two_movements(first, second):
    assert len(group_movements([first, second])) == 2


def test_the_most_similar_record_is_the_partner():
    opened = record(OPEN, "1000", name="a")
    added = [record(INVEST, "1000", at=1, name="b"), record(INVEST, "1000", name="a", at=2), record(INVEST, "0")]
    assert [movement.records for movement in group_movements([*added, opened])] == [
        (added[0],),
        (added[2],),
        (opened, added[1]),
    ]


RECORDS = st.lists(
    st.builds(
        record,
        st.sampled_from(list(FlexAction)),
        st.sampled_from(["0", "1", "1.001", "-1", "2"]),
        at=st.integers(0, 5),
        name=st.sampled_from([None, "a", "b"]),
        investment=st.sampled_from([None, "x", "y"]),
    ),
    max_size=12,
)


@given(RECORDS)
def test_every_record_belongs_to_one_movement(records):
    grouped = [entry for movement in group_movements(records) for entry in movement.records]
    assert sorted(map(id, grouped)) == sorted(map(id, records))


@given(RECORDS, st.randoms())
def test_keys_differ_and_are_the_same_in_any_order(records, random):
    keys = [key for key, _ in record_keys(records)]
    assert len(set(keys)) == len(records)
    random.shuffle(records)
    assert {key for key, _ in record_keys(records)} == set(keys)


def test_a_key_shows_the_transaction_id_and_does_not_depend_on_how_an_amount_is_written():
    one, other = (record(EARNING, amount, name="tx_1") for amount in ("1.50", "1.5"))
    [(key, _)], [(same, _)] = record_keys([one]), record_keys([other])
    assert key == same
    assert key.startswith("tx_1/")


def test_amounts_beyond_the_precision_of_decimal_are_not_rounded():
    long = Decimal("12345678901234567890.1234567890123456789")
    assert not same_amount(long, long + Decimal(1))
    assert not same_amount(Decimal("1.000000001"), Decimal("1.000000002"))
    assert same_amount(Decimal("-1.0000000012"), Decimal("1"))
