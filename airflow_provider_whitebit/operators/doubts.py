"""An operator with which people answer whether a move in doubt ran (Airflow 3.1 and later)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import Param

from airflow_provider_whitebit.operators.base import fail_without_retry
from airflow_provider_whitebit.operators.parameters import KnowsMapped
from airflow_provider_whitebit.operators.people import (
    HITLOperator,
    as_users,
    require_people,
    require_same_question,
    set_fields,
)

if TYPE_CHECKING:
    from datetime import timedelta
    from typing import Unpack

    from airflow.sdk import BaseNotifier

    from airflow_provider_whitebit.hooks.doubts import Report
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
    from airflow_provider_whitebit.moves.examination import Examined
    from airflow_provider_whitebit.operators.arguments import BaseOperatorKwargs
    from airflow_provider_whitebit.operators.people import Users

_RAN, _DID_NOT_RUN, _NOT_YET = "It ran", "It did not run", "Not yet"
#: States in which a task runs no more before somebody clears it.
_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
_ELSEWHERE = "Answer on the Treasury page, or with the command: airflow whitebit doubts list, show, resolve."
#: XCom with a person's answer.
_RESOLUTION = "resolution"


class WhiteBitDoubtOperator(KnowsMapped, HITLOperator):
    """Ask a person whether a move in doubt ran. Place it behind tasks that move money.

    It asks the exchange again first. If what it shows needs no person, nobody is asked. Otherwise, a person reads what
    was sent and which records may be the move, and answers. The answer is kept for the task that made the move; it
    takes effect when somebody clears that task, together with this one.

    If the tasks before it have succeeded, this task is skipped. Otherwise it fails, also after an answer, so that the
    dag run stays failed until the move's task was cleared. If several moves are in doubt, it asks about the one that
    was sent first.

    :param task_ids: tasks of the dag run that move money; by default, the direct upstream tasks.
    :param assigned_users: who may answer: user ids, or ids with names. By default, everybody who may answer questions
        of the DAG. Airflow's auth manager checks it.
    :param response_timeout: longest time for an answer; by default there is no limit.
    :param subject: headline of the question.
    :param notifiers: called when the question is asked.
    :param kwargs: the parameters of Airflow's ``BaseOperator``. By default, ``trigger_rule`` is ``all_done``.
    """

    template_fields: Sequence[str] = ("subject", "task_ids")
    ui_color = "#ffe3e3"

    def __init__(
        self,
        *,
        task_ids: Collection[str] | str | None = None,
        assigned_users: Users | str | None = None,
        response_timeout: timedelta | None = None,
        subject: str = "Did this move of {{ dag.dag_id }} run?",
        notifiers: Sequence[BaseNotifier] | BaseNotifier | None = None,
        **kwargs: Unpack[BaseOperatorKwargs],
    ) -> None:
        require_people(type(self))
        for name in ("defaults", "options", "multiple", "body"):
            if name in kwargs:
                raise ValueError(f"WhiteBitDoubtOperator takes no {name}")
        given: dict[str, Any] = {"trigger_rule": "all_done", **kwargs}
        super().__init__(
            subject=subject,
            options=[_RAN, _DID_NOT_RUN, _NOT_YET],
            assigned_users=as_users(assigned_users, given=self._is_given("assigned_users", assigned_users)),
            response_timeout=response_timeout,
            notifiers=notifiers,
            **given,
        )
        set_fields(
            self,
            {
                "transaction": Param("", type="string", description="If it ran: the transaction, if several remain"),
                "reason": Param("", type="string", description="How do you know? The receipt quotes it."),
            },
        )
        self.task_ids: Any = task_ids

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Ask a person, if a move of the tasks before is in doubt and the exchange cannot tell.

        :raises AirflowSkipException: the tasks before have succeeded.
        :raises AirflowFailException: they failed, and there is nothing to ask.
        :raises TaskAwaitingInput: a person is asked (3.3 and later).
        :raises TaskDeferred: a person is asked (before 3.3).
        """
        with fail_without_retry():
            reports = self._reports(context)
            if not reports:
                self._nothing_in_doubt(context)
            found = self._examined(reports[0])
            if not found.needs_person:
                self._settle(context, reports[0], found)
            self._describe(reports, found)
            require_same_question(self, context, _ELSEWHERE)
        self.log.info("A person must say whether this move ran: %s", found.intent.move)
        return super().execute(context)  # type: ignore[arg-type]

    def execute_complete(self, context: Mapping[str, Any], event: dict[str, Any]) -> Any:
        """Keep the answer. The task always ends as failed, or asks again.

        :param event: the answer.
        """
        if event.get("error_type") == "timeout":
            self._fail("Nobody answered in time. No answer was kept.", "Clear this task: it asks again.")
        if "error" in event:
            self.process_trigger_event_error(event)
        with fail_without_retry():
            reports = self._reports(context)
            if not reports:
                self._fail("The move is no longer in doubt. No answer was kept.", "Clear the move's task and this one.")
            report, found = reports[0], self._examined(reports[0])
            self._describe(reports, found)
            chosen = event["chosen_options"][0]
            self._require_ended(context, report)
            if not found.needs_person:
                self._settle(context, report, found)
            if chosen not in self.options:
                self._fail("The exchange shows something else than when you were asked. Nothing was kept.", _ELSEWHERE)
            if chosen != self.options[2]:
                self._answer(context, report, found, event, ran=chosen == self.options[0])
        return super().execute(context)  # type: ignore[arg-type]

    def _answer(
        self, context: Mapping[str, Any], report: Report, found: Examined, event: Mapping[str, Any], *, ran: bool
    ) -> None:
        """Keep a person's answer and end the task. An answer that cannot be accepted is logged: the task asks again."""
        from airflow_provider_whitebit.client.errors import WhiteBitResolutionError
        from airflow_provider_whitebit.hooks.answers import keep_answer

        user, written = event.get("responded_by_user") or {}, event.get("params_input") or {}
        by = f"{user.get('name', '')} (id {user['id']})" if user.get("id") else ""
        transaction = str(written.get("transaction") or "").strip() or None
        try:
            answer = found.answer(ran=ran, user=by, reason=str(written.get("reason") or ""), name=transaction)
            if answer is not None:
                keep_answer(report, answer)
        except WhiteBitResolutionError as error:
            self.log.error("The answer was not accepted, and the question is asked again: %s", error)
            return
        if answer is not None:
            self._push(context, answer.to_json())
        self._fail(
            f"{by} says: {event['chosen_options'][0]} ({report.intent.move}). The answer was kept.",
            f"Clear {report.task_in_words}, with its downstream tasks.",
        )

    def _settle(self, context: Mapping[str, Any], report: Report, found: Examined) -> NoReturn:
        """End the task: what the exchange shows needs no person."""
        from airflow_provider_whitebit.hooks.answers import keep_answer

        why = "The records belong to other moves."
        answer = found.answer(ran=False, user=type(self).__name__, reason=why)
        if answer is not None:
            keep_answer(report, answer)
            self._push(context, answer.to_json())
        result = "ran" if found.verdict.found else "did not run"
        self._fail(
            f"No person is needed: what the exchange shows now says that the move {result} ({report.intent.move}).",
            f"Clear {report.task_in_words}, with its downstream tasks: it finds that out by itself.",
        )

    def _reports(self, context: Mapping[str, Any]) -> list[Report]:
        """What the tasks have reported and not taken back, the first move first."""
        from airflow_provider_whitebit.hooks.doubts import DOUBTS_XCOM, read_report

        pulled = context["ti"].xcom_pull(task_ids=self._move_tasks(), key=DOUBTS_XCOM)
        ids = dict.fromkeys(intent_id for one in pulled or () for intent_id in _texts(one))
        found = [report for intent_id in ids if (report := read_report(intent_id)) is not None]
        return sorted(found, key=lambda report: min(report.nonces, default=0))

    def _move_tasks(self) -> list[str]:
        from airflow_provider_whitebit.moves.parsing import read_list
        from airflow_provider_whitebit.operators.parameters import read_rendered

        # Without a task, no move would be in doubt.
        return [str(name) for name in read_list(read_rendered(self.task_ids))] or sorted(self.upstream_task_ids)

    def _states(self, context: Mapping[str, Any], task_ids: Sequence[str], map_index: int = -1) -> set[str]:
        """The states of tasks of this dag run; of mapped tasks, those of all their instances."""
        instance = context["ti"]
        found = instance.get_task_states(
            dag_id=instance.dag_id,
            task_ids=list(task_ids),
            run_ids=[instance.run_id],
            map_index=map_index if map_index >= 0 else None,
        )
        return {str(state) for states in found.values() for state in states.values()}

    def _nothing_in_doubt(self, context: Mapping[str, Any]) -> NoReturn:
        from airflow_provider_whitebit.hooks.airflow_compat import AirflowSkipException

        if self._states(context, self._move_tasks()) <= {"success", "skipped"}:
            raise AirflowSkipException("No move is in doubt.")
        # Skipped, this task would let the dag run succeed if it is the last one.
        self._fail("A task before this one failed, and reports no move in doubt.", "See the error of that task.")

    def _require_ended(self, context: Mapping[str, Any], report: Report) -> None:
        if states := self._states(context, [report.task[2]], report.task[3]) - _ENDED:
            self._fail(
                f"{report.task_in_words} is {', '.join(sorted(states))}: it may reconcile or send the move at this "
                "moment. No answer was kept.",
                "When it has ended, clear this task.",
            )

    def _examined(self, report: Report) -> Examined:
        """Ask the exchange, after no attempt can be accepted any more."""
        from airflow_provider_whitebit.hooks.answers import examine

        hook = self._hook(report.conn_id)
        found = examine(hook, report)
        while found.open_until is not None:
            hook._executor.sleep(found.open_until - found.observation.now)
            found = examine(hook, report)
        return found

    def _hook(self, conn_id: str) -> WhiteBitHook:
        from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

        return WhiteBitHook(conn_id)

    def _describe(self, reports: Sequence[Report], found: Examined) -> None:
        """Set what people read and may answer. The answers name what the person has read."""
        from airflow_provider_whitebit.moves.examination import evidence_mark, question_text

        mark = evidence_mark(found)
        self.options = [f"{option} [{mark}]" for option in (_RAN, _DID_NOT_RUN, _NOT_YET)]
        self.body = question_text(found, reports[0].task_in_words)
        others = "".join(f"\n- {report.intent.move}, move {report.intent.id}" for report in reports[1:])
        if others:
            self.body += f"\n\nFurther moves are in doubt. {_ELSEWHERE}\n{others}"

    def _push(self, context: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        if self.do_xcom_push:
            context["ti"].xcom_push(_RESOLUTION, dict(answer))

    def _fail(self, what: str, next_step: str) -> NoReturn:
        from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException

        raise AirflowFailException(f"{what}\nNext step: {next_step}")


def _texts(raw: Any) -> Iterable[str]:
    return [entry for entry in raw if isinstance(entry, str)] if isinstance(raw, list | tuple) else ()
