"""Every Flex operator once, on a real Airflow."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG, Asset, task

from airflow_provider_whitebit.notifications.texts import FAILURE_HTML, FAILURE_SUBJECT, RECEIPT_HTML, RECEIPT_SUBJECT
from airflow_provider_whitebit.operators.account import WhiteBitBalanceOperator, WhiteBitTransferOperator
from airflow_provider_whitebit.operators.fixed import (
    WhiteBitFixedCloseOperator,
    WhiteBitFixedInvestmentsOperator,
    WhiteBitFixedInvestOperator,
    WhiteBitFixedPaymentsOperator,
    WhiteBitFixedPlansOperator,
)
from airflow_provider_whitebit.operators.flex import (
    WhiteBitFlexAutoReinvestOperator,
    WhiteBitFlexCloseOperator,
    WhiteBitFlexHistoryOperator,
    WhiteBitFlexInvestmentsOperator,
    WhiteBitFlexInvestOperator,
    WhiteBitFlexPaymentsOperator,
    WhiteBitFlexPlansOperator,
    WhiteBitFlexWithdrawOperator,
)
from airflow_provider_whitebit.sensors.whitebit import WhiteBitBalanceSensor, WhiteBitFlexInvestmentSensor

with DAG("whitebit_e2e_all", schedule=None, default_args={"retries": 1, "retry_delay": timedelta(seconds=2)}):
    plans = WhiteBitFlexPlansOperator(task_id="plans", ticker="{{ 'btc' }}")
    planned = WhiteBitFlexInvestOperator(
        task_id="planned", ticker="BTC", amount="{{ '0.' ~ '5' }}", dry_run="{{ 'true' }}"
    )
    invest = WhiteBitFlexInvestOperator(
        task_id="invest",
        plan_id="{{ ti.xcom_pull(task_ids='plans')[0]['id'] }}",
        amount="0.5",
        with_reinvest="{{ 'True' }}",
    )
    again = WhiteBitFlexInvestOperator(task_id="again", ticker="BTC", amount="0.25")
    reinvest = WhiteBitFlexAutoReinvestOperator(task_id="reinvest", ticker="BTC", enabled="false")
    partly = WhiteBitFlexWithdrawOperator(task_id="partly", ticker="BTC", amount="0.2")
    investments = WhiteBitFlexInvestmentsOperator(task_id="investments", ticker="BTC", investment_status="1")
    close = WhiteBitFlexCloseOperator(task_id="close", plan_id=invest.output["plan_id"])
    history = WhiteBitFlexHistoryOperator(
        task_id="history",
        plan_id=invest.output["plan_id"],
        action_types=[1, 3, 5, 6],
        date_from="{{ dag_run.start_date.isoformat() }}",
    )
    payments = WhiteBitFlexPaymentsOperator(task_id="payments", limit="5")
    balance = WhiteBitBalanceOperator(task_id="balance")
    plans >> planned >> invest >> again >> reinvest >> partly >> investments >> close >> history >> payments >> balance

with DAG("whitebit_e2e_refused", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(seconds=1)}):
    # Far more than there is: refused by the exchange, and no retry can help.
    WhiteBitFlexInvestOperator(task_id="too_much", ticker="ETH", amount="99")

with DAG("whitebit_e2e_deferred", schedule=None):
    WhiteBitFlexInvestOperator(task_id="invest", ticker="EURI", amount="12.5", deferrable=True)

with DAG("whitebit_e2e_fixed", schedule=None, default_args={"retries": 1, "retry_delay": timedelta(seconds=2)}):
    terms = WhiteBitFixedPlansOperator(task_id="terms", ticker="BTC")
    lend = WhiteBitFixedInvestOperator(task_id="lend", ticker="BTC", amount="0.125", days="{{ 30 }}")
    running = WhiteBitFixedInvestmentsOperator(task_id="running", investment_id=lend.output["investment_id"])
    end = WhiteBitFixedCloseOperator(task_id="end", investment_id=lend.output["investment_id"])
    interest = WhiteBitFixedPaymentsOperator(task_id="interest", ticker="USDT")
    out = WhiteBitTransferOperator(task_id="out", ticker="ETH", amount="1.5", source="main", target="{{ 'spot' }}")
    through = WhiteBitTransferOperator(
        task_id="through", ticker="ETH", amount="all", source="spot", target="collateral"
    )
    held = WhiteBitBalanceOperator(task_id="held", account="collateral", ticker="ETH")
    home = WhiteBitTransferOperator(
        task_id="home", ticker="ETH", amount="1.5", source="collateral", target="main", deferrable=True
    )
    export = WhiteBitFlexHistoryOperator(
        task_id="export", output_path="file://{{ var.value.get('whitebit_e2e_folder', '/nowhere') }}/flex.parquet"
    )
    terms >> lend >> running >> end >> interest >> out >> through >> held >> home >> export

with DAG("whitebit_e2e_wait", schedule=None):
    # Each of them waits in the triggerer; together they ask one question.
    WhiteBitBalanceSensor.partial(task_id="rich", ticker="USDC", deferrable=True, poke_interval=2, timeout=300).expand(
        at_least=["6000", "6001", "6002"]
    )
    WhiteBitBalanceSensor(
        task_id="never", ticker="USDC", at_least="999999", deferrable=True, poke_interval=2, timeout=5, soft_fail=True
    )
    WhiteBitFlexInvestmentSensor(task_id="none", ticker="USDC", poke_interval=1, timeout=2, soft_fail=True)

with DAG("whitebit_e2e_program", schedule=None):

    @task.external_python(python=sys.executable)
    def elsewhere():
        from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

        # It may read; a move would have no journal that a retry could find.
        assert WhiteBitHook().get_conn().main_balance("BTC")
        WhiteBitHook().flex_invest(ticker="BTC", amount="0.5")

    elsewhere()

with DAG(
    "whitebit_e2e_date",
    schedule="0 0 1 1 *",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    end_date=datetime(2025, 12, 31, tzinfo=UTC),
    catchup=True,
    # Airflow makes its only run when the test begins.
    is_paused_upon_creation=True,
):
    WhiteBitTransferOperator(task_id="transfer", ticker="USDT", amount="1", source="main", target="spot")

NOTICE = {"to": "treasury@example.com", "from_email": "airflow@example.com"}

with DAG("whitebit_e2e_announced", schedule=None):
    # A mapped task, one by one: receipts, notices, events and links.
    lent = WhiteBitFlexInvestOperator.partial(
        task_id="invest",
        ticker="ETH",
        max_active_tis_per_dag=1,
        on_success_callback=SmtpNotifier(**NOTICE, subject=RECEIPT_SUBJECT, html_content=RECEIPT_HTML),
    ).expand(amount=["0.11", "0.12"])
    planned = WhiteBitFlexInvestOperator(task_id="planned", ticker="ETH", amount="0.13", dry_run=True)
    refused = WhiteBitFlexInvestOperator(
        task_id="refused",
        ticker="ETH",
        amount="123456789",
        on_failure_callback=SmtpNotifier(**NOTICE, subject=FAILURE_SUBJECT, html_content=FAILURE_HTML),
    )
    lent >> planned >> refused

ETH = Asset("whitebit://whitebit_default/flex/ETH")

with DAG("whitebit_e2e_books", schedule=[ETH], catchup=False):

    @task
    def book(triggering_asset_events=None):
        # By its asset: each event is listed once more under the alias that it came through.
        return [event.extra for event in triggering_asset_events[ETH]]

    book()
