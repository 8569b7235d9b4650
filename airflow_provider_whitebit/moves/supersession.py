"""Keep a task from making a move and another one that it went on to. Without I/O, like the protocol.

The other move first writes its key into the failed move's journal, then its attempt into its own, and then reads the
failed move's journal. The failed move, if it is sent after all, writes its attempt and then reads its own journal. If
both were sent, each would have read before the other wrote, and in this order that is impossible.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitInDoubtError
from airflow_provider_whitebit.moves.effects import AnnounceRun, ConfirmRun, Effect, ReadJournal, WriteJournal
from airflow_provider_whitebit.moves.execution import ExecutionRequest
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Intent, Refusal
from airflow_provider_whitebit.moves.keys import shown_key
from airflow_provider_whitebit.moves.reconciliation import judged_intent, verdict_of

Steps = Generator[Effect, Any, Any]


def read_history(execution: ExecutionRequest, key: str = "") -> Generator[Effect, Any, MoveHistory]:
    """Read the history of the move, or of another one of its task.

    :param key: of the other move.
    :raises WhiteBitInDoubtError: this version cannot read it.
    """
    try:
        return MoveHistory.merge((yield ReadJournal(key)))
    except ValueError as error:
        journal = execution.journal.sibling(key) if key else execution.journal
        raise WhiteBitInDoubtError(
            f"The journal {journal.identity!r} holds a document that this version cannot read: {error}. Nothing was "
            "sent.",
            next_step="Compare the document with the exchange's history. Finish the task with the version that wrote "
            "it, or start a new dag run.",
        ) from None


def supersede_failed(execution: ExecutionRequest) -> Steps:
    """Write into the journals of the moves that failed in this run that the task goes on to this one.

    :raises WhiteBitError: the error of such a move, if that move was made or may have been.
    """
    for key, _ in _failed_before(execution):
        if _is_plan(key):
            # Before its moves are read: earlier runs stop at their next one, later runs will name themselves too.
            yield AnnounceRun(_plan_of(key))
    yield from _refuse_beside(execution, numbered=True)
    for key, error in _failed_before(execution):
        failed = yield from read_history(execution, key)
        yield WriteJournal(replace(failed.superseded(execution.key, error), run=execution.run), key)


def confirm_beside_failed(execution: ExecutionRequest) -> Steps:
    """After the attempt is written, repeat the error of a move that failed before this one, as above.

    :raises WhiteBitJournalError: a later run of the task has taken over a plan that failed.
    :raises WhiteBitError: the error of a move that was made or may have been.
    """
    for key, _ in _failed_before(execution):
        if _is_plan(key):
            yield ConfirmRun(_plan_of(key))
    yield from _refuse_beside(execution, numbered=False)


def refuse_superseded(execution: ExecutionRequest, history: MoveHistory) -> Steps:
    """Repeat the error of a move or a plan, if the task went on to another move that was made or may have been.

    :param history: that records what superseded it.
    :raises WhiteBitError: the error.
    """
    for key in history.superseded_by:
        begun = yield from _begun(execution, key)
        if begun and history.refusal is not None:
            raise _repeated(
                history.refusal,
                begun,
                f"After this refusal, the task went on to its move {shown_key(key)}. It never makes both. "
                "To make both, put them into separate tasks.",
            )


def add_moves_instead(execution: ExecutionRequest, error: WhiteBitError, key: str = "") -> Steps:
    """Let an error that says that no money moved say what the task made instead, perhaps in an older run.

    :param error: of the move, or of a plan; it is changed.
    :param key: of the plan's failure.
    """
    try:
        for other in (yield from read_history(execution, key)).superseded_by:
            begun = yield from _begun(execution, other)
            error.add_completed([one.receipt.to_json() for one in begun if one.receipt is not None])
            if any(one.unproven for one in begun):
                error.money_moved = None
    except WhiteBitError:
        error.money_moved = None


def refuse_if_superseded(execution: ExecutionRequest, key: str) -> Steps:
    """Read what superseded a plan; then as :func:`refuse_superseded`.

    :param key: of the journal that records it.
    :raises WhiteBitError: the error.
    """
    yield from refuse_superseded(execution, (yield from read_history(execution, key)))


def failure_key(plan: str) -> str:
    """The key under which a plan's failure and what superseded it are kept. The plan's moves have numbers from 1.

    :param plan: key of the plan.
    """
    return f"{plan}.0"


def highest_number(documents: Iterable[Mapping[str, Any]]) -> int:
    """The highest number that any run of the task has given to a move of its plan.

    :param documents: of the plan journal.
    """
    return max((int(document["highest"]) for document in documents if "highest" in document), default=0)


def _refuse_beside(execution: ExecutionRequest, *, numbered: bool) -> Steps:
    """:param numbered: look at the moves of a plan that failed too."""
    for key, error in _failed_before(execution):
        if begun := (yield from _begun(execution, key, numbered=numbered)):
            name = f"plan {shown_key(_plan_of(key))}" if _is_plan(key) else f"move {shown_key(key)}"
            raise _repeated(
                Refusal.of(error),
                begun,
                f"This is the error of the task's {name}, which was made or may have been made. So its move "
                f"{shown_key(execution.key)} was not sent. Clear the task: it finds out first. To make "
                "both, put them into separate tasks.",
            )


def _failed_before(execution: ExecutionRequest) -> list[tuple[str, WhiteBitError]]:
    return [(key, error) for key, error in execution.failed.items() if key != execution.key]


def _begun(execution: ExecutionRequest, key: str, *, numbered: bool = True) -> Generator[Effect, Any, list[Intent]]:
    """What the task has made, or may have made, under a key; as a plan, if the key is that of a plan's failure.

    A move that left no record is looked for again: its record may have appeared late.
    """
    keys = [key]
    if numbered and _is_plan(key):
        plan = _plan_of(key)
        documents = yield ReadJournal(plan)
        # An earlier version of the task may have used the key for a move.
        used_for_move = documents and "highest" not in documents[-1]
        keys += [plan] if used_for_move else [f"{plan}.{one}" for one in range(1, highest_number(documents) + 1)]
    begun: list[Intent] = []
    for one in keys:
        history = yield from read_history(execution, one)
        begun += history.begun
        for absent in history.unproven:
            if not absent.in_doubt:
                begun += yield from _appeared(execution, absent)
    return begun


def _appeared(execution: ExecutionRequest, absent: Intent) -> Generator[Effect, Any, list[Intent]]:
    """A move that had left no record, if the exchange shows one now, or something that may be one."""
    verdict = yield from verdict_of(absent, execution.api_key.reconcile_margin_ms)
    if verdict.absent:
        return []
    return [absent if verdict.unclear else judged_intent(absent, verdict)]


def _is_plan(key: str) -> bool:
    """Whether a key may be that of a plan's failure."""
    return key.endswith(failure_key(""))


def _plan_of(key: str) -> str:
    return key.removesuffix(failure_key(""))


def _repeated(refusal: Refusal, begun: list[Intent], next_step: str) -> WhiteBitError:
    """The error of one move, and what is known of another one of the task that excludes it or is excluded."""
    error = refusal.error()
    error.money_moved = None if any(one.unproven for one in begun) else True
    error.add_completed([one.receipt.to_json() for one in begun if one.receipt is not None])
    error.next_step = next_step
    return error
