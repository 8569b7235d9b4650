"""The page of a statement: self-contained, readable without scripts, and safe from markup in names."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser

import pendulum
import pytest

from airflow_provider_whitebit.client.models import (
    FlexInvestment,
    FlexPlan,
    FlexTransaction,
    MarketActivity,
)
from airflow_provider_whitebit.treasury.statement import make_statement, value_statement
from airflow_provider_whitebit.treasury.statement_page import render_page, short_name
from airflow_provider_whitebit.treasury.valuation import MarketPrices

PLAN, OTHER = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "1c9a4f60-2b3d-4e5f-8a7b-9c0d1e2f3a4b"
START, END = pendulum.datetime(2026, 1, 1), pendulum.datetime(2026, 2, 1)
PLANS = [FlexPlan(PLAN, "USDT", Decimal(10), None, Decimal("0.365"))]


def record(plan, at, action, amount, number, ticker="USDT"):
    return FlexTransaction(at, plan, f"inv_{plan[:2]}", ticker, Decimal(amount), f"tx_{plan[:2]}_{number}", action)


def lending(plan=PLAN, amount="1234.5", ticker="USDT"):
    opened = record(plan, START.subtract(days=1), 6, amount, 0, ticker)
    earned = [record(plan, START.add(days=n), 4, "1.25", n + 1, ticker) for n in range(31)]
    held = FlexInvestment(f"inv_{plan[:2]}", plan, ticker, Decimal(amount), False, 1, opened.created_at, None)
    return [opened, *earned][::-1], [held]


def statement(history, investments, **changes):
    given = {"start": START, "end": END, "made_at": END, **changes}
    return make_statement(history, investments, PLANS, **given)


class Reader(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.words, self._in = [], [], [], ""
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._in = tag
        self.links += [value for name, value in attributes if name in ("href", "src", "action", "data")]

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        if self._in not in ("script", "style"):
            self.words.append(data)


def test_a_page_says_what_it_leaves_out():
    """A reader takes the figures of some plans for those of the account."""
    page = Reader(render_page(statement(*lending()), account="desk", only=("USDT", f"plan {PLAN}")))
    assert f"Only USDT, plan {PLAN}. From" in page.text
    assert "Only" not in Reader(render_page(statement(*lending()), account="desk")).text


def test_records_of_some_days_do_not_prove_that_everything_adds_up():
    text = Reader(render_page(statement(*lending(), records_from=START.subtract(days=2)))).text
    assert "Everything adds up" not in text
    assert "The records that were read add up" in text
    assert "a move that is missing from them may go unnoticed" in text


def test_it_shows_the_figures():
    read = Reader(render_page(statement(*lending()), account="desk"))
    assert "Flex lending, January 2026" in read.text
    assert "Account desk ." in read.text
    assert "Everything adds up" in read.text
    assert "31 records in this period" in read.text
    assert "1,234.50" in read.text
    # 31 * 1.25 = 38.75, over 31 days of 1234.5
    assert "Earned 38.75" in read.text
    assert "36.9583 %" in read.text
    assert "36.5000 %" in read.text
    assert PLAN in read.text


def test_it_is_self_contained():
    page = render_page(statement(*lending()))
    read = Reader(page)
    assert read.links == []
    assert not {"link", "img", "iframe", "object", "base"} & set(read.tags)
    assert "url(" not in page
    assert "@import" not in page
    # The library names its home page in a comment; there is no other address.
    assert set(re.findall(r"https?://[^\s\"'<)]*", page)) == {"https://github.com/leeoniya/uPlot"}
    assert "default-src 'none'" in page


def test_discrepancies_come_before_all_figures():
    history, investments = lending()
    page = render_page(statement(history, [replace(investments[0], invested=Decimal(2000))]))
    read = Reader(page)
    assert "1 thing does not add up" in read.text
    assert "765.5 more than they explain" in read.text
    assert read.text.index("765.5 more") < read.text.index("Summary")
    assert "Everything adds up" not in read.text


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "</script><b>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}"]
)
def test_names_are_text(hostile):
    honest = Reader(render_page(statement(*lending(ticker="USDT")), account="x"))
    history, investments = lending(plan=hostile, ticker=hostile)
    page = render_page(statement(history, investments), account=hostile)
    read = Reader(page)
    # No tags except those of an ordinary page, and the name is in the text unchanged.
    assert set(read.tags) <= {*honest.tags, "abbr"}
    assert read.tags.count("script") == honest.tags.count("script")
    assert read.links == []
    assert "".join(hostile.split()) in "".join(read.text.split())


def test_several_plans_have_a_total_and_withdrawn_plans_have_no_rate():
    one, two = lending(), lending(OTHER, "0.000001")
    page = Reader(render_page(statement(one[0] + two[0], one[1] + two[1])))
    assert "All plans 1c9a4f60… 8f2e9d3c…" in page.text
    assert "Opening balance 1,234.500001 0.000001 1,234.500000" in page.text
    assert re.search(r"Advertised rate per year unknown unknown 36\.5000 %", page.text)


def test_nothing():
    assert "Nothing was invested" in Reader(render_page(statement([], []))).text
    assert "USDT 0.00 0.00" in Reader(render_page(statement([], [], tickers=["USDT"]))).text


def valued(value_in="EUR", ticker="USDT", **raw):
    raw = {"market": "USDT_EUR", "last_price": "0.9", **raw}
    prices = MarketPrices((MarketActivity.from_api(raw),), END.add(hours=1, minutes=30))
    return value_statement(statement(*lending(ticker=ticker)), prices, value_in)


def test_values_are_a_block_of_their_own():
    exact = statement(*lending())
    found = valued()
    assert replace(found, valuation=None) == exact
    text = Reader(render_page(found)).text
    assert "Value in EUR Estimates by the exchange's last prices at 2026-02-01 01:30 UTC , not at the time" in text
    figures = "1,111.05 0.00 0.00 1,111.05 34.88"
    assert f"USDT {figures} Total {figures} 1 USDT = 0.9 EUR (USDT_EUR) " in text
    assert "In no total" not in text
    assert "Value in" not in Reader(render_page(exact)).text
    document = found.to_json()
    assert document["valuation"]["totals"]["earned"] == "34.875"
    assert {**document, "valuation": None} == exact.to_json()


NOTHING = "0.00000000"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"isFrozen": True}, "1 USDT = 0.9 EUR (USDT_EUR, in which trading is disabled)"),
        ({"value_in": "USDT"}, "38.75 Total 1,234.50 0.00 0.00 1,234.50 38.75 USDT "),
        ({"market": "EUR_USDT", "last_price": "9000"}, f"USDT 0.13716667 {NOTHING} {NOTHING} 0.13716667 0.00430556 "),
        ({"market": "EUR_USDT", "last_price": "9000"}, "1 USDT = 0.0001111111111 EUR (1/EUR_USDT)"),
        ({"ticker": "JUNK"}, f"JUNK unknown {NOTHING} {NOTHING} unknown unknown Total {NOTHING}"),
        ({"ticker": "JUNK"}, "In no total: JUNK (no price)."),
        ({"ticker": "<b>"}, "In no total: <b> (no price)."),
    ],
)
def test_values_without_a_price_or_with_another(changes, expected):
    text = Reader(render_page(valued(**changes))).text
    assert expected in text


@pytest.mark.parametrize(
    ("start", "end", "title"),
    [
        (START, START.add(days=1), "1 January 2026"),
        (START, START.add(days=7), "1 January 2026 to 7 January 2026"),
        (START.add(hours=6), START.add(days=1), "2026-01-01 06:00 UTC to 2026-01-02 00:00 UTC"),
        (START, START.add(months=3), "1 January 2026 to 31 March 2026"),
    ],
)
def test_periods(start, end, title):
    assert f"Flex lending, {title} " in Reader(render_page(statement([], [], start=start, end=end, made_at=end))).text


def test_names_of_plans():
    assert short_name(PLAN) == "8f2e9d3c…"
    assert short_name("42") == "42"
