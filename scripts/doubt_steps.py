"""Write the steps for a move in doubt into the documents that show them, between their markers."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_provider_whitebit.moves.doubts import RECORD_STEPS, TRANSFER_STEPS

REPO = Path(__file__).resolve().parent.parent
DOCUMENTS = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
STEPS = {"records": RECORD_STEPS, "transfers": TRANSFER_STEPS}

_BLOCK = re.compile(r"<!-- doubt-steps:(\w+) -->\n(.*?)<!-- /doubt-steps -->", re.DOTALL)


def blocks(text: str) -> list[str]:
    """Return the names of the blocks in a document: ``records``, ``transfers``."""
    return [found[1] for found in _BLOCK.finditer(text)]


def rewritten(text: str) -> str:
    """Return a document with the current steps in each of its blocks.

    :raises KeyError: for a block with an unknown name.
    """
    return _BLOCK.sub(lambda found: _block(found[1]), text)


def _block(name: str) -> str:
    steps = "".join(f"{number}. {step}\n" for number, step in enumerate(STEPS[name], 1))
    return f"<!-- doubt-steps:{name} -->\n{steps}<!-- /doubt-steps -->"


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(rewritten(document.read_text()))
