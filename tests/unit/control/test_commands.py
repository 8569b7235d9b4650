"""The commands: how they are found, what they print, how they fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_whitebit import cli, get_provider_info
from airflow_provider_whitebit.control import stop as control
from airflow_provider_whitebit.control.commands import output

ROWS = [{"id": "a", "amount": "1.50", "reconciled": True, "task": None}, {"id": "=1+1", "amount": "2"}]


def test_stop_status_resume(run):
    assert json.loads(run("status", "-o", "json")[1]) == [
        {"stopped": False, "by": None, "since": None, "reason": None, "read_only": False}
    ]
    status, printed = run("stop", "--reason", "market")
    assert status == 0
    assert "by jane: market" in printed
    assert "airflow whitebit resume --reason" in printed
    [shown] = json.loads(run("status", "--output", "json")[1])
    assert (shown["stopped"], shown["by"], shown["reason"]) == (True, "jane", "market")
    status, printed = run("resume", "-r", "over")
    assert status == 0
    assert "Clear the tasks" in printed
    assert "were not stopped" in run("resume", "-r", "over")[1]


def test_a_stop_that_remains_is_told(run, monkeypatch):
    monkeypatch.setattr(control.Variable, "get", lambda name, default: "kept in a backend")
    run("stop", "-r", "market")
    status, printed = run("resume", "-r", "over")
    assert "still stopped" in status
    assert "may go on" not in printed
    assert json.loads(run("status", "-o", "json")[1])[0]["stopped"] is True


@pytest.mark.parametrize(
    "arguments", [(), ("stop",), ("resume",), ("stop", "--reason"), ("status", "-o", "xml"), ("nothing",)]
)
def test_a_wrong_command_changes_nothing(run, arguments):
    status, _ = run(*arguments)
    assert status == 2
    assert json.loads(run("status", "-o", "json")[1])[0]["stopped"] is False


def test_an_empty_reason(run):
    status, _ = run("stop", "--reason", " ")
    assert "The reason is empty." in status


@pytest.mark.parametrize(
    ("form", "printed"),
    [
        ("json", json.dumps(ROWS) + "\n"),
        ("csv", "id,amount,reconciled,task\na,1.50,true,\n'=1+1,2,,\n"),
        (
            "yaml",
            "- id: a\n  amount: '1.50'\n  reconciled: true\n  task: null\n- id: =1+1\n  amount: '2'\n",
        ),
    ],
)
def test_forms_of_output(capsys, form, printed):
    output.print_rows(ROWS, form)
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("form", ["table", "plain"])
@pytest.mark.parametrize("text", ["[inc-12] the bank asks", "the bank [/b] asks", ":bank: asks"])
def test_tables_show_texts_as_they_are(capsys, form, text):
    output.print_rows([{"reason": text}], form)
    assert text in capsys.readouterr().out


@pytest.mark.parametrize("form", ["table", "plain"])
def test_tables_show_the_columns_that_are_named(capsys, form):
    output.print_rows(ROWS, form, columns=("id", "reconciled"))
    printed = capsys.readouterr().out
    assert "1.50" not in printed
    assert "true" in printed


@pytest.mark.parametrize(("form", "printed"), [("json", "[]\n"), ("csv", "id\n"), ("yaml", "[]\n")])
def test_no_rows(capsys, form, printed):
    output.print_rows([], form, columns=("id",))
    assert capsys.readouterr().out == printed


def test_airflow_finds_the_commands():
    [path] = get_provider_info()["cli"]
    module, _, name = path.rpartition(".")
    # The module that holds get_provider_info would be imported in a circle.
    assert module == cli.__name__ != get_provider_info.__module__
    [group] = getattr(sys.modules[module], name)()
    assert group.name == "whitebit"
    assert {"stop", "resume", "status"} <= {command.name for command in group.subcommands}
    names = [command.name for command in group.subcommands]
    assert names == sorted(set(names))


def test_the_module_of_the_commands_imports_nothing_heavy():
    source = (
        "import sys; import airflow_provider_whitebit.cli; "
        "print([m for m in sys.modules if m.split('.')[0] in ('airflow', 'sqlalchemy', 'pendulum', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_describing_the_commands_imports_no_more_of_this_package_than_needed():
    source = (
        "import sys; import airflow.cli.cli_config; before = set(sys.modules); "
        "import airflow_provider_whitebit.cli as c; c.get_cli_commands(); "
        "print(sorted(m for m in set(sys.modules) - before if not m.startswith('airflow_provider_whitebit')))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_every_group_of_commands_is_listed():
    folder = Path(output.__file__).parent
    there = {file.stem for file in folder.glob("*.py")} - {"__init__", "output"}
    assert {name.rpartition(".")[2] for name in cli.GROUPS} == there


def test_the_schema_of_providers_allows_it():
    jsonschema = pytest.importorskip("jsonschema")
    import airflow

    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    info = get_provider_info()
    for name in ("cli", "config"):
        if name in schema["properties"]:
            definition = {**schema["properties"][name], "definitions": schema.get("definitions", {})}
            jsonschema.validate(info[name], definition)
