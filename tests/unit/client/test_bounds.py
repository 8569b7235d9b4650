"""No number, text or count from the exchange can freeze the process or fill its memory."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from decimal import Decimal
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client import models
from airflow_provider_whitebit.client.api import WhiteBitClient, unix_seconds
from airflow_provider_whitebit.client.models import FlexPlan, parse_amount, parse_time
from airflow_provider_whitebit.client.paging import PagedList, in_pages
from airflow_provider_whitebit.client.transport import NO_RETRIES, Transport

HUGE = "9" * 1_000_000
#: JSON values that are numbers, but none of a sane size.
NUMBERS = [
    '"1e1500000"',
    "1e999999999",
    '"1e-999999999"',
    '"-1e61"',
    "1e-41",
    HUGE,
    f'"{HUGE}"',
    f"1.{HUGE}",
    f"-{HUGE}",
]
#: Answers that are no JSON to Python.
NO_JSON = ["1e9999999999999999999999", "[" * 100_000, '{"a":' * 100_000, '"\ud800"', "NaN,"]


def transport_of(body: str, status: int = 200) -> Transport:
    answer = SimpleNamespace(status=status, headers={}, body=body.encode(errors="surrogatepass"))
    return Transport("http://test", retry=NO_RETRIES, wire=SimpleNamespace(send=lambda *_: answer, close=lambda: None))


def read(body: str, status: int = 200):
    return transport_of(body, status)._repeatable("/api/v4/public/assets")


@pytest.mark.parametrize("digits", [640, 0])
@pytest.mark.parametrize("number", NUMBERS, ids=e.shown)
def test_a_number_without_measure_names_its_field(number, digits):
    limit = sys.get_int_max_str_digits()
    # Python's own limit for integers can be switched off, by any other package.
    sys.set_int_max_str_digits(digits)
    try:
        answer = read(f'{{"id": "p", "ticker": "USDT", "maxRate": {number}}}')
        with pytest.raises(e.WhiteBitUnavailableError, match="FlexPlan whose field 'maxRate'"):
            FlexPlan.from_api(answer)
    finally:
        sys.set_int_max_str_digits(limit)


RECORDS = [kind for kind in vars(models).values() if isinstance(kind, type) and hasattr(kind, "from_api")]


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "value", [Decimal("1e1500000"), "1e1500000", 10**5000, "9" * 5000, "x" * 10**6, -(10**4000)], ids=e.shown
)
def test_no_field_of_any_record_takes_a_value_without_measure(kind, value):
    if kind is models.AnsweredRecord:
        return
    for field in models._fields_of(kind)[0]:
        try:
            found = field.convert(value)
        except (ValueError, e.WhiteBitError):
            continue
        assert found in (True, False) or len(str(found)) <= e.LONGEST_QUOTE, field


def test_all_records_are_checked():
    assert {models.FlexPlan, models.Asset, models.FixedInvestment, models.TradeBalance} <= set(RECORDS)
    assert all(fields(kind) for kind in RECORDS if kind is not models.AnsweredRecord)


@pytest.mark.parametrize("text", ["0", "0.0", "-0", "0e-999999999", "0e999999999", Decimal("0e-500")])
def test_zero_is_short(text):
    amount = parse_amount(text)
    assert not amount
    assert len(format(amount, "f")) < 200


@pytest.mark.parametrize("text", ["1e60", "-1e60", "1e-40", "-1e-40", "9" * 60, "0." + "0" * 39 + "1"])
def test_amounts_up_to_the_bounds(text):
    assert parse_amount(text) == Decimal(text)


@pytest.mark.parametrize(
    "text", ["1.1e60", "-1.1e60", "9e-41", "-9e-41", 10**60 + 1, "0" * 200, "sNaN", "NaN", "-Infinity"], ids=e.shown
)
def test_amounts_beyond_the_bounds(text):
    with pytest.raises(ValueError, match=r"10|digits|number"):
        parse_amount(text)


@pytest.mark.parametrize("time", [10**4000, -(10**4000), "1e50", "-1e50", Decimal("1e-30"), "1e-400"], ids=e.shown)
def test_times(time):
    try:
        assert parse_time(time).year == 1970
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize("precision", [37, -1, 10**9, "1e9", "0.5", Decimal("NaN")], ids=e.shown)
def test_a_precision(precision):
    asset = models.Asset.from_api("USDT", {"name": "Tether", "currency_precision": precision})
    assert asset.currency_precision is None


@pytest.mark.parametrize("text", NO_JSON, ids=range(len(NO_JSON)))
def test_a_body_that_is_no_json(text):
    with pytest.raises(e.WhiteBitUnavailableError, match="not JSON"):
        read(text)


@pytest.mark.parametrize(
    "time", [f'"{HUGE}"', HUGE, '"9999999999999999"', "1" + "0" * 30, "-1", "null", "true"], ids=e.shown
)
def test_a_time_of_the_server(time):
    with pytest.raises(e.WhiteBitUnavailableError, match="no time"):
        WhiteBitClient(transport_of(f'{{"time": {time}}}')).server_time()


EVIL = ["\n", "\r", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "\ud800"]


@pytest.mark.parametrize("evil", EVIL, ids=ascii)
@pytest.mark.parametrize("escaped", [True, False])
def test_texts_of_answers_have_no_control_characters(evil, escaped):
    body = json.dumps({"id": f"a{evil}b", "list": [f"{evil}"], f"k{evil}": {"x": evil}}, ensure_ascii=escaped)
    if not escaped and evil == "\ud800":
        pytest.skip("no text in UTF-8")
    answer = read(body)
    for text in (answer["id"], answer["list"][0], *answer):
        assert text.isprintable()
    assert answer["id"][0] + answer["id"][-1] == "ab"


def test_a_refusal_of_any_length_is_short_and_on_its_lines():
    text = "No.\u202e\nNo money moved.\r" * 300_000
    body = json.dumps({"code": 0, "message": text, "errors": {text: [text] * 3}})
    with pytest.raises(e.WhiteBitError) as caught:
        read(body, 422)
    assert len(str(caught.value)) < 3000
    assert len(repr(caught.value)) < 3000
    assert str(caught.value).count("\nNo money moved.") == 1
    assert all(line.isprintable() for line in str(caught.value).splitlines())


@pytest.mark.parametrize("name", ["limit", "offset"])
@pytest.mark.parametrize("value", [10**4000, 10**9 + 1, -1, True, "5"], ids=e.shown)
def test_limits_and_offsets(name, value):
    client = WhiteBitClient(transport_of("[]"))
    with pytest.raises(e.WhiteBitValidationError, match=name):
        client.flex_plans(**{name: value})


@pytest.mark.parametrize("value", [10**4000, -(10**12)], ids=e.shown)
def test_dates(value):
    with pytest.raises(e.WhiteBitValidationError, match="date_from"):
        unix_seconds("date_from", value)


class Endless:
    """A list that always has something new, in pages of this size."""

    def __init__(self, size: int) -> None:
        self.size, self.calls, self.number = size, 0, 0

    def read(self, path, params):
        self.calls += 1
        # The last record of the page before shows where the page belongs.
        page = list(range(max(0, self.number - 1), self.number + self.size))
        self.number += self.size
        return {"data": page}


@pytest.mark.parametrize("size", [30, 99, 5000])
def test_a_list_without_end(size):
    endless = Endless(size)
    listed = PagedList(endless.read, "/x", {}, lambda entry: entry, lambda record: record)
    with pytest.raises(e.WhiteBitError):
        for _ in in_pages(listed):
            pass
    assert endless.calls <= 10_100
    assert endless.number <= 200_000


@pytest.mark.parametrize(
    "raw", [10**5000, "x" * 10**6, [["a"] * 1000] * 1000, {"a": 10**5000}, [10**5000], Decimal("1e99999")], ids=range(6)
)
def test_a_value_in_an_error_is_short(raw):
    assert len(e.shown(raw)) <= 60


def test_a_value_that_contains_itself_many_times():
    bomb: list = ["x"]
    for _ in range(100):
        bomb = [bomb, bomb]
    assert len(e.shown(bomb)) <= 60
