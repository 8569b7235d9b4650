"""What a treasury wants: how much of each asset stays in Main, and which Flex plans may hold the rest.

A policy is a mapping of tickers, as Airflow params, JSON or YAML carry it::

    USDT:
      reserve: "5000"
      min_move: "100"
      liquidity:
        - {amount: "20000", by: "2026-03-31T12:00:00Z"}
      plans:
        max_share: "0.5"

It is read strictly: an unknown field, a float or a name that YAML would bend is an error, because money follows it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

import pendulum
import yaml

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import to_json
from airflow_provider_whitebit.treasury import choice

#: Seconds before ``by`` from which on a liquidity need is held in Main, unless the policy says otherwise.
DEFAULT_NOTICE = 3600

_ZERO = Decimal(0)
_ONE = Decimal(1)
_NOTICE = re.compile(r"(\d{1,9}) ?([smhd]?)", re.ASCII)
_LONGEST_NOTICE = 366 * 86400
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_AMOUNT_PATTERN = r"^\d{1,30}(\.\d{1,30})?$"
_SHARE_PATTERN = r"^(0(\.\d{1,30})?|1(\.0{1,30})?)$"
_PLAN_ID_PATTERN = "^[A-Za-z0-9_-]{1,64}$"
_TICKER_PATTERN = "^[A-Za-z0-9_]{1,20}$"
_NOTICE_PATTERN = "^[0-9]{1,9} ?[smhd]?$"

_T = TypeVar("_T")


class Choose(StrEnum):
    """In which order permitted plans are filled."""

    HIGHEST_RATE = "highest_rate"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class PlanRules:
    """Which Flex plans of an asset may hold how much of it.

    Plan ids are in small letters. Shares are fractions of the total, which is Main and what is invested in Flex.

    :param choose: fill the plan with the highest ``max_rate`` first, or in the order of ``only``.
    :param only: the plans that may be invested in; empty: all that are on offer.
    :param exclude: plans that may not.
    :param max_share: the largest share of the total in one plan.
    :param max_amount: the largest amount in one plan, in units of the asset.
    :param targets: share of the total by plan. With targets, no other plan may hold anything, and what no target
        claims stays in Main.
    :param follow_rate: whether to move what is invested to plans with a higher ``max_rate``.
    :param min_gain: by how much that rate must be higher, in the unit of ``max_rate``.
    """

    choose: Choose = Choose.HIGHEST_RATE
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_share: Decimal | None = None
    max_amount: Decimal | None = None
    targets: Mapping[str, Decimal] = field(default_factory=dict)
    follow_rate: bool = False
    min_gain: Decimal = _ZERO

    @property
    def named(self) -> tuple[str, ...]:
        """The plans that the policy names to be invested in."""
        return tuple(self.targets) or self.only

    def permits(self, plan_id: str) -> bool:
        """Whether a plan may hold anything."""
        name = plan_id.lower()
        return name not in self.exclude and (not self.named or name in self.named)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; fields at their default are left out."""
        return _without_defaults(
            {
                "choose": str(self.choose),
                "only": list(self.only),
                "exclude": list(self.exclude),
                "max_share": to_json(self.max_share),
                "max_amount": to_json(self.max_amount),
                "targets": {name: to_json(share) for name, share in self.targets.items()},
                "follow_rate": self.follow_rate,
                "min_gain": to_json(self.min_gain),
            },
            {"choose": "highest_rate", "follow_rate": False, "min_gain": "0"},
        )


@dataclass(frozen=True, slots=True)
class LiquidityNeed:
    """So much more must be in Main by a moment.

    :param amount: on top of the reserve, in units of the asset.
    :param by: the moment, UTC; after it the need is over.
    """

    amount: Decimal
    by: pendulum.DateTime

    def due(self, now: pendulum.DateTime, notice: int) -> bool:
        """Whether it has to be in Main now.

        :param now: UTC.
        :param notice: seconds before ``by`` from which on it has to.
        """
        return now <= self.by <= now.add(seconds=notice)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"amount": to_json(self.amount), "by": to_json(self.by)}


