"""Limits over time, from the connection's fields to the exchange's ledger."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.client.errors import WhiteBitLimitError, WhiteBitNotEnoughBalanceError
from airflow_provider_whitebit.treasury.requests import Sweep
from tests.contract.test_requests_of_a_move import USDT, Account
from tests.sandbox_plans import SubAccounts


def invest(amount, **options):
    return lambda hook: hook.flex_invest(plan_id=USDT, amount=amount, **options)


def withdraw(amount):
    return lambda hook: hook.flex_withdraw(plan_id=USDT, amount=amount)


def transfer(amount, source="main", target="spot"):
    return lambda hook: hook.transfer(ticker="USDT", amount=amount, source=source, target=target)


def to_sub(amount):
    return lambda hook: hook.sub_account_transfer(
        sub_account_id=SubAccounts.TRADING, direction="main_to_sub", ticker="USDT", amount=amount
    )


def refused(account, move):
    with pytest.raises(WhiteBitLimitError) as caught:
        account.task(move)
    assert caught.value.money_moved is False
    return str(caught.value)


@pytest.fixture
def account(monkeypatch):
    return Account(monkeypatch, previous=False, max_per_day={"USDT": "300"})


def test_every_move_of_the_asset_counts_in_and_out(account):
    for move in (invest("100"), withdraw("40"), transfer("60"), to_sub("50")):
        account.task(move)
    assert "Moved in the last 24 hours: 250 USDT." in refused(account, invest("50.01"))
    account.task(lambda hook: hook.transfer(ticker="ETH", amount="1", source="main", target="spot"))
    account.task(invest("50"))
    text = refused(account, transfer("1"))
    assert "this package sent 60 USDT that no record shows" in text
    found = []
    account.task(lambda hook: found.extend(hook.limits_used()))
    (used,) = found
    assert {name: used[name] for name in ("limit", "ticker", "most", "used", "unshown")} == {
        "limit": "max_per_day",
        "ticker": "USDT",
        "most": "300",
        "used": "300",
        "unshown": "60",
    }
    assert "The next 100 USDT become free at" in text


def test_what_moved_a_day_ago_is_free_again(account):
    account.task(invest("300"))
    account.clock.sleep(86_400 - 60)
    refused(account, withdraw("10"))
    account.clock.sleep(120)
    account.task(withdraw("10"))


def test_a_transfer_in_two_steps_counts_twice(account):
    account.task(transfer("150"))
    with pytest.raises(WhiteBitLimitError) as caught:
        account.task(transfer("100", "spot", "collateral"))
    # Its first step was made, and is not made again.
    assert [(one["source"], one["target"]) for one in caught.value.completed_moves] == [("spot", "main")]
    assert "100 USDT more would exceed" in str(caught.value)


def test_a_refused_move_does_not_count(monkeypatch):
    account = Account(monkeypatch, previous=False, max_per_day={"USDT": "30000"})
    for _ in range(3):
        with pytest.raises(WhiteBitNotEnoughBalanceError):
            account.task(invest("20000"))
    account.task(invest("1000"))


def test_a_close_counts_for_what_is_invested(account):
    account.task(invest("160"))
    account.clock.sleep(60)
    assert "160 USDT more" in refused(account, lambda hook: hook.flex_close(plan_id=USDT)).replace("160.0", "160")


def test_dry_runs_are_checked_and_leave_no_log(account):
    account.task(invest("300", dry_run=True))
    assert not account.variables or all("spent" not in name for name in account.variables)
    account.task(invest("200"))
    assert "max_per_day" in refused(account, invest("101", dry_run=True))


def test_the_dry_run_of_a_plan_is_checked(account):
    with pytest.raises(WhiteBitLimitError, match="max_per_day"):
        account.task(lambda hook: hook.execute_plan(Sweep({"USDT": {"reserve": "100"}}), dry_run=True))


def test_people_count_where_records_show_them(account):
    account.task(invest("200"))
    # As if a person had made it: this package does not know of it.
    account.variables.clear()
    assert "Moved in the last 24 hours: 200 USDT." in refused(account, invest("101"))


def test_two_keys_of_one_account_share_their_limits(monkeypatch):
    account = Account(monkeypatch, previous=True, max_per_day={"USDT": "300"})
    account.task(transfer("200"))
    logs = {name for name in account.variables if name.startswith("whitebit_spent__")}
    # Two pages with each key, and which one is the latest.
    assert len(logs) == 6
    assert "200 USDT that no record shows" in refused(account, transfer("101"))


def test_the_number_of_moves_in_an_hour(monkeypatch):
    account = Account(monkeypatch, previous=False, max_moves_per_hour=2)
    account.task(invest("100"))
    account.task(lambda hook: hook.transfer(ticker="ETH", amount="1", source="main", target="spot"))
    assert "Moved in the last hour: 2 moves." in refused(account, invest("100"))
    account.clock.sleep(3_600)
    account.task(invest("100"))
