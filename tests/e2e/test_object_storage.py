"""The claim of docs/once.md about task state in object storage (Airflow 3.3 and later): moves happen once."""

from __future__ import annotations

import json
import shutil

import pytest
from local_airflow import BIN, Api, environment, free_port, process_group

from airflow_provider_whitebit.testing import SandboxProcess
from tests.running_airflow import AIRFLOW_VERSION, PATIENCE, REPO, RunningAirflow
from tests.what_happened import write_stacks_on_signal

DAG = "whitebit_e2e_vault"

pytestmark = pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="Airflow 3.3 and later have task state")


@pytest.fixture
def airflow(tmp_path):
    """An Airflow whose workers keep task state in a folder."""
    (tmp_path / "dags").mkdir()
    shutil.copy(REPO / "tests" / "e2e" / "dags" / "whitebit_operations.py", tmp_path / "dags")
    port, sandbox = free_port(), SandboxProcess()
    try:
        connection = json.loads(sandbox.connection_json) | {"extra": {"reconcile_margin": 2}}
        env = environment(tmp_path, sandbox.connection_json, dags=tmp_path / "dags", port=port)
        env |= write_stacks_on_signal(tmp_path)
        env["AIRFLOW_CONN_WHITEBIT_VAULT"] = json.dumps(connection)
        env["AIRFLOW__WORKERS__STATE_STORE_BACKEND"] = (
            "airflow.providers.common.io.state_store.backend.StateStoreObjectStorageBackend"
        )
        env["AIRFLOW__COMMON_IO__STATE_STORE_OBJECTSTORAGE_PATH"] = f"file://{tmp_path}/objects"
        with (
            (tmp_path / "standalone.log").open("w") as log,
            process_group([BIN / "airflow", "standalone"], env, log) as process,
        ):
            api = Api(port)
            api.wait("a healthy Airflow", api.healthy, PATIENCE, process)
            yield RunningAirflow(tmp_path, api, sandbox, process, env, [], set())
    finally:
        sandbox.stop()


def test_a_lost_answer_and_a_clear(airflow):
    receipt, made = airflow.run_with_a_lost_answer(DAG)
    assert made == [receipt["transaction_id"]]
    (run,) = airflow.api.call("GET", f"/api/v2/dags/{DAG}/dagRuns")["dag_runs"]
    airflow.clear(DAG, run["dag_run_id"], "invest")
    assert airflow.finished(DAG, run["dag_run_id"])["state"] == "success", airflow.problems(DAG)
    assert airflow.returned(DAG, run["dag_run_id"], "invest") == receipt
    assert [move["transaction_id"] for move in airflow.moves()] == made
    documents = sorted(file.name for file in airflow.home.glob("objects/**/whitebit_move.*"))
    # On a busy machine the task can have needed a third try.
    assert {"1", "2", "begun", "from_2"} <= {name.rpartition("__")[2] for name in documents}
    # There is no second copy of the journal.
    assert airflow.api.call("GET", "/api/v2/variables?variable_key_pattern=whitebit_move")["variables"] == []
