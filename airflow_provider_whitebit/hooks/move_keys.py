"""Which key names which move of the current task, and what was done under it before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.client.errors import (
    WhiteBitAlreadyMovedError,
    WhiteBitConfigurationError,
    WhiteBitError,
    WhiteBitJournalError,
    WhiteBitUnavailableError,
    WhiteBitValidationError,
)
from airflow_provider_whitebit.hooks.journals import JournalSlot, RunsOfDate, slot_for
from airflow_provider_whitebit.hooks.stores import VariableStore, variable_name
from airflow_provider_whitebit.hooks.task_run import call_of, run_of
from airflow_provider_whitebit.moves import parsing
from airflow_provider_whitebit.moves.doubts import doubt_of_another_key
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Intent
from airflow_provider_whitebit.moves.journal import Journal
from airflow_provider_whitebit.moves.keys import (
    argument_of,
    by,
    idempotent,
    is_idempotent,
    key_advice,
    made_with_another_key,
    shown_key,
    split_key,
)
from airflow_provider_whitebit.moves.requests import Transfer
from airflow_provider_whitebit.moves.supersession import failure_key, highest_number

if TYPE_CHECKING:
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

#: Key of a plan, if the caller gives none.
PLAN = "plan"
#: Begins the names of Variables that tell with which API key a task uses an idempotency key.
_USED = "whitebit_used__"


class MoveKeys:
    """The keys of one task's moves with one connection.

    :param hook: of the connection.
    """

    def __init__(self, hook: WhiteBitHook) -> None:
        self._hook = hook
        #: Whether this try of the task was deferred before.
        self.resumed = False

    def key_of(self, default: str, key: str | None, idempotency_key: str | None) -> str:
        """The key of a move or a plan.

        :param default: without any other.
        :param key: name within the task.
        :param idempotency_key: name for all tasks of the account.
        :raises WhiteBitValidationError: both are given, or one of them names no move.
        :raises WhiteBitConfigurationError: the connection is wrong, so its account is not known.
        """
        try:
            if idempotency_key is None:
                if key is None:
                    return default
                name = parsing.read_key("key", key)
                if is_idempotent(name):
                    raise WhiteBitValidationError(f"key is {key!r}: give it as idempotency_key, or under another name.")
                return name
            shared = parsing.read_key("idempotency_key", idempotency_key)
            if key is not None:
                raise WhiteBitValidationError("Give either key or idempotency_key: each of them names the move.")
            return idempotent(self._hook.settings.account, shared)
        except WhiteBitError as error:
            with suppress(WhiteBitConfigurationError):
                # Without the key it is not known what an earlier run did under it.
                error.money_moved = None if self.slot(default).begun_before else error.money_moved
            raise

    def slot(self, key: str) -> JournalSlot:
        """Where a move or a plan is kept.

        :raises WhiteBitUnavailableError: the connection could not be read this time.
        """
        accounts: tuple[str, ...] = ()
        # A connection that is wrong is reported when it is used.
        with suppress(WhiteBitConfigurationError):
            try:
                previous = self._hook.previous
                accounts = (self._hook.settings.account, *([] if previous is None else [previous.settings.account]))
            except WhiteBitUnavailableError as error:
                # Without the accounts it is not known where an earlier run has kept the move.
                error.money_moved = None
                raise
        return slot_for(key, resumed=self.resumed, accounts=accounts)

    def claim(self, slot: JournalSlot, key: str, requested: Mapping[str, Any]) -> None:
        """Use a key for a move or a plan that is about to be made.

        :raises WhiteBitError: it is not to be made under this key.
        """
        try:
            if slot.run:
                run_of(slot).claim(key, self._hook.whitebit_conn_id, requested)
            try:
                if slot.in_loop and not is_idempotent(key):
                    raise _in_loop()
                if slot.of_date is not None:
                    _check_deleted_runs(slot.of_date, slot.journal, key)
                if slot.mapped is not None:
                    slot.mapped.admit(key, {**requested, "connection": self._hook.whitebit_conn_id})
                if is_idempotent(key):
                    self._check_idempotency_key(slot, key, requested)
            except WhiteBitError as error:
                run_of(slot).fail(failure_key(key) if "plan" in requested else key, error)
                raise
        except WhiteBitError as error:
            self.add_history(error, key)
            raise

    def _check_idempotency_key(self, slot: JournalSlot, key: str, requested: Mapping[str, Any]) -> None:
        """Check what was made under an idempotency key, and what the task made before it had one.

        :raises WhiteBitAlreadyMovedError: a plan under the key of a move, or a move under that of a plan; or the task
            made this move without the key.
        """
        documents = slot.journal.read()
        if documents and any("highest" in one for one in documents) != ("plan" in requested):
            used_for = "a plan" if "plan" not in requested else "a single move"
            raise WhiteBitAlreadyMovedError(
                f"{argument_of(key)} was used before for {used_for}. Nothing was moved this time.",
                money_moved=False,
                next_step=key_advice(key),
            )
        self._check_account(slot, key, fresh=not documents)
        default = PLAN if "plan" in requested else str(requested["operation"])
        before = self.slot(default)
        if documents or not before.begun_before or run_of(slot).has_used(default):
            return
        begun = _begun_under(before.journal, default)
        if begun is None:
            raise WhiteBitJournalError(f"The journal {before.journal.identity!r} cannot be read.")
        if begun:
            raise WhiteBitAlreadyMovedError(
                f"This task began {begun[0].move} before it had an idempotency_key. It does not make it again under "
                f"{argument_of(key)}.",
                money_moved=None if any(one.unproven for one in begun) else True,
                completed_moves=[one.receipt.to_json() for one in begun if one.receipt is not None],
            )

    def _check_account(self, slot: JournalSlot, key: str, *, fresh: bool) -> None:
        """Note the API key with which the task uses an idempotency key. With another one, the journal is another.

        :param fresh: whether the journal holds nothing.
        :raises WhiteBitInDoubtError: this task began the move with another API key of the same connection.
        :raises WhiteBitAlreadyMovedError: it made the move with that key.
        """
        if not slot.instance:
            return
        conn_id, (account, name, _) = self._hook.whitebit_conn_id, split_key(key)
        variables, (dag, _, task, _) = VariableStore(), slot.instance
        note = variable_name(_USED, f"{dag}.{task}.{name}", "|".join((*slot.instance, conn_id, name)))
        before = variables.read(note)
        if before == account:
            return
        if before is not None and fresh:
            other = idempotent(before, name)
            begun = _begun_under(slot.journal.sibling(other), other)
            if begun is None:
                raise WhiteBitJournalError(f"The journal {slot.journal.identity!r} of another API key cannot be read.")
            for one in begun:
                if one.task == slot.task:
                    raise doubt_of_another_key(one) if one.receipt is None else made_with_another_key(one)
        variables.keep(note, account, f"API key of {'|'.join(slot.instance)}")

    def check_route(self, request: Transfer, key: str, steps: Sequence[Transfer]) -> None:
        """Check that no earlier run of the task began this transfer with another number of steps.

        :raises WhiteBitValidationError: it did. Those steps have other keys, so this transfer would move money again.
        """
        in_steps = len(steps) > 1
        other = key if in_steps or is_idempotent(key) else f"{key}.1"
        slot = self.slot(other)
        begun = _begun_in([slot.journal]) if slot.begun_before else []
        if begun is None and not is_idempotent(key):
            raise WhiteBitJournalError(f"The journal {slot.journal.identity!r} cannot be read.")
        # Another move may have the key of a first step: "usdt" and "usdt.1".
        begun = [one for one in begun or () if one.in_doubt or one.receipt]
        begun = [one for one in begun if bool(one.requested.get("route")) != in_steps]
        if begun:
            kind = WhiteBitAlreadyMovedError if begun[0].receipt else WhiteBitValidationError
            error = kind(
                f"The move {shown_key(key)} was begun before {by(begun[0].task, slot.task)} as {begun[0].move}; this "
                f"time the task asks for {call_of(self._hook.whitebit_conn_id, request.to_json())}.",
                next_step=f"Restore the parameters. To make another transfer, give it a key of its own "
                f"({argument_of(key).partition('=')[0]}=...).",
            )
            self.add_history(error, key)
            run_of(slot).fail(other, error)
            raise error

    def fail(self, error: WhiteBitError, keys: Sequence[str]) -> None:
        """Remember that a move failed before its journal was read."""
        for key in keys:
            with suppress(WhiteBitConfigurationError):
                run = run_of(self.slot(key))
                if key not in run.claims:
                    run.fail(key, error)

    def add_history(self, error: WhiteBitError, key: str) -> None:
        """Let an error that comes before the journal is read say what earlier runs of the task did.

        :param error: it is changed: ``money_moved`` becomes ``None`` if a move is in doubt, and the moves that were
            made are added.
        :param key: of the move or the plan.
        """
        self._add_begun(error, key)
        self.add_other_moves(error)

    def add_other_moves(self, error: BaseException) -> None:
        """Let the error of a move or a plan say what this run of the task has made under its other keys.

        :param error: it is changed as by :meth:`add_history`.
        """
        if isinstance(error, WhiteBitError):
            with suppress(WhiteBitConfigurationError):
                for key in run_of(slot_for("other moves")).other_keys(error):
                    self._add_begun(error, key, only_own=True)

    def _add_begun(self, error: WhiteBitError, key: str, *, only_own: bool = False) -> None:
        """:param only_own: leave out what another task has made, or may have made, under an idempotency key."""
        try:
            slot = self.slot(key)
        except WhiteBitConfigurationError:
            return
        if not slot.run:
            return
        begun = _begun_under(slot.journal, key)
        own = [intent for intent in begun or () if not is_idempotent(key) or intent.task == slot.task]
        if only_own and begun is not None:
            begun = own
        if begun is None or any(intent.unproven for intent in begun):
            error.money_moved = None
        elif error.money_moved is False and begun:
            error.money_moved = True
        error.add_completed([intent.receipt.to_json() for intent in own if intent.receipt is not None])


def _in_loop() -> WhiteBitValidationError:
    return WhiteBitValidationError(
        "The task is part of a loop, and nothing tells the moves of its iterations apart.",
        next_step="Name what each iteration moves: write a text that no other move has, for example "
        "idempotency_key=\"{{ run_id }} {{ ti.xcom_pull(task_ids='next_desk') }}\". Then clear the task.",
    )


def _check_deleted_runs(of_date: RunsOfDate, own: Journal, key: str) -> None:
    """:raises WhiteBitError: a dag run that was replaced by this one may have made the move, or that is not known."""
    if _begun_under(own, key):
        # This run has begun the move before: then it was allowed to.
        return
    # The journals are read first: a run that begins after this has been deleted, so Airflow does not start its task.
    begun = [run for run, journal in of_date.journals(key) if _begun_under(journal, key) != []]
    if runs := [*begun, *of_date.started()]:
        raise WhiteBitValidationError(
            f"Dag run {runs[0]} of the same date had started this task. It is gone, because airflow dags test deletes "
            "the run whose date it is given. It may have made this move, so this test does not make it again.",
            next_step=(
                "Look for the move in the exchange's history, or among the events of its asset.",
                "If it is still to be made, trigger a new dag run, or run airflow dags test without a date.",
                "To repeat a task of an existing run, clear it: then its receipt is found.",
            ),
        )


def _begun_under(journal: Journal, key: str) -> list[Intent] | None:
    """What earlier runs began under a key (as one move, in steps, or as a plan), or went on to; ``None``: not known."""
    try:
        documents = journal.read()
        is_plan = any("highest" in document for document in documents)
        numbers = range(1, (highest_number(documents) if is_plan else 2) + 1)
        keys = [*([failure_key(key)] if is_plan else []), *(f"{key}.{number}" for number in numbers)]
        own = [*([] if is_plan else [journal]), *map(journal.sibling, keys)]
        instead = dict.fromkeys(other for one in own for other in MoveHistory.merge(one.read()).superseded_by)
    except (WhiteBitError, ValueError):
        return None
    return _begun_in([*own, *(journal.sibling(other) for other in instead if other not in keys)])


def _begun_in(journals: Sequence[Journal]) -> list[Intent] | None:
    """The moves in these journals that ran, or may have run; ``None``: not known."""
    try:
        histories = [MoveHistory.merge(journal.read()) for journal in journals]
        return [one for history in histories for one in history.intents.values() if one.unproven or one.receipt]
    except (WhiteBitError, ValueError):
        return None
