"""The history of a move: documents of several tries put together, and what they keep."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation, Outcome, Receipt
from tests.protocol_script import NOW, executed, history, in_doubt, intent, refused


def merged(*histories):
    return MoveHistory.merge(one.to_json() for one in histories)


def test_documents_of_several_tries_are_put_together():
    first = intent().trying(Attempt(NOW, NOW // 1000, baseline=("x",)))
    second = first.found_absent().trying(Attempt(NOW + 9, NOW // 1000, baseline=("y",)))
    for order in ([first, second], [second, first]):
        [both] = merged(*map(history, order)).intents.values()
        assert [attempt.outcome for attempt in both.attempts] == [Outcome.ABSENT, Outcome.PENDING]
        assert [attempt.baseline for attempt in both.attempts] == [("x",), ("y",)]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("other", [in_doubt(), in_doubt().refused(errors.WhiteBitRefusedError("Refused."))])
def test_an_intent_that_ran_stays_executed(other, order):
    documents = [history(executed()), history(other)][::order]
    found = merged(*documents).executed
    assert found is not None and found.receipt == executed().receipt


def test_intents_of_all_generations_and_keys_are_kept():
    kept = [refused(id="first"), in_doubt(id="second", account="b"), executed(id="third", generation="2")]
    both = merged(history(*kept[:2]), history(kept[0], kept[2]))
    assert both.intents == {one.id: one for one in kept}
    assert both.begun == kept[1:]
    assert both.executed == kept[2]


def test_the_last_trys_intent_is_the_last():
    old, new = intent(id="old"), intent(id="new")
    assert list(merged(history(old, new), history(old)).intents) == ["new", "old"]


def test_what_may_have_run_is_unproven_until_one_certainly_ran():
    absent = in_doubt(id="absent").found_absent()
    late = in_doubt(id="late").found_absent().refused(errors.WhiteBitRefusedError("Refused."))
    both = history(intent(id="never sent"), absent, in_doubt(id="lost"), refused(id="no"))
    assert [one.id for one in both.unproven] == ["absent", "lost"]
    # A refusal ends the move, and proves nothing about the attempts before it.
    two = absent.trying(Attempt(NOW + 9, NOW // 1000)).refused(errors.WhiteBitRefusedError("Refused."))
    assert [attempt.nonce for attempt in two.unproven] == [NOW]
    assert history(two).unproven == [two]
    assert late.unproven == ()
    assert both.with_intent(executed()).unproven == []


@pytest.mark.parametrize("order", [1, -1])
def test_the_last_document_names_the_run(order):
    documents = [replace(history(), run=run) for run in ("first", "second")][::order]
    assert merged(*documents).run == documents[-1].run


def test_nothing_is_begun_by_what_certainly_did_not_run():
    assert history(intent(), refused(id="no"), in_doubt(id="absent").found_absent()).begun == []


def test_what_superseded_a_move_is_merged_from_all_tries():
    why = errors.WhiteBitRefusedError("no", status=422, errors={"amount": ["too much"]}, next_step=["One.", "Two."])
    first = history(refused()).superseded("second", why)
    both = merged(first, history(refused()).superseded("third", why), history(refused()))
    assert both.superseded_by == ("second", "third")
    error = both.refusal.error()
    assert (type(error), error.message, error.status) == (errors.WhiteBitRefusedError, "no", 422)
    assert (error.errors, tuple(error.next_step)) == ({"amount": ["too much"]}, ("One.", "Two."))
    assert first.superseded("second", why) == first


def test_documents_come_back_as_they_were():
    for one in (intent(), executed(), refused()):
        assert Intent.from_json(one.to_json()) == one
        whole = history(one).superseded("other", errors.WhiteBitUnavailableError("no lock"))
        assert merged(whole) == whole
    receipt = executed().receipt
    assert Receipt.from_json(receipt.to_json()) == receipt
    assert merged() == MoveHistory()


@pytest.mark.parametrize(
    "document",
    [
        {"version": 1, "intents": []},
        {"intents": []},
        {"version": 2},
        {"version": 2, "intents": [], "superseded_by": None},
        {"version": 2, "intents": [{"version": 1}]},
        {"version": 2, "intents": [{**executed().to_json(), "state": "unknown"}]},
    ],
)
def test_a_document_that_cannot_be_read_is_refused(document):
    with pytest.raises(ValueError, match=r"version|cannot be read|unknown"):
        MoveHistory.merge([history(executed()).to_json(), document])


def test_a_move_need_not_name_a_sub_account():
    move = Move(Operation.SUB_ACCOUNT_TRANSFER, "", "USDT", Decimal(1), source="main", target="sub", sub_account_id="s")
    assert Move.from_json(move.to_json()) == move
    document = move.to_json()
    del document["sub_account_id"]
    assert Move.from_json(document).sub_account_id == ""


def test_a_document_need_not_name_its_run_or_what_superseded_the_move():
    bare = {name: value for name, value in history(executed()).to_json().items() if name in ("version", "intents")}
    assert MoveHistory.merge([bare]) == history(executed())
