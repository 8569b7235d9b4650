"""A digest as an HTML mail, as plain text, and as one line.

Mail programs run no scripts and drop style sheets, so the HTML consists of tables with styles of their own. It is at
most 600 pixels wide, and reads well on a phone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pendulum

from airflow_provider_whitebit.client.errors import clean
from airflow_provider_whitebit.client.models import plain
from airflow_provider_whitebit.treasury.amounts import exact
from airflow_provider_whitebit.treasury.digest import Digest, DigestMove
from airflow_provider_whitebit.treasury.forecast import RateBasis, TickerForecast
from airflow_provider_whitebit.treasury.html_page import render
from airflow_provider_whitebit.treasury.statement_page import period_in_words, short_name

#: Most rows of a table, and most sentences at the top. Mail programs cut long mails.
_MOST_ROWS, _MOST_SENTENCES = 30, 10
#: Most assets that the subject names.
_MOST_NAMED = 3
#: Longest text that is kept on one line.
_ONE_LINE = 20
_NONE = "\N{EN DASH}"
_DOUBTS_UNKNOWN = (
    "Moves in doubt are not known here: Airflow lists them to tasks from 3.3 on. The Treasury page and "
    "the command airflow whitebit doubts list show them."
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table.

    :param text: its text.
    :param detail: a smaller one below it.
    :param breaks: whether lines may end at each space and, in long words, anywhere.
    """

    text: str
    detail: str = ""
    breaks: bool = False

    @property
    def on_one_line(self) -> bool:
        """Whether the text is kept on one line."""
        return not self.breaks and len(self.text) <= _ONE_LINE


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a digest.

    :param columns: headings of the table.
    :param rows: its cells.
    :param notes: sentences below it.
    :param nothing: what is said if there are no rows.
    :param left_out: how many rows are not shown.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    nothing: str = ""
    left_out: int = 0


def render_digest(digest: Digest) -> dict[str, str]:
    """Render a digest.

    :param digest: what to show.
    :returns: ``subject``: one line; ``html``: a whole page; ``text``: the same without markup.
    """
    with exact():
        period = period_in_words(digest.statement.start, digest.statement.end)
        subject = _subject(digest, period)
        values = {
            "subject": subject,
            "account": clean(digest.account),
            "period": period,
            "made_at": _time(digest.statement.made_at),
            "attention": _attention(digest),
            "sections": [one for one in _sections(digest) if one.rows or one.nothing],
        }
        html, text = (render(f"digest.{form}.jinja", **values) for form in ("html", "txt"))
    return {"subject": subject, "html": html, "text": text}


def _subject(digest: Digest, period: str) -> str:
    """What happened in one line, the most urgent first."""
    facts = []
    if digest.doubts:
        facts.append(f"{_count(digest.doubts, 'move')} IN DOUBT")
    if digest.forecast.shortfalls:
        facts.append(f"{_count(digest.forecast.shortfalls, 'shortfall')} ahead")
    if not digest.statement.adds_up:
        facts.append("records do not add up")
    earned = [(one.ticker, one.figures.earned) for one in digest.statement.tickers if one.figures.earned]
    interest = [(one.ticker, one.amount) for one in digest.interest or ()]
    if earned:
        facts.append(f"earned {_named(earned)}")
    elif not interest:
        facts.append("nothing earned" if digest.interest is not None else "nothing earned in Flex")
    if interest:
        facts.append(f"interest of {_named(interest)}")
    facts.append(_count(digest.moves, "move") if digest.moves else "no known moves")
    return clean(f"WhiteBIT {digest.account}, {period}: {'; '.join(facts)}", 240)


def _named(amounts: Sequence[tuple[str, Decimal]]) -> str:
    """The first amounts, and how many more there are."""
    named = ", ".join(f"{_amount(amount)} {ticker}" for ticker, amount in amounts[:_MOST_NAMED])
    return named + (f" and {len(amounts) - _MOST_NAMED} more" if len(amounts) > _MOST_NAMED else "")


