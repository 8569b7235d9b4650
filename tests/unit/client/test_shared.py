"""Processes of one machine count together, and none of them can stop the others."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile

import pytest

from airflow_provider_whitebit.client import shared, throttle
from airflow_provider_whitebit.client.clock import ExchangeClock

FLEX = "/api/v4/main-account/smart-flex/plans"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(shared, "_OPEN", {})
    monkeypatch.setattr(throttle, "_SHARED", {})
    return tmp_path / f"whitebit-shared-{os.getuid()}"


CALLER = """
import sys
from airflow_provider_whitebit.client import throttle
from airflow_provider_whitebit.client.clock import NONCES_KEPT, ExchangeClock
from airflow_provider_whitebit.client.shared import numbers
one = throttle.shared("http://a")
clock = ExchangeClock(nonces=numbers("nonce|http://a|key", NONCES_KEPT))
sys.stdin.readline()
for _ in range(300):
    if one.delay("/api/v4/main-account/balance") == 0:
        print(clock.next_nonce())
"""


def test_processes_share_one_count_and_never_a_nonce(folder):
    calling = [
        subprocess.Popen(
            [sys.executable, "-c", CALLER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(folder.parent)},
        )
        for _ in range(4)
    ]
    for process in calling:
        process.stdin.write("go\n")
        process.stdin.flush()
    nonces = [nonce for process in calling for nonce in process.communicate(timeout=60)[0].split()]
    assert len(nonces) == len(set(nonces)) == 900
    one = throttle.shared("http://a")
    assert 0 < one.delay(FLEX) <= 10
    one.refused()
    forked = os.fork()
    if forked == 0:
        os._exit(one.delay("/api/v4/public/time") == 0)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0


def test_who_is_stopped_with_the_lock_stops_nobody(folder, monkeypatch):
    one = shared.numbers("one", 1)
    monkeypatch.setattr(shared, "_BETWEEN", 0)
    reading, writing = os.pipe()
    forked = os.fork()
    if forked == 0:
        with one.lock:
            os.write(writing, b"x")
            signal.pause()
    try:
        os.read(reading, 1)
        assert ExchangeClock(lambda: 5_000, one).next_nonce() == 5_000
    finally:
        os.kill(forked, signal.SIGKILL)
        os.waitpid(forked, 0)


def test_without_a_folder_of_its_own_a_process_counts_alone(folder, caplog):
    folder.mkdir()
    folder.chmod(0o777)
    with caplog.at_level(logging.INFO):
        one = shared.numbers("one", 1)
    assert "Not shared" in caplog.text
    one.row[0] = 5
    assert shared.numbers("one", 1).row[0] == 5
    assert list(folder.iterdir()) == []


def test_files_that_nobody_uses_are_removed(folder):
    shared.numbers("used", 1)
    (used,) = folder.iterdir()
    for path in (used, folder / "forgotten"):
        path.touch()
        os.utime(path, (1, 1))
    shared.numbers("new", 1)
    assert used.exists()
    assert not (folder / "forgotten").exists()
    assert len(list(folder.iterdir())) == 2


def test_names_are_not_told(folder):
    shared.numbers("nonce|http://a|the-api-key", 1)
    (file,) = folder.iterdir()
    assert "key" not in file.name
    assert file.stat().st_mode & 0o777 == 0o600
