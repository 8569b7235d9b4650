"""Digests: which moves are in them, their sentences, and that HTML and text say the same and hold no foreign markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser

import pendulum
import pytest

from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FixedPlan,
    FlexInvestment,
    FlexPlan,
    FlexTransaction,
    InterestPayment,
    MarketActivity,
)
from airflow_provider_whitebit.moves.intent import Receipt
from airflow_provider_whitebit.treasury.digest import (
    Digest,
    DigestDoubt,
    DigestInterest,
    due_until,
    interest_of_period,
    moves_of_period,
)
from airflow_provider_whitebit.treasury.digest_page import render_digest
from airflow_provider_whitebit.treasury.forecast import make_forecast
from airflow_provider_whitebit.treasury.policy import read_policy
from airflow_provider_whitebit.treasury.statement import make_statement, value_statement
from airflow_provider_whitebit.treasury.valuation import MarketPrices

START, END = pendulum.datetime(2026, 11, 23), pendulum.datetime(2026, 11, 30)
NOW = END.add(hours=6, minutes=5)
USDT, BTC, OLD = "8f2e9d3c-1a4b-4c2d", "7e1d8c2b-9a3b-4b1c", "1c9a4f60-2b3d-4e5f"


def record(day, amount, action, *, plan=USDT, ticker="USDT", hour=0, name="tx"):
    at = START.add(days=day, hours=hour)
    return FlexTransaction(at, plan, f"of-{plan}", ticker, Decimal(amount), f"{name}-{day}-{action}-{ticker}", action)


def receipt(operation="flex_invest", *, at=None, amount="100.5", ticker="USDT", status="executed", **more):
    facts = {"transaction_id": None, "plan_id": None, "attempts": 1, "reconciled": False, "intent_id": "int-1"}
    moment = START.add(hours=9) if at is None else at
    number = None if amount is None else Decimal(amount)
    return Receipt(operation=operation, ticker=ticker, amount=number, status=status, executed_at=moment, **facts | more)


def term(name="fixed-1", *, created=None, days=30, status=1, updated=None, pays="USDT", ratio="1"):
    begun = START.subtract(days=20) if created is None else created
    plan = FixedPlan("term-plan-30", "USDT", 1, Decimal(2), days * 1440, pays, Decimal(ratio), Decimal(1), None, None)
    return FixedInvestment(name, plan, status, begun, updated or begun, begun.add(days=days), Decimal(5000), Decimal(0))


def week(**more):
    """The digest of a week in which a lot has happened."""
    earnings = [record(day, "1.07325", 4) for day in range(7)]
    earnings += [record(day, "0.000021034512345678", 4, plan=BTC, ticker="BTC") for day in range(7)]
    moves = [
        record(1, "1000", 1, hour=9),
        record(3, "250.123456", 3, hour=14),
        record(4, "0.25", 6, plan=BTC, ticker="BTC", hour=8),
    ]
    history = sorted([*earnings, *moves], key=lambda one: one.created_at, reverse=True)
    held = [
        FlexInvestment(f"of-{USDT}", USDT, "USDT", Decimal("17352.420951"), False, 1, START.subtract(days=90), None),
        FlexInvestment(f"of-{BTC}", BTC, "BTC", Decimal("0.75"), True, 1, START.subtract(days=90), None),
        FlexInvestment(f"of-{OLD}", OLD, "DOGE", Decimal("1000"), False, 1, START.subtract(days=90), None),
    ]
    plans = [
        FlexPlan(USDT, "USDT", Decimal(10), None, Decimal("0.12")),
        FlexPlan(BTC, "BTC", Decimal("0.001"), None, Decimal("0.04")),
    ]
    statement = make_statement(
        history, held, plans, start=START, end=END, made_at=NOW, records_from=START, payments=earnings
    )
    prices = MarketPrices((MarketActivity("BTC_USDT", Decimal(60000), Decimal(0), Decimal(0), Decimal(0), False),), NOW)
    terms = [term(), term("fixed-2", pays="WBT", ratio="21.5", days=40), term("fixed-3", created=START.add(days=2))]
    forecast = make_forecast(
        held,
        terms,
        plans,
        main={"USDT": Decimal(6000)},
        realised={USDT: Decimal("0.0812")},
        now=NOW,
        until=NOW.add(days=30),
        policy=read_policy(
            {"USDT": {"reserve": "5000", "liquidity": [{"amount": "40000", "by": "2026-12-15T12:00:00Z"}]}}
        ),
    )
    receipts = [
        (
            receipt(at=START.add(days=1, hours=9), amount="1000", plan_id=USDT, transaction_id=moves[0].transaction_id),
            "task invest of sweep_usdt, run scheduled__2026-11-24T09:00:00+00:00",
        ),
        (
            receipt("transfer", at=START.add(days=3, hours=15), amount="250", source="main", target="spot"),
            "task to_spot of whitebit_treasury, run manual__2026-11-26T15:00:00+00:00, map index 3",
        ),
    ]
    values = {
        "account": "treasury_desk",
        "statement": value_statement(statement, prices, "USDT"),
        "forecast": forecast,
        "moves": moves_of_period(receipts, history, terms, START, END),
        "interest": interest_of_period(
            [InterestPayment("term-plan-30", "f", Decimal("12.5"), "USDT", START.add(days=2))], START, END
        ),
        "due": due_until(terms, forecast.until),
        "doubts": (
            DigestDoubt(
                "int-77",
                f"flex_withdraw 500 USDT, plan {USDT}",
                END.subtract(hours=2),
                "task raise of whitebit_treasury, run scheduled__2026-11-29",
                "Clear the task. It reads the exchange's records again before it sends anything, and most doubts end "
                "here.",
            ),
        ),
        "limits": (
            {
                "limit": "max_per_day",
                "ticker": "USDT",
                "most": "50000",
                "used": "1250.123456",
                "unshown": "0",
                "frees_at": "2026-12-01T09:00:15Z",
            },
            {
                "limit": "max_moves_per_hour",
                "ticker": None,
                "most": "20",
                "used": None,
                "unshown": "0",
                "frees_at": None,
            },
        ),
        "limits_in_words": "limits of this connection: at most 5000 USDT in one move; at most 50000 USDT in 24 hours",
        "problems": (),
    }
    return Digest(**values | more)


def quiet():
    """The digest of a day without anything."""
    statement = make_statement([], [], [], start=START, end=START.add(days=1), made_at=NOW)
    forecast = make_forecast([], [], [], main={}, realised={}, now=NOW, until=NOW.add(days=30))
    return Digest("desk", statement, forecast, (), (), (), (), (), "this connection sets no limits", ())


class Page(HTMLParser):
    """The visible text of a page, and the tags and attributes in it."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.said, self._hidden = [], [], [], 0
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.said))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.said.append(data)


