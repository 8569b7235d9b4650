"""Exports of a long history: from a sandbox over HTTP, and from pages in memory. Each in a process of its own.

In memory the pages are the bytes of JSON answers, which replace a connection (``Transport``'s ``wire``): they are
signed for, decoded and checked as usual. One page is a template that is filled in, at less than half a microsecond a
record, so the source needs no memory of its own. No rate limit holds them back.

The floor is the shortest program that could do the same: it decodes the same pages by ``json.loads`` and writes the
same fields by ``json.dumps``, one line for each record. It takes turns with the export in the same process.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from figure import Figure, child, command

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import Transport
from airflow_provider_whitebit.client.transport_http import HttpAnswer
from airflow_provider_whitebit.operators.export import write_records

FORMS = ("jsonl", "csv", "parquet")
TURNS, RECORDS_IN_A_TURN = 7, 10_000
RECORDS_IN_MEMORY = (10_000, 100_000, 1_000_000)
#: From 10,000 on the sandbox has skipped through all offsets once, which is what its pages cost most.
RECORDS_OVER_HTTP = (2_000, 20_000, 200_000)
#: Least speed of an export against the floor, and most memory of the process with ten times as many records.
GOAL, MEMORY_GOAL = 0.5, 1.05
NEWEST, IN_ONE_SECOND = 1_760_000_000, 4
PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
RECORD = (
    f'{{"createdAt":%d,"planId":"{PLAN}","investmentId":"inv_bench","currency":"USDT","amount":"0.%06d",'
    '"transaction_id":"tx_%08d-0000-4000-8000-000000000000","actionType":4}'
)


class Pages:
    """A history of this many transactions, newest first, page by page."""

    def __init__(self, count: int) -> None:
        self._count = count

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> HttpAnswer:
        request = json.loads(body or b"")
        begin = request["offset"]
        if "dateTo" in request:
            begin += max(0, NEWEST - request["dateTo"]) * IN_ONE_SECOND
        numbers = range(begin, min(begin + request["limit"], self._count))
        values: list[int] = []
        for number in numbers:
            values += (NEWEST - number // IN_ONE_SECOND, number % 999_983, number)
        records = ",".join([RECORD] * len(numbers)) % tuple(values)
        answer = f'{{"data":[{records}],"limit":{request["limit"]},"offset":{request["offset"]}}}'
        return HttpAnswer(200, {}, answer.encode())

    def close(self) -> None:
        """Nothing is open."""


def peak_mb() -> float:
    """The most memory that this process has used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def floor(count: int, path: str) -> None:
    """Decode the same pages and write the same fields, without a client, checks or exact amounts."""
    pages = Pages(count)
    with open(path, "w") as file:
        for offset in range(0, count, 100):
            body = pages.send("POST", "", {}, json.dumps({"offset": offset, "limit": 100}).encode()).body
            for entry in json.loads(body)["data"]:
                fields = {
                    "created_at": datetime.fromtimestamp(entry["createdAt"], UTC).isoformat(),
                    "plan_id": entry["planId"],
                    "investment_id": entry["investmentId"],
                    "currency": entry["currency"],
                    "amount": entry["amount"],
                    "transaction_id": entry["transaction_id"],
                    "action_type": entry["actionType"],
                }
                file.write(json.dumps(fields) + "\n")


def against_floor() -> dict[str, float]:
    """By format, the median of the floor's time divided by the export's, in turns of processor time."""
    client = WhiteBitClient(Transport("http://memory", Credentials("k", "s"), wire=Pages(RECORDS_IN_A_TURN)))
    ratios: dict[str, list[float]] = {form: [] for form in FORMS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(TURNS + 1):
            begin = time.process_time()
            floor(RECORDS_IN_A_TURN, f"{folder}/floor.jsonl")
            least = time.process_time() - begin
            for form in FORMS:
                begin = time.process_time()
                write_records(client.flex_history(), f"{folder}/history.{form}")
                # The first turn loads modules.
                if turn:
                    ratios[form].append(least / (time.process_time() - begin))
    return {form: statistics.median(found) for form, found in ratios.items()}


def export(form: str, count: int, url: str | None) -> dict[str, float]:
    """Export once, after a short export that loads all modules, and return what that took."""
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
        raise RuntimeError(f"{done['count']} records instead of {count}")
    return {"rate": count / seconds, "cpu_rate": count / cpu, "added_mb": peak_mb() - before, "peak_mb": peak_mb()}


def long_history(path: Path, count: int) -> None:
    """A sandbox's database with this many Flex transactions: daily earnings, a few in each second."""
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
    ratios = child("exporting.py", "floor", home=home)
    name = "pages in memory to {}: speed against decoding them by json and writing the same fields"
    found = [Figure(name.format(form), ratios[form], "ratio", better="higher", goal=GOAL) for form in FORMS]
    for form in FORMS:
        peaks = {}
        for count in RECORDS_IN_MEMORY:
            result = child("exporting.py", form, count, home=home)
            name = f"pages in memory to {form}"
            # It waits for nothing: where the two differ, the clock counts the machine's other work as well.
            for way, rate in (("the clock", result["rate"]), ("processor time", result["cpu_rate"])):
                found.append(Figure(f"{name}: by {way}", rate, "records/s", count, "records", "higher"))
            peaks[count] = result["peak_mb"]
            found.append(Figure(f"{name}: memory added", result["added_mb"], "MB", count, "records"))
        _, less, most = RECORDS_IN_MEMORY
        more = f"{name}: memory of the process with {most:,} records against {less:,}"
        found.append(Figure(more, peaks[most] / peaks[less], "ratio", goal=MEMORY_GOAL))
    return found


def over_http(home: Path) -> list[Figure]:
    """Each format from a sandbox."""
    from airflow_provider_whitebit.testing import SandboxProcess

    found = []
    for count in RECORDS_OVER_HTTP:
        with tempfile.TemporaryDirectory() as folder:
            long_history(Path(folder) / "ledger.db", count)
            sandbox = SandboxProcess("--db", str(Path(folder) / "ledger.db"), "--no-rate-limits")
            try:
                for form in ("jsonl", "parquet"):
                    result = child("exporting.py", form, count, sandbox.url, home=home)
                    name = f"out of the sandbox over HTTP to {form}"
                    found.append(Figure(name, result["rate"], "records/s", count, "records", "higher"))
            finally:
                sandbox.stop()
    return found


def figures(home: Path) -> list[Figure]:
    """Records a second, and memory added."""
    return [*in_memory(home), *over_http(home)]


if __name__ == "__main__":
    if sys.argv[1:] == ["floor"]:
        print(json.dumps(against_floor()))
    elif len(sys.argv) > 2 and sys.argv[1] in FORMS:
        print(json.dumps(export(sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)))
    else:
        command(figures)
