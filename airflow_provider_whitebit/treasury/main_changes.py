"""What changed the Main balance over a period, as far as the exchange keeps records of it. Pure.

Vendor pages: Get deposit/withdraw history, Sub-accounts, Lending (Flex plans). Transfers to and from the spot and
collateral balances, Fixed plans and everything else are not part of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from airflow_provider_whitebit.client.models import (
    Direction,
    MainMethod,
    MainTransaction,
    Record,
    SubAccountTransaction,
)
from airflow_provider_whitebit.treasury.amounts import ZERO, exact
from airflow_provider_whitebit.treasury.figures import Figures

_DIRECTIONS = {Direction.MAIN_TO_SUB: "to_sub_accounts", Direction.SUB_TO_MAIN: "from_sub_accounts"}
_METHODS = {MainMethod.DEPOSIT: "deposited", MainMethod.WITHDRAWAL: "withdrawn"}


@dataclass(frozen=True, slots=True)
class MainChanges(Record):
    """What is known to have changed the Main balance of one asset over a period, in units of the asset.

    ``known_change = deposited - withdrawn + from_sub_accounts - to_sub_accounts + from_flex - to_flex``.

    :param deposited: successful deposits.
    :param withdrawn: successful withdrawals.
    :param fees: what the exchange shows as their fees. It does not say whether the amounts include them.
    :param from_sub_accounts: came from sub-accounts.
    :param to_sub_accounts: went to sub-accounts.
    :param from_flex: came from the Flex plans of the statement: withdrawn, closed, and earnings paid to Main.
    :param to_flex: went into them.
    :param unsettled: records of which it is not known whether, or in which direction, they changed the balance.
    """

    ticker: str
    deposited: Decimal = ZERO
    withdrawn: Decimal = ZERO
    fees: Decimal = ZERO
    from_sub_accounts: Decimal = ZERO
    to_sub_accounts: Decimal = ZERO
    from_flex: Decimal = ZERO
    to_flex: Decimal = ZERO
    known_change: Decimal = ZERO
    unsettled: int = 0


def main_changes(
    transactions: Iterable[MainTransaction],
    transfers: Iterable[SubAccountTransaction],
    flex: Mapping[str, Figures],
    *,
    start: datetime,
    end: datetime,
    tickers: Sequence[str] | None = None,
) -> tuple[MainChanges, ...]:
    """Add up what changed the Main balance from ``start``, included, to ``end``, not included; by asset.

    :param transactions: deposits and withdrawals.
    :param transfers: of all sub-accounts.
    :param flex: figures of the same period by asset.
    :param tickers: only these assets; all by default. Records that name no asset count under ``""``.
    """
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    unsettled: dict[str, int] = defaultdict(int)
    with exact():
        for one in transactions:
            if not start <= one.created_at < end or one.moved is False:
                continue
            unsettled[one.ticker] += one.moved is None
            if one.moved:
                sums[one.ticker][_METHODS[MainMethod(one.method)]] += one.amount.copy_abs()
                sums[one.ticker]["fees"] += one.fee or ZERO
        for transfer in transfers:
            if start <= transfer.created_at < end:
                ticker, direction = transfer.currency or "", transfer.direction or ""
                unsettled[ticker] += direction not in _DIRECTIONS
                if direction in _DIRECTIONS:
                    sums[ticker][_DIRECTIONS[Direction(direction)]] += transfer.amount.copy_abs()
        for ticker, figures in flex.items():
            sums[ticker]["from_flex"] = figures.withdrawn + figures.closed + figures.earned_to_main
            sums[ticker]["to_flex"] = figures.invested
        found = [MainChanges(name, **sums[name], unsettled=unsettled[name]) for name in {*sums, *unsettled}]
        known = [replace(one, known_change=_known_change(one)) for one in found]
    wanted = [one for one in known if tickers is None or one.ticker in ("", *tickers)]
    return tuple(sorted(wanted, key=lambda one: one.ticker))


def _known_change(one: MainChanges) -> Decimal:
    came = one.deposited + one.from_sub_accounts + one.from_flex
    return came - one.withdrawn - one.to_sub_accounts - one.to_flex
