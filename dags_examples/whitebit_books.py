"""The books of each month: double entries for every move and earning, checked against the exchange.

On the second day of a month, the entries of the month before are written as text for Beancount and hledger. The task
fails, and writes nothing, if what it reads does not add up, or if the month was written differently before. Map your
own accounts with the parameter ``accounts``. For Xero and QuickBooks Online see ``docs/journal-entries.md``.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.journal_entries import WhiteBitJournalEntriesOperator
from airflow_provider_whitebit.sensors.whitebit import WhiteBitPlatformSensor

with DAG(
    "whitebit_books",
    description="Double entries of the month before",
    doc_md=__doc__,
    schedule="30 3 2 * *",
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    params={
        "folder": Param(
            "file:///tmp/whitebit-books", type="string", description="any object storage that Airflow reaches"
        ),
        "accounts": Param({"main": "Assets:WhiteBIT:Main"}, type="object", description="role to account"),
    },
    default_args={"retries": 3, "retry_delay": timedelta(hours=1)},
    tags=["whitebit"],
):
    operational = WhiteBitPlatformSensor(
        task_id="exchange_is_operational", deferrable=True, poke_interval=60, timeout=12 * 3600
    )
    # [START books]
    books = WhiteBitJournalEntriesOperator(
        task_id="books",
        output_path="{{ params.folder }}",
        formats=["beancount", "hledger"],
        accounts="{{ params.accounts | tojson }}",
        # Not the data interval, which is a moment for runs by hand: the calendar month before the run.
        start="{{ (dag_run.run_after.replace(day=1) - macros.timedelta(days=1)).replace(day=1).strftime('%Y-%m-%d') }}",
        end="{{ dag_run.run_after.replace(day=1).strftime('%Y-%m-%d') }}",
    )
    # [END books]
    operational >> books
