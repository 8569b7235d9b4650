"""A real Airflow (scheduler, API server, DAG processor, triggerer) and a sandbox, once for all tests of a session."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "scripts"))

from local_airflow import (  # noqa: E402
    BIN,
    Api,
    end_group,
    environment,
    free_port,
    migrate,  # noqa: F401
    process_group,
)

from airflow_provider_whitebit.testing import SandboxProcess  # noqa: E402

#: Seconds after which something does not come at all. Nothing is said of how fast a busy machine is.
PATIENCE = 300


@dataclass
class Part:
    """One of Airflow's own processes."""

    name: str
    pid: int

    def kill(self) -> None:
        """End it and all that it started, with -9."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send it and all that it started a signal."""
        family = [self.pid]
        for member in family:
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{member}/task").glob("*/children")
                family += [int(child) for file in children for child in file.read_text().split()]
        for member in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, number)


@dataclass
class RunningAirflow:
    """What the tests need of it."""

    home: Path
    api: Api
    sandbox: SandboxProcess
    process: Any
    env: dict[str, str]
    mail: list[Any]
    metrics: set[str]
    restarted: list[Any] = field(default_factory=list)

    def keep_connections(self, **connections: dict[str, Any]) -> None:
        """Replace what the secrets backend holds, as an administrator does: the next who asks gets it."""
        written = self.home / "connections.new"
        written.write_text(json.dumps(connections))
        written.replace(self.home / "connections.json")

    def wait(self, what: str, done: Callable[[], Any], *, every: float = 0.5) -> Any:
        """Ask until something is there. :raises TimeoutError: if it does not come at all."""
        return self.api.wait(what, done, PATIENCE, self.process, every=every)

    def run(self, dag_id: str) -> dict[str, Any]:
        """Trigger a DAG and wait for the end of its run."""
        return self.finished(dag_id, self.begin(dag_id))

    def finished(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Wait for the end of a run."""

        def ended() -> Any:
            run = self.api.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
            return run if run["state"] in ("success", "failed") else None

        found: dict[str, Any] = self.wait(f"the end of {dag_id}", ended)
        return found

    def returned(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """What a task returned."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        value = self.api.call("GET", f"{path}?map_index={map_index}&deserialize=false")["value"]
        while isinstance(value, str):
            value = json.loads(value)
        return value

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """A task instance."""
        found: dict[str, Any] = self.api.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return found

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run, those of mapped tasks too."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?order_by=id&limit=100"
        found: list[dict[str, Any]] = []
        while True:
            page = self.api.call("GET", f"{path}&offset={len(found)}")
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def logs(self, dag_id: str) -> str:
        """All task logs of a DAG, as they lie on disk."""
        files = sorted((self.home / "logs" / f"dag_id={dag_id}").rglob("*.log"))
        return "\n".join(file.read_text() for file in files)

    def clear(self, dag_id: str, run_id: str, *tasks: str | list[Any]) -> None:
        """Clear tasks, as a person does; of a mapped one a list of its name and map index."""
        self.api.call(
            "POST",
            f"/api/v2/dags/{dag_id}/clearTaskInstances",
            {
                "dry_run": False,
                "dag_run_id": run_id,
                "task_ids": list(tasks),
                "only_failed": False,
                "reset_dag_runs": True,
                "include_downstream": True,
            },
        )

    def begin(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Trigger a DAG; the id of its run."""
        self.wait(dag_id, lambda: self.api.call("GET", f"/api/v2/dags/{dag_id}"))
        run = self.api.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})
        return str(run["dag_run_id"])

    def part(self, name: str) -> Part:
        """One of Airflow's own processes, for example ``triggerer``."""
        groups = {self.process.pid, *(process.pid for process in self.restarted)}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                # Some of them give themselves a title in place of their command.
                title = (entry / "cmdline").read_text().replace("_", "-")
                group = os.getpgid(int(entry.name))
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError):
                continue
            if group in groups and parent in (self.process.pid, os.getpid()) and name in title:
                return Part(name, int(entry.name))
        raise AssertionError(f"Airflow has no {name}")

    def start_part(self, part: Part) -> None:
        """Start a killed part again, just as it was."""
        with (self.home / "restarted.log").open("a") as log:
            self.restarted.append(
                subprocess.Popen(
                    [BIN / "airflow", part.name],
                    env=self.env,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def problems(self, dag_id: str) -> str:
        """The errors in a DAG's task logs, for a test that fails."""
        found = [line[:1500] for line in self.logs(dag_id).splitlines() if '"level":"error"' in line]
        return "\n".join(found[-5:])

    def seen(self) -> str:
        """What Airflow and the exchange did last, for a test that fails."""
        lines = []
        with contextlib.suppress(OSError, ValueError):
            runs = self.api.call("GET", "/api/v2/dags/~/dagRuns?order_by=-id&limit=3")["dag_runs"]
            for run in runs:
                lines.append(f"{run['dag_id']} {run['dag_run_id']}: {run['state']} since {run['start_date']}")
                lines += [
                    f"  {task['task_id']} [{task['map_index']}]: {task['state']}, try {task['try_number']}"
                    f" since {task['start_date']}, queued at {task['queued_when']}"
                    for task in self.tasks(run["dag_id"], run["dag_run_id"])
                ]
        with contextlib.suppress(OSError, ValueError):
            lines += [f"{entry['path']}: {entry['status']}" for entry in self.sandbox.requests()[-5:]]
        text = (self.home / "standalone.log").read_text(errors="replace").lower().splitlines()
        lines += [line for line in text if any(f"[{word}" in line for word in ("error", "critical"))][-10:]
        files = sorted((self.home / "logs").rglob("attempt=*.log"), key=lambda file: file.stat().st_mtime)
        for file in files[-2:]:
            lines.append(str(file.relative_to(self.home)))
            for line in file.read_text(errors="replace").splitlines()[-20:]:
                with contextlib.suppress(ValueError):
                    told = json.loads(line)
                    line = f"{told['timestamp']} {told['level']}: {told['event']} {told.get('error_detail', '')}"
                lines.append(line)
        return "\n".join(line[:300] for line in lines)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a test of the running Airflow that fails, show what Airflow did."""
    report = yield
    running = getattr(item, "funcargs", {}).get("airflow")
    if report.failed and isinstance(running, RunningAirflow):
        report.sections.append(("Airflow and the exchange", running.seen()))
    return report


class Mailbox:
    """Takes every mail that is sent to it."""

    def __init__(self) -> None:
        self.mail: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mail.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"


@pytest.fixture(scope="session")
def mailbox() -> Iterator[tuple[list[Any], str]]:
    """The mail that has come, and the connection that leads to it."""
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    extra = {"disable_ssl": True, "disable_tls": True}
    yield box.mail, json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": controller.port, "extra": extra})
    controller.stop()


@pytest.fixture(scope="session")
def metrics() -> Iterator[tuple[set[str], int]]:
    """Names of the metrics that were sent by StatsD's protocol, and the port that they were sent to."""
    names: set[str] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))

        def listen() -> None:
            with contextlib.suppress(OSError):
                while packet := listener.recv(65_536):
                    names.update(line.partition(":")[0] for line in packet.decode(errors="replace").splitlines())

        threading.Thread(target=listen, daemon=True).start()
        yield names, listener.getsockname()[1]


@pytest.fixture(scope="session")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, mailbox: tuple[list[Any], str], metrics: tuple[set[str], int]
) -> Iterator[RunningAirflow]:
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    shutil.copytree(REPO / "dags_examples", dags, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (*(REPO / "tests" / "e2e" / "dags").glob("*.py"), *(REPO / "tests" / "browser" / "dags").glob("*.py")):
        shutil.copy(file, dags)
    port = free_port()
    sandbox = SandboxProcess("--db", str(home / "sandbox.db"))
    try:
        # A short settle margin: the sandbox records at once.
        connection = json.loads(sandbox.connection_json) | {"extra": {"settle_margin": 2}}
        env = environment(home, json.dumps(connection), dags=dags, port=port)
        mail, env["AIRFLOW_CONN_SMTP_DEFAULT"] = mailbox
        names, statsd_port = metrics
        env |= {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(statsd_port),
        }
        env["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "DEBUG"
        # Holds connections that the database does not know of.
        (home / "connections.json").write_text("{}")
        env["AIRFLOW__SECRETS__BACKEND"] = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
        env["AIRFLOW__SECRETS__BACKEND_KWARGS"] = json.dumps({"connections_file_path": str(home / "connections.json")})
        # On a busy machine Airflow fails tasks by itself (a deferred one that goes on before its scheduler has seen it
        # end). What money does not move twice by is tested with retries, as it is to be run.
        env["AIRFLOW__CORE__DEFAULT_TASK_RETRIES"] = "2"
        env["AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY"] = "1"
        # What Airflow looks at once a minute happens within a test: before 3.1 its scheduler makes assets inactive that
        # are neither a schedule nor an outlet.
        env["AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL"] = "10"
        env["AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"] = str(PATIENCE)
        # A killed triggerer's work is taken up sooner than after half a minute.
        env["AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD"] = "10"
        with (
            (home / "standalone.log").open("w") as log,
            process_group([BIN / "airflow", "standalone"], env, log) as process,
        ):
            api = Api(port)
            try:
                api.wait("a healthy Airflow", api.healthy, PATIENCE, process)
            except (TimeoutError, RuntimeError) as error:
                raise AssertionError(f"{error}\n{(home / 'standalone.log').read_text()[-4000:]}") from None
            running = RunningAirflow(home, api, sandbox, process, env, mail, names)
            try:
                yield running
            finally:
                for restarted in running.restarted:
                    end_group(restarted)
    finally:
        sandbox.stop()