@dataclass(frozen=True, slots=True)
class TickerPolicy:
    """What is wanted for one asset.

    :param reserve: what stays in Main, in units of the asset.
    :param reserve_share: what stays in Main, as a fraction of the total (Main and Flex); the larger of both counts.
    :param min_move: the smallest move worth making, in units of the asset.
    :param plans: which plans may hold the rest.
    :param auto_reinvest: whether investments get auto-reinvest; ``None``: they stay as they are.
    :param liquidity: what must be in Main by certain moments.
    :param notice: seconds before such a moment from which on its amount is held in Main.
    """

    reserve: Decimal = _ZERO
    reserve_share: Decimal = _ZERO
    min_move: Decimal = _ZERO
    plans: PlanRules = field(default_factory=PlanRules)
    auto_reinvest: bool | None = None
    liquidity: tuple[LiquidityNeed, ...] = ()
    notice: int = DEFAULT_NOTICE

    def due(self, now: pendulum.DateTime) -> Decimal:
        """What liquidity needs claim in Main now, on top of the reserve.

        :param now: UTC.
        :returns: units of the asset.
        """
        return sum((need.amount for need in self.liquidity if need.due(now, self.notice)), _ZERO)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; fields at their default are left out."""
        return _without_defaults(
            {
                "reserve": to_json(self.reserve),
                "reserve_share": to_json(self.reserve_share),
                "min_move": to_json(self.min_move),
                "plans": self.plans.to_json(),
                "auto_reinvest": self.auto_reinvest,
                "liquidity": [need.to_json() for need in self.liquidity],
                "notice": self.notice,
            },
            {"reserve": "0", "reserve_share": "0", "min_move": "0", "notice": DEFAULT_NOTICE},
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """What is wanted, by ticker. Assets that it does not name are left alone."""

    tickers: Mapping[str, TickerPolicy]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; :func:`read_policy` reads it back to an equal policy."""
        return {ticker: wanted.to_json() for ticker, wanted in self.tickers.items()}


def read_policy(raw: object) -> Policy:
    """A policy out of what a caller gives.

    :param raw: a mapping of tickers (Airflow params, decoded JSON), the text of one in JSON or YAML, or a policy.
    :raises WhiteBitValidationError: what is wrong with it and where, for example ``USDT.plans.max_share``.
    """
    if isinstance(raw, Policy):
        return raw
    tickers: dict[str, TickerPolicy] = {}
    for name, wanted in _mapping("policy", _parsed(raw) if isinstance(raw, str) else raw).items():
        try:
            ticker = choice.read_ticker(name)
        except WhiteBitValidationError:
            raise _fault("policy", f"{_shown(name)} is no ticker: write it like USDT") from None
        if ticker in tickers:
            raise _fault("policy", f"{ticker} stands there twice")
        tickers[ticker] = _ticker_policy(ticker, wanted)
    if not tickers:
        raise _fault("policy", 'names no ticker: write at least one, for example {"USDT": {"reserve": "1000"}}')
    return Policy(tickers)


def policy_schema() -> dict[str, Any]:
    """The JSON schema of a policy, for an Airflow ``Param``.

    It checks form; what fields mean together, only :func:`read_policy` checks.
    """
    boolean, plan_ids = ["boolean", "null"], {"type": "string", "pattern": _PLAN_ID_PATTERN}
    plans = {
        "choose": {"enum": [*map(str, Choose), None], "description": "Which plan is filled first."},
        "only": {"type": ["array", "null"], "items": plan_ids, "minItems": 1, "description": "Permitted plans."},
        "exclude": {"type": ["array", "null"], "items": plan_ids, "description": "Plans that are not permitted."},
        "max_share": _number_schema(_SHARE_PATTERN, "Largest share of the total in one plan, 0 to 1.", most=1),
        "max_amount": _number_schema(_AMOUNT_PATTERN, "Largest amount in one plan."),
        "targets": {
            "type": ["object", "null"],
            "patternProperties": {_PLAN_ID_PATTERN: _number_schema(_SHARE_PATTERN, "", most=1)},
            "additionalProperties": False,
            "description": "Share of the total by plan; no other plan may hold anything.",
        },
        "follow_rate": {"type": boolean, "description": "Move investments to plans with a higher rate."},
        "min_gain": _number_schema(_AMOUNT_PATTERN, "By how much that rate must be higher."),
    }
    need = {
        "amount": {**_number_schema(_AMOUNT_PATTERN, "Amount, on top of the reserve."), "type": ["string", "integer"]},
        "by": {"type": "string", "description": "ISO 8601 with time zone.", "format": "date-time"},
    }
    wanted = {
        "reserve": _number_schema(_AMOUNT_PATTERN, "Amount that stays in Main."),
        "reserve_share": _number_schema(_SHARE_PATTERN, "Share of the total that stays in Main, 0 to 1.", most=1),
        "min_move": _number_schema(_AMOUNT_PATTERN, "Smallest move worth making."),
        "plans": _object_schema(plans),
        "auto_reinvest": {"type": boolean, "description": "Switch auto-reinvest; empty: leave it as it is."},
        "liquidity": {"type": ["array", "null"], "items": {**_object_schema(need, list(need)), "type": "object"}},
        "notice": _number_schema(_NOTICE_PATTERN, 'How long before, in seconds or like "2h".'),
    }
    return {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {_TICKER_PATTERN: _object_schema(wanted)},
        "additionalProperties": False,
    }


