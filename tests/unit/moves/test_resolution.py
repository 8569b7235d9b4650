"""What people answer about moves in doubt, and what a task does with it."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client.errors import WhiteBitInDoubtError, WhiteBitJournalError
from airflow_provider_whitebit.hooks.doubts import DOUBT, RESOLUTION, VariableResolutions, read_resolution
from airflow_provider_whitebit.moves import sending
from airflow_provider_whitebit.moves.history import merge_intents
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation, Outcome, Receipt, State
from airflow_provider_whitebit.moves.resolution import Answer, Resolution, unproven_nonces
from tests.protocol_script import MOVE, NOW, Script, history, in_doubt, lost, record, refused

TODAY = pendulum.datetime(2026, 11, 30, 7, tz="UTC")
#: Two records that fit: the task cannot tell them apart.
TWO = [record("tx_1"), record("tx_2")]


def resolution(answer=Answer.RAN, **changes):
    given = {"intent_id": "old", "nonces": (NOW,), "resolved_by": "ann", "reason": "seen", "resolved_at": TODAY}
    return Resolution(answer=answer, **{**given, **changes})


def test_without_an_answer_the_task_stays_in_doubt():
    with pytest.raises(WhiteBitInDoubtError):
        Script([in_doubt()], records=TWO).run()


@pytest.mark.parametrize("generation", ["1", "2"])
def test_a_move_that_ran_gets_a_receipt_that_says_who_said_so(generation):
    answer = resolution(reference="tx_2", amount=Decimal("25.1"), executed_at=TODAY)
    script = Script([in_doubt()], records=TWO, resolutions={"old": answer})
    receipt = script.run(generation=generation)
    assert (receipt.transaction_id, receipt.amount, receipt.executed_at) == ("tx_2", Decimal("25.1"), TODAY)
    assert (receipt.reconciled, receipt.resolved_by, receipt.reason) == (True, "ann", "seen")
    assert "Send" not in script.done
    # From then on the journal knows it.
    script.resolutions.clear()
    assert script.run(generation=generation) == receipt


def test_a_move_that_did_not_run_is_made():
    script = Script([in_doubt()], ["tx_new"], TWO, resolutions={"old": resolution(Answer.DID_NOT_RUN)})
    receipt = script.run()
    assert (receipt.transaction_id, receipt.resolved_by, receipt.reconciled) == ("tx_new", "ann", False)
    first, second = script.intent("old").attempts
    assert first.outcome is Outcome.REFUSED and set(second.baseline) >= {"6:tx_1#1", "6:tx_2#1"}


def test_explained_records_are_left_out():
    answer = resolution(Answer.EXPLAINED, explained=("tx_1",))
    script = Script([in_doubt()], records=TWO, resolutions={"old": answer})
    receipt = script.run()
    assert (receipt.transaction_id, receipt.resolved_by) == ("tx_2", None)
    # It does not say whether the move ran, so nothing is compared with the journal.
    assert script.done.count("ReadJournal") == 1
    both = resolution(Answer.EXPLAINED, explained=("tx_1", "tx_2"))
    assert Script([in_doubt()], ["tx_new"], TWO, resolutions={"old": both}).run().transaction_id == "tx_new"


@pytest.mark.parametrize(
    "answer",
    [
        resolution(nonces=(NOW, NOW + 1)),
        resolution(nonces=()),
        resolution(Answer.DID_NOT_RUN, nonces=(NOW - 1,)),
        resolution(intent_id="other"),
    ],
)
def test_an_answer_about_other_attempts_does_not_count(answer):
    script = Script([in_doubt()], records=TWO, resolutions={"old": answer})
    with pytest.raises(WhiteBitInDoubtError):
        script.run()
    assert script.intent("old").in_doubt


def test_every_attempt_of_the_journal_has_to_be_meant():
    other = replace(in_doubt(id="other"), attempts=(Attempt(NOW + 5, NOW // 1000),))
    only_one = {"old": resolution(Answer.DID_NOT_RUN)}
    with pytest.raises(WhiteBitInDoubtError):
        Script([in_doubt(), other], records=TWO, resolutions=only_one).run()
    answers = {name: resolution(Answer.DID_NOT_RUN, intent_id=name, nonces=(NOW, NOW + 5)) for name in ("old", "other")}
    assert Script([in_doubt(), other], ["tx_new"], TWO, resolutions=answers).run().transaction_id == "tx_new"


def test_a_move_of_another_api_key_can_be_answered():
    with pytest.raises(WhiteBitInDoubtError, match="another API key"):
        Script([in_doubt(account="b")]).run()
    answered = {"old": resolution(reference="tx_1")}
    assert Script([in_doubt(account="b")], resolutions=answered).run(generation="2").transaction_id == "tx_1"


def test_an_answer_that_cannot_be_read_stops_the_task():
    script = Script([in_doubt()], records=[], resolutions={"old": WhiteBitJournalError("no Variable")})
    with pytest.raises(WhiteBitJournalError) as caught:
        script.run()
    assert caught.value.money_moved is None and "Send" not in script.done


def test_an_answer_that_comes_before_the_next_sending_stops_it(monkeypatch):
    script = Script([in_doubt()], records=[], resolutions={})
    confirm = sending._confirm

    def answered_meanwhile(run, intent):
        script.resolutions["old"] = resolution(reference="tx_late")
        return (yield from confirm(run, intent))

    monkeypatch.setattr(sending, "_confirm", answered_meanwhile)
    receipt = script.run()
    assert (receipt.transaction_id, receipt.resolved_by) == ("tx_late", "ann")
    assert "Send" not in script.done


def test_an_answer_is_not_read_without_a_doubt():
    script = Script(answers=["tx"])
    script.run()
    assert "ReadResolution" not in script.done
    script = Script([refused()], resolutions={})
    with pytest.raises(Exception, match="Not enough"):
        script.run()
    assert "ReadResolution" not in script.done


def test_a_lost_answer_reads_answers_before_it_is_sent_again():
    script = Script(answers=[lost(), "tx"])
    assert script.run().transaction_id == "tx"
    assert script.done.count("ReadResolution") == 2


@pytest.mark.parametrize("operation", [Operation.FIXED_INVEST, Operation.FIXED_CLOSE, Operation.TRANSFER])
def test_each_kind_of_move_has_its_own_identifier(operation):
    move = replace(MOVE, operation=operation, investment_id="inv_1" if operation == Operation.FIXED_CLOSE else "")
    answered = resolution(reference="inv_9").applied_to(replace(in_doubt(), move=move)).receipt
    expected = {Operation.FIXED_INVEST: "inv_9", Operation.FIXED_CLOSE: "inv_1", Operation.TRANSFER: None}
    assert (answered.transaction_id, answered.investment_id) == (None, expected[operation])
    # Without a time, the last attempt's.
    assert answered.executed_at == pendulum.from_timestamp(NOW // 1000, tz="UTC")


def test_what_a_person_said_survives_a_merge():
    answered = resolution(Answer.DID_NOT_RUN).applied_to(in_doubt())
    for merged in (merge_intents(answered, in_doubt()), merge_intents(in_doubt(), answered)):
        assert not merged.unproven and (merged.resolved_by, merged.reason) == ("ann", "seen")


def test_documents_are_read_back():
    full = resolution(reference="tx", amount=Decimal("1.50"), executed_at=TODAY, explained=("a", "b"))
    assert read_resolution(json.dumps(full.to_json())) == full
    answered = full.applied_to(in_doubt())
    assert Intent.from_json(json.loads(json.dumps(answered.to_json()))) == answered
    assert Receipt.from_json(json.loads(json.dumps(answered.receipt.to_json()))) == answered.receipt
    assert "resolved_by" not in replace(answered.receipt, resolved_by=None, reason=None).to_json()


class Variables:
    def __init__(self):
        self.kept = {}

    def read(self, name):
        return self.kept.get(name)

    def keep(self, name, text, description):
        if self.kept is None:
            raise WhiteBitJournalError("not kept")
        self.kept[name] = text


def test_a_doubt_is_reported_and_taken_back():
    variables = Variables()
    shared = VariableResolutions(("d", "r", "t", "-1"), "conn", variables)
    shared.report(in_doubt(), {NOW}, "the Variables x")
    reported = json.loads(variables.kept[f"{DOUBT}old"])
    assert Intent.from_json(reported["intent"]) == in_doubt()
    assert reported["task"] == {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    assert (reported["nonces"], reported["connection"], reported["journal_entry"]) == ([NOW], "conn", "the Variables x")
    shared.close("old")
    assert variables.kept == {f"{DOUBT}old": "{}"}
    shared.close("never reported")
    assert list(variables.kept) == [f"{DOUBT}old"]
    variables.kept = None
    shared.report(in_doubt(), {NOW}, "")


@pytest.mark.parametrize("text", ["", "no", "[]", "{}", '{"intent_id": 1}', '{"version": 1, "answer": "perhaps"}'])
def test_an_answer_that_is_no_answer_is_an_error(text):
    variables = Variables()
    variables.kept[f"{RESOLUTION}old"] = text
    with pytest.raises(WhiteBitJournalError) as caught:
        VariableResolutions(("d", "r", "t", "-1"), "conn", variables).read("old")
    assert caught.value.money_moved is None and f"{RESOLUTION}old" in str(caught.value)


def test_nonces_of_what_may_have_run():
    absent = in_doubt(id="b").found_absent()
    assert unproven_nonces([in_doubt(), absent, refused(id="c")]) == {NOW}
    assert history(absent).unproven == [absent] and absent.state is State.OPEN
    assert isinstance(MOVE, Move)


def test_a_cleared_task_says_on_whose_word_its_new_move_rests():
    script = Script([in_doubt()], ["tx_new"], TWO, resolutions={"old": resolution(Answer.DID_NOT_RUN)})
    receipt = script.run(generation="2")
    assert (receipt.intent_id, receipt.resolved_by, receipt.reason) == ("new", "ann", "seen")
