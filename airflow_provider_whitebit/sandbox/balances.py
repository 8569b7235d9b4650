"""Main, trade and collateral balances, transfers between them, and deposits and withdrawals of Main. Vendor pages: Main
balance, Trading balance, Collateral account balance, Transfer between balances, Get deposit/withdraw history.

If the vendor's pages do not say, the sandbox decides:

- Nothing is frozen: the sandbox has no orders.
- Main and collateral list all assets without a ticker, spot only those that are not zero.
- A transfer between the trade and the collateral balance is refused.
- Each transfer out of Main is a deposit and each transfer to Main a withdrawal, also for the collateral balance.
- If both forms are given, ``from`` and ``to`` count.
- Deposits and withdrawals are successful at once, without a fee (status 3). Filters by address, memo and unique id find
  nothing, because no transaction has one.
"""

from __future__ import annotations

import uuid
from collections.abc import Container
from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.sandbox.answers import Success, inner, invalid, plain, refuse
from airflow_provider_whitebit.sandbox.authentication import Caller
from airflow_provider_whitebit.sandbox.faults import Faults
from airflow_provider_whitebit.sandbox.fields import Fields, amount, text
from airflow_provider_whitebit.sandbox.ledger import OUTSIDE, Ledger
from airflow_provider_whitebit.sandbox.limits import (
    HISTORY_PAGE,
    LARGEST_MAIN_PAGE,
    LARGEST_WINDOW,
    MINIMUM_TRANSFER,
    TRANSFER_DECIMALS,
)
from airflow_provider_whitebit.sandbox.plans import Scenario
from airflow_provider_whitebit.sandbox.quirks import Quirks

ACCOUNTS = ("main", "spot", "collateral")
#: The older form of a transfer: the name of each route.
METHODS = {
    "deposit": ("main", "spot"),
    "withdraw": ("spot", "main"),
    "collateral-deposit": ("main", "collateral"),
    "collateral-withdraw": ("collateral", "main"),
}


_ZERO = Decimal(0)
#: ``transactionMethod``, the statuses that it can have, and the only one that the sandbox's transactions have.
DEPOSIT, WITHDRAWAL = 1, 2
_STATUSES = frozenset({*range(1, 8), *range(9, 19), 21, 22, 27, 28})
_SUCCESSFUL = 3
_ENTRY = ("id", "at_ms", "ticker", "amount", "source")


class Balances:
    """The rules of balances and transfers.

    :param ledger: where the money is.
    :param scenario: the assets.
    :param faults: decide how late deposits and withdrawals appear in the history.
    :param quirks: how this exchange differs.
    """

    def __init__(self, ledger: Ledger, scenario: Scenario, faults: Faults, quirks: Quirks) -> None:
        self.ledger = ledger
        self.assets = dict(scenario.assets)
        self.faults = faults
        self.quirks = quirks

    def main(self, caller: Caller, now_ms: int) -> Success:
        ticker = _read_balance_ticker(caller)
        held = held_by(f"main:{caller.key.user}", self.ledger, self.faults, now_ms)
        if ticker is not None:
            return 200, {"main_balance": plain(held.get(ticker, _ZERO))}
        return 200, {ticker: {"main_balance": plain(held.get(ticker, _ZERO))} for ticker in self.assets}

    def trade(self, caller: Caller, now_ms: int) -> Success:
        ticker = self._read_known_ticker(caller, "Currency was not found.")
        held = held_by(f"spot:{caller.key.user}", self.ledger, self.faults, now_ms)
        if ticker is not None:
            return 200, _trade_balance(held.get(ticker, _ZERO))
        return 200, {ticker: _trade_balance(amount) for ticker, amount in held.items() if amount}

    def collateral(self, caller: Caller, now_ms: int) -> Success:
        ticker = self._read_known_ticker(caller, "ticker is invalid.")
        held = held_by(f"collateral:{caller.key.user}", self.ledger, self.faults, now_ms)
        shown = self.assets if ticker is None else (ticker,)
        return 200, {ticker: plain(held.get(ticker, _ZERO)) for ticker in shown}

    def transfer(self, caller: Caller, now_ms: int) -> Success:
        fields, user = Fields(caller.params), caller.key.user
        source, target = _read_route(fields)
        ticker, wanted = read_ticker(fields, self.assets), read_amount(fields)
        fields.check()
        assert ticker is not None and wanted is not None
        if target == "main" and not self.assets[ticker].withdrawals:
            raise inner(1, currency="Withdraw from this currency is disabled")
        if source == "main" and not self.assets[ticker].deposits:
            raise inner(2, currency="Deposit to this currency is disabled")
        available_or_refuse(self.ledger, f"{source}:{user}", ticker, wanted)
        self.ledger.enter(ticker, wanted, f"{source}:{user}", f"{target}:{user}", "transfer", now_ms)
        return 201, []

    def history(self, caller: Caller, now_ms: int) -> Success:
        fields, main = Fields(caller.params), f"main:{caller.key.user}"
        method = fields.number("transactionMethod", (DEPOSIT, WITHDRAWAL), "transaction method")
        ticker = fields.selected("ticker", self.assets)
        statuses = fields.numbers("status", _STATUSES, "status", places=False)
        page = fields.page(HISTORY_PAGE, LARGEST_MAIN_PAGE, longest=LARGEST_MAIN_PAGE, window=LARGEST_WINDOW)
        limit, offset = self.quirks.page(page)
        fields.check()
        unknown = any(fields.params.get(name) for name in ("address", "addresses", "memo", "unique_id"))
        if unknown or (statuses and _SUCCESSFUL not in statuses):
            return 201, {"limit": limit, "offset": offset, "records": [], "total": 0}
        found = [
            row
            for kind, side, other in ((DEPOSIT, "target", "source"), (WITHDRAWAL, "source", "target"))
            if method in (None, kind)
            for row in self.ledger.select(
                "entry",
                _ENTRY,
                {
                    f"{side}=?": main,
                    f"{other}=?": OUTSIDE,
                    "ticker=?": ticker,
                    "at_ms<=?": now_ms - self.faults.history_lag_ms,
                },
            )
        ]
        found.sort(reverse=True)
        records = [self._show(*row) for row in found[offset : offset + limit]]
        return 201, {"limit": limit, "offset": offset, "records": records, "total": len(found)}

    def _show(self, number: int, at_ms: int, ticker: str, amount: str, source: str) -> dict[str, Any]:
        return {
            "address": "",
            "unique_id": None,
            "createdAt": at_ms // 1000,
            "currency": self.assets[ticker].name,
            "ticker": ticker,
            "method": DEPOSIT if source == OUTSIDE else WITHDRAWAL,
            "amount": plain(Decimal(amount)),
            "description": "",
            "memo": "",
            "fee": "0",
            "status": _SUCCESSFUL,
            "network": None,
            "transactionHash": "",
            "transaction_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"entry {number} {at_ms}")),
            "details": None,
            "confirmations": None,
        }

    def _read_known_ticker(self, caller: Caller, unknown: str) -> str | None:
        ticker = _read_balance_ticker(caller)
        if ticker is not None and ticker not in self.assets:
            raise refuse(422, "Validation failed", code=30, ticker=unknown)
        return ticker


