"""Lending under every quirk of the sandbox: the same money moves, once, and what is read is the same or unknown."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow.sdk
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import FlexAction
from airflow_provider_whitebit.hooks import executor
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.hooks.statements import read_statement
from airflow_provider_whitebit.sandbox.quirks import EXCLUDING, QUIRKS
from airflow_provider_whitebit.treasury.occurrences import FixedMaturities, FlexClosures, FlexEarnings, WatchState
from airflow_provider_whitebit.treasury.requests import Sweep
from tests.sandbox_plans import Fixed, Flex

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
MAIN = "/api/v4/main-account"
FLEX = f"{MAIN}/smart-flex/investments"
FIXED = f"{MAIN}/smart/investment"
PAIRS = [pair for pair in EXCLUDING if "maintenance" not in pair]
ALONE = [name for name in QUIRKS if name != "maintenance"]
#: All compatible quirks together, in two ways: of quirks that exclude each other, once the one and once the other.
TOGETHER = [[name for name in ALONE if name not in {pair[side] for pair in PAIRS}] for side in (1, 0)]
CASES = [[], *([name] for name in ALONE), *TOGETHER]
NAMES = ["none", *ALONE, "together", "together_otherwise"]
#: Quirks with which a plan takes no more money from who has money in it, and returns all of it or nothing.
FULL = {"paused_plans", "vanished_plans"}


@pytest.fixture(params=CASES, ids=NAMES)
def quirks(request, sandbox) -> set[str]:
    sandbox.quirks(**dict.fromkeys(request.param, True))
    # Before that, a replica may not know the first balances.
    sandbox.advance(10)
    return set(request.param)


@pytest.fixture
def patient_hook(make_hook):
    """Makes hooks whose waits all pass on the sandbox's clock, with the margin that is the default."""

    def make():
        hook = make_hook(reconcile_margin=10)
        hook.get_conn()._transport.sleep = wait
        return hook

    return make


def wait(seconds):
    executor.MoveExecutor.sleep(seconds)


@pytest.fixture
def retried(as_task):
    """Makes a move as a task with retries does: again after 30 s if nothing is in doubt and a retry can help."""

    def make(move, *arguments: Any, **options: Any) -> Any:
        for number in range(1, 5):
            as_task(number)
            try:
                return move(*arguments, **options)
            except e.TRANSIENT_ERRORS as error:
                if number == 4 or error.money_moved is None:
                    raise
                wait(30)

    return make


def moves(sandbox) -> list[tuple[str, str | None]]:
    """What the exchange has executed: the end of each path, and the amount."""
    ledger = sandbox.ledger()
    assert ledger["balanced"]
    return [(move["path"].removeprefix(MAIN), move["params"].get("amount")) for move in ledger["moves"]]


def account(sandbox, name="main:sandbox", ticker="USDT") -> Decimal:
    return Decimal(sandbox.ledger()["accounts"].get(name, {}).get(ticker, "0"))


def transactions(sandbox, *actions) -> list[Decimal]:
    """The amounts of the account's own records in a plan, as the ledger has them."""
    found = [entry for entry in sandbox.ledger()["transactions"] if entry["plan"] == Flex.USDT]
    return [Decimal(entry["amount"]) for entry in found if entry["action"] in actions]


