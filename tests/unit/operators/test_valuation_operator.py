"""The valuation operator: what is read, what it returns and writes, and what it names."""

from __future__ import annotations

import csv
import json
import logging
from decimal import Decimal
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks import valuation as hooks
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.operators.valuation import WhiteBitValuationOperator
from tests.readings import ANSWERS, FIXED, FLEX, FakeTransport, answers_with, changed, client_of

PRICES = "/api/v4/public/ticker"
REFUSED = (AirflowFailException, e.WhiteBitValidationError)
#: What the account of ``readings.py`` holds.
AMOUNTS = {
    "BTC": {"main": "1000", "flex": "500", "fixed": "0"},
    "JUNK": {"main": "1000", "flex": "0", "fixed": "0"},
    "USDT": {"main": "1000", "flex": "500", "fixed": "100"},
}


def run(answers=ANSWERS, client=None, **arguments):
    task = WhiteBitValuationOperator(task_id="t", **{"value_in": "USDT", **arguments})
    task.__dict__["hook"] = SimpleNamespace(get_conn=lambda: client or client_of(answers))
    return task.execute({})


def test_exact_amounts_and_values_are_apart():
    found = run()
    assert found["amounts"] == AMOUNTS
    assert (found["value_in"], found["complete"], found["unreadable"], found["path"]) == ("USDT", False, [], None)
    assert found["total"] == "150001600"
    assert found["valuation"]["totals"] == {"main": "100001000", "flex": "50000500", "fixed": "100"}
    assert found["valuation"]["left_out"] == [
        {"ticker": "JUNK", "figure": "main", "amount": "1000", "reason": "no_price"}
    ]
    assert json.loads(json.dumps(found)) == found


def test_another_currency_and_some_assets():
    found = run(value_in=" eur", tickers="btc")
    assert found["amounts"] == {"BTC": AMOUNTS["BTC"]}
    assert (found["total"], found["complete"]) == ("120000000", True)
    price = found["valuation"]["assets"]["BTC"]["price"]
    assert [leg["market"] for leg in price["markets"]] == ["BTC_USDT", "USDT_EUR"]
    assert price["read_at"] == "2026-03-01T12:00:00Z"


def test_what_is_left_out_is_logged(caplog):
    answers = {**changed(f"{FLEX}/investments", "data.0.invested", "?"), f"{FIXED}/investments": {"records": []}}
    with caplog.at_level(logging.WARNING):
        found = run(answers)
    assert found["unreadable"] == [
        "FlexInvestment inv-1 of plan 8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f: field 'invested' is not a number"
    ]
    assert not found["complete"]
    assert "In no total: main of JUNK (no_price)" in caplog.text
    assert "In no total, because it cannot be read: FlexInvestment inv-1" in caplog.text
    # It is of USDT.
    assert run(answers, tickers="BTC")["complete"]


def test_a_balance_that_cannot_be_read_is_not_zero():
    found = run(changed("/api/v4/main-account/balance", "BTC.main_balance", "?"))
    assert found["amounts"]["BTC"]["main"] is None
    assert {"ticker": "BTC", "figure": "main", "amount": None, "reason": "unreadable_amount"} in found["valuation"][
        "left_out"
    ]
    assert found["valuation"]["totals"]["main"] == "1000"


def test_an_investment_with_an_unknown_status_counts():
    found = run(changed(f"{FIXED}/investments", "records.1.status", 9))
    assert found["amounts"]["USDT"]["fixed"] == "200"


@pytest.mark.parametrize("name", ["worth.json", "worth"])
def test_json_is_the_document(tmp_path, name):
    path = f"{tmp_path}/{name}"
    found = run(output_path=path, output_format=None if "." in name else "json")
    assert json.loads((tmp_path / name).read_text()) == {key: found[key] for key in found if key != "path"}
    assert found["path"] == path


ROW = {
    "read_at": "2026-03-01T12:00:00Z",
    "ticker": "BTC",
    "figure": "main",
    "amount": "1000",
    "value_in": "USDT",
    "price": "100000",
    "markets": "BTC_USDT",
    "value": "100000000",
    "note": "",
}


