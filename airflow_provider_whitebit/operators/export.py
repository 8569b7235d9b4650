"""Write any number of records to a file in any storage that Airflow reaches. Files appear only when complete."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from glob import has_magic
from itertools import islice
from typing import IO, Any, TypeVar

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError, WhiteBitValidationError
from airflow_provider_whitebit.client.models import FlexTransaction, Record, field_types, plain
from airflow_provider_whitebit.treasury.amounts import exact
from airflow_provider_whitebit.treasury.csv_text import csv_lines, safe_text

#: Most records that a task returns; Airflow keeps what it returns in its database.
_MOST_RETURNED = 10_000
#: Records in one write of Parquet (some megabytes of memory), and of the other formats (some hundred kilobytes).
_BATCH, _LINES = 10_000, 1_000
#: Columns that are never text. A negative amount must stay a number.
_NUMBERS = (Decimal, int, bool, pendulum.DateTime)
#: Digits and decimals of amounts in Parquet, which keeps them exactly.
_DIGITS, _DECIMALS = 38, 18

RecordT = TypeVar("RecordT", bound=Record)


def collect_records(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return records as plain JSON.

    :raises WhiteBitValidationError: there are more than 10,000.
    """
    found = [record.to_json() for record in islice(records, _MOST_RETURNED + 1)]
    if len(found) > _MOST_RETURNED:
        raise WhiteBitValidationError(
            f"There are more than {_MOST_RETURNED} records, too many to return.",
            next_step="Write them to a file with output_path, narrow the dates, or set a limit.",
        )
    return found


def file_format(path: object, output_format: str | None) -> str:
    """The format of a file: ``output_format``, or what the file's extension says.

    :raises WhiteBitValidationError: if it is not ``jsonl``, ``csv`` or ``parquet``.
    """
    found = str(output_format or str(path).rsplit("/", 1)[-1].rpartition(".")[2]).strip().lower()
    found = {"ndjson": "jsonl", "json": "jsonl", "pq": "parquet"}.get(found, found)
    if found not in _WRITERS:
        raise WhiteBitValidationError(
            f"output_format is {output_format!r} and output_path ends in {str(path)[-20:]!r}: "
            f"write one of {', '.join(_WRITERS)}."
        )
    return found


def write_records(
    records: Iterable[FlexTransaction], path: object, *, output_format: str | None = None, conn_id: str | None = None
) -> dict[str, Any]:
    """Write transactions to a file as they arrive.

    :param records: the transactions. They are read once, and never all kept in memory.
    :param path: any path of Airflow's ``ObjectStoragePath``, for example ``s3://bucket/flex.parquet``, or an object
        that is one.
    :param output_format: ``jsonl``, ``csv`` or ``parquet``; by default, the file's extension.
    :param conn_id: Airflow connection of the storage, if the path does not name one.
    :raises WhiteBitValidationError: wrong format.
    :raises WhiteBitConfigurationError: Parquet without pyarrow.
    :returns: ``path``, ``format``, ``count``, ``totals`` (ticker -> amount) and ``totals_by_action`` (ticker ->
        action type -> amount), amounts as decimal strings. Where the asset is unknown, ``plan <id>`` is in its place.
    """
    form = file_format(path, output_format)
    write = _WRITERS[form](FlexTransaction)
    totals = _Totals()
    replace_file(path, lambda file: write(totals.counting(records), file), conn_id=conn_id)
    return {"path": str(path), "format": form, **totals.to_json()}


def write_table(
    records: Iterable[RecordT],
    kind: type[RecordT],
    path: object,
    *,
    output_format: str | None = None,
    conn_id: str | None = None,
) -> dict[str, Any]:
    """Write records of any kind to a file. Parameters and errors are those of :func:`write_records`.

    :param kind: the class of the records. It gives the columns, so a file without records has them too.
    :returns: ``path``, ``format`` and ``count``.
    """
    form, count = file_format(path, output_format), 0
    write = _WRITERS[form](kind)

    def counted() -> Iterator[RecordT]:
        nonlocal count
        for record in records:
            count += 1
            yield record

    replace_file(path, lambda file: write(counted(), file), conn_id=conn_id)
    return {"path": str(path), "format": form, "count": count}


