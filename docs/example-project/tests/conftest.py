"""Each pytest process has a home and a database of Airflow of its own, so the tests also run under pytest-xdist."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# Airflow reads these when it is imported, so they are set first. The folder is removed when the process ends.
HOME = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ["AIRFLOW_HOME"] = HOME.name
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).parents[1] / "dags")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


@pytest.fixture(scope="session", autouse=True)
def airflow_database():
    """Create the database that ``dag.test()`` uses."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def connection(whitebit_sandbox, monkeypatch):
    """Every test has an exchange of its own, and ``whitebit_default`` leads there."""
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", whitebit_sandbox.connection_json)