def test_a_mail_has_tables_and_inline_styles_only():
    page = Page(render_digest(week())["html"])
    assert not {"script", "style", "link", "img", "iframe", "form"} & set(page.tags)
    assert not {"src", "href", "class", "id"} & {name for name, _ in page.attributes}
    assert any(name == "style" and "max-width:600px" in value for name, value in page.attributes)


def test_subject_html_and_text_of_a_week():
    found = render_digest(week())
    assert found["subject"] == (
        "WhiteBIT treasury_desk, 23 November 2026 to 29 November 2026: 1 move IN DOUBT; 1 shortfall ahead; "
        "records do not add up; earned 0.000147241586419746 BTC, 7.51275 USDT; interest of 12.5 USDT; "
        "5 moves"
    )
    for said in (Page(found["html"]).text, found["text"]):
        for words in (
            "In doubt: flex_withdraw 500 USDT, plan 8f2e9d3c-1a4b-4c2d, sent 29 Nov 2026 22:00 UTC by task raise of",
            "most doubts end here.",
            "USDT will be missing at 15 Dec 2026 12:00 UTC, when 40,000 USDT are needed and 5,000 USDT kept.",
            "Does not add up:",
            "7.51275",
            "17,352.420951",
            "advertised 12.00 %",
            "Fixed investments paid interest of 12.5 USDT.",
            "Worth about",
            "Flex withdraw, plan 8f2e9d3c…",
            "no receipt of this connection",
            "Transfer from main to spot",
            "task to_spot of whitebit_treasury",
            "3 Dec 00:00",
            "interest",
            "at realised rates",
            "at advertised rates",
            "neither a realised nor an advertised rate",
            "max_per_day of USDT",
            "at most 5000 USDT in one move",
        ):
            assert words in said, words


def test_a_quiet_day():
    found = render_digest(quiet())
    assert found["subject"] == "WhiteBIT desk, 23 November 2026: nothing earned; no known moves"
    for said in (Page(found["html"]).text, found["text"]):
        assert "attention" not in said.lower()
        assert "Neither receipts nor records of Flex and Fixed show a move." in said
        assert "Nothing is known to be due until 30 Dec 06:05." in said
        assert "No task has reported a move in doubt." in said
        assert "This connection sets no limits." in said


