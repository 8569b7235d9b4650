"""The site has every document, and the code in documents is that of the example DAGs. `make docs` checks the rest."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).parents[2]
if not (REPO / "docs").is_dir():
    pytest.skip("only in a clone", allow_module_level=True)
DOCUMENTS = [*sorted(REPO.glob("*.md")), *sorted((REPO / "docs").rglob("*.md"))]
EXAMPLES = sorted((REPO / "dags_examples").glob("*.*"))


def script(name):
    spec = importlib.util.spec_from_file_location(name, REPO / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


examples = script("examples")


def pages(entry):
    """The paths in a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [path for part in parts for path in pages(part)]


def test_each_document_is_in_the_navigation_once():
    listed = pages(yaml.safe_load((REPO / "mkdocs.yml").read_text())["nav"])
    # scripts/docs_site.py lists it with the example DAGs.
    listed.append("docs/examples.md")
    assert sorted(listed) == sorted(str(path.relative_to(REPO)) for path in DOCUMENTS), "see nav in mkdocs.yml"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_the_code_in_a_document_is_that_of_the_examples(document):
    assert examples.rewritten(document) == document.read_text(), "python scripts/examples.py writes it"


def test_each_example_is_in_the_list_of_examples():
    listed = (REPO / "docs" / "examples.md").read_text()
    assert [path.name for path in EXAMPLES if f"({path.name})" not in listed.replace("../dags_examples/", "")] == []


def test_a_section_is_shown_without_its_marks_and_its_indentation(tmp_path):
    example = tmp_path / "example.py"
    example.write_text(
        "with a:\n    # [START one]\n    b()\n    # [START two]\n    c()\n    # [END two]\n    # [END one]\n"
    )
    assert examples.section(example, "one") == "b()\nc()\n"
    assert examples.section(example, "two") == "c()\n"
    assert examples.section(example, None) == "with a:\n    b()\n    c()\n"
    with pytest.raises(ValueError, match=r"example\.py has no section three"):
        examples.section(example, "three")


def test_each_operator_sensor_and_trigger_has_a_how_to_with_lines_of_an_example():
    listed = (REPO / "tests" / "unit" / "public_api.txt").read_text()
    modules, kinds = r"(?:operators\.\w+|sensors\.\w+|triggers\.events)", r"(WhiteBit\w+(?:Operator|Sensor|Trigger))"
    found = re.findall(rf"^{modules}\.{kinds}\((\w+)\)$", listed, re.MULTILINE)
    names = {name for name, _ in found} - {base for _, base in found}
    shown = set()
    for document in (REPO / "docs" / "how-to").glob("*.md"):
        for text in document.read_text().split("\n## ")[1:]:
            words, _, code = text.partition("<!-- example:")
            shown |= {name for name in names if f"`{name}`" in words and f"{name}(" in code.replace(".partial(", "(")}
    assert names - shown == set(), "write a section in docs/how-to"
