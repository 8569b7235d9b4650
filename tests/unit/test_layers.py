"""Imports point downwards only, and only the moves layer sends calls that move money."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "airflow_provider_whitebit"
NAME = "airflow_provider_whitebit"
#: Each layer and what it may import of this package.
LAYERS = {
    "client": {"client"},
    "moves": {"client", "moves"},
    "treasury": {"client", "moves", "treasury"},
    "hooks": {"client", "moves", "treasury", "hooks"},
    "control": {"client", "moves", "treasury", "hooks", "control"},
    "triggers": {"client", "moves", "treasury", "hooks", "triggers"},
    "operators": {"client", "moves", "treasury", "hooks", "triggers", "operators"},
    "sensors": {"client", "moves", "treasury", "hooks", "triggers", "operators", "sensors"},
    "plugins": {"client", "moves", "treasury", "hooks", "control", "triggers", "plugins"},
    "backtest": {"client", "moves", "treasury", "sandbox", "backtest"},
    "sandbox": {"sandbox"},
}
WITHOUT_AIRFLOW = ("client", "moves", "treasury", "sandbox", "backtest")


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


FILES = sorted(file for layer in LAYERS for file in (ROOT / layer).rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_downwards(file):
    layer = file.relative_to(ROOT).parts[0]
    for name in imports(file):
        parts = name.split(".")
        if parts[0] == NAME and len(parts) > 1:
            assert parts[1] in LAYERS[layer], f"{layer}/ imports {name}"
        if layer in WITHOUT_AIRFLOW:
            assert parts[0] != "airflow", f"{layer}/ imports {name}"


def test_the_sandbox_imports_no_client_library():
    for file in (ROOT / "sandbox").rglob("*.py"):
        assert not {"requests", "tenacity"} & {name.split(".")[0] for name in imports(file)}


#: Who may use what sends a call that is not a plain read.
SENDERS = {
    "send_move": {"moves/drivers.py"},
    "claim_nonce": {"moves/drivers.py"},
    "switch_auto_reinvest": {"hooks/executor.py", "hooks/whitebit.py", "backtest/run.py"},
    "_once": {"client/_moving.py"},
    "_repeatable": {"client/_moving.py", "client/api.py", "client/transport.py"},
}
#: Who may have a client that moves money. The backtest's exchange is in its own process.
HOLDERS = {"moves/execution.py", "hooks/whitebit.py", "backtest/run.py"}


@pytest.mark.parametrize("file", sorted(ROOT.rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT)))
def test_only_moves_send_moves(file):
    place = file.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in SENDERS:
            assert place in SENDERS[node.attr], f"{place} reaches a money-moving call by {node.attr}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not place.startswith("sandbox/"):
            for end in (
                "/investments/invest",
                "/investments/withdraw",
                "/investments/close",
                "/invest",
                "/auto-invest",
            ):
                assert not node.value.endswith(end) or place in ("client/calls.py", "client/_moving.py"), place
    has_sender = any(name.startswith(f"{NAME}.client._moving") for name in imports(file))
    assert not has_sender or place in HOLDERS, f"{place} has a client that moves money"


def test_http_lives_in_the_transport():
    for file in ROOT.rglob("*.py"):
        place = file.relative_to(ROOT)
        if place.parts[0] not in ("sandbox", "testing.py") and place.as_posix() != "client/transport_http.py":
            assert not {"requests", "urllib3", "http", "httpx"} & {name.split(".")[0] for name in imports(file)}, place


def test_no_float_arithmetic():
    """``float(`` appears only where asyncio gets seconds of waiting."""
    for file in ROOT.rglob("*.py"):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if re.search(r"\bfloat\(", line):
                assert file.name == "app.py" and "asyncio.sleep(" in line, f"{file}:{number}: {line}"


def test_names_of_test_files_are_unique():
    """pytest imports test files by their names, whatever their folders."""
    folders = ROOT.parent / "tests"
    names = Counter(file.name for file in folders.rglob("test_*.py") if not (file.parent / "__init__.py").exists())
    assert [name for name, count in names.items() if count > 1] == []
