"""``stop``, ``resume`` and ``status``: the switch for all moves of all connections."""

from __future__ import annotations

from typing import Any

from airflow_provider_whitebit.control.commands import output

_RESUME = "airflow whitebit resume --reason '...'"


def commands() -> list[Any]:
    """Describe the commands."""
    from airflow.cli.cli_config import ActionCommand

    reason = output.argument("-r", "--reason", help="Why, for the audit log and the errors of tasks", required=True)
    return [
        ActionCommand(
            name="stop",
            help="Stop all moves of money",
            description="Stop all moves of all connections. Running tasks notice it before they send their next move. "
            "Reading goes on, and what is in doubt is still reconciled.",
            func=stop,
            args=(reason,),
        ),
        ActionCommand(
            name="resume",
            help="Let moves of money go on",
            description="Lift the stop. Tasks that were refused meanwhile have to be cleared.",
            func=resume,
            args=(reason,),
        ),
        ActionCommand(
            name="status",
            help="Show whether moves are stopped",
            description="Show whether moves are stopped: by whom, since when and why.",
            func=status,
            args=(output.output_argument(),),
        ),
    ]


@output.command
def stop(options: Any) -> None:
    """Stop all moves."""
    from airflow_provider_whitebit.control.stop import stop_moves

    with output.database() as session:
        found = stop_moves(session, by=output.current_user(), reason=options.reason)
    print(f"All moves are stopped {found.in_words}")
    print("A move that was sent before may still be carried out. Its task reports how it ended.")
    print(f"To let moves go on: {_RESUME}")


@output.command
def resume(options: Any) -> None:
    """Let moves go on."""
    from airflow_provider_whitebit.control.stop import resume_moves, still_stopped

    with output.database() as session:
        lifted = resume_moves(session, by=output.current_user(), reason=options.reason)
    print("Moves were not stopped." if lifted is None else f"This stop is lifted: {lifted.in_words}")
    if elsewhere := still_stopped():
        raise SystemExit(f"Moves are still stopped: {elsewhere}")
    print("Moves may go on. Clear the tasks that were refused meanwhile.")


@output.command
def status(options: Any) -> None:
    """Show whether moves are stopped."""
    from airflow_provider_whitebit.control.stop import current_stop, still_stopped
    from airflow_provider_whitebit.hooks.stop import read_only_is_set

    with output.database() as session:
        found = current_stop(session)
    elsewhere = "" if found else still_stopped()
    row = {
        "stopped": bool(found or elsewhere),
        "by": found.by if found else None,
        "since": found.to_json()["at"] if found else None,
        "reason": found.reason if found else elsewhere or None,
        "read_only": read_only_is_set(),
    }
    output.print_rows([row], options.output)
