"""The fixture ``cluster``: Airflow on Celery with PostgreSQL, Redis and a sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from airflow_provider_whitebit.testing import SandboxProcess
from tests.missing import missing, need_module
from tests.running_airflow import PATIENCE, Api, environment, free_port
from tests.scale.cluster import PARTS, SETTINGS, Cluster
from tests.scale.servers import Postgres, Redis, absent_programs

OWN = tuple(f"own-{number}" for number in range(5))
SHARED = "shared"
#: Airflow connection -> API key. Several connections share a key.
CONNECTIONS = {name.replace("-", "_"): name for name in OWN} | {f"shared_{number}": SHARED for number in range(3)}
PLANS = tuple(f"00000000-0000-4000-8000-00000000000{number}" for number in range(5))

#: One user per key: moves with two keys of one account cannot exclude each other (docs/once.md).
SCENARIO = {
    "plans": [{"id": plan, "ticker": "USDT", "minimum": "1", "maximum": "1000000", "rate": "0.1"} for plan in PLANS],
    "keys": [{"api_key": name, "secret": f"secret-of-{name}", "user": name} for name in (*OWN, SHARED)],
    "balances": {name: {"USDT": "100000"} for name in (*OWN, SHARED)},
}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    for module in ("airflow.providers.celery", "psycopg2", "redis"):
        need_module(module, f"NOT TESTED ON CELERY: {module} is not installed (the extra 'scale')")
    if absent := absent_programs():
        missing(f"NOT TESTED ON CELERY: {', '.join(absent)} not found (scripts/services.sh installs them)")
    home = tmp_path_factory.mktemp("scale")
    scenario = home / "scenario.json"
    scenario.write_text(json.dumps(SCENARIO))
    with ExitStack() as stack:
        postgres, redis = Postgres(), Redis()
        for server in (postgres, redis):
            stack.callback(server.remove)
            server.start()
        sandbox = SandboxProcess("--db", str(home / "sandbox.db"), "--scenario", str(scenario))
        stack.callback(sandbox.stop)
        port = free_port()
        env = environment(
            home,
            sandbox.connection_json,
            dags=Path(__file__).parent / "dags",
            port=port,
            executor="CeleryExecutor",
            database=postgres.address,
        )
        env |= SETTINGS | {"AIRFLOW__CELERY__BROKER_URL": redis.address}
        for name, key in CONNECTIONS.items():
            # A short margin is enough, because the sandbox records moves at once.
            env[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(
                {
                    "conn_type": "whitebit",
                    "login": key,
                    "password": f"secret-of-{key}",
                    "host": sandbox.url,
                    "extra": {"reconcile_margin": 2},
                }
            )
        running = Cluster(home, Api(port), sandbox, None, env, [], set(), postgres=postgres, redis=redis)
        stack.callback(running.stop)
        running.migrate()
        for name in PARTS:
            running.start(name)
        running.api.wait("a healthy Airflow", running.healthy, PATIENCE)
        running.ended_by_themselves.clear()
        yield running
