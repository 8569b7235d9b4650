"""Processes of one machine share a count, and none of them can block the others."""

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
from airflow_provider_whitebit.client.clock import ExchangeClock
from tests.interruptions import Interrupted, Interruption

FLEX = "/api/v4/main-account/smart-flex/plans"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(shared, "_OPEN", {})
    monkeypatch.setattr(shared, "_WARNED", set())
    monkeypatch.setattr(throttle, "_SHARED", {})
    return tmp_path / f"whitebit-shared-{os.getuid()}"


CALLER = """
import sys
from airflow_provider_whitebit.client import throttle
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.shared import shared_array
one = throttle.shared("http://a")
clock = ExchangeClock(nonces=shared_array("nonce|http://a|key", 1))
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
from airflow_provider_whitebit.client.shared import shared_array
sys.stdin.readline()
shared_array("used", 1)
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
    """Another process, which answers each line with one."""
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


def test_a_process_stopped_with_the_lock_blocks_no_other(folder, monkeypatch):
    one = shared.shared_array("one", 1)
    monkeypatch.setattr(shared, "_PAUSE_BETWEEN_TRIES", 0)
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


def test_the_wait_for_a_stopped_process_halves(folder, monkeypatch):
    one = shared.shared_array("one", 1)
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


def test_without_a_private_folder_a_process_counts_alone(folder, caplog):
    folder.mkdir()
    folder.chmod(0o777)
    one = shared.shared_array("one", 1)
    shared.shared_array("two", 1)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "not shared" in warning.getMessage()
    assert "not this user's own folder" in warning.getMessage()
    one.row[0] = 5
    assert shared.shared_array("one", 1).row[0] == 5
    assert list(folder.iterdir()) == []


def no_folder(folder, path, patch):
    folder.write_text("")


def folder_of_others(folder, path, patch):
    folder.mkdir(mode=0o700)
    own = os.lstat

    def lstat(path, **options):
        status = own(path, **options)
        return os.stat_result((*status[:4], os.getuid() + 1, *status[5:])) if Path(path) == folder else status

    patch.setattr(os, "lstat", lstat)
    patch.setattr(Path, "lstat", lambda path: lstat(path))


def file_of_others(folder, path, patch):
    shared.shared_array("one", 1)
    patch.setattr(shared, "_OPEN", {})
    own = os.fstat
    inode = path().stat().st_ino

    def fstat(file):
        status = own(file)
        return os.stat_result((*status[:4], os.getuid() + 1, *status[5:])) if status.st_ino == inode else status

    patch.setattr(os, "fstat", fstat)


def writable_by_all(folder, path, patch):
    shared.shared_array("one", 1)
    patch.setattr(shared, "_OPEN", {})
    path().chmod(0o666)


def in_place_of_the_file(make):
    def put(folder, path, patch):
        shared.shared_array("one", 1)
        patch.setattr(shared, "_OPEN", {})
        there = path()
        there.unlink()
        make(there)

    return put


def read_only(folder, path, patch):
    # Nobody can make anything there, not even root.
    patch.setattr(tempfile, "tempdir", "/proc/self")


def no_temporary_folder(folder, path, patch):
    def fail():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    patch.setattr(tempfile, "gettempdir", fail)


def full_disk(folder, path, patch):
    allocate = os.posix_fallocate

    def fail(file, *where):
        if os.readlink(f"/proc/self/fd/{file}").startswith(str(folder)):
            raise OSError(errno.ENOSPC, "No space left on device")
        allocate(file, *where)

    patch.setattr(os, "posix_fallocate", fail)


UNUSABLE = {
    "a file in place of the folder": no_folder,
    "a folder that another user created first": folder_of_others,
    "a file of another user": file_of_others,
    "a file that others can write to": writable_by_all,
    "a folder in place of the file": in_place_of_the_file(Path.mkdir),
    "a pipe in place of the file": in_place_of_the_file(os.mkfifo),
    "a link in place of the file": in_place_of_the_file(lambda path: path.symlink_to("/etc/hostname")),
    "a read-only folder": read_only,
    "no temporary folder": no_temporary_folder,
    "a full disk": full_disk,
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_if_the_temporary_folder_is_unusable_processes_share_in_the_runtime_folder(
    folder, tmp_path, monkeypatch, caplog, what
):
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    UNUSABLE[what](folder, lambda: next(folder.iterdir()), monkeypatch)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    before = open_files(folder)
    one = shared.shared_array("one", 1)
    assert isinstance(one.lock, shared._FileLock)
    assert caplog.records == []
    assert len(list((runtime / folder.name).iterdir())) == 1
    assert open_files(folder) == before
    with one.lock:
        one.row[0] = 7
    # Another process comes to the same place.
    monkeypatch.setattr(shared, "_OPEN", {})
    assert shared.shared_array("one", 1).row[0] == 7


@pytest.mark.parametrize("what", UNUSABLE)
def test_if_no_folder_is_usable_a_process_counts_alone(folder, monkeypatch, caplog, what):
    UNUSABLE[what](folder, lambda: next(folder.iterdir()), monkeypatch)
    one = shared.shared_array("one", 1)
    two = shared.shared_array("two", 1) if "place of the file" not in what else one
    assert not isinstance(one.lock, shared._FileLock)
    for kept in (one, two):
        assert ExchangeClock(lambda: 5_000, kept).next_nonce() >= 5_000
    (warning,) = caplog.records
    assert "not shared" in warning.getMessage()


def test_a_session_and_a_service_share(folder, tmp_path, monkeypatch):
    shared.shared_array("one", 1).row[0] = 7
    monkeypatch.setattr(shared, "_OPEN", {})
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert shared.shared_array("one", 1).row[0] == 7
    monkeypatch.setattr(shared, "_OPEN", {})
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert shared.shared_array("one", 1).row[0] == 7


def test_a_file_that_is_truncated_while_it_is_used_counts_again_from_0(folder, caplog):
    one = shared.shared_array("one", 1_000)
    one.row[999] = 7
    (path,) = folder.iterdir()
    size = path.stat().st_size
    for left in (0, 4_097):
        os.truncate(path, left)
        with one.lock:
            assert one.row[999] == 0
            one.row[999] = 7
        assert path.stat().st_size == size
    assert caplog.records == []


@pytest.mark.parametrize("content", [b"", b"\xff", b"another version's file"])
def test_a_file_with_anything_in_it_delays_no_call_for_long(folder, monkeypatch, content):
    throttle.shared("http://a")
    (path,) = folder.iterdir()
    path.write_bytes(content * (path.stat().st_size // max(1, len(content))))
    monkeypatch.setattr(shared, "_OPEN", {})
    monkeypatch.setattr(throttle, "_SHARED", {})
    one = throttle.shared("http://a")
    assert isinstance(one._lock, shared._FileLock)
    assert one.delay(FLEX) == 0
    one.refused()
    assert 0 < one.delay(FLEX) <= 32


def truncate_on_a_full_disk(one, path, patch):
    os.truncate(path, 0)
    full_disk(path.parent, None, patch)


def close(one, path, patch):
    os.close(one.lock._file)


def put_another_file_in_its_place(one, path, patch):
    other = os.open(os.devnull, os.O_RDWR)
    os.dup2(other, one.lock._file)
    os.close(other)


@pytest.mark.parametrize("lose", [truncate_on_a_full_disk, close, put_another_file_in_its_place])
def test_a_process_that_loses_its_file_counts_alone(folder, monkeypatch, caplog, lose):
    one = throttle.shared("http://a")
    nonces = shared.shared_array("nonces", 1)
    paths = {path.stat().st_size: path for path in folder.iterdir()}
    for array in (one._counted, nonces):
        lose(array, paths[8 * len(array.row)], monkeypatch)
    clock = ExchangeClock(lambda: 5_000, nonces)
    assert [clock.next_nonce() for _ in range(3)] == [5_000, 5_002, 5_004]
    assert [one.delay(FLEX) for _ in range(900)] == [0] * 900
    assert 0 < one.delay(FLEX) <= 10
    (warning,) = caplog.records
    assert "not shared" in warning.getMessage()


def open_files(folder):
    """How many files of the folder this process has open; others come and go."""
    links = []
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(os.readlink(file))
    return sum(link.startswith(f"{folder}/") for link in links)


def test_other_things_in_the_folder_do_not_prevent_sharing(folder, caplog):
    folder.mkdir(mode=0o700)
    (folder / "folder").mkdir()
    (folder / "nowhere").symlink_to("/nowhere")
    os.mkfifo(folder / "pipe")
    (folder / "forbidden").write_text("")
    (folder / "forbidden").chmod(0)
    for name in ("folder", "nowhere", "pipe", "forbidden"):
        os.utime(folder / name, (1, 1), follow_symlinks=False)
    before = open_files(folder)
    one = shared.shared_array("one", 1)
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
    shared.shared_array("one", 1).row[0] = 5
    assert open_files(folder) == before


def test_a_process_stopped_while_removing_files_blocks_no_other(folder, monkeypatch, caplog):
    fcntl.lockf(shared.shared_array("one", 1).lock._file, fcntl.LOCK_UN)
    (path,) = folder.iterdir()
    monkeypatch.setattr(shared, "_PAUSE_BETWEEN_TRIES", 0)
    monkeypatch.setattr(shared, "_OPEN", {})
    with other_process(LOCKER, path, 1) as tidying:
        assert tidying("lock") == "locked"
        assert not isinstance(shared.shared_array("one", 1).lock, shared._FileLock)
    assert "not shared" in caplog.text


def test_unused_files_are_removed(folder):
    shared.shared_array("used", 1)
    (used,) = folder.iterdir()
    for path in (used, folder / "forgotten"):
        path.touch()
        os.utime(path, (1, 1))
    shared.shared_array("new", 1)
    assert used.exists()
    assert not (folder / "forgotten").exists()
    assert len(list(folder.iterdir())) == 2


def test_a_file_that_cannot_be_removed_does_not_keep_others(folder, monkeypatch):
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
    assert isinstance(shared.shared_array("new", 1).lock, shared._FileLock)
    assert len({"one", "two"} & {path.name for path in folder.iterdir()}) == 1
    assert open_files(folder) == before + 2


def test_files_of_other_processes_are_not_removed(folder):
    with other_process(USER, TMPDIR=str(folder.parent)) as using:
        assert using("open") == "opened"
        (used,) = folder.iterdir()
        os.utime(used, (1, 1))
        shared.shared_array("new", 1)
        assert used.exists()
    # Their fork still runs.
    os.utime(used, (1, 1))
    shared.shared_array("newer", 1)
    assert used.exists()
    os.kill(int((folder.parent / "forked").read_text()), signal.SIGKILL)


def test_a_file_removed_while_it_is_opened_is_created_again(folder, monkeypatch):
    shared.shared_array("one", 1).row[0] = 1
    (path,) = folder.iterdir()
    lockf = fcntl.lockf

    def late(*arguments):
        monkeypatch.setattr(fcntl, "lockf", lockf)
        path.unlink()
        lockf(*arguments)

    monkeypatch.setattr(shared, "_OPEN", {})
    monkeypatch.setattr(fcntl, "lockf", late)
    again = shared.shared_array("one", 1)
    again.row[0] = 2
    monkeypatch.setattr(shared, "_OPEN", {})
    assert path.exists()
    assert shared.shared_array("one", 1).row[0] == 2


def test_own_files_are_not_opened_twice(folder, monkeypatch):
    # Closing the second descriptor would release the lock held through the first.
    shared.shared_array("one", 1)
    (path,) = folder.iterdir()
    os.utime(path, (0, 0))
    removed = []
    monkeypatch.setattr(shared, "_remove_stale", removed.append)
    shared.shared_array("two", 1)
    assert path not in removed


def for_others(function, timeout=20):
    """The result of a function in another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(timeout)


