"""Main, trade and collateral balances, and what goes between them. Vendor pages: Main balance, Trading balance,
Collateral account balance, Transfer between balances.

Where the vendor's pages leave something open, the sandbox chooses:

- Nothing is frozen: it has no orders.
- Between the trade and the collateral balance there is no direct way.
- Whatever goes out of Main is a deposit, whatever comes back a withdrawal, also for the collateral balance.
- Where both forms are given, ``from`` and ``to`` count.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.sandbox import fields
from airflow_provider_whitebit.sandbox.answers import Validation, inner, refuse
from airflow_provider_whitebit.sandbox.authentication import Caller
from airflow_provider_whitebit.sandbox.fields import Success
from airflow_provider_whitebit.sandbox.ledger import Ledger
from airflow_provider_whitebit.sandbox.plans import AssetFacts, Scenario

ACCOUNTS = ("main", "spot", "collateral")
#: The older form of a transfer: its name for each way.
METHODS = {
    "deposit": ("main", "spot"),
    "withdraw": ("spot", "main"),
    "collateral-deposit": ("main", "collateral"),
    "collateral-withdraw": ("collateral", "main"),
}
_DECIMALS = 8


@dataclass
class Balances:
    """The rules of balances and transfers over the books.

    :param ledger: the books.
    :param scenario: its assets.
    """

    ledger: Ledger
    scenario: Scenario
    assets: dict[str, AssetFacts] = field(init=False)

    def __post_init__(self) -> None:
        self.assets = dict(self.scenario.assets)

    def set_asset(self, ticker: str, **changes: Any) -> AssetFacts:
        """Change an asset while the sandbox runs.

        :raises KeyError: if there is no such asset.
        """
        self.assets[ticker] = replace(self.assets[ticker], **changes)
        return self.assets[ticker]

    def main(self, caller: Caller, now_ms: int) -> Success:
        return self._show(caller, "main", lambda amount: {"main_balance": amount}, inside=True)

    def trade(self, caller: Caller, now_ms: int) -> Success:
        return self._show(caller, "spot", lambda amount: {"available": amount, "freeze": "0"}, inside=True)

    def collateral(self, caller: Caller, now_ms: int) -> Success:
        return self._show(caller, "collateral", lambda amount: amount, inside=False)

    def transfer(self, caller: Caller, now_ms: int) -> Success:
        wrong, params = Validation(), caller.params
        source, target = self._ways(params, wrong)
        ticker = fields.text(params.get("ticker"))
        if params.get("ticker") is None:
            wrong.add("ticker", "The ticker field is required.")
        elif ticker not in self.assets:
            wrong.add("ticker", "The selected ticker is invalid.")
        amount = fields.amount(params.get("amount"), _DECIMALS)
        if params.get("amount") is None:
            wrong.add("amount", "The amount field is required.")
        elif amount is None:
            wrong.add("amount", "The amount must be a number.")
            wrong.add("amount", "Invalid number")
        elif amount <= 0:
            wrong.add("amount", "The amount must be at least 0.00000001.")
        wrong.done()
        assert ticker is not None and amount is not None
        if target == "main" and not self.assets[ticker].withdrawals:
            raise inner(1, currency="Withdraw from this currency is disabled")
        if source == "main" and not self.assets[ticker].deposits:
            raise inner(2, currency="Deposit to this currency is disabled")
        available = self.ledger.balance(f"{source}:{caller.key.user}", ticker)
        if available < amount:
            raise inner(
                3,
                amount=f"You don't have such amount for transfer (available {fields.plain(available)}, "
                f"in amount: {fields.plain(amount)})",
            )
        user = caller.key.user
        self.ledger.enter(ticker, amount, f"{source}:{user}", f"{target}:{user}", "transfer", now_ms)
        return 201, []

    def _ways(self, params: dict[str, Any], wrong: Validation) -> tuple[str, str]:
        source, target, method = (params.get(name) for name in ("from", "to", "method"))
        if source is None and target is None:
            if method is None:
                wrong.add("method", "The method field is required.")
            elif not isinstance(method, str) or method not in METHODS:
                wrong.add("method", "The selected method is invalid.")
            else:
                return METHODS[method]
            return "", ""
        for name, value in (("from", source), ("to", target)):
            if not isinstance(value, str) or value not in ACCOUNTS:
                wrong.add(name, f"The selected {name} is invalid.")
        if not wrong.errors:
            if source == target:
                wrong.add("to", "The to and from must be different.")
            elif "main" not in (source, target):
                wrong.add("to", "The selected to is invalid.")
        return str(source), str(target)

    def _show(self, caller: Caller, account: str, form: Any, *, inside: bool) -> Success:
        """All balances of one account, or one of them; ``inside``: one alone comes without its ticker around it."""
        ticker = caller.params.get("ticker")
        name = f"{account}:{caller.key.user}"
        if ticker is None:
            held = self.ledger.balances(name)
            return 200, {asset: form(fields.plain(held.get(asset, Decimal(0)))) for asset in self.assets}
        if not isinstance(ticker, str):
            raise refuse(400, "Validation failed", ticker="validation.string")
        known = ticker in self.assets
        shown = form(fields.plain(self.ledger.balance(name, ticker)) if known else "0")
        return 200, shown if inside else {ticker: shown}
