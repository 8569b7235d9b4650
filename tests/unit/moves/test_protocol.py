"""The protocol step by step, its effects performed by a script."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.moves import effects as e
from airflow_provider_whitebit.moves import protocol
from airflow_provider_whitebit.moves.execution import Rules
from airflow_provider_whitebit.moves.intent import Attempt, Balances, Move, Operation, State
from airflow_provider_whitebit.moves.keys import idempotent
from airflow_provider_whitebit.moves.limits import Limits
from tests.protocol_script import MOVE, NOW, PLAN, Script, executed, history, in_doubt, intent, lost, record, refused


def test_the_good_case_writes_twice_and_first_what_it_is_about_to_do():
    script = Script(answers=["tx_1"])
    receipt = script.run()
    assert (receipt.transaction_id, receipt.attempts, receipt.reconciled, receipt.intent_id) == (
        "tx_1",
        1,
        False,
        "new",
    )
    assert script.done.count("WriteJournal") == 2
    assert script.done.index("WriteJournal") < script.done.index("Send")
    # Then it tells others of its conflict key that it is done.
    assert script.done[-2:] == ["WriteJournal", "ReadMarker"]
    assert script.done.count("ClaimNonce") == 1


class FailingWrites(Script):
    """Some writes of the journal fail."""

    def fails(self, effect):
        return True

    def __call__(self, effect):
        if isinstance(effect, e.WriteJournal) and self.fails(effect):
            raise errors.WhiteBitJournalError("no")
        return super().__call__(effect)


@pytest.mark.parametrize(("begun_before", "known"), [(False, False), (True, None)])
def test_nothing_is_sent_that_could_not_be_written(begun_before, known):
    """A run that a later one has replaced may be refused, and cannot read what that one sent."""
    script = FailingWrites(answers=["tx_1"])
    with pytest.raises(errors.WhiteBitJournalError) as caught:
        script.run(begun_before=begun_before)
    assert "Send" not in script.done
    assert caught.value.money_moved is known


def test_a_receipt_that_could_not_be_written_is_returned_nevertheless():
    class Failing(FailingWrites):
        def fails(self, effect):
            return effect.history.executed is not None

    script = Failing(answers=["tx_1"])
    assert script.run().transaction_id == "tx_1"
    assert script.intent().state is State.OPEN


class Slow(Script):
    """Some effects take six seconds: longer than a slot."""

    def __init__(self, *effects, times=99, **given):
        super().__init__(**given)
        self.effects, self.times = effects, times

    def __call__(self, effect):
        outcome = super().__call__(effect)
        if type(effect).__name__ in self.effects and self.times:
            self.times -= 1
            self.now += 6_000
        return outcome


@pytest.mark.parametrize("slow", ["ReadRecords", "WriteJournal"])
def test_what_is_too_late_is_not_sent_and_not_in_doubt(slow):
    script = Slow(slow, times=1, answers=["tx_1"])
    receipt = script.run()
    assert (receipt.transaction_id, receipt.attempts, receipt.reconciled) == ("tx_1", 2, False)
    assert script.done.count("Send") == 1
    assert "WaitUntil" not in script.done


def test_after_a_try_that_was_too_late_more_of_a_slot_is_left(monkeypatch):
    wanted = []
    take_lock = protocol.take_lock

    def taken(*given, whole):
        wanted.append(whole)
        return take_lock(*given, whole=whole)

    monkeypatch.setattr(protocol, "take_lock", taken)
    Slow("WriteJournal", times=2, answers=["tx_1"]).run()
    assert wanted == [False, True, True]


def test_a_log_says_which_parameters_a_begun_move_keeps(caplog):
    old = in_doubt().found_absent()
    Script(journal=[old], answers=["tx_1"]).run()
    # A refusal is repeated, whatever is asked for.
    refusal = refused(requested={"amount": "26"})
    with pytest.raises(errors.WhiteBitError, match="Not enough"):
        Script(journal=[refusal]).run()
    assert "parameters changed" not in caplog.text
    Script(journal=[replace(old, requested={"amount": "26"})], answers=["tx_1"]).run()
    assert "The parameters changed since move old began; it keeps {'amount': '26'}" in caplog.text


def test_a_journal_is_prepared_before_the_lock_is_taken():
    script = Script(answers=["tx_1"])
    script.run()
    assert script.done.index("PrepareJournal") < script.done.index("ClaimNonce")


@pytest.mark.parametrize("begun_before", [True, False])
def test_a_journal_that_cannot_be_prepared(begun_before):
    class Unprepared(Script):
        def __call__(self, effect):
            if isinstance(effect, e.PrepareJournal):
                raise errors.WhiteBitJournalError("no")
            return super().__call__(effect)

    script = Unprepared()
    with pytest.raises(errors.WhiteBitJournalError) as caught:
        script.run(begun_before=begun_before)
    assert caught.value.money_moved is (None if begun_before else False)
    assert not {"ClaimNonce", "Send"} & set(script.done)


def test_a_move_that_is_always_too_late_ends_with_no_money_moved():
    script = Slow("WriteJournal")
    with pytest.raises(errors.WhiteBitUnavailableError, match=r"(?s)within the few seconds.*No money moved"):
        script.run()
    assert "Send" not in script.done
    assert not script.intent().in_doubt


class Found(Script):
    """The exchange shows these records only after a wait."""

    def __init__(self, *records, **given):
        super().__init__(**given)
        self.late = records

    def __call__(self, effect):
        if isinstance(effect, e.WaitUntil):
            self.records = list(self.late)
        return super().__call__(effect)


def test_a_lost_answer_is_found():
    found = record("tx_ours", NOW // 1000 + 1)
    receipt = Found(found, record("tx_other", amount="26"), answers=[lost()]).run()
    assert (receipt.transaction_id, receipt.reconciled, receipt.attempts) == ("tx_ours", True, 1)


@pytest.mark.parametrize(
    "error", [errors.WhiteBitRateLimitError("429"), errors.WhiteBitNonceError("Too many requests.")]
)
def test_a_possible_answer_to_a_second_delivery_is_reconciled_first(error):
    script = Found(record("tx_first", NOW // 1000 + 1), answers=[error])
    receipt = script.run()
    assert (receipt.transaction_id, receipt.reconciled) == ("tx_first", True)
    assert script.done.count("Send") == 1


def test_a_move_that_never_ran_is_sent_again():
    script = Script(answers=[lost(), "tx_2"])
    receipt = script.run()
    assert (receipt.transaction_id, receipt.attempts) == ("tx_2", 2)
    assert script.done.count("WaitUntil") == 1


def test_after_the_last_try_it_gives_up_and_says_when_it_was_sent():
    script = Script(answers=[lost()] * 9)
    with pytest.raises(errors.WhiteBitUnavailableError, match="Whether money moved is not known") as caught:
        script.run()
    assert caught.value.money_moved is None
    assert script.done.count("Send") == Rules().tries
    assert all(f"(nonce {attempt.nonce})" in str(caught.value) for attempt in script.intent().attempts)
    assert caught.value.message.endswith("The last one: lost")


def test_after_the_last_try_that_reached_nobody_it_says_that_no_money_moved():
    script = Script(answers=[errors.WhiteBitUnavailableError("no connection", money_moved=False)] * 9)
    with pytest.raises(errors.WhiteBitUnavailableError, match="No money moved"):
        script.run()
    assert script.done.count("Send") == Rules().tries


def test_what_certainly_did_not_run_is_repeated_without_waiting_for_records():
    script = Script(answers=[errors.WhiteBitUnavailableError("no connection", money_moved=False), "tx_2"])
    assert script.run().transaction_id == "tx_2"
    assert "WaitUntil" not in script.done


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_an_impossible_time_is_asked_for_again(seconds):
    """An answer's date that is far off must not decide which records count."""

    class Wrong(Script):
        wrong = True

        def __call__(self, effect):
            if isinstance(effect, e.ReadClock) and "ClaimNonce" in self.done and self.wrong:
                self.wrong = False
                return e.ClockReading(NOW, NOW // 1000 + seconds)
            return super().__call__(effect)

    script = Wrong(answers=["tx_1"])
    script.run()
    (attempt,) = script.intent().attempts
    # A slot of the lock begins at most 7 s before the exchange's time.
    assert 0 <= script.now // 1000 - attempt.earliest <= 7


def test_a_refusal_is_kept_raised_again_and_forgotten_by_a_clear():
    refusal = errors.WhiteBitNotEnoughBalanceError("no", status=422, code=4, errors={"amount": ["Available 9 < 10"]})
    script = Script(answers=[refusal])
    with pytest.raises(errors.WhiteBitNotEnoughBalanceError):
        script.run()
    with pytest.raises(errors.WhiteBitNotEnoughBalanceError) as caught:
        script.run()
    assert caught.value.errors == {"amount": ["Available 9 < 10"]}
    assert script.done.count("Send") == 1
    script.answers = ["tx_3"]
    assert script.run(generation="2", intent_id="second").transaction_id == "tx_3"
    assert [one.state for one in script.history().intents.values()] == [State.REFUSED, State.EXECUTED]


def test_the_same_run_may_ask_again_after_a_refusal():
    script = Script(answers=[errors.WhiteBitRefusedError("paused"), "tx_2"])
    with pytest.raises(errors.WhiteBitRefusedError):
        script.run()
    assert script.run(again=True, intent_id="second").transaction_id == "tx_2"


def test_a_retry_gets_the_receipt_whatever_its_parameters():
    script = Script(journal=[executed()])
    assert script.run(requested={"amount": "99"}).transaction_id == "tx_old"
    assert script.done == ["ReadJournal"]


def test_a_cleared_task_gets_the_receipt_only_for_the_same_parameters(caplog):
    script = Script(journal=[executed()])
    assert script.run(generation="2").transaction_id == "tx_old"
    assert "Move old was made before this task was cleared: its receipt is returned" in caplog.text
    with pytest.raises(errors.WhiteBitAlreadyMovedError, match="tx_old"):
        script.run(generation="2", requested={"amount": "99"})
    assert "Send" not in script.done


@pytest.mark.parametrize("now", ["flex_invest", "transfer"])
def test_an_error_about_other_parameters_names_the_operation_if_it_is_another_one(now):
    begun = {"operation": "flex_invest", "amount": "25"}
    with pytest.raises(errors.WhiteBitAlreadyMovedError, match="amount=26") as caught:
        Script(journal=[executed(requested=begun)]).run(generation="2", requested={"operation": now, "amount": "26"})
    assert ("operation=" in str(caught.value)) is (now == "transfer")


def test_a_receipt_is_not_that_of_a_move_elsewhere():
    elsewhere = Move(Operation.FLEX_INVEST, "another plan", "USDT", Decimal(25))
    with pytest.raises(errors.WhiteBitAlreadyMovedError, match="already made its move 'move'"):
        Script(journal=[executed(move=elsewhere)]).run()
    with pytest.raises(errors.WhiteBitAlreadyMovedError, match="did not carry it out") as caught:
        Script(journal=[intent(move=elsewhere)]).run()
    assert caught.value.money_moved is False


@pytest.mark.parametrize(("task", "made"), [("task t of d", ["tx_old"]), ("task u of d", [])])
def test_an_idempotency_key_that_was_used_for_another_move_names_the_task(task, made):
    script = Script(journal=[executed(task="task t of d")])
    with pytest.raises(errors.WhiteBitAlreadyMovedError, match="idempotency_key='rent' was used before") as caught:
        script.run(key=idempotent("a", "rent"), task=task, generation="2", requested={"amount": "99"})
    assert ("by this task" if made else "by task t of d") in caught.value.message
    assert [one["transaction_id"] for one in caught.value.completed_moves] == made


def test_an_intent_is_frozen():
    class Sent(Script):
        amount = ""

        def __call__(self, effect):
            if isinstance(effect, e.Send):
                self.amount = effect.call.params["amount"]
            return super().__call__(effect)

    open_intent = intent(requested={"amount": "7"}, move=Move(Operation.FLEX_INVEST, PLAN, "USDT", Decimal(7)))
    script = Sent(journal=[open_intent], answers=["tx_1"])
    script.run()
    assert script.amount == "7"
    assert "Resolve" not in script.done


@pytest.mark.parametrize("journal", [[], [intent()]])
def test_limits_are_checked_before_a_frozen_intent_is_sent_too(journal):
    script = Script(journal=journal, answers=["tx_1"])
    with pytest.raises(errors.WhiteBitLimitError):
        script.run(limits=Limits("test", read_only=True))
    assert "Send" not in script.done


def test_another_key_reconciles_no_doubt():
    with pytest.raises(errors.WhiteBitInDoubtError, match="another API key"):
        Script(journal=[in_doubt()]).run(account="b")


def test_a_retry_with_another_key_gets_the_receipt_of_the_move():
    script = Script(journal=[executed()])
    assert script.run(account="b").transaction_id == "tx_old"
    assert script.done == ["ReadJournal"]


def test_a_cleared_task_with_another_key_moves_nothing():
    script = Script(journal=[executed()])
    with pytest.raises(errors.WhiteBitAlreadyMovedError, match="another API key") as caught:
        script.run(account="b", generation="2")
    assert [one["transaction_id"] for one in caught.value.completed_moves] == ["tx_old"]
    assert script.done == ["ReadJournal"]


def test_a_move_made_with_another_connection_is_refused():
    script = Script(journal=[executed(connection="first")])
    sentence = r"(?s)connection 'first'.*key=\"flex_invest second\""
    with pytest.raises(errors.WhiteBitAlreadyMovedError, match=sentence) as caught:
        script.run(account="b", connection="second")
    assert [one["transaction_id"] for one in caught.value.completed_moves] == ["tx_old"]


def test_the_history_keeps_intents_of_other_keys():
    other = in_doubt(account="b", id="other").found_absent()
    script = Script(journal=[other], answers=["tx_1"])
    assert script.run().transaction_id == "tx_1"
    assert script.history().intents.keys() == {"other", "new"}
    assert script.intent("other") == other


@pytest.mark.parametrize("document", [{"version": 99}, {"version": 1, "id": "old"}, {"version": 2}])
def test_a_document_of_another_version_is_refused(document):
    script = Script()
    script.journals[""] = [document]
    with pytest.raises(errors.WhiteBitInDoubtError, match="version"):
        script.run()


def test_two_records_that_fit_are_a_doubt_with_everything_a_person_needs():
    script = Script(journal=[in_doubt()], records=[record("tx_1"), record("tx_2")])
    with pytest.raises(errors.WhiteBitInDoubtError) as caught:
        script.run()
    text = str(caught.value)
    for needed in ("old", "tx_1", "tx_2", str(NOW), "25 USDT", PLAN, "airflow whitebit doubts", "not known"):
        assert needed in text
    assert "Send" not in script.done


class Overtaken(Script):
    """Another run of the task writes its intent while this one takes the lock."""

    def __init__(self, *written, **given):
        super().__init__(**given)
        self.written = written

    def __call__(self, effect):
        if isinstance(effect, e.ClaimNonce) and self.written:
            written, self.written = self.written, ()
            self.elsewhere[""] = Script(journal=written).journals[""]
        return super().__call__(effect)


def test_what_another_run_wrote_before_the_lock_was_taken_counts():
    script = Overtaken(executed())
    assert script.run().transaction_id == "tx_old"
    assert "Send" not in script.done


@pytest.mark.parametrize("journal", [[], [intent()], [executed()]])
def test_without_sending_it_only_finds_out_what_earlier_runs_did(journal):
    script = Script(journal=journal)
    receipt = script.run(send=False)
    assert (receipt.transaction_id if receipt else None) == ("tx_old" if executed() in journal else None)
    assert script.done == ["ReadJournal"]


@pytest.mark.parametrize("ran", [True, False])
def test_without_sending_a_doubt_is_reconciled_and_the_result_kept(ran):
    script = Script(journal=[in_doubt()], records=[record("tx_1")] if ran else [])
    receipt = script.run(send=False)
    assert (receipt.transaction_id if receipt else None) == ("tx_1" if ran else None)
    assert script.intent("old").state is (State.EXECUTED if ran else State.OPEN)
    assert not script.intent("old").in_doubt
    assert not {"Resolve", "ClaimNonce", "Send"} & set(script.done)


def test_without_sending_other_parameters_have_no_receipt():
    elsewhere = Move(Operation.FLEX_INVEST, "another plan", "USDT", Decimal(25))
    assert Script(journal=[executed(move=elsewhere)]).run(send=False) is None


def test_without_sending_a_refusal_is_not_repeated():
    script = Script(answers=[errors.WhiteBitRefusedError("paused")])
    with pytest.raises(errors.WhiteBitRefusedError):
        script.run()
    assert script.run(send=False) is None


def found(old, **changes):
    """What a trigger sends back after it found that a move ran."""
    ran = old.executed("tx_1", Decimal(25), pendulum.from_timestamp(NOW // 1000, tz="UTC"), reconciled=True)
    return {**ran.to_json(), **changes}


def test_a_triggers_result_is_applied_and_written():
    script = Script(journal=[in_doubt()])
    receipt = script.run(resumed=found(in_doubt()))
    assert (receipt.transaction_id, receipt.reconciled) == ("tx_1", True)
    assert script.done == ["ReadJournal", "WriteJournal", "ReadMarker"]
    assert script.intent("old").to_json() == found(in_doubt())


def test_what_a_trigger_found_absent_is_sent_again_without_asking_twice():
    script = Script(journal=[in_doubt()], answers=["tx_2"])
    receipt = script.run(resumed=in_doubt().found_absent().to_json(), sent=1)
    assert (receipt.transaction_id, receipt.attempts) == ("tx_2", 2)
    assert "WaitUntil" not in script.done


def test_a_deferred_move_is_not_sent_for_ever():
    script = Script(journal=[in_doubt()], answers=["tx_2"])
    with pytest.raises(errors.WhiteBitUnavailableError, match="none of the tries") as caught:
        script.run(resumed=in_doubt().found_absent().to_json(), sent=4)
    assert caught.value.money_moved is None
    assert caught.value.said == ""
    assert "Send" not in script.done


@pytest.mark.parametrize("ran", [True, False])
def test_a_triggers_result_with_the_old_key_counts_after_the_key_was_replaced(ran):
    old = in_doubt()
    script = Script(journal=[old], answers=["tx_2"])
    receipt = script.run(account="b", resumed=found(old) if ran else old.found_absent().to_json())
    assert receipt.transaction_id == ("tx_1" if ran else "tx_2")
    assert ("Send" in script.done) is not ran
    assert [one.account for one in script.history().intents.values()] == (["a"] if ran else ["a", "b"])


@pytest.mark.parametrize(
    "journal",
    [
        [],
        [in_doubt(id="another")],
        [intent(attempts=(Attempt(NOW, NOW // 1000), Attempt(NOW + 9, NOW // 1000)))],
    ],
)
def test_a_triggers_result_counts_only_for_the_journals_own_intent(journal):
    script = Script(journal=journal, answers=["tx_9"])
    assert script.run(resumed=found(in_doubt())).transaction_id == "tx_9"


@pytest.mark.parametrize("resumed", [in_doubt(account="b").found_absent().to_json(), {"id": "old", "version": 99}])
def test_a_triggers_result_of_another_account_or_version_reconciles_nothing(resumed):
    script = Script(journal=[in_doubt()], records=[record()])
    assert script.run(resumed=resumed).reconciled
    assert "WaitUntil" in script.done


REFUSAL = errors.WhiteBitNotEnoughBalanceError("Not enough.", status=422)
FAILED = {"failed": REFUSAL}


class Journals(Script):
    """Notes in which order journals are read and written, and lets something happen after one of these."""

    def __init__(self, after=None, happens=None, **given):
        super().__init__(**given)
        self.order = []
        self.after, self.happens = after, happens

    def __call__(self, effect):
        outcome = super().__call__(effect)
        name = type(effect).__name__
        if isinstance(effect, (e.ReadJournal, e.WriteJournal, e.Send, e.ClaimNonce)):
            step = " ".join(filter(None, [name, getattr(effect, "key", "")]))
            self.order += [step] if self.order[-1:] != [step] else []
            if len(self.order) == self.after:
                self.after = None
                self.happens(self)
        return outcome


def test_a_move_that_came_after_a_failed_one_looks_at_it_after_its_own_attempt_is_written():
    script = Journals(answers=["tx_1"], others={"failed": history(refused())})
    script.run(failed=FAILED, key="later", run="run 2")
    assert script.order == [
        "ReadJournal",
        "ReadJournal failed",
        "WriteJournal failed",
        "ClaimNonce",
        "WriteJournal",
        "ReadJournal",
        "ReadJournal failed",
        "Send",
        "WriteJournal",
    ]
    assert script.history("failed").superseded_by == ("later",)
    assert script.history("failed").run == "run 2"
    assert script.history("failed").refusal.error().message == "Not enough."


def test_a_move_reads_its_journal_again_after_its_attempt_is_written():
    script = Journals(answers=["tx_1"])
    script.run()
    assert script.order == ["ReadJournal", "ClaimNonce", "WriteJournal", "ReadJournal", "Send", "WriteJournal"]


@pytest.mark.parametrize(("begun", "known"), [(in_doubt(), None), (executed(), True)])
def test_no_move_is_made_beside_a_failed_one_that_has_begun(begun, known):
    script = Journals(others={"failed": history(begun)})
    sentence = r"the task's move 'failed'[^.]*\. So its move 'later' was not sent"
    with pytest.raises(errors.WhiteBitNotEnoughBalanceError, match=sentence) as caught:
        script.run(failed=FAILED, key="later")
    assert script.order == ["ReadJournal", "ReadJournal failed"]
    assert caught.value.money_moved is known
    assert [one["transaction_id"] for one in caught.value.completed_moves] == (["tx_old"] if known else [])


@pytest.mark.parametrize("begun", [in_doubt(), executed()])
@pytest.mark.parametrize("after", range(3, 7))
def test_no_move_is_made_beside_a_failed_one_that_begins_meanwhile(begun, after):
    """Up to the moment when the attempt of this one is written."""

    def happens(script):
        script.journals["failed"].append(history(begun).to_json())

    script = Journals(after, happens, others={"failed": history(refused(id="first"))})
    with pytest.raises(errors.WhiteBitNotEnoughBalanceError, match="its move 'later' was not sent"):
        script.run(failed=FAILED, key="later")
    assert "Send" not in script.done
    assert not script.intent().in_doubt


@pytest.mark.parametrize("begun", [in_doubt(), executed()])
@pytest.mark.parametrize("after", range(1, 4))
def test_a_move_that_is_superseded_meanwhile_is_not_made(begun, after):
    """Up to the moment when its attempt is written; after that, the other move sees the attempt."""

    def happens(script):
        script.elsewhere[""] = [history().superseded("later", REFUSAL).to_json()]
        script.journals["later"] = [history(begun).to_json()]

    script = Journals(after, happens)
    with pytest.raises(errors.WhiteBitNotEnoughBalanceError, match="went on to its move 'later'"):
        script.run()
    assert "Send" not in script.done
    assert not script.history().begun


@pytest.mark.parametrize(("begun", "moved"), [(executed(), True), (in_doubt(), None), (refused(), False)])
def test_no_error_denies_what_an_older_run_made_instead_meanwhile(begun, moved):
    """Airflow has replaced that run, which has gone on from a refusal of this move."""

    class Down(Script):
        def __call__(self, effect):
            if isinstance(effect, e.Resolve):
                self.journals[""].append(history(refused()).superseded("later", REFUSAL).to_json())
                self.journals["later"] = [history(begun).to_json()]
                raise errors.WhiteBitUnavailableError("down", money_moved=False)
            return super().__call__(effect)

    with pytest.raises(errors.WhiteBitUnavailableError, match="down") as caught:
        Down().run()
    assert caught.value.money_moved is moved
    assert bool(caught.value.completed_moves) is (moved is True)


@pytest.mark.parametrize(("number", "sent"), [(0, True), (1, False), (2, False)])
def test_no_move_is_made_beside_a_failed_plan_that_has_begun(number, sent):
    script = Script(answers=["tx_1"], others={f"plan.{number}": history(executed())} if number else {})
    script.journals["plan"] = [{"version": 1, "highest": 1}, {"version": 1, "highest": 2}]
    if sent:
        script.run(failed={"plan.0": REFUSAL}, key="later")
    else:
        with pytest.raises(errors.WhiteBitNotEnoughBalanceError, match="error of the task's plan 'plan'"):
            script.run(failed={"plan.0": REFUSAL}, key="later")
    assert ("Send" in script.done) is sent


def test_a_move_after_a_failed_plan_lets_no_earlier_or_later_run_carry_that_out():
    """Earlier runs of the plan read the name of this one, and this one reads that of a later run."""

    class Runs(Script):
        def __call__(self, effect):
            if isinstance(effect, e.ConfirmRun):
                assert effect.plan == "plan"
            return super().__call__(effect)

    script = Runs(answers=["tx_1"])
    script.journals["plan"] = [{"version": 1, "highest": 0}]
    script.run(failed={"plan.0": REFUSAL}, key="later")
    announced = [name for name in script.done if name in ("AnnounceRun", "ConfirmRun", "Send")]
    assert announced == ["AnnounceRun", "ConfirmRun", "Send"]
    assert script.done.index("AnnounceRun") < script.done.index("WriteJournal") < script.done.index("ConfirmRun")


def test_that_a_move_never_ran_is_written_before_another_move_keeps_it_back():
    script = Script(journal=[in_doubt()], others={"later": history(executed())})
    script.journals[""].append(history().superseded("later", REFUSAL).to_json())
    with pytest.raises(errors.WhiteBitNotEnoughBalanceError):
        script.run()
    assert not script.history().begun


def test_what_is_known_of_earlier_transfers_is_written_before_their_marker_is_overwritten():
    transfer = Move(Operation.TRANSFER, PLAN, "USDT", Decimal(25), source="main", target="spot")

    class Transfers(Script):
        def __call__(self, effect):
            if isinstance(effect, e.Resolve):
                return transfer
            if isinstance(effect, e.ReadBalances):
                return Balances(Decimal(50), Decimal(0))
            if isinstance(effect, e.WriteMarker):
                assert self.intent("old").state is State.OPEN and not self.intent("old").in_doubt
            return super().__call__(effect)

    old = intent(move=transfer).trying(Attempt(NOW, NOW // 1000, before=Balances(Decimal(50), Decimal(0))))
    script = Transfers(journal=[old], answers=[None])
    script.run(generation="2", resumed=old.found_absent().to_json())
    assert script.done.count("WriteMarker") == 1


def test_a_late_record_of_a_plans_earlier_move_keeps_the_next_one_back():
    """The plan was made without it, so the run ends, and says that money moved."""
    script = Script(answers=["tx_1"], records=[record("tx_late")])
    with pytest.raises(errors.WhiteBitUnavailableError, match="has appeared late") as caught:
        script.run(earlier=(in_doubt(id="first").found_absent(),))
    assert caught.value.money_moved is True
    assert "Send" not in script.done


def receipt_of(transaction, second=NOW // 1000, **changes):
    made = pendulum.from_timestamp(second, tz="UTC")
    other = in_doubt(id="other").executed(transaction, Decimal(25), made, reconciled=False)
    return replace(other.receipt, **changes)


def test_a_record_that_a_receipt_of_the_plan_explains_is_no_earlier_moves():
    explained = {"earlier": (in_doubt(id="first").found_absent(),), "explained": (receipt_of("tx_other"),)}
    script = Script(answers=["tx_1"], records=[record("tx_other")])
    assert script.run(**explained).transaction_id == "tx_1"
    # Another record beside it may still be that move's.
    script = Script(answers=["tx_1"], records=[record("tx_other"), record("tx_late")])
    with pytest.raises(errors.WhiteBitUnavailableError, match="has appeared late"):
        script.run(**explained)
    assert "Send" not in script.done


def test_a_record_that_a_receipt_of_the_plan_explains_is_not_an_absent_attempts():
    absent = in_doubt().found_absent()
    script = Script(journal=[absent], records=[record("tx_other")])
    assert script.run(explained=(receipt_of("tx_other"),), send=False) is None
    assert Script(journal=[absent], records=[record("tx_other")]).run(send=False).transaction_id == "tx_other"


def test_a_record_that_a_receipt_of_the_plan_explains_is_not_the_moves_own():
    class Late(Script):
        def __call__(self, effect):
            if isinstance(effect, e.ClaimNonce):
                self.records = [record("tx_other")]
            return super().__call__(effect)

    script = Late(journal=[in_doubt().found_absent()], answers=["tx_2"])
    assert script.run(explained=(receipt_of("tx_other"),)).transaction_id == "tx_2"
    script = Late(journal=[in_doubt().found_absent()], answers=["tx_2"])
    assert script.run().transaction_id == "tx_other"


def test_an_absent_attempt_of_another_plan_is_looked_for_again_before_the_next_is_sent():
    class Late(Script):
        def __call__(self, effect):
            if isinstance(effect, e.ClaimNonce):
                self.records = [replace(record("tx_late"), plan_id="another plan")]
            return super().__call__(effect)

    absent = in_doubt(generation="0", move=replace(MOVE, plan_id="another plan")).found_absent()
    script = Late(journal=[absent])
    with pytest.raises(errors.WhiteBitAlreadyMovedError, match="transaction tx_late"):
        script.run()
    assert "Send" not in script.done


@pytest.mark.parametrize(
    "other",
    [
        {"plan_id": "another"},
        {"operation": "fixed_invest"},
        {"second": NOW // 1000 - 3_600},
        {"second": NOW // 1000 + 3_600},
    ],
)
def test_an_identifier_that_repeats_explains_no_record_elsewhere(other):
    """The exchange does not say whether identifiers are unique. What the move has left must not be taken for absent."""
    script = Script(journal=[in_doubt()], records=[record("tx")])
    assert script.run(explained=(receipt_of("tx", **other),)).reconciled
    assert "Send" not in script.done


def test_an_identifier_of_several_records_explains_none_of_them():
    script = Script(journal=[in_doubt()], records=[record("tx"), record("tx", second=NOW // 1000 + 1)])
    with pytest.raises(errors.WhiteBitInDoubtError):
        script.run(explained=(receipt_of("tx"),))
    # A list may show one record twice.
    script = Script(journal=[in_doubt()], records=[record("tx"), record("tx")], answers=["tx_2"])
    assert script.run(explained=(receipt_of("tx"),)).transaction_id == "tx_2"


@pytest.mark.parametrize("where", ["history", "plan"])
def test_a_record_that_appears_between_two_readings_becomes_no_baseline(where):
    """An earlier attempt is judged before the baseline is read. Its record may appear just then."""

    class Late(Script):
        def __call__(self, effect):
            if isinstance(effect, e.WriteMarker):
                self.records = [record("tx_late")]
            return super().__call__(effect)

    absent = in_doubt(id="first", generation="0").found_absent()
    if where == "history":
        script, options = Late(journal=[absent]), {}
        assert script.run(**options).transaction_id == "tx_late"
    else:
        script, options = Late(), {"earlier": (absent,)}
        with pytest.raises(errors.WhiteBitUnavailableError, match="has appeared late"):
            script.run(**options)
    assert "Send" not in script.done


def test_a_retry_gets_the_receipt_of_a_move_that_names_no_connection():
    script = Script(journal=[executed(account="b")])
    assert script.run(connection="whitebit").transaction_id == "tx_old"
