"""One bad field in each answer: the right value, or an error that names call, record and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitUnavailableError
from airflow_provider_whitebit.client.models import Record, to_json
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from tests.readings import CALLS, changed, client_of, decoded


class Row(NamedTuple):
    """One line of the table."""

    call: str
    field: str
    value: str
    expected: str


def read_table() -> list[Row]:
    rows, call = [], ""
    for line in Path(__file__).with_name("bad_answers.txt").read_text().splitlines():
        if line.startswith("["):
            call = line[1:].partition("]")[0]
        elif line and not line.startswith("#"):
            rows.append(Row(call, *(cell.strip() for cell in line.split(" | "))))
    return rows


TABLE = read_table()


def answers(row: Row) -> dict[str, Any]:
    absent = row.value == "absent"
    return changed(CALLS[row.call][0], row.field, None if absent else decoded(row.value), absent=absent)


def as_json(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, dict):
        return {name: as_json(one) for name, one in value.items()}
    return [as_json(one) for one in value] if isinstance(value, list) else to_json(value)


def at(found: Any, place: str) -> Any:
    for part in filter(None, place.split(".")):
        found = found[int(part)] if isinstance(found, list) else found[part]
    return found


def test_the_table_has_many_different_rows():
    assert len(TABLE) == len(set(TABLE)) >= 300


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.call}-{row.field}-{row.value}")
def test_a_bad_answer_gives_a_right_value_or_a_clear_error(row):
    path, read = CALLS[row.call]
    client = client_of(answers(row))
    if row.expected.startswith("! "):
        with pytest.raises(WhiteBitUnavailableError) as caught:
            read(client)
        assert row.expected[2:] in str(caught.value)
        assert caught.value.path == path
        return
    place, _, expected = row.expected.removeprefix("= ").rpartition(" ")
    found = as_json(read(client))
    if place == "length":
        assert len(found) == int(expected)
    else:
        assert at(json.loads(json.dumps(found)), place) == json.loads(expected)


def test_a_bad_entry_of_a_list_is_named_and_the_others_are_read():
    """Every row whose error names a record."""
    count = 0
    for row in TABLE:
        path, _ = CALLS[row.call]
        if not row.expected.startswith("! ") or ": " not in row.expected:
            continue
        whole = len(list(getattr(client_of(), row.call)()))
        unreadable: list[UnreadableRecord] = []
        found = list(getattr(client_of(answers(row)), row.call)(on_unreadable=unreadable.append))
        assert len(found) == whole - 1, row
        assert [str(one) for one in unreadable] == [row.expected[2:]]
        assert unreadable[0].path == path
        count += 1
    assert count > 100


def test_an_error_that_names_a_record_is_rendered_with_its_call():
    row = next(row for row in TABLE if "'maxRate' is not a number" in row.expected)
    with pytest.raises(WhiteBitError) as caught:
        CALLS[row.call][1](client_of(answers(row)))
    assert str(caught.value).splitlines()[:2] == [
        f"The exchange sent an unreadable {row.expected[2:]}.",
        f"Call: {CALLS[row.call][0]}",
    ]
