"""Two runs of one task: each writes before it reads, so at least one of them sees the other."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.moves import effects as e
from airflow_provider_whitebit.moves import protocol
from airflow_provider_whitebit.moves.evidence import NONCE_LIFE_MS
from airflow_provider_whitebit.moves.intent import Attempt, Outcome, State
from airflow_provider_whitebit.moves.journal import MemoryJournal, MemoryMarkers
from tests.protocol_script import MOVE, NOW, Script, execution, history, in_doubt, intent, lost, record


class ByTries(MemoryJournal):
    """A journal of the tries of one task."""

    by_tries = True


class Tries(Script):
    """Journals with a document for each try.

    :param number: of the try.
    :param documents: of all tries, by key and number.
    """

    def __init__(self, number, documents=None, **given):
        super().__init__(**given)
        self.number = number
        self.documents = {} if documents is None else documents
        #: What happens after the effect of this number; the script's own effects are counted.
        self.after, self.happens = None, None
        self.order = []

    def history(self, key=""):
        self.journals[key] = [text for (name, _), text in sorted(self.documents.items()) if name == key]
        return super().history(key)

    def __call__(self, effect):
        self.history(getattr(effect, "key", ""))
        outcome = super().__call__(effect)
        if isinstance(effect, e.WriteJournal):
            self.documents[effect.key, self.number] = effect.history.to_json()
        if isinstance(effect, (e.ReadJournal, e.WriteJournal, e.ClaimNonce, e.Send)):
            self.order.append(type(effect).__name__)
        if len(self.done) == self.after:
            self.happens()
        return outcome

    def run(self, **changes):
        given = {"run": f"run {self.number}", "journal": ByTries(), "begun_before": self.number > 1}
        return super().run(**given, intent_id=f"intent {self.number}", **changes)


def test_the_first_run_writes_its_attempt_before_it_reads_the_journal_again():
    script = Tries(1, answers=["tx_1"])
    script.run()
    assert script.order == ["ReadJournal", "ClaimNonce", "WriteJournal", "ReadJournal", "Send", "WriteJournal"]
    assert script.history().run == "run 1"


def test_a_run_that_replaces_another_says_so_before_it_reads_the_journal():
    script = Tries(2, {("", 1): {**history().to_json(), "run": "run 1"}}, answers=["tx_1"])
    script.run()
    announced = ["ReadJournal", "WriteJournal", "ReadJournal"]
    assert script.order == [*announced, "ClaimNonce", "WriteJournal", "ReadJournal", "Send", "WriteJournal"]
    # The same run goes on after it was deferred, and a later one does not.
    assert Tries(2, script.documents).run(send=False).transaction_id == "tx_1"


def test_a_move_of_a_plan_announces_nothing_because_its_plan_does():
    script = Tries(2, {("", 1): {**history().to_json(), "run": "run 1"}}, answers=["tx_1"])
    script.run(plan_journal=MemoryJournal())
    assert script.order[:3] == ["ReadJournal", "ClaimNonce", "WriteJournal"]


def test_a_run_that_was_deferred_goes_on_with_its_own_intent():
    script = Script(journal=[in_doubt(key="move")], answers=["tx_2"])
    assert script.run(resumed=in_doubt(key="move").found_absent().to_json()).transaction_id == "tx_2"


def test_a_run_that_only_finds_out_replaces_none():
    script = Tries(2, {("", 1): {**history(in_doubt()).to_json(), "run": "run 1"}})
    script.run(send=False)
    assert script.order[:1] == ["ReadJournal"]
    assert script.order[1:] == ["WriteJournal"]


def test_a_run_that_was_replaced_sends_nothing():
    documents = {}
    script = Tries(1, documents, answers=["tx_1"])
    later = {**history().to_json(), "run": "run 2"}
    script.after, script.happens = 3, lambda: documents.update({("", 2): later})
    with pytest.raises(errors.WhiteBitJournalError, match="later run of this task has taken over"):
        script.run()
    assert "Send" not in script.done
    assert not script.intent("intent 1").unproven


@pytest.mark.parametrize("forgets", ["everything", "the attempt"])
def test_a_run_whose_journal_does_not_hold_what_it_wrote_sends_nothing(forgets):
    """As Airflow 3.3 lets a replaced try read nothing, and an object storage takes what it writes."""

    class Forgetting(Script):
        def __call__(self, effect):
            outcome = super().__call__(effect)
            if isinstance(effect, e.WriteJournal) and effect.history.begun:
                self.journals[""] = [] if forgets == "everything" else [history(intent()).to_json()]
            return outcome

    script = Forgetting(journal=[intent()], answers=["tx_1"])
    with pytest.raises(errors.WhiteBitJournalError, match="does not hold what this run wrote"):
        script.run()
    assert "Send" not in script.done


def test_a_run_that_was_deferred_goes_on_only_with_the_journal_that_it_wrote():
    """What it wrote now could replace what it wrote before: a store may let a replaced try read nothing."""
    before = in_doubt(key="move")
    script = Script(answers=["tx_2"])
    with pytest.raises(errors.WhiteBitJournalError, match="no longer shows"):
        script.run(resumed=before.found_absent().to_json(), sent=1)
    assert not {"Send", "WriteJournal"} & set(script.done)
    # Another move of the task was deferred: that proves nothing about this one.
    assert script.run(resumed=replace(before, key="other").to_json()).transaction_id == "tx_2"


@pytest.mark.parametrize(
    ("answers", "done"),
    [
        (["tx_1"], True),
        ([errors.WhiteBitNotEnoughBalanceError("Not enough.", status=422)], True),
        # It left no record so far: others wait for a while.
        ([lost(), errors.WhiteBitNotEnoughBalanceError("Not enough.", status=422)], False),
    ],
)
def test_the_marker_of_a_move_says_when_it_is_known_what_became_of_it(answers, done):
    class Marked(Script):
        markers = MemoryMarkers()

        def __call__(self, effect):
            if isinstance(effect, e.WriteMarker):
                assert effect.conflict_key == MOVE.conflict_key
                self.markers.write(effect.conflict_key, effect.marker)
            outcome = super().__call__(effect)
            if isinstance(effect, e.Send):
                assert not self.markers.read(MOVE.conflict_key).endswith(":done")
            return self.markers.read(effect.conflict_key) if isinstance(effect, e.ReadMarker) else outcome

    script = Marked(answers=answers)
    with suppress(errors.WhiteBitNotEnoughBalanceError):
        script.run()
    marker = script.markers.read(MOVE.conflict_key)
    assert marker.startswith(f"new:{script.intent().attempts[-1].nonce}")
    assert marker.endswith(":done") is done


def test_what_another_writer_sent_meanwhile_is_reconciled_before_anything_is_sent():
    """Tasks with one idempotency key do not replace each other."""

    class Meanwhile(Script):
        def __call__(self, effect):
            if isinstance(effect, e.WriteJournal) and "Send" not in self.done and not self.elsewhere[""]:
                self.elsewhere[""] = [history(in_doubt(id="other")).to_json()]
                self.records = [record("tx_other")]
            return super().__call__(effect)

    script = Meanwhile(answers=["tx_1"])
    receipt = script.run()
    assert (receipt.transaction_id, receipt.reconciled) == ("tx_other", True)
    assert "Send" not in script.done
    assert script.intent("new").attempts[0].outcome is Outcome.REFUSED


class World:
    """Tries of one task, and one exchange that accepts each nonce once and in time."""

    def __init__(self, *, answer=None):
        self.documents, self.records, self.claimed, self.now, self.answer = {}, [], set(), NOW, answer

    def begin(self, number):
        world = self

        class Sharing(Tries):
            def __call__(self, effect):
                self.now, self.records = world.now, world.records
                if isinstance(effect, e.ClaimNonce):
                    world.use(effect.nonce)
                if isinstance(effect, e.Send):
                    self.answers = [world.accept(effect.nonce)]
                outcome = super().__call__(effect)
                world.now = self.now
                return outcome

        return Running(Sharing(number, self.documents))

    def use(self, nonce):
        if nonce in self.claimed or abs(nonce - self.now) > NONCE_LIFE_MS:
            raise errors.WhiteBitNonceError("Too many requests.")
        self.claimed.add(nonce)

    def accept(self, nonce):
        self.use(nonce)
        name = f"tx_{nonce}"
        self.records = [*self.records, record(name, self.now // 1000)]
        return name if self.answer is None else self.answer


class Running:
    """One try, effect by effect."""

    def __init__(self, script):
        self.script = script
        self.outcome, self.receipt, self.error, self.ended = None, None, None, False
        changes = {"run": f"run {script.number}", "journal": ByTries(), "begun_before": script.number > 1}
        self.steps = protocol.execute(execution(**changes, intent_id=f"intent {script.number}"))

    def go(self, effects=999):
        for _ in range(effects):
            if self.ended:
                return
            try:
                failed = isinstance(self.outcome, errors.WhiteBitError)
                effect = self.steps.throw(self.outcome) if failed else self.steps.send(self.outcome)
                self.outcome = self.script(effect)
            except StopIteration as end:
                self.receipt, self.ended = end.value, True
            except errors.WhiteBitError as error:
                # Of an effect, or the end of the try.
                self.error, self.ended = error, self.steps.gi_frame is None
                self.outcome = error


@pytest.mark.parametrize("answer", [None, lost()], ids=["answered", "lost"])
@pytest.mark.parametrize("until", range(13))
def test_two_tries_at_once_move_nothing_twice(until, answer):
    """The first try stands still, the second begins and stands still at any moment, and each goes on first."""
    for moment in range(1, 16):
        for first_goes_on in (True, False):
            world = World(answer=answer)
            first, second = world.begin(1), world.begin(2)
            first.go(until)
            second.go(moment)
            for running in (first, second) if first_goes_on else (second, first):
                running.go()
            if second.receipt is None:
                second = world.begin(3)
                second.go()
            assert [one.transaction_id for one in world.records] == [second.receipt.transaction_id]
            assert (
                first.receipt in (None, second.receipt) or first.receipt.transaction_id == second.receipt.transaction_id
            )


def test_a_refusal_beside_an_absent_attempt_is_not_the_last_word():
    """The refusal may be a consequence of the first attempt: its record comes late."""
    refusal = errors.WhiteBitNotEnoughBalanceError("Not enough.", status=422, next_step="Fund the balance.")
    script = Script(answers=[lost(), refusal])
    with pytest.raises(errors.WhiteBitNotEnoughBalanceError, match="Whether money moved is not known") as caught:
        script.run()
    steps = caught.value.next_step
    assert "was also sent at" in steps[0] and "Clear the task later" in steps[0]
    assert steps[1:] == ("Fund the balance.",)
    kept = script.intent()
    assert (kept.state, [one.outcome for one in kept.attempts]) == (
        State.REFUSED,
        [Outcome.ABSENT, Outcome.REFUSED],
    )
    # Repeated on a retry, it says the same.
    with pytest.raises(errors.WhiteBitNotEnoughBalanceError, match="was also sent at"):
        script.run()
    # Cleared after the record has appeared, also with other parameters of the same plan: it is found.
    script.records = [record("tx_late", kept.attempts[0].earliest)]
    done = len(script.done)
    receipt = script.run(generation="2", intent_id="second")
    assert (receipt.transaction_id, receipt.reconciled) == ("tx_late", True)
    assert "Send" not in script.done[done:]
    assert list(script.history().intents) == ["new"]


@pytest.mark.parametrize("generation", ["1", "2"])
def test_a_later_run_looks_for_the_late_record_again_before_it_sends(generation):
    """The record of an absent attempt appears while the retry, or the cleared run, waits for its lock."""

    class Late(Script):
        def __call__(self, effect):
            if isinstance(effect, e.ClaimNonce):
                self.records = [record("tx_late")]
            return super().__call__(effect)

    script = Late(journal=[in_doubt().found_absent()])
    receipt = script.run(generation=generation, intent_id="second")
    assert (receipt.transaction_id, receipt.intent_id, receipt.reconciled) == ("tx_late", "old", True)
    assert "Send" not in script.done
    assert script.intent("old").state is State.EXECUTED


def test_a_record_with_another_amount_for_an_absent_attempt_keeps_the_next_one_back():
    script = Script(journal=[in_doubt().found_absent()], records=[record(amount="26")])
    with pytest.raises(errors.WhiteBitInDoubtError, match="26 USDT"):
        script.run(generation="2", intent_id="second")
    assert "Send" not in script.done


def test_records_that_were_there_belong_to_the_attempt_that_saw_them():
    there = record("tx_there", NOW // 1000 - 1)
    script = Script(records=[there], answers=[lost(), "tx_2"])
    script.run()
    first, second = script.intent().attempts
    assert first.baseline == ("6:tx_there#1",)
    assert second.baseline == ()
    assert Attempt.from_json(first.to_json()) == first
