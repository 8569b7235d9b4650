"""What happens to an account while a policy is tried: deposits, withdrawals, changing rates.

A scenario is a mapping, as JSON or YAML carries it. It is read strictly::

    start: "2026-01-01T00:00:00Z"
    assets: {USDT: {name: Tether, precision: 6}}
    plans:
      - {id: 00000001-0000-4000-8000-000000000000, ticker: USDT, minimum: "10", maximum: "100000", rate: "0.08"}
    balances: {USDT: "50000"}
    events:
      - {at: 30d, rate: {00000001-0000-4000-8000-000000000000: "0.05"}}
      - {every: 7d, from: 1d, deposit: {USDT: "2000"}}
      - {every: 30d, from: 15d, withdraw: {USDT: "9000"}}
    noise:
      - {ticker: USDT, chance: "0.2", deposit: ["10", "500"], withdraw: ["10", "400"]}
    seed: 7
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

import pendulum
from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, StrictInt, model_validator

from airflow_provider_whitebit.client.errors import shown
from airflow_provider_whitebit.client.models import plain, to_json
from airflow_provider_whitebit.treasury.fields import Amount, Fields, Share, Ticker, Time, fault, read_fields

DAY = 86_400
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": DAY}
_ACTIONS = ("deposit", "withdraw", "rate", "status")
_SHARE_DIGITS = 1_000_000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens once.

    :param second: when, in seconds from the start.
    :param action: ``deposit``, ``withdraw``, ``rate`` or ``status``.
    :param values: amount by ticker; rate or status by plan.
    """

    second: int
    action: str
    values: Mapping[str, str]


def _read_length(raw: object) -> int:
    found = re.fullmatch(r"([0-9]{1,6}) ?([smhd])", raw.strip()) if isinstance(raw, str) else None
    if not found:
        raise fault(f"is {shown(raw)}: write a length of time like 12h or 30d, counted from the start")
    return int(found[1]) * _SECONDS[found[2]]


def _check_pair(raw: object) -> object:
    if not isinstance(raw, list | tuple) or len(raw) != 2:
        raise fault(f'is {shown(raw)}: write the smallest and the largest amount, like ["10", "500"]')
    return raw


def _check_range(limits: tuple[Decimal, Decimal]) -> tuple[Decimal, Decimal]:
    if not 0 < limits[0] <= limits[1]:
        raise fault("must go from an amount above zero to one that is not smaller")
    return limits


_Length = Annotated[int, PlainValidator(_read_length)]
_Range = Annotated[tuple[Amount, Amount], BeforeValidator(_check_pair), AfterValidator(_check_range)]


class EventRule(Fields):
    """Events at one moment, or at regular intervals.

    :param at: the moment, in seconds from the start; or
    :param every: the interval in seconds; the first event is at ``first`` (by default after one interval) and the
        last one not after ``until``.
    :param deposit: amount by ticker that is paid in.
    :param withdraw: amount by ticker that is taken out.
    :param rate: new rate by plan.
    :param status: new status by plan.
    """

    at: _Length | None = None
    every: _Length | None = None
    first: _Length | None = Field(None, alias="from")
    until: _Length | None = None
    deposit: dict[str, Amount] | None = None
    withdraw: dict[str, Amount] | None = None
    rate: dict[str, Amount] | None = None
    status: dict[str, Literal["open", "paused", "unavailable"]] | None = None

    @property
    def action(self) -> str:
        """What happens: the name of the one action that is given."""
        return next(name for name in _ACTIONS if getattr(self, name) is not None)

    @property
    def values(self) -> Mapping[str, Decimal | str]:
        """Amount by ticker; rate or status by plan."""
        return dict(getattr(self, self.action))

    def events(self, length: int) -> Iterator[Event]:
        """The events until a number of seconds after the start."""
        if self.at is not None or self.every is None:
            moments: Iterable[int] = [self.at or 0]
        else:
            until = length if self.until is None else min(length, self.until)
            moments = range(self.every if self.first is None else self.first, until + 1, self.every)
        values = {name: to_json(value) for name, value in self.values.items()}
        return (Event(moment, self.action, values) for moment in moments if moment <= length)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.at is None) == (self.every is None):
            raise fault("must say when, by either at or every")
        if self.every == 0:
            raise fault("is zero: write a length like 7d", "every")
        if sum(getattr(self, name) is not None for name in _ACTIONS) != 1:
            raise fault(f"must have exactly one of {', '.join(_ACTIONS)}")
        return self


