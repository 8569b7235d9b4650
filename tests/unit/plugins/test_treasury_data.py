"""The account on the Treasury page: figures computed by hand, and the texts when they are missing."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.answers import error_from_answer
from airflow_provider_whitebit.client.models import (
    FixedInvestment,
    FixedPlan,
    FlexAction,
    FlexInvestment,
    FlexPlan,
    FlexTransaction,
)
from airflow_provider_whitebit.moves.allowance import LimitUse
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
    by = data.by_investment
    snapshot = data.ExchangeSnapshot(NOW, flex=investments, payments=by(payments), history=by(history))
    return data.window_rate(snapshot, investments, days)


class Client:
    """Returns the given answers; an exception is raised."""

    def __init__(self, **answers):
        self.answers = answers
        self.calls = []
        self.closed = False

    def close(self):
        self.closed = True

    def __getattr__(self, name):
        def answer(**filters):
            self.calls.append(name)
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
    return data.page_data(data.load_snapshot(client, 10, lambda: 0))


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


def test_a_withdrawn_amount_counts_until_its_withdrawal():
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
    # The exchange may record one movement twice.
    twice = [*moved, entry(FlexAction.WITHDRAW_FROM_INVESTMENT, "1000", at)]
    assert rate([closed], payments, twice) == Decimal("0.146000")


def test_a_young_investment_is_counted_from_its_beginning():
    moved = [
        entry(FlexAction.OPEN_INVESTMENT, "1000", MIDNIGHT.subtract(days=5)),
        entry(FlexAction.INVEST, "1000", MIDNIGHT.subtract(days=5)),
    ]
    assert rate([investment(days_old=5)], daily("0.4", 5), moved) == Decimal("0.146000")


def test_a_signed_movement_with_two_records_counts_once():
    moved = [
        entry(FlexAction.CLOSE_INVESTMENT, "-1000", MIDNIGHT.subtract(days=2)),
        entry(FlexAction.WITHDRAW_FROM_INVESTMENT, "-1000", MIDNIGHT.subtract(days=2, seconds=-1)),
    ]
    held = [investment(days_old=5, invested="0", status=0), investment("i2", days_old=2)]
    payments = daily("0.4", 5)
    assert rate(held, payments, moved) == Decimal("0.146000")


def test_earnings_that_do_not_name_their_investment_belong_to_the_one_that_was_there():
    held = [
        investment("old", "0", status=0),
        investment("new", days_old=10),
        investment("other", plan="p2", days_old=1),
    ]
    payments = [replace(paid, investment_id=None, currency=None) for paid in daily("0.4", 20)]
    shown = data.page_data(data.load_snapshot(answering(flex_investments=held, flex_payments=payments), 10, lambda: 0))
    [flex] = [line for line in shown["flex"] if line["id"] == "new"]
    assert flex["windows"]["30"]["earned"] == "4.4"
    assert shown["earnings"]["totals"]["USDT"]["30"] == "8.0"


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
def test_no_rate_without_a_whole_day(investments, payments):
    assert rate(investments, payments) is None


def test_a_whole_account():
    page = shown(answering())
    assert page["as_of"] == "2026-11-23T16:05:00Z"
    assert (page["error"], page["problems"]) == (None, [])
    # Assets with investments come first; empty assets are left out.
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
    assert (term["amount"], term["interest"], term["plan"]["interest_ticker"]) == ("0.5", "1000", "USDT")
    assert (term["yearly_rate"], term["days_left"], term["payment_time"]) == ("0.243333", 10, "2026-12-03T17:05:00Z")


def test_plans_on_offer():
    terms = [replace(FIXED.plan, id=f"f{status}", status=status) for status in (1, 2, 3, 4)]
    page = shown(answering(fixed_plans=[*terms, replace(FIXED.plan, id="short", duration=1440, percent=None)]))
    listed = [(plan["ticker"], plan["kind"], plan["id"]) for plan in page["plans"]]
    # Plans that are switched off are left out.
    fixed = [("BTC", "fixed", name) for name in ("short", "f1", "f2", "f4")]
    assert listed == [*fixed, ("USDT", "flex", "p1"), ("USDT", "flex", "p2")]
    short, open_plan, *_ = page["plans"]
    assert (short["rate"], short["percent"]) == (None, None)
    assert (open_plan["rate"], open_plan["percent"], open_plan["minutes"]) == ("0.243333", "2", 43_200)
    assert page["plans"][-1]["rate"] == "0.18"


def test_a_key_that_may_not_read_fixed_investments_is_not_refused_twice():
    client = answering(
        fixed_investments=error_from_answer("/p", 403, {"code": 0, "message": "You don't have permission"})
    )
    assert [problem["what"] for problem in shown(client)["problems"]] == ["Fixed investments"]
    assert "fixed_plans" not in client.calls


class TestLimits:
    USE = LimitUse("max_per_day", "USDT", Decimal(100), Decimal(25), Decimal(0), NOW)

    def test_without_limits_over_time_nothing_is_read(self):
        assert shown(answering())["limits_used"] == []

    def test_how_much_is_used(self):
        page = data.page_data(data.load_snapshot(answering(), 10, lambda: 0, lambda: [self.USE]))
        (use,) = page["limits_used"]
        assert (use["limit"], use["used"], use["most"], use["frees_at"]) == (
            "max_per_day",
            "25",
            "100",
            "2026-11-23T16:05:00Z",
        )

    def test_a_log_that_cannot_be_read_is_a_problem_of_its_own(self):
        def unreadable():
            raise e.WhiteBitJournalError("The spending log cannot be read.")

        page = data.page_data(data.load_snapshot(answering(), 10, lambda: 0, unreadable))
        assert page["limits_used"] is None
        assert page["problems"][0]["what"] == "Limits used"

    def test_the_log_of_tasks_in_the_database(self, monkeypatch):
        """Without a task, the hook would look into the memory of this process."""
        from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
        from airflow_provider_whitebit.moves import drivers

        monkeypatch.setenv(
            "AIRFLOW_CONN_DESK",
            '{"conn_type": "whitebit", "login": "k", "password": "s", "extra": {"max_moves_per_hour": 3}}',
        )
        monkeypatch.setattr(WhiteBitHook, "get_conn", lambda self, **options: answering())
        asked = []
        monkeypatch.setattr(drivers, "read_used_limits", lambda *given: asked.append(given) or [self.USE])
        assert data.load_account("desk").shown["limits_used"][0]["used"] == "25"
        ((limits, _, spending, margin_ms),) = asked
        assert (limits.max_moves_per_hour, margin_ms) == (3, 10_000)
        assert [type(log).__name__ for log in spending._logs] == ["SpendingInDatabase"]


def test_what_is_known_of_an_asset_that_is_not_listed():
    def elsewhere(**answers):
        return data._elsewhere(data.load_snapshot(answering(**answers), 10, lambda: 0))

    assert elsewhere() == {
        **dict.fromkeys(("idle", "flex", "fixed", "total"), "0"),
        "windows": {"30": {"earned": "0"}, "90": {"earned": "0"}},
    }
    refused = error_from_answer("/p", 403, {"code": 0, "message": "You don't have permission"})
    found = elsewhere(fixed_investments=refused, flex_payments=refused)
    assert (found["flex"], found["fixed"], found["total"], found["windows"]["30"]) == (
        "0",
        None,
        None,
        {"earned": None},
    )


def test_earnings_by_day_end_today():
    earned = shown(answering(flex_payments=[*daily("0.4", 2), *daily("0.001", 1, "i2", "BTC")]))["earnings"]
    assert (len(earned["days"]), earned["days"][0], earned["days"][-1]) == (90, "2026-08-26", "2026-11-23")
    assert earned["by_ticker"]["USDT"][-3:] == ["0", "0.4", "0.4"]
    assert earned["by_ticker"]["BTC"][-1] == "0.001"


def test_an_unknown_figure_is_not_zero():
    said = "You don't have permission to use this endpoint. Please contact support for more details"
    page = shown(answering(fixed_investments=error_from_answer("/p", 403, {"code": 0, "message": said})))
    assert page["fixed"] is None
    line = page["positions"][0]
    assert (line["idle"], line["fixed"], line["total"], line["at_work"]) == ("250.50", None, None, None)
    (problem,) = page["problems"]
    assert problem["what"] == "Fixed investments"
    assert "B2B partner permission" in problem["message"]
    assert problem["said"] == said
    assert "institutional services" in problem["next_steps"][0]
    # The other lists are loaded all the same.
    assert page["earnings"] is not None
    legal = error_from_answer("/p", 422, {"code": 0, "message": "Unavailable for legal reasons"})
    page = shown(answering(fixed_investments=legal))
    assert (page["fixed"], page["earnings"] is None) == (None, False)


def test_after_a_missing_answer_no_request_is_sent():
    client = answering(flex_plans=e.WhiteBitUnavailableError("The exchange did not answer in time."))
    page = shown(client)
    assert "fixed_investments" not in client.calls
    assert [problem["what"] for problem in page["problems"]] == [
        "Flex plans",
        "Fixed investments",
        "Fixed plans",
        "Flex earnings",
        "Flex history",
    ]
    assert page["problems"][0]["next_steps"] == ["Wait. This page tries again every minute."]
    assert page["problems"][1]["message"] == "Not requested, because the request before it failed."
    assert page["positions"][0]["windows"]["30"] == {"earned": None, "realised_rate": None}
    assert page["positions"][0]["best_rate"] is None
    assert page["flex"][0]["on_offer"] is None


@pytest.mark.parametrize("kind", [e.WhiteBitMaintenanceError, e.WhiteBitUnavailableError])
def test_a_maintenance_that_begins_meanwhile_is_marked(kind):
    problems = shown(answering(flex_plans=kind("No answer.")))["problems"]
    assert problems[0]["maintenance"] is (kind is e.WhiteBitMaintenanceError)


@pytest.mark.parametrize("name", ["server_time", "main_balance"])
def test_an_exchange_that_does_not_answer_at_all(name):
    with pytest.raises(e.WhiteBitUnavailableError):
        shown(answering(**{name: e.WhiteBitUnavailableError("No answer.")}))


def test_lists_that_take_too_long_are_left_out_whole():
    seconds = iter(range(1000))
    answers = data.load_snapshot(answering(), 5, lambda: next(seconds))
    assert answers.idle is not None
    assert answers.payments is None
    assert any("within 6 s" in problem["message"] for problem in answers.problems)


class TestLoadAccount:
    """From a connection to the data of the page."""

    @pytest.fixture
    def connection(self, monkeypatch):
        def make(text):
            monkeypatch.setenv("AIRFLOW_CONN_DESK", text)

        return make

    @pytest.fixture
    def client(self, monkeypatch):
        from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

        client = answering()
        monkeypatch.setattr(WhiteBitHook, "get_conn", lambda self, **options: client)
        return client

    GOOD = '{"conn_type": "whitebit", "login": "a-key", "password": "a-secret", "extra": {"region": "eu"}}'

    def test_a_good_connection(self, connection, client):
        connection(self.GOOD)
        account = data.load_account("desk")
        assert account.shown["host"] == "https://whitebit.eu"
        assert account.shown["site"] == "https://whitebit.eu/crypto-lending"
        assert len(account.fingerprint) == 16
        assert client.closed
        assert not any(secret in str(account.shown) for secret in ("a-key", "a-secret", account.fingerprint))

    def test_a_refused_key(self, connection, client):
        connection(self.GOOD)
        client.answers["main_balance"] = e.WhiteBitAuthenticationError("The exchange did not accept the key.")
        account = data.load_account("desk")
        assert "did not accept the key" in account.shown["error"]["message"]
        assert "Check the connection" in account.shown["error"]["next_steps"][0]
        assert "task" not in " ".join(account.shown["error"]["next_steps"])
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
        account = data.load_account("desk")
        assert why in account.shown["error"]["message"]
        assert "a-secret" not in str(account.shown)
        assert account.fingerprint is None
        assert client.calls == []

    def test_a_connection_of_a_team(self, client, monkeypatch):
        """Airflow shows it only to those who name the team."""
        from airflow.models.connection import Connection

        def find(conn_id, team_name=None):
            assert (conn_id, team_name) == ("desk", "lending")
            return Connection(conn_id, **{**json.loads(self.GOOD), "extra": '{"region": "eu"}'})

        monkeypatch.setattr(Connection, "get_connection_from_secrets", find)
        account = data.load_account("desk", team_name="lending")
        assert account.shown["host"] == "https://whitebit.eu"
        assert account.fingerprint is not None

    def test_no_connection(self, client):
        assert data.load_account("nowhere_to_be_found").shown["error"] == {
            "message": "There is no connection 'nowhere_to_be_found'."
        }
