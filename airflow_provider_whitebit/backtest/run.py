"""Runs a policy against the sandbox's rules on virtual time, as an hourly DAG would, and reports the outcome."""

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
from airflow_provider_whitebit.client import _moving
from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.client.models import Asset, FlexInvestmentStatus, FlexPlan, plain, to_json
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import RetryPolicy, Transport, WireAnswer
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.execution import ApiKey, DecidedMove, ExecutionRequest
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.moves.journal import MemoryJournal, MemoryMarkers
from airflow_provider_whitebit.moves.limits import Limits
from airflow_provider_whitebit.sandbox.exchange import Exchange
from airflow_provider_whitebit.treasury.planning import Holdings, TreasuryPlan, plan_rebalance, plan_sweep
from airflow_provider_whitebit.treasury.policy import Policy
from airflow_provider_whitebit.treasury.rates import realised_rate

Planner = Callable[[Holdings, Policy, pendulum.DateTime], TreasuryPlan]
OnDay = Callable[[WhiteBitClient, int], None]

_KEY = Credentials("sandbox-key", "sandbox-secret")
_ZERO = Decimal(0)
_SHARE = Decimal("0.000001")
#: How long a request takes on the virtual clock, at least and at most.
_LATENCY_MS = (20, 90)


@dataclass(slots=True)
class TickerReport:
    """The outcome for one asset. Amounts in units of the asset, rates as fractions.

    :param earned: Flex earnings that were credited.
    :param deposited: deposits, without the balance at the start.
    :param withdrawn: withdrawals from the account.
    :param shortfalls: how many withdrawals Main could not pay in full.
    :param missing: the sum of the shortfalls.
    :param worst: the largest shortfall.
    :param moves: moves by operation.
    :param refused: moves that the exchange refused.
    :param main: Main at the end.
    :param invested: in Flex at the end.
    :param idle_share: time-weighted share of Main in everything held.
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
        """Return plain JSON."""
        values = {name: to_json(getattr(self, name)) for name in self.__slots__ if name != "moves"}
        return {**values, "moves": dict(sorted(self.moves.items()))}


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """The outcome of a policy.

    :param days: how long it ran.
    :param runs: how many runs were due.
    :param plans: how many of them made a plan, because something could have changed.
    :param tickers: the outcome for each asset.
    :param daily: for each asset, at the end of each day: Main and invested.
    :param earned: for each asset, at the end of each day: what has been credited since the start.
    """

    days: int
    runs: int
    plans: int
    tickers: dict[str, TickerReport]
    daily: dict[str, list[tuple[Decimal, Decimal]]]
    earned: dict[str, list[Decimal]]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, without the single days."""
        return {
            "days": self.days,
            "runs": self.runs,
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
    on_day: OnDay | None = None,
) -> BacktestReport:
    """Run a policy on virtual time.

    :param policy: the policy.
    :param scenario: what happens meanwhile.
    :param days: for how long.
    :param every: seconds between two runs.
    :param planner: ``plan_rebalance`` or ``plan_sweep``.
    :param skip_unchanged: after a plan that had nothing to do, plan only when something has changed: otherwise the next
        plan would be empty too.
    :param on_day: called with a client and the number of the day, from 0, before the first run of each day.
    :raises WhiteBitValidationError: the policy names an asset that the scenario does not have.
    """
    return _Run(policy, scenario, planner, skip_unchanged).through(days, every, on_day)


#: Planners by name.
PLANNERS: dict[str, Planner] = {"rebalance": plan_rebalance, "sweep": plan_sweep}


class _Clock:
    """The virtual time of the run."""

    def __init__(self, start_ms: int) -> None:
        self.now = start_ms

    def now_ms(self) -> int:
        return self.now


