"""Writes ``tests/unit/public_api.txt``: everything by which users, their DAGs and their alarms know this package.

A name that changes here changes in a user's DAG, dashboard or database: a test compares the file with the code.
Wording (advice, labels, texts of notices) may change and is listed by its name alone.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import dataclasses
import importlib
import importlib.metadata
import inspect
import sys
import textwrap
import tomllib
import typing
from collections.abc import Iterable, Iterator
from contextlib import closing
from decimal import Decimal
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

REPO = Path(__file__).resolve().parent.parent
FILE = REPO / "tests" / "unit" / "public_api.txt"
PACKAGE = "airflow_provider_whitebit"
#: Modules of which every name without an underscore is public.
MODULES = (
    "client.api",
    "client.errors",
    "client.models",
    "hooks.connection_form",
    "hooks.digests",
    "hooks.forecasts",
    "hooks.journal_entries",
    "hooks.statements",
    "hooks.valuation",
    "hooks.whitebit",
    "moves.doubts",
    "moves.intent",
    "moves.limits",
    "moves.requests",
    "notifications.texts",
    "operators.account",
    "operators.approval",
    "operators.digest",
    "operators.doubts",
    "operators.fixed",
    "operators.flex",
    "operators.journal_entries",
    "operators.forecast",
    "operators.links",
    "operators.retries",
    "operators.sub_accounts",
    "operators.treasury",
    "operators.valuation",
    "sensors.whitebit",
    "testing",
    "treasury.digest",
    "treasury.digest_page",
    "treasury.forecast",
    "treasury.planning",
    "treasury.policy",
    "treasury.policy_schema",
    "treasury.requests",
    "treasury.valuation",
    "triggers.events",
    "triggers.reconcile",
    "triggers.watch",
)
#: Public names of modules that are not public otherwise.
NAMES = (
    "sensors.whitebit.WhiteBitSensor",
    "treasury.statement.ReinvestedAs",
    "treasury.planning.Holdings",
    "treasury.planning.PlanOutcome",
    "treasury.planning.PlannedMove",
    "treasury.planning.TreasuryPlan",
    "treasury.statement.Day",
    "treasury.statement.Figures",
    "treasury.statement.PlanStatement",
    "treasury.statement.Statement",
    "treasury.statement.StatementRow",
    "treasury.statement.TickerStatement",
    "treasury.statement_page.render_page",
)
#: Beginnings of what only newer versions of Airflow have, and since which.
SINCE = {"operators.retries.": (3, 3), "page: GET ": (3, 1), "page: POST ": (3, 1)}


def absent() -> tuple[str, ...]:
    """Beginnings of the lines for which the installed Airflow is too old."""
    major, minor = importlib.metadata.version("apache-airflow-core").split(".")[:2]
    return tuple(start for start, since in SINCE.items() if (int(major), int(minor)) < since)


def text() -> str:
    """The whole file: a paragraph for each kind of name."""
    kinds = (python_names, connection, provider, distribution, commands, sandbox, page, metrics, kept, assets)
    return "\n\n".join("\n".join(sorted(set(kind()))) for kind in kinds) + "\n"


def python_names() -> Iterator[str]:
    """What is imported: classes, their parameters, attributes and methods, functions, fixtures, constants."""
    package = importlib.import_module(PACKAGE)
    yield f"{PACKAGE}.__version__"
    yield from _named(PACKAGE, package, ["get_provider_info"])
    for name in MODULES:
        if not f"{name}.".startswith(absent()):
            module = importlib.import_module(f"{PACKAGE}.{name}")
            yield from _named(name, module, filter(_public, _defined(module)))
    for name in NAMES:
        room, _, title = name.rpartition(".")
        yield from _named(room, importlib.import_module(f"{PACKAGE}.{room}"), [title])


def connection() -> Iterator[str]:
    """The connection: its type and its fields."""
    from airflow_provider_whitebit.hooks.connection_form import CONNECTION_TYPE, FIELDS, RELABELING

    yield f"connection: conn_type = {CONNECTION_TYPE!r}"
    yield from (f"connection: {name}" for name in RELABELING)
    for field in FIELDS:
        yield f"connection: extra.{field.name} = {field.default!r}{_choices(field.choices)}"


def provider() -> Iterator[str]:
    """The provider info that Airflow reads, without its wording."""
    info = importlib.import_module(PACKAGE).get_provider_info()
    for name in info.keys() - {"versions", "description"}:
        yield from _leaves(f"provider: {name}", info[name], without={"conn-fields", "ui-field-behaviour", "tags"})


def distribution() -> Iterator[str]:
    """What is installed: the distribution, its extras and its entry points."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    yield f"distribution: {project['name']}"
    yield from (f"distribution: [{extra}]" for extra in project["optional-dependencies"])
    for group, points in {"console_scripts": project["scripts"], **project["entry-points"]}.items():
        yield from (f"distribution: {group} {name} = {target}" for name, target in points.items())