def _number_schema(pattern: str, description: str, most: int | None = None) -> dict[str, Any]:
    schema = {"type": ["string", "integer", "null"], "pattern": pattern, "minimum": 0, "description": description}
    return schema if most is None else {**schema, "maximum": most}


def _object_schema(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {
        "type": ["object", "null"],
        "properties": properties,
        "required": required or [],
        "additionalProperties": False,
    }


def _ticker_policy(path: str, raw: object) -> TickerPolicy:
    read = _Fields(path, {} if raw is None else raw, TickerPolicy)
    policy = TickerPolicy(
        reserve=read.amount("reserve") or _ZERO,
        reserve_share=read.share("reserve_share") or _ZERO,
        min_move=read.amount("min_move") or _ZERO,
        plans=_plan_rules(f"{path}.plans", read.get("plans")),
        auto_reinvest=read.boolean("auto_reinvest"),
        liquidity=tuple(_need(f"{path}.liquidity[{at}]", need) for at, need in enumerate(read.list("liquidity"))),
        notice=read.notice("notice"),
    )
    claimed = policy.reserve_share + sum(policy.plans.targets.values())
    if policy.plans.targets and claimed > 1:
        raise _fault(
            f"{path}.plans.targets",
            f"claim {claimed:f} of the total together with reserve_share: they may claim 1 at most",
        )
    return policy


def _plan_rules(path: str, raw: object) -> PlanRules:
    read = _Fields(path, {} if raw is None else raw, PlanRules)
    rules = PlanRules(
        choose=read.one_of("choose", Choose) or Choose.HIGHEST_RATE,
        only=read.plan_ids("only"),
        exclude=read.plan_ids("exclude"),
        max_share=read.share("max_share"),
        max_amount=read.amount("max_amount"),
        targets=read.targets("targets"),
        follow_rate=read.boolean("follow_rate") or False,
        min_gain=read.amount("min_gain") or _ZERO,
    )
    if read.get("only") is not None and not rules.only:
        raise _fault(f"{path}.only", 'is empty: leave it out to permit every plan; reserve_share "1" keeps all in Main')
    _check_together(path, rules)
    return rules


def _check_together(path: str, rules: PlanRules) -> None:
    """:raises WhiteBitValidationError: if fields contradict each other."""
    if rules.choose is Choose.LIST and not rules.only:
        raise _fault(f"{path}.choose", "is list, but there is no list: write the plans in their order in only")
    if rules.targets and rules.only:
        raise _fault(f"{path}.only", "stands beside targets, which already say which plans may be used: drop one")
    if both := set(rules.named) & set(rules.exclude):
        raise _fault(f"{path}.exclude", f"names {', '.join(sorted(both))}, which {path} also names to be used")
    if rules.follow_rate and (rules.targets or rules.choose is Choose.LIST):
        raise _fault(f"{path}.follow_rate", "only works with choose highest_rate and without targets")
    if rules.min_gain and not rules.follow_rate:
        raise _fault(f"{path}.min_gain", "has no effect without follow_rate: set that to true or drop min_gain")


def _need(path: str, raw: object) -> LiquidityNeed:
    read = _Fields(path, raw, LiquidityNeed)
    amount, by = read.amount("amount"), read.get("by")
    if not amount:
        raise _fault(f"{path}.amount", 'is missing or zero: write an amount, for example "20000"')
    return LiquidityNeed(amount, _moment(f"{path}.by", by))


def _moment(path: str, raw: object) -> pendulum.DateTime:
    right = "write it with its time zone, for example 2026-03-31T12:00:00Z"
    try:
        moment = datetime.fromisoformat(raw.strip()) if isinstance(raw, str) else raw
    except ValueError:
        raise _fault(path, f"is {_shown(raw)}, which is no ISO 8601 time: {right}") from None
    if not isinstance(moment, datetime):
        raise _fault(path, f"is {_shown(raw)}: {right}")
    if moment.utcoffset() is None:
        raise _fault(path, f"is {_shown(raw)}, which has no time zone: {right}")
    try:
        return pendulum.instance(moment).in_timezone("UTC")
    except (ValueError, OverflowError):
        raise _fault(path, f"is {_shown(raw)}, which lies outside the calendar: {right}") from None


class _Fields:
    """Takes the fields out of one mapping and says which one is at fault. ``None`` stands for: not given."""

    def __init__(self, path: str, raw: object, kind: type[Any]) -> None:
        self._path = path
        self._raw = _mapping(path, raw)
        known = list(kind.__dataclass_fields__)
        for name in self._raw:
            if name not in known:
                raise _fault(path, _unknown(name, known))

    def get(self, name: str) -> Any:
        return self._raw.get(name)

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}"

    def amount(self, name: str) -> Decimal | None:
        raw = self.get(name)
        return None if raw is None else _amount(self._at(name), raw)

    def share(self, name: str) -> Decimal | None:
        raw = self.get(name)
        return None if raw is None else _share(self._at(name), raw)

    def boolean(self, name: str) -> bool | None:
        raw = self.get(name)
        if raw is not None and not isinstance(raw, bool):
            raise _fault(self._at(name), f"is {_shown(raw)}: write true or false")
        return raw

    def list(self, name: str) -> list[Any]:
        raw = self.get(name)
        if raw is not None and not isinstance(raw, list | tuple):
            raise _fault(self._at(name), f"is {_shown(raw)}: write a list")
        return list(raw or ())

    def one_of(self, name: str, kind: type[Choose]) -> Choose | None:
        raw = self.get(name)
        try:
            return None if raw is None else kind(raw)
        except ValueError:
            raise _fault(self._at(name), f"is {_shown(raw)}: write one of {', '.join(kind)}") from None

    def plan_ids(self, name: str) -> tuple[str, ...]:
        found = tuple(_plan_id(f"{self._at(name)}[{at}]", raw) for at, raw in enumerate(self.list(name)))
        return _once(self._at(name), found)

    def targets(self, name: str) -> dict[str, Decimal]:
        raw = self.get(name)
        pairs = [
            (_plan_id(self._at(name), key), _share(f"{self._at(name)}.{key}", share))
            for key, share in _mapping(self._at(name), {} if raw is None else raw).items()
        ]
        _once(self._at(name), tuple(key for key, _ in pairs))
        if sum(share for _, share in pairs) > 1:
            raise _fault(self._at(name), f"add up to {sum(share for _, share in pairs):f}: they may claim 1 at most")
        return dict(pairs)

    def notice(self, name: str) -> int:
        raw = self.get(name)
        if raw is None:
            return DEFAULT_NOTICE
        text = str(raw).strip() if isinstance(raw, str | int) and not isinstance(raw, bool) else ""
        found = _NOTICE.fullmatch(text)
        if found is None:
            raise _fault(self._at(name), f'is {_shown(raw)}: write whole seconds, or like "90m", "2h" or "1d"')
        seconds = int(found[1]) * _SECONDS[found[2]]
        if seconds > _LONGEST_NOTICE:
            raise _fault(self._at(name), f"is {_shown(raw)}: a year is the longest")
        return seconds


