"""People approve plans: real operators of the installed Airflow; only its API server is a double."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, BaseOperator, Param

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException, AirflowSkipException
from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.operators import approval, doubts, people
from airflow_provider_whitebit.treasury.approval import ApprovedDocument
from airflow_provider_whitebit.treasury.plans import EXECUTED, PLANNED, PlannedMove, PlanOutcome, TreasuryPlan

HITL = "airflow.providers.standard.operators.hitl"
PLAN_ID = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
AT = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)

only_with_people = pytest.mark.skipif(not people.CAN_ASK_PEOPLE, reason="Airflow 3.0 cannot ask people")


def planned(amount="1500", ticker="USDT"):
    move = Move(Operation.FLEX_INVEST, PLAN_ID, ticker, Decimal(amount))
    return PlanOutcome(PLANNED, TreasuryPlan((PlannedMove(move, "More than the reserve."),))).to_json()


class Waits(Exception):
    """The task waits for a person."""


class Asked:
    """A run of an approval task, and what Airflow's API server would see of it."""

    def __init__(self, monkeypatch, **arguments):
        self.questions, self.pushed, self.skipped = [], {}, []
        self.try_number = 1
        monkeypatch.setattr(f"{HITL}.upsert_hitl_detail", lambda **question: self.questions.append(question))
        with DAG("treasury", params={"ticker": "USDT"}):
            self.task = approval.WhiteBitApprovalOperator(**{"task_id": "ask", "plan": planned(), **arguments})
            self.task >> BaseOperator(task_id="carry_out") >> BaseOperator(task_id="report")

    @property
    def context(self):
        ti = SimpleNamespace(id="ti", map_index=-1, try_number=self.try_number, task=self.task, xcom_push=self._push)
        return {"ti": ti, "task_instance": ti, "task": self.task}

    def _push(self, key, value):
        self.pushed[key] = value

    def wait(self, call):
        """:returns: the result, or the class of what ended the task."""
        try:
            return call()
        except BaseException as stopped:
            if type(stopped).__name__ in ("TaskAwaitingInput", "TaskDeferred"):
                assert stopped.method_name == "execute_complete"
                return Waits
            if type(stopped).__name__ == "DownstreamTasksSkipped":
                self.skipped += [stopped.tasks] if isinstance(stopped.tasks, str) else list(stopped.tasks)
            return stopped

    def execute(self):
        return self.wait(lambda: self.task.execute(self.context))

    def answer(self, option, user="alice", **params):
        event = {
            "chosen_options": [option],
            "params_input": params,
            "responded_at": AT,
            "responded_by_user": user and {"id": user, "name": user.title()},
            "timedout": False,
        }
        return self.complete(event)

    def complete(self, event):
        # Airflow resumes a task in a new process, with its parameters rendered again.
        self.task.body = ""
        return self.wait(lambda: self.task.execute_complete(self.context, event))

    @property
    def approve(self):
        return self.questions[-1]["options"][0]


@pytest.fixture
def asked(monkeypatch):
    return lambda **arguments: Asked(monkeypatch, **arguments)


@only_with_people
def test_a_mapped_task_takes_the_floats_of_an_xcom_as_written():
    with DAG("mapped", schedule=None):
        source = BaseOperator(task_id="source")
        mapped = approval.WhiteBitApprovalOperator.partial(task_id="ask", plan=planned()).expand(above=source.output)
    assert mapped.unmap({"above": {"USDT": 1500.0}})._read_above() == {"USDT": 1500}
    with pytest.raises(WhiteBitValidationError, match="above"):
        mapped.unmap({"above": {"USDT": 0.12345678901234567}})._read_above()


@only_with_people
@pytest.mark.parametrize(
    ("above", "asks"),
    [
        (None, True),
        ({"USDT": "1000"}, True),
        ({"USDT": "1500"}, False),
        ('{"USDT": "1500"}', False),
        ({"USDC": "1"}, True),
    ],
)
def test_a_person_is_asked_above_an_amount(asked, above, asks):
    run = asked(above=above)
    result = run.execute()
    assert (result is Waits) is asks
    assert len(run.questions) is int(asks)
    if not asks:
        assert result["approval"] == "not_needed" and result["approvals"] == []
        assert result["plan"] == planned()["plan"]
        assert "Nobody was asked" in result["reason"]
        assert run.pushed["digest"] == result["digest"]


@only_with_people
def test_the_question_shows_the_plan_and_goes_to_its_users(asked):
    run = asked(assigned_users=["alice", {"id": "7", "name": "Bob"}], body="Quarter end.", subject="Approve?")
    assert run.execute() is Waits
    (question,) = run.questions
    assert question["assigned_users"] == [{"id": "alice", "name": "alice"}, {"id": "7", "name": "Bob"}]
    assert question["subject"] == "Approve?"
    assert question["body"].startswith("Quarter end.\n")
    assert f"| 1 | flex_invest | 1500 USDT | plan {PLAN_ID} | More than the reserve. |" in question["body"]
    assert question["defaults"] is None
    assert question["options"] == [f"Approve {TreasuryPlan.from_json(planned()['plan']).digest[:12]}", "Reject"]


