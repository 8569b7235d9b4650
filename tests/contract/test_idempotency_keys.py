"""Moves and plans under an idempotency key, and mapped moves without one: no two tasks make the same move."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, TaskGroup

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.errors import WhiteBitAlreadyMovedError, WhiteBitError, WhiteBitValidationError
from airflow_provider_whitebit.hooks import journals
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.moves.drivers import ReconcileLater
from airflow_provider_whitebit.moves.journal import MemoryJournal
from airflow_provider_whitebit.operators.account import WhiteBitTransferOperator
from airflow_provider_whitebit.operators.fixed import WhiteBitFixedInvestOperator
from airflow_provider_whitebit.operators.flex import (
    WhiteBitFlexCloseOperator,
    WhiteBitFlexInvestOperator,
    WhiteBitFlexWithdrawOperator,
)
from airflow_provider_whitebit.operators.treasury import (
    WhiteBitRaiseLiquidityOperator,
    WhiteBitRebalanceOperator,
    WhiteBitSweepOperator,
)
from airflow_provider_whitebit.treasury.requests import ApprovedPlan, RaiseLiquidity, Sweep

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
KEY = "2026-11-29 desk 7"
POLICY = {"USDT": {"reserve": "2500", "plans": {"only": [USDT]}}}


def moved(sandbox):
    """What ran: Flex moves, and the Main balance's transfers."""
    return [entry for entry in sandbox.ledger()["transactions"] if entry["nonce"] is not None]


def sent(sandbox, path):
    return [one for one in sandbox.requests() if one["path"].endswith(path)]


#: Another task than ``as_task(1)``.
OTHERS = {
    "renamed task in a cleared run": {"task": "renamed", "cleared": 1, "started": "2"},
    "duplicate dag": {"dag": "copy"},
    "another run": {"run": "s", "started": "2"},
    "run that was made again": {"started": "2"},
    "other map index": {"index": 2, "cleared": 1},
    "cleared": {"number": 2, "max_tries": 4, "started": "2", "cleared": 1},
}


def test_the_iterations_of_a_loop_need_keys(hook, sandbox, as_task, monkeypatch):
    """They share dag, run, task and map index (Airflow 3.4)."""
    as_task(1)
    group: TaskGroup = type("LoopTaskGroup", (TaskGroup,), {})("loop", dag=DAG("d", schedule=None))
    journals.current_context()["ti"].task.task_group = TaskGroup("inner", parent_group=group)
    for ask in (hook.flex_invest, hook.flex_withdraw):
        with pytest.raises(WhiteBitValidationError, match=r"part of a loop(?s:.*)idempotency_key=") as caught:
            ask(plan_id=USDT, amount="100")
        assert caught.value.money_moved is False
    with pytest.raises(WhiteBitValidationError, match="part of a loop"):
        hook.execute_plan(Sweep(POLICY))
    assert moved(sandbox) == []
    hook.flex_invest(plan_id=USDT, amount="100", idempotency_key="iteration 0")
    hook.flex_invest(plan_id=USDT, amount="100", idempotency_key="iteration 1")
    assert len(moved(sandbox)) == 2


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_every_other_task_gets_the_receipt(hook, sandbox, as_task, caplog, other):
    as_task(1)
    first = hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY)
    as_task(**{"number": 1, **other})
    assert hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=f" {KEY}\n") == first
    if "number" not in other and other != {"started": "2"}:
        assert "was made by task t of d, run r: its receipt is returned" in caplog.text
    assert len(moved(sandbox)) == 1
    # Without the key, and under another one, the other task's moves are its own.
    assert hook.flex_invest(plan_id=USDT, amount="100", idempotency_key="another") != first
    assert len(moved(sandbox)) == 2


