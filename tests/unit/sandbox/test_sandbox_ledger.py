"""The ledger: it balances whatever is called, and survives a restart of the sandbox."""

from __future__ import annotations

import json
import sqlite3
import threading
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_whitebit.sandbox import Exchange, SandboxClock, cli
from airflow_provider_whitebit.sandbox.ledger import OUTSIDE, Ledger, LedgerError
from tests.sandbox_plans import Fixed, Flex

PLANS = [Flex.USDT, Flex.CAPPED, Flex.MIN_WITHDRAW, Flex.BTC]
PLAN = Flex.USDT
FIXED_PLANS = [Fixed.TEN_DAYS, Fixed.SEVERAL, Fixed.FEW_COINS, Fixed.LITTLE_INTEREST, Fixed.OTHER_TICKER]
METHODS = ["deposit", "withdraw", "collateral-deposit", "collateral-withdraw"]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
amounts = st.decimals("0", "3000", places=6).map(str) | st.sampled_from(["10", "100", "0.5", "1000", "2000"])
moves = st.one_of(
    st.tuples(st.just("invest"), st.sampled_from(PLANS), amounts, st.booleans()),
    st.tuples(st.just("withdraw"), st.sampled_from(PLANS), amounts),
    st.tuples(st.just("close"), st.sampled_from(PLANS)),
    st.tuples(st.just("auto-invest"), st.sampled_from(PLANS), st.booleans()),
    st.tuples(st.just("fixed_invest"), st.sampled_from(FIXED_PLANS), amounts),
    st.tuples(st.just("fixed_close"), st.integers(0, 3)),
    st.tuples(st.just("transfer"), st.sampled_from(["USDT", "BTC"]), amounts, st.sampled_from(METHODS)),
    st.tuples(st.just("wait"), st.integers(1, 400)),
    st.tuples(st.just("fund"), st.sampled_from(["USDT", "BTC"]), st.decimals("0.000001", "100", places=6)),
)


def make(bench, move):
    match move:
        case ("invest", plan, amount, reinvest):
            return bench.flex("investments/invest", plan=plan, amount=amount, withReinvest=reinvest)
        case ("withdraw", plan, amount):
            return bench.flex("investments/withdraw", plan=plan, amount=amount)
        case ("close", plan):
            return bench.flex("investments/close", plan=plan)
        case ("auto-invest", plan, enabled):
            return bench.flex("investments/auto-invest", plan=plan, enabled=enabled)
        case ("fixed_invest", plan, amount):
            return bench.call("smart/investment", planId=plan, amount=amount)
        case ("fixed_close", number):
            made = bench.call("smart/investments", status=1)[1]["records"]
            return bench.call("smart/investment/close", id=made[number]["id"] if number < len(made) else "none")
        case ("transfer", ticker, amount, method):
            return bench.call("transfer", ticker=ticker, amount=amount, method=method)
        case ("wait", hours):
            bench.pass_time(hours=hours)
        case ("fund", ticker, amount):
            bench.exchange.fund(ticker, amount)
    return None


@settings(max_examples=60)
@given(script=st.lists(moves, max_size=25))
def test_the_ledger_always_balances(bench_class, script):
    bench = bench_class(rate_limits=False)
    for move in script:
        before, moved = bench.exchange.transactions(), len(bench.exchange.moves())
        answer = make(bench, move)
        bench.exchange.audit()
        if answer and move[0] in ("fixed_invest", "fixed_close", "transfer"):
            assert len(bench.exchange.moves()) - moved == (answer[0] < 300)
            assert answer[0] in (200, 201, 400, 422), answer
            continue
        if answer and answer[0] >= 300:
            made = [row for row in bench.exchange.transactions()[len(before) :] if row["nonce"]]
            assert made == [], "a refused call moved money"
            assert answer[0] in (400, 422), answer
        elif answer and "transaction_id" in answer[1]["data"]:
            made = [
                row
                for row in bench.exchange.transactions()
                if row["transaction_id"] == answer[1]["data"]["transaction_id"]
            ]
            assert len(made) == 1
    view = bench.exchange.ledger_view()
    assert view["balanced"]
    json.dumps(view)
    for account, held in view["accounts"].items():
        if account not in ("outside", "interest"):
            assert all(Decimal(amount) >= 0 for amount in held.values())
    active = [(row["planId"]) for row in view["investments"] if row["status"] == 1]
    assert len(active) == len(set(active))
    bench.exchange.close()


