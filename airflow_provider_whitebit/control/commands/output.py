"""What commands print, and how they fail."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitError

FORMATS = ("table", "json", "yaml", "csv", "plain")


def argument(*flags: str, **options: Any) -> Any:
    """Return an argument of a command.

    :param flags: its names.
    :param options: as for ``argparse``.
    """
    from airflow.cli import cli_config

    make: Any = cli_config.Arg
    return make(flags, **options)


def output_argument() -> Any:
    """Return the argument ``--output``, as in Airflow's own commands, with CSV."""
    return argument(
        "-o",
        "--output",
        help=f"Output format. Allowed values: {', '.join(FORMATS)} (default: table)",
        metavar=f"({', '.join(FORMATS)})",
        choices=FORMATS,
        default="table",
    )


def print_rows(rows: Sequence[Mapping[str, Any]], output: str, *, columns: Sequence[str] = ()) -> None:
    """Print a list of objects.

    :param rows: as plain JSON.
    :param output: one of :data:`FORMATS`.
    :param columns: what a table shows of each; by default everything.
    """
    match output:
        case "json" | "yaml":
            print_document([dict(row) for row in rows], output)
        case "csv":
            from airflow_provider_whitebit.treasury.csv_text import csv_lines, safe_text

            names = list(columns) or list(rows[0] if rows else ())
            # A number like -1 is no formula.
            cells = ([_text(row.get(name), safe_text) for name in names] for row in rows)
            print(csv_lines([names, *cells]), end="")
        case _:
            from airflow.cli.simple_table import AirflowConsole

            shown = [_in_words({name: row.get(name) for name in columns or row}) for row in rows]
            if output == "plain" and shown:
                from tabulate import tabulate  # type: ignore[import-untyped,unused-ignore]

                # Airflow's own call makes floats of amounts.
                print(tabulate(shown, headers="keys", tablefmt="plain", disable_numparse=True))
            else:
                # In texts of people and of the exchange, "[inc-12]" is no markup.
                AirflowConsole(markup=False, emoji=False).print_as(data=shown, output=output)


def print_document(document: Any, output: str) -> None:
    """Print plain JSON.

    :param output: ``json`` or ``yaml``.
    """
    if output == "json":
        print(json.dumps(document))
    else:
        from airflow.utils import yaml

        print(yaml.dump(document, sort_keys=False), end="")


def _text(value: Any, of_text: Callable[[str], str]) -> str:
    if isinstance(value, str):
        return of_text(value)
    return "" if value is None else json.dumps(value)


def _in_words(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in row.items()
    }


def command(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """Let a command end with status 1 and its error's text, without a traceback, if it cannot do what it is to do."""

    @functools.wraps(function)
    def run(options: Any) -> None:
        try:
            function(options)
        except WhiteBitError as error:
            raise SystemExit(str(error)) from None

    return run


@contextmanager
def database() -> Iterator[Any]:
    """A session of Airflow's database. Log lines go to stderr meanwhile, so that stdout holds the output alone."""
    from airflow.utils.session import create_session

    try:
        from airflow.cli.utils import redirect_stdout_log_handlers_to_stderr
    except ImportError:  # before 3.2
        pass
    else:
        redirect_stdout_log_handlers_to_stderr()
    with create_session() as session:
        yield session


def current_user() -> str:
    """Return the name of the operating system's user, as Airflow's own commands do in the audit log."""
    from airflow.utils.platform import getuser

    return str(getuser())
