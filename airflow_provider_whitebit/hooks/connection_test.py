"""The test button: what a connection may do, in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import (
    WhiteBitConfigurationError,
    WhiteBitError,
    WhiteBitMaintenanceError,
    WhiteBitPermissionError,
    in_one_line,
    quoted,
)
from airflow_provider_whitebit.client.unreadable import warn

if TYPE_CHECKING:
    from airflow_provider_whitebit.hooks.settings import Settings
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook


def describe_connection(hook: WhiteBitHook) -> tuple[bool, str]:
    """Find out what a connection may do. Sends reading calls only.

    :param hook: of the connection.
    :returns: whether the connection can be used for lending, and the sentence.
    """
    try:
        settings = hook.settings
        client = hook.get_conn(retries=0)
    except WhiteBitConfigurationError as error:
        return False, error.message
    except Exception as error:
        return False, f"The connection cannot be read ({type(error).__name__})."
    where = f"{settings.base_url} (region {settings.region})"
    try:
        client.server_time()
    except WhiteBitMaintenanceError as error:
        return False, _why_not(where, error)
    except WhiteBitError as error:
        return False, f"{where} does not answer: {in_one_line(error)}"
    refusals = {
        "Flex plans": _refusal_of(lambda: list(client.flex_plans(limit=1, on_unreadable=warn))),
        "Fixed plans": _refusal_of(lambda: client.fixed_plans(on_unreadable=warn)),
        "balances": _refusal_of(lambda: client.main_balance("USDC")),
    }
    for refusal in refusals.values():
        if refusal is not None and not isinstance(refusal, WhiteBitPermissionError):
            return False, _why_not(where, refusal)
    if problem := _problem_with_previous(hook, client, where):
        return False, f"Key accepted, but {problem}"
    if problem := _problem_with_limits(settings, client):
        return False, f"Key accepted, but {problem}"
    rights = ", ".join(f"{name} {'NOT ' if refusal else ''}allowed" for name, refusal in refusals.items())
    no_flex, no_fixed = refusals["Flex plans"], refusals["Fixed plans"]
    lending = no_flex is None or no_fixed is None
    advice = f" {in_one_line(no_flex)}" if no_flex and no_fixed else ""
    return lending, (
        f"Key accepted by {where}: {rights}; this machine's clock is {_offset(client)} the exchange's; "
        f"{settings.limits.in_words}.{advice}"
    )


def _problem_with_limits(settings: Settings, client: WhiteBitClient) -> str:
    """What is wrong with the tickers of limits by ticker; empty if nothing is. A misspelt one limits nothing."""
    limits = {"max_move": settings.limits.max_move, "max_per_day": settings.limits.max_per_day}
    for name, by_ticker in limits.items():
        if not by_ticker:
            continue
        try:
            strange = by_ticker.keys() - client.assets().keys()
        except WhiteBitError as error:
            return f"the tickers of {name} could not be checked: {error.message}"
        if strange:
            names = ", ".join(sorted(strange))
            return f"{name} names {names}, which the exchange does not list: correct or remove it."
    return ""


def _problem_with_previous(hook: WhiteBitHook, client: WhiteBitClient, where: str) -> str:
    """What is wrong with the connection's ``previous_conn_id``; empty if nothing is."""
    try:
        previous = hook.previous
        if previous is None:
            return ""
        if refusal := _refusal_of(previous.get_conn().main_balance):
            return f"not that of previous_conn_id: {_why_not(where, refusal)}"
        if not _are_of_one_account(client, previous.get_conn()):
            return (
                "the key of previous_conn_id shows other balances or investments: it must be the old key of the same "
                "account."
            )
    except Exception as error:
        why = error.message if isinstance(error, WhiteBitError) else type(error).__name__
        return f"previous_conn_id cannot be used: {why}"
    return ""


def _are_of_one_account(*clients: WhiteBitClient) -> bool:
    """Whether two keys show the same holdings. Compared twice: money may move between the calls."""

    def holdings(client: WhiteBitClient) -> tuple[Any, Any]:
        held = {ticker: amount for ticker, amount in client.main_balance().items() if amount}
        with suppress(WhiteBitPermissionError):
            return held, {investment.id for investment in client.flex_investments(limit=100, on_unreadable=warn)}
        return held, None

    for _ in range(2):
        (held, invested), (also_held, also_invested) = map(holdings, clients)
        if held == also_held and (None in (invested, also_invested) or invested == also_invested):
            return True
    return False


def _refusal_of(call: Callable[[], object]) -> WhiteBitError | None:
    try:
        call()
    except WhiteBitError as error:
        return error
    return None


def _why_not(where: str, refusal: WhiteBitError) -> str:
    if isinstance(refusal, WhiteBitMaintenanceError):
        said = f" The exchange said: {quoted(refusal)}" if quoted(refusal) else ""
        return f"{where} is in maintenance, so the key could not be checked. Try again after the maintenance.{said}"
    why = " API key or API secret is wrong, or they belong to another region." if refusal.meaning == "signature" else ""
    return f"{where}: {in_one_line(refusal)}{why}"


def _offset(client: WhiteBitClient) -> str:
    offset = client.clock.offset_ms
    return f"{abs(offset)} ms {'behind' if offset >= 0 else 'ahead of'}"
