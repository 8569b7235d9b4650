"""Execute moves and plans for the current task: keys, journals, limits, metrics and announcements."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import pendulum

from airflow_provider_whitebit.client.errors import (
    WhiteBitConfigurationError,
    WhiteBitError,
    WhiteBitPlanOutdatedError,
    WhiteBitRefusedError,
    WhiteBitValidationError,
    in_one_line,
)
from airflow_provider_whitebit.hooks import assets
from airflow_provider_whitebit.hooks.after_move import after_move
from airflow_provider_whitebit.hooks.airflow_compat import current_context
from airflow_provider_whitebit.hooks.doubts import VariableResolutions
from airflow_provider_whitebit.hooks.journals import JournalSlot, slot_for
from airflow_provider_whitebit.hooks.metrics import count_failure, count_move
from airflow_provider_whitebit.hooks.move_keys import PLAN, MoveKeys
from airflow_provider_whitebit.hooks.stop import check_stop
from airflow_provider_whitebit.hooks.task_run import run_of
from airflow_provider_whitebit.moves import parsing
from airflow_provider_whitebit.moves.drivers import ReconcileLater, check_limits_over_time, execute_move
from airflow_provider_whitebit.moves.execution import ExecutionRequest
from airflow_provider_whitebit.moves.intent import Move, Receipt
from airflow_provider_whitebit.moves.keys import is_idempotent
from airflow_provider_whitebit.moves.limits import AUTO_REINVEST
from airflow_provider_whitebit.moves.plans import PlanRun
from airflow_provider_whitebit.moves.requests import InvalidRequest, MoveRequest, Transfer
from airflow_provider_whitebit.moves.resolution import MemoryResolutions, Resolutions
from airflow_provider_whitebit.moves.supersession import failure_key
from airflow_provider_whitebit.treasury.planning import (
    EXECUTED,
    NOTHING,
    PLANNED,
    Holdings,
    PlannedMove,
    PlanOutcome,
    TreasuryPlan,
)
from airflow_provider_whitebit.treasury.promises import AsApproved, StillPlanned
from airflow_provider_whitebit.treasury.requests import PlanRequest

if TYPE_CHECKING:
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

log = logging.getLogger(__name__)

RequestT = TypeVar("RequestT", bound=MoveRequest)


@dataclass(frozen=True, slots=True)
class Options:
    """How a move or a plan is executed.

    :param dry_run: check everything, send nothing.
    :param key: name of the move within the task.
    :param deferrable: raise ``ReconcileLater`` instead of waiting in this process.
    :param idempotency_key: name of the move for all tasks of the account, instead of ``key``.
    """

    dry_run: bool | str = False
    key: str | None = None
    deferrable: bool = False
    idempotency_key: str | None = None


#: How often one run plans, if something else moves the same assets meanwhile.
_MOST_ROUNDS = 10
_NO_HOLDINGS = Holdings(main={}, plans=(), investments=(), assets={})


class MoveExecutor:
    """Executes moves with one connection, for the current task.

    :param hook: of the connection.
    """

    #: Waits, in seconds.
    sleep: Callable[[float], None] = staticmethod(time.sleep)

    def __init__(self, hook: WhiteBitHook) -> None:
        self._hook = hook
        self.keys = MoveKeys(hook)
        #: The event of a trigger that has reconciled a move of this task.
        self._event: Mapping[str, Any] = {}

    def resume(self, event: Mapping[str, Any]) -> None:
        """Use what a trigger found out.

        :param event: of the trigger.
        """
        self._event = event
        self.keys.resumed = bool(event)
        run_of(slot_for("resumed", resumed=True)).resume()

    def execute(self, request: MoveRequest | InvalidRequest, options: Options, key: str = "") -> Receipt:
        """Execute one move. What an earlier run of the task began is finished first, even if the request is invalid.

        :param request: of the move.
        :param options: how.
        :param key: of a transfer's step; by default as the options say.
        """
        key = key or self.keys.key_of(str(request.operation), options.key, options.idempotency_key)
        request, dry_run = _checked(request, options)
        send = not (dry_run or isinstance(request, InvalidRequest))
        # The steps of a transfer belong to the key of the whole.
        is_whole = getattr(request, "route", None) is None
        try:
            slot = self.keys.slot(key)
        except WhiteBitConfigurationError:
            if send:
                raise
            # Without a journal nothing can have been made.
            return self._planned(request, key)
        run = run_of(slot)
        if send and is_whole:
            self.keys.claim(slot, key, request.to_json())
        with run.lock:
            taken = is_whole and run.is_taken(key, self._hook.whitebit_conn_id, request.to_json())
            try:
                receipt = None
                if send or (not taken and (slot.begun_before or run.has_used(key))):
                    execution = self._execution(request, slot, key, send, options.deferrable, dict(run.failed))
                    receipt = execute_move(execution, sleep=self.sleep)
                if receipt is None:
                    return self._planned(request, key)
            except BaseException as error:
                run.deferred |= isinstance(error, ReconcileLater)
                if isinstance(error, WhiteBitError):
                    count_failure(str(request.operation), error)
                if not (dry_run or taken):
                    run.fail(key, error)
                self.keys.add_other_moves(error)
                raise
            run.failed.pop(key, None)
        if not send:
            with after_move("this is not logged"):
                log.warning("This move was made before: its receipt is returned")
        count_move(receipt, self._hook._api_key.client.clock.now_ms())
        self._announce([receipt])
        return receipt

    def transfer(self, request: Transfer | InvalidRequest, options: Options) -> list[Receipt]:
        """Execute a transfer of one step, or of two by way of Main."""
        key = self.keys.key_of(str(request.operation), options.key, options.idempotency_key)
        request, dry_run = _checked(request, options)
        if isinstance(request, InvalidRequest):
            self.keys.add_history(request.error, key)
            self.keys.fail(request.error, () if dry_run else (key, f"{key}.1"))
            raise request.error
        steps = request.steps()
        receipts: list[Receipt] = []
        keys = [key] if len(steps) == 1 else [f"{key}.{number}" for number in range(1, len(steps) + 1)]
        if is_idempotent(key):
            # Whatever else another task makes under this key meets the first step.
            keys[0] = key
        if not dry_run and len(steps) > 1:
            self.keys.claim(self.keys.slot(key), key, request.to_json())
        if not dry_run:
            self.keys.check_route(request, key, steps)
        for step, step_key in zip(steps, keys, strict=True):
            # The second step moves what the first one has moved, whatever else Main holds.
            funded = step.funded_with(receipts[-1].amount) if receipts else step
            try:
                receipts.append(self.execute(funded, options, step_key))
            except WhiteBitError as error:
                error.add_completed([receipt.to_json() for receipt in receipts if receipt.status == EXECUTED])
                raise
        return receipts

    def execute_plan(self, request: PlanRequest, options: Options) -> PlanOutcome:
        """As :meth:`.WhiteBitHook.execute_plan`: recover, plan, execute. A dry run leaves out the last step."""
        key = self.keys.key_of(PLAN, options.key, options.idempotency_key)
        try:
            send = not parsing.read_boolean("dry_run", options.dry_run)
        except WhiteBitError as error:
            self.keys.add_history(error, key)
            raise
        slot, requested = self.keys.slot(key), request.to_json()
        if send:
            self.keys.claim(slot, key, {"plan": requested})
        run, failure = run_of(slot), failure_key(key)
        with run.lock:
            try:
                outcome = self._execute_plan(request, slot, key, requested, send=send, deferrable=options.deferrable)
            except BaseException as error:
                run.deferred |= isinstance(error, ReconcileLater)
                if send:
                    run.fail(failure, error)
                self.keys.add_other_moves(error)
                raise
            if send:
                run.failed.pop(failure, None)
            return outcome

    def _execute_plan(
        self,
        request: PlanRequest,
        slot: JournalSlot,
        key: str,
        requested: Mapping[str, Any],
        *,
        send: bool,
        deferrable: bool,
    ) -> PlanOutcome:
        failed = {failed: error for failed, error in run_of(slot).failed.items() if failed != failure_key(key)}
        template = self._execution(_PlanTemplate(), slot, key, True, deferrable, failed)
        template = replace(template, promise=StillPlanned(request) if request.reads_holdings else AsApproved())
        run = PlanRun(template, requested, self.sleep)
        try:
            receipts = run.done()
            if receipts is None:
                run.recover(announce=send)
                if not send:
                    plan, _ = self._plan(request, run, send=False)
                    return PlanOutcome(PLANNED, plan, tuple(run.receipts))
                plan, receipts = self._carry_out(request, run)
            else:
                plan = TreasuryPlan()
        finally:
            self._count(run.results)
        if send:
            self._announce(receipts)
        return PlanOutcome(EXECUTED if receipts or plan.auto_reinvest else NOTHING, plan, tuple(receipts))

    def _carry_out(self, request: PlanRequest, run: PlanRun) -> tuple[TreasuryPlan, list[Receipt]]:
        """Plan and execute; again, if something else has moved meanwhile.

        :returns: the last plan with the moves made before it, and all receipts.
        """
        rounds = 1
        before: tuple[PlannedMove, ...] = ()
        while True:
            plan, failures = self._plan(request, run, send=True)
            try:
                receipts = run.execute([planned.move for planned in plan.moves], failures)
                return replace(plan, moves=(*before, *plan.moves)), receipts
            except WhiteBitPlanOutdatedError as error:
                if rounds == _MOST_ROUNDS:
                    raise
                rounds += 1
                made = [move for move, result in run.results if isinstance(result, Receipt)]
                before = (*before, *(planned for planned in plan.moves if planned.move in made))
                log.warning("Planning again: %s", error.message)

    def _planned(self, request: MoveRequest | InvalidRequest, key: str) -> Receipt:
        """The receipt of a dry run: what would be moved."""
        if isinstance(request, InvalidRequest):
            self.keys.add_history(request.error, key)
        move = request.resolve(self._hook._account)
        limits = self._hook.settings.limits
        limits.check(move.operation, move.ticker, move.amount)
        check_limits_over_time(limits, self._hook._api_key, [move])
        return move.planned()

    def _plan(self, request: PlanRequest, run: PlanRun, *, send: bool) -> tuple[TreasuryPlan, list[str]]:
        """:returns: the plan, and which switches of auto-reinvest were refused, in words."""
        try:
            holdings = self._hook.holdings(*request.accounts) if request.reads_holdings else _NO_HOLDINGS
            plan = request.plan(holdings, pendulum.now("UTC"), run.receipts)
            limits = self._hook.settings.limits
            if not plan.moves:
                log.info("Planned: no moves")
            for planned in plan.moves:
                log.info("Planned: %s", planned)
                if not send:
                    move = planned.move
                    limits.check(move.operation, move.ticker, move.amount)
            if not send:
                check_limits_over_time(limits, self._hook._api_key, [planned.move for planned in plan.moves])
            for note in plan.notes:
                log.info("Note: %s", note)
            refused = self._switch_auto_reinvest(plan.auto_reinvest, send=send)
        except WhiteBitError as error:
            run.add_facts(error)
            raise
        return plan, refused

    def _switch_auto_reinvest(self, switches: Mapping[str, bool], *, send: bool) -> list[str]:
        """Switch before the moves: if this fails, nothing is carried out yet and the next run does it again.

        :raises WhiteBitError: the connection's limits forbid one of them, or the exchange cannot be reached.
        :returns: what the exchange refused, in words. It stops nothing else.
        """
        refused: list[str] = []
        if not switches:
            return refused
        tickers = {one.plan_id: one.currency for one in self._hook._account.active_flex_investments()}
        for plan_id in switches.keys() & tickers.keys():
            self._hook.settings.limits.check(AUTO_REINVEST, tickers[plan_id], None)
        for plan_id, enabled in switches.items() if send else ():
            if plan_id in tickers:
                check_stop()
                try:
                    self._hook._api_key.client.switch_auto_reinvest(plan_id, enabled=enabled)
                except (WhiteBitValidationError, WhiteBitRefusedError) as error:
                    refused.append(f"Auto-reinvest was not switched in plan {plan_id}: {in_one_line(error)}")
                    log.error("%s", refused[-1])
                    continue
                log.info("Auto-reinvest of the investment in plan %s: %s", plan_id, "on" if enabled else "off")
            else:
                log.warning("Auto-reinvest is not switched: nothing is invested in plan %s any more", plan_id)
        return refused

    def _execution(
        self,
        request: MoveRequest | InvalidRequest | _PlanTemplate,
        slot: JournalSlot,
        key: str,
        send: bool,
        deferrable: bool,
        failed: Mapping[str, WhiteBitError],
    ) -> ExecutionRequest:
        hook = self._hook
        try:
            api_key, previous_key = hook._api_key, hook._previous_api_key
        except WhiteBitError as error:
            self.keys.add_history(error, key)
            raise
        return ExecutionRequest(
            request=request,
            api_key=api_key,
            previous_key=previous_key,
            journal=slot.journal,
            limits=hook.settings.limits,
            account=hook._account,
            key=key,
            run=slot.run,
            generation=slot.generation,
            task=slot.task,
            send=send,
            defer=deferrable,
            resumed=self._event.get("intent"),
            # A plan counts what it sends for each move; what a trigger has reconciled is not sent again.
            sent=0 if isinstance(request, _PlanTemplate) else self._event.get("sent", 0),
            again=key in failed,
            failed=failed,
            begun_before=slot.begun_before,
            check_stop=check_stop,
            resolutions=self._resolutions(slot),
        )

    def _resolutions(self, slot: JournalSlot) -> Resolutions:
        if not slot.instance:
            return MemoryResolutions()
        return VariableResolutions(slot.instance, self._hook.whitebit_conn_id, reported=run_of(slot).doubts)

    def _count(self, results: Sequence[tuple[Move, Receipt | WhiteBitError]]) -> None:
        for move, result in results:
            if isinstance(result, Receipt):
                count_move(result, self._hook._api_key.client.clock.now_ms())
            else:
                count_failure(str(move.operation), result)

    def _announce(self, receipts: Sequence[Receipt]) -> None:
        """Report moves to Airflow's assets and lineage."""
        for receipt in receipts:
            with after_move("it is not announced"):
                assets.announce(current_context(), self._hook, receipt)


class _PlanTemplate:
    """Fills the place of the request in what all executions of a plan share."""

    def resolve(self, account: object) -> Move:
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        return {}

    def means(self, move: object) -> bool:
        return False


def _checked(request: RequestT | InvalidRequest, options: Options) -> tuple[RequestT | InvalidRequest, bool]:
    """The request, and whether it is a dry run."""
    try:
        return request, parsing.read_boolean("dry_run", options.dry_run)
    except WhiteBitError as error:
        return InvalidRequest(request.operation, {}, error), False
