"""What the sandbox offers: assets, plans, keys and first balances, by default or from a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any

OPEN, PAUSED, UNAVAILABLE = "open", "paused", "unavailable"
STATUSES = (OPEN, PAUSED, UNAVAILABLE)


class ScenarioError(ValueError):
    """A scenario is wrong; the message names the field."""


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """One asset: its name and how many decimals an amount may carry."""

    name: str
    precision: int


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
class Key:
    """An API key. ``permissions`` out of ``flex`` and ``balance``."""

    api_key: str
    secret: str
    user: str
    enabled: bool = True
    permissions: tuple[str, ...] = ("flex", "balance")

    def __repr__(self) -> str:
        return f"Key(user={self.user!r}, enabled={self.enabled}, permissions={self.permissions})"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that a sandbox starts with."""

    assets: dict[str, AssetFacts]
    plans: tuple[Plan, ...]
    keys: tuple[Key, ...]
    balances: dict[str, dict[str, Decimal]] = field(default_factory=dict)


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
    keys=(
        Key("sandbox-key", "sandbox-secret", "sandbox"),
        Key("sandbox-key-no-lending", "sandbox-secret-no-lending", "sandbox", permissions=("balance",)),
        Key("sandbox-key-disabled", "sandbox-secret-disabled", "sandbox", enabled=False),
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


def read_scenario(raw: Mapping[str, Any] | None) -> Scenario:
    """A scenario out of JSON-like data: any of ``assets``, ``plans``, ``keys``, ``balances`` replaces the default.

    ``assets``: ticker -> ``{name, precision}``; ``plans``: list of ``{id, ticker, minimum, maximum, rate}`` and
    optionally ``status``, ``cap``, ``users``, ``min_withdraw``; ``keys``: list of ``{api_key, secret, user}`` and
    optionally ``enabled``, ``permissions``; ``balances``: user -> ticker -> amount.

    :raises ScenarioError: what is wrong, with the name of the field.
    """
    if raw is None:
        return DEFAULT
    if not isinstance(raw, Mapping):
        raise ScenarioError("a scenario is an object")
    unknown = sorted(set(raw) - {"assets", "plans", "keys", "balances"})
    if unknown:
        raise ScenarioError(f"unknown field {unknown[0]!r}; known are assets, plans, keys, balances")
    scenario = DEFAULT
    try:
        if "assets" in raw:
            assets = {t: AssetFacts(str(f["name"]), int(f["precision"])) for t, f in raw["assets"].items()}
            scenario = replace(scenario, assets=assets)
        if "plans" in raw:
            scenario = replace(scenario, plans=tuple(map(_read_plan, raw["plans"])))
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
        _read_names(f"key {raw['api_key']}: permissions", raw.get("permissions", ("flex", "balance"))),
    )
