"""What all formats of journal entries say of an entry: days, times and facts as texts. Pure."""

from __future__ import annotations

from functools import lru_cache
from time import gmtime

from airflow_provider_whitebit.client.errors import printable
from airflow_provider_whitebit.treasury.flex_ledger import DAY
from airflow_provider_whitebit.treasury.journal_entries import EntryKind, JournalEntry

_SECOND = 1_000_000
#: What to do if a format cannot write the name of an asset.
WITHOUT = "Name the other assets in tickers, or choose another format. Then clear the task."


@lru_cache(maxsize=1024)
def _day(number: int) -> str:
    year, month, day, *_ = gmtime(number * DAY // _SECOND)
    return f"{year:04}-{month:02}-{day:02}"


def day_text(at: int) -> str:
    """Return the day (UTC) of a number of microseconds since 1970, ``YYYY-MM-DD``."""
    return _day(at // DAY)


@lru_cache(maxsize=1024)
def time_text(at: int) -> str:
    """Return a number of microseconds since 1970 as ISO 8601 text."""
    seconds, micros = divmod(at % DAY, _SECOND)
    fraction = f".{micros:06}" if micros else ""
    return f"{day_text(at)}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}Z"


def title(entry: JournalEntry) -> str:
    """Return what an entry books, and which assets."""
    if len(entry.flows) == 1:
        return f"{entry.kind} {entry.flows[0].ticker}"
    tickers = sorted({flow.ticker for flow in entry.flows})
    return f"{entry.kind} {' '.join(tickers)}"


def facts(entry: JournalEntry) -> list[tuple[str, str]]:
    """Return what is known of an entry besides its amounts: names and texts on one line."""
    found = [] if entry.kind in (EntryKind.OPENING, EntryKind.DIFFERENCE) else [("time", time_text(entry.at))]
    texts = (
        ("transaction", " ".join(entry.transactions)),
        ("plan", entry.plan_id),
        ("investment", entry.investment_id),
        ("intent", entry.intent_id),
        ("task", entry.task),
        ("note", entry.note),
    )
    return found + [(name, text if text.isprintable() else printable(text)) for name, text in texts if text]
