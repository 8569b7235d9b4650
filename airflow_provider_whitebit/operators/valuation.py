"""Operator that says what an account is worth. Vendor pages: Main balance, Lending (Flex and Fixed plans), Market
activity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import WhiteBitOperator
from airflow_provider_whitebit.operators.parameters import plain_path

if TYPE_CHECKING:
    from typing import Unpack

    from airflow.sdk import XComArg

    from airflow_provider_whitebit.operators.arguments import BaseOperatorKwargs, StoragePath
    from airflow_provider_whitebit.treasury.valuation import ValuedHoldings


class WhiteBitValuationOperator(WhiteBitOperator):
    """Value what the account holds in Main, Flex and Fixed in one currency, by the exchange's last prices.

    Reads only. Exact amounts and values are apart. What has no price is named, and is in no total. For where a price
    comes from see :mod:`~..treasury.valuation`.

    :param value_in: the currency, for example ``USDT``, ``EUR`` or ``BTC``.
    :param tickers: only these assets, as a list or a comma-separated text; all by default.
    :param output_path: also write the valuation to this file: any path of Airflow's ``ObjectStoragePath``.
    :param output_format: ``json`` (the document that the task returns), or a table with a row for each asset and
        place: ``csv``, ``parquet`` or ``jsonl``. By default, the file's extension.
    :param output_conn_id: Airflow connection of the storage.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (
        *("whitebit_conn_id", "value_in", "tickers"),
        *("output_path", "output_format", "output_conn_id"),
    )

    def __init__(
        self,
        *,
        value_in: str | XComArg,
        tickers: Sequence[str] | str | XComArg | None = None,
        output_path: StoragePath | XComArg | None = None,
        output_format: str | XComArg | None = None,
        output_conn_id: str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self.value_in: Any = value_in
        self.tickers = tickers
        self.output_path: Any = plain_path(output_path)
        self.output_format: Any = output_format
        self.output_conn_id: Any = output_conn_id

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Return the valuation as plain JSON.

        Its keys: ``made_at``, ``amounts`` (ticker -> ``main``, ``flex``, ``fixed``: exact), ``value_in``, ``total``,
        ``complete``, ``unreadable``, ``valuation`` (prices, values, totals and what they leave out) and ``path`` (null
        without ``output_path``).
        """
        with self.airflow_errors():
            return self._publish(self._make(), context)

    def _make(self) -> dict[str, Any]:
        from airflow_provider_whitebit.hooks.valuation import read_valuation
        from airflow_provider_whitebit.moves.parsing import read_optional, read_tickers
        from airflow_provider_whitebit.treasury.valuation import read_value_in

        given = self._parameters(*self.template_fields)
        path = given["output_path"]
        # A wrong format is found before anything is requested from the exchange.
        form = None if path is None else _format(path, given["output_format"])
        value_in, tickers = read_value_in(given["value_in"]), read_optional(read_tickers, given["tickers"])
        found = read_valuation(self.hook.get_conn(), value_in, tickers)
        if form is not None:
            _write(found, path, form, given["output_conn_id"])
            self.log.info("Wrote the valuation to %s", path)
        return {**found.to_json(), "path": None if path is None else str(path)}


def _format(path: object, output_format: str | None) -> str:
    """The format of a file. Elsewhere, ``json`` means JSON Lines."""
    from airflow_provider_whitebit.operators.export import file_format

    form = file_format(path, output_format)
    raw = str(output_format or path).strip().lower()
    return "json" if form == "jsonl" and (raw == "json" or raw.endswith(".json")) else form


def _write(found: ValuedHoldings, path: Any, form: str, conn_id: str | None) -> None:
    import json

    from airflow_provider_whitebit.operators.export import replace_file, write_table
    from airflow_provider_whitebit.treasury.valuation import ValuedRow

    if form == "json":
        text = json.dumps(found.to_json(), indent=2) + "\n"
        replace_file(path, lambda file: file.write(text.encode()), conn_id=conn_id)
    else:
        write_table(found.rows(), ValuedRow, path, output_format=form, conn_id=conn_id)
