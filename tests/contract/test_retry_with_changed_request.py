"""Retries and clears that ask for something else than earlier runs began, and tasks that ask again by themselves."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import WhiteBitAlreadyMovedError, WhiteBitPlanError
from airflow_provider_whitebit.hooks import executor, journals, stores, task_run
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.hooks.doubts import DOUBT, RESOLUTION
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.moves.drivers import ReconcileLater
from airflow_provider_whitebit.moves.intent import Move, Operation, Receipt
from airflow_provider_whitebit.moves.resolution import Answer, Resolution
from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator
from airflow_provider_whitebit.operators.treasury import WhiteBitSweepOperator
from airflow_provider_whitebit.treasury.planning import PlannedMove, TreasuryPlan
from airflow_provider_whitebit.treasury.requests import RaiseLiquidity, Sweep
from tests.texts import all_by

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
REFUSED = (e.WhiteBitValidationError, AirflowFailException)


def moved(sandbox):
    return [entry for entry in sandbox.ledger()["transactions"] if entry["nonce"] is not None]


def keys(sandbox):
    return [entry["api_key"] for entry in sandbox.requests() if entry["path"].endswith("investments/invest")]


@pytest.fixture
def lost(hook, sandbox, as_task):
    """The first try of a task made its move, lost the answer, and ended: its second try begins."""

    def lost(fault="lost_reply_after", **options):
        as_task(1)
        sandbox.fault(fault, path="*/invest", count=1)
        with pytest.raises(ReconcileLater):
            hook.flex_invest(**{"plan_id": USDT, "amount": "100", **options}, deferrable=True)
        as_task(2)

    return lost


@pytest.mark.parametrize("ended", [True, False], ids=["made", "in doubt"])
@pytest.mark.parametrize(
    "other",
    [
        lambda hook: hook.flex_withdraw(plan_id=USDT, amount="100", key="k"),
        lambda hook: hook.flex_withdraw(plan_id=USDT, amount="nothing", key="k"),
        lambda hook: hook.flex_close(ticker="USDT", key="k"),
        lambda hook: hook.fixed_invest(ticker="USDT", amount="100", key="k"),
    ],
    ids=["withdraw", "invalid", "close", "fixed"],
)
def test_a_retry_that_asks_for_another_operation_gets_no_receipt_of_the_first(
    hook, sandbox, as_task, lost, other, ended
):
    """Code may branch. What was invested is no receipt of a withdrawal, even under one key."""
    if ended:
        as_task(1)
        hook.flex_invest(plan_id=USDT, amount="100", key="k")
        as_task(2)
    else:
        lost(key="k")
    with pytest.raises(e.WhiteBitValidationError) as caught:
        other(hook)
    assert caught.value.money_moved is not False
    assert len(moved(sandbox)) == 1


def test_a_retry_that_withdraws_an_amount_instead_of_everything_gets_the_receipt_of_the_close(hook, sandbox, as_task):
    hook.flex_invest(plan_id=USDT, amount="100")
    as_task(1)
    receipt = hook.flex_withdraw(plan_id=USDT, amount="all")
    as_task(2)
    assert hook.flex_withdraw(plan_id=USDT, amount="50") == receipt
    assert len(moved(sandbox)) == 2


def test_a_key_is_not_written_like_an_idempotency_key(hook, sandbox, as_task):
    as_task(1)
    with pytest.raises(e.WhiteBitValidationError, match="give it as idempotency_key"):
        hook.flex_invest(plan_id=USDT, amount="100", key="idempotency_key 7")
    assert moved(sandbox) == []


@pytest.mark.parametrize("conn_id", [None, "", "None"])
@pytest.mark.parametrize("begin", ["invest", "sweep"])
def test_a_retry_that_renders_no_connection_does_not_say_that_no_money_moved(
    hook, sandbox, as_task, lost, conn_id, begin
):
    if begin == "invest":
        lost()
        task = WhiteBitFlexInvestOperator(task_id="t", plan_id=USDT, amount="100", whitebit_conn_id="{{ conn_id }}")
    else:
        policy = {"USDT": {"plans": {"only": [USDT]}}}
        as_task(1)
        sandbox.fault("lost_reply_after", path="*/invest", count=1)
        with pytest.raises(ReconcileLater):
            hook.execute_plan(Sweep(policy), deferrable=True)
        as_task(2)
        task = WhiteBitSweepOperator(task_id="t", policy=policy, whitebit_conn_id="{{ conn_id }}")
    task.render_template_fields({"conn_id": conn_id})
    with pytest.raises((e.WhiteBitConfigurationError, AirflowFailException), match="whitebit_conn_id is") as caught:
        task.execute({})
    assert "Whether money moved is not known." in str(caught.value)
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize(
    "fails",
    [
        lambda hook: hook.flex_invest(plan_id=USDT, amount="1", key="b"),
        lambda hook: hook.flex_invest(plan_id=USDT, amount="nothing", key="b"),
        lambda hook: hook.flex_invest(plan_id=USDT, amount="1", dry_run=True, key="b"),
        lambda hook: hook.flex_invest(plan_id=USDT, amount="1", idempotency_key="b"),
        lambda hook: hook.flex_withdraw(ticker="BTC", amount="all"),
        lambda hook: hook.transfer(ticker="USDT", amount="nothing", source="main", target="spot"),
        lambda hook: hook.transfer(ticker="USDT", amount="1000000", source="collateral", target="spot"),
        lambda hook: hook.execute_plan(RaiseLiquidity(ticker="USDT", amount="1000000")),
    ],
    ids=["refused", "invalid", "dry run", "idempotent", "withdraw", "invalid transfer", "transfer", "plan"],
)
def test_an_error_says_what_the_task_has_made_under_other_keys(hook, sandbox, as_task, fails):
    as_task(1)
    made = [hook.flex_invest(plan_id=USDT, amount="100", key="a")]
    made.append(hook.flex_invest(plan_id=USDT, amount="200", idempotency_key="mine"))
    as_task(1, task="other")
    hook.flex_invest(plan_id=USDT, amount="300", idempotency_key="other's")
    for number in (1, 2):
        as_task(number)
        # As the code of the task does it at each try. What another task has made is no move of this one.
        assert hook.flex_invest(plan_id=USDT, amount="100", key="a") == made[0]
        assert hook.flex_invest(plan_id=USDT, amount="200", idempotency_key="mine") == made[1]
        hook.flex_invest(plan_id=USDT, amount="300", idempotency_key="other's")
        with pytest.raises(e.WhiteBitError) as caught:
            fails(hook)
        assert caught.value.money_moved is True
        assert list(caught.value.completed_moves) == [receipt.to_json() for receipt in made]
        assert "No money moved." not in str(caught.value)


def test_an_error_of_a_task_that_has_only_failed_says_that_no_money_moved(hook, sandbox, as_task):
    as_task(1, task="other")
    hook.flex_invest(plan_id=USDT, amount="300", idempotency_key="other's")
    as_task(1)
    hook.flex_invest(plan_id=USDT, amount="300", idempotency_key="other's")
    for key in ("a", "b"):
        with pytest.raises(e.WhiteBitError, match=r"No money moved\."):
            hook.flex_invest(plan_id=USDT, amount="1", key=key)


WRONG = [{"amount": "0"}, {"amount": ""}, {"amount": "100", "plan_id": "None"}, {"amount": 1.5}]


@pytest.mark.parametrize("arguments", WRONG)
def test_a_retry_that_renders_what_is_refused_returns_what_was_made(hook, sandbox, lost, arguments):
    lost(key="idle")
    receipt = hook.flex_invest(**{"plan_id": USDT, "key": "idle", **arguments})
    assert (receipt.amount, receipt.reconciled) == (100, True)
    assert [entry["transaction_id"] for entry in moved(sandbox)] == [receipt.transaction_id]
    assert hook.flex_invest(plan_id=USDT, amount="100", key="idle") == receipt


@pytest.mark.parametrize("arguments", WRONG)
def test_a_retry_that_renders_what_is_refused_finds_its_move_by_the_operation(hook, sandbox, lost, arguments):
    """Without a key the move's key is its operation."""
    lost()
    receipt = hook.flex_invest(**{"plan_id": USDT, **arguments})
    assert receipt.reconciled
    assert hook.flex_invest(plan_id=USDT, amount="100") == receipt
    with pytest.raises(e.WhiteBitValidationError, match="Already moved by this task: flex_invest 100 USDT"):
        hook.flex_invest(**{"plan_id": USDT, **arguments})
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize("arguments", WRONG)
def test_a_retry_that_renders_what_is_refused_sends_nothing(hook, sandbox, lost, arguments):
    lost("lost_reply_before", key="idle")
    # It left no record so far.
    with pytest.raises(e.WhiteBitValidationError, match="Whether money moved is not known"):
        hook.flex_invest(**{"plan_id": USDT, "key": "idle", **arguments})
    assert moved(sandbox) == []


