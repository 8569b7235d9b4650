"""What the sandbox offers: assets, plans, keys and first balances, by default or from a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any

OPEN, PAUSED, UNAVAILABLE = "open", "paused", "unavailable"
STATUSES = (OPEN, PAUSED, UNAVAILABLE)
#: Status of a Fixed plan, as the vendor numbers it.
ACTIVE_PLAN, NO_COINS, INACTIVE_PLAN, PAUSED_PLAN = FIXED_STATUSES = (1, 2, 3, 4)
ALL_PERMISSIONS = ("flex", "fixed", "balance")


class ScenarioError(ValueError):
    """A scenario is wrong; the message names the field."""


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """One asset: its name, how many decimals an amount may carry, and whether it can be moved between balances.

    :param deposits: whether Main gives it to the trade and collateral balances.
    :param withdrawals: whether it comes back.
    """

    name: str
    precision: int
    deposits: bool = True
    withdrawals: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """One Flex plan.

    :param rate: interest as a fraction per year.
    :param cap: most that one user may have invested in it; ``None``: only ``maximum`` for each investment.
    :param users: names of the users who may use it; empty: everybody.
    :param min_withdraw: smallest partial withdrawal.
    """

    id: str
    ticker: str
    minimum: Decimal
    maximum: Decimal
    rate: Decimal
    status: str = OPEN
    cap: Decimal | None = None
    users: tuple[str, ...] = ()
    min_withdraw: Decimal | None = None


@dataclass(frozen=True, slots=True)
class FixedPlan:
    """One Fixed plan.

    :param percent: interest over the whole term, in percent of the amount.
    :param duration: the term in minutes.
    :param interest_ticker: what interest is paid in.
    :param interest_ratio: units of ``ticker`` for one unit of ``interest_ticker``.
    :param status: 1 active, 2 no coins left, 3 inactive, 4 paused.
    :param coins: most that may be invested in it by all users together; ``None``: any amount.
    :param interest_fund: most interest that its running investments may come to; ``None``: any amount.
    :param several: whether one user may hold several investments in it.
    :param special: a special offer, which the API does not give.
    :param disabled: whether it is switched off altogether.
    """

    id: str
    ticker: str
    percent: Decimal
    duration: int
    minimum: Decimal
    maximum: Decimal
    interest_ticker: str
    interest_ratio: Decimal = Decimal(1)
    status: int = 1
    coins: Decimal | None = None
    interest_fund: Decimal | None = None
    several: bool = False
    special: bool = False
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """An API key. ``permissions`` out of ``flex``, ``fixed`` and ``balance``."""

    api_key: str
    secret: str
    user: str
    enabled: bool = True
    permissions: tuple[str, ...] = ALL_PERMISSIONS

    def __repr__(self) -> str:
        return f"Key(user={self.user!r}, enabled={self.enabled}, permissions={self.permissions})"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that a sandbox starts with."""

    assets: dict[str, AssetFacts]
    plans: tuple[Plan, ...]
    keys: tuple[Key, ...]
    balances: dict[str, dict[str, Decimal]] = field(default_factory=dict)
    fixed_plans: tuple[FixedPlan, ...] = ()


def _fixed(identifier: str, ticker: str, percent: str, days: int, least: str, most: str, **more: Any) -> FixedPlan:
    more.setdefault("interest_ticker", ticker)
    return FixedPlan(identifier, ticker, Decimal(percent), days * 1440, Decimal(least), Decimal(most), **more)


def _plan(identifier: str, ticker: str, least: str, most: str, rate: str, **more: Any) -> Plan:
    return Plan(identifier, ticker, Decimal(least), Decimal(most), Decimal(rate), **more)


