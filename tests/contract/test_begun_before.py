"""What earlier runs of a task have begun, when later ones ask for something else, or the task asks again by itself."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.hooks import journals
from airflow_provider_whitebit.hooks import making as module
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.hooks.asked import Wanted, run_of
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.moves.batch import WhiteBitPlanError
from airflow_provider_whitebit.moves.drivers import SettleLater
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.moves.protocol import WhiteBitAlreadyMovedError
from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator
from airflow_provider_whitebit.operators.treasury import WhiteBitSweepOperator
from airflow_provider_whitebit.treasury.planning import PlannedMove, TreasuryPlan

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
        with pytest.raises(SettleLater):
            hook.flex_invest(**{"plan_id": USDT, "amount": "100", **options}, deferrable=True)
        as_task(2)

    return lost


WRONG = [{"amount": "0"}, {"amount": ""}, {"amount": "100", "plan_id": "None"}, {"amount": 1.5}]


@pytest.mark.parametrize("arguments", WRONG)
def test_a_retry_that_renders_what_is_refused_returns_what_was_made(hook, sandbox, lost, arguments):
    lost(key="idle")
    receipt = hook.flex_invest(**{"plan_id": USDT, "key": "idle", **arguments})
    assert (receipt.amount, receipt.reconciled) == (100, True)
    assert [entry["transaction_id"] for entry in moved(sandbox)] == [receipt.transaction_id]
    assert hook.flex_invest(plan_id=USDT, amount="100", key="idle") == receipt


@pytest.mark.parametrize("arguments", WRONG)
def test_a_retry_that_renders_what_is_refused_tells_of_the_doubt(hook, sandbox, lost, arguments):
    """Without a name it cannot be told which of the task's moves is meant."""
    lost()
    with pytest.raises(e.WhiteBitValidationError, match="Whether money moved is not known"):
        hook.flex_invest(**{"plan_id": USDT, **arguments})
    receipt = hook.flex_invest(plan_id=USDT, amount="100")
    assert receipt.reconciled
    with pytest.raises(e.WhiteBitValidationError, match="it stands: flex_invest 100 USDT"):
        hook.flex_invest(**{"plan_id": USDT, **arguments})
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize("arguments", WRONG)
def test_a_retry_that_renders_what_is_refused_sends_nothing(hook, sandbox, lost, arguments):
    lost("lost_reply_before", key="idle")
    with pytest.raises(e.WhiteBitValidationError, match="No money moved"):
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
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps({**raw, "extra": {"settle_margin": "ten"}}))
    with pytest.raises(e.WhiteBitConfigurationError, match="Whether money moved is not known"):
        WhiteBitHook().flex_invest(plan_id=USDT, amount="100")


def test_a_connection_that_has_become_wrong_tells_what_was_made(hook, as_task, monkeypatch):
    as_task(1)
    hook.flex_invest(plan_id=USDT, amount="100")
    as_task(2)
    raw = json.loads(os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps({**raw, "extra": {"settle_margin": "ten"}}))
    with pytest.raises(e.WhiteBitConfigurationError, match="it stands: flex_invest 100 USDT") as caught:
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
    # Once it is made, the same again is another one.
    second = hook.flex_invest(plan_id=USDT, amount="100")
    assert second.transaction_id != receipt.transaction_id
    as_task(2)
    assert [hook.flex_invest(plan_id=USDT, amount="100") for _ in range(2)] == [receipt, second]


@pytest.mark.parametrize("amount", ["100", Decimal("100.00"), "90"])
def test_while_it_is_in_doubt_another_amount_is_no_other_move(hook, sandbox, as_task, amount):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(SettleLater):
        hook.flex_invest(plan_id=USDT, amount="100", deferrable=True)
    assert hook.flex_invest(plan_id=USDT, amount=amount).amount == 100
    assert len(moved(sandbox)) == 1


@pytest.mark.parametrize("fenced", [True, False])
@pytest.mark.parametrize("then", ["retried", "cleared", "with another key"])
def test_what_the_exchange_has_refused_may_be_asked_for_again(
    hook, make_hook, sandbox, as_task, monkeypatch, then, fenced
):
    def begin(number):
        as_task(number)
        if not fenced:
            instance = journals.current_context()["ti"]
            monkeypatch.setattr(journals, "current_context", lambda: {"ti": instance})
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
            hook.flex_invest(ticker=ticker, amount="5")
    hook.flex_invest(plan_id=USDT, amount="100")
    as_task(2)
    with pytest.raises(e.WhiteBitValidationError, match="it stands: flex_invest 100 USDT"):
        hook.flex_invest(ticker="BTC", amount="0")


