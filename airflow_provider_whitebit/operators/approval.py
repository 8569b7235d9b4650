"""Operators with which people approve a plan before money moves. Asking people needs Airflow 3.1 and later.

Each person is asked by a task of its own. Airflow keeps one question, one list of users and one answer for each task
instance, so a second question of the same task would show the text of the first one and replace its answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_whitebit.operators import people
from airflow_provider_whitebit.operators.base import WhiteBitMoveOperator, fail_without_retry, publish
from airflow_provider_whitebit.operators.parameters import (
    KnowsMapped,
    checks_values,
    plain_path,
    read_rendered,
    refuse_floats,
)
from airflow_provider_whitebit.operators.people import (
    ApprovalOperator,
    HITLOperator,
    as_users,
    require_people,
    require_same_question,
    set_fields,
)

if TYPE_CHECKING:
    from datetime import timedelta
    from decimal import Decimal
    from typing import Unpack

    from airflow.sdk import BaseNotifier, XComArg

    from airflow_provider_whitebit.operators.arguments import BaseOperatorKwargs
    from airflow_provider_whitebit.operators.people import Users
    from airflow_provider_whitebit.treasury.approval import Approval
    from airflow_provider_whitebit.treasury.plans import TreasuryPlan

_NEW_RUN = "Start a new dag run: it plans and asks again."
#: XCom that says who rejected a plan, and when.
_REJECTION = "rejection"


def can_ask_people() -> bool:
    """Whether this Airflow can ask people: 3.1 or later, with the standard provider 1.12.2 or later."""
    return people.CAN_ASK_PEOPLE


class WhiteBitApprovalOperator(KnowsMapped, ApprovalOperator):
    """Ask a person to approve a plan, if it moves more than an amount. Return the approved plan.

    For two people, let a second task approve what the first one returned: ``plan=first.output``. It refuses the answer
    of a person who has approved the plan before, and asks again.

    The answer names the plan by its digest. If the plan is another one when the answer arrives, the task fails. Pass
    the result on with ``approved_plan=ask.output``: a plan that was changed after its approval is refused.

    After a rejection the tasks downstream are skipped. If nobody answers in time, the task fails. It never approves by
    itself, so it has no ``defaults``.

    :param plan: what to approve: the result of a task with ``dry_run=True`` (a plan, a receipt, a list of receipts) or
        of another ``WhiteBitApprovalOperator``.
    :param above: amounts by ticker, in units of the asset. A person is asked if the moves of an asset together are
        above its amount, or if the plan moves an asset that has none. By default, a person is asked for every plan.
    :param assigned_users: who may answer: user ids, or ids with names. By default, everybody who may answer questions
        of the DAG. Airflow's auth manager checks it.
    :param response_timeout: longest time for an answer; by default there is no limit.
    :param subject: headline of the question.
    :param body: Markdown that is shown before the table of moves.
    :param fail_on_reject: fail after a rejection instead of skipping the tasks downstream.
    :param fail_on_timeout: fail if nobody answers in time. With false, the tasks downstream are skipped.
    :param ignore_downstream_trigger_rules: skip all tasks downstream, not only the direct ones.
    :param notifiers: called when the question is asked.
    :param fields: further fields of the question, as Airflow's ``params``: what the person writes into them is in the
        result.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = ("subject", "body", "plan", "above")
    template_fields_renderers = {"plan": "json", "above": "json"}  # noqa: RUF012 - as Airflow declares it
    ui_color = "#fff4d6"

    def __init__(
        self,
        *,
        plan: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | XComArg,
        above: Mapping[str, str | int | Decimal] | str | XComArg | None = None,
        assigned_users: Users | str | None = None,
        response_timeout: timedelta | None = None,
        subject: str = "Approve this plan of {{ dag.dag_id }}?",
        body: str = "",
        fail_on_reject: bool = False,
        fail_on_timeout: bool = True,
        ignore_downstream_trigger_rules: bool = False,
        notifiers: Sequence[BaseNotifier] | BaseNotifier | None = None,
        fields: Mapping[str, Any] | None = None,
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        require_people(type(self))
        if "defaults" in kwargs:
            raise ValueError("WhiteBitApprovalOperator takes no defaults: nothing approves a plan but a person")
        super().__init__(
            subject=subject,
            body=body,
            assigned_users=as_users(assigned_users, given=self._is_given("assigned_users", assigned_users)),
            response_timeout=response_timeout,
            fail_on_reject=fail_on_reject,
            ignore_downstream_trigger_rules=ignore_downstream_trigger_rules,
            notifiers=notifiers,
            **kwargs,
        )
        if checks_values(self):
            refuse_floats({"above": above})
        set_fields(self, fields or {})
        self.plan: Any = plain_path(plan)
        self.above: Any = above
        self.fail_on_timeout = fail_on_timeout

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Return the plan at once if nobody needs to approve it. Otherwise, ask.

        :raises TaskAwaitingInput: a person is asked (3.3 and later).
        :raises TaskDeferred: a person is asked (before 3.3).
        """
        from airflow_provider_whitebit.treasury.approval import why_ask

        with fail_without_retry():
            plan, earlier = self._read_plan()
            reason = why_ask(plan, self._read_above())
            if not reason:
                below = "it has nothing to do" if plan.empty else "it moves no more than the amounts of above"
                return self._result(context, plan, earlier, f"Nobody was asked: {below}.")
            self._describe(plan, earlier, reason)
            require_same_question(self, context, _NEW_RUN)
        self.log.info("A person must approve the plan: %s", reason)
        return super().execute(context)  # type: ignore[arg-type, no-any-return]

    def execute_complete(self, context: Mapping[str, Any], event: dict[str, Any]) -> dict[str, Any]:
        """Return the approved plan, or stop what is downstream.

        :param event: the answer.
        """
        if event.get("error_type") == "timeout":
            self._stop(context, "Nobody answered in time.", fail=self.fail_on_timeout)
        if "error" in event:
            self.process_trigger_event_error(event)
        chosen = list(event["chosen_options"])
        if chosen == [self.REJECT]:
            self._reject(context, event)
        with fail_without_retry():
            plan, earlier = self._read_plan()
            user = self._approver(plan, chosen, event)
            if user["id"] in {approval.user_id for approval in earlier}:
                return self._ask_another(context, plan, earlier, user)
            approval = self._approval(event)
        HITLOperator.execute_complete(self, context, event)  # type: ignore[arg-type]
        self.log.info("Approved by %s: plan %s", approval, plan.digest)
        return self._result(context, plan, (*earlier, approval), self._reason(plan))

    def _read_plan(self) -> tuple[TreasuryPlan, tuple[Approval, ...]]:
        """The plan as it is now, and the approvals that it already has."""
        from airflow_provider_whitebit.client.errors import WhiteBitValidationError
        from airflow_provider_whitebit.treasury.approval import earlier_approvals, read_plan

        raw = read_rendered(self.plan)
        if raw is None:
            raise WhiteBitValidationError(
                "plan is missing: the task that plans returned nothing.", next_step=f"Run that task. {_NEW_RUN}"
            )
        return read_plan(raw), earlier_approvals(raw)

    def _read_above(self) -> dict[str, Decimal] | None:
        from airflow_provider_whitebit.treasury.approval import read_above

        return read_above(read_rendered(self.above))

    def _reason(self, plan: TreasuryPlan) -> str:
        from airflow_provider_whitebit.treasury.approval import why_ask

        return why_ask(plan, self._read_above())

    def _describe(self, plan: TreasuryPlan, earlier: Sequence[Approval], reason: str) -> None:
        """Set what people read and may answer."""
        from airflow_provider_whitebit.treasury.approval import approve_option, question_text

        self.options = [approve_option(plan), self.REJECT]
        self.body = question_text(plan, reason, earlier, self.body or "")

    def _approver(self, plan: TreasuryPlan, chosen: Sequence[str], event: Mapping[str, Any]) -> Mapping[str, str]:
        """The person who approved the plan.

        :raises WhiteBitValidationError: the answer is about another plan, or nobody gave it.
        """
        from airflow_provider_whitebit.client.errors import WhiteBitValidationError
        from airflow_provider_whitebit.treasury.approval import approve_option

        self.options = [approve_option(plan), self.REJECT]
        if list(chosen) != self.options[:1]:
            raise WhiteBitValidationError(
                f"The plan has changed since people were asked. The answer was {', '.join(chosen)!r}; the plan needs "
                f"{self.options[0]!r}.",
                next_step=_NEW_RUN,
            )
        user: Mapping[str, str] = event.get("responded_by_user") or {}
        if not user.get("id"):
            raise WhiteBitValidationError(
                "Airflow does not say who approved the plan.", next_step="Clear the task: it asks again."
            )
        return user

    def _ask_another(
        self, context: Mapping[str, Any], plan: TreasuryPlan, earlier: Sequence[Approval], user: Mapping[str, str]
    ) -> dict[str, Any]:
        """Ask again, because the person who answered has approved the plan before."""
        self.log.warning(
            "%s (id %s) has approved this plan before. Another person must approve it: the question is asked again",
            user["name"],
            user["id"],
        )
        self._describe(plan, earlier, self._reason(plan))
        return super().execute(context)  # type: ignore[arg-type, no-any-return]

    def _approval(self, event: Mapping[str, Any]) -> Approval:
        from airflow_provider_whitebit.treasury.approval import Approval

        user = event["responded_by_user"]
        return Approval(
            user_id=str(user["id"]),
            user_name=str(user["name"]),
            approved_at=_in_utc(event["responded_at"]),
            task_id=self.task_id,
            answers=dict(event.get("params_input") or {}),
        )

    def _result(
        self, context: Mapping[str, Any], plan: TreasuryPlan, approvals: Sequence[Approval], reason: str
    ) -> dict[str, Any]:
        from airflow_provider_whitebit.treasury.approval import ApprovedDocument

        self.log.info("%s", reason)
        return publish(self, ApprovedDocument(plan, tuple(approvals), reason).to_json(), context)

    def _reject(self, context: Mapping[str, Any], event: Mapping[str, Any]) -> NoReturn:
        user = event.get("responded_by_user") or {"id": "", "name": "nobody that Airflow names"}
        at = _in_utc(event["responded_at"]).isoformat(timespec="seconds")
        rejection = {**user, "rejected_at": at, "answers": dict(event.get("params_input") or {})}
        if self.do_xcom_push:
            context["ti"].xcom_push(_REJECTION, rejection)
        self._stop(context, f"Rejected by {user['name']} (id {user['id']}), {at}.", fail=self.fail_on_reject)

    def _stop(self, context: Mapping[str, Any], why: str, *, fail: bool) -> NoReturn:
        """Let nothing downstream run."""
        from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException, AirflowSkipException

        if fail:
            raise AirflowFailException(f"{why}\nNo money moved.\nNext step: {_NEW_RUN}")
        self.log.info("%s Nothing downstream runs", why)
        everything = self.ignore_downstream_trigger_rules
        task = context["task"]
        relatives = task.get_flat_relatives if everything else task.get_direct_relatives
        self.skip(ti=context["ti"], tasks=[other for other in relatives(upstream=False) if not other.is_teardown])
        # Without tasks downstream, Airflow skips nothing and comes back.
        raise AirflowSkipException(why)


class WhiteBitApprovedPlanOperator(WhiteBitMoveOperator):
    """Execute exactly a plan that :class:`WhiteBitApprovalOperator` returned, each of its moves once.

    It refuses a plan without an approval, and a plan that was changed after it. It needs no policy, and it also
    executes plans that were approved from the receipts of single dry runs.

    :param approved_plan: the result of the approval: ``ask.output``.
    :param idempotency_key: name of the plan for all tasks of the account: nothing moves twice under one.
    :param dry_run: return the plan, send nothing.
    :param deferrable: wait in the triggerer if an answer is lost. By default, Airflow's setting ``default_deferrable``.
    :param whitebit_conn_id: the Airflow connection.
    :param kwargs: the parameters of Airflow's ``BaseOperator``.
    """

    template_fields: Sequence[str] = (*WhiteBitMoveOperator.template_fields, "approved_plan")
    template_fields_renderers = {"approved_plan": "json"}  # noqa: RUF012 - as Airflow declares it
    ui_color = "#eef7e9"

    def __init__(
        self,
        *,
        approved_plan: Mapping[str, Any] | str | XComArg,
        idempotency_key: str | XComArg | None = None,
        dry_run: bool | str | XComArg = False,
        deferrable: bool | None = None,
        whitebit_conn_id: str | XComArg = "whitebit_default",
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        super().__init__(
            idempotency_key=idempotency_key,
            dry_run=dry_run,
            deferrable=deferrable,
            whitebit_conn_id=whitebit_conn_id,
            **kwargs,
        )
        self.approved_plan: Any = approved_plan

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Make the moves of the plan. Return the outcome as plain JSON."""
        from airflow_provider_whitebit.client.errors import WhiteBitError
        from airflow_provider_whitebit.treasury.approval import ApprovedDocument
        from airflow_provider_whitebit.treasury.requests import ApprovedPlan

        with self.moving():
            options = self._options()
            try:
                approved = ApprovedDocument.from_json(self._parameters("approved_plan")["approved_plan"])
            except WhiteBitError as error:
                self.hook._add_plan_history(error, options["idempotency_key"])
                raise
            for approval in approved.approvals:
                self.log.info("Approved by %s", approval)
            outcome = self.hook.execute_plan(ApprovedPlan(None, approved.plan), **options)
        self._log_receipts(outcome.receipts)
        return self._publish(outcome.to_json(), context)


def _in_utc(moment: Any) -> Any:
    """A time of Airflow's in UTC."""
    import pendulum

    return pendulum.parse(moment) if isinstance(moment, str) else pendulum.instance(moment).in_timezone("UTC")
