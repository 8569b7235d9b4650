"""What came of policies as one HTML page that needs nothing else.

The charts are drawn by uPlot 1.6.32 (MIT, https://github.com/leeoniya/uPlot), which lies in ``static/uplot`` and is
written into the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from importlib.resources import files

import pendulum
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from airflow_provider_whitebit.backtest.run import BacktestReport, side_by_side

_PACKAGE = "airflow_provider_whitebit"


def render_page(reports: dict[str, BacktestReport], start: pendulum.DateTime, tickers: Iterable[str]) -> str:
    """The page.

    :param reports: what came of each policy, by its name.
    :param start: the first moment of the run.
    :param tickers: the assets to show.
    :returns: HTML, to be written as UTF-8.
    """
    shown = list(tickers)
    first = next(iter(reports.values()))
    heading, *rows = side_by_side(reports)
    environment = Environment(
        loader=PackageLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # Policies keep their order, and with it their colours.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment.get_template("backtest.html.jinja").render(
        days=first.days,
        ticks=first.ticks,
        start=start.to_date_string(),
        heading=heading,
        rows=[row for row in rows if row[0] in shown],
        tickers=shown,
        charts={ticker: _charts(reports, ticker) for ticker in shown},
        dates=[start.add(days=day).to_date_string() for day in range(first.days)],
        uplot_script=Markup(_static("uPlot.iife.min.js")),
        uplot_style=Markup(_static("uPlot.min.css")),
    )


def _charts(reports: dict[str, BacktestReport], ticker: str) -> dict[str, dict[str, list[str]]]:
    """Each chart's lines by policy. Amounts go over as text: only the page's script makes floats, to draw them."""
    return {
        "invested": {name: _texts(invested for _, invested in one.daily[ticker]) for name, one in reports.items()},
        "idle": {name: _texts(main for main, _ in one.daily[ticker]) for name, one in reports.items()},
        "earned": {name: _texts(one.earned[ticker]) for name, one in reports.items()},
    }


def _texts(amounts: Iterable[Decimal]) -> list[str]:
    return [format(amount, "f") for amount in amounts]


def _static(name: str) -> str:
    return (files(_PACKAGE) / "static" / "uplot" / name).read_text(encoding="utf-8")