def test_csv_has_a_row_for_each_amount(tmp_path):
    run(output_path=tmp_path / "worth.csv")
    with (tmp_path / "worth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == ROW
    assert [(row["ticker"], row["figure"]) for row in rows] == [
        *(("BTC", "main"), ("BTC", "flex"), ("JUNK", "main")),
        *(("USDT", name) for name in ("main", "flex", "fixed")),
    ]
    assert (rows[2]["price"], rows[2]["value"], rows[2]["note"]) == ("", "", "no_price")


def test_a_table_names_what_cannot_be_read(tmp_path):
    """Its sums lack it, and nothing else of the file says so."""
    answers = {**changed(f"{FLEX}/investments", "data.0.invested", "?"), f"{FIXED}/investments": {"records": []}}
    found = run(answers, output_path=tmp_path / "worth.csv")
    with (tmp_path / "worth.csv").open(newline="") as file:
        *_, row = csv.DictReader(file)
    given = {name: text for name, text in row.items() if text}
    assert given == {**{name: ROW[name] for name in ("read_at", "value_in")}, "note": found["unreadable"][0]}


def test_parquet_and_jsonl(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    run(output_path=tmp_path / "worth.parquet", value_in="BTC")
    rows = parquet.read_table(tmp_path / "worth.parquet").to_pylist()
    assert (rows[-1]["ticker"], rows[-1]["amount"], rows[-1]["value"]) == ("USDT", Decimal(100), Decimal("0.001"))
    assert (rows[-1]["price"], rows[-1]["markets"]) == (Decimal("0.00001"), "1/BTC_USDT")
    assert rows[2]["value"] is None
    run(output_path=tmp_path / "worth.txt", output_format="jsonl")
    lines = (tmp_path / "worth.txt").read_text().splitlines()
    assert json.loads(lines[0]) == {**ROW, "note": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value_in": "US DT"}, "value_in is 'US DT': write it like USDT"),
        ({"value_in": ""}, "value_in is None: write it like USDT"),
        ({"value_in": "USDX"}, "value_in is USDX: the exchange has no market of it"),
        ({"tickers": "USDT;BTC"}, "ticker is 'USDT;BTC'"),
        ({"output_path": "worth.xlsx"}, "jsonl, csv, parquet"),
    ],
)
def test_wrong_parameters_are_named(arguments, message):
    with pytest.raises(REFUSED, match=message):
        run(**arguments)


class Moving(FakeTransport):
    """Money is on its way: each reading of some investments shows another amount, until they come to rest.

    :param path: of the list.
    :param times: how many readings differ.
    """

    def __init__(self, path, field, entries, times):
        super().__init__()
        self.path, self.field, self.entries, self.times = path, field, entries, times

    def _repeatable(self, path, params=None, **options):
        if path == self.path and self.times:
            self.times -= 1
            self.answers = changed(path, f"{self.entries}.0.{self.field}", str(7 + self.times))
        return super()._repeatable(path, params, **options)


@pytest.mark.parametrize(
    ("path", "field", "entries"),
    [(f"{FLEX}/investments", "invested", "data"), (f"{FIXED}/investments", "amount", "records")],
)
def test_the_account_is_read_again_if_investments_change(path, field, entries):
    find = Moving(path, field, entries, 3)
    found = run(client=hooks.WhiteBitClient(find))
    held = found["amounts"]["USDT"]
    assert (held["flex"] if field == "invested" else held["fixed"]) == "7"
    with pytest.raises(e.WhiteBitUnavailableError, match="changed each of the 3 times"):
        run(client=hooks.WhiteBitClient(Moving(path, field, entries, 100)))


def test_an_account_without_anything():
    found = run(
        {
            **answers_with("/api/v4/main-account/balance", {}),
            f"{FLEX}/investments": {"data": []},
            f"{FIXED}/investments": {"records": []},
        }
    )
    assert (found["amounts"], found["total"], found["complete"]) == ({}, "0", True)
