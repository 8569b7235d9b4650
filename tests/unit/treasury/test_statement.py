"""Statements: examples as specification, and any history against a ledger that made it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count

import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import FlexInvestment, FlexPlan, FlexTransaction
from airflow_provider_whitebit.treasury.flex_ledger import micros
from airflow_provider_whitebit.treasury.journal_entries import Origins, Role, flex_entries
from airflow_provider_whitebit.treasury.statement import DiscrepancyKind as Kind
from airflow_provider_whitebit.treasury.statement import (
    Figures,
    ReinvestedAs,
    make_statement,
    previous_month,
    read_ledgers,
)

PLAN, OTHER = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "1c9a4f60-2b3d-4e5f-8a7b-9c0d1e2f3a4b"
START, END = pendulum.datetime(2026, 1, 1), pendulum.datetime(2026, 2, 1)
NOW = pendulum.datetime(2026, 2, 10, 12)
RATE = Decimal("0.365")  # a thousandth a day
OFFERED = [FlexPlan(PLAN, "USDT", Decimal(10), None, RATE), FlexPlan(OTHER, "BTC", Decimal("0.001"), None, RATE)]
INVEST, REINVEST, WITHDRAW, EARNING, CLOSE, OPEN = 1, 2, 3, 4, 5, 6


@dataclass
class Model:
    """A plain ledger of one plan: what it records is what happened."""

    plan: str = PLAN
    ticker: str = "USDT"
    reinvested_as: ReinvestedAs = ReinvestedAs.BOTH
    numbers: count = field(default_factory=count)
    history: list[FlexTransaction] = field(default_factory=list)
    investments: list[FlexInvestment] = field(default_factory=list)
    invested: Decimal = Decimal(0)
    auto: bool = False
    #: Balance after each change, in order: (time, balance).
    balances: list[tuple[pendulum.DateTime, Decimal]] = field(default_factory=list)
    #: What was credited: (time, amount, whether it was kept).
    earnings: list[tuple[pendulum.DateTime, Decimal, bool]] = field(default_factory=list)

    @property
    def current(self) -> str:
        return f"inv_{self.ticker}_{len(self.investments)}"

    def record(self, at, action, amount):
        number = f"tx_{self.ticker}_{next(self.numbers)}"
        self.history.append(FlexTransaction(at, self.plan, self.current, self.ticker, Decimal(amount), number, action))

    def change(self, at, action, amount):
        sign = -1 if action in (WITHDRAW, CLOSE) else 1
        self.record(at, action, amount)
        self.invested += sign * Decimal(amount)
        self.balances.append((at, self.invested))

    def invest(self, at, amount, auto=None):
        opens = self.invested == 0
        if opens:
            self.investments.append(
                FlexInvestment("", self.plan, self.ticker, Decimal(0), False, 1, at, at),
            )
            self.auto = False
        self.auto = self.auto if auto is None else auto
        self.change(at, OPEN if opens else INVEST, amount)

    def withdraw(self, at, amount):
        self.change(at, WITHDRAW, amount)

    def close(self, at):
        self.change(at, CLOSE, self.invested)
        self.investments[-1] = replace(self.investments[-1], status=0)

    def earn(self, at, amount=None):
        amount = (self.invested / 1000).quantize(Decimal("1e-6")) if amount is None else Decimal(amount)
        self.earnings.append((at, amount, self.auto))
        if not self.auto or self.reinvested_as is not ReinvestedAs.REINVEST:
            self.record(at, EARNING, amount)
        if not self.auto:
            return
        if self.reinvested_as is ReinvestedAs.EARNING:
            self.invested += amount
            self.balances.append((at, self.invested))
        else:
            self.change(at, REINVEST, amount)

    def shown(self):
        return [
            replace(
                entry,
                id=f"inv_{self.ticker}_{number}",
                invested=self.invested if entry.active else Decimal(0),
                with_auto_reinvest=self.auto and entry.active,
            )
            for number, entry in enumerate(self.investments, 1)
        ]

    @property
    def payments(self):
        return [record for record in self.history if record.action_type == EARNING]

    def at(self, moment):
        """What was invested just before a moment."""
        return next((balance for at, balance in reversed(self.balances) if at < moment), Decimal(0))

    def statement(self, **changes):
        given = {
            "history": self.history[::-1],
            "investments": self.shown(),
            "plans": OFFERED,
            "start": START,
            "end": END,
            "made_at": NOW,
            "payments": self.payments,
            "reinvested_as": self.reinvested_as,
        }
        return make_statement(**{**given, **changes})


def midnights(start, end):
    day = start.start_of("day").add(days=1)
    while day <= end:
        yield day
        day = day.add(days=1)


def january(auto=False, reinvested_as=ReinvestedAs.BOTH):
    """1000 invested on 21 December, earning a thousandth a day; 500 more on 11 January, 300 less on the 21st."""
    model = Model(reinvested_as=reinvested_as)
    model.invest(START.subtract(days=11), "1000", auto=auto)
    for midnight in midnights(START.subtract(days=11), NOW):
        if midnight == pendulum.datetime(2026, 1, 12):
            model.invest(midnight.subtract(hours=12), "500")
        if midnight == pendulum.datetime(2026, 1, 22):
            model.withdraw(midnight.subtract(hours=12), "300")
        model.earn(midnight)
    return model


def figures(statement, plan=PLAN):
    return next(entry.figures for entry in statement.plans if entry.plan_id == plan)


def kinds(statement):
    return [found.kind for found in statement.discrepancies]


class TestAMonth:
    def test_without_auto_reinvest(self):
        statement = january().statement()
        assert statement.adds_up, statement.discrepancies
        # 11 credits of 1, 10 of 1.5, 10 of 1.2: of 31 December to 30 January.
        earned = Decimal("11") + Decimal("15") + Decimal("12")
        assert figures(statement) == Figures(
            opening=Decimal(1000),
            invested=Decimal(500),
            withdrawn=Decimal(300),
            closing=Decimal(1200),
            earned=earned,
            earned_to_main=earned,
            # 10.5 days of 1000, 10 of 1500, 10.5 of 1200, over 31
            average_invested=Decimal("1229.03225806"),
            # 38 / 38100 * 365
            realised_rate=Decimal("0.364042"),
            advertised_rate=RATE,
        )

    def test_with_auto_reinvest(self):
        model = january(auto=True)
        found = figures(model.statement())
        kept = sum(amount for at, amount, _ in model.earnings if START <= at < END)
        assert (found.earned, found.earned_reinvested, found.earned_to_main) == (kept, kept, 0)
        assert (found.opening, found.closing) == (model.at(START), model.at(END))
        assert found.closing == found.opening + 500 + kept - 300
        assert model.statement().adds_up

    def test_what_comes_at_the_end_belongs_to_the_next_period(self):
        model = january()
        found = figures(model.statement(start=END.subtract(days=1), end=END))
        assert found.earned == Decimal("1.2")
        assert model.statement().movements[-1].created_at == END.subtract(days=1)
        assert model.statement().movements[0].created_at == START

    def test_each_day(self):
        [plan] = january().statement().plans
        assert len(plan.days) == 31
        assert [day.date for day in plan.days][::30] == ["2026-01-01", "2026-01-31"]
        assert [plan.days[n].invested for n in (9, 10, 19, 20)] == [1000, 1500, 1500, 1200]
        assert [plan.days[n].earned for n in (10, 11)] == [Decimal(1), Decimal("1.5")]
        assert plan.days[-1].earned_to_date == plan.figures.earned
        assert plan.days[-1].rate_to_date == plan.figures.realised_rate
        # In steady state the rate is the advertised one.
        assert {day.rate_to_date for day in plan.days[:10]} == {RATE}

    def test_a_period_that_does_not_begin_at_midnight(self):
        statement = january().statement(start=START.add(hours=6), end=START.add(days=2, hours=6))
        [plan] = statement.plans
        assert [(day.date, day.earned) for day in plan.days] == [
            ("2026-01-01", 0),
            ("2026-01-02", 1),
            ("2026-01-03", 1),
        ]
        assert plan.figures.realised_rate == RATE

    def test_several_plans_and_assets(self):
        usdt, btc = january(), Model(OTHER, "BTC")
        btc.invest(START.add(days=3), "2")
        btc.earn(START.add(days=4))
        btc.close(START.add(days=4))
        whole = make_statement(
            usdt.history + btc.history, usdt.shown() + btc.shown(), OFFERED, start=START, end=END, made_at=NOW
        )
        assert [entry.ticker for entry in whole.tickers] == ["BTC", "USDT"]
        assert figures(whole, OTHER).closed == 2
        assert figures(whole, OTHER).closing == 0
        only = make_statement(
            usdt.history + btc.history,
            usdt.shown() + btc.shown(),
            OFFERED,
            start=START,
            end=END,
            made_at=NOW,
            tickers=["BTC", "SOL"],
        )
        assert [entry.ticker for entry in only.tickers] == ["BTC", "SOL"]
        assert only.tickers[0] == whole.tickers[0]
        assert only.tickers[1].figures == Figures()

    def test_two_plans_of_an_asset_are_summed_and_their_rates_weighted(self):
        first, second = Model(), Model(OTHER)
        first.invest(START, "100")
        second.invest(START, "300")
        plans = [OFFERED[0], replace(OFFERED[1], ticker="USDT", max_rate=Decimal("0.1"))]
        statement = make_statement(
            first.history + [replace(record, transaction_id="x") for record in second.history],
            first.shown() + [replace(entry, id="inv_USDT_1b") for entry in second.shown()],
            plans,
            start=START,
            end=END,
            made_at=NOW,
        )
        # The second plan's record names the first one's investment: an investment that its plan does not have.
        assert Kind.UNKNOWN_INVESTMENT in kinds(statement)
        second.history = [replace(r, transaction_id="x", investment_id="inv_b") for r in second.history]
        statement = make_statement(
            first.history + second.history,
            first.shown() + [replace(entry, id="inv_b") for entry in second.shown()],
            plans,
            start=START,
            end=END,
            made_at=NOW,
        )
        [ticker] = statement.tickers
        assert (ticker.figures.invested, ticker.figures.closing) == (400, 400)
        assert ticker.figures.advertised_rate == Decimal("0.16625")
        statement = make_statement(
            first.history, first.shown(), [], start=START, end=END, made_at=NOW
        )  # no longer offered
        assert statement.tickers[0].figures.advertised_rate is None

    def test_nothing_at_all(self):
        statement = make_statement([], [], OFFERED, start=START, end=END, made_at=NOW)
        assert (statement.tickers, statement.movements, statement.adds_up) == ((), (), True)

    def test_invested_throughout_without_any_record(self):
        model = january()
        statement = model.statement(history=[], payments=None, records_from=START)
        assert figures(statement).opening == figures(statement).closing == 1200
        assert figures(statement).realised_rate == 0
        assert kinds(statement) == [Kind.NO_EARNING]

    def test_as_json(self):
        statement = january().statement()
        document = json.loads(json.dumps(statement.to_json()))
        assert document["start"] == "2026-01-01T00:00:00Z"
        assert document["adds_up"] is True
        plan = document["tickers"]["USDT"]["plans"][PLAN]
        assert (plan["opening"], plan["realised_rate"]) == ("1000", "0.364042")
        assert len(plan["days"]) == 31
        assert "days" not in json.dumps(statement.to_json(days=False))

    def test_without_identifiers_that_can_be_missing(self):
        model = january(auto=True)
        for name in ("investment_id", "currency", "plan_id"):
            history = [replace(record, **{name: ""}) for record in model.history]
            statement = model.statement(history=history, payments=None)
            assert statement.adds_up, statement.discrepancies
            assert figures(statement) == figures(model.statement())


def closed_early(**odd):
    """1000 invested for eight and a half days, 0.27 a day; the last of it is paid at the close."""
    model = Model()
    model.invest(START.add(hours=12), "1000")
    for midnight in midnights(START, START.add(days=7)):
        model.earn(midnight, "0.27")
    model.close(START.add(days=7, hours=12))
    model.earn(START.add(days=7, hours=12), "0.27")
    history = [odd.get("each", lambda record: record)(record) for record in model.history]
    return model, [other for record in history for other in odd.get("instead", lambda record: [record])(record)]


def with_partner(*, shared=False, seconds=0, whole=None):
    """A second record of each opening and of each closing."""

    def records(record):
        partner = {OPEN: INVEST, CLOSE: WITHDRAW}.get(record.action_type)
        if partner is None:
            return [record]
        name = record.transaction_id if shared else f"{record.transaction_id}b"
        other = replace(record, action_type=partner, transaction_id=name)
        first = record if whole is None else replace(record, amount=Decimal(whole))
        return [replace(first, created_at=record.created_at.add(seconds=seconds)), other]

    return records


def altered(action, change):
    """Change the amounts of the records of one action."""
    return lambda record: replace(record, amount=change(record.amount)) if record.action_type == action else record


with_interest = altered(CLOSE, lambda amount: amount + Decimal("0.27"))


def no_earning_at_the_close(record):
    noon = record.created_at.hour == 12
    return [] if noon and record.action_type == EARNING else [record]


class TestHowMovementsAreRecorded:
    EARNED = Decimal("2.16")

    @pytest.mark.parametrize(
        "odd",
        [
            {},
            {"each": lambda record: replace(record, transaction_id="tx")},
            {"each": lambda record: replace(record, transaction_id=None)},
            {"each": lambda record: replace(record, transaction_id=None, investment_id=None)},
            {"instead": with_partner()},
            {"instead": with_partner(shared=True)},
            {"instead": with_partner(seconds=1)},
            {"instead": with_partner(seconds=-2)},
            {"instead": with_partner(whole="0")},
            {"each": altered(CLOSE, lambda amount: -amount)},
            {"each": altered(OPEN, lambda amount: -amount), "instead": with_partner()},
            {"each": with_interest},
            {"each": with_interest, "instead": with_partner()},
        ],
    )
    def test_figures_are_the_same(self, odd):
        model, history = closed_early(**odd)
        statement = model.statement(history=history[::-1], payments=None)
        assert statement.adds_up, statement.discrepancies
        plain = figures(model.statement())
        assert (plain.opening, plain.invested, plain.closed, plain.earned) == (0, 1000, 1000, self.EARNED)
        assert figures(statement) == plain

    @pytest.mark.parametrize("partner", [with_partner(), with_partner(shared=True), lambda record: [record]])
    def test_interest_that_only_the_closing_shows_is_counted_and_reported(self, partner):
        model, history = closed_early(each=with_interest, instead=partner)
        history = [other for record in history for other in no_earning_at_the_close(record)]
        statement = model.statement(history=history[::-1], payments=None)
        assert kinds(statement) == [Kind.INTEREST_IN_CLOSE]
        assert figures(statement) == figures(model.statement())
        assert "0.27 USDT" in statement.discrepancies[0].message

    def test_an_equal_addition_a_second_after_the_opening_is_a_movement_of_its_own(self):
        model = Model()
        model.invest(START, "500")
        model.invest(START.add(seconds=1), "500")
        for midnight in midnights(START, NOW):
            model.earn(midnight, "1")
        statement = model.statement()
        assert statement.adds_up, statement.discrepancies
        assert figures(statement).invested == 1000

    def test_without_the_earlier_records(self):
        model, history = closed_early(instead=with_partner())
        statement = model.statement(
            history=history[::-1], payments=None, start=START.add(days=5), records_from=START.add(days=5)
        )
        assert statement.adds_up
        assert (figures(statement).opening, figures(statement).closing) == (1000, 0)

    def test_amounts_that_are_rounded_in_the_history(self):
        model = Model(OTHER, "BTC")
        model.invest(START, "0.123456789012345678", auto=True)
        for midnight in midnights(START, NOW):
            model.earn(midnight, "0.000001234567890123")
        history = [replace(record, amount=round(record.amount, 8)) for record in model.history]
        statement = model.statement(history=history[::-1], payments=None)
        assert statement.adds_up, statement.discrepancies
        assert figures(statement, OTHER).opening == 0
        # A record that is missing is more than rounding.
        assert not model.statement(history=history[:0:-1], payments=None).adds_up

    def test_rounded_amounts_of_investments_that_are_not_named(self):
        model = Model(OTHER, "BTC")
        model.invest(START, "0.50000000")
        model.withdraw(START.add(days=1), "0.2")
        model.close(START.add(days=2))
        model.invest(START.add(days=3), "0.7")
        history = [replace(one, investment_id=None) for one in model.history]
        for more, adds_up in (("1e-8", True), ("1e-7", False)):
            # Rounded, what went out can be more than what came in. The next investment makes up for it.
            changed = [replace(one, amount=one.amount + Decimal(more)) for one in history[2:]]
            found = model.statement(history=[*history[:2], *changed][::-1], payments=None).discrepancies
            assert ({one.kind for one in found} == {Kind.NO_EARNING}) is adds_up

    def test_two_identical_earnings_are_two(self):
        model, history = closed_early()
        history += [record for record in history if record.action_type == EARNING]
        assert figures(model.statement(history=history[::-1], payments=None)).earned == 2 * self.EARNED


class TestHowReinvestedEarningsAreRecorded:
    @pytest.mark.parametrize("reading", list(ReinvestedAs))
    def test_each_way_gives_the_same_figures(self, reading):
        statement = january(auto=True, reinvested_as=reading).statement()
        assert statement.adds_up, statement.discrepancies
        assert figures(statement) == figures(january(auto=True).statement())
        assert statement.to_json()["reinvested_as"] == reading

    @pytest.mark.parametrize("reading", list(ReinvestedAs))
    def test_each_way_shows_what_was_paid_to_main(self, reading):
        assert figures(january(reinvested_as=reading).statement()) == figures(january().statement())

    def test_only_earnings_and_a_closed_investment(self):
        model = january(auto=True, reinvested_as=ReinvestedAs.EARNING)
        model.close(NOW.subtract(hours=3))
        statement = model.statement()
        assert statement.adds_up, statement.discrepancies
        assert figures(statement) == figures(january(auto=True).statement())

    def test_reading_earnings_only_as_both_is_reported_with_the_right_way(self):
        model = january(auto=True, reinvested_as=ReinvestedAs.EARNING)
        statement = model.statement(reinvested_as=ReinvestedAs.BOTH)
        assert kinds(statement) == [Kind.UNEXPLAINED_BALANCE]
        assert "reinvested_as='earning'" in statement.discrepancies[0].message

    def test_reading_reinvests_only_as_both_is_reported_with_the_right_way(self):
        model = january(auto=True, reinvested_as=ReinvestedAs.REINVEST)
        statement = model.statement(reinvested_as=ReinvestedAs.BOTH)
        assert kinds(statement) == [Kind.REINVEST_WITHOUT_EARNING]
        assert "reinvested_as='reinvest'" in statement.discrepancies[0].message
        assert figures(statement) == figures(model.statement())

    @pytest.mark.parametrize("reading", [ReinvestedAs.EARNING, ReinvestedAs.REINVEST])
    def test_records_that_contradict_it_are_reported_and_read_as_both(self, reading):
        model = january(auto=True)
        statement = model.statement(reinvested_as=reading)
        assert kinds(statement) == [Kind.CONTRADICTED_READING]
        assert figures(statement) == figures(model.statement())

    def test_switched_in_the_middle(self):
        model = january()
        model.auto = True
        for midnight in midnights(NOW, NOW.add(days=20)):
            model.earn(midnight)
        statement = model.statement(start=END, end=pendulum.datetime(2026, 3, 1), made_at=NOW.add(days=21))
        assert statement.adds_up, statement.discrepancies
        found = figures(statement)
        assert found.earned_to_main == Decimal("1.2") * 10
        assert found.earned_reinvested == found.reinvested == found.closing - 1200


class TestWhatDoesNotAddUp:
    def test_more_was_taken_out_than_there_was(self):
        model = january()
        model.history = [replace(r, amount=Decimal(3000)) if r.action_type == INVEST else r for r in model.history]
        [found] = model.statement(records_from=START).discrepancies[:1]
        assert found.kind is Kind.NEGATIVE_BALANCE
        assert found.found == Decimal(-1500)
        assert "-1500" in found.message

    def test_a_move_from_before_the_period_is_missing(self):
        model = january()
        model.history = model.history[1:]
        [found] = model.statement().discrepancies
        assert (found.kind, found.expected, found.found) == (Kind.UNEXPLAINED_BALANCE, 200, 1200)
        assert found.plan_id == PLAN
        # Without the earlier records, this cannot be noticed.
        assert model.statement(records_from=START).adds_up

    def test_something_is_left_after_closing(self):
        model = Model()
        model.invest(START, "100")
        model.close(START.add(hours=1))
        model.history[-1] = replace(model.history[-1], amount=Decimal(90))
        shown = [replace(entry, status=1, invested=Decimal(10)) for entry in model.shown()]
        assert kinds(model.statement(investments=shown))[0] is Kind.LEFT_AFTER_CLOSE

    def test_an_investment_that_the_exchange_does_not_list(self):
        model = Model()
        model.invest(START, "100")
        model.close(START.add(hours=1))
        statement = model.statement(investments=[])
        assert kinds(statement) == [Kind.UNKNOWN_INVESTMENT]
        assert figures(statement).invested == 100

    def test_an_undocumented_action(self):
        model = january()
        model.record(START.add(days=2), 9, "5")
        statement = model.statement()
        assert kinds(statement) == [Kind.UNKNOWN_ACTION]
        assert figures(statement) == figures(january().statement())
        assert len(statement.movements) == len(january().statement().movements) + 1

    def test_two_days_without_an_earning(self):
        model = january()
        gone = START.add(days=5)
        model.history = [record for record in model.history if record.created_at != gone]
        [found] = model.statement().discrepancies
        assert found.kind is Kind.NO_EARNING
        assert "from 2026-01-05T00:00:00Z to 2026-01-07T00:00:00Z" in found.message
        # What an earlier or a later month lacks does not trouble this one.
        assert model.statement(start=END, end=END.add(days=2)).adds_up
        assert model.statement(start=START.subtract(days=5), end=START).adds_up

    def test_the_last_earnings_are_missing(self):
        model = january()
        model.history = [r for r in model.history if not START.add(days=29) <= r.created_at < END]
        assert kinds(model.statement()) == [Kind.NO_EARNING]

    def test_a_record_from_between_the_readings(self):
        """What the exchange shows as invested has a record that was not there yet."""
        model = january()
        statement = model.statement(investments=[replace(entry, invested=Decimal(1300)) for entry in model.shown()])
        assert kinds(statement) == [Kind.UNEXPLAINED_BALANCE]
        assert statement.discrepancies[0].found == 1300


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"end": START}, "not before end"),
        ({"end": NOW.add(seconds=1)}, "not over yet"),
        ({"start": START.naive()}, "start has no time zone"),
        ({"records_from": START.add(seconds=1)}, "after start"),
    ],
)
def test_times_that_do_not_make_a_period(changes, text):
    with pytest.raises(e.WhiteBitValidationError, match=text):
        january().statement(**changes)


def test_the_previous_month():
    assert previous_month(NOW) == (START, END)
    # 1 February in Kyiv is still January in UTC.
    assert previous_month(pendulum.datetime(2026, 2, 1, 1, tz="Europe/Kyiv")) == (START.subtract(months=1), START)


AMOUNTS = st.decimals("0.000001", "99999999.999999", places=6)
STEPS = st.lists(
    st.tuples(st.sampled_from(["invest", "withdraw", "close", "switch", "wait"]), AMOUNTS, st.integers(0, 86_399_999)),
    min_size=2,
    max_size=40,
)


def play(steps, reinvested_as=ReinvestedAs.BOTH):
    """One step a day at any time of it, and each midnight an earning of what is invested."""
    model = Model(reinvested_as=reinvested_as)
    day = START.subtract(days=len(steps) // 2)
    for step, amount, milliseconds in steps:
        at = day.add(seconds=milliseconds // 1000, microseconds=milliseconds % 1000 * 1000)
        if step == "invest":
            model.invest(at, amount)
        elif step == "withdraw" and model.invested > amount:
            model.withdraw(at, amount)
        elif step == "close" and model.invested:
            model.close(at)
        elif step == "switch" and model.invested:
            model.auto = not model.auto
        day = day.add(days=1)
        if model.invested:
            model.earn(day, (model.invested / 1000).quantize(Decimal("0.000001")) + Decimal("0.000001"))
    return model, day.add(hours=1)


def stated(model, now, **changes):
    end = START.add(days=10)
    return model.statement(**{"end": min(end, now), "made_at": max(now, end), **changes})


@settings(max_examples=150)
@given(STEPS)
def test_any_history_is_stated_as_it_happened(steps):
    model, now = play(steps)
    statement = stated(model, now)
    assert statement.adds_up, statement.discrepancies
    start, end = statement.start, statement.end
    if not statement.plans:
        assert model.at(start) == model.at(end) == 0
        return
    found = figures(statement)
    within = [record for record in model.history if start <= record.created_at < end]
    assert (found.opening, found.closing) == (model.at(start), model.at(end))
    assert found.invested == sum(r.amount for r in within if r.action_type in (INVEST, OPEN))
    assert found.withdrawn == sum(r.amount for r in within if r.action_type == WITHDRAW)
    assert found.closed == sum(r.amount for r in within if r.action_type == CLOSE)
    earned = [(amount, kept) for at, amount, kept in model.earnings if start <= at < end]
    assert found.earned == sum(amount for amount, _ in earned)
    assert found.reinvested == found.earned_reinvested == sum(amount for amount, kept in earned if kept)
    assert found.opening + found.invested + found.reinvested - found.withdrawn - found.closed == found.closing
    [plan] = statement.plans
    for day in plan.days:
        midnight = min(pendulum.parse(day.date).add(days=1), end)
        assert day.invested == model.at(midnight)
    assert list(statement.movements) == sorted(within, key=lambda record: record.created_at)


@settings(max_examples=150)
@given(STEPS, st.sampled_from([ReinvestedAs.BOTH, ReinvestedAs.REINVEST]))
def test_any_history_is_booked_as_it_is_stated(steps, reinvested_as):
    model, now = play(steps, reinvested_as)
    statement = stated(model, now)
    period = (micros(statement.start), micros(statement.end))
    flows, held = defaultdict(Decimal), Decimal(0)
    ledgers, _ = read_ledgers(model.history, model.shown(), model.reinvested_as, period)
    for ledger in ledgers:
        for entry in flex_entries(ledger, Origins()):
            for role, _, amount in entry.legs():
                held += amount if role is Role.FLEX and entry.at < period[1] else 0
            for flow in entry.flows:
                if period[0] <= entry.at < period[1]:
                    flows[flow.source, flow.target] += flow.amount
    assert held == model.at(statement.end)
    if statement.plans:
        found = figures(statement)
        assert flows[Role.MAIN, Role.FLEX] == found.invested
        assert flows[Role.FLEX, Role.MAIN] == found.withdrawn + found.closed
        assert flows[Role.FLEX_INTEREST, Role.MAIN] == found.earned_to_main
        pending = flows[Role.FLEX_INTEREST, Role.FLEX_REINVESTING]
        assert flows[Role.FLEX_INTEREST, Role.FLEX] + pending == found.earned_reinvested
        assert flows[Role.FLEX_INTEREST, Role.FLEX] + flows[Role.FLEX_REINVESTING, Role.FLEX] == found.reinvested


@settings(max_examples=150)
@given(STEPS, st.data())
def test_a_record_that_is_dropped_or_altered_is_reported(steps, data):
    # A withdrawal beside a midnight's earning may include it, so one record more or less can make sense there.
    steps = [(step, amount, min(max(at, 3_000), 86_396_999)) for step, amount, at in steps]
    model, now = play(steps)
    statement = stated(model, now)
    bearing = [
        place
        for place, record in enumerate(model.history)
        if record.action_type != EARNING or statement.start <= record.created_at < statement.end
    ]
    if not bearing:
        return
    place = data.draw(st.sampled_from(bearing))
    record = model.history[place]
    changed = replace(record, amount=record.amount + data.draw(AMOUNTS))
    history = model.history[:place] + data.draw(st.sampled_from([[], [changed]])) + model.history[place + 1 :]
    # The list of payments is the exchange's other word on earnings.
    assert not stated(model, now, history=history, payments=model.payments).adds_up
