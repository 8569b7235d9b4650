"""What must be true whenever money moves and whenever a try ends."""

from __future__ import annotations

from decimal import Decimal

from airflow_provider_whitebit.moves.limits import Limits
from tests.exploration.states import Entry, State


class Broken(AssertionError):
    """The promise is broken."""


def check_moved(state: State, *, twice: bool = False) -> None:
    """Check the latest entry of the ledger.

    :param twice: whether a task may move twice, because records are later than the margin.
    :raises Broken: its task has moved twice, or has just said that no money moved; or a person has said that it ran, or
        that this attempt did not run.
    """
    request = state.ledger[-1].request
    sender = state.processes[request.process]
    for one in state.answered:
        if one.task == sender.task and (one.ran or request.nonce in one.nonces):
            raise Broken(f"{sender} has moved money, and a person said before: {one}")
    if twice:
        return
    if len(_moves(state, sender.task)) > 1:
        raise Broken(f"task{sender.task} has moved its money twice")
    latest = state.processes[state.tasks[sender.task].current]
    # A later try makes it an open question again.
    if latest.node.end is not None and latest.node.end.money_moved is False:
        raise Broken(f"{latest} said that no money moved, and then {sender} moved it")


def check_limits(state: State, limits: Limits) -> None:
    """Check what the tasks have moved together.

    :raises Broken: it is more than a limit over time allows.
    """
    moved = [Decimal(one.request.amount) for one in state.ledger if one.request.process >= 0]
    for most in limits.max_per_day.values():
        if sum(moved) > most:
            raise Broken(f"{sum(moved)} have moved, and {most} may")


def check_sent(state: State, index: int) -> State:
    """Check that a process asked right before it sends a move whether people have stopped all moves.

    :param index: of the process.
    :raises Broken: it did not ask, or was told that they have.
    """
    if not state.processes[index].may_send:
        raise Broken(f"{state.processes[index]} sends a move and did not ask whether people have stopped all moves")
    return state


def check_end(state: State, index: int, *, doubts: bool) -> None:
    """Check what a try reports at its end.

    :param index: of the try's process.
    :param doubts: whether a task may end in doubt.
    :raises Broken: it is not true.
    """
    process = state.processes[index]
    end, made = process.node.end, _moves(state, process.task)
    if end is None:
        return
    if end.kind == "receipt":
        if not made:
            raise Broken(f"{process} has a receipt, and nothing was moved")
        if end.reference not in [one.reference for one in made]:
            raise Broken(f"{process} has the receipt of another move: {end.reference}")
    elif end.money_moved is False:
        if any(state.processes[one.request.process].number <= process.number for one in made):
            raise Broken(f"{process} says that no money moved, and it did: {end.kind}")
    elif end.kind == "WhiteBitInDoubtError" and not doubts and index == state.tasks[process.task].current:
        raise Broken(f"{process} is in doubt without reason")


def _moves(state: State, task: int) -> list[Entry]:
    return [
        one for one in state.ledger if one.request.process >= 0 and state.processes[one.request.process].task == task
    ]
