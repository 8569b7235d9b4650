"""Links from Airflow's task pages to the exchange."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink


class WhiteBitLendingLink(BaseOperatorLink):
    """Leads to the exchange's lending page in the connection's region; with a sandbox, to its ledger.

    The vendor documents no address of a single plan or transaction, so the link leads to the page of all of them.
    """

    name = "WhiteBIT lending"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address; empty if the connection cannot be read.

        :param operator: the task.
        :param ti_key: not used.
        """
        try:
            return str(operator.hook.lending_url)
        except Exception:
            # A link must never fail a task that has moved money.
            return ""
