"""The provider's section of Airflow's configuration. Imports nothing: Airflow reads it with the provider's info."""

from __future__ import annotations

from typing import Any

SECTION = "whitebit"
READ_ONLY = "read_only"

OPTIONS: dict[str, dict[str, Any]] = {
    READ_ONLY: {
        "description": "Refuse every move of money of every connection, before anything is sent. A task reads it when "
        "its process starts. To stop moves at once, also those of running tasks: airflow whitebit stop.",
        "version_added": "0.1.0",
        "type": "boolean",
        "example": "True",
        "default": "False",
    }
}


def provider_config() -> dict[str, Any]:
    """Return the section as Airflow reads it from the provider's info."""
    return {SECTION: {"description": "WhiteBIT crypto lending.", "options": OPTIONS}}
