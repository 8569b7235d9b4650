"""Every lending, balance and transfer call of ``whitebit-python-sdk``, unchanged, against a sandbox: run by its own
interpreter, tells as JSON what it got."""

from __future__ import annotations

import json
import sys
import time

import httpx
from whitebit import WhitebitApi
from whitebit.core.api_error import ApiError
from whitebit.environment import WhitebitApiEnvironment
from whitebit.hmac_transport import HmacTransport

FLEX = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
FIXED = "0a61d2f9-b4c6-47e8-93a4-8f90a1b2c3d4"
url = sys.argv[1]
api = WhitebitApi(
    environment=WhitebitApiEnvironment(base=url, production=url, eu=url),
    api_key="sandbox-key",
    txc_payload="",
    txc_signature="",
    # It makes its nonces of the time in milliseconds, and a loopback answers sooner than that.
    httpx_client=httpx.Client(
        transport=HmacTransport(api_secret="sandbox-secret"),
        event_hooks={"request": [lambda request: time.sleep(0.002)]},
    ),
)
filled = {"request": "", "nonce": 0}


def plain(value):
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    return plain(value.dict(by_alias=True)) if hasattr(value, "dict") else value


def refused(call):
    try:
        call()
    except ApiError as error:
        return [error.status_code, plain(error.body)]
    return "not refused"


flex, fixed, told = api.crypto_lending_flex, api.crypto_lending_fixed, {}
told["flex_plans"] = plain(flex.get_flex_plans(**filled, ticker="USDT", limit=2, offset=0))
told["flex_invest"] = plain(flex.create_flex_investment(**filled, plan=FLEX, amount="100", with_reinvest=True))
told["flex_reinvest"] = plain(flex.update_flex_auto_reinvestment(**filled, plan=FLEX, enabled=False))
told["flex_investments"] = plain(flex.get_user_flex_investments(**filled, plan=FLEX, investment_status=1))
told["flex_withdraw"] = plain(flex.withdraw_from_flex_investment(**filled, plan=FLEX, amount="40"))
told["flex_close"] = plain(flex.close_flex_investment(**filled, plan=FLEX))
told["flex_history"] = plain(flex.get_flex_investment_history(**filled, plan=FLEX, action_types=[3, 5, 6]))
told["flex_payments"] = plain(flex.get_flex_payment_history(**filled, plan=FLEX))
told["fixed_plans"] = plain(fixed.get_fixed_plans(**filled, ticker="USDT"))
told["fixed_invest"] = plain(fixed.create_fixed_investment(**filled, plan_id=FIXED, amount="200"))
name = told["fixed_invest"]["id"]
told["fixed_investments"] = plain(fixed.get_fixed_investments_history(**filled, id=name, status=1))
told["fixed_close"] = plain(fixed.close_fixed_investment(**filled, id=name))
told["fixed_payments"] = plain(fixed.get_interest_payment_history(**filled, ticker="USDT"))
told["transfer"] = plain(api.transfer.between_balances(**filled, ticker="USDT", amount="10", from_="main", to="spot"))
told["transfer_method"] = plain(
    api.transfer.between_balances(**filled, ticker="USDT", amount="5", method="collateral-deposit")
)
told["main"] = plain(api.main_account.get_main_balance(**filled))
told["trade"] = plain(api.spot_trading.trade_account_balance(**filled))
told["collateral"] = plain(api.collateral_trading.collateral_account_balance(**filled))
told["refusals"] = {
    "flex_invest": refused(lambda: flex.create_flex_investment(**filled, plan=FLEX, amount="1")),
    "flex_close": refused(lambda: flex.close_flex_investment(**filled, plan="x")),
    "fixed_close": refused(lambda: fixed.close_fixed_investment(**filled, id=name)),
    "transfer": refused(lambda: api.transfer.between_balances(**filled, ticker="BTC", amount="9", method="deposit")),
}
print(json.dumps(told, default=str))
