"""Quirks: what each does, and that this package reads the same figures with all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import pytest

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import RetryPolicy, Transport
from airflow_provider_whitebit.hooks.statements import read_statement
from airflow_provider_whitebit.sandbox.quirks import EXCLUDING, QUIRKS, Quirks
from tests.sandbox_plans import SubAccounts

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
SOL = "9461c1e8-a3b5-46d7-82f3-7e8f90a1b2c3"
#: The quirks of Flex records.
RECORDS = [
    "two_records",
    "shared_ids",
    "signed_amounts",
    "rounded_amounts",
    "interest_in_withdrawals",
    "no_ids",
    "short_pages",
    "unknown_numbers",
    "oldest_first",
    "padded_amounts",
    "exclusive_dates",
]
INVEST = "smart-flex/investments/invest"
CLOSE = "smart-flex/investments/close"
HISTORY = "smart-flex/investments/history"
INVESTMENTS = "smart-flex/investments"
FIXED = "1b72e30a-c5d7-48f9-a4b5-90a1b2c3d4e5"
INACTIVE = "4ea5163d-f80a-4b2c-97e8-c3d4e5f60718"


class Wire:
    def __init__(self, exchange):
        self._exchange = exchange

    def send(self, method, path, headers, body):
        return self._exchange.handle(method, path, headers, body or b"")

    def close(self):
        pass


def client_of(bench):
    credentials = Credentials(bench.key, bench.secret)
    clock = ExchangeClock(bench.clock.now_ms)
    return WhiteBitClient(
        Transport(
            "http://exchange",
            credentials,
            clock=clock,
            retry=RetryPolicy(jitter=0),
            sleep=lambda seconds: bench.pass_time(seconds=seconds),
            wire=Wire(bench.exchange),
        )
    )


def eight_days(make_bench, *names: str):
    """1000 opened, 100 added, 50 taken out, and all of it closed in the middle of a day."""
    bench = make_bench(quirks=Quirks.named(names), rate_limits=False)
    bench.pass_time(hours=12)
    bench.invest(USDT, "1000")
    bench.pass_time(hours=30)
    bench.invest(USDT, "100")
    bench.pass_time(hours=30)
    bench.flex("investments/withdraw", plan=USDT, amount="50")
    bench.pass_time(hours=126)
    assert bench.flex("investments/close", plan=USDT)[0] == 201
    bench.pass_time(hours=30)
    return bench


def actions(bench, **filters) -> list[tuple[int, str]]:
    return [(record["actionType"], record["amount"]) for record in bench.history(**filters)[::-1]]


def test_names():
    assert Quirks.named(["no_ids", "short_pages"]) == Quirks(no_ids=True, short_pages=True)
    with pytest.raises(ValueError, match=r"no quirk 'two_record'; known are .*two_records, shared_ids"):
        Quirks.named(["two_record"])
    assert Quirks(no_ids=True, short_pages=True).names == ["no_ids", "short_pages"]
    assert Quirks(no_ids=True).switched({"no_ids": False, "numbers": True}) == Quirks(numbers=True)


@pytest.mark.parametrize("pair", EXCLUDING, ids="+".join)
def test_quirks_that_exclude_each_other(pair):
    with pytest.raises(ValueError, match=f"the quirks {pair[0]} and {pair[1]} exclude each other"):
        Quirks.named(pair)


def test_two_records(make_bench):
    found = [action for action, _ in actions(eight_days(make_bench, "two_records"), actionTypes=[1, 3, 5, 6])]
    assert found == [6, 1, 1, 3, 5, 3]


def test_shared_ids(make_bench):
    records = eight_days(make_bench, "two_records", "shared_ids").history()
    by_id: dict[str, list[int]] = {}
    for record in records:
        by_id.setdefault(record["transaction_id"], []).append(record["actionType"])
    assert sorted(map(sorted, (kinds for kinds in by_id.values() if len(kinds) > 1))) == [[1, 6], [3, 4, 5]]


def test_amounts(make_bench):
    signed = actions(eight_days(make_bench, "signed_amounts"), actionTypes=[1, 3, 5, 6])
    assert signed == [(6, "1000"), (1, "100"), (3, "-50"), (5, "-1050")]
    plain = eight_days(make_bench)
    [*_, (_, last)] = actions(plain, actionTypes=[4])
    with_interest = actions(eight_days(make_bench, "interest_in_withdrawals"), actionTypes=[5])
    assert with_interest == [(5, str(1050 + Decimal(last)))]


def test_amounts_and_rates_in_other_spellings(make_bench):
    bench = make_bench(quirks=Quirks(padded_amounts=True, percent_rates=True))
    plan = bench.flex("plans")[1][0]
    assert (plan["minInvestment"], plan["maxRate"]) == ("10.00", "15.00")
    bench.invest(USDT, "10.5")
    assert bench.history()[0]["amount"] == "10.500"
    assert bench.balance() == "9989.500"
    collateral = json.loads(bench.send_call("/api/v4/collateral-account/balance", {"ticker": "USDT"}).body)
    assert collateral == {"USDT": "0.00"}


def test_earnings_later_in_the_day(make_bench):
    bench = make_bench(quirks=Quirks(later_earnings=True))
    bench.invest(USDT, "1000")
    bench.pass_time(hours=2)
    assert len(bench.history()) == 1
    bench.pass_time(hours=49)
    times = [record["createdAt"] for record in bench.history(actionTypes=[4])]
    assert [second % 86_400 for second in times] == [3 * 3600] * 3


def test_exclusive_dates(make_bench):
    bench = make_bench(quirks=Quirks(exclusive_dates=True))
    bench.invest(USDT, "10")
    second = bench.clock.now // 1000
    assert bench.history(dateFrom=second, dateTo=second) == []
    assert len(bench.history(dateFrom=second, dateTo=second + 1)) == 1


def test_active_plans(make_bench):
    bench = make_bench(quirks=Quirks(active_plans=True))
    assert {plan["status"] for plan in bench.call("smart/plans")[1]} == {1}


def test_oldest_first(make_bench):
    bench, usual = eight_days(make_bench, "oldest_first"), eight_days(make_bench)
    for each in (bench, usual):
        each.invest(USDT, "10")
        for _ in range(2):
            each.call("smart/investment", planId=FIXED, amount="100")
        each.pass_time(hours=31 * 24)
    for call, name in ((HISTORY, "data"), (INVESTMENTS, "data"), ("smart/investments", "records")):
        found, other = (each.call(call, limit=100)[1][name] for each in (bench, usual))
        assert len(found) > 1
        assert found == other[::-1]
    paid = bench.call("smart/interest-payment-history")[1]["records"]
    assert paid == usual.call("smart/interest-payment-history")[1]["records"][::-1]


def test_no_ids_and_short_pages(make_bench):
    bench = eight_days(make_bench, "no_ids", "short_pages")
    assert not {"transaction_id", "investmentId"} & set(bench.history()[0])
    answer = bench.flex("investments/history", limit=100)[1]
    assert (answer["limit"], len(answer["data"])) == (25, len(bench.history()))


def raw(bench, call, **params):
    return bench.send_call(f"/api/v4/main-account/{call}", params).body.decode()


def listed(bench, call="smart-flex/plans", name="id"):
    return {entry[name]: entry for entry in bench.call(call)[1]}


def test_other_successes(make_bench):
    bench = make_bench(quirks=Quirks.named(["camel_case_ids", "empty_answers"]))
    named = bench.flex("investments/invest", plan=USDT, amount="10")[1]["data"]["transactionId"]
    assert [record["transactionId"] for record in bench.history()] == [named]
    assert bench.flex("investments/close", plan=USDT) == (201, {})
    assert bench.call("transfer", ticker="USDT", amount="1", **{"from": "main", "to": "spot"}) == (201, {})
    bench = make_bench(quirks=Quirks(investment_answers=True))
    for call, params, status in ((INVEST, {"amount": "20"}, 1), (CLOSE, {}, 0)):
        shown = bench.call(call, plan=USDT, **params)[1]["data"]
        assert shown == bench.call(INVESTMENTS)[1]["data"][0]
        assert (shown["planId"], shown["status"]) == (USDT, status)


def test_numbers_identifiers_and_booleans(make_bench):
    bench = make_bench(quirks=Quirks.named(["numbers", "numeric_ids", "text_booleans"]))
    assert 'transaction_id":' in (answer := raw(bench, INVEST, plan=USDT, amount="10.5"))
    assert '"' not in answer.partition('transaction_id":')[2]
    assert '"amount":10.5,' in raw(bench, HISTORY)
    shown = raw(bench, INVESTMENTS)
    assert '"invested":10.5,' in shown
    assert '"withAutoReinvest":"false"' in shown
    assert f'"planId":"{USDT}"' in shown
    investment = json.loads(shown)["data"][0]["id"]
    assert bench.flex("investments", investment=str(investment))[1]["data"][0]["id"] == investment
    assert raw(bench, "balance", ticker="USDT") == '{"main_balance":9989.5}'


def test_missing_rates_times_and_lists(make_bench):
    bench = make_bench(quirks=Quirks.named(["null_rates", "empty_times", "null_lists"]))
    first, second, *_ = bench.flex("plans")[1]
    assert first["maxRate"] is None
    assert "maxRate" not in second
    assert bench.flex("investments")[1] == {"data": None, "limit": 100, "offset": 0}
    assert bench.call("smart/investments")[1]["records"] is None
    bench.invest(USDT, "10")
    assert bench.flex("investments/auto-invest", plan=USDT, enabled=True)[1] == {"data": []}
    (shown,) = bench.flex("investments")[1]["data"]
    assert (shown["createdAt"], shown["updatedAt"]) == ("", None)
    assert bench.history()[0]["createdAt"] == bench.clock.now // 1000
    # Deposits and transfers are no investments.
    assert bench.call("history")[1]["records"][0]["createdAt"] == bench.clock.now // 1000
    objects = make_bench(quirks=Quirks(object_lists=True))
    assert objects.flex("investments/history")[1]["data"] == {}


def test_unknown_numbers(make_bench):
    bench = make_bench(quirks=Quirks(unknown_numbers=True))
    bench.invest(USDT, "1000")
    bench.call("smart/investment", planId=FIXED, amount="100")
    assert bench.flex("investments")[1]["data"][0]["status"] == 2
    assert bench.call("smart/investments")[1]["records"][0]["status"] == 3
    assert listed(bench, "smart/plans")[INACTIVE]["status"] == 5
    assert {record["status"] for record in bench.call("history")[1]["records"]} == {29}
    bench.pass_time(hours=24)
    assert {record["status"] for record in bench.call("history")[1]["records"]} == {3}
    assert bench.flex("investments")[1]["data"][0]["status"] == 1
    assert actions(bench)[-1] == (7, "0")


def test_refusals_with_the_status_of_a_success(make_bench):
    bench = make_bench(quirks=Quirks(ok_refusals=True))
    said = {"amount": ["Amount is less than min investment"]}
    assert bench.call(INVEST, plan=USDT, amount="1") == (
        201,
        {"response": None, "status": 422, "errors": said, "warning": "Inner validation failed"},
    )
    assert bench.call("balance", nonce=1)[0] == bench.call("balance", nonce=1)[0] == 200
    assert bench.call("balance", nonce=1)[1]["warning"] == "Too many requests."
    # The statuses of these two are unlike those of other transfers and lists.
    assert to_sub_account(bench, "99999").status == 200
    assert bench.call("history", limit=0)[0] == 201


def to_sub_account(bench, amount):
    params = {"id": SubAccounts.TRADING, "direction": "main_to_sub", "ticker": "USDT", "amount": amount}
    return bench.send_call("/api/v4/sub-account/transfer", params)


def test_a_gateway_answers_every_other_move(make_bench):
    bench = make_bench(quirks=Quirks(gateway_answers=True))
    seen = []
    for _ in range(20):
        before = len(bench.exchange.transactions())
        answer = bench.send_call(f"/api/v4/main-account/{INVEST}", {"plan": USDT, "amount": "10"})
        seen.append((answer.status, answer.body[:1], len(bench.exchange.transactions()) - before))
        bench.pass_time(seconds=1)
    assert seen[1::2] == [(201, b"{", 1)] * 10
    assert [(status, body) for status, body, _ in seen[0:10:2]] == [
        (403, b"{"),
        (403, b"<"),
        (413, b"{"),
        (502, b"{"),
        (502, b"<"),
    ]
    assert [executed for *_, executed in seen[0::2]] == [1, 0] * 5


def test_maintenance(make_bench):
    bench = make_bench(quirks=Quirks(maintenance=True))
    assert bench.send("/api/v4/public/time", b"", method="GET").status == 503
    bench.exchange.switch_quirks({"maintenance": False})
    assert bench.balance() == "10000"
    bench.exchange.reset()
    assert bench.send("/api/v4/public/time", b"", method="GET").status == 503


def test_a_delisted_asset(make_bench):
    bench = make_bench()
    bench.exchange.switch_quirks({"delisted_asset": True})
    assets = json.loads(bench.send("/api/v4/public/assets", b"", method="GET").body)
    assert "SOL" not in assets
    assert "SOL" not in listed(bench, name="ticker")
    (held,) = bench.flex("investments", ticker="SOL")[1]["data"]
    assert (held["invested"], held["status"]) == ("0.1", 1)
    assert bench.flex("investments/close", plan=held["planId"])[0] == 201
    bench.exchange.switch_quirks({"delisted_asset": False})
    assert "SOL" in listed(bench, name="ticker")


def test_nothing_lies_in_a_plan_that_takes_nothing(make_bench):
    bench = make_bench()
    bench.exchange.change("plan", SOL, status="paused")
    bench.exchange.switch_quirks({"delisted_asset": True})
    assert bench.flex("investments")[1]["data"] == []
    assert bench.balance("SOL") == "50"


def test_what_is_delisted_later_earns_nothing_for_the_time_before(make_bench):
    bench = make_bench()
    bench.invest(USDT, "10")
    bench.pass_time(hours=5)
    bench.exchange.switch_quirks({"delisted_asset": True})
    bench.balance()
    assert dict(bench.exchange.ledger.db.execute("SELECT ticker, accrued FROM investment"))["SOL"] == "0"


@pytest.mark.parametrize("name", ["paused_plans", "vanished_plans"])
def test_plans_that_hold_money(make_bench, name):
    bench = make_bench(quirks=Quirks.named([name]))
    bench.invest(USDT, "10")
    bench.call("smart/investment", planId=FIXED, amount="100")
    assert USDT not in listed(bench)
    shown = listed(bench, "smart/plans")
    assert (shown[FIXED]["status"] == 4) if name == "paused_plans" else FIXED not in shown
    refusal = {"paused_plans": "Plan is paused", "vanished_plans": "Plan is unavailable"}[name]
    status, answer = bench.call(INVEST, plan=USDT, amount="10")
    assert (status, answer["errors"]) == (422, {"plan": [refusal]})
    assert bench.call("smart/investment", planId=FIXED, amount="100")[0] == 400
    assert bench.call(CLOSE, plan=USDT)[0] == 201
    assert USDT in listed(bench)


def test_nodes(make_bench):
    bench = make_bench(quirks=Quirks.named(["skewed_nodes", "stale_replicas"]), rate_limits=False)
    times = {json.loads(bench.send("/api/v4/public/time", b"", method="GET").body)["time"] for _ in range(20)}
    assert len(times) == 2
    bench.pass_time(seconds=10)
    bench.invest(USDT, "10")
    to_sub_account(bench, "5")
    bench.pass_time(seconds=2)
    params = {"id": SubAccounts.TRADING, "ticker": "USDT"}
    shown = {bench.send_call("/api/v4/sub-account/balances", params).body for _ in range(20)}
    assert {json.loads(body)["USDT"][0]["main"] for body in shown} == {"0", "5"}
    assert {len(bench.history()) for _ in range(20)} == {0, 1}
    assert {bench.balance() for _ in range(20)} == {"10000", "9985"}
    bench.pass_time(seconds=5)
    assert {len(bench.history()) for _ in range(20)} == {1}
    assert {bench.balance() for _ in range(20)} == {"9985"}
    late = make_bench(quirks=Quirks(late_records=True))
    late.invest(USDT, "10")
    late.pass_time(seconds=2)
    assert late.history() == []
    late.pass_time(seconds=2)
    assert len(late.history()) == 1


def test_every_quirk_is_tested():
    named = {"nonces_422", *re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", Path(__file__).read_text())}
    assert QUIRKS.keys() - named == set()


def combined() -> Iterable[tuple[str, ...]]:
    yield from ((name,) for name in RECORDS)
    yield from combinations(RECORDS, 2)
    yield tuple(RECORDS)


@pytest.mark.parametrize("names", combined(), ids="+".join)
def test_statements_show_the_same_figures(make_bench, names):
    usual, odd = eight_days(make_bench), eight_days(make_bench, *names)
    shown = []
    for bench in (usual, odd):
        client = client_of(bench)
        now = client.server_time()
        shown.append(read_statement(client, start=now.subtract(days=10), end=now))
    expected, statement = shown
    expected_kinds = {"interest_in_withdrawals": "interest_in_close", "unknown_numbers": "unknown_action"}
    kinds = sorted(str(found.kind) for found in statement.discrepancies)
    assert kinds == [expected_kinds[name] for name in sorted(names) if name in expected_kinds]
    assert statement.tickers == expected.tickers


def test_a_long_history_in_short_pages(make_bench):
    bench = make_bench(quirks=Quirks(short_pages=True, shared_ids=True, no_ids=True), rate_limits=False)
    bench.invest(USDT, "1000")
    bench.pass_time(hours=24 * 130)
    client = client_of(bench)
    assert len(list(client.flex_history())) == len(bench.exchange.transactions()) > 130
    assert len(list(client.flex_payments(limit=60))) == 60