def test_all_are_rehearsed_and_then_made(hook, sandbox, as_task):
    asks = [{"plan_id": USDT, "amount": "100"}, {"ticker": "BTC", "amount": "0.5"}, {"plan_id": USDT, "amount": "333"}]
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
    with pytest.raises(SettleLater) as later:
        make_hook().flex_invest(plan_id=USDT, amount="50", deferrable=True)
    event = {"intent": later.value.intent.to_json(), "sent": later.value.sent}
    assert resumed(event).flex_invest(plan_id=USDT, amount="100") == first
    assert resumed(event).flex_invest(plan_id=USDT, amount="50").amount == 50
    assert resumed(event).flex_invest(plan_id=USDT, amount="17").amount == 17
    assert len(moved(sandbox)) == 3


def test_a_deferred_run_may_render_another_amount(make_hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(SettleLater) as later:
        make_hook().flex_invest(plan_id=USDT, amount="100", key="flex_invest", deferrable=True)
    again = make_hook()
    again.resume({"intent": later.value.intent.to_json(), "sent": later.value.sent})
    assert again.flex_invest(plan_id=USDT, amount="90", key="flex_invest").amount == 100


def test_another_run_of_the_same_name_in_one_process(hook, sandbox, as_task):
    for identifier, amount in (("one", "100"), ("two", "200")):
        as_task(1)
        context = journals.current_context()
        context["ti"].id = identifier
        context["task_state_store"].get.__self__.clear()
        assert hook.flex_invest(plan_id=USDT, amount=amount, key="flex_invest").amount == Decimal(amount)


def test_threads_of_one_task_ask_for_moves_of_their_own(hook, sandbox, as_task):
    as_task(1)
    tickers = ["USDT", "BTC", "ETH", "SOL"]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda ticker: hook.flex_invest(ticker=ticker, amount="20"), ["USDT"] * 1))
        numbers = list(
            pool.map(lambda one: run_of("x").call("k", Wanted("c", {"ticker": one}), None).number, tickers * 50)
        )
    assert [receipt.amount for receipt in made] == [20]
    assert sorted(numbers) == list(range(1, 201))


