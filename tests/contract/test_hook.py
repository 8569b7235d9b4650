"""The hook against the sandbox: what it refuses before anything is sent, what it says, and that moves happen once."""

from __future__ import annotations

import json
import logging
import os
from decimal import Decimal
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.hooks import journals
from airflow_provider_whitebit.moves.drivers import ReconcileLater
from airflow_provider_whitebit.testing import SandboxProcess

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"


def moved(sandbox):
    return [entry for entry in sandbox.ledger()["transactions"] if entry["nonce"] is not None]


def sent(sandbox):
    return [r for r in sandbox.requests() if r["path"].endswith(("/invest", "/withdraw", "/close", "/auto-invest"))]


@pytest.mark.parametrize(
    "arguments",
    [
        {"plan_id": USDT, "amount": 100.0},
        {"plan_id": USDT, "amount": "-1"},
        {"plan_id": USDT, "amount": "0"},
        {"plan_id": USDT, "amount": 0},
        {"plan_id": USDT, "amount": "NaN"},
        {"plan_id": USDT, "amount": "Infinity"},
        {"plan_id": USDT, "amount": "1e5"},
        {"plan_id": USDT, "amount": "10.1234567"},
        {"plan_id": USDT, "amount": "9.99"},
        {"plan_id": USDT, "amount": "100001"},
        {"plan_id": USDT, "amount": ""},
        {"plan_id": USDT, "amount": None},
        {"plan_id": USDT, "amount": "all"},
        {"plan_id": "not-a-uuid", "amount": "100"},
        {"plan_id": "", "amount": "100"},
        {"plan_id": "00000000-0000-4000-8000-000000000000", "amount": "100"},
        {"plan_id": "2d0b5a71-3c4e-4f60-9b8c-0d1e2f3a4b5c", "amount": "100"},
        {"plan_id": USDT, "ticker": "USDT", "amount": "100"},
        {"amount": "100"},
        {"ticker": "NOSUCH", "amount": "100"},
        {"ticker": "US DT", "amount": "100"},
        {"ticker": "USDT", "amount": "5"},
        {"ticker": "USDT", "amount": "99999999"},
        {"ticker": "BTC", "amount": "0.123456789"},
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(hook, sandbox, arguments):
    with pytest.raises(e.WhiteBitValidationError) as caught:
        hook.flex_invest(**arguments)
    assert caught.value.money_moved is False
    assert "No money moved." in str(caught.value)
    assert sent(sandbox) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"plan_id": USDT, "amount": "0"},
        {"plan_id": USDT, "amount": "101"},
        {"plan_id": USDT, "amount": "95"},
        {"plan_id": USDT, "amount": "0.1234567"},
        {"plan_id": USDT, "amount": 0.5},
        {"ticker": "BTC", "amount": "all"},
        {"ticker": "USDT", "amount": "95"},
        {"plan_id": "724fafc6-8193-44b5-a0d1-5c6d7e8f90a1", "amount": "1"},
    ],
)
def test_bad_withdrawals(hook, sandbox, arguments):
    hook.flex_invest(plan_id=USDT, amount="100")
    before = len(sent(sandbox))
    with pytest.raises(e.WhiteBitValidationError):
        hook.flex_withdraw(**arguments)
    assert len(sent(sandbox)) == before


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"read_only": True}, "read_only"),
        ({"max_move": {"USDT": "99.99"}}, "max_move of 99.99"),
        ({"allowed_tickers": "BTC,ETH"}, "allowed_tickers (BTC, ETH)"),
    ],
)
def test_limits_of_the_connection(make_hook, sandbox, extra, words):
    hook = make_hook(**extra)
    with pytest.raises(e.WhiteBitLimitError) as caught:
        hook.flex_invest(ticker="USDT", amount="100")
    assert words in str(caught.value)
    with pytest.raises(e.WhiteBitLimitError):
        hook.flex_invest(ticker="USDT", amount="100", dry_run=True)
    assert sent(sandbox) == []


@pytest.mark.parametrize("kind", ["http", "postgres", None])
def test_the_secrets_of_another_connection_are_not_sent(make_hook, sandbox, kind):
    with pytest.raises(e.WhiteBitConfigurationError, match="nothing was sent") as caught:
        make_hook(kind=kind).flex_invest(ticker="USDT", amount="100")
    assert caught.value.money_moved is False
    assert sandbox.requests() == []