def is_free(lock):
    def take():
        taken = lock._threads.acquire(False)
        if taken:
            lock._threads.release()
        return taken

    return for_others(take)


@pytest.mark.parametrize("strike", [Interrupted, TimeoutError])
def test_an_exception_from_a_signal_passes_through_waiting_for_the_lock(folder, monkeypatch, strike):
    kept = shared.shared_array("one", 1)

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


def test_an_exception_from_a_signal_releases_no_other_threads_lock(folder, monkeypatch):
    kept = shared.shared_array("one", 1)
    (path,) = folder.iterdir()

    def struck(_):
        raise Interrupted

    def wait_in_vain():
        with pytest.raises(Interrupted), kept.lock:
            pass

    monkeypatch.setattr(kept.lock, "_patience", 0)
    monkeypatch.setattr(kept.lock, "_replace", struck)
    with other_process(LOCKER, path, 0) as counting:
        with kept.lock:
            for_others(wait_in_vain)
            assert counting("lock and unlock") == "taken"
        assert counting("lock and unlock") == "locked"


@pytest.mark.parametrize("where", ["_open", "_remove_stale"])
def test_an_exception_from_a_signal_passes_through_opening(folder, monkeypatch, where):
    def struck(*_):
        raise TimeoutError

    shared.shared_array("one", 1)
    monkeypatch.setattr(shared, "_OURS", set())
    with monkeypatch.context() as patch:
        patch.setattr(shared, where, struck)
        with pytest.raises(TimeoutError):
            shared.shared_array("two", 1)
    assert isinstance(shared.shared_array("two", 1).lock, shared._FileLock)