class NoiseRule(Fields):
    """Deposits and withdrawals by chance, at most one of each a day.

    :param ticker: the asset.
    :param chance: of each in a day, 0 to 1.
    :param deposit: the smallest and the largest amount.
    :param withdraw: likewise.
    """

    ticker: str
    chance: Share
    deposit: _Range | None = None
    withdraw: _Range | None = None

    def events(self, days: int, chance: random.Random) -> Iterator[Event]:
        """The events of a number of days."""
        likely = int(self.chance * _SHARE_DIGITS)
        for day in range(days):
            for action, limits in (("deposit", self.deposit), ("withdraw", self.withdraw)):
                if limits and chance.randrange(_SHARE_DIGITS) < likely:
                    # Cents, or what the limits are written in.
                    decimals = max(2, *(len(plain(limit).partition(".")[2]) for limit in limits))
                    least, most = (int(limit.scaleb(decimals)) for limit in limits)
                    amount = plain(Decimal(chance.randint(least, most)).scaleb(-decimals))
                    yield Event(day * DAY + chance.randrange(DAY), action, {self.ticker: amount})


class BacktestScenario(Fields):
    """What happens, and where it begins.

    :param start: the first moment, UTC.
    :param assets: as the sandbox reads them.
    :param plans: as the sandbox reads them.
    :param balances: Main balance at the start, by ticker.
    :param events: what happens at given moments.
    :param noise: what happens by chance.
    :param seed: seed of the random numbers.
    """

    start: Time = pendulum.datetime(2026, 1, 1)
    assets: dict[str, Any]
    plans: list[Any]
    balances: dict[Ticker, Amount] = Field(default_factory=dict)
    events: list[EventRule] = Field(default_factory=list)
    noise: list[NoiseRule] = Field(default_factory=list)
    seed: StrictInt = 0

    @property
    def tickers(self) -> tuple[str, ...]:
        """All assets."""
        return tuple(self.assets)

    @property
    def exchange(self) -> dict[str, Any]:
        """The sandbox's own scenario."""
        balances = {ticker: to_json(amount) for ticker, amount in self.balances.items()}
        return {"assets": self.assets, "plans": self.plans, "balances": {"sandbox": balances}}

    def timeline(self, days: int) -> list[Event]:
        """All events of a number of days, in order."""
        events = [event for rule in self.events for event in rule.events(days * DAY)]
        chance = random.Random(self.seed)
        events += [event for rule in self.noise for event in rule.events(days, chance)]
        return sorted(events, key=lambda event: event.second)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        plans = {str(plan.get("id")) for plan in self.plans if isinstance(plan, Mapping)}
        for number, rule in enumerate(self.events):
            known = set(self.assets) if rule.action in ("deposit", "withdraw") else plans
            for name in rule.values:
                if name not in known:
                    raise fault(
                        "is not one of this scenario's assets or plans", f"events[{number}].{rule.action}.{name}"
                    )
        for number, noise in enumerate(self.noise):
            if noise.ticker not in self.assets:
                raise fault("is not one of this scenario's assets", f"noise[{number}].ticker")
        return self


def read_backtest_scenario(raw: object) -> BacktestScenario:
    """Read a scenario.

    :param raw: decoded JSON or YAML.
    :raises WhiteBitValidationError: what is wrong with it and where, for example ``events[2].at``.
    """
    return read_fields(BacktestScenario, raw, whole="scenario")


def default_scenario() -> dict[str, Any]:
    """Return twenty assets with two plans each, rates that change every month, deposits and withdrawals."""
    chance = random.Random(20)
    tickers = [
        *("USDT", "USDC", "BTC", "ETH", "SOL", "XRP", "ADA", "DOT", "LTC", "LINK"),
        *("AVAX", "ATOM", "NEAR", "TRX", "DOGE", "XLM", "ALGO", "FIL", "APT", "SUI"),
    ]
    plans, events, noise = [], [], []
    for number, ticker in enumerate(tickers):
        for level, most in ((1, "500000"), (2, "20000")):
            plan = f"{number:08d}-0000-4000-8000-00000000000{level}"
            rate = chance.randint(20, 120) + 20 * level
            plans.append({"id": plan, "ticker": ticker, "minimum": "10", "maximum": most, "rate": _milli(rate)})
            for month in range(1, 12):
                rate = max(5, rate + chance.randint(-15, 15))
                events.append({"at": f"{30 * month}d", "rate": {plan: _milli(rate)}})
        events.append({"every": "7d", "from": f"{1 + number % 7}d", "deposit": {ticker: "1000"}})
        events.append({"every": "30d", "from": f"{15 + number % 10}d", "withdraw": {ticker: "6000"}})
        noise.append({"ticker": ticker, "chance": "0.2", "deposit": ["10", "400"], "withdraw": ["10", "500"]})
    return {
        "start": "2026-01-01T00:00:00Z",
        "assets": {ticker: {"name": ticker, "precision": 6} for ticker in tickers},
        "plans": plans,
        "balances": dict.fromkeys(tickers, "20000"),
        "events": events,
        "noise": noise,
        "seed": 1,
    }


def _milli(rate: int) -> str:
    return format(Decimal(rate) / 1000, "f")
