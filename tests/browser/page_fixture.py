"""Two months of a treasury in one minute: a sandbox exchange and a connection for the page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.calls import flex_invest_call
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import Transport
from airflow_provider_whitebit.testing import SandboxProcess
from tests.running_airflow import RunningAirflow

CONNECTION = "whitebit_treasury"
#: An administrator, a user who may read DAGs, and one who may also edit task instances. Those may read no connections.
PASSWORDS = {"boss": "boss-password", "guest": "guest-password", "trader": "trader-password"}
DAG, LATER_DAG, DOUBT_DAG = "whitebit_browser", "whitebit_browser_later", "whitebit_browser_doubt"
SOL_AMOUNT = Decimal("7.5")
SOL_PLAN = "9461c1e8-a3b5-46d7-82f3-7e8f90a1b2c3"


@dataclass
class Scene:
    """Airflow and the exchange behind the page."""

    airflow: RunningAirflow
    sandbox: SandboxProcess


def play(airflow: RunningAirflow, sandbox: SandboxProcess) -> Scene:
    """Create the connection, invest, and let two months pass."""
    airflow.api.call(
        "POST",
        "/api/v2/connections",
        {
            "connection_id": CONNECTION,
            "conn_type": "whitebit",
            "login": sandbox.api_key,
            "password": sandbox.api_secret,
            "host": sandbox.url,
            "extra": json.dumps({"reconcile_margin": 8, "max_move": {"USDT": "5000"}}),
        },
    )
    for dag_id, days in ((DAG, 43), (LATER_DAG, 18)):
        run = airflow.run(dag_id)
        assert run["state"] == "success", airflow.problems(dag_id)
        sandbox.advance(days * 86_400)
    return Scene(airflow, sandbox)


def leave_in_doubt(scene: Scene) -> str:
    """Lose the reply to a move while another program makes an equal move in the same seconds.

    :returns: id of the dag run.
    """
    airflow, sandbox = scene.airflow, scene.sandbox
    client = MovingClient(Transport(sandbox.url, Credentials(sandbox.api_key, sandbox.api_secret)))
    for _ in range(3):
        sandbox.fault("lost_reply_after", path="*/investments/invest", count=1)
        before = len(sandbox.ledger()["transactions"])
        client.server_time()
        run_id = airflow.begin(DOUBT_DAG)
        # Four seconds later the moves could be told apart, so the second one follows at once.
        airflow.wait("the move", partial(_more_than, sandbox, before), every=0.1)
        # Both clocks start from whole seconds, so the first nonce may be the one that the task has used.
        nonce = client.clock.next_nonce(window=True) + 137
        client.send_move(flex_invest_call(SOL_PLAN, SOL_AMOUNT), nonce=nonce)
        if airflow.finished(DOUBT_DAG, run_id)["state"] == "failed":
            return run_id
        # On a very busy machine the second move was too late.
    raise AssertionError("the doubt was resolved")


def _more_than(sandbox: SandboxProcess, transactions: int) -> bool:
    return len(sandbox.ledger()["transactions"]) > transactions
