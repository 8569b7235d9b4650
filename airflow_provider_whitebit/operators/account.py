"""Operators for the account. Vendor pages: Main balance, Trading balance, Collateral account balance, Transfer
between balances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import WhiteBitMoveOperator, WhiteBitOperator
from airflow_provider_whitebit.operators.parameters import as_ticker, refuse_float

if TYPE_CHECKING:
    from airflow_provider_whitebit.moves.intent import Receipt


class WhiteBitBalanceOperator(WhiteBitOperator):
    """Read balances: ticker -> amount as a decimal string.

    Of the spot balance it is what is available; what open orders hold is not in it.

    :param account: ``main`` (lending takes from it and returns to it), ``spot`` (also ``trade``) or ``collateral``.
    :param ticker: only this asset; all by default.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "account", "ticker")

    def __init__(self, *, account: str = "main", ticker: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.ticker = ticker

    def execute(self, context: Mapping[str, Any]) -> dict[str, str]:
        """The balances as plain JSON."""
        return self.ask(
            lambda: {
                ticker: format(amount, "f")
                for ticker, amount in self.hook.balances(self.account, as_ticker(self.ticker)).items()
            }
        )


class WhiteBitTransferOperator(WhiteBitMoveOperator):
    """Move an asset between balances, once, whatever is lost, killed or retried.

    Between ``spot`` and ``collateral`` it goes through Main: two moves, and a list of their two receipts.

    :param ticker: the asset.
    :param amount: how much, in units of the asset, or ``"all"`` that ``source`` holds.
    :param source: ``main``, ``spot`` (also ``trade``) or ``collateral``.
    :param target: likewise.
    :param dry_run: check everything, send nothing.
    :param deferrable: let a triggerer do the waiting where a lost answer has to be waited out.
    """

    template_fields: Sequence[str] = (
        *WhiteBitMoveOperator.template_fields,
        "ticker",
        "amount",
        "source",
        "target",
    )

    def __init__(self, *, ticker: str, amount: Any, source: str, target: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        refuse_float(amount)
        self.ticker = ticker
        self.amount = amount
        self.source = source
        self.target = target

    def move(self) -> Receipt | list[Receipt]:
        receipts = self.hook.transfer(
            ticker=self.ticker,
            amount=self.amount,
            source=self.source,
            target=self.target,
            **self.options("transfer"),
        )
        return receipts[0] if len(receipts) == 1 else receipts
