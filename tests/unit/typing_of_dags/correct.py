"""DAGs in which type checkers must find nothing: templates, XComArgs, exact amounts and Airflow's own parameters."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG, Asset, AssetWatcher, ObjectStoragePath, TriggerRule, task

from airflow_provider_whitebit.client.models import FlexActionType, InvestmentStatus
from airflow_provider_whitebit.operators.account import (
    WhiteBitBalanceOperator,
    WhiteBitMainHistoryOperator,
    WhiteBitTransferOperator,
)
from airflow_provider_whitebit.operators.approval import WhiteBitApprovalOperator, WhiteBitApprovedPlanOperator
from airflow_provider_whitebit.operators.digest import WhiteBitDigestOperator
from airflow_provider_whitebit.operators.doubts import WhiteBitDoubtOperator
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
from airflow_provider_whitebit.operators.forecast import WhiteBitForecastOperator
from airflow_provider_whitebit.operators.journal_entries import WhiteBitJournalEntriesOperator
from airflow_provider_whitebit.operators.retries import WhiteBitRetryPolicy
from airflow_provider_whitebit.operators.sub_accounts import (
    WhiteBitSubAccountBalancesOperator,
    WhiteBitSubAccountsOperator,
    WhiteBitSubAccountTransferOperator,
    WhiteBitSubAccountTransfersOperator,
)
from airflow_provider_whitebit.operators.treasury import (
    WhiteBitFlexStatementOperator,
    WhiteBitRaiseLiquidityOperator,
    WhiteBitRebalanceOperator,
    WhiteBitSweepOperator,
)
from airflow_provider_whitebit.operators.valuation import WhiteBitValuationOperator
from airflow_provider_whitebit.sensors.whitebit import (
    WhiteBitBalanceSensor,
    WhiteBitFixedMaturitySensor,
    WhiteBitFlexEarningSensor,
    WhiteBitFlexInvestmentSensor,
    WhiteBitPlanSensor,
    WhiteBitPlatformSensor,
    WhiteBitRateSensor,
)
from airflow_provider_whitebit.triggers.events import (
    WhiteBitBalanceTrigger,
    WhiteBitFixedMaturityTrigger,
    WhiteBitFlexClosedTrigger,
    WhiteBitFlexEarningTrigger,
    WhiteBitPlanTrigger,
    WhiteBitRateTrigger,
)

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
POLICY = {"USDT": {"reserve": "100", "plans": {"max_share": "0.5"}}}
POOL: dict[str, Any] = {"pool": "whitebit", "retries": 3}


@task
def choose_plan() -> str:
    return PLAN


@task
def choose_amount() -> str:
    return "5"


with DAG("correct", default_args={"retries": 2}) as dag:
    plans = WhiteBitFlexPlansOperator(task_id="plans", ticker="{{ params.ticker }}", limit="{{ params.limit }}", **POOL)
    invest = WhiteBitFlexInvestOperator(
        task_id="invest",
        plan_id=choose_plan(),
        amount=choose_amount(),
        with_reinvest="{{ params.with_reinvest }}",
        dry_run="{{ params.dry_run }}",
        deferrable=True,
        whitebit_conn_id="desk",
        retries=5,
        retry_delay=timedelta(minutes=1),
        retry_policy=WhiteBitRetryPolicy(),
        trigger_rule=TriggerRule.NONE_FAILED,
        outlets=[Asset("mine")],
        on_failure_callback=lambda context: None,
        doc_md="text",
    )
    WhiteBitFlexInvestOperator(task_id="decimal", ticker="USDT", amount=Decimal("1.5"), dry_run=True)
    WhiteBitFlexInvestOperator(task_id="int", ticker="USDT", amount=100, deferrable=None)
    WhiteBitFlexInvestOperator.partial(task_id="mapped", ticker="USDT", retries=1).expand(amount=["10", "20"])
    WhiteBitFlexInvestOperator.partial(task_id="kwargs").expand_kwargs(plans.output)
    withdraw = WhiteBitFlexWithdrawOperator(
        task_id="withdraw", plan_id=invest.output["plan_id"], amount=invest.output["amount"]
    )
    close = WhiteBitFlexCloseOperator(task_id="close", ticker=invest.output["ticker"])
    WhiteBitFlexAutoReinvestOperator(task_id="switch", plan_id=invest.output["plan_id"], enabled="{{ params.enabled }}")
    WhiteBitFlexInvestmentsOperator(task_id="status", plan_id=invest.output["plan_id"], investment_status="active")
    WhiteBitFlexInvestmentsOperator(task_id="closed", investment_status=InvestmentStatus.CLOSED, investment_id="i")
    WhiteBitFlexInvestmentsOperator(task_id="number", investment_status=1)
    WhiteBitFlexHistoryOperator(
        task_id="history",
        action_types=["invest", 3, FlexActionType.CLOSE_INVESTMENT],
        date_from=datetime(2026, 1, 1, tzinfo=UTC),
        date_to=1767312000,
        output_path="s3://bucket/{{ ds }}.parquet",
        output_conn_id="storage",
    )
    WhiteBitFlexHistoryOperator(task_id="path", output_path=Path("{{ ds }}.csv"))
    WhiteBitFlexPaymentsOperator(task_id="object", output_path=ObjectStoragePath("s3://bucket/x.csv"))
    WhiteBitFlexStatementOperator(task_id="page", output_path=Path("statements"))
    WhiteBitSweepOperator(task_id="file", policy=Path("policy.yaml"))
    WhiteBitRaiseLiquidityOperator(task_id="desk", ticker="USDT", amount=1, policy=ObjectStoragePath("s3://b/p.yaml"))
    WhiteBitFlexHistoryOperator(task_id="text", action_types="invest, open", limit=5)
    WhiteBitFlexPaymentsOperator(task_id="payments", date_from="{{ data_interval_start }}", transaction="t")
    WhiteBitFixedPlansOperator(task_id="fixed_plans")
    fixed = WhiteBitFixedInvestOperator(task_id="fixed", ticker="USDC", days="{{ params.days }}", amount="5")
    WhiteBitFixedInvestmentsOperator(task_id="fixed_status", investment_id=fixed.output["investment_id"])
    WhiteBitFixedPaymentsOperator(task_id="fixed_payments", plan_id=fixed.output["plan_id"], limit=10)
    WhiteBitFixedCloseOperator(task_id="fixed_close", investment_id=fixed.output["investment_id"])
    balance = WhiteBitBalanceOperator(task_id="balance", account="spot", ticker="USDT")
    WhiteBitTransferOperator(
        task_id="transfer", ticker="USDT", amount=balance.output["USDT"], source="spot", target="main"
    )
    WhiteBitMainHistoryOperator(task_id="main", kind="deposit", output_path="{{ ds }}.csv")
    subs = WhiteBitSubAccountsOperator(task_id="subs", search="desk")
    allowance = WhiteBitSubAccountTransferOperator(
        task_id="allowance",
        sub_account_id="{{ params.sub }}",
        direction="main_to_sub",
        ticker="USDT",
        amount=Decimal(5),
    )
    WhiteBitSubAccountBalancesOperator(task_id="held", sub_account_id=allowance.output["sub_account_id"], ticker="USDT")
    WhiteBitSubAccountTransfersOperator(task_id="paid", sub_account_id="x", direction=allowance.output["direction"])
    WhiteBitSweepOperator(task_id="sweep", policy=POLICY)
    plan = WhiteBitRebalanceOperator(task_id="plan", policy="{{ params.policy | tojson }}", dry_run=True)
    WhiteBitRebalanceOperator(task_id="carry_out", policy="policy.yaml", approved_plan=plan.output)
    first = WhiteBitApprovalOperator(
        task_id="first",
        plan=plan.output,
        above={"USDT": "1000", "BTC": Decimal(1)},
        assigned_users=["alice", {"id": "7", "name": "Bob"}],
        response_timeout=timedelta(hours=8),
        fields={"why": ""},
    )
    second = WhiteBitApprovalOperator(task_id="second", plan=first.output, above="{{ params.above }}", retries=2)
    execute = WhiteBitApprovedPlanOperator(task_id="execute", approved_plan=second.output, deferrable=True)
    execute >> WhiteBitDoubtOperator(task_id="doubt", assigned_users=["alice"], task_ids=["execute"])
    WhiteBitRaiseLiquidityOperator(
        task_id="raise", ticker="USDT", amount=Decimal(5), target="spot", policy=POLICY, accept_less="{{ x }}"
    )
    WhiteBitJournalEntriesOperator(
        task_id="books",
        output_path=Path("books"),
        formats="beancount, xero",
        prices={"USDT": "0.92"},
        start=date(2026, 1, 1),
    )
    WhiteBitFlexStatementOperator(
        task_id="statement", tickers=["USDT"], start=date(2026, 1, 1), end="2026-02-01", full_history=False
    )
    WhiteBitDigestOperator(task_id="digest", notifiers=[SmtpNotifier(to="a@example.com")], period="week")
    WhiteBitForecastOperator(task_id="forecast", until=date(2027, 1, 1), policy=POLICY, output_path=Path("forecasts"))
    WhiteBitValuationOperator(task_id="worth", value_in="EUR", tickers="USDT, BTC", output_path=Path("worth.json"))
    WhiteBitBalanceSensor(task_id="rich", ticker="USDT", at_least=100, timeout=3600, poke_interval=60, deferrable=True)
    WhiteBitFlexInvestmentSensor(task_id="is_active", plan_id=invest.output["plan_id"], status="active", soft_fail=True)
    WhiteBitFlexEarningSensor(task_id="earned", since="{{ data_interval_start }}", mode="reschedule")
    WhiteBitFixedMaturitySensor(task_id="matured", investment_id=fixed.output["investment_id"])
    WhiteBitPlatformSensor(task_id="operational", mode="reschedule")
    WhiteBitRateSensor(task_id="pays", ticker="USDT", above="0.05", deferrable=True)
    WhiteBitRateSensor(task_id="other", ticker="USDT", changed_by=Decimal("0.01"), changed_from="{{ var.value.rate }}")
    WhiteBitPlanSensor(task_id="offered", product="fixed", plan_id=PLAN, state="open", admits="100")
    plans >> invest
    invest >> [withdraw, close]

asset = Asset(
    "watched",
    watchers=[
        AssetWatcher(name="1", trigger=WhiteBitFlexEarningTrigger(poke_interval=30, since="2026-01-01T00:00:00Z")),
        AssetWatcher(name="2", trigger=WhiteBitFlexClosedTrigger(ticker="USDT", whitebit_conn_id="desk")),
        AssetWatcher(name="3", trigger=WhiteBitFixedMaturityTrigger(plan_id=PLAN)),
        AssetWatcher(name="4", trigger=WhiteBitBalanceTrigger(ticker="USDT", at_least=Decimal("0.1"), at_most="5")),
        AssetWatcher(name="5", trigger=WhiteBitRateTrigger(ticker="USDT", changed_by=Decimal("0.01"))),
        AssetWatcher(name="6", trigger=WhiteBitPlanTrigger(product="fixed", changes=["new", "paused"])),
    ],
)
