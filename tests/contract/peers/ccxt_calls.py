"""Every lending, balance and transfer call of ``ccxt``, unchanged, against a sandbox: run by its own interpreter,
tells as JSON what it got."""

from __future__ import annotations

import json
import sys

import ccxt

FLEX = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
FIXED = "0a61d2f9-b4c6-47e8-93a4-8f90a1b2c3d4"
url = sys.argv[1]
exchange = ccxt.whitebit({"apiKey": "sandbox-key", "secret": "sandbox-secret", "enableRateLimit": False})
for version, sides in exchange.urls["api"].items():
    for side, address in sides.items():
        exchange.urls["api"][version][side] = url + "/api" + address.split("/api")[1]
# ccxt asks for its list of markets first, which has nothing to do with lending.
exchange.set_markets([], {"USDT": exchange.safe_currency_structure({"id": "USDT", "code": "USDT", "precision": 1e-6})})


def refused(call):
    try:
        call()
    except ccxt.BaseError as error:
        return [type(error).__name__, str(error)]
    return "not refused"


told = {"time": exchange.fetch_time()}
flex = "v4PrivatePostMainAccountSmartFlex"
call = {
    "flex_plans": getattr(exchange, f"{flex}Plans"),
    "flex_invest": getattr(exchange, f"{flex}InvestmentsInvest"),
    "flex_reinvest": getattr(exchange, f"{flex}InvestmentsAutoInvest"),
    "flex_investments": getattr(exchange, f"{flex}Investments"),
    "flex_withdraw": getattr(exchange, f"{flex}InvestmentsWithdraw"),
    "flex_close": getattr(exchange, f"{flex}InvestmentsClose"),
    "flex_history": getattr(exchange, f"{flex}InvestmentsHistory"),
    "flex_payments": getattr(exchange, f"{flex}InvestmentsPaymentHistory"),
    "fixed_plans": exchange.v4PrivatePostMainAccountSmartPlans,
    "fixed_invest": exchange.v4PrivatePostMainAccountSmartInvestment,
    "fixed_investments": exchange.v4PrivatePostMainAccountSmartInvestments,
    "fixed_close": exchange.v4PrivatePostMainAccountSmartInvestmentClose,
    "fixed_payments": exchange.v4PrivatePostMainAccountSmartInterestPaymentHistory,
    "main": exchange.v4PrivatePostMainAccountBalance,
    "trade": exchange.v4PrivatePostTradeAccountBalance,
    "collateral": exchange.v4PrivatePostCollateralAccountBalance,
    "transfer": exchange.v4PrivatePostMainAccountTransfer,
}
told["flex_plans"] = call["flex_plans"]({"ticker": "USDT", "limit": 2, "offset": 0})
told["flex_invest"] = call["flex_invest"]({"plan": FLEX, "amount": "100", "withReinvest": True})
told["flex_reinvest"] = call["flex_reinvest"]({"plan": FLEX, "enabled": False})
told["flex_investments"] = call["flex_investments"]({"plan": FLEX, "investmentStatus": 1})
told["flex_withdraw"] = call["flex_withdraw"]({"plan": FLEX, "amount": "40"})
told["flex_close"] = call["flex_close"]({"plan": FLEX})
told["flex_history"] = call["flex_history"]({"plan": FLEX, "actionTypes": [3, 5, 6]})
told["flex_payments"] = call["flex_payments"]({"plan": FLEX})
told["fixed_plans"] = call["fixed_plans"]({"ticker": "USDT"})
told["fixed_invest"] = call["fixed_invest"]({"planId": FIXED, "amount": "200"})
name = told["fixed_invest"]["id"]
told["fixed_investments"] = call["fixed_investments"]({"id": name, "status": 1})
told["fixed_close"] = call["fixed_close"]({"id": name})
told["fixed_payments"] = call["fixed_payments"]({"ticker": "USDT"})
told["unified_transfer"] = exchange.transfer("USDT", 10, "main", "spot")["status"]
told["transfer_method"] = call["transfer"]({"ticker": "USDT", "amount": "5", "method": "collateral-deposit"})
told["main"] = call["main"]()
told["trade"] = call["trade"]()
told["collateral"] = call["collateral"]()
told["unified_main"] = exchange.fetch_balance({"account": "main"})["USDT"]["free"]
told["unified_trade"] = exchange.fetch_balance({"account": "spot"})["USDT"]["free"]
told["refusals"] = {
    "flex_invest": refused(lambda: call["flex_invest"]({"plan": FLEX, "amount": "1"})),
    "fixed_close": refused(lambda: call["fixed_close"]({"id": name})),
    "transfer": refused(lambda: call["transfer"]({"ticker": "BTC", "amount": "9", "method": "deposit"})),
}
print(json.dumps(told, default=str))
