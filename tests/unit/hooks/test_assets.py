"""Assets of moves: addresses, events, lineage."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from urllib.parse import urlsplit

import pendulum
import pytest
from airflow.sdk import Asset, AssetAlias
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_whitebit.hooks import airflow_compat, assets
from airflow_provider_whitebit.moves.intent import Move, Operation


def receipt(operation=Operation.FLEX_INVEST, ticker="USDT"):
    return Move(operation, "p", ticker, Decimal("1.5")).receipt(
        transaction_id="tx",
        amount=Decimal("1.5"),
        status="executed",
        executed_at=pendulum.datetime(2026, 1, 2),
        attempts=1,
        reconciled=False,
        intent_id="i",
    )


@pytest.mark.parametrize("uri", ["whitebit://main/moves", "whitebit://Desk_1.eu/flex/USDT", "whitebit://a/fixed/1INCH"])
def test_an_address(uri):
    assert (Asset(uri).name, Asset(uri).uri) == (uri, uri)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("whitebit://main/Moves", "whitebit://main/moves"),
        ("whitebit://Desk_1.eu/FLEX/usdt", "whitebit://Desk_1.eu/flex/USDT"),
        ("whitebit://main//fixed/btc", "whitebit://main/fixed/BTC"),
        ("whitebit://my desk/moves", "whitebit://my%20desk/moves"),
        ("whitebit://team%2ftreasury/Moves", "whitebit://team%2Ftreasury/moves"),
        ("whitebit://m%61in/moves", "whitebit://main/moves"),
        ("whitebit://=bWFpbg/moves", "whitebit://%3DbWFpbg/moves"),
    ],
)
def test_another_spelling_would_be_another_asset(written, meant):
    with pytest.raises(ValueError, match=f"write '{meant}'"):
        Asset(written)


@pytest.mark.parametrize(
    "wrong",
    [
        "whitebit://main/",
        "whitebit:///moves",
        "whitebit://main/moves/USDT",
        "whitebit://main/flex",
        "whitebit://main/flex/U$DT",
        "whitebit://main/savings/USDT",
        "whitebit://main/moves?a=1",
        "whitebit://team/treasury/moves",
        "whitebit://team#1/moves",
    ],
)
def test_another_address_is_refused(wrong):
    with pytest.raises(ValueError, match="write whitebit://<connection>/moves"):
        Asset(uri=wrong)


IDS = st.text(min_size=1).filter(lambda text: "\0" not in text)


@given(IDS)
@example("team/treasury#1")
@example("a b%2F")
@example("=bWFpbg")
@example("\U0001f600" * 250)
@example(".")
def test_every_id_of_a_connection_has_an_address(conn_id):
    uri = assets.create_asset(conn_id=conn_id, path="transfers/" + 20 * "X").uri
    asset = Asset(uri)
    assert (asset.name, asset.uri, uri.isascii()) == (uri, uri, True)
    assert assets.decode_conn_id(urlsplit(uri).netloc) == conn_id


@given(IDS, IDS)
def test_two_ids_have_two_addresses(one, two):
    assert (assets.address(one) == assets.address(two)) == (one == two)


@given(st.text(st.characters(max_codepoint=126)))
def test_an_address_has_one_spelling(written):
    try:
        conn_id = assets.decode_conn_id(written)
    except ValueError:
        return
    assert assets.encode_conn_id(conn_id) == written


@pytest.mark.parametrize("conn_id", ["", None, "a\0", "\udcff", "x" * 1001, "\u044f" * 501])
def test_an_id_that_nothing_can_keep(conn_id):
    with pytest.raises(ValueError, match="the connection's id"):
        assets.address(conn_id)


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        (Operation.FLEX_INVEST, "flex/USDT"),
        (Operation.FLEX_CLOSE, "flex/USDT"),
        (Operation.FIXED_CLOSE, "fixed/USDT"),
        (Operation.TRANSFER, "transfers/USDT"),
        (Operation.SUB_ACCOUNT_TRANSFER, "transfers/USDT"),
    ],
)
def test_where_a_receipt_belongs(operation, path):
    assert assets.path_of(receipt(operation)) == path


HOOK = SimpleNamespace(whitebit_conn_id="desk")


@pytest.fixture
def lineage(monkeypatch):
    """What lineage collectors receive."""
    seen = []
    collector = SimpleNamespace(add_output_asset=lambda **given: seen.append(given))
    monkeypatch.setattr(airflow_compat, "lineage_collector", lambda: collector)
    return seen


class OutletEvents:
    """Collects the alias, the address and the extra of each event."""

    def __init__(self):
        self.added = []

    def __getitem__(self, alias):
        assert isinstance(alias, AssetAlias)
        return SimpleNamespace(add=lambda asset, extra: self.added.append((alias.name, asset.uri, extra)))


def test_a_receipt_is_announced_to_all_moves_and_to_those_of_its_asset(lineage):
    task, events = SimpleNamespace(outlets=[]), OutletEvents()
    context = {"ti": SimpleNamespace(task=task), "outlet_events": events}
    assets.announce(context, HOOK, receipt())
    assert task.outlets == [AssetAlias("whitebit_moves")]
    assert [(alias, uri) for alias, uri, _ in events.added] == [
        ("whitebit_moves", "whitebit://desk/moves"),
        ("whitebit_moves", "whitebit://desk/flex/USDT"),
    ]
    assert all(extra == receipt().to_json() for _, _, extra in events.added)
    assets.announce(context, HOOK, receipt())
    assert len(task.outlets) == 1


def test_lineage_also_outside_a_task(lineage):
    assets.announce(None, HOOK, receipt())
    assert lineage == [
        {"context": HOOK, "scheme": "whitebit", "asset_kwargs": {"conn_id": "desk", "path": "flex/USDT"}}
    ]


def test_a_failing_event_is_logged_and_lineage_is_reported_all_the_same(lineage, caplog):
    assets.announce({"ti": None}, HOOK, receipt())
    assert "assets or lineage do not show it" in caplog.text
    assert len(lineage) == 1


def test_failing_lineage_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(airflow_compat, "lineage_collector", lambda: None)
    assets.announce(None, HOOK, receipt())
    assert "assets or lineage do not show it" in caplog.text


def test_openlineage():
    found = assets.convert_to_openlineage(assets.create_asset(conn_id="desk", path="flex/USDT"), None)
    assert (found.namespace, found.name) == ("whitebit://desk", "flex/USDT")


def test_events_are_found_of_an_asset_that_no_dag_has_declared(monkeypatch):
    """Asked by its address alone, Airflow shows only events of declared assets."""
    from airflow.sdk.execution_time import task_runner

    asked = []

    def send(question):
        asked.append(question)
        return SimpleNamespace(asset_events=["event"])

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=send), raising=False)
    uri = assets.address("desk")
    assert airflow_compat.asset_events(uri, pendulum.datetime(2026, 1, 1)) == ["event"]
    assert asked[0].name == asked[0].uri == uri == assets.create_asset(conn_id="desk", path="moves").name
