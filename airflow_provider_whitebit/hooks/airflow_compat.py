"""The differences between the versions of Airflow that this package supports. No other module looks at them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from airflow_provider_whitebit.hooks.forks import noted_fork_of_a_task

try:
    from airflow.sdk import BaseHook
except (ImportError, AttributeError):  # 3.0
    from airflow.hooks.base import BaseHook  # type: ignore[attr-defined, no-redef]

try:
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
    )
except ImportError:  # 3.0 and 3.1
    from airflow.exceptions import (  # type: ignore[attr-defined, no-redef]
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
    )

from airflow.sdk.log import mask_secret

__all__ = [
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "BaseHook",
    "ask_airflow",
    "asset_events",
    "asset_states",
    "begun_by_a_task",
    "begun_by_hand",
    "boolean_option",
    "can_list_variables",
    "continues_a_try",
    "current_context",
    "default_deferrable",
    "forked_by_a_task",
    "is_in_loop",
    "kept_question",
    "lineage_collector",
    "mask_secret",
    "metrics_are_on",
    "option_names",
    "questions_take_turns",
    "runs_for_airflow",
    "runs_in_executor",
    "started_runs",
    "stats",
    "stored_variables",
    "variable_names",
]

#: Most names of Variables that Airflow lists at once.
_MOST_NAMES = 10_000

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


async def ask_airflow(
    function: Callable[_Parameters, _Result], *args: _Parameters.args, **options: _Parameters.kwargs
) -> _Result:
    """Call a function that reads or writes connections or Variables, from a trigger.

    Airflow passes them to triggers through asgiref's thread. Airflow 3.0 to 3.2 leaves the answer unread if the trigger
    is cancelled meanwhile, takes it for the answer to the next question, and ends the triggerer. So the function goes
    on to its end.

    :param function: what to call, followed by its arguments.
    """
    return await asyncio.shield(sync_to_async(function)(*args, **options))


def current_context() -> Any | None:
    """The context of the task that runs in this process; ``None`` outside a task."""
    from airflow.sdk import get_current_context

    try:
        return get_current_context()
    except RuntimeError:
        return None


#: Names in the environment of a program that a task starts: of any on the task's machine, and of the scripts that
#: ``@task.docker`` and ``@task.kubernetes`` run in containers.
_STARTED_BY_A_TASK = (b"AIRFLOW_CTX_TASK_ID", b"__PYTHON_SCRIPT")


def begun_by_a_task() -> bool:
    """Whether a task started this process as a separate program: ``@task.virtualenv``, ``@task.docker``, Bash.

    Only the environment at its start counts. A process that runs a task gets the same variables later.
    """
    with contextlib.suppress(OSError):
        environment = b"\0" + Path("/proc/self/environ").read_bytes()
        return any(b"\0" + name + b"=" in environment for name in _STARTED_BY_A_TASK)
    return False


def questions_take_turns() -> bool:
    """Whether threads of a task that ask Airflow at the same time get their own answers (3.2 and later)."""
    from airflow.sdk.execution_time.comms import CommsDecoder

    return hasattr(CommsDecoder, "_thread_lock")


def continues_a_try(instance: Any) -> bool:
    """Whether an earlier process of the same try was deferred or rescheduled, also by code of the DAG's author.

    :param instance: ``context["ti"]``.
    """
    told = getattr(instance, "_ti_context_from_server", None)
    return any(getattr(told, name, None) for name in ("next_method", "task_reschedule_count"))


def forked_by_a_task() -> bool:
    """Whether a task forked this process, for example by ``multiprocessing`` or ``ProcessPoolExecutor``.

    Such processes share one connection to the task's supervisor, so they can get each other's answers.
    """
    import multiprocessing

    parent = multiprocessing.parent_process()
    # An executor may have forked the process that has forked the task's.
    by_task = noted_fork_of_a_task() or (parent is not None and parent.pid == os.getppid())
    return by_task and not begun_by_hand()


def begun_by_hand() -> bool:
    """Whether ``airflow tasks test``, ``airflow dags test`` or ``dag.test()`` runs the task in this process.

    A scheduler may run the same try of the same dag run in another process.
    """
    task_runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return type(comms).__name__ == "InProcessSupervisorComms" or os.environ.get("AIRFLOW_TEST_MODE") == "True"


def started_runs(dag_id: str, task_id: str, logical_date: datetime) -> list[str]:
    """The dag runs of one date in which a task has started, also those that were deleted since (3.2 and later).

    Airflow's audit log keeps them. Only a try by hand may read it: other tasks have no access to the database.

    :param logical_date: of the runs.
    """
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(Log.run_id).where(
        Log.dag_id == dag_id, Log.task_id == task_id, Log.event == "running", Log.logical_date == logical_date
    )
    with create_session() as session:
        return [run_id for run_id in session.scalars(query.distinct().order_by(Log.run_id)) if run_id is not None]


def is_in_loop(instance: Any) -> bool:
    """Whether a task is part of a loop (3.4 and later), and can run more than once in a dag run.

    :param instance: ``context["ti"]``.
    """
    from airflow.sdk import TaskGroup

    group = getattr(instance.task, "task_group", None)
    while isinstance(group, TaskGroup):
        # A parent is a proxy, which has a type of its own.
        if group.__class__.__name__ == "LoopTaskGroup":
            return True
        group = group.parent_group
    return False


def runs_for_airflow() -> bool:
    """Whether Airflow started this process to run tasks, their callbacks, DAG files or triggers."""
    task_runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return getattr(task_runner, "SUPERVISOR_COMMS", None) is not None


def runs_in_executor() -> bool:
    """Whether an executor calls this code itself: a callback of a deadline, on 3.2."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "execute_callback_workload":
            return True
        frame = frame.f_back
    return False


