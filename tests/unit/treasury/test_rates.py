"""The realised rate, by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_whitebit.client.models import plain
from airflow_provider_whitebit.treasury.rates import YEAR, realised_rate


@pytest.mark.parametrize(
    ("earned", "invested", "seconds", "rate"),
    [
        ("10", "100", YEAR, "0.1"),
        ("10", "100", YEAR // 10, "1"),
        ("0", "100", 86_400, "0"),
        ("-1", "100", YEAR, "-0.01"),
        # Half to even: 0.0000005 becomes 0, 0.0000015 becomes 0.000002.
        ("0.0000005", "1", YEAR, "0"),
        ("0.0000015", "1", YEAR, "0.000002"),
        ("1", "0", YEAR, None),
        ("1", "-5", YEAR, None),
        ("1", "5", 0, None),
    ],
)
def test_realised_rate(earned, invested, seconds, rate):
    found = realised_rate(Decimal(earned), Decimal(invested) * seconds)
    assert found == (None if rate is None else Decimal(rate))


@pytest.mark.parametrize(
    ("amount", "text"),
    [("10.50", "10.5"), ("10.00", "10"), ("100", "100"), ("1E+3", "1000"), ("1E-7", "0.0000001"), ("0.000", "0")],
)
def test_an_amount_in_its_shortest_spelling(amount, text):
    assert plain(Decimal(amount)) == text
