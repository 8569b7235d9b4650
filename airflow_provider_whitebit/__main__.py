"""The commands of ``airflow whitebit`` on every version of Airflow: ``python -m airflow_provider_whitebit``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from airflow_provider_whitebit import cli


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. It ends the process with a status other than 0 if it fails.

    :param arguments: by default those of the process.
    """
    from airflow.cli.cli_config import DefaultHelpParser

    parser = DefaultHelpParser(
        prog="python -m airflow_provider_whitebit",
        description="Control the moves of money that tasks make at WhiteBIT.",
    )
    _add(parser, cli.commands())
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    options.func(options)


def _add(parser: argparse.ArgumentParser, commands: Iterable[Any]) -> None:
    """Add commands, as Airflow does for its own."""
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in commands:
        added = parsers.add_parser(command.name, help=command.help, description=command.description or command.help)
        if hasattr(command, "subcommands"):
            _add(added, command.subcommands)
            continue
        for argument in command.args:
            argument.add_to_parser(added)
        added.set_defaults(func=command.func)


if __name__ == "__main__":
    main()
