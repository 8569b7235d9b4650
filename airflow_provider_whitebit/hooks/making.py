"""How the hook makes moves: limits, journals of the task that runs here, metrics, and what others are told."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import (
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
from airflow_provider_whitebit.moves.intent import Move, Receipt
from airflow_provider_whitebit.moves.journal import Journal, Marks, MemoryJournal, SharedMarks
from airflow_provider_whitebit.moves.protocol import WhiteBitAlreadyMovedError
from airflow_provider_whitebit.treasury.planning import EXECUTED, NOTHING, PLANNED, PlanOutcome, TreasuryPlan

log = logging.getLogger(__name__)

#: Moves that this process has made, by the run of a task that made them: two moves of one task need two journals.
_MOVES_MADE: Counter[str] = Counter()
#: What was asked for under each name, by the run of a task and that name.
_NAMED: dict[str, Mapping[str, Any]] = {}
_NAMES = "Where a task makes several moves whose order may change, give each a name: key=..."


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
        requested: dict[str, Any],
        resolve: Callable[[], Move],
        *,
        dry_run: bool,
        key: str | None,
        deferrable: bool,
    ) -> Receipt:
        if dry_run:
            move = resolve()
            self._permit(move)
            return Receipt.planned(move)
        place = self._place_of(requested, key)

        def permit(move: Move) -> None:
            self._permit(move)
            if _is_another(move, requested):
                raise WhiteBitAlreadyMovedError(
                    f"An earlier run of this task began its move {place.journal.identity} as {move.to_json()} and did "
                    f"not carry it out; now it asks for {requested}. {_NAMES}"
                )

        receipt = self._execute(
            place.journal,
            requested,
            resolve,
            permit=permit,
            generation=place.generation,
            deferrable=deferrable,
            settled=self.settled,
        )
        if _is_another(receipt, requested):
            raise WhiteBitAlreadyMovedError(
                f"This task has made its move {place.journal.identity} as {receipt.to_json()}; now it asks for "
                f"{requested}. {_NAMES}"
            )
        self._tell(receipt)
        return receipt

    def _place_of(self, requested: Mapping[str, Any], key: str | None) -> Place:
        """The journal of a move. :raises WhiteBitValidationError: two moves of this run have one name."""
        # The name must not depend on what is rendered: a retry that renders another plan has to find its journal.
        operation = requested["operation"]
        place = self._place(key or operation)
        if not place.run:
            return place
        if key is None:
            if self.settled and place.run not in self._resumed:
                # A run that was put off counts from the beginning again; ``dag.test()`` goes on in the same process.
                self._resumed.add(place.run)
                _MOVES_MADE[place.run] = 0
            # A second move of this kind in the same run of the task is another move, not the first one again.
            _MOVES_MADE[place.run] += 1
            number = _MOVES_MADE[place.run]
            return place if number == 1 else self._place(f"{operation}.{number}")
        before = _NAMED.setdefault(place.run, requested)
        if before != requested:
            raise WhiteBitValidationError(
                f"Two moves of this task have the name key={key!r}: {before} and {requested}. Give each its own."
            )
        return place

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
        settings, former = self._hook.settings, self._hook.former
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
            return self._place(f"{key}.{number}").journal

        def make(number: int, move: Move, permit: Callable[[Move], None]) -> Receipt:
            def permit_both(move: Move) -> None:
                self._permit(move)
                permit(move)

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


def _is_another(made: Move | Receipt, requested: Mapping[str, Any]) -> bool:
    """Whether a move's plan, ticker, investment or ways are others than what was asked for by name."""
    for name in ("plan_id", "ticker", "investment_id", "source", "target"):
        wanted, got = requested.get(name), getattr(made, name)
        if wanted is not None and (got is None or str(got).lower() != str(wanted).lower()):
            return True
    return False