@pytest.mark.parametrize("dry_run", [False, True])
def test_other_parameters_are_refused(hook, sandbox, as_task, dry_run):
    as_task(1)
    hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY)
    calls = [
        lambda key: hook.flex_invest(plan_id=USDT, amount="101", idempotency_key=key, dry_run=dry_run),
        lambda key: hook.flex_invest(ticker="BTC", amount="0.5", idempotency_key=key, dry_run=dry_run),
        lambda key: hook.flex_withdraw(plan_id=USDT, amount="100", idempotency_key=key, dry_run=dry_run),
        lambda key: hook.flex_close(plan_id=USDT, idempotency_key=key, dry_run=dry_run),
        lambda key: hook.fixed_invest(ticker="USDT", amount="500", idempotency_key=key, dry_run=dry_run),
        lambda key: hook.transfer(
            ticker="USDT", amount="100", source="main", target="spot", idempotency_key=key, dry_run=dry_run
        ),
    ]
    for number, call in enumerate(calls):
        as_task(1, task=f"other {number}")
        with pytest.raises(WhiteBitAlreadyMovedError) as caught:
            call(KEY)
        text = str(caught.value)
        assert text.startswith(f"idempotency_key={KEY!r} was used before by task t of d, run r with "), text
        assert "flex_invest 100 USDT (transaction " in text
        assert "Nothing was moved this time." in text
        assert "another idempotency_key" in text
        assert caught.value.completed_moves == ()
        assert hook.settings.account not in text
    assert len(moved(sandbox)) == 1
    assert sent(sandbox, "/transfer") == []


def test_a_transfer_in_two_steps(hook, sandbox, as_task):
    def transfer(source="spot", target="collateral", amount="100", **options):
        return hook.transfer(ticker="USDT", amount=amount, source=source, target=target, **options)

    as_task(1)
    transfer("main", "spot", "500")
    first = transfer(idempotency_key=KEY)
    assert [(one.source, one.target) for one in first] == [("spot", "main"), ("main", "collateral")]
    as_task(1, task="other")
    assert transfer(idempotency_key=KEY) == first
    for source, target in (("spot", "main"), ("collateral", "spot"), ("main", "collateral")):
        as_task(1, task=f"{source} {target}")
        with pytest.raises(WhiteBitAlreadyMovedError, match=f"idempotency_key='{KEY}'"):
            transfer(source, target, idempotency_key=KEY)
    calls = [
        lambda: hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY),
        lambda: hook.execute_plan(Sweep(POLICY), idempotency_key=KEY),
    ]
    for number, call in enumerate(calls):
        as_task(1, task=f"of another kind {number}")
        with pytest.raises(WhiteBitAlreadyMovedError, match=f"idempotency_key='{KEY}'"):
            call()
    assert len(sent(sandbox, "/transfer")) == 3
    # A key that looks like that of a step is a key of its own.
    as_task(1, task="numbered")
    assert len(transfer(idempotency_key=f"{KEY}.1")) == 2
    assert len(sent(sandbox, "/transfer")) == 5
    # One step first, two then.
    as_task(1, task="one step")
    transfer("spot", "main", idempotency_key="one")
    for number in (2, 1):
        as_task(number, task="one step" if number == 2 else "another")
        with pytest.raises(WhiteBitAlreadyMovedError, match="idempotency_key='one'"):
            transfer(idempotency_key="one")
    assert len(sent(sandbox, "/transfer")) == 6


def test_a_plan(hook, sandbox, as_task, caplog):
    as_task(1)
    first = hook.execute_plan(Sweep(POLICY), idempotency_key=KEY)
    sandbox.fund("USDT", "1000")
    for other in OTHERS.values():
        as_task(**{"number": 1, **other})
        again = hook.execute_plan(Sweep(POLICY), idempotency_key=KEY)
        assert again.receipts == first.receipts
    assert "was carried out by task t of d, run r: its receipts are returned" in caplog.text
    other = {"USDT": {**POLICY["USDT"], "reserve": "1000"}}
    approved = ApprovedPlan(Sweep(POLICY), first.plan)
    for number, request in enumerate((Sweep(other), approved, RaiseLiquidity("USDT", "5000"))):
        as_task(1, task=f"other {number}")
        for dry_run in (True, False):
            with pytest.raises(WhiteBitAlreadyMovedError) as caught:
                hook.execute_plan(request, idempotency_key=KEY, dry_run=dry_run)
            assert f"idempotency_key='{KEY}' was used before by task t of d, run r for a plan" in str(caught.value)
    as_task(1, task="single")
    with pytest.raises(WhiteBitAlreadyMovedError, match=f"idempotency_key='{KEY}' was used before for a plan"):
        hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY)
    as_task(1)
    hook.flex_invest(plan_id=USDT, amount="100", idempotency_key="single")
    as_task(1, task="plan")
    with pytest.raises(WhiteBitAlreadyMovedError, match="idempotency_key='single' was used before for a single move"):
        hook.execute_plan(Sweep(POLICY), idempotency_key="single")
    assert len(moved(sandbox)) == 2


