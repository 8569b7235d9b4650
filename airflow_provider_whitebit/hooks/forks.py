"""Whether a task forked this process. Imports nothing: the plugin imports it in all of Airflow's processes.

``multiprocessing`` is not the only module that forks: there are ``billiard``, ``pathos`` and ``os.fork()``. The hook
may be imported in the new process only.
"""

from __future__ import annotations

import os
import sys

_by_a_task = False


def noted_fork_of_a_task() -> bool:
    """Whether a task was running in the process that forked this one, as far as this module was imported there."""
    return _by_a_task


def _note_fork() -> None:
    global _by_a_task
    _by_a_task = "airflow.sdk.execution_time.task_runner" in sys.modules and _has_context()


def _has_context() -> bool:
    from airflow.sdk import get_current_context

    try:
        get_current_context()
    except RuntimeError:
        return False
    return True


os.register_at_fork(after_in_child=_note_fork)
