"""Statements against the sandbox's ledger: months of interest, every figure as double-entry bookkeeping gives it."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from types import SimpleNamespace

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks import statements
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.hooks.statements import read_statement
from airflow_provider_whitebit.operators.treasury import WhiteBitFlexStatementOperator
from airflow_provider_whitebit.treasury.statement_page import render_page
from tests.sandbox_plans import SubAccounts

USDT, USDT_18, BTC = (
    "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f",
    "1c9a4f60-2b3d-4e5f-8a7b-9c0d1e2f3a4b",
    "7e1d8c2b-9a3b-4b1c-8d4e-5a6b7c8d9e0f",
)
DAY = 86_400


class Story:
    """Moves on the sandbox, days apart, from a midnight on."""

    def __init__(self, hook, sandbox):
        self.hook, self.sandbox, self.moves = hook, sandbox, 0
        self.begin = self.now.start_of("day").add(days=1)
        self.until(self.begin)

    @property
    def now(self):
        return self.hook.get_conn().server_time()

    def until(self, moment):
        self.sandbox.advance(int((moment - self.now).total_seconds()))
        self.hook.get_conn().server_time()

    def on_day(self, day, call, **arguments):
        """One move at noon of a day."""
        self.until(self.begin.add(days=day, hours=12))
        self.moves += 1
        getattr(self.hook, call)(**arguments, key=f"{call}{self.moves}")


@pytest.fixture
def lending(hook, sandbox):
    """Four months: adding, taking out, closing and opening again, auto-reinvest on, off and on."""
    story = Story(hook, sandbox)
    story.on_day(1, "flex_invest", plan_id=USDT, amount="1000.5")
    story.on_day(2, "flex_invest", plan_id=BTC, amount="0.5", with_reinvest=True)
    story.on_day(10, "flex_invest", plan_id=USDT_18, amount="2000", with_reinvest=True)
    story.on_day(33, "flex_withdraw", plan_id=USDT, amount="123.456789")
    story.on_day(40, "flex_invest", plan_id=USDT, amount="50")
    story.until(story.begin.add(days=45))
    hook.flex_auto_reinvest(plan_id=USDT, enabled=True)
    story.on_day(62, "flex_close", plan_id=BTC)
    story.on_day(70, "flex_withdraw", plan_id=USDT_18, amount="500")
    story.until(story.begin.add(days=75))
    hook.flex_auto_reinvest(plan_id=USDT, enabled=False)
    story.on_day(80, "flex_invest", plan_id=BTC, amount="0.25")
    story.on_day(95, "flex_close", plan_id=USDT)
    story.on_day(100, "flex_invest", plan_id=USDT, amount="10")
    story.until(story.begin.add(days=120, hours=3))
    return story


class Ledger:
    """The sandbox's double-entry ledger, read without this package."""

    def __init__(self, sandbox):
        self.view = sandbox.ledger()
        assert self.view["balanced"]
        assert len(self.view["entries"]) < 1000
        self.plans = {entry["id"]: entry["planId"] for entry in self.view["investments"]}

    def pots(self, entry):
        """Which plan's pot an entry fills (+1) or empties (-1)."""
        for side, sign in (("target", 1), ("source", -1)):
            kind, _, name = entry[side].partition(":")
            if kind == "invested":
                return self.plans[name], sign
        return None, 0

    def held(self, plan, moment):
        total = Decimal(0)
        for entry in self.view["entries"]:
            where, sign = self.pots(entry)
            if where == plan and entry["at_ms"] < moment.timestamp() * 1000:
                total += sign * Decimal(entry["amount"])
        return total

    def moved(self, plan, start, end):
        """Sums by reason within a period."""
        sums = defaultdict(Decimal)
        for entry in self.view["entries"]:
            where, _ = self.pots(entry)
            if where == plan and start.timestamp() * 1000 <= entry["at_ms"] < end.timestamp() * 1000:
                sums[entry["reason"]] += Decimal(entry["amount"])
        return sums

    def interest(self, ticker, start, end):
        """Interest by where it went: to Main, into a pot."""
        sums = defaultdict(Decimal)
        for entry in self.view["entries"]:
            if (
                entry["source"] == "interest"
                and entry["ticker"] == ticker
                and start.timestamp() * 1000 <= entry["at_ms"] < end.timestamp() * 1000
            ):
                sums[entry["target"].partition(":")[0]] += Decimal(entry["amount"])
        return sums