def test_a_life_by_ticker(hook, sandbox):
    planned = hook.flex_invest(ticker="usdt", amount="1500", dry_run=True)
    assert (planned.status, planned.plan_id[:8], planned.transaction_id) == ("planned", "1c9a4f60", None)
    assert sent(sandbox) == []
    receipt = hook.flex_invest(ticker="usdt", amount="1500")
    assert (receipt.status, receipt.plan_id, receipt.attempts) == ("executed", planned.plan_id, 1)
    assert hook.flex_auto_reinvest(ticker="USDT", enabled=True)["status"] == "executed"
    part = hook.flex_withdraw(ticker="USDT", amount="500")
    rest = hook.flex_close(ticker="USDT")
    assert [entry["transaction_id"] for entry in moved(sandbox)] == [
        receipt.transaction_id,
        part.transaction_id,
        rest.transaction_id,
    ]
    assert format(rest.amount, "f") == "1000"
    assert receipt.to_json()["amount"] == "1500"


def test_two_moves_of_one_hook_are_two_moves(hook, sandbox):
    first = hook.flex_invest(plan_id=USDT, amount="10")
    second = hook.flex_invest(plan_id=USDT, amount="20")
    assert first.transaction_id != second.transaction_id
    assert len(moved(sandbox)) == 2


@pytest.mark.parametrize(
    "fault",
    [
        "lost_reply_after",
        "error_500_after",
        "unavailable_after",
        "cut_reply",
        "garbage",
        "html_ok",
        "duplicate_reply",
    ],
)
def test_a_lost_answer_is_found_in_the_records(hook, sandbox, fault):
    sandbox.fault(fault, path="*/investments/invest", count=1, bytes=7)
    receipt = hook.flex_invest(plan_id=USDT, amount="10")
    assert receipt.reconciled
    assert [entry["transaction_id"] for entry in moved(sandbox)] == [receipt.transaction_id]


@pytest.mark.parametrize(
    "fault",
    [
        *("lost_reply_before", "reset", "error_500_before", "unavailable", "ok_with_error"),
        *("rate_limit", "rate_limit_page"),
    ],
)
def test_what_never_ran_is_sent_again(hook, sandbox, fault):
    sandbox.fault(fault, path="*/investments/invest", count=1)
    receipt = hook.flex_invest(plan_id=USDT, amount="10")
    assert (receipt.reconciled, receipt.attempts) == (False, 2)
    assert len(moved(sandbox)) == 1


def test_what_never_reached_the_exchange_is_sent_again_at_once(hook, sandbox, monkeypatch):
    """It is not in doubt, so the task neither waits nor defers, and no record can be taken for this attempt's."""
    original, sent = MovingClient.send_move, []

    def send(self, call, *, nonce):
        sent.append(nonce)
        if len(sent) == 1:
            raise e.WhiteBitUnavailableError("The connection was never made.", money_moved=False)
        return original(self, call, nonce=nonce)

    monkeypatch.setattr(MovingClient, "send_move", send)
    receipt = hook.flex_invest(plan_id=USDT, amount="10", deferrable=True)
    assert (receipt.attempts, receipt.reconciled) == (2, False)


