"""Numbers that all processes of one user on one machine share, in small files of shared memory."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import mmap
import os
import stat
import tempfile
import threading
import time
from array import array
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

#: A process that is stopped with the lock in its hand must not stop the others: tries, and seconds between.
_TRIES, _BETWEEN = 50, 0.001
#: Files that nobody uses and nobody opened for so many seconds are removed.
_FORGOTTEN = 3_600


class Numbers:
    """A row of numbers, all 0 at first, and a lock to change them under. Alone they belong to this process.

    :param length: how many.
    :param file: open file to share them through.
    """

    def __init__(self, length: int, file: int | None = None) -> None:
        self.row: Any = memoryview(array("d", bytes(8 * length)))
        self.lock: AbstractContextManager[object] = threading.Lock()
        if file is not None:
            # Room is taken before it is used: a full disk must be an error here and no signal in the midst of a call.
            os.posix_fallocate(file, 0, 8 * length)
            self.row = memoryview(mmap.mmap(file, 8 * length)).cast("d")
            self.lock = _FileLock(file)


class _FileLock:
    """One at a time, of all threads of all processes; whoever dies inside gives it back."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._threads = threading.Lock()
        os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._threads = threading.Lock()

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            for _ in range(_TRIES):
                try:
                    # Of POSIX's kind: a forked child does not hold what its parent holds.
                    fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except OSError:
                    time.sleep(_BETWEEN)
            # Better a miscount than to wait for a process that may never go on.
        except BaseException:
            # Airflow ends a task that took too long by an exception out of a signal, wherever the task may be.
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
        finally:
            self._threads.release()


_OPEN: dict[str, Numbers] = {}
_OURS: set[Path] = set()
_OPENING = threading.Lock()


def numbers(name: str, length: int) -> Numbers:
    """The numbers of this name; where they cannot be shared, this process has its own.

    :param name: what they are; only its hash is seen outside.
    :param length: how many, always the same for a name.
    """
    with _OPENING:
        if name not in _OPEN:
            try:
                _OPEN[name] = Numbers(length, _file(name))
            except OSError as error:
                log.info("Not shared with other processes: %s", error)
                _OPEN[name] = Numbers(length)
        return _OPEN[name]


def _file(name: str) -> int:
    folder = Path(tempfile.gettempdir()) / f"whitebit-shared-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    told = folder.lstat()
    if not stat.S_ISDIR(told.st_mode) or told.st_uid != os.getuid() or told.st_mode & 0o022:
        raise OSError(f"{folder} is not this user's own folder")
    # Steady clocks begin at the machine's start: what they said means nothing after the next one.
    start = Path("/proc/sys/kernel/random/boot_id").read_text()
    path = folder / hashlib.sha256(f"{start}|{name}".encode()).hexdigest()[:32]
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        # Says that the file is in use, as long as this process lives.
        fcntl.flock(file, fcntl.LOCK_SH)
        if os.fstat(file).st_nlink:
            break
        # Somebody has removed it between the two.
        os.close(file)
    os.utime(file)
    _OURS.add(path)
    for other in folder.iterdir():
        # To close a file that was opened twice gives up its locks of POSIX's kind.
        if other not in _OURS:
            _remove_forgotten(other)
    return file


def _remove_forgotten(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError, BlockingIOError):
        if time.time() - path.stat().st_mtime > _FORGOTTEN:
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(file)