def test_lending(quirks, patient_hook, retried, sandbox):
    hook = patient_hook()
    client = hook.get_conn()
    start = client.server_time()
    plans = {plan.id: plan for plan in client.flex_plans(ticker="USDT")}
    assert plans[Flex.USDT].min_investment == 10
    assert any(plan.id == Fixed.SEVERAL for plan in client.fixed_plans(ticker="USDT"))

    made = [("/smart-flex/investments/invest", "1000")]
    receipt = retried(hook.flex_invest, plan_id=Flex.USDT, amount="1000", key="open")
    assert (receipt.status, receipt.amount) == ("executed", 1000)
    assert retried(hook.flex_invest, plan_id=Flex.USDT, amount="1000", key="open") == receipt
    wait(60)
    if quirks & FULL:
        with pytest.raises(e.WhiteBitError) as refused:
            retried(hook.flex_invest, plan_id=Flex.USDT, amount="500", key="add")
        # The run may have made the other move.
        assert refused.value.money_moved is bool(refused.value.completed_moves)
    else:
        retried(hook.flex_invest, plan_id=Flex.USDT, amount="500", key="add")
        made.append(("/smart-flex/investments/invest", "500"))
    wait(60)
    if not quirks & FULL:
        retried(hook.flex_withdraw, plan_id=Flex.USDT, amount="200.5", key="out")
        made.append(("/smart-flex/investments/withdraw", "200.5"))
    wait(60)

    fixed = retried(hook.fixed_invest, plan_id=Fixed.SEVERAL, amount="100", key="fixed")
    wait(60)
    (held,) = client.fixed_investments(ticker="USDT")
    assert (held.plan.id, held.amount, held.active) == (Fixed.SEVERAL, 100, True)
    assert fixed.investment_id in (held.id, None)
    retried(hook.fixed_close, investment_id=held.id, key="fixed close")
    made += [("/smart/investment", "100"), ("/smart/investment/close", None)]
    # A transfer whose answer is lost is in doubt if its first balances were old.
    wait(60)
    retried(hook.transfer, ticker="USDT", amount="25", source="main", target="spot", key="transfer")
    made.append(("/transfer", "25"))
    wait(60)
    assert moves(sandbox) == made
    assert hook.balances("spot", "USDT")["USDT"] == 25
    assert hook.balances("main", "USDT")["USDT"] == account(sandbox)

    wait(2 * 86_400)
    invested = 1000 if quirks & FULL else Decimal("1299.5")
    (investment,) = (one for one in client.flex_investments(plan=Flex.USDT) if one.active)
    assert investment.invested == invested
    assert sorted(record.amount for record in client.flex_payments(plan=Flex.USDT)) == sorted(transactions(sandbox, 4))
    records = list(client.flex_history(plan=Flex.USDT, action_types=[FlexAction.INVEST, FlexAction.OPEN_INVESTMENT]))
    assert sorted(record.amount for record in records) == sorted(transactions(sandbox, 1, 6))

    retried(hook.flex_close, plan_id=Flex.USDT, key="close")
    wait(60)
    # Not now: another node's clock may be behind.
    statement = read_statement(client, start=start, end=client.server_time().subtract(seconds=5))
    figures = {plan.plan_id: plan.figures for ticker in statement.tickers for plan in ticker.plans}[Flex.USDT]
    assert figures.closing == 0
    interest = [one for one in sandbox.ledger()["entries"] if one["source"] == "interest" and one["ticker"] == "USDT"]
    credited = sum(Decimal(one["amount"]) for one in interest)
    assert figures.earned == credited
    assert account(sandbox) == 10_000 - 25 + credited
    assert moves(sandbox) == [*made, ("/smart-flex/investments/close", None)]


def test_a_treasury_plan(quirks, patient_hook, retried, sandbox):
    policy = {"USDT": {"reserve": "4000", "plans": {"only": [Flex.USDT]}}}
    done = retried(patient_hook().execute_plan, Sweep(policy), key="first")
    assert [(receipt.operation, receipt.amount) for receipt in done.receipts] == [("flex_invest", 6000)]
    wait(60)
    assert retried(patient_hook().execute_plan, Sweep(policy), key="second").receipts == ()
    assert account(sandbox) == 4000
    assert moves(sandbox) == [("/smart-flex/investments/invest", "6000")]