def test_what_is_not_known_is_said():
    digest = replace(
        quiet(), due=None, doubts=None, limits=None, problems=("Fixed investments could not be read: no.",)
    )
    found = render_digest(digest)
    assert "Fixed investments could not be read: no." in found["text"]
    assert "Which terms end is not known: see above." in found["text"]
    assert "Moves in doubt are not known here" in found["text"]


def test_nothing_from_outside_becomes_markup_or_a_line_of_its_own():
    evil = "<script>alert(1)</script>\r\nBcc: x@example.com\u2028{{ 7 * 7 }}"
    digest = week(account=evil, problems=(evil,))
    moves = [replace(one, task=evil, ticker="<i>") for one in digest.moves]
    found = render_digest(replace(digest, moves=tuple(moves), limits_in_words=evil))
    assert not {"script", "i"} & set(Page(found["html"]).tags)
    assert "<script>alert(1)</script> Bcc: x@example.com {{ 7 * 7 }}" in Page(found["html"]).text
    assert found["subject"].isprintable()
    assert not any(line.startswith("Bcc") for line in found["text"].splitlines())


def test_long_lists_are_cut_and_counted():
    digest = week()
    moves = digest.moves * 50
    found = render_digest(replace(digest, moves=moves, problems=("Something is wrong.",) * 30))
    assert f"And {len(moves) - 30} more." in found["html"]
    assert f"- and {len(moves) - 30} more" in found["text"]
    assert len(found["html"]) < 60_000
    figures = replace(digest, moves=moves).to_json()
    assert (figures["move_count"], len(figures["moves"])) == (len(moves), 100)


def test_figures_are_plain_json():
    figures = week().to_json()
    assert json.loads(json.dumps(figures)) == figures
    assert figures["statement"]["tickers"]["USDT"]["earned"] == "7.51275"
    assert figures["doubts"][0]["intent_id"] == "int-77"
    assert {one["interest_ticker"] for one in figures["due"]} == {"USDT", "WBT"}
    assert quiet().to_json()["limits"] == []
    assert replace(quiet(), limits=None, due=None).to_json()["due"] is None


def moved(receipts=(), flex=(), fixed=()):
    found = moves_of_period([(one, "a task") for one in receipts], flex, fixed, START, END)
    return [(one.operation, one.amount, one.task) for one in found]


def test_a_move_with_receipt_and_record_is_one():
    bought = record(1, "100.5", 1)
    assert moved([receipt(transaction_id=bought.transaction_id)], [bought]) == [
        ("flex_invest", Decimal("100.5"), "a task")
    ]
    two = [record(1, "100.5", 6, name="a"), record(1, "100.5", 1, name="b")]
    assert moved([receipt(transaction_id=two[1].transaction_id)], two) == [("flex_invest", Decimal("100.5"), "a task")]


def test_records_without_identifiers_count_once():
    nameless = replace(record(1, "100.5", 1), transaction_id=None)
    made = receipt(plan_id=USDT, at=nameless.created_at.subtract(seconds=1))
    assert moved([made], [nameless, nameless]) == [
        ("flex_invest", Decimal("100.5"), None),
        ("flex_invest", Decimal("100.5"), "a task"),
    ]


def test_an_equal_move_of_another_day_is_not_that_of_a_receipt():
    by_hand = replace(record(5, "100.5", 1), transaction_id=None)
    assert moved([receipt(plan_id=USDT)], [by_hand]) == [
        ("flex_invest", Decimal("100.5"), None),
        ("flex_invest", Decimal("100.5"), "a task"),
    ]


def test_a_record_without_an_identifier_is_the_receipt_s_that_is_like_it_and_nearest():
    records = [record(1, "100.5", 1, plan=OLD), record(2, "100.5", 3), record(3, "100.5", 1), record(1, "100.5", 1)]
    nameless = [replace(one, transaction_id=None) for one in records]
    made = receipt(plan_id=USDT, at=START.add(days=1, seconds=2))
    found = moves_of_period([(made, "a task")], nameless, [], START, END)
    assert [(one.operation, one.plan_id, one.at.day, one.task) for one in found] == [
        ("flex_invest", USDT, 26, None),
        ("flex_withdraw", USDT, 25, None),
        ("flex_invest", USDT, 24, "a task"),
        ("flex_invest", OLD, 24, None),
    ]
    # Records may be rounded.
    exactly = receipt(plan_id=USDT, amount="0.123456789012")
    rounded = replace(record(0, "0.12345679", 1, hour=9), transaction_id=None)
    assert moved([exactly], [rounded]) == [("flex_invest", exactly.amount, "a task")]