def _attention(digest: Digest) -> list[str]:
    """What a person must look at, as sentences."""
    found = [
        f"In doubt: {one.move}, sent {_time(one.sent_at)} by {one.task}. {one.next_step}" for one in digest.doubts or ()
    ]
    found += (
        f"{_amount(need.missing)} {need.ticker} will be missing at {_time(need.at)}"
        + (f", when {_amount(need.amount)} {need.ticker} are needed" if need.amount else " from the reserve")
        + (f" and {_amount(need.reserve)} {need.ticker} kept." if need.amount and need.reserve else ".")
        + ("" if digest.due is not None else " Fixed investments, which could not be read, may return it before.")
        for need in digest.forecast.shortfalls
    )
    found += digest.problems
    found += (f"Does not add up: {one.message}" for one in digest.statement.discrepancies)
    found = [clean(text, 600) for text in found]
    more = len(found) - _MOST_SENTENCES
    return found if more <= 0 else [*found[:_MOST_SENTENCES], f"And {more} more."]


def _sections(digest: Digest) -> Iterator[Section]:
    yield _earned(digest)
    yield _moves(digest)
    yield _due(digest)
    yield _expected(digest)
    yield _limits(digest)


def _section(title: str, columns: Sequence[str], rows: Iterable[tuple[Cell, ...]], **more: Any) -> Section:
    listed = list(rows)
    return Section(title, tuple(columns), tuple(listed[:_MOST_ROWS]), left_out=max(0, len(listed) - _MOST_ROWS), **more)


def _earned(digest: Digest) -> Section:
    rows = [
        (
            Cell(one.ticker or "not named", f"{_amount(figures.closing)} invested"),
            Cell(_amount(figures.earned), _reinvested(figures.earned, figures.earned_reinvested)),
            Cell(_percent(figures.realised_rate), f"advertised {_percent(figures.advertised_rate, 'unknown')}"),
        )
        for one in digest.statement.tickers
        if (figures := one.figures).earned or figures.opening or figures.closing
    ]
    notes = list(digest.statement.warnings)
    if digest.interest:
        paid = ", ".join(f"{_amount(one.amount)} {one.ticker}" for one in digest.interest)
        notes.insert(0, f"Fixed investments paid interest of {paid}.")
    elif digest.interest is None:
        notes.insert(0, "What Fixed investments paid is not known: see above.")
    value = digest.statement.valuation
    if value is not None:
        known = "" if value.complete else ", without what has no price"
        notes.append(
            f"Worth about {value.totals['earned']:,.2f} {value.value_in} (earned) and "
            f"{value.totals['closing']:,.2f} {value.value_in} (invested) at prices of {_time(value.read_at)}{known}."
        )
    columns = ("Flex", "Earned", "Rate a year")
    nothing = "Nothing is invested in Flex, and nothing was earned in it."
    return _section("Earned", columns, rows, notes=_cleaned(notes), nothing=nothing)


def _reinvested(earned: Decimal, kept: Decimal) -> str:
    if not kept:
        return ""
    return "reinvested" if kept == earned else f"{_amount(kept)} reinvested"


def _moves(digest: Digest) -> Section:
    rows = (
        (
            _when(one.at),
            Cell(_operation(one), clean(one.task) if one.task else "no receipt of this connection", breaks=True),
            Cell("unknown" if one.amount is None else f"{_amount(one.amount)} {one.ticker}"),
        )
        for one in digest.moves
    )
    notes = [] if digest.due is not None else ["Fixed investments could not be read, so moves of them may be missing."]
    if not digest.doubts:
        notes.append(_DOUBTS_UNKNOWN if digest.doubts is None else "No task has reported a move in doubt.")
    nothing = "Neither receipts nor records of Flex and Fixed show a move."
    return _section("Moves", ("When (UTC)", "What", "Amount"), rows, nothing=nothing, notes=tuple(notes))


def _when(moment: pendulum.DateTime | None) -> Cell:
    return Cell("unknown" if moment is None else _short_time(moment), breaks=True)


def _operation(move: DigestMove) -> str:
    if move.source:
        return f"Transfer from {move.source} to {move.target}"
    words = move.operation.replace("_", " ").capitalize()
    return f"{words}, plan {short_name(move.plan_id)}" if move.plan_id else words


