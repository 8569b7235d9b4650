"""What the sandbox offers: assets, plans, keys and first balances, by default or from a scenario.

The minimums and maximums of the default plans are in :data:`DEFAULT`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen, Predicate

# How pydantic reads these classes from a scenario.
_STRICT = {"extra": "forbid", "coerce_numbers_to_str": True}

#: Beyond these, calculating with amounts would round, and the largest would fill the memory.
_MOST, _FINEST = 10**30, 30


def at_most_30_decimals(amount: Decimal) -> bool:
    """Whether an amount has no more decimals, a zero included: ``0e-999999999`` has far more."""
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -_FINEST


Amount = Annotated[Decimal, Ge(0), Le(_MOST), Predicate(at_most_30_decimals)]
Text = Annotated[str, MinLen(1), MaxLen(1000)]
Permission = Literal["flex", "fixed", "balance"]
ALL_PERMISSIONS: tuple[Permission, ...] = ("flex", "fixed", "balance")

OPEN, PAUSED, UNAVAILABLE = "open", "paused", "unavailable"
FlexStatus = Literal["open", "paused", "unavailable"]
#: Status of a Fixed plan, as the vendor numbers it.
ACTIVE_PLAN, NO_COINS, INACTIVE_PLAN, PAUSED_PLAN = 1, 2, 3, 4
FixedStatus = Annotated[int, Ge(ACTIVE_PLAN), Le(PAUSED_PLAN)]
ACTIVE_SUB_ACCOUNT = "active"


class ScenarioError(ValueError):
    """A scenario is wrong. The message names the field."""


def _check_range(minimum: Decimal, maximum: Decimal) -> None:
    if minimum > maximum:
        raise ValueError(f"minimum {minimum:f} is above maximum {maximum:f}")


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """One asset.

    :param precision: how many decimals an amount may have.
    :param deposits: whether it can be transferred from Main to the trade and collateral balances.
    :param withdrawals: whether it can be transferred back.
    """

    __pydantic_config__ = _STRICT

    name: str
    precision: Annotated[int, Ge(0), Le(30)]
    deposits: bool = True
    withdrawals: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """One Flex plan.

    :param rate: interest as a fraction per year.
    :param cap: the most that one user may have invested in it; ``None``: no cap besides ``maximum`` for each invest.
    :param users: names of the users who may use it; empty: everyone.
    :param min_withdraw: smallest withdrawal.
    """

    __pydantic_config__ = _STRICT

    id: Text
    ticker: str
    minimum: Amount
    maximum: Amount
    rate: Amount
    status: FlexStatus = "open"
    cap: Amount | None = None
    users: tuple[str, ...] = ()
    min_withdraw: Amount | None = None

    def __post_init__(self) -> None:
        _check_range(self.minimum, self.maximum)


@dataclass(frozen=True, slots=True)
class FixedPlan:
    """One Fixed plan.

    :param percent: interest over the whole term, in percent of the amount.
    :param duration: the term in minutes.
    :param interest_ticker: the asset in which interest is paid; by default ``ticker``.
    :param interest_ratio: units of ``ticker`` for one unit of ``interest_ticker``.
    :param status: 1 active, 2 no coins left, 3 inactive, 4 paused.
    :param coins: the most that all users together may have invested; ``None``: any amount.
    :param interest_fund: the most interest that active investments may promise together; ``None``: any amount.
    :param several: whether one user may hold several investments in it.
    :param special: whether it is a special offer, which the API does not list.
    :param disabled: whether it is switched off altogether.
    """

    __pydantic_config__ = _STRICT

    id: Text
    ticker: str
    percent: Amount
    duration: Annotated[int, Ge(1), Le(10**8)]
    minimum: Amount
    maximum: Amount
    interest_ticker: str = ""
    interest_ratio: Annotated[Amount, Gt(0)] = Decimal(1)
    status: FixedStatus = ACTIVE_PLAN
    coins: Amount | None = None
    interest_fund: Amount | None = None
    several: bool = False
    special: bool = False
    disabled: bool = False

    def __post_init__(self) -> None:
        _check_range(self.minimum, self.maximum)
        if not self.interest_ticker:
            object.__setattr__(self, "interest_ticker", self.ticker)


@dataclass(frozen=True, slots=True)
class Market:
    """One market. Nothing is traded here: its price stays as it is set.

    :param last_price: units of the second asset in its name for one unit of the first.
    :param frozen: whether trading is disabled.
    """

    __pydantic_config__ = _STRICT

    last_price: Amount
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """An API key.

    :param user: the owner of the account; a new name is a new, empty account.
    :param permissions: the groups of endpoints that are enabled for it.
    :param lending: whether lending is enabled for the account.
    :param read_only: whether it lacks the right to change anything.
    """

    __pydantic_config__ = _STRICT

    api_key: Text
    secret: Text
    user: Text = "sandbox"
    enabled: bool = True
    permissions: tuple[Permission, ...] = ALL_PERMISSIONS
    lending: bool = True
    read_only: bool = False

    def __repr__(self) -> str:
        return f"Key(user={self.user!r}, enabled={self.enabled}, permissions={self.permissions})"


@dataclass(frozen=True, slots=True)
class SubAccount:
    """A sub-account.

    :param user: the owner of its main account.
    :param status: the exchange's word; only ``active`` sub-accounts can be read and take part in transfers.
    """

    __pydantic_config__ = _STRICT

    id: Text
    alias: str
    user: Text = "sandbox"
    email: str = "s***@example.com"
    status: Text = ACTIVE_SUB_ACCOUNT


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that a sandbox starts with.

    :param markets: by name, for example ``BTC_USDT``.
    :param balances: first Main balances: user, or id of a sub-account -> ticker -> amount.
    """

    __pydantic_config__ = _STRICT

    assets: dict[str, AssetFacts]
    plans: tuple[Plan, ...]
    keys: Annotated[tuple[Key, ...], MinLen(1)]
    balances: dict[str, dict[str, Amount]] = field(default_factory=dict)
    fixed_plans: tuple[FixedPlan, ...] = ()
    sub_accounts: tuple[SubAccount, ...] = ()
    markets: dict[str, Market] = field(default_factory=dict)


def _fixed(identifier: str, ticker: str, percent: str, days: int, least: str, most: str, **more: Any) -> FixedPlan:
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
        Key("sandbox-key-no-lending", "sandbox-secret-no-lending", "sandbox", lending=False),
        Key("sandbox-key-disabled", "sandbox-secret-disabled", "sandbox", enabled=False),
        Key("sandbox-key-no-fixed", "sandbox-secret-no-fixed", "sandbox", permissions=("flex", "balance")),
        Key("sandbox-key-read-only", "sandbox-secret-read-only", "sandbox", read_only=True),
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
    sub_accounts=(
        SubAccount("a4b7c8d9-0e1f-4a2b-8c3d-4e5f60718293", "trading"),
        SubAccount("b5c8d9e0-1f2a-4b3c-9d4e-5f60718293a4", "reserve"),
        SubAccount("c6d9e0f1-2a3b-4c4d-8e5f-60718293a4b5", "new", status="unconfirmed"),
    ),
    markets={
        "BTC_USDT": Market(Decimal(100_000)),
        "ETH_USDT": Market(Decimal(4_000)),
        "EURI_USDT": Market(Decimal("1.1")),
        "SOL_USDT": Market(Decimal(200)),
        "USDC_USDT": Market(Decimal(1)),
        "USDT_EUR": Market(Decimal("0.9")),
    },
)
