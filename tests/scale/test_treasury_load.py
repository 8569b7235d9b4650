"""Many viewers of the Treasury page, on a real API server with PostgreSQL: Airflow's own pages stay usable.

The first test compares times, so it runs with ``make test-scale`` and not with ``make test``. It compares medians of
alternating rounds in the same run, so neither a slow machine nor one slow answer decides.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from airflow_provider_whitebit.plugins.whitebit import HAS_PAGES
from airflow_provider_whitebit.testing import SandboxProcess
from tests.missing import missing, need_module
from tests.running_airflow import BIN, PATIENCE, Api, environment, free_port, migrate, process_group
from tests.scale.servers import Postgres, absent_programs

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from treasury_rows import Tables, history, intent

pytestmark = pytest.mark.skipif(not HAS_PAGES, reason="Airflow 3.0 shows no pages of plugins")

VIEWERS, CONNECTIONS = 40, [f"desk_{number}" for number in range(20)]
DAGS, DOUBTS, MOVES = 50, 20, 20
ROUNDS, LOOKS = 7, 15
#: Airflow's own pages may take this many times longer than without viewers.
MOST_TIMES_LONGER = 2.0
OWN_PAGE = "/api/v2/dags?limit=50"


def fill(address: str) -> None:
    """Write DAGs, failed tasks with moves in doubt, and receipts into Airflow's database."""
    engine = create_engine(address, poolclass=NullPool)
    with Session(engine) as session:
        session.execute(text("SET session_replication_role = replica"))
        rows = Tables(session)
        for number in range(DAGS):
            rows.dag(f"dag_{number}")
        for number in range(DOUBTS):
            dag = f"dag_{number}"
            rows.task(dag=dag)
            key = f"whitebit_move__{dag}.invest.flex_invest__{32 * 'a'}__1"
            rows.variable(key, json.dumps(history(intent(f"int-{number}"))), f"Move of {dag}|manual__1|invest|-1|a")
        for name in CONNECTIONS:
            for number in range(MOVES):
                receipt = {"operation": "flex_invest", "intent_id": f"{name}-{number}", "amount": "1"}
                rows.event(receipt, conn=name, dag=f"dag_{number}", minute=number)
        session.commit()
    engine.dispose()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of an Airflow with a filled PostgreSQL database and a sandbox."""
    need_module("psycopg2", "PAGE NOT TESTED UNDER LOAD: psycopg2 is not installed (the extra 'scale')")
    if absent := [name for name in absent_programs() if name != "redis-server"]:
        missing(f"PAGE NOT TESTED UNDER LOAD: {', '.join(absent)} not found (scripts/services.sh installs them)")
    home = tmp_path_factory.mktemp("load")
    with ExitStack() as stack:
        postgres = Postgres()
        stack.callback(postgres.remove)
        postgres.start()
        sandbox = SandboxProcess()
        stack.callback(sandbox.stop)
        env = environment(home, sandbox.connection_json, dags=home, port=free_port(), database=postgres.address)
        env |= {f"AIRFLOW_CONN_{name.upper()}": sandbox.connection_json for name in CONNECTIONS}
        with (home / "migrate.log").open("w") as log:
            migrate(env, log)
        fill(postgres.address)
        yield env


@contextmanager
def api_server(env: dict[str, str], **settings: str) -> Iterator[Api]:
    """Airflow's API server with these settings of its database."""
    env = env | {f"AIRFLOW__DATABASE__{name.upper()}": value for name, value in settings.items()}
    log_file = Path(env["AIRFLOW_HOME"]) / "api-server.log"
    with log_file.open("w") as log, process_group([BIN / "airflow", "api-server"], env, log) as process:
        api = Api(int(env["AIRFLOW__API__PORT"]))
        try:
            api.wait("an API server", lambda: api.call("GET", OWN_PAGE), PATIENCE, process)
            yield api
        except (TimeoutError, RuntimeError) as error:
            raise AssertionError(f"{error}\n{log_file.read_text()[-4000:]}") from None


class Viewers:
    """Viewers in a process of their own, so that they do not slow down what the test measures.

    :param api: of the API server.
    """

    def __init__(self, api: Api, viewers: int = VIEWERS) -> None:
        host, port = api.base.removeprefix("http://").split(":")
        self.token = api._open("GET", "/auth/token", None, {})["access_token"]
        command = [sys.executable, Path(__file__).with_name("viewers.py"), host, port, self.token, str(viewers)]
        self._process = subprocess.Popen(
            [*command, *CONNECTIONS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def end(self) -> dict[str, Any]:
        """End them, and return how often each status came, and how often to the viewer with the fewest answers."""
        found: dict[str, Any] = json.loads(self._process.communicate(timeout=PATIENCE)[0])
        return found


class Reader:
    """A user of Airflow's own pages.

    :param api: of the API server.
    """

    def __init__(self, api: Api) -> None:
        self._client = HTTPConnection(*api.base.removeprefix("http://").split(":"), timeout=60)
        token = api._open("GET", "/auth/token", None, {})["access_token"]
        self._headers = {"Authorization": f"Bearer {token}"}

    def seconds(self) -> float:
        """Return the median time of several answers."""
        found = []
        for _ in range(LOOKS):
            begin = time.perf_counter()
            self._client.request("GET", OWN_PAGE, headers=self._headers)
            answer = self._client.getresponse()
            assert json.loads(answer.read())["total_entries"] == DAGS
            found.append(time.perf_counter() - begin)
            assert answer.status == 200
        return statistics.median(found)


def test_airflows_own_pages_stay_fast(servers, capsys):
    with api_server(servers) as api:
        reader, ratios, looked = Reader(api), [], []
        reader.seconds()
        for _ in range(ROUNDS):
            alone = reader.seconds()
            viewers = Viewers(api)
            # Until every viewer waits for an answer.
            time.sleep(3)
            beside = reader.seconds()
            looked.append(viewers.end())
            ratios.append(beside / alone)
    ratio = statistics.median(ratios)
    with capsys.disabled():
        print(
            f"\n  {json.dumps({'times': round(ratio, 2), 'of': [round(one, 2) for one in ratios], 'viewers': looked})}"
        )
    assert {status for one in looked for status in one["statuses"]} == {"200"}
    assert all(one["fewest"] >= 1 for one in looked)
    assert ratio <= MOST_TIMES_LONGER


def test_one_database_connection_is_enough(servers):
    """Whoever held it and asked for another one would wait for 30 s and get an error."""
    with api_server(servers, sql_alchemy_pool_size="1", sql_alchemy_max_overflow="0") as api:
        viewers = Viewers(api, 16)
        for path in ("treasury", "static/treasury/treasury.js", "static/treasury/icon.svg"):
            client = HTTPConnection(*api.base.removeprefix("http://").split(":"), timeout=60)
            client.request("GET", f"/whitebit/{path}", headers={"Authorization": f"Bearer {viewers.token}"})
            assert client.getresponse().status == 200
        time.sleep(5)
        found = viewers.end()
    assert set(found["statuses"]) == {"200"}
    assert found["fewest"] >= 1
