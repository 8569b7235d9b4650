"""The README's figures are those that ``make bench`` has written, and nobody else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
BENCH = REPO / "scripts" / "bench"
if not BENCH.is_dir():
    pytest.skip("only in a clone", allow_module_level=True)
sys.path.insert(0, str(BENCH))

import figure  # noqa: E402
import table  # noqa: E402

DOCUMENT = {
    "taken_at": "2026-01-02T03:04:05Z",
    "machine": {
        "cores": 2,
        "cpu": "A CPU",
        "os": "Linux, Some Linux 1",
        "python": "3.11.7",
        "packages": {"apache-airflow": "3.3.2"},
    },
    "figures": [
        {"benchmark": "calls", "name": "a way", "value": 400.4, "unit": "us"},
        {"benchmark": "calls", "name": "a way", "value": 0.7, "unit": "of a bare session", "goal": 0.6},
        {"benchmark": "calls", "name": "against the fastest peer", "value": 0.65, "unit": "ratio", "goal": 1},
        {"benchmark": "signing", "name": "one signature", "value": 5.06, "unit": "us", "goal": 12},
        *(
            {
                "benchmark": "planning",
                "name": "rebalance plan",
                "value": value,
                "unit": "us/asset",
                "load": load,
                "load_unit": "assets",
            }
            for load, value in ((20, 20.0), (2000, 25.0))
        ),
        *(
            {
                "benchmark": "exporting",
                "name": "pages in memory to csv",
                "value": value,
                "unit": "records/s",
                "load": load,
                "load_unit": "records",
                "better": "higher",
                "goal": goal,
            }
            for load, value, goal in ((10_000, 80_000, None), (1_000_000, 64_000, 50_000))
        ),
    ],
}


def test_tables():
    lines = table.tables(DOCUMENT).splitlines()
    assert lines[0] == "Taken on 2 cores (A CPU), Python 3.11.7, Airflow 3.3.2, Linux, 2026-01-02."
    assert "| a way | 400 | 0.70 | ≤ 0.6 (missed) |" in lines
    assert "| against the fastest peer | | 0.65 | ≤ 1 |" in lines
    assert "| one signature |  | 5.06 µs | ≤ 12 µs |  |" in lines
    assert "| rebalance plan | 20 to 2,000 assets | 25 µs/asset |  | 1.25 |" in lines
    assert (
        "| export, pages in memory to csv | 10,000 to 1,000,000 records "
        "| 64,000 records/s | ≥ 50,000 records/s | 1.25 |"
    ) in lines


def test_tables_take_the_place_of_the_old_ones(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    for _ in range(2):
        table.put_into(readme, DOCUMENT)
        assert readme.read_text() == f"before\n{table.BEGIN}\n{table.tables(DOCUMENT)}\n{table.END}\nafter\n"


def test_a_readme_without_a_place_for_them_is_left_alone(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.BEGIN}\nold\n")
    with pytest.raises(ValueError, match="end of figures"):
        table.put_into(readme, DOCUMENT)
    assert readme.read_text() == f"before\n{table.BEGIN}\nold\n"


@pytest.mark.parametrize(("better", "slope"), [("lower", 2.0), ("higher", 0.5)])
def test_a_slope_is_what_a_unit_costs_under_the_largest_load(better, slope):
    series = [
        figure.Figure("name", value, "", load, better=better) for load, value in ((100, 4.0), (10, 3.0), (1, 2.0))
    ]
    assert figure.slopes([*series, figure.Figure("another", 7.0, "")]) == {("", "name"): slope}


def test_the_readme_shows_the_published_figures():
    published = json.loads((REPO / "docs" / "figures.json").read_text())
    shown = (REPO / "README.md").read_text().partition(table.BEGIN)[2].partition(table.END)[0]
    assert shown == f"\n{table.tables(published)}\n"
