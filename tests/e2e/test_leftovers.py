"""A test run that is interrupted or killed leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.leftovers import descendants, marked, running
from tests.running_airflow import PATIENCE, REPO

RUN = "WHITEBIT_TEST_OF_LEFTOVERS"
ENDS = [signal.SIGTERM, signal.SIGINT, signal.SIGKILL]

#: A family as unruly as databases and Airflow: one ignores SIGTERM, one has a session of its own, one is an orphan.
FAMILY = f"""
import os, signal, subprocess, sys
from pathlib import Path

def start(role, **options):
    return subprocess.Popen([sys.executable, "-S", __file__, role], **options)

role = sys.argv[1]
if role == "leader":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    start("child")
    start("session", start_new_session=True)
    start("parent of an orphan", start_new_session=True).wait()
if role == "parent of an orphan":
    start("orphan", start_new_session=True)
else:
    Path(os.environ["{RUN}"], str(os.getpid())).touch()
    signal.pause()
"""
TEST_WITH_A_FAMILY = """
import signal, subprocess, sys
from pathlib import Path

def test_that_never_ends():
    family = Path(__file__).with_name("family.py")
    subprocess.Popen([sys.executable, "-S", family, "leader"], start_new_session=True)
    signal.pause()
"""
TEST_WITH_AIRFLOW = f"""
import os, signal
from pathlib import Path

def test_that_never_ends(airflow):
    Path(os.environ["{RUN}"], str(os.getpid())).touch()
    signal.pause()
"""


def wait_until(what, done):
    """Wait. :raises AssertionError: if it does not come at all."""
    deadline = time.monotonic() + PATIENCE
    while not (found := done()):
        assert time.monotonic() < deadline, f"{what} did not come within {PATIENCE} s"
        time.sleep(0.05)
    return found


def end_a_run(folder, test, number, started, *options):
    """Run a test that never ends, wait for its processes, send a signal to pytest alone, and wait for their end.

    :param started: how many processes leave their ids in the folder before the signal is sent.
    """
    pids = folder / "pids"
    pids.mkdir()
    (folder / "test_endless.py").write_text(test)
    (folder / "family.py").write_text(FAMILY)
    plugins = ("-p", "tests.leftovers", "-p", "tests.running_airflow", "-p", "no:cacheprovider")
    with (folder / "output").open("w") as output:
        pytest_run = subprocess.Popen(
            [sys.executable, "-m", "pytest", *plugins, "--rootdir", folder, *options, folder / "test_endless.py"],
            env={**os.environ, "PYTHONPATH": str(REPO), RUN: str(pids)},
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:

        def complete():
            assert pytest_run.poll() is None, (folder / "output").read_text()
            return len(list(pids.iterdir())) >= started

        wait_until("the processes of the run", complete)
        family = {running(int(file.name)) for file in pids.iterdir()} | descendants({running(pytest_run.pid)})
        assert None not in family and len(family) > started
        pytest_run.send_signal(number)
        status = pytest_run.wait(PATIENCE)
    finally:
        pytest_run.kill()

    def gone():
        return not descendants(family) and not marked(f"{RUN}={pids}")

    wait_until("the end of all processes", gone)
    return status


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "side by side"])
@pytest.mark.parametrize("number", ENDS, ids=lambda number: number.name)
def test_a_run_that_is_ended_leaves_no_process(tmp_path, number, options):
    status = end_a_run(tmp_path, TEST_WITH_A_FAMILY, number, 4, *options)
    assert status == (-number if number == signal.SIGKILL else pytest.ExitCode.INTERRUPTED)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_run_with_airflow_that_is_ended_leaves_no_process(tmp_path, number):
    end_a_run(tmp_path, TEST_WITH_AIRFLOW, number, 1)