def test_what_is_refused_has_no_place_among_the_moves(hook, sandbox, as_task):
    def body():
        with pytest.raises(e.WhiteBitValidationError):
            hook.flex_invest(ticker="BTC", amount="0")
        return hook.flex_invest(plan_id=USDT, amount="100")

    as_task(1)
    first = body()
    as_task(2)
    assert body() == first
    assert len(moved(sandbox)) == 1


def test_what_is_refused_at_once_was_not_begun(hook, sandbox, as_task):
    as_task(1)
    with pytest.raises(e.WhiteBitValidationError, match="No money moved"):
        hook.flex_invest(plan_id=USDT, amount="0")
    # It does not count: the next one is the first of its kind.
    first = hook.flex_invest(plan_id=USDT, amount="100")
    as_task(2)
    assert hook.flex_invest(plan_id=USDT, amount="100") == first
    assert len(moved(sandbox)) == 1


def test_a_cleared_task_with_what_is_refused(hook, sandbox, as_task):
    as_task(1)
    hook.flex_invest(plan_id=USDT, amount="100", key="idle")
    as_task(2)
    journals.current_context()["ti"].max_tries += 1
    with pytest.raises(WhiteBitAlreadyMovedError) as caught:
        hook.flex_invest(plan_id=USDT, amount="0", key="idle")
    assert caught.value.money_moved is True
    assert "No money moved" not in str(caught.value)


def test_a_connection_that_has_become_wrong_does_not_say_that_nothing_moved(sandbox, lost, monkeypatch):
    lost()
    raw = json.loads(os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps({**raw, "extra": {"reconcile_margin": "ten"}}))
    with pytest.raises(e.WhiteBitConfigurationError, match="Whether money moved is not known"):
        WhiteBitHook().flex_invest(plan_id=USDT, amount="100")


def test_a_connection_that_has_become_wrong_does_not_deny_what_left_no_record_so_far(
    sandbox, hook, as_task, monkeypatch
):
    as_task(1)
    sandbox.fault("lost_reply_before", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="100", deferrable=True)
    as_task(2)
    assert hook.flex_invest(plan_id=USDT, amount="100", dry_run=True).status == "planned"
    raw = json.loads(os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps({**raw, "extra": {"reconcile_margin": "ten"}}))
    with pytest.raises(e.WhiteBitConfigurationError, match="Whether money moved is not known"):
        WhiteBitHook().flex_invest(plan_id=USDT, amount="100")


def test_a_connection_that_has_become_wrong_tells_what_was_made(hook, as_task, monkeypatch):
    as_task(1)
    hook.flex_invest(plan_id=USDT, amount="100")
    as_task(2)
    raw = json.loads(os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps({**raw, "extra": {"reconcile_margin": "ten"}}))
    with pytest.raises(
        e.WhiteBitConfigurationError, match="Already moved by this task: flex_invest 100 USDT"
    ) as caught:
        WhiteBitHook().flex_invest(plan_id=USDT, amount="100")
    assert "No money moved" not in str(caught.value)


def test_a_retry_for_another_plan_says_that_money_moved(hook, sandbox, lost):
    lost()
    with pytest.raises(WhiteBitAlreadyMovedError) as caught:
        hook.flex_invest(ticker="BTC", amount="0.5")
    assert caught.value.money_moved is True
    assert "No money moved" not in str(caught.value)
    assert len(moved(sandbox)) == 1


def test_a_dry_run_on_a_retry_returns_what_was_made(hook, sandbox, lost):
    lost()
    receipt = hook.flex_invest(plan_id=USDT, amount="100", dry_run=True)
    assert (receipt.status, receipt.reconciled) == ("executed", True)
    assert len(moved(sandbox)) == 1


def test_a_dry_run_on_a_retry_sends_nothing(hook, sandbox, lost):
    lost("lost_reply_before")
    assert hook.flex_invest(plan_id=USDT, amount="100", dry_run=True).status == "planned"
    assert moved(sandbox) == []
    # And it is still the first of its kind.
    made = hook.flex_invest(plan_id=USDT, amount="100")
    assert (made.status, made.attempts) == ("executed", 2)


@pytest.mark.parametrize("key", [None, "idle"])
def test_a_dry_run_before_the_move_in_one_task(hook, sandbox, as_task, key):
    as_task(1)
    assert hook.flex_invest(plan_id=USDT, amount="100", key=key, dry_run=True).status == "planned"
    first = hook.flex_invest(plan_id=USDT, amount="100", key=key)
    as_task(2)
    assert hook.flex_invest(plan_id=USDT, amount="100", key=key, dry_run=True) == first
    assert hook.flex_invest(plan_id=USDT, amount="100", key=key) == first
    assert len(moved(sandbox)) == 1


def test_a_task_that_tries_again_by_itself_means_the_same_move(hook, sandbox, as_task, monkeypatch):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    original, broken = WhiteBitClient.server_time, []

    def down_for_a_moment(self):
        if moved(sandbox) and not broken:
            broken.append(1)
            raise e.WhiteBitUnavailableError("The exchange is down for a moment.")
        return original(self)

    monkeypatch.setattr(WhiteBitClient, "server_time", down_for_a_moment)
    with pytest.raises(e.WhiteBitUnavailableError) as caught:
        hook.flex_invest(plan_id=USDT, amount="100")
    assert caught.value.money_moved is None
    receipt = hook.flex_invest(plan_id=USDT, amount="100")
    assert receipt.reconciled
    assert [entry["transaction_id"] for entry in moved(sandbox)] == [receipt.transaction_id]
    # The same key means the same move; another one needs another key.
    assert hook.flex_invest(plan_id=USDT, amount="100") == receipt
    second = hook.flex_invest(plan_id=USDT, amount="100", key="second")
    assert second.transaction_id != receipt.transaction_id
    as_task(2)
    again = [hook.flex_invest(plan_id=USDT, amount="100", key=key) for key in (None, "second")]
    assert again == [receipt, second]