@settings(max_examples=150)
@given(
    call=st.sampled_from(
        [
            "balance",
            "smart-flex/plans",
            "smart-flex/investments",
            "smart-flex/investments/history",
            "smart-flex/investments/payment-history",
            "smart-flex/investments/invest",
            "smart-flex/investments/withdraw",
            "smart-flex/investments/close",
            "smart-flex/investments/auto-invest",
            "smart/plans",
            "smart/investment",
            "smart/investment/close",
            "smart/investments",
            "smart/interest-payment-history",
            "transfer",
        ]
    ),
    params=st.dictionaries(
        st.sampled_from(
            [
                *("ticker", "plan", "amount", "investment", "transaction", "limit", "offset", "dateFrom", "dateTo"),
                *("actionTypes", "investmentStatus", "withReinvest", "enabled", "nonce", "nonceWindow", "request"),
                *("planId", "id", "status", "from", "to", "method"),
            ]
        ),
        anything,
        max_size=4,
    ),
)
@example(call="balance", params={"ticker": None, "nonce": 1767225600001})
@example(call="balance", params={"nonce": 0})
def test_no_field_causes_a_500(bench_class, call, params):
    bench = bench_class()
    status, answer = bench.call(call, **params)
    # 429: the nonce of the call is used up.
    assert status in (200, 400, 401, 422, 429), answer
    # Not by a call: its nonce may be used up already.
    assert bench.exchange.ledger.balances("main:sandbox")["USDT"] == 10_000
    bench.exchange.close()


@given(
    body=st.binary(max_size=200),
    headers=st.dictionaries(st.text(max_size=12), st.text(max_size=20), max_size=4),
    path=st.text(),
)
@settings(max_examples=100)
def test_no_bytes_cause_a_500(bench_class, body, headers, path):
    bench = bench_class()
    for where in ("/api/v4/main-account/balance", path):
        assert bench.exchange.handle("POST", where, headers, body).status in (401, 404, 405)
    assert bench.send("/api/v4/main-account/balance", body).status in (400, 401)
    bench.exchange.close()


def test_a_bug_of_the_sandbox_is_a_500_and_moves_nothing(bench, monkeypatch):
    def fail(*args, **kwargs):
        raise LedgerError("made up")

    nonce = bench.nonce()
    with monkeypatch.context() as broken:
        broken.setattr(bench.exchange.flex, "_record", fail)
        status, _ = bench.flex("investments/invest", plan=PLAN, amount="10", nonce=nonce)
    assert status == 500
    assert bench.balance() == "10000"
    bench.exchange.audit()
    assert bench.flex("investments")[1]["data"] == []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE balance SET amount='9999' WHERE account='main:sandbox' AND ticker='USDT'",
        "UPDATE entry SET amount='2' WHERE id=1",
        "DELETE FROM entry WHERE id=1",
    ],
)
def test_audit_detects_damage(damage):
    exchange = Exchange()
    assert exchange.ledger_view()["balanced"] is True
    exchange.ledger.db.execute(damage)
    with pytest.raises(LedgerError):
        exchange.audit()
    assert exchange.ledger_view()["balanced"] is False
    exchange.close()


def test_impossible_entries_are_refused():
    ledger = Ledger()
    with pytest.raises(LedgerError, match="does not hold"):
        ledger.enter("USDT", Decimal(1), "main:a", "main:b", "test", 0)
    with pytest.raises(LedgerError, match="is not positive"):
        ledger.enter("USDT", Decimal(0), OUTSIDE, "main:b", "test", 0)


def test_large_amounts_keep_all_digits(make_bench):
    scenario = {
        "assets": {"WEI": {"name": "Many decimals", "precision": 18}},
        "plans": [{"id": PLAN, "ticker": "WEI", "minimum": "1", "maximum": "1" + "0" * 20, "rate": "0.1"}],
        "balances": {"sandbox": {"WEI": "10000000000000000000.000000000000000001"}},
    }
    bench = make_bench(scenario=scenario)
    bench.invest(PLAN, "1.000000000000000001")
    assert bench.balance("WEI") == "9999999999999999999"
    bench.pass_time(hours=24 * 40)
    bench.balance("WEI")


def test_funding(bench):
    bench.exchange.fund("USDT", "0.000001")
    assert bench.balance() == "10000.000001"
    for ticker, amount, options, message in (
        ("DOGE", "1", {}, "no asset 'DOGE'"),
        ("USDT", "0", {}, "a number above 0"),
        ("USDT", "-1", {}, "a number above 0"),
        ("USDT", "0.0000001", {}, "at most 6 decimals"),
        ("USDT", "much", {}, "a number above 0"),
        ("USDT", "1", {"api_key": "unknown"}, "no key 'unknown'"),
        ("USDT", "1", {"account": "savings"}, "no account 'savings'"),
        ("USDT", "1", {"api_key": "sandbox-key", "sub_account": "x"}, "api_key or sub_account, not both"),
    ):
        with pytest.raises(ValueError, match=message):
            bench.exchange.fund(ticker, amount, **options)


def test_the_ledger_survives_a_restart(tmp_path, bench_class, make_bench):
    first = bench_class(db=tmp_path / "ledger.db")
    nonce = first.clock.now
    transaction = first.invest(PLAN, "100", nonce=nonce, nonceWindow=True)
    assert first.call("balance", nonce=nonce + 1)[0] == 200
    first.exchange.close()
    second = make_bench(db=tmp_path / "ledger.db")
    assert second.call("balance", nonce=nonce, nonceWindow=True)[1]["message"] == "Too many requests."
    assert second.call("balance", nonce=nonce + 1)[1]["message"] == "Too many requests."
    second._last = nonce + 1
    assert second.balance() == "9900"
    assert [row["transaction_id"] for row in second.history()] == [transaction]
    assert second.invest(PLAN, "10") != transaction
    second.pass_time(hours=24)
    assert second.flex("investments/payment-history")[1]["data"]