def commands() -> Iterator[str]:
    """The command's own commands, their arguments and options."""
    from airflow_provider_whitebit.backtest import cli as backtest
    from airflow_provider_whitebit.sandbox import cli as exchange

    for parser in (exchange._parser(), backtest._parser()):
        yield from (f"command: {line}" for line in _arguments(parser))


def sandbox() -> Iterator[str]:
    """The sandbox's controls, the fields that they take, its faults and quirks."""
    from airflow_provider_whitebit.sandbox.app import controls
    from airflow_provider_whitebit.sandbox.exchange import Exchange
    from airflow_provider_whitebit.sandbox.faults import KINDS
    from airflow_provider_whitebit.sandbox.quirks import QUIRKS

    with closing(Exchange()) as exchange:
        routes = list(_routes(controls(exchange)))
    for route in routes:
        for method in route.methods:
            yield f"sandbox: {method} {route.path}"
            yield from (f"sandbox: {method} {route.path} {field}" for field in _body(route.endpoint))
    yield from (f"sandbox: fault {kind}" for kind in KINDS)
    yield from (f"sandbox: quirk {name}" for name in QUIRKS)


def page() -> Iterator[str]:
    """The plugin, and the address of the Treasury page."""
    from airflow_provider_whitebit.plugins.whitebit import WhiteBitPlugin

    plugin = WhiteBitPlugin()
    yield f"page: plugin {plugin.name}"
    for view in plugin.external_views:
        for name in ("name", "href", "url_route", "destination"):
            yield f"page: navigation {name} = {view[name]!r}"
    for mounted in plugin.fastapi_apps:
        for route in _routes(mounted["app"]):
            yield from (f"page: {method} {mounted['url_prefix']}{route.path}" for method in route.methods)


def metrics() -> Iterator[str]:
    """The metrics with their tags, as they are sent when everything happens once."""
    from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitInDoubtError
    from airflow_provider_whitebit.hooks import metrics as sent

    meter = _Meter()
    with patch.object(sent, "stats", return_value=meter):
        requests = sent.RequestMetrics()
        requests.answered("/path", 200, 1)
        requests.refused("/path", WhiteBitError("refused"))
        requests.repeated("/path")
        for receipt in _receipts():
            sent.count_move(receipt, 0)
        for error in (WhiteBitError("failed"), WhiteBitInDoubtError("in doubt")):
            sent.count_failure("transfer", error)
    yield from (f"metric: {line}" for line in meter.sent)


def kept() -> Iterator[str]:
    """Names under which Airflow keeps the package's data: tasks and triggers must find them again after an upgrade."""
    yield from (f"kept: {line}" for line in (*_journals(), *_trigger_states()))


def assets() -> Iterator[str]:
    """Addresses of the assets that receipts are events of, and their alias."""
    from airflow_provider_whitebit.hooks.assets import announce

    outlets = _Outlets()
    task, hook = SimpleNamespace(outlets=[]), SimpleNamespace(whitebit_conn_id="CONNECTION")
    for receipt in _receipts():
        announce({"ti": SimpleNamespace(task=task), "outlet_events": outlets}, hook, receipt)
    yield from (f"asset: {uri}" for uri in outlets.announced)
    yield from (f"asset: alias {alias.name}" for alias in task.outlets)


