"""No public name, parameter or default changes unnoticed, and documents name only listed ones."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
SCRIPT = REPO / "scripts" / "public_api.py"
PACKAGE = "airflow_provider_whitebit"
DOCUMENTS = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
EXAMPLES = sorted((REPO / "dags_examples").glob("*.py"))


@pytest.fixture(scope="module")
def public_api():
    spec = importlib.util.spec_from_file_location("public_api", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def listed(public_api):
    return public_api.FILE.read_text().splitlines()


@pytest.fixture(scope="module")
def importable(listed):
    """What can be imported by the list: ``operators.flex.WhiteBitFlexPlansOperator`` and its module."""
    names = (line.split("(")[0].split()[0] for line in listed if line and not re.match("[a-z]+: ", line))
    return {name.removeprefix(f"{PACKAGE}.") for name in names}


def test_the_list_is_the_code(public_api, listed):
    here = {line for line in listed if not line.startswith(public_api.absent())}
    found = set(public_api.text().splitlines())
    assert here - found == set(), "gone or changed: users have these in their DAGs (CHANGELOG)"
    assert found - here == set(), "new: list them with python scripts/public_api.py"


def imports(tree):
    """Every name that a piece of code imports from the package, and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            room = node.module.removeprefix(PACKAGE).lstrip(".")
            yield from ((f"{room}.{alias.name}".lstrip("."), node.lineno) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                (alias.name.removeprefix(f"{PACKAGE}."), node.lineno)
                for alias in node.names
                if alias.name.split(".")[0] == PACKAGE
            )


def code_blocks(document):
    """The Python of a document, with the number of the line before it."""
    text = document.read_text()
    for block in re.finditer(r"^( *)```python\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL):
        yield block[2], text.count("\n", 0, block.start(2))


def test_what_documents_and_examples_import_is_listed(importable):
    imported = {}
    for document in DOCUMENTS:
        for code, before in code_blocks(document):
            imported |= {name: f"{document.name}:{before + line}" for name, line in imports(ast.parse(code))}
    for example in EXAMPLES:
        imported |= {name: f"{example.name}:{line}" for name, line in imports(ast.parse(example.read_text()))}
    assert {"operators.flex.WhiteBitFlexInvestOperator", "notifications.texts.FAILURE_HTML"} <= imported.keys()
    assert {name: where for name, where in imported.items() if name not in importable} == {}


def test_what_documents_name_is_listed(importable):
    """Classes, and whole modules with what is said to be in them, also outside of code."""
    titles = {name.rpartition(".")[2] for name in importable}
    rooms = {name.rpartition(".")[0] for name in importable}
    for document in DOCUMENTS:
        text = document.read_text()
        named = set(re.findall(r"\bWhiteBit[A-Z]\w+|\b(?:RECEIPT|FAILURE)_[A-Z]+\b", text))
        assert named - titles == set(), document.name
        modules = set(re.findall(rf"\b{PACKAGE}\.((?:\w+\.)*\w+)", text))
        assert modules - rooms - importable == set(), document.name


def test_the_metrics_are_those_of_the_document(listed):
    text = (REPO / "docs" / "waiting.md").read_text()
    rows = re.findall(r"^\| `(whitebit\.[\w.]+)` \| (\w+)[^|]*\| ([^|]+) \|", text, re.MULTILINE)
    shown = {f"metric: {name} {kind} {' '.join(sorted(tags.strip('`').split('`, `')))}" for name, kind, tags in rows}
    assert shown == {line for line in listed if line.startswith("metric: ")}


def test_no_metric_is_sent_that_is_not_listed(listed):
    """The list is made by sending each metric once; here is every name in the code."""
    source = (REPO / PACKAGE / "hooks" / "metrics.py").read_text()
    names = set(re.findall(r'"(whitebit\.[\w.]+)"', source))
    assert names == {line.split()[1] for line in listed if line.startswith("metric: ")}


def test_the_sandboxs_controls_are_those_of_the_document(listed):
    shown = set(re.findall(r"`(?:POST|GET|DELETE) (/sandbox/[a-z/-]+)", (REPO / "docs" / "sandbox.md").read_text()))
    assert shown <= {re.sub(r"\{.*", "", line.split()[2]) for line in listed if line.startswith("sandbox: ")}
