"""Integers that all processes of one user on one machine share, in small files of shared memory."""

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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

#: How often a file's lock is tried, and seconds between. A stopped process that holds it must not block the others.
_TRIES, _PAUSE_BETWEEN_TRIES = 50, 0.001
#: Seconds after which a thread considers a lock abandoned. Long, because on a busy machine a thread can hold it for a
#: while. Only the first thread to wait pays for it, because it replaces the lock.
_PATIENCE = 10 * _TRIES * _PAUSE_BETWEEN_TRIES
#: The same for opening files, which waits for the disk.
OPENING_PATIENCE = 5.0
#: Unused files are removed when they were last opened this many seconds ago.
_STALE_AFTER = 3_600
#: In each file, the lock of the first byte protects its integers, and that of the second (length, start) says that it
#: is in use. They are POSIX locks, because flock() on NFS would lock all bytes.
_USE = (1, 1)
_LOCK, _UNLOCK = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN
#: Errors of a lock that another process holds.
_BUSY = (errno.EAGAIN, errno.EACCES, errno.ENOLCK)


class ThreadLock:
    """One thread at a time, without endless waiting; a forked child starts with free locks.

    Three things can leave a lock that is never released. Airflow ends a task that timed out by an exception from a
    signal handler, which can interrupt even the release. A signal handler may need the lock that it interrupted. A
    fork copies locks that other threads hold. The thread that abandoned a lock can enter again; the others wait once
    and then replace it.

    :param patience: seconds after which the lock counts as abandoned.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._threads = threading.RLock()
        _LOCKS.add(self)

    def reset(self) -> None:
        """Replace the lock by a free one."""
        self._threads = threading.RLock()

    def __enter__(self) -> None:
        while not (held := self._threads).acquire(True, self._patience):
            self._replace(held)

    def _replace(self, held: object) -> None:
        # Of several waiting threads, only the first replaces it.
        if self._threads is held:
            log.debug("An abandoned lock is replaced")
            self.reset()

    def __exit__(self, *_: object) -> None:
        try:
            self._threads.release()
        except RuntimeError:
            # It was replaced meanwhile, or released before.
            return


class _FileLock(ThreadLock):
    """One thread at a time, of all processes. The system releases it when a process dies.

    :param file: open file, whose first byte is locked.
    :param check: called whenever the lock is taken.
    """

    def __init__(self, file: int, check: Callable[[], None]) -> None:
        self._file, self._check = file, check
        self._tries = _TRIES
        super().__init__()

    def reset(self) -> None:
        super().reset()
        # A forked child holds none of its parent's locks.
        with _ignore_system_errors():
            fcntl.lockf(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB, *_USE)

    def __enter__(self) -> None:
        try:
            while not (held := self._threads).acquire(True, self._patience):
                self._replace(held)
            for again in range(self._tries):
                if again:
                    time.sleep(_PAUSE_BETWEEN_TRIES)
                try:
                    fcntl.lockf(self._file, _LOCK, 1)
                    self._tries = _TRIES
                    break
                except OSError as error:
                    if _require_errno(error).errno not in _BUSY:
                        break
            else:
                # Prefer a slightly wrong count to blocking on a stopped process, and try half as often the next time.
                self._tries = max(1, self._tries // 2)
            self._check()
        except BaseException:
            # If another thread holds the thread lock, it holds the file's lock too.
            if self._threads.acquire(False):
                super().__exit__()
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            # This also releases a lock that an exception left behind in this process.
            fcntl.lockf(self._file, _UNLOCK, 1)
        except OSError as error:
            _require_errno(error)
        finally:
            super().__exit__()


class SharedInt64Array:
    """An array of 64-bit integers, initially 0, and the lock that protects changes.

    ``row`` holds the integers. While the lock is held it is safe to use; the next lock may replace it.

    :param length: number of integers.
    :param file: open file through which processes share them; by default they belong to this process.
    """

    def __init__(self, length: int, file: int | None = None) -> None:
        self.row: Any = memoryview(array("q", bytes(8 * length)))
        self.lock: AbstractContextManager[object]
        if file is None:
            self.lock = ThreadLock()
        else:
            self._own_row, self._file, self._inode, self._size = self.row, file, os.fstat(file).st_ino, 8 * length
            # Allocate first: a full disk must be an error here, not a signal (SIGBUS) during a call.
            os.posix_fallocate(file, 0, self._size)
            self.row = memoryview(mmap.mmap(file, self._size)).cast("q")
            self.lock = _FileLock(file, self._check)

    def _check(self) -> None:
        """Extend a truncated file, whose memory would end this process (SIGBUS). If that fails, count alone."""
        try:
            status = os.fstat(self._file)
            if status.st_ino != self._inode:
                raise OSError(errno.EBADF, "closed by other code")
            if status.st_size < self._size:
                os.posix_fallocate(self._file, 0, self._size)
        except OSError as error:
            _warn_once(_require_errno(error))
            self.row = self._own_row


_LOCKS: weakref.WeakSet[ThreadLock] = weakref.WeakSet()
_OPEN: dict[str, SharedInt64Array] = {}
_OURS: set[Path] = set()
_OPENING = ThreadLock(OPENING_PATIENCE)


def _reset_locks() -> None:
    for lock in _LOCKS:
        lock.reset()


os.register_at_fork(after_in_child=_reset_locks)


def shared_array(name: str, length: int) -> SharedInt64Array:
    """The array of this name; if it cannot be shared, an array of this process.

    :param name: identifies the array; other processes see only its hash.
    :param length: number of integers, always the same for a name.
    """
    with _OPENING:
        if name not in _OPEN:
            try:
                opened = _open(name, length)
            except OSError as error:
                _warn_once(_require_errno(error))
                opened = SharedInt64Array(length)
            _OPEN.setdefault(name, opened)
        return _OPEN[name]


def _require_errno(error: OSError) -> OSError:
    """Return an error of the system; raise one that a signal handler raised, for example a TimeoutError."""
    if error.errno is None:
        raise error
    return error


@contextlib.contextmanager
def _ignore_system_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _require_errno(error)


_WARNED: set[str] = set()


def _warn_once(error: OSError) -> None:
    if not _WARNED:
        _WARNED.add("alone")
        log.warning("Rate limits and nonces are not shared with this machine's other processes: %s", error)


def _folders() -> list[Path]:
    """Where the files may be. All processes of a user must come to the same one.

    The temporary folder is first, because services, and what a session leaves running, have no runtime folder.
    """
    own = f"whitebit-shared-{os.getuid()}"
    folders = [Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}", own)]
    with _ignore_system_errors():
        folders.insert(0, Path(tempfile.gettempdir(), own))
    return folders


def _open(name: str, length: int) -> SharedInt64Array:
    """:raises OSError: if none of the folders can be used; it says why the first one cannot."""
    errors = []
    for folder in _folders():
        try:
            return _open_in(folder, name, length)
        except OSError as error:
            errors.append(_require_errno(error))
    raise errors[0]


def _open_in(folder: Path, name: str, length: int) -> SharedInt64Array:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    _require_own(status, stat.S_ISDIR(status.st_mode), folder)
    # Monotonic clocks start with the machine: their values mean nothing after a restart.
    start = Path("/proc/sys/kernel/random/boot_id").read_text()
    path = folder / hashlib.sha256(f"{start}|int64|{length}|{name}".encode()).hexdigest()[:32]
    opened = None
    while opened is None:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        try:
            status = os.fstat(file)
            _require_own(status, stat.S_ISREG(status.st_mode), path)
            _mark_in_use(file)
            # Otherwise another process removed it between opening and marking.
            if os.fstat(file).st_nlink:
                os.utime(file)
                opened = SharedInt64Array(length, file)
        finally:
            if opened is None:
                os.close(file)
    _OURS.add(path)
    _remove_stale_files(folder)
    return opened


def _require_own(status: os.stat_result, expected: bool, path: Path) -> None:
    """:raises PermissionError: unless it is of the expected kind, and only this user can write to it."""
    if not expected or status.st_uid != os.getuid() or status.st_mode & 0o022:
        kind = "folder" if stat.S_ISDIR(status.st_mode) else "file"
        raise PermissionError(errno.EPERM, f"not this user's own {kind}", str(path))


def _mark_in_use(file: int) -> None:
    """Mark a file as in use, for as long as this process lives.

    :raises OSError: if it cannot be marked.
    """
    for left in reversed(range(_TRIES)):
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, *_USE)
            return
        except OSError as error:
            # Another process is about to remove it, or was stopped while it did.
            if error.errno not in _BUSY or not left:
                raise
            time.sleep(_PAUSE_BETWEEN_TRIES)


def _remove_stale_files(folder: Path) -> None:
    with _ignore_system_errors():
        for path in folder.iterdir():
            # Closing a second descriptor of a file would release its locks.
            if path not in _OURS:
                _remove_stale(path)


def _remove_stale(path: Path) -> None:
    with _ignore_system_errors():
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > _STALE_AFTER:
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, *_USE)
                path.unlink()
            finally:
                os.close(file)
