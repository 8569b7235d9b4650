"""The provider's plugin. Airflow loads it in all of its processes, so nothing here may be slow to import.

It is an entry point of the distribution: plugins that stand in the provider's information alone are not loaded by
schedulers and triggerers, where providers are looked at lazily.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_whitebit.plugins import deliveries


class WhiteBitPlugin(AirflowPlugin):
    """Notes which events have been delivered."""

    name = "whitebit"
    listeners = [deliveries]  # noqa: RUF012 - Airflow reads a list from the class
