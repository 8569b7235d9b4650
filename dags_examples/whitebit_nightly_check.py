"""Check every night that each Flex move in the exchange's history has a receipt. If one has not, send a mail.

Each move of this package is an event of the asset ``whitebit://<connection>/moves``, with its receipt. Any other move
in the history was made by hand or by other software, or its task is in doubt. In each case a person must check.
Mails are sent by Airflow's own notifier with the connection ``smtp_default``. If the exchange is in maintenance, the
check waits for its end.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.exceptions import AirflowFailException
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG, AssetAlias, Param, task

from airflow_provider_whitebit.notifications.texts import FAILURE_HTML, FAILURE_SUBJECT
from airflow_provider_whitebit.operators.flex import WhiteBitFlexHistoryOperator
from airflow_provider_whitebit.sensors.whitebit import WhiteBitPlatformSensor

# All events of moves come through this alias. With the asset itself, the task would fail on Airflow 3.0, which regards
# an asset that is only read as unused.
MOVES = AssetAlias("whitebit_moves")
OF_CONNECTION = "whitebit://whitebit_default/moves"

with DAG(
    "whitebit_nightly_check",
    description="The exchange's history against the receipts",
    doc_md=__doc__,
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
    # [START platform]
    operational = WhiteBitPlatformSensor(
        task_id="exchange_is_operational", deferrable=True, poke_interval=30, timeout=4 * 3600
    )
    # [END platform]
    history = WhiteBitFlexHistoryOperator(
        task_id="history",
        # Two days, so that a night whose run failed is checked again.
        date_from="{{ params.since or (dag_run.run_after - macros.timedelta(days=2)).isoformat() }}",
        # The exchange may record the last minutes later.
        date_to="{{ params.until or (dag_run.run_after - macros.timedelta(minutes=15)).isoformat() }}",
        action_types=["invest", "withdraw", "close", "open"],
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
    def compare(history: Any, inlet_events: Any = None) -> None:
        events = [event for event in inlet_events[MOVES] if event.asset.uri == OF_CONNECTION]
        known = {event.extra.get("transaction_id") for event in events}
        unknown = [entry for entry in history if entry["transaction_id"] not in known]
        if unknown:
            lines = [f"{entry['created_at']} {entry['amount']} {entry['currency']} {entry}" for entry in unknown]
            raise AirflowFailException("Moves without a receipt:\n" + "\n".join(lines))

    operational >> history
    compare(history.output)
