"""Rows of Airflow's tables, and moves in doubt, for the tests in this folder."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zlib import crc32

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from airflow_provider_whitebit.hooks.assets import address
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation

ACCOUNT = "0123456789abcdef"
PLAN = "9461c1e8-a3b5-46d7-82f3-7e8f90a1b2c3"


def history(*intents):
    """The document of a journal with these intents."""
    return MoveHistory({one.id: one for one in intents}).to_json()


def intent(name="int-1", *, account=ACCOUNT, sent=1_763_900_000_000, operation=Operation.FLEX_INVEST):
    """A move with one attempt whose outcome is not known."""
    move = Move(operation, PLAN, "USDT", Decimal("100.50"))
    return Intent(
        name, account, {}, "1", move, sent // 1000 - 1, attempts=(Attempt(nonce=sent, earliest=sent // 1000),)
    )


def journal_name(move="flex_invest", dag="desk", run="manual__1", task="invest"):
    """What begins the names of the Variables of a journal."""
    return f"whitebit_move__{dag}.{task}.{move}__{crc32(run.encode()):032x}__"


class Tables:
    """Rows of Airflow's tables.

    :param session: of the database.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    def task(self, state="failed", dag="desk", run="manual__1", task="invest", number=-1):
        from airflow.models.taskinstance import TaskInstance

        self._insert(
            TaskInstance,
            dag_id=dag,
            run_id=run,
            task_id=task,
            map_index=number,
            state=state,
            pool="default_pool",
        )

    def event(self, receipt, conn="whitebit_default", dag="desk", run="manual__1", task="invest", number=-1, minute=0):
        from airflow.models.asset import AssetEvent, AssetModel

        uri = address(conn)
        found = self.session.scalar(select(AssetModel.id).where(AssetModel.uri == uri))
        if found is None:
            self.asset(uri)
            found = self.session.scalar(select(AssetModel.id).where(AssetModel.uri == uri))
        self._insert(
            AssetEvent,
            asset_id=found,
            extra=receipt,
            source_dag_id=dag,
            source_run_id=run,
            source_task_id=task,
            source_map_index=number,
            timestamp=datetime(2026, 11, 23, 12, minute, tzinfo=UTC),
        )

    def asset(self, uri):
        from airflow.models.asset import AssetModel

        self._insert(AssetModel, name=uri, uri=uri, group="asset", extra={})

    def variable(self, key, text, description):
        from airflow.models.variable import Variable

        self.session.add(Variable(key=key, val=text, description=description))
        self.session.flush()

    def journal(self, text, name="flex_invest__1", dag="desk", run="manual__1", task="invest", number=-1):
        """A document in the journal of a task's move, or a sign.

        :param name: of the move, two underscores, and the number of the try.
        """
        move, _, writer = name.rpartition("__")
        of = f"{dag}|{run}|{task}|{number}|{move}"
        key = f"{journal_name(move, dag, run, task)}{writer}"
        self.variable(key, text, f"{'Move' if writer.isdecimal() else 'Sign'} of {of}")

    def rewrite_variables(self, text):
        from airflow.models.variable import Variable

        for variable in self.session.scalars(select(Variable)):
            variable.val = text
        self.session.flush()

    def connection(self, name, kind="whitebit", **team):
        from airflow.models.connection import Connection

        self._insert(Connection, conn_id=name, conn_type=kind, **team)

    def many_connections(self, names):
        from airflow.models.connection import Connection

        rows = [{"conn_id": name, "conn_type": "whitebit"} for name in names]
        self.session.execute(insert(Connection.__table__), rows)

    def dag(self, name):
        """A DAG in a bundle of its own."""
        from airflow.models.dag import DagModel
        from airflow.models.dagbundle import DagBundleModel

        self._insert(DagBundleModel, name=name)
        about = {"fileloc": f"{name}.py", "relative_fileloc": f"{name}.py", "is_stale": False}
        self.session.add(DagModel(dag_id=name, bundle_name=name, **about))
        self.session.flush()

    def owned(self, dag, team):
        """Give a DAG's bundle to a team. Airflow 3.2 and later."""
        from airflow.models.team import Team, dag_bundle_team_association_table

        self._insert(Team, name=team)
        self.session.execute(insert(dag_bundle_team_association_table).values(dag_bundle_name=dag, team_name=team))

    def _insert(self, model, **values):
        if "map_index" in values and "map_index" not in model.__table__.columns:
            # Its name in Airflow 3.4.
            values["region_index"] = values.pop("map_index")
        self.session.execute(insert(model.__table__).values(**values))
        self.session.flush()