class HiddenVariableError(Exception):
    """Airflow has a Variable and says that it has none: it cannot decrypt it, or shows it to another team only."""


def stored_variables(names: Iterable[str]) -> dict[str, str]:
    """Read Variables from Airflow's database; those that are not returned certainly do not exist.

    ``Variable.get`` also returns the default if the API server cannot be reached (3.1 and later), and reads secrets
    backends.

    :param names: of the Variables.
    :raises HiddenVariableError: Airflow has a Variable and does not show it (found out on 3.3 and later).
    :raises Exception: if it is not known whether a Variable exists.
    """
    from airflow.sdk.execution_time import task_runner

    names = list(names)
    supervisor = getattr(task_runner, "SUPERVISOR_COMMS", None)
    if supervisor is None:
        # Neither in a task nor in a triggerer.
        from airflow.sdk import Variable

        answers = {name: Variable.get(name, default=None) for name in names}
        return {name: str(text) for name, text in answers.items() if text is not None}
    # Of several, most are missing as a rule. A list shows that in one request.
    listed, complete = (_listed(supervisor, names) if len(names) > 1 else None) or (set(), False)
    found = {name: _variable_of(supervisor, name) for name in names if name in listed or not complete}
    if missing := [name for name, text in found.items() if text is None]:
        # The API server also says "not found" if it could not read its database, or could not decrypt the Variable.
        if not complete:
            listed, complete = _listed(supervisor, missing) or _read_database(supervisor)
        again = [name for name in missing if name in listed or not complete]
        found |= {name: _variable_of(supervisor, name) for name in again}
        if hidden := [name for name in again if found[name] is None and name in listed]:
            raise HiddenVariableError(hidden[0])
    return {name: str(text) for name, text in found.items() if text is not None}


def _listed(supervisor: Any, names: list[str]) -> tuple[set[str], bool] | None:
    """Those of some Variables that Airflow's database has, and others; and whether all of them are certainly shown.

    :returns: ``None`` if Airflow does not list them: in a triggerer, and before 3.3.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time import comms

    question = getattr(comms, "GetVariableKeys", None)
    if question is None or current_context() is None:
        return None
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(min(names), max(names), strict=False))
    # An API server that is older than the worker cannot list them.
    with contextlib.suppress(AirflowRuntimeError):
        answer = supervisor.send(question(prefix="".join(sign for sign, _ in alike), limit=_MOST_NAMES))
        if isinstance(answer, comms.VariableKeysResult):
            # The names that a team is shown are not those of all Variables that it may read.
            complete = len(answer.keys) == answer.total_entries and not boolean_option("core", "multi_team")
            return set(answer.keys), complete
    return None


def _variable_of(supervisor: Any, name: str) -> str | None:
    """The supervisor's answer about a Variable."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable, VariableResult

    answer = supervisor.send(GetVariable(key=name))
    if not isinstance(answer, VariableResult | ErrorResponse):
        raise TypeError(f"Airflow answered with {type(answer).__name__}")
    # Before 3.2, threads of a task can get each other's answers.
    about = answer.key if isinstance(answer, VariableResult) else (answer.detail or {}).get("key", name)
    if about != name:
        raise ValueError("Airflow answered about another Variable")
    if isinstance(answer, VariableResult):
        return answer.value
    if answer.error != ErrorType.VARIABLE_NOT_FOUND:
        raise AirflowRuntimeError(answer)
    return None