def test_a_doubt_can_be_settled_elsewhere(hook, sandbox):
    sandbox.fault("lost_reply_after", path="*/investments/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="10", deferrable=True)


@pytest.mark.parametrize(
    ("options", "good", "words"),
    [
        ({}, True, "Flex plans allowed, Fixed plans allowed, balances allowed"),
        ({}, True, "this connection sets no limits"),
        (
            {"read_only": True, "allowed_tickers": "USDT, BTC", "max_move": {"USDT": "50"}},
            True,
            "read only; only BTC, USDT;",
        ),
        ({"max_move": {"USDT": "50.5"}}, True, "at most 50.5 USDT in one move"),
        ({"max_move": {"USTD": "50"}}, False, "max_move names USTD, which the exchange does not list"),
        ({"key": "sandbox-key-no-fixed"}, True, "Flex plans allowed, Fixed plans NOT allowed, balances allowed"),
        ({"key": "sandbox-key-no-lending"}, False, "Flex plans NOT allowed, Fixed plans NOT allowed, balances allowed"),
        ({"key": "sandbox-key-no-lending"}, False, "B2B partner permission"),
        ({"key": "sandbox-key-disabled"}, False, "disabled"),
        ({"secret": "wrong-secret"}, False, "API key or API secret is wrong"),
        ({"key": "wrong-key", "secret": "sandbox-secret"}, False, "API key or API secret is wrong"),
        ({"host": "http://127.0.0.1:9"}, False, "does not answer"),
        ({"host": "https://elsewhere.example"}, False, "allow_custom_host"),
        ({"host": "https://whitebit.eu"}, False, "region"),
    ],
)
def test_the_test_button(make_hook, options, good, words):
    status, text = make_hook(**options).test_connection()
    assert (status, words in text) == (good, True), text
    assert "sandbox-secret" not in text
    assert "wrong-secret" not in text
    if good:
        assert " ms " in text
        assert "region global" in text


def test_the_test_button_on_an_exchange_with_one_asset(make_hook, tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text("assets:\n  BTC: {name: Bitcoin, precision: 8}\nplans: []\nbalances:\n  sandbox: {BTC: '1'}\n")
    process = SandboxProcess("--no-rate-limits", "--scenario", str(path))
    try:
        good, text = make_hook(host=process.url).test_connection()
    finally:
        process.stop()
    assert (good, "Fixed plans allowed, balances allowed" in text) == (True, True), text


@pytest.mark.parametrize("path", ["/api/v4/public/time", "/api/v4/main-account/balance"])
def test_the_test_button_during_maintenance(make_hook, sandbox, path):
    hook = make_hook()
    sandbox.maintenance(notice="Maintenance until 04:00 UTC")
    good, text = hook.test_connection()
    assert not good
    assert "is in maintenance, so the key could not be checked" in text
    assert text.endswith("The exchange said: Maintenance until 04:00 UTC")


def test_no_secret_leaks(hook, sandbox, caplog):
    caplog.set_level(logging.DEBUG)
    hook.flex_invest(plan_id=USDT, amount="10")
    sandbox.fault("garbage", count=1)
    list(hook.get_conn().flex_plans())
    shown = caplog.text + repr(hook) + repr(hook.settings) + repr(hook.get_conn()) + repr(hook.__dict__)
    for secret in ("sandbox-secret", "X-TXC-SIGNATURE", "eyJyZXF1ZXN0"):
        assert secret not in shown
    with pytest.raises(e.WhiteBitError) as caught:
        hook.flex_invest(plan_id=USDT, amount="99999")
    trace = caught.getrepr(showlocals=False, style="short")
    assert "sandbox-secret" not in str(trace)
    # What a log with local variables would show:
    assert "sandbox-secret" not in repr(hook._client._transport)


def test_several_moves_of_one_task(hook, sandbox, as_task):
    """As in a TaskFlow task that is retried, clears its path, or changes its mind."""
    from airflow_provider_whitebit.client.errors import WhiteBitAlreadyMovedError

    as_task(1)
    first = hook.flex_invest(plan_id=USDT, amount="11")
    with pytest.raises(e.WhiteBitValidationError) as caught:
        hook.flex_invest(ticker="BTC", amount="0.5")
    line = "flex_invest(ticker='BTC', amount='0.5', key='flex_invest BTC')"
    assert f"Give the second move a key: {line}" in str(caught.value)
    second = hook.flex_invest(ticker="BTC", amount="0.5", key="flex_invest BTC")
    as_task(2)
    assert hook.flex_invest(plan_id=USDT, amount="11") == first
    assert hook.flex_invest(ticker="BTC", amount="0.5", key="flex_invest BTC") == second
    as_task(3)
    with pytest.raises(WhiteBitAlreadyMovedError, match="key="):
        hook.flex_invest(ticker="BTC", amount="0.5")
    # A task that goes on after an error never makes both.
    with pytest.raises(WhiteBitAlreadyMovedError, match="its move 'idle eth' was not sent"):
        hook.flex_invest(ticker="ETH", amount="1", key="idle eth")
    as_task(4)
    named = hook.flex_invest(ticker="ETH", amount="1", key="idle eth")
    as_task(5)
    assert hook.flex_invest(ticker="ETH", amount="1", key="idle eth") == named
    assert len(moved(sandbox)) == 3


def test_a_name_is_that_of_one_move(hook, sandbox, as_task):
    from airflow_provider_whitebit.client.errors import WhiteBitAlreadyMovedError

    as_task(1)
    receipts = [
        hook.flex_invest(ticker="ETH", amount=amount, key=key)
        for amount, key in (("1", "idle eth"), ("2", "idle_eth"), ("1", "idle eth"))
    ]
    assert [receipt.amount for receipt in receipts] == [1, 2, 1]
    assert receipts[0] == receipts[2]
    with pytest.raises(e.WhiteBitValidationError, match="key='idle eth' for two moves") as caught:
        hook.flex_invest(ticker="ETH", amount="3", key="idle eth")
    assert caught.value.money_moved is True
    as_task(2)
    with pytest.raises(WhiteBitAlreadyMovedError, match="this time it asks for"):
        hook.flex_invest(ticker="BTC", amount="0.5", key="idle eth")
    assert len(moved(sandbox)) == 2


def test_a_retry_that_asks_for_another_plan_sends_nothing(hook, sandbox, as_task):
    from airflow_provider_whitebit.client.errors import WhiteBitAlreadyMovedError

    as_task(1)
    sandbox.fault("lost_reply_before", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="11", deferrable=True)
    as_task(2)
    with pytest.raises(WhiteBitAlreadyMovedError, match="did not carry it out") as caught:
        hook.flex_invest(ticker="BTC", amount="0.5")
    # It left no record so far.
    assert caught.value.money_moved is None
    assert moved(sandbox) == []
    as_task(3)
    assert hook.flex_invest(plan_id=USDT, amount="11").amount == 11


def test_what_was_put_off_counts_for_its_own_move_alone(hook, sandbox, as_task):
    """A run that was put off with its second move makes that one with all its tries, and the first one is found."""
    as_task(1)
    first = hook.flex_invest(plan_id=USDT, amount="11")
    sandbox.fault("lost_reply_before", path="*/invest", count=1)
    with pytest.raises(ReconcileLater) as later:
        hook.flex_invest(ticker="BTC", amount="0.5", key="b", deferrable=True)
    hook.resume({"intent": later.value.intent.found_absent().to_json(), "sent": 4})
    assert hook.flex_invest(plan_id=USDT, amount="11") == first
    with pytest.raises(e.WhiteBitUnavailableError, match="was tried 4 times"):
        hook.flex_invest(ticker="BTC", amount="0.5", key="b")
    third = hook.flex_invest(ticker="ETH", amount="1", key="c")
    assert [entry["transaction_id"] for entry in moved(sandbox)] == [first.transaction_id, third.transaction_id]


def in_doubt(make_hook, sandbox, as_task, fault="lost_reply_after", **options):
    """A move whose answer was lost, and whose task ended then."""
    as_task(1)
    hook = make_hook(**options)
    sandbox.fault(fault, path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="100", deferrable=True)
    as_task(2)


def test_a_doubt_is_settled_though_moves_are_forbidden_meanwhile(make_hook, sandbox, as_task):
    in_doubt(make_hook, sandbox, as_task)
    receipt = make_hook(read_only=True).flex_invest(plan_id=USDT, amount="100")
    assert receipt.reconciled
    assert [entry["transaction_id"] for entry in moved(sandbox)] == [receipt.transaction_id]


def test_a_move_keeps_to_the_key_that_it_was_sent_with(make_hook, sandbox, as_task, monkeypatch):
    in_doubt(make_hook, sandbox, as_task)
    monkeypatch.setenv("AIRFLOW_CONN_BEFORE", os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    sandbox.add_key("second-key", "second-secret")
    second = {"key": "second-key", "secret": "second-secret"}
    with pytest.raises(
        e.WhiteBitInDoubtError,
        match=r"(?s)Journal of this move: the Variables whose names begin with \S+__\n.*previous_conn_id",
    ):
        make_hook(**second).flex_invest(plan_id=USDT, amount="100")
    as_task(3)
    hook = make_hook(**second, previous_conn_id="before")
    assert hook.test_connection()[0]
    receipt = hook.flex_invest(plan_id=USDT, amount="100")
    assert receipt.reconciled
    later = hook.flex_invest(ticker="BTC", amount="0.5", key="bitcoin")
    moves = hook.transfer(ticker="ETH", amount="1", source="main", target="spot")
    assert [entry["transaction_id"] for entry in moved(sandbox)] == [receipt.transaction_id, later.transaction_id]
    assert [request["api_key"] for request in sent(sandbox)] == ["sandbox-key", "second-key"]
    assert moves[0].status == "executed"
    sandbox.revoke_key("sandbox-key")
    with pytest.raises(e.WhiteBitConfigurationError, match="previous_conn_id") as caught:
        hook.flex_invest(ticker="BTC", amount="0.5", key="too early")
    assert list(caught.value.completed_moves) == [made.to_json() for made in (receipt, later, *moves)]
    good, text = hook.test_connection()
    assert (good, "previous_conn_id" in text) == (False, True), text
    # Without it: what was made is returned to a retry, whatever the key is now.
    as_task(4)
    assert make_hook(**second).flex_invest(plan_id=USDT, amount="100") == receipt
    assert len(moved(sandbox)) == 2


def test_the_previous_key_is_used_as_the_connection_says(make_hook, sandbox, as_task, monkeypatch):
    """Margin and name are those of the connection that the task names, and a chain ends after one step."""
    in_doubt(make_hook, sandbox, as_task, fault="lost_reply_before")
    journals.current_context()["ti"].max_tries += 1
    raw = json.loads(os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    raw["extra"] = {"reconcile_margin": 1, "previous_conn_id": "deleted"}
    monkeypatch.setenv("AIRFLOW_CONN_BEFORE", json.dumps(raw))
    sandbox.add_key("second-key", "second-secret")
    second = {"key": "second-key", "secret": "second-secret", "reconcile_margin": 60}
    with pytest.raises(ReconcileLater) as later:
        make_hook(**second, previous_conn_id="before").flex_invest(plan_id=USDT, amount="100", deferrable=True)
    assert later.value.until_ms == later.value.intent.attempts[-1].nonce + 65_000
    receipt = make_hook(**second, previous_conn_id="before").flex_invest(plan_id=USDT, amount="100")
    as_task(3)
    journals.current_context()["ti"].max_tries += 1
    assert make_hook(**second).flex_invest(plan_id=USDT, amount="100") == receipt


@pytest.mark.parametrize(
    ("reading", "shown"), [("main_balance", {"USDT": Decimal(1)}), ("flex_investments", [SimpleNamespace(id="inv")])]
)
def test_a_previous_connection_of_another_account(make_hook, sandbox, monkeypatch, reading, shown):
    make_hook()
    monkeypatch.setenv("AIRFLOW_CONN_BEFORE", os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    sandbox.add_key("second-key", "second-secret")
    hook = make_hook(key="second-key", secret="second-secret", previous_conn_id="before")
    assert hook.test_connection()[0]
    monkeypatch.setattr(hook.previous.get_conn(), reading, lambda *_, **__: shown)
    good, text = hook.test_connection()
    assert (good, "of the same account" in text) == (False, True), text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", "previous_conn_id cannot be used"),
        ("elsewhere", "another host"),
        ("whitebit_default", "accepted by"),
    ],
)
def test_a_previous_connection_that_is_none(make_hook, monkeypatch, name, words):
    known = {"conn_type": "whitebit", "login": "k", "password": "s", "host": "https://whitebit.com"}
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps(known))
    assert words in make_hook(previous_conn_id=name).test_connection()[1]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, {"message": "Forbidden"}),
        (401, {"message": "Unauthorized"}),
        (404, {"message": "no Route matched with those values"}),
        (413, {"message": "Request size limit exceeded"}),
        (200, {"data": {"transaction_id": "tx_other"}}),
        (201, {"response": None, "status": 422, "errors": {"amount": ["x"]}}),
        (201, {"success": 0}),
        (201, {"message": "ok"}),
        (201, []),
    ],
)
@pytest.mark.parametrize("ran", [True, False])
def test_an_answer_that_is_neither_yes_nor_no_is_looked_up_in_the_records(hook, sandbox, status, body, ran):
    wire, odd = hook.get_conn()._transport._wire, []

    def send(method, path, headers, content):
        if not path.endswith("/investments/invest") or odd:
            return wire.send(method, path, headers, content)
        answer = wire.send(method, path, headers, content) if ran else None
        odd.append(path)
        return SimpleNamespace(status=status, headers=answer.headers if answer else {}, body=json.dumps(body).encode())

    hook.get_conn()._transport._wire = SimpleNamespace(send=send, close=wire.close)
    receipt = hook.flex_invest(plan_id=USDT, amount="10")
    assert (receipt.reconciled, receipt.attempts) == (ran, 1 if ran else 2)
    assert [entry["transaction_id"] for entry in moved(sandbox)] == [receipt.transaction_id]
