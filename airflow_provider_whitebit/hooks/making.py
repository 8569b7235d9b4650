"""How the hook makes moves: limits, journals of the task that runs here, metrics, and what others are told."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import (
    WhiteBitConfigurationError,
    WhiteBitError,
    WhiteBitInDoubt,
    WhiteBitLimitError,
)
from airflow_provider_whitebit.hooks import assets
from airflow_provider_whitebit.hooks.airflow_compat import current_context, lineage_collector
from airflow_provider_whitebit.hooks.asked import TARGET, Call, Wanted, begun_in, correct, in_doubt, refused_in, run_of
from airflow_provider_whitebit.hooks.journals import Place, marks_for, place_for
from airflow_provider_whitebit.hooks.metrics import count_failure, count_move
from airflow_provider_whitebit.hooks.settings import Settings
from airflow_provider_whitebit.moves.batch import Batch, NotSentAgain, in_words
from airflow_provider_whitebit.moves.drivers import SettleLater, begun_with, execute_move
from airflow_provider_whitebit.moves.intent import Intent, Move, Operation, Receipt
from airflow_provider_whitebit.moves.journal import Journal, JournalError, Marks, MemoryJournal, SharedMarks
from airflow_provider_whitebit.moves.protocol import WhiteBitAlreadyMovedError
from airflow_provider_whitebit.treasury.planning import EXECUTED, NOTHING, PLANNED, PlanOutcome, TreasuryPlan

log = logging.getLogger(__name__)

_NAMES = "Where a task makes several moves whose order may change, give each a name: key=..."

#: What a caller asks for: its own parameters as plain JSON, and what says which move they come to now.
Asked = tuple[dict[str, Any], Callable[[], Move]]


#: So many numbers are looked at although nothing lies under them.
_GAP = 20
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

    def move(
        self,
        operation: Operation,
        ask: Callable[[], Asked],
        *,
        dry_run: bool,
        key: str | None,
        deferrable: bool,
        within: list[Call] | None = None,
        whole: str = "",
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
        :param whole: the larger move.
        """
        refusal: WhiteBitError | None = None
        try:
            requested, resolve = ask()
        except WhiteBitError as error:
            if key is None:
                # Which of its moves this is cannot be told, only what all of them came to.
                self.tell_what_stands(error, str(operation))
                raise
            requested, resolve, refusal = {"operation": str(operation)}, _no_move(error), error
        if refusal is not None or dry_run:
            return self._held_back(requested, resolve, refusal, key=key, deferrable=deferrable)
        place, call = self._place_of(Wanted(self._hook.whitebit_conn_id, requested, whole), key)

        def permit(move: Move) -> None:
            self._permit(move)
            if _is_another(move, requested):
                raise WhiteBitAlreadyMovedError(
                    f"An earlier run of this task began its move {place.journal.identity} as {move} and did "
                    f"not carry it out; now it asks for {requested}. {_NAMES}"
                )
            if call is not None and place.begun_before:
                self._not_beside_another(place, call)

        if call is not None and within is not None:
            within.append(call)
        try:
            again = call is not None and call.again
            receipt = self._execute(place, requested, resolve, permit=permit, deferrable=deferrable, again=again)
        except BaseException:
            if call is not None:
                call.failed = True
            raise
        if _is_another(receipt, requested):
            raise WhiteBitAlreadyMovedError(
                f"This task has made its move {place.journal.identity} as {receipt.to_json()}; now it asks for "
                f"{requested}. {_NAMES}",
                money_moved=True,
            )
        self._tell(receipt)
        return receipt

    def _held_back(
        self,
        requested: dict[str, Any],
        resolve: Callable[[], Move],
        refusal: WhiteBitError | None,
        *,
        key: str | None,
        deferrable: bool,
    ) -> Receipt:
        """Bring to its end what earlier runs of the task have begun as this move, and send nothing.

        :param refusal: what is wrong with what is asked for now; ``None``: it is a dry run.
        """

        def planned() -> Receipt:
            move = resolve()
            self._permit(move)
            return Receipt.planned(move)

        operation = requested["operation"]
        try:
            place = self._place(key or operation)
            if key is None and place.run:
                rehearsals = run_of(place.process_run).rehearsals
                rehearsals[operation] += 1
                place = self._place(_numbered(operation, rehearsals[operation]))
        except WhiteBitConfigurationError:
            # Nothing can have been made where there is no journal.
            return planned()
        begun = begun_in([place.journal]) if place.run else []
        if begun is None:
            unreadable = JournalError(f"The journal {place.journal.identity!r} cannot be read.")
            if refusal is None:
                raise unreadable
            correct(refusal, None)
            raise refusal
        if all(_is_another(intent.move, requested) for intent in begun):
            return planned()

        def send_nothing(move: Move) -> None:
            raise refusal or _Rehearsal("a dry run sends nothing")

        try:
            receipt = self._execute(place, requested, resolve, permit=send_nothing, deferrable=deferrable)
        except _Rehearsal:
            return planned()
        log.warning("This move was made before, its receipt is returned: %s", refusal.message if refusal else "dry run")
        if key is not None:
            self._tell(receipt)
        return receipt

    def _place_of(self, wanted: Wanted, key: str | None) -> tuple[Place, Call | None]:
        """The journal of a move. :raises WhiteBitValidationError: two moves of this run have one name."""
        # The name must not depend on what is rendered: a retry that renders another plan has to find its journal.
        operation = str(wanted.requested["operation"])
        place = self._place(key or operation)
        if not place.run:
            return place, None
        run = run_of(place.process_run)
        if key is not None:
            run.claim(place.journal, wanted, key)
            return place, None
        call = run.call(operation, wanted, lambda number: in_doubt(self._place(_numbered(operation, number)).journal))
        place = self._place(_numbered(operation, call.number))
        run.claim(place.journal, _WITHOUT_A_NAME, _numbered(operation, call.number))
        return place, call

    def _not_beside_another(self, place: Place, call: Call) -> None:
        """An earlier run may have been refused this move, and have made another in its place.

        Another is one that it asked for later, with the same connection, plan, asset and ways: moves of other plans
        and accounts stand beside this one.

        :param place: of a move that was not made, and would be sent now.
        :raises WhiteBitError: that refusal once more, so that the task takes the same way again.
        :raises WhiteBitAlreadyMovedError: there is none to be repeated.
        """
        operation = str(call.wanted.requested["operation"])
        wanted, asked_for = call.wanted, run_of(place.process_run).asked_for(operation)
        later = [self._place(_numbered(operation, asked_for + more)).journal for more in range(1, _GAP + 1)]
        begun = begun_in(later)
        if begun is None:
            raise JournalError(f"What this task went on to after {place.journal.identity!r} cannot be read.")
        # Where it is not known with which connection a move was made, it may have been this one.
        instead = [
            intent
            for intent in begun
            if wanted.is_like(Wanted(intent.connection or wanted.connection, intent.requested, wanted.whole))
        ]
        if not instead:
            return
        what = "; ".join(str(intent.move) for intent in instead)
        log.warning("An earlier run of this task did not make this move and went on to %s: it is not sent now", what)
        error = refused_in(place.journal) or WhiteBitAlreadyMovedError(
            f"An earlier run of this task did not make this move ({wanted}), and went on to {what}.",
            money_moved=True,
        )
        correct(error, instead)
        raise error

    def resume(self, event: Mapping[str, Any]) -> None:
        """Take into account what a trigger has found out.

        :param event: its event.
        """
        self.settled = event
        place = self._place("resumed")
        if place.run:
            run_of(place.process_run).resume()

    def tell_what_stands(self, error: WhiteBitError, key: str) -> None:
        """As :meth:`WhiteBitHook.tell_what_stands`."""
        with contextlib.suppress(WhiteBitConfigurationError):
            place = self._place(key)
            if place.run:
                correct(error, self._begun_under(key, place.journal))

    def _begun_under(self, key: str, first: Journal) -> list[Intent] | None:
        """What earlier runs have begun under a name: as one move, in steps, or as a plan; ``None``: not known."""
        try:
            documents = first.read()
            highest = [int(document["highest"]) for document in documents if "highest" in document]
            journals = [] if highest else [first]
            for number in itertools.count(1):
                numbered = self._place(f"{key}.{number}").journal
                # There are gaps: what was refused before it was written down has a number too.
                if number > max([_GAP, *highest]) and not numbered.read():
                    return begun_in(journals)
                journals.append(numbered)
        except WhiteBitError:
            pass
        return None

    def _place(self, key: str) -> Place:
        return place_for(key, otherwise=MemoryJournal(), resumed=bool(self.settled))

    def _execute(
        self,
        place: Place,
        requested: Mapping[str, Any],
        resolve: Callable[[], Move],
        *,
        permit: Callable[[Move], None],
        deferrable: bool,
        settled: Mapping[str, Any] | None = None,
        again: bool = False,
    ) -> Receipt:
        """Make one move by its journal, and count it.

        :param again: whether this run asks once more for what it has been refused.
        :param settled: what was found out while the task was put off, if not all of it counts.
        """
        journal, settled = place.journal, self.settled if settled is None else settled
        try:
            settings, former, _ = self._hook.settings, self._hook.former, self._hook.get_conn()
        except WhiteBitError as error:
            correct(error, begun_in([journal]))
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
                generation=place.generation,
                settle_margin_ms=settings.settle_margin_ms,
                defer=deferrable,
                settled=settled.get("intent"),
                sent=settled.get("sent", 0),
                again=again,
            )
        except NotSentAgain:
            raise
        except SettleLater:
            run_of(place.process_run).deferred = True
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
        run = run_of(place.process_run)
        if place.run and not dry_run:
            run.claim(place.journal, Wanted(self._hook.whitebit_conn_id, requested), key)
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

        outside = {0: place.journal}

        def place_of(number: int) -> Place:
            if not place.run:
                return replace(place, journal=journal(number))
            return self._place(f"{key}.{number}")

        def journal(number: int) -> Journal:
            if not place.run:
                return outside.setdefault(number, MemoryJournal(f"memory.{number}"))
            return place_of(number).journal

        def make(number: int, move: Move, permit: Callable[[Move], None]) -> Receipt:
            def permit_both(move: Move) -> None:
                # First what says that nothing is sent any more: limits are for what is.
                permit(move)
                self._permit(move)

            numbered = place_of(number)
            if numbered.run:
                run.claim(numbered.journal, f"the plan key={key!r}", f"{key}.{number}")
            return self._execute(
                numbered,
                {"operation": str(move.operation), **move.to_json()},
                lambda: move,
                permit=permit_both,
                deferrable=deferrable,
                # Sendings are counted for one move; what was settled is not sent again anyway.
                settled={**self.settled, "sent": 0},
            )

        batch = Batch(
            diary=place.journal,
            journal=journal,
            plan=decide,
            make=make,
            requested=requested,
            generation=place.generation,
            run=place.run,
        )
        if dry_run:
            # What earlier runs have on its way is found out here too, and told with the plan.
            receipts, done = batch.catch_up()
            if done:
                return PlanOutcome(EXECUTED if receipts else NOTHING, TreasuryPlan(), tuple(receipts))
            try:
                for move in decide(receipts):
                    self._permit(move)
            except WhiteBitError as error:
                if receipts:
                    error.after(in_words(receipts))
                raise
            return PlanOutcome(PLANNED, plans[-1], tuple(receipts))
        receipts = batch.carry_out()
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


def _numbered(operation: str, number: int) -> str:
    """Name of the journal of a move without a name."""
    return operation if number == 1 else f"{operation}.{number}"


def _is_another(made: Move | Receipt, requested: Mapping[str, Any]) -> bool:
    """Whether a move's plan, ticker, investment or ways are others than what was asked for by name."""
    for name in TARGET:
        wanted, got = requested.get(name), getattr(made, name)
        if wanted is not None and (got is None or str(got).lower() != str(wanted).lower()):
            return True
    return False
