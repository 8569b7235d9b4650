"""Every night: does the exchange know of a Flex move that no receipt speaks of? If so, somebody is told.

Each move that this package makes is an event of the asset ``whitebit://<connection>/moves``, with its receipt. What
stands in the exchange's history besides is a move that was made by hand or by other software, or one whose task is in
doubt: both want a person. Notices go by mail, through Airflow's own notifier and the connection ``smtp_default``.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.exceptions import AirflowFailException
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG, AssetAlias, Param, task

from airflow_provider_whitebit.notifications.texts import FAILURE_HTML, FAILURE_SUBJECT
from airflow_provider_whitebit.operators.flex import WhiteBitFlexHistoryOperator

# All events of moves come through this alias. Airflow 3.0 takes an asset that is only read for one that nobody needs,
# and fails the task that reads it.
MOVES = AssetAlias("whitebit_moves")
OF_CONNECTION = "whitebit://whitebit_default/moves"
INVEST, WITHDRAW, CLOSE, OPEN = 1, 3, 5, 6

with DAG(
    "whitebit_nightly_check",
    description="The exchange's history against the receipts",
    schedule="15 1 * * *",
    catchup=False,
    is_paused_upon_creation=True,
    params={
        "since": Param(None, type=["null", "string"], format="date-time", description="by default two days ago"),
        "until": Param(None, type=["null", "string"], format="date-time", description="by default 15 minutes ago"),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["whitebit"],
):
    history = WhiteBitFlexHistoryOperator(
        task_id="history",
        # Two days, so that a night that failed is looked at again.
        date_from="{{ params.since or (dag_run.run_after - macros.timedelta(days=2)).isoformat() }}",
        # The last minutes may still be on their way into the books.
        date_to="{{ params.until or (dag_run.run_after - macros.timedelta(minutes=15)).isoformat() }}",
        action_types=[INVEST, WITHDRAW, CLOSE, OPEN],
    )

    @task(
        inlets=[MOVES],
        on_failure_callback=SmtpNotifier(
            to="treasury@example.com",
            from_email="airflow@example.com",
            subject=FAILURE_SUBJECT,
            html_content=FAILURE_HTML,
        ),
    )
    def compare(history, inlet_events=None):
        events = [event for event in inlet_events[MOVES] if event.asset.uri == OF_CONNECTION]
        known = {event.extra.get("transaction_id") for event in events}
        unknown = [entry for entry in history if entry["transaction_id"] not in known]
        if unknown:
            lines = [f"{entry['created_at']} {entry['amount']} {entry['currency']} {entry}" for entry in unknown]
            raise AirflowFailException("Moves without a receipt:\n" + "\n".join(lines))

    compare(history.output)