@only_with_people
def test_who_approved_is_in_the_result(asked):
    run = asked(fields={"why": Param("", type="string")})
    run.execute()
    result = run.answer(run.approve, why="Looks right.")
    assert result["approval"] == "given"
    assert result["plan"] == planned()["plan"]
    assert result["approvals"] == [
        {
            "user_id": "alice",
            "user_name": "Alice",
            "approved_at": "2026-11-30T08:00:00Z",
            "task_id": "ask",
            "answers": {"why": "Looks right."},
        }
    ]
    assert run.pushed["approvals"] == result["approvals"]
    json.dumps(result)


def second_of(run, first, **arguments):
    return run(task_id="second", plan=first, **arguments)


@only_with_people
def test_a_second_person_approves_what_the_first_one_approved(asked):
    run = asked()
    run.execute()
    second = second_of(asked, run.answer(run.approve, "alice"))
    assert second.execute() is Waits
    assert "Approved by Alice (id alice)" in second.questions[0]["body"]
    result = second.answer(second.approve, "bob")
    assert [one["user_id"] for one in result["approvals"]] == ["alice", "bob"]
    assert [one["task_id"] for one in result["approvals"]] == ["ask", "second"]


@only_with_people
def test_the_same_person_is_refused_and_the_question_is_asked_again(asked, caplog):
    run = asked()
    run.execute()
    second = second_of(asked, run.answer(run.approve, "alice"))
    second.execute()
    for _ in range(2):
        assert second.answer(second.approve, "alice") is Waits
    assert len(second.questions) == 3
    assert second.questions[0]["body"] == second.questions[2]["body"]
    assert "return_value" not in second.pushed and "approvals" not in second.pushed
    assert [one["user_id"] for one in second.answer(second.approve, "bob")["approvals"]] == ["alice", "bob"]


@only_with_people
def test_the_second_person_is_asked_only_above_the_second_amount(asked):
    run = asked(above={"USDT": "1000"})
    run.execute()
    result = second_of(asked, run.answer(run.approve), above={"USDT": "10000"}).execute()
    assert [one["user_id"] for one in result["approvals"]] == ["alice"]
    assert result["approval"] == "given"


@only_with_people
@pytest.mark.parametrize("everything", [False, True])
def test_a_rejection_skips_what_is_downstream(asked, everything):
    run = asked(ignore_downstream_trigger_rules=everything)
    run.execute()
    run.answer("Reject")
    assert set(run.skipped) == ({"carry_out", "report"} if everything else {"carry_out"})
    assert run.pushed["rejection"]["id"] == "alice"
    assert "plan" not in run.pushed


@only_with_people
def test_a_rejection_without_tasks_downstream_skips_the_task(asked):
    run = asked()
    run.task.downstream_task_ids.clear()
    assert isinstance(run.answer("Reject"), AirflowSkipException)


@only_with_people
def test_a_rejection_fails_if_the_dag_says_so(asked):
    run = asked(fail_on_reject=True)
    run.execute()
    stopped = run.answer("Reject")
    assert isinstance(stopped, AirflowFailException)
    assert "Rejected by Alice (id alice)" in str(stopped) and "No money moved" in str(stopped)


TIMEOUT = {"error": "The timeout has passed.", "error_type": "timeout"}


@only_with_people
def test_nobody_answers_in_time(asked):
    run = asked(response_timeout=timedelta(hours=8))
    run.execute()
    assert isinstance(run.complete(TIMEOUT), AirflowFailException)
    run = asked(response_timeout=timedelta(hours=8), fail_on_timeout=False)
    run.execute()
    run.complete(TIMEOUT)
    assert run.skipped == ["carry_out"]


@only_with_people
@pytest.mark.parametrize("kind", ["validation", "unknown"])
def test_an_answer_that_airflow_could_not_take_approves_nothing(asked, kind):
    run = asked()
    run.execute()
    assert isinstance(run.complete({"error": "no", "error_type": kind}), Exception)
    assert run.pushed == {}


@only_with_people
@pytest.mark.parametrize(
    "now", [planned("1501"), planned(ticker="USDC"), None, "None", {}, PlanOutcome(PLANNED, TreasuryPlan()).to_json()]
)
def test_a_plan_that_changed_while_people_were_asked_is_not_approved(asked, now):
    run = asked()
    run.execute()
    run.task.plan = now
    stopped = run.answer(run.approve)
    assert isinstance(stopped, AirflowFailException)
    assert "No money moved" in str(stopped) and "Next step" in str(stopped)
    assert run.pushed == {}


@only_with_people
@pytest.mark.parametrize("option", ["Approve", "Approve 000000000000", "", "approve"])
def test_an_answer_to_another_question_approves_nothing(asked, option):
    run = asked()
    run.execute()
    assert isinstance(run.answer(option), AirflowFailException)


@only_with_people
def test_an_approval_without_a_person_is_none(asked):
    run = asked()
    run.execute()
    stopped = run.answer(run.approve, None)
    assert isinstance(stopped, AirflowFailException) and "who approved" in str(stopped)