#: Functions that run while a call is counted and while a file is opened: each must be interrupted at least once.
COUNTING = {
    *("ExchangeClock.next_nonce", "Throttle.delay"),
    *("_FileLock.__enter__", "_FileLock.__exit__", "ThreadLock.__exit__", "SharedInt64Array._check"),
}
OPENING = {
    "shared_array",
    "_open",
    "_folders",
    "_open_in",
    "_require_own",
    "_mark_in_use",
    "SharedInt64Array.__init__",
    "ThreadLock.__enter__",
    "ThreadLock.__exit__",
}


def in_its_own_thread(test):
    """After some interruptions the interpreter keeps an exception as handled; it ends with the thread."""

    @wraps(test)
    def run(**fixtures):
        for_others(partial(test, **fixtures), timeout=None)

    return run


@in_its_own_thread
def test_an_exception_at_any_instruction_of_counting_blocks_no_other(folder, monkeypatch):
    one = throttle.shared("http://a")
    nonces = shared.shared_array("nonces", 1)
    local_ms = 1_700_000_000_000
    exchange = ExchangeClock(lambda: local_ms, nonces)
    for lock in (one._lock, nonces.lock):
        monkeypatch.setattr(lock, "_patience", 0.001)
    monkeypatch.setattr(one, "_clock", lambda: local_ms * 1_000_000)
    files = {path.stat().st_size: path for path in folder.iterdir()}
    others = [other_process(LOCKER, files[8 * len(kept)], 0) for kept in (one._counted.row, nonces.row)]
    given, number, interrupted, left_behind = [], 0, set(), 0
    with others[0] as counting, others[1] as numbering:
        while True:
            number += 1
            with Interruption(number, shared, throttle, clock) as interruption:
                given.append(exchange.next_nonce())
                assert one.delay(FLEX, urgent=True) == 0
            if interruption.function is None:
                break
            interrupted.add(interruption.function)
            left_behind += not (is_free(one._lock) and is_free(nonces.lock))
            # The next call is not delayed, nor are other threads, nor, afterwards, other processes.
            for who in (lambda call: call(), for_others):
                assert who(partial(one.delay, FLEX)) == 0
                given.append(who(exchange.next_nonce))
            assert is_free(one._lock)
            assert is_free(nonces.lock)
            assert counting("lock and unlock") == numbering("lock and unlock") == "locked"
            local_ms += 100
    assert len(given) == len(set(given))
    assert interrupted >= COUNTING
    # Some were interrupted where nothing can release the lock.
    assert left_behind > 0


