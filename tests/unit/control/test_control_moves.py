"""Receipts in Airflow's own tables: which there are, each once, and which task each belongs to."""

from __future__ import annotations

import csv
import io
import json
from argparse import ArgumentTypeError

import pendulum
import pytest
from sqlalchemy import update
from treasury_rows import PLAN

from airflow_provider_whitebit.control.commands.moves import read_currency, read_time
from airflow_provider_whitebit.control.connections import Patience
from airflow_provider_whitebit.control.moves import last_moves, moves_between
from tests.readings import client_of

RECEIPT = {
    "operation": "flex_invest",
    "transaction_id": "tx_1",
    "plan_id": PLAN,
    "ticker": "USDT",
    "amount": "100",
    "status": "executed",
    "executed_at": "2026-11-23T12:00:00Z",
    "attempts": 1,
    "reconciled": True,
    "intent_id": "int-1",
}


def test_a_receipt_and_its_task(tables):
    tables.event({**RECEIPT, "note": "not a receipt's"}, run="manual__a+b/c", number=2)
    (move,) = last_moves(tables.session, ["whitebit_default"], ["desk"])
    assert {name: move[name] for name in RECEIPT if name != "attempts"} == {
        name: value for name, value in RECEIPT.items() if name != "attempts"
    }
    assert "note" not in move
    assert move["task"]["page"] == "dags/desk/runs/manual__a%2Bb%2Fc/tasks/invest/mapped/2"
    assert move["announced_at"] == "2026-11-23T12:00:00Z"


@pytest.mark.parametrize("amount", [{"a": 1}, "a lot", "NaN", [], True, None])
def test_an_event_that_is_not_a_receipt_breaks_nothing(tables, amount):
    tables.event({"operation": ["x"], "amount": amount, "executed_at": 5, "plan_id": {}, "reconciled": "yes"})
    (move,) = last_moves(tables.session, ["whitebit_default"], ["desk"])
    assert (move["operation"], move["amount"], move["executed_at"], move["plan_id"]) == (None, None, None, None)
    assert move["reconciled"] is False


def test_newest_first_and_each_once(tables):
    tables.event(RECEIPT, minute=1)
    tables.event({**RECEIPT, "intent_id": "int-2"}, minute=2)
    # Cleared, and announced again.
    tables.event(RECEIPT, minute=3, run="manual__1")
    moves = last_moves(tables.session, ["whitebit_default"], ["desk"])
    assert [(move["intent_id"], move["announced_at"][14:16]) for move in moves] == [
        ("int-2", "02"),
        ("int-1", "01"),
    ]


def test_of_this_connection_and_of_dags_that_may_be_read(tables):
    tables.event(RECEIPT, conn="other")
    tables.event(RECEIPT, dag="secret")
    assert last_moves(tables.session, ["whitebit_default"], ["desk"]) == []
    assert last_moves(tables.session, ["whitebit_default"], []) == []


SINCE = pendulum.datetime(2026, 11, 23)


def moved(number, hour=12, **changes):
    """A receipt that was executed at an hour of the day."""
    at = f"2026-11-23T{hour:02}:00:00Z"
    return {**RECEIPT, "intent_id": f"int-{number}", "executed_at": at, **changes}


def found(tables, since=SINCE, until=None, **options):
    return [move["intent_id"] for move in moves_between(tables.session, since, until, **options)]


def test_of_all_connections_and_dags_newest_first(tables):
    tables.event(moved(1, hour=9))
    tables.event(moved(2, hour=11), conn="my desk/#1", dag="other", minute=1)
    tables.event(moved(3, hour=10), minute=2)
    assert found(tables) == ["int-2", "int-3", "int-1"]
    (move,) = moves_between(tables.session, SINCE, dag_id="other")
    assert (move["conn_id"], move["task"]["dag_id"]) == ("my desk/#1", "other")
    assert found(tables, conn_id="my desk/#1") == ["int-2"]
    assert found(tables, conn_id="desk") == found(tables, dag_id="desk", conn_id="my desk/#1") == []


@pytest.mark.parametrize(
    ("since", "until", "numbers"),
    [
        ("09:00", None, [3, 2, 1]),
        ("09:00:01", None, [3, 2]),
        ("00:00", "11:00", [2, 1]),
        ("10:00", "10:00", []),
        ("11:00:01", None, []),
    ],
)
def test_between_two_moments(tables, since, until, numbers):
    for number in (1, 2, 3):
        tables.event(moved(number, hour=8 + number), minute=number)
    moments = [None if text is None else pendulum.parse(f"2026-11-23T{text}") for text in (since, until)]
    assert found(tables, *moments) == [f"int-{number}" for number in numbers]


