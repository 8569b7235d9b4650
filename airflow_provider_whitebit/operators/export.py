"""Writes records to a file in any storage that Airflow reaches, however many they are: never half a file."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from decimal import Decimal
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, TypeVar

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError, WhiteBitValidationError
from airflow_provider_whitebit.client.models import FlexTransaction, Record

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

#: Records in one write of Parquet, some megabytes of memory at most, and of the other formats, some hundred kilobytes.
_BATCH, _LINES = 10_000, 1_000
#: Parquet keeps amounts exactly, with so many digits and decimals.
_DIGITS, _DECIMALS = 38, 18

RecordT = TypeVar("RecordT", bound=Record)


def file_format(path: str, wanted: str | None) -> str:
    """The format of a file: what is wanted, or what its name says.

    :raises WhiteBitValidationError: if it is none of ``jsonl``, ``csv``, ``parquet``.
    """
    found = (wanted or path.rsplit("/", 1)[-1].rpartition(".")[2]).strip().lower()
    found = {"ndjson": "jsonl", "json": "jsonl", "pq": "parquet"}.get(found, found)
    if found not in _WRITERS:
        raise WhiteBitValidationError(
            f"output_format is {wanted!r} and output_path ends in {path[-20:]!r}: write one of {', '.join(_WRITERS)}."
        )
    return found


def write_records(
    records: Iterable[FlexTransaction], path: str, *, wanted: str | None = None, conn_id: str | None = None
) -> dict[str, Any]:
    """Write records to a file as they come. The file is written beside, and put in place when it is whole.

    :param records: what to write; read once, never all at a time.
    :param path: any path of Airflow's ``ObjectStoragePath``, for example ``s3://bucket/flex.parquet``.
    :param wanted: ``jsonl``, ``csv`` or ``parquet``; by default what the path ends in.
    :param conn_id: Airflow connection of the storage, if the path does not name one.
    :raises WhiteBitValidationError: wrong format.
    :raises WhiteBitConfigurationError: Parquet without pyarrow.
    :returns: ``path``, ``format``, ``count``, ``totals`` (ticker -> amount) and ``totals_by_action`` (ticker ->
        action type -> amount), amounts as decimal strings.
    """
    form = file_format(path, wanted)
    write = _WRITERS[form](FlexTransaction)
    totals = _Totals()
    put_in_place(path, lambda file: write(totals.counting(records), file), conn_id=conn_id)
    return {"path": path, "format": form, **totals.to_json()}


def write_table(
    records: Iterable[RecordT], kind: type[RecordT], path: str, *, wanted: str, conn_id: str | None = None
) -> None:
    """Write records of any kind to a file, one line each; parameters and errors as for :func:`write_records`.

    :param kind: what the records are; it names the columns, also where there are no records.
    """
    write = _WRITERS[file_format(path, wanted)](kind)
    put_in_place(path, lambda file: write(iter(records), file), conn_id=conn_id)


def put_in_place(path: str, write: Callable[[IO[bytes]], object], *, conn_id: str | None = None) -> None:
    """Write a file beside its place, and put it there when it is whole.

    :param path: any path of Airflow's ``ObjectStoragePath``.
    :param write: writes the contents; what it raises leaves the old file as it is.
    :param conn_id: Airflow connection of the storage, if the path does not name one.
    """
    from airflow.sdk import ObjectStoragePath

    target = ObjectStoragePath(path, conn_id=conn_id)
    beside = ObjectStoragePath(f"{path}.{uuid.uuid4().hex}.part", conn_id=conn_id)
    if target.protocol in ("", "file"):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with beside.open("wb") as file:  # type: ignore[no-untyped-call]
            write(file)
        target.fs.mv(beside.path, target.path)
    except BaseException:
        _remove(beside)
        raise


def _remove(path: ObjectStoragePath) -> None:
    try:
        path.unlink()
    except Exception:
        # It may never have come to be, and what went wrong before is what counts.
        return


class _Totals:
    """Counts what passes by."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, dict[int, Decimal]] = defaultdict(lambda: defaultdict(Decimal))

    def counting(self, records: Iterable[FlexTransaction]) -> Iterator[FlexTransaction]:
        for record in records:
            self.count += 1
            self._sums[record.currency][record.action_type] += record.amount
            yield record

    def to_json(self) -> dict[str, Any]:
        by_action = {
            ticker: {str(action): format(total, "f") for action, total in sorted(sums.items())}
            for ticker, sums in sorted(self._sums.items())
        }
        totals = {ticker: format(sum(sums.values(), Decimal(0)), "f") for ticker, sums in sorted(self._sums.items())}
        return {"count": self.count, "totals": totals, "totals_by_action": by_action}


Writer = Callable[[Iterator[Any], IO[bytes]], None]


def _jsonl(kind: type[Record]) -> Writer:
    encode = json.JSONEncoder(separators=(",", ":")).encode

    def write(records: Iterator[Record], file: IO[bytes]) -> None:
        # A write to a file of ObjectStoragePath takes longer than a line.
        while lines := [encode(record.to_json()) for record in islice(records, _LINES)]:
            file.write(("\n".join(lines) + "\n").encode())

    return write


def _csv(kind: type[Record]) -> Writer:
    def write(records: Iterator[Record], file: IO[bytes]) -> None:
        lines: Iterable[Iterable[Any]] = [_columns(kind)]
        while lines:
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator="\n").writerows(lines)
            file.write(text.getvalue().encode())
            lines = [record.to_json().values() for record in islice(records, _LINES)]

    return write


def _columns(kind: type[Record]) -> dict[str, str]:
    """The columns and what is in them, as the record's annotations write it."""
    return {field.name: str(field.type).removesuffix(" | None") for field in fields(kind)}  # type: ignore[arg-type]


def _parquet(kind: type[Record]) -> Writer:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise WhiteBitConfigurationError(
            "Parquet needs pyarrow, which is not installed: pip install 'airflow-provider-whitebit[parquet]'."
        ) from None
    text = pyarrow.string()
    kinds = {
        "pendulum.DateTime": pyarrow.timestamp("us", tz="UTC"),
        "Decimal": pyarrow.decimal128(_DIGITS, _DECIMALS),
        "int": pyarrow.int32(),
    }
    schema = pyarrow.schema([(name, kinds.get(written, text)) for name, written in _columns(kind).items()])

    def write(records: Iterator[Record], file: IO[bytes]) -> None:
        with pyarrow.parquet.ParquetWriter(file, schema) as rows:
            while batch := list(islice(records, _BATCH)):
                columns = [[getattr(record, name) for record in batch] for name in schema.names]
                arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
                rows.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))

    return write


_WRITERS: dict[str, Callable[[type[Record]], Writer]] = {"jsonl": _jsonl, "csv": _csv, "parquet": _parquet}
