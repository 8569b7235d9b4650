"""How the hook makes moves: limits, journals of the task that runs here, metrics, and what others are told."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import (
    WhiteBitConfigurationError,
    WhiteBitError,
    WhiteBitInDoubt,
    WhiteBitLimitError,
    WhiteBitValidationError,
)
from airflow_provider_whitebit.hooks import assets
from airflow_provider_whitebit.hooks.airflow_compat import current_context, lineage_collector
from airflow_provider_whitebit.hooks.journals import Place, marks_for, place_for
from airflow_provider_whitebit.hooks.metrics import count_failure, count_move
from airflow_provider_whitebit.hooks.settings import Settings
from airflow_provider_whitebit.moves.batch import Batch, NotSentAgain
from airflow_provider_whitebit.moves.drivers import begun_with, execute_move
from airflow_provider_whitebit.moves.intent import Intent, Move, Operation, Receipt, State, merge
from airflow_provider_whitebit.moves.journal import Journal, JournalError, Marks, MemoryJournal, SharedMarks
from airflow_provider_whitebit.moves.protocol import WhiteBitAlreadyMovedError
from airflow_provider_whitebit.treasury.planning import EXECUTED, NOTHING, PLANNED, PlanOutcome, TreasuryPlan

log = logging.getLogger(__name__)

_NAMES = "Where a task makes several moves whose order may change, give each a name: key=..."

#: What a caller asks for: its own parameters as plain JSON, and what says which move they come to now.
Asked = tuple[dict[str, Any], Callable[[], Move]]


@dataclass(slots=True)
class Call:
    """A move without a name that a run of a task has asked for.

    :param number: its place among those of its kind.
    :param wanted: connection and parameters.
    :param failed: whether it ended with an error: asked for again, it is the same move and no other.
    """

    number: int
    wanted: tuple[str, Mapping[str, Any]]
    failed: bool = False


#: By the run of a task and the kind of move: two moves of one task need two journals.
_CALLS: dict[str, list[Call]] = {}
#: What each journal is for in a run of a task.
_OWNERS: dict[str, object] = {}
_WITHOUT_A_NAME = "moves without a name"


class _Rehearsal(NotSentAgain):
    """A dry run would send now."""


class Account(Protocol):
    """What is needed of the hook."""

    whitebit_conn_id: str

    @property
    def settings(self) -> Settings: ...

    @property
    def former(self) -> Account | None: ...

    def get_conn(self) -> WhiteBitClient: ...


class MoveMaker:
    """Makes moves with one connection, for the task that runs here.

    :param hook: the hook.
    """

    def __init__(self, hook: Account) -> None:
        self._hook = hook
        #: The event of a trigger that has settled a doubt of this task meanwhile.
        self.settled: Mapping[str, Any] = {}
        self._resumed: set[str] = set()

    def move(
        self,
        operation: Operation,
        ask: Callable[[], Asked],
        *,
        dry_run: bool,
        key: str | None,
        deferrable: bool,
        within: list[Call] | None = None,
    ) -> Receipt:
        """Make a move.

        What an earlier run of the task has begun is brought to its end first, whatever is asked for now: parameters
        that are refused, or a dry run, are no reason to leave a move in doubt, or to say that none was made.

        :param operation: its kind.
        :param ask: reads the caller's parameters. :raises WhiteBitError: what is wrong with them.
        :param dry_run: send nothing.
        :param key: its name within the task.
        :param deferrable: raise ``SettleLater`` in place of waiting.
        :param within: the calls of one larger move; this one is added.
        """
        refusal: WhiteBitError | None = None
        try:
            requested, resolve = ask()
        except WhiteBitError as error:
            requested, refusal = {"operation": str(operation), "refused": error.message}, error
        held_back = refusal or (_Rehearsal("dry_run") if dry_run else None)

        def planned() -> Receipt:
            if refusal is not None:
                raise refusal
            move = resolve()
            self._permit(move)
            return Receipt.planned(move)

        try:
            place, call = self._place_of(requested, key, counts=held_back is None)
        except WhiteBitConfigurationError:
            # Nothing can have been made where there is no journal.
            if held_back is None:
                raise
            return planned()
        if held_back is not None and not _has_begun(place, held_back):
            return planned()

        def permit(move: Move) -> None:
            if held_back is not None:
                raise held_back
            self._permit(move)
            if _is_another(move, requested):
                raise WhiteBitAlreadyMovedError(
                    f"An earlier run of this task began its move {place.journal.identity} as {move.to_json()} and did "
                    f"not carry it out; now it asks for {requested}. {_NAMES}"
                )

        if call is not None and within is not None:
            within.append(call)
        try:
            receipt = self._execute(
                place.journal,
                requested,
                resolve if refusal is None else _no_move(refusal),
                permit=permit,
                generation=place.generation,
                deferrable=deferrable,
                settled=self.settled,
            )
        except _Rehearsal:
            return planned()
        except BaseException:
            if call is not None:
                call.failed = True
            raise
        if refusal is not None:
            log.warning("The move was made before; what is asked for now is refused: %s", refusal.message)
        elif _is_another(receipt, requested):
            raise WhiteBitAlreadyMovedError(
                f"This task has made its move {place.journal.identity} as {receipt.to_json()}; now it asks for "
                f"{requested}. {_NAMES}",
                money_moved=True,
            )
        self._tell(receipt)
        return receipt

    def _place_of(self, requested: Mapping[str, Any], key: str | None, *, counts: bool) -> tuple[Place, Call | None]:
        """The journal of a move.

        :param counts: whether it may be sent.
        :raises WhiteBitValidationError: two moves of this run have one name.
        """
        # The name must not depend on what is rendered: a retry that renders another plan has to find its journal.
        operation = requested["operation"]
        place = self._place(key or operation)
        if not place.run:
            return place, None
        wanted = (self._hook.whitebit_conn_id, requested)
        if key is not None:
            if counts:
                _claim(place, wanted, f"key={key!r}")
            return place, None
        if self.settled and place.run not in self._resumed:
            # A run that was put off counts from the beginning again; ``dag.test()`` goes on in the same process.
            self._resumed.add(place.run)
            _CALLS.pop(place.run, None)
        # A second move of this kind in the same run of the task is another move, not the first one again; unless that
        # one failed: a task that tries again by itself means the same move.
        calls = _CALLS.setdefault(place.run, [])
        call = next((one for one in calls if one.failed and one.wanted == wanted), None)
        if call is None:
            call = Call(len(calls) + 1, wanted)
            if counts:
                calls.append(call)
        if counts:
            call.failed = False
        if call.number > 1:
            place = self._place(f"{operation}.{call.number}")
        if counts:
            _claim(place, _WITHOUT_A_NAME, f"key={operation!r}")
        return place, call if counts else None

    def tell_what_stands(self, error: WhiteBitError, key: str) -> None:
        """As :meth:`WhiteBitHook.tell_what_stands`."""
        with contextlib.suppress(WhiteBitConfigurationError):
            place = self._place(key)
            if place.run:
                _correct(error, self._begun_under(key, place.journal))

    def _begun_under(self, key: str, first: Journal) -> list[Intent] | None:
        """What earlier runs have begun under a name: as one move, in steps, or as a plan; ``None``: not known."""
        try:
            documents = first.read()
        except WhiteBitError:
            return None
        diary = [document for document in documents if "highest" in document]
        most = max([2, *(int(document["highest"]) for document in diary)])
        steps = [self._place(f"{key}.{number}").journal for number in range(1, most + 1)]
        return _begun_in([*([] if diary else [first]), *steps])

    def _place(self, key: str) -> Place:
        return place_for(key, otherwise=MemoryJournal(), resumed=bool(self.settled))

    def _execute(
        self,
        journal: Journal,
        requested: Mapping[str, Any],
        resolve: Callable[[], Move],
        *,
        permit: Callable[[Move], None],
        generation: str,
        deferrable: bool,
        settled: Mapping[str, Any],
    ) -> Receipt:
        """Make one move by its journal, and count it."""
        try:
            settings, former, _ = self._hook.settings, self._hook.former, self._hook.get_conn()
        except WhiteBitError as error:
            _correct(error, _begun_in([journal]))
            raise
        try:
            if former is not None and begun_with(former.settings.account, journal):
                log.info("This move was begun with the key of %r: it is finished with it", former.whitebit_conn_id)
                account, former = former, None
            else:
                account = self._hook
            receipt = execute_move(
                account.get_conn(),
                journal,
                requested=requested,
                resolve=resolve,
                permit=permit,
                marks=marks_of(account.settings.account, former),
                account=account.settings.account,
                connection=self._hook.whitebit_conn_id,
                former=None if former is None else former.get_conn(),
                generation=generation,
                settle_margin_ms=settings.settle_margin_ms,
                defer=deferrable,
                settled=settled.get("intent"),
                sent=settled.get("sent", 0),
            )
        except NotSentAgain:
            raise
        except WhiteBitError as error:
            if isinstance(error, WhiteBitInDoubt):
                error.journal_entry = journal.entry
            count_failure(str(requested["operation"]), error)
            raise
        count_move(receipt, account.get_conn().clock.now_ms())
        return receipt

    def _tell(self, receipt: Receipt) -> None:
        """Announce a receipt to assets and lineage."""
        context = current_context()
        if context is not None:
            assets.announce(context, self._hook.whitebit_conn_id, receipt)
        lineage_collector().add_output_asset(
            context=self._hook,
            scheme=assets.SCHEME,
            asset_kwargs={"conn_id": self._hook.whitebit_conn_id, "path": assets.path_of(receipt)},
        )

    def carry_out(
        self,
        make_plan: Callable[[Sequence[Receipt]], TreasuryPlan],
        requested: Mapping[str, Any],
        *,
        dry_run: bool = False,
        deferrable: bool = False,
        key: str = "plan",
    ) -> PlanOutcome:
        """As :meth:`WhiteBitHook.carry_out`."""
        place = self._place(key)
        if dry_run and place.run and (begun := self._begun_under(key, place.journal)) != []:
            error = WhiteBitValidationError("This task has begun to carry out a plan; now it asks for a dry run.")
            _correct(error, begun)
            raise error
        if not dry_run:
            _claim(place, (self._hook.whitebit_conn_id, requested), f"key={key!r}")
        plans: list[TreasuryPlan] = []

        def decide(receipts: Sequence[Receipt]) -> list[Move]:
            plan = make_plan(receipts)
            plans.append(plan)
            for planned in plan.moves:
                log.info("Planned: %s", planned)
            for note in plan.notes:
                log.info("Note: %s", note)
            self._switch_auto_reinvest(plan.auto_reinvest, dry_run=dry_run)
            return [planned.move for planned in plan.moves]

        if dry_run:
            for move in decide(()):
                self._permit(move)
            return PlanOutcome(PLANNED, plans[-1])
        outside = {0: place.journal}

        def journal(number: int) -> Journal:
            if not place.run:
                return outside.setdefault(number, MemoryJournal(f"memory.{number}"))
            numbered = self._place(f"{key}.{number}")
            _claim(numbered, f"the plan key={key!r}", f"key={f'{key}.{number}'!r}")
            return numbered.journal

        def make(number: int, move: Move, permit: Callable[[Move], None]) -> Receipt:
            def permit_both(move: Move) -> None:
                # First what says that nothing is sent any more: limits are for what is.
                permit(move)
                self._permit(move)

            return self._execute(
                journal(number),
                {"operation": str(move.operation), **move.to_json()},
                lambda: move,
                permit=permit_both,
                generation=place.generation,
                deferrable=deferrable,
                # Sendings are counted for one move; what was settled is not sent again anyway.
                settled={**self.settled, "sent": 0},
            )

        receipts = Batch(
            diary=place.journal,
            journal=journal,
            plan=decide,
            make=make,
            requested=requested,
            generation=place.generation,
            run=place.run,
        ).carry_out()
        plan = plans[-1] if plans else TreasuryPlan()
        for receipt in receipts:
            self._tell(receipt)
        return PlanOutcome(EXECUTED if receipts or plan.auto_reinvest else NOTHING, plan, tuple(receipts))

    def _switch_auto_reinvest(self, switches: Mapping[str, bool], *, dry_run: bool) -> None:
        """Before the moves: if it fails nothing is carried out yet, and the task's next run does it again.

        :raises WhiteBitError: the connection's limits forbid one of them, or the exchange refuses it.
        """
        if not switches:
            return
        client = self._hook.get_conn()
        tickers = {entry.plan_id: entry.currency for entry in client.flex_investments() if entry.active}
        for plan_id in switches.keys() & tickers.keys():
            self.check_limits(tickers[plan_id], None)
        for plan_id, enabled in ({} if dry_run else switches).items():
            if plan_id in tickers:
                client.flex_auto_reinvest(plan_id, enabled=enabled)
                log.info("Auto-reinvest of the investment in plan %s: %s", plan_id, "on" if enabled else "off")
            else:
                log.warning("No auto-reinvest to switch: nothing is invested in plan %s any more", plan_id)

    def _permit(self, move: Move) -> None:
        """:raises WhiteBitLimitError: if the connection's limits forbid this move."""
        self.check_limits(move.ticker, move.amount)

    def check_limits(self, ticker: str, amount: Decimal | None) -> None:
        """:raises WhiteBitLimitError: which limit of the connection forbids this."""
        settings, name = self._hook.settings, self._hook.whitebit_conn_id
        if settings.read_only:
            raise WhiteBitLimitError(f"Connection {name!r} is read_only.")
        if settings.allowed_tickers and ticker not in settings.allowed_tickers:
            allowed = ", ".join(sorted(settings.allowed_tickers))
            raise WhiteBitLimitError(f"Connection {name!r}: {ticker} is not among its allowed_tickers ({allowed}).")
        most = settings.max_move.get(ticker)
        if most is not None and amount is not None and amount > most:
            raise WhiteBitLimitError(f"Connection {name!r}: {amount:f} {ticker} is more than its max_move of {most:f}.")


