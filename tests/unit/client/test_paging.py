"""Paged lists: every record once, whatever the exchange does meanwhile, and beyond the largest offset."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import groupby

import pytest
from hypothesis import assume, example, given, settings
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
    """A list of (name, second), newest first.

    :param inclusive: whether its end date is inclusive.
    :param grows: how many records are added at the beginning, one before each request.
    :param additions: how many records are added at the beginning before each request; then none.
    :param lags: how many of the newest records each request does not see; then none.
    :param sizes: the most records of each page; then the last of these.
    :param echoes: whether an answer says how long its page can be.
    """

    def __init__(
        self, records, *, inclusive=True, newest_first=True, grows=0, additions=(), lags=(), sizes=(PAGE,), echoes=True
    ):
        records = sorted(records, key=lambda record: (-record[1], str(record[0])))
        self.records = records if newest_first else records[::-1]
        self.inclusive = inclusive
        self.additions, self.lags, self.sizes = [*additions, *[1] * grows], list(lags), list(sizes)
        self.echoes = echoes
        self.latest = max((record[1] for record in records), default=0)
        self.requests = []

    def fetch(self, path, params):
        limit, offset, until = params["limit"], params["offset"], params.get("dateTo")
        assert limit <= PAGE
        assert 0 <= offset <= OFFSET
        self.requests.append(offset)
        for _ in range(self.additions.pop(0) if self.additions else 0):
            self.latest += 1
            self.records.insert(0, (f"new{self.latest}", self.latest))
        lag = self.lags.pop(0) if self.lags else 0
        size = min(limit, self.sizes.pop(0) if len(self.sizes) > 1 else self.sizes[0])
        fitting = [
            record
            for record in self.records[lag:]
            if until is None or record[1] < until or (self.inclusive and record[1] == until)
        ]
        page = fitting[offset : offset + size]
        return {"data": page, "limit": size, "offset": offset} if self.echoes else {"data": page}


def numbered(seconds):
    return list(enumerate(seconds))


def made_at(record):
    return datetime.fromtimestamp(record[1], UTC)


def listed(exchange, offset=0, limit=None, *, name=None, made_at=made_at, **more):
    return paging.PagedList(exchange.fetch, "/list", {}, tuple, name, made_at, limit, offset, **more)


def read(exchange, until=None):
    return list(paging.in_pages_by_time(listed(exchange), until=until))


@given(
    seconds=st.lists(st.integers(0, 60), max_size=160),
    inclusive=st.booleans(),
    grows=st.integers(0, 12),
    until=st.none() | st.integers(0, 70),
    alike=st.booleans(),
)
@example(seconds=[7] * 20 + [6] * 10, inclusive=True, grows=0, until=None, alike=False)
def test_every_record_once(seconds, inclusive, grows, until, alike):
    # Records of one second are alike, or all differ.
    records = [("x", second) for second in seconds] if alike else numbered(seconds)
    assume(not (alike and grows))
    exchange = Exchange(records, inclusive=inclusive, grows=grows)
    expected = Counter(
        record
        for record in exchange.records
        if until is None or record[1] < until or (inclusive and record[1] == until)
    )
    try:
        found = Counter(read(exchange, until))
    except WhiteBitUnavailableError:
        # Only if more records share two seconds than one run returns.
        crowd = max(seconds.count(second) + seconds.count(second + 1) for second in range(61))
        assert crowd + grows > OFFSET
        return
    assert expected <= found <= Counter(exchange.records)


#: Records of a few seconds, at most two of them identical.
SHORT = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 3)), max_size=15).map(
    lambda records: [one for _, alike in groupby(sorted(records)) for one in list(alike)[:2]]
)


@settings(max_examples=400)
@given(
    records=SHORT,
    additions=st.lists(st.integers(0, 9), max_size=8),
    lags=st.lists(st.integers(0, 9), max_size=8),
    sizes=st.integers(4, PAGE).map(lambda size: [size]) | st.lists(st.integers(3, PAGE), min_size=1, max_size=8),
    echoes=st.booleans(),
    dated=st.booleans(),
)
@example([("a", 0), ("b", 0), ("c", 0), ("d", 0)], [], [0, 3], [4], True, True)
def test_a_list_that_moves_while_it_is_read(records, additions, lags, sizes, echoes, dated):
    # Only an answer that says so can have pages that differ in length.
    assume(echoes or len(sizes) == 1)
    # A first page that is late may not know of the newest records.
    lags = [0, *lags]
    exchange = Exchange(records, additions=additions, lags=lags, sizes=sizes, echoes=echoes)
    assume(len(records) + sum(additions) <= OFFSET)
    expected = Counter(exchange.records)
    pages = paging.in_pages_by_time(listed(exchange), until=None) if dated else paging.in_pages(listed(exchange))
    try:
        found = Counter(pages)
    except WhiteBitUnavailableError as error:
        assert "faster" in str(error)
        assert len(exchange.requests) > 40
        return
    assert expected <= found <= Counter(exchange.records)


@given(
    count=st.integers(0, 15),
    gone=st.lists(st.integers(0, 14), max_size=5),
    additions=st.lists(st.integers(0, 3), max_size=5),
    size=st.integers(2, PAGE),
)
def test_records_with_a_name_of_their_own(count, gone, additions, size):
    """Such a record can change, and leave the list."""
    exchange = Exchange(numbered(range(count)), additions=additions, sizes=[size])
    assume(count + sum(additions) <= OFFSET)
    fetch, stay = exchange.fetch, {record[0] for record in exchange.records} - set(gone)

    def leaving(path, params):
        if gone:
            leaver = gone.pop()
            exchange.records = [record for record in exchange.records if record[0] != leaver]
        exchange.records = [(name, second + 1) for name, second in exchange.records]
        return fetch(path, params)

    exchange.fetch = leaving
    found = [record[0] for record in paging.in_pages(listed(exchange, name=lambda one: one[0], made_at=None))]
    assert len(set(found)) == len(found)
    assert stay <= set(found)


@given(st.integers(1, PAGE), st.integers(0, 20), st.booleans())
def test_a_short_page_is_not_the_end(size, count, echoes):
    exchange = Exchange(numbered(range(count)), sizes=[size], echoes=echoes)
    assert read(exchange) == exchange.records


@given(st.integers(2, PAGE), st.lists(st.integers(0, 2), max_size=20))
def test_identical_records_are_different_records(size, seconds):
    exchange = Exchange([("same", second) for second in seconds], sizes=[size])
    assert read(exchange) == exchange.records


def test_a_list_whose_offset_is_ignored():
    exchange = Exchange(numbered(range(4)))
    fetch = exchange.fetch
    exchange.fetch = lambda path, params: fetch(path, {**params, "offset": 0})
    assert list(paging.in_pages(listed(exchange, name=lambda one: one[0], made_at=None))) == exchange.records


def test_an_exchange_that_never_agrees_is_an_error():
    exchange = Exchange(numbered(range(20)), lags=[0, *[30] * 1000])
    with pytest.raises(WhiteBitUnavailableError, match="faster than it could be read"):
        read(exchange)


def test_pages_are_fetched_only_when_needed():
    exchange = Exchange(numbered(range(1000)))
    records = paging.in_pages_by_time(listed(exchange), until=None)
    assert exchange.requests == []
    for _ in range(7):
        next(records)
    assert exchange.requests == [0, 3]


def test_a_long_list_costs_little_more_than_its_pages():
    exchange = Exchange(numbered(range(2000)))
    assert len(read(exchange)) == 2000
    # Two records of each page were on the page before.
    assert len(exchange.requests) <= 2000 / (PAGE - 2) * 1.2


def test_a_short_list_costs_one_more_request_and_an_empty_one_none():
    for count, requests in ((0, [0]), (1, [0, 1]), (3, [0, 1]), (5, [0, 3])):
        exchange = Exchange(numbered(range(count)))
        assert len(read(exchange)) == count
        assert exchange.requests == requests


def test_a_short_list_of_plans_costs_one_request():
    for exchange, requests in ((Exchange(numbered([1])), [0]), (Exchange(numbered([1]), sizes=[1]), [0, 1])):
        assert len(list(paging.in_pages(listed(exchange, name=lambda one: one[0], made_at=None)))) == 1
        assert exchange.requests == requests


def test_too_many_in_one_second():
    with pytest.raises(WhiteBitUnavailableError, match="too many were made about second 9"):
        read(Exchange(numbered([8] * 100)))


def test_a_list_that_runs_oldest_first_is_an_error():
    with pytest.raises(WhiteBitUnavailableError, match="do not run newest first"):
        read(Exchange(numbered(range(100)), newest_first=False))
    assert len(read(Exchange(numbered(range(20)), newest_first=False))) == 20


@given(count=st.integers(0, 25), offset=st.integers(0, 30), grows=st.integers(0, 6))
def test_lists_without_dates(count, offset, grows):
    exchange = Exchange(numbered(range(count)), grows=grows)
    # Beyond the largest offset, the end cannot be told from a short page.
    if offset > OFFSET or count + grows >= OFFSET:
        return
    before = exchange.records[offset:]
    records = list(paging.in_pages(listed(exchange, offset)))
    assert len(set(records)) == len(records)
    if not grows:
        assert records == before


def test_lists_without_dates_end_with_an_error():
    with pytest.raises(WhiteBitValidationError, match="Narrow the filters"):
        list(paging.in_pages(listed(Exchange(numbered(range(100))))))


@pytest.mark.parametrize(("limit", "largest"), [(None, OFFSET - PAGE - 1), (2, OFFSET - 3)])
def test_an_exchange_that_adds_the_limit_to_the_offset(limit, largest):
    exchange = Exchange(numbered(range(100)))
    with pytest.raises(WhiteBitValidationError, match=f"beyond offset {largest}"):
        list(paging.in_pages(listed(exchange, limit=limit, offset_with_limit=True)))
    assert max(exchange.requests) == largest


def test_transfers_of_a_sub_account_may_come_bare():
    path = "/api/v4/sub-account/transfer/history"
    assert paging.entries_in(path, [{"id": "x"}]) == paging.entries_in(path, {"data": [{"id": "x"}]}) == [{"id": "x"}]
    for answer in ([{"id": "x"}], {"data": "x"}, {"data": {"id": "x"}}, {}, None):
        with pytest.raises(WhiteBitUnavailableError, match="no list"):
            paging.entries_in("/api/v4/sub-account/list", answer)


@pytest.mark.parametrize("empty", [{}, None])
@pytest.mark.parametrize("name", ["data", "records"])
def test_an_empty_list_in_another_spelling_is_certain_in_a_whole_answer_only(name, empty):
    path, whole = "/api/v4/main-account/smart/investments", {"limit": 100, "offset": 0}
    assert paging.entries_in(path, {name: empty, **whole}, strict=True) == []
    assert paging.entries_in(path, {name: empty}) == []
    for more in ({}, {"limit": 100}, {"offset": 0}, {"limit": None, "offset": 0}, {"limit": "100", "offset": 0}):
        with pytest.raises(WhiteBitUnavailableError, match="no list"):
            paging.entries_in(path, {name: empty, **more}, strict=True)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, range(30, 0, -1)),
        (10, None, range(30, 9, -1)),
        (10, 20, range(20, 9, -1)),
        (None, 5, range(5, 0, -1)),
        (31, None, []),
    ],
)
def test_records_between_two_moments(since, until, expected):
    records = [(second, second) for second in range(30, 0, -1)]
    found = paging.between(iter(records), made_at, since, until)
    assert [second for second, _ in found] == list(expected)


def test_reading_stops_a_page_after_the_first_moment_unless_the_list_is_out_of_order():
    records = [(f"r{second}", second * 100) for second in range(40, 0, -1)]
    left = iter(records)
    assert len(list(paging.between(left, made_at, 3_000, None))) == 11
    assert len(list(left)) == 29 - PAGE
    assert len(list(paging.between(reversed(records), made_at, 3_000, None))) == 11