def test_moves_that_nobody_announced():
    flex = [record(1, "5", 3), record(1, "7", 5), record(1, "1", 4), record(9, "1", 1), record(1, "2", 9)]
    assert moved(flex=flex) == [("flex_withdraw", Decimal(5), None), ("flex_close", Decimal(7), None)]


def test_fixed_moves_and_terms_that_end_by_themselves():
    noon = START.add(hours=12)
    made = term("a", created=noon)
    closed = term("b", status=2, updated=noon)
    matured = term("c", status=2, created=noon.subtract(days=30), updated=noon)
    assert moved(fixed=[made, closed, matured]) == [
        ("fixed_invest", Decimal(5000), None),
        ("fixed_close", Decimal(5000), None),
    ]
    known = [
        receipt("fixed_invest", investment_id="a", amount="5000"),
        receipt("fixed_close", investment_id="b", amount="5000"),
    ]
    assert {task for *_, task in moved(known, fixed=[made, closed])} == {"a task"}


def test_a_close_without_a_time_is_not_listed_as_if_it_were_made_with_the_opening():
    undated = term("a", created=START.add(hours=12), status=2)
    assert moved(fixed=[undated]) == [("fixed_invest", Decimal(5000), None)]
    made = receipt("fixed_close", investment_id="a", amount="5000")
    assert moved([made], fixed=[undated]) == [
        ("fixed_invest", Decimal(5000), None),
        ("fixed_close", Decimal(5000), "a task"),
    ]


def test_receipts_outside_of_the_period_and_dry_runs():
    assert moved([receipt(at=END), receipt(at=START.subtract(seconds=1))]) == []
    assert moved([receipt(status="planned")]) == []


@pytest.mark.parametrize(("day", "amount"), [(0, 3), (6, 3), (7, None), (-1, None)])
def test_interest_of_the_period(day, amount):
    paid = [InterestPayment("p", "i", Decimal(one), "USDT", START.add(days=day)) for one in (1, 2)]
    assert [one.amount for one in interest_of_period(paid, START, END)] == ([] if amount is None else [amount])


def texts(digest):
    found = render_digest(digest)
    return found["subject"], Page(found["html"]).text, found["text"]


def test_interest_of_fixed_investments_is_earned_too():
    subject, *both = texts(replace(quiet(), interest=(DigestInterest("USDT", Decimal("12.5")),)))
    assert subject == "WhiteBIT desk, 23 November 2026: interest of 12.5 USDT; no known moves"
    for said in both:
        assert "nothing was earned." not in said
        assert "Fixed investments paid interest of 12.5 USDT." in said


def test_what_cannot_be_read_is_not_called_nothing():
    """Without Fixed investments, it is unknown what they paid, whether they moved, and when they end."""
    subject, *both = texts(replace(quiet(), interest=None, due=None, problems=("Fixed could not be read.",)))
    assert subject == "WhiteBIT desk, 23 November 2026: nothing earned in Flex; no known moves"
    for said in both:
        assert "nothing was earned." not in said
        assert "What Fixed investments paid is not known" in said
        assert "moves of them may be missing" in said
        assert "Nothing moved" not in said
        assert "Nothing is due" not in said


def test_needs_are_due_although_terms_cannot_be_read():
    assert "which could not be read" not in "".join(texts(week()))
    _, *both = texts(week(due=None))
    for said in both:
        assert "Needed in Main" in said
        assert "5,000 USDT kept. Fixed investments, which could not be read, may return it before." in said
        assert "Which terms end is not known" in said


def test_what_is_not_known_is_said_although_nothing_is_invested_in_flex():
    policy = read_policy({"USDT": {"liquidity": [{"amount": "40000", "by": "2026-12-15T12:00:00Z"}]}})
    forecast = make_forecast(
        [], [], [], main={"USDT": None}, realised={}, now=NOW, until=NOW.add(days=30), policy=policy
    )
    _, *both = texts(replace(quiet(), forecast=forecast))
    for said in both:
        assert "Main cannot be read, so the needs of the policy are not compared" in said
        assert "Nothing is due" not in said