def test_lost_answers(quirks, patient_hook, retried, sandbox):
    hook = patient_hook()
    lost = [
        (hook.flex_invest, {"plan_id": Flex.USDT, "amount": "1000.5"}, "/smart-flex/investments/invest"),
        (hook.flex_withdraw, {"plan_id": Flex.USDT, "amount": "100"}, "/smart-flex/investments/withdraw"),
        (hook.flex_withdraw, {"plan_id": Flex.USDT, "amount": "all"}, "/smart-flex/investments/close"),
        (hook.fixed_invest, {"plan_id": Fixed.SEVERAL, "amount": "100"}, "/smart/investment"),
        (hook.fixed_close, {"plan_id": Fixed.SEVERAL}, "/smart/investment/close"),
        (hook.transfer, {"ticker": "USDT", "amount": "25", "source": "main", "target": "spot"}, "/transfer"),
    ]
    if quirks & FULL:
        del lost[1]
    for number, (move, arguments, path) in enumerate(lost):
        # An earning is due, so that what leaves the plan may include one.
        wait(3 * 3600)
        sandbox.fault("lost_reply_after", path=f"{MAIN}{path}", count=1)
        made = retried(move, **arguments, key=str(number))
        (receipt,) = made if isinstance(made, list) else [made]
        assert receipt.status == "executed"
        # A gateway may have answered before the exchange saw the request, whose second answer was not lost.
        assert receipt.reconciled or "gateway_answers" in quirks
        assert [path for path, _ in moves(sandbox)] == [path for _, _, path in lost[: number + 1]]
        sandbox.clear_faults()


def test_a_refusal_moves_nothing_and_has_no_receipt(quirks, patient_hook, sandbox):
    with pytest.raises(e.WhiteBitError):
        patient_hook().transfer(ticker="USDT", amount="99999", source="main", target="spot")
    assert moves(sandbox) == []
    assert account(sandbox) == 10_000


def test_maintenance(patient_hook, sandbox):
    hook = patient_hook()
    sandbox.quirks(maintenance=True)
    with pytest.raises(e.WhiteBitUnavailableError):
        hook.flex_invest(plan_id=Flex.USDT, amount="1000")
    assert moves(sandbox) == []
    sandbox.quirks(maintenance=False)
    hook.flex_invest(plan_id=Flex.USDT, amount="1000")
    assert moves(sandbox) == [("/smart-flex/investments/invest", "1000")]


@pytest.fixture
def load_dag(monkeypatch):
    """Loads the DAG that an example file is named after."""
    made = []

    def make(*args: Any, **options: Any) -> Any:
        made.append(kind(*args, **options))
        return made[-1]

    kind = airflow.sdk.DAG
    monkeypatch.setattr(airflow.sdk, "DAG", make)

    def load(name):
        runpy.run_path(str(EXAMPLES / f"{name}.py"))
        return next(dag for dag in made[::-1] if dag.dag_id == name)

    return load


@pytest.fixture
def run_dag(load_dag, patient_hook, as_task, quirks):
    """Runs an example DAG as Airflow does: its tasks in order, each again after its delay if it fails."""
    # What is read at once may be the state before the last task.
    pause = 10 if {"stale_replicas", "late_records"} & set(quirks) else 0

    def run(name, **params) -> dict[str, Any]:
        dag = load_dag(name)
        given = dag.params.dump() | params
        results: dict[str, Any] = {}
        for task in dag.topological_sort():
            for number in range(1, task.retries + 2):
                as_task(number, dag=name, task=task.task_id, max_tries=task.retries + 1)
                try:
                    results[task.task_id] = execute(task, given, results, patient_hook())
                except AirflowFailException:
                    raise
                except e.WhiteBitError:
                    if number > task.retries:
                        raise
                    wait(task.retry_delay.total_seconds())
                else:
                    wait(pause)
                    break
        return results

    return run


def execute(task, params, results, hook) -> Any:
    def pull(task_ids, key="return_value", **_: Any) -> Any:
        return results[task_ids] if key == "return_value" else results[task_ids][key]

    instance = SimpleNamespace(xcom_pull=pull, xcom_push=lambda key, value: None)
    context = {"params": params, "ti": instance, "task_instance": instance, "run_id": "run", "outlet_events": {}}
    copy = task.prepare_for_execution()
    copy.render_template_fields(context)
    copy.__dict__["hook"] = hook
    return copy.execute(context)


