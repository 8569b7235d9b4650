"""Records written to files: whole or not at all, in every format, without being held in memory."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import FlexTransaction
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.operators import flex
from airflow_provider_whitebit.operators.export import file_format, write_records

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"


def records(count=3):
    for number in range(count):
        yield FlexTransaction(
            created_at=pendulum.datetime(2026, 1, 1).add(seconds=number),
            plan_id=PLAN,
            investment_id="inv",
            currency="USDT" if number % 2 == 0 else "BTC",
            amount=Decimal("0.000000000000000001") + number,
            transaction_id=f"tx_{number}",
            action_type=4 if number < 2 else 6,
        )


TOLD = {
    "count": 3,
    "totals": {"BTC": "1.000000000000000001", "USDT": "2.000000000000000002"},
    "totals_by_action": {
        "BTC": {"4": "1.000000000000000001"},
        "USDT": {"4": "0.000000000000000001", "6": "2.000000000000000001"},
    },
}


def test_jsonl(tmp_path):
    path = f"file://{tmp_path}/a/b.jsonl"
    assert write_records(records(), path) == {"path": path, "format": "jsonl", **TOLD}
    lines = (tmp_path / "a" / "b.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [record.to_json() for record in records()]


def test_csv(tmp_path):
    path = str(tmp_path / "b.csv")
    assert write_records(records(), path)["count"] == 3
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["amount"] for row in rows] == [format(record.amount, "f") for record in records()]
    assert rows[0]["created_at"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("count", [1_000, 2_500])
def test_lines_are_written_in_batches(tmp_path, count):
    for name in ("a.jsonl", "a.csv"):
        assert write_records(records(count), str(tmp_path / name))["count"] == count
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line)["transaction_id"] for line in lines] == [f"tx_{number}" for number in range(count)]
    with open(tmp_path / "a.csv", newline="") as file:
        assert [row["transaction_id"] for row in csv.DictReader(file)] == [f"tx_{number}" for number in range(count)]


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = str(tmp_path / "b.parquet")
    assert write_records(records(25_000), path)["count"] == 25_000
    table = parquet.read_table(path)
    assert table.num_rows == 25_000
    first = table.slice(0, 1).to_pylist()[0]
    assert first["amount"] == Decimal("0.000000000000000001")
    assert first["created_at"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert (first["transaction_id"], first["action_type"]) == ("tx_0", 4)


def test_nothing_to_write_is_a_file_too(tmp_path):
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        assert write_records(iter(()), str(tmp_path / name))["count"] == 0
        assert (tmp_path / name).exists()


def test_in_another_storage():
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem

    attach("memory", fs=MemoryFileSystem())
    assert write_records(records(), "memory://bucket/x/y.jsonl")["count"] == 3
    assert len(ObjectStoragePath("memory://bucket/x/y.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_what_breaks_off_leaves_the_old_file_and_nothing_beside(tmp_path, name):
    (tmp_path / name).write_text("old")

    def broken():
        yield from records(2)
        raise e.WhiteBitUnavailableError("gone")

    with pytest.raises(e.WhiteBitUnavailableError):
        write_records(broken(), str(tmp_path / name))
    assert [path.name for path in Path(tmp_path).iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"
    write_records(records(), str(tmp_path / name))
    assert (tmp_path / name).read_bytes() != b"old"


@pytest.mark.parametrize(
    ("path", "wanted", "form"),
    [
        ("s3://b/x.jsonl", None, "jsonl"),
        ("s3://b/x.ndjson", None, "jsonl"),
        ("x.CSV", None, "csv"),
        ("x.parquet", None, "parquet"),
        ("x", "csv", "csv"),
        ("x.csv", "parquet", "parquet"),
    ],
)
def test_formats(path, wanted, form):
    assert file_format(path, wanted) == form


@pytest.mark.parametrize(("path", "wanted"), [("x", None), ("x.xlsx", None), ("x.csv", "excel"), ("a.csv/b", None)])
def test_unknown_formats(path, wanted, tmp_path):
    with pytest.raises(e.WhiteBitValidationError, match="jsonl, csv, parquet"):
        file_format(path, wanted)
    with pytest.raises(e.WhiteBitValidationError):
        write_records(records(), f"{tmp_path}/{path}", wanted=wanted)
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_its_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(e.WhiteBitConfigurationError, match=r"airflow-provider-whitebit\[parquet\]"):
        write_records(records(), str(tmp_path / "x.parquet"))


def operator(count, **arguments):
    task = flex.WhiteBitFlexHistoryOperator(task_id="t", **arguments)
    task.__dict__["hook"] = SimpleNamespace(
        get_conn=lambda: SimpleNamespace(flex_history=lambda **filters: records(count))
    )
    return task


def test_a_task_returns_where_it_wrote_to(tmp_path):
    told = operator(3, output_path=str(tmp_path / "x.jsonl")).execute({})
    assert json.loads(json.dumps(told))["count"] == 3


def test_a_task_does_not_return_a_million_records():
    assert len(operator(10_000).execute({})) == 10_000
    with pytest.raises((AirflowFailException, e.WhiteBitValidationError), match="give output_path"):
        operator(10_001).execute({})
