"""Which connections there are, and which one has the API key that sent a move."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from airflow.models.asset import AssetModel
from airflow.models.connection import Connection
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError
from airflow_provider_whitebit.control.journals import release
from airflow_provider_whitebit.hooks.assets import SCHEME, conn_id_of
from airflow_provider_whitebit.hooks.connection_form import CONNECTION_TYPE
from airflow_provider_whitebit.hooks.settings import Settings, settings_of
from airflow_provider_whitebit.hooks.transports import make_transport
from airflow_provider_whitebit.moves.intent import Intent


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a person waits for the exchange. By default as long as a task would.

    :param timeout: longest time for one call, in seconds.
    :param retries: how often a call is repeated.
    :param all_calls: longest time for all calls together, in seconds.
    """

    timeout: int | None = None
    retries: int | None = None
    all_calls: int | None = None

    def client(self, settings: Settings) -> WhiteBitClient:
        """Return a client that can only read.

        :param settings: of the connection.
        """
        transport = make_transport(settings, timeout=self.timeout, retries=self.retries, all_calls=self.all_calls)
        return WhiteBitClient(transport)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """The API key that sent a move.

    :param conn_id: a connection that has it.
    :param settings: of that connection.
    :param margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :param conn_ids: all connections of this account: with the key, or with one that replaces it.
    :param accounts: the fingerprints of their keys.
    """

    conn_id: str
    settings: Settings
    margin_ms: int
    conn_ids: tuple[str, ...]
    accounts: tuple[str, ...]


def known_connections(session: Session) -> set[str]:
    """Return the connections of this type, as far as Airflow can list them.

    Airflow cannot list connections of secrets backends and environment variables. Those that have moved money have an
    asset.

    :param session: of Airflow's database.
    """
    stored = session.scalars(select(Connection.conn_id).where(Connection.conn_type == CONNECTION_TYPE))
    assets = session.scalars(select(AssetModel.uri).where(AssetModel.uri.like(f"{SCHEME}://%/moves")))
    return {*stored, *filter(None, map(conn_id_of, assets))}


def find_key(session: Session, intent: Intent, conn_id: str, may_read: Callable[[str], bool]) -> KnownKey:
    """Find the connection that has the API key that sent a move.

    :param session: of Airflow's database. It holds no database connection while connections are read.
    :param intent: the move.
    :param conn_id: the connection that its task names; empty if it is not known.
    :param may_read: whether the user may read a connection.
    :raises WhiteBitConfigurationError: no connection has this key, or the user may read none that has it.
    """
    names = [*dict.fromkeys([intent.connection, conn_id]), *sorted(known_connections(session))]
    teams = _teams_of(session, names)
    release(session)
    found = {
        name: settings for name in dict.fromkeys(names) if name and (settings := find_settings(name, teams.get(name)))
    }
    # The previous connection of a known one may be in a secrets backend.
    for before in {settings.previous_conn_id for settings in found.values()} - {"", *found}:
        if settings := find_settings(before):
            found[before] = settings
    having = [name for name, settings in found.items() if settings.account == intent.account]
    if not having:
        raise WhiteBitConfigurationError(
            "No connection has the API key that sent this move"
            f"{f' (its task named the connection {intent.connection!r})' if intent.connection else ''}. "
            "Only that key can find out whether it ran. Nothing was changed.",
            money_moved=None,
            next_step="Create a connection with the old key, or give the connection the old key back. If another key "
            "has replaced it, name the connection with the old key in previous_conn_id. Then try again.",
        )
    readable = [name for name in having if may_read(name)]
    if not readable:
        # Its task names a connection. The user may not know of others.
        named = next((name for name in having if name in (intent.connection, conn_id)), None)
        which = "the connection that" if named is None else f"the connection {named!r}, which"
        raise WhiteBitConfigurationError(
            f"You are not allowed to read {which} has the API key that sent this move. Nothing was changed.",
            money_moved=None,
            next_step="Ask a user who may read this connection.",
        )
    same = [name for name, one in found.items() if _shares_account(name, one, having, found)]
    margins = [found[name].reconcile_margin_ms for name in {*having, intent.connection} if name in found]
    conn_ids = tuple(sorted({*having, *same}))
    accounts = tuple(sorted({found[name].account for name in conn_ids}))
    return KnownKey(readable[0], found[readable[0]], max(margins), conn_ids, accounts)


def _shares_account(name: str, settings: Settings, having: list[str], found: dict[str, Settings]) -> bool:
    """Whether one key replaces the other: such keys are of one account."""
    return settings.previous_conn_id in having or any(found[one].previous_conn_id == name for one in having)


def _teams_of(session: Session, conn_ids: list[str]) -> dict[str, str | None]:
    """The teams that own connections in Airflow's database. Since Airflow 3.2 only those who name it find them."""
    of_many: Any = getattr(Connection, "get_conn_id_to_team_name_mapping", None)
    return {} if of_many is None else dict(of_many(conn_ids, session=session))


def find_settings(conn_id: str, team_name: str | None = None) -> Settings | None:
    """Return the settings of a connection; ``None`` if it cannot be read, or is wrong.

    :param conn_id: the connection.
    :param team_name: the team that owns it, in Airflow's multi-team mode.
    """
    team = {} if team_name is None else {"team_name": team_name}
    # A connection that cannot be read must not hide the one that has the key. Secrets backends may raise anything.
    with suppress(Exception):
        return settings_of(conn_id, Connection.get_connection_from_secrets(conn_id, **team))
    return None
