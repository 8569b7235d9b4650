"""Answers as an exchange with quirks shows them. The rules know nothing of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.sandbox.answers import plain
from airflow_provider_whitebit.sandbox.plans import INACTIVE_PLAN
from airflow_provider_whitebit.sandbox.quirks import (
    BEING_OPENED,
    ROUNDED_DECIMALS,
    UNKNOWN_FIXED_STATUS,
    UNKNOWN_FLEX_STATUS,
    UNKNOWN_MAIN_STATUS,
    UNKNOWN_PLAN_STATUS,
    Quirks,
)

Entry = dict[str, Any]

#: Actions that take money out of an investment.
_OUT = (3, 5)
_TIMES = {"createdAt": "", "updatedAt": None, "updated": "", "paymentTime": None}
_IDENTIFIERS = ("id", "investmentId", "transaction_id", "transactionId")
#: Fields of amounts and rates. Balances have tickers as names.
_AMOUNTS = frozenset(
    {
        *("amount", "available", "collateral", "fee", "freeze", "interestPaid", "interestRatio", "invested", "main"),
        *("main_balance", "maxInvestment", "maxPossibleInvestment", "maxRate", "minInvestment", "percent", "spot"),
    }
)
#: Calls whose success is also shown as ``{}``: only the end of their path.
_EMPTY = ("/smart-flex/investments/close", "/main-account/transfer")
_QUOTED_NUMBER = re.compile(rb'(?<=[:,\[])"(-?\d{1,40}(?:\.\d{1,40})?)"(?=[,}\]])')


def rewrite(answer: Any, quirks: Quirks, *, path: str, now_ms: int) -> Any:
    """Return a success in the shape of an exchange with quirks.

    :param answer: the decoded body.
    :param path: of the call.
    :param now_ms: the exchange's time.
    """
    if quirks.empty_answers and path.endswith(_EMPTY):
        return {}
    if quirks.unknown_numbers:
        answer = _each_entry(answer, lambda entry: _with_unknown_status(entry, now_ms // 1000))
    if quirks.null_rates and path.endswith("/smart-flex/plans"):
        answer = [_without_rate(plan, missing=index % 2 == 1) for index, plan in enumerate(answer)]
    for name, change in _CHANGES.items():
        if getattr(quirks, name):
            answer = _each_entry(answer, change)
    if quirks.object_lists or quirks.null_lists:
        answer = _with_empty(answer, {} if quirks.object_lists else None, bare=path.endswith("/plans"))
    return answer


def unquote_numbers(body: bytes) -> bytes:
    """Return encoded JSON in which texts that are decimal numbers are numbers."""
    return _QUOTED_NUMBER.sub(rb"\1", body)


def as_success(status: int, refusal: Entry) -> Entry:
    """Return a refusal's body as an answer whose own status tells nothing.

    :param status: of the refusal.
    """
    return {"response": None, "status": status, "errors": refusal.get("errors", {}), "warning": refusal["message"]}


def _each_entry(value: Any, change: Callable[[Entry], Entry]) -> Any:
    """Change every object in decoded JSON, inner ones first."""
    if isinstance(value, dict):
        return change({name: _each_entry(inner, change) for name, inner in value.items()})
    return [_each_entry(inner, change) for inner in value] if isinstance(value, list) else value


def _with_unknown_status(entry: Entry, now: int) -> Entry:
    if "maxPossibleInvestment" in entry:
        return entry | ({"status": UNKNOWN_PLAN_STATUS} if entry["status"] == INACTIVE_PLAN else {})
    began = entry.get("createdAt", entry.get("created"))
    if "status" not in entry or began is None or now - began >= BEING_OPENED:
        return entry
    if "transactionHash" in entry:
        return entry | {"status": UNKNOWN_MAIN_STATUS}
    return entry | {"status": UNKNOWN_FLEX_STATUS if "invested" in entry else UNKNOWN_FIXED_STATUS}


def _without_rate(plan: Entry, *, missing: bool) -> Entry:
    return {name: value for name, value in plan.items() if name != "maxRate"} | ({} if missing else {"maxRate": None})


def _rounded(entry: Entry) -> Entry:
    if "actionType" not in entry:
        return entry
    return entry | {"amount": plain(round(Decimal(entry["amount"]), ROUNDED_DECIMALS))}


def _padded(entry: Entry) -> Entry:
    return {
        name: f"{value}{'' if '.' in value else '.'}00"
        if isinstance(value, str) and (name in _AMOUNTS or name.isupper())
        else value
        for name, value in entry.items()
    }


def _in_percent(entry: Entry) -> Entry:
    return entry | {"maxRate": plain(Decimal(entry["maxRate"]) * 100)} if entry.get("maxRate") else entry


def _signed(entry: Entry) -> Entry:
    return entry | {"amount": f"-{entry['amount']}"} if entry.get("actionType") in _OUT else entry


def _unnamed(entry: Entry) -> Entry:
    if "actionType" not in entry:
        return entry
    return {name: value for name, value in entry.items() if name not in ("transaction_id", "investmentId")}


def _camel_case(entry: Entry) -> Entry:
    return {"transactionId" if name == "transaction_id" else name: value for name, value in entry.items()}


def _numeric(entry: Entry) -> Entry:
    names = (name for name in _IDENTIFIERS if str(entry.get(name)).isdecimal())
    return entry | {name: int(entry[name]) for name in names}


def _untimed(entry: Entry) -> Entry:
    if not {"invested", "paymentTime"} & entry.keys():
        return entry
    return entry | {name: _TIMES[name] for name in _TIMES.keys() & entry.keys()}


def _with_text_booleans(entry: Entry) -> Entry:
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in entry.items()}


_CHANGES: dict[str, Callable[[Entry], Entry]] = {
    "rounded_amounts": _rounded,
    "signed_amounts": _signed,
    "percent_rates": _in_percent,
    "padded_amounts": _padded,
    "no_ids": _unnamed,
    "camel_case_ids": _camel_case,
    "numeric_ids": _numeric,
    "empty_times": _untimed,
    "text_booleans": _with_text_booleans,
}


def _with_empty(answer: Any, empty: Any, *, bare: bool) -> Any:
    """Replace the list of an answer if it is empty: under ``data`` or ``records`` beside a limit, or bare."""
    if bare:
        return answer or empty
    if not isinstance(answer, dict) or "limit" not in answer:
        return answer
    return {name: empty if value == [] else value for name, value in answer.items()}
