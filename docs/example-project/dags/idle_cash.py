"""Invest every day what is idle above the reserve. On demand, raise money for the spot account."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_whitebit.operators.treasury import WhiteBitRaiseLiquidityOperator, WhiteBitRebalanceOperator

RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=30)}

with DAG("idle_cash", schedule="@daily", catchup=False, max_active_runs=1, default_args=RETRIES) as idle_cash:
    WhiteBitRebalanceOperator(task_id="rebalance", policy={"USDT": {"reserve": "4000", "min_move": "100"}})

with DAG("payday", schedule=None, params={"amount": Param("5000", type="string")}, default_args=RETRIES) as payday:
    WhiteBitRaiseLiquidityOperator(task_id="raise", ticker="USDT", amount="{{ params.amount }}", target="spot")
