"""Journal entries as CSV that Xero and QuickBooks Online import. Pure.

Both keep one currency with two decimals. So each line has a value in that currency, and names the exact amount in its
description. Vendor pages: Xero, Manual journals: import (https://help.xero.com/nz/ManualJournalsImport); QuickBooks
Online, Import journal entries (https://quickbooks.intuit.com/learn-support/en-us/help-article/import-export-files/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain

from airflow_provider_whitebit.treasury.book_values import Values, require_prices
from airflow_provider_whitebit.treasury.chart_of_accounts import BookFormat, Chart
from airflow_provider_whitebit.treasury.csv_text import csv_lines, safe_text
from airflow_provider_whitebit.treasury.entry_texts import day_text, facts, title
from airflow_provider_whitebit.treasury.journal_entries import Books, JournalEntry

_TRACKING = ("TrackingName1", "TrackingOption1", "TrackingName2", "TrackingOption2")
_HEADERS: Mapping[BookFormat, tuple[str, ...]] = {
    BookFormat.XERO: ("*Narration", "*Date", "Description", "*AccountCode", "*TaxRate", "*Amount", *_TRACKING),
    BookFormat.QUICKBOOKS: ("Journal No.", "Journal Date", "Account Name", "Debits", "Credits", "Description"),
}
#: Most lines of one file that is imported: Xero's page says 300. Intuit's page names no number; 1,000 is usual.
_MOST_LINES = {BookFormat.XERO: 300, BookFormat.QUICKBOOKS: 1_000}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(slots=True)
class ValuedCsv:
    """CSV of one of the two.

    :param chart: the accounts; its format decides the columns.
    :param prices: what one unit of each asset is worth in the currency of the books.
    :param tax_rate: name of Xero's tax rate for each line.
    :param left_out: how many entries have no line, because their value is part of a later one: they are below a cent.
    """

    chart: Chart
    prices: Mapping[str, Decimal]
    tax_rate: str = "Tax Exempt"
    left_out: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.tax_rate = safe_text(self.tax_rate)

    def parts(self, books: Books) -> Iterator[tuple[int, str]]:
        """Yield the number of a file, from 1, and text that belongs into it. Use within :func:`.exact`.

        :raises WhiteBitValidationError: an asset has no price.
        """
        require_prices(self.prices, {ticker for _, ticker in books.accounts})
        most, header = _MOST_LINES[self.chart.form], _HEADERS[self.chart.form]
        waiting: list[tuple[object, ...]] = [header]
        part, lines, number = 1, 0, 0
        day = when = prefix = ""
        values = Values(self.prices)
        for entry in chain.from_iterable(_journals(entry, most) for entry in books.entries()):
            date = day_text(entry.at)
            # The number within a day counts all entries, so it does not depend on prices.
            number += 1
            if date != day:
                day, number, when, prefix = date, 1, self._date(date), f"WB{date[2:].replace('-', '')}"
            rows = self._rows(entry, f"{prefix}-{number:05}", when, values)
            if not rows:
                self.left_out += 1
                continue
            if lines and lines + len(rows) > most:
                yield part, csv_lines(waiting)
                part, lines, waiting = part + 1, 0, [header]
            lines += len(rows)
            waiting += rows
        yield part, csv_lines(waiting)

    def _date(self, day: str) -> str:
        year, month, number = day.split("-")
        return f"{number} {_MONTHS[int(month) - 1]} {year}" if self._for_xero else f"{month}/{number}/{year}"

    @property
    def _for_xero(self) -> bool:
        return self.chart.form is BookFormat.XERO

    def _rows(self, entry: JournalEntry, number: str, when: str, values: Values) -> list[tuple[object, ...]]:
        for_xero = self._for_xero
        known = "".join([f"; {name} {text}" for name, text in facts(entry)])
        narration = safe_text(f"{number} {title(entry)}")
        rows: list[tuple[object, ...]] = []
        for role, ticker, value, amount in values.lines(entry):
            account = self.chart.name(role, ticker)
            # It begins with a word, so no spreadsheet takes it for a formula.
            described = f"{entry.kind}: {amount:f} {ticker}{known}"
            if for_xero:
                # Lines with one narration and date are one journal, so the number is part of it.
                rows.append((narration, when, described, account, self.tax_rate, f"{value:f}", "", "", "", ""))
            else:
                debit, credit = (f"{value:f}", "") if value > 0 else ("", f"{-value:f}")
                rows.append((number, when, account, debit, credit, described))
        return rows


def _journals(entry: JournalEntry, most: int) -> list[JournalEntry]:
    """Return an entry as one journal; as one for each asset, if one file might not hold all of its lines."""
    if 2 * len(entry.flows) <= most:
        return [entry]
    tickers = dict.fromkeys(flow.ticker for flow in entry.flows)
    return [entry._replace(flows=tuple(flow for flow in entry.flows if flow.ticker == one)) for one in tickers]