@in_its_own_thread
def test_an_exception_at_any_instruction_of_opening_blocks_no_other(folder, monkeypatch):
    monkeypatch.setattr(shared._OPENING, "_patience", 0.001)
    number, interrupted = 0, set()
    while None not in interrupted:
        number += 1
        with Interruption(number, shared) as interruption:
            shared.shared_array(f"name {number}", 1)
        interrupted.add(interruption.function)
        one = shared.shared_array(f"name {number}", 1)
        assert isinstance(one.lock, shared._FileLock)
        assert for_others(partial(shared.shared_array, f"name {number}", 1)) is one
        # Others find the file that is shared.
        one.row[0] = number
        monkeypatch.setattr(shared, "_OPEN", {})
        assert shared.shared_array(f"name {number}", 1).row[0] == number
        for path in folder.iterdir():
            path.unlink()
    assert interrupted >= OPENING


def test_a_signal_handler_can_count_while_it_interrupts_counting(folder, monkeypatch):
    for one in (shared.shared_array("one", 1), shared.SharedInt64Array(1)):
        monkeypatch.setattr(one.lock, "_patience", 0.001)
        with one.lock, one.lock:
            one.row[0] += 1
        assert is_free(one.lock)
        assert one.row[0] == 1


def test_threads_that_wait_for_an_abandoned_lock_share_its_replacement(monkeypatch):
    lock = shared.ThreadLock(0)
    left = lock._threads
    left.acquire()

    def enter():
        with lock:
            return lock._threads

    new = for_others(enter)
    assert new is not left
    # Another thread that waited for the old lock.
    lock._replace(left)
    assert for_others(enter) is new


def test_a_forked_child_starts_with_free_locks(folder, monkeypatch):
    one = throttle.shared("http://a")
    alone = shared.SharedInt64Array(1)
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
        monkeypatch.setattr(shared, "_PAUSE_BETWEEN_TRIES", 0)
        shared.shared_array("other", 1)
        throttle.shared("http://b")
        with alone.lock:
            os._exit(one.delay(FLEX) == 0)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 1


def test_names_are_not_visible(folder):
    shared.shared_array("nonce|http://a|the-api-key", 1)
    (file,) = folder.iterdir()
    assert "key" not in file.name
    assert file.stat().st_mode & 0o777 == 0o600