def test_every_figure_matches_the_ledger(lending, sandbox):
    ledger = Ledger(sandbox)
    bounds = [lending.begin.add(days=day) for day in (0, 31, 59, 90, 120)]
    for start, end in [*pairwise(bounds), (bounds[0], lending.now)]:
        statement = read_statement(lending.hook.get_conn(), start=start, end=end)
        assert statement.adds_up, statement.discrepancies
        assert statement.payments_compared
        for plan in statement.plans:
            figures, moved = plan.figures, ledger.moved(plan.plan_id, start, end)
            assert figures.opening == ledger.held(plan.plan_id, start)
            assert figures.closing == ledger.held(plan.plan_id, end)
            assert figures.invested == moved["invest"]
            assert figures.withdrawn == moved["withdraw"]
            assert figures.closed == moved["close"]
            assert figures.reinvested == figures.earned_reinvested == moved["interest"]
            for day in plan.days:
                midnight = min(pendulum.parse(day.date).add(days=1), end)
                assert day.invested == ledger.held(plan.plan_id, midnight)
        for ticker in statement.tickers:
            interest = ledger.interest(ticker.ticker, start, end)
            assert ticker.figures.earned_to_main == interest["main"]
            assert ticker.figures.earned_reinvested == interest["invested"]
        transactions = [
            entry["transaction_id"]
            for entry in ledger.view["transactions"]
            if start.timestamp() * 1000 <= entry["at_ms"] < end.timestamp() * 1000
        ]
        assert [record.transaction_id for record in statement.movements] == transactions


def test_in_steady_state_the_realised_rate_is_the_advertised_one(lending, hook):
    start = lending.begin.add(days=103)
    statement = read_statement(hook.get_conn(), start=start, end=start.add(days=14), plan_id=BTC)
    [plan] = statement.plans
    assert plan.figures.advertised_rate == Decimal("0.12")
    assert abs(plan.figures.realised_rate - Decimal("0.12")) < Decimal("0.00005")


def test_without_the_records_from_before(lending, hook):
    start, end = lending.begin.add(days=31), lending.begin.add(days=59)
    whole = read_statement(hook.get_conn(), start=start, end=end)
    part = read_statement(hook.get_conn(), start=start, end=end, full_history=False)
    assert part.adds_up, part.discrepancies
    assert part.tickers == whole.tickers
    assert part.records_from == start.subtract(days=1)


def test_a_period_that_is_not_over_is_refused(hook):
    now = hook.get_conn().server_time()
    with pytest.raises(e.WhiteBitValidationError, match="not over yet"):
        read_statement(hook.get_conn(), start=now.subtract(days=1), end=now.add(hours=1))


def test_moves_while_the_records_are_read_are_not_discrepancies(hook, sandbox, monkeypatch):
    hook.flex_invest(plan_id=USDT, amount="100", key="first")
    sandbox.advance(10)
    client = hook.get_conn()
    ask, moves = client.flex_history, iter(["50", "20"])

    def history(**filters):
        yield from ask(**filters)
        if amount := next(moves, None):
            hook.flex_invest(plan_id=USDT, amount=amount, key=amount)

    monkeypatch.setattr(client, "flex_history", history)
    now = client.server_time()
    statement = read_statement(client, start=now.subtract(days=1), end=now)
    assert statement.adds_up, statement.discrepancies
    assert statement.plans[0].figures.closing == 100
    moves = iter(str(number) for number in range(10, 20))
    monkeypatch.setattr(statements, "_READINGS", 1)
    with pytest.raises(e.WhiteBitUnavailableError, match="changed each of the"):
        read_statement(client, start=now.subtract(days=1), end=now)


