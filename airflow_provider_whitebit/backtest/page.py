"""The outcome of policies as one HTML page."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pendulum

from airflow_provider_whitebit.backtest.run import BacktestReport, side_by_side
from airflow_provider_whitebit.treasury.html_page import render


def render_page(reports: dict[str, BacktestReport], start: pendulum.DateTime, tickers: Iterable[str]) -> str:
    """Render the page.

    :param reports: the outcome of each policy, by its name.
    :param start: the first moment of the run.
    :param tickers: the assets to show.
    :returns: HTML, to be written as UTF-8.
    """
    shown = list(tickers)
    first = next(iter(reports.values()))
    heading, *rows = side_by_side(reports)
    return render(
        "backtest.html.jinja",
        days=first.days,
        runs=first.runs,
        start=start.to_date_string(),
        heading=heading,
        rows=[row for row in rows if row[0] in shown],
        tickers=shown,
        charts={ticker: _charts(reports, ticker) for ticker in shown},
        dates=[start.add(days=day).to_date_string() for day in range(first.days)],
    )


def _charts(reports: dict[str, BacktestReport], ticker: str) -> dict[str, dict[str, list[str]]]:
    """Each chart's lines by policy. Amounts are texts: only the page's script makes floats of them, to draw."""
    return {
        "invested": {name: _texts(invested for _, invested in one.daily[ticker]) for name, one in reports.items()},
        "idle": {name: _texts(main for main, _ in one.daily[ticker]) for name, one in reports.items()},
        "earned": {name: _texts(one.earned[ticker]) for name, one in reports.items()},
    }


def _texts(amounts: Iterable[Decimal]) -> list[str]:
    return [format(amount, "f") for amount in amounts]
