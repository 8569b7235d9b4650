"""The steps for a move in doubt exist once, as data, and every document shows exactly them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from airflow_provider_whitebit.moves import doubts
from airflow_provider_whitebit.moves.intent import Operation

REPO = Path(__file__).parents[2]
DOCUMENTS = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
TEXTS = [*DOCUMENTS, *sorted((REPO / "airflow_provider_whitebit").rglob("*.py"))]
KINDS = (doubts.RECORD_STEPS, doubts.TRANSFER_STEPS, doubts.UNREADABLE_STEPS)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("doubt_steps", REPO / "scripts" / "doubt_steps.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("steps", KINDS)
def test_first_clear_the_task(steps):
    assert steps[0].startswith("Clear the task.")


@pytest.mark.parametrize("steps", KINDS[:2])
def test_then_show_and_resolve(steps):
    assert "airflow whitebit doubts show ID" in steps[1]
    assert "airflow whitebit doubts resolve ID --ran" in steps[-2]
    assert "airflow whitebit doubts resolve ID --did-not-run" in steps[-1]
    assert all("Then clear the task" in step for step in steps[-2:])


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.name)
def test_nothing_recommends_deleting_a_journal(file):
    for number, line in enumerate(file.read_text().splitlines(), 1):
        found = re.search(r"\b(delete|remove)\b[^.|]*\b(journal|entry|entries)\b", line, re.IGNORECASE)
        assert not found or "Never" in line or "never" in line, f"{file.name}:{number}: {line}"


def test_each_operation_has_its_steps():
    assert doubts.steps_for(Operation.TRANSFER) == doubts.TRANSFER_STEPS
    assert doubts.steps_for(None) == doubts.UNREADABLE_STEPS
    for operation in set(Operation) - {Operation.TRANSFER}:
        assert doubts.steps_for(operation) == doubts.RECORD_STEPS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_a_document_shows_the_steps_word_for_word(script, document):
    text = document.read_text()
    assert text == script.rewritten(text), "run python scripts/doubt_steps.py"
    found = script.blocks(text)
    assert len(found) == len(re.findall("doubt-steps", text)) / 2, "a marker is alone"
    assert sorted(found) in ([], ["records", "transfers"])


@pytest.mark.parametrize("name", ["README.md", "docs/operations.md", "docs/treasury-page.md"])
def test_these_documents_show_the_steps(script, name):
    assert script.blocks((REPO / name).read_text()) == ["records", "transfers"]
