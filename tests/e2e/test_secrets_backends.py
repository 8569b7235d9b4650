"""The claims of docs/operations.md about secrets backends: an Airflow with one backend for all processes, and one more
for workers. If the provider for HashiCorp Vault is installed, the first one is a Vault."""

from __future__ import annotations

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest
from local_airflow import BIN, Api, environment, free_port, process_group

from airflow_provider_whitebit.testing import SandboxProcess
from tests.running_airflow import AIRFLOW_VERSION, PATIENCE, REPO, RunningAirflow

DAG = "whitebit_e2e_vault"
LOCAL_FILES = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
VAULT = "airflow.providers.hashicorp.secrets.vault.VaultBackend"


def has_vault():
    try:
        return find_spec("airflow.providers.hashicorp") is not None and find_spec("hvac") is not None
    except ModuleNotFoundError:
        return False


class Vault(ThreadingHTTPServer):
    """The part of Vault's HTTP API that reads secrets: tokens, and version 2 of the key-value engine."""

    token = "vault-token"

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _VaultAnswer)
        self.paths = []
        self.secrets = {}

    @property
    def settings(self):
        return {
            "url": f"http://127.0.0.1:{self.server_address[1]}",
            "token": self.token,
            "mount_point": "airflow",
            "variables_path": None,
        }


class _VaultAnswer(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0].removeprefix("/v1/")
        self.server.paths.append(path)
        found = self.server.secrets.get(path.removeprefix("airflow/data/connections/"))
        if self.headers["X-Vault-Token"] != self.server.token:
            status, answer = 403, {"errors": ["permission denied"]}
        elif path == "auth/token/lookup-self":
            status, answer = 200, {"data": {"id": self.server.token}}
        elif found is not None:
            status, answer = 200, {"data": {"data": found, "metadata": {"version": 1}}}
        else:
            status, answer = 404, {"errors": []}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Backends:
    """An Airflow and the connections in its two secrets backends."""

    def __init__(self, running, vault):
        self.airflow = running
        self.vault = vault

    def hold(self, *, everywhere=None, workers=None):
        """Replace the connection ``whitebit_vault`` in both backends.

        :param everywhere: name of its API key in the first backend; None for no connection.
        :param workers: the same for the backend of workers.
        """
        connections = {} if everywhere is None else {"whitebit_vault": self._connection(everywhere)}
        if self.vault is not None:
            self.vault.secrets = connections
        self._write("everywhere.json", connections)
        self._write("workers.json", {} if workers is None else {"whitebit_vault": self._connection(workers)})

    def _connection(self, key):
        known = {"login": f"key-of-{key}", "password": f"secret-of-{key}", "extra": json.dumps({"reconcile_margin": 2})}
        return json.loads(self.airflow.sandbox.connection_json) | known

    def _write(self, name, connections):
        written = self.airflow.home / "new.json"
        written.write_text(json.dumps(connections))
        written.replace(self.airflow.home / name)

    def keys_used(self, since):
        return {
            entry["api_key"] for entry in self.airflow.sandbox.requests()[since:] if "/public/" not in entry["path"]
        }

    def run(self):
        """Run the DAG, lose the answer to its move, and assert one move. :returns: the API keys that were used."""
        requests = len(self.airflow.sandbox.requests())
        receipt, made = self.airflow.run_with_a_lost_answer(DAG)
        assert made == [receipt["transaction_id"]]
        return self.keys_used(requests)

    def test_button(self):
        """Press the test button. :returns: its answer, and the API keys that were used."""
        requests = len(self.airflow.sandbox.requests())
        body = {"connection_id": "whitebit_vault", "conn_type": "whitebit"}
        return self.airflow.api.call("POST", "/api/v2/connections/test", body), self.keys_used(requests)


@pytest.fixture(scope="module")
def backends(tmp_path_factory):
    home = tmp_path_factory.mktemp("secrets")
    (home / "dags").mkdir()
    shutil.copy(REPO / "tests" / "e2e" / "dags" / "whitebit_operations.py", home / "dags")
    port, sandbox, vault = free_port(), SandboxProcess(), Vault() if has_vault() else None
    try:
        for key in ("everywhere", "workers"):
            sandbox.add_key(f"key-of-{key}", f"secret-of-{key}")
            (home / f"{key}.json").write_text("{}")
        env = environment(home, sandbox.connection_json, dags=home / "dags", port=port)
        env["AIRFLOW__SECRETS__BACKEND"] = LOCAL_FILES
        env["AIRFLOW__SECRETS__BACKEND_KWARGS"] = json.dumps({"connections_file_path": str(home / "everywhere.json")})
        if vault is not None:
            threading.Thread(target=vault.serve_forever, daemon=True).start()
            env["AIRFLOW__SECRETS__BACKEND"] = VAULT
            env["AIRFLOW__SECRETS__BACKEND_KWARGS"] = json.dumps(vault.settings)
        env["AIRFLOW__WORKERS__SECRETS_BACKEND"] = LOCAL_FILES
        env["AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS"] = json.dumps(
            {"connections_file_path": str(home / "workers.json")}
        )
        with (
            (home / "standalone.log").open("w") as log,
            process_group([BIN / "airflow", "standalone"], env, log) as process,
        ):
            api = Api(port)
            api.wait("a healthy Airflow", api.healthy, PATIENCE, process)
            yield Backends(RunningAirflow(home, api, sandbox, process, env, [], set()), vault)
    finally:
        sandbox.stop()
        if vault is not None:
            vault.shutdown()


def test_a_connection_that_only_workers_have(backends):
    backends.hold(workers="workers")
    # The sensor and the reconciliation ran in the triggerer.
    assert backends.run() == {"key-of-workers"}
    if AIRFLOW_VERSION >= (3, 3):
        answer, keys = backends.test_button()
        assert (answer["status"], keys) == (False, set()), answer
    if AIRFLOW_VERSION >= (3, 1):
        seen = backends.airflow.api.call("GET", "/whitebit/api/treasury?conn_id=whitebit_vault")
        assert "There is no connection" in seen["accounts"][0]["exchange"]["error"]["message"]


def test_workers_prefer_their_own_backend(backends):
    backends.hold(everywhere="everywhere", workers="workers")
    assert backends.run() == {"key-of-workers"}
    if AIRFLOW_VERSION >= (3, 3):
        answer, keys = backends.test_button()
        assert (answer["status"], keys) == (True, {"key-of-everywhere"}), answer


def test_workers_fall_back_to_the_api_server(backends):
    backends.hold(everywhere="everywhere")
    assert backends.run() == {"key-of-everywhere"}


def test_variables_are_not_read_from_the_vault(backends):
    if backends.vault is None:
        pytest.skip("pip install apache-airflow-providers-hashicorp")
    backends.hold(everywhere="everywhere")
    backends.run()
    assert "airflow/data/connections/whitebit_vault" in backends.vault.paths
    assert [path for path in backends.vault.paths if "variables" in path] == []
