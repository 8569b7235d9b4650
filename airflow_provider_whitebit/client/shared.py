"""Whole numbers that all processes of one user on one machine share, in small files of shared memory."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import mmap
import os
import stat
import tempfile
import threading
import time
import weakref
from array import array
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

#: A process that is stopped with the lock in its hand must not stop the others: tries, and seconds between.
_TRIES, _BETWEEN = 50, 0.001
#: Seconds after which a thread takes a lock for left behind. Long, because a busy machine can keep somebody inside for
#: a while; and it is waited for but once, as the lock is a new one from then on.
_PATIENCE = 10 * _TRIES * _BETWEEN
#: The same for opening, which asks the disk.
OPENING_PATIENCE = 5.0
#: Files that nobody uses and nobody opened for so many seconds are removed.
_FORGOTTEN = 3_600
#: Of a file, the first byte is locked to change its numbers, the second (length, start) to say that it is in use; both
#: by locks of POSIX's kind: where temporary files lie on NFS, those of flock() would lock all bytes.
_USE = (1, 1)
_TAKE, _GIVE_BACK = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN
#: How a lock says that it cannot be had now.
_TAKEN = (errno.EAGAIN, errno.EACCES, errno.ENOLCK)


class ThreadLock:
    """One thread at a time. Nobody waits for it without end, and a forked child begins anew.

    Airflow ends a task that took too long by an exception out of a signal, which can strike between any two
    instructions, those that give a lock back among them; a signal's handler may need the lock that it has interrupted;
    and a fork copies locks that other threads were holding. Nobody ever gives such a lock back. To the thread that has
    left it behind it is open; the others wait once, and make a new one.

    :param patience: seconds after which it is taken for left behind.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._threads = threading.RLock()
        _LOCKS.add(self)

    def begin_anew(self) -> None:
        """Forget who held it."""
        self._threads = threading.RLock()

    def __enter__(self) -> None:
        while not (held := self._threads).acquire(True, self._patience):
            self._take_over(held)

    def _take_over(self, held: object) -> None:
        # Of several that have waited, one does it for all.
        if self._threads is held:
            log.debug("A lock that nobody gives back is replaced")
            self.begin_anew()

    def __exit__(self, *_: object) -> None:
        try:
            self._threads.release()
        except RuntimeError:
            # It was taken over meanwhile, or given back before.
            return


class _FileLock(ThreadLock):
    """One at a time, of all threads of all processes; whoever dies inside gives it back."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._tries = _TRIES
        super().__init__()

    def begin_anew(self) -> None:
        super().begin_anew()
        # A forked child holds none of its parent's locks.
        with _whatever_the_system_says():
            fcntl.lockf(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB, *_USE)

    def __enter__(self) -> None:
        try:
            while not (held := self._threads).acquire(True, self._patience):
                self._take_over(held)
            for again in range(self._tries):
                if again:
                    time.sleep(_BETWEEN)
                try:
                    fcntl.lockf(self._file, _TAKE, 1)
                    self._tries = _TRIES
                    return
                except OSError as error:
                    if error.errno not in _TAKEN:
                        raise
            # Better a miscount than to wait for a process that may never go on; and for one that does not, ever less.
            self._tries = max(1, self._tries // 2)
        except BaseException:
            # If it is another thread's, so is the lock of the file.
            if self._threads.acquire(False):
                super().__exit__()
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            # What an exception has left locked, the next one in this process unlocks here.
            fcntl.lockf(self._file, _GIVE_BACK, 1)
        finally:
            super().__exit__()


class Numbers:
    """A row of whole numbers of 64 bits, all 0 at first, and a lock to change them under.

    Alone they belong to this process.

    :param length: how many.
    :param file: open file to share them through.
    """

    def __init__(self, length: int, file: int | None = None) -> None:
        self.row: Any = memoryview(array("q", bytes(8 * length)))
        self.lock: AbstractContextManager[object]
        if file is None:
            self.lock = ThreadLock()
        else:
            # Room is taken before it is used: a full disk must be an error here and no signal in the midst of a call.
            os.posix_fallocate(file, 0, 8 * length)
            self.row = memoryview(mmap.mmap(file, 8 * length)).cast("q")
            self.lock = _FileLock(file)


_LOCKS: weakref.WeakSet[ThreadLock] = weakref.WeakSet()
_OPEN: dict[str, Numbers] = {}
_OURS: set[Path] = set()
_OPENING = ThreadLock(OPENING_PATIENCE)


def _begin_anew() -> None:
    for lock in _LOCKS:
        lock.begin_anew()


os.register_at_fork(after_in_child=_begin_anew)


def numbers(name: str, length: int) -> Numbers:
    """The numbers of this name; where they cannot be shared, this process has its own.

    :param name: what they are; only its hash is seen outside.
    :param length: how many, always the same for a name.
    """
    with _OPENING:
        if name not in _OPEN:
            try:
                opened = _open(name, length)
            except OSError as error:
                _tell_once(_of_the_system(error))
                opened = Numbers(length)
            _OPEN.setdefault(name, opened)
        return _OPEN[name]


def _of_the_system(error: OSError) -> OSError:
    """The same error, if the system has given it; what a signal's handler raises (a TimeoutError, say) goes on."""
    if error.errno is None:
        raise error
    return error


@contextlib.contextmanager
def _whatever_the_system_says() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _of_the_system(error)


_TOLD: set[str] = set()


def _tell_once(error: OSError) -> None:
    if not _TOLD:
        _TOLD.add("alone")
        log.warning("Rate limits and nonces are not shared with this machine's other processes: %s", error)


def _open(name: str, length: int) -> Numbers:
    folder = Path(tempfile.gettempdir()) / f"whitebit-shared-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    told = folder.lstat()
    if not stat.S_ISDIR(told.st_mode) or told.st_uid != os.getuid() or told.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "It is not this user's own folder", str(folder))
    # Steady clocks begin at the machine's start: what they said means nothing after the next one.
    start = Path("/proc/sys/kernel/random/boot_id").read_text()
    path = folder / hashlib.sha256(f"{start}|int64|{length}|{name}".encode()).hexdigest()[:32]
    opened = None
    while opened is None:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _say_in_use(file)
            # Else somebody has removed it between the two.
            if os.fstat(file).st_nlink:
                os.utime(file)
                opened = Numbers(length, file)
        finally:
            if opened is None:
                os.close(file)
    _OURS.add(path)
    _tidy(folder)
    return opened


def _say_in_use(file: int) -> None:
    """Mark a file as in use, for as long as this process lives.

    :raises OSError: if that cannot be.
    """
    for left in reversed(range(_TRIES)):
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, *_USE)
            return
        except OSError as error:
            # Somebody is about to remove it, or was stopped just then.
            if error.errno not in _TAKEN or not left:
                raise
            time.sleep(_BETWEEN)


def _tidy(folder: Path) -> None:
    with _whatever_the_system_says():
        for path in folder.iterdir():
            # To close a file that was opened twice gives up its locks.
            if path not in _OURS:
                _remove_forgotten(path)


def _remove_forgotten(path: Path) -> None:
    with _whatever_the_system_says():
        told = path.lstat()
        if stat.S_ISREG(told.st_mode) and time.time() - told.st_mtime > _FORGOTTEN:
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, *_USE)
                path.unlink()
            finally:
                os.close(file)
