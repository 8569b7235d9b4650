"""The spending log of an account in Airflow's database, for the API server: it only reads it."""

from __future__ import annotations

from typing import Any

from airflow.utils.session import create_session

from airflow_provider_whitebit.control.journals import DatabaseVariables
from airflow_provider_whitebit.hooks.journals import VariableSpendingLog
from airflow_provider_whitebit.moves.journal import LogReading, Page


class SpendingInDatabase:
    """A :class:`~airflow_provider_whitebit.moves.journal.SpendingLog`, for reading only.

    :param account: fingerprint of the API key.
    """

    def __init__(self, account: str) -> None:
        self._account = account

    def read(self, name: str) -> LogReading:
        # No database connection is held while the exchange is asked.
        with create_session() as session:
            return VariableSpendingLog(self._account, DatabaseVariables(session)).read(name)

    def write(self, name: str, document: dict[str, Any], pages: tuple[Page, ...]) -> None:
        raise NotImplementedError

    def finish(self, name: str, pages: tuple[Page, ...]) -> None:
        raise NotImplementedError