def test_a_move_is_in_one_of_two_periods_although_the_clocks_differ(tables):
    # Announced at 12:00 by Airflow's clock.
    tables.event(moved(1, executed_at="2026-11-23T12:00:03Z"))
    border = pendulum.datetime(2026, 11, 23, 12, 0, 2)
    assert (found(tables, SINCE, border), found(tables, border)) == ([], ["int-1"])


def test_an_old_receipt_that_is_announced_again_is_not_new(tables):
    tables.event(moved(1, hour=2))
    assert found(tables, SINCE.add(hours=3)) == []


def test_each_once_with_the_task_that_made_it(tables):
    tables.event(moved(1), minute=1)
    tables.event(moved(1), minute=3, run="manual__again")
    tables.event(moved(1), minute=2, conn="other")
    assert [(move["conn_id"], move["task"]["run_id"]) for move in moves_between(tables.session, SINCE)] == [
        ("whitebit_default", "manual__1"),
        ("other", "manual__1"),
    ]


def test_what_no_task_announced_is_no_receipt(tables):
    from airflow.models.asset import AssetEvent

    tables.event(moved(1))
    tables.session.execute(update(AssetEvent).values(source_dag_id=None, source_run_id=None, source_task_id=None))
    tables.asset("whitebit://%C3%28/moves")
    assert found(tables) == []


@pytest.mark.parametrize("executed_at", [None, 5, "never", "99999999-01-01", "12:00", [], "P1D"])
def test_a_receipt_without_a_time_counts_when_it_was_announced(tables, executed_at):
    tables.event(moved(1, executed_at=executed_at), minute=1)
    assert found(tables, pendulum.datetime(2026, 11, 23, 12)) == ["int-1"]
    assert found(tables, pendulum.datetime(2026, 11, 23, 12, 2)) == []


@pytest.mark.parametrize("conn_id", ["", "a\0b", "x" * 2000])
def test_an_impossible_connection(run, conn_id):
    status, _ = run("moves", "--since", "2026-11-23", "--conn-id", conn_id)
    assert "--conn-id: the connection's id" in status


def test_the_command_prints_objects_without_objects(run, tables):
    tables.event(moved(1, ticker="=cmd|x"), number=3)
    (move,) = json.loads(run("moves", "--since", "2026-11-23", "-o", "json")[1])
    assert list(move)[:4] == ["executed_at", "conn_id", "operation", "transaction_id"]
    assert (move["amount"], move["reconciled"], move["attempts"], move["map_index"]) == ("100", True, 1, 3)
    (row,) = csv.DictReader(io.StringIO(run("moves", "--since", "2026-11-23", "-o", "csv")[1]))
    assert list(row) == list(move)
    assert (row["amount"], row["reconciled"], row["ticker"], row["source"]) == ("100", "true", "'=cmd|x", "")
    table = run("moves", "--since", "2026-11-23", "-o", "plain")[1]
    assert PLAN in table
    assert "int-1" not in table
    assert json.loads(run("moves", "--since", "2026-11-23", "--until", "2026-11-23T12:00", "-o", "json")[1]) == []


def test_a_number_below_zero_is_no_formula(run, tables):
    tables.event(moved(1))
    (row,) = csv.DictReader(io.StringIO(run("moves", "--since", "2026-11-23", "-o", "csv")[1]))
    assert (row["map_index"], row["attempts"]) == ("-1", "1")


def test_without_moves_a_csv_file_has_its_header(run):
    (line,) = run("moves", "--since", "2026-11-23", "-o", "csv")[1].splitlines()
    assert line.startswith("executed_at,conn_id,operation")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-01", "2026-11-01T00:00:00Z"),
        ("2026-11-01T08:00", "2026-11-01T08:00:00Z"),
        ("2026-11-01T08:00:00+01:00", "2026-11-01T07:00:00Z"),
        ("2026-11-01 08:00:00Z", "2026-11-01T08:00:00Z"),
    ],
)
def test_times_of_the_command(text, at):
    assert read_time(text) == pendulum.parse(at)


@pytest.mark.parametrize("text", ["", "yesterday", "12:00", "P1D", "20261301", "2026", "2026-11-31", "2026-11-01/P1D"])
def test_what_is_no_time(text):
    with pytest.raises(ArgumentTypeError, match="write it like 2026-11-01"):
        read_time(text)


