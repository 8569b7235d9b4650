"""Calls that move money, and calls that only use up a nonce, as data. Nothing here sends anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from airflow_provider_whitebit.client.answers import tells_failure
from airflow_provider_whitebit.client.endpoints import (
    FIXED,
    FLEX,
    MAIN_BALANCE,
    SUB_ACCOUNT,
    SUB_ACCOUNT_TRANSFER,
    TRANSFER,
)
from airflow_provider_whitebit.client.models import parse_amount

_INVESTMENTS = f"{FLEX}/investments"
_TRANSACTION_NAMES = ("transaction_id", "transactionId")
#: Texts that programs write for a missing identifier.
_NO_IDENTIFIERS = frozenset({"null", "none", "nil", "undefined", "nan", "true", "false"})
_LONGEST_IDENTIFIER = 200
#: The status of the investment after a call that was executed: 1 active, 0 closed.
_STATUS_AFTER = {f"{_INVESTMENTS}/invest": (1,), f"{_INVESTMENTS}/withdraw": (0, 1), f"{_INVESTMENTS}/close": (0,)}


class Reference(StrEnum):
    """What identifies a move in the answer to its call."""

    TRANSACTION = "transaction"
    BARE_TRANSACTION = "bare transaction"
    INVESTMENT = "investment"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class MoveCall:
    """A call that moves money.

    :param path: of the call.
    :param params: of the call.
    :param names: what the answer to a success names.
    :param status: HTTP status of a success. Another one is neither a success nor a refusal.
    """

    path: str
    params: dict[str, Any] = field(default_factory=dict)
    names: Reference = Reference.TRANSACTION
    status: int = 201

    def reference_in(self, answer: object) -> str | None:
        """The identifier in the answer to a success; ``None`` if this call's answer names nothing.

        These shapes are a success, and no others (vendor pages: Lending, Transfer between balances, Sub-accounts;
        older pages and the fixtures of a Go SDK):

        ====================  ===================================================================================
        names                 answer
        ====================  ===================================================================================
        ``TRANSACTION``       ``{"data": {"transaction_id": ...}}`` or ``transactionId``; the investment in this
                              plan, in ``data`` or bare, in the state that the call leaves; for a close also ``{}``
        ``BARE_TRANSACTION``  ``{"transaction_id": ...}``
        ``INVESTMENT``        ``{"id": ...}``
        ``NOTHING``           ``{}`` or ``[]``
        ====================  ===================================================================================

        Further fields do not matter, except those that tell a failure (:func:`~.answers.tells_failure`) or a status.

        :raises ValueError: the answer is not a success of this call.
        """
        if self.names is Reference.NOTHING or (answer == {} and self.path == f"{_INVESTMENTS}/close"):
            if answer in ({}, []):
                return None
            raise ValueError
        if not isinstance(answer, Mapping) or tells_failure(answer):
            raise ValueError
        if self.names is Reference.INVESTMENT:
            return self._named_in(answer, "id")
        if self.names is Reference.BARE_TRANSACTION:
            return self._named_in(answer, "transaction_id")
        data = answer.get("data", answer)
        if not isinstance(data, Mapping) or tells_failure(data) or (data is not answer and "status" in answer):
            raise ValueError
        if data is not answer and any(name in data for name in _TRANSACTION_NAMES):
            return self._named_in(data, *_TRANSACTION_NAMES)
        self._check_investment(data)
        return None

    def _named_in(self, answer: Mapping[str, Any], *names: str) -> str:
        """The identifier under one of these names. :raises ValueError: there is none, or more than one."""
        found = {_identifier(answer[name]) for name in names if name in answer}
        # What the request itself named is its echo.
        if "status" in answer or len(found) != 1 or not found.isdisjoint(map(str, self.params.values())):
            raise ValueError
        return found.pop()

    def _check_investment(self, data: Mapping[str, Any]) -> None:
        """:raises ValueError: this is not the investment in this plan, as the call leaves it."""
        expected = _STATUS_AFTER[self.path]
        status = data.get("status", expected[0])
        if data.get("planId") != self.params["plan"] or type(status) is not int or status not in expected:
            raise ValueError
        if parse_amount(data.get("invested")) < 0:
            raise ValueError


def _identifier(value: object) -> str:
    """A number above 0, or a text that is not blank, not zero, and no word for nothing.

    :raises ValueError: it is not an identifier.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError
    text = str(value)
    readable = text.isascii() and text.isprintable() and " " not in text and len(text) <= _LONGEST_IDENTIFIER
    if not readable or text.startswith("-") or not text.strip("0-") or text.lower() in _NO_IDENTIFIERS:
        raise ValueError
    return text