def test_a_plan_that_another_task_began(hook, sandbox, as_task):
    """Only the first of two moves was made. Another task finishes the plan, but no other plan under the key."""
    request = RaiseLiquidity("USDT", "5000", "spot")
    hook.flex_invest(plan_id=USDT, amount="6000")
    as_task(1)
    sandbox.fault("unavailable", path="*/transfer", count=20)
    with pytest.raises(WhiteBitError):
        hook.execute_plan(request, idempotency_key=KEY)
    sandbox.clear_faults()
    made = len(moved(sandbox))
    as_task(1, task="other parameters")
    with pytest.raises(WhiteBitAlreadyMovedError, match="with other parameters"):
        hook.execute_plan(RaiseLiquidity("USDT", "5500", "spot"), idempotency_key=KEY)
    as_task(1, task="other")
    hook.execute_plan(request, idempotency_key=KEY)
    as_task(2)
    hook.execute_plan(request, idempotency_key=KEY)
    assert len(moved(sandbox)) == made


def test_two_tasks_at_once(hook, make_hook, sandbox, as_task, monkeypatch):
    """Both find an empty journal. One makes the move, both return its receipt."""
    contexts = {}
    for name in ("a", "b", "c"):
        as_task(1, task=name)
        contexts[name] = journals.current_context()
    local = threading.local()
    monkeypatch.setattr(journals, "current_context", lambda: contexts[local.name])

    def run(name):
        local.name = name
        return hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY)

    def attempt(name):
        # Of two that see each other, each may give way.
        with contextlib.suppress(e.WhiteBitUnavailableError):
            run(name)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(attempt, contexts))
    receipts = [run(name) for name in contexts]
    assert receipts == [receipts[0]] * 3
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize("moves", [1, 2])
def test_two_plans_at_once(hook, sandbox, as_task, monkeypatch, moves):
    """A task plans, and another one carries out the plan before it goes on. Both return the receipts of one plan."""
    hook.flex_invest(plan_id=USDT, amount="6000")
    request = RaiseLiquidity("USDT", "5000", "main" if moves == 1 else "spot")
    as_task(1, task="a")
    first, taken_over = hook._executor._plan, []

    def stalled(*args, **options):
        plan = first(*args, **options)
        monkeypatch.setattr(hook._executor, "_plan", first)
        as_task(1, task="b")
        taken_over.append(hook.execute_plan(request, idempotency_key=KEY))
        as_task(1, task="a")
        return plan

    monkeypatch.setattr(hook._executor, "_plan", stalled)
    assert hook.execute_plan(request, idempotency_key=KEY).receipts == taken_over[0].receipts
    as_task(2, task="a")
    assert hook.execute_plan(request, idempotency_key=KEY).receipts == taken_over[0].receipts
    # The investment before the plan, and a withdrawal; a transfer leaves no transaction.
    assert len(moved(sandbox)) == 2
    assert len(sent(sandbox, "/transfer")) == moves - 1


def test_outside_of_a_task(hook, sandbox, monkeypatch):
    """The process remembers, whatever hook and thread."""
    monkeypatch.setattr(journals, "_MEMORY_JOURNALS", MemoryJournal())
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(hook.flex_invest, plan_id=USDT, amount="100", idempotency_key=KEY) for _ in range(4)]
        receipts = [call.result() for call in calls]
    assert receipts == [receipts[0]] * 4
    again = WhiteBitHook()
    assert again.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY) == receipts[0]
    with pytest.raises(WhiteBitAlreadyMovedError, match="was used before outside of a task"):
        again.flex_invest(plan_id=USDT, amount="101", idempotency_key=KEY)
    with pytest.raises(WhiteBitAlreadyMovedError, match="was used before"):
        again.execute_plan(Sweep(POLICY), idempotency_key=KEY)
    plan = hook.execute_plan(Sweep(POLICY), idempotency_key=f"plan {KEY}")
    sandbox.fund("USDT", "1000")
    assert again.execute_plan(Sweep(POLICY), idempotency_key=f"plan {KEY}").receipts == plan.receipts
    assert len(moved(sandbox)) == 2


