"""Apache Airflow provider for WhiteBIT crypto lending."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def get_provider_info() -> dict[str, Any]:
    """Describe this provider for Airflow. The API server imports nothing else for it."""
    from airflow_provider_whitebit.hooks.connection_form import CONNECTION_TYPE, HOOK_NAME, conn_fields, ui_behaviour
    from airflow_provider_whitebit.hooks.provider_config import provider_config

    return {
        "package-name": "airflow-provider-whitebit",
        "name": "WhiteBIT",
        "description": "WhiteBIT crypto lending: plans, investments and withdrawals that happen once.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "WhiteBIT",
                "external-doc-url": "https://docs.whitebit.com/",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {"integration-name": "WhiteBIT", "python-modules": ["airflow_provider_whitebit.hooks.whitebit"]},
        ],
        "operators": [
            {
                "integration-name": "WhiteBIT",
                "python-modules": [
                    "airflow_provider_whitebit.operators.account",
                    "airflow_provider_whitebit.operators.approval",
                    "airflow_provider_whitebit.operators.digest",
                    "airflow_provider_whitebit.operators.doubts",
                    "airflow_provider_whitebit.operators.fixed",
                    "airflow_provider_whitebit.operators.flex",
                    "airflow_provider_whitebit.operators.journal_entries",
                    "airflow_provider_whitebit.operators.forecast",
                    "airflow_provider_whitebit.operators.sub_accounts",
                    "airflow_provider_whitebit.operators.treasury",
                    "airflow_provider_whitebit.operators.valuation",
                ],
            }
        ],
        "sensors": [
            {"integration-name": "WhiteBIT", "python-modules": ["airflow_provider_whitebit.sensors.whitebit"]},
        ],
        "triggers": [
            {
                "integration-name": "WhiteBIT",
                "python-modules": [
                    "airflow_provider_whitebit.triggers.events",
                    "airflow_provider_whitebit.triggers.reconcile",
                    "airflow_provider_whitebit.triggers.watch",
                ],
            },
        ],
        "asset-uris": [
            {
                "schemes": ["whitebit"],
                "handler": "airflow_provider_whitebit.hooks.assets.sanitize_uri",
                "factory": "airflow_provider_whitebit.hooks.assets.create_asset",
                "to_openlineage_converter": "airflow_provider_whitebit.hooks.assets.convert_to_openlineage",
            }
        ],
        "extra-links": ["airflow_provider_whitebit.operators.links.WhiteBitLendingLink"],
        "config": provider_config(),
        # Airflow 3.2 and later. Before: python -m airflow_provider_whitebit.
        "cli": ["airflow_provider_whitebit.cli.get_cli_commands"],
        "connection-types": [
            {
                "connection-type": CONNECTION_TYPE,
                "hook-class-name": "airflow_provider_whitebit.hooks.whitebit.WhiteBitHook",
                "hook-name": HOOK_NAME,
                "conn-fields": conn_fields(),
                "ui-field-behaviour": ui_behaviour(),
            }
        ],
    }
