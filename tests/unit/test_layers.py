"""Imports point downwards only, and money moves through one door."""

from __future__ import annotations

import ast
import re
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
    "triggers": {"client", "moves", "treasury", "hooks", "triggers"},
    "operators": {"client", "moves", "treasury", "hooks", "triggers", "operators"},
    "sensors": {"client", "moves", "treasury", "hooks", "triggers", "operators", "sensors"},
    "plugins": {"client", "moves", "treasury", "hooks", "triggers", "plugins"},
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


def test_the_sandbox_knows_no_client_library():
    for file in (ROOT / "sandbox").rglob("*.py"):
        assert not {"requests", "tenacity"} & {name.split(".")[0] for name in imports(file)}


def test_only_moves_send_moves():
    for file in ROOT.rglob("*.py"):
        place = file.relative_to(ROOT).parts[0]
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("send_move", "once"):
                allowed = (place, file.name) in {("client", "api.py"), ("moves", "drivers.py")}
                assert allowed, f"{file.relative_to(ROOT)} reaches a money-moving call by {node.attr}"
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and place != "sandbox":
                for end in ("/investments/invest", "/investments/withdraw", "/investments/close"):
                    assert end not in node.value or (place, file.name) == ("client", "api.py"), file


def test_http_lives_in_the_transport():
    for file in ROOT.rglob("*.py"):
        place = file.relative_to(ROOT)
        if place.parts[0] not in ("sandbox", "testing.py") and place.as_posix() != "client/transport.py":
            assert not {"requests", "urllib3", "http", "httpx"} & {name.split(".")[0] for name in imports(file)}, place


def test_no_float_arithmetic():
    """``float(`` stands only where seconds of waiting are handed to asyncio."""
    for file in ROOT.rglob("*.py"):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if re.search(r"\bfloat\(", line):
                assert file.name == "app.py" and "asyncio.sleep(" in line, f"{file}:{number}: {line}"