DEFAULT = Scenario(
    assets={
        "BTC": AssetFacts("Bitcoin", 8),
        "ETH": AssetFacts("Ethereum", 8),
        "EURI": AssetFacts("Eurite", 6),
        "SOL": AssetFacts("Solana", 8),
        "USDC": AssetFacts("USD Coin", 6),
        "USDT": AssetFacts("Tether", 6),
    },
    plans=(
        _plan("8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f", "USDT", "10", "100000", "0.15"),
        _plan("1c9a4f60-2b3d-4e5f-8a7b-9c0d1e2f3a4b", "USDT", "1000", "1000000", "0.18"),
        _plan("2d0b5a71-3c4e-4f60-9b8c-0d1e2f3a4b5c", "USDT", "10", "500", "0.20", status=PAUSED),
        _plan("3e1c6b82-4d5f-4071-ac9d-1e2f3a4b5c6d", "USDT", "10", "500", "0.22", status=UNAVAILABLE),
        _plan("4f2d7c93-5e60-4182-bdae-2f3a4b5c6d7e", "USDT", "10", "100000", "0.25", users=("partner",)),
        _plan("502e8da4-6f71-4293-8ebf-3a4b5c6d7e8f", "USDC", "10", "50000", "0.12", cap=Decimal(2000)),
        _plan("613f9eb5-7082-43a4-9fc0-4b5c6d7e8f90", "USDC", "5", "1000", "0.10", min_withdraw=Decimal(1)),
        _plan("7e1d8c2b-9a3b-4b1c-8d4e-5a6b7c8d9e0f", "BTC", "0.001", "10", "0.12"),
        _plan("724fafc6-8193-44b5-a0d1-5c6d7e8f90a1", "ETH", "0.01", "100", "0.05"),
        _plan("8350b0d7-92a4-45c6-b1e2-6d7e8f90a1b2", "EURI", "10", "50000", "0.06"),
        _plan("9461c1e8-a3b5-46d7-82f3-7e8f90a1b2c3", "SOL", "0.1", "1000", "0.07"),
    ),
    fixed_plans=(
        _fixed("0a61d2f9-b4c6-47e8-93a4-8f90a1b2c3d4", "USDT", "1", 10, "100", "10000"),
        _fixed("1b72e30a-c5d7-48f9-a4b5-90a1b2c3d4e5", "USDT", "4", 30, "100", "5000", several=True),
        _fixed("2c83f41b-d6e8-490a-b5c6-a1b2c3d4e5f6", "USDT", "9", 180, "100", "50000", coins=Decimal(3000)),
        _fixed("3d94052c-e7f9-4a1b-86d7-b2c3d4e5f607", "USDT", "20", 360, "100", "5000", status=NO_COINS),
        _fixed("4ea5163d-f80a-4b2c-97e8-c3d4e5f60718", "USDT", "12", 90, "100", "5000", status=INACTIVE_PLAN),
        _fixed("5fb6274e-091b-4c3d-a8f9-d4e5f6071829", "USDT", "12", 90, "100", "5000", status=PAUSED_PLAN),
        _fixed("60c7385f-1a2c-4d4e-b90a-e5f60718293a", "USDT", "15", 90, "100", "5000", disabled=True),
        _fixed("71d84960-2b3d-4e5f-8a1b-f60718293a4b", "USDT", "25", 20, "100", "5000", special=True),
        _fixed("82e95a71-3c4e-4f60-9b2c-0718293a4b5c", "USDC", "3", 30, "50", "4000", interest_fund=Decimal(30)),
        _fixed(
            "93fa6b82-4d5f-4071-ac3d-18293a4b5c6d",
            *("BTC", "2", 30, "0.001", "5"),
            interest_ticker="USDT",
            interest_ratio=Decimal("0.00001"),
        ),
    ),
    keys=(
        Key("sandbox-key", "sandbox-secret", "sandbox"),
        Key("sandbox-key-no-lending", "sandbox-secret-no-lending", "sandbox", permissions=("balance",)),
        Key("sandbox-key-disabled", "sandbox-secret-disabled", "sandbox", enabled=False),
        Key("sandbox-key-no-fixed", "sandbox-secret-no-fixed", "sandbox", permissions=("flex", "balance")),
        Key("sandbox-key-second-user", "sandbox-secret-second-user", "second"),
    ),
    balances={
        "sandbox": {
            "BTC": Decimal(1),
            "ETH": Decimal(10),
            "EURI": Decimal(5000),
            "SOL": Decimal(50),
            "USDC": Decimal(5000),
            "USDT": Decimal(10000),
        },
        "second": {"USDT": Decimal(500)},
    },
)


