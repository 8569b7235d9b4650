"""Journal entries as Beancount text (https://beancount.github.io/docs/beancount_language_syntax.html). Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from airflow_provider_whitebit.client.errors import WhiteBitValidationError, shown
from airflow_provider_whitebit.treasury.chart_of_accounts import Chart
from airflow_provider_whitebit.treasury.entry_texts import WITHOUT, day_text, facts, time_text, title
from airflow_provider_whitebit.treasury.flex_ledger import micros
from airflow_provider_whitebit.treasury.journal_entries import Books

_COMMODITY = re.compile(r"(?!(?:TRUE|FALSE|NULL)$)[A-Z][A-Z0-9'._-]*[A-Z0-9]")


def commodity(ticker: str) -> str:
    """Return the name of an asset in Beancount, where names begin with a capital letter: ``T-1INCH`` for ``1INCH``.

    ``TRUE``, ``FALSE`` and ``NULL`` are values there, so they get the same prefix.

    :raises WhiteBitValidationError: there is none.
    """
    for name in (ticker, f"T-{ticker}"):
        if _COMMODITY.fullmatch(name):
            return name
    raise WhiteBitValidationError(
        f"The asset {shown(ticker)} has a name that Beancount cannot write.", next_step=WITHOUT
    )


def beancount_lines(books: Books, chart: Chart, declared: Collection[str] = ()) -> Iterator[str]:
    """Yield the text of some entries at a time. Use within :func:`.exact`.

    :param declared: accounts that the books before have opened.
    :raises WhiteBitValidationError: the name of an asset cannot be written.
    """
    start, end = (day_text(micros(moment)) for moment in (books.start, books.end))
    names = {ticker: commodity(ticker) for _, ticker in books.accounts}
    yield f"; WhiteBIT, {time_text(micros(books.start))} to {time_text(micros(books.end))}\n"
    yield from (f"; {text}\n" for text in books.remarks())
    yield "".join(f"{start} open {name}\n" for name in chart.declare(books.accounts) if name not in declared)
    if not books.begins:
        for account, ticker, amount in chart.asserted(books.opening):
            yield f"{start} balance {account}  {amount:f} ~ 0 {names[ticker]}\n"
    for entry in books.entries():
        lines = [f'\n{day_text(entry.at)} * "WhiteBIT" "{_text(title(entry))}"']
        lines += [f'  {name}: "{_text(text)}"' for name, text in facts(entry)]
        lines += [f"  {chart.name(role, t)}  {amount:f} {names[t]}" for role, t, amount in entry.legs()]
        yield "\n".join(lines) + "\n"
    yield "\n"
    for account, ticker, amount in chart.asserted(books.closing):
        yield f"{end} balance {account}  {amount:f} ~ 0 {names[ticker]}\n"


def _text(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"') if '"' in text or "\\" in text else text
