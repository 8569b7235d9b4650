"""Journals in memory, and transfer markers of two API keys while one replaces the other."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.moves.journal import MemoryJournal, MemoryMarkers, SharedJournal, SharedMarkers


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        (None, None, None),
        ("a:1000", "a:1000", "a:1000"),
        # Written before the connection named the other key: what was sent then has ended.
        (None, "b:9000", "b:9000"),
        ("a:1000", None, "a:1000"),
        ("a:1000", "b:9000", "b:9000"),
        ("b:9000", "a:1000", "b:9000"),
        ("b:1000", "a:9000", "a:9000"),
        # Only the last part is the nonce.
        ("b:7:9000", "a:1000", "b:7:9000"),
        ("a:9000", "a:10000", "a:10000 and a:9000"),
        # Near enough for both to have run.
        ("a:4000", "b:9000", "a:4000 and b:9000"),
        ("a:4000", "a:9000", "a:4000 and a:9000"),
        ("a", "b", "a and b"),
        ("a:1000:done", "b:9000", "b:9000"),
        ("a:1000", "a:9000:done", "a:9000:done"),
    ],
)
def test_which_marker_counts(old, new, counts):
    markers = MemoryMarkers(), MemoryMarkers()
    for one, written in zip(markers, (old, new), strict=True):
        if written is not None:
            one.write("transfer", written)
    found = SharedMarkers(*markers).read("transfer")
    assert found == counts or sorted(str(found).split(" and ")) == counts.split(" and ")


def test_a_marker_is_written_with_both_keys():
    markers = MemoryMarkers(), MemoryMarkers()
    SharedMarkers(*markers).write("transfer", "a:1")
    assert [one.read("transfer") for one in markers] == ["a:1", "a:1"]


def test_a_memory_journal_keeps_copies_and_its_siblings():
    journal, document = MemoryJournal("task"), {"intents": []}
    journal.write(document)
    document["intents"].append("later")
    journal.read()[0]["intents"].append("later")
    assert journal.read() == [{"intents": []}]
    journal.sibling("a").write({"a": 1})
    assert (journal.sibling("a").read(), journal.sibling("b").read()) == ([{"a": 1}], [])
    assert journal.sibling("a").identity == "task.a"
    # All journals of a task know the same siblings.
    journal.sibling("a").sibling("b").write({"b": 1})
    assert journal.sibling("b").read() == [{"b": 1}]


def shared(*documents):
    """A journal that several writers share. :returns: it, and where each of them wrote."""
    written = [MemoryJournal(f"writer {number}") for number in range(len(documents))]
    for journal, document in zip(written, documents, strict=True):
        journal.write(document)
    return SharedJournal(written, MemoryJournal), written


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ([{"run": "a", "order": 2}, {"run": "b", "order": 1}], "ba"),
        # Two have taken the same number: all readers see the same one last.
        ([{"run": "b", "order": 1}, {"run": "a", "order": 1}], "ab"),
        ([{"run": "a", "order": 1}, {"run": "b"}], "ba"),
        ([{"order": 1, "run": "a"}, {"order": 1}], "?a"),
    ],
)
def test_documents_of_several_writers_have_one_order(documents, expected):
    for given in (documents, documents[::-1]):
        journal, _ = shared(*given)
        assert "".join(one.get("run", "?") for one in journal.read()) == expected


def test_a_writer_comes_after_all_that_it_could_read_and_keeps_its_place():
    journal, written = shared({"run": "a", "order": 4}, {"run": "b"})
    for _ in range(2):
        journal.write({"run": "c"})
        assert [one.read() for one in written] == [[{"run": "c", "order": 5}]] * 2
        written[0].write({"run": "d", "order": 9})
    # The first writer of all begins with 1.
    first = SharedJournal([MemoryJournal()], MemoryJournal)
    first.write({"run": "a"})
    assert first.read() == [{"run": "a", "order": 1}]