@dataclass(frozen=True, slots=True)
class ProbeCall:
    """A reading call that is made only to use up a nonce. It names nothing that the exchange may no longer know.

    :param path: of the call.
    :param params: of the call.
    :param field: the answer to a success has it. Without it, the exchange may never have seen the nonce.
    """

    path: str
    params: dict[str, Any]
    field: str


def flex_invest_call(plan_id: str, amount: Decimal, *, with_reinvest: bool = False) -> MoveCall:
    """Open an investment in a Flex plan, or add to it."""
    params = {"plan": plan_id, "amount": format(amount, "f"), "withReinvest": with_reinvest}
    return MoveCall(f"{_INVESTMENTS}/invest", params)


def flex_withdraw_call(plan_id: str, amount: Decimal) -> MoveCall:
    """Take an amount out of the investment in a Flex plan."""
    return MoveCall(f"{_INVESTMENTS}/withdraw", {"plan": plan_id, "amount": format(amount, "f")})


def flex_close_call(plan_id: str) -> MoveCall:
    """Close the investment in a Flex plan."""
    return MoveCall(f"{_INVESTMENTS}/close", {"plan": plan_id})


def fixed_invest_call(plan_id: str, amount: Decimal) -> MoveCall:
    """Invest in a Fixed plan."""
    return MoveCall(f"{FIXED}/investment", {"planId": plan_id, "amount": format(amount, "f")}, Reference.INVESTMENT)


def fixed_close_call(investment_id: str) -> MoveCall:
    """Close an investment in a Fixed plan before its term ends. Its interest is forfeited."""
    return MoveCall(f"{FIXED}/investment/close", {"id": investment_id}, Reference.NOTHING, status=200)


def transfer_call(ticker: str, amount: Decimal, source: str, target: str) -> MoveCall:
    """Move an amount between ``main`` and ``spot`` or ``collateral``."""
    params = {"ticker": ticker, "amount": format(amount, "f"), "from": source, "to": target}
    return MoveCall(TRANSFER, params, Reference.NOTHING)


def sub_account_transfer_call(sub_account_id: str, direction: str, ticker: str, amount: Decimal) -> MoveCall:
    """Move an amount between Main and a sub-account; ``direction`` is one of :class:`~.models.Direction`."""
    params = {"id": sub_account_id, "direction": direction, "ticker": ticker, "amount": format(amount, "f")}
    return MoveCall(SUB_ACCOUNT_TRANSFER, params, Reference.BARE_TRANSACTION, status=200)


def flex_probe_call() -> ProbeCall:
    """Read one line of the Flex history."""
    return ProbeCall(f"{_INVESTMENTS}/history", {"limit": 1}, "data")


def fixed_probe_call() -> ProbeCall:
    """Read one line of the list of Fixed investments."""
    return ProbeCall(f"{FIXED}/investments", {"limit": 1}, "records")


def balance_probe_call(ticker: str) -> ProbeCall:
    """Read one Main balance; of an unknown ticker it is zero."""
    return ProbeCall(MAIN_BALANCE, {"ticker": ticker}, "main_balance")


def sub_accounts_probe_call() -> ProbeCall:
    """Read one line of the list of sub-accounts."""
    return ProbeCall(f"{SUB_ACCOUNT}/list", {"limit": 1}, "data")
