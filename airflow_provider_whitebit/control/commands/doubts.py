"""``doubts``: list, show and resolve moves in doubt."""

from __future__ import annotations

from typing import Any

from airflow_provider_whitebit.control.commands import output

#: What a table shows of each move, and what CSV has besides.
_COLUMNS = ("id", "move", "sent", "task", "run")
_MORE_COLUMNS = ("connection", "unreadable", "steps")


def commands() -> list[Any]:
    """Describe the commands."""
    from airflow.cli.cli_config import ActionCommand, GroupCommand

    name = output.argument("id", help="The move's id: the first column of the list")
    reason = output.argument("-r", "--reason", help="How you know, for the receipt and the audit log", required=True)
    ran = output.argument(
        "--ran",
        help="The move ran. Name its transaction, unless only one remains. A transfer has none",
        nargs="?",
        # Without a transaction it is None.
        default=False,
        metavar="TRANSACTION",
    )
    did_not_run = output.argument("--did-not-run", help="The move did not run", action="store_true")
    seen = output.argument("--seen", help="What show printed: the answer is refused if the evidence has changed since")
    described = [
        ActionCommand(
            name="list",
            help="List moves in doubt",
            description="List the moves in doubt whose task has ended without success.",
            func=list_doubts,
            args=(output.output_argument(),),
        ),
        ActionCommand(
            name="show",
            help="Show one move in doubt, with the evidence",
            description="Ask the exchange again about one move in doubt. Show what was sent and when, the records that "
            "may be this move, which moves of other tasks explain them, and what remains.",
            func=show,
            args=(name, output.output_argument()),
        ),
        ActionCommand(
            name="resolve",
            help="Say whether a move in doubt ran",
            description="Say whether a move in doubt ran. The exchange is asked again first. Then clear the task.",
            func=resolve_doubt,
            args=(name, ran, did_not_run, reason, seen),
        ),
    ]
    return [GroupCommand(name="doubts", help="Moves in doubt: did they run?", subcommands=described)]


@output.command
def list_doubts(options: Any) -> None:
    """List moves in doubt."""
    from airflow_provider_whitebit.control.search import find_doubts

    with output.database() as session:
        rows = [_row(doubt) for doubt in find_doubts(session)]
    if rows or options.output != "table":
        output.print_rows(
            rows, options.output, columns=_COLUMNS if options.output == "table" else (*_COLUMNS, *_MORE_COLUMNS)
        )
    else:
        print("No move is in doubt.")


def _row(doubt: Any) -> dict[str, Any]:
    from airflow_provider_whitebit.client.errors import clean
    from airflow_provider_whitebit.moves.doubts import steps_for

    move = None if doubt.intent is None else doubt.intent.move
    return {
        "id": None if doubt.intent is None else clean(doubt.intent.id),
        "move": None if move is None else clean(str(move)),
        "sent": _time(doubt.sent_at),
        "task": clean(f"{doubt.task.dag_id}.{doubt.task.task_id}{_index(doubt.task.map_index)}"),
        "run": clean(doubt.task.run_id),
        "connection": None if doubt.intent is None else clean(doubt.intent.connection or doubt.connection),
        "unreadable": doubt.unreadable or None,
        "steps": list(steps_for(None if move is None else move.operation)),
    }


def _index(map_index: int) -> str:
    return f"[{map_index}]" if map_index >= 0 else ""


def _time(nonce: int | None) -> str | None:
    """The time in a nonce. :returns: ``None`` if there is none; the nonce if it is no time."""
    import pendulum

    if nonce is None:
        return None
    try:
        return str(pendulum.from_timestamp(nonce // 1000).to_iso8601_string())
    except (ValueError, OverflowError, OSError):
        return str(nonce)


@output.command
def show(options: Any) -> None:
    """Show one move in doubt. What needs no person is kept for the task."""
    from airflow_provider_whitebit.control.doubts import get_doubt, settle
    from airflow_provider_whitebit.control.examination import examination_json
    from airflow_provider_whitebit.control.tasks import in_words

    with output.database() as session:
        task = get_doubt(session, options.id).task
        outcome = settle(session, options.id, user=output.current_user())
    found = examination_json(outcome.examination)
    if options.output != "table":
        output.print_rows([{**found, "task": task.to_json()}], options.output)
        return
    print(f"Move {found['id']}: {found['move']}")
    print(f"Task: {in_words(task)}")
    for attempt in found["attempts"]:
        print(f"Sent: {attempt['sent']}, {attempt['outcome']}")
    print(f"The exchange, at {found['as_of']}, with connection {found['connection']}:")
    rows = [_candidate(one) for one in found["candidates"]] or found["balances"] or []
    if rows:
        output.print_rows(rows, "table")
    for other in found["others"]:
        print(f"Another move of this asset since then: {_explanation(other)}")
    if given := found["answer"]:
        print(f"Answered at {given['at']} by {given['by']}: it {'ran' if given['ran'] else 'did not run'}.")
    if outcome.resolution is not None:
        print(outcome.in_words)
    print(found["conclusion"])
    if found["needs_person"] and not found["answer"]:
        transaction = " TRANSACTION" if found["candidates"] else ""
        rest = f"--seen {found['mark']} --reason '...'"
        print(f"If it ran:         airflow whitebit doubts resolve {found['id']} --ran{transaction} {rest}")
        print(f"If it did not run: airflow whitebit doubts resolve {found['id']} --did-not-run {rest}")


def _candidate(one: dict[str, Any]) -> dict[str, Any]:
    explained = one["explained_by"]
    return {
        "transaction": one["transaction"],
        "at": one["at"],
        "amount": one["amount"],
        "belongs to": "?" if explained is None else _explanation(explained),
    }


def _explanation(one: dict[str, Any]) -> str:
    what = " ".join(one[name] for name in ("operation", "amount") if one[name])
    task = one["task"]
    place = f"{task['dag_id']}.{task['task_id']}{_index(task['map_index'])}, {task['run_id']}" if task else ""
    return ", ".join(part for part in (place, what, one["source"]) if part)


@output.command
def resolve_doubt(options: Any) -> None:
    """Say whether a move in doubt ran."""
    from airflow_provider_whitebit.control.doubts import resolve

    if (options.ran is not False) == options.did_not_run:
        raise SystemExit("Say either --ran or --did-not-run. Nothing was changed.")
    with output.database() as session:
        outcome = resolve(
            session,
            options.id,
            ran=options.ran is not False,
            user=output.current_user(),
            reason=options.reason,
            transaction_id=options.ran or None,
            seen=options.seen,
        )
    print(outcome.in_words)
    if not outcome.examination.examined.needs_person:
        print(outcome.examination.conclusion)
    print(outcome.next_step)
