"""The published figures are those that ``make bench`` wrote, and only ratios have goals."""

from __future__ import annotations

import ast
import json
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from airflow.sdk.definitions._internal.contextmanager import DagContext

REPO = Path(__file__).resolve().parents[2]
BENCH = REPO / "scripts" / "bench"
if not BENCH.is_dir():
    pytest.skip("only in a clone", allow_module_level=True)
sys.path.insert(0, str(BENCH))

import calls  # noqa: E402
import exporting  # noqa: E402
import figure  # noqa: E402
import importing  # noqa: E402
import parsing  # noqa: E402
import run  # noqa: E402
import signing  # noqa: E402
import table  # noqa: E402
import waiting  # noqa: E402

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


def test_tables_replace_the_old_ones(tmp_path):
    page = tmp_path / "figures.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    for _ in range(2):
        table.put_into(page, DOCUMENT)
        assert page.read_text() == f"before\n{table.BEGIN}\n{table.tables(DOCUMENT)}\n{table.END}\nafter\n"


def test_a_page_without_the_comments_stays_unchanged(tmp_path):
    page = tmp_path / "figures.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n")
    with pytest.raises(ValueError, match="end of figures"):
        table.put_into(page, DOCUMENT)
    assert page.read_text() == f"before\n{table.BEGIN}\nold\n"


@pytest.mark.parametrize(("better", "slope"), [("lower", 2.0), ("higher", 0.5)])
def test_a_slope_divides_the_figure_of_the_largest_load_by_that_of_the_smallest(better, slope):
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


#: Series that are not the cost of one unit of their load, by benchmark and end of the name.
OF_THE_WHOLE = [
    ("calls", "calls in a row, against a bare session"),
    ("one_key", "calls of all together"),
    ("one_key", "refused by nonce"),
    ("one_key", "refused by rate limit"),
    ("moves", "reconciled: the package's own time"),
    ("moves", "reconciled: requests"),
    ("journal", "write"),
    ("journal", "read"),
    ("waiting", "requests"),
    ("waiting", "requests against those of one sensor"),
    ("waiting", "memory of the process"),
    ("latency", "median of 4"),
    ("latency", "longest of 4"),
    ("exporting", "memory added"),
    ("journal_entries", "memory added"),
]


def published():
    return json.loads((REPO / "docs" / "figures.json").read_text())


def test_the_slope_of_each_published_series_means_what_the_table_says():
    for one in map(figure.Figure.from_json, published()["figures"]):
        if one.load is not None:
            whole = any(one.benchmark == name and one.name.endswith(end) for name, end in OF_THE_WHOLE)
            assert one.of_one_unit is not whole, one


def test_only_ratios_have_goals():
    figures = [figure.Figure.from_json(raw) for raw in published()["figures"]]
    assert [one for one in figures if one.goal is not None and not one.is_ratio] == []
    for source in sorted(BENCH.glob("*.py")):
        calls_of_figure = (
            node
            for node in ast.walk(ast.parse(source.read_text()))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Figure"
        )
        for call in calls_of_figure:
            if any(keyword.arg == "goal" for keyword in call.keywords):
                assert isinstance(call.args[2], ast.Constant), source
                assert call.args[2].value in figure.RATIOS, source


def test_goals():
    assert calls.GOALS == {"bare_session": 0.5, "bare_urllib3": 1.2, "peer": 1}
    assert signing.GOAL == 1.5
    assert parsing.GOAL == 1.25
    assert importing.GOAL == 0.03
    assert (exporting.GOAL, exporting.MEMORY_GOAL) == (0.5, 1.05)
    assert waiting.GOAL == 1.2


