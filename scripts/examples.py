"""Copy sections of the example DAGs into the documents that show them, between their markers.

A section of an example begins with ``# [START name]`` and ends with ``# [END name]``, as in Airflow's own examples. A
document names it as ``<!-- example: file.py name -->``. The copies are committed, so the documents can be read without
the site. ``python scripts/examples.py`` writes them; a test compares them.
"""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
DOCUMENTS = [*sorted(REPO.glob("*.md")), *sorted((REPO / "docs").rglob("*.md"))]

_MARKS = re.compile(r"^ *# \[(?:START|END) \w+\]\n", re.MULTILINE)
_BLOCK = re.compile(r"<!-- example: (\S+)(?: (\w+))? -->\n(.*?)<!-- /example -->", re.DOTALL)


def source(path: Path) -> str:
    """Return an example without the marks of its sections."""
    return _MARKS.sub("", path.read_text())


def section(path: Path, name: str | None) -> str:
    """Return a section of an example, or all of it, without indentation.

    :raises ValueError: if there is no such section.
    """
    if name is None:
        return source(path).strip("\n") + "\n"
    found = re.search(rf"^ *# \[START {name}\]\n(.*?)^ *# \[END {name}\]$", path.read_text(), re.DOTALL | re.MULTILINE)
    if not found:
        raise ValueError(f"{path.name} has no section {name}")
    return textwrap.dedent(_MARKS.sub("", found[1])).strip("\n") + "\n"


def blocks(document: Path) -> list[tuple[str, str]]:
    """Return the file and the code of each block in a document."""
    return [(found[1], found[3]) for found in _BLOCK.finditer(document.read_text())]


def rewritten(document: Path) -> str:
    """Return a document with the current code in each of its blocks.

    :raises ValueError: for a section that does not exist.
    :raises OSError: for an example that does not exist.
    """

    def block(found: re.Match[str]) -> str:
        path = next(p for p in (REPO / "dags_examples" / found[1], REPO / found[1]) if p.exists() or p.parent == REPO)
        link = os.path.relpath(path, document.parent)
        begin = found[0].partition("\n")[0]
        language = {".py": "python", ".toml": "toml", ".yaml": "yaml"}[path.suffix]
        code = section(path, found[2])
        return f"{begin}\n```{language}\n{code}```\n\n*From [{path.name}]({link}).*\n<!-- /example -->"

    return _BLOCK.sub(block, document.read_text())


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(rewritten(document))
