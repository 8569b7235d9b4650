"""Exports of a long history: out of a sandbox over HTTP, and from pages in memory. Each in a process of its own.

In memory the pages are the bytes of JSON answers, handed over in place of a connection (``Transport``'s ``wire``): they
are signed for, read, decoded and checked as ever. One page is a template that is filled in, at less than half a
microsecond a record, so that the source needs no memory of its own. No rate limit holds them back.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from figure import Figure, child, command

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import Transport
from airflow_provider_whitebit.operators.export import write_records

RECORDS_IN_MEMORY = (10_000, 100_000, 1_000_000)
#: From 10,000 on the sandbox has skipped through all offsets once, which is what its pages cost most.
RECORDS_OVER_HTTP = (2_000, 20_000, 200_000)
#: MB by which the memory for the most records may exceed that for a tenth of them.
CONSTANT = 5
NEWEST, IN_ONE_SECOND = 1_760_000_000, 4
PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
RECORD = (
    f'{{"createdAt":%d,"planId":"{PLAN}","investmentId":"inv_bench","currency":"USDT","amount":"0.%06d",'
    '"transaction_id":"tx_%08d-0000-4000-8000-000000000000","actionType":4}'
)


class Answer:
    """As much of an HTTP answer as the transport reads."""

    status_code = 200

    def __init__(self, body: bytes) -> None:
        self.headers: dict[str, str] = {}
        self.raw = self
        self._body = body

    def stream(self, _amount: int, decode_content: bool = True) -> list[bytes]:
        return [self._body]

    def close(self) -> None:
        """Nothing is open."""


class Pages:
    """A history of so many transactions, newest first, page by page."""

    def __init__(self, count: int) -> None:
        self._count = count

    def send(self, prepared: Any) -> Any:
        asked = json.loads(prepared.body)
        begin = asked["offset"]
        if "dateTo" in asked:
            begin += max(0, NEWEST - asked["dateTo"]) * IN_ONE_SECOND
        numbers = range(begin, min(begin + asked["limit"], self._count))
        values: list[int] = []
        for number in numbers:
            values += (NEWEST - number // IN_ONE_SECOND, number % 999_983, number)
        records = ",".join([RECORD] * len(numbers)) % tuple(values)
        return Answer(f'{{"data":[{records}],"limit":{asked["limit"]},"offset":{asked["offset"]}}}'.encode())

    def close(self) -> None:
        """Nothing is open."""


def peak_mb() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def export(form: str, count: int, url: str | None) -> dict[str, float]:
    """Export once, after a short one that loads all that is needed, and say what that took."""
    credentials = Credentials("sandbox-key", "sandbox-secret")

    def client(records: int) -> WhiteBitClient:
        return WhiteBitClient(Transport(url or "http://memory", credentials, wire=None if url else Pages(records)))

    if url:
        client(0).server_time()
    with tempfile.TemporaryDirectory() as folder:
        write_records(client(1_000).flex_history(limit=1_000), f"{folder}/warm.{form}")
        before, begin, cpu = peak_mb(), time.perf_counter(), time.process_time()
        done = write_records(client(count).flex_history(), f"{folder}/history.{form}")
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    if done["count"] != count:
        raise RuntimeError(f"{done['count']} records in place of {count}")
    return {"rate": count / seconds, "cpu_rate": count / cpu, "added_mb": peak_mb() - before}


def long_history(path: Path, count: int) -> None:
    """Books of a sandbox with so many Flex transactions: daily earnings, a few in each second."""
    from airflow_provider_whitebit.sandbox.ledger import Ledger

    ledger = Ledger(path)
    now_ms = int(time.time() * 1000)
    rows = (
        (
            *(now_ms - (count - number) * 300, "main:sandbox", PLAN, "inv_bench", "USDT"),
            *(f"0.{number % 999983:06d}", f"tx_{number:08d}-0000-4000-8000-000000000000", 4, None),
        )
        for number in range(count)
    )
    with ledger.transaction():
        ledger.db.executemany(
            "INSERT INTO history (at_ms, account, plan, investment, ticker, amount, transaction_id, action, nonce) "
            "VALUES (?,?,?,?,?,?,?,?,?)",
            rows,
        )
    ledger.close()


def in_memory(home: Path) -> list[Figure]:
    """Each format from pages in memory."""
    found = []
    for form in ("jsonl", "csv", "parquet"):
        added = {}
        for count in RECORDS_IN_MEMORY:
            told = child("exporting.py", form, count, home=home)
            goal = 50_000 if count == RECORDS_IN_MEMORY[-1] else None
            name = f"pages in memory to {form}"
            # It waits for nothing: where the two differ, the clock counts the machine's other work as well.
            for way, rate in (("the clock", told["rate"]), ("processor time", told["cpu_rate"])):
                found.append(Figure(f"{name}: by {way}", rate, "records/s", count, "records", "higher", goal))
            added[count] = told["added_mb"]
            found.append(Figure(f"{name}: memory added", added[count], "MB", count, "records"))
        _, less, most = RECORDS_IN_MEMORY
        more = f"{name}: memory that {most:,} records add to that of {less:,}"
        found.append(Figure(more, added[most] - added[less], "MB", goal=CONSTANT))
    return found


def over_http(home: Path) -> list[Figure]:
    """Each format out of a sandbox."""
    from airflow_provider_whitebit.testing import SandboxProcess

    found = []
    for count in RECORDS_OVER_HTTP:
        with tempfile.TemporaryDirectory() as folder:
            long_history(Path(folder) / "books.db", count)
            sandbox = SandboxProcess("--db", str(Path(folder) / "books.db"), "--no-rate-limits")
            try:
                for form in ("jsonl", "parquet"):
                    told = child("exporting.py", form, count, sandbox.url, home=home)
                    name = f"out of the sandbox over HTTP to {form}"
                    found.append(Figure(name, told["rate"], "records/s", count, "records", "higher"))
            finally:
                sandbox.stop()
    return found


def figures(home: Path) -> list[Figure]:
    """Records a second, and memory added."""
    return [*in_memory(home), *over_http(home)]


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] in ("jsonl", "csv", "parquet"):
        print(json.dumps(export(sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)))
    else:
        command(figures)