#: Rows that must be published: benchmark, name, unit and load.
PROMISED = [
    ("calls", "this package: the hook's client", "of a bare session", None),
    ("calls", "this package against the fastest peer, *", "ratio", None),
    ("signing", "one signature", "us", None),
    ("importing", "all operators, sensors and event triggers", "ms", None),
    ("waiting", "sensors that wait 30 s, one question every 5 s: requests", "requests", 10_000),
    *(("exporting", f"pages in memory to {form}: by the clock", "records/s", 1_000_000) for form in exporting.FORMS),
    *(("exporting", f"pages in memory to {form}: memory added", "MB", 1_000_000) for form in exporting.FORMS),
    ("one_key", "processes on one key, under the vendor's limit: refused by nonce", "*", 16),
    ("one_key", "processes on one key, under the vendor's limit: refused by rate limit", "*", 16),
    ("one_key", "processes on one key, without a limit: refused by nonce", "*", 16),
]


@pytest.mark.parametrize(("benchmark", "name", "unit", "load"), PROMISED)
def test_promised_rows_are_published(benchmark, name, unit, load):
    figures = [figure.Figure.from_json(raw) for raw in published()["figures"]]
    series = [one for one in figures if one.benchmark == benchmark and fnmatch(one.name, name)]
    [promised] = [one for one in series if one.load == load and fnmatch(one.unit, unit)]
    if benchmark == "one_key":
        assert promised.value == 0
    if benchmark == "waiting":
        # As many requests as one sensor makes. Its last one may come at the end.
        [alone] = [one for one in series if one.load == 1]
        assert promised.value <= alone.value + 1


def test_no_published_figure_misses_its_goal():
    assert [raw for raw in published()["figures"] if figure.Figure.from_json(raw).reached is False] == []


PEERS = [figure.Figure(name, 500.0, "us", benchmark="calls") for name in calls.PEERS.values()]


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """Runs all benchmarks, only one of which has figures; returns the exit code and what was written."""
    page, public, kept = tmp_path / "figures.md", tmp_path / "public.json", tmp_path / "figures.json"
    page.write_text(f"{table.BEGIN}\n{table.END}\n")
    monkeypatch.setattr(table, "PAGE", page)
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
    exit_code, kept, public = bench([*PEERS, ours], "--readme")
    assert exit_code == ended
    assert kept == public
    assert kept["figures"][-1] == ours.to_json()
    assert kept["left_out"] == []
    assert {"whitebit-python-sdk", "ccxt", "aiowhitebit"} < kept["machine"]["packages"].keys()
    assert f"Goals missed: {'ours' if ended else 'none'}" in capsys.readouterr().out


def test_a_peer_that_was_left_out_is_named(bench, capsys):
    exit_code, kept, _ = bench([one for one in PEERS if not one.name.startswith("ccxt")])
    assert exit_code == 0
    assert kept["left_out"] == [calls.PEERS["ccxt"]]
    assert set(kept["machine"]["packages"]) == {"apache-airflow", "whitebit-python-sdk", "aiowhitebit"}
    assert f"Peers left out: {calls.PEERS['ccxt']}\n" in capsys.readouterr().out


def test_nothing_is_published_without_all_peers(bench, capsys):
    exit_code, _, public = bench([one for one in PEERS if not one.name.startswith("ccxt")], "--readme")
    assert exit_code == 1
    assert public is None
    assert table.PAGE.read_text() == f"{table.BEGIN}\n{table.END}\n"
    assert calls.PEERS["ccxt"] in capsys.readouterr().out


def test_the_page_shows_the_published_figures():
    shown = (REPO / "docs" / "figures.md").read_text().partition(table.BEGIN)[2].partition(table.END)[0]
    assert shown == f"\n{table.tables(published())}\n"


def test_parsing_compares_the_same_dags(monkeypatch):
    source = parsing.examples()
    dags = []
    for text in (source, parsing.without(source)):
        found: set = set()
        monkeypatch.setattr(DagContext, "autoregistered_dags", found)
        monkeypatch.setattr(DagContext, "current_autoregister_module_name", __name__)
        names = {"__name__": "examples"}
        exec(compile(text, "examples", "exec"), names)
        dags.append({(dag.dag_id, len(dag.tasks)) for dag, _ in found})
    assert dags[0] == dags[1] != set()
