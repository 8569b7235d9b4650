"""Make every call of ``whitebit-python-sdk`` that concerns lending, unchanged, against a sandbox.

Its own interpreter runs this with the sandbox's address. It prints a report as JSON.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
import time
from unittest import mock

import httpx
from recorder import Recorder
from whitebit import AsyncWhitebitApi, WhitebitApi
from whitebit.environment import WhitebitApiEnvironment
from whitebit.hmac_transport import HmacTransport

FLEX = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
FIXED = "0a61d2f9-b4c6-47e8-93a4-8f90a1b2c3d4"
url = sys.argv[1]
common = {
    "environment": WhitebitApiEnvironment(base=url, production=url, eu=url),
    "api_key": "sandbox-key",
    "txc_payload": "",
    "txc_signature": "",
}
transport = HmacTransport(api_secret="sandbox-secret")
api = WhitebitApi(**common, httpx_client=httpx.Client(transport=transport))
#: The transport fills these in; some calls demand them all the same.
filled = {"request": "", "nonce": 0}


def plain(value):
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    return plain(value.dict(by_alias=True)) if hasattr(value, "dict") else value


def calls():
    """Path of each call, by the name of its client and method."""
    for group, client in vars(api).items():
        raw = getattr(client, "with_raw_response", None)
        for name, method in inspect.getmembers(raw, inspect.ismethod):
            if path := re.search(r'"(api/v\d/[^"]+)"', inspect.getsource(method)):
                yield f"{group.lstrip('_')}.{name}", f"/{path[1]}"


record = Recorder(dict(calls()), plain)


def call(name, label="", client=api, **params):
    group, method = name.split(".")
    function = getattr(getattr(client, group), method)
    if "nonce" in inspect.signature(function).parameters:
        params = filled | params
    # Its nonces are the time in milliseconds, and a call on loopback can take less than one.
    time.sleep(0.002)
    return record.keep(label or name, name, lambda: function(**params))


flex, fixed, sub, public = "crypto_lending_flex", "crypto_lending_fixed", "sub_account", "public_api_v4"
for name in ("server_time", "server_status", "asset_status_list", "maintenance_status", "market_activity"):
    call(f"{public}.{name}")
call(f"{flex}.get_flex_plans", ticker="USDT", limit=2, offset=0)
call(f"{flex}.create_flex_investment", plan=FLEX, amount="100", with_reinvest=True)
call(f"{flex}.update_flex_auto_reinvestment", plan=FLEX, enabled=False)
call(f"{flex}.get_user_flex_investments", plan=FLEX, investment_status=1)
call(f"{flex}.withdraw_from_flex_investment", plan=FLEX, amount="40")
call(f"{flex}.close_flex_investment", plan=FLEX)
call(f"{flex}.get_flex_investment_history", plan=FLEX, action_types=[3, 5, 6])
call(f"{flex}.get_flex_payment_history", plan=FLEX)
call(f"{fixed}.get_fixed_plans", ticker="USDT")
opened = call(f"{fixed}.create_fixed_investment", plan_id=FIXED, amount="200")["id"]
call(f"{fixed}.get_fixed_investments_history", id=opened, status=1)
call(f"{fixed}.close_fixed_investment", id=opened)
call(f"{fixed}.get_interest_payment_history", ticker="USDT")
call("transfer.between_balances", ticker="USDT", amount="10", from_="main", to="spot")
call("transfer.between_balances", "transfer by method", ticker="USDT", amount="5", method="collateral-deposit")
balances = ("main_account.get_main_balance", "spot_trading.trade_account_balance")
for name in (*balances, "collateral_trading.collateral_account_balance"):
    call(name)
    call(name, f"{name}(ticker=…)", ticker="USDT")
call("main_account.get_deposit_withdraw_history", ticker="USDT", transaction_method=1, limit=10, offset=0)
[account, *_] = call(f"{sub}.list_sub_accounts", limit=10, offset=0)["data"]
call(f"{sub}.transfer", id=account["id"], direction="main_to_sub", amount="30", ticker="USDT")
call(f"{sub}.transfer", "transfer back", id=account["id"], direction="sub_to_main", amount="10", ticker="USDT")
call(f"{sub}.get_sub_account_balances", id=account["id"], ticker="USDT")
call(f"{sub}.get_sub_account_transfer_history", id=account["id"], direction="main_to_sub", limit=10, offset=0)

# What the exchange refuses.
call(f"{flex}.create_flex_investment", "refused: amount", plan=FLEX, amount="1")
call(f"{flex}.close_flex_investment", "refused: plan", plan="x")
call(f"{fixed}.close_fixed_investment", "refused: closed", id=opened)
call("transfer.between_balances", "refused: balance", ticker="BTC", amount="9", method="deposit")

# What it does wrong itself.
with mock.patch("time.time", return_value=time.time() + 1):
    call(balances[0], "the first of two calls in one millisecond")
    call(balances[0], "two calls in one millisecond")


async def signed():
    async with httpx.AsyncClient(transport=transport) as client:
        return await AsyncWhitebitApi(**common, httpx_client=client).main_account.get_main_balance(**filled)


record.keep("every private call of AsyncWhitebitApi", balances[0], lambda: asyncio.run(signed()))
record.report()
