"""Processes of one machine count together, and none of them can stop the others."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from pathlib import Path

import pytest

from airflow_provider_whitebit.client import clock, shared, throttle
from airflow_provider_whitebit.client.clock import NONCES_KEPT, ExchangeClock

FLEX = "/api/v4/main-account/smart-flex/plans"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(shared, "_OPEN", {})
    monkeypatch.setattr(shared, "_TOLD", set())
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


LOCKER = """
import fcntl, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
for command in sys.stdin:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(sys.argv[2]))
        print("locked", flush=True)
    except OSError:
        print("taken", flush=True)
    if command == "lock and unlock\\n":
        fcntl.lockf(file, fcntl.LOCK_UN, 1, int(sys.argv[2]))
"""
USER = """
import os, signal, sys
from airflow_provider_whitebit.client.shared import numbers
sys.stdin.readline()
numbers("used", 1)
forked = os.fork()
if forked == 0:
    signal.alarm(60)
    os.close(0)
    os.close(1)
    os.close(2)
    signal.pause()
with open(os.environ["TMPDIR"] + "/forked", "w") as file:
    file.write(str(forked))
print("opened", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def other_process(source, *arguments, **environment):
    """Another process, which is sent a line and says one."""
    process = subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )

    def ask(line):
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    with process:
        yield ask


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


def test_for_who_never_goes_on_one_waits_ever_less(folder, monkeypatch):
    one = shared.numbers("one", 1)
    slept = []
    lockf = fcntl.lockf

    def taken(file, kind, *_):
        if kind != fcntl.LOCK_UN:
            raise BlockingIOError(errno.EAGAIN, "taken")

    monkeypatch.setattr(shared.time, "sleep", slept.append)
    monkeypatch.setattr(fcntl, "lockf", taken)
    waited = []
    for again in (taken, taken, taken, taken, taken, taken, taken, lockf, taken):
        monkeypatch.setattr(fcntl, "lockf", again)
        with one.lock:
            waited.append(len(slept))
        del slept[:]
    assert waited == [49, 24, 11, 5, 2, 0, 0, 0, 49]


def test_without_a_folder_of_its_own_a_process_counts_alone(folder, caplog):
    folder.mkdir()
    folder.chmod(0o777)
    one = shared.numbers("one", 1)
    shared.numbers("two", 1)
    (told,) = caplog.records
    assert told.levelno == logging.WARNING
    assert "not shared" in told.getMessage()
    assert "not this user's own folder" in told.getMessage()
    one.row[0] = 5
    assert shared.numbers("one", 1).row[0] == 5
    assert list(folder.iterdir()) == []


def open_files(folder):
    """How many files of the folder this process has open; others come and go."""
    links = []
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(os.readlink(file))
    return sum(link.startswith(f"{folder}/") for link in links)


def test_what_else_lies_in_the_folder_keeps_nobody_from_sharing(folder, caplog):
    folder.mkdir(mode=0o700)
    (folder / "folder").mkdir()
    (folder / "nowhere").symlink_to("/nowhere")
    os.mkfifo(folder / "pipe")
    (folder / "forbidden").write_text("")
    (folder / "forbidden").chmod(0)
    for name in ("folder", "nowhere", "pipe", "forbidden"):
        os.utime(folder / name, (1, 1), follow_symlinks=False)
    before = open_files(folder)
    one = shared.numbers("one", 1)
    assert isinstance(one.lock, shared._FileLock)
    assert caplog.records == []
    # The file, and its memory's.
    assert open_files(folder) == before + 2
    assert {path.name for path in folder.iterdir()} >= {"folder", "nowhere", "pipe"}


