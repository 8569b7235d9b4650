"""Read a scenario: the assets, plans, keys and balances that a sandbox starts with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow_provider_whitebit.sandbox.changes import checked
from airflow_provider_whitebit.sandbox.markets import unknown_assets
from airflow_provider_whitebit.sandbox.plans import DEFAULT, Scenario, ScenarioError


def read_scenario(raw: Any) -> Scenario:
    """Return a scenario from decoded JSON or YAML.

    :param raw: any of the fields of :class:`~.plans.Scenario`, which replace the default. ``assets``, ``balances``
        and ``markets`` are objects, the others lists; amounts are strings. Default plans, balances and markets whose
        assets are missing are left out.
    :raises ScenarioError: with the name of the first wrong field.
    """
    if not isinstance(raw, Mapping):
        raise ScenarioError("a scenario is an object")
    _refuse_floats(raw)
    values = {field.name: getattr(DEFAULT, field.name) for field in fields(Scenario)}
    if isinstance(assets := raw.get("assets"), Mapping):
        values |= _defaults_of(assets)
    scenario = checked(Scenario, values | dict(raw), ScenarioError)
    unknown = [(place, ticker) for place, ticker in _tickers(scenario) if ticker not in scenario.assets]
    unknown += ((f"market {name}", one) for name in scenario.markets for one in unknown_assets(name, scenario.assets))
    for place, ticker in unknown:
        raise ScenarioError(f"{place}: ticker {ticker!r} is not among the assets")
    _check_names(scenario, raw)
    return scenario


def _defaults_of(assets: Mapping[str, Any]) -> dict[str, Any]:
    """The default plans, balances and markets of these assets."""
    return {
        "plans": [plan for plan in DEFAULT.plans if plan.ticker in assets],
        "fixed_plans": [plan for plan in DEFAULT.fixed_plans if {plan.ticker, plan.interest_ticker} <= assets.keys()],
        "balances": {
            user: {ticker: amount for ticker, amount in held.items() if ticker in assets}
            for user, held in DEFAULT.balances.items()
        },
        "markets": {name: market for name, market in DEFAULT.markets.items() if not unknown_assets(name, assets)},
    }


def _check_names(scenario: Scenario, raw: Mapping[str, Any]) -> None:
    """Refuse names that two things have, and owners that do not exist.

    :param raw: only the owners in it are checked: the defaults may belong to users that the scenario does not have.
    """
    for name, label in (("plans", "id"), ("fixed_plans", "id"), ("keys", "api_key"), ("sub_accounts", "id")):
        used = Counter(getattr(one, label) for one in getattr(scenario, name))
        if twice := [value for value, count in used.items() if count > 1]:
            raise ScenarioError(f"{name}: several have the {label} {twice[0]!r}")
    users, accounts = {key.user for key in scenario.keys}, {one.id for one in scenario.sub_accounts}
    if "balances" in raw and (strangers := [user for user in scenario.balances if user not in users | accounts]):
        raise ScenarioError(f"balances.{strangers[0]}: no key has this user, and no sub-account this id")
    for one in scenario.sub_accounts if "sub_accounts" in raw else ():
        if one.user not in users:
            raise ScenarioError(f"sub-account {one.id}: no key has the user {one.user!r}")


def load_scenario(path: Path) -> Any:
    """Return a decoded JSON or YAML file.

    :raises ScenarioError: if it cannot be decoded.
    :raises OSError: if it cannot be read.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix in (".yaml", ".yml"):
        return _decode_yaml(path, text)
    try:
        return json.loads(text, parse_float=Decimal, object_pairs_hook=_unique)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ScenarioError(f"{path} is not valid JSON: {error}") from None


def _decode_yaml(path: Path, text: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise ScenarioError(f"{path} needs PyYAML, which is not installed; JSON works without it") from None

    # BaseLoader keeps numbers as the text in the file: amounts must not pass through floats.
    class Loader(yaml.BaseLoader):  # type: ignore[misc,unused-ignore]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            _unique([(name.value, None) for name, _ in node.value if isinstance(name.value, str)])
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    try:
        return yaml.load(text, Loader=Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ScenarioError(f"{path} is not valid YAML: {error}") from None


def _unique(entries: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of named entries. :raises ScenarioError: two have one name, so one of them would be lost."""
    if len(found := dict(entries)) < len(entries):
        names = [name for name, _ in entries]
        raise ScenarioError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice in one object")
    return found


def _refuse_floats(raw: Any, place: str = "") -> None:
    """Floats are not exact, so no field accepts them."""
    if isinstance(raw, float):
        raise ScenarioError(f"{place}: write amounts as strings, not {raw!r}")
    entries = raw.items() if isinstance(raw, Mapping) else enumerate(raw) if isinstance(raw, list | tuple) else ()
    for name, value in entries:
        _refuse_floats(value, f"{place}.{name}" if place else str(name))


def _tickers(scenario: Scenario) -> Iterable[tuple[str, str]]:
    """All tickers that a scenario names, and where."""
    for plan in scenario.plans:
        yield f"plan {plan.id}", plan.ticker
    for fixed in scenario.fixed_plans:
        yield f"fixed plan {fixed.id}", fixed.ticker
        yield f"fixed plan {fixed.id}", fixed.interest_ticker
    for user, held in scenario.balances.items():
        yield from ((f"balances.{user}", ticker) for ticker in held)
