"""Only the hook's move methods move money, and they obey the connection's limits. Everything else only reads."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import airflow_provider_whitebit
from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.treasury.conditions import Names
from airflow_provider_whitebit.treasury.requests import RaiseLiquidity, Rebalance, Sweep
from tests.sandbox_plans import Flex, SubAccounts

USDT = Flex.USDT
#: Ends of the paths that move money or switch something.
CHANGES = ("/invest", "/withdraw", "/close", "/investment", "/auto-invest", "/transfer")
SENDERS = {"send_move", "claim_nonce", "switch_auto_reinvest", "flex_auto_reinvest", "once"}
#: Arguments for the public methods of hook and client.
ARGUMENTS = {
    "plan_id": USDT,
    "amount": "100",
    "source": "main",
    "target": "spot",
    "account": "main",
    "ticker": "USDT",
    "enabled": True,
    "request": Sweep({"USDT": {}}),
    "question": "main",
    "event": {},
    "sub_account": SubAccounts.TRADING,
    "sub_account_id": SubAccounts.TRADING,
    "direction": "main_to_sub",
    "names": Names(ticker="USDT"),
    "answer": {},
}


@pytest.fixture
def read_only(make_hook, hook, sandbox):
    hook.flex_invest(plan_id=USDT, amount="500")
    return make_hook(read_only=True)


def changes(sandbox):
    return [request["path"] for request in sandbox.requests() if request["path"].endswith(CHANGES)]


def public_methods(thing):
    return {
        name: getattr(thing, name)
        for name, value in inspect.getmembers(type(thing), inspect.isfunction)
        if not name.startswith("_")
    }


def call(method):
    """Call a method with arguments that it accepts; a refusal is fine."""
    parameters = inspect.signature(method).parameters
    given = {name: ARGUMENTS[name] for name in parameters if name in ARGUMENTS}
    if {"plan_id", "ticker"} <= given.keys():
        del given["ticker"]
    required = {
        name for name, one in parameters.items() if one.default is one.empty and one.kind is not one.VAR_POSITIONAL
    }
    if missing := required - given.keys() - {"kwargs", "accounts"}:
        return missing
    try:
        result = method(**given)
        list(result) if inspect.isgenerator(result) or hasattr(result, "__next__") else result
    except e.WhiteBitError:
        return None
    return None


def test_every_public_method_of_a_read_only_connection_changes_nothing(read_only, sandbox):
    before = changes(sandbox)
    for thing in (read_only, read_only.get_conn(), read_only.get_conn(timeout=5, retries=0)):
        for name, method in public_methods(thing).items():
            missing = call(method) if type(thing).__module__.startswith("airflow_provider_whitebit") else None
            own = name in vars(type(thing))
            assert not (own and missing), f"{name} needs {missing}: add arguments to this test"
    assert changes(sandbox) == before


@pytest.mark.parametrize(
    "move",
    [
        lambda hook: hook.flex_invest(plan_id=USDT, amount="100"),
        lambda hook: hook.flex_withdraw(plan_id=USDT, amount="100"),
        lambda hook: hook.flex_close(plan_id=USDT),
        lambda hook: hook.flex_auto_reinvest(plan_id=USDT, enabled=True),
        lambda hook: hook.fixed_invest(ticker="USDT", amount="100"),
        lambda hook: hook.transfer(ticker="USDT", amount="100", source="main", target="spot"),
        lambda hook: hook.sub_account_transfer(
            sub_account_id=SubAccounts.TRADING, direction="main_to_sub", ticker="USDT", amount="100"
        ),
        lambda hook: hook.execute_plan(Sweep({"USDT": {}})),
        lambda hook: hook.execute_plan(Rebalance({"USDT": {"reserve": "9800"}})),
        lambda hook: hook.execute_plan(RaiseLiquidity("USDT", "9800")),
        lambda hook: hook.execute_plan(Sweep({"USDT": {"auto_reinvest": True}}), dry_run=True),
    ],
)
def test_every_move_of_a_read_only_connection_is_refused(read_only, sandbox, move):
    before = changes(sandbox)
    with pytest.raises(e.WhiteBitError, match="is read_only") as caught:
        move(read_only)
    assert not caught.value.money_moved
    assert changes(sandbox) == before


def public_modules():
    for found in pkgutil.walk_packages(airflow_provider_whitebit.__path__, "airflow_provider_whitebit."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield found.name


@pytest.mark.parametrize("name", sorted(public_modules()))
def test_no_public_name_is_a_client_that_moves_money(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"needs a newer Airflow: {error}")
    for public, value in vars(module).items():
        if not public.startswith("_"):
            assert value is not MovingClient, f"{name}.{public}"
            if inspect.isclass(value) and value.__module__.startswith("airflow_provider_whitebit"):
                assert not SENDERS & set(vars(value)) or value.__name__ == "WhiteBitHook", f"{name}.{public}"


def test_the_client_of_a_hook_has_no_way_to_send(hook):
    client = hook.get_conn()
    assert type(client) is WhiteBitClient
    assert not SENDERS & {name for name in dir(client)}
    reachable = [getattr(client, name) for name in dir(client) if not name.startswith("_")]
    assert not any(isinstance(thing, MovingClient) for thing in reachable)
    reachable = [value for name, value in vars(hook).items() if not name.startswith("_")]
    assert not any(isinstance(thing, MovingClient) for thing in reachable)
