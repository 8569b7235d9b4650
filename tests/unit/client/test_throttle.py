"""One machine stays under the exchange's rate limits, and one refusal holds all of it back."""

from __future__ import annotations

import json
from array import array
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client import throttle
from airflow_provider_whitebit.client.shared import Numbers
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.throttle import Throttle
from airflow_provider_whitebit.client.transport import NO_RETRIES, Transport, urgently

FLEX = "/api/v4/main-account/smart-flex/plans"


class Clock:
    """Nanoseconds that pass when somebody says so."""

    def __init__(self):
        self.now = 1_000_000_000_000
        self.slept = []

    def __call__(self):
        return self.now

    def tick(self, seconds):
        self.now += round(seconds * 1_000_000_000)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.tick(seconds)


@pytest.fixture
def clock():
    return Clock()


def test_calls_are_counted_by_group_of_paths(clock):
    one = Throttle(share=1, clock=clock)
    for _ in range(10):
        assert one.delay(FLEX) == 0
        clock.tick(0.5)
    assert one.delay("/api/v4/main-account/balance") == 5
    assert one.delay("/api/v4/trade-account/balance") == 0
    assert one.delay("/api/v4/public/time") == 0
    assert one.delay("/elsewhere") == 0


def test_no_window_of_ten_seconds_holds_more_than_the_limit(clock):
    one = Throttle(share=1, clock=clock)
    made = []
    while len(made) < 100:
        if delay := one.delay(FLEX):
            clock.tick(delay)
        else:
            made.append(clock.now)
            clock.tick(0.125)
    assert all(later - earlier >= 10_000_000_000 for earlier, later in zip(made, made[10:], strict=False))


def test_each_refusal_holds_back_twice_as_long_up_to_the_vendors_cap(clock):
    one = Throttle(clock=clock, jitter=lambda: 0.5)
    held = []
    for _ in range(7):
        one.refused()
        held.append(one.delay(FLEX))
        clock.tick(held[-1])
        assert one.delay(FLEX) == 0
    assert held == [1.5, 2.5, 4.5, 8.5, 16.5, 30.5, 30.5]
    clock.tick(10)
    one.refused()
    assert one.delay(FLEX) == 30.5
    clock.tick(30.5 + 10.5)
    one.refused()
    assert one.delay(FLEX) == 1.5


def test_answers_of_calls_that_were_under_way_end_no_series_of_refusals(clock):
    one = Throttle(clock=clock, jitter=lambda: 0)
    held = []
    for _ in range(6):
        with pytest.raises(e.WhiteBitRateLimitError):
            transport(clock, Wire((429, b"")), one).private(FLEX, {})
        held.append(one.delay(FLEX))
        # One of them has been counted before, another belongs to a group that nobody has refused.
        transport(clock, Wire(), None).private(FLEX, {})
        clock.tick(held[-1])
        transport(clock, Wire(), one).private("/api/v4/trade-account/balance", {})
    assert held == [1, 2, 4, 8, 16, 30]


def test_refusals_of_calls_under_way_count_once(clock):
    one = Throttle(clock=clock, jitter=lambda: 0)
    for _ in range(20):
        one.refused()
    assert one.delay(FLEX) == 1


def test_one_for_each_host():
    assert throttle.shared("http://a") is throttle.shared("http://a")
    assert throttle.shared("http://a") is not throttle.shared("http://b")


@pytest.mark.parametrize("moment", [2**63 - 1, -(2**63), -1, 2_000_000_000_000])
def test_nonsense_in_the_count_holds_nothing_back_for_long(clock, moment):
    def nonsense(length):
        count = Numbers(length)
        count.row[:] = memoryview(array("q", [moment] * length))
        return count

    one = Throttle(clock=clock, count=nonsense, jitter=lambda: 0)
    assert one.delay(FLEX) == 0
    one.refused()
    assert one.delay(FLEX) == 1
    clock.tick(1)
    one.refused()
    assert one.delay(FLEX) == 2


def test_what_a_move_reads_may_use_the_reserve(clock):
    one = Throttle(share=1, reserve=1, clock=clock)
    calls = transport(clock, Wire(), one)
    for _ in range(10):
        calls.private(FLEX, {})
    with urgently():
        for _ in range(10):
            calls.private(FLEX, {})
    assert clock.slept == []
    calls.private(FLEX, {})
    assert clock.slept == [10]


def test_urgent_calls_have_a_reserve_behind_an_export(clock):
    one = Throttle(clock=clock)
    assert [one.delay(FLEX) for _ in range(900)] == [0] * 900
    assert one.delay(FLEX) == 10
    clock.tick(1)
    assert [one.delay(FLEX, urgent=True) for _ in range(50)] == [0] * 50
    # Whichever has room first.
    assert one.delay(FLEX, urgent=True) == 9
    clock.tick(9)
    assert [one.delay(FLEX) for _ in range(900)] == [0] * 900
    assert one.delay(FLEX) == 10
    assert one.delay(FLEX, urgent=True) == 1


