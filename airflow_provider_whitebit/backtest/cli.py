"""``whitebit-sandbox backtest``: one policy, or two side by side, on months of virtual time."""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow_provider_whitebit.backtest.forecasts import ForecastErrors, error_rows, forecast_errors, invest_once
from airflow_provider_whitebit.backtest.page import render_page
from airflow_provider_whitebit.backtest.run import PLANNERS, BacktestReport, backtest, side_by_side
from airflow_provider_whitebit.backtest.scenario import BacktestScenario, default_scenario, read_backtest_scenario
from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.treasury.forecast import RATE_DAYS
from airflow_provider_whitebit.treasury.policy import Policy, read_policy
from airflow_provider_whitebit.treasury.policy_text import decode

_EVERY = re.compile(r"(\d{1,4})([mhd])", re.ASCII)
_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}
_LONGEST_DAYS = 3_650


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        with _quiet():
            if options.forecast is not None:
                return _forecast(options)
            policies, scenario, reports = _run(options)
        named = {ticker for policy in policies.values() for ticker in policy.tickers}
        shown = [ticker for ticker in scenario.tickers if options.all or ticker in named]
        _print_reports(reports, shown, as_json=options.json)
        if options.html:
            # Last: the figures took their time, and are there even if this file cannot be written.
            options.html.write_text(render_page(reports, scenario.start, shown), encoding="utf-8")
            if not options.json:
                print(f"\nCharts: {options.html}")
    except (OSError, ValueError) as error:
        return _fail(str(error))
    except WhiteBitError as error:
        return _fail(error.message)
    return 0


def _print_reports(reports: dict[str, BacktestReport], tickers: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({name: report.to_json() for name, report in reports.items()}, indent=2))
        return
    first = next(iter(reports.values()))
    print(f"{first.days} days, {first.runs} runs, {len(first.tickers)} assets; the ledger balances.\n")
    heading, *rows = side_by_side(reports)
    _print_table([heading, *(row for row in rows if row[0] in tickers)])


def _forecast(options: argparse.Namespace) -> int:
    """Print how far forecasts are off: while a policy goes on, and if it moves money once only."""
    if options.html:
        return _fail("--html shows no forecasts: leave out one of the two")
    scenario, policies = _read(options)
    days = options.forecast
    if days + RATE_DAYS > options.days:
        return _fail(f"--forecast {days} needs --days {days + RATE_DAYS} at least")
    planner, found = PLANNERS[options.planner], {}
    for name, policy in policies.items():
        for label, plan in ((name, planner), (f"{name}, once", invest_once(planner))):
            found[label] = forecast_errors(
                policy, scenario, days=days, total=options.days, every=options.every, planner=plan
            )
    if options.json:
        print(json.dumps(_plain(found), indent=2))
        return 0
    heading, *rows = error_rows(found)
    named = {ticker for policy in policies.values() for ticker in policy.tickers}
    print(f"Forecasts of {days} days, one a week, against what was earned.\n")
    _print_table([heading, *(row for row in rows if options.all or row[0] in named)])
    return 0


def _plain(found: Mapping[str, Mapping[str, ForecastErrors]]) -> dict[str, dict[str, Any]]:
    return {name: {ticker: one.to_json() for ticker, one in errors.items()} for name, errors in found.items()}


def _read(options: argparse.Namespace) -> tuple[BacktestScenario, dict[str, Policy]]:
    scenario = read_backtest_scenario(_decoded(options.scenario) if options.scenario else default_scenario())
    return scenario, {_name(file, options.policy): read_policy(_text(file)) for file in options.policy}


def _run(
    options: argparse.Namespace,
) -> tuple[dict[str, Policy], BacktestScenario, dict[str, BacktestReport]]:
    scenario, policies = _read(options)
    reports = {
        name: backtest(policy, scenario, days=options.days, every=options.every, planner=PLANNERS[options.planner])
        for name, policy in policies.items()
    }
    return policies, scenario, reports


@contextmanager
def _quiet() -> Iterator[None]:
    # Logs of single moves would hide the result.
    log = logging.getLogger("airflow_provider_whitebit")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whitebit-sandbox backtest",
        description="Try a treasury policy on virtual time, against the sandbox's rules.",
    )
    parser.add_argument("policy", type=Path, nargs="+", help="YAML or JSON file with a policy; two are compared")
    parser.add_argument("--days", type=_days, default=365, help="for how long (default: %(default)s)")
    parser.add_argument("--every", type=_every, default="1h", help="time between two runs (default: %(default)s)")
    parser.add_argument("--scenario", type=Path, help="YAML or JSON file with what happens; there is a default")
    parser.add_argument(
        "--planner", choices=sorted(PLANNERS), default="rebalance", help="what runs (default: %(default)s)"
    )
    parser.add_argument(
        "--forecast",
        type=_days,
        nargs="?",
        const=90,
        metavar="DAYS",
        help="instead, make a forecast of DAYS days each week, and print its error (default: %(const)s)",
    )
    parser.add_argument("--all", action="store_true", help="also show assets that no policy names")
    parser.add_argument("--html", type=Path, help="also write a page with charts to this file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _LONGEST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {_LONGEST_DAYS}")
    return int(text)


def _every(text: str) -> int:
    found = _EVERY.fullmatch(text)
    if not found or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of time like 15m, 1h or 1d")
    return int(found[1]) * _SECONDS[found[2]]


def _decoded(file: Path) -> Any:
    """Decode JSON or YAML. JSON numbers with a point stay exact."""
    text = _text(file)
    if file.suffix in (".yaml", ".yml"):
        return decode(text, str(file))
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise ValueError(f"{file} is not valid JSON: {error}") from None


def _text(file: Path) -> str:
    """Read a file as UTF-8, whatever the locale, with or without a byte order mark."""
    return file.read_text(encoding="utf-8-sig")


def _name(file: Path, files: Sequence[Path]) -> str:
    return file.stem if [other.stem for other in files].count(file.stem) == 1 else str(file)


def _print_table(rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        # Names to the left, figures to the right.
        cells = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def _fail(message: str) -> int:
    print(f"whitebit-sandbox backtest: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