def test_a_full_disk_leaves_no_file_open(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    before = open_files(folder)
    shared.numbers("one", 1).row[0] = 5
    assert open_files(folder) == before


def test_who_is_stopped_while_tidying_stops_nobody(folder, monkeypatch, caplog):
    fcntl.lockf(shared.numbers("one", 1).lock._file, fcntl.LOCK_UN)
    (path,) = folder.iterdir()
    monkeypatch.setattr(shared, "_BETWEEN", 0)
    monkeypatch.setattr(shared, "_OPEN", {})
    with other_process(LOCKER, path, 1) as tidying:
        assert tidying("lock") == "locked"
        assert not isinstance(shared.numbers("one", 1).lock, shared._FileLock)
    assert "not shared" in caplog.text


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


def test_a_file_that_cannot_be_removed_keeps_no_other(folder, monkeypatch):
    folder.mkdir(mode=0o700)
    for name in ("one", "two"):
        (folder / name).touch()
        os.utime(folder / name, (1, 1))
    lockf = fcntl.lockf

    def in_use(file, kind, *where):
        if kind & fcntl.LOCK_EX:
            monkeypatch.setattr(fcntl, "lockf", lockf)
            raise BlockingIOError(errno.EAGAIN, "in use")
        lockf(file, kind, *where)

    monkeypatch.setattr(fcntl, "lockf", in_use)
    before = open_files(folder)
    assert isinstance(shared.numbers("new", 1).lock, shared._FileLock)
    assert len({"one", "two"} & {path.name for path in folder.iterdir()}) == 1
    assert open_files(folder) == before + 2


def test_files_of_other_processes_are_not_removed(folder):
    with other_process(USER, TMPDIR=str(folder.parent)) as using:
        assert using("open") == "opened"
        (used,) = folder.iterdir()
        os.utime(used, (1, 1))
        shared.numbers("new", 1)
        assert used.exists()
    # Of them, a fork goes on.
    os.utime(used, (1, 1))
    shared.numbers("newer", 1)
    assert used.exists()
    os.kill(int((folder.parent / "forked").read_text()), signal.SIGKILL)


def test_a_file_that_is_removed_while_it_is_opened_is_made_again(folder, monkeypatch):
    shared.numbers("one", 1).row[0] = 1
    (path,) = folder.iterdir()
    lockf = fcntl.lockf

    def late(*arguments):
        monkeypatch.setattr(fcntl, "lockf", lockf)
        path.unlink()
        lockf(*arguments)

    monkeypatch.setattr(shared, "_OPEN", {})
    monkeypatch.setattr(fcntl, "lockf", late)
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


def for_others(function, timeout=20):
    """What it does in another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(timeout)


def is_free(lock):
    def take():
        taken = lock._threads.acquire(False)
        if taken:
            lock._threads.release()
        return taken

    return for_others(take)


class _TookTooLong(BaseException):
    """Like the exception that ends a task in Airflow."""


@pytest.mark.parametrize("strike", [_TookTooLong, TimeoutError])
def test_an_exception_out_of_a_signal_goes_through_whoever_waits_for_the_lock(folder, monkeypatch, strike):
    kept = shared.numbers("one", 1)

    def sleep(_):
        raise strike

    def taken(_, kind, *__):
        if kind != fcntl.LOCK_UN:
            raise BlockingIOError(errno.EAGAIN, "taken")

    def struck(_, kind, *__):
        if kind != fcntl.LOCK_UN:
            raise strike

    for lockf in (taken, struck):
        with monkeypatch.context() as patch:
            patch.setattr(shared.time, "sleep", sleep if lockf is taken else time.sleep)
            patch.setattr(fcntl, "lockf", lockf)
            with pytest.raises(strike), kept.lock:
                pass
        assert is_free(kept.lock)
    with kept.lock:
        kept.row[0] = 1


def test_an_exception_out_of_a_signal_takes_no_lock_from_another_thread(folder, monkeypatch):
    kept = shared.numbers("one", 1)
    (path,) = folder.iterdir()

    def struck(_):
        raise _TookTooLong

    def wait_in_vain():
        with pytest.raises(_TookTooLong), kept.lock:
            pass

    monkeypatch.setattr(kept.lock, "_patience", 0)
    monkeypatch.setattr(kept.lock, "_take_over", struck)
    with other_process(LOCKER, path, 0) as counting:
        with kept.lock:
            for_others(wait_in_vain)
            assert counting("lock and unlock") == "taken"
        assert counting("lock and unlock") == "locked"


@pytest.mark.parametrize("where", ["_open", "_remove_forgotten"])
def test_an_exception_out_of_a_signal_goes_through_opening(folder, monkeypatch, where):
    def struck(*_):
        raise TimeoutError

    shared.numbers("one", 1)
    monkeypatch.setattr(shared, "_OURS", set())
    with monkeypatch.context() as patch:
        patch.setattr(shared, where, struck)
        with pytest.raises(TimeoutError):
            shared.numbers("two", 1)
    assert isinstance(shared.numbers("two", 1).lock, shared._FileLock)


class Strikes:
    """Raises an exception before the n-th instruction in these modules, as a signal's handler can."""

    def __init__(self, number, *modules):
        self._left = number
        self._files = {module.__file__ for module in modules}
        self.struck = False

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, kind, *_):
        sys.settrace(self._before)
        return kind is _TookTooLong

    def _call(self, frame, event, argument):
        if frame.f_code.co_filename not in self._files:
            return None
        frame.f_trace_opcodes = True
        return self._instruction

    def _instruction(self, frame, event, argument):
        if event == "opcode" and not self.struck:
            self._left -= 1
            if not self._left:
                self.struck = True
                raise _TookTooLong
        return self._instruction


