"""Counts what this package does for one Flex invest on a sandbox: ``python scripts/trace_invest.py``.

Traces ``WhiteBitFlexInvestOperator.execute()`` and prints for each request how many frames of this package are on the
stack when its bytes are sent, and how often functions of this package are called. It uses public names of the package
only, so it also measures older commits: ``PYTHONPATH=/path/to/checkout python scripts/trace_invest.py``.
"""

from __future__ import annotations

import http.client
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import airflow_provider_whitebit

PACKAGE = str(Path(airflow_provider_whitebit.__file__).parent)


class Trace(NamedTuple):
    """One traced call.

    :param sent: each request's path, and the functions of this package that led to it, the outermost first.
    :param calls: how often functions of this package were called.
    """

    sent: list[tuple[str, list[str]]]
    calls: int

    def deepest(self, ending: str = "") -> list[str]:
        """The longest call chain to the bytes of a request, of those whose path has this ending."""
        return max((way for path, way in self.sent if path.endswith(ending)), key=len)


def frames_of_this_package(frame: FrameType | None) -> list[str]:
    """The functions of this package that are on the stack, the outermost first."""
    found = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            module = Path(frame.f_code.co_filename).relative_to(PACKAGE)
            found.append(f"{module}:{frame.f_lineno} {frame.f_code.co_qualname}")
        frame = frame.f_back
    return found[::-1]


@contextmanager
def in_a_task(task: Any) -> Iterator[dict[str, Any]]:
    """Run as in a first try of a task, with a journal in memory."""
    from airflow.sdk.execution_time.context import set_current_context

    from airflow_provider_whitebit.hooks import stores

    kept: dict[str, str] = {}
    run_id = task.ticker or task.plan_id
    ids = {"dag_id": "trace", "run_id": run_id, "task_id": task.task_id, "map_index": -1, "id": run_id}
    instance = SimpleNamespace(**ids, try_number=1, max_tries=0, task=task, xcom_push=lambda *_, **__: None)
    context: Any = {"ti": instance, "task": task, "outlet_events": mock.MagicMock()}
    read = lambda names: {name: kept[name] for name in names if name in kept}  # noqa: E731
    keep = lambda name, text, description: kept.update({name: text})  # noqa: E731
    with (
        mock.patch.object(stores, "read_variables", read),
        mock.patch.object(stores, "keep_variable", keep),
        set_current_context(context),
    ):
        yield context


def trace_invest(amount: str, **target: str) -> Trace:
    """Invest with the operator, in the sandbox that ``AIRFLOW_CONN_WHITEBIT_DEFAULT`` leads to.

    :param target: ``ticker`` or ``plan_id``.
    """
    from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator

    sent: list[tuple[str, list[str]]] = []
    calls = 0
    send, putrequest = http.client.HTTPConnection.send, http.client.HTTPConnection.putrequest
    path = ""

    def note_path(connection: Any, method: str, url: str, *arguments: Any, **options: Any) -> None:
        nonlocal path
        path = url
        putrequest(connection, method, url, *arguments, **options)

    def note_frames(connection: Any, data: Any) -> None:
        sent.append((path, frames_of_this_package(sys._getframe(1))))
        send(connection, data)

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(PACKAGE)

    task = WhiteBitFlexInvestOperator(task_id="invest", amount=amount, **target)
    with (
        in_a_task(task) as context,
        mock.patch.object(http.client.HTTPConnection, "putrequest", note_path),
        mock.patch.object(http.client.HTTPConnection, "send", note_frames),
    ):
        sys.setprofile(count)
        try:
            task.execute(context)
        finally:
            sys.setprofile(None)
    return Trace(sent, calls)


def main() -> None:
    from airflow_provider_whitebit.testing import SandboxProcess

    sandbox = SandboxProcess()
    try:
        os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"] = sandbox.connection_json
        # The first one also imports modules and fills caches. An equal one would make the second wait for its turn.
        trace_invest("0.01", ticker="BTC")
        trace = trace_invest("100", ticker="USDT")
    finally:
        sandbox.stop()
    for path, way in dict(trace.sent).items():
        print(f"{len(way):3} frames  {path}")
    print("\nThe longest way:", *trace.deepest(), sep="\n  ")
    to_invest, to_any = len(trace.deepest("/investments/invest")), len(trace.deepest())
    print(f"\nframes {to_any} ({to_invest} to the invest), calls {trace.calls}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ.setdefault("AIRFLOW_HOME", home)
        os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
        main()
