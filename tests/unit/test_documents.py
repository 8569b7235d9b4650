"""Tables of the documents are complete: fields, operators, sensors, triggers, errors, faults, modules; links work."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from airflow_provider_whitebit.client import errors, meanings
from airflow_provider_whitebit.hooks.connection_form import FIELDS
from airflow_provider_whitebit.moves import intent
from airflow_provider_whitebit.sandbox.faults import KINDS
from airflow_provider_whitebit.sandbox.quirks import QUIRKS

REPO = Path(__file__).parents[2]
PACKAGE = REPO / "airflow_provider_whitebit"
DOCUMENTS = [path for path in (*sorted(REPO.glob("*.md")), *sorted((REPO / "docs").rglob("*.md")))]
if not (REPO / "docs").is_dir():
    pytest.skip("only in a clone", allow_module_level=True)


def first_cells(name):
    """The code in the first cell of every table row of a document."""
    text = (REPO / "docs" / name).read_text()
    cells = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    return {code for cell in cells for code in re.findall(r"`([^`]+)`", cell)}


def test_every_field_of_the_connection_is_listed():
    assert {field.name for field in FIELDS} <= first_cells("connection.md")


def test_every_error_is_listed():
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.WhiteBitError) and value is not errors.WhiteBitError
    }
    assert classes <= first_cells("errors.md")


def test_the_next_step_of_every_error_is_shown():
    for line in re.findall(r"^\| `WhiteBit.*", (REPO / "docs" / "errors.md").read_text(), re.MULTILINE):
        kind = getattr(errors, line.split("`")[1])
        steps = (kind.advice,) if isinstance(kind.advice, str) else kind.advice
        shown = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", line)
        assert [step for step in steps if step not in shown] == [], kind


def test_every_refusal_is_listed_with_its_text():
    text = (REPO / "docs" / "errors.md").read_text()
    listed = dict(re.findall(r"^\| `([a-z_]+)` \| (.*)", text, re.MULTILINE))
    rows = [row for row in [*vars(meanings).values(), *meanings.MEANINGS] if isinstance(row, meanings.Meaning)]
    for row in [*rows, *meanings.UNKNOWN.values()]:
        steps = row.next_step or row.error.advice
        for words in (row.sentence, row.error.__name__, *((steps,) if isinstance(steps, str) else steps)):
            assert words in listed[row.name], row.name
    assert set(listed) == {row.name for row in rows} | {"unknown"}


def test_every_fault_is_listed():
    assert set(KINDS) <= first_cells("sandbox.md")


def test_every_quirk_is_listed():
    rows = [row for row in (REPO / "docs" / "sandbox.md").read_text().splitlines() if row.startswith("| `")]
    assert [name for name, text in QUIRKS.items() if f"| `{name}` | {text} |" not in rows] == []


def test_every_operator_sensor_and_event_trigger_is_listed():
    listed = (REPO / "tests" / "unit" / "public_api.txt").read_text()
    modules, kinds = r"(?:operators\.\w+|sensors\.\w+|triggers\.events)", r"(WhiteBit\w+(?:Operator|Sensor|Trigger))"
    found = re.findall(rf"^{modules}\.{kinds}\((\w+)\)$", listed, re.MULTILINE)
    names = {name for name, _ in found} - {base for _, base in found}
    assert len(names) > 25
    text = (REPO / "docs" / "operators.md").read_text()
    assert {name for name in names if f"`{name}" not in text} == set()


def test_the_architecture_names_every_module():
    text = (REPO / "docs" / "architecture.md").read_text()
    sections = dict(re.findall(r"^### (\w+):.*?$(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL))
    assert {"client", "moves", "treasury", "hooks", "control"} == set(sections)
    for folder, section in sections.items():
        named = {code for row in re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE) for code in row.split("`")}
        modules = {path.name for path in (PACKAGE / folder).glob("*.py")} - {"__init__.py"}
        assert modules == {name for name in named if name.endswith(".py")}, folder


def test_the_architecture_has_the_state_table_of_the_code():
    table = re.findall(r"^(\S.*?)  +(open|in doubt|refused)  +(\w+(?: \w+)?)$", intent.__doc__, re.MULTILINE)
    text = (REPO / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| (OPEN|IN_DOUBT|REFUSED) \| (\w+) \|", text, re.MULTILINE)
    assert len(table) > 4
    assert {(event, *(state.upper().replace(" ", "_") for state in states)) for event, *states in table} == set(rows)


def slug(heading):
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", "")).replace(" ", "-")


def prose(path):
    return re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = (document.parent / file).resolve() if file else document
        assert target.exists(), link
        if anchor:
            assert anchor in {slug(heading) for heading in re.findall(r"^#+ (.*)$", prose(target), re.MULTILINE)}, link


def test_the_readme_is_short():
    assert len((REPO / "README.md").read_text().splitlines()) <= 250


def test_each_version_that_is_called_tested_has_a_command():
    """README, classifiers and constraints name the versions that the commands of the Makefile test, and no others."""
    lists = re.findall(r"^(NEWEST|OLDER|VERSIONS) := (.+)$", (REPO / "Makefile").read_text(), re.MULTILINE)
    assert [name for name, _ in lists] == ["NEWEST", "OLDER", "VERSIONS"]
    versions = {version for _, words in lists for version in words.split()}
    pythons = {version for version in versions if version.startswith("py")}
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    lowest = project["requires-python"].removeprefix(">=")
    named = {name.rsplit(" ", 1)[1] for name in project["classifiers"] if "Python :: 3." in name}
    assert named == {lowest, *(python.removeprefix("py") for python in pythons)}
    airflows = sorted(versions - pythons)
    assert f"Airflow {airflows[0]} or newer (tested on {', '.join(airflows)})." in (REPO / "README.md").read_text()
    assert f"apache-airflow>={airflows[0]}" in project["dependencies"]
    constrained = {path.stem for path in (REPO / "constraints").glob("*.txt")}
    assert constrained == {f"airflow-{airflow}" for airflow in airflows}
