"""What tests/mutation/explained.txt says of a line is about a line that is still there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
if not (REPO / "scripts").is_dir():
    pytest.skip("only in a clone", allow_module_level=True)
sys.path.insert(0, str(REPO / "scripts"))

import mutate  # noqa: E402


@pytest.mark.parametrize("entry", mutate.explained(), ids=lambda entry: f"{entry[0]}: {entry[1]}")
def test_each_explanation_is_about_a_line_of_its_module(entry):
    function, before, after = entry
    folder, module, *_ = function.split(".")
    text = (REPO / "airflow_provider_whitebit" / folder / f"{module}.py").read_text()
    lines = [line.strip() for line in text.splitlines()]
    # Several changed lines are joined.
    places = [place for place, line in enumerate(lines) if line and before.startswith(line)]
    assert any(before == " ".join(lines[place : place + count]) for place in places for count in range(1, 9))
    assert before != after
