"""The slots of the nonce lock: two owners of one conflict key can never be taken for each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.moves import effects as e
from airflow_provider_whitebit.moves import nonce_lock
from airflow_provider_whitebit.moves.drivers import run
from airflow_provider_whitebit.moves.evidence import NONCE_LIFE_MS
from airflow_provider_whitebit.moves.execution import Rules
from airflow_provider_whitebit.moves.journal import done, marker_of
from airflow_provider_whitebit.moves.nonce_lock import (
    CLOCKS_APART,
    MOVE_AGE_MS,
    SLOT_MS,
    lock_nonce,
    lock_of,
    take_lock,
)
from tests.protocol_script import MOVE, NOW, execution

#: A slot for each phase that a name may have.
PHASES = range(0, SLOT_MS, 4)
NONCES = st.integers(0, SLOT_MS // 4 - 1).map(lambda phase: NOW + 4 * phase + 1)
NAMES = st.text(min_size=1)


def accepted(lock):
    """In which milliseconds the exchange may accept a move of this lock. Its claim comes before it."""
    claim = lock.nonce + MOVE_AGE_MS
    return claim - NONCE_LIFE_MS, lock.ends_ms


def recorded(lock):
    """In which Unix seconds the records of its move are sought."""
    return lock.begins, (lock.nonce + NONCE_LIFE_MS) // 1000


@pytest.mark.parametrize("phase", [0, 1, 500])
def test_slots_of_all_phases_are_apart(phase):
    for claim in (NOW + one + phase for one in PHASES):
        lock, following = lock_of([claim]), lock_of([claim + SLOT_MS])
        # 2 s between the last moment of one and the first of the next cover clocks that differ.
        assert accepted(following)[0] - accepted(lock)[1] > 1_990
        assert recorded(lock)[1] < recorded(following)[0]
        # What a claim allows is recorded in time, also by a node whose clock is 0.9 s behind.
        assert recorded(lock)[0] * 1000 <= accepted(lock)[0] - 990


@given(shared=NONCES, other=NONCES, later=NONCES)
def test_slots_with_two_names_are_apart_from_each_other_slot_of_either(shared, other, later):
    lock = lock_of([shared, other])
    assert lock == lock_of([other, shared])
    # Its move has ended when either slot has, and is not sought before both began.
    assert lock.ends_ms <= min(lock_of([one]).ends_ms for one in (shared, other))
    assert lock.begins >= max(lock_of([one]).begins for one in (shared, other))
    for following in (lock_of([shared + SLOT_MS, later]), lock_of([shared + SLOT_MS])):
        assert recorded(lock)[1] < recorded(following)[0]
        assert lock.ends_ms < shared + SLOT_MS - NONCE_LIFE_MS


@given(name=NAMES, now=st.integers(NOW, NOW + 10 * SLOT_MS), later=st.integers(0, SLOT_MS))
def test_all_processes_claim_the_same_nonces(name, now, later):
    claim = lock_nonce(name, now)
    assert (lock_nonce(name, now + later) - claim) % SLOT_MS == 0
    # The slot with the least time left, if that is at least 1 s.
    ends = lock_of([claim]).ends_ms
    assert 1_000 <= ends - now < 1_000 + SLOT_MS


@given(name=NAMES)
def test_nonces_of_locks_of_moves_and_of_reading_calls_are_different_numbers(name):
    claim = lock_nonce(name, NOW)
    assert (claim % 4, lock_of([claim]).nonce % 4) == (1, 3)


def test_all_versions_of_this_package_claim_the_same_slots():
    assert [lock_nonce(name, NOW) - NOW for name in ("a", "flex|plan")] == [609, 5]


class Clock:
    """Performs the effects of taking a lock: time passes only by pauses."""

    def __init__(self, now, taken=(), markers=lambda now: None):
        self.now = now
        self.markers = markers
        self.taken = set(taken)
        self.claimed = []
        self.effects = 0

    def __call__(self, effect):
        self.effects += 1
        assert self.effects < 1_000, "it does not end"
        match effect:
            case e.ReadClock():
                return e.ClockReading(self.now, self.now // 1000)
            case e.Pause(milliseconds):
                assert milliseconds > 0
                self.now += milliseconds
            case e.ClaimNonce(nonce):
                if not abs(nonce - self.now) <= NONCE_LIFE_MS or nonce in self.taken:
                    raise errors.WhiteBitNonceError("Too many requests.")
                self.claimed.append(nonce)
            case e.ReadMarker(conflict_key):
                assert conflict_key == MOVE.conflict_key
                return self.markers(self.now)
        return None


def take(clock, *names, whole=False, **rules):
    class Names(type(execution())):
        def lock_names(self, move):
            return list(names)

    given = execution()
    asked = Names(**{name: getattr(given, name) for name in given.__slots__})
    return run(take_lock(asked, Rules(**rules), MOVE, ("old", "new"), whole=whole), clock)


def owned(clock, claims=None):
    """The lock of these claims. No record of its move is much older than the claim."""
    lock = lock_of(clock.claimed if claims is None else claims)
    return replace(lock, begins=max(lock.begins, clock.now // 1000 - CLOCKS_APART))


@given(now=st.integers(NOW, NOW + SLOT_MS), names=st.lists(NAMES, min_size=1, max_size=2, unique=True))
def test_a_free_lock_is_taken_within_one_slot(now, names):
    clock = Clock(now)
    lock = take(clock, *names)
    assert clock.now - now < SLOT_MS
    assert 1 <= len(clock.claimed) <= len(names)
    assert clock.claimed == sorted(clock.claimed)
    assert lock == owned(clock)
    # The exchange accepts the move now, and for at least 1 s.
    assert lock.ends_ms - clock.now >= 1_000
    assert abs(lock.nonce - clock.now) < NONCE_LIFE_MS
    assert lock.begins * 1000 <= clock.now


@given(
    now=st.integers(NOW, NOW + SLOT_MS),
    names=st.lists(NAMES, min_size=1, max_size=3, unique=True),
    taken=st.booleans(),
)
def test_a_lock_that_is_wanted_whole_is_taken_at_its_beginning(now, names, taken):
    free = Clock(now)
    take(free, *names, whole=True)
    clock = Clock(now, free.claimed if taken else ())
    lock = take(clock, *names, whole=True)
    begin = max(clock.claimed) - 4_500
    assert 0 <= clock.now - begin <= 1_000
    # Of one lock 4.5 s are left, of several together 2 s less at most.
    assert lock.ends_ms - clock.now >= (4_500 if len(names) == 1 else 2_500)
    assert clock.now - now <= 3 * SLOT_MS
    assert lock == owned(clock, clock.claimed[-len(set(free.claimed)) :])


@given(now=st.integers(NOW, NOW + SLOT_MS), name=NAMES, taken=st.integers(0, 5))
def test_a_taken_lock_is_taken_in_the_next_free_slot(now, name, taken):
    first = lock_nonce(name, now)
    clock = Clock(now, [first + number * SLOT_MS for number in range(taken)])
    lock = take(clock, name)
    assert lock == owned(clock, [first + taken * SLOT_MS])
    # It does not wait longer than until that slot begins, and a second that is different for each process.
    begins = first + taken * SLOT_MS - 4_500
    assert clock.now <= max(now, begins) + (1_000 if taken else 0)


@given(now=st.integers(NOW, NOW + SLOT_MS), names=st.lists(NAMES, min_size=2, max_size=2, unique=True))
def test_a_claim_beside_a_taken_one_blocks_its_slot_alone(now, names):
    free = Clock(now)
    take(free, *names)
    clock = Clock(now, [free.claimed[-1]])
    take(clock, *names)
    wasted = len(clock.claimed) - len(names)
    assert wasted <= 1
    assert clock.now - free.now <= 2 * SLOT_MS + 1_000


SENT = NOW - 7_000


@pytest.mark.parametrize(
    ("marker", "waits"),
    [
        (None, False),
        (marker_of("other", SENT), True),
        (done(marker_of("other", SENT)), False),
        (marker_of("old", SENT), False),
        ("no marker", False),
        # It could not have been sent by a clock that is right, and would be waited for without an end.
        (marker_of("other", NOW + 3_600_000), False),
        (marker_of("other", NOW - 3_600_000), False),
    ],
)
def test_it_waits_for_another_move_in_doubt_for_a_while(marker, waits):
    clock = Clock(NOW, markers=lambda now: marker)
    take(clock, "name")
    # As long as reconciling that takes, with the margin of 10 s, and a little more.
    assert (clock.now - NOW > 20_000) is waits
    assert clock.now - NOW < 40_000 + SLOT_MS
    assert len(clock.claimed) == 1


#: Its nonce's life, the margin of 10 s, and 25 s to reconcile.
PATIENCE_MS = 40_000


@pytest.mark.parametrize("age", [-NONCE_LIFE_MS, 0, 30_000, PATIENCE_MS - 1])
def test_it_waits_as_long_as_a_move_in_doubt_takes(age):
    clock = Clock(NOW, markers=lambda now: marker_of("other", NOW - age))
    take(clock, "name")
    assert PATIENCE_MS - age <= clock.now - NOW <= PATIENCE_MS - age + SLOT_MS + 2_000


@pytest.mark.parametrize("sent", [NOW - PATIENCE_MS, NOW + NONCE_LIFE_MS + SLOT_MS + 1])
def test_it_does_not_wait_for_a_move_that_must_be_known_or_cannot_be_sent_yet(sent):
    clock = Clock(NOW, markers=lambda now: marker_of("other", sent))
    take(clock, "name")
    assert clock.now - NOW < SLOT_MS


def test_it_goes_on_when_the_other_move_is_done():
    other = marker_of("other", SENT)
    clock = Clock(NOW, markers=lambda now: other if now < NOW + 9_000 else done(other))
    take(clock, "name")
    assert 9_000 <= clock.now - NOW < 9_000 + 2_000 + SLOT_MS


def test_a_marker_that_cannot_be_read_stops_no_move():
    def broken(now):
        raise errors.WhiteBitJournalError("no")

    clock = Clock(NOW, markers=broken)
    take(clock, "name")
    assert clock.now - NOW < SLOT_MS


@pytest.mark.parametrize(
    ("left_ms", "second", "taken"),
    [
        (1, "begins", True),
        (0, "begins", False),
        # The exchange's clock was not there yet, so the time was not the exchange's.
        (1, "before", False),
        (1, "last", True),
        # It may be past the end.
        (1, "ends", False),
    ],
)
def test_a_lock_counts_if_the_exchange_accepts_the_move_after_the_claim(left_ms, second, taken):
    first = lock_of([lock_nonce("name", NOW)])
    ends = first.ends_ms // 1000
    seconds = {"begins": first.begins, "before": first.begins - 1, "last": ends - 1, "ends": ends}

    class Stalled(Clock):
        def __call__(self, effect):
            if isinstance(effect, e.ReadClock) and len(self.claimed) == 1:
                self.taken.update(self.claimed)
                self.claimed.append("seen")
                return e.ClockReading(first.ends_ms - left_ms, seconds[second])
            return super().__call__(effect)

    assert (take(Stalled(NOW), "name").nonce == first.nonce) is taken


@pytest.mark.parametrize("known", [True, False])
def test_the_time_is_asked_for_if_it_is_not_known(known):
    class Asked(Clock):
        seen = ()

        def __call__(self, effect):
            self.seen += (type(effect).__name__,)
            outcome = super().__call__(effect)
            return e.ClockReading(NOW, 0) if not known and len(self.seen) == 1 else outcome

    clock = Asked(NOW)
    take(clock, "name")
    assert clock.seen[:2] == (("ReadClock", "ReadClock") if known else ("ReadClock", "AskTime"))


def test_it_gives_up_when_the_lock_stays_taken():
    clock = Clock(NOW, range(NOW, NOW + 60_000))
    with pytest.raises(errors.WhiteBitUnavailableError, match="held the lock of this move"):
        take(clock, "name", lock_patience_ms=30_000)
    assert 30_000 < clock.now - NOW < 30_000 + 2 * SLOT_MS


class Unanswered(Clock):
    """Every claim meets this error."""

    def __init__(self, error):
        super().__init__(NOW)
        self.error = error

    def __call__(self, effect):
        if isinstance(effect, e.ClaimNonce):
            raise self.error
        return super().__call__(effect)


def test_it_says_why_no_lock_could_be_taken():
    clock = Unanswered(errors.WhiteBitUnavailableError("The exchange is in maintenance.", money_moved=False))
    with pytest.raises(errors.WhiteBitUnavailableError, match="in maintenance"):
        take(clock, "name", lock_patience_ms=30_000)
    assert clock.now - NOW > 30_000


@pytest.mark.parametrize(("seconds", "waits"), [(30, True), (31, False)])
def test_it_does_not_wait_while_the_exchange_asks_for_a_long_pause(seconds, waits):
    clock = Unanswered(errors.WhiteBitRateLimitError("Until 08:02.", money_moved=False))
    clock.error.retry_after = seconds
    with pytest.raises(errors.WhiteBitRateLimitError, match="08:02"):
        take(clock, "name", lock_patience_ms=30_000)
    assert (clock.now > NOW + 30_000) is waits


def test_the_margins_of_the_slots():
    """The figures of ``docs/once.md``: changing one changes what is proved."""
    assert (SLOT_MS, MOVE_AGE_MS, NONCE_LIFE_MS) == (8_000, 3_998, 5_000)
    assert nonce_lock._CLAIM_EARLY_MS < NONCE_LIFE_MS


def test_two_names_with_the_same_slots_take_one_claim():
    assert lock_nonce("transfer|USDT", NOW) == lock_nonce("promise|USDT", NOW)
    clock = Clock(NOW)
    assert take(clock, "transfer|USDT", "promise|USDT") == owned(clock)
    assert clock.claimed == [lock_nonce("promise|USDT", NOW)]
