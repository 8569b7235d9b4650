"""Journal entries and statements of a long history from pages in memory, against an export of the same records.

The pages are those of :mod:`exporting`, with plans whose records add up: each opens, earns, adds and takes out. What is
exported is what both read: the history, and the list of payments that it is compared with. They and the export take
turns in the same process; each size has a process of its own. A statement is written with its page and its movements.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from exporting import peak_mb
from figure import Figure, child, command

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import Transport
from airflow_provider_whitebit.client.transport_http import HttpAnswer
from airflow_provider_whitebit.hooks.journal_entries import read_books
from airflow_provider_whitebit.hooks.statements import read_statement
from airflow_provider_whitebit.moves.parsing import read_time
from airflow_provider_whitebit.operators.book_files import BookFolder, BookWriter
from airflow_provider_whitebit.operators.export import write_records
from airflow_provider_whitebit.treasury.chart_of_accounts import BookFormat, read_chart
from airflow_provider_whitebit.treasury.statement_page import render_page

STATEMENT = "statement"
FORMS = ("beancount", "hledger", "xero", "quickbooks", STATEMENT)
#: What is measured by size.
NAMES = {"beancount": "journal entries as beancount", STATEMENT: "statement"}
TURNS, RECORDS_IN_A_TURN = 5, 20_000
RECORDS = (10_000, 100_000, 1_000_000)
#: Most time of entries against an export, and most megabytes that a million records add.
GOAL, MEMORY_GOAL = 3.0, 200
#: A midnight. Everything happens before it, a few records in each second.
END, IN_ONE_SECOND, PLANS = 1_759_968_000, 4, 100
EARNING, INVEST, WITHDRAW, OPEN = 4, 1, 3, 6
#: What each plan's records do in turn, newest first. Every second one is an earning.
ACTIONS = ((EARNING, "0.137"), (WITHDRAW, "1"), (EARNING, "0.138"), (INVEST, "1"))
RECORD = (
    '{"createdAt":%d,"planId":"8f2e9d3c-1a4b-4c2d-9e5f-%012d","investmentId":"inv_%d","currency":"USDT","amount":"%s",'
    '"transaction_id":"tx_%08d-0000-4000-8000-000000000000","actionType":%d}'
)
PRICES = {"USDT": Decimal("0.92")}
ACCOUNTS = {"main": "100", "flex": "110", "flex_interest": "200", "opening": "300"}


class Account:
    """An account with this many Flex records, newest first, page by page."""

    def __init__(self, count: int) -> None:
        self._each = count // PLANS

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> HttpAnswer:
        request = json.loads(body or b"{}")
        answer = self._page(path, request) if "history" in path else json.dumps(self._other(path)).encode()
        return HttpAnswer(200, {}, answer)

    def _other(self, path: str) -> object:
        name = path.rsplit("/", 1)[-1]
        if name == "time":
            return {"time": END + 60}
        if name == "plans":
            return []
        if name == "balance":
            return {"USDT": {"main_balance": "1000000"}}
        held = [
            {"id": f"inv_{plan}", "planId": f"8f2e9d3c-1a4b-4c2d-9e5f-{plan:012}", "currency": "USDT", "status": 1}
            | {"invested": str(1000 + self._sum()), "withAutoReinvest": False, "createdAt": 1_700_000_000}
            for plan in range(PLANS)
        ]
        return {"data": held, "limit": 100, "offset": 0}

    def _sum(self) -> int:
        """What a plan's records after its first one have changed."""
        actions = [ACTIONS[place % 4][0] for place in range(self._each - 1)]
        return actions.count(INVEST) - actions.count(WITHDRAW)

    def _page(self, path: str, request: dict[str, int]) -> bytes:
        if path.endswith("main-account/history"):
            return json.dumps({"limit": request["limit"], "offset": request["offset"], "records": []}).encode()
        paid = path.endswith("payment-history")
        step = 2 if paid else 1
        begin = request["offset"]
        if "dateTo" in request:
            later = max(0, END - 1 - request["dateTo"]) * IN_ONE_SECOND
            rounds, rest = divmod(later, step * PLANS)
            begin += rounds * PLANS + min(rest, PLANS)
        values: list[object] = []
        shown = 0
        for number in range(begin, min(begin + request["limit"], self._each * PLANS // step)):
            place, plan = number // PLANS * step, number % PLANS
            action, amount = (OPEN, "1000") if place == self._each - 1 else ACTIONS[place % 4]
            at = END - 1 - (place * PLANS + plan) // IN_ONE_SECOND
            values += (at, plan, plan, amount, place * PLANS + plan, action)
            shown += 1
        records = ",".join([RECORD] * shown) % tuple(values)
        return f'{{"data":[{records}],"limit":{request["limit"]},"offset":{request["offset"]}}}'.encode()

    def close(self) -> None:
        """Nothing is open."""


def client_of(count: int) -> WhiteBitClient:
    return WhiteBitClient(Transport("http://memory", Credentials("k", "s"), wire=Account(count)))


def write(count: int, form: str, folder: str) -> None:
    """Read an account, and write its entries in one format, or its statement."""
    end = read_time("end", END)
    assert end is not None
    start = end.subtract(days=30)
    if form == STATEMENT:
        statement = read_statement(client_of(count), start=start, end=end)
        if statement.discrepancies:
            raise RuntimeError(statement.discrepancies[0].message)
        write_records(statement.movements, f"{folder}/movements.csv")
        Path(f"{folder}/statement.html").write_text(render_page(statement))
        return
    chart = read_chart(None if form in ("beancount", "hledger") else ACCOUNTS, BookFormat(form))
    with (
        read_books(client_of(count), start=start, end=end, fixed=False, sub_accounts=False) as books,
        tempfile.TemporaryDirectory() as scratch,
    ):
        if books.discrepancies:
            raise RuntimeError(books.discrepancies[0].message)
        stem = f"{form}-{time.monotonic_ns()}"
        BookWriter(BookFolder(folder, stem), [chart], PRICES, "No VAT").write(books, Path(scratch))


def export(count: int, folder: str) -> None:
    """Export what entries are made of: the history, and the list of payments that it is compared with."""
    client = client_of(count)
    write_records(client.flex_history(), f"{folder}/history.csv")
    write_records(client.flex_payments(), f"{folder}/payments.csv")


def against_export() -> dict[str, float]:
    """By format, the median of the entries' time divided by the export's, in turns of processor time."""
    ratios: dict[str, list[float]] = {form: [] for form in FORMS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(TURNS + 1):
            begin = time.process_time()
            export(RECORDS_IN_A_TURN, folder)
            least = time.process_time() - begin
            for form in FORMS:
                begin = time.process_time()
                write(RECORDS_IN_A_TURN, form, folder)
                # The first turn loads modules.
                if turn:
                    ratios[form].append((time.process_time() - begin) / least)
    return {form: statistics.median(found) for form, found in ratios.items()}


def once(form: str, count: int) -> dict[str, float]:
    """Write entries once, after a few that load all modules, and return what that took."""
    with tempfile.TemporaryDirectory() as folder:
        write(1_000, form, folder)
        before, cpu = peak_mb(), time.process_time()
        write(count, form, folder)
        return {"rate": count / (time.process_time() - cpu), "added_mb": peak_mb() - before}


def figures(home: Path) -> list[Figure]:
    """Time against an export, records a second, and memory added."""
    ratios = child("journal_entries.py", "against", home=home)
    name = "{}: time against an export of the same records to csv"
    found = [
        Figure(name.format(NAMES.get(form, f"journal entries as {form}")), ratios[form], "ratio", goal=GOAL)
        for form in FORMS
    ]
    # The formats differ in what they write, not in what they keep.
    for form, name in NAMES.items():
        added = 0.0
        for count in RECORDS:
            result = child("journal_entries.py", form, count, home=home)
            rate, added = result["rate"], result["added_mb"]
            found.append(Figure(f"{name}: by processor time", rate, "records/s", count, "records", "higher"))
            found.append(Figure(f"{name}: memory added", added, "MB", count, "records"))
        share = f"{name}: memory added by {RECORDS[-1]:,} records, of {MEMORY_GOAL} MB"
        found.append(Figure(share, added / MEMORY_GOAL, "ratio", goal=1))
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["against"]:
        print(json.dumps(against_export()))
    elif len(sys.argv) > 2 and sys.argv[1] in FORMS:
        print(json.dumps(once(sys.argv[1], int(sys.argv[2]))))
    else:
        command(figures)
