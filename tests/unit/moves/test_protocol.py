"""The protocol step by step, its effects performed by a script."""

from __future__ import annotations

from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.models import FlexTransaction
from airflow_provider_whitebit.moves import protocol as p
from airflow_provider_whitebit.moves.drivers import run
from airflow_provider_whitebit.moves.evidence import judge, traces_of
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation, Outcome, Receipt, State, merge
from airflow_provider_whitebit.moves.journal import JournalError

NOW = 1_790_000_000_000
PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
MOVE = Move(Operation.FLEX_INVEST, PLAN, "USDT", Decimal(25))
REQUESTED = {"amount": "25"}


def errand(**changes):
    return p.Errand(**{"intent_id": "new", "account": "a", "requested": REQUESTED, "generation": "1", **changes})


def record(name="tx", second=NOW // 1000, amount="25", action=6, plan=PLAN):
    made = pendulum.from_timestamp(second, tz="UTC")
    return FlexTransaction(made, plan, "inv", "USDT", Decimal(amount), name, action)


def intent(**changes):
    given = {
        "id": "old",
        "account": "a",
        "requested": REQUESTED,
        "generation": "1",
        "move": MOVE,
        "created_at": NOW // 1000,
        **changes,
    }
    return Intent(**given)


def in_doubt():
    return intent(attempts=(Attempt(NOW, NOW // 1000),))


class Script:
    """Performs effects: a clock that waits at once, a journal, an exchange that answers as told."""

    def __init__(self, journal=(), answers=(), records=()):
        self.now = NOW
        self.journal = [one.to_json() for one in journal]
        self.answers = list(answers)
        self.records = list(records)
        self.done = []

    def __call__(self, effect):
        self.done.append(type(effect).__name__)
        match effect:
            case p.ReadJournal():
                return self.journal
            case p.WriteJournal(written):
                self.journal = [written.to_json()]
            case p.Resolve():
                return MOVE
            case p.ReadClock():
                return p.ClockReading(self.now, self.now // 1000)
            case p.NewNonce(latest):
                return latest
            case p.AskTime():
                return self.now // 1000
            case p.ReadRecords():
                return list(self.records)
            case p.WaitUntil(until_ms):
                self.now = until_ms + 1000
            case p.Pause(milliseconds):
                self.now += milliseconds
            case p.Send():
                answer = self.answers.pop(0)
                if isinstance(answer, Exception):
                    raise answer
                return answer
        return None


def lost():
    return e.WhiteBitUnavailableError("lost", money_moved=None)


def test_the_good_case_writes_twice_and_first_what_it_is_about_to_do():
    script = Script(answers=["tx_1"])
    receipt = run(p.execute(errand()), script)
    assert (receipt.transaction_id, receipt.attempts, receipt.reconciled, receipt.intent_id) == (
        "tx_1",
        1,
        False,
        "new",
    )
    assert script.done.count("WriteJournal") == 2
    assert script.done.index("WriteJournal") < script.done.index("Send")
    assert script.done[-1] == "WriteJournal"
    assert script.done.count("TakeNonce") == 3


def test_nothing_is_sent_that_could_not_be_written_down():
    script = Script(answers=["tx_1"])

    def perform(effect):
        if isinstance(effect, p.WriteJournal):
            raise JournalError("no")
        return script(effect)

    with pytest.raises(JournalError) as caught:
        run(p.execute(errand()), perform)
    assert "Send" not in script.done
    assert caught.value.money_moved is False


@pytest.mark.parametrize("slow", ["ReadRecords", "WriteJournal"])
def test_what_is_too_late_is_not_sent_and_no_doubt(slow):
    script = Script(answers=["tx_1"])

    def perform(effect):
        outcome = script(effect)
        if type(effect).__name__ == slow and script.done.count(slow) == 1:
            script.now += 4_000
        return outcome

    receipt = run(p.execute(errand()), perform)
    assert (receipt.transaction_id, receipt.attempts, receipt.reconciled) == ("tx_1", 2, False)
    assert script.done.count("Send") == 1
    assert "WaitUntil" not in script.done


def test_a_move_that_is_always_too_late_ends_with_no_money_moved():
    script = Script()

    def perform(effect):
        outcome = script(effect)
        if isinstance(effect, p.WriteJournal):
            script.now += 4_000
        return outcome

    with pytest.raises(e.WhiteBitUnavailableError, match=r"in time.*No money moved"):
        run(p.execute(errand()), perform)
    assert "Send" not in script.done
    (left,) = merge(map(Intent.from_json, script.journal)).values()
    assert not left.in_doubt


def test_a_receipt_that_could_not_be_written_down_is_returned_all_the_same():
    script = Script(answers=["tx_1"])

    def perform(effect):
        if isinstance(effect, p.WriteJournal) and effect.intent.state is State.EXECUTED:
            raise JournalError("no")
        return script(effect)

    assert run(p.execute(errand()), perform).transaction_id == "tx_1"
    assert script.journal[0]["state"] == "open"


def test_a_lost_answer_is_found():
    script = Script(answers=[lost()])

    def perform(effect):
        if isinstance(effect, p.WaitUntil):
            script.records = [record("tx_ours", NOW // 1000 + 1), record("tx_other", amount="26")]
        return script(effect)

    receipt = run(p.execute(errand()), perform)
    assert (receipt.transaction_id, receipt.reconciled, receipt.attempts) == ("tx_ours", True, 1)


def test_a_move_that_never_ran_is_sent_again():
    script = Script(answers=[lost(), "tx_2"])
    receipt = run(p.execute(errand()), script)
    assert (receipt.transaction_id, receipt.attempts) == ("tx_2", 2)
    assert script.done.count("WaitUntil") == 1


def test_after_so_many_tries_it_gives_up_and_says_that_nothing_moved():
    script = Script(answers=[lost()] * 9)
    with pytest.raises(e.WhiteBitUnavailableError) as caught:
        run(p.execute(errand()), script)
    assert caught.value.money_moved is False
    assert script.done.count("Send") == p.Rules().tries


def test_what_certainly_did_not_run_is_repeated_without_waiting_for_records():
    script = Script(answers=[e.WhiteBitUnavailableError("no connection", money_moved=False), "tx_2"])
    assert run(p.execute(errand()), script).transaction_id == "tx_2"
    assert "WaitUntil" not in script.done


@pytest.mark.parametrize("error", [e.WhiteBitRateLimitError("429"), e.WhiteBitNonceError("Too many requests.")])
def test_what_may_be_the_answer_to_a_second_delivery_is_settled_first(error):
    script = Script(answers=[error])

    def perform(effect):
        if isinstance(effect, p.WaitUntil):
            script.records = [record("tx_first", NOW // 1000 + 1)]
        return script(effect)

    receipt = run(p.execute(errand()), perform)
    assert (receipt.transaction_id, receipt.reconciled) == ("tx_first", True)
    assert script.done.count("Send") == 1


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_time_that_cannot_be_is_asked_for_again(seconds):
    """An answer's date that is far off must not decide which records count."""
    script = Script(answers=["tx_1"])
    wrong = [p.ClockReading(NOW, NOW // 1000 + seconds)]

    def perform(effect):
        if isinstance(effect, p.ReadClock) and "TakeNonce" in script.done and wrong:
            return wrong.pop()
        return script(effect)

    run(p.execute(errand()), perform)
    (attempt,) = Intent.from_json(script.journal[0]).attempts
    assert abs(attempt.earliest - script.now // 1000) <= 2


def test_a_refusal_is_kept_raised_again_and_forgotten_by_a_clear():
    refused = e.WhiteBitNotEnoughBalanceError("no", status=422, code=4, errors={"amount": ["Available 9 < 10"]})
    script = Script(answers=[refused])
    with pytest.raises(e.WhiteBitNotEnoughBalanceError):
        run(p.execute(errand()), script)
    with pytest.raises(e.WhiteBitNotEnoughBalanceError) as caught:
        run(p.execute(errand()), script)
    assert caught.value.errors == {"amount": ["Available 9 < 10"]}
    assert script.done.count("Send") == 1
    script.answers = ["tx_3"]
    assert run(p.execute(errand(generation="2")), script).transaction_id == "tx_3"


def executed(**changes):
    made = pendulum.from_timestamp(NOW // 1000, tz="UTC")
    tried = intent(**changes).trying(Attempt(NOW, NOW // 1000), [])
    return tried.executed("tx_old", Decimal(25), made, reconciled=False)


def test_a_retry_gets_the_receipt_whatever_it_renders_now():
    script = Script(journal=[executed()])
    assert run(p.execute(errand(requested={"amount": "99"})), script).transaction_id == "tx_old"
    assert script.done == ["ReadJournal"]


def test_a_cleared_task_gets_the_receipt_only_for_the_same_parameters():
    script = Script(journal=[executed()])
    assert run(p.execute(errand(generation="2")), script).transaction_id == "tx_old"
    with pytest.raises(p.WhiteBitAlreadyMovedError) as caught:
        run(p.execute(errand(generation="2", requested={"amount": "99"})), script)
    assert "tx_old" in str(caught.value)
    assert "Send" not in script.done


def test_an_intent_is_frozen():
    open_intent = intent(requested={"amount": "7"}, move=Move(Operation.FLEX_INVEST, PLAN, "USDT", Decimal(7)))
    sent = []
    script = Script(journal=[open_intent], answers=["tx_1"])

    def perform(effect):
        if isinstance(effect, p.Send):
            sent.append(effect.call.params["amount"])
        return script(effect)

    run(p.execute(errand()), perform)
    assert sent == ["7"]
    assert "Resolve" not in script.done


def test_limits_are_asked_before_each_sending_also_of_a_frozen_intent():
    script = Script(journal=[intent()], answers=["tx_1"])

    def perform(effect):
        if isinstance(effect, p.Permit):
            raise e.WhiteBitLimitError("read_only")
        return script(effect)

    with pytest.raises(e.WhiteBitLimitError):
        run(p.execute(errand()), perform)
    assert "Send" not in script.done


def test_another_key_settles_no_doubt():
    doubtful = intent().trying(Attempt(NOW, NOW // 1000), [])
    with pytest.raises(e.WhiteBitInDoubt, match="another API key"):
        run(p.execute(errand(account="b")), Script(journal=[doubtful]))


def test_a_retry_with_another_key_gets_the_receipt_of_what_was_made():
    made = in_doubt().executed("tx_1", Decimal(25), pendulum.now("UTC"), reconciled=False)
    script = Script(journal=[made])
    assert run(p.execute(errand(account="b")), script).transaction_id == "tx_1"
    assert script.done == ["ReadJournal"]


def test_a_cleared_task_with_another_key_moves_nothing():
    made = in_doubt().executed("tx_1", Decimal(25), pendulum.now("UTC"), reconciled=False)
    script = Script(journal=[made])
    with pytest.raises(p.WhiteBitAlreadyMovedError, match="another API key"):
        run(p.execute(errand(account="b", generation="2")), script)
    assert script.done == ["ReadJournal"]


@pytest.mark.parametrize("ran", [True, False])
def test_what_the_trigger_found_with_the_old_key_counts_after_the_key_was_exchanged(ran):
    old = in_doubt()
    found = old.executed("tx_1", Decimal(25), pendulum.now("UTC"), reconciled=True) if ran else old.found_absent()
    script = Script(journal=[old], answers=["tx_2"])
    receipt = run(p.execute(errand(account="b", settled=found.to_json())), script)
    assert receipt.transaction_id == ("tx_1" if ran else "tx_2")
    assert ("Send" in script.done) is not ran
    assert Intent.from_json(script.journal[0]).account == ("a" if ran else "b")


def test_a_document_of_a_later_version_is_not_guessed_at():
    script = Script()
    script.journal = [{"version": 99}]
    with pytest.raises(e.WhiteBitInDoubt, match="version"):
        run(p.execute(errand()), script)


def test_two_that_fit_are_a_doubt_with_everything_a_person_needs():
    doubtful = intent().trying(Attempt(NOW, NOW // 1000), [])
    script = Script(journal=[doubtful], records=[record("tx_1"), record("tx_2")])
    with pytest.raises(e.WhiteBitInDoubt) as caught:
        run(p.execute(errand()), script)
    text = str(caught.value)
    for needed in ("old", "tx_1", "tx_2", str(NOW), "25 USDT", PLAN, "mark the task as success", "not known"):
        assert needed in text
    assert "Send" not in script.done


@pytest.mark.parametrize(
    ("second", "verdict"),
    [(-11, "absent"), (-10, "unclear"), (-1, "unclear"), (0, "found"), (5, "found"), (6, "unclear"), (15, "unclear"),
     (16, "absent")],
)  # fmt: skip
def test_when_a_record_counts(second, verdict):
    tried = intent().trying(Attempt(NOW, NOW // 1000), [])
    result = judge(tried, traces_of(MOVE, [record("tx", NOW // 1000 + second)]), margin_ms=10_000)
    told = "found" if result.found else "unclear" if result.unclear else "absent"
    assert told == verdict


def test_what_was_there_before_does_not_count():
    tried = intent().trying(Attempt(NOW, NOW // 1000), ["tx"])
    assert judge(tried, traces_of(MOVE, [record("tx")]), margin_ms=10_000).absent


def test_what_shows_up_for_an_attempt_that_was_found_absent_is_unclear():
    tried = intent().trying(Attempt(NOW, NOW // 1000), []).found_absent()
    assert judge(tried, traces_of(MOVE, [record("tx")]), margin_ms=10_000).unclear


def test_turns_lie_apart():
    for name in ("a", "b", "in|x|25"):
        first = p.turn_nonces(name, NOW)
        assert len(first) == 3
        assert all(abs(nonce - NOW) <= p.TURN_REACH_MS for nonce in first)
        for later in range(0, p.TURN_APART_MS, 50):
            assert set(first) & set(p.turn_nonces(name, NOW + later)), f"turns {later} ms apart do not meet"
        assert not set(first) & set(p.turn_nonces(name, NOW + 2 * p.TURN_REACH_MS + 1))


def test_documents_of_several_tries_are_put_together():
    pending = Attempt(NOW, NOW // 1000)
    first = intent().trying(pending, ["x"])
    second = first.found_absent().trying(Attempt(NOW + 9, NOW // 1000), ["y"])
    for order in ([first, second], [second, first]):
        [both] = merge(order).values()
        assert [attempt.outcome for attempt in both.attempts] == [Outcome.ABSENT, Outcome.PENDING]
        assert set(both.baseline) == {"x", "y"}
    assert merge([executed(), first])["old"].state is State.EXECUTED


def test_documents_come_back_as_they_were():
    for one in (intent(), executed(), intent().trying(Attempt(1, 1), []).refused(e.WhiteBitRefusedError("no"))):
        assert Intent.from_json(one.to_json()) == one
    receipt = executed().receipt
    assert Receipt.from_json(receipt.to_json()) == receipt


def test_what_a_trigger_found_is_taken_over_and_written_down():
    old = in_doubt()
    found = old.executed("tx_1", Decimal(25), pendulum.from_timestamp(NOW // 1000, tz="UTC"), reconciled=True)
    script = Script(journal=[old])
    receipt = run(p.execute(errand(settled=found.to_json())), script)
    assert (receipt.transaction_id, receipt.reconciled) == ("tx_1", True)
    assert script.done == ["ReadJournal", "WriteJournal"]
    assert Intent.from_json(script.journal[0]) == found


def test_what_a_trigger_found_absent_is_sent_again_without_asking_twice():
    old = in_doubt()
    script = Script(journal=[old], answers=["tx_2"])
    receipt = run(p.execute(errand(settled=old.found_absent().to_json(), sent=1)), script)
    assert (receipt.transaction_id, receipt.attempts) == ("tx_2", 2)
    assert "WaitUntil" not in script.done


def test_a_move_that_was_put_off_is_not_sent_for_ever():
    old = in_doubt()
    script = Script(journal=[old], answers=["tx_2"])
    with pytest.raises(e.WhiteBitUnavailableError, match="none of them") as caught:
        run(p.execute(errand(settled=old.found_absent().to_json(), sent=4)), script)
    assert caught.value.money_moved is False
    assert "Send" not in script.done


@pytest.mark.parametrize("journal", [[], ["other"], ["more"]])
def test_what_a_trigger_found_counts_only_for_the_journals_own_intent(journal):
    old = in_doubt()
    found = old.executed("tx_1", Decimal(25), pendulum.from_timestamp(NOW // 1000, tz="UTC"), reconciled=True)
    kept = {
        "other": intent(id="another", attempts=old.attempts),
        "more": intent(attempts=(*old.attempts, Attempt(NOW + 9, NOW // 1000))),
    }
    script = Script(journal=[kept[name] for name in journal], answers=["tx_9"])
    receipt = run(p.execute(errand(settled=found.to_json())), script)
    assert receipt.transaction_id == "tx_9"


def test_a_trigger_with_another_account_settles_nothing():
    old = in_doubt()
    found = intent(account="b", attempts=old.attempts).found_absent()
    script = Script(journal=[old], records=[record()])
    receipt = run(p.execute(errand(settled=found.to_json())), script)
    assert receipt.reconciled
    assert "WaitUntil" in script.done
