"""Parameters of all operators and sensors: what templates render, in text or as native objects, is read alike."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import pickle
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pendulum
import pytest
from airflow.sdk import DAG, Asset, AssetAlias, BaseOperator, Connection, ObjectStoragePath

from airflow_provider_whitebit import get_provider_info
from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.api import unix_seconds
from airflow_provider_whitebit.hooks import whitebit as hooks
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException
from airflow_provider_whitebit.moves import parsing
from airflow_provider_whitebit.moves.requests import InvalidRequest
from airflow_provider_whitebit.operators import (
    account,
    approval,
    digest,
    fixed,
    flex,
    forecast,
    journal_entries,
    sub_accounts,
    treasury,
    valuation,
)
from airflow_provider_whitebit.operators.filters import read_filters
from airflow_provider_whitebit.sensors import whitebit as sensors
from airflow_provider_whitebit.treasury.plans import TreasuryPlan
from airflow_provider_whitebit.treasury.requests import ApprovedPlan

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
APPROVED = {"plan": {"moves": [], "notes": [], "shortfalls": {}, "auto_reinvest": {}}}
APPROVED["digest"] = TreasuryPlan().digest
KINDS = {
    approval.WhiteBitApprovedPlanOperator: {"approved_plan": APPROVED},
    flex.WhiteBitFlexPlansOperator: {},
    flex.WhiteBitFlexInvestmentsOperator: {},
    flex.WhiteBitFlexHistoryOperator: {},
    flex.WhiteBitFlexPaymentsOperator: {},
    flex.WhiteBitFlexInvestOperator: {"ticker": "USDT", "amount": "1"},
    flex.WhiteBitFlexWithdrawOperator: {"ticker": "USDT", "amount": "1"},
    flex.WhiteBitFlexCloseOperator: {"ticker": "USDT"},
    flex.WhiteBitFlexAutoReinvestOperator: {"ticker": "USDT", "enabled": True},
    fixed.WhiteBitFixedPlansOperator: {},
    fixed.WhiteBitFixedInvestmentsOperator: {},
    fixed.WhiteBitFixedPaymentsOperator: {},
    fixed.WhiteBitFixedInvestOperator: {"ticker": "USDT", "amount": "1"},
    fixed.WhiteBitFixedCloseOperator: {"ticker": "USDT"},
    account.WhiteBitBalanceOperator: {},
    account.WhiteBitTransferOperator: {"ticker": "USDT", "amount": "1", "source": "main", "target": "spot"},
    treasury.WhiteBitSweepOperator: {"policy": {"USDT": {}}},
    treasury.WhiteBitRebalanceOperator: {"policy": {"USDT": {}}},
    treasury.WhiteBitRaiseLiquidityOperator: {"ticker": "USDT", "amount": "1"},
    treasury.WhiteBitFlexStatementOperator: {},
    journal_entries.WhiteBitJournalEntriesOperator: {"output_path": "books"},
    forecast.WhiteBitForecastOperator: {},
    digest.WhiteBitDigestOperator: {},
    valuation.WhiteBitValuationOperator: {"value_in": "USDT"},
    account.WhiteBitMainHistoryOperator: {},
    sub_accounts.WhiteBitSubAccountsOperator: {},
    sub_accounts.WhiteBitSubAccountBalancesOperator: {"sub_account_id": "s"},
    sub_accounts.WhiteBitSubAccountTransfersOperator: {"sub_account_id": "s"},
    sub_accounts.WhiteBitSubAccountTransferOperator: {
        **{"sub_account_id": "s", "direction": "main_to_sub", "ticker": "USDT", "amount": "1"}
    },
    sensors.WhiteBitBalanceSensor: {"ticker": "USDT", "at_least": "0"},
    sensors.WhiteBitFlexInvestmentSensor: {"ticker": "USDT"},
    sensors.WhiteBitFlexEarningSensor: {},
    sensors.WhiteBitFixedMaturitySensor: {"ticker": "USDT"},
    sensors.WhiteBitPlatformSensor: {},
    sensors.WhiteBitRateSensor: {"ticker": "USDT", "above": "0.1"},
    sensors.WhiteBitPlanSensor: {"ticker": "USDT"},
}
MOVES = [
    kind for kind in KINDS if "dry_run" in kind.template_fields and kind is not flex.WhiteBitFlexAutoReinvestOperator
]
AMOUNTS = {
    (kind, name)
    for kind in KINDS
    for name in kind.template_fields
    if name in ("amount", "at_least", "at_most", "invested_at_least")
}
REFUSED = (AirflowFailException, e.WhiteBitValidationError, e.WhiteBitConfigurationError)
#: A missing key, approval or term must not be replaced by anything else.
SAFEGUARDS = {"idempotency_key", "approved_plan", "days"}


class Reached(Exception):
    """All parameters were read; the exchange would be asked."""


def reach(*args, **given):
    raise Reached(args, given)


class Executor:
    keys = SimpleNamespace(key_of=lambda *names: "key", add_history=lambda error, key: None)

    def execute(self, request, options):
        if isinstance(request, InvalidRequest):
            raise request.error
        parsing.read_boolean("dry_run", options.dry_run)
        if options.idempotency_key is not None:
            parsing.read_key("idempotency_key", options.idempotency_key)
        reach(request)

    transfer = execute_plan = execute


class Hook(hooks.WhiteBitHook):
    """A hook whose calls end where the exchange would be asked."""

    _asked = SimpleNamespace(
        **dict.fromkeys(
            ("flex_plans", "flex_investments", "flex_history", "flex_payments", "fixed_plans", "server_time", "assets"),
            reach,
        ),
        **dict.fromkeys(
            ("fixed_investments", "fixed_payments", "main_balance", "main_history", "market_activity"), reach
        ),
        **dict.fromkeys(("sub_accounts", "sub_account_balances", "sub_account_transfers"), reach),
    )

    @classmethod
    def get_connection(cls, conn_id):
        return Connection(conn_id=conn_id, conn_type="whitebit")

    @property
    def _executor(self):
        self._connection()
        return Executor()

    @property
    def _client(self):
        self._connection()
        return self._asked

    def poll(self, *args):
        reach(*args)

    def reread_connection(self):
        self._connection()
        return False


@pytest.fixture(autouse=True)
def hook(monkeypatch):
    monkeypatch.setattr(hooks, "WhiteBitHook", Hook)


def context(**params):
    interval = pendulum.datetime(2026, 1, 1), pendulum.datetime(2026, 2, 1)
    return {"params": params, "data_interval_start": interval[0], "data_interval_end": interval[1]}


def rendered(kind, params=None, /, *, native=False, **arguments):
    """A task after its templates were rendered."""
    with DAG("rendered", render_template_as_native_obj=native, schedule=None):
        task = kind(task_id="t", **{**KINDS[kind], **arguments})
    task.render_template_fields(context(**(params or {})))
    return task


def reached(task, params=None):
    with pytest.raises(Reached) as caught:
        task.execute(context(**(params or {})))
    return caught.value.args


def test_all_operators_and_sensors_are_tested():
    modules = [
        name
        for group in ("operators", "sensors")
        for entry in get_provider_info()[group]
        for name in entry["python-modules"]
    ]
    found = {
        kind
        for name in modules
        for kind in vars(importlib.import_module(name)).values()
        if isinstance(kind, type) and kind.__module__ == name and issubclass(kind, BaseOperator)
    }
    # Those that ask people have tests of their own: test_approval_operator.py, test_doubt_operator.py.
    bases = {"WhiteBitPlanOperator", "WhiteBitSensor", "WhiteBitApprovalOperator", "WhiteBitDoubtOperator"}
    assert {kind for kind in found if not kind.__name__.startswith("_") and kind.__name__ not in bases} == set(KINDS)


FIELDS = [(kind, name) for kind in KINDS for name in kind.template_fields]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("nothing", [None, "", " "])
@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda part: getattr(part, "__name__", part))
def test_nothing_means_not_given_or_names_the_parameter(kind, name, nothing, native):
    # This one reads the format first.
    path = "x.csv" if kind is valuation.WhiteBitValuationOperator else "x"
    needed = {"output_path": path} if name == "output_format" else {}
    task = rendered(kind, {"x": nothing, "no": None}, native=native, **{**needed, name: "{{ params.x }}"})
    optional = inspect.signature(kind.__init__).parameters[name].default is None
    is_safeguard = name in SAFEGUARDS and kind in MOVES
    if optional and not is_safeguard and name not in KINDS[kind]:
        reached(task)
        return
    with pytest.raises(REFUSED) as caught:
        task.execute(context())
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if "ticker" in KINDS[kind] and "plan_id" in kind.template_fields]
)
def test_one_of_two_templates_may_render_nothing(kind):
    both = {"plan_id": "{{ params.plan }}", "ticker": "{{ params.ticker }}"}
    for params in ({"plan": PLAN, "ticker": None}, {"plan": "", "ticker": "USDT"}):
        reached(rendered(kind, params, **both))
    for params in ({"plan": PLAN, "ticker": "USDT"}, {"plan": None, "ticker": None}):
        with pytest.raises(REFUSED, match="either"):
            rendered(kind, params, **both).execute(context())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_needed_is_enough(kind):
    reached(rendered(kind))
    reached(rendered(kind, native=True))


@pytest.mark.parametrize(
    ("written", "native", "read"),
    [
        ("100.50", True, "100.5"),
        ("100.50", False, "100.50"),
        ("0.00000001", True, "0.00000001"),
        ("123456789012.345", True, "123456789012.345"),
        ("100", True, "100"),
        ("1234567.12345678", True, "1234567.12345678"),
    ],
)
def test_amounts_are_taken_as_written(written, native, read):
    for kind, name in AMOUNTS:
        for arguments in ({name: written}, {name: "{{ params.x }}"}):
            task = rendered(kind, {"x": written}, native=native, **arguments)
            found = reached(task)[0][0] if kind in MOVES else task.condition(context())
            assert getattr(found, name) == Decimal(read)


@pytest.mark.parametrize("written", ["1234567.123456789", "0.12345678901234567", "1" * 20 + ".5"])
def test_amounts_that_a_float_cannot_hold_are_refused_with_the_setting(written):
    for kind, name in AMOUNTS:
        with pytest.raises(REFUSED, match=f"(?s)^.*{name} is a float.*render_template_as_native_obj=False"):
            rendered(kind, native=True, **{name: written}).execute(context())


def test_policies_of_native_templates():
    for kind in (treasury.WhiteBitSweepOperator, treasury.WhiteBitRaiseLiquidityOperator):
        policy = {"USDT": {"reserve": "{{ params.x }}", "plans": {"max_share": "0.5"}}}
        task = rendered(kind, {"x": "100.50"}, native=True, policy=policy)
        rules = reached(task)[0][0].policy.tickers["USDT"]
        assert (rules.reserve, rules.plans.max_share) == (Decimal("100.5"), Decimal("0.5"))


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("20260131.1", r"20260131\.1"),
        ("20260131.10", r"20260131\.1"),
        ("1_23", "123"),
        ("12_3", "123"),
        ("0x7b", "123"),
    ],
)
def test_two_keys_never_become_one_native_number(written, number):
    for kind in MOVES:
        reached(rendered(kind, {"x": written}, idempotency_key="{{ params.x }}"))
        with pytest.raises(REFUSED, match=f"idempotency_key is {number}: (?s:.*)begin with a letter"):
            rendered(kind, {"x": written}, native=True, idempotency_key="{{ params.x }}").execute(context())


@pytest.mark.parametrize("written", ["2026-10-31", "20261031", "2026-10-31T00:00:00+00:00", "1793404800"])
@pytest.mark.parametrize("native", [False, True])
def test_times_are_read_as_templates_of_a_dag_run_render_them(written, native):
    sensor = rendered(sensors.WhiteBitFlexEarningSensor, {"x": written}, native=native, since="{{ params.x }}")
    assert sensor.condition(context()).from_second == 1793404800
    reader = rendered(flex.WhiteBitFlexHistoryOperator, {"x": written}, native=native, date_from="{{ params.x }}")
    assert unix_seconds("date_from", read_filters(reader)["date_from"]) == 1793404800


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize(
    "policy", [{"USDT": {"reserve": "{{ params.x }}"}}, "USDT: {reserve: {{ params.x }}}", "USDT: {{ params.x }}"]
)
def test_a_reserve_that_renders_nothing_is_not_zero(policy, nothing, native):
    with pytest.raises(REFUSED, match="USDT"):
        rendered(treasury.WhiteBitSweepOperator, {"x": nothing}, native=native, policy=policy).execute(context())


@pytest.mark.parametrize(("kind", "name"), sorted(AMOUNTS, key=str), ids=lambda part: getattr(part, "__name__", part))
def test_floats_are_refused_when_the_dag_is_parsed(kind, name):
    with pytest.raises(e.WhiteBitValidationError, match=rf'{name} is a float, 1e-08(?s:.*)"0\.00000001"'):
        kind(task_id="t", **{**KINDS[kind], name: 1e-8})


def test_floats_in_policies_are_refused_when_the_dag_is_parsed():
    for kind in (treasury.WhiteBitSweepOperator, treasury.WhiteBitRaiseLiquidityOperator):
        policy = {"USDT": {"liquidity": [{"amount": 0.5, "by": "2026-01-01T00:00:00Z"}]}}
        with pytest.raises(e.WhiteBitValidationError, match=r"policy\.USDT\.liquidity\[0\]\.amount is a float"):
            kind(task_id="t", **{**KINDS[kind], "policy": policy})


# Mapped tasks


@pytest.mark.parametrize(
    ("kind", "single", "mapped"),
    [
        (flex.WhiteBitFlexInvestOperator, {"ticker": "USDT"}, {"amount": ["1", 0.5]}),
        (flex.WhiteBitFlexInvestOperator, {"ticker": "USDT"}, {"amount": {"a": 1, "b": 0.5}}),
        (flex.WhiteBitFlexInvestOperator, {"amount": 0.5}, {"ticker": ["USDT"]}),
        (flex.WhiteBitFlexInvestOperator, {"ticker": "USDT", "amount": "1"}, {"plan_id": [PLAN]}),
        (flex.WhiteBitFlexInvestOperator, {}, {"ticker": ["USDT"]}),
        (account.WhiteBitTransferOperator, {"amount": 1, "source": "main"}, {"ticker": ["USDT"]}),
        (fixed.WhiteBitFixedCloseOperator, {"investment_id": "i"}, {"ticker": ["USDT"]}),
        (treasury.WhiteBitSweepOperator, {}, {"policy": [{"USDT": {"reserve": 0.5}}]}),
        (sensors.WhiteBitBalanceSensor, {}, {"ticker": ["USDT"]}),
        (sensors.WhiteBitBalanceSensor, {"ticker": "USDT"}, {"at_least": ["1"], "at_most": ["2", 2.5]}),
        (sensors.WhiteBitFixedMaturitySensor, {}, {"ticker": [None]}),
        (sensors.WhiteBitRateSensor, {"ticker": "USDT"}, {"above": ["0.1", 0.05]}),
        (sensors.WhiteBitPlanSensor, {"ticker": "USDT"}, {"admits": [0.5]}),
        (journal_entries.WhiteBitJournalEntriesOperator, {"output_path": "x"}, {"prices": [{"USDT": 0.92}]}),
    ],
)
def test_mapped_arguments_are_refused_when_the_dag_is_parsed(kind, single, mapped):
    expected = (ValueError, TypeError, e.WhiteBitValidationError)
    with DAG("mapped", schedule=None), pytest.raises(expected):
        kind.partial(task_id="t", **single).expand(**mapped)
    with DAG("mapped", schedule=None), pytest.raises(expected):
        names, values = mapped.keys(), [list(value) for value in mapped.values()]
        if any(isinstance(value, dict) for value in mapped.values()):
            values = [list(value.values()) for value in mapped.values()]
        longest = max(map(len, values))
        rows = [dict(zip(names, [v[min(i, len(v) - 1)] for v in values], strict=True)) for i in range(longest)]
        kind.partial(task_id="t", **single).expand_kwargs(rows)


def test_mapped_arguments_that_are_right():
    with DAG("mapped", schedule=None, default_args={"outlets": [Asset("mine")]}) as dag:
        source = flex.WhiteBitFlexPlansOperator(task_id="source")
        invest = flex.WhiteBitFlexInvestOperator.partial(task_id="a", ticker="USDT").expand(amount=["1", 2, Decimal(3)])
        flex.WhiteBitFlexInvestOperator.partial(task_id="b", ticker="USDT").expand(amount=source.output)
        flex.WhiteBitFlexInvestOperator.partial(task_id="c").expand_kwargs([{"ticker": "USDT", "amount": "1"}])
        flex.WhiteBitFlexInvestOperator.partial(task_id="d").expand_kwargs(source.output)
        flex.WhiteBitFlexPlansOperator.partial(task_id="e").expand(ticker=[])
    assert sorted(dag.task_ids) == ["a", "b", "c", "d", "e", "source"]
    assert dag.get_task("b").upstream_task_ids == {"source"}
    assert set(map(type, invest.unmap({"amount": "1"}).outlets)) == {Asset, AssetAlias}


@pytest.mark.parametrize("name", sorted(SAFEGUARDS))
def test_a_mapped_safeguard_that_is_none_is_not_left_out(name):
    for kind in (kind for kind in MOVES if name in kind.template_fields):
        single = {other: value for other, value in KINDS[kind].items() if other != name}
        with DAG("mapped", schedule=None):
            source = flex.WhiteBitFlexPlansOperator(task_id="source")
            by_list = kind.partial(task_id="t", **single).expand(**{name: source.output})
            by_row = kind.partial(task_id="r", **single).expand_kwargs(source.output)
        for mapped in (by_list, by_row):
            for task in (mapped.unmap({name: None}), copy.copy(mapped.unmap({name: None}))):
                with pytest.raises(REFUSED, match=name):
                    task.execute(context())
        if name not in KINDS[kind]:
            reached(by_row.unmap({}))
            # Written as None, it is left out.
            with DAG("mapped", schedule=None):
                source = flex.WhiteBitFlexPlansOperator(task_id="source")
                unwritten = kind.partial(task_id="t", **single, **{name: None}).expand_kwargs(source.output)
            reached(unwritten.unmap({}))


def test_a_mapped_task_takes_the_float_of_an_xcom_as_written():
    with DAG("mapped", schedule=None):
        source = flex.WhiteBitFlexPlansOperator(task_id="source")
        mapped = flex.WhiteBitFlexInvestOperator.partial(task_id="t", ticker="USDT").expand(amount=source.output)
    assert reached(mapped.unmap({"amount": 100.5}))[0][0].amount == Decimal("100.5")
    with pytest.raises(REFUSED, match="amount is a float"):
        mapped.unmap({"amount": 0.1 + 0.2}).execute(context())


# Paths

POLICY = "USDT:\n  reserve: '{{ params.reserve }}'\n"


def file_dag(folder, **options):
    made = DAG("files", schedule=None, **options)
    made.fileloc = str(folder / "dag.py")
    return made


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    "spelling",
    [
        lambda folder: "policy.yaml",
        lambda folder: "desks/policy.json",
        lambda folder: "{{ params.file }}",
        lambda folder: "desks/{{ params.desk }}.yml",
        lambda folder: str(folder / "policy.yaml"),
        lambda folder: folder / "policy.yaml",
        lambda folder: Path("desks") / "{{ params.desk }}.yml",
        lambda folder: f"file://{folder}/policy.yaml",
        lambda folder: ObjectStoragePath(f"file://{folder}/policy.yaml"),
        lambda folder: ObjectStoragePath("file://" + str(folder) + "/desks/{{ params.desk }}.yml"),
    ],
)
def test_policies_come_from_files(tmp_path, spelling, mapped, native):
    (tmp_path / "desks").mkdir()
    for name in ("policy.yaml", "desks/one.yml"):
        (tmp_path / name).write_text(POLICY)
    (tmp_path / "desks" / "policy.json").write_text(json.dumps({"USDT": {"reserve": "{{ params.reserve }}"}}))
    params = {"reserve": "100.50", "file": "policy.yaml", "desk": "one"}
    for kind in (treasury.WhiteBitSweepOperator, treasury.WhiteBitRaiseLiquidityOperator):
        with file_dag(tmp_path, render_template_as_native_obj=native):
            given = {**KINDS[kind], "policy": spelling(tmp_path)}
            if mapped:
                task = kind.partial(task_id="t", **given).expand(whitebit_conn_id=["a"])
                task = task.unmap({"whitebit_conn_id": "a"})
            else:
                task = kind(task_id="t", **given)
        if mapped:
            # As Airflow does: it renders the fields of the unmapped task, not by the task's own method.
            task._do_render_template_fields(task, ["policy"], context(**params), task.get_template_env(), set())
        else:
            task.render_template_fields(context(**params))
            assert "100.50" in task.policy
        assert reached(task, params)[0][0].policy.tickers["USDT"].reserve == Decimal("100.5")


@pytest.mark.parametrize("spelling", [lambda folder: "policy.json", lambda folder: folder / "policy.json"])
def test_a_byte_order_mark_before_a_policy_is_no_part_of_it(tmp_path, spelling):
    (tmp_path / "policy.json").write_text('{"USDT": {"reserve": "100.5"}}', encoding="utf-8-sig")
    with file_dag(tmp_path):
        task = treasury.WhiteBitSweepOperator(task_id="t", policy=spelling(tmp_path))
    task.render_template_fields(context())
    assert json.loads(task.policy) == {"USDT": {"reserve": "100.5"}}


@pytest.mark.parametrize("name", ["missing.yaml", "/nowhere/missing.json", "{{ params.file }}", "../secret.yaml"])
def test_a_missing_file_is_an_error_that_names_it(tmp_path, name):
    with file_dag(tmp_path):
        task = treasury.WhiteBitSweepOperator(task_id="t", policy=name)
    task.render_template_fields(context(file="missing.yaml"))
    with pytest.raises(REFUSED, match=r"policy is the file '.*', which cannot be read"):
        task.execute(context())


def test_an_approved_plan_can_be_a_file_and_is_never_replaced(tmp_path):
    plan = {"moves": [], "notes": [], "shortfalls": {}, "auto_reinvest": {}}
    (tmp_path / "plan.json").write_text(json.dumps({"plan": plan}))
    task = rendered(treasury.WhiteBitSweepOperator, approved_plan=tmp_path / "plan.json")
    assert isinstance(reached(task)[0][0], ApprovedPlan)


@pytest.mark.parametrize(
    "spelling",
    [
        str,
        lambda path: path,
        lambda path: f"file://{path}",
        lambda path: ObjectStoragePath(f"file://{path}"),
        lambda path: Path(str(path).replace("x.", "{{ params.name }}.")),
        lambda path: ObjectStoragePath("file://" + str(path).replace("x.", "{{ params.name }}.")),
    ],
)
def test_output_paths_of_every_kind(tmp_path, spelling):
    path = tmp_path / "x.jsonl"
    task = rendered(flex.WhiteBitFlexHistoryOperator, {"name": "x"}, output_path=spelling(path))
    task.__dict__["hook"] = SimpleNamespace(get_conn=lambda: SimpleNamespace(flex_history=lambda **filters: []))
    written = task.execute(context())
    assert path.exists()
    assert written["path"] in (str(path), f"file://{path}")


# XComs


class TaskInstance:
    def __init__(self):
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


BALANCES = {"USDT": Decimal("5.50"), "BTC": Decimal(0), "ETH": Decimal(0)}
SWITCHED = {"operation": "flex_auto_reinvest", "ticker": "USDT"}


@pytest.mark.parametrize("push", [True, False])
def test_fields_of_mappings_are_xcoms_unless_the_task_pushes_none(push):
    instance = TaskInstance()
    with DAG("xcoms", schedule=None):
        balances = account.WhiteBitBalanceOperator(task_id="balances", do_xcom_push=push)
        flex.WhiteBitFlexInvestOperator(task_id="invest", ticker="USDT", amount=balances.output["USDT"])
        flex.WhiteBitFlexInvestOperator.partial(task_id="more", amount=balances.output["BTC"]).expand(ticker=["BTC"])
    (balances.__dict__)["hook"] = SimpleNamespace(balances=lambda account, ticker: BALANCES)
    assert balances.execute({"ti": instance}) == {"USDT": "5.5", "BTC": "0", "ETH": "0"}
    assert instance.pushed == ({"USDT": "5.5", "BTC": "0"} if push else {})


@pytest.mark.parametrize("push", [True, False])
def test_other_mappings(push, tmp_path):
    def pushed(task, **calls):
        instance = TaskInstance()
        task.__dict__["hook"] = SimpleNamespace(**calls)
        found = task.execute({**context(), "ti": instance})
        assert instance.pushed == ({name: value for name, value in found.items() if value is not None} if push else {})

    switch = flex.WhiteBitFlexAutoReinvestOperator(task_id="t", ticker="USDT", enabled=True, do_xcom_push=push)
    pushed(switch, flex_auto_reinvest=lambda **given: SWITCHED)
    sensor = sensors.WhiteBitBalanceSensor(task_id="t", ticker="USDT", at_least="1", do_xcom_push=push)
    pushed(sensor, poll=lambda *asked: BALANCES, reread_connection=lambda: False)
    deferred = sensors.WhiteBitBalanceSensor(
        task_id="t", ticker="USDT", at_least="1", do_xcom_push=push, deferrable=True
    )
    pushed(deferred, poll=lambda *asked: BALANCES, reread_connection=lambda: False)
    instance = TaskInstance()
    deferred.execute_complete({"ti": instance}, {"status": "met", "found": {"amount": "5"}})
    assert instance.pushed == ({"amount": "5"} if push else {})
    receipt = SimpleNamespace(to_json=lambda: {"plan_id": PLAN, "transaction_id": None})
    for kind, call in (
        (flex.WhiteBitFlexInvestOperator, "flex_invest"),
        (fixed.WhiteBitFixedCloseOperator, "fixed_close"),
    ):
        pushed(kind(task_id="t", do_xcom_push=push, **KINDS[kind]), **{call: lambda **given: receipt})
    plan = treasury.WhiteBitSweepOperator(task_id="t", policy={"USDT": {}}, do_xcom_push=push)
    outcome = SimpleNamespace(receipts=[], to_json=lambda: {"status": "nothing_to_do", "receipts": []})
    pushed(plan, execute_plan=lambda request, **options: outcome)
    history = flex.WhiteBitFlexHistoryOperator(task_id="t", output_path=tmp_path / "x.csv", do_xcom_push=push)
    pushed(history, get_conn=lambda: SimpleNamespace(flex_history=lambda **filters: []))


# Default arguments, copies

DEFAULTS = {
    "owner": "treasury",
    "retries": 3,
    "whitebit_conn_id": "desk",
    "deferrable": True,
    "dry_run": "{{ params.dry }}",
    "pool": "desk",
    "outlets": [Asset("mine")],
    "inlets": [Asset("other")],
    "poke_interval": 7,
    "timeout": 70,
    "do_xcom_push": False,
    "output_conn_id": "storage",
}


@pytest.mark.parametrize("kind", KINDS)
def test_default_arguments_of_every_kind(kind):
    needed = KINDS[kind]
    with DAG("defaults", schedule=None, default_args=copy.deepcopy(DEFAULTS)) as dag:
        single = kind(task_id="single", **needed)
        mapped = kind.partial(task_id="mapped", **needed).expand_kwargs([{}])
    moves = [AssetAlias("whitebit_moves")] if kind in MOVES else []
    own = {"deferrable", "dry_run", "output_conn_id", "poke_interval", "timeout"} - set(vars(single))
    for task in (single, mapped.unmap({})):
        assert task.outlets == [*DEFAULTS["outlets"], *moves]
        assert {name: getattr(task, name) for name in DEFAULTS.keys() - own - {"outlets"}} == {
            name: value for name, value in DEFAULTS.items() if name not in own and name != "outlets"
        }
    assert dag.default_args["outlets"] == [Asset("mine")]


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_tasks_can_be_copied_and_pickled(kind, used, monkeypatch):
    monkeypatch.undo()
    connection = {"conn_type": "whitebit", "login": "k", "password": "the-secret", "host": "http://127.0.0.1:9"}
    monkeypatch.setenv("AIRFLOW_CONN_DESK", json.dumps(connection))
    task = kind(task_id="t", whitebit_conn_id="desk", **KINDS[kind])
    if used:
        for made in (
            task.hook.settings,
            task.hook.get_conn(),
            task.hook._account,
            task.hook._executor,
            task.hook._api_key,
        ):
            assert made is not None
        assert task.hook.log is not None
    for twin in (copy.deepcopy(task), copy.copy(task), pickle.loads(pickle.dumps(task))):
        assert type(twin) is kind
        assert {name: getattr(twin, name) for name in kind.template_fields} == {
            name: getattr(task, name) for name in kind.template_fields
        }
        assert twin.hook.settings.credentials.api_key == "k"
        assert twin.hook.get_conn() is not None
    assert b"the-secret" not in pickle.dumps(task)
