"""Operators for sub-accounts. Vendor page: Sub-accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import WhiteBitListOperator, WhiteBitMoveOperator, WhiteBitOperator

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from typing import Unpack

    from airflow.sdk import XComArg

    from airflow_provider_whitebit.operators.arguments import BaseOperatorKwargs


class WhiteBitSubAccountsOperator(WhiteBitListOperator):
    """Read the sub-accounts: ``id``, ``alias``, ``user_id``, ``email``, ``status``, ``permissions``.

    :param search: only those that the exchange finds for this text.
    :param limit: at most this many; all by default.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    method = "sub_accounts"
    template_fields: Sequence[str] = ("whitebit_conn_id", "search", "limit")

    def __init__(
        self,
        *,
        search: str | XComArg | None = None,
        limit: int | str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.search = search
        self.limit = limit


class WhiteBitSubAccountBalancesOperator(WhiteBitOperator):
    """Read what a sub-account holds: ticker -> ``main``, ``spot``, ``collateral``; null if the exchange does not say.

    :param sub_account_id: the sub-account.
    :param ticker: only this asset; all by default.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "sub_account_id", "ticker")

    def __init__(
        self,
        *,
        sub_account_id: str | XComArg,
        ticker: str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.sub_account_id: Any = sub_account_id
        self.ticker = ticker

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Return the balances as plain JSON."""
        from airflow_provider_whitebit.moves.parsing import read_identifier, read_optional, read_ticker

        with self.airflow_errors():
            given = self._parameters("sub_account_id", "ticker")
            sub_account_id = read_identifier("sub_account_id", given["sub_account_id"])
            ticker = read_optional(read_ticker, given["ticker"])
            balances = self.hook.get_conn().sub_account_balances(sub_account_id, ticker)
        return self._publish({name: balance.to_json() for name, balance in balances.items()}, context)


class WhiteBitSubAccountTransfersOperator(WhiteBitListOperator):
    """Read the transfers between Main and a sub-account, newest first: at most 10,000.

    Each has ``created_at``, ``transaction_id``, ``direction``, ``currency`` and ``amount``.

    :param sub_account_id: the sub-account.
    :param direction: only ``main_to_sub`` or ``sub_to_main``.
    :param date_from: not before: an ISO 8601 time with zone, a date (00:00 UTC) or Unix seconds.
    :param date_to: not after: likewise.
    :param limit: at most this many, newest first; all by default.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    method = "sub_account_transfers"
    skips_unreadable = False
    template_fields: Sequence[str] = (
        *("whitebit_conn_id", "sub_account_id", "direction", "date_from", "date_to", "limit"),
    )

    def __init__(
        self,
        *,
        sub_account_id: str | XComArg,
        direction: str | XComArg | None = None,
        date_from: str | int | datetime | XComArg | None = None,
        date_to: str | int | datetime | XComArg | None = None,
        limit: int | str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.sub_account_id = sub_account_id
        self.direction = direction
        self.date_from = date_from
        self.date_to = date_to
        self.limit = limit


class WhiteBitSubAccountTransferOperator(WhiteBitMoveOperator):
    """Move an asset between Main and a sub-account, exactly once, whatever is lost, killed or retried.

    :param sub_account_id: the sub-account.
    :param direction: ``main_to_sub`` or ``sub_to_main``.
    :param ticker: the asset.
    :param amount: units of the asset, or ``"all"`` that a transfer can carry (at most 8 decimals).
    :param idempotency_key: name of the move for all tasks of the account: nothing moves twice under one.
    :param dry_run: check everything, send nothing. The receipt's status is ``planned``.
    :param deferrable: wait in the triggerer if an answer is lost. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (
        *WhiteBitMoveOperator.template_fields,
        *("sub_account_id", "direction", "ticker", "amount"),
    )

    def __init__(
        self,
        *,
        sub_account_id: str | XComArg,
        direction: str | XComArg,
        ticker: str | XComArg,
        amount: str | int | Decimal | XComArg,
        idempotency_key: str | XComArg | None = None,
        dry_run: bool | str | XComArg = False,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(
            idempotency_key=idempotency_key,
            dry_run=dry_run,
            deferrable=deferrable,
            whitebit_conn_id=whitebit_conn_id,
            **kwargs,
        )
        self._refuse_floats(amount=amount)
        self.sub_account_id: Any = sub_account_id
        self.direction: Any = direction
        self.ticker: Any = ticker
        self.amount: Any = amount

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Transfer. Return the receipt as plain JSON."""
        with self.moving():
            receipt = self.hook.sub_account_transfer(
                **self._parameters("sub_account_id", "direction", "ticker", "amount"), **self._options()
            )
        return self.result(receipt, context)