def operator(hook, **arguments):
    task = WhiteBitFlexStatementOperator(task_id="t", **arguments)
    task.__dict__["hook"] = hook
    return task


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_operator_writes_page_movements_and_summary(lending, hook, tmp_path, form):
    start, end = lending.begin, lending.begin.add(days=31)
    task = operator(
        hook,
        start=start.isoformat(),
        end=end.isoformat(),
        output_path=f"file://{tmp_path}/a/",
        output_format=form,
        value_in="EUR",
    )
    summary = json.loads(json.dumps(task.execute({})))
    assert summary["adds_up"] is True
    name = f"flex-statement-{start:YYYYMMDD}-{end:YYYYMMDD}"
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        f"{name}.html",
        f"{name}.movements.{form}",
        f"{name}.summary.{form}",
        f"{name}.values.{form}",
    }
    page = (tmp_path / "a" / f"{name}.html").read_text()
    assert "Everything adds up" in page
    assert "Value in EUR" in page
    # One BTC is 100,000 USDT, one USDT is 0.9 EUR.
    exact = {ticker: Decimal(figures["closing"]) for ticker, figures in summary["tickers"].items()}
    expected = exact["USDT"] * Decimal("0.9") + exact["BTC"] * 90_000
    assert abs(Decimal(summary["valuation"]["totals"]["closing"]) - expected) < Decimal("2e-8")
    plan = summary["tickers"]["USDT"]["plans"][USDT]
    if form == "csv":
        with open(tmp_path / "a" / f"{name}.summary.csv", newline="") as file:
            rows = {row["plan_id"]: row for row in csv.DictReader(file)}
        assert {name: rows[USDT][name] for name in plan} == plan
        movements = (tmp_path / "a" / f"{name}.movements.csv").read_text().splitlines()
        assert len(movements) - 1 == summary["movement_count"]
    else:
        import pyarrow.parquet

        rows = {
            row["plan_id"]: row
            for row in pyarrow.parquet.read_table(f"{tmp_path}/a/{name}.summary.parquet").to_pylist()
        }
        assert rows[USDT]["earned"] == Decimal(plan["earned"])
        assert (
            pyarrow.parquet.read_table(f"{tmp_path}/a/{name}.movements.parquet").num_rows == summary["movement_count"]
        )


def test_the_operator_takes_the_data_interval_or_the_month_before_the_run(lending, hook):
    start, end = lending.begin.add(days=31), lending.begin.add(days=59)
    summary = operator(hook).execute({"data_interval_start": start, "data_interval_end": end})
    assert (summary["start"], summary["end"]) == (
        start.isoformat().replace("+00:00", "Z"),
        end.isoformat().replace("+00:00", "Z"),
    )
    now = lending.now
    for context in (
        {},
        {"data_interval_start": now, "data_interval_end": now, "dag_run": SimpleNamespace(run_after=now)},
    ):
        summary = operator(hook, tickers="btc, usdt").execute(context)
        assert pendulum.parse(summary["end"]) == now.start_of("month")
        assert pendulum.parse(summary["start"]) == now.start_of("month").subtract(months=1)
        assert list(summary["tickers"]) == ["BTC", "USDT"]


