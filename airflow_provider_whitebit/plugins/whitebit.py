"""The provider's plugin. Airflow loads it in all of its processes, so nothing here may be slow to import.

It is an entry point of the distribution: plugins that stand in the provider's information alone are not loaded by
schedulers and triggerers, where providers are looked at lazily.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_whitebit.plugins import deliveries

log = logging.getLogger(__name__)

_HERE = "whitebit"
#: Airflow 3.0 shows no pages of plugins, and takes no cookie for a login.
HAS_PAGES = hasattr(AirflowPlugin, "external_views")


class WhiteBitPlugin(AirflowPlugin):
    """Notes which events have been delivered, and adds the Treasury page to Airflow's navigation."""

    name = "whitebit"
    listeners = [deliveries]  # noqa: RUF012 - Airflow reads a list from the class
    external_views = [  # noqa: RUF012
        {
            "name": "WhiteBIT Treasury",
            # Relative, so that it is found where Airflow does not lie at the root of its host.
            "href": f"{_HERE}/treasury",
            "url_route": "whitebit-treasury",
            "destination": "nav",
            # No category: in the bar itself. Where there are several such pages, 3.1 makes a menu of them.
            "nav_top_level": True,
            "icon": f"{_HERE}/static/treasury/icon.svg",
        }
    ]

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The page's application. Only the API server asks for it, so only the API server imports it."""
        if not HAS_PAGES:
            return []
        try:
            from airflow_provider_whitebit.plugins.treasury_app import create_app

            return [{"name": "WhiteBIT Treasury", "app": create_app(), "url_prefix": f"/{_HERE}"}]
        except Exception:
            # A page must never keep an API server from starting.
            log.exception("The Treasury page cannot be shown")
            return []