def runs(results) -> Iterator[str]:
    yield from (result["status"] for result in results.values() if isinstance(result, dict) and "status" in result)


def test_the_example_of_flex(quirks, run_dag, sandbox):
    results = run_dag("whitebit_flex_lifecycle")
    assert list(runs(results)) == ["executed", "executed"]
    path = "/smart-flex/investments/"
    assert [move.removeprefix(path) for move, _ in moves(sandbox)] in (["invest", "withdraw"], ["invest", "close"])
    assert account(sandbox) == 10_000
    assert Decimal(results["balance_after"]["USDT"]) == 10_000


def test_the_examples_of_fixed_plans_and_transfers(quirks, run_dag, sandbox):
    assert list(runs(run_dag("whitebit_fixed_term"))) == ["executed"]
    run_dag("whitebit_bring_home")
    assert moves(sandbox) == [("/smart/investment", "100"), ("/transfer", "25"), ("/transfer", "25")]
    assert (account(sandbox), account(sandbox, ticker="USDC")) == (10_000, 4_900)


def test_the_example_of_the_treasury(quirks, run_dag, sandbox):
    (result,) = run_dag("whitebit_treasury").values()
    before = moves(sandbox)
    if "null_rates" in quirks:
        # Plans whose rate is unknown are not compared.
        assert (result["status"], before) == ("nothing_to_do", [])
    else:
        assert result["status"] == "executed"
        assert (account(sandbox), account(sandbox, ticker="BTC")) == (5000, Decimal("0.2"))
    wait(3600)
    run_dag("whitebit_treasury")
    assert moves(sandbox) == before


class Watching:
    """Polls the exchange for a watch, as an event trigger does, and starts again from its saved state each time."""

    def __init__(self, hook, watch, now):
        self.hook, self.watch, self.state = hook, watch, WatchState()
        self.emitted: list[Any] = []
        watch.begin(hook.poll(watch.question, self.state.oldest(now)), self.state, now)

    def poll(self, now):
        self.state = WatchState.from_json(self.state.to_json())
        answer = self.hook.poll(self.watch.question, self.state.oldest(now))
        found = self.watch.new_events(answer, self.state, now)
        if not found:
            self.watch.move_on(answer, self.state, now)
        for occurrence in found:
            self.state.mark_emitted(occurrence)
        self.emitted += found


def test_events(quirks, patient_hook, retried, sandbox):
    """Each earning, closure and maturity is reported once."""
    hook = patient_hook()
    now = int(hook.get_conn().server_time().timestamp())
    watches = FlexEarnings(plan_id=Flex.USDT), FlexClosures(plan_id=Flex.USDT), FixedMaturities(plan_id=Fixed.TEN_DAYS)
    earnings, closures, maturities = watching = [Watching(hook, watch, now) for watch in watches]
    retried(hook.flex_invest, plan_id=Flex.USDT, amount="1000", key="open")
    retried(hook.fixed_invest, plan_id=Fixed.TEN_DAYS, amount="100", key="fixed")
    for day in range(13):
        if day == 8:
            retried(hook.flex_close, plan_id=Flex.USDT, key="close")
        for _ in range(4):
            wait(6 * 3600)
            for one in watching:
                one.poll(int(hook.get_conn().server_time().timestamp()))
    ledger = [entry for entry in sandbox.ledger()["transactions"] if entry["plan"] == Flex.USDT]
    ids = [occurrence.id for one in watching for occurrence in one.emitted]
    assert len(ids) == len(set(ids))
    assert len(closures.emitted) == sum(entry["action"] == FlexAction.CLOSE_INVESTMENT for entry in ledger)
    assert len(earnings.emitted) == sum(entry["action"] == 4 for entry in ledger) >= 7
    assert len(maturities.emitted) == 1
