"""Operators for the account. Vendor pages: Main balance, Trading balance, Collateral account balance, Transfer
between balances, Get deposit/withdraw history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import (
    WhiteBitListOperator,
    WhiteBitMoveOperator,
    WhiteBitOperator,
    followed_keys,
)
from airflow_provider_whitebit.operators.parameters import plain_path

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from typing import Unpack

    from airflow.sdk import XComArg

    from airflow_provider_whitebit.operators.arguments import BaseOperatorKwargs, StoragePath


class WhiteBitBalanceOperator(WhiteBitOperator):
    """Read balances: ticker -> amount as a decimal string.

    ``.output["USDT"]`` is the balance of one asset. An XCom of its own has each asset of which something is held, or to
    which a task that follows refers in this way.

    Of the spot balance, only the available part is read, without what open orders hold.

    :param account: ``main`` (lending takes from it and returns to it), ``spot`` (also ``trade``) or ``collateral``.
    :param ticker: only this asset; all by default.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "account", "ticker")

    def __init__(
        self,
        *,
        account: str | XComArg = "main",
        ticker: str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.account: Any = account
        self.ticker = ticker

    def execute(self, context: Mapping[str, Any]) -> dict[str, str | None]:
        """Return the balances as plain JSON; null for one of all that cannot be read."""
        from airflow_provider_whitebit.client.models import plain
        from airflow_provider_whitebit.moves.parsing import read_optional, read_ticker

        with self.airflow_errors():
            account, ticker = self._parameters("account", "ticker").values()
            balances = self.hook.balances(account, read_optional(read_ticker, ticker))
        document = {ticker: None if amount is None else plain(amount) for ticker, amount in balances.items()}
        # The exchange lists some hundred assets. Only those that matter become XComs of their own.
        followed = followed_keys(self)
        self._publish({name: document[name] for name in document if balances[name] or name in followed}, context)
        return document


class WhiteBitMainHistoryOperator(WhiteBitListOperator):
    """Read deposits to Main and withdrawals from it, newest first: at most 10,000.

    ``method`` is 1 for a deposit and 2 for a withdrawal. What each ``status`` means: the vendor's page.

    :param kind: only ``deposit`` or ``withdrawal`` (or the exchange's numbers 1, 2).
    :param ticker: only of this asset.
    :param date_from: not before: an ISO 8601 time with zone, a date (00:00 UTC) or Unix seconds.
    :param date_to: not after: likewise.
    :param limit: at most this many, newest first; all by default.
    :param output_path: write them to this file instead of returning them: any path of Airflow's
        ``ObjectStoragePath``.
    :param output_format: ``jsonl``, ``csv`` or ``parquet``; by default, the file's extension.
    :param output_conn_id: Airflow connection of the storage.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    method = "main_history"
    skips_unreadable = False
    template_fields: Sequence[str] = (
        *("whitebit_conn_id", "kind", "ticker", "date_from", "date_to", "limit"),
        *("output_path", "output_format", "output_conn_id"),
    )

    def __init__(
        self,
        *,
        kind: str | int | XComArg | None = None,
        ticker: str | XComArg | None = None,
        date_from: str | int | datetime | XComArg | None = None,
        date_to: str | int | datetime | XComArg | None = None,
        limit: int | str | XComArg | None = None,
        output_path: StoragePath | XComArg | None = None,
        output_format: str | XComArg | None = None,
        output_conn_id: str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.kind = kind
        self.ticker = ticker
        self.date_from = date_from
        self.date_to = date_to
        self.limit = limit
        self.output_path: Any = plain_path(output_path)
        self.output_format: Any = output_format
        self.output_conn_id: Any = output_conn_id

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Return the records as plain JSON; with ``output_path``: ``path``, ``format`` and ``count``."""
        from airflow_provider_whitebit.client.models import MainTransaction
        from airflow_provider_whitebit.operators.export import write_table

        path, output_format, conn_id = self._parameters("output_path", "output_format", "output_conn_id").values()
        if path is None:
            return super().execute(context)
        with self.airflow_errors():
            written = write_table(self.records(), MainTransaction, path, output_format=output_format, conn_id=conn_id)
        return self._publish(written, context)


class WhiteBitTransferOperator(WhiteBitMoveOperator):
    """Move an asset between balances, exactly once, whatever is lost, killed or retried.

    Between ``spot`` and ``collateral`` it goes through Main: two moves, and a list of their two receipts.

    :param ticker: the asset.
    :param amount: units of the asset, or ``"all"`` that ``source`` holds and a transfer can carry.
    :param source: ``main``, ``spot`` (also ``trade``) or ``collateral``.
    :param target: likewise.
    :param idempotency_key: name of the move for all tasks of the account: nothing moves twice under one.
    :param dry_run: check everything, send nothing. The receipt's status is ``planned``.
    :param deferrable: wait in the triggerer if an answer is lost. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (*WhiteBitMoveOperator.template_fields, "ticker", "amount", "source", "target")

    def __init__(
        self,
        *,
        ticker: str | XComArg,
        amount: str | int | Decimal | XComArg,
        source: str | XComArg,
        target: str | XComArg,
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
        self.ticker: Any = ticker
        self.amount: Any = amount
        self.source: Any = source
        self.target: Any = target

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any] | list[dict[str, Any]]:
        """Transfer. Return the receipt as plain JSON, or a list of two receipts."""
        with self.moving():
            receipts = self.hook.transfer(**self._parameters("ticker", "amount", "source", "target"), **self._options())
        if len(receipts) == 1:
            return self.result(receipts[0], context)
        self._log_receipts(receipts)
        return [receipt.to_json() for receipt in receipts]
