"""``moves``: the receipts of all connections and DAGs."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping
from typing import Any

from airflow_provider_whitebit.control.commands import output
from airflow_provider_whitebit.control.commands.output import argument

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


def commands() -> list[Any]:
    """Describe the command."""
    from airflow.cli.cli_config import ActionCommand

    time = "an ISO 8601 date or time, for example 2026-11-01 or 2026-11-01T08:00:00+01:00; UTC without an offset"
    return [
        ActionCommand(
            name="moves",
            help="List receipts of moves",
            description="List the receipts that tasks have announced as asset events, newest first, each once, with "
            "their tasks. All connections and DAGs.",
            func=moves,
            args=(
                argument("--since", help=f"Moved then or later: {time}", type=read_time, required=True),
                argument("--until", help="Moved before this time", type=read_time),
                argument("--conn-id", help="Only of this connection"),
                argument("-d", "--dag-id", help="Only of this DAG"),
                output.output_argument(),
            ),
        )
    ]


@output.command
def moves(options: Any) -> None:
    """List receipts."""
    from airflow_provider_whitebit.control.moves import moves_between

    with output.database() as session:
        try:
            found = moves_between(session, options.since, options.until, conn_id=options.conn_id, dag_id=options.dag_id)
        except ValueError as error:
            raise SystemExit(f"--conn-id: {error}") from None
    if options.output in ("table", "plain"):
        output.print_rows([{**_flat(move), "place": _place(move)} for move in found], options.output, columns=_COLUMNS)
    else:
        output.print_rows([_flat(move) for move in found], options.output, columns=_names())


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
