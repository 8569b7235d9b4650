"""What is known of a move in doubt, and which answers are acceptable."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client.errors import WhiteBitResolutionError
from airflow_provider_whitebit.client.models import FlexTransaction
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.moves import examination as x
from airflow_provider_whitebit.moves.evidence import NONCE_LIFE_MS, Trace, has_left, traces_of
from airflow_provider_whitebit.moves.intent import Attempt, Balances, Move, Operation
from airflow_provider_whitebit.moves.resolution import Answer
from tests.protocol_script import MOVE, NOW, in_doubt, intent, record

MARGIN = 10_000
LATER = (NOW + NONCE_LIFE_MS + MARGIN) // 1000 + 1
PERSON = {"user": "Ann (id 7)", "reason": "Seen in the app."}


def other(transaction="tx_1", **changes):
    receipt = MOVE.receipt(
        transaction_id=transaction,
        amount=Decimal(25),
        status="executed",
        executed_at=None,
        attempts=1,
        reconciled=False,
        intent_id="another",
    )
    return x.OtherMove(replace(receipt, **changes), "task sweep of desk, run r1")


def examined(records=(), *, others=(), now=LATER, move_in_doubt=None):
    mine = move_in_doubt or in_doubt()
    observation = x.Observation(now, tuple(traces_of(MOVE, records)))

    def explain(traces):
        return [next((one for one in others if has_left(one.receipt, MOVE, t)), None) for t in traces]

    return x.examine_records(mine, frozenset({NOW}), MARGIN, observation, explain)


TWO = [record("tx_1"), record("tx_2")]


def test_an_attempt_that_can_still_be_accepted_is_not_answered():
    found = examined(TWO, now=LATER - 1)
    assert found.open_until == LATER and not found.needs_person
    with pytest.raises(WhiteBitResolutionError, match="can still be accepted"):
        found.answer(ran=True, name="tx_1", **PERSON)
    assert examined(TWO).open_until is None


@pytest.mark.parametrize(
    ("records", "others", "excluded", "needs_person", "found"),
    [
        ([], [], (), False, None),
        ([record("tx_1")], [], (), False, "tx_1"),
        (TWO, [], (), True, None),
        (TWO, [other("tx_1")], ("tx_1",), False, "tx_2"),
        (TWO, [other("tx_1"), other("tx_2")], ("tx_1", "tx_2"), False, None),
        # A person's word about another move proves nothing about this one.
        (TWO, [other("tx_1", resolved_by="Bob")], (), True, None),
        (TWO, [other("tx_1", plan_id="elsewhere")], (), True, None),
        (TWO, [other("tx_1", operation="fixed_invest")], (), True, None),
    ],
)
def test_other_moves_explain_records(records, others, excluded, needs_person, found):
    seen = examined(records, others=others)
    assert (seen.excluded, seen.needs_person) == (excluded, needs_person)
    assert (seen.verdict.found and seen.verdict.found.reference) == found
    answer = None if needs_person else seen.answer(ran=True, **PERSON)
    if excluded:
        assert (answer.answer, answer.explained) == (Answer.EXPLAINED, excluded)
    else:
        assert answer is None


def test_it_ran():
    answer = examined(TWO).answer(ran=True, name="tx_2", **PERSON)
    assert (answer.answer, answer.reference, answer.amount) == (Answer.RAN, "tx_2", Decimal(25))
    assert (answer.intent_id, answer.nonces, answer.resolved_by) == ("old", (NOW,), "Ann (id 7)")
    assert answer.answers(in_doubt(), {NOW})


def test_it_did_not_run():
    answer = examined(TWO).answer(ran=False, **PERSON)
    assert (answer.answer, answer.reference) == (Answer.DID_NOT_RUN, None)


@pytest.mark.parametrize(
    ("others", "given", "words"),
    [
        ([], {"ran": True}, "Which record"),
        ([], {"ran": True, "name": "tx_3"}, "none of the records"),
        ([], {"ran": False, "name": "tx_1"}, "has no transaction"),
        (
            [other("tx_1", resolved_by="Bob")],
            {"ran": True, "name": "tx_1"},
            "belongs to another move, that of task s",
        ),
        ([], {"ran": False, "reason": " "}, "reason"),
        ([], {"ran": False, "user": ""}, "reason"),
    ],
)
def test_answers_that_cannot_be_accepted(others, given, words):
    with pytest.raises(WhiteBitResolutionError, match=words) as caught:
        examined(TWO, others=others).answer(**{**PERSON, **given})
    assert "Nothing was changed" in str(caught.value)


@pytest.mark.parametrize(
    ("others", "left"),
    [([], "tx_1, tx_2"), ([other("tx_1", resolved_by="B"), other("tx_2", resolved_by="B")], "none")],
)
def test_a_wrong_answer_is_told_what_remains(others, left):
    with pytest.raises(WhiteBitResolutionError, match=f"These remain: {left}. Nothing was changed"):
        examined(TWO, others=others).answer(ran=True, name="tx_3", **PERSON)


def test_names_and_reasons_are_kept_as_long_as_they_can_be():
    answer = examined(TWO).answer(ran=False, user="u" * 999, reason="r" * 999)
    assert (len(answer.resolved_by), len(answer.reason)) == (250, 500)


def test_the_one_record_that_remains_needs_no_name():
    answer = examined(TWO, others=[other("tx_1", resolved_by="Bob")]).answer(ran=True, **PERSON)
    assert answer.reference == "tx_2"


TRANSFER = Move(Operation.TRANSFER, "", "USDT", Decimal(25), source="main", target="spot")


def transfer(after, *, undisturbed=True):
    attempt = Attempt(NOW, NOW // 1000, before=Balances(Decimal(100), Decimal(0)))
    mine = intent(move=TRANSFER).trying(attempt)
    observation = x.Observation(LATER, balances=Balances(*map(Decimal, after)))
    return x.examine_transfer(mine, frozenset({NOW}), MARGIN, observation, undisturbed=undisturbed)


@pytest.mark.parametrize(
    ("after", "undisturbed", "needs_person"),
    [((75, 25), True, False), ((100, 0), True, False), ((80, 25), True, True), ((75, 25), False, True)],
)
def test_transfers_are_judged_by_balances(after, undisturbed, needs_person):
    found = transfer(after, undisturbed=undisturbed)
    assert found.needs_person is needs_person
    if needs_person:
        assert found.answer(ran=True, **PERSON).reference is None
        with pytest.raises(WhiteBitResolutionError, match="no transaction"):
            found.answer(ran=True, name="tx", **PERSON)
        two = replace(found, verdict=replace(found.verdict, unclear=("one", "two")))
        assert "\n\n- one\n- two\n\n" in x.question_text(two, "task t")


def test_small_changes_of_balances_leave_an_answer_valid():
    marks = {source: x.evidence_mark(transfer((source, 0))) for source in (70, "87.5", "87.6", 99, 112)}
    # Half an amount and more counts as one.
    assert marks[70] == marks["87.5"] != marks["87.6"] == marks[99] == marks[112]


def test_a_transfer_without_balances_is_an_error():
    with pytest.raises(ValueError, match="balances"):
        x.examine_transfer(in_doubt(), frozenset(), MARGIN, x.Observation(LATER), undisturbed=True)


def test_a_person_reads_what_was_sent_and_what_may_be_it():
    text = x.question_text(examined(TWO, others=[other("tx_1", resolved_by="Bob")]), "task invest of desk, run a|b")
    assert "**flex_invest 25 USDT, plan" in text and f"nonce {NOW}" in text
    assert "| tx_1 | 2026-09-21T14:13:20Z | 25 | yes | task sweep of desk, run r1 |" in text
    assert "| tx_2 | 2026-09-21T14:13:20Z | 25 | yes | no known move |" in text
    assert "clears task invest of desk, run a\\|b" in text


def test_a_person_reads_what_is_not_known():
    unread = UnreadableRecord.of(FlexTransaction, "/path", {"currency": "USDT", "actionType": 6}, 0)
    text = x.question_text(examined([record("", amount="26"), unread]), "task t")
    assert " | unknown | unknown | not in every field | no known move |" in text
    assert " | 2026-09-21T14:13:20Z | 26 | not in every field | no known move |" in text


def test_people_can_type_a_mark():
    assert re.fullmatch("[0-9a-f]{8}", x.evidence_mark(examined(TWO)))


def test_an_answer_belongs_to_what_the_person_read():
    marks = {
        x.evidence_mark(found)
        for found in (
            examined(TWO),
            examined([*TWO, record("tx_3")]),
            examined(TWO, others=[other("tx_1", resolved_by="Bob")]),
            replace(examined(TWO), nonces=frozenset({NOW, NOW + 1})),
        )
    }
    assert len(marks) == 4
    assert x.evidence_mark(examined(TWO)) == x.evidence_mark(examined(TWO, now=LATER + 1))


@pytest.mark.parametrize(
    ("move", "receipt", "left"),
    [
        (replace(MOVE, operation=Operation.FLEX_CLOSE), {}, True),
        (replace(MOVE, operation=Operation.FIXED_INVEST), {"operation": "fixed_invest", "investment_id": "tx_1"}, True),
        (replace(MOVE, operation=Operation.FIXED_CLOSE), {"operation": "fixed_invest", "investment_id": "tx_1"}, False),
        (replace(MOVE, operation=Operation.SUB_ACCOUNT_TRANSFER), {"operation": "sub_account_transfer"}, True),
        (TRANSFER, {"operation": "transfer"}, False),
    ],
)
def test_which_receipt_names_a_record(move, receipt, left):
    trace = Trace("tx_1", NOW // 1000, Decimal(25))
    assert has_left(other(**receipt).receipt, move, trace) is left
    assert not has_left(other(**receipt).receipt, move, replace(trace, reference="tx_2"))
    assert not has_left(other(**receipt).receipt, move, replace(trace, reference=None))


@pytest.mark.parametrize(("apart", "left"), [(-901, False), (-900, True), (900, True), (901, False)])
def test_a_receipt_is_of_the_time_of_its_record(apart, left):
    receipt = other(executed_at=pendulum.from_timestamp(NOW // 1000 + apart)).receipt
    assert has_left(receipt, MOVE, Trace("tx_1", NOW // 1000, Decimal(25))) is left
    # A record without a time is known by its identifier alone.
    assert has_left(receipt, MOVE, Trace("tx_1", 0, Decimal(25), dated=False))


def test_an_identifier_of_several_records_explains_none_of_them():
    found = examined([record("tx_1"), record("tx_1", second=NOW // 1000 + 1)], others=[other("tx_1")])
    assert (found.excluded, found.needs_person) == ((), True)
    assert [one.explanation for one in found.candidates] == [None, None]
