"""The fixture ``airflow``: a real Airflow and a sandbox, started once for all tests of a session."""

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
from importlib.metadata import version
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
from tests.what_happened import recent, write_stacks_on_signal  # noqa: E402

#: Seconds after which a test gives up waiting. Long, because a busy machine is slow.
PATIENCE = 600
AIRFLOW_VERSION = tuple(int(part) for part in version("apache-airflow").split(".")[:2])


@dataclass
class Part:
    """One of Airflow's components, or a server: a process and all that it has started."""

    name: str
    pid: int

    def kill(self) -> None:
        """Kill all its processes with SIGKILL."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes."""
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
    """An Airflow that runs, its sandbox, and what they have sent."""

    home: Path
    api: Api
    sandbox: SandboxProcess
    process: Any
    env: dict[str, str]
    mail: list[Any]
    metrics: set[str]
    restarted: list[Any] = field(default_factory=list)

    def keep_connections(self, **connections: dict[str, Any]) -> None:
        """Replace the connections in the secrets backend, as an administrator does."""
        written = self.home / "connections.new"
        written.write_text(json.dumps(connections))
        written.replace(self.home / "connections.json")

    def wait(self, what: str, done: Callable[[], Any], *, every: float = 0.5) -> Any:
        """Repeat a call until its result is true. :raises TimeoutError: after :data:`PATIENCE` seconds."""
        return self.api.wait(what, done, PATIENCE, self.process, every=every)

    def run(self, dag_id: str, conf: dict[str, Any] | None = None) -> dict[str, Any]:
        """Trigger a DAG and wait until its run has ended."""
        return self.finished(dag_id, self.begin(dag_id, conf))

    def finished(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Wait until a run has ended, and return it."""

        def ended() -> Any:
            run = self.api.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
            return run if run["state"] in ("success", "failed") else None

        found: dict[str, Any] = self.wait(f"the end of {dag_id}", ended)
        return found

    def returned(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """Return the value that a task has returned."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        value = self.api.call("GET", f"{path}?map_index={map_index}&deserialize=false")["value"]
        while isinstance(value, str):
            value = json.loads(value)
        return value

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return a task instance."""
        found: dict[str, Any] = self.api.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return found

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return all task instances of a run, mapped ones included."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?order_by=id&limit=100"
        found: list[dict[str, Any]] = []
        while True:
            page = self.api.call("GET", f"{path}&offset={len(found)}")
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def logs(self, dag_id: str) -> str:
        """Return the text of all task logs of a DAG."""
        files = sorted((self.home / "logs" / f"dag_id={dag_id}").rglob("*.log"))
        return "\n".join(file.read_text() for file in files)

    def clear(self, dag_id: str, run_id: str, *tasks: str | list[Any]) -> None:
        """Clear tasks, as an operator does. A mapped task is given as a list of its name and map index."""
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

    def clear_failed(self, dag_id: str, run_id: str, *tasks: str) -> None:
        """Clear the failed tasks of a failed run.

        Before 3.1, Airflow does not retry a task that was killed with SIGKILL, so an operator has to clear it. If it is
        cleared before the run has ended, Airflow may mark the run as failed in spite of the cleared task.
        """
        if self.api.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"] != "failed":
            return
        for task in tasks:
            if self.task(dag_id, run_id, task)["state"] == "failed":
                self.clear(dag_id, run_id, task)

    def run_with_a_lost_answer(self, dag_id: str) -> tuple[dict[str, Any], list[str]]:
        """Run a DAG and lose the exchange's answer to its task ``invest``, which must be reconciled.

        :returns: the task's receipt, and the transactions of all moves that were made meanwhile.
        """
        self.sandbox.fault("lost_reply_after", path="*/investments/invest", count=1)
        before = len(self.moves())
        run = self.run(dag_id)
        assert run["state"] == "success", self.problems(dag_id)
        receipt = self.returned(dag_id, run["dag_run_id"], "invest")
        assert receipt["reconciled"] is True
        return receipt, [entry["transaction_id"] for entry in self.moves()[before:]]

    def moves(self) -> list[dict[str, Any]]:
        """Return the exchange's records of moves, without interest, oldest first."""
        return [entry for entry in self.sandbox.ledger()["transactions"] if entry["nonce"] is not None]

    def begin(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Unpause and trigger a DAG, and return the id of its run."""
        # Examples are created paused.
        if self.wait(dag_id, lambda: self.api.call("GET", f"/api/v2/dags/{dag_id}"))["is_paused"]:
            self.api.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})
        run = self.api.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})
        return str(run["dag_run_id"])

    def part(self, name: str) -> Part:
        """Return one of Airflow's components, for example ``triggerer``."""
        groups = {self.process.pid, *(process.pid for process in self.restarted)}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                # Some processes replace their command line by a title.
                title = (entry / "cmdline").read_text().replace("_", "-")
                group = os.getpgid(int(entry.name))
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError):
                continue
            if group in groups and parent in (self.process.pid, os.getpid()) and name in title:
                return Part(name, int(entry.name))
        raise AssertionError(f"Airflow has no {name}")

    def start_part(self, part: Part) -> None:
        """Restart a killed component."""
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
        """Return the last errors in a DAG's task logs, for the message of a failed assertion."""
        found = [line[:1500] for line in self.logs(dag_id).splitlines() if '"level":"error"' in line]
        return "\n".join(found[-5:])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what Airflow did to the report of a failed test."""
    report = yield
    running = getattr(item, "funcargs", {}).get("airflow")
    if report.failed and isinstance(running, RunningAirflow):
        report.sections.append(("Airflow and the exchange", recent(running)))
    return report


class Mailbox:
    """Keeps every mail that it receives."""

    def __init__(self) -> None:
        self.mail: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mail.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"


@pytest.fixture(scope="session")
def mailbox() -> Iterator[tuple[list[Any], str]]:
    """The received mail, and an Airflow connection to the mail server."""
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    extra = {"disable_ssl": True, "disable_tls": True}
    yield box.mail, json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": controller.port, "extra": extra})
    controller.stop()


@pytest.fixture(scope="session")
def metrics() -> Iterator[tuple[set[str], int]]:
    """The names of all metrics that were sent by the StatsD protocol, and the port that receives them."""
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
        # A short margin is enough, because the sandbox records moves at once.
        connection = json.loads(sandbox.connection_json) | {"extra": {"reconcile_margin": 2}}
        env = environment(home, json.dumps(connection), dags=dags, port=port)
        env |= write_stacks_on_signal(home)
        mail, env["AIRFLOW_CONN_SMTP_DEFAULT"] = mailbox
        names, statsd_port = metrics
        env |= {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(statsd_port),
        }
        env["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "DEBUG"
        # The secrets backend holds connections that are not in the database.
        (home / "connections.json").write_text("{}")
        env["AIRFLOW__SECRETS__BACKEND"] = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
        env["AIRFLOW__SECRETS__BACKEND_KWARGS"] = json.dumps({"connections_file_path": str(home / "connections.json")})
        # On a busy machine Airflow sometimes fails a task by itself: a deferred one that resumes before the scheduler
        # has noticed its deferral. So tasks have retries, as they should have in production.
        env["AIRFLOW__CORE__DEFAULT_TASK_RETRIES"] = "2"
        env["AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY"] = "1"
        # A cleanup that runs once a minute by default happens within a test: before 3.1 it deactivates assets that are
        # neither a schedule nor an outlet.
        env["AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL"] = "10"
        env["AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"] = str(PATIENCE)
        # Another triggerer takes over the work of a killed one after 10 s instead of 30 s.
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
