"""Operators for the account. Vendor page: Main balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_whitebit.operators.base import WhiteBitOperator


class WhiteBitBalanceOperator(WhiteBitOperator):
    """Read balances: ticker -> amount as a decimal string.

    :param account: which balance; ``main`` is where lending takes from and returns to.
    :param ticker: only this asset; all by default.
    """

    template_fields: Sequence[str] = ("whitebit_conn_id", "account", "ticker")

    def __init__(self, *, account: str = "main", ticker: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.ticker = ticker

    def execute(self, context: Mapping[str, Any]) -> dict[str, str]:
        """The balances as plain JSON."""
        return self.ask(self._read)

    def _read(self) -> dict[str, str]:
        from airflow_provider_whitebit.client.errors import WhiteBitValidationError
        from airflow_provider_whitebit.treasury.choice import read_ticker

        if self.account != "main":
            raise WhiteBitValidationError(f"account is {self.account!r}: this version reads main.")
        wanted = None if self.ticker in (None, "") else read_ticker(self.ticker)
        client = self.hook.get_conn()
        if wanted is not None and wanted not in client.assets():
            # The exchange itself answers 0 for a ticker that it does not know: a typing error would look like poverty.
            raise WhiteBitValidationError(f"ticker is {wanted}: the exchange has no such asset.")
        return {ticker: format(amount, "f") for ticker, amount in client.main_balance(wanted).items()}