def replace_file(path: object, write: Callable[[IO[bytes]], object], *, conn_id: str | None = None) -> None:
    """Write a temporary file, and move it to its path when it is complete.

    :param path: any path of Airflow's ``ObjectStoragePath``.
    :param write: writes the contents. If it raises, a file that was there before is unchanged.
    :param conn_id: Airflow connection of the storage, if the path does not name one.
    :raises WhiteBitValidationError: the path is that of a folder, or the storage would take it for a pattern.
    """
    from airflow.sdk import ObjectStoragePath

    options = getattr(path, "storage_options", {})
    options = {**options, **({} if conn_id is None else {"conn_id": conn_id})}
    target, temporary = (
        ObjectStoragePath(f"{path}{suffix}", **options) for suffix in ("", f".{uuid.uuid4().hex}.part")
    )
    is_local = target.protocol in ("", "file")
    # Moved there, a file would end up inside of a folder, under its temporary name.
    if str(path).endswith("/") or target.fs.isdir(target.path):
        raise WhiteBitValidationError(
            f"{str(path)[-200:]!r} is a folder. Nothing was written.", next_step="Write the path of a file."
        )
    if not is_local and has_magic(target.path):
        raise WhiteBitValidationError(
            f"{str(path)[-200:]!r} has one of the characters * ? [, which storages take for a pattern. "
            "Nothing was written.",
            next_step="Write a path without them.",
        )
    if is_local:
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:  # type: ignore[no-untyped-call]
            write(file)
        target.fs.mv(temporary.path, target.path)
    except BaseException:
        # The temporary file may not exist; the original error is the one to report.
        with suppress(Exception):
            temporary.unlink()
        raise


class _Totals:
    """Count and add up records while they are written."""

    def __init__(self) -> None:
        self.count = 0
        with exact() as context:
            # A context of a generator's own would also be that of its caller.
            self._exact = context.copy()
        self._sums: dict[str, dict[int, Decimal]] = defaultdict(lambda: defaultdict(Decimal))

    def counting(self, records: Iterable[FlexTransaction]) -> Iterator[FlexTransaction]:
        for record in records:
            self.count += 1
            # A plan has one asset, also if it is not known which.
            sums = self._sums[record.currency or (f"plan {record.plan_id}" if record.plan_id else "")]
            sums[record.action_type] = self._exact.add(sums[record.action_type], record.amount)
            yield record

    def to_json(self) -> dict[str, Any]:
        by_action = {
            ticker: {str(action): plain(total) for action, total in sorted(sums.items())}
            for ticker, sums in sorted(self._sums.items())
        }
        with exact():
            totals = {ticker: plain(sum(sums.values(), Decimal(0))) for ticker, sums in sorted(self._sums.items())}
        return {"count": self.count, "totals": totals, "totals_by_action": by_action}


Writer = Callable[[Iterator[Any], IO[bytes]], None]


def _jsonl(kind: type[Record]) -> Writer:
    encode = json.JSONEncoder(separators=(",", ":")).encode

    def write(records: Iterator[Record], file: IO[bytes]) -> None:
        # A write to a file of ObjectStoragePath takes longer than encoding a line.
        while lines := [encode(record.to_json()) for record in islice(records, _LINES)]:
            file.write(("\n".join(lines) + "\n").encode())

    return write


def _csv(kind: type[Record]) -> Writer:
    columns = field_types(kind)
    texts = [place for place, of in enumerate(columns.values()) if of not in _NUMBERS]

    def cells(record: Record) -> list[Any]:
        row = record.to_row()
        for place in texts:
            if isinstance(text := row[place], str):
                row[place] = safe_text(text)
        return row

    def write(records: Iterator[Record], file: IO[bytes]) -> None:
        lines: list[list[Any]] = [list(columns)]
        while lines:
            file.write(csv_lines(lines).encode())
            lines = [cells(record) for record in islice(records, _LINES)]

    return write


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
        pendulum.DateTime: pyarrow.timestamp("us", tz="UTC"),
        Decimal: pyarrow.decimal128(_DIGITS, _DECIMALS),
        int: pyarrow.int32(),
    }
    schema = pyarrow.schema([(name, kinds.get(of, text)) for name, of in field_types(kind).items()])

    def array(batch: list[Record], field: Any) -> Any:
        try:
            return pyarrow.array([getattr(record, field.name) for record in batch], field.type)
        except pyarrow.ArrowInvalid:
            raise WhiteBitValidationError(
                f"A value of {field.name} has more than {_DIGITS - _DECIMALS} digits before the point, or more than "
                f"{_DECIMALS} behind it: Parquet cannot hold it exactly.",
                next_step='Write another format: output_format="csv" or "jsonl".',
            ) from None

    def write(records: Iterator[Record], file: IO[bytes]) -> None:
        with pyarrow.parquet.ParquetWriter(file, schema) as rows:
            while batch := list(islice(records, _BATCH)):
                arrays = [array(batch, field) for field in schema]
                rows.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))

    return write


_WRITERS: dict[str, Callable[[type[Record]], Writer]] = {"jsonl": _jsonl, "csv": _csv, "parquet": _parquet}