class Supervisor:
    """Airflow keeps the first question of a task instance."""

    def __init__(self):
        self.kept = None

    def send(self, message):
        self.kept = self.kept or message
        return self.kept


@only_with_people
@pytest.mark.parametrize(
    ("later", "asks"),
    [
        ({}, True),
        ({"plan": planned("1501")}, False),
        ({"assigned_users": ["bob"]}, False),
        ({"body": "Please."}, False),
    ],
)
def test_a_cleared_task_never_shows_an_old_question(asked, monkeypatch, later, asks):
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", supervisor := Supervisor(), raising=False
    )
    id = "01939f6a-6f1b-7000-8000-000000000000"
    for number, arguments in ((2, {}), (3, later)):
        run = asked(**{"assigned_users": ["alice"], **arguments})
        run.try_number = number
        context = run.context
        context["ti"].id = id
        ended = run.wait(lambda run=run, context=context: run.task.execute(context))
        if number == 2:
            assert ended is Waits
    assert supervisor.kept.options[0].startswith("Approve ")
    assert (ended is Waits) is asks
    if not asks:
        assert isinstance(ended, AirflowFailException) and "new dag run" in str(ended)


@only_with_people
@pytest.mark.parametrize("kind", [approval.WhiteBitApprovalOperator, doubts.WhiteBitDoubtOperator])
def test_mapped_users_that_are_none_are_not_everybody(kind):
    single = {"plan": planned()} if kind is approval.WhiteBitApprovalOperator else {}
    with DAG("mapped", schedule=None):
        source = BaseOperator(task_id="source")
        mapped = kind.partial(task_id="ask", **single).expand_kwargs(source.output)
    with pytest.raises(ValueError, match="assigned_users is empty"):
        mapped.unmap({"assigned_users": None})
    assert mapped.unmap({}).assigned_users is None
    assert mapped.unmap({"assigned_users": "alice"}).assigned_users == [{"id": "alice", "name": "alice"}]
    with DAG("mapped", schedule=None):
        source = BaseOperator(task_id="source")
        unwritten = kind.partial(task_id="ask", **single, assigned_users=None).expand_kwargs(source.output)
    assert unwritten.unmap({}).assigned_users is None


@only_with_people
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"defaults": "Approve"}, "defaults"),
        ({"options": ["Yes"]}, "options"),
        ({"assigned_users": []}, "assigned_users is empty"),
        ({"assigned_users": [{"name": "Bob"}]}, "Bob"),
        ({"above": {"USDT": 0.1}}, r'"0\.1"'),
        ({"abvoe": {}}, "abvoe"),
    ],
)
def test_wrong_arguments_are_refused_when_the_dag_is_parsed(arguments, words):
    with pytest.raises(Exception, match=words):
        approval.WhiteBitApprovalOperator(task_id="ask", plan="{}", **arguments)


def test_an_airflow_that_cannot_ask_says_so_when_the_dag_is_parsed(monkeypatch):
    monkeypatch.setattr(people, "CAN_ASK_PEOPLE", False)
    monkeypatch.setattr("airflow.__version__", "3.0.6")
    with pytest.raises(RuntimeError, match=r"WhiteBitApprovalOperator needs Airflow 3\.1 .*This is Airflow 3\.0\.6"):
        approval.WhiteBitApprovalOperator(task_id="ask", plan="{}")


class Hook:
    """Notes which plan is executed."""

    def __init__(self):
        self.requests = []

    def execute_plan(self, request, **options):
        self.requests.append((request, options))
        return PlanOutcome(EXECUTED, request.plan(None, None, ()))

    def _add_plan_history(self, error, idempotency_key):
        error.add_completed([{"operation": "flex_invest", "amount": "1", "ticker": "USDT"}])


def execution(approved_plan):
    task = approval.WhiteBitApprovedPlanOperator(task_id="carry_out", approved_plan=approved_plan)
    task.__dict__["hook"] = hook = Hook()
    return task, hook


def given(**changes):
    plan = TreasuryPlan.from_json(planned()["plan"])
    return {**ApprovedDocument(plan, (), "Nobody was asked.").to_json(), **changes}


@pytest.mark.parametrize("spelled", [given, lambda: json.dumps(given())])
def test_exactly_the_approved_plan_is_executed(spelled):
    task, hook = execution(spelled())
    result = task.execute({})
    ((request, options),) = hook.requests
    assert request.approved.to_json() == planned()["plan"] == result["plan"]
    assert request.to_json() == {"approved_plan": planned()["plan"]}
    assert options["dry_run"] is False


@pytest.mark.parametrize("plan", [planned(), None, "None", {}, given(plan=planned("1501")["plan"]), given(digest="")])
def test_a_plan_without_an_approval_is_not_executed(plan):
    task, hook = execution(plan)
    with pytest.raises((AirflowFailException, WhiteBitValidationError), match="Already moved by this task"):
        task.execute({})
    assert hook.requests == []
