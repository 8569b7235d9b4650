"""A statement as one HTML page that needs nothing else: no server, no network, and no script to be read.

The charts are drawn by uPlot 1.6.32 (MIT, https://github.com/leeoniya/uPlot), which lies in ``static/uplot`` and is
written into the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from importlib.resources import files
from typing import Any

import pendulum
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from airflow_provider_whitebit.treasury.flex_books import ReinvestedAs
from airflow_provider_whitebit.treasury.statement import (
    AVERAGE_DECIMALS,
    Figures,
    PlanStatement,
    Statement,
    TickerStatement,
)

_PACKAGE = "airflow_provider_whitebit"
_MINUS, _NO_RATE = "\N{MINUS SIGN}", "\N{EN DASH}"
_ONE_SECOND = pendulum.duration(seconds=1)
#: Lines of a statement: their name, the figure, its sign, and how they look.
_BALANCE_LINES = (
    ("Opening balance", "opening", "", "total"),
    ("Invested", "invested", "+", ""),
    ("Earnings reinvested", "reinvested", "+", ""),
    ("Withdrawn", "withdrawn", _MINUS, ""),
    ("Closed", "closed", _MINUS, ""),
    ("Closing balance", "closing", "", "total"),
)
_EARNING_LINES = (
    ("Earned", "earned", "", "total"),
    ("of that to Main", "earned_to_main", "", "part"),
    ("of that reinvested", "earned_reinvested", "", "part"),
    ("Average balance", "average_invested", "", ""),
)
_RATE_LINES = (
    ("Realised rate a year", "realised_rate", "total"),
    ("Advertised rate a year", "advertised_rate", ""),
)
_READINGS = {
    ReinvestedAs.BOTH: "as a daily earning and a reinvestment of the same amount",
    ReinvestedAs.EARNING: "as a daily earning only; the balances tell which ones were kept",
    ReinvestedAs.REINVEST: "as a reinvestment only; daily earnings are those paid to Main",
}


def render_page(statement: Statement, *, account: str = "") -> str:
    """The statement as one self-contained HTML page.

    :param statement: what to show.
    :param account: whose it is, for example the Airflow connection; shown as it is.
    :returns: HTML, to be written as UTF-8.
    """
    return (
        _environment()
        .get_template("statement.html.jinja")
        .render(
            statement=statement,
            account=account,
            period=_period(statement),
            made_at=_time(statement.made_at),
            start=_time(statement.start),
            end=_time(statement.end),
            records_from=_time(statement.records_from) if statement.records_from else None,
            reading=_READINGS[statement.reinvested_as],
            sections=[_section(ticker) for ticker in statement.tickers],
            charts={ticker.ticker: [_series(plan) for plan in ticker.plans] for ticker in statement.tickers},
            uplot_script=Markup(_static("uPlot.iife.min.js")),
            uplot_style=Markup(_static("uPlot.min.css")),
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


@cache
def _static(name: str) -> str:
    return (files(_PACKAGE) / "static" / "uplot" / name).read_text(encoding="utf-8")


def _section(ticker: TickerStatement) -> dict[str, Any]:
    """What the template shows of one asset."""
    decimals = _decimals([ticker.figures, *(plan.figures for plan in ticker.plans)])
    columns = [plan.figures for plan in ticker.plans]
    # A total beside a single plan would say everything twice.
    columns = [ticker.figures, *columns] if len(columns) != 1 else columns
    return {
        "ticker": ticker.ticker,
        "total": len(columns) != len(ticker.plans),
        "plans": [{"id": plan.plan_id, "name": short_name(plan.plan_id)} for plan in ticker.plans],
        "groups": [
            *([_amount_line(line, columns, decimals) for line in lines] for lines in (_BALANCE_LINES, _EARNING_LINES)),
            [_rate_line(line, columns) for line in _RATE_LINES],
        ],
        "summary": _summary(ticker.figures, decimals),
        "days": _days(ticker, decimals),
    }


#: Its name, its looks, and for each column a sign, a figure, and whether that is nothing.
_Line = tuple[str, str, list[tuple[str, str, bool]]]


def _amount_line(line: tuple[str, str, str, str], columns: Iterable[Figures], decimals: int) -> _Line:
    label, name, sign, look = line
    decimals = AVERAGE_DECIMALS if name == "average_invested" else decimals
    values = [getattr(column, name) for column in columns]
    return label, look, [(sign if value else "", _amount(value, decimals), not value) for value in values]


def _rate_line(line: tuple[str, str, str], columns: Iterable[Figures]) -> _Line:
    label, name, look = line
    return label, look, [("", _percent(getattr(column, name)), False) for column in columns]


def _summary(figures: Figures, decimals: int) -> dict[str, str]:
    return {
        "opening": _amount(figures.opening, decimals),
        "put_in": _amount(figures.invested + figures.reinvested, decimals),
        "taken_out": _amount(figures.withdrawn + figures.closed, decimals),
        "closing": _amount(figures.closing, decimals),
        "earned": _amount(figures.earned, decimals),
        "realised": _percent(figures.realised_rate),
        "advertised": _percent(figures.advertised_rate),
    }


def _days(ticker: TickerStatement, decimals: int) -> list[tuple[str, list[tuple[str, str]]]]:
    by_day = zip(*(plan.days for plan in ticker.plans), strict=True)
    return [
        (days[0].date, [(_amount(day.invested, decimals), _amount(day.earned, decimals)) for day in days])
        for days in by_day
    ]


def _series(plan: PlanStatement) -> dict[str, Any]:
    """What the charts draw. Amounts stay text here; the page's script makes numbers of them, for drawing only."""
    return {
        "name": short_name(plan.plan_id),
        "dates": [day.date for day in plan.days],
        "invested": [format(day.invested, "f") for day in plan.days],
        "earned": [format(day.earned_to_date, "f") for day in plan.days],
        "rate": [None if day.rate_to_date is None else format(day.rate_to_date, "f") for day in plan.days],
        "advertised": None if plan.figures.advertised_rate is None else format(plan.figures.advertised_rate, "f"),
    }


