from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError
from airflow_provider_whitebit.client.models import LATEST_SECONDS
from airflow_provider_whitebit.client.shared import SharedInt64Array
from airflow_provider_whitebit.client.transport import server_seconds
from airflow_provider_whitebit.moves.nonce_lock import lock_nonce, lock_of


class Local:
    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


@given(
    offset=st.integers(-(10**9), 10**9),
    calls=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 60_000)), min_size=1),
)
def test_the_estimate_stays_within_the_proven_bounds(offset, calls):
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


def test_a_clock_that_was_set_is_followed():
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


def test_nonces_apart_are_spread_over_the_window():
    local = Local()
    nonces = [ExchangeClock(local).next_nonce(apart=True) for _ in range(200)]
    assert all(abs(nonce - local.now) <= 4_000 for nonce in nonces)
    assert len(set(nonces)) > 150


def test_machines_in_lockstep_part_after_a_refusal():
    local, used = Local(), set(range(Local().now, Local().now + 2_000, 2))
    tries = 0
    for _ in range(100):
        clock, apart = ExchangeClock(local), False
        while (nonce := clock.next_nonce(apart=apart)) in used:
            apart, tries = True, tries + 1
        used.add(nonce)
    # At most every third of the nonces that are left is used.
    assert tries < 100 * 2.5


def test_odd_nonces_are_left_to_moves():
    local = Local()
    local.now += 1
    clock = ExchangeClock(local)
    assert [clock.next_nonce(apart=apart) % 2 for apart in (False, True) for _ in range(5)] == [0] * 10
    claims = [lock_nonce(name, local.now + ms) for name in ("a", "b", "c") for ms in range(9)]
    assert {nonce % 4 for nonce in claims} == {1}
    assert {lock_of([nonce]).nonce % 4 for nonce in claims} == {3}


@pytest.mark.parametrize("seconds", [10**30, -1, 10**16, True, 1.5, "", None])
def test_an_answer_without_a_time_is_refused(seconds):
    with pytest.raises(WhiteBitUnavailableError, match="no time"):
        server_seconds({"time": seconds})


def test_the_exchange_may_tell_milliseconds():
    assert server_seconds({"time": LATEST_SECONDS}) == LATEST_SECONDS
    assert server_seconds({"time": 1_700_000_000_999}) == 1_700_000_000


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
@pytest.mark.parametrize("window", [True, False])
def test_wrong_values_among_the_nonces_are_ignored(number, window):
    nonces = SharedInt64Array(1)
    nonces.row[:] = memoryview(array("q", [number]))
    clock = ExchangeClock(Local(), nonces)
    assert clock.next_nonce(window=window) == Local().now


def test_forgotten_observations_do_not_count():
    clock = ExchangeClock(Local())
    clock.observe(1_700_000_000, 1_700_000_000_000, 1_700_000_000_000)
    clock.forget()
    clock.observe(1_700_000_050, 1_700_000_000_000, 1_700_000_000_000)
    assert 50_000 <= clock.offset_ms <= 50_999
