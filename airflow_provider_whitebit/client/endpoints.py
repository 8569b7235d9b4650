"""Paths of the exchange's HTTP API v4.

Vendor pages: Lending (Flex and Fixed plans), Main balance, Trading balance, Collateral account balance, Transfer
between balances, Get deposit/withdraw history, Sub-accounts, Server time, Maintenance status, Asset status list, Market
activity.
"""

from __future__ import annotations

_MAIN_ACCOUNT = "/api/v4/main-account"

FLEX = f"{_MAIN_ACCOUNT}/smart-flex"
FIXED = f"{_MAIN_ACCOUNT}/smart"
TRANSFER = f"{_MAIN_ACCOUNT}/transfer"
MAIN_BALANCE = f"{_MAIN_ACCOUNT}/balance"
MAIN_HISTORY = f"{_MAIN_ACCOUNT}/history"
TRADE_BALANCE = "/api/v4/trade-account/balance"
COLLATERAL_BALANCE = "/api/v4/collateral-account/balance"
SUB_ACCOUNT = "/api/v4/sub-account"
SUB_ACCOUNT_TRANSFER = f"{SUB_ACCOUNT}/transfer"
SUB_ACCOUNT_TRANSFERS = f"{SUB_ACCOUNT_TRANSFER}/history"
ASSETS = "/api/v4/public/assets"
MARKET_ACTIVITY = "/api/v4/public/ticker"
PLATFORM_STATUS = "/api/v4/public/platform/status"
SERVER_TIME = "/api/v4/public/time"
