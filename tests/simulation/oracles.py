"""What must be true in every world."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from tests.simulation.stores import Store
from tests.simulation.tasks import Task
from tests.simulation.wire import Sent, Venue

_FINEST = Decimal("0.00000001")


class Broken(AssertionError):
    """A world in which something is not as promised.

    :param kind: of the fault, for a tally.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


def made_by(task: Task, venue: Venue) -> list[Sent]:
    """The moves that a task has made."""
    return [sent for sent in venue.sent if sent.executed and sent.process.task is task]


def check_words(task: Task, venue: Venue) -> None:
    """Check that no try has denied a move.

    "No money moved" is about the task. It is untrue if anything was moved before, or is moved later by a try that had
    begun when it was said. A replaced try cannot read what later ones do: it speaks for those up to itself. Tries that
    share an idempotency key with other tasks are not announced: nobody listens to one that was replaced, and none
    speaks for what an earlier one does later (``docs/once.md``).

    :raises Broken: one has.
    """
    made = made_by(task, venue)
    for said in [] if task.by_word else task.said:
        if said.error.money_moved is not False or (task.shares_key and not said.current):
            continue
        for sent in made:
            before = sent.at_ms <= said.at_ms
            speaks_of = sent.process.order <= said.process.order or (said.current and before)
            if speaks_of and (before or not task.shares_key):
                when = "before" if before else "after"
                raise Broken(
                    "denied",
                    f"{said.process.name} says that no money moved ({said.error.message}), and {sent.process.name} "
                    f"moved {sent.amount} {when} that",
                )


def check_receipts(task: Task, venue: Venue) -> None:
    """Check that every receipt that a task returned is of its own move.

    :raises Broken: one is not.
    """
    made = made_by(task, venue)
    for result in task.results:
        if result.receipt is None:
            continue
        for receipt in result.receipt if isinstance(result.receipt, list) else [result.receipt]:
            if not made:
                raise Broken("false receipt", f"{result.process.name} has a receipt and moved nothing: {receipt}")
            asked = result.request.move.amount
            # A history may show fewer decimals than were asked for.
            if not isinstance(result.receipt, list) and asked is not None and abs(asked - receipt.amount) >= _FINEST:
                raise Broken("false receipt", f"{result.process.name} asked for {asked} and has {receipt}")
            own = {name for sent in made if sent.reference for name in venue.exchange.names(sent.reference)}
            named = receipt.transaction_id or (receipt.investment_id if own else None)
            if named is not None and own and named not in own:
                raise Broken("false receipt", f"{result.process.name} has the receipt of another move: {receipt}")


def check_baselines(tasks: Iterable[Task], venue: Venue, store: Store) -> None:
    """Check that no move counts a record of its own task among what was there before.

    :raises Broken: one does.
    """
    for task in tasks:
        made = made_by(task, venue)
        own = {name for sent in made if sent.reference for name in venue.exchange.names(sent.reference)}
        for text in store.of(task.name).values():
            document: Any = json.loads(text) if text.startswith("{") else {}
            for intent in document.get("intents", ()):
                known = [
                    *intent.get("baseline", ()),
                    *(one for each in intent["attempts"] for one in each.get("baseline", ())),
                ]
                if swallowed := own & set(known):
                    raise Broken("swallowed", f"{task.name} takes its own {swallowed} for another's")
