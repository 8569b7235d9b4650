"""Addresses of assets, and what lineage sees of moves."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pendulum
import pytest
from airflow.sdk import Asset, AssetAlias

from airflow_provider_whitebit.hooks import assets
from airflow_provider_whitebit.moves.intent import Move, Operation, Receipt


def receipt(operation=Operation.FLEX_INVEST, ticker="USDT"):
    return Receipt.of(
        Move(operation, "p", ticker, Decimal("1.5")),
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
    ],
)
def test_another_address_is_refused(wrong):
    with pytest.raises(ValueError, match="write whitebit://<connection>/moves"):
        Asset(uri=wrong)


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        (Operation.FLEX_INVEST, "flex/USDT"),
        (Operation.FLEX_CLOSE, "flex/USDT"),
        (Operation.FIXED_CLOSE, "fixed/USDT"),
        (Operation.TRANSFER, "transfers/USDT"),
    ],
)
def test_where_a_receipt_belongs(operation, path):
    assert assets.path_of(receipt(operation)) == path


def test_a_receipt_is_announced_to_all_moves_and_to_those_of_its_asset():
    told = []

    class Accessor:
        def __init__(self, alias):
            self.alias = alias

        def add(self, asset, extra):
            told.append((self.alias.name, asset.uri, extra))

    class Events:
        def __getitem__(self, alias):
            assert isinstance(alias, AssetAlias)
            return Accessor(alias)

    task = SimpleNamespace(outlets=[])
    context = {"ti": SimpleNamespace(task=task), "outlet_events": Events()}
    assets.announce(context, "desk", receipt())
    assert task.outlets == [AssetAlias("whitebit_moves")]
    assert [(alias, uri) for alias, uri, _ in told] == [
        ("whitebit_moves", "whitebit://desk/moves"),
        ("whitebit_moves", "whitebit://desk/flex/USDT"),
    ]
    assert all(extra == receipt().to_json() for _, _, extra in told)
    assets.announce(context, "desk", receipt())
    assert len(task.outlets) == 1


def test_openlineage():
    found = assets.convert_to_openlineage(assets.create_asset(conn_id="desk", path="flex/USDT"), None)
    assert (found.namespace, found.name) == ("whitebit://desk", "flex/USDT")
