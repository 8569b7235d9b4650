"""The README's figures are those that ``make bench`` has written, and nobody else."""

from __future__ import annotations

import json
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
BENCH = REPO / "scripts" / "bench"
if not BENCH.is_dir():
    pytest.skip("only in a clone", allow_module_level=True)
sys.path.insert(0, str(BENCH))

import calls  # noqa: E402
import figure  # noqa: E402
import run  # noqa: E402
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
                "benchmark": "waiting",
                "name": "waiting: requests",
                "value": 7,
                "unit": "requests",
                "load": load,
                "load_unit": "sensors",
                "goal": goal,
            }
            for load, goal in ((1, None), (100, 8))
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
    assert "| waiting: requests | 1 to 100 sensors | 7 requests | ≤ 8 requests | 1.00 * |" in lines
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
def test_a_slope_is_the_figure_under_the_largest_load_over_that_under_the_smallest(better, slope):
    series = [
        figure.Figure("name", value, "", load, better=better) for load, value in ((100, 4.0), (10, 3.0), (1, 2.0))
    ]
    assert figure.slopes([*series, figure.Figure("another", 7.0, "")]) == {("", "name"): slope}


@pytest.mark.parametrize(
    ("unit", "load_unit", "of_one_unit"),
    [
        ("ms/DAG", "DAGs", True),
        ("us/attempt", "attempts", True),
        ("records/s", "records", True),
        ("calls/s", "processes", False),
        ("requests", "sensors", False),
        ("requests", "requests", False),
        ("MB", "records", False),
        ("ratio", "calls", False),
        ("us", "", False),
    ],
)
def test_a_figure_knows_whether_it_is_of_one_unit_of_its_load(unit, load_unit, of_one_unit):
    assert figure.Figure("name", 1.0, unit, 1, load_unit).of_one_unit is of_one_unit


#: Series that are no cost of one unit of their load, by benchmark and end of the name.
OF_THE_WHOLE = [
    ("calls", "calls in a row, against a bare session"),
    ("one_key", "calls of all together"),
    ("one_key", "refused by nonce"),
    ("one_key", "refused by rate limit"),
    ("moves", "settled: the package's own time"),
    ("moves", "settled: requests"),
    ("journal", "write"),
    ("journal", "read"),
    ("waiting", "requests"),
    ("waiting", "memory of the process"),
    ("latency", "median of 4"),
    ("latency", "longest of 4"),
    ("exporting", "memory added"),
]


def published():
    return json.loads((REPO / "docs" / "figures.json").read_text())


def test_the_slope_of_each_published_series_means_what_the_table_says():
    for one in map(figure.Figure.from_json, published()["figures"]):
        if one.load is not None:
            whole = any(one.benchmark == name and one.name.endswith(end) for name, end in OF_THE_WHOLE)
            assert one.of_one_unit is not whole, one


#: What was promised: benchmark, name, unit, load, and the goal.
PROMISED = [
    ("calls", "this package: the hook's client", "of a bare session", None, 0.6),
    ("calls", "this package against the fastest peer, *", "ratio", None, 1),
    ("signing", "one signature", "us", None, 12),
    ("importing", "all operators, sensors and event triggers", "ms", None, 30),
    ("waiting", "sensors that wait 30 s, one question every 5 s: requests", "requests", 10_000, None),
    ("exporting", "pages in memory to jsonl: by the clock", "records/s", 1_000_000, 50_000),
    ("exporting", "pages in memory to csv: by the clock", "records/s", 1_000_000, 50_000),
    ("exporting", "pages in memory to parquet: by the clock", "records/s", 1_000_000, 50_000),
    *(
        ("exporting", f"pages in memory to {form}: memory that 1,000,000 records add to that of 100,000", "MB", None, 5)
        for form in ("jsonl", "csv", "parquet")
    ),
    ("one_key", "processes on one key, under the vendor's limit: refused by nonce", "calls", 16, 0),
    ("one_key", "processes on one key, under the vendor's limit: refused by rate limit", "calls", 16, 0),
    ("one_key", "processes on one key, without a limit: refused by nonce", "calls", 16, 0),
]


@pytest.mark.parametrize(("benchmark", "name", "unit", "load", "goal"), PROMISED)
def test_what_was_promised_is_published_and_reached(benchmark, name, unit, load, goal):
    figures = [figure.Figure.from_json(raw) for raw in published()["figures"]]
    series = [one for one in figures if one.benchmark == benchmark and fnmatch(one.name, name) and one.unit == unit]
    [promised] = [one for one in series if one.load == load]
    if benchmark == "waiting":
        # The request cost of one sensor; its last question may fall into the end.
        [alone] = [one for one in series if one.load == 1]
        goal = alone.value + 1
    assert promised.goal == goal
    assert promised.reached


def test_no_published_figure_misses_its_goal():
    assert [raw for raw in published()["figures"] if figure.Figure.from_json(raw).reached is False] == []


PEERS = [figure.Figure(name, 500.0, "us", benchmark="calls") for name in calls.PEERS.values()]


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """Runs all benchmarks, of which only one has figures; returns how that ends and what has been written."""
    readme, public, kept = tmp_path / "README.md", tmp_path / "public.json", tmp_path / "figures.json"
    readme.write_text(f"{table.BEGIN}\n{table.END}\n")
    monkeypatch.setattr(table, "README", readme)
    monkeypatch.setattr(table, "PUBLISHED", public)
    monkeypatch.setattr(run, "PACKAGES", ("apache-airflow",))

    def bench(figures, *options):
        monkeypatch.setattr(run, "measure", lambda names, home: iter([figures]))
        monkeypatch.setattr(sys, "argv", ["run.py", "--home", str(tmp_path), *options])
        ended = run.main()
        return ended, *(json.loads(file.read_text()) if file.exists() else None for file in (kept, public))

    return bench


@pytest.mark.parametrize(("value", "ended"), [(0.5, 0), (0.7, 1)])
def test_a_missed_goal_is_written_and_ends_the_run_with_1(bench, capsys, value, ended):
    ours = figure.Figure("ours", value, "of a bare session", goal=0.6, benchmark="calls")
    told, kept, public = bench([*PEERS, ours], "--readme")
    assert told == ended
    assert kept == public
    assert kept["figures"][-1] == ours.to_json()
    assert kept["left_out"] == []
    assert {"whitebit-python-sdk", "ccxt", "aiowhitebit"} < kept["machine"]["packages"].keys()
    assert f"Goals missed: {'ours' if ended else 'none'}" in capsys.readouterr().out


def test_a_peer_that_was_left_out_is_told_of(bench, capsys):
    told, kept, _ = bench([one for one in PEERS if not one.name.startswith("ccxt")])
    assert told == 0
    assert kept["left_out"] == [calls.PEERS["ccxt"]]
    assert set(kept["machine"]["packages"]) == {"apache-airflow", "whitebit-python-sdk", "aiowhitebit"}
    assert f"could not be installed or started: {calls.PEERS['ccxt']}\n" in capsys.readouterr().out


def test_nothing_is_published_without_all_peers(bench, capsys):
    told, _, public = bench([one for one in PEERS if not one.name.startswith("ccxt")], "--readme")
    assert told == 1
    assert public is None
    assert table.README.read_text() == f"{table.BEGIN}\n{table.END}\n"
    assert calls.PEERS["ccxt"] in capsys.readouterr().out


def test_the_readme_shows_the_published_figures():
    shown = (REPO / "README.md").read_text().partition(table.BEGIN)[2].partition(table.END)[0]
    assert shown == f"\n{table.tables(published())}\n"
