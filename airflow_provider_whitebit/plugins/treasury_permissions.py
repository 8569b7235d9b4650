"""What one user of the Treasury page may read and do. Airflow's auth manager decides.

An auth manager may need a database connection for its answer. So a request first reads what it has to ask about, with
one query for many names, then gives its own connection back, and only then asks. If requests held one connection and
waited for a second one, the whole API server would stall as soon as the pool is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
from airflow.api_fastapi.auth.managers.models.resource_details import (
    ConnectionDetails,
    DagAccessEntity,
    DagDetails,
    VariableDetails,
)
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.models.variable import Variable
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_whitebit.control.journals import release


class Permissions:
    """What a user may read and do.

    :param user: who is logged in.
    :param session: of Airflow's database. It holds no connection while the auth manager is asked.
    """

    def __init__(self, user: Any, session: Session) -> None:
        self._user, self._session = user, session
        self._manager: Any = get_auth_manager()

    def connections(self, conn_ids: Collection[str]) -> set[str]:
        """Return those of the connections that the user may read."""
        teams = self._teams(Connection, "get_conn_id_to_team_name_mapping", conn_ids)

        def one(conn_id: str, team: dict[str, Any]) -> bool:
            details = ConnectionDetails(conn_id=conn_id, **team)
            return bool(self._manager.is_authorized_connection(method="GET", details=details, user=self._user))

        return self._filtered("connections", "conn_ids", conn_ids, teams, one)

    def teams_of(self, conn_ids: Collection[str]) -> dict[str, str | None]:
        """Return the team that owns each connection. Since Airflow 3.2 only those who name it find the connection."""
        of_many = "get_conn_id_to_team_name_mapping"
        if not hasattr(Connection, of_many):
            return dict.fromkeys(conn_ids)
        team = self._teams(Connection, of_many, conn_ids)
        return {conn_id: team(conn_id)["team_name"] for conn_id in conn_ids}

    def dag_ids(self) -> set[str]:
        """Return the DAGs that the user may read."""
        release(self._session)
        own = getattr(type(self._manager), "get_authorized_dag_ids", None)
        if own is not BaseAuthManager.get_authorized_dag_ids:
            return set(self._manager.get_authorized_dag_ids(method="GET", user=self._user))
        # Airflow's own implementation would hold a connection while it asks about each DAG.
        known = set(self._session.scalars(select(DagModel.dag_id)))
        return self._filtered("dag_ids", "dag_ids", known, self._dag_teams(known), self._may_read_dag)

    def tasks(self, dag_ids: Collection[str]) -> set[str]:
        """Return those of the DAGs whose task instances the user may read."""
        return self._tasks(dag_ids, "GET")

    def editable_tasks(self, dag_ids: Collection[str]) -> set[str]:
        """Return those of the DAGs whose task instances the user may edit."""
        return self._tasks(dag_ids, "PUT")

    def _tasks(self, dag_ids: Collection[str], method: str) -> set[str]:
        teams, about = self._dag_teams(dag_ids), {"method": method, "access_entity": DagAccessEntity.TASK_INSTANCE}
        return {dag_id for dag_id in dag_ids if self._may_use_dag(dag_id, teams(dag_id), **about)}

    def variables(self, keys: Collection[str]) -> set[str]:
        """Return those of the Variables that the user may read."""
        teams = self._teams(Variable, "get_key_to_team_name_mapping", keys)

        def one(key: str, team: dict[str, Any]) -> bool:
            details = VariableDetails(key=key, **team)
            return bool(self._manager.is_authorized_variable(method="GET", details=details, user=self._user))

        return self._filtered("variables", "variable_keys", keys, teams, one)

    def may_edit_variable(self, key: str) -> bool:
        """Return whether the user may edit a Variable, also one that does not exist."""
        team = self._teams(Variable, "get_key_to_team_name_mapping", {key})
        details = VariableDetails(key=key, **team(key))
        return bool(self._manager.is_authorized_variable(method="PUT", details=details, user=self._user))

    def assets(self) -> bool:
        """Return whether the user may read Airflow's assets."""
        release(self._session)
        return bool(self._manager.is_authorized_asset(method="GET", user=self._user))

    def _may_read_dag(self, dag_id: str, team: dict[str, Any], **about: Any) -> bool:
        return self._may_use_dag(dag_id, team, method="GET", **about)

    def _may_use_dag(self, dag_id: str, team: dict[str, Any], **about: Any) -> bool:
        details = DagDetails(id=dag_id, **team)
        return bool(self._manager.is_authorized_dag(details=details, user=self._user, **about))

    def _dag_teams(self, dag_ids: Collection[str]) -> Callable[[str], dict[str, Any]]:
        return self._teams(DagModel, "get_dag_id_to_team_name_mapping", dag_ids)

    def _teams(self, model: Any, of_many: str, names: Collection[str]) -> Callable[[str], dict[str, Any]]:
        """Return the team that owns an object, as a keyword argument. Gives the database connection back.

        :param of_many: the model's method that answers for many names with one query. Airflow 3.2 and later.
        """
        if hasattr(model, of_many):
            teams = dict(getattr(model, of_many)(list(names), session=self._session))
        elif hasattr(model, "get_team_name") and _has_teams(self._session):
            teams = {name: model.get_team_name(name, session=self._session) for name in names}
        else:
            teams = {}
        release(self._session)
        return lambda name: {"team_name": teams.get(name)}

    def _filtered(
        self,
        kind: str,
        parameter: str,
        names: Iterable[str],
        team: Callable[[str], dict[str, Any]],
        one: Callable[[str, dict[str, Any]], bool],
    ) -> set[str]:
        """Ask about many names at once where the auth manager can, by team; else about each.

        :param kind: ends the name of the auth manager's method. Airflow 3.2 and later; before, it knows no teams.
        :param one: asks about one name.
        """
        if not hasattr(self._manager, "filter_authorized_connections"):
            return {name for name in names if one(name, team(name))}
        groups: dict[str | None, set[str]] = {}
        for name in names:
            groups.setdefault(team(name)["team_name"], set()).add(name)
        ask = getattr(self._manager, f"filter_authorized_{kind}")
        return {
            name
            for team_name, group in groups.items()
            for name in ask(**{parameter: group}, user=self._user, method="GET", team_name=team_name)
        }


def _has_teams(session: Session) -> bool:
    from airflow.models.team import Team

    return session.scalar(select(Team.name).limit(1)) is not None
