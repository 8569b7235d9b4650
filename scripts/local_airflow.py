"""Starts and calls a local Airflow for the demo, the UI and the end-to-end tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from reaper import start_reaper

REPO = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def free_port(wanted: int = 0) -> int:
    """Return a free loopback port. :raises OSError: if the wanted port is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", wanted))
        port: int = probe.getsockname()[1]
        return port


def environment(
    home: Path,
    connection_json: str,
    *,
    dags: Path,
    port: int | None = None,
    executor: str | None = None,
    database: str | None = None,
) -> dict[str, str]:
    """Return the environment of an Airflow that keeps all files in ``home`` and listens on loopback only.

    :param connection_json: the connection ``whitebit_default``.
    :param port: of the API server, if one will be started.
    :param executor: LocalExecutor by default.
    :param database: SQLAlchemy URL of the metadata database; a SQLite file in ``home`` by default.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AIRFLOW") and name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_WHITEBIT_DEFAULT": connection_json,
        # On a busy machine, SQLite's writers wait for each other for longer than the 5 s of its default.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database or f"sqlite:///{home / 'airflow.db'}?timeout=60",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        # Airflow 3.0 leaves the issuer empty, which newer releases of its JWT library reject.
        "AIRFLOW__API_AUTH__JWT_ISSUER": "local-airflow",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    if executor is not None:
        settings["AIRFLOW__CORE__EXECUTOR"] = executor
    if port is not None:
        settings["AIRFLOW__API__PORT"] = str(port)
        settings["AIRFLOW__API__BASE_URL"] = f"http://127.0.0.1:{port}"
        settings["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"http://127.0.0.1:{port}/execution/"
    return {**kept, **settings}


def migrate(env: dict[str, str], log: IO[Any]) -> None:
    """Create or migrate the metadata database. :raises subprocess.CalledProcessError: if that fails."""
    subprocess.run([BIN / "airflow", "db", "migrate"], env=env, stdout=log, stderr=log, check=True)


@contextlib.contextmanager
def process_group(command: list[Any], env: dict[str, str], log: IO[Any], **options: Any) -> Iterator[Any]:
    """Run a command in a process group of its own, and end the whole group afterwards."""
    process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True, text=True, **options)
    try:
        yield process
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[str]) -> None:
    """End a process group: SIGTERM first, SIGKILL if that does not help."""
    for number, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and _group_lives(process):
            time.sleep(0.1)
        if not _group_lives(process):
            return


def _group_lives(process: subprocess.Popen[str]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def run_script(main: Callable[[], int], *, interrupted: int = 130) -> NoReturn:
    """Run a script's main function and exit, leaving no process behind.

    :param interrupted: exit status after Ctrl-C.
    """
    start_reaper()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(interrupted)


class Api:
    """Calls Airflow's REST API.

    :param port: of the API server.
    """

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self._token: str | None = None

    def healthy(self) -> bool:
        """Return whether API server, scheduler and DAG processor are healthy."""
        try:
            parts = self._open("GET", "/api/v2/monitor/health", None, {})
        except (OSError, ValueError):
            return False
        return all(
            parts.get(name, {}).get("status") == "healthy" for name in ("metadatabase", "scheduler", "dag_processor")
        )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Make one authenticated call; a failed GET is retried. :raises urllib.error.HTTPError: for an error status."""
        for pause in (1, 4) if method == "GET" else ():
            try:
                return self._call(method, path, body)
            except OSError as error:
                # On a busy machine the SQLite database can stay locked for longer than Airflow waits.
                if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                    raise
                time.sleep(pause)
        return self._call(method, path, body)

    def _call(self, method: str, path: str, body: Any) -> Any:
        if self._token is None:
            self._token = self._open("GET", "/auth/token", None, {})["access_token"]
        return self._open(method, path, body, {"Authorization": f"Bearer {self._token}"})

    def _open(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base + path, data, {"Content-Type": "application/json", **headers}, method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def wait(
        self, what: str, done: Any, seconds: int, process: subprocess.Popen[str] | None = None, *, every: float = 0.5
    ) -> Any:
        """Repeat a call until its result is true. :raises TimeoutError: after some seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if process is not None and process.poll() is not None:
                raise RuntimeError("Airflow ended by itself")
            with contextlib.suppress(urllib.error.URLError, OSError):
                if found := done():
                    return found
            time.sleep(every)
        raise TimeoutError(f"Waited {seconds} s in vain for {what}")


def xcoms(home: Path, dag_id: str) -> dict[str, Any]:
    """Return the values that the tasks of a DAG's latest run have returned, by task."""
    with contextlib.closing(sqlite3.connect(f"file:{home / 'airflow.db'}?mode=ro", uri=True)) as db:
        run = db.execute("SELECT run_id FROM dag_run WHERE dag_id=? ORDER BY id DESC LIMIT 1", (dag_id,)).fetchone()
        rows = db.execute(
            "SELECT task_id, value FROM xcom WHERE dag_id=? AND run_id=? AND key='return_value'", (dag_id, run[0])
        ).fetchall()
    return {task: _decoded(value) for task, value in rows}


def _decoded(value: Any) -> Any:
    # Depending on the Airflow version, the column holds JSON or JSON within a JSON string.
    while isinstance(value, str | bytes):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return value
