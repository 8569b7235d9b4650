"""Write a month's records to files: Flex history and earnings, Main, a checked statement, a forecast.

It runs on the second day of each month, for the month before. It only reads. The folder is any path of Airflow's
``ObjectStoragePath``, for example ``s3://bucket/whitebit``.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.account import WhiteBitMainHistoryOperator
from airflow_provider_whitebit.operators.fixed import WhiteBitFixedPaymentsOperator
from airflow_provider_whitebit.operators.flex import WhiteBitFlexHistoryOperator, WhiteBitFlexPaymentsOperator
from airflow_provider_whitebit.operators.forecast import WhiteBitForecastOperator
from airflow_provider_whitebit.operators.treasury import WhiteBitFlexStatementOperator
from airflow_provider_whitebit.operators.valuation import WhiteBitValuationOperator

END = "{{ dag_run.run_after.replace(day=1, hour=0, minute=0, second=0, microsecond=0).isoformat() }}"
START = (
    "{{ (dag_run.run_after.replace(day=1, hour=0, minute=0, second=0, microsecond=0) - macros.timedelta(days=1))"
    ".replace(day=1).isoformat() }}"
)
# What is credited at midnight belongs to the day that begins, and date_to is included.
LAST = (
    "{{ (dag_run.run_after.replace(day=1, hour=0, minute=0, second=0, microsecond=0) - macros.timedelta(seconds=1))"
    ".isoformat() }}"
)
FOLDER = "{{ params.folder }}/{{ dag_run.run_after | ds }}"

with DAG(
    "whitebit_reports",
    description="A month's records as files",
    doc_md=__doc__,
    schedule="0 6 2 * *",
    catchup=False,
    is_paused_upon_creation=True,
    params={"folder": Param("file:///tmp/whitebit", type="string"), "value_in": Param("USDT", type="string")},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["whitebit"],
):
    # [START flex_history]
    WhiteBitFlexHistoryOperator(
        task_id="flex_history", date_from=START, date_to=LAST, output_path=FOLDER + "/flex_history.csv"
    )
    # [END flex_history]
    # [START flex_payments]
    WhiteBitFlexPaymentsOperator(
        task_id="flex_earnings", date_from=START, date_to=LAST, output_path=FOLDER + "/flex_earnings.csv"
    )
    # [END flex_payments]
    # [START fixed_payments]
    WhiteBitFixedPaymentsOperator(task_id="fixed_interest")
    # [END fixed_payments]
    # [START main_history]
    WhiteBitMainHistoryOperator(
        task_id="main_history", date_from=START, date_to=LAST, output_path=FOLDER + "/main_history.csv"
    )
    # [END main_history]
    # [START statement]
    WhiteBitFlexStatementOperator(task_id="statement", start=START, end=END, output_path=FOLDER + "/statement")
    # [END statement]
    # [START valuation]
    WhiteBitValuationOperator(
        task_id="valuation", value_in="{{ params.value_in }}", output_path=FOLDER + "/valuation.json"
    )
    # [END valuation]
    # [START forecast]
    WhiteBitForecastOperator(task_id="forecast", days=90, output_path=FOLDER + "/forecast.json")
    # [END forecast]