def test_a_name_that_is_taken_by_a_doubt_does_not_say_that_nothing_moved(hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(SettleLater):
        hook.flex_invest(plan_id=USDT, amount="100", key="idle", deferrable=True)
    with pytest.raises(e.WhiteBitValidationError, match="Whether money moved is not known"):
        hook.flex_invest(plan_id=USDT, amount="90", key="idle")
    assert hook.flex_invest(plan_id=USDT, amount="100.0", key="idle").reconciled
    assert len(moved(sandbox)) == 1


def test_a_task_that_swallows_a_deferral_means_the_same_move(hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(SettleLater):
        hook.flex_invest(plan_id=USDT, amount="100", deferrable=True)
    assert hook.flex_invest(plan_id=USDT, amount="100").reconciled
    assert len(moved(sandbox)) == 1


def less_if_need_be(hook):
    """What a task does that wants to invest all that it may."""
    try:
        return hook.flex_invest(plan_id=USDT, amount="30000")
    except e.WhiteBitNotEnoughBalanceError:
        return hook.flex_invest(plan_id=USDT, amount="50")


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
    with pytest.raises(SettleLater):
        hook.flex_invest(plan_id=USDT, amount="50", deferrable=True)
    sandbox.fund("USDT", "100000")
    cleared(as_task, 2)
    with pytest.raises(e.WhiteBitNotEnoughBalanceError, match="Whether money moved is not known"):
        hook.flex_invest(plan_id=USDT, amount="30000")
    assert less_if_need_be(hook).reconciled
    assert len(moved(sandbox)) == 1


def test_what_a_limit_kept_back_is_not_made_beside_what_was_made_instead(hook, sandbox, as_task, monkeypatch):
    """It was never written down, so there is no refusal to repeat."""

    def most(ticker, amount):
        if amount > 50:
            raise e.WhiteBitLimitError("more than its max_move")

    as_task(1)
    with monkeypatch.context() as limited:
        limited.setattr(module.MoveMaker, "check_limits", lambda self, *arguments: most(*arguments))
        with pytest.raises(e.WhiteBitLimitError):
            hook.flex_invest(plan_id=USDT, amount="100")
        hook.flex_invest(plan_id=USDT, amount="50")
    as_task(2)
    with pytest.raises(WhiteBitAlreadyMovedError, match=r"went on to .*it stands: flex_invest 50 USDT"):
        hook.flex_invest(plan_id=USDT, amount="100")
    assert hook.flex_invest(plan_id=USDT, amount="50").amount == 50
    assert len(moved(sandbox)) == 1


def test_a_cleared_task_asks_again_for_what_it_was_refused_in_another_plan(hook, sandbox, as_task):
    """Plans one after the other are no substitutes for each other."""

    def all_of_them():
        made = []
        for ticker, amount in (("USDT", "30000"), ("SOL", "2")):
            with contextlib.suppress(e.WhiteBitNotEnoughBalanceError):
                made.append(hook.flex_invest(ticker=ticker, amount=amount))
        return made

    as_task(1)
    sandbox.fund("SOL", "10")
    assert [receipt.ticker for receipt in all_of_them()] == ["SOL"]
    sandbox.fund("USDT", "100000")
    cleared(as_task, 2)
    assert [receipt.ticker for receipt in all_of_them()] == ["USDT", "SOL"]
    assert len(moved(sandbox)) == 2


def test_a_cleared_task_asks_again_for_what_it_was_refused_with_another_connection(hook, sandbox, as_task, monkeypatch):
    """The same plan for several connections: no move of one stands in for another's."""
    sandbox.add_key("second-key", "second-secret")
    known = json.loads(sandbox.connection_json) | {"login": "second-key", "password": "second-secret"}
    monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_SECOND", json.dumps(known))
    other = WhiteBitHook("whitebit_second")

    def both():
        with contextlib.suppress(e.WhiteBitNotEnoughBalanceError):
            hook.flex_invest(plan_id=USDT, amount="30000")
        other.flex_invest(plan_id=USDT, amount="50")

    as_task(1)
    both()
    sandbox.fund("USDT", "100000")
    cleared(as_task, 2)
    both()
    assert [entry["amount"] for entry in moved(sandbox)] == ["50", "30000"]


def test_a_cleared_task_asks_again_for_what_has_a_name(hook, sandbox, as_task):
    def both():
        with contextlib.suppress(e.WhiteBitNotEnoughBalanceError):
            hook.flex_invest(plan_id=USDT, amount="30000", key="much")
        hook.flex_invest(plan_id=USDT, amount="50", key="little")

    as_task(1)
    both()
    sandbox.fund("USDT", "100000")
    cleared(as_task, 2)
    both()
    assert [entry["amount"] for entry in moved(sandbox)] == ["50", "30000"]


@pytest.fixture
def no_second_step(sandbox, monkeypatch):
    """A transfer from spot to collateral whose second step finds no turn, the first time."""
    sandbox.control("POST", "fund", {"ticker": "USDT", "amount": "300", "account": "spot"})
    original, calls = module.execute_move, []

    def step(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise e.WhiteBitUnavailableError("Other moves left no turn.", money_moved=False)
        return original(*args, **options)

    monkeypatch.setattr(module, "execute_move", step)


def test_a_transfer_that_is_asked_for_again_goes_on_at_its_second_step(hook, sandbox, as_task, no_second_step):
    as_task(1)
    with pytest.raises(e.WhiteBitUnavailableError, match="it stands"):
        hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral")
    hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral")
    assert (hook.balances("spot", "USDT")["USDT"], hook.balances("collateral", "USDT")["USDT"]) == (200, 100)
    with pytest.raises(e.WhiteBitValidationError, match="it stands: transfer 100 USDT, transfer 100 USDT"):
        hook.transfer(ticker="USDT", amount="0", source="spot", target="collateral")


def test_another_transfer_than_the_one_that_failed(hook, as_task, no_second_step):
    as_task(1)
    with pytest.raises(e.WhiteBitUnavailableError):
        hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral")
    hook.transfer(ticker="USDT", amount="100", source="spot", target="main")
    assert hook.balances("spot", "USDT")["USDT"] == 100


def test_a_third_transfer_in_doubt_is_told_of(hook, as_task, sandbox):
    def transfer(amount):
        return hook.transfer(ticker="USDT", amount=amount, source="main", target="spot", deferrable=True)

    as_task(1)
    for amount in ("10", "20"):
        transfer(amount)
    sandbox.fault("lost_reply_after", path="*/transfer", count=1)
    with pytest.raises(SettleLater):
        transfer("30")
    as_task(2)
    with pytest.raises(e.WhiteBitValidationError, match="Whether money moved is not known"):
        transfer("0")


def test_a_journal_that_is_no_json_is_no_other_error(hook, as_task, monkeypatch):
    as_task(2)
    instance = journals.current_context()["ti"]
    monkeypatch.setattr(journals, "current_context", lambda: {"ti": instance})
    monkeypatch.setattr(journals, "read_variable", lambda name: None if "from_" in name else "{broken")
    with pytest.raises(e.WhiteBitValidationError, match="Whether money moved is not known"):
        hook.transfer(ticker="USDT", amount="0", source="spot", target="main")
    with pytest.raises(e.WhiteBitError, match="no JSON"):
        hook.flex_invest(plan_id=USDT, amount="100")


def plan(amount):
    move = Move(Operation.FLEX_INVEST, USDT, "USDT", Decimal(amount))
    return TreasuryPlan(moves=(PlannedMove(move, "idle"),))


def test_two_plans_of_one_task_need_two_names(hook, sandbox, as_task):
    as_task(1)
    hook.carry_out(lambda made: plan(100), {"policy": "one"})
    with pytest.raises(e.WhiteBitValidationError, match="Two moves of this task have the name key='plan'"):
        hook.carry_out(lambda made: plan(200), {"policy": "two"})
    two = hook.carry_out(lambda made: plan(200), {"policy": "two"}, key="two")
    assert [receipt.amount for receipt in two.receipts] == [200]
    assert len(moved(sandbox)) == 2


def test_a_dry_run_of_a_plan_that_was_begun(hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_after", path="*/invest", count=1)
    with pytest.raises(SettleLater):
        hook.carry_out(lambda made: plan(100), {"p": 1}, deferrable=True)
    as_task(2)

    def make_plan(made):
        return plan(17) if made else plan(100)

    # Rehearsed and carried out in one task: what was on its way is found out by the rehearsal already.
    rehearsed = hook.carry_out(make_plan, {"p": 1}, dry_run=True)
    assert (rehearsed.status, [one.reconciled for one in rehearsed.receipts]) == ("planned", [True])
    assert [planned.move.amount for planned in rehearsed.plan.moves] == [17]
    assert len(moved(sandbox)) == 1
    made = hook.carry_out(make_plan, {"p": 1})
    assert [receipt.amount for receipt in made.receipts] == [100, 17]
    as_task(3)
    again = hook.carry_out(make_plan, {"p": 1}, dry_run=True)
    assert (again.status, again.receipts) == ("executed", made.receipts)
    assert len(moved(sandbox)) == 2


def test_a_rehearsal_that_is_refused_tells_what_was_made(hook, make_hook, sandbox, as_task):
    bitcoin = PlannedMove(Move(Operation.FLEX_INVEST, USDT, "BTC", Decimal("0.001")), "wrong")
    as_task(1)
    with pytest.raises(WhiteBitPlanError, match="Made by this task: flex_invest 100 USDT"):
        hook.carry_out(lambda made: TreasuryPlan(moves=(*plan(100).moves, bitcoin)), {"p": 1})
    as_task(2)
    with pytest.raises(e.WhiteBitLimitError, match="it stands: flex_invest 100 USDT") as caught:
        make_hook(max_move={"USDT": "50"}).carry_out(lambda made: plan(60), {"p": 1}, dry_run=True)
    assert "No money moved" not in str(caught.value)


@pytest.mark.parametrize(("first", "name"), [("flex_invest", "flex_invest"), (None, "flex_invest"), ("plan", "plan.1")])
def test_a_name_is_that_of_one_move(hook, sandbox, as_task, first, name):
    as_task(1)
    if first == "plan":
        hook.carry_out(lambda made: plan(100), {"p": 1})
    else:
        hook.flex_invest(plan_id=USDT, amount="100", key=first)
    with pytest.raises(e.WhiteBitValidationError, match="Two moves of this task have the name"):
        hook.flex_invest(plan_id=USDT, amount="200", key=name)
    assert len(moved(sandbox)) == 1


def test_a_move_without_a_name_is_not_one_with_a_name(hook, sandbox, as_task):
    as_task(1)
    hook.flex_invest(plan_id=USDT, amount="200", key="flex_invest")
    with pytest.raises(e.WhiteBitValidationError, match="Two moves of this task have the name"):
        hook.flex_invest(plan_id=USDT, amount="100")
    assert len(moved(sandbox)) == 1


def test_limits_that_came_later_do_not_stop_a_plan_that_keeps_to_them(make_hook, sandbox, as_task):
    as_task(1)
    sandbox.fault("lost_reply_before", path="*/invest", count=1)
    with pytest.raises(SettleLater):
        make_hook().carry_out(lambda made: plan(100), {"p": 1}, deferrable=True)
    as_task(2)
    outcome = make_hook(max_move={"USDT": "50"}).carry_out(lambda made: plan(40), {"p": 1})
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
    with pytest.raises(REFUSED, match="it stands: flex_invest 7500 USDT"):
        sweep(reserv="2500").execute({})
    assert len(moved(sandbox)) == 1


def test_an_operators_field_that_became_unreadable_does_not_say_that_nothing_moved(hook, lost):
    lost(key="flex_invest")
    for field in ("with_reinvest", "dry_run"):
        task = WhiteBitFlexInvestOperator(task_id="t", plan_id=USDT, amount="100", **{field: "perhaps"})
        task.__dict__["hook"] = hook
        with pytest.raises(REFUSED, match="Whether money moved is not known"):
            task.execute({})


@pytest.fixture
def two_accounts(make_hook, sandbox, monkeypatch):
    """Hooks of two connections; the second key stands for another account."""
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
    with pytest.raises(e.WhiteBitValidationError, match="Two moves of this task have the name key='idle usdt'"):
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
    with pytest.raises(WhiteBitAlreadyMovedError, match="'other'"):
        other.flex_invest(plan_id=USDT, amount="100")
    as_task(3)
    assert one.flex_invest(plan_id=USDT, amount="100") == first
    other.flex_invest(plan_id=USDT, amount="100")
    assert keys(sandbox) == ["sandbox-key", "second-key"]


def test_the_advice_of_a_doubt_leaves_what_was_made(hook, sandbox, as_task, monkeypatch):
    """The second step of a transfer is in doubt and did not run: what a person deletes is that step's journal."""
    as_task(1)
    sandbox.control("POST", "fund", {"ticker": "USDT", "amount": "300", "account": "spot"})
    original, calls = module.execute_move, []

    def step(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            sandbox.fault("lost_reply_before", path="*/transfer", count=1)

            def wait(seconds):
                if not sandbox.control("GET", "faults") and len(calls) == 2:
                    calls.append("disturbed")
                    sandbox.fund("USDT", "7")
                original.keywords["sleep"](seconds)

            options["sleep"] = wait
        return original(*args, **options)

    monkeypatch.setattr(module, "execute_move", step)
    with pytest.raises(e.WhiteBitInDoubt) as caught:
        hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral")
    monkeypatch.setattr(module, "execute_move", original)
    assert "Run the task again" not in str(caught.value)
    assert "it stands: the transfer of 100 USDT from spot to main" in str(caught.value)
    kept = journals.current_context()["task_state_store"].get.__self__
    named = [name for name in kept if f" {name}; leave all others" in str(caught.value)]
    assert named == ["whitebit_move.transfer.2"]
    del kept[named[0]]
    as_task(2)
    hook.transfer(ticker="USDT", amount="100", source="spot", target="collateral")
    assert (hook.balances("spot", "USDT")["USDT"], hook.balances("collateral", "USDT")["USDT"]) == (200, 100)


def test_callbacks_and_dag_files_move_nothing(hook, sandbox, monkeypatch):
    monkeypatch.setitem(
        sys.modules, "airflow.sdk.execution_time.task_runner", SimpleNamespace(SUPERVISOR_COMMS=object())
    )
    with pytest.raises(e.WhiteBitConfigurationError, match="outside of any task") as caught:
        hook.flex_invest(plan_id=USDT, amount="100")
    assert "connection" not in str(caught.value)
    assert moved(sandbox) == []
    # What moves nothing is not refused.
    assert hook.flex_invest(plan_id=USDT, amount="100", dry_run=True).status == "planned"