@pytest.mark.parametrize("fault", ["lost_reply_after", "lost_reply_before"])
def test_a_doubt_that_another_task_ends(hook, sandbox, as_task, fault):
    as_task(1)
    sandbox.fault(fault, path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY, deferrable=True)
    as_task(1, task="other")
    receipt = hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY)
    assert receipt.reconciled == (fault == "lost_reply_after")
    # The first one resumes.
    as_task(1)
    hook.resume({"intent": None, "sent": 1, "error": "no answer"})
    assert hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY) == receipt
    assert len(moved(sandbox)) == 1


def test_a_trigger_ends_the_doubt(hook, sandbox, as_task):
    from airflow_provider_whitebit.moves.evidence import judge, traces_of
    from airflow_provider_whitebit.moves.reconciliation import judged_intent

    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater) as later:
        hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY, deferrable=True)
    intent = later.value.intent
    history = list(hook.get_conn().flex_history(plan=USDT))
    found = judged_intent(intent, judge(intent, traces_of(intent.move, history), margin_ms=0))
    hook.resume({"intent": found.to_json(), "sent": 1})
    receipt = hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY)
    assert receipt.reconciled
    as_task(1, task="other")
    assert hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY) == receipt


def test_a_refused_move_may_be_asked_for_again_by_another_run(hook, sandbox, as_task):
    as_task(1)
    with pytest.raises(e.WhiteBitNotEnoughBalanceError):
        hook.flex_invest(plan_id=USDT, amount="10500", idempotency_key=KEY)
    as_task(2)
    sandbox.fund("USDT", "1000")
    with pytest.raises(e.WhiteBitNotEnoughBalanceError):
        hook.flex_invest(plan_id=USDT, amount="10500", idempotency_key=KEY)
    as_task(1, run="tomorrow")
    receipt = hook.flex_invest(plan_id=USDT, amount="10500", idempotency_key=KEY)
    as_task(3)
    assert hook.flex_invest(plan_id=USDT, amount="10500", idempotency_key=KEY) == receipt


def test_a_retry_that_renders_another_amount_gets_its_receipt(hook, sandbox, as_task):
    """As without an idempotency key: the intent of a task is frozen, its own retry does not change it."""
    as_task(1)
    receipt = hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY)
    as_task(2)
    assert hook.flex_invest(plan_id=USDT, amount="101", idempotency_key=KEY) == receipt
    with pytest.raises(WhiteBitValidationError, match=f"uses idempotency_key='{KEY}' for two moves") as caught:
        hook.flex_invest(plan_id=USDT, amount="102", idempotency_key=KEY)
    assert f"amount='102', idempotency_key='{KEY} 2')" in str(caught.value)


def test_connections_of_one_account(hook, make_hook, sandbox, as_task, monkeypatch):
    as_task(1)
    receipt = hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY)
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    other = WhiteBitHook("other")
    assert other.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY) == receipt
    as_task(1, task="other")
    assert other.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY) == receipt
    # A connection that may not move money returns what was made.
    raw = json.loads(os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_READER", json.dumps({**raw, "extra": {"read_only": True}}))
    reader = WhiteBitHook("reader")
    assert reader.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY) == receipt
    assert reader.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY, dry_run=True) == receipt
    with pytest.raises(e.WhiteBitLimitError):
        reader.flex_invest(plan_id=USDT, amount="100", idempotency_key="another")
    # Another API key is another account.
    sandbox.add_key("second-key", "second-secret")
    assert (
        make_hook("second-key", "second-secret").flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY) != receipt
    )
    assert len(moved(sandbox)) == 2


def test_an_api_key_that_is_replaced(hook, make_hook, sandbox, as_task, monkeypatch):
    as_task(1)
    receipt = hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY)
    as_task(1, task="in doubt")
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(ReconcileLater):
        hook.flex_invest(plan_id=USDT, amount="200", idempotency_key="in doubt", deferrable=True)
    as_task(1, task="plan")
    plan = hook.execute_plan(Sweep({"ETH": {"reserve": "1"}}), idempotency_key="plan")
    monkeypatch.setenv("AIRFLOW_CONN_BEFORE", os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    sandbox.add_key("second-key", "second-secret")
    new = make_hook("second-key", "second-secret", previous_conn_id="before")
    as_task(1, run="tomorrow")
    assert new.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY) == receipt
    found = new.flex_invest(plan_id=USDT, amount="200", idempotency_key="in doubt")
    assert (found.amount, found.reconciled) == (200, True)
    assert new.execute_plan(Sweep({"ETH": {"reserve": "1"}}), idempotency_key="plan").receipts == plan.receipts
    made = new.flex_invest(ticker="BTC", amount="0.5", idempotency_key="during")
    swept = new.execute_plan(Sweep(POLICY), idempotency_key="plan during")
    count = len(moved(sandbox))
    # What was made meanwhile is found with either key, also when the exchange of keys is over.
    for after in (WhiteBitHook("before"), make_hook("second-key", "second-secret")):
        as_task(1, run=f"later with {after.whitebit_conn_id}")
        assert after.flex_invest(ticker="BTC", amount="0.5", idempotency_key="during") == made
        assert after.execute_plan(Sweep(POLICY), idempotency_key="plan during").receipts == swept.receipts
    assert len(moved(sandbox)) == count


