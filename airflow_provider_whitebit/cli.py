"""The commands of ``airflow whitebit``, for Airflow 3.2 and later. Before: ``python -m airflow_provider_whitebit``.

Each module of :data:`GROUPS` has a function ``commands()``. It only describes commands, because Airflow calls it for
every command that anyone runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: The modules that describe commands.
GROUPS = (
    "airflow_provider_whitebit.control.commands.doubts",
    "airflow_provider_whitebit.control.commands.moves",
    "airflow_provider_whitebit.control.commands.stop",
)


def commands() -> list[Any]:
    """Return all commands, by name."""
    found = [command for module in GROUPS for command in import_module(module).commands()]
    return sorted(found, key=lambda command: str(command.name))


def get_cli_commands() -> list[Any]:
    """Return the group of commands. Airflow calls this."""
    from airflow.cli.cli_config import GroupCommand

    return [
        GroupCommand(
            name="whitebit",
            help="Control moves of money at WhiteBIT",
            description="Control the moves of money that tasks make at WhiteBIT.",
            subcommands=commands(),
        )
    ]
