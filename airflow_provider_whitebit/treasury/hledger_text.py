"""Journal entries as hledger text (https://hledger.org/hledger.html#journal). Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from airflow_provider_whitebit.client.errors import WhiteBitValidationError, shown
from airflow_provider_whitebit.treasury.chart_of_accounts import Chart
from airflow_provider_whitebit.treasury.entry_texts import WITHOUT, day_text, facts, time_text, title
from airflow_provider_whitebit.treasury.flex_ledger import micros
from airflow_provider_whitebit.treasury.journal_entries import Books


def commodity(ticker: str) -> str:
    """Return the name of an asset in hledger: quoted unless it consists of letters.

    :raises WhiteBitValidationError: there is none.
    """
    if not ticker or '"' in ticker or ";" in ticker or not ticker.isprintable():
        raise WhiteBitValidationError(
            f"The asset {shown(ticker)} has a name that hledger cannot write.", next_step=WITHOUT
        )
    return ticker if ticker.isalpha() else f'"{ticker}"'


def hledger_lines(books: Books, chart: Chart, declared: Collection[str] = ()) -> Iterator[str]:
    """Yield the text of some entries at a time. Use within :func:`.exact`.

    :param declared: accounts that the books before have declared.
    :raises WhiteBitValidationError: the name of an asset cannot be written.
    """
    names = {ticker: commodity(ticker) for _, ticker in sorted(books.accounts)}
    yield f"; WhiteBIT, {time_text(micros(books.start))} to {time_text(micros(books.end))}\n"
    yield from (f"; {text}\n" for text in books.remarks())
    yield "decimal-mark .\n"
    for ticker, name in sorted(names.items()):
        # Reports show as many decimals as the amounts have.
        yield f"commodity 0.{'0' * books.decimals.get(ticker, 0)} {name}\n"
    yield "".join(f"account {name}\n" for name in chart.declare(books.accounts) if name not in declared)
    if not books.begins:
        yield from _assertions(books, chart, names, "start")
    for entry in books.entries():
        # A comma ends the value of a tag.
        tags = ", ".join(f"{name}:{text.replace(',', ' ')}" for name, text in facts(entry))
        lines = [f"\n{day_text(entry.at)} * {_text(title(entry))}{'  ; ' if tags else ''}{tags}"]
        lines += [f"    {chart.name(role, t)}  {amount:f} {names[t]}" for role, t, amount in entry.legs()]
        yield "\n".join(lines) + "\n"
    yield from _assertions(books, chart, names, "end")


def _assertions(books: Books, chart: Chart, names: dict[str, str], when: str) -> Iterator[str]:
    asserted = chart.asserted(books.opening if when == "start" else books.closing)
    at = micros(books.start) if when == "start" else micros(books.end) - 1
    if asserted:
        yield f"\n{day_text(at)} * Balances at the {when}, as the exchange shows them\n"
    for account, ticker, amount in asserted:
        yield f"    {account}  0 {names[ticker]} = {amount:f} {names[ticker]}\n"


def _text(text: str) -> str:
    # Behind a semicolon begins a comment, behind a bar a note.
    return text.replace(";", " ").replace("|", " ")