def short_name(plan_id: str) -> str:
    """The first figures of a plan's id, where it is long; they tell plans apart for a reader."""
    return plan_id if len(plan_id) <= 12 else f"{plan_id[:8]}…"


def _decimals(columns: Iterable[Figures]) -> int:
    """So many decimals that no exact amount is cut off."""
    exact = [name for _, name, _, _ in (*_BALANCE_LINES, *_EARNING_LINES) if name != "average_invested"]
    exponents = [getattr(column, name).normalize().as_tuple().exponent for column in columns for name in exact]
    return max([2, *(-exponent for exponent in exponents if isinstance(exponent, int))])


def _amount(value: Decimal, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", _MINUS)


def _percent(rate: Decimal | None) -> str:
    if rate is None:
        return _NO_RATE
    return f"{(rate * 100).quantize(Decimal('0.0001'), ROUND_HALF_EVEN):,f} %".replace("-", _MINUS)


def _period(statement: Statement) -> str:
    """The period as people write it: whole days with the last one included."""
    start, end = statement.start, statement.end
    if start != start.start_of("day") or end != end.start_of("day"):
        return f"{_time(start)} to {_time(end)}"
    last = end - _ONE_SECOND
    if start == start.start_of("month") and end == start.add(months=1):
        return start.format("MMMM YYYY")
    if start.date() == last.date():
        return start.format("D MMMM YYYY")
    return f"{start.format('D MMMM YYYY')} to {last.format('D MMMM YYYY')}"


def _time(moment: pendulum.DateTime) -> str:
    seconds = "" if moment.second == moment.microsecond == 0 else ":ss"
    return moment.format(f"YYYY-MM-DD HH:mm{seconds}") + " UTC"