class Wire:
    """Answers as told, then with yes."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sent = 0

    def send(self, prepared):
        self.sent += 1
        status, body = self.answers.pop(0) if self.answers else (200, b"[]")
        raw = SimpleNamespace(stream=lambda size, decode_content: [body])
        return SimpleNamespace(status_code=status, headers={}, raw=raw, close=lambda: None)

    def close(self):
        pass


def transport(clock, wire, one):
    return Transport("http://x", Credentials("k", "s"), retry=NO_RETRIES, sleep=clock.sleep, throttle=one, wire=wire)


@pytest.mark.parametrize(
    "refusal",
    [
        (429, b""),
        (429, json.dumps({"code": 0, "message": "Too Many Attempts.", "errors": {}}).encode()),
        (400, json.dumps({"code": 0, "message": "Too Many Attempts."}).encode()),
    ],
)
def test_a_refusal_holds_every_client_of_the_process_back(clock, refusal):
    one = Throttle(clock=clock, jitter=lambda: 0)
    with pytest.raises(e.WhiteBitRateLimitError):
        transport(clock, Wire(refusal), one).private(FLEX, {})
    other = Wire()
    assert transport(clock, other, one).private(FLEX, {}) == []
    assert clock.slept == [1]


def test_a_move_is_not_held_back_until_its_nonce_is_dead(clock):
    one = Throttle(clock=clock, jitter=lambda: 0)
    wire = Wire()
    one.refused()
    clock.tick(1)
    one.refused()
    clock.tick(0.5)
    with pytest.raises(e.WhiteBitUnavailableError, match="Held back here") as caught:
        transport(clock, wire, one).once(FLEX, {}, nonce=1)
    assert caught.value.money_moved is False
    assert wire.sent == 0
    clock.tick(1)
    transport(clock, wire, one).once(FLEX, {}, nonce=1)
    assert (wire.sent, clock.slept) == (1, [0.5])


@pytest.mark.parametrize(("others", "slept", "sent"), [(2, [0.5, 0.25, 0.25], 1), (9, [0.5, 0.25, 0.25], 0)])
def test_a_move_that_waits_is_counted_before_it_is_sent(clock, others, slept, sent):
    one = Throttle(share=1, reserve=1, clock=clock)
    for _ in range(10):
        assert one.delay(FLEX) == 0
        clock.tick(0.25)
    assert [one.delay(FLEX, urgent=True) for _ in range(10)] == [0] * 10
    clock.tick(7)
    wire, waited = Wire(), []

    def sleep(seconds):
        waited.append(seconds)
        clock.tick(seconds)
        if len(waited) <= others:
            # Somebody else is first.
            assert one.delay(FLEX) == 0

    moving = Transport("http://x", Credentials("k", "s"), sleep=sleep, throttle=one, wire=wire)
    if sent:
        moving.once(FLEX, {}, nonce=1)
        assert one.delay(FLEX) == 0.25
    else:
        with pytest.raises(e.WhiteBitUnavailableError, match="Held back here") as caught:
            moving.once(FLEX, {}, nonce=1)
        assert caught.value.money_moved is False
    assert (waited, wire.sent) == (slept, sent)


def test_a_move_does_not_wait_behind_an_export(clock):
    one = Throttle(clock=clock)
    assert [one.delay(FLEX) for _ in range(900)] == [0] * 900
    wire = Wire()
    transport(clock, wire, one).once(FLEX, {}, nonce=1)
    assert (wire.sent, clock.slept) == (1, [])


def test_many_movers_behind_an_export_stay_under_the_limit(clock):
    one = Throttle(clock=clock)
    sent = []

    class Sent(Wire):
        def send(self, prepared):
            sent.append(clock.now)
            return super().send(prepared)

    reading, moving = (transport(clock, Sent(), one) for _ in range(2))
    held = 0
    for _ in range(30):
        for _ in range(100):
            reading.private(FLEX, {})
        for _ in range(5):
            try:
                moving.once(FLEX, {}, nonce=1)
            except e.WhiteBitUnavailableError:
                held += 1
    assert held == 0
    assert max(sum(moment <= other < moment + 10_000_000_000 for other in sent) for moment in sent) <= 950


def test_a_refused_nonce_is_no_rate_limit(clock):
    one = Throttle(clock=clock)
    refused = (422, json.dumps({"code": 0, "message": "Too many requests.", "errors": {}}).encode())
    with pytest.raises(e.WhiteBitNonceError):
        transport(clock, Wire(refused), one).private(FLEX, {})
    assert one.delay(FLEX) == 0


USED = (422, json.dumps({"code": 0, "message": "Too many requests.", "errors": {}}).encode())


def test_a_nonce_that_another_process_used_is_nothing_to_wait_for(clock):
    wire = Wire(USED, USED, USED)
    busy = Transport("http://x", Credentials("k", "s"), sleep=clock.sleep, wire=wire)
    assert busy.private(FLEX, {}) == []
    assert (wire.sent, clock.slept) == (4, [])


def test_nonces_that_are_always_used_are_an_error(clock):
    wire = Wire(*[USED] * 100)
    with pytest.raises(e.WhiteBitNonceError):
        Transport("http://x", Credentials("k", "s"), sleep=clock.sleep, wire=wire).private(FLEX, {})
    assert wire.sent == 5 * 4 + 4  # the exchange is asked for its time in between
