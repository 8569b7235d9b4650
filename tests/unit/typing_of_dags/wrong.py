"""A DAG in which type checkers must find each line that is marked as wrong, and nothing else."""

from __future__ import annotations

from airflow.sdk import DAG

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
from airflow_provider_whitebit.operators.journal_entries import WhiteBitJournalEntriesOperator
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
)
from airflow_provider_whitebit.triggers.events import WhiteBitBalanceTrigger, WhiteBitFlexEarningTrigger

with DAG("wrong"):
    # A misspelt keyword.
    WhiteBitFlexInvestOperator(task_id="1", tikcer="USDT", amount="1")  # wrong
    WhiteBitFlexPlansOperator(task_id="2", tikcer="USDT")  # wrong
    WhiteBitFlexInvestmentsOperator(task_id="3", investment="i")  # wrong
    WhiteBitFlexHistoryOperator(task_id="4", action_type="invest")  # wrong
    WhiteBitFlexPaymentsOperator(task_id="5", tikcer="USDT")  # wrong
    WhiteBitFixedPlansOperator(task_id="6", tikcer="USDT")  # wrong
    WhiteBitFixedInvestmentsOperator(task_id="7", status="active")  # wrong
    WhiteBitFixedPaymentsOperator(task_id="8", tikcer="USDT")  # wrong
    WhiteBitFlexStatementOperator(task_id="9", ticker="USDT")  # wrong
    WhiteBitBalanceOperator(task_id="10", tikcer="USDT")  # wrong
    WhiteBitSweepOperator(task_id="11", policy={}, dryrun=True)  # wrong
    WhiteBitFlexCloseOperator(task_id="12", ticker="USDT", dryrun=True)  # wrong
    WhiteBitTransferOperator(task_id="13", ticker="A", amount=1, source="main", target="spot", dryrun=True)  # wrong
    WhiteBitFlexEarningSensor(task_id="14", tikcer="USDT")  # wrong
    WhiteBitFixedMaturitySensor(task_id="15", investment="i")  # wrong
    WhiteBitBalanceSensor(task_id="16", ticker="USDT", at_least=1, poke_intervall=5)  # wrong
    WhiteBitFlexEarningTrigger(tikcer="USDT")  # wrong
    # A float as an amount.
    WhiteBitFlexInvestOperator(task_id="17", ticker="USDT", amount=1.5)  # wrong
    WhiteBitFlexWithdrawOperator(task_id="18", ticker="USDT", amount=1.5)  # wrong
    WhiteBitFixedInvestOperator(task_id="19", ticker="USDT", amount=1.5)  # wrong
    WhiteBitTransferOperator(task_id="20", ticker="A", amount=1.5, source="main", target="spot")  # wrong
    WhiteBitRaiseLiquidityOperator(task_id="21", ticker="USDT", amount=1.5)  # wrong
    WhiteBitBalanceSensor(task_id="22", ticker="USDT", at_least=1.5)  # wrong
    WhiteBitBalanceTrigger(ticker="USDT", at_least=1.5)  # wrong
    # Other wrong types.
    WhiteBitFlexHistoryOperator(task_id="34", output_path=5)  # wrong
    WhiteBitSweepOperator(task_id="35", policy=5)  # wrong
    WhiteBitFlexStatementOperator(task_id="36", output_path=object())  # wrong
    WhiteBitFlexInvestmentSensor(task_id="37", ticker="USDT", invested_at_least=1.5)  # wrong
    WhiteBitFlexEarningSensor(task_id="38", deferrable="later")  # wrong
    WhiteBitFlexInvestOperator(task_id="23", ticker="USDT", amount=1, dry_run=object())  # wrong
    WhiteBitRebalanceOperator(task_id="24", policy={}, dry_run=object())  # wrong
    WhiteBitFlexAutoReinvestOperator(task_id="25", ticker="USDT", enabled=object())  # wrong
    WhiteBitFlexInvestOperator(task_id="26", ticker="USDT", amount=1, deferrable="later")  # wrong
    WhiteBitFixedCloseOperator(task_id="27", ticker="USDT", deferrable="later")  # wrong
    WhiteBitFlexInvestmentSensor(task_id="28", ticker="USDT", deferrable="later")  # wrong
    WhiteBitRaiseLiquidityOperator(task_id="29", ticker="USDT", amount=1, deferrable="later")  # wrong
    WhiteBitFlexInvestmentSensor(task_id="30", ticker="USDT", status=None)  # wrong
    # Parameters of Airflow's own, and missing ones.
    WhiteBitFlexPlansOperator(task_id="31", retries="many")  # wrong
    WhiteBitFlexPlansOperator()  # wrong
    WhiteBitFlexInvestOperator(task_id="32", ticker="USDT")  # wrong
    WhiteBitValuationOperator(task_id="39")  # wrong
    WhiteBitJournalEntriesOperator(task_id="41")  # wrong
    WhiteBitJournalEntriesOperator(task_id="42", output_path="books", prices={"USDT": 0.92})  # wrong
    WhiteBitValuationOperator(task_id="40", value_in="USDT", ticker="BTC")  # wrong
    WhiteBitBalanceSensor(task_id="33", ticker="USDT", at_least=1, timeout="long")  # wrong