@pytest.fixture
def prices(monkeypatch):
    """Two connections, and the prices that both read. :returns: the hosts that were asked."""
    asked = []
    for name in ("DESK", "SECOND"):
        connection = {"conn_type": "whitebit", "login": "key", "password": "secret", "host": "http://127.0.0.1:1"}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))

    def client(self, settings):
        asked.append(settings.base_url)
        return client_of()

    monkeypatch.setattr(Patience, "client", client)
    return asked


def moves_of_a_desk(tables):
    tables.event(moved(1, ticker="USDT", amount="100.50"), conn="desk", minute=1)
    tables.event(moved(2, ticker="USDT", amount="0.00000001"), conn="desk", minute=2)
    tables.event(moved(3, ticker="BTC", amount="0.5", operation="flex_withdraw"), conn="second", minute=3)
    tables.event(moved(4, ticker="JUNK", amount="7"), conn="gone", minute=4)
    tables.event(moved(5, ticker="ETH", amount="many"), conn="desk", minute=5)


def test_totals_beside_exact_amounts(run, tables, prices):
    moves_of_a_desk(tables)
    status, text = run("moves", "--since", "2026-11-23", "-o", "json", "--value-in", "usdt")
    document = json.loads(text)
    assert (status, len(prices)) == (0, 1)
    assert document["moves"] == json.loads(run("moves", "--since", "2026-11-23", "-o", "json")[1])
    totals = document["totals"]
    assert totals["conn_id"] == "desk"
    assert totals["amounts"] == {
        "BTC": {"flex_withdraw": "0.5"},
        "ETH": {"flex_invest": None},
        "JUNK": {"flex_invest": "7"},
        "USDT": {"flex_invest": "100.50000001"},
    }
    assert totals["valuation"]["totals"] == {"flex_invest": "100.50000001", "flex_withdraw": "50000"}
    assert [(one["ticker"], one["reason"]) for one in totals["valuation"]["left_out"]] == [
        ("ETH", "unreadable_amount"),
        ("JUNK", "no_price"),
    ]


def test_totals_in_words(run, tables, prices):
    moves_of_a_desk(tables)
    _, text = run("moves", "--since", "2026-11-23", "-o", "plain", "--value-in", "USDT")
    rows = [" ".join(line.split()) for line in text.splitlines()]
    # Exact, not as a float.
    assert "flex_invest USDT 100.50000001 1 100.50000001" in rows
    assert any(" 0.00000001 USDT " in row for row in rows)
    assert "flex_withdraw BTC 0.5 100000 BTC_USDT 50000" in rows
    assert "flex_invest, all assets 100.50000001" in rows
    assert "In no total: ETH, JUNK" in rows
    assert rows[-1] == (
        "Amounts are exact. Values are estimates by the last prices of desk at 2026-03-01 12:00:00 UTC, not of the "
        "time of the moves."
    )


def test_a_csv_file_holds_the_moves_alone(run, tables, prices):
    moves_of_a_desk(tables)
    since = ("moves", "--since", "2026-11-23", "-o", "csv")
    assert run(*since, "--value-in", "USDT") == run(*since)


def test_the_connection_whose_prices_count(run, tables, prices, monkeypatch):
    moves_of_a_desk(tables)
    since = ("moves", "--since", "2026-11-23", "-o", "json", "--value-in", "EUR")
    document = json.loads(run(*since, "--conn-id", "second")[1])
    assert document["totals"]["conn_id"] == "second"
    assert document["totals"]["valuation"]["totals"] == {"flex_withdraw": "40000"}
    status, text = run(*since, "--conn-id", "gone")
    assert "There are no prices, because no connection could be read (gone)." in status
    assert text == ""
    assert "value_in is XYZ: the exchange has no market" in run(*since[:-1], "XYZ")[0]
    monkeypatch.delenv("AIRFLOW_CONN_DESK")
    assert json.loads(run(*since)[1])["totals"]["conn_id"] == "second"


def test_without_moves_nothing_is_asked(run, tables, prices):
    since = ("moves", "--since", "2026-11-23", "--value-in", "EUR")
    assert json.loads(run(*since, "-o", "json")[1]) == {"moves": [], "totals": None}
    assert "Values" not in run(*since, "-o", "plain")[1]
    assert prices == []


def test_what_is_no_currency():
    assert read_currency("eur") == "EUR"
    with pytest.raises(ArgumentTypeError, match="value_in is 'E R': write it like USDT"):
        read_currency("E R")
