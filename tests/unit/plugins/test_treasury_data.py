"""What the Treasury page shows of an account: figures by hand, and what is said when they cannot be had."""

from __future__ import annotations

from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FixedPlan,
    FlexAction,
    FlexInvestment,
    FlexPlan,
    FlexTransaction,
)
from airflow_provider_whitebit.plugins import treasury_data as data

NOW = pendulum.datetime(2026, 11, 23, 16, 5)
MIDNIGHT = NOW.start_of("day")
YEAR = 365


def investment(name="i1", invested="1000", *, ticker="USDT", plan="p1", days_old=200, status=1):
    since = MIDNIGHT.subtract(days=days_old)
    return FlexInvestment(name, plan, ticker, Decimal(invested), False, status, since, since)


def entry(action, amount, at, name="i1", ticker="USDT"):
    return FlexTransaction(at, "p1", name, ticker, Decimal(amount), f"tx-{at}-{action}", int(action))


def daily(amount, days, name="i1", ticker="USDT"):
    return [entry(FlexAction.DAILY_EARNING, amount, MIDNIGHT.subtract(days=day), name, ticker) for day in range(days)]


def rate(investments, payments, history=(), days=30):
    by = data._by_investment
    return data.realised_rate(investments, by(payments), by(history), NOW, days)


