"""Raise an alarm when Main runs low, or when an investment was closed.

The exchange starts this DAG. Its only task fails on purpose, so that the alarms of your Airflow see it: a callback, a
mail, a failed dag run. It moves no money.
"""

from __future__ import annotations

from typing import Any

from airflow.exceptions import AirflowFailException
from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_whitebit.triggers.events import WhiteBitBalanceTrigger, WhiteBitFlexClosedTrigger

# [START balance]
low = Asset(
    "whitebit_main_is_low",
    watchers=[
        AssetWatcher(name="whitebit_main_is_low", trigger=WhiteBitBalanceTrigger(ticker="USDT", at_most="1000")),
    ],
)
# [END balance]
# [START closed]
closed = Asset(
    "whitebit_flex_closed",
    watchers=[AssetWatcher(name="whitebit_flex_closed", trigger=WhiteBitFlexClosedTrigger(ticker="USDT"))],
)
# [END closed]

with DAG(
    "whitebit_alarms",
    description="Main is low, or an investment was closed",
    doc_md=__doc__,
    schedule=(low | closed),
    catchup=False,
    is_paused_upon_creation=True,
    tags=["whitebit"],
):
    # [START read]
    @task
    def alarm(triggering_asset_events: Any = None) -> None:
        lines = [
            f"{event.asset.name}: {occurrence['record']}"
            for events in triggering_asset_events.values()
            for event in events
            for occurrence in event.extra["payload"]["occurrences"]
        ]
        raise AirflowFailException("\n".join(lines))

    alarm()
    # [END read]
