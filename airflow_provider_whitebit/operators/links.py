"""Links of operators to the exchange, shown in Airflow's task pages."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink


class WhiteBitLendingLink(BaseOperatorLink):
    """To the exchange's lending page, on the site of the connection's region; with a sandbox, to its books.

    The vendor documents no address of a single plan or transaction, so the link leads to the page of all of them.
    """

    name = "WhiteBIT lending"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address; empty where the connection cannot be read.

        :param operator: the task.
        :param ti_key: not needed.
        """
        try:
            return str(operator.hook.site)
        except Exception:
            # A link must never fail a task that has moved money.
            return ""
