"""Digests against the sandbox, and what notifiers get of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pendulum
import pytest
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG, BaseNotifier

from airflow_provider_whitebit.client.errors import WhiteBitJournalError, WhiteBitStoppedError, WhiteBitValidationError
from airflow_provider_whitebit.client.models import FixedInvestment, FlexInvestment, InterestPayment
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.hooks import announced, digests
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.hooks.doubts import Report
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation
from airflow_provider_whitebit.operators.digest import WhiteBitDigestOperator

USDT, BTC = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "7e1d8c2b-9a3b-4b1c-8d4e-5a6b7c8d9e0f"
REFUSED = (AirflowFailException, WhiteBitValidationError)


class Notifier(BaseNotifier):
    """Keeps what it is given, or fails."""

    template_fields = ("subject", "html", "text")

    def __init__(self, sent, *, fails=False):
        super().__init__()
        self.subject, self.html, self.text = "{{ digest.subject }}", "{{ digest.html }}", "{{ digest.text }}"
        self.sent, self.fails = sent, fails

    def notify(self, context):
        if self.fails:
            raise OSError("https://hooks.example.com/secret-token")
        self.sent.append((self.subject, self.html, self.text, context["digest"]["figures"]["move_count"]))


@pytest.fixture
def week(hook, sandbox):
    """Seven whole days of moves and earnings. Returns their beginning and end."""
    client = hook.get_conn()
    begin = client.server_time().start_of("day").add(days=1)
    sandbox.advance(int((begin - client.server_time()).total_seconds()) + 60)
    hook.flex_invest(plan_id=USDT, amount="1000", key="a")
    hook.flex_invest(plan_id=BTC, amount="0.5", with_reinvest=True, key="b")
    term = next(plan for plan in client.fixed_plans(ticker="USDT") if plan.active and plan.duration > 9 * 1440)
    hook.fixed_invest(plan_id=term.id, amount=term.min_investment, key="c")
    sandbox.advance(3 * 86_400)
    client.server_time()
    hook.flex_withdraw(plan_id=USDT, amount="100.25", key="d")
    sandbox.advance(4 * 86_400 + 3600)
    client.server_time()
    return begin, begin.add(days=7)


def operator(hook, **arguments):
    with DAG("digests", schedule=None):
        task = WhiteBitDigestOperator(task_id="t", **arguments)
    task.__dict__["hook"] = hook
    return task


def test_a_week_by_a_notifier(week, hook):
    sent, (begin, end) = [], week
    task = operator(hook, notifiers=Notifier(sent), period="week", value_in="USDT")
    # Airflow gives a task datetimes of Python.
    run = SimpleNamespace(run_after=datetime.fromtimestamp(end.add(hours=5).timestamp(), tz=UTC))
    result = json.loads(json.dumps(task.execute({"dag_run": run})))
    [(subject, html, text, count)] = sent
    assert (subject, html, text) == (result["subject"], result["html"], result["text"])
    assert (result["sent"], result["failed"], count) == (["Notifier"], [], 4)
    figures = result["figures"]
    assert [figures[name] for name in ("start", "end")] == [f"{one:YYYY-MM-DD}T00:00:00Z" for one in (begin, end)]
    assert sorted(one["operation"] for one in figures["moves"]) == [
        "fixed_invest",
        "flex_invest",
        "flex_invest",
        "flex_withdraw",
    ]
    assert figures["statement"]["adds_up"] is True
    earned = figures["statement"]["tickers"]["USDT"]["earned"]
    assert Decimal(earned) > 0
    assert f"{earned} USDT" in subject
    assert "Worth about" in text
    assert figures["due"][0]["ticker"] == "USDT"
    assert figures["doubts"] is None
    assert figures["limits"] == []
    # A second run renders the notifier again.
    task.execute({"dag_run": run})
    assert sent[1][:3] == sent[0][:3]


def test_terms_are_those_of_the_account(week, hook):
    begin, end = week
    digest = digests.read_digest(hook, start=begin, end=end, tickers=["BTC"])
    assert [one.ticker for one in digest.forecast.tickers] == ["BTC"]
    assert [one.ticker for one in digest.due] == ["USDT"]


def test_interest_counts_in_whatever_order_it_is_listed(week, hook):
    begin, end = week
    moments = [begin.subtract(days=1), begin.add(days=1), end.subtract(seconds=1), end]
    listed = [InterestPayment("p", "i", Decimal(number), "USDT", at) for number, at in enumerate(moments, 1)]
    hook.get_conn().fixed_payments = lambda **_: iter(listed)
    digest = digests.read_digest(hook, start=begin, end=end)
    assert [(one.ticker, one.amount) for one in digest.interest] == [("USDT", 5)]
    assert digests.read_digest(hook, start=begin, end=end, tickers=["BTC"]).interest == ()


def test_an_investment_that_cannot_be_read_is_missing_from_the_forecast_by_name(week, hook):
    client, (begin, end) = hook.get_conn(), week
    raw = {"id": "inv_x", "planId": USDT, "currency": "USDT", "status": 1}
    hidden, read = UnreadableRecord.of(FlexInvestment, "/p", raw, 0), client.flex_investments

    def investments(*, on_unreadable, **given):
        on_unreadable(hidden)
        return read(on_unreadable=on_unreadable, **given)

    client.flex_investments = investments
    found = digests.read_digest(hook, start=begin, end=end).forecast
    assert [one.complete for one in found.tickers if one.ticker == "USDT"] == [False]
    assert any("FlexInvestment inv_x" in text for text in found.unknown)


def test_a_term_that_cannot_be_read_is_named_although_nothing_is_invested_in_flex(hook):
    client = hook.get_conn()
    raw = {"id": "fixed_x", "plan": {"id": "p", "ticker": "USDT"}, "status": 1}
    hidden = UnreadableRecord.of(FixedInvestment, "/p", raw, 0)

    def investments(*, on_unreadable):
        on_unreadable(hidden)
        return iter(())

    client.fixed_investments = investments
    now = client.server_time()
    found = digests.read_digest(hook, start=now.subtract(hours=3), end=now)
    assert any("FixedInvestment fixed_x" in text for text in found.problems)


def test_a_real_mail(week, hook, mailbox, monkeypatch):
    mail, connection = mailbox
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", connection)
    notifier = SmtpNotifier(
        to="treasury@example.com",
        from_email="airflow@example.com",
        subject="{{ digest.subject }}",
        html_content="{{ digest.html }}",
    )
    begin, end = week
    result = operator(hook, notifiers=[notifier], start=begin.isoformat(), end=end.isoformat()).execute({})
    assert (result["sent"], result["failed"]) == (["SmtpNotifier"], [])
    [message] = mail
    assert message["Subject"] == result["subject"]
    [part] = [one for one in message.walk() if one.get_content_type() == "text/html"]
    assert part.get_content().replace("\r\n", "\n").strip() == result["html"].strip()
    mail.clear()


def test_a_notifier_that_fails_hides_nothing(week, hook, caplog):
    sent, pushed = [], {}
    task = operator(hook, notifiers=[Notifier([], fails=True), Notifier(sent)], fail_on_notifier_error="True")
    instance = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
    context = {"ti": instance, "data_interval_start": week[0], "data_interval_end": week[1]}
    with pytest.raises(AirflowFailException, match="Notifier failed"):
        task.execute(context)
    assert len(sent) == 1
    assert pushed["return_value"]["html"] == pushed["html"] == sent[0][1]
    assert "secret-token" not in json.dumps(pushed)
    task.fail_on_notifier_error = False
    assert task.execute(context)["failed"] == ["Notifier"]


def test_receipts_doubts_and_a_stop(week, hook, monkeypatch):
    begin, end = week
    move = Move(Operation.TRANSFER, "", "USDT", Decimal(7), source="main", target="spot")

    def report(name, account=hook.settings.account):
        intent = Intent(
            name, account, {}, "1", move, begin.int_timestamp, attempts=(Attempt(end.int_timestamp * 1000, 1),)
        )
        return Report(intent, frozenset(), ("dag", "run", "raise", -1), "whitebit_default")

    reports = {"int-1": report("int-1"), "int-2": report("int-2", "other"), "int-3": None}

    def read(name):
        if name not in reports:
            raise WhiteBitJournalError(f"The Variable whitebit_doubt__{name} cannot be read")
        return reports[name]

    receipt = {
        "operation": "transfer", "transaction_id": None, "plan_id": None, "ticker": "USDT", "amount": "9",
        "status": "executed", "executed_at": begin.add(hours=3).to_iso8601_string(), "attempts": 1,
        "reconciled": False, "intent_id": "int-9", "source": "main", "target": "spot",
    }  # fmt: skip
    source = {
        "source_dag_id": "d",
        "source_run_id": "r",
        "source_task_id": "to_spot",
        "source_map_index": -1,
        "timestamp": end,
    }
    events = [
        SimpleNamespace(extra=receipt, **source),
        SimpleNamespace(extra=receipt, **source),
        SimpleNamespace(extra={"x": 1}, **source),
        SimpleNamespace(extra=receipt | {"intent_id": "int-8"}, **{**source, "source_task_id": None}),
    ]

    def stop():
        raise WhiteBitStoppedError("alice has stopped all moves.")

    monkeypatch.setattr(digests, "can_list_variables", lambda: True)
    names = [f"whitebit_doubt__int-{number}" for number in (1, 2, 3, 4)]
    monkeypatch.setattr(digests, "variable_names", lambda prefix: names)
    monkeypatch.setattr(digests, "read_report", read)
    monkeypatch.setattr(announced, "asset_events", lambda uri, since: events)
    monkeypatch.setattr(digests, "check_stop", stop)
    digest = digests.read_digest(hook, start=begin, end=end)
    assert [one.intent_id for one in digest.doubts] == ["int-1"]
    assert digest.problems == (
        "alice has stopped all moves.",
        "The Variable whitebit_doubt__int-4 cannot be read",
    )
    assert [one.task for one in digest.moves if one.operation == "transfer"] == ["task to_spot of d, run r"]
    assert len(digest.moves) == 5
    # A move that was sent with the account's old key is in doubt all the same.
    hook.__dict__["previous"] = SimpleNamespace(
        settings=SimpleNamespace(account="other"), whitebit_conn_id="old", previous=None
    )
    digest = digests.read_digest(hook, start=begin, end=end)
    assert sorted(one.intent_id for one in digest.doubts) == ["int-1", "int-2"]


def test_what_the_key_may_not_read_is_named(make_hook, sandbox):
    hook = make_hook(max_per_day='{"USDT": "5000"}', max_moves_per_hour=20)
    hook.flex_invest(plan_id=USDT, amount="1000", key="a")
    now = hook.get_conn().server_time()
    digest = digests.read_digest(hook, start=now.subtract(hours=3), end=now)
    assert [(one["limit"], one["used"]) for one in digest.limits] == [
        ("max_per_day", "1000"),
        ("max_moves_per_hour", "1"),
    ]
    client = hook.get_conn()

    def refuse(**_):
        raise digests.WhiteBitPermissionError("This key may not.")

    client.fixed_investments = client.main_balance = refuse
    found = digests.read_digest(SimpleNamespace(**{
        "get_conn": lambda: client, "limits_used": hook.limits_used, "settings": hook.settings,
        "whitebit_conn_id": "desk", "previous": None,
    }), start=now.subtract(hours=3), end=now)  # fmt: skip
    assert found.due is None
    assert found.problems[0] == "Fixed investments could not be read: This key may not."
    assert {ticker.main for ticker in found.forecast.tickers} == {None}


@pytest.mark.parametrize(
    "wrong",
    [
        {"period": "month"},
        {"start": "2026-01-01"},
        {"start": "2026-01-01", "end": "2026-01-02", "period": "day"},
        {"start": "2026-01-01", "end": "2999-01-01"},
        {"ahead_days": "0"},
        {"value_in": "NOPE"},
        {"policy": {"USDT": {"reserv": "1"}}},
    ],
)
def test_what_is_refused(hook, wrong):
    with pytest.raises(REFUSED):
        operator(hook, **wrong).execute({})


def test_the_period_of_a_run_without_an_interval(hook):
    now = hook.get_conn().server_time().in_timezone("UTC")
    figures = operator(hook).execute({})["figures"]
    assert figures["end"] == f"{now:YYYY-MM-DD}T00:00:00Z"
    assert pendulum.parse(figures["end"]) - pendulum.parse(figures["start"]) == pendulum.duration(days=1)
