"""Several accounts together: sums by asset. Pure, on what the page shows of each account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.client.models import to_json
from airflow_provider_whitebit.plugins.treasury_data import WINDOWS, Account, at_work
from airflow_provider_whitebit.plugins.treasury_forecast import text_of, totals
from airflow_provider_whitebit.treasury.amounts import exact

_COLUMNS = ("idle", "flex", "fixed", "total")


def sums_of(accounts: Mapping[str, Account | None]) -> dict[str, Any]:
    """Return the sums of several accounts, plain JSON.

    A figure that is unknown in one of the counted accounts is unknown (``None``) in the sum.

    :param accounts: by connection; ``None`` for one that is still being loaded.
    :returns: ``counted``, the connections in the sums; ``left_out``, the others and why; ``positions`` by asset;
        ``earnings`` by day and the ``forecast``, ``None`` if those of a counted account are unknown.
    """
    held = {conn_id: _held(one) for conn_id, one in accounts.items() if one is not None}
    left_out = {conn_id: why for conn_id in accounts if (why := _left_out(conn_id, accounts, held)) is not None}
    counted = {conn_id: one for conn_id, one in accounts.items() if one is not None and conn_id not in left_out}
    with exact():
        return {
            "counted": list(counted),
            "left_out": [{"conn_id": conn_id, "why": why} for conn_id, why in left_out.items()],
            "positions": _positions(list(counted.values())),
            "earnings": _earnings([one.shown["earnings"] for one in counted.values()]),
            "forecast": _forecast([one.shown["forecast"] for one in counted.values()]),
        }


def _left_out(
    conn_id: str, accounts: Mapping[str, Account | None], held: Mapping[str, frozenset[tuple[str, str, str]]]
) -> str | None:
    """Why an account is not in the sums; ``None`` if it is."""
    own = accounts[conn_id]
    if own is None:
        return "still loading"
    if own.shown["error"] is not None:
        return "it cannot be shown"
    for other_id, other in accounts.items():
        if other_id == conn_id:
            return None
        if other is None or other.shown["error"] is not None:
            continue
        if _same(conn_id, own, other_id, other) or held[conn_id] & held[other_id]:
            return f"it is the account of {other_id}"
    return None


def _held(account: Account) -> frozenset[tuple[str, str, str]]:
    """Exchange, kind and id of each investment. Two accounts have none in common, so these tell an account."""
    host, lists = account.shown.get("host"), [(kind, account.shown.get(kind) or ()) for kind in ("flex", "fixed")]
    return frozenset((host, kind, one["id"]) for kind, held in lists for one in held if host)


def _same(conn_id: str, own: Account, other_id: str, other: Account) -> bool:
    """Whether two connections lead to one account: with the same API key, or with one that replaces the other."""
    return own.fingerprint == other.fingerprint or own.previous_conn_id == other_id or other.previous_conn_id == conn_id


def _positions(accounts: Sequence[Account]) -> list[dict[str, Any]]:
    held: dict[str, list[dict[str, Any] | None]] = {}
    for place, account in enumerate(accounts):
        for line in account.shown["positions"] or ():
            held.setdefault(line["ticker"], [None] * len(accounts))[place] = line
    lines = [
        _position(ticker, [line or account.elsewhere for line, account in zip(found, accounts, strict=True)])
        for ticker, found in sorted(held.items())
    ]
    return sorted(lines, key=lambda line: (line["flex"] or "0", line["fixed"] or "0") == ("0", "0"))


def _position(ticker: str, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    amounts = {name: _sum(line[name] for line in lines) for name in _COLUMNS}
    return {
        "ticker": ticker,
        **{name: to_json(amount) for name, amount in amounts.items()},
        "at_work": to_json(at_work(amounts["total"], amounts["idle"])),
        "windows": {
            str(days): {"earned": to_json(_sum(line["windows"][str(days)]["earned"] for line in lines))}
            for days in WINDOWS
        },
    }


def _earnings(parts: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """What was credited on each day. Two accounts can be of different days around midnight: the latest days count."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or not known:
        return None
    days = max((part["days"] for part in known), key=lambda days: days[-1])
    by_ticker: dict[str, dict[str, Decimal]] = {}
    for part in known:
        for ticker, amounts in part["by_ticker"].items():
            earned = by_ticker.setdefault(ticker, dict.fromkeys(days, Decimal(0)))
            for day, amount in zip(part["days"], amounts, strict=True):
                if day in earned:
                    earned[day] += Decimal(amount)
    listed = {ticker: [by_ticker[ticker][day] for day in days] for ticker in sorted(by_ticker)}
    return {
        "days": days,
        "by_ticker": {ticker: [to_json(amount) for amount in amounts] for ticker, amounts in listed.items()},
        "totals": {
            ticker: {str(length): to_json(sum(amounts[-length:], Decimal(0))) for length in WINDOWS}
            for ticker, amounts in listed.items()
        },
    }


def _forecast(parts: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """What is expected on each day. Around midnight, the days of the earliest forecast count."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or not known:
        return None
    days = min((part["days"] for part in known), key=lambda days: days[0])
    tickers = sorted({ticker for part in known for ticker in part["by_ticker"]})
    return {
        "days": days,
        "by_ticker": {ticker: _expected(ticker, days, known) for ticker in tickers},
        "calendar": _calendar(known),
        "unknown": [text for part in known for text in part["unknown"]],
    }


def _expected(ticker: str, days: Sequence[str], parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = [(part["days"], part["by_ticker"][ticker]) for part in parts if ticker in part["by_ticker"]]
    lists: dict[str, list[Decimal | None]] = {}
    for name in ("earned", "interest"):
        of_days = [dict(zip(own, expected[name], strict=True)) for own, expected in found]
        lists[name] = [_sum(amounts.get(day, "0") for amounts in of_days) for day in days]
    return {
        **{name: [text_of(amount) for amount in amounts] for name, amounts in lists.items()},
        "advertised": any(expected["advertised"] for _, expected in found),
        "complete": all(expected["complete"] for _, expected in found),
        "totals": totals(lists["earned"], lists["interest"]),
    }


def _calendar(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[tuple[str | None, str], list[Mapping[str, Any]]] = {}
    for line in (line for part in parts for line in part["calendar"]):
        found.setdefault((line["date"], line["ticker"]), []).append(line)
    return [
        {
            "date": date,
            "ticker": ticker,
            "terms": sum(line["terms"] for line in lines),
            "amount": text_of(_sum(line["amount"] for line in lines)),
            "interest": {
                name: text_of(_sum(line["interest"].get(name, "0") for line in lines))
                for name in sorted({name for line in lines for name in line["interest"]})
            },
        }
        for (date, ticker), lines in sorted(
            found.items(), key=lambda one: (one[0][0] is None, one[0][0] or "", one[0][1])
        )
    ]


def _sum(amounts: Any) -> Decimal | None:
    """The sum of decimal strings; ``None`` if one is unknown."""
    known = list(amounts)
    return None if None in known else sum(map(Decimal, known), Decimal(0))
