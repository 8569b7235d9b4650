"""The provider's plugin. Airflow loads it in all of its processes, so nothing here may be slow to import."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_whitebit.plugins import deliveries


class WhiteBitPlugin(AirflowPlugin):
    """Notes which events have been delivered."""

    name = "whitebit"
    listeners = [deliveries]  # noqa: RUF012 - Airflow reads a list from the class
