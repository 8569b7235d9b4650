"""Reads what a forecast needs from the exchange. Moves no money."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.hooks.statements import read_flex
from airflow_provider_whitebit.treasury.forecast import RATE_DAYS, Forecast, make_forecast, rates_since, realised_rates
from airflow_provider_whitebit.treasury.policy import Policy


def read_forecast(
    client: WhiteBitClient,
    *,
    until: datetime | None = None,
    days: int = 90,
    tickers: Sequence[str] | None = None,
    policy: Policy | None = None,
    rate_days: int = RATE_DAYS,
) -> Forecast:
    """Forecast what is invested now. Vendor pages: Lending (Flex and Fixed plans), Main balance.

    :param client: ``WhiteBitHook().get_conn()``.
    :param until: the end, not included, an aware time.
    :param days: without ``until``: how many days from now.
    :param tickers: only these assets; by default, those that are invested and those of the policy.
    :param policy: whose liquidity needs are compared with what is available.
    :param rate_days: days over which realised rates are taken.
    :raises WhiteBitValidationError: ``until`` is not after now, or too late.
    :raises WhiteBitUnavailableError: investments changed each time they were read, or there was no usable answer.
    :raises WhiteBitError: the exchange refused a call.
    """
    now = client.server_time()
    since = rates_since(now, rate_days)
    history, _, investments, unreadable = read_flex(client, None, since, payments=False)
    return make_forecast(
        investments,
        list(client.fixed_investments(on_unreadable=unreadable.append)),
        list(client.flex_plans(on_unreadable=unreadable.append)),
        main=client.main_balance(),
        realised=realised_rates(history, investments, since=since, now=now),
        now=now,
        until=until or now.add(days=days),
        policy=policy,
        tickers=tickers,
        unreadable=unreadable,
    )