@pytest.mark.parametrize(
    ("ended", "again"),
    [(True, {"max_tries": 4, "started": "2"}), (False, {})],
    ids=["made, cleared", "in doubt, retried"],
)
def test_an_api_key_that_is_replaced_without_the_old_one(hook, make_hook, sandbox, as_task, ended, again):
    """Each API key has journals of its own. The same task does not move again because the new key's is empty."""

    def invest(by, **options):
        return (by.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY, **options),)

    def sweep(by, **options):
        return by.execute_plan(Sweep({"ETH": {"reserve": "1"}}), idempotency_key="plan", **options).receipts

    first = {}
    for move in (invest, sweep):
        as_task(1, task=move.__name__)
        if ended:
            first[move] = move(hook)
            continue
        sandbox.fault("lost_reply_after", path="*/invest", count=1)
        with pytest.raises(ReconcileLater):
            move(hook, deferrable=True)
    sandbox.add_key("second-key", "second-secret")
    new = make_hook("second-key", "second-secret")
    for move in (invest, sweep):
        as_task(2, task=move.__name__, **again)
        with pytest.raises(WhiteBitAlreadyMovedError if ended else e.WhiteBitInDoubtError, match="another API key"):
            move(new)
    assert len(moved(sandbox)) == 2
    # With the old key it goes on.
    old = make_hook()
    for move in (invest, sweep):
        as_task(3, task=move.__name__, **again)
        assert move(old) == first.get(move, move(old))
    assert len(moved(sandbox)) == 2
    # For other tasks another API key is another account.
    new = make_hook("second-key", "second-secret")
    as_task(1, task="other")
    invest(new)
    assert len(moved(sandbox)) == 3


@pytest.mark.parametrize(
    "key",
    [
        *(7, 20261129, True, ["a"], "", " ", "\n", "None", "x" * 201, "{{ ds }} USDT", "{% if x %}a", "a\0b", "\ud800"),
        *(
            "\ufeffdesk 7",
            "desk\u00a07",
            "desk\u200b 7",
            "desk\n7",
            "desk\ufe0f 7",
            "desk\u3164 7",
            "desk\u2800",
            "de\u034fsk",
        ),
        *("null", "NaN", "none", "NaT", "undefined"),
    ],
)
@pytest.mark.parametrize("name", ["idempotency_key", "key"])
def test_what_is_no_key(hook, sandbox, as_task, name, key):
    named = {name: key}
    as_task(1)
    for call in (
        lambda: hook.flex_invest(plan_id=USDT, amount="100", **named),
        lambda: hook.transfer(ticker="USDT", amount="1", source="main", target="spot", **named),
        lambda: hook.execute_plan(Sweep(POLICY), **named),
    ):
        with pytest.raises(WhiteBitValidationError, match=rf"^{name} ") as caught:
            call()
        assert caught.value.money_moved is False
    as_task(2)
    with pytest.raises(WhiteBitValidationError, match=rf"^{name} ") as caught:
        hook.flex_invest(plan_id=USDT, amount="100", **named)
    assert caught.value.money_moved is None
    assert moved(sandbox) == []


@pytest.mark.parametrize(("name", "task"), [("idempotency_key", "other"), ("key", "task")])
def test_two_spellings_of_one_letter_are_one_key(hook, sandbox, as_task, name, task):
    as_task(1, task="task")
    receipt = hook.flex_invest(plan_id=USDT, amount="100", **{name: "Z\u00fcrich 7"})
    as_task(2, task=task)
    assert hook.flex_invest(plan_id=USDT, amount="100", **{name: " Zu\u0308rich 7 "}) == receipt
    assert len(moved(sandbox)) == 1