@pytest.mark.parametrize("amount", ["100", Decimal("100.00")])
def test_while_it_is_in_doubt_the_same_amount_is_the_same_move(hook, sandbox, as_task, amount):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="100", deferrable=True)
    assert hook.flex_invest(plan_id=USDT, amount=amount).amount == 100
    assert len(moved(sandbox)) == 1


def test_while_it_is_in_doubt_another_amount_is_refused(hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="100", deferrable=True)
    with pytest.raises(e.WhiteBitValidationError, match="Whether money moved is not known"):
        hook.flex_invest(plan_id=USDT, amount="90")
    assert hook.flex_invest(plan_id=USDT, amount="100").amount == 100
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize("then", ["retried", "cleared", "with another key"])
def test_what_the_exchange_has_refused_may_be_asked_for_again(hook, make_hook, sandbox, as_task, monkeypatch, then):
    def begin(number):
        as_task(number)
        return journals.current_context()["ti"]

    def body(hook):
        for _ in range(2):
            try:
                return hook.flex_invest(plan_id=USDT, amount="20000")
            except e.WhiteBitNotEnoughBalanceError:
                sandbox.fund("USDT", "50000")

    begin(1)
    receipt = body(hook)
    assert receipt.status == "executed"
    instance = begin(2)
    if then == "cleared":
        instance.max_tries += 1
    if then == "with another key":
        sandbox.add_key("second-key", "second-secret")
        hook = make_hook(key="second-key", secret="second-secret")
    assert body(hook) == receipt
    assert [entry["transaction_id"] for entry in moved(sandbox)] == [receipt.transaction_id]


def test_what_was_made_after_many_refusals_is_told_of(make_hook, sandbox, as_task):
    hook = make_hook(allowed_tickers="USDT")
    as_task(1)
    for ticker in ("BTC", "ETH", "SOL"):
        with pytest.raises(e.WhiteBitLimitError):
            hook.flex_invest(ticker=ticker, amount="5", key=ticker)
    hook.flex_invest(plan_id=USDT, amount="100")
    as_task(2)
    with pytest.raises(e.WhiteBitLimitError, match="Already moved by this task: flex_invest 100 USDT"):
        hook.flex_invest(ticker="BTC", amount="5", key="BTC")
    with pytest.raises(e.WhiteBitValidationError, match="Already moved by this task: flex_invest 100 USDT"):
        hook.flex_invest(ticker="BTC", amount="0")


def test_several_moves_are_tried_and_then_made(hook, sandbox, as_task):
    asks = [
        {"plan_id": USDT, "amount": "100", "key": "first"},
        {"ticker": "BTC", "amount": "0.5", "key": "bitcoin"},
        {"plan_id": USDT, "amount": "333", "key": "third"},
    ]
    as_task(1)
    assert [hook.flex_invest(**ask, dry_run=True).status for ask in asks] == ["planned"] * 3
    first = hook.flex_invest(**asks[0])
    as_task(2)
    assert [hook.flex_invest(**ask, dry_run=True).status for ask in asks] == ["executed", "planned", "planned"]
    assert [hook.flex_invest(**ask).amount for ask in asks] == [100, Decimal("0.5"), 333]
    assert moved(sandbox)[0]["transaction_id"] == first.transaction_id
    assert len(moved(sandbox)) == 3


def test_a_deferred_run_goes_on_with_other_hooks(make_hook, sandbox, as_task):
    """As in ``dag.test()``: in the same process, and each move with a hook of its own."""

    def resumed(event):
        hook = make_hook()
        hook.resume(event)
        return hook

    as_task(1)
    first = make_hook().flex_invest(plan_id=USDT, amount="100")
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater) as later:
        make_hook().flex_invest(plan_id=USDT, amount="50", key="b", deferrable=True)
    event = {"intent": later.value.intent.to_json(), "sent": later.value.sent}
    assert resumed(event).flex_invest(plan_id=USDT, amount="100") == first
    assert resumed(event).flex_invest(plan_id=USDT, amount="50", key="b").amount == 50
    assert resumed(event).flex_invest(plan_id=USDT, amount="17", key="c").amount == 17
    assert len(moved(sandbox)) == 3


def test_a_deferred_run_may_render_another_amount(make_hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater) as later:
        make_hook().flex_invest(plan_id=USDT, amount="100", key="flex_invest", deferrable=True)
    again = make_hook()
    again.resume({"intent": later.value.intent.to_json(), "sent": later.value.sent})
    assert again.flex_invest(plan_id=USDT, amount="90", key="flex_invest").amount == 100


def test_another_run_of_the_same_name_in_one_process(hook, sandbox, as_task):
    """A dag run that was deleted and made again under its name counts as cleared: its journal is still there."""
    for started in ("1", "2"):
        as_task(1, started=started)
        journals.current_context()["ti"].id = started
        assert hook.flex_invest(plan_id=USDT, amount="100", key="flex_invest").amount == 100
    as_task(1, started="3")
    with pytest.raises(e.WhiteBitAlreadyMovedError):
        hook.flex_invest(plan_id=USDT, amount="200", key="flex_invest")
    assert len(moved(sandbox)) == 1


def test_threads_of_one_task_that_make_the_same_move_make_it_once(hook, sandbox, as_task):
    as_task(1)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda amount: hook.flex_invest(ticker="USDT", amount=amount), ["20"] * 4))
    assert [receipt.amount for receipt in made] == [20] * 4
    assert len({receipt.transaction_id for receipt in made}) == len(moved(sandbox)) == 1


def test_threads_of_one_task_make_moves_with_keys_of_their_own(hook, sandbox, as_task):
    as_task(1)
    amounts = ["21", "22", "23", "24"]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda amount: hook.flex_invest(ticker="USDT", amount=amount, key=amount), amounts))
    assert [str(receipt.amount) for receipt in made] == amounts
    assert len(moved(sandbox)) == 4


def test_a_name_that_is_taken_by_a_doubt_does_not_say_that_nothing_moved(hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="100", key="idle", deferrable=True)
    with pytest.raises(e.WhiteBitValidationError, match="Whether money moved is not known"):
        hook.flex_invest(plan_id=USDT, amount="90", key="idle")
    assert hook.flex_invest(plan_id=USDT, amount="100.0", key="idle").reconciled
    assert len(moved(sandbox)) == 1


def test_a_task_that_swallows_a_deferral_means_the_same_move(hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="100", deferrable=True)
    assert hook.flex_invest(plan_id=USDT, amount="100").reconciled
    assert len(moved(sandbox)) == 1


def less_if_need_be(hook):
    """What a task does that wants to invest all that it may."""
    try:
        return hook.flex_invest(plan_id=USDT, amount="30000")
    except e.WhiteBitNotEnoughBalanceError:
        return hook.flex_invest(plan_id=USDT, amount="50", key="less")


def cleared(as_task, number):
    as_task(number)
    journals.current_context()["ti"].max_tries += 1


