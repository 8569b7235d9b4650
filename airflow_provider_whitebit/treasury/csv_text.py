"""CSV whose texts no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from airflow_provider_whitebit.client.errors import printable

#: A spreadsheet reads a cell that begins so as a formula. Behind an apostrophe it is text.
_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe_text(text: str) -> str:
    """Return a text as a cell that stays a text.

    :param text: any text. A tab or a line break makes a spreadsheet look at what follows, so none is kept.
    """
    text = text if text.isprintable() else printable(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULAS) else text


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV.

    :param rows: their cells; texts as :func:`safe_text` returns them.
    """
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
