"""When the protocol asks whether people have stopped all moves, and what a stop leaves behind."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.moves import effects as e
from airflow_provider_whitebit.moves.intent import Outcome, State
from tests.protocol_script import Script, executed, in_doubt, lost, record


class Stopping(Script):
    """People have stopped all moves at some of the moments at which the protocol asks.

    :param stops: what the protocol is told, in order: an error, or ``None``.
    """

    def __init__(self, *stops, **prepared):
        super().__init__(**prepared)
        self.stops = list(stops)

    def __call__(self, effect):
        if isinstance(effect, e.CheckStop) and self.stops and (error := self.stops.pop(0)) is not None:
            super().__call__(effect)
            raise error
        return super().__call__(effect)


def stopped():
    return errors.WhiteBitStoppedError("All moves are stopped by jane: market")


def unknown():
    return errors.WhiteBitUnavailableError("It is not known whether people have stopped all moves.")


def test_a_stop_is_asked_for_before_a_move_is_prepared_and_right_before_it_is_sent():
    script = Script(answers=["tx_1"])
    script.run()
    [first, last] = [at for at, name in enumerate(script.done) if name == "CheckStop"]
    assert set(script.done[:first]) == {"ReadJournal"}
    assert script.done[last + 1 : last + 3] == ["ReadClock", "Send"]


@pytest.mark.parametrize("error", [stopped, unknown])
def test_a_move_that_is_stopped_before_it_is_prepared_leaves_nothing(error):
    script = Stopping(error())
    with pytest.raises(type(error())) as caught:
        script.run()
    assert caught.value.money_moved is False
    assert set(script.done) == {"ReadJournal", "CheckStop"}


@pytest.mark.parametrize("error", [stopped, unknown])
def test_a_move_that_is_stopped_right_before_it_is_sent_is_proven_not_sent(error):
    script = Stopping(None, error())
    with pytest.raises(type(error())) as caught:
        script.run()
    assert caught.value.money_moved is False
    assert "Send" not in script.done
    assert script.intent().state is State.OPEN
    assert [one.outcome for one in script.intent().attempts] == [Outcome.REFUSED]
    # When people let moves go on, the same run of the code makes it at once: nothing is in doubt.
    script.answers = ["tx_1"]
    assert script.run(generation="2", intent_id="next").transaction_id == "tx_1"
    assert "WaitUntil" not in script.done


def test_what_is_in_doubt_is_reconciled_while_moves_are_stopped():
    script = Stopping(stopped(), journal=[in_doubt()], records=[record()])
    assert script.run().reconciled
    assert "CheckStop" not in script.done


def test_a_stop_after_an_attempt_that_left_no_record_denies_nothing():
    script = Stopping(stopped(), journal=[in_doubt()])
    with pytest.raises(errors.WhiteBitStoppedError) as caught:
        script.run()
    assert caught.value.money_moved is None
    assert "left no record so far" in str(caught.value)


def test_the_receipt_of_an_executed_move_is_returned_while_moves_are_stopped():
    script = Stopping(stopped(), journal=[executed()])
    assert script.run().transaction_id == "tx_old"


def test_a_lost_answer_is_not_sent_again_after_a_stop():
    script = Stopping(None, None, stopped(), answers=[lost()])
    with pytest.raises(errors.WhiteBitStoppedError) as caught:
        script.run()
    assert script.done.count("Send") == 1
    assert caught.value.money_moved is None


def test_a_run_that_only_looks_does_not_ask_for_a_stop():
    script = Stopping(stopped(), journal=[in_doubt()])
    assert script.run(send=False) is None
    assert "CheckStop" not in script.done
