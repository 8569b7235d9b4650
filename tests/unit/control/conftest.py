"""Commands on Airflow's tables in memory."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from airflow_provider_whitebit import __main__ as program
from airflow_provider_whitebit.control import stop as control
from airflow_provider_whitebit.control.commands import output


@pytest.fixture
def run(tables, monkeypatch, capsys):
    """Runs a command on the tables. :returns: its status and what it printed."""

    @contextmanager
    def database():
        yield tables.session

    monkeypatch.setattr(output, "database", database)
    monkeypatch.setattr(output, "current_user", lambda: "jane")
    monkeypatch.setattr(control.Variable, "get", lambda name, default: default)

    def run(*arguments):
        status = 0
        try:
            program.main(arguments)
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr().out

    return run
