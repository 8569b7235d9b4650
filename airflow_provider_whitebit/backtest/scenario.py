"""What happens to an account while a policy is tried: deposits, withdrawals, changing rates. Read strictly.

A scenario is a mapping, as JSON or YAML carries it::

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

import difflib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.treasury import choice

DAY = 86_400
_LONGEST_DAYS = 3_660
_LENGTH = re.compile(r"(\d{1,6}) ?([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": DAY}
_FIELDS = ("start", "assets", "plans", "balances", "events", "noise", "seed")
_ACTIONS = ("deposit", "withdraw", "rate", "status")
_WHEN = ("at", "every", "from", "until")
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
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BacktestScenario:
    """What happens, and where it begins.

    :param start: the first moment, UTC.
    :param exchange: the sandbox's own scenario: assets, plans, balances.
    :param events: what happens, as it was written.
    :param noise: deposits and withdrawals by chance, by ticker.
    :param seed: decides the chances.
    """

    start: pendulum.DateTime
    exchange: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...] = ()
    noise: tuple[Mapping[str, Any], ...] = ()
    seed: int = 0
    tickers: tuple[str, ...] = field(default=())

    def timeline(self, days: int) -> list[Event]:
        """All that happens in so many days, in order."""
        happening = [event for raw in self.events for event in _spread(raw, days * DAY)]
        chance = random.Random(self.seed)
        for raw in self.noise:
            happening += _by_chance(raw, days, chance)
        return sorted(happening, key=lambda event: event.second)


def read_backtest_scenario(raw: object) -> BacktestScenario:
    """A scenario out of decoded JSON or YAML.

    :raises WhiteBitValidationError: what is wrong with it and where, for example ``events[2].at``.
    """
    given = _mapping("scenario", raw)
    _known("scenario", given, _FIELDS)
    assets = _mapping("assets", given.get("assets"))
    balances = {
        choice.read_ticker(ticker): format(_amount(f"balances.{ticker}", amount), "f")
        for ticker, amount in _mapping("balances", given.get("balances", {})).items()
    }
    exchange = {
        "assets": assets,
        "plans": _list("plans", given.get("plans")),
        "balances": {"sandbox": balances},
    }
    plans = {str(plan.get("id")) for plan in exchange["plans"] if isinstance(plan, Mapping)}
    events = _list("events", given.get("events", []))
    for number, event in enumerate(events):
        _check_event(f"events[{number}]", event, set(assets), plans)
    noise = _list("noise", given.get("noise", []))
    for number, entry in enumerate(noise):
        _check_noise(f"noise[{number}]", entry, set(assets))
    seed = given.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise _fault("seed", f"is {seed!r}: write a whole number")
    return BacktestScenario(
        _moment(given.get("start", "2026-01-01T00:00:00Z")), exchange, tuple(events), tuple(noise), seed, tuple(assets)
    )


def default_scenario() -> dict[str, Any]:
    """Twenty assets with two plans each, rates that change every month, deposits, and withdrawals that want money."""
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


def _spread(raw: Mapping[str, Any], length: int) -> list[Event]:
    action = next(name for name in _ACTIONS if name in raw)
    if "at" in raw:
        moments: list[int] = [_seconds("at", raw["at"])]
    else:
        until = min(length, _seconds("until", raw.get("until", f"{_LONGEST_DAYS}d")))
        moments = list(
            range(_seconds("from", raw.get("from", raw["every"])), until + 1, _seconds("every", raw["every"]))
        )
    return [Event(moment, action, raw[action]) for moment in moments if moment <= length]


def _by_chance(raw: Mapping[str, Any], days: int, chance: random.Random) -> list[Event]:
    found = []
    likely = int(Decimal(str(raw["chance"])) * _SHARE_DIGITS)
    for day in range(days):
        for action in ("deposit", "withdraw"):
            if action in raw and chance.randrange(_SHARE_DIGITS) < likely:
                least, most = (int(Decimal(str(amount)) * 100) for amount in raw[action])
                amount = format(Decimal(chance.randint(least, most)) / 100, "f")
                found.append(Event(day * DAY + chance.randrange(DAY), action, {str(raw["ticker"]): amount}))
    return found


def _check_event(path: str, raw: object, tickers: set[str], plans: set[str]) -> None:
    event = _mapping(path, raw)
    _known(path, event, (*_WHEN, *_ACTIONS))
    if ("at" in event) == ("every" in event):
        raise _fault(path, "says when by either at or every")
    for name in set(event) & set(_WHEN):
        if _seconds(f"{path}.{name}", event[name]) == 0 and name == "every":
            raise _fault(f"{path}.every", "is nothing: write a length like 7d")
    actions = [name for name in _ACTIONS if name in event]
    if len(actions) != 1:
        raise _fault(path, f"says exactly one of {', '.join(_ACTIONS)}")
    for name, value in _mapping(f"{path}.{actions[0]}", event[actions[0]]).items():
        place = f"{path}.{actions[0]}.{name}"
        if name not in (tickers if actions[0] in ("deposit", "withdraw") else plans):
            raise _fault(place, "is none of this scenario's assets or plans")
        if actions[0] != "status":
            _amount(place, value)
        elif value not in ("open", "paused", "unavailable"):
            raise _fault(place, f"is {value!r}: write open, paused or unavailable")


def _check_noise(path: str, raw: object, tickers: set[str]) -> None:
    entry = _mapping(path, raw)
    _known(path, entry, ("ticker", "chance", "deposit", "withdraw"))
    if entry.get("ticker") not in tickers:
        raise _fault(f"{path}.ticker", "is none of this scenario's assets")
    if _amount(f"{path}.chance", entry.get("chance")) > 1:
        raise _fault(f"{path}.chance", "is above 1: write a chance in a day, like 0.2 as a string")
    for name in ("deposit", "withdraw"):
        limits = entry.get(name, ["1", "1"])
        if not isinstance(limits, list) or len(limits) != 2:
            raise _fault(f"{path}.{name}", 'is no pair: write the least and the most, like ["10", "500"]')
        least, most = (_amount(f"{path}.{name}", limit) for limit in limits)
        if not 0 < least <= most:
            raise _fault(f"{path}.{name}", "goes from a least above zero to a most")


def _seconds(path: str, raw: object) -> int:
    found = _LENGTH.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if not found:
        raise _fault(path, f"is {raw!r}: write a length of time like 12h or 30d, counted from the start")
    return int(found[1]) * _SECONDS[found[2]]


def _moment(raw: object) -> pendulum.DateTime:
    moment: Any = choice.read_moment("start", str(raw))
    if isinstance(moment, int) or moment is None or moment.tzinfo is None:
        raise _fault("start", f"is {raw!r}: write a time with zone like 2026-01-01T00:00:00Z")
    utc: pendulum.DateTime = pendulum.instance(moment).in_timezone("UTC")
    return utc


def _amount(path: str, raw: object) -> Decimal:
    try:
        return choice.read_limit(path, raw)
    except WhiteBitValidationError as error:
        raise WhiteBitValidationError(error.message) from None


def _mapping(path: str, raw: object) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise _fault(path, f"is {type(raw).__name__}: write a mapping of names to values")
    return {str(name): value for name, value in raw.items()}


def _list(path: str, raw: object) -> list[Any]:
    if not isinstance(raw, list):
        raise _fault(path, f"is {type(raw).__name__}: write a list")
    return raw


def _known(path: str, given: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise _fault(path, f"has no field {name!r}.{meant} The fields are {', '.join(names)}")


def _fault(path: str, what: str) -> WhiteBitValidationError:
    return WhiteBitValidationError(f"{path}: {what}.")
