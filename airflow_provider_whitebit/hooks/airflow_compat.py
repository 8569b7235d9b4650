"""What differs between the versions of Airflow that this package runs on; nothing else asks for a version."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any, cast

try:
    from airflow.sdk import BaseHook
except (ImportError, AttributeError):  # 3.0
    from airflow.hooks.base import BaseHook  # type: ignore[attr-defined, no-redef]

try:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
except ImportError:  # 3.0 and 3.1
    from airflow.exceptions import (  # type: ignore[no-redef]
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowSkipException,
    )

from airflow.sdk.log import mask_secret

__all__ = [
    "AirflowFailException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "BaseHook",
    "asset_states",
    "begun_by_a_task",
    "current_context",
    "default_deferrable",
    "lineage_collector",
    "mask_secret",
    "metrics_are_on",
    "never_expire",
    "runs_for_airflow",
    "stats",
    "stored_variable",
]


def current_context() -> Any | None:
    """The context of the task that runs in this process; ``None`` outside a task."""
    from airflow.sdk import get_current_context

    try:
        return get_current_context()
    except RuntimeError:
        return None


def begun_by_a_task() -> bool:
    """Whether a task has started this process as a program of its own: ``@task.virtualenv``, a script of Bash.

    Only what the process was started with counts: one in which a task runs is given the same variables later.
    """
    with contextlib.suppress(OSError):
        return b"\0AIRFLOW_CTX_TASK_ID=" in b"\0" + Path("/proc/self/environ").read_bytes()
    return False


def runs_for_airflow() -> bool:
    """Whether Airflow has begun this process for work of its own: tasks, their callbacks, DAG files, triggers."""
    task_runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return getattr(task_runner, "SUPERVISOR_COMMS", None) is not None


def stored_variable(name: str) -> str | None:
    """An Airflow Variable out of Airflow's database; ``None`` only where there certainly is none.

    ``Variable.get`` says so as well when the API server cannot be reached (3.1 and later), and asks secrets backends.

    :raises Exception: if that cannot be told.
    """
    from airflow.sdk.execution_time import task_runner

    supervisor = getattr(task_runner, "SUPERVISOR_COMMS", None)
    if supervisor is None:
        # Neither in a task nor in a triggerer.
        from airflow.sdk import Variable

        return cast("str | None", Variable.get(name, default=None))
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable, VariableResult

    answer = supervisor.send(GetVariable(key=name))
    if isinstance(answer, VariableResult):
        return answer.value
    if not isinstance(answer, ErrorResponse):
        raise TypeError(f"Airflow answered with {type(answer).__name__}")
    if answer.error != ErrorType.VARIABLE_NOT_FOUND:
        raise AirflowRuntimeError(answer)
    return None


def never_expire() -> Any:
    """The retention of task state that nothing deletes by itself (3.3 and later)."""
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    return NEVER_EXPIRE


def default_deferrable() -> bool:
    """Airflow's own default for operators that can be deferred."""
    return bool(_conf().getboolean("operators", "default_deferrable", fallback=False))


def metrics_are_on() -> bool:
    """Whether Airflow sends metrics anywhere."""
    return any(
        _conf().getboolean("metrics", name, fallback=False)
        for name in ("statsd_on", "statsd_datadog_enabled", "otel_on")
    )


def stats() -> Any:
    """Airflow's metrics: ``incr``, ``timing``."""
    try:
        from airflow.sdk.observability import stats as modern
    except ImportError:  # before 3.2
        from airflow.stats import Stats

        return Stats
    return modern


def lineage_collector() -> Any:
    """What collects the assets that hooks read and write."""
    try:
        from airflow.sdk.lineage import get_hook_lineage_collector
    except ImportError:  # before 3.2
        from airflow.lineage.hook import get_hook_lineage_collector  # type: ignore[import-not-found, no-redef]
    return get_hook_lineage_collector()


def _conf() -> Any:
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # 3.0
        from airflow.configuration import conf
    return conf


def asset_states(accessors: Any) -> dict[str, Any]:
    """The state of each asset that an event trigger watches for (3.3 and later), by the asset's name.

    :param accessors: ``trigger.asset_state_store``, or ``None``.
    """
    by_name, by_uri = (getattr(accessors, name, None) or {} for name in ("_by_name", "_by_uri"))
    return {**by_uri, **by_name}