def _read_database(supervisor: Any) -> tuple[set[str], bool]:
    """Ask for something that the API server cannot answer without its database. It shows no Variables.

    :raises Exception: it did not answer.
    """
    from airflow.sdk.execution_time.comms import GetTICount, TICount

    # Other processes, as those that parse DAG files, may not ask for it.
    if current_context() is not None or type(supervisor).__name__ == "TriggerCommsDecoder":
        answer = supervisor.send(GetTICount(dag_id=""))
        if not isinstance(answer, TICount):
            raise TypeError(f"Airflow answered with {type(answer).__name__}")
    return set(), False


def kept_question(ti_id: Any, **question: Any) -> Any | None:
    """Ask people a question (3.1 and later), and return the one that they see.

    Airflow keeps the first question of a task in a dag run: after a clear, people see the old one. Airflow's own
    function to ask does not return it.

    :param ti_id: of the task instance.
    :param question: as ``upsert_hitl_detail`` of the task SDK takes it.
    :returns: has ``options``, ``body`` and ``assigned_users``; ``None`` outside a task.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import CreateHITLDetailPayload

    supervisor = getattr(task_runner, "SUPERVISOR_COMMS", None)
    if supervisor is None:
        return None
    return supervisor.send(CreateHITLDetailPayload(ti_id=ti_id, **question))


def asset_events(uri: str, since: Any) -> list[Any]:
    """The events of an asset, from a task.

    :param uri: of the asset.
    :param since: none before this time (3.3 and later; earlier versions return all).
    :returns: have ``extra``, ``source_dag_id``, ``source_run_id``, ``source_task_id`` and ``source_map_index``.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetAssetEventByAsset

    supervisor = getattr(task_runner, "SUPERVISOR_COMMS", None)
    if supervisor is None:
        return []
    period = {"after": since} if "after" in GetAssetEventByAsset.model_fields else {}
    # By its address alone, Airflow finds an asset only if a DAG has declared it. The name is the address.
    question = GetAssetEventByAsset(name=uri, uri=uri, **period)
    return list(getattr(supervisor.send(question), "asset_events", ()))


def variable_names(prefix: str) -> list[str]:
    """The names of the Variables in Airflow's database that begin with a text (3.3 and later; before, none)."""
    from airflow.sdk import Variable

    keys = getattr(Variable, "keys", None)
    return [] if keys is None else [name for name in keys(prefix) if name.startswith(prefix)]


def can_list_variables() -> bool:
    """Whether this process can find Variables by the beginning of their names: a task, on 3.3 and later."""
    from airflow.sdk import Variable

    return runs_for_airflow() and hasattr(Variable, "keys")


def default_deferrable() -> bool:
    """Airflow's setting for operators that can be deferred."""
    return bool(_conf().getboolean("operators", "default_deferrable", fallback=False))


def boolean_option(section: str, name: str) -> bool:
    """Read an option of Airflow's configuration; false if it is not set.

    :raises Exception: the value is no boolean.
    """
    return bool(_conf().getboolean(section, name, fallback=False))


def option_names(section: str) -> set[str]:
    """The names of the options that a section of Airflow's configuration has, also those that no provider declares."""
    # Before 3.2, Airflow leaves out the environment's options of a section that no file has.
    prefix = f"AIRFLOW__{section.upper()}__"
    in_environment = {name.removeprefix(prefix).lower() for name in os.environ if name.startswith(prefix)}
    return in_environment.union(_conf().getsection(section) or ())


def metrics_are_on() -> bool:
    """Whether Airflow sends metrics anywhere."""
    return any(
        _conf().getboolean("metrics", name, fallback=False)
        for name in ("statsd_on", "statsd_datadog_enabled", "otel_on")
    )


def stats() -> Any:
    """Airflow's metrics: an object with ``incr`` and ``timing``."""
    try:
        from airflow.sdk.observability import stats as module
    except ImportError:  # before 3.2
        from airflow.stats import Stats

        return Stats
    # The module has the functions from 3.3 on; in 3.2 they belong to its class.
    return module if hasattr(module, "incr") else module.Stats


def lineage_collector() -> Any:
    """The collector of the assets that hooks read and write."""
    try:
        from airflow.sdk.lineage import get_hook_lineage_collector
    except ImportError:  # before 3.2
        from airflow.lineage.hook import get_hook_lineage_collector  # type: ignore[import-not-found, no-redef]
    return get_hook_lineage_collector()


def _conf() -> Any:
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # before 3.2
        from airflow.configuration import conf
    return conf


def asset_states(accessors: Any) -> dict[str, Any]:
    """The state of each asset that an event trigger watches for (3.3 and later), by the asset's name.

    :param accessors: ``trigger.asset_state_store``, or ``None``.
    """
    by_name, by_uri = (getattr(accessors, name, None) or {} for name in ("_by_name", "_by_uri"))
    return {**by_uri, **by_name}