def test_the_clock_does_not_run_backwards_over_a_restart(tmp_path):
    one = Exchange(db=tmp_path / "ledger.db")
    one.advance(86_400 * 400)
    one.reset()
    then = one.clock.now_ms()
    one.close()
    other = Exchange(db=tmp_path / "ledger.db")
    assert other.clock.now_ms() >= then
    other.close()


def test_the_clock_is_kept_before_the_interest(tmp_path, monkeypatch):
    one = Exchange(db=tmp_path / "ledger.db")

    def killed(now_ms):
        raise KeyboardInterrupt

    monkeypatch.setattr(one, "_bring_up_to", killed)
    with pytest.raises(KeyboardInterrupt):
        one.advance(86_400)
    then = one.clock.now_ms()
    one.close()
    other = Exchange(db=tmp_path / "ledger.db")
    assert other.clock.now_ms() >= then
    other.close()


def test_a_file_has_one_sandbox(tmp_path, monkeypatch, capsys):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, timeout=0, **options))
    one = Exchange(db=tmp_path / "ledger.db")
    assert cli.main(["serve", "--port", "0", "--db", str(tmp_path / "ledger.db")]) == 1
    assert capsys.readouterr().err.endswith("ledger.db: another sandbox has it open\n")
    one.close()
    Exchange(db=tmp_path / "ledger.db").close()


def test_the_clock():
    clock = SandboxClock()
    before = clock.now_ms()
    clock.advance(Decimal("1.5"))
    assert 1500 <= clock.now_ms() - before < 60_000
    with pytest.raises(ValueError, match="never runs backwards"):
        clock.advance(-1)


def test_a_clock_of_the_caller_is_not_set_forward(bench):
    with pytest.raises(ValueError, match="cannot be set forward"):
        bench.exchange.advance(1)


def test_reset(bench):
    before = bench.invest(PLAN, "100")
    bench.exchange.faults.add("reset")
    bench.exchange.change("plan", PLAN, status="paused")
    nonce = bench.nonce()
    bench.call("balance", nonce=nonce)
    bench.exchange.reset()
    assert bench.exchange.faults.view() == []
    assert bench.exchange.requests_view() == []
    assert bench.call("balance", nonce=nonce, ticker="USDT") == (200, {"main_balance": "10000"})
    assert bench.history() == []
    assert bench.invest(PLAN, "10") != before


def test_plans_change_while_it_runs(bench):
    for changes, message in (
        ({"status": "gone"}, "status: Input should be 'open', 'paused' or 'unavailable', not 'gone'"),
        ({"rate": "-1"}, "rate: Input should be greater than or equal to 0, not '-1'"),
        ({"ticker": "BTC"}, "ticker: unknown field"),
        ({"maximum": "9.5"}, "minimum 10 is above maximum 9.5"),
    ):
        with pytest.raises(ValueError, match=message):
            bench.exchange.change("plan", PLAN, **changes)
    with pytest.raises(ValueError, match="no plan 'x'"):
        bench.exchange.change("plan", "x", status="open")
    bench.exchange.change("plan", PLAN, rate="0.2", minimum=5)
    assert bench.flex("plans")[1][0] | {"id": ""} == {
        "id": "",
        "ticker": "USDT",
        "minInvestment": "5",
        "maxInvestment": "100000",
        "maxRate": "0.2",
    }


def test_threads_are_serialised(bench):
    failures = []

    def call(start):
        for number in range(50):
            nonce = bench.clock.now - 4000 + start + number
            status, answer = bench.flex("investments/invest", plan=PLAN, amount="10", nonce=nonce, nonceWindow=True)
            if status != 201:
                failures.append(answer)

    threads = [threading.Thread(target=call, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert bench.flex("investments")[1]["data"][0]["invested"] == "2000"


def test_the_file_is_written_ahead(tmp_path):
    exchange = Exchange(db=tmp_path / "ledger.db")
    assert exchange.ledger.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert exchange.ledger.db.execute("PRAGMA synchronous").fetchone() == (2,)
    exchange.close()
    with pytest.raises(sqlite3.ProgrammingError):
        exchange.ledger.balance("main:sandbox", "USDT")


def test_a_file_of_an_earlier_version_is_used_again(tmp_path):
    file = tmp_path / "ledger.db"
    with sqlite3.connect(file) as db:
        db.execute(
            "CREATE TABLE move (id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, account TEXT NOT NULL, "
            "path TEXT NOT NULL, nonce INTEGER NOT NULL, params TEXT NOT NULL, reference TEXT)"
        )
        path = "/api/v4/main-account/transfer"
        db.execute("INSERT INTO move VALUES (1, 1, 'main:sandbox', ?, 1, '{}', NULL)", (path,))
    (move,) = Exchange(db=file).moves()
    assert (move["operation"], move["amount"]) == ("transfer", None)
