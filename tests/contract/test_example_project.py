"""The project that docs/testing.md shows: copied elsewhere, its tests pass, also in two processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PROJECT = REPO / "docs" / "example-project"
if not PROJECT.is_dir():
    pytest.skip("only in a clone", allow_module_level=True)


#: Added to the project: a wrong expectation.
WRONG = """

def test_wrong(whitebit_sandbox):
    run(idle_cash)
    whitebit_sandbox.assert_moved("flex_invest", "USDT", "600")
"""


@pytest.mark.slow
@pytest.mark.skipif(
    version("apache-airflow").startswith("3.2."), reason="dag.test() of Airflow 3.2 does not wait for its own API"
)
def test_its_tests_pass_in_two_processes_and_a_wrong_expectation_lists_all_moves(tmp_path):
    project = shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    with (project / "tests" / "test_idle_cash.py").open("a") as tests:
        tests.write(WRONG)
    # This package is imported from here, whatever is installed. Nothing else of this process counts.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "AIRFLOW"))}
    some = ("-n", "2", "-k", "earnings or read or lost_reply_after or wrong")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *some],
        cwd=project,
        env=own | {"PYTHONPATH": str(REPO), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "1 failed, 3 passed" in done.stdout, done.stdout
    assert "AssertionError: flex_invest 600 USDT: moved 0 times, not once. All moves:" in done.stdout
    move = r"UTC  flex_invest 6000 USDT, main:sandbox to invested:inv_\S+"
    assert re.search(move, done.stdout)
    assert re.search(move, (REPO / "docs" / "testing.md").read_text())
