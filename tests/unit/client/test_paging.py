"""Paged lists: every record once, whatever is added meanwhile, and beyond the largest offset."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_whitebit.client import paging
from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError, WhiteBitValidationError

PAGE, OFFSET = 5, 20


@pytest.fixture(autouse=True, scope="module")
def small_pages():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paging, "LARGEST_PAGE", PAGE)
        patch.setattr(paging, "LARGEST_OFFSET", OFFSET)
        yield


class Exchange:
    """A list of (name, second), newest first; ``inclusive``: whether its end date is part of what it gives."""

    def __init__(self, seconds, *, inclusive=True, newest_first=True, grows=0):
        records = sorted(enumerate(seconds), key=lambda record: (-record[1], -record[0]))
        self.records = records if newest_first else records[::-1]
        self.inclusive = inclusive
        self.grows = grows
        self.latest = max(seconds, default=0)
        self.asked = 0

    def fetch(self, limit, offset, until):
        assert limit == PAGE
        assert 0 <= offset <= OFFSET
        self.asked += 1
        if self.grows:
            self.grows -= 1
            self.latest += 1
            self.records.insert(0, (f"new{self.grows}", self.latest))
        fitting = [
            record
            for record in self.records
            if until is None or record[1] < until or (self.inclusive and record[1] == until)
        ]
        return fitting[offset : offset + limit]


def read(exchange, until=None):
    return list(
        paging.in_pages_by_time(
            exchange.fetch, name=lambda record: record[0], second=lambda record: record[1], until=until
        )
    )


@settings(deadline=None)
@given(
    seconds=st.lists(st.integers(0, 60), max_size=160),
    inclusive=st.booleans(),
    grows=st.integers(0, 12),
    until=st.none() | st.integers(0, 70),
)
@example(seconds=[7] * 20 + [6] * 10, inclusive=True, grows=0, until=None)
def test_every_record_once(seconds, inclusive, grows, until):
    exchange = Exchange(seconds, inclusive=inclusive, grows=grows)
    expected = [
        record
        for record in exchange.records
        if until is None or record[1] < until or (inclusive and record[1] == until)
    ]
    try:
        found = read(exchange, until)
    except WhiteBitUnavailableError:
        # Only where more share two seconds than can be had at once.
        crowd = max(seconds.count(second) + seconds.count(second + 1) for second in range(61))
        assert crowd + grows > OFFSET
        return
    names = [record[0] for record in found]
    assert len(set(names)) == len(names)
    assert set(expected) <= set(found)
    assert set(found) <= set(exchange.records)


def test_what_is_not_asked_for_is_not_fetched():
    exchange = Exchange(range(1000))
    records = paging.in_pages_by_time(exchange.fetch, name=lambda r: r[0], second=lambda r: r[1], until=None)
    assert exchange.asked == 0
    for _ in range(7):
        next(records)
    assert exchange.asked == 2


def test_a_long_list_costs_little_more_than_its_pages():
    exchange = Exchange(range(2000))
    assert len(read(exchange)) == 2000
    assert exchange.asked <= 2000 / PAGE * 1.2


def test_too_many_in_one_second():
    with pytest.raises(WhiteBitUnavailableError, match="too many were made about second 9"):
        read(Exchange([8] * 100))


def test_a_list_the_other_way_round_is_noticed():
    with pytest.raises(WhiteBitUnavailableError, match="do not run newest first"):
        read(Exchange(range(100), newest_first=False))
    assert len(read(Exchange(range(20), newest_first=False))) == 20


@given(count=st.integers(0, 25), offset=st.integers(0, 30), grows=st.integers(0, 6))
def test_lists_without_dates(count, offset, grows):
    exchange = Exchange(range(count), grows=grows)
    if offset > OFFSET or count + grows >= OFFSET + PAGE:
        return
    records = list(paging.in_pages(exchange.fetch, name=lambda record: record[0], offset=offset))
    names = [record[0] for record in records]
    assert len(set(names)) == len(names)
    if not grows:
        assert records == exchange.records[offset:]


def test_lists_without_dates_end_with_an_error():
    with pytest.raises(WhiteBitValidationError, match="narrow the filters"):
        list(paging.in_pages(Exchange(range(100)).fetch, name=lambda record: record[0]))
