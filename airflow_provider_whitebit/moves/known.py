"""Whether the exchange knows a ticker, a plan or an investment.

The exchange answers 0 for an unknown ticker, and an empty list for a plan without records. So a typing error would look
like an empty balance, or like something that is still to come.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import PERMANENT_ERRORS, WhiteBitValidationError
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.moves import selection

log = logging.getLogger(__name__)


def require_ticker(client: WhiteBitClient, ticker: str) -> None:
    """Check that the exchange names an asset. A delisted one is only named where the account has or had it.

    :param client: reads the account.
    :raises WhiteBitValidationError: the exchange names it nowhere.
    :raises WhiteBitUnavailableError: no usable answer, or a record that may be of this asset cannot be read.
    """
    assets = client.assets()
    if ticker in assets:
        return
    unreadable: list[UnreadableRecord] = []
    places: tuple[Callable[[], Collection[str | None]], ...] = (
        client.main_balance,
        client.trade_balance,
        client.collateral_balance,
        lambda: {one.currency for one in client.flex_investments(on_unreadable=unreadable.append)},
        lambda: {one.plan.ticker for one in client.fixed_investments(on_unreadable=unreadable.append)},
    )
    for read in places:
        try:
            if ticker in read():
                return
        except PERMANENT_ERRORS as error:
            log.warning("Not looked for %s where this key cannot read: %s", ticker, error.message)
    for record in unreadable:
        if record.ticker == ticker:
            return
        if record.ticker is None:
            raise record.error()
    selection.require_ticker(ticker, assets)


def require_flex_plan(client: WhiteBitClient, plan_id: str) -> None:
    """Check that the exchange has a Flex plan: it is on offer, or the exchange accepts its id as a filter.

    :param client: reads the account.
    :raises WhiteBitValidationError: the exchange has no such plan.
    """
    plans = client.flex_plans(on_unreadable=_ignore)
    _require_plan("Flex", plan_id, {one.id.lower() for one in plans}, client.flex_investments)


def require_fixed_plan(client: WhiteBitClient, plan_id: str) -> None:
    """Check that the exchange has a Fixed plan, as :func:`require_flex_plan`."""
    plans = client.fixed_plans(on_unreadable=_ignore)
    _require_plan("Fixed", plan_id, {one.id.lower() for one in plans}, client.fixed_payments)


def _require_plan(kind: str, plan_id: str, listed: set[str], read: Callable[..., Iterator[object]]) -> None:
    if plan_id in listed:
        return
    try:
        # A plan that is paused, sold out or private is in no list, but its id is accepted.
        next(read(plan=plan_id, limit=1, on_unreadable=_ignore), None)
    except WhiteBitValidationError as error:
        raise WhiteBitValidationError(
            f"plan_id is {plan_id}: the exchange has no such {kind} plan.", path=error.path, said=error.said
        ) from error


def require_fixed_investment(client: WhiteBitClient, investment_id: str, wait: Callable[[], object]) -> None:
    """Check that the account has a Fixed investment.

    :param client: reads the account.
    :param wait: waits until a new investment is certainly in the list.
    :raises WhiteBitValidationError: the account has no such investment, also after waiting.
    """
    unreadable: list[UnreadableRecord] = []
    for again in (True, False):
        try:
            found = [*client.fixed_investments(investment=investment_id, on_unreadable=unreadable.append, strict=True)]
        except WhiteBitValidationError:
            found = []
        if found or unreadable:
            return
        if again:
            wait()
    raise WhiteBitValidationError(f"investment_id is {investment_id}: the account has no such Fixed investment.")


def _ignore(record: UnreadableRecord) -> None:
    """Leave out a record that cannot be read."""
