"""Processes of one machine count together, and none of them can stop the others."""

from __future__ import annotations

import fcntl
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


def test_a_file_that_is_removed_while_it_is_opened_is_made_again(folder, monkeypatch):
    shared.numbers("one", 1).row[0] = 1
    (path,) = folder.iterdir()
    flock = fcntl.flock

    def late(file, kind):
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()
        flock(file, kind)

    monkeypatch.setattr(shared, "_OPEN", {})
    monkeypatch.setattr(fcntl, "flock", late)
    again = shared.numbers("one", 1)
    again.row[0] = 2
    monkeypatch.setattr(shared, "_OPEN", {})
    assert path.exists()
    assert shared.numbers("one", 1).row[0] == 2


def test_own_files_are_not_opened_twice(folder, monkeypatch):
    # Closing the second would give up the lock that is held through the first.
    shared.numbers("one", 1)
    (path,) = folder.iterdir()
    os.utime(path, (0, 0))
    removed = []
    monkeypatch.setattr(shared, "_remove_forgotten", removed.append)
    shared.numbers("two", 1)
    assert path not in removed


class _TookTooLong(BaseException):
    """Like the exception that ends a task in Airflow."""


def test_an_exception_out_of_a_signal_leaves_no_lock_behind(folder, monkeypatch):
    kept = shared.numbers("one", 1)
    sleeps = []

    def sleep(_):
        sleeps.append(1)
        raise _TookTooLong

    def lockf(*_):
        raise BlockingIOError

    with monkeypatch.context() as patch:
        patch.setattr(shared.time, "sleep", sleep)
        patch.setattr(fcntl, "lockf", lockf)
        with pytest.raises(_TookTooLong), kept.lock:
            pass
    assert sleeps
    assert not kept.lock._threads.locked()
    with kept.lock:
        kept.row[0] = 1


def test_names_are_not_told(folder):
    shared.numbers("nonce|http://a|the-api-key", 1)
    (file,) = folder.iterdir()
    assert "key" not in file.name
    assert file.stat().st_mode & 0o777 == 0o600
