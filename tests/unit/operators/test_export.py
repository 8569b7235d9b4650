"""Records written to files: complete or not at all, in every format, without being kept in memory."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pendulum
import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import FlexTransaction, MainTransaction
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.operators import export, flex
from airflow_provider_whitebit.operators.account import WhiteBitMainHistoryOperator
from airflow_provider_whitebit.operators.export import file_format, write_records
from airflow_provider_whitebit.treasury import csv_text

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


WRITTEN = {
    "count": 3,
    "totals": {"BTC": "1.000000000000000001", "USDT": "2.000000000000000002"},
    "totals_by_action": {
        "BTC": {"4": "1.000000000000000001"},
        "USDT": {"4": "0.000000000000000001", "6": "2.000000000000000001"},
    },
}


def test_jsonl(tmp_path):
    path = f"file://{tmp_path}/a/b.jsonl"
    assert write_records(records(), path) == {"path": path, "format": "jsonl", **WRITTEN}
    lines = (tmp_path / "a" / "b.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [record.to_json() for record in records()]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t=", "\r@", "\n-", " +", "\uff1d"], ids=ascii)
def test_a_cell_of_a_csv_file_is_no_formula(tmp_path, begin):
    text = f"{begin}cmd|' /C calc'!A0"
    [one] = records(1)
    evil = replace(one, plan_id=text, investment_id=None, currency=text, transaction_id=text, amount=Decimal("-5.50"))
    path = str(tmp_path / "b.csv")
    assert write_records(iter([evil]), path)["totals"] == {text: "-5.5"}
    with open(path, newline="") as file:
        [row] = csv.DictReader(file)
    # A negative amount stays a number.
    assert (row["amount"], row["investment_id"]) == ("-5.50", "")
    assert [row[name] for name in ("plan_id", "currency", "transaction_id")] == [f"'{e.printable(text)}"] * 3


def test_every_csv_file_is_written_in_one_place():
    root = Path(export.__file__).parents[1]
    writers = [file for file in root.rglob("*.py") if "csv.writer" in file.read_text()]
    assert writers == [Path(csv_text.__file__)]


def test_totals_are_exact(tmp_path):
    big, small = Decimal("1e50"), Decimal("1e-30")
    [one] = records(1)
    moved = [replace(one, amount=amount) for amount in (big, small, small)]
    totals = write_records(iter(moved), str(tmp_path / "b.jsonl"))["totals"]
    assert totals == {"USDT": "1" + "0" * 50 + "." + "0" * 29 + "2"}


def test_amounts_of_plans_whose_asset_is_unknown_are_not_added_up(tmp_path):
    """The exchange may leave it out, also of a plan that is no longer on offer."""
    nameless = [replace(one, currency=None, plan_id=f"p{place}") for place, one in enumerate(records(2))]
    totals = write_records(iter(nameless), str(tmp_path / "b.csv"))["totals"]
    assert totals == {"plan p0": "0.000000000000000001", "plan p1": "1.000000000000000001"}


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


@pytest.mark.parametrize("amount", ["1e21", "1e-19", "123456789.1234567890123456789"])
def test_parquet_refuses_what_it_cannot_hold_exactly(tmp_path, amount):
    pytest.importorskip("pyarrow.parquet")
    (one,) = records(1)
    with pytest.raises(e.WhiteBitValidationError, match=r"A value of amount has(?s:.*)output_format=\"csv\""):
        write_records(iter([replace(one, amount=Decimal(amount))]), str(tmp_path / "a.parquet"))
    assert list(tmp_path.iterdir()) == []


def test_no_records_make_a_file_too(tmp_path):
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        assert write_records(iter(()), str(tmp_path / name))["count"] == 0
        assert (tmp_path / name).exists()


def test_in_another_storage():
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem

    attach("memory", fs=MemoryFileSystem())
    assert write_records(records(), "memory://bucket/x/y.jsonl")["count"] == 3
    assert len(ObjectStoragePath("memory://bucket/x/y.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "path", ["{}", "{}/", "file://{}/sub/", "memory://f/a", "memory://f/a/", "memory://f/a[1]*.csv"]
)
def test_a_path_that_is_no_file_is_refused(tmp_path, path):
    """The records would be in a file under a temporary name, and the task would succeed."""
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem

    storage = MemoryFileSystem()
    attach("memory", fs=storage)
    storage.pipe_file("/f/a/b.csv", b"")
    before = set(storage.store)
    with pytest.raises(e.WhiteBitValidationError, match="Nothing was written"):
        write_records(records(), path.format(tmp_path), output_format="csv")
    assert (list(tmp_path.iterdir()), set(storage.store)) == ([], before)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_failure_leaves_the_old_file_and_nothing_beside(tmp_path, name):
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
        write_records(records(), f"{tmp_path}/{path}", output_format=wanted)
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
    written = operator(3, output_path=str(tmp_path / "x.jsonl")).execute({})
    assert json.loads(json.dumps(written))["count"] == 3


def test_a_task_does_not_return_a_million_records():
    assert len(operator(10_000).execute({})) == 10_000
    with pytest.raises((AirflowFailException, e.WhiteBitValidationError), match="with output_path"):
        operator(10_001).execute({})


def test_deposits_and_withdrawals(tmp_path):
    raw = {"createdAt": 1593437922, "ticker": "BTC", "amount": "0.0006", "method": 1, "status": 3, "address": "x"}
    path = ObjectStoragePath(f"file://{tmp_path}/main.csv")
    task = WhiteBitMainHistoryOperator(task_id="t", output_path=path)
    client = SimpleNamespace(main_history=lambda **filters: iter([MainTransaction.from_api(raw)]))
    task.__dict__["hook"] = SimpleNamespace(get_conn=lambda: client)
    assert task.execute({}) == {"path": str(path), "format": "csv", "count": 1}
    header, line = (tmp_path / "main.csv").read_text().splitlines()
    assert header.startswith("created_at,transaction_id,method,ticker,amount,fee,status,network,address")
    assert line.startswith("2020-06-29T13:38:42Z,,1,BTC,0.0006,,3,,x")
