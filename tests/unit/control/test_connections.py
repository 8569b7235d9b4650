"""Which connection has the API key that sent a move."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from airflow.models.connection import Connection
from treasury_rows import intent

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError
from airflow_provider_whitebit.control.connections import find_key, known_connections


def fingerprint(key):
    return sha256(key.encode()).hexdigest()[:16]


@pytest.fixture
def connect(monkeypatch):
    """Connections as a secrets backend has them: Airflow cannot list them."""

    def connect(name, key, **extra):
        document = {"conn_type": "whitebit", "login": key, "password": "secret", "extra": json.dumps(extra)}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(document))

    return connect


def sent_with(key, connection="desk"):
    return replace(intent(), account=fingerprint(key), connection=connection)


def find(tables, sent, conn_id="", may_read=lambda name: True):
    return find_key(tables.session, sent, conn_id, may_read)


def test_the_connection_that_the_intent_names(tables, connect):
    connect("desk", "key-1", reconcile_margin=30)
    found = find(tables, sent_with("key-1"))
    assert (found.conn_id, found.settings.account, found.margin_ms) == ("desk", fingerprint("key-1"), 30_000)
    assert (found.conn_ids, found.accounts) == (("desk",), (fingerprint("key-1"),))


def test_the_previous_key_and_the_longer_margin(tables, connect):
    connect("desk", "key-2", previous_conn_id="before", reconcile_margin=60)
    connect("before", "key-1")
    found = find(tables, sent_with("key-1"))
    assert (found.conn_id, found.margin_ms, found.conn_ids) == ("before", 60_000, ("before", "desk"))


def test_any_connection_that_airflow_knows(tables, connect):
    connect("desk", "key-2")
    connect("other", "key-1")
    tables.asset("whitebit://other/moves")
    tables.connection("unreadable")
    assert known_connections(tables.session) == {"other", "unreadable"}
    assert find(tables, sent_with("key-1")).conn_id == "other"


def test_the_connection_that_the_task_reported(tables, connect):
    connect("reported", "key-1")
    assert find(tables, sent_with("key-1", ""), "reported").conn_id == "reported"


def test_a_connection_of_a_team(tables, connect, monkeypatch):
    if not hasattr(Connection, "get_conn_id_to_team_name_mapping"):
        pytest.skip("Airflow knows teams of connections from 3.2 on")
    connect("desk", "key-1")
    of_all = Connection.get_connection_from_secrets

    def of_team(conn_id, team_name=None):
        if team_name != "red":
            raise LookupError(conn_id)
        return of_all(conn_id)

    monkeypatch.setattr(Connection, "get_connection_from_secrets", of_team)
    tables.connection("desk", team_name="red")
    assert find(tables, sent_with("key-1")).conn_id == "desk"


def test_no_connection(tables, connect):
    connect("desk", "key-2")
    with pytest.raises(WhiteBitConfigurationError, match="No connection has the API key that sent this move") as none:
        find(tables, sent_with("key-1"))
    assert "previous_conn_id" in str(none.value)
    assert "key-2" not in str(none.value)


def test_only_connections_that_the_user_may_read(tables, connect):
    connect("desk", "key-1")
    connect("open", "key-1")
    tables.asset("whitebit://open/moves")
    assert find(tables, sent_with("key-1"), may_read=lambda name: name == "open").conn_id == "open"
    with pytest.raises(WhiteBitConfigurationError, match="not allowed to read the connection 'desk'"):
        find(tables, sent_with("key-1"), may_read=lambda name: False)


def test_a_connection_that_the_task_does_not_name_is_not_told(tables, connect):
    connect("desk", "key-2")
    connect("open", "key-1")
    tables.asset("whitebit://open/moves")
    with pytest.raises(WhiteBitConfigurationError, match="not allowed to read the connection that has") as refused:
        find(tables, sent_with("key-1"), may_read=lambda name: False)
    assert "open" not in str(refused.value)
