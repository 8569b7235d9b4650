"""People answer whether a move in doubt ran: the real operator, with doubles of API server and exchange."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_provider_whitebit.client.errors import WhiteBitJournalError
from airflow_provider_whitebit.hooks import announced, answers, doubts
from airflow_provider_whitebit.hooks.airflow_compat import AirflowFailException, AirflowSkipException
from airflow_provider_whitebit.moves.effects import AskTime, ReadBalances
from airflow_provider_whitebit.moves.evidence import NONCE_LIFE_MS
from airflow_provider_whitebit.moves.intent import Attempt, Balances, Move, Operation
from airflow_provider_whitebit.moves.journal import marker_of
from airflow_provider_whitebit.moves.resolution import Answer
from airflow_provider_whitebit.operators import doubts as operators
from airflow_provider_whitebit.operators import people
from tests.protocol_script import MOVE, NOW, in_doubt, intent, record

HITL = "airflow.providers.standard.operators.hitl"
MARGIN = 10_000
LATER = (NOW + NONCE_LIFE_MS + MARGIN) // 1000 + 1
TASK = ("desk", "r1", "invest", "-1")

pytestmark = pytest.mark.skipif(not people.CAN_ASK_PEOPLE, reason="Airflow 3.0 cannot ask people")


class Waits(Exception):
    """The task waits for a person."""


class World:
    """One dag run with a move in doubt, its Variables, and what the exchange shows."""

    def __init__(self, monkeypatch):
        self.kept, self.pushed, self.questions, self.slept = {}, {}, [], []
        self.records, self.events, self.listed = [record("tx_1"), record("tx_2")], [], []
        self.now, self.states, self.balances = LATER, {"invest": "failed"}, None
        self.xcoms = []
        self.try_number = 1
        monkeypatch.setattr(f"{HITL}.upsert_hitl_detail", lambda **question: self.questions.append(question))
        for module in (answers, doubts):
            monkeypatch.setattr(module, "VariableStore", lambda: self)
        monkeypatch.setattr(answers, "ask_exchange", self._exchange)
        monkeypatch.setattr(announced, "asset_events", lambda uri, since: self.events)
        monkeypatch.setattr(answers, "variable_names", lambda prefix: self.listed)
        markers = SimpleNamespace(read=lambda key: self.kept.get("marker"))
        monkeypatch.setattr(answers, "markers_for", lambda account: markers)
        self.hook = SimpleNamespace(
            whitebit_conn_id="conn",
            previous=None,
            settings=SimpleNamespace(account="a", reconcile_margin_ms=MARGIN),
            get_conn=lambda: None,
            _executor=SimpleNamespace(sleep=self._sleep),
        )
        monkeypatch.setattr(operators.WhiteBitDoubtOperator, "_hook", lambda task, conn_id: self.hook)
        with DAG("desk", params={"ticker": "USDT"}):
            invest = BaseOperator(task_id="invest")
            self.task = operators.WhiteBitDoubtOperator(task_id="doubt", assigned_users=["ann"])
            invest >> self.task

    def read(self, name):
        return self.kept.get(name)

    def keep(self, name, text, description):
        self.kept[name] = text

    def _sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def _exchange(self, client, effect):
        if isinstance(effect, AskTime):
            return self.now
        return self.balances if isinstance(effect, ReadBalances) else self.records

    def report(self, move_in_doubt=None, nonces=(NOW,)):
        one = move_in_doubt or in_doubt()
        doubts.VariableResolutions(TASK, "conn", self).report(one, nonces, "the Variables x")
        self.xcoms = [[*(self.xcoms[0] if self.xcoms else []), one.id]]

    @property
    def context(self):
        ti = SimpleNamespace(
            id="01939f6a-6f1b-7000-8000-000000000000",
            dag_id="desk",
            run_id="r1",
            map_index=-1,
            try_number=self.try_number,
            xcom_pull=lambda task_ids, key: self.xcoms if (task_ids, key) == (["invest"], "whitebit_doubts") else [],
            xcom_push=lambda key, value: self.pushed.__setitem__(key, value),
            get_task_states=lambda **query: {"r1": self.states},
        )
        return {"ti": ti, "task_instance": ti, "task": self.task}

    def wait(self, call):
        try:
            return call()
        except BaseException as stopped:
            return Waits if type(stopped).__name__ in ("TaskAwaitingInput", "TaskDeferred") else stopped

    def execute(self):
        return self.wait(lambda: self.task.execute(self.context))

    def answer(self, number, user="ann", **written):
        written = {"transaction": "", "reason": "Seen in the app.", **written}
        event = {
            "chosen_options": [self.questions[-1]["options"][number]],
            "params_input": written,
            "responded_at": datetime(2026, 11, 30, 8, tzinfo=UTC),
            "responded_by_user": user and {"id": user, "name": user.title()},
        }
        return self.wait(lambda: self.task.execute_complete(self.context, event))

    @property
    def examined(self):
        return answers.examine(self.hook, doubts.read_report("old", self))

    @property
    def resolution(self):
        text = self.kept.get(f"{doubts.RESOLUTION}old")
        return text and doubts.read_resolution(text)


RAN, DID_NOT_RUN, NOT_YET = range(3)


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def failed(stopped, *words):
    assert isinstance(stopped, AirflowFailException), stopped
    assert [word for word in words if word not in str(stopped)] == []
    return True


def event_of(transaction, **changes):
    receipt = MOVE.receipt(
        transaction_id=transaction,
        amount=Decimal(25),
        status="executed",
        executed_at=None,
        attempts=1,
        reconciled=False,
        intent_id="another",
    )
    fields = {
        "source_dag_id": "desk",
        "source_run_id": "r0",
        "source_task_id": "sweep",
        "source_map_index": -1,
        "timestamp": 0,
    }
    return SimpleNamespace(extra=replace(receipt, **changes).to_json(), **fields)


def test_without_a_doubt_the_task_is_skipped(world):
    world.states = {"invest": "success", "spare": "skipped"}
    assert isinstance(world.execute(), AirflowSkipException)


def test_another_failure_is_not_hidden(world):
    assert failed(world.execute(), "reports no move in doubt")


@pytest.mark.parametrize("text", ["{}", None])
def test_a_doubt_that_was_taken_back_is_none(world, text):
    world.report()
    world.kept[f"{doubts.DOUBT}old"] = text
    assert failed(world.execute(), "reports no move in doubt")


def test_a_person_reads_what_was_sent_and_the_candidates(world):
    world.report()
    assert world.execute() is Waits
    (question,) = world.questions
    assert [option.split(" [")[0] for option in question["options"]] == ["It ran", "It did not run", "Not yet"]
    assert question["assigned_users"] == [{"id": "ann", "name": "ann"}]
    assert question["params"].keys() == {"transaction", "reason"}
    for words in ("flex_invest 25 USDT", "| tx_1 |", "| tx_2 |", "task invest of desk, run r1"):
        assert words in question["body"]


def test_it_ran(world):
    world.report()
    world.execute()
    assert failed(world.answer(RAN, transaction=" tx_2 "), "Ann (id ann) says: It ran", "Clear task invest of desk")
    found = world.resolution
    assert (found.answer, found.reference, found.resolved_by) == (Answer.RAN, "tx_2", "Ann (id ann)")
    assert found.reason == "Seen in the app." and found.answers(in_doubt(), {NOW})
    assert world.pushed["resolution"] == json.loads(json.dumps(found.to_json()))


def test_it_did_not_run(world):
    world.report()
    world.execute()
    assert failed(world.answer(DID_NOT_RUN), "It did not run")
    assert world.resolution.answer is Answer.DID_NOT_RUN


def test_the_same_answer_twice_is_one(world):
    world.report()
    world.execute()
    world.answer(DID_NOT_RUN)
    before = dict(world.kept)
    assert failed(world.answer(DID_NOT_RUN, reason="Again."))
    assert world.kept == before


@pytest.mark.parametrize(
    ("number", "written", "user"),
    [
        (NOT_YET, {}, "ann"),
        (RAN, {}, "ann"),
        (RAN, {"transaction": "tx_9"}, "ann"),
        (RAN, {"transaction": "tx_1", "reason": ""}, "ann"),
        (DID_NOT_RUN, {"transaction": "tx_1"}, "ann"),
        (DID_NOT_RUN, {}, None),
    ],
)
def test_what_is_no_answer_is_asked_again(world, number, written, user):
    world.report()
    world.execute()
    assert world.answer(number, user, **written) is Waits
    assert world.resolution is None
    assert world.questions[0] == world.questions[1]


def test_another_answer_is_not_replaced(world):
    world.report()
    world.execute()
    world.answer(DID_NOT_RUN)
    before = dict(world.kept)
    assert world.answer(RAN, transaction="tx_1") is Waits
    assert world.kept == before


def test_another_record_without_an_identifier_is_another_answer(world):
    world.report()
    world.records = [record("", amount="25"), record("", NOW // 1000 + 1, amount="25")]
    world.execute()
    first, second = (one.name for one in world.examined.remaining)
    assert failed(world.answer(RAN, transaction=first), "was kept")
    before = dict(world.kept)
    assert world.answer(RAN, transaction=second) is Waits
    assert world.kept == before


def test_a_record_that_another_answer_has_is_refused(world):
    world.report()
    world.execute()
    taken = {
        **{"intent_id": "other", "nonces": [1], "answer": "ran", "resolved_by": "bob", "reason": "x"},
        **{"resolved_at": "2026-11-30T07:00:00Z", "reference": "tx_1"},
    }
    world.kept[f"{doubts.RESOLUTION}other"] = json.dumps(taken)
    world.listed = [f"{doubts.RESOLUTION}other"]
    assert world.answer(RAN, transaction="tx_1") is Waits
    assert failed(world.answer(RAN, transaction="tx_2"))
    assert world.resolution.reference == "tx_2"


def test_records_of_other_moves_are_settled_without_a_person(world):
    world.report()
    world.events = [event_of("tx_1"), SimpleNamespace(source_task_id=None, extra={}), event_of("x", status="planned")]
    assert failed(world.execute(), "No person is needed", "the move ran", "Clear task invest")
    assert world.questions == []
    assert (world.resolution.answer, world.resolution.explained) == (Answer.EXPLAINED, ("tx_1",))


@pytest.mark.parametrize(("records", "result"), [([], "did not run"), ([record("tx_1")], "ran")])
def test_what_the_exchange_shows_by_now_needs_no_answer(world, records, result):
    world.report()
    world.records = records
    assert failed(world.execute(), f"the move {result}")
    assert world.resolution is None


def test_nobody_is_asked_while_an_attempt_can_be_accepted(world):
    world.report()
    world.now = LATER - 7
    assert world.execute() is Waits
    assert world.slept == [7]


def test_an_answer_to_other_evidence_is_refused(world):
    world.report()
    world.execute()
    world.records = [*world.records, record("tx_3")]
    assert failed(world.answer(DID_NOT_RUN), "something else than when you were asked", "Treasury page")
    assert world.resolution is None


def test_an_answer_about_other_attempts_is_refused(world):
    world.report()
    world.execute()
    world.report(in_doubt().trying(Attempt(NOW + 1, NOW // 1000)), (NOW, NOW + 1))
    assert failed(world.answer(DID_NOT_RUN), "something else")
    assert world.resolution is None


def test_an_answer_while_the_task_runs_is_refused(world):
    world.report()
    world.execute()
    world.states = {"invest": "running"}
    assert failed(world.answer(DID_NOT_RUN), "is running", "No answer was kept")
    assert world.resolution is None


def test_an_answer_after_the_doubt_has_ended_is_refused(world):
    world.report()
    world.execute()
    world.kept[f"{doubts.DOUBT}old"] = "{}"
    assert failed(world.answer(DID_NOT_RUN), "no longer in doubt")


def test_nobody_answers(world):
    world.report()
    world.execute()
    event = {"error": "The timeout has passed.", "error_type": "timeout"}
    assert failed(world.wait(lambda: world.task.execute_complete(world.context, event)), "Nobody answered")


def test_the_first_of_several_moves_is_asked_about(world):
    world.report(in_doubt(id="late").trying(Attempt(NOW + 9, NOW // 1000)), (NOW + 9,))
    world.report()
    world.now += 10
    assert world.execute() is Waits
    assert "Move `old`" in world.questions[0]["body"] and "move late" in world.questions[0]["body"]


def test_a_transfer_is_judged_by_its_balances(world):
    attempt = Attempt(NOW, NOW // 1000, before=Balances(Decimal(100), Decimal(0)))
    move = Move(Operation.TRANSFER, "", "USDT", Decimal(25), source="main", target="spot")
    world.report(intent(move=move).trying(attempt))
    world.balances = Balances(Decimal(75), Decimal(25))
    assert world.execute() is Waits
    world.kept["marker"] = marker_of("old", NOW)
    assert failed(world.execute(), "the move ran")


def test_an_answer_about_a_transfer_that_the_balances_show_by_now_is_not_kept(world):
    attempt = Attempt(NOW, NOW // 1000, before=Balances(Decimal(100), Decimal(0)))
    move = Move(Operation.TRANSFER, "", "USDT", Decimal(25), source="main", target="spot")
    world.report(intent(move=move).trying(attempt))
    world.balances = Balances(Decimal(80), Decimal(25))
    world.kept["marker"] = marker_of("old", NOW)
    assert world.execute() is Waits
    world.balances = Balances(Decimal(75), Decimal(25))
    stopped = world.answer(DID_NOT_RUN)
    assert failed(stopped, "No person is needed", "the move ran")
    assert "was kept" not in str(stopped)
    assert world.resolution is None


@pytest.mark.parametrize(
    ("then", "kept"),
    [(("70", "10"), True), (("69", "11"), True), (("45", "35"), False), (("45", "10"), False), (("70", "35"), False)],
)
def test_an_answer_about_a_transfer_that_was_late_is_not_kept(world, then, kept):
    """Something else has changed the balances too, so they prove nothing. A little more of that changes nothing."""
    attempt = Attempt(NOW, NOW // 1000, before=Balances(Decimal(100), Decimal(0)))
    move = Move(Operation.TRANSFER, "", "USDT", Decimal(25), source="main", target="spot")
    world.report(intent(move=move).trying(attempt))
    world.balances = Balances(Decimal(70), Decimal(10))
    assert world.execute() is Waits
    world.balances = Balances(*map(Decimal, then))
    stopped = world.answer(DID_NOT_RUN)
    assert failed(stopped, "The answer was kept" if kept else "something else")
    assert (world.resolution is not None) is kept


@pytest.mark.parametrize("nothing", [None, "", "None", [], "[]", [None]])
def test_without_task_ids_the_tasks_before_are_meant(world, nothing):
    world.report()
    world.task.task_ids = nothing
    assert world.execute() is Waits


def test_a_move_of_another_key_is_not_judged(world):
    world.report(in_doubt(account="b"))
    assert failed(world.execute(), "another API key")
    world.hook.previous = SimpleNamespace(
        whitebit_conn_id="old", settings=SimpleNamespace(account="b"), get_conn=lambda: None
    )
    assert world.execute() is Waits


def test_a_report_that_cannot_be_read_is_an_error(world):
    world.report()
    world.kept[f"{doubts.DOUBT}old"] = '{"task": 1}'
    assert isinstance(world.execute(), WhiteBitJournalError)


@pytest.mark.parametrize("name", ["defaults", "options", "body", "multiple"])
def test_wrong_arguments_are_refused_when_the_dag_is_parsed(name):
    with pytest.raises(ValueError, match=name):
        operators.WhiteBitDoubtOperator(task_id="doubt", **{name: []})


def test_it_runs_when_all_tasks_before_it_have_ended(world):
    assert world.task.trigger_rule == "all_done"


def test_reports_are_found_by_later_tasks(world, monkeypatch):
    pushed = {}
    ti = SimpleNamespace(
        task=SimpleNamespace(do_xcom_push=True), xcom_push=lambda key, value: pushed.__setitem__(key, value)
    )
    monkeypatch.setattr(doubts, "current_context", lambda: {"ti": ti})
    shared = doubts.VariableResolutions(TASK, "conn", world)
    for one in (in_doubt(), in_doubt(), in_doubt(id="second")):
        shared.report(one, {NOW}, "")
    assert pushed == {"whitebit_doubts": ["old", "second"]}
    ti.task.do_xcom_push = False
    pushed.clear()
    shared.report(in_doubt(), {NOW}, "")
    assert pushed == {}
