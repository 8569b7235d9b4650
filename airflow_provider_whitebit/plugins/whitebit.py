"""The provider's plugin. Airflow loads it in all of its processes, so it must be fast to import.

It is an entry point of the distribution, because schedulers and triggerers do not load plugins that only the
provider's information names.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_whitebit.hooks import forks  # noqa: F401 - notes from here on which process a task forks
from airflow_provider_whitebit.plugins import event_dedup

log = logging.getLogger(__name__)

_PREFIX = "whitebit"
#: Airflow 3.0 shows no pages of plugins and accepts no login cookie.
HAS_PAGES = hasattr(AirflowPlugin, "external_views")


class WhiteBitPlugin(AirflowPlugin):
    """Records delivered events, and adds the Treasury page to Airflow's navigation."""

    name = "whitebit"
    listeners = [event_dedup]  # noqa: RUF012 - Airflow reads a list from the class
    external_views = [  # noqa: RUF012
        {
            "name": "Treasury",
            # Relative, so that it also works where Airflow has a path prefix.
            "href": f"{_PREFIX}/treasury",
            "url_route": "whitebit-treasury",
            "destination": "nav",
            # Without a category the entry is in the bar itself. Airflow 3.1 makes a menu of several such pages.
            "nav_top_level": True,
            "icon": f"{_PREFIX}/static/treasury/icon.svg",
        }
    ]

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The page's application. Only the API server reads this, so only the API server imports it."""
        if not HAS_PAGES:
            return []
        try:
            from airflow_provider_whitebit.plugins.treasury_app import create_app

            return [{"name": "WhiteBIT Treasury", "app": create_app(), "url_prefix": f"/{_PREFIX}"}]
        except Exception:
            # A page must never keep an API server from starting.
            log.exception("The Treasury page cannot be shown")
            return []
