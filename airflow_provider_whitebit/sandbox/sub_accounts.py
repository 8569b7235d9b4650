"""Sub-accounts, and transfers between Main and them. Vendor page: Sub-accounts.

If the vendor's pages do not say, the sandbox decides:

- A transfer moves money between the Main balances of the account and of the sub-account, at once.
- An amount that the balance does not cover is refused as in a transfer between balances (422, code 3), a sub-account
  that is not active with the vendor's words for unconfirmed accounts (422).
- Balances list all assets without a ticker.
- The list runs in the order of the scenario. ``search`` finds a part of the alias or the email.
"""

from __future__ import annotations

import random
import uuid
from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.sandbox.answers import Success, plain, refuse
from airflow_provider_whitebit.sandbox.authentication import Caller
from airflow_provider_whitebit.sandbox.balances import (
    ACCOUNTS,
    available_or_refuse,
    held_by,
    read_amount,
    read_ticker,
)
from airflow_provider_whitebit.sandbox.faults import Faults
from airflow_provider_whitebit.sandbox.fields import Fields, text
from airflow_provider_whitebit.sandbox.ledger import Ledger
from airflow_provider_whitebit.sandbox.limits import LARGEST_WINDOW, LIST_PAGE, SUB_ACCOUNTS_PAGE
from airflow_provider_whitebit.sandbox.plans import ACTIVE_SUB_ACCOUNT, Scenario, SubAccount
from airflow_provider_whitebit.sandbox.quirks import Quirks

DIRECTIONS = ("main_to_sub", "sub_to_main")
_TRANSFER = ("at_ms", "transaction_id", "direction", "ticker", "amount")


class SubAccounts:
    """The rules of sub-accounts.

    :param ledger: where the money is. Balances of a sub-account are kept under its id.
    :param scenario: the assets and the sub-accounts.
    :param seed: decides identifiers.
    :param faults: decide how late transfers and balances appear.
    :param quirks: how this exchange differs.
    """

    def __init__(self, ledger: Ledger, scenario: Scenario, seed: str, faults: Faults, quirks: Quirks) -> None:
        self.ledger = ledger
        self.assets = scenario.assets
        self.accounts = {one.id: one for one in scenario.sub_accounts}
        self.faults = faults
        self.quirks = quirks
        self._random = random.Random(f"{seed}:sub-accounts:{ledger.count('sub_transfer')}")

    def list_accounts(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        limit, offset = self.quirks.page(fields.page(SUB_ACCOUNTS_PAGE))
        search = fields.params.get("search")
        if search is not None and not isinstance(search, str):
            fields.wrong("search", "The search must be a string.")
        fields.check()
        found = [one for one in self._of(caller) if not search or search in one.alias or search in one.email]
        return 200, {"offset": offset, "limit": limit, "data": [_show(one) for one in found[offset : offset + limit]]}

    def balances(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        account = self._read_account(fields, caller)
        ticker = fields.selected("ticker", self.assets)
        fields.check()
        assert account is not None
        _check_active(account)
        shown = self.assets if ticker is None else (ticker,)
        held = {kind: held_by(f"{kind}:{account.id}", self.ledger, self.faults, now_ms) for kind in ACCOUNTS}
        return 200, {name: [{kind: plain(held[kind].get(name, Decimal(0))) for kind in ACCOUNTS}] for name in shown}

    def transfer(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        account, direction = self._read_account(fields, caller), self._read_direction(fields, required=True)
        ticker, wanted = read_ticker(fields, self.assets), read_amount(fields)
        fields.check()
        assert account is not None and ticker is not None and wanted is not None
        _check_active(account)
        sides = [f"main:{caller.key.user}", f"main:{account.id}"]
        source, target = sides if direction == "main_to_sub" else reversed(sides)
        available_or_refuse(self.ledger, source, ticker, wanted)
        self.ledger.enter(ticker, wanted, source, target, "sub-account transfer", now_ms)
        transaction_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        self.ledger.insert(
            "sub_transfer",
            at_ms=now_ms,
            account=account.id,
            direction=direction,
            ticker=ticker,
            amount=plain(wanted),
            transaction_id=transaction_id,
        )
        return 200, {"transaction_id": transaction_id}

    def list_transfers(self, caller: Caller, now_ms: int) -> Success:
        fields = Fields(caller.params)
        account, direction = self._read_account(fields, caller), self._read_direction(fields)
        limit, offset = self.quirks.page(fields.page(LIST_PAGE, window=LARGEST_WINDOW))
        fields.check()
        assert account is not None
        _check_active(account)
        where = {
            "account=?": account.id,
            "direction=?": direction,
            "at_ms<=?": now_ms - self.faults.history_lag_ms,
        }
        rows = self.ledger.select("sub_transfer", _TRANSFER, where, "ORDER BY id DESC LIMIT ? OFFSET ?", limit, offset)
        return 200, {"offset": offset, "limit": limit, "data": [_show_transfer(*row) for row in rows]}

    def _of(self, caller: Caller) -> list[SubAccount]:
        return [one for one in self.accounts.values() if one.user == caller.key.user]

    def _read_account(self, fields: Fields, caller: Caller) -> SubAccount | None:
        if fields.params.get("id") in (None, ""):
            fields.wrong("id", "The id field is required.")
            return None
        return fields.required("id", {one.id: one for one in self._of(caller)})

    def _read_direction(self, fields: Fields, *, required: bool = False) -> str | None:
        direction = fields.params.get("direction")
        if direction is None and required:
            fields.wrong("direction", "The direction field is required.")
        elif direction is not None and text(direction) not in DIRECTIONS:
            fields.wrong("direction", "The selected direction is invalid.")
        return direction


def _check_active(account: SubAccount) -> None:
    if account.status != ACTIVE_SUB_ACCOUNT:
        raise refuse(422, "Account is not confirmed")


def _show(account: SubAccount) -> dict[str, Any]:
    return {
        "id": account.id,
        "alias": account.alias,
        "userId": f"u-{account.id[:8]}",
        "email": account.email,
        "status": account.status,
        "color": "#FF5733",
        "kyc": {"shareKyc": True, "kycStatus": "verified"},
        "permissions": {"spotEnabled": True, "collateralEnabled": True},
    }


def _show_transfer(at_ms: int, transaction_id: str, direction: str, ticker: str, amount: str) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "id": transaction_id,
        "direction": direction,
        "currency": ticker,
        "amount": amount,
        "createdAt": at_ms // 1000,
    }