@pytest.mark.parametrize("then", ["retried", "cleared"])
def test_what_a_task_was_refused_is_not_made_beside_what_it_made_instead(hook, sandbox, as_task, then):
    as_task(1)
    first = less_if_need_be(hook)
    sandbox.fund("USDT", "100000")
    as_task(2) if then == "retried" else cleared(as_task, 2)
    assert less_if_need_be(hook) == first
    assert [entry["transaction_id"] for entry in moved(sandbox)] == [first.transaction_id]


def test_what_a_task_was_refused_is_not_made_beside_a_doubt(hook, sandbox, as_task):
    as_task(1)
    with pytest.raises(e.WhiteBitNotEnoughBalanceError):
        hook.flex_invest(plan_id=USDT, amount="30000")
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="50", key="less", deferrable=True)
    sandbox.fund("USDT", "100000")
    cleared(as_task, 2)
    with pytest.raises(e.WhiteBitNotEnoughBalanceError, match="Whether money moved is not known"):
        hook.flex_invest(plan_id=USDT, amount="30000")
    assert less_if_need_be(hook).reconciled
    assert len(moved(sandbox)) == 1


def test_what_a_limit_kept_back_is_not_made_beside_what_was_made_instead(make_hook, sandbox, as_task):
    as_task(1)
    limited = make_hook(max_move={"USDT": "50"})
    with pytest.raises(e.WhiteBitLimitError):
        limited.flex_invest(plan_id=USDT, amount="100")
    limited.flex_invest(plan_id=USDT, amount="50", key="less")
    as_task(2)
    hook = make_hook()
    with pytest.raises(e.WhiteBitLimitError, match="Already moved by this task: flex_invest 50 USDT") as caught:
        hook.flex_invest(plan_id=USDT, amount="100")
    assert "its move 'less'" in str(caught.value) and "No money moved" not in str(caught.value)
    assert hook.flex_invest(plan_id=USDT, amount="50", key="less").amount == 50
    assert len(moved(sandbox)) == 1


def test_what_was_refused_is_made_if_what_came_instead_was_not(hook, sandbox, as_task):
    def both():
        for amount, key in (("30000", "much"), ("20000", "less")):
            with contextlib.suppress(e.WhiteBitNotEnoughBalanceError):
                hook.flex_invest(plan_id=USDT, amount=amount, key=key)

    as_task(1)
    both()
    sandbox.fund("USDT", "30000")
    cleared(as_task, 2)
    both()
    assert [entry["amount"] for entry in moved(sandbox)] == ["30000"]


def test_a_cleared_task_does_not_make_what_it_was_refused_before_another_plan(hook, sandbox, as_task):
    """A task that goes on to another plan after a refusal never makes both, even if it is cleared."""

    def all_of_them():
        made = []
        for ticker, amount in (("USDT", "30000"), ("SOL", "2")):
            with contextlib.suppress(e.WhiteBitNotEnoughBalanceError):
                made.append(hook.flex_invest(ticker=ticker, amount=amount, key=ticker))
        return made

    as_task(1)
    sandbox.fund("SOL", "10")
    assert [receipt.ticker for receipt in all_of_them()] == ["SOL"]
    sandbox.fund("USDT", "100000")
    cleared(as_task, 2)
    assert [receipt.ticker for receipt in all_of_them()] == ["SOL"]
    assert len(moved(sandbox)) == 1


def test_a_cleared_task_does_not_make_what_it_was_refused_before_another_connection(
    hook, sandbox, as_task, monkeypatch
):
    sandbox.add_key("second-key", "second-secret")
    known = json.loads(sandbox.connection_json) | {"login": "second-key", "password": "second-secret"}
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_SECOND", json.dumps(known))
    other = WhiteBitHook("whitebit_second")

    def both():
        with contextlib.suppress(e.WhiteBitNotEnoughBalanceError):
            hook.flex_invest(plan_id=USDT, amount="30000")
        other.flex_invest(plan_id=USDT, amount="50", key="second")

    as_task(1)
    both()
    sandbox.fund("USDT", "100000")
    cleared(as_task, 2)
    both()
    assert [entry["amount"] for entry in moved(sandbox)] == ["50"]


def test_a_cleared_task_does_not_make_what_it_was_refused_under_another_key(hook, sandbox, as_task):
    def both():
        with contextlib.suppress(e.WhiteBitNotEnoughBalanceError):
            hook.flex_invest(plan_id=USDT, amount="30000", key="much")
        hook.flex_invest(plan_id=USDT, amount="50", key="little")

    as_task(1)
    both()
    sandbox.fund("USDT", "100000")
    cleared(as_task, 2)
    both()
    assert [entry["amount"] for entry in moved(sandbox)] == ["50"]


@pytest.mark.parametrize(("then", "amount"), [("retried", "30000"), ("cleared", "30000"), ("cleared", "0")])
def test_an_error_names_what_the_task_went_on_to(hook, as_task, then, amount):
    as_task(1)
    less_if_need_be(hook)
    as_task(2) if then == "retried" else cleared(as_task, 2)
    with pytest.raises(e.WhiteBitError, match="Already moved by this task: flex_invest 50 USDT"):
        hook.flex_invest(plan_id=USDT, amount=amount)


def test_an_error_names_what_the_task_went_on_to_from_a_step(hook, sandbox, as_task):
    as_task(1)
    with pytest.raises(e.WhiteBitValidationError, match="the spot balance holds 0 USDT"):
        hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral")
    hook.flex_invest(plan_id=USDT, amount="50", key="instead")
    as_task(2)
    with pytest.raises(e.WhiteBitValidationError, match="Already moved by this task: flex_invest 50 USDT"):
        hook.transfer(ticker="USDT", amount="0", source="spot", target="collateral")


@pytest.fixture
def interrupted(monkeypatch):
    """The first move runs, and then its process does not get the answer."""
    original, sent = MovingClient.send_move, []

    def send(self, call, *, nonce):
        reference = original(self, call, nonce=nonce)
        sent.append(reference)
        if len(sent) == 1:
            raise KeyboardInterrupt
        return reference

    monkeypatch.setattr(MovingClient, "send_move", send)


def test_a_task_that_was_interrupted_does_not_go_on_to_another_move(hook, sandbox, as_task, interrupted):
    as_task(1)
    with pytest.raises(KeyboardInterrupt):
        hook.flex_invest(plan_id=USDT, amount="100")
    with pytest.raises(e.WhiteBitUnavailableError, match="Whether money moved is not known") as caught:
        hook.flex_invest(plan_id=USDT, amount="50", key="less")
    assert "its move 'less' was not sent" in str(caught.value).replace("\n", " ")
    assert hook.flex_invest(plan_id=USDT, amount="100").reconciled
    assert len(moved(sandbox)) == 1


def test_a_task_does_not_go_on_to_another_move_beside_a_doubt(hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="100", deferrable=True)
    with pytest.raises(e.WhiteBitUnavailableError, match="Whether money moved is not known"):
        hook.flex_invest(plan_id=USDT, amount="50", key="less")
    assert len(moved(sandbox)) == 1


def test_a_task_does_not_go_on_to_another_move_beside_one_of_an_earlier_run(hook, sandbox, lost):
    lost()
    assert hook.flex_invest(plan_id=USDT, amount="100").reconciled
    with pytest.raises(e.WhiteBitValidationError):
        hook.flex_invest(ticker="BTC", amount="0", key="flex_invest")
    assert hook.flex_invest(ticker="BTC", amount="0.5", key="another").amount == Decimal("0.5")