def test_the_operator_fails_on_what_does_not_add_up_with_fail_on_discrepancy(lending, hook, tmp_path, monkeypatch):
    client = hook.get_conn()
    ask = client.flex_history
    monkeypatch.setattr(
        client, "flex_history", lambda **filters: (r for r in ask(**filters) if r.amount != Decimal("123.456789"))
    )
    period = {"start": str(lending.begin.int_timestamp), "end": lending.begin.add(days=59).isoformat()}
    summary = operator(hook, **period).execute({})
    assert summary["adds_up"] is False
    assert summary["paths"] == {}
    assert [found["kind"] for found in summary["discrepancies"]] == ["negative_balance", "unexplained_balance"]
    assert "123.456789" in summary["discrepancies"][0]["message"]
    page = tmp_path / "x.html"
    with pytest.raises((AirflowFailException, e.WhiteBitDiscrepancyError), match=r"not add up.*x\.html"):
        operator(hook, **period, output_path=str(page), fail_on_discrepancy="true").execute({})
    assert "2 things do not add up" in page.read_text()


@pytest.mark.parametrize("late", [0, 3])
def test_a_run_that_starts_with_the_end_of_its_period_waits_for_the_exchange(hook, sandbox, monkeypatch, late):
    """Airflow's clock may be ahead of the exchange's. An error that no retry changes would end a month's report."""
    waits = []

    def wait(seconds):
        waits.append(seconds)
        sandbox.advance(1)

    monkeypatch.setattr(statements, "sleep", wait)
    client = hook.get_conn()
    end = client.server_time().add(seconds=late + 1)
    start = end.subtract(hours=1)
    assert read_statement(client, start=start, end=end).made_at >= end
    assert len(waits) >= late
    with pytest.raises(e.WhiteBitValidationError, match="not over yet"):
        read_statement(client, start=start, end=end.add(minutes=5))


class TestMain:
    def test_what_changed_main_is_what_the_ledger_says(self, hook, sandbox):
        story = Story(hook, sandbox)
        story.on_day(1, "flex_invest", plan_id=USDT, amount="1000")
        sandbox.fund("USDT", "250.5")
        sandbox.control("POST", "withdraw", {"ticker": "USDT", "amount": "30"})
        sub_account = {"sub_account_id": SubAccounts.TRADING, "ticker": "USDT"}
        story.on_day(2, "sub_account_transfer", **sub_account, direction="main_to_sub", amount="100")
        story.on_day(3, "sub_account_transfer", **sub_account, direction="sub_to_main", amount="40")
        story.on_day(4, "flex_withdraw", plan_id=USDT, amount="200")
        story.until(story.begin.add(days=10))
        statement = read_statement(hook.get_conn(), start=story.begin, end=story.begin.add(days=10), main=True)
        [usdt] = statement.main
        assert (usdt.deposited, usdt.withdrawn, usdt.unsettled) == (Decimal("250.5"), 30, 0)
        assert (usdt.from_sub_accounts, usdt.to_sub_accounts, usdt.to_flex) == (40, 100, 1000)
        change = hook.balances("main", "USDT")["USDT"] - 10000
        # Interest of the day that ends now belongs to the day that begins.
        assert usdt.known_change + statement_of_now(hook, story) == change
        [note] = statement.warnings
        assert SubAccounts.UNCONFIRMED in note
        page = render_page(statement)
        assert "Main balance" in page
        assert "250.5" in page
        assert read_statement(hook.get_conn(), start=story.begin, end=story.begin.add(days=10)).main is None

    def test_one_plan_does_not_show_what_changed_main(self, hook, sandbox):
        """The money of the other plans would be missing from its known change."""
        story = Story(hook, sandbox)
        story.on_day(1, "flex_invest", plan_id=USDT, amount="1000")
        story.on_day(2, "flex_invest", plan_id=USDT_18, amount="2000")
        period = {"start": story.begin, "end": story.begin.add(days=2)}
        with pytest.raises(e.WhiteBitValidationError, match="plan_id"):
            read_statement(hook.get_conn(), **period, plan_id=USDT, main=True)


def statement_of_now(hook, story):
    """What Flex has paid to Main since the end of the ten days."""
    payments = hook.get_conn().flex_payments(date_from=story.begin.add(days=10))
    return sum((one.amount for one in payments), Decimal(0))
