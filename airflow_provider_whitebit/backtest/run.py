"""Runs a policy against the sandbox's rules on virtual time, as an hourly DAG would, and reports what came of it."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pendulum

from airflow_provider_whitebit.backtest.scenario import DAY, BacktestScenario, Event
from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.client.models import Asset, FlexInvestmentStatus, FlexPlan, to_json
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import RetryPolicy, Transport
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.moves.journal import MemoryJournal, MemoryMarks
from airflow_provider_whitebit.sandbox.exchange import Exchange
from airflow_provider_whitebit.treasury.planning import Holdings, TreasuryPlan, plan_rebalance, plan_sweep
from airflow_provider_whitebit.treasury.policy import Policy

Planner = Callable[[Holdings, Policy, pendulum.DateTime], TreasuryPlan]

_KEY = Credentials("sandbox-key", "sandbox-secret")
_ZERO = Decimal(0)
_YEAR = 365 * DAY
_RATE = Decimal("0.000001")
#: How long a request takes on the virtual clock, at least and at most.
_LATENCY_MS = (20, 90)


@dataclass(slots=True)
class TickerReport:
    """What came of one asset. Amounts in units of the asset, rates as fractions.

    :param earned: Flex earnings that were credited.
    :param deposited: put in from outside, besides the balance at the start.
    :param withdrawn: taken out to the outside.
    :param shortfalls: withdrawals that Main could not pay in full.
    :param missing: what they lacked in all.
    :param worst: what the worst of them lacked.
    :param moves: moves by operation.
    :param refused: moves that the exchange refused.
    :param main: Main at the end.
    :param invested: in Flex at the end.
    :param idle_share: time-weighted share of Main in all that was held.
    :param realised_rate: earned per year and unit held, idle money included.
    """

    earned: Decimal = _ZERO
    deposited: Decimal = _ZERO
    withdrawn: Decimal = _ZERO
    shortfalls: int = 0
    missing: Decimal = _ZERO
    worst: Decimal = _ZERO
    moves: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    main: Decimal = _ZERO
    invested: Decimal = _ZERO
    idle_share: Decimal | None = None
    realised_rate: Decimal | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        told = {name: to_json(getattr(self, name)) for name in self.__slots__ if name != "moves"}
        return {**told, "moves": dict(sorted(self.moves.items()))}


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """What came of a policy.

    :param days: how long it ran.
    :param ticks: how often it was asked what to do.
    :param plans: how often there could be something to do, and a plan was made.
    :param tickers: what came of each asset.
    :param daily: for each asset, at the end of each day: Main and invested.
    :param earned: for each asset, at the end of each day: what has been credited since the start.
    """

    days: int
    ticks: int
    plans: int
    tickers: dict[str, TickerReport]
    daily: dict[str, list[tuple[Decimal, Decimal]]]
    earned: dict[str, list[Decimal]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, without the single days."""
        return {
            "days": self.days,
            "ticks": self.ticks,
            "plans": self.plans,
            "tickers": {ticker: report.to_json() for ticker, report in self.tickers.items()},
        }


def backtest(
    policy: Policy,
    scenario: BacktestScenario,
    *,
    days: int = 365,
    every: int = 3_600,
    planner: Planner = plan_rebalance,
    skip_unchanged: bool = True,
) -> BacktestReport:
    """Run a policy on virtual time.

    :param policy: what is tried.
    :param scenario: what happens meanwhile.
    :param days: for how long.
    :param every: seconds between two ticks.
    :param planner: ``plan_rebalance`` or ``plan_sweep``.
    :param skip_unchanged: plan only where something has changed since a plan that had nothing to do: planned again it
        would be empty again.
    :raises WhiteBitValidationError: if the policy names an asset that the scenario does not have.
    """
    return _Run(policy, scenario, planner, skip_unchanged).through(days, every)


#: Planners by name.
PLANNERS: dict[str, Planner] = {"rebalance": plan_rebalance, "sweep": plan_sweep}


class _Clock:
    """The run's one time."""

    def __init__(self, start_ms: int) -> None:
        self.now = start_ms

    def now_ms(self) -> int:
        return self.now