@pytest.mark.parametrize("wrong", [{"amount": "0"}, {"dry_run": "perhaps"}])
def test_what_could_not_be_read_is_not_made_beside_what_was_made_instead(hook, sandbox, as_task, wrong):
    as_task(1)
    with pytest.raises(e.WhiteBitValidationError):
        hook.flex_invest(**{"plan_id": USDT, "amount": "100", **wrong})
    hook.flex_invest(plan_id=USDT, amount="50", key="less")
    cleared(as_task, 2)
    with pytest.raises(e.WhiteBitValidationError, match="Already moved by this task: flex_invest 50 USDT"):
        hook.flex_invest(plan_id=USDT, amount="100")
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize("source", ["main", "spot"])
def test_a_transfer_that_could_not_be_read_is_not_made_beside_what_was_made_instead(hook, sandbox, as_task, source):
    as_task(1)
    sandbox.control("POST", "fund", {"ticker": "USDT", "amount": "300", "account": "spot"})
    with pytest.raises(e.WhiteBitValidationError):
        hook.transfer(ticker="USDT", amount="0", source=source, target="collateral")
    hook.flex_invest(plan_id=USDT, amount="50", key="instead")
    cleared(as_task, 2)
    with pytest.raises(e.WhiteBitValidationError, match="Already moved by this task: flex_invest 50 USDT"):
        hook.transfer(ticker="USDT", amount="100", source=source, target="collateral")
    assert hook.balances("collateral", "USDT")["USDT"] == 0


def test_a_dry_run_that_fails_excludes_no_move(hook, sandbox, as_task):
    as_task(1)
    for amount in ("0", "5"):
        with pytest.raises(e.WhiteBitValidationError):
            hook.flex_invest(plan_id=USDT, amount=amount, dry_run=True)
    hook.flex_invest(plan_id=USDT, amount="50", key="less")
    as_task(2)
    assert hook.flex_invest(plan_id=USDT, amount="100").amount == 100


def test_a_dry_run_after_a_refusal_does_not_forget_it(hook, sandbox, as_task):
    as_task(1)
    with pytest.raises(e.WhiteBitNotEnoughBalanceError):
        hook.flex_invest(plan_id=USDT, amount="30000")
    hook.flex_invest(plan_id=USDT, amount="30000", dry_run=True)
    hook.flex_invest(plan_id=USDT, amount="50", key="less")
    sandbox.fund("USDT", "100000")
    cleared(as_task, 2)
    with pytest.raises(e.WhiteBitNotEnoughBalanceError):
        hook.flex_invest(plan_id=USDT, amount="30000")
    assert len(moved(sandbox)) == 1


def test_what_a_wrong_connection_kept_back_is_not_made_beside_another(two_accounts, sandbox, as_task, monkeypatch):
    one, other = two_accounts
    raw = json.loads(os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    as_task(1)
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps({**raw, "extra": {"reconcile_margin": "ten"}}))
    with pytest.raises(e.WhiteBitConfigurationError):
        WhiteBitHook().flex_invest(plan_id=USDT, amount="100")
    other.flex_invest(plan_id=USDT, amount="100", key="other")
    cleared(as_task, 2)
    with pytest.raises(e.WhiteBitConfigurationError, match="Already moved by this task"):
        one.flex_invest(plan_id=USDT, amount="100")
    assert keys(sandbox) == ["second-key"]


def test_a_stalled_run_does_not_make_what_its_retry_went_on_from(make_hook, sandbox, as_task, monkeypatch):
    """No journal stops a first try that wakes up: it reads that a later one has gone on."""

    def begin(number):
        as_task(number)
        instance = journals.current_context()["ti"]
        monkeypatch.setattr(journals, "current_context", lambda: {"ti": instance})

    limited, stalled, original = make_hook(max_move={"USDT": "50"}), make_hook(), MovingClient.claim_nonce
    overtaken = []

    def claim(self, nonce, *, call):
        if not overtaken:
            overtaken.append(1)
            begin(2)
            with pytest.raises(e.WhiteBitLimitError):
                limited.flex_invest(plan_id=USDT, amount="100")
            limited.flex_invest(plan_id=USDT, amount="50", key="less")
        return original(self, nonce, call=call)

    monkeypatch.setattr(MovingClient, "claim_nonce", claim)
    begin(1)
    with pytest.raises(e.WhiteBitJournalError, match="later run of this task has taken over"):
        stalled.flex_invest(plan_id=USDT, amount="100")
    assert len(moved(sandbox)) == 1


def test_threads_that_begin_at_once_are_one_run_of_the_task(hook, sandbox, as_task, monkeypatch):
    as_task(1)
    both, begun, kind = threading.Barrier(2, timeout=20), [], task_run.TaskRun

    def meet():
        begun.append(1)
        if len(begun) <= 2:
            both.wait()
        return kind()

    monkeypatch.setattr(task_run, "TaskRun", meet)

    def invest(amount):
        try:
            return hook.flex_invest(plan_id=USDT, amount=amount)
        except e.WhiteBitValidationError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(invest, ["20", "21"]))
    assert [isinstance(one, Receipt) for one in ended].count(True) == len(moved(sandbox)) == 1
    assert any("for two moves" in str(one) for one in ended)