def _amount(path: str, raw: object) -> Decimal:
    """An amount or zero; plain digits, never a float."""
    if isinstance(raw, float | _Spelled):
        raise _fault(path, _not_exact(raw))
    text = format(raw, "f") if isinstance(raw, Decimal) else str(raw).strip()
    try:
        zero = not isinstance(raw, bool) and not text.strip("0.") and Decimal(text) == 0
        return _ZERO if zero else choice.read_amount(raw)
    except (WhiteBitValidationError, ArithmeticError):
        raise _fault(path, f'is {_shown(raw)}: write plain digits as a string, for example "100.5"') from None


def _not_exact(raw: float | _Spelled) -> str:
    try:
        amount = Decimal(str(raw))
        plain = format(amount, "f") if amount.is_finite() and abs(amount.adjusted()) < 30 else ""
    except ArithmeticError:
        plain = ""
    spelling = plain if re.fullmatch(_AMOUNT_PATTERN, plain) else "100.5"
    if isinstance(raw, _Spelled):
        return f'is {raw} without quotes, which programs read as a float: write it as a string, "{spelling}"'
    return f'is the float {raw!r}, which cannot hold an amount exactly: write it as a string, "{spelling}"'


def _share(path: str, raw: object) -> Decimal:
    share = _amount(path, raw)
    if share > _ONE:
        raise _fault(path, f'is {share:f}: a share lies between "0" and "1"; a quarter is "0.25"')
    return share