class Client:
    """Answers what it is given; an exception is raised."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []
        self.closed = False

    def close(self):
        self.closed = True

    def __getattr__(self, name):
        def answer(**filters):
            self.asked.append(name)
            found = self.answers.get(name, [])
            if isinstance(found, Exception):
                raise found
            return found

        return answer


PLAN = FlexPlan("p1", "USDT", Decimal(1), None, Decimal("0.15"))
FIXED = FixedInvestment(
    "f1",
    FixedPlan("p9", "BTC", 1, Decimal(2), 30 * 1440, "USDT", Decimal("0.00001"), Decimal(0), None, None),
    1,
    NOW.subtract(days=20),
    NOW.subtract(days=20),
    NOW.add(days=10, hours=1),
    Decimal("0.5"),
    Decimal(0),
)


def answering(**more):
    return Client(
        **{
            "server_time": NOW,
            "main_balance": {"USDT": Decimal("250.50"), "EUR": Decimal(0), "ETH": Decimal(2)},
            "flex_investments": [investment(), investment("i0", "0", status=0)],
            "flex_plans": [PLAN, FlexPlan("p2", "USDT", Decimal(1), None, Decimal("0.18"))],
            "fixed_investments": [FIXED],
            "flex_payments": daily("0.4", 90),
            **more,
        }
    )


def shown(client):
    return data.show(data.ask(client, 10, lambda: 0))


def test_a_steady_investment_realises_what_it_earns_a_day():
    assert rate([investment()], daily("0.4", 90)) == Decimal("0.146000")
    assert rate([investment()], daily("0.4", 90), days=90) == Decimal("0.146000")


def test_the_average_counts_each_amount_as_long_as_it_was_invested():
    # 30 days: 10 with 500, 20 with 1000.
    moved = [entry(FlexAction.INVEST, "500", MIDNIGHT.subtract(days=20))]
    payments = daily("0.4", 20) + [
        entry(FlexAction.DAILY_EARNING, "0.2", MIDNIGHT.subtract(days=day)) for day in range(20, 30)
    ]
    assert rate([investment()], payments, moved) == Decimal("0.146000")


def test_what_was_withdrawn_counts_until_then():
    moved = [entry(FlexAction.WITHDRAW_FROM_INVESTMENT, "1000", MIDNIGHT.subtract(days=15))]
    payments = daily("0.4", 15) + [
        entry(FlexAction.DAILY_EARNING, "0.8", MIDNIGHT.subtract(days=day)) for day in range(15, 30)
    ]
    assert rate([investment()], payments, moved) == Decimal("0.146000")


def test_a_closed_investment_counts_while_it_ran():
    closed = investment(invested="0", status=0)
    at = MIDNIGHT.subtract(days=10)
    moved = [entry(FlexAction.CLOSE_INVESTMENT, "1000", at)]
    payments = [entry(FlexAction.DAILY_EARNING, "0.4", MIDNIGHT.subtract(days=day)) for day in range(10, 30)]
    assert rate([closed], payments, moved) == Decimal("0.146000")
    # The exchange may tell of one movement twice.
    twice = [*moved, entry(FlexAction.WITHDRAW_FROM_INVESTMENT, "1000", at)]
    assert rate([closed], payments, twice) == Decimal("0.146000")


def test_a_young_investment_is_counted_from_its_beginning():
    moved = [
        entry(FlexAction.OPEN_INVESTMENT, "1000", MIDNIGHT.subtract(days=5)),
        entry(FlexAction.INVEST, "1000", MIDNIGHT.subtract(days=5)),
    ]
    assert rate([investment(days_old=5)], daily("0.4", 5), moved) == Decimal("0.146000")


@pytest.mark.parametrize(
    ("investments", "payments"),
    [
        ([], []),
        ([investment()], []),
        ([investment(days_old=0)], daily("0.1", 1)),
        ([investment(invested="0")], daily("0.1", 5)),
    ],
    ids=["nothing", "no earning", "less than a day", "nothing invested"],
)
def test_no_rate_without_a_day_to_go_by(investments, payments):
    assert rate(investments, payments) is None


def test_a_whole_account():
    page = shown(answering())
    assert page["as_of"] == "2026-11-23T16:05:00Z"
    assert (page["error"], page["problems"]) == (None, [])
    # What is invested comes first; of what there is nothing, nothing is said.
    assert [line["ticker"] for line in page["positions"]] == ["BTC", "USDT", "ETH"]
    first = page["positions"][1]
    assert {name: first[name] for name in ("ticker", "idle", "flex", "fixed", "total", "at_work", "best_rate")} == {
        "ticker": "USDT",
        "idle": "250.50",
        "flex": "1000",
        "fixed": "0",
        "total": "1250.50",
        "at_work": "0.799680",
        "best_rate": "0.18",
    }
    assert first["windows"] == {
        "30": {"earned": "12.0", "realised_rate": "0.146000"},
        "90": {"earned": "36.0", "realised_rate": "0.146000"},
    }
    (held,) = page["flex"]
    assert (held["plan_id"], held["max_rate"], held["on_offer"]) == ("p1", "0.15", True)
    (term,) = page["fixed"]
    assert (term["amount"], term["interest"], term["interest_ticker"]) == ("0.5", "1000", "USDT")
    assert (term["yearly_rate"], term["days_left"], term["ends"]) == ("0.243333", 10, "2026-12-03T17:05:00Z")


def test_earnings_by_day_end_today():
    earned = shown(answering(flex_payments=[*daily("0.4", 2), *daily("0.001", 1, "i2", "BTC")]))["earnings"]
    assert (len(earned["days"]), earned["days"][0], earned["days"][-1]) == (90, "2026-08-26", "2026-11-23")
    assert earned["by_ticker"]["USDT"][-3:] == ["0", "0.4", "0.4"]
    assert earned["by_ticker"]["BTC"][-1] == "0.001"


def test_what_is_not_known_is_not_zero():
    page = shown(answering(fixed_investments=e.WhiteBitPermissionError("The key may not use this endpoint.")))
    assert page["fixed"] is None
    line = page["positions"][0]
    assert (line["idle"], line["fixed"], line["total"], line["at_work"]) == ("250.50", None, None, None)
    (problem,) = page["problems"]
    assert problem["what"] == "Fixed investments"
    assert "may not use" in problem["text"]
    # The rest was asked all the same.
    assert page["earnings"] is not None


def test_an_exchange_that_stops_answering_is_not_asked_on():
    client = answering(flex_plans=e.WhiteBitUnavailableError("The exchange did not answer in time."))
    page = shown(client)
    assert "fixed_investments" not in client.asked
    assert [problem["what"] for problem in page["problems"]] == [
        "Flex plans",
        "Fixed investments",
        "Flex earnings",
        "Flex history",
    ]
    assert page["positions"][0]["windows"]["30"] == {"earned": None, "realised_rate": None}
    assert page["positions"][0]["best_rate"] is None
    assert page["flex"][0]["on_offer"] is None


@pytest.mark.parametrize("name", ["server_time", "main_balance"])
def test_an_exchange_that_does_not_answer_at_all(name):
    with pytest.raises(e.WhiteBitUnavailableError):
        shown(answering(**{name: e.WhiteBitUnavailableError("No answer.")}))


def test_lists_that_take_too_long_are_left_out_whole():
    seconds = iter(range(1000))
    answers = data.ask(answering(), 5, lambda: next(seconds))
    assert answers.idle is not None
    assert answers.payments is None
    assert any("within 6 s" in problem["text"] for problem in answers.problems)


class TestLooking:
    """From a connection to what is shown."""

    @pytest.fixture
    def connection(self, monkeypatch):
        def make(text):
            monkeypatch.setenv("AIRFLOW_CONN_DESK", text)

        return make

    @pytest.fixture
    def client(self, monkeypatch):
        from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

        client = answering()
        monkeypatch.setattr(WhiteBitHook, "impatient_conn", lambda self, longest: client)
        return client

    GOOD = '{"conn_type": "whitebit", "login": "a-key", "password": "a-secret", "extra": {"region": "eu"}}'

    def test_a_good_connection(self, connection, client):
        connection(self.GOOD)
        account = data.look("desk")
        assert account.shown["host"] == "https://whitebit.eu"
        assert account.shown["site"] == "https://whitebit.eu/crypto-lending"
        assert len(account.fingerprint) == 16
        assert client.closed
        assert not any(secret in str(account.shown) for secret in ("a-key", "a-secret", account.fingerprint))

    def test_a_refused_key(self, connection, client):
        connection(self.GOOD)
        client.answers["main_balance"] = e.WhiteBitAuthenticationError("The exchange did not accept the key.")
        account = data.look("desk")
        assert "did not accept the key" in account.shown["error"]
        assert account.fingerprint is not None
        assert account.shown["host"] == "https://whitebit.eu"
        assert client.closed

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ('{"conn_type": "whitebit", "login": "a-key"}', "password (API secret) is empty"),
            ('{"conn_type": "postgres", "login": "a-key", "password": "a-secret"}', "is of type 'postgres'"),
            (
                '{"conn_type": "whitebit", "login": "a-key", "password": "a-secret", "host": "evil.test"}',
                "allow_custom",
            ),
        ],
        ids=["incomplete", "another type", "another host"],
    )
    def test_a_wrong_connection_is_never_used(self, connection, client, text, why):
        connection(text)
        account = data.look("desk")
        assert why in account.shown["error"]
        assert "a-secret" not in str(account.shown)
        assert account.fingerprint is None
        assert client.asked == []

    def test_no_connection(self, client):
        assert data.look("nowhere_to_be_found").shown["error"] == "There is no connection 'nowhere_to_be_found'."
