"""``moves``: the receipts of all connections and DAGs."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.control.commands import output
from airflow_provider_whitebit.control.commands.output import argument

if TYPE_CHECKING:
    from airflow_provider_whitebit.control.moves import ValuedMoves

#: What a table shows of each move.
_COLUMNS = (
    "executed_at",
    "conn_id",
    "operation",
    "amount",
    "ticker",
    "place",
    "transaction_id",
    "dag_id",
    "task_id",
    "run_id",
    "map_index",
)
#: What a table shows of each total, beside its value.
_TOTALS = ("ticker", "amount", "price", "markets")


def commands() -> list[Any]:
    """Describe the command."""
    from airflow.cli.cli_config import ActionCommand

    time = "an ISO 8601 date or time, for example 2026-11-01 or 2026-11-01T08:00:00+01:00; UTC without an offset"
    return [
        ActionCommand(
            name="moves",
            help="List receipts of moves",
            description="List the receipts that tasks have announced as asset events, newest first, each once, with "
            "their tasks. All connections and DAGs. With --value-in also what was moved in total, and what that is "
            "worth at the exchange's last prices: those of now, not of the time of the moves.",
            func=moves,
            args=(
                argument("--since", help=f"Moved then or later: {time}", type=read_time, required=True),
                argument("--until", help="Moved before this time", type=read_time),
                argument("--conn-id", help="Only of this connection"),
                argument("-d", "--dag-id", help="Only of this DAG"),
                argument(
                    "--value-in",
                    help="Also print totals and their values in this currency, for example USDT. With csv, to stderr",
                    type=read_currency,
                ),
                output.output_argument(),
            ),
        )
    ]


@output.command
def moves(options: Any) -> None:
    """List receipts."""
    from airflow_provider_whitebit.control.moves import moves_between, value_moves

    with output.database() as session:
        try:
            found = moves_between(session, options.since, options.until, conn_id=options.conn_id, dag_id=options.dag_id)
        except ValueError as error:
            raise SystemExit(f"--conn-id: {error}") from None
    # Before Airflow 3.2, log lines would be among the output.
    with redirect_stdout(sys.stderr):
        valued = None if options.value_in is None else value_moves(found, options.value_in, options.conn_id)
    rows = [_flat(move) for move in found]
    if options.output in ("table", "plain"):
        shown = [{**row, "place": _place(move)} for row, move in zip(rows, found, strict=True)]
        output.print_rows(shown, options.output, columns=_COLUMNS)
        _print_totals(valued, options.output)
    elif options.value_in is not None and options.output != "csv":
        totals = None if valued is None else valued.to_json()
        output.print_document({"moves": rows, "totals": totals}, options.output)
    else:
        output.print_rows(rows, options.output, columns=_names())
        with redirect_stdout(sys.stderr):
            _print_totals(valued, "plain")


def _print_totals(valued: ValuedMoves | None, form: str) -> None:
    """Print what was moved in total, exactly, and what it is worth."""
    if valued is None:
        return
    from airflow_provider_whitebit.client.models import plain

    found, value = valued.valuation, f"value in {valued.valuation.value_in}"
    rows = [
        {"operation": row["figure"], **{name: row[name] for name in _TOTALS}, value: row["value"], "note": row["note"]}
        for row in (one.to_json() for one in found.rows())
    ]
    rows += [{"operation": f"{name}, all assets", value: plain(total)} for name, total in found.totals.items()]
    output.print_rows(rows, form, columns=("operation", *_TOTALS, value, "note"))
    left_out = ", ".join(dict.fromkeys(one.ticker or "an asset without a name" for one in found.left_out))
    if left_out:
        print(f"In no total: {left_out}")
    print(
        f"Amounts are exact. Values are estimates by the last prices of {valued.conn_id} at "
        f"{found.read_at.format('YYYY-MM-DD HH:mm:ss')} UTC, not of the time of the moves."
    )


def _names() -> list[str]:
    """The fields of each object."""
    from dataclasses import fields

    from airflow_provider_whitebit.control.tasks import Task
    from airflow_provider_whitebit.moves.intent import Receipt

    receipt = [field.name for field in fields(Receipt) if field.name != "executed_at"]
    return ["executed_at", "conn_id", *receipt, "announced_at", *Task._fields]


def _flat(move: Mapping[str, Any]) -> dict[str, Any]:
    """A move and its task as one object. It begins with when and where."""
    known = {**move, **move["task"]}
    return {name: known[name] for name in _names()}


def _place(move: Mapping[str, Any]) -> str | None:
    """The plan, the Fixed investment, or the two balances of a transfer."""
    if move["source"] and move["target"]:
        return f"{move['source']} to {move['target']}"
    place: str | None = move["plan_id"] or move["investment_id"]
    return place


def read_time(text: str) -> Any:
    """Read a date or time. :raises ArgumentTypeError: it is neither."""
    import pendulum

    try:
        found = pendulum.parse(text, tz="UTC")
    except (ValueError, TypeError):
        # pendulum raises a TypeError for some intervals.
        found = None
    if not isinstance(found, pendulum.DateTime) or "-" not in text[:8]:
        raise ArgumentTypeError(f"{text!r} is no date or time; write it like 2026-11-01 or 2026-11-01T08:00:00Z")
    return found.in_timezone("UTC")


def read_currency(text: str) -> str:
    """Read a currency. :raises ArgumentTypeError: it is not written like one."""
    from airflow_provider_whitebit.client.errors import WhiteBitError
    from airflow_provider_whitebit.treasury.valuation import read_value_in

    try:
        return read_value_in(text)
    except WhiteBitError as error:
        raise ArgumentTypeError(error.message) from None
