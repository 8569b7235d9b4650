"""The tables of ``docs/figures.md``, from the figures that ``make bench`` has written.

``python scripts/bench/table.py`` puts ``docs/figures.json`` into that page, between two comments.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from figure import RATIOS, REPO, Figure, slopes

PAGE, PUBLISHED = REPO / "docs" / "figures.md", REPO / "docs" / "figures.json"
BEGIN, END = "<!-- figures: written by `make bench README=1` -->", "<!-- end of figures -->"
UNITS = {"us": "µs", **dict.fromkeys(RATIOS, "")}
#: Rows of the second table: benchmark, start of the figures' names, text put before them, and ends of names left out.
ROWS = (
    ("calls", "calls in a row", "", ()),
    ("one_key", "", "", ()),
    ("refused_nonces", "", "", ()),
    ("signing", "one signature", "", ()),
    ("importing", "all operators", "import over `airflow.sdk`: ", ()),
    ("parsing", "", "DAG parsing: ", ()),
    ("moves", "one move", "", ()),
    ("moves", "a move with a lost answer", "", ()),
    ("moves", "moves of one plan", "", ()),
    ("journal", "", "", ("read",)),
    ("waiting", "", "", ("memory of the process",)),
    ("latency", "", "", ()),
    ("exporting", "pages in memory", "export, ", ("by processor time",)),
    ("exporting", "out of the sandbox", "export, ", ()),
    ("journal_entries", "", "", ()),
    ("planning", "", "", ()),
    ("backtesting", "", "backtest: ", ("moves",)),
    ("forecasting", "", "forecast: ", ()),
    ("treasury_page", "", "", ()),
    ("simulation", "", "simulation: ", ()),
)


def short(value: float) -> str:
    """A number with its significant digits."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2g}" if abs(value) < 1 else f"{value:.2f}"


def on_what(document: dict[str, Any]) -> str:
    """The machine in one line."""
    machine = document["machine"]
    airflow, system = machine["packages"]["apache-airflow"], machine["os"].partition(",")[0]
    processor = f"{machine['cores']} cores ({machine['cpu']})"
    return f"{processor}, Python {machine['python']}, Airflow {airflow}, {system}, {document['taken_at'][:10]}"


def tables(document: dict[str, Any]) -> str:
    """All figures that the page shows, as Markdown."""
    figures = [Figure.from_json(raw) for raw in document["figures"]]
    return (
        f"Taken on {on_what(document)}.\n\n{_calls(figures)}\n\n{_rest(figures)}\n\n"
        "Each figure is for the largest load. Slope: that figure divided by the one for the smallest load (inverted "
        "if more is\nbetter), so less is better. For figures of one unit (ms/DAG, records/s) 1 means linear; for "
        "those marked * it means the\nsame for every load. All figures, for every load: [figures.json](figures.json)."
    )


def slope_of(figure: Figure, slope: dict[tuple[str, str], float]) -> str:
    """The slope of the series that a figure belongs to, with a mark if the figure is not the cost of one unit."""
    key = (figure.benchmark, figure.name)
    return f"{slope[key]:.2f}{'' if figure.of_one_unit else ' *'}" if key in slope else ""


def _calls(figures: list[Figure]) -> str:
    """Each way of making a call: its time, and its ratio to a bare session."""
    lines = ["| One signed call on loopback | µs | of a bare session | goal |", "| --- | ---: | ---: | ---: |"]
    calls = [one for one in figures if one.benchmark == "calls"]
    ratios = {one.name: one for one in calls if one.unit == "of a bare session"}
    for one in calls:
        if one.unit == "us" and one.name in ratios:
            ratio = ratios[one.name]
            lines.append(f"| {one.name} | {short(one.value)} | {ratio.value:.2f} | {_goal(ratio)} |")
    for one in calls:
        if one.goal is not None and one.name not in ratios:
            lines.append(f"| {one.name} | | {one.value:.2f} | {_goal(one)} |")
    return "\n".join(lines)


def _rest(figures: list[Figure]) -> str:
    """All others, under their largest load."""
    lines = ["| | load | figure | goal | slope |", "| --- | ---: | ---: | ---: | ---: |"]
    slope = slopes(figures)
    for benchmark, begins, before, without in ROWS:
        series: dict[str, list[Figure]] = {}
        for one in figures:
            if one.benchmark == benchmark and one.name.startswith(begins) and not one.name.endswith(without):
                series.setdefault(one.name, []).append(one)
        for name, loads in series.items():
            most = max(loads, key=lambda one: one.load or 0)
            cells = (
                *(before + name, _load(loads), f"{short(most.value)} {_unit(most)}".strip(), _goal(most)),
                slope_of(most, slope),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _load(series: list[Figure]) -> str:
    """From the smallest load to the largest."""
    loads = sorted(one.load for one in series if one.load is not None)
    if not loads:
        return ""
    least = f"{loads[0]:,} to " if loads[0] != loads[-1] else ""
    return f"{least}{loads[-1]:,} {series[0].load_unit}"


def _unit(figure: Figure) -> str:
    return UNITS.get(figure.unit, figure.unit.replace("us/", "µs/"))


def _goal(figure: Figure) -> str:
    """The goal, and whether it was missed."""
    if figure.goal is None:
        return ""
    sign = "≤" if figure.better == "lower" else "≥"
    return f"{sign} {short(figure.goal)} {_unit(figure)}".strip() + ("" if figure.reached else " (missed)")


def put_into(page: Path, document: dict[str, Any]) -> None:
    """Replace the text between the two comments.

    :raises ValueError: if they are missing.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} with {END} after it")
    page.write_text(f"{before}{BEGIN}\n{tables(document)}\n{END}{after}")


if __name__ == "__main__":
    put_into(PAGE, json.loads(PUBLISHED.read_text()))
