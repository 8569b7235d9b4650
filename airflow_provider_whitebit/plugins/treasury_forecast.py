"""The forecast on the Treasury page, as plain JSON: earnings by day, and the calendar of Fixed terms. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.client.models import plain
from airflow_provider_whitebit.treasury.amounts import exact
from airflow_provider_whitebit.treasury.forecast import (
    Maturity,
    TickerForecast,
    make_forecast,
    rates_since,
    realised_rates,
)

if TYPE_CHECKING:
    from airflow_provider_whitebit.plugins.treasury_data import ExchangeSnapshot

#: Days of the forecast, today included; and over which it is summed up.
DAYS, WINDOWS = 90, (30, 90)


def forecast_data(snapshot: ExchangeSnapshot) -> dict[str, Any] | None:
    """Return what is expected of an account; ``None`` if a list that it needs was not loaded.

    Without permission for Fixed plans, it is the forecast of Flex plans.

    :param snapshot: of the account.
    """
    flex, plans, payments, history = snapshot.flex, snapshot.plans, snapshot.payments, snapshot.history
    if flex is None or plans is None or payments is None or history is None or snapshot.idle is None:
        return None
    now, since = snapshot.now, rates_since(snapshot.now)
    lately = (entry for entry in chain(*payments.values(), *history.values()) if entry.created_at >= since)
    records = sorted(lately, key=lambda entry: entry.created_at, reverse=True)
    found = make_forecast(
        flex,
        snapshot.fixed or (),
        plans.values(),
        main=snapshot.idle,
        realised=realised_rates(records, flex, since=since, now=now),
        now=now,
        until=now.start_of("day").add(days=DAYS),
        unreadable=[one for name, faults in snapshot.unreadable.items() if name != "fixed_plans" for one in faults],
    )
    with exact():
        expected = [(one.ticker, _expected(one)) for one in found.tickers]
        missing = [] if snapshot.fixed is not None else ["Fixed investments could not be loaded."]
        return {
            "days": [now.start_of("day").add(days=number).to_date_string() for number in range(DAYS)],
            "by_ticker": {ticker: one for ticker, one in expected if _is_something(one)},
            "calendar": _calendar(found.maturities),
            "unknown": [*missing, *found.unknown],
        }


def _expected(forecast: TickerForecast) -> dict[str, Any]:
    return {
        "earned": [text_of(day.earned) for day in forecast.days],
        "interest": [text_of(day.interest) for day in forecast.days],
        "advertised": bool(forecast.earned_advertised),
        "complete": forecast.complete,
        "totals": totals(
            [day.earned for day in forecast.days],
            [day.interest for day in forecast.days],
        ),
    }


def totals(earned: list[Decimal | None], interest: list[Decimal | None]) -> dict[str, dict[str, str | None]]:
    """Return the sums over the next days, by window; ``None`` if a day is unknown."""
    return {
        str(days): {"earned": text_of(add(earned[:days])), "interest": text_of(add(interest[:days]))}
        for days in WINDOWS
    }


def text_of(amount: Decimal | None) -> str | None:
    """Return the shortest spelling of an amount; ``None`` for an unknown one."""
    return None if amount is None else plain(amount)


def add(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return a sum; ``None`` if one of the amounts is unknown."""
    listed = list(amounts)
    known = [amount for amount in listed if amount is not None]
    return sum(known, Decimal(0)) if len(known) == len(listed) else None


def _is_something(expected: dict[str, Any]) -> bool:
    whole = expected["totals"][str(max(WINDOWS))]
    return any(amount is None or Decimal(amount) for amount in whole.values())


def _calendar(maturities: Iterable[Maturity]) -> list[dict[str, Any]]:
    """The terms that end on each day, by asset; those whose end is unknown last."""
    found: dict[tuple[str | None, str], dict[str, Any]] = {}
    for one in maturities:
        date = None if one.at is None else one.at.to_date_string()
        line = found.setdefault((date, one.ticker), {"terms": 0, "amount": Decimal(0), "interest": {}})
        line["terms"] += 1
        line["amount"] += one.amount
        interest = line["interest"]
        interest[one.interest_ticker] = add([interest.get(one.interest_ticker, Decimal(0)), one.interest])
    return [
        {
            "date": date,
            "ticker": ticker,
            "terms": line["terms"],
            "amount": text_of(line["amount"]),
            "interest": {name: text_of(amount) for name, amount in sorted(line["interest"].items())},
        }
        for (date, ticker), line in found.items()
    ]
