"""The operator that forecasts earnings, maturities and liquidity. Vendor pages: Lending (Flex and Fixed plans)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import WhiteBitOperator
from airflow_provider_whitebit.operators.files import read_file
from airflow_provider_whitebit.operators.parameters import plain_path

if TYPE_CHECKING:
    from datetime import date
    from typing import Unpack

    from airflow.sdk import XComArg

    from airflow_provider_whitebit.operators.arguments import BaseOperatorKwargs, StoragePath
    from airflow_provider_whitebit.operators.treasury import RawPolicy
    from airflow_provider_whitebit.treasury.forecast import Forecast

#: Most days, of all assets together, that a task returns; Airflow keeps what it returns in its database.
_MOST_DAYS_RETURNED = 1_000


class WhiteBitForecastOperator(WhiteBitOperator):
    """Forecast what is invested: earnings of each day and until a date, ends of terms, and liquidity. Moves no money.

    For the meaning of the figures and the assumptions see :mod:`~..treasury.forecast`.

    :param tickers: only these assets, as a list or a comma-separated text; by default, those that are invested and
        those of the policy.
    :param until: the end, not included: an ISO 8601 time with zone, a date (meaning 00:00 UTC) or Unix seconds.
    :param days: without ``until``: how many days from now.
    :param policy: a policy whose liquidity needs are compared with what is available: a mapping, its text, or a file.
        See ``docs/treasury.md``.
    :param rate_days: whole days over which realised rates are taken.
    :param output_path: write the forecast into this folder, under a name made of connection, assets and period, or to
        this file if it ends in ``.json``. Any path of Airflow's ``ObjectStoragePath``. The days (``.days``) and the
        ends of terms (``.maturities``) are written beside it as tables. Each file appears only when it is complete.
    :param output_format: of the tables: ``csv``, ``jsonl`` or ``parquet``.
    :param output_conn_id: Airflow connection of the storage.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (
        "whitebit_conn_id",
        "tickers",
        "until",
        "days",
        "policy",
        "rate_days",
        "output_path",
        "output_format",
        "output_conn_id",
    )
    template_fields_renderers = {"policy": "json"}  # noqa: RUF012 - as Airflow declares it

    def __init__(
        self,
        *,
        tickers: Sequence[str] | str | XComArg | None = None,
        until: str | int | date | XComArg | None = None,
        days: int | str | XComArg = 90,
        policy: RawPolicy | XComArg | None = None,
        rate_days: int | str | XComArg = 30,
        output_path: StoragePath | XComArg | None = None,
        output_format: str | XComArg = "csv",
        output_conn_id: str | XComArg | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self._refuse_floats(policy=policy)
        self.tickers = tickers
        self.until = until
        self.days: Any = days
        self.policy: Any = plain_path(policy)
        self.rate_days: Any = rate_days
        self.output_path: Any = plain_path(output_path)
        self.output_format: Any = output_format
        self.output_conn_id: Any = output_conn_id

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Return the forecast.

        Its keys: ``start``, ``until``, ``tickers`` (ticker -> expected earnings, ``investments``, ``needs`` and
        ``days``), ``maturities``, ``shortfalls`` (``ticker``, ``at``, ``missing``), ``unknown`` (what no figure
        contains), ``warnings``, and ``paths`` (``forecast``, ``days``, ``maturities``; empty without ``output_path``).
        With more than 1,000 days of all assets, ``days`` are null; the files have all of them.
        """
        with self.airflow_errors():
            return self._publish(self._make(context), context)

    def _make(self, context: Mapping[str, Any]) -> dict[str, Any]:
        from airflow_provider_whitebit.operators.export import file_format

        self.policy = read_file(self, "policy", context)
        given = self._parameters(*self.template_fields)
        if given["output_path"] is not None:
            # A wrong format is found before anything is requested from the exchange.
            file_format(given["output_path"], given["output_format"])
        forecast = self._read(given)
        for text in (*forecast.unknown, *forecast.warnings):
            self.log.warning("%s", text)
        for need in forecast.shortfalls:
            self.log.warning("Missing at %s: %s %s", need.at, format(need.missing, "f"), need.ticker)
        paths = {} if given["output_path"] is None else self._write(forecast, given)
        return {**forecast.to_json(days=len(list(forecast.days())) <= _MOST_DAYS_RETURNED), "paths": paths}

    def _read(self, given: Mapping[str, Any]) -> Forecast:
        from airflow_provider_whitebit.hooks.forecasts import read_forecast
        from airflow_provider_whitebit.moves.parsing import read_number, read_optional, read_tickers, read_time
        from airflow_provider_whitebit.treasury.forecast import MOST_DAYS
        from airflow_provider_whitebit.treasury.policy import read_policy

        tickers, policy = read_optional(read_tickers, given["tickers"]), read_optional(read_policy, given["policy"])
        until = read_time("until", given["until"])
        days, rate_days = (read_number(name, given[name], most=MOST_DAYS) for name in ("days", "rate_days"))
        return read_forecast(
            self.hook.get_conn(), until=until, days=days, tickers=tickers, policy=policy, rate_days=rate_days
        )

    def _write(self, forecast: Forecast, given: Mapping[str, Any]) -> dict[str, str]:
        from airflow_provider_whitebit.moves.parsing import read_optional, read_tickers
        from airflow_provider_whitebit.operators.export import file_format, replace_file, write_table
        from airflow_provider_whitebit.treasury.forecast import ExpectedDay, Maturity

        path, storage = str(given["output_path"]), given["output_conn_id"]
        tickers = read_optional(read_tickers, given["tickers"]) or ()
        period = (moment.format("YYYYMMDD[T]HHmmss") for moment in (forecast.start, forecast.until))
        name = self._file_name("forecast", *tickers, *period)
        stem = path[: -len(".json")] if path.lower().endswith(".json") else f"{path.rstrip('/')}/{name}"
        form = file_format(path, given["output_format"])
        paths = {"forecast": f"{stem}.json", **{name: f"{stem}.{name}.{form}" for name in ("days", "maturities")}}
        write_table(forecast.days(), ExpectedDay, paths["days"], output_format=form, conn_id=storage)
        write_table(forecast.maturities, Maturity, paths["maturities"], output_format=form, conn_id=storage)
        text = json.dumps(forecast.to_json(), indent=1) + "\n"
        replace_file(paths["forecast"], lambda file: file.write(text.encode()), conn_id=storage)
        self.log.info("Wrote the forecast to %s", paths["forecast"])
        return paths
