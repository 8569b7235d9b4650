"""Ends every process that another process has started and left running: ``python reaper.py PID MARK``.

A test run, the demo and the UI start Airflow, databases and browsers. They end these themselves unless they are killed.
:func:`start_reaper` starts this program beside them. It waits until they have ended, and then ends what
is left: SIGTERM first, SIGKILL after a few seconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

#: A variable in the environment of everything that is started. It finds processes that started just before the end.
MARK = "WHITEBIT_REAPER"
POLL_SECONDS = 0.5
POLITE_SECONDS = 3
GIVE_UP_SECONDS = 30


class Process(NamedTuple):
    """A process id is used again; together with its start time it is unique."""

    pid: int
    started: int


def start_reaper() -> None:
    """End everything that this process starts when this process ends. Linux only."""
    if not Path("/proc/self/task").exists():
        return
    os.environ[MARK] = uuid.uuid4().hex
    mark = f"{MARK}={os.environ[MARK]}"
    # A session of its own: neither Ctrl-C nor a signal to the test run's process group ends it.
    subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(os.getpid()), mark],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


def running(pid: int) -> Process | None:
    """The process with this id; None if there is none, or if it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]))


def descendants(roots: Iterable[Process]) -> set[Process]:
    """The running processes among the roots, and all that they have started."""
    found: set[Process] = set()
    waiting = list(roots)
    while waiting:
        process = waiting.pop()
        if process in found or running(process.pid) != process:
            continue
        found.add(process)
        for file in Path(f"/proc/{process.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                waiting += filter(None, map(running, map(int, file.read_text().split())))
    return found


def marked(mark: str) -> set[Process]:
    """The processes that started with ``NAME=value`` in their environment."""
    wanted, found = mark.encode(), set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.add(running(int(entry.name)))
    return {process for process in found if process is not None}


def end(left: set[Process], mark: str) -> None:
    """End these processes, what they have started, and what carries the mark."""
    this = running(os.getpid())
    begin = time.monotonic()
    signalled: set[Process] = set()
    while left := descendants(left | marked(mark)) - {this}:
        passed = time.monotonic() - begin
        if passed > GIVE_UP_SECONDS:
            return
        number = signal.SIGTERM if passed < POLITE_SECONDS else signal.SIGKILL
        for process in left if number == signal.SIGKILL else left - signalled:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
        signalled |= left
        time.sleep(0.1)


def main(pid: int, mark: str) -> None:
    """Wait for the end of a process, then end what it has left."""
    watched = running(pid) if os.getppid() == pid else None
    seen: set[Process] = set()
    while watched is not None and running(pid) == watched:
        # What was seen is kept: an orphan is not a descendant of the watched process.
        seen = descendants(seen | {watched}) - {watched}
        time.sleep(POLL_SECONDS)
    end(seen, mark)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
