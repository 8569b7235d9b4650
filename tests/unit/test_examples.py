"""Each example explains itself, starts nothing by itself, and is parsed without a connection."""

from __future__ import annotations

import runpy
import sys
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.exceptions import AirflowProviderDeprecationWarning
from airflow.sdk import DAG
from airflow.sdk.execution_time import macros

from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.operators.approval import can_ask_people

EXAMPLES = {file.stem: file for file in (Path(__file__).parents[2] / "dags_examples").glob("*.py")}
#: Examples that ask people.
ASKING = ("whitebit_approval", "whitebit_doubt")
HITL = "airflow.providers.standard.operators.hitl"


@pytest.fixture
def parse(monkeypatch):
    """Returns all DAGs of an example."""
    made = []
    init = DAG.__init__

    def record(self, *args, **options):
        made.append(self)
        init(self, *args, **options)

    def refuse(*_, **__):
        raise AssertionError("An example reads a connection while it is parsed")

    monkeypatch.setattr(DAG, "__init__", record)
    monkeypatch.setattr(WhiteBitHook, "get_connection", refuse)

    def parsed(name):
        made.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("error", AirflowProviderDeprecationWarning)
            text = runpy.run_path(str(EXAMPLES[name]))["__doc__"]
        return text, list(made)

    return parsed


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_explains_itself_and_is_created_paused(parse, name):
    text, dags = parse(name)
    assert len(text.strip()) > 80
    assert bool(dags) is (name not in ASKING or can_ask_people())
    assert [dag.dag_id for dag in dags if dag.doc_md != text] == []
    assert [dag.dag_id for dag in dags if dag.is_paused_upon_creation is not True] == []
    assert [dag.dag_id for dag in dags if dag.catchup] == []
    assert [dag.dag_id for dag in dags if not dag.dag_id.startswith(name)] == []


def test_the_records_of_a_midnight_are_in_the_files_of_one_month(parse):
    """Earnings are credited at midnight, and ``date_to`` is included."""
    _, [dag] = parse("whitebit_reports")

    def period(month, *names):
        context = {"dag_run": SimpleNamespace(run_after=datetime(2026, month, 2, 6, tzinfo=UTC)), "macros": macros}
        return [datetime.fromisoformat(dag.get_template_env().from_string(one).render(context)) for one in names]

    tasks = [one for one in dag.tasks if hasattr(one, "date_to")]
    assert len(tasks) == 3
    for one in tasks:
        assert period(4, one.date_to)[0] + timedelta(seconds=1) == period(5, one.date_from)[0]
    statement = dag.get_task("statement")
    assert period(4, statement.start, statement.end) == [datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4)]


def test_the_approval_example_is_left_out_where_nobody_can_be_asked(parse, monkeypatch):
    monkeypatch.setattr("airflow_provider_whitebit.operators.people.CAN_ASK_PEOPLE", False)
    assert parse("whitebit_approval")[1] == []


class OldOperator:
    """The operator of a standard provider before 1.12.2."""

    def __init__(self, *, subject, options, body=None, **kwargs):
        raise AssertionError("An operator that is too old is used")


@pytest.mark.parametrize("hitl", [None, SimpleNamespace(ApprovalOperator=OldOperator, HITLOperator=OldOperator)])
def test_an_airflow_that_cannot_ask_can_import_the_operators(monkeypatch, hitl):
    monkeypatch.setitem(sys.modules, HITL, hitl)
    monkeypatch.delitem(sys.modules, "airflow_provider_whitebit.operators.people")
    assert runpy.run_module("airflow_provider_whitebit.operators.people")["CAN_ASK_PEOPLE"] is False
