"""An operator that writes double entries for accounting software. Vendor pages: Lending, Main balance, Sub-accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.operators.base import WhiteBitOperator
from airflow_provider_whitebit.operators.parameters import plain_path

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal
    from typing import Unpack

    from airflow.sdk import XComArg

    from airflow_provider_whitebit.operators.arguments import BaseOperatorKwargs, StoragePath
    from airflow_provider_whitebit.operators.book_files import BookFolder, BookWriter, Manifest
    from airflow_provider_whitebit.treasury.journal_entries import Books

#: Most discrepancies that a task returns; Airflow keeps what it returns in its database.
_MOST_DISCREPANCIES = 100


class WhiteBitJournalEntriesOperator(WhiteBitOperator):
    """Write double entries for every move and earning of a period, and assert the balances against the exchange.

    Reads only. For the meaning of the entries and the assumptions see :mod:`~..treasury.journal_entries`.

    :param output_path: the folder of the books of one account: any path of Airflow's ``ObjectStoragePath``. The names
        of the files are made of assets and period. Each file appears only when it is complete, a manifest (``.json``)
        last.
    :param formats: some of ``beancount``, ``hledger``, ``xero`` and ``quickbooks``: a list, or a comma-separated text.
    :param accounts: names of accounts: role to account, or role to asset to account, with ``default`` for all other
        assets. Below the name of a format, likewise, those of that format alone. Beancount and hledger have defaults.
    :param prices: for ``xero`` and ``quickbooks``: what one unit of each asset is worth in the currency of the books.
    :param tax_rate: for ``xero``: the name of the tax rate of each line.
    :param tickers: only these assets, as a list or a comma-separated text; all by default.
    :param start: beginning of the period, included: a midnight (UTC), written as an ISO 8601 time with zone, a date or
        Unix seconds. By default the data interval; for runs without one, the calendar month (UTC) before the run.
    :param end: end of the period, not included: likewise.
    :param continues: path of the manifest of the books before, whose closing balances must lead to those of this
        period. By default, the one in ``output_path`` that ends where this period starts. If there is none, the books
        begin with their opening balances.
    :param output_conn_id: Airflow connection of the storage.
    :param replace: write a period differently than it was written before, and keep the former files as
        ``.former-<number>``. By default, that is refused, and the error names the differences.
    :param fail_on_discrepancy: fail the task, and write nothing, if something does not add up. Otherwise, what no
        record explains is booked to the role ``suspense``.
    :param reinvested_as: how the exchange records earnings that auto-reinvest keeps, as in statements.
    :param fixed: whether to read Fixed plans.
    :param sub_accounts: whether to read transfers of sub-accounts.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (
        "whitebit_conn_id",
        "output_path",
        "formats",
        "accounts",
        "prices",
        "tax_rate",
        "tickers",
        "start",
        "end",
        "continues",
        "output_conn_id",
        "replace",
        "fail_on_discrepancy",
        "reinvested_as",
        "fixed",
        "sub_accounts",
    )
    template_fields_renderers = {"accounts": "json", "prices": "json"}  # noqa: RUF012 - as Airflow declares it

    def __init__(
        self,
        *,
        output_path: StoragePath | XComArg,
        formats: Sequence[str] | str | XComArg = "beancount",
        accounts: Mapping[str, Any] | str | XComArg | None = None,
        prices: Mapping[str, str | int | Decimal] | str | XComArg | None = None,
        tax_rate: str | XComArg = "Tax Exempt",
        tickers: Sequence[str] | str | XComArg | None = None,
        start: str | int | date | XComArg | None = None,
        end: str | int | date | XComArg | None = None,
        continues: StoragePath | XComArg | None = None,
        output_conn_id: str | XComArg | None = None,
        replace: bool | str | XComArg = False,
        fail_on_discrepancy: bool | str | XComArg = True,
        reinvested_as: str | XComArg = "both",
        fixed: bool | str | XComArg = True,
        sub_accounts: bool | str | XComArg = True,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(whitebit_conn_id=whitebit_conn_id, **kwargs)
        self._refuse_floats(prices=prices)
        self.output_path: Any = plain_path(output_path)
        self.formats: Any = formats
        self.accounts: Any = accounts
        self.prices: Any = prices
        self.tax_rate: Any = tax_rate
        self.tickers = tickers
        self.start = start
        self.end = end
        self.continues: Any = plain_path(continues)
        self.output_conn_id: Any = output_conn_id
        self.replace = replace
        self.fail_on_discrepancy = fail_on_discrepancy
        self.reinvested_as: Any = reinvested_as
        self.fixed = fixed
        self.sub_accounts = sub_accounts

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Write the entries, and return what was written.

        The keys of the result: ``start``, ``end``, ``begins`` (whether the books begin with this period), ``opening``
        and ``closing`` (role -> ticker -> amount), ``adds_up``, ``discrepancies`` (the first hundred),
        ``discrepancy_count``, ``not_booked``, ``warnings``, ``paths`` (``manifest``, and format -> paths), ``written``
        (false if the same files were there), ``former`` (paths of former files), ``left_out`` (format -> entries whose
        value is part of a later one, because they are worth less than a cent).

        :raises WhiteBitDiscrepancyError: with ``fail_on_discrepancy``, if something does not add up.
        :raises WhiteBitValidationError: a parameter is wrong, an account or a price is missing, or the period was
            written differently before.
        """
        with self.airflow_errors():
            return self._publish(self._make(context), context)

    def _make(self, context: Mapping[str, Any]) -> dict[str, Any]:
        from tempfile import TemporaryDirectory

        from airflow_provider_whitebit.client.errors import WhiteBitValidationError
        from airflow_provider_whitebit.hooks.journal_entries import announced_receipts, read_books
        from airflow_provider_whitebit.moves.parsing import read_boolean, read_optional, read_tickers, read_words
        from airflow_provider_whitebit.operators.book_files import BookFolder, BookWriter
        from airflow_provider_whitebit.operators.periods import read_period
        from airflow_provider_whitebit.treasury.book_values import read_book_prices
        from airflow_provider_whitebit.treasury.chart_of_accounts import BookFormat, read_chart
        from airflow_provider_whitebit.treasury.journal_entries import check_days
        from airflow_provider_whitebit.treasury.statement import read_reinvested_as

        given = self._parameters(*self.template_fields)
        flags = {
            name: read_boolean(name, given[name])
            for name in ("replace", "fail_on_discrepancy", "fixed", "sub_accounts")
        }
        for name, what in (("output_path", "the folder of the books"), ("tax_rate", "the name of a tax rate in Xero")):
            if given[name] is None:
                raise WhiteBitValidationError(f"{name} is not given: write {what}.")
        charts = [read_chart(given["accounts"], form) for form in read_words("formats", BookFormat, given["formats"])]
        prices, tickers = read_book_prices(given["prices"]), read_optional(read_tickers, given["tickers"])
        reinvested_as = read_reinvested_as(given["reinvested_as"])
        start, end = read_period(self.hook, given["start"], given["end"], context)
        check_days(start, end)
        # The same assets are the same books, in whatever order they are given.
        prefix = "-".join(("journal-entries", *sorted(tickers or ())))
        days = [moment.in_timezone("UTC").format("YYYYMMDD") for moment in (start, end)]
        folder = BookFolder(str(given["output_path"]), "-".join((prefix, *days)), given["output_conn_id"])
        before = self._before(folder, given["continues"], prefix, days[0])
        with (
            read_books(
                self.hook.get_conn(),
                start=start,
                end=end,
                tickers=tickers,
                reinvested_as=reinvested_as,
                receipts=announced_receipts(self.hook, start),
                previous=None if before is None else before.balances,
                fixed=flags["fixed"],
                sub_accounts=flags["sub_accounts"],
            ) as books,
            TemporaryDirectory() as scratch,
        ):
            self._check(books, before, fail=flags["fail_on_discrepancy"])
            writer = BookWriter(folder, charts, prices, str(given["tax_rate"]), before, flags["replace"])
            written = self._write(writer, books, scratch)
            return self._result(books, writer, written=written)

    def _before(self, folder: BookFolder, continues: Any, prefix: str, start: str) -> Manifest | None:
        """The manifest of the books that these continue."""
        from airflow_provider_whitebit.client.errors import WhiteBitValidationError

        name = folder.before(prefix, start) if continues is None else str(continues)
        if name is None:
            return None
        found = folder.read_manifest(name)
        if found is None:
            raise WhiteBitValidationError(f"continues names {name!r}, and there is no such file.")
        return found

    def _check(self, books: Books, before: Manifest | None, *, fail: bool) -> None:
        from airflow_provider_whitebit.client.errors import WhiteBitDiscrepancyError, WhiteBitValidationError
        from airflow_provider_whitebit.client.models import to_json
        from airflow_provider_whitebit.treasury.discrepancies import in_words

        if before is not None and before.end != to_json(books.start):
            raise WhiteBitValidationError(
                f"The books to continue end at {before.end}, and this period starts at {to_json(books.start)}."
            )
        for text in (*books.not_booked, *books.warnings):
            self.log.warning("%s", text)
        messages = [found.message for found in books.discrepancies]
        for message in messages:
            self.log.warning("Does not add up: %s", message)
        if fail and messages:
            raise WhiteBitDiscrepancyError(
                f"Nothing was written. {in_words(messages)}",
                next_step=(
                    "Clear the task. Records can be late: the same period may add up now.",
                    "If it still does not add up, compare the records with the exchange's own pages.",
                    "To book what no record explains to the role suspense, set fail_on_discrepancy=False.",
                ),
            )

    def _write(self, writer: BookWriter, books: Books, scratch: str) -> bool:
        from pathlib import Path

        written = writer.write(books, Path(scratch))
        where = f"{writer.folder.path.rstrip('/')}/{writer.folder.manifest}"
        self.log.info(
            "Wrote journal entries, see %s" if written else "The same entries are there already, see %s", where
        )
        return written

    def _result(self, books: Books, writer: BookWriter, *, written: bool) -> dict[str, Any]:
        from airflow_provider_whitebit.client.models import to_json
        from airflow_provider_whitebit.operators.book_files import balances_to_json

        folder = writer.folder.path.rstrip("/")
        found = books.discrepancies
        return {
            "start": to_json(books.start),
            "end": to_json(books.end),
            "begins": books.begins,
            "opening": balances_to_json(books.opening),
            "closing": balances_to_json(books.closing),
            "adds_up": not found,
            "discrepancy_count": len(found),
            "discrepancies": [{**one.to_json(), "kind": str(one.kind)} for one in found[:_MOST_DISCREPANCIES]],
            "not_booked": list(books.not_booked),
            "warnings": list(books.warnings),
            "paths": {
                "manifest": f"{folder}/{writer.folder.manifest}",
                **{form: [f"{folder}/{name}" for name in names] for form, names in writer.files.items()},
            },
            "written": written,
            "former": [f"{folder}/{name}" for name in writer.former],
            "left_out": writer.left_out,
        }
