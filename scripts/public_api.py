"""Writes ``tests/unit/public_api.txt``: every public name, its parameters and their defaults.

A name that changes here changes in somebody's DAG: a test compares the file with the code.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent.parent / "tests" / "unit" / "public_api.txt"
PACKAGE = "airflow_provider_whitebit"
MODULES = (
    "client.api",
    "client.errors",
    "client.models",
    "hooks.connection_form",
    "hooks.whitebit",
    "moves.intent",
    "notifications.texts",
    "operators.account",
    "operators.fixed",
    "operators.flex",
    "operators.links",
    "operators.retries",
    "operators.treasury",
    "sensors.whitebit",
    "testing",
    "treasury.planning",
    "treasury.policy",
    "triggers.events",
    "triggers.settle",
    "triggers.watch",
)


def lines() -> Iterator[str]:
    """The list, a line for each name."""
    for name in MODULES:
        module = importlib.import_module(f"{PACKAGE}.{name}")
        for title, thing in sorted(vars(module).items()):
            if title.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(thing):
                yield from _class(f"{name}.{title}", thing)
            elif inspect.isfunction(thing):
                yield f"{name}.{title}{_signature(thing)}"
    from airflow_provider_whitebit.hooks.connection_form import FIELDS

    yield from (f"connection.extra.{field.name} = {field.default!r}" for field in FIELDS)


def _class(path: str, thing: type) -> Iterator[str]:
    # What Airflow's or Python's own base classes bring is theirs to keep.
    own = [base for base in thing.__mro__ if base.__module__.startswith(PACKAGE)]
    yield f"{path}({', '.join(base.__name__ for base in thing.__bases__)})"
    if issubclass(thing, BaseException):
        return
    if issubclass(thing, Enum):
        yield from (f"{path}.{member.name} = {member.value!r}" for member in thing)
    elif "__dataclass_fields__" in vars(thing):
        yield from (f"{path}.{field.name}" for field in dataclasses.fields(thing) if field.name[0] != "_")
    else:
        init = next((vars(base)["__init__"] for base in own if "__init__" in vars(base)), None)
        if init is not None:
            yield f"{path}.__init__{_signature(init)}"
    if "template_fields" in dir(thing):
        yield f"{path}.template_fields = {list(thing.template_fields)}"
    seen: set[str] = set()
    for base in own:
        for title, value in vars(base).items():
            if title.startswith("_") or title in seen:
                continue
            seen.add(title)
            value = inspect.unwrap(getattr(value, "__func__", value))
            if inspect.isfunction(value):
                yield f"{path}.{title}{_signature(value)}"
            elif isinstance(value, property):
                yield f"{path}.{title}"


def _signature(function: Any) -> str:
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]
    return str(inspect.Signature(parameters))


def text() -> str:
    """The whole file."""
    return "\n".join(sorted(set(lines()))) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(FILE.parents[2]))
    FILE.write_text(text())
    print(f"{FILE.name}: {len(FILE.read_text().splitlines())} names")
