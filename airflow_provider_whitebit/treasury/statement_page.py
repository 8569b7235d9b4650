"""A statement of Flex lending as one HTML page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import pendulum

from airflow_provider_whitebit.treasury.amounts import ZERO, exact
from airflow_provider_whitebit.treasury.figures import AVERAGE_DECIMALS, Figures, PlanStatement, TickerStatement
from airflow_provider_whitebit.treasury.html_page import render
from airflow_provider_whitebit.treasury.statement import ReinvestedAs, Statement
from airflow_provider_whitebit.treasury.valuation import VALUE_DECIMALS, Price, Valuation

_MINUS, _NO_RATE, _UNKNOWN = "\N{MINUS SIGN}", "\N{EN DASH}", "unknown"
#: Values from here on are shown with two decimals.
_COARSE = Decimal(10)
#: Rounds prices as they are shown.
_PRICE = Context(prec=10)
_ONE_SECOND = pendulum.duration(seconds=1)
#: Groups of lines: the name of each line, its figure, its sign, and its CSS class.
_LINES = (
    (
        ("Opening balance", "opening", "", "total"),
        ("Invested", "invested", "+", ""),
        ("Earnings reinvested", "reinvested", "+", ""),
        ("Withdrawn", "withdrawn", _MINUS, ""),
        ("Closed", "closed", _MINUS, ""),
        ("Closing balance", "closing", "", "total"),
    ),
    (
        ("Earned", "earned", "", "total"),
        ("of which paid to Main", "earned_to_main", "", "part"),
        ("of which reinvested", "earned_reinvested", "", "part"),
        ("Average balance", "average_invested", "", ""),
    ),
    (
        ("Realised rate per year", "realised_rate", "", "total"),
        ("Advertised rate per year", "advertised_rate", "", ""),
    ),
)
#: The columns of the table of Main.
_MAIN = ("deposited", "withdrawn", "from_sub_accounts", "to_sub_accounts", "from_flex", "to_flex", "known_change")
#: The columns of the table of values, and the figures that each adds up.
_VALUES = (
    ("Opening", ("opening",)),
    ("Paid in", ("invested", "reinvested")),
    ("Taken out", ("withdrawn", "closed")),
    ("Closing", ("closing",)),
    ("Earned", ("earned",)),
)
_READINGS = {
    ReinvestedAs.BOTH: "as a daily earning and a reinvestment of the same amount",
    ReinvestedAs.EARNING: "as a daily earning only; the balances show which ones were kept",
    ReinvestedAs.REINVEST: "as a reinvestment only; daily earnings are those paid to Main",
}


def render_page(statement: Statement, *, account: str = "", only: Sequence[str] = ()) -> str:
    """Render a statement as one self-contained HTML page.

    :param statement: what to show.
    :param account: name of the account, for example the Airflow connection.
    :param only: what the statement was restricted to, in words.
    :returns: HTML, to be written as UTF-8.
    """
    with exact():
        return render(
            "statement.html.jinja",
            statement=statement,
            account=account,
            only=only,
            period=period_in_words(statement.start, statement.end),
            reading=_READINGS[statement.reinvested_as],
            lines=_LINES,
            charts={ticker.ticker: [_series(plan) for plan in ticker.plans] for ticker in statement.tickers},
            amount=_amount,
            columns_of=_columns,
            decimals_of=_decimals,
            figure=_figure,
            main_decimals=lambda one: _most_decimals(getattr(one, name) for name in _MAIN),
            main_names=_MAIN,
            percent=_percent,
            rows_of=lambda ticker: zip(*(plan.days for plan in ticker.plans), strict=True),
            short_name=short_name,
            time=_time,
            valued=None if statement.valuation is None else _valued(statement.valuation),
        )


def _valued(valuation: Valuation) -> dict[str, Any]:
    """The table of values: a row for each asset, the totals, and the prices in words."""
    totals = valuation.totals
    decimals = 2 if max(totals.values(), default=ZERO) >= _COARSE else VALUE_DECIMALS

    def cells(value: Callable[[str], Decimal | None]) -> list[str]:
        columns = ([value(name) for name in names] for _, names in _VALUES)
        sums = (None if None in column else sum(filter(None, column), ZERO) for column in columns)
        return [_UNKNOWN if one is None else _amount(one, decimals) for one in sums]

    return {
        "labels": [label for label, _ in _VALUES],
        "rows": [(asset.ticker, cells(asset.value)) for asset in valuation.assets],
        "totals": cells(totals.get),
        "left_out": list(dict.fromkeys((one.ticker, one.reason) for one in valuation.left_out)),
        "prices": [_price(asset.price) for asset in valuation.assets if asset.price is not None and asset.price.legs],
    }


def _price(price: Price) -> str:
    frozen = ", in which trading is disabled" if price.frozen else ""
    return f"1 {price.ticker} = {_PRICE.plus(price.price):,f} {price.value_in} ({price.markets}{frozen})"


def _columns(ticker: TickerStatement) -> list[Figures]:
    """The figures that the table of an asset shows. The total of a single plan would repeat its figures."""
    plans = [plan.figures for plan in ticker.plans]
    return plans if len(plans) == 1 else [ticker.figures, *plans]


def _series(plan: PlanStatement) -> dict[str, Any]:
    """The lines of the charts. Amounts are texts: only the page's script makes floats of them, to draw."""
    return {
        "name": short_name(plan.plan_id),
        "dates": [day.date for day in plan.days],
        "invested": [format(day.invested, "f") for day in plan.days],
        "earned": [format(day.earned_to_date, "f") for day in plan.days],
        "rate": [None if day.rate_to_date is None else format(day.rate_to_date, "f") for day in plan.days],
        "advertised": None if plan.figures.advertised_rate is None else format(plan.figures.advertised_rate, "f"),
    }


def short_name(plan_id: str) -> str:
    """Shorten a long plan id to its first characters, which are enough to tell plans apart."""
    return plan_id if len(plan_id) <= 12 else f"{plan_id[:8]}…"


def _decimals(ticker: TickerStatement) -> int:
    """The number of decimals that shows every exact amount of an asset in full."""
    exact = [name for _, name, _, _ in (*_LINES[0], *_LINES[1]) if name != "average_invested"]
    return _most_decimals(getattr(figures, name) for figures in _columns(ticker) for name in exact)


def _most_decimals(values: Iterable[Decimal]) -> int:
    exponents = [value.normalize().as_tuple().exponent for value in values]
    return max([2, *(-exponent for exponent in exponents if isinstance(exponent, int))])


def _figure(figures: Figures, name: str, decimals: int) -> str:
    value = getattr(figures, name)
    if name.endswith("_rate"):
        return _percent(value, _UNKNOWN if name == "advertised_rate" else _NO_RATE)
    return _amount(value, AVERAGE_DECIMALS if name == "average_invested" else decimals)


def _amount(value: Decimal, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", _MINUS)


def _percent(rate: Decimal | None, none: str = _NO_RATE) -> str:
    if rate is None:
        return none
    return f"{(rate * 100).quantize(Decimal('0.0001'), ROUND_HALF_EVEN):,f} %".replace("-", _MINUS)


def period_in_words(start: pendulum.DateTime, end: pendulum.DateTime) -> str:
    """Return a period as people write it: for whole days, including the last one."""
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