def test_no_key(hook, sandbox, as_task):
    as_task(1)
    first = hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=None)
    assert hook.flex_invest(plan_id=USDT, amount="100") == first
    as_task(1, task="other")
    assert hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=None) != first


def test_one_of_two_names(hook, sandbox):
    with pytest.raises(WhiteBitValidationError, match="either key or idempotency_key"):
        hook.flex_invest(plan_id=USDT, amount="100", key="a", idempotency_key="b")


def test_a_key_that_comes_later(hook, sandbox, as_task):
    """A task that moved without the key, and is cleared with it, has moved."""
    as_task(1)
    hook.flex_invest(plan_id=USDT, amount="100")
    hook.execute_plan(Sweep({"ETH": {"reserve": "1"}}))
    as_task(2, max_tries=4)
    with pytest.raises(WhiteBitAlreadyMovedError, match="before it had an idempotency_key"):
        hook.flex_invest(plan_id=USDT, amount="100", idempotency_key=KEY)
    as_task(3, max_tries=5)
    with pytest.raises(WhiteBitAlreadyMovedError, match="before it had an idempotency_key"):
        hook.execute_plan(Sweep({"ETH": {"reserve": "1"}}), idempotency_key=KEY)
    # A task may make one with the key and one without it.
    as_task(1, task="both")
    receipts = [hook.flex_invest(plan_id=USDT, amount="50", **options) for options in ({"idempotency_key": "k"}, {})]
    as_task(2, task="both")
    again = [hook.flex_invest(plan_id=USDT, amount="50", **options) for options in ({"idempotency_key": "k"}, {})]
    assert again == receipts
    assert receipts[0] != receipts[1]


NEEDED = [
    (WhiteBitFlexInvestOperator, {"plan_id": USDT, "amount": "100"}),
    (WhiteBitFlexWithdrawOperator, {"plan_id": USDT, "amount": "100"}),
    (WhiteBitFlexCloseOperator, {"plan_id": USDT}),
    (WhiteBitFixedInvestOperator, {"ticker": "USDT", "amount": "500"}),
    (WhiteBitTransferOperator, {"ticker": "USDT", "amount": "1", "source": "main", "target": "spot"}),
    (WhiteBitSweepOperator, {"policy": POLICY}),
    (WhiteBitRebalanceOperator, {"policy": POLICY}),
    (WhiteBitRaiseLiquidityOperator, {"ticker": "USDT", "amount": "9000"}),
]


@pytest.mark.parametrize(("operator", "arguments"), NEEDED, ids=lambda one: getattr(one, "__name__", ""))
def test_operators(hook, sandbox, as_task, operator, arguments):
    hook.flex_invest(plan_id=USDT, amount="2000")
    results = []
    for name in ("a", "b"):
        as_task(1, task=name)
        task = operator(task_id=name, **arguments, idempotency_key="{{ day }}")
        task.__dict__["hook"] = hook
        task.render_template_fields({"day": "2026-11-29"})
        assert task.idempotency_key == "2026-11-29"
        pushed = SimpleNamespace(xcom_push=lambda *_: None)
        results.append(task.execute({"ti": pushed}))
        count = len(moved(sandbox)), len(sent(sandbox, "/transfer"))
    if "receipts" in results[0]:
        results = [result["receipts"] for result in results]
    assert results[0] == results[1]
    assert results[0]
    assert count == (len(moved(sandbox)), len(sent(sandbox, "/transfer")))


def test_an_operator_whose_key_is_none(hook, sandbox):
    for operator, arguments in NEEDED:
        task = operator(task_id="t", **arguments, idempotency_key=" ")
        task.__dict__["hook"] = hook
        with pytest.raises((WhiteBitValidationError, AirflowFailException), match="idempotency_key"):
            task.execute({})


# Mapped moves without a key.


def mapped(as_task, index, *, cleared=0, number=1, **options):
    as_task(number, index=index, cleared=cleared, started=str(1 + cleared), max_tries=3 + number - 1, **options)


