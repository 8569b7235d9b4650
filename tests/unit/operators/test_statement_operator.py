"""The statement operator's parameters: what is read, and what is refused before any request."""

from __future__ import annotations

import datetime
from types import SimpleNamespace

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks import statements
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.moves.parsing import read_optional, read_tickers, read_time
from airflow_provider_whitebit.operators.treasury import WhiteBitFlexStatementOperator
from airflow_provider_whitebit.treasury.statement import Figures, ReinvestedAs, StatementRow, make_statement

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
START, END = pendulum.datetime(2026, 1, 1), pendulum.datetime(2026, 2, 1)
NOW = pendulum.datetime(2026, 3, 15)
REFUSED = (AirflowFailException, e.WhiteBitValidationError)


@pytest.fixture
def reads(monkeypatch):
    """How the records are read; there are none."""
    seen = []

    def read(client, **arguments):
        seen.append(arguments)
        return make_statement(
            [], [], [], made_at=NOW, **{name: arguments[name] for name in ("start", "end", "tickers", "reinvested_as")}
        )

    monkeypatch.setattr(statements, "read_statement", read)
    return seen


def run(context=None, **arguments):
    task = WhiteBitFlexStatementOperator(task_id="t", **arguments)
    task.__dict__["hook"] = SimpleNamespace(get_conn=lambda: SimpleNamespace(server_time=lambda: NOW))
    return task.execute(context or {})


def test_what_templates_render_is_read(reads):
    run(
        tickers="['usdt', 'BTC']",
        plan_id=PLAN.upper(),
        start="2026-01-01",
        end="2026-02-01T02:00:00+02:00",
        reinvested_as="Earning",
        full_history="False",
        main_changes="True",
        value_in=" eur",
        fail_on_discrepancy="True",
    )
    assert reads == [
        {
            "start": START,
            "end": END,
            "tickers": ["USDT", "BTC"],
            "plan_id": PLAN,
            "reinvested_as": ReinvestedAs.EARNING,
            "full_history": False,
            "main": True,
            "value_in": "EUR",
        }
    ]


def test_the_default_is_everything_of_the_month_before(reads):
    summary = run()
    assert reads[0]["start"] == pendulum.datetime(2026, 2, 1)
    assert reads[0]["end"] == pendulum.datetime(2026, 3, 1)
    assert reads[0]["tickers"] is reads[0]["plan_id"] is None
    assert reads[0]["full_history"] is True
    assert summary["adds_up"] is True
    assert summary["paths"] == {}


@pytest.mark.parametrize(
    ("context", "start", "end"),
    [
        ({"data_interval_start": START, "data_interval_end": END}, START, END),
        ({"data_interval_start": END, "data_interval_end": END, "dag_run": SimpleNamespace(run_after=END)}, START, END),
        ({"data_interval_start": None, "dag_run": SimpleNamespace(run_after=END.add(days=27))}, START, END),
    ],
)
def test_periods_of_runs(reads, context, start, end):
    run(context)
    assert (reads[0]["start"], reads[0]["end"]) == (start, end)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"start": "2026-01-01"}, "both start and end"),
        ({"end": "2026-01-01"}, "both start and end"),
        ({"start": "2026-02-01", "end": "2026-01-01"}, "not before end"),
        # For example the interval of a run that has none. It is not the month before.
        ({"start": "2026-02-01", "end": "2026-02-01T02:00:00+02:00"}, "not before end"),
        ({"start": "2026-01-01", "end": "2026-04-01"}, "not over yet"),
        ({"start": "2026-01-01T00:00:00", "end": "2026-02-01"}, "start is .* no time zone"),
        ({"start": "yesterday", "end": "2026-02-01"}, "start is 'yesterday'"),
        ({"start": 1.5, "end": "2026-02-01"}, "start is '1.5'"),
        ({"tickers": "USDT;BTC"}, "ticker is 'USDT;BTC'"),
        ({"tickers": [1]}, "ticker is 1"),
        ({"plan_id": "x"}, "no UUID and no number"),
        ({"reinvested_as": "twice"}, "both, earning, reinvest"),
        ({"full_history": "maybe"}, "full_history"),
        ({"value_in": "US DT"}, "value_in is 'US DT': write it like USDT"),
        ({"fail_on_discrepancy": "maybe"}, "fail_on_discrepancy"),
        ({"output_path": "x", "output_format": "xlsx"}, "jsonl, csv, parquet"),
    ],
)
def test_wrong_parameters_are_named(reads, arguments, text):
    with pytest.raises(REFUSED, match=text):
        run(**arguments)


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("{folder}", "flex-statement-USDT-20260101-20260201"),
        ("{folder}/", "flex-statement-USDT-20260101-20260201"),
        ("{folder}/mine.html", "mine"),
    ],
)
def test_paths(reads, tmp_path, path, stem):
    paths = run(tickers="USDT", start=START.isoformat(), end=END.isoformat(), output_path=path.format(folder=tmp_path))[
        "paths"
    ]
    assert paths == {
        "page": f"{tmp_path}/{stem}.html",
        "movements": f"{tmp_path}/{stem}.movements.csv",
        "summary": f"{tmp_path}/{stem}.summary.csv",
    }
    assert {entry.name for entry in tmp_path.iterdir()} == {value.rsplit("/", 1)[1] for value in paths.values()}


def test_the_page_names_the_assets_and_the_plan_that_were_chosen(reads, tmp_path):
    page = tmp_path / "x.html"
    run(tickers="usdt,btc", plan_id=PLAN, start="2026-01-01", end="2026-01-02", output_path=str(page))
    assert f"Only USDT, BTC, plan {PLAN}." in page.read_text()


def test_connections_can_have_one_folder(reads, tmp_path):
    names = {
        run(whitebit_conn_id=name, start="2026-01-01", end="2026-01-02", output_path=str(tmp_path))["paths"]["page"]
        for name in ("whitebit_default", "desk_1", "desk/2")
    }
    assert {path.rsplit("/", 1)[1] for path in names} == {
        "flex-statement-20260101-20260102.html",
        "flex-statement-desk_1-20260101-20260102.html",
        "flex-statement-desk%2F2-20260101-20260102.html",
    }


def test_names_of_periods_that_are_not_whole_days(reads, tmp_path):
    paths = run(start="2026-01-01T06:00:00Z", end="2026-01-02", output_path=str(tmp_path))["paths"]
    assert paths["page"].endswith("/flex-statement-20260101T060000-20260102T000000.html")


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (None, None),
        ("", None),
        ("None", None),
        ([], None),
        ("[]", None),
        ("usdt", ["USDT"]),
        ("USDT, btc,USDT", ["USDT", "BTC"]),
        (("usdt", "BTC"), ["USDT", "BTC"]),
    ],
)
def test_tickers(raw, read):
    assert read_optional(read_tickers, raw) == read


@pytest.mark.parametrize(
    "raw",
    [
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "2026-01-01T02:00:00+02:00",
        "1767225600",
        1767225600,
        datetime.date(2026, 1, 1),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        START,
    ],
)
def test_times(raw):
    assert read_time("start", raw) == START
    assert read_time("start", raw).timezone_name in ("UTC", "+00:00")


def test_the_columns_of_the_summary_are_the_figures():
    names = list(StatementRow.__dataclass_fields__)
    assert names == ["start", "end", "ticker", "plan_id", *Figures.__dataclass_fields__]
