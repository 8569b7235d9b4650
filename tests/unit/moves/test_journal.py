"""Marks of two API keys while one is exchanged for the other."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.moves.journal import MemoryMarks, SharedMarks


@pytest.mark.parametrize(
    ("old", "new", "stands"),
    [
        (None, None, None),
        ("a:1000", "a:1000", "a:1000"),
        # Left before the other key was named: what was sent with it is dead or settled by then.
        (None, "b:9000", "b:9000"),
        ("a:1000", None, "a:1000"),
        ("a:1000", "b:9000", "b:9000"),
        ("b:9000", "a:1000", "b:9000"),
        # Near enough for both to have run.
        ("a:4000", "b:9000", "a:4000 and b:9000"),
        ("a:4000", "a:9000", "a:4000 and a:9000"),
        ("a", "b", "a and b"),
    ],
)
def test_which_mark_stands(old, new, stands):
    marks = MemoryMarks(), MemoryMarks()
    for mark, left in zip(marks, (old, new), strict=True):
        if left is not None:
            mark.write("transfer", left)
    found = SharedMarks(*marks).read("transfer")
    assert found == stands or sorted(str(found).split(" and ")) == stands.split(" and ")


def test_a_mark_is_left_with_both():
    marks = MemoryMarks(), MemoryMarks()
    SharedMarks(*marks).write("transfer", "a:1")
    assert [mark.read("transfer") for mark in marks] == ["a:1", "a:1"]