def _defined(module: ModuleType) -> Iterator[str]:
    """Names that a module defines itself, also those whose values do not tell where they were made."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


def _named(room: str, module: ModuleType, titles: Iterable[str]) -> Iterator[str]:
    """Names of one module; those in small letters that are no functions, like a logger, are its own business."""
    fixtures = set(_fixtures(module))
    for title in titles:
        thing, path = getattr(module, title), f"{room}.{title}"
        if title in fixtures:
            yield f"{path} (pytest fixture)"
        elif inspect.isclass(thing):
            yield from _class(path, thing)
        elif inspect.isfunction(thing):
            yield f"{path}{_signature(thing)}"
        elif title.isupper() or typing.get_origin(thing):
            yield f"{path}{'' if isinstance(thing, dict) else _value(thing)}"


def _fixtures(module: ModuleType) -> Iterator[str]:
    for node in ast.parse(inspect.getsource(module)).body:
        decorators = getattr(node, "decorator_list", [])
        if any(ast.unparse(decorator).startswith("pytest.fixture") for decorator in decorators):
            yield node.name


def _class(path: str, thing: type) -> Iterator[str]:
    # What Airflow's or Python's own base classes bring is theirs to keep.
    own = [base for base in thing.__mro__ if base.__module__.startswith(PACKAGE)]
    yield f"{path}({', '.join(base.__name__ for base in thing.__bases__)})"
    fields: dict[str, str] = {}
    if issubclass(thing, Enum):
        fields = {member.name: f" = {member.value!r}" for member in thing}
    elif "__dataclass_fields__" in vars(thing):  # not inherited: operators of Airflow are made of one
        fields = {field.name: _default(field) for field in dataclasses.fields(thing)}
    elif hasattr(thing, "model_fields"):  # of pydantic
        fields = {name: _model_default(field) for name, field in thing.model_fields.items()}
    else:
        yield from _made(path, thing, own)
    yield from (f"{path}.{name}{value}" for name, value in fields.items() if _public(name))
    yield from _members(path, own, without={*fields, "model_config"})


def _made(path: str, thing: type, own: list[type]) -> Iterator[str]:
    """How it is made, and what its instances have beside the parameters."""
    parameters = _parameters(own)
    if any("__init__" in vars(base) for base in own):
        yield f"{path}.__init__{inspect.Signature(list(parameters.values()))}"
    if issubclass(thing, BaseException):
        yield from (f"{path}.{name}{_value(value)}" for name, value in vars(thing("")).items() if _public(name))
    else:
        yield from (f"{path}.{name}" for name in set(_assigned(own)) - parameters.keys())


def _parameters(own: list[type]) -> dict[str, inspect.Parameter]:
    """All parameters of a class, those that its bases take by ``**kwargs`` too."""
    found: dict[str, inspect.Parameter] = {}
    rest: inspect.Parameter | None = None
    for init in (vars(base)["__init__"] for base in own if "__init__" in vars(base)):
        first, rest = not found and rest is None, None
        for parameter in _bare(init):
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                rest = parameter
            elif first:
                found[parameter.name] = parameter
            else:
                found.setdefault(parameter.name, parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        if rest is None:
            return found
    return found | ({rest.name: rest} if rest else {})


def _assigned(own: list[type]) -> Iterator[str]:
    """Public attributes that methods assign to ``self``."""
    for base in own:
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base)))):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and isinstance(node.value, ast.Name)
                and node.value.id == "self"
                and _public(node.attr)
            ):
                yield node.attr


def _members(path: str, own: list[type], without: set[str]) -> Iterator[str]:
    """Methods, properties and attributes of the class, each as the nearest base has it."""
    seen = set(without)
    for base in own:
        for title, value in vars(base).items():
            if title in seen or not _public(title):
                continue
            seen.add(title)
            function = inspect.unwrap(getattr(value, "__func__", value))
            if isinstance(function, FunctionType):
                yield f"{path}.{title}{_signature(function)}"
            elif isinstance(value, property | cached_property):
                yield f"{path}.{title}"
            elif not inspect.ismemberdescriptor(value):
                yield f"{path}.{title}{_value(value)}"


def _public(title: str) -> bool:
    return title[0] != "_"


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f" = {field.default_factory()!r}"
    return "" if field.default is dataclasses.MISSING else f" = {field.default!r}"


def _model_default(field: Any) -> str:
    return "" if field.is_required() else f" = {field.get_default(call_default_factory=True)!r}"


def _value(value: Any) -> str:
    """A value where it is more than wording: plain data, or names of classes."""
    if isinstance(value, str):
        return "" if " " in value else f" = {value!r}"
    if isinstance(value, list | tuple):
        parts = [part.__name__ if inspect.isclass(part) else _value(part).removeprefix(" = ") for part in value]
        return f" = [{', '.join(parts)}]" if all(parts) else ""
    if value is None or isinstance(value, int | Decimal | dict) or typing.get_origin(value):
        return f" = {value!r}"
    return ""


def _signature(function: Any) -> str:
    return str(inspect.Signature(_bare(function)))


def _bare(function: Any) -> list[inspect.Parameter]:
    return [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]


def _leaves(path: str, value: Any, without: set[str]) -> Iterator[str]:
    if isinstance(value, dict):
        for name in value.keys() - without:
            yield from _leaves(f"{path} {name}", value[name], without)
    elif isinstance(value, list):
        for entry in value:
            yield from _leaves(path, entry, without)
    else:
        yield f"{path} = {value!r}"


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _arguments(child)
        elif not isinstance(action, argparse._HelpAction):
            default = "" if action.default is None else f" = {action.default!r}"
            yield f"{parser.prog} {' '.join(action.option_strings) or action.dest}{default}{_choices(action.choices)}"


def _choices(choices: Iterable[Any] | None) -> str:
    return f" of {', '.join(str(choice) for choice in choices)}" if choices else ""


def _routes(app: Any) -> Iterator[Any]:
    """An application's own routes, without those that FastAPI adds."""
    from fastapi.routing import APIRoute

    yield from (route for route in app.routes if isinstance(route, APIRoute))