class _Answer:
    """As much of an HTTP answer as the transport reads."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status_code = status
        self.headers = headers
        self.raw = self
        self._body = body

    def stream(self, _amount: int, decode_content: bool = True) -> list[bytes]:
        return [self._body]

    def close(self) -> None:
        """Nothing is open."""


class _Wire:
    """Carries requests to the exchange's rules in this process."""

    def __init__(self, exchange: Exchange, clock: _Clock, seed: int) -> None:
        self._exchange = exchange
        self._clock = clock
        self._chance = random.Random(seed)

    def send(self, prepared: Any) -> Any:
        # Never the same: nonces are milliseconds, and on a grid those of different calls would meet.
        self._clock.now += self._chance.randint(*_LATENCY_MS)
        path = "/" + str(prepared.url).split("//", 1)[1].partition("/")[2]
        body = prepared.body if isinstance(prepared.body, bytes) else b""
        answer = self._exchange.handle(str(prepared.method), path, dict(prepared.headers), body)
        return _Answer(answer.status, answer.headers, answer.body)

    def close(self) -> None:
        """Nothing is open."""


class _Run:
    """One policy on one exchange."""

    def __init__(self, policy: Policy, scenario: BacktestScenario, planner: Planner, skip_unchanged: bool) -> None:
        self._policy, self._scenario, self._planner = policy, scenario, planner
        self._skip = skip_unchanged
        self._start_ms = scenario.start.int_timestamp * 1000
        self._clock = _Clock(self._start_ms)
        self._exchange = Exchange(clock=self._clock, seed=scenario.seed, scenario=scenario.exchange, rate_limits=False)
        self._client = WhiteBitClient(
            Transport(
                "http://sandbox",
                _KEY,
                clock=ExchangeClock(self._clock.now_ms),
                retry=RetryPolicy(jitter=0),
                sleep=self._sleep,
                wire=_Wire(self._exchange, self._clock, scenario.seed),
            )
        )
        self._assets: dict[str, Asset] = self._client.assets()
        self._plans: tuple[FlexPlan, ...] = ()
        self._reports = {ticker: TickerReport() for ticker in scenario.tickers}
        self._held: dict[str, tuple[Decimal, Decimal]] = {}
        self._looked_at = self._start_ms
        self._idle: dict[str, Decimal] = defaultdict(Decimal)
        self._all: dict[str, Decimal] = defaultdict(Decimal)
        self._names = itertools.count(1)
        self._marks = MemoryMarks()

    def through(self, days: int, every: int) -> BacktestReport:
        """Tick after tick to the end."""
        events = iter([*self._scenario.timeline(days), None])
        event, changed, plans, ticks = next(events), True, 0, 0
        daily: dict[str, list[tuple[Decimal, Decimal]]] = defaultdict(list)
        self._look()
        for second in range(0, days * DAY + 1, every):
            while event is not None and event.second <= second:
                self._go_to(event.second)
                self._happen(event)
                event, changed = next(events), True
            self._go_to(second)
            ticks += 1
            # Earnings are credited at midnight; needs become due and end by themselves.
            if changed or not self._skip or second // DAY != (second - every) // DAY or self._due(second, every):
                plans += 1
                changed = self._tick()
            if second % DAY < every and second:
                for ticker, held in self._held.items():
                    daily[ticker].append(held)
        self._look()
        earned = {ticker: list(itertools.accumulate(by_day)) for ticker, by_day in self._close(days).items()}
        return BacktestReport(days, ticks, plans, self._reports, dict(daily), earned)

    def _sleep(self, seconds: float) -> None:
        # Never nothing: whoever waits for a moment asks again and again until it is over.
        self._clock.now += int(seconds * 1000) + 1

    def _go_to(self, second: int) -> None:
        # Moves take some seconds of their own.
        self._clock.now = max(self._clock.now, self._start_ms + second * 1000)

    def _due(self, second: int, every: int) -> bool:
        """Whether a liquidity need has become due, or has ended, since the tick before."""
        now = self._scenario.start.add(seconds=second)
        before = now.subtract(seconds=every)
        return any(wanted.due(now) != wanted.due(before) for wanted in self._policy.tickers.values())

    def _happen(self, event: Event) -> None:
        for name, value in event.values.items():
            match event.action:
                case "deposit":
                    self._exchange.fund(name, value)
                    self._reports[name].deposited += Decimal(str(value))
                case "withdraw":
                    self._withdraw(name, Decimal(str(value)))
                case "rate":
                    self._exchange.change_plan(name, rate=str(value))
                    self._plans = ()
                case _:
                    self._exchange.change_plan(name, status=str(value))
                    self._plans = ()
        self._look()

    def _withdraw(self, ticker: str, wanted: Decimal) -> None:
        """Somebody takes money out of Main, as much of it as is there. It leaves by way of spot."""
        report, there = self._reports[ticker], self._client.main_balance(ticker)[ticker]
        taken = min(wanted, there)
        if taken < wanted:
            report.shortfalls += 1
            report.missing += wanted - taken
            report.worst = max(report.worst, wanted - taken)
        if taken > 0:
            self._make(Move(Operation.TRANSFER, "", ticker, taken, source="main", target="spot"))
            report.withdrawn += taken

    def _tick(self) -> bool:
        """Plan and move. :returns: whether there was anything to do."""
        plan = self._planner(self._look(), self._policy, pendulum.from_timestamp(self._clock.now / 1000))
        stopped = set()
        for planned in plan.moves:
            move = planned.move
            if move.ticker in stopped:
                continue
            try:
                self._make(move)
            except WhiteBitError:
                self._reports[move.ticker].refused += 1
                stopped.add(move.ticker)
            else:
                self._reports[move.ticker].moves[str(move.operation)] += 1
        for plan_id, enabled in plan.auto_reinvest.items():
            self._client.flex_auto_reinvest(plan_id, enabled=enabled)
        if not plan.empty:
            self._look()
        return not plan.empty

    def _make(self, move: Move) -> None:
        execute_move(
            self._client,
            MemoryJournal(f"move {next(self._names)}"),
            requested={},
            resolve=lambda: move,
            marks=self._marks,
            account="backtest",
            sleep=self._sleep,
        )

    def _look(self) -> Holdings:
        """What is held now; what was held until now counts for the time since the last look."""
        passed = Decimal(self._clock.now - self._looked_at)
        for ticker, (main, lent) in self._held.items():
            self._idle[ticker] += main * passed
            self._all[ticker] += (main + lent) * passed
        self._looked_at = self._clock.now
        if not self._plans:
            self._plans = tuple(self._client.flex_plans())
        active = tuple(self._client.flex_investments(investment_status=FlexInvestmentStatus.ACTIVE))
        holdings = Holdings(self._client.main_balance(), self._plans, active, self._assets)
        invested: dict[str, Decimal] = defaultdict(Decimal)
        for entry in active:
            invested[entry.currency] += entry.invested
        self._held = {ticker: (holdings.main.get(ticker, _ZERO), invested[ticker]) for ticker in self._reports}
        return holdings

    def _close(self, days: int) -> dict[str, list[Decimal]]:
        """The last figures. :returns: for each asset, what was credited on each day."""
        self._exchange.audit()
        by_day = {ticker: [_ZERO] * days for ticker in self._reports}
        for payment in self._client.flex_payments():
            self._reports[payment.currency].earned += payment.amount
            # What is credited at midnight is the day's that ends then.
            passed = payment.created_at.int_timestamp - self._start_ms // 1000 - 1
            by_day[payment.currency][min(days - 1, max(0, passed // DAY))] += payment.amount
        for ticker, report in self._reports.items():
            report.main, report.invested = self._held[ticker]
            if held := self._all[ticker]:
                report.idle_share = (self._idle[ticker] / held).quantize(_RATE, ROUND_HALF_EVEN)
                # Money times milliseconds, over a year of milliseconds: units that were held for a year.
                years = held / (_YEAR * 1000)
                report.realised_rate = (report.earned / years).quantize(_RATE, ROUND_HALF_EVEN)
        self._exchange.close()
        return by_day


def side_by_side(reports: dict[str, BacktestReport]) -> Iterator[list[str]]:
    """The rows of a table: a heading, then each asset with the figures of each policy."""
    yield ["asset", "policy", "earned", "a year", "idle", "moves", "refused", "shortfalls", "missing", "at the end"]
    for ticker in next(iter(reports.values())).tickers:
        for name, report in reports.items():
            one = report.tickers[ticker]
            yield [
                ticker,
                name,
                _plain(one.earned),
                _percent(one.realised_rate),
                _percent(one.idle_share),
                str(sum(one.moves.values())),
                str(one.refused),
                str(one.shortfalls),
                _plain(one.missing),
                _plain(one.main + one.invested),
            ]


def _plain(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _percent(share: Decimal | None) -> str:
    return "-" if share is None else f"{share * 100:.2f} %"
