"""Make every call of ``ccxt`` that concerns lending, unchanged, against a sandbox.

Its own interpreter runs this with the sandbox's address. It prints a report as JSON.
"""

from __future__ import annotations

import inspect
import re
import sys

import ccxt
from ccxt.abstract.whitebit import ImplicitAPI
from recorder import RELEVANT, Recorder

FLEX = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
FIXED = "0a61d2f9-b4c6-47e8-93a4-8f90a1b2c3d4"
url = sys.argv[1]
exchange = ccxt.whitebit({"apiKey": "sandbox-key", "secret": "sandbox-secret", "enableRateLimit": False})
for version, sides in exchange.urls["api"].items():
    for side, address in sides.items():
        exchange.urls["api"][version][side] = url + "/api" + address.split("/api")[1]


def calls():
    """Path of each call of the vendor, and of each method that makes one, by its name.

    A method that makes several is named with the first that is relevant.
    """
    entries = {
        name: f"/api/{entry.api[0]}/{'public/' if 'public' in entry.api else ''}{entry.path}"
        for name, entry in vars(ImplicitAPI).items()
        if hasattr(entry, "path") and "_" not in name
    }
    yield from entries.items()
    for name, method in vars(ccxt.whitebit).items():
        # Each has a second name in camel case.
        if inspect.isfunction(method) and name.islower():
            made = re.findall(r"self\.(v\dP\w+)\(", inspect.getsource(method))
            for path in filter(RELEVANT.search, (entries[one] for one in made)):
                yield name, path
                break


record = Recorder(dict(calls()))


def call(name, *params, label=""):
    return record.keep(label or name, name, lambda: getattr(exchange, name)(*params))


public, private = "v4PublicGet", "v4PrivatePost"
flex, fixed = f"{private}MainAccountSmartFlex", f"{private}MainAccountSmart"
for name in ("Time", "Ping", "Assets", "PlatformStatus", "Ticker"):
    call(f"{public}{name}")
call(f"{flex}Plans", {"ticker": "USDT", "limit": 2, "offset": 0})
call(f"{flex}InvestmentsInvest", {"plan": FLEX, "amount": "100", "withReinvest": True})
call(f"{flex}InvestmentsAutoInvest", {"plan": FLEX, "enabled": False})
call(f"{flex}Investments", {"plan": FLEX, "investmentStatus": 1})
call(f"{flex}InvestmentsWithdraw", {"plan": FLEX, "amount": "40"})
call(f"{flex}InvestmentsClose", {"plan": FLEX})
call(f"{flex}InvestmentsHistory", {"plan": FLEX, "actionTypes": [3, 5, 6]})
call(f"{flex}InvestmentsPaymentHistory", {"plan": FLEX})
call(f"{fixed}Plans", {"ticker": "USDT"})
opened = call(f"{fixed}Investment", {"planId": FIXED, "amount": "200"})["id"]
call(f"{fixed}Investments", {"id": opened, "status": 1})
call(f"{fixed}InvestmentClose", {"id": opened})
call(f"{fixed}InterestPaymentHistory", {"ticker": "USDT"})

# Its unified methods read the markets first.
for name in ("fetch_time", "fetch_status", "fetch_currencies", "fetch_tickers", "fetch_trading_fees"):
    call(name)
call("transfer", "USDT", 10, "main", "spot")
call(f"{private}MainAccountTransfer", {"ticker": "USDT", "amount": "5", "method": "collateral-deposit"})
for name in ("Main", "Trade", "Collateral"):
    call(f"{private}{name}AccountBalance")
    call(f"{private}{name}AccountBalance", {"ticker": "USDT"}, label=f"{name} of USDT")
call("fetch_balance", {"account": "main"}, label="fetch_balance main")
call("fetch_balance", {"type": "spot"}, label="fetch_balance spot")
call("fetch_balance", {"type": "swap"}, label="fetch_balance collateral")
call(f"{private}MainAccountHistory", {"ticker": "USDT", "limit": 10, "offset": 0})
for name in ("fetch_deposits", "fetch_withdrawals", "fetch_transactions", "fetch_deposits_withdrawals"):
    call(name, "USDT")
call("fetch_deposit", "x")
call("fetch_accounts")
sub = f"{private}SubAccount"
[account, *_] = call(f"{sub}List", {"limit": 10, "offset": 0})["data"]
there = {"id": account["id"], "ticker": "USDT", "direction": "main_to_sub", "amount": "30"}
call(f"{sub}Transfer", there)
call(f"{sub}Transfer", there | {"direction": "sub_to_main", "amount": "10"}, label="transfer back")
call(f"{sub}Balances", {"id": account["id"], "ticker": "USDT"})
call(f"{sub}TransferHistory", {"id": account["id"], "direction": "main_to_sub", "limit": 10, "offset": 0})

# What the exchange refuses.
call(f"{flex}InvestmentsInvest", {"plan": FLEX, "amount": "1"}, label="refused: amount")
call(f"{flex}InvestmentsClose", {"plan": "x"}, label="refused: plan")
call(f"{fixed}InvestmentClose", {"id": opened}, label="refused: closed")
too_much = {"ticker": "BTC", "amount": "9", "method": "deposit"}
call(f"{private}MainAccountTransfer", too_much, label="refused: balance")


# What it does wrong itself.
def by_type():
    if exchange.fetch_balance({"type": "main"})["total"] == exchange.fetch_balance({"type": "spot"})["total"]:
        raise AssertionError("the spot balance")


def transaction_ids():
    if exchange.fetch_deposits("USDT")[0]["txid"] is None:
        raise AssertionError("txid is None")


record.keep('fetch_balance({"type": "main"})', "fetch_balance", by_type)
record.keep("fetch_deposits: txid", "fetch_deposits", transaction_ids)
record.report()
