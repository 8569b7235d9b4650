"""What the amounts on the Treasury page are worth in one currency, beside the exact amounts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.client.models import plain
from airflow_provider_whitebit.plugins.treasury_data import Account, facts_of, open_account, unreadable
from airflow_provider_whitebit.treasury.valuation import MarketPrices, Missing, Valuation, value_amounts

FIGURES = ("idle", "flex", "fixed")

#: Last prices, or the facts of an error.
Prices = MarketPrices | dict[str, Any]


def load_prices(conn_id: str, *, team_name: str | None = None) -> Prices:
    """Load the last prices of the exchange of a connection. Problems are returned, not raised.

    :param conn_id: the Airflow connection.
    :param team_name: the team that owns the connection, in Airflow's multi-team mode.
    """
    from airflow_provider_whitebit.hooks.valuation import read_prices

    try:
        _, client = open_account(conn_id, team_name)
        try:
            return read_prices(client)
        finally:
            client.close()
    except WhiteBitError as error:
        return facts_of(error)
    except Exception as error:
        return {"message": unreadable(conn_id, error)}


def values_of(
    accounts: Mapping[str, Account | None],
    sums: Mapping[str, Any] | None,
    prices: Mapping[str, Prices],
    value_in: str,
) -> dict[str, Any]:
    """Return what accounts are worth, plain JSON.

    :param accounts: by connection; ``None`` for one that is still being loaded.
    :param sums: of the accounts, if there are several: :func:`.treasury_sums.sums_of`.
    :param prices: by host, as far as they are loaded.
    :param value_in: the currency.
    :returns: ``value_in``; ``accounts``, the value of each that is shown; ``sums``, that of their sums, ``None`` if
        they are of several exchanges, whose prices differ.
    """
    shown = {conn_id: one for conn_id, one in accounts.items() if one is not None and one.shown["error"] is None}
    found = {
        conn_id: value_positions(one.shown["positions"], prices[one.shown["host"]], value_in, _unknown([one]))
        for conn_id, one in shown.items()
        if one.shown["host"] in prices
    }
    counted = [] if sums is None else [shown[conn_id] for conn_id in sums["counted"]]
    hosts = {one.shown["host"] for one in counted}
    together = None
    if sums is not None and len(hosts) == 1 and hosts <= prices.keys():
        together = value_positions(sums["positions"], prices[hosts.pop()], value_in, _unknown(counted))
    return {"value_in": value_in, "accounts": found, "sums": together}


def _unknown(accounts: Iterable[Account]) -> list[str]:
    """The figures that other assets than those that are shown may have too: their lists could not be read."""
    return [figure for figure in FIGURES if any(one.elsewhere.get(figure) is None for one in accounts)]


def value_positions(
    positions: Iterable[Mapping[str, Any]], prices: Prices, value_in: str, unknown: Iterable[str]
) -> dict[str, Any]:
    """Return what some positions are worth, plain JSON.

    :param positions: lines with an exact amount, or ``None``, for each of :data:`FIGURES`.
    :param prices: last prices.
    :param value_in: the currency.
    :param unknown: figures that other assets may have too.
    :returns: ``error``, or :meth:`.Valuation.to_json` with ``total`` and the value of each asset, ``by_asset``.
    """
    if not isinstance(prices, MarketPrices):
        return {"error": prices}
    try:
        prices.check_currency(value_in)
    except WhiteBitError as error:
        return {"error": {"message": error.message, "next_steps": ["Choose another currency."]}}
    lines = list(positions)
    amounts = {figure: {line["ticker"]: _amount(line[figure]) for line in lines} for figure in FIGURES}
    found = value_amounts(amounts, prices, value_in)
    rest = [
        {"ticker": "other assets", "figure": figure, "amount": None, "reason": str(Missing.UNREADABLE_AMOUNT)}
        for figure in unknown
    ]
    shown = found.to_json()
    shown |= {"left_out": [*shown["left_out"], *rest], "complete": found.complete and not rest}
    return {"error": None, **shown, "total": plain(found.total), "by_asset": _by_asset(found)}


def _by_asset(found: Valuation) -> dict[str, str | None]:
    """The value of each asset; ``None`` if that of one of its amounts is not known."""
    sums: dict[str, str | None] = {}
    for asset in found.assets:
        values = [asset.value(figure) for figure in found.figures]
        known = [value for value in values if value is not None]
        sums[asset.ticker] = plain(sum(known, Decimal(0))) if len(known) == len(values) else None
    return sums


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