_FIELDS = ("assets", "plans", "fixed_plans", "keys", "balances")


def read_scenario(raw: Mapping[str, Any] | None) -> Scenario:
    """A scenario out of JSON-like data: any of ``assets``, ``plans``, ``fixed_plans``, ``keys``, ``balances`` replaces
    the default; default Fixed plans of assets that are not there are left out.

    ``assets``: ticker -> ``{name, precision}`` and optionally ``deposits``, ``withdrawals``; ``plans``: list of
    ``{id, ticker, minimum, maximum, rate}`` and optionally ``status``, ``cap``, ``users``, ``min_withdraw``;
    ``fixed_plans``: list of ``{id, ticker, percent, duration, minimum, maximum}`` and optionally what else
    :class:`FixedPlan` has; ``keys``: list of ``{api_key, secret, user}`` and optionally ``enabled``, ``permissions``;
    ``balances``: user -> ticker -> amount.

    :raises ScenarioError: what is wrong, with the name of the field.
    """
    if raw is None:
        return DEFAULT
    if not isinstance(raw, Mapping):
        raise ScenarioError("a scenario is an object")
    unknown = sorted(set(raw) - set(_FIELDS))
    if unknown:
        raise ScenarioError(f"unknown field {unknown[0]!r}; known are {', '.join(_FIELDS)}")
    scenario = DEFAULT
    try:
        if "assets" in raw:
            assets = {t: _read_asset(t, f) for t, f in raw["assets"].items()}
            kept = (plan for plan in DEFAULT.fixed_plans if {plan.ticker, plan.interest_ticker} <= assets.keys())
            scenario = replace(scenario, assets=assets, fixed_plans=tuple(kept))
        if "plans" in raw:
            scenario = replace(scenario, plans=tuple(map(_read_plan, raw["plans"])))
        if "fixed_plans" in raw:
            scenario = replace(scenario, fixed_plans=tuple(map(_read_fixed_plan, raw["fixed_plans"])))
        if "keys" in raw:
            scenario = replace(scenario, keys=tuple(map(_read_key, raw["keys"])))
        if "balances" in raw:
            balances = {
                user: {t: read_amount(f"balances.{user}.{t}", a) for t, a in held.items()}
                for user, held in raw["balances"].items()
            }
            scenario = replace(scenario, balances=balances)
    except ScenarioError:
        raise
    except KeyError as error:
        raise ScenarioError(f"a field is missing: {error}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ScenarioError(f"a field has the wrong shape: {error}") from None
    for plan in scenario.plans:
        if plan.ticker not in scenario.assets:
            raise ScenarioError(f"plan {plan.id}: ticker {plan.ticker!r} is not among the assets")
    for fixed in scenario.fixed_plans:
        for ticker in (fixed.ticker, fixed.interest_ticker):
            if ticker not in scenario.assets:
                raise ScenarioError(f"fixed plan {fixed.id}: ticker {ticker!r} is not among the assets")
    if not scenario.keys:
        raise ScenarioError("keys: at least one is needed")
    for user, held in scenario.balances.items():
        for ticker in held:
            if ticker not in scenario.assets:
                raise ScenarioError(f"balances.{user}: ticker {ticker!r} is not among the assets")
    return scenario


def read_amount(name: str, raw: Any) -> Decimal:
    """An amount out of JSON; floats are refused because they are not exact.

    :raises ScenarioError: with the name of the field.
    """
    if isinstance(raw, bool) or not isinstance(raw, str | int | Decimal):
        raise ScenarioError(f"{name}: write amounts as strings, not {raw!r}")
    try:
        amount = Decimal(raw)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ScenarioError(f"{name}: {raw!r} is not an amount")
    return amount


def _read_plan(raw: Mapping[str, Any]) -> Plan:
    identifier = str(raw["id"])
    status = raw.get("status", OPEN)
    if status not in STATUSES:
        raise ScenarioError(f"plan {identifier}: status is one of {', '.join(STATUSES)}, not {status!r}")
    numbers = {name: read_amount(f"plan {identifier}: {name}", raw[name]) for name in ("minimum", "maximum", "rate")}
    return Plan(
        id=identifier,
        ticker=str(raw["ticker"]),
        status=status,
        cap=None if raw.get("cap") is None else read_amount(f"plan {identifier}: cap", raw["cap"]),
        users=_read_names(f"plan {identifier}: users", raw.get("users", ())),
        min_withdraw=None
        if raw.get("min_withdraw") is None
        else read_amount(f"plan {identifier}: min_withdraw", raw["min_withdraw"]),
        **numbers,
    )


def _read_asset(ticker: str, raw: Mapping[str, Any]) -> AssetFacts:
    return AssetFacts(
        str(raw["name"]),
        int(raw["precision"]),
        _read_flag(f"asset {ticker}: deposits", raw.get("deposits", True)),
        _read_flag(f"asset {ticker}: withdrawals", raw.get("withdrawals", True)),
    )


def _read_fixed_plan(raw: Mapping[str, Any]) -> FixedPlan:
    identifier = str(raw["id"])
    where = f"fixed plan {identifier}"
    status, duration = int(raw.get("status", ACTIVE_PLAN)), int(raw["duration"])
    if status not in FIXED_STATUSES:
        raise ScenarioError(f"{where}: status is one of {', '.join(map(str, FIXED_STATUSES))}, not {status!r}")
    if duration < 1:
        raise ScenarioError(f"{where}: duration is a number of minutes, not {raw['duration']!r}")
    ratio = read_amount(f"{where}: interest_ratio", raw.get("interest_ratio", "1"))
    if ratio == 0:
        raise ScenarioError(f"{where}: interest_ratio is above 0")
    ticker = str(raw["ticker"])

    def amount(name: str) -> Decimal:
        return read_amount(f"{where}: {name}", raw[name])

    def limit(name: str) -> Decimal | None:
        return None if raw.get(name) is None else amount(name)

    def flag(name: str) -> bool:
        return _read_flag(f"{where}: {name}", raw.get(name, False))

    return FixedPlan(
        id=identifier,
        ticker=ticker,
        percent=amount("percent"),
        duration=duration,
        minimum=amount("minimum"),
        maximum=amount("maximum"),
        interest_ticker=str(raw.get("interest_ticker", ticker)),
        interest_ratio=ratio,
        status=status,
        coins=limit("coins"),
        interest_fund=limit("interest_fund"),
        several=flag("several"),
        special=flag("special"),
        disabled=flag("disabled"),
    )


def _read_flag(name: str, raw: Any) -> bool:
    # YAML is read without guessing types, so that amounts stay text; flags are text there too.
    flag = {"true": True, "false": False}.get(raw.lower()) if isinstance(raw, str) else raw
    if not isinstance(flag, bool):
        raise ScenarioError(f"{name} is true or false, not {raw!r}")
    return flag


def _read_names(name: str, raw: Any) -> tuple[str, ...]:
    if isinstance(raw, str) or not all(isinstance(entry, str) for entry in raw):
        raise ScenarioError(f"{name} is a list of names, not {raw!r}")
    return tuple(raw)


def _read_key(raw: Mapping[str, Any]) -> Key:
    return Key(
        str(raw["api_key"]),
        str(raw["secret"]),
        str(raw["user"]),
        _read_flag(f"key {raw['api_key']}: enabled", raw.get("enabled", True)),
        _read_names(f"key {raw['api_key']}: permissions", raw.get("permissions", ALL_PERMISSIONS)),
    )