class _Wire:
    """Carries requests to the exchange's rules in this process."""

    def __init__(self, exchange: Exchange, clock: _Clock, seed: int) -> None:
        self._exchange = exchange
        self._clock = clock
        self._chance = random.Random(seed)

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> WireAnswer:
        # The delays differ: nonces are milliseconds, and equal delays would give different calls the same nonce.
        self._clock.now += self._chance.randint(*_LATENCY_MS)
        return self._exchange.handle(method, path, headers, body or b"")

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
        self._client = _moving.MovingClient(
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
        self._api_key = ApiKey(self._client, "backtest", "backtest", MemoryMarkers())

    def through(self, days: int, every: int, on_day: OnDay | None = None) -> BacktestReport:
        """Run to the end."""
        events = iter([*self._scenario.timeline(days), None])
        event, changed, plans, runs = next(events), True, 0, 0
        daily: dict[str, list[tuple[Decimal, Decimal]]] = defaultdict(list)
        self._look()
        for second in sorted({*range(0, days * DAY + 1, every), *range(DAY, days * DAY + 1, DAY)}):
            while event is not None and event.second <= second:
                self._go_to(event.second)
                self._happen(event)
                event, changed = next(events), True
            self._go_to(second)
            if second % every == 0:
                runs += 1
                new_day = second // DAY != (second - every) // DAY
                if on_day is not None and new_day:
                    on_day(self._client, second // DAY)
                # Earnings are credited at midnight. Liquidity needs become due, and end, without an event.
                if changed or not self._skip or new_day or self._due(second, every):
                    plans += 1
                    changed = self._tick()
            else:
                self._look()
            if second and second % DAY == 0:
                for ticker, held in self._held.items():
                    daily[ticker].append(held)
        self._look()
        earned = {ticker: list(itertools.accumulate(by_day)) for ticker, by_day in self._close(days).items()}
        return BacktestReport(days, runs, plans, self._reports, dict(daily), earned)

    def _sleep(self, seconds: float) -> None:
        # At least a millisecond: a caller that waits for a moment sleeps until the clock has passed it.
        self._clock.now += int(seconds * 1000) + 1

    def _go_to(self, second: int) -> None:
        # Moves take some seconds of their own.
        self._clock.now = max(self._clock.now, self._start_ms + second * 1000)

    def _due(self, second: int, every: int) -> bool:
        """Whether a liquidity need has become due, or has ended, since the previous run."""
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
                    self._exchange.change("plan", name, rate=str(value))
                    self._plans = ()
                case _:
                    self._exchange.change("plan", name, status=str(value))
                    self._plans = ()
        self._look()

    def _withdraw(self, ticker: str, wanted: Decimal) -> None:
        """Take money out of Main, as much as it holds. It leaves through spot."""
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
        """Plan and move; return whether there was anything to do."""
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
            self._client.switch_auto_reinvest(plan_id, enabled=enabled)
        if not plan.empty:
            self._look()
        return not plan.empty

    def _make(self, move: Move) -> None:
        journal = MemoryJournal(f"move {next(self._names)}")
        execute_move(
            ExecutionRequest(
                request=DecidedMove(move),
                api_key=self._api_key,
                journal=journal,
                limits=Limits("backtest"),
                account=Account(self._client),
            ),
            sleep=self._sleep,
        )

    def _look(self) -> Holdings:
        """Return what is held now. Before that, count what was held for the time since the last call."""
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
        self._held = {ticker: (holdings.idle(ticker), invested[ticker]) for ticker in self._reports}
        return holdings

    def _close(self, days: int) -> dict[str, list[Decimal]]:
        """Complete the reports; return for each asset what was credited on each day."""
        self._exchange.audit()
        by_day = {ticker: [_ZERO] * days for ticker in self._reports}
        for payment in self._client.flex_payments():
            ticker = payment.currency
            # The backtest's exchange names it always.
            assert ticker is not None
            self._reports[ticker].earned += payment.amount
            # What is credited at midnight belongs to the day that ends then.
            passed = payment.created_at.int_timestamp - self._start_ms // 1000 - 1
            by_day[ticker][min(days - 1, max(0, passed // DAY))] += payment.amount
        for ticker, report in self._reports.items():
            report.main, report.invested = self._held[ticker]
            # Amounts multiplied by milliseconds.
            if held := self._all[ticker]:
                report.idle_share = (self._idle[ticker] / held).quantize(_SHARE, ROUND_HALF_EVEN)
                report.realised_rate = realised_rate(report.earned, held / 1000)
        self._exchange.close()
        return by_day


def side_by_side(reports: dict[str, BacktestReport]) -> Iterator[list[str]]:
    """Yield the rows of a table: a heading, then each asset with the figures of each policy."""
    yield ["asset", "policy", "earned", "per year", "idle", "moves", "refused", "shortfalls", "missing", "at the end"]
    for ticker in next(iter(reports.values())).tickers:
        for name, report in reports.items():
            one = report.tickers[ticker]
            yield [
                ticker,
                name,
                plain(one.earned),
                _percent(one.realised_rate),
                _percent(one.idle_share),
                str(sum(one.moves.values())),
                str(one.refused),
                str(one.shortfalls),
                plain(one.missing),
                plain(one.main + one.invested),
            ]


def _percent(share: Decimal | None) -> str:
    return "-" if share is None else f"{share * 100:.2f} %"
