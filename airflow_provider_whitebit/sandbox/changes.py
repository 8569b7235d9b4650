"""The JSON bodies of the controls, and the same changes in process, checked with pydantic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Le
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from airflow_provider_whitebit.sandbox.answers import MAINTENANCE
from airflow_provider_whitebit.sandbox.faults import ASK_TO_WAIT, KINDS, NEED_SECONDS
from airflow_provider_whitebit.sandbox.plans import Amount, FixedStatus, FlexStatus, Text

T = TypeVar("T")

#: Most seconds in one step, ten years: the interest of each day is accrued.
LONGEST_ADVANCE = 10 * 366 * 86_400
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _no_float(amount: Any) -> Any:
    if isinstance(amount, bool | float):
        raise ValueError(f"write amounts as strings, not {amount!r}")
    return amount


class FundBody(_Body):
    """``POST /sandbox/fund``."""

    ticker: str
    amount: Annotated[str | int, BeforeValidator(_no_float)]
    api_key: str | None = None
    account: str = "main"
    sub_account: str | None = None


class WithdrawBody(_Body):
    """``POST /sandbox/withdraw``."""

    ticker: str
    amount: Annotated[str | int, BeforeValidator(_no_float)]
    api_key: str | None = None


class AdvanceBody(_Body):
    """``POST /sandbox/clock/advance``."""

    seconds: Annotated[Amount, Le(LONGEST_ADVANCE)]


class KeyBody(_Body):
    """``POST /sandbox/keys``."""

    api_key: Text
    api_secret: Text
    like: str | None = None


class MaintenanceBody(_Body):
    """``POST /sandbox/maintenance``."""

    on: bool = True
    notice: Text = MAINTENANCE


class PlanChanges(_Body):
    """``POST /sandbox/plans/{id}``."""

    status: FlexStatus | None = None
    rate: Amount | None = Field(default=None, validation_alias=AliasChoices("max_rate", "rate"))
    minimum: Amount | None = None
    maximum: Amount | None = None
    cap: Amount | None = None


class FixedPlanChanges(_Body):
    """``POST /sandbox/fixed-plans/{id}``."""

    status: FixedStatus | None = None
    percent: Amount | None = None
    minimum: Amount | None = None
    maximum: Amount | None = None
    coins: Amount | None = None
    interest_fund: Amount | None = None


class AssetChanges(_Body):
    """``POST /sandbox/assets/{ticker}``."""

    deposits: bool | None = None
    withdrawals: bool | None = None


class MarketChanges(_Body):
    """``POST /sandbox/markets/{name}``."""

    last_price: Amount | None = None
    frozen: bool | None = None


class SubAccountChanges(_Body):
    """``POST /sandbox/sub-accounts/{id}``."""

    status: Text | None = None


def _known_kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; known are {', '.join(KINDS)}")
    return kind


class Fault(_Body):
    """A fault, as ``POST /sandbox/faults`` switches it on.

    :param path: the paths on which it happens, with ``*`` and ``?``.
    :param probability: its chance for each request.
    :param count: for how many requests; ``None``: until cleared. It counts down, and is shown as ``left``.
    :param seconds: how long: for ``history_lag`` on the exchange's clock, for the kinds that wait in real seconds, for
        HTTP 429 and 503 in the header ``Retry-After``.
    :param bytes: after how many bytes ``cut_reply`` cuts.
    """

    kind: Annotated[str, AfterValidator(_known_kind)]
    path: Text = "*"
    probability: Annotated[Decimal, Ge(0), Le(1)] = Decimal(1)
    count: Annotated[int, Ge(1), Le(10**9)] | None = Field(default=None, serialization_alias="left")
    seconds: Annotated[Amount, Le(10**9)] = Decimal(0)
    bytes: Annotated[int, Ge(0), Le(10**9)] = 0

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Fault:
        if self.kind in NEED_SECONDS and not self.seconds:
            raise ValueError(f"{self.kind} needs seconds")
        unused = {"seconds": self.kind not in (*NEED_SECONDS, *ASK_TO_WAIT) and self.seconds > 0}
        if self.kind == "history_lag":
            unused = {"path": self.path != "*", "probability": self.probability != 1, "count": self.count is not None}
        for name, given in unused.items():
            if given:
                raise ValueError(f"{name}: {self.kind} does not use it")
        return self

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)


# Building an adapter is slow, using it is fast.
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def checked(kind: type[T], values: Any, error: type[ValueError] = ValueError) -> T:
    """Return decoded JSON as an instance of a type.

    :param kind: a dataclass or pydantic model.
    :raises ValueError: of the class ``error``, with the name of the first wrong field.
    """
    try:
        instance: T = _adapter(kind).validate_python(values)
    except ValidationError as found:
        raise error(first_fault(found.errors())) from None
    return instance


def first_fault(faults: Sequence[Mapping[str, Any]]) -> str:
    """Return one line about the first of pydantic's errors, for example ``plans.0.rate: Field required``."""
    fault = faults[0]
    field = ".".join(str(part) for part in fault["loc"] if part != "body")
    text = "unknown field" if fault["type"] in _UNKNOWN else str(fault["msg"]).removeprefix("Value error, ")
    given = fault.get("input")
    if isinstance(given, str | int) and fault["type"] not in (*_UNKNOWN, "value_error"):
        text += f", not {given!r}"
    return f"{field}: {text}" if field else text
