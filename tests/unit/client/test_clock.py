from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.clock import NONCES_KEPT, ExchangeClock
from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError
from airflow_provider_whitebit.client.shared import Numbers
from airflow_provider_whitebit.client.transport import server_seconds
from airflow_provider_whitebit.moves.protocol import turn_nonces


class Local:
    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


@given(
    offset=st.integers(-(10**9), 10**9),
    calls=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 60_000)), min_size=1),
)
def test_the_estimate_stays_within_what_the_readings_prove(offset, calls):
    local = Local()
    clock = ExchangeClock(local)
    widest = None
    for there, back, idle in calls:
        sent = local.now
        local.now += there
        seconds = (local.now + offset) // 1000
        local.now += back
        clock.observe(seconds, sent, local.now)
        width = 999 + there + back
        widest = width if widest is None else min(widest + idle // 5000 + 2, width)
        assert abs(clock.now_ms() - (local.now + offset)) <= widest + 2
        local.now += idle


def test_a_good_local_clock_is_kept():
    local = Local(1_700_000_000_700)
    clock = ExchangeClock(local)
    clock.observe(1_700_000_000, local.now, local.now)
    assert clock.offset_ms == 0


def test_a_set_clock_is_believed():
    local = Local()
    clock = ExchangeClock(local)
    clock.observe(local.now // 1000, local.now, local.now)
    clock.observe(local.now // 1000 + 3600, local.now, local.now)
    assert abs(clock.offset_ms - 3_600_000) <= 1000
    assert clock.last_seconds == local.now // 1000 + 3600


def test_nonces_never_repeat_and_follow_the_exchange():
    local = Local()
    clock = ExchangeClock(local)
    first = [clock.next_nonce() for _ in range(50)]
    assert first == list(range(local.now, local.now + 100, 2))
    clock.observe(local.now // 1000 - 60, local.now, local.now)
    assert abs(clock.next_nonce() - (local.now - 60_000)) <= 1000


def test_without_a_window_nonces_only_grow():
    local = Local()
    clock = ExchangeClock(local)
    before = clock.next_nonce(window=False)
    clock.observe(local.now // 1000 - 60, local.now, local.now)
    assert clock.next_nonce(window=False) == before + 2


def test_odd_nonces_are_left_to_moves():
    local = Local()
    local.now += 1
    clock = ExchangeClock(local)
    assert [clock.next_nonce() % 2 for _ in range(5)] == [0] * 5
    assert [nonce % 4 for name in ("a", "b", "c") for nonce in turn_nonces(name, local.now)] == [1] * 9


def test_no_two_moves_have_one_nonce():
    clock = ExchangeClock(Local())
    given = [clock.move_nonce(1_700_000_000_000 + ms) for ms in (0, 1, 3, 2, 100, 0, 3_000, 0)]
    assert len(set(given)) == len(given)
    assert {nonce % 4 for nonce in given} == {3}
    assert given[0] == 1_700_000_000_000 - 1
    assert given[2] == 1_700_000_000_003
    assert all(nonce <= 1_700_000_000_000 + ms for nonce, ms in zip(given, (0, 1, 3, 2, 100, 0, 3_000, 0), strict=True))


@pytest.mark.parametrize("seconds", [10**30, -1, 253_402_300_800, True, 1.5, "", None])
def test_what_is_no_time_is_not_learnt(seconds):
    with pytest.raises(WhiteBitUnavailableError, match="no time"):
        server_seconds({"time": seconds})
    assert server_seconds({"time": 253_402_300_799}) == 253_402_300_799


MOVE = 1_700_000_000_003


def test_a_later_move_does_not_make_room_for_a_nonce_that_was_given():
    # Moves 1024 ms apart have one place.
    clock = ExchangeClock(Local())
    given = [clock.move_nonce(MOVE + ms) for ms in (0, 1024, 0, 2048, 4096, 0, 1024)]
    assert len(set(given)) == len(given)


def test_moves_follow_a_clock_that_was_wrong():
    clock = ExchangeClock(Local())
    assert clock.move_nonce(MOVE + 1024 * 3600) == MOVE + 1024 * 3600
    assert clock.move_nonce(MOVE) == MOVE


def test_a_move_without_a_nonce_of_its_own_is_not_sent():
    clock = ExchangeClock(Local())
    given = {clock.move_nonce(MOVE) for _ in range(256)}
    assert len(given) == 256
    assert min(given) > MOVE - 1024
    with pytest.raises(WhiteBitUnavailableError, match="all nonces") as caught:
        clock.move_nonce(MOVE)
    assert caught.value.money_moved is False
    assert clock.move_nonce(MOVE + 4) == MOVE + 4


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
@pytest.mark.parametrize("window", [True, False])
def test_nonsense_among_the_nonces_is_passed_over(number, window):
    nonces = Numbers(NONCES_KEPT)
    nonces.row[:] = memoryview(array("q", [number] * NONCES_KEPT))
    clock = ExchangeClock(Local(), nonces)
    assert clock.next_nonce(window=window) == Local().now
    assert clock.move_nonce(MOVE) == MOVE


def test_what_was_forgotten_counts_no_more():
    clock = ExchangeClock(Local())
    clock.observe(1_700_000_000, 1_700_000_000_000, 1_700_000_000_000)
    clock.forget()
    clock.observe(1_700_000_050, 1_700_000_000_000, 1_700_000_000_000)
    assert 50_000 <= clock.offset_ms <= 50_999