def in_a_thread_of_its_own(test):
    """Some strikes leave the interpreter with an exception that it goes on handling: let it end with its thread."""

    @wraps(test)
    def run(**fixtures):
        for_others(partial(test, **fixtures), timeout=None)

    return run


@in_a_thread_of_its_own
def test_an_exception_at_any_instruction_of_counting_stops_nobody(folder, monkeypatch):
    one = throttle.shared("http://a")
    nonces = shared.numbers("nonces", NONCES_KEPT)
    local_ms = 1_700_000_000_000
    exchange = ExchangeClock(lambda: local_ms, nonces)
    for lock in (one._lock, nonces.lock):
        monkeypatch.setattr(lock, "_patience", 0.001)
    monkeypatch.setattr(one, "_clock", lambda: local_ms * 1_000_000)
    files = {path.stat().st_size: path for path in folder.iterdir()}
    others = [other_process(LOCKER, files[8 * len(kept)], 0) for kept in (one._kept, nonces.row)]
    given, number, left_behind = [], 0, 0
    with others[0] as counting, others[1] as numbering:
        while True:
            number += 1
            with Strikes(number, shared, throttle, clock) as strikes:
                given.append(exchange.next_nonce())
                given.append(exchange.move_nonce(local_ms))
                assert one.delay(FLEX, urgent=True) == 0
            if not strikes.struck:
                break
            left_behind += not (is_free(one._lock) and is_free(nonces.lock))
            # The next call is not held back, nor are other threads, and afterwards no other process is.
            for who in (lambda call: call(), for_others):
                assert who(partial(one.delay, FLEX)) == 0
                given.append(who(exchange.next_nonce))
                given.append(who(partial(exchange.move_nonce, local_ms)))
            assert is_free(one._lock)
            assert is_free(nonces.lock)
            assert counting("lock and unlock") == numbering("lock and unlock") == "locked"
            local_ms += 100
    assert len(given) == len(set(given))
    assert number > 400
    # It did strike where nobody can give anything back.
    assert left_behind > 0


@in_a_thread_of_its_own
def test_an_exception_at_any_instruction_of_opening_stops_nobody(folder, monkeypatch):
    monkeypatch.setattr(shared._OPENING, "_patience", 0.001)
    number, struck = 0, True
    while struck:
        number += 1
        with Strikes(number, shared) as strikes:
            shared.numbers(f"name {number}", 1)
        struck = strikes.struck
        one = shared.numbers(f"name {number}", 1)
        assert isinstance(one.lock, shared._FileLock)
        assert for_others(partial(shared.numbers, f"name {number}", 1)) is one
        # What is shared is the file that others find.
        one.row[0] = number
        monkeypatch.setattr(shared, "_OPEN", {})
        assert shared.numbers(f"name {number}", 1).row[0] == number
        for path in folder.iterdir():
            path.unlink()
    assert number > 200


def test_a_signals_handler_can_count_while_it_interrupts_counting(folder, monkeypatch):
    for one in (shared.numbers("one", 1), shared.Numbers(1)):
        monkeypatch.setattr(one.lock, "_patience", 0.001)
        with one.lock, one.lock:
            one.row[0] += 1
        assert is_free(one.lock)
        assert one.row[0] == 1


def test_who_waits_for_a_lock_that_was_left_behind_gets_a_new_one_with_the_others(monkeypatch):
    lock = shared.ThreadLock(0)
    left = lock._threads
    left.acquire()

    def enter():
        with lock:
            return lock._threads

    new = for_others(enter)
    assert new is not left
    # Another one that has waited for the old one.
    lock._take_over(left)
    assert for_others(enter) is new


def test_a_forked_child_begins_with_locks_that_nobody_holds(folder, monkeypatch):
    one = throttle.shared("http://a")
    alone = shared.Numbers(1)
    locks = [shared._OPENING, throttle._SHARED_LOCK, one._lock, alone.lock]
    for lock in locks:
        monkeypatch.setattr(lock, "_patience", 3_600)
    held, done = threading.Event(), threading.Event()

    def hold():
        with locks[0], locks[1], locks[2], locks[3]:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    forked = os.fork()
    if forked == 0:
        signal.alarm(20)
        # The parent has the file.
        monkeypatch.setattr(shared, "_BETWEEN", 0)
        shared.numbers("other", 1)
        throttle.shared("http://b")
        with alone.lock:
            os._exit(one.delay(FLEX) == 0)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 1


def test_names_are_not_told(folder):
    shared.numbers("nonce|http://a|the-api-key", 1)
    (file,) = folder.iterdir()
    assert "key" not in file.name
    assert file.stat().st_mode & 0o777 == 0o600