def marks_of(account: str, former: Account | None) -> Marks:
    """Marks of a key, and those of the one that it replaces.

    :param account: fingerprint of host and API key.
    :param former: whose key it replaces.
    """
    own = marks_for(account)
    return own if former is None else SharedMarks(own, marks_for(former.settings.account))


def _no_move(refusal: WhiteBitError) -> Callable[[], Move]:
    """Says that no move comes of what is asked for."""

    def resolve() -> Move:
        raise refusal

    return resolve


def _claim(place: Place, owner: object, name: str) -> None:
    """:raises WhiteBitValidationError: if the journal is another move's in this run of the task."""
    if not place.run:
        return
    before = _OWNERS.setdefault(place.run, owner)
    if before != owner:
        raise WhiteBitValidationError(
            f"Two moves of this task have the name {name}: {_told(before)} and {_told(owner)}. Give each its own."
        )


def _told(owner: object) -> str:
    return f"{owner[1]} with {owner[0]!r}" if isinstance(owner, tuple) else str(owner)


def _begun_in(journals: Sequence[Journal]) -> list[Intent] | None:
    """The intents that were carried out, or may have been; ``None``: not known."""
    try:
        intents = [one for kept in journals for one in merge(map(Intent.from_json, kept.read())).values()]
    except (WhiteBitError, ValueError):
        return None
    return [intent for intent in intents if intent.in_doubt or intent.state is State.EXECUTED]


