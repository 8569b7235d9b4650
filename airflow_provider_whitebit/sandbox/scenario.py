"""Read a scenario: the assets, plans, keys and balances that a sandbox starts with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
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
        and ``markets`` are objects, the others lists; amounts are strings. Default Fixed plans and markets whose assets
        are missing are left out.
    :raises ScenarioError: with the name of the first wrong field.
    """
    if not isinstance(raw, Mapping):
        raise ScenarioError("a scenario is an object")
    _refuse_floats(raw)
    values = {field.name: getattr(DEFAULT, field.name) for field in fields(Scenario)} | dict(raw)
    if "fixed_plans" not in raw and isinstance(values["assets"], Mapping):
        values["fixed_plans"] = tuple(
            plan for plan in DEFAULT.fixed_plans if {plan.ticker, plan.interest_ticker} <= values["assets"].keys()
        )
    if "markets" not in raw and isinstance(values["assets"], Mapping):
        values["markets"] = {
            name: market for name, market in DEFAULT.markets.items() if not unknown_assets(name, values["assets"])
        }
    scenario = checked(Scenario, values, ScenarioError)
    unknown = [(place, ticker) for place, ticker in _tickers(scenario) if ticker not in scenario.assets]
    unknown += ((f"market {name}", one) for name in scenario.markets for one in unknown_assets(name, scenario.assets))
    for place, ticker in unknown:
        raise ScenarioError(f"{place}: ticker {ticker!r} is not among the assets")
    return scenario


def load_scenario(path: Path) -> Any:
    """Return a decoded JSON or YAML file.

    :raises ScenarioError: if it cannot be decoded.
    :raises OSError: if it cannot be read.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix in (".yaml", ".yml"):
        return _decode_yaml(path, text)
    try:
        return json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as error:
        raise ScenarioError(f"{path} is not valid JSON: {error}") from None


def _decode_yaml(path: Path, text: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise ScenarioError(f"{path} needs PyYAML, which is not installed; JSON works without it") from None
    try:
        # BaseLoader keeps numbers as the text in the file: amounts must not pass through floats.
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path} is not valid YAML: {error}") from None


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