def _plan_id(path: str, raw: object) -> str:
    try:
        return choice.read_identifier("plan", raw).lower()
    except WhiteBitValidationError:
        raise _fault(path, f"{_shown(raw)} is no plan id: take it from the plans call, as a string") from None


def _once(path: str, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise _fault(path, f"names {name} twice")
    return names


def _mapping(path: str, raw: object) -> Mapping[Any, Any]:
    if not isinstance(raw, Mapping):
        raise _fault(path, f"is {_shown(raw)}: write a mapping of names to values")
    return raw


def _unknown(name: object, known: list[str]) -> str:
    near = difflib.get_close_matches(str(name), known, 1)
    hint = ""
    if near:
        hint = f" Did you mean {near[0]}?"
    elif str(name) in PlanRules.__dataclass_fields__:
        hint = " It belongs under plans."
    return f"has no field {_shown(name)}.{hint} The fields are {', '.join(known)}"


def _fault(path: str, what: str) -> WhiteBitValidationError:
    return WhiteBitValidationError(f"{path}: {what}.")


def _shown(raw: object) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _without_defaults(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in values.items()
        if value is not None and value not in ([], {}) and value != defaults.get(name)
    }


class _Spelled(str):
    """A number with a fraction or an exponent, as a text spelled it: YAML and JSON would make a float of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class _StrictLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML brings no types
    """YAML with the few plain types of its version 1.2.

    Version 1.1, PyYAML's own, would read the ticker ``ON`` as true, ``010`` as eight and ``1:30`` as ninety.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping, each of whose names stands there once: of two, YAML would silently take the last."""
        return _no_twins(self.construct_pairs(node, deep=True))


def _spelled(loader: _StrictLoader, node: Any) -> _Spelled:
    return _Spelled(loader.construct_scalar(node))


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("int", r"0|-?[1-9][0-9]{0,60}", "-0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _StrictLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z", re.ASCII), [*_first, ""]
    )
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _spelled)


def _no_twins(pairs: Iterable[tuple[Any, _T]]) -> dict[Any, _T]:
    found: dict[Any, _T] = {}
    for name, value in pairs:
        if isinstance(name, list | dict):
            raise _fault("policy", f"{_shown(name)} cannot be a name")
        if name in found:
            raise _fault("policy", f"{_shown(name)} stands twice in the same mapping")
        found[name] = value
    return found


def _parsed(text: str) -> Any:
    """Decoded JSON or YAML.

    :raises WhiteBitValidationError: if it is neither.
    """
    try:
        return json.loads(text, parse_float=_Spelled, parse_constant=_Spelled, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = "" if where is None else f" (line {where.line + 1})"
        problem = getattr(error, "problem", None) or type(error).__name__
        raise _fault("policy", f"is neither JSON nor YAML{line}: {problem}") from None
