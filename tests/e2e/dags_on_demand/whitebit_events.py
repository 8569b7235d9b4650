"""DAGs that the exchange starts."""

from __future__ import annotations

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_whitebit.triggers.events import (
    WhiteBitBalanceTrigger,
    WhiteBitFlexClosedTrigger,
    WhiteBitFlexEarningTrigger,
)


def watched(name, trigger):
    return Asset(f"whitebit_e2e_{name}", watchers=[AssetWatcher(name=f"{name}_watcher", trigger=trigger)])


WATCHED = [
    watched("earning", WhiteBitFlexEarningTrigger(poke_interval=1)),
    watched("closed", WhiteBitFlexClosedTrigger(ticker="SOL", poke_interval=1)),
    watched("rich", WhiteBitBalanceTrigger(ticker="ETH", at_least="1000", poke_interval=1)),
]

for asset in WATCHED:
    with DAG(asset.name, schedule=[asset], catchup=False, max_active_runs=1):

        @task
        def received(triggering_asset_events=None):
            found = [event.extra["payload"] for events in triggering_asset_events.values() for event in events]
            return sorted(one["id"] for payload in found for one in payload["occurrences"])

        received()