def _body(endpoint: Any) -> Iterator[str]:
    """The fields of the JSON that a control takes."""
    body = typing.get_type_hints(endpoint).get("body")
    for name, field in getattr(body, "model_fields", {}).items():
        names = getattr(field.validation_alias, "choices", [name])
        yield f"{' or '.join(names)}{'' if field.is_required() else f' = {field.default!r}'}"


class _Meter:
    """Replaces Airflow's metrics."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def incr(self, name: str, *, tags: dict[str, str]) -> None:
        self.sent.append(f"{name} counter {' '.join(sorted(tags))}")

    def timing(self, name: str, value: float, *, tags: dict[str, str]) -> None:
        self.sent.append(f"{name} timer {' '.join(sorted(tags))}")


class _Outlets:
    """Replaces a task's ``outlet_events``."""

    def __init__(self) -> None:
        self.announced: list[str] = []

    def __getitem__(self, alias: Any) -> _Outlets:
        return self

    def add(self, asset: Any, extra: dict[str, Any]) -> None:
        self.announced.append(asset.uri)


class _Store:
    """Replaces the states that Airflow keeps of a task and of an asset: records which keys are read."""

    def __init__(self, *answers: Any) -> None:
        self.read: list[str] = []
        self._answers = list(answers)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.append(key)
        return self._answers.pop(0) if self._answers else default

    def get_all(self, keys: Iterable[str]) -> dict[str, Any]:
        return {key: found for key in keys if (found := self.get(key)) is not None}

    async def aget(self, key: str) -> Any:
        return self.get(key)


def _receipts() -> Iterator[Any]:
    """One of each kind of move, found in the exchange's records."""
    import pendulum

    from airflow_provider_whitebit.moves.intent import Move, Operation

    for operation in Operation:
        planned = Move(operation, "", "TICKER", Decimal(1)).planned()
        yield dataclasses.replace(planned, reconciled=True, executed_at=pendulum.datetime(2026, 1, 1))


def _journals() -> Iterator[str]:
    from airflow_provider_whitebit.hooks import journals, stores
    from airflow_provider_whitebit.moves.intent import Move, Operation
    from airflow_provider_whitebit.moves.keys import idempotent

    ids = {"dag_id": "DAG", "run_id": "RUN", "task_id": "TASK", "map_index": -1}
    instance = SimpleNamespace(**ids, try_number=1, max_tries=0, task=SimpleNamespace(retries=0))
    variables = _Store()
    with (
        patch.object(journals, "current_context", return_value={"ti": instance}),
        patch.object(stores, "read_variables", variables.get_all),
    ):
        for key in ("KEY", idempotent("ACCOUNT", "IDEMPOTENCY_KEY")):
            journals.slot_for(key).journal.read()
    yield from (f"Variable {name}" for name in variables.read)
    transfer = Move(Operation.TRANSFER, "", "TICKER", Decimal(1), source="main", target="spot")
    yield f"Variable {journals.VariableMarkers('ACCOUNT').name(transfer.conflict_key)}"


def _trigger_states() -> Iterator[str]:
    from airflow_provider_whitebit.treasury.occurrences import WatchState
    from airflow_provider_whitebit.triggers import state_store

    # Deliveries are read only if a state was written.
    state, variables = _Store(WatchState().to_json()), _Store()
    stores: tuple[Any, ...] = (
        state_store.AssetStateStore(SimpleNamespace(_by_name={"asset": state}), "TRIGGER"),
        state_store.VariableStateStore("TRIGGER"),
    )
    with patch.object(state_store, "read_variable", variables.get):
        for store in stores:
            asyncio.run(store.read())
    yield from (f"asset state {key}" for key in state.read)
    yield from (f"Variable {key}" for key in variables.read)


if __name__ == "__main__":
    sys.path.insert(0, str(REPO))
    if absent():
        sys.exit(f"This version of Airflow has nothing for {', '.join(absent())}: write the list with a newer one.")
    FILE.write_text(text())
    print(f"{FILE.name}: {len(FILE.read_text().splitlines())} lines")