def held_by(account: str, ledger: Ledger, faults: Faults, now_ms: int) -> dict[str, Decimal]:
    """Return the balances of a ledger account by asset, as the node that answers shows them."""
    held = ledger.balances(account)
    if not faults.node_stale_ms:
        return held
    return {ticker: ledger.balance_at(account, ticker, now_ms - faults.node_stale_ms) for ticker in held}


def _read_balance_ticker(caller: Caller) -> str | None:
    ticker = caller.params.get("ticker")
    if ticker is not None and not isinstance(ticker, str):
        raise invalid({"ticker": ["validation.string"]})
    return ticker


def _trade_balance(amount: Decimal) -> dict[str, str]:
    return {"available": plain(amount), "freeze": "0"}


def _read_route(fields: Fields) -> tuple[str, str]:
    """Read from where to where a transfer goes, in either form."""
    source, target, method = (fields.params.get(name) for name in ("from", "to", "method"))
    if source is None and target is None:
        route = METHODS.get(text(method) or "", ("", ""))
        if method is None:
            fields.wrong("method", "The method field is required.")
        elif not route[0]:
            fields.wrong("method", "The selected method is invalid.")
        return route
    wrong = [name for name, value in (("from", source), ("to", target)) if text(value) not in ACCOUNTS]
    for name in wrong:
        fields.wrong(name, f"The selected {name} is invalid.")
    if not wrong and source == target:
        fields.wrong("to", "The to and from must be different.")
    elif not wrong and "main" not in (source, target):
        fields.wrong("to", "The selected to is invalid.")
    return str(source), str(target)


def available_or_refuse(ledger: Ledger, account: str, ticker: str, wanted: Decimal) -> None:
    """Refuse a transfer that an account does not cover.

    :raises Refusal: with HTTP 422.
    """
    available = ledger.balance(account, ticker)
    if available < wanted:
        amounts = f"(available {plain(available)}, in amount: {plain(wanted)})"
        raise inner(3, amount=f"You don't have such amount for transfer {amounts}")


def read_ticker(fields: Fields, assets: Container[str]) -> str | None:
    """Read the required field ``ticker``."""
    if fields.params.get("ticker") is None:
        fields.wrong("ticker", "The ticker field is required.")
    return fields.selected("ticker", assets)


def read_amount(fields: Fields) -> Decimal | None:
    """Read the amount of a transfer."""
    wanted = amount(fields.params.get("amount"), TRANSFER_DECIMALS)
    if fields.params.get("amount") is None:
        fields.wrong("amount", "The amount field is required.")
    elif wanted is None:
        fields.wrong("amount", "The amount must be a number.", "Invalid number")
    elif wanted <= 0:
        fields.wrong("amount", f"The amount must be at least {plain(MINIMUM_TRANSFER)}.")
    return wanted