def _due(digest: Digest) -> Section:
    until = _short_time(digest.forecast.until)
    ends = (
        (
            one.at or digest.forecast.until,
            _when(one.at),
            Cell("Fixed investment ends", f"plan {short_name(one.plan_id)}", breaks=True),
            Cell(f"{_amount(one.amount)} {one.ticker}", f"interest {_known(one.interest)} {one.interest_ticker}"),
        )
        for one in digest.due or ()
    )
    needs = (
        (
            need.at,
            _when(need.at),
            Cell("Needed in Main", f"{_amount(need.from_flex)} from Flex" if need.from_flex else "", breaks=True),
            Cell(
                f"{_amount(need.amount)} {need.ticker}",
                f"{_amount(need.missing)} missing" if need.missing else "covered",
            ),
        )
        for ticker in digest.forecast.tickers
        for need in ticker.needs
        if need.amount
    )
    rows = (cells for _, *cells in sorted((*ends, *needs), key=lambda row: row[0]))
    columns, nothing = ("When (UTC)", "What", "Amount"), f"Nothing is known to be due until {until}."
    notes = () if digest.due is not None else ("Which terms end is not known: see above.",)
    return _section(f"Due until {until}", columns, map(tuple, rows), nothing=nothing, notes=notes)


def _expected(digest: Digest) -> Section:
    forecast = digest.forecast
    rows = (
        (
            Cell(one.ticker),
            Cell(_known(one.per_day), _basis(one)),
            Cell(_known(one.earned), "without what is unknown" if one.earned is not None and not one.complete else ""),
        )
        for one in forecast.tickers
        if one.investments
    )
    columns = ("Flex", "A day", f"Until {_short_time(forecast.until)}")
    more = len(forecast.unknown) - _MOST_SENTENCES
    left_out = (f"And {more} more that are not known.",) if more > 0 else ()
    notes = (*forecast.unknown[:_MOST_SENTENCES], *left_out, *forecast.warnings)
    # What is not known concerns the terms and needs above too, so it is said also if nothing is invested in Flex.
    nothing = "Nothing is invested in Flex." if notes else ""
    return _section("Expected earnings", columns, rows, notes=_cleaned(notes), nothing=nothing)


def _basis(ticker: TickerForecast) -> str:
    bases = {str(one.basis) for one in ticker.investments} - {str(RateBasis.UNKNOWN)}
    return {1: f"at {next(iter(bases), '')} rates", 2: "partly at advertised rates"}.get(len(bases), "")


def _limits(digest: Digest) -> Section:
    rows = (
        (
            Cell(f"{use['limit']}{' of ' + use['ticker'] if use['ticker'] else ''}"),
            Cell("unknown" if use["used"] is None else _amount(Decimal(use["used"])), _frees(use)),
            Cell(_amount(Decimal(use["most"]))),
        )
        for use in digest.limits or ()
    )
    words = f"{digest.limits_in_words[:1].upper()}{digest.limits_in_words[1:]}."
    columns = ("Limit", "Used now", "Of")
    if digest.limits:
        return _section("Limits", columns, rows, notes=_cleaned([words]))
    return Section("Limits", columns, (), nothing=clean(words, 600))


def _frees(use: Mapping[str, Any]) -> str:
    if not use["frees_at"]:
        return ""
    moment = pendulum.parse(use["frees_at"])
    assert isinstance(moment, pendulum.DateTime)
    return f"less from {_short_time(moment)}"


def _cleaned(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(clean(text, 600) for text in texts)


def _count(things: Sequence[object], name: str) -> str:
    return f"1 {name}" if len(things) == 1 else f"{len(things)} {name}s"


def _known(amount: Decimal | None) -> str:
    return "unknown" if amount is None else _amount(amount)


def _amount(amount: Decimal) -> str:
    """An exact amount with separators of thousands."""
    return f"{Decimal(plain(amount)):,f}"


def _percent(rate: Decimal | None, none: str = _NONE) -> str:
    return none if rate is None else f"{rate * 100:,.2f} %"


def _short_time(moment: pendulum.DateTime) -> str:
    return moment.format("D MMM HH:mm")


def _time(moment: pendulum.DateTime) -> str:
    return moment.format("D MMM YYYY HH:mm") + " UTC"
