"""What a run writes about its move, and when it lets others of its conflict key go on."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.moves import effects as e
from airflow_provider_whitebit.moves.drivers import run
from airflow_provider_whitebit.moves.intent import Attempt
from airflow_provider_whitebit.moves.journal import done, marker_of
from airflow_provider_whitebit.moves.run_record import RunRecord
from tests.protocol_script import MOVE, NOW, Script, executed, execution, in_doubt, intent, refused

MARKER = marker_of("old", NOW)


class Marked(Script):
    """Keeps the marker of the move's conflict key."""

    def __init__(self, marker=MARKER, failures=0, **given):
        super().__init__(**given)
        self.marker, self.failures = marker, failures

    def __call__(self, effect):
        match effect:
            case e.WriteJournal() if self.failures:
                self.failures -= 1
                raise errors.WhiteBitJournalError("no")
            case e.ReadMarker(conflict_key):
                assert conflict_key == MOVE.conflict_key
                if self.marker is None:
                    raise errors.WhiteBitJournalError("It cannot be read.")
                return self.marker
            case e.WriteMarker(conflict_key, marker):
                assert conflict_key == MOVE.conflict_key
                self.marker = marker
        return super().__call__(effect)


def kept(known, **given):
    script = Marked(**given)
    run(RunRecord(execution(run="run 1")).keep(known), script)
    return script


@pytest.mark.parametrize("known", [executed(), refused(), in_doubt().last_refused()])
def test_the_marker_of_a_move_is_done_when_it_is_known_what_became_of_it(known):
    script = kept(known)
    assert script.marker == done(MARKER)
    assert script.history().run == "run 1"


ABSENT = in_doubt().found_absent()


@pytest.mark.parametrize(
    "known",
    [
        intent(),
        in_doubt(),
        # Its record may appear late, also after another attempt was refused.
        ABSENT,
        ABSENT.trying(Attempt(NOW + 9, NOW // 1000)).last_refused(),
    ],
)
def test_others_still_wait_for_a_move_that_may_have_run(known):
    assert kept(known).marker == MARKER


def test_the_marker_of_another_move_stays():
    assert kept(executed(), marker=marker_of("other", NOW)).marker == marker_of("other", NOW)
    assert kept(executed(), marker=marker_of("old", NOW + 1)).marker == marker_of("old", NOW + 1)


def test_markers_that_cannot_be_read_change_nothing():
    assert kept(executed(), marker=None).history().executed


@pytest.mark.parametrize(("failures", "written"), [(0, True), (2, True), (3, False)])
def test_a_write_that_fails_is_repeated(failures, written):
    script = kept(executed(), failures=failures)
    assert (script.history().executed is not None) is written
    # Nothing was durable, so others wait as for a move in doubt.
    assert script.marker == (done(MARKER) if written else MARKER)
    assert script.now - NOW == {0: 0, 2: 2_500, 3: 2_501}[failures]