def _has_begun(place: Place, reason: WhiteBitError) -> bool:
    """Whether earlier runs of the task have carried a move out, or may have.

    :raises WhiteBitError: the reason for asking, or the journal's own, if that cannot be told.
    """
    if not place.run:
        return False
    begun = _begun_in([place.journal])
    if begun is None:
        if isinstance(reason, _Rehearsal):
            raise JournalError(f"The journal {place.journal.identity!r} cannot be read.")
        reason.money_moved = None
        raise reason
    return bool(begun)


def _correct(error: WhiteBitError, begun: Sequence[Intent] | None) -> None:
    """Let an error that comes before a journal was asked say what the journal says of money.

    :param begun: what earlier runs of the task have carried out, or may have; ``None``: not known.
    """
    if begun is None or any(intent.in_doubt for intent in begun):
        error.money_moved = None
    if made := [intent.receipt for intent in begun or () if intent.receipt is not None]:
        error.after(", ".join(f"{one.operation} {one.amount:f} {one.ticker}" for one in made if one.amount is not None))


def _is_another(made: Move | Receipt, requested: Mapping[str, Any]) -> bool:
    """Whether a move's plan, ticker, investment or ways are others than what was asked for by name."""
    for name in ("plan_id", "ticker", "investment_id", "source", "target"):
        wanted, got = requested.get(name), getattr(made, name)
        if wanted is not None and (got is None or str(got).lower() != str(wanted).lower()):
            return True
    return False
