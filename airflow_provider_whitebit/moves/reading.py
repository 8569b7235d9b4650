"""Read what limits over time count: all moves of an account."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from typing import TypeVar

from airflow_provider_whitebit.client.api import Report, WhiteBitClient
from airflow_provider_whitebit.client.errors import (
    WhiteBitPermissionError,
    WhiteBitRefusedError,
    WhiteBitValidationError,
    in_one_line,
)
from airflow_provider_whitebit.client.models import SubAccountTransaction
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.moves.counting import AccountRecords
from airflow_provider_whitebit.moves.intent import Move

log = logging.getLogger(__name__)
RecordT = TypeVar("RecordT")


def read_moves(client: WhiteBitClient, since: int) -> AccountRecords:
    """Read the records of all moves of the account: Flex, Fixed and sub-accounts. Other transfers have no records.

    What the exchange refuses to show is left out: nothing can be moved there with this key. Its moves by this package
    are in the spending log all the same.

    :param client: reads the account.
    :param since: in Unix seconds. All Fixed investments are read: their list has no filter by time.
    :raises WhiteBitError: refused or unreachable.
    """
    transfers: dict[str, list[SubAccountTransaction | UnreadableRecord]] = {}
    for account in _if_allowed("sub-accounts", client.sub_accounts):
        sub_id = account.known.get("id") if isinstance(account, UnreadableRecord) else account.id
        if sub_id is None:
            raise account.error()  # type: ignore[union-attr]
        read = partial(client.sub_account_transfers, sub_id, date_from=since, strict=True)
        transfers[sub_id] = _if_allowed("transfers of sub-accounts", read)
    return AccountRecords(
        flex=_if_allowed("the Flex history", partial(client.flex_history, date_from=since, strict=True)),
        fixed=_if_allowed("Fixed investments", partial(client.fixed_investments, strict=True)),
        transfers=transfers,
    )


def read_invested(client: WhiteBitClient, move: Move) -> Decimal | None:
    """How much is invested in the plan of a move; ``None`` if nothing is, or if that cannot be read.

    :param client: reads the account.
    :param move: in a Flex plan.
    :raises WhiteBitError: refused or unreachable.
    """
    unreadable: list[UnreadableRecord] = []
    read = partial(client.flex_investments, on_unreadable=unreadable.append)
    try:
        found = [*read(plan=move.plan_id)]
    except WhiteBitValidationError:
        # The exchange refuses to filter by a plan that is gone.
        found = [*read()]
    held = [one.invested for one in found if one.plan_id.lower() == move.plan_id.lower() and not one.closed]
    return sum(held, Decimal(0)) if held else None


def _if_allowed(what: str, read: Callable[..., Iterable[RecordT]]) -> list[RecordT | UnreadableRecord]:
    """Records, and those that cannot be read; none if the exchange refuses to show them."""
    unreadable: list[UnreadableRecord] = []
    report: Report = unreadable.append
    try:
        return [*read(on_unreadable=report), *unreadable]
    except (WhiteBitPermissionError, WhiteBitRefusedError) as error:
        # The history of a sub-account that is not confirmed is refused by a rule.
        log.warning(
            "Limits over time count no moves of %s, which the exchange does not show: %s", what, in_one_line(error)
        )
        return []
