"""Assertions on the ledger, as tests of users' DAGs make them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_whitebit import testing
from airflow_provider_whitebit.moves import intent
from tests.sandbox_plans import Flex


def test_a_move_is_found_by_operation_asset_and_amount(sandbox, hook):
    hook.flex_invest(ticker="USDT", amount="100")
    for amount in ("100", "100.00", 100, Decimal(100), None):
        sandbox.assert_moved("flex_invest", "USDT", amount)
    for wrong in (("flex_close", "USDT", "100"), ("flex_invest", "BTC", "100"), ("flex_invest", "USDT", "99")):
        sandbox.assert_moved(*wrong, times=0)
        with pytest.raises(AssertionError, match=rf"^{wrong[0]} {wrong[2]} {wrong[1]}: moved 0 times, not once\."):
            sandbox.assert_moved(*wrong)


def test_equal_moves_are_counted(sandbox, hook):
    hook.transfer(ticker="USDT", amount="5", source="main", target="spot")
    hook.transfer(ticker="USDT", amount="5", source="main", target="spot", key="again")
    sandbox.assert_moved("transfer", "USDT", "5", times=2)
    with pytest.raises(AssertionError, match=r"^transfer 5 USDT: moved 2 times, not once\."):
        sandbox.assert_moved("transfer", "USDT", "5")


def test_the_message_lists_all_moves(sandbox, hook):
    hook.flex_invest(ticker="USDT", amount="100")
    hook.transfer(ticker="BTC", amount="0.5", source="main", target="spot")
    with pytest.raises(AssertionError) as caught:
        sandbox.assert_moved("fixed_invest", "USDC", None, times=3)
    first, *moves = str(caught.value).splitlines()
    assert first == "fixed_invest USDC: moved 0 times, not 3 times. All moves:"
    assert " UTC  flex_invest 100 USDT, main:sandbox to " in moves[0]
    assert moves[1].endswith(" UTC  transfer 0.5 BTC, main:sandbox to spot:sandbox")


def test_what_a_close_pays_is_its_principal(sandbox, hook):
    hook.flex_invest(plan_id=Flex.USDT, amount="1000")
    sandbox.advance(days=40)
    hook.flex_close(plan_id=Flex.USDT)
    sandbox.assert_moved("flex_close", "USDT", "1000")
    assert sandbox.ledger()["balanced"]


def test_fixed_investments_and_sub_accounts(sandbox, hook):
    hook.fixed_invest(ticker="USDC", amount="100")
    hook.fixed_close(ticker="USDC")
    sub_account = next(iter(hook.get_conn().sub_accounts())).id
    hook.sub_account_transfer(sub_account_id=sub_account, direction="main_to_sub", ticker="USDT", amount="7")
    assert [move["operation"] for move in sandbox.moves()] == ["fixed_invest", "fixed_close", "sub_account_transfer"]
    sandbox.assert_moved("fixed_close", "USDC", "100")
    sandbox.assert_moved("sub_account_transfer", "USDT", "7")


def test_nothing_moved(sandbox, hook):
    sandbox.fund("USDT", 5)
    sandbox.advance(days=1)
    sandbox.assert_nothing_moved()
    with pytest.raises(AssertionError, match=r"moved 0 times, not once\. Nothing moved at all\.$"):
        sandbox.assert_moved("flex_invest", "USDT", "100")
    hook.flex_invest(ticker="USDT", amount="100")
    with pytest.raises(AssertionError, match=r"(?s)^Money moved\. All moves:\n.* flex_invest 100 USDT"):
        sandbox.assert_nothing_moved()


def test_the_clock_is_the_exchanges(sandbox):
    before = sandbox.now()
    sandbox.advance(30, days=2)
    assert 2 * 86_400 + 30 <= (sandbox.now() - before).total_seconds() < 2 * 86_400 + 600


def test_typing_errors_are_no_missing_moves(sandbox):
    with pytest.raises(ValueError, match="there is no operation 'invest'; known are flex_invest, "):
        sandbox.assert_moved("invest", "USDT", "100", times=0)
    with pytest.raises(TypeError, match=r'write amount="0\.1"'):
        sandbox.assert_moved("flex_invest", "USDT", 0.1, times=0)


def test_the_operations_are_those_of_receipts():
    assert set(testing.OPERATIONS) == set(intent.Operation)