@pytest.fixture
def no_second_step(sandbox, monkeypatch):
    """A transfer from spot to collateral whose second step does not get the lock, the first time."""
    sandbox.control("POST", "fund", {"ticker": "USDT", "amount": "300", "account": "spot"})
    original, calls = executor.execute_move, []

    def step(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise e.WhiteBitUnavailableError("Other moves held the lock.", money_moved=False)
        return original(*args, **options)

    monkeypatch.setattr(executor, "execute_move", step)


def test_a_transfer_that_is_asked_for_again_goes_on_at_its_second_step(hook, sandbox, as_task, no_second_step):
    as_task(1)
    with pytest.raises(e.WhiteBitUnavailableError, match="Already moved by this task"):
        hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral")
    hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral")
    assert (hook.balances("spot", "USDT")["USDT"], hook.balances("collateral", "USDT")["USDT"]) == (200, 100)
    with pytest.raises(
        e.WhiteBitValidationError, match=r"Already moved .*: transfer 100 USDT from spot to main; transfer 100 USDT"
    ):
        hook.transfer(ticker="USDT", amount="0", source="spot", target="collateral")


def test_another_transfer_than_the_one_that_failed(hook, as_task, no_second_step):
    as_task(1)
    with pytest.raises(e.WhiteBitUnavailableError):
        hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral")
    with pytest.raises(e.WhiteBitValidationError, match="key='transfer' for two moves"):
        hook.transfer(ticker="USDT", amount="100", source="spot", target="main")
    hook.transfer(ticker="USDT", amount="100", source="spot", target="main", key="another")
    assert hook.balances("spot", "USDT")["USDT"] == 100


@pytest.mark.parametrize("then", ["retried", "cleared"])
@pytest.mark.parametrize(
    ("first", "later"),
    [
        (("main", "collateral"), ("spot", "collateral")),
        (("spot", "collateral"), ("main", "collateral")),
        (("spot", "collateral"), ("spot", "main")),
        (("spot", "main"), ("spot", "collateral")),
    ],
)
def test_a_transfer_on_another_route_does_not_move_again(hook, sandbox, as_task, first, later, then):
    for account in ("main", "spot"):
        sandbox.control("POST", "fund", {"ticker": "USDT", "amount": "300", "account": account})
    as_task(1)
    hook.transfer(ticker="USDT", amount="100", source=first[0], target=first[1])
    held = hook.balances("collateral", "USDT"), hook.balances("spot", "USDT")
    as_task(2) if then == "retried" else cleared(as_task, 2)
    with pytest.raises(WhiteBitAlreadyMovedError, match="Already moved by this task: transfer 100 USDT from"):
        hook.transfer(ticker="USDT", amount="100", source=later[0], target=later[1])
    assert (hook.balances("collateral", "USDT"), hook.balances("spot", "USDT")) == held


def test_a_transfer_on_another_route_beside_a_doubt(hook, sandbox, as_task):
    sandbox.control("POST", "fund", {"ticker": "USDT", "amount": "300", "account": "spot"})
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/transfer", count=1)
    with pytest.raises(ReconcileLater):
        hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral", deferrable=True)
    as_task(2)
    with pytest.raises(e.WhiteBitValidationError, match="Whether money moved is not known"):
        hook.transfer(ticker="USDT", amount="100", source="spot", target="main")
    assert hook.balances("spot", "USDT")["USDT"] == 200


def test_transfers_whose_keys_look_like_steps_are_two(hook, as_task):
    def both():
        for key in ("usdt", "usdt.1"):
            hook.transfer(ticker="USDT", amount="100", source="main", target="spot", key=key)

    as_task(1)
    both()
    as_task(2)
    both()
    assert hook.balances("spot", "USDT")["USDT"] == 200


@pytest.mark.parametrize("taken", ["transfer.1", "transfer.2"])
def test_a_transfer_whose_step_has_the_key_of_another_move(hook, sandbox, as_task, taken):
    sandbox.control("POST", "fund", {"ticker": "USDT", "amount": "300", "account": "spot"})
    whole = {"ticker": "USDT", "amount": "100", "source": "spot", "target": "collateral"}
    as_task(1)
    hook.flex_invest(plan_id=USDT, amount="50", key=taken)
    with pytest.raises(e.WhiteBitValidationError, match="for two moves") as caught:
        hook.transfer(**whole)
    line = "transfer(ticker='USDT', amount='100', source='spot', target='collateral', key='transfer USDT')"
    assert line in str(caught.value)
    assert hook.balances("spot", "USDT")["USDT"] == 300
    made = hook.transfer(**whole, key="transfer USDT")
    assert hook.transfer(**whole, key="transfer USDT", dry_run=True) == made
    with pytest.raises(e.WhiteBitValidationError, match="for two moves"):
        hook.flex_invest(plan_id=USDT, amount="50", key="transfer USDT.2")


def test_a_third_transfer_in_doubt_is_told_of(hook, as_task, sandbox):
    def transfer(amount, key=None):
        return hook.transfer(ticker="USDT", amount=amount, source="main", target="spot", key=key, deferrable=True)

    as_task(1)
    for amount in ("10", "20"):
        transfer(amount, key=amount)
    sandbox.fault("lost_reply_after", path="*/transfer", count=1)
    with pytest.raises(ReconcileLater):
        transfer("30")
    as_task(2)
    with pytest.raises(e.WhiteBitValidationError, match="Whether money moved is not known"):
        transfer("0")


def test_a_journal_that_is_no_json_is_no_other_error(hook, as_task, monkeypatch):
    as_task(2)
    instance = journals.current_context()["ti"]
    monkeypatch.setattr(journals, "current_context", lambda: {"ti": instance})
    monkeypatch.setattr(stores, "read_variables", all_by(lambda name: None if "from_" in name else "{broken"))
    with pytest.raises(e.WhiteBitValidationError, match="Whether money moved is not known"):
        hook.transfer(ticker="USDT", amount="0", source="spot", target="main")
    with pytest.raises(e.WhiteBitError, match="not valid JSON"):
        hook.flex_invest(plan_id=USDT, amount="100")


def plan(amount):
    move = Move(Operation.FLEX_INVEST, USDT, "USDT", Decimal(amount))
    return TreasuryPlan(moves=(PlannedMove(move, "idle"),))


@dataclass
class Ask:
    """A request whose plan the test decides."""

    make_plan: Callable[[Sequence[Receipt]], TreasuryPlan]
    requested: dict[str, object]
    accounts = ()
    reads_holdings = False

    def to_json(self):
        return self.requested

    def plan(self, holdings, now, made):
        return self.make_plan(made)


def test_what_was_refused_is_not_made_beside_a_plan_that_came_instead(hook, sandbox, as_task):
    def both():
        with contextlib.suppress(e.WhiteBitNotEnoughBalanceError):
            hook.flex_invest(plan_id=USDT, amount="30000")
        return hook.execute_plan(Ask(lambda made: plan(100), {"p": 1}))

    as_task(1)
    assert [receipt.amount for receipt in both().receipts] == [100]
    sandbox.fund("USDT", "100000")
    cleared(as_task, 2)
    assert [receipt.amount for receipt in both().receipts] == [100]
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize("then", ["retried", "cleared"])
def test_a_plan_that_failed_is_not_carried_out_beside_what_was_made_instead(hook, sandbox, as_task, then):
    def either():
        try:
            return hook.execute_plan(Ask(lambda made: plan(30000), {"p": 1})).receipts
        except WhiteBitPlanError:
            return (hook.flex_invest(plan_id=USDT, amount="50", key="less"),)

    as_task(1)
    first = either()
    sandbox.fund("USDT", "100000")
    as_task(2) if then == "retried" else cleared(as_task, 2)
    with pytest.raises(WhiteBitPlanError, match="Already moved by this task: flex_invest 50 USDT") as caught:
        hook.execute_plan(Ask(lambda made: plan(30000), {"p": 1}))
    assert "its move 'less'" in str(caught.value)
    assert either() == first
    assert len(moved(sandbox)) == 1


def test_a_plan_that_failed_is_not_carried_out_beside_another_plan(hook, sandbox, as_task):
    as_task(1)
    with pytest.raises(WhiteBitPlanError):
        hook.execute_plan(Ask(lambda made: plan(30000), {"p": 1}), key="much")
    hook.execute_plan(Ask(lambda made: plan(50), {"p": 2}), key="little")
    sandbox.fund("USDT", "100000")
    cleared(as_task, 2)
    with pytest.raises(WhiteBitPlanError, match="Already moved by this task: flex_invest 50 USDT"):
        hook.execute_plan(Ask(lambda made: plan(30000), {"p": 1}), key="much")
    assert len(moved(sandbox)) == 1


def test_a_plan_that_failed_is_carried_out_if_nothing_came_instead(hook, sandbox, as_task):
    as_task(1)
    with pytest.raises(WhiteBitPlanError):
        hook.execute_plan(Ask(lambda made: plan(30000), {"p": 1}))
    with pytest.raises(e.WhiteBitNotEnoughBalanceError):
        hook.flex_invest(plan_id=USDT, amount="20000", key="less")
    sandbox.fund("USDT", "100000")
    assert [one.amount for one in hook.execute_plan(Ask(lambda made: plan(30000), {"p": 1})).receipts] == [30000]
    assert len(moved(sandbox)) == 1


def test_nothing_is_made_beside_a_plan_that_made_some_of_its_moves(hook, sandbox, as_task):
    bitcoin = PlannedMove(Move(Operation.FLEX_INVEST, USDT, "BTC", Decimal("0.001")), "wrong")
    as_task(1)
    with pytest.raises(WhiteBitPlanError):
        hook.execute_plan(Ask(lambda made: TreasuryPlan(moves=(*plan(100).moves, bitcoin)), {"p": 1}))
    with pytest.raises(WhiteBitPlanError, match="Already moved by this task: flex_invest 100 USDT") as caught:
        hook.flex_invest(plan_id=USDT, amount="50", key="less")
    assert "its move 'less' was not sent" in str(caught.value)
    assert len(moved(sandbox)) == 1


def test_nothing_is_made_beside_a_plan_in_doubt(hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.execute_plan(Ask(lambda made: plan(100), {"p": 1}), deferrable=True)
    with pytest.raises(e.WhiteBitUnavailableError, match="Whether money moved is not known"):
        hook.flex_invest(plan_id=USDT, amount="50", key="less")
    assert hook.execute_plan(Ask(lambda made: [plan(100), plan(17)][len(made)], {"p": 1})).receipts[0].reconciled
    assert [entry["amount"] for entry in moved(sandbox)] == ["100", "17"]


@pytest.mark.parametrize("fault", ["lost_reply_after", "lost_reply_before"])
def test_no_plan_is_carried_out_beside_a_doubt(hook, sandbox, as_task, fault):
    as_task(1)
    sandbox.fault(fault, path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="100", deferrable=True)
    with pytest.raises(e.WhiteBitError, match="Whether money moved is not known") as caught:
        hook.execute_plan(Ask(lambda made: plan(50), {"p": 1}))
    assert caught.value.money_moved is None
    assert hook.flex_invest(plan_id=USDT, amount="100").amount == 100
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize("second", ["move", "plan"])
def test_a_stalled_run_does_not_go_on_from_what_its_retry_made(hook, sandbox, as_task, monkeypatch, second):
    """Its first move was refused. Then the task was cleared, the account funded, and the first move made."""

    def begin(number):
        as_task(number)
        instance = journals.current_context()["ti"]
        monkeypatch.setattr(journals, "current_context", lambda: {"ti": instance})

    original, stalls = MovingClient.claim_nonce, []

    def claim(self, nonce, *, call):
        if stalls:
            stalls.clear()
            sandbox.fund("USDT", "100000")
            first = journals.current_context()["ti"]
            begin(2)
            journals.current_context()["ti"].max_tries += 1
            assert hook.flex_invest(plan_id=USDT, amount="30000").amount == 30000
            monkeypatch.setattr(journals, "current_context", lambda: {"ti": first})
        return original(self, nonce, call=call)

    monkeypatch.setattr(MovingClient, "claim_nonce", claim)
    begin(1)
    with pytest.raises(e.WhiteBitNotEnoughBalanceError):
        hook.flex_invest(plan_id=USDT, amount="30000")
    stalls.append("before its next lock")
    with pytest.raises(e.WhiteBitRefusedError, match="Already moved by this task: flex_invest 30000 USDT"):
        if second == "move":
            hook.flex_invest(plan_id=USDT, amount="50", key="less")
        else:
            hook.execute_plan(Ask(lambda made: plan(50), {"p": 1}))
    assert [entry["amount"] for entry in moved(sandbox)] == ["30000"]


def test_two_plans_of_one_task_need_two_names(hook, sandbox, as_task):
    as_task(1)
    hook.execute_plan(Ask(lambda made: plan(100), {"policy": "one"}))
    with pytest.raises(e.WhiteBitValidationError, match="key='plan' for two moves"):
        hook.execute_plan(Ask(lambda made: plan(200), {"policy": "two"}))
    two = hook.execute_plan(Ask(lambda made: plan(200), {"policy": "two"}), key="two")
    assert [receipt.amount for receipt in two.receipts] == [200]
    assert len(moved(sandbox)) == 2


def test_a_dry_run_of_a_plan_that_was_begun(hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.execute_plan(Ask(lambda made: plan(100), {"p": 1}), deferrable=True)
    as_task(2)

    def make_plan(made):
        return plan(17) if made else plan(100)

    # Rehearsed and carried out in one task: what was on its way is found out by the rehearsal already.
    rehearsed = hook.execute_plan(Ask(make_plan, {"p": 1}), dry_run=True)
    assert (rehearsed.status, [one.reconciled for one in rehearsed.receipts]) == ("planned", [True])
    assert [planned.move.amount for planned in rehearsed.plan.moves] == [17]
    assert len(moved(sandbox)) == 1
    made = hook.execute_plan(Ask(make_plan, {"p": 1}))
    assert [receipt.amount for receipt in made.receipts] == [100, 17]
    as_task(3)
    again = hook.execute_plan(Ask(make_plan, {"p": 1}), dry_run=True)
    assert (again.status, again.receipts) == ("executed", made.receipts)
    assert len(moved(sandbox)) == 2


def test_a_rehearsal_that_is_refused_tells_what_was_made(hook, make_hook, sandbox, as_task):
    bitcoin = PlannedMove(Move(Operation.FLEX_INVEST, USDT, "BTC", Decimal("0.001")), "wrong")
    as_task(1)
    with pytest.raises(WhiteBitPlanError, match="Already moved by this task: flex_invest 100 USDT"):
        hook.execute_plan(Ask(lambda made: TreasuryPlan(moves=(*plan(100).moves, bitcoin)), {"p": 1}))
    as_task(2)
    with pytest.raises(e.WhiteBitLimitError, match=r"Already moved .*: flex_invest 100 USDT") as caught:
        make_hook(max_move={"USDT": "50"}).execute_plan(Ask(lambda made: plan(60), {"p": 1}), dry_run=True)
    assert "No money moved" not in str(caught.value)


@pytest.mark.parametrize(("first", "name"), [("flex_invest", "flex_invest"), (None, "flex_invest"), ("plan", "plan.1")])
def test_a_name_is_that_of_one_move(hook, sandbox, as_task, first, name):
    as_task(1)
    if first == "plan":
        hook.execute_plan(Ask(lambda made: plan(100), {"p": 1}))
    else:
        hook.flex_invest(plan_id=USDT, amount="100", key=first)
    with pytest.raises(e.WhiteBitValidationError, match="for two moves"):
        hook.flex_invest(plan_id=USDT, amount="200", key=name)
    assert len(moved(sandbox)) == 1


def test_a_key_is_not_that_of_a_later_plans_move(hook, sandbox, as_task):
    as_task(1)
    receipt = hook.flex_invest(plan_id=USDT, amount="50", key="plan.1")
    with pytest.raises(e.WhiteBitValidationError, match=r"for two moves(?s:.*)Give the second move a key"):
        hook.execute_plan(Ask(lambda made: plan(100), {"p": 1}))
    assert hook.flex_invest(plan_id=USDT, amount="50", key="plan.1") == receipt
    hook.execute_plan(Ask(lambda made: plan(100), {"p": 1}), key="idle")
    assert [entry["amount"] for entry in moved(sandbox)] == ["50", "100"]


@pytest.mark.parametrize("names", [("plan", "plan.1"), ("plan.1", "plan")])
def test_a_plans_key_is_not_that_of_another_plans_move(hook, sandbox, as_task, names):
    as_task(1)
    hook.execute_plan(Ask(lambda made: plan(100), {"p": 1}), key=names[0])
    with pytest.raises(e.WhiteBitValidationError, match="for two moves"):
        hook.execute_plan(Ask(lambda made: plan(100), {"p": 1}), key=names[1])
    assert len(moved(sandbox)) == 1


def test_a_move_without_a_name_is_not_one_with_a_name(hook, sandbox, as_task):
    as_task(1)
    hook.flex_invest(plan_id=USDT, amount="200", key="flex_invest")
    with pytest.raises(e.WhiteBitValidationError, match="for two moves"):
        hook.flex_invest(plan_id=USDT, amount="100")
    assert len(moved(sandbox)) == 1


def test_limits_that_came_later_do_not_stop_a_plan_that_keeps_to_them(make_hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_before", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        make_hook().execute_plan(Ask(lambda made: plan(100), {"p": 1}), deferrable=True)
    as_task(2)
    outcome = make_hook(max_move={"USDT": "50"}).execute_plan(Ask(lambda made: plan(40), {"p": 1}))
    assert [receipt.amount for receipt in outcome.receipts] == [40]
    assert len(moved(sandbox)) == 1


def test_a_policy_that_became_unreadable_does_not_say_that_nothing_moved(hook, sandbox, as_task):
    def sweep(**policy):
        task = WhiteBitSweepOperator(task_id="t", policy={"USDT": {"plans": {"only": [USDT]}, **policy}})
        task.__dict__["hook"] = hook
        return task

    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    first = sweep(reserve="2500")
    first.deferrable = True
    first.defer = lambda **options: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        first.execute({})
    as_task(2)
    with pytest.raises(REFUSED, match="Whether money moved is not known"):
        sweep(reserv="2500").execute({})
    assert [one["amount"] for one in sweep(reserve="2500").execute({})["receipts"]] == ["7500"]
    with pytest.raises(REFUSED, match="Already moved by this task: flex_invest 7500 USDT"):
        sweep(reserv="2500").execute({})
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize("field", ["with_reinvest", "dry_run"])
def test_an_operator_whose_field_became_unreadable_returns_what_was_made(hook, sandbox, lost, field):
    lost(key="flex_invest")
    task = WhiteBitFlexInvestOperator(task_id="t", plan_id=USDT, amount="100", **{field: "perhaps"})
    task.__dict__["hook"] = hook
    receipt = task.execute({"ti": SimpleNamespace(xcom_push=lambda name, value: None)})
    assert receipt["reconciled"] and receipt["transaction_id"] == moved(sandbox)[0]["transaction_id"]


@pytest.fixture
def two_accounts(make_hook, sandbox, monkeypatch):
    """Hooks of two connections; the second key is used as that of another account."""
    one = make_hook()
    sandbox.add_key("second-key", "second-secret")
    raw = json.loads(os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    other = json.dumps({**raw, "login": "second-key", "password": "second-secret"})
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", other)
    return one, WhiteBitHook("other")


def test_one_name_is_not_for_two_connections(two_accounts, sandbox, as_task):
    one, other = two_accounts
    as_task(1)
    one.flex_invest(plan_id=USDT, amount="100", key="idle usdt")
    with pytest.raises(e.WhiteBitValidationError, match="key='idle usdt' for two moves"):
        other.flex_invest(plan_id=USDT, amount="100", key="idle usdt")
    as_task(2)
    with pytest.raises(WhiteBitAlreadyMovedError, match="with the connection 'whitebit_default'") as caught:
        other.flex_invest(plan_id=USDT, amount="100", key="idle usdt")
    assert caught.value.money_moved is True
    assert keys(sandbox) == ["sandbox-key"]


def test_connections_in_another_order_move_nothing_twice(two_accounts, sandbox, as_task):
    one, other = two_accounts
    as_task(1)
    first = one.flex_invest(plan_id=USDT, amount="100")
    as_task(2)
    with pytest.raises(WhiteBitAlreadyMovedError, match=r"'other'(?s:.*)Already moved by this task: flex_invest 100"):
        other.flex_invest(plan_id=USDT, amount="100")
    as_task(3)
    assert one.flex_invest(plan_id=USDT, amount="100") == first
    other.flex_invest(plan_id=USDT, amount="100", key="other")
    assert keys(sandbox) == ["sandbox-key", "second-key"]


def test_the_advice_of_a_doubt_leaves_what_was_made(hook, sandbox, as_task, monkeypatch):
    """The second step of a transfer is in doubt and did not run: a person answers about that step alone."""
    as_task(1)
    sandbox.control("POST", "fund", {"ticker": "USDT", "amount": "300", "account": "spot"})
    original, calls = executor.execute_move, []

    def step(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            sandbox.fault("lost_reply_before", path="*/transfer", count=1)

            def wait(seconds):
                if not sandbox.control("GET", "faults") and len(calls) == 2:
                    calls.append("disturbed")
                    sandbox.fund("USDT", "7")
                sleep(seconds)

            sleep, options["sleep"] = options["sleep"], wait
        return original(*args, **options)

    monkeypatch.setattr(executor, "execute_move", step)
    with pytest.raises(e.WhiteBitInDoubtError) as caught:
        hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral")
    monkeypatch.setattr(executor, "execute_move", original)
    assert "1. Clear the task." in str(caught.value)
    assert "Already moved by this task: transfer 100 USDT from spot to main." in str(caught.value)
    assert caught.value.journal_entry.startswith("the Variables whose names begin with whitebit_move__d.t.transfer.2__")
    name = caught.value.intent_id
    nonces = tuple(json.loads(as_task.variables[f"{DOUBT}{name}"])["nonces"])
    answer = Resolution(name, nonces, Answer.DID_NOT_RUN, "jane", "Seen", pendulum.now("UTC"))
    as_task.variables[f"{RESOLUTION}{name}"] = json.dumps(answer.to_json())
    as_task(2)
    hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral")
    assert (hook.balances("spot", "USDT")["USDT"], hook.balances("collateral", "USDT")["USDT"]) == (200, 100)


def test_callbacks_and_dag_files_move_nothing(hook, sandbox, monkeypatch):
    monkeypatch.setitem(
        sys.modules, "airflow.sdk.execution_time.task_runner", SimpleNamespace(SUPERVISOR_COMMS=object())
    )
    with pytest.raises(e.WhiteBitConfigurationError, match="outside of a task") as caught:
        hook.flex_invest(plan_id=USDT, amount="100")
    assert "connection" not in str(caught.value)
    assert moved(sandbox) == []
    # What moves nothing is not refused.
    assert hook.flex_invest(plan_id=USDT, amount="100", dry_run=True).status == "planned"


def test_a_transfer_refused_for_its_route_is_not_made_beside_another_move(hook, sandbox, as_task):
    as_task(1)
    hook.transfer(ticker="USDT", amount="100", source="main", target="spot")
    as_task(2)
    with pytest.raises(e.WhiteBitValidationError):
        hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral")
    with pytest.raises(e.WhiteBitError):
        hook.transfer(ticker="USDT", amount="50", source="main", target="spot", key="instead")
    assert hook.balances("spot", "USDT")["USDT"] == 100