def test_indexes_that_shift(hook, sandbox, as_task):
    """Over 100 and 200, then upstream is cleared: over 50, 100 and 200."""
    for index, amount in enumerate(("100", "200")):
        mapped(as_task, index)
        hook.flex_invest(plan_id=USDT, amount=amount)
    for index, amount in enumerate(("50", "100", "200")):
        mapped(as_task, index, cleared=1, number=2 if index < 2 else 1)
        with pytest.raises(WhiteBitValidationError) as caught:
            hook.flex_invest(plan_id=USDT, amount=amount)
        assert 'idempotency_key=f"' in str(caught.value)
    assert "Map index 2 of task t" in str(caught.value)
    assert "No money moved." in str(caught.value)
    assert len(moved(sandbox)) == 2
    # Nor does it go on to another key, or to a plan.
    mapped(as_task, 2, cleared=1, number=2)
    assert len(moved(sandbox)) == 2


def while_it_runs(as_task, index, *, clears=0, indexes, created=0):
    """An index of a dag run that was cleared while it ran: nothing of the dag run shows that before Airflow 3.2.

    :param created: how many clears there were before this index existed.
    """
    number = 1 + clears - created
    as_task(number, index=index, max_tries=3 + number - 1, indexes=indexes)


def test_indexes_that_shift_while_the_dag_run_runs(hook, sandbox, as_task):
    for index, amount in enumerate(("100", "200")):
        while_it_runs(as_task, index, indexes=2)
        hook.flex_invest(plan_id=USDT, amount=amount)
    for index, amount in enumerate(("50", "100", "200")):
        while_it_runs(as_task, index, clears=1, indexes=3, created=index // 2)
        with pytest.raises(WhiteBitValidationError, match=f"Map index {index} of task t"):
            hook.flex_invest(plan_id=USDT, amount=amount)
    # As it was before, it is each index's own move.
    for index, amount in enumerate(("100", "200")):
        while_it_runs(as_task, index, clears=2, indexes=3)
        hook.flex_invest(plan_id=USDT, amount=amount)
    assert len(moved(sandbox)) == 2


@pytest.mark.parametrize("asked_before", [True, False], ids=["refused", "died before it asked"])
def test_an_index_that_gets_the_move_of_another_while_the_dag_run_runs(hook, sandbox, as_task, asked_before):
    if asked_before:
        while_it_runs(as_task, 0, indexes=2)
        with pytest.raises(e.WhiteBitNotEnoughBalanceError):
            hook.flex_invest(plan_id=USDT, amount="10500")
    while_it_runs(as_task, 1, indexes=2)
    hook.flex_invest(plan_id=USDT, amount="200")
    while_it_runs(as_task, 0, clears=1, indexes=2)
    with pytest.raises(WhiteBitValidationError, match="Map index 0"):
        hook.flex_invest(plan_id=USDT, amount="200")
    assert len(moved(sandbox)) == 1


def test_indexes_that_had_asked_for_nothing_before_a_clear(hook, sandbox, as_task):
    """They were all cleared, and one is new: none of them can have made another one's move."""
    for index in range(3):
        while_it_runs(as_task, index, clears=1, indexes=3, created=index // 2)
        hook.flex_invest(plan_id=USDT, amount="100")
    for index in (2, 0, 1):
        mapped(as_task, index, cleared=1, number=1 if index == 2 else 2)
        hook.flex_invest(plan_id=USDT, amount="100", key="after the dag run had ended")
    assert len(moved(sandbox)) == 6


def test_an_index_that_does_not_know_how_many_there_are_moves_nothing(hook, sandbox, as_task):
    as_task(1, index=0, indexes="unknown")
    with pytest.raises(e.WhiteBitJournalError, match="could not be counted"):
        hook.flex_invest(plan_id=USDT, amount="100")
    assert moved(sandbox) == []


def test_indexes_that_stay(hook, sandbox, as_task):
    """Cleared as it was: receipts, a second attempt after a refusal, and what had not been sent."""
    amounts = ("100", "10500", "200")
    mapped(as_task, 0)
    first = hook.flex_invest(plan_id=USDT, amount=amounts[0])
    mapped(as_task, 1)
    with pytest.raises(e.WhiteBitNotEnoughBalanceError):
        hook.flex_invest(plan_id=USDT, amount=amounts[1])
    mapped(as_task, 2)
    sandbox.fault("unavailable", path="*", count=500)
    with pytest.raises(WhiteBitError):
        hook.flex_invest(plan_id=USDT, amount=amounts[2])
    sandbox.clear_faults()
    sandbox.fund("USDT", "5000")
    receipts = []
    for index, amount in enumerate(amounts):
        mapped(as_task, index, cleared=1, number=2)
        receipts.append(hook.flex_invest(plan_id=USDT, amount=amount))
    assert receipts[0] == first
    assert len(moved(sandbox)) == 3


def test_an_index_that_is_run_late_in_the_same_run(hook, sandbox, as_task):
    for index in range(3):
        mapped(as_task, index)
        hook.flex_invest(plan_id=USDT, amount="100")
    mapped(as_task, 2, number=2)
    hook.flex_invest(plan_id=USDT, amount="100")
    assert len(moved(sandbox)) == 3
    # Another task, another key and another run know nothing of it.
    mapped(as_task, 3, cleared=1, task="other")
    hook.flex_invest(plan_id=USDT, amount="100")
    mapped(as_task, 3, cleared=1)
    hook.flex_invest(plan_id=USDT, amount="100", key="other")
    mapped(as_task, 3, cleared=1, run="s")
    hook.flex_invest(plan_id=USDT, amount="100")
    assert len(moved(sandbox)) == 6


def test_mapped_plans_and_transfers(hook, sandbox, as_task):
    def transfer(ticker):
        return hook.transfer(ticker=ticker, amount="1", source="spot", target="collateral")

    hook.transfer(ticker="USDT", amount="10", source="main", target="spot")
    mapped(as_task, 0)
    hook.execute_plan(Sweep(POLICY))
    transfer("USDT")
    sandbox.fund("USDT", "1000")
    count = len(moved(sandbox)), len(sent(sandbox, "/transfer"))
    mapped(as_task, 1, cleared=1)
    for call in (lambda: hook.execute_plan(Sweep(POLICY)), lambda: transfer("USDT")):
        with pytest.raises(WhiteBitValidationError, match="Map index 1"):
            call()
    mapped(as_task, 0, cleared=1, number=2)
    hook.execute_plan(Sweep(POLICY))
    transfer("USDT")
    assert count == (len(moved(sandbox)), len(sent(sandbox, "/transfer")))


def test_with_a_key_indexes_may_shift(hook, sandbox, as_task):
    for clears, amounts in enumerate((("100", "200"), ("50", "100", "200"))):
        for index, amount in enumerate(amounts):
            mapped(as_task, index, cleared=clears, number=1 + clears)
            hook.flex_invest(plan_id=USDT, amount=amount, idempotency_key=f"r desk {amount}")
    assert sorted(entry["amount"] for entry in moved(sandbox)) == ["100", "200", "50"]


def test_a_task_that_is_not_mapped_writes_no_note(hook, sandbox, as_task):
    as_task(1)
    hook.flex_invest(plan_id=USDT, amount="100")
    assert not [name for name in as_task.variables if name.startswith("whitebit_mapped__")]


def test_a_run_that_was_made_again_under_its_name(hook, sandbox, as_task):
    """Its journals are still there. They never answer another request, and a plan neither."""
    as_task(1)
    receipt = hook.flex_invest(plan_id=USDT, amount="100")
    plan = hook.execute_plan(Sweep({"ETH": {"reserve": "1"}}))
    as_task(1, started="2")
    with pytest.raises(WhiteBitAlreadyMovedError, match=r"this time it asks for .*amount=250"):
        hook.flex_invest(plan_id=USDT, amount="250")
    as_task(1, started="2", task="t")
    assert len(moved(sandbox)) == 2
    assert (receipt.amount, len(plan.receipts)) == (100, 1)


def test_a_run_that_was_made_again_under_its_name_has_fewer_tries(hook, sandbox, as_task):
    """Its first try comes after all tries of the old run, and moves what those did not."""

    def sweep():
        return hook.execute_plan(Sweep({"ETH": {"reserve": "1"}}))

    sandbox.fault("unavailable", path="*/invest", count=500)
    for number in (1, 2):
        as_task(number)
        for move in (lambda: hook.flex_invest(plan_id=USDT, amount="100"), sweep):
            with pytest.raises(WhiteBitError):
                move()
    sandbox.clear_faults()
    as_task(1, started="2")
    assert hook.flex_invest(plan_id=USDT, amount="100").amount == 100
    assert len(sweep().receipts) == 1
    # A try of the old run that stood still stops.
    as_task(2)
    with pytest.raises(e.WhiteBitJournalError, match="A later run of this task has taken over"):
        hook.flex_invest(plan_id=USDT, amount="100")
    assert len(moved(sandbox)) == 2
