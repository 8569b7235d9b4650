"""One machine stays under the exchange's rate limits, and one refusal delays all of its calls."""

from __future__ import annotations

import json
from array import array
from email.utils import formatdate

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client import throttle
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.shared import SharedInt64Array
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.throttle import Throttle
from airflow_provider_whitebit.client.transport import NO_RETRIES, RetryPolicy, Transport, urgently
from airflow_provider_whitebit.client.transport_http import HttpAnswer

FLEX = "/api/v4/main-account/smart-flex/plans"


class Clock:
    """Nanoseconds that pass only in tick() and sleep()."""

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


def test_each_refusal_doubles_the_delay_up_to_the_vendors_limit(clock):
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


def test_answers_of_calls_under_way_do_not_end_a_series_of_refusals(clock):
    one = Throttle(clock=clock, jitter=lambda: 0)
    held = []
    for _ in range(6):
        with pytest.raises(e.WhiteBitRateLimitError):
            transport(clock, Wire((429, b"")), one)._repeatable(FLEX, {})
        held.append(one.delay(FLEX))
        # One of them was counted before, another belongs to a group without refusals.
        transport(clock, Wire(), None)._repeatable(FLEX, {})
        clock.tick(held[-1])
        transport(clock, Wire(), one)._repeatable("/api/v4/trade-account/balance", {})
    assert held == [1, 2, 4, 8, 16, 30]


def test_refusals_of_calls_under_way_count_once(clock):
    one = Throttle(clock=clock, jitter=lambda: 0)
    for _ in range(20):
        one.refused()
    assert one.delay(FLEX) == 1


def test_the_history_of_main_has_a_limit_of_its_own(clock):
    one = Throttle(clock=clock)
    made = [one.delay("/api/v4/main-account/history") for _ in range(181)]
    assert [bool(delay) for delay in made] == [False] * 180 + [True]
    assert one.delay(FLEX) == 0


def test_each_host_has_its_own_throttle():
    assert throttle.shared("http://a") is throttle.shared("http://a")
    assert throttle.shared("http://a") is not throttle.shared("http://b")


@pytest.mark.parametrize("moment", [2**63 - 1, -(2**63), -1, 2_000_000_000_000])
def test_wrong_values_in_the_count_delay_only_briefly(clock, moment):
    def nonsense(length):
        count = SharedInt64Array(length)
        count.row[:] = memoryview(array("q", [moment] * length))
        return count

    one = Throttle(clock=clock, count=nonsense, jitter=lambda: 0)
    assert one.delay(FLEX) == 0
    one.refused()
    assert one.delay(FLEX) == 1
    clock.tick(1)
    one.refused()
    assert one.delay(FLEX) == 2


def test_the_reads_of_a_move_may_use_the_reserve(clock):
    one = Throttle(share=1, reserve=1, clock=clock)
    calls = transport(clock, Wire(), one)
    for _ in range(10):
        calls._repeatable(FLEX, {})
    with urgently():
        for _ in range(10):
            calls._repeatable(FLEX, {})
    assert clock.slept == []
    calls._repeatable(FLEX, {})
    assert clock.slept == [10]


def test_urgent_calls_have_a_reserve_behind_an_export(clock):
    one = Throttle(clock=clock)
    assert [one.delay(FLEX) for _ in range(900)] == [0] * 900
    assert one.delay(FLEX) == 10
    clock.tick(1)
    assert [one.delay(FLEX, urgent=True) for _ in range(50)] == [0] * 50
    # The ring that has room first decides.
    assert one.delay(FLEX, urgent=True) == 9
    clock.tick(9)
    assert [one.delay(FLEX) for _ in range(900)] == [0] * 900
    assert one.delay(FLEX) == 10
    assert one.delay(FLEX, urgent=True) == 1


class Wire:
    """Sends the given answers, then successes."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sent = 0
        self.paths = []

    def send(self, method, path, *request):
        self.sent += 1
        self.paths.append(path)
        status, body, *headers = self.answers.pop(0) if self.answers else (200, b"[]")
        return HttpAnswer(status, headers[0] if headers else {}, body)

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
def test_a_refusal_delays_every_client_of_the_process(clock, refusal):
    one = Throttle(clock=clock, jitter=lambda: 0)
    with pytest.raises(e.WhiteBitRateLimitError):
        transport(clock, Wire(refusal), one)._repeatable(FLEX, {})
    other = Wire()
    assert transport(clock, other, one)._repeatable(FLEX, {}) == []
    assert clock.slept == [1]


def test_a_move_is_not_delayed_until_its_nonce_expires(clock):
    one = Throttle(clock=clock, jitter=lambda: 0)
    wire = Wire()
    one.refused()
    clock.tick(1)
    one.refused()
    clock.tick(0.5)
    with pytest.raises(e.WhiteBitUnavailableError, match="was not sent") as caught:
        transport(clock, wire, one)._once(FLEX, {}, nonce=1)
    assert caught.value.money_moved is False
    assert wire.sent == 0
    clock.tick(1)
    transport(clock, wire, one)._once(FLEX, {}, nonce=1)
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
            # Another process is first.
            assert one.delay(FLEX) == 0

    moving = Transport("http://x", Credentials("k", "s"), sleep=sleep, throttle=one, wire=wire)
    if sent:
        moving._once(FLEX, {}, nonce=1)
        assert one.delay(FLEX) == 0.25
    else:
        with pytest.raises(e.WhiteBitUnavailableError, match="was not sent") as caught:
            moving._once(FLEX, {}, nonce=1)
        assert caught.value.money_moved is False
    assert (waited, wire.sent) == (slept, sent)


def test_a_move_does_not_wait_behind_an_export(clock):
    one = Throttle(clock=clock)
    assert [one.delay(FLEX) for _ in range(900)] == [0] * 900
    wire = Wire()
    transport(clock, wire, one)._once(FLEX, {}, nonce=1)
    assert (wire.sent, clock.slept) == (1, [])


def test_many_movers_behind_an_export_stay_under_the_limit(clock):
    one = Throttle(clock=clock)
    sent = []

    class Sent(Wire):
        def send(self, *request):
            sent.append(clock.now)
            return super().send(*request)

    reading, moving = (transport(clock, Sent(), one) for _ in range(2))
    held = 0
    for _ in range(30):
        for _ in range(100):
            reading._repeatable(FLEX, {})
        for _ in range(5):
            try:
                moving._once(FLEX, {}, nonce=1)
            except e.WhiteBitUnavailableError:
                held += 1
    assert held == 0
    assert max(sum(moment <= other < moment + 10_000_000_000 for other in sent) for moment in sent) <= 950


def test_a_refused_nonce_is_not_a_rate_limit(clock):
    one = Throttle(clock=clock)
    refused = (422, json.dumps({"code": 0, "message": "Too many requests.", "errors": {}}).encode())
    with pytest.raises(e.WhiteBitNonceError):
        transport(clock, Wire(*[refused] * 4), one)._repeatable(FLEX, {})
    assert one.delay(FLEX) == 0


USED = (422, json.dumps({"code": 0, "message": "Too many requests.", "errors": {}}).encode())
TOO_FAST = (429, json.dumps({"code": 0, "message": "Too Many Attempts."}).encode())


@pytest.mark.parametrize("body", [USED[1], b'{"message": "Too many requests."}'])
@pytest.mark.parametrize("status", [400, 401, 403, 422, 429, 500, 503])
def test_after_a_nonce_that_another_process_used_the_next_is_tried_at_once(clock, status, body):
    wire, one, nonces = Wire(*[(status, body, {"Retry-After": "120"})] * 3), Throttle(clock=clock), []
    busy = Transport("http://x", Credentials("k", "s"), sleep=clock.sleep, wire=wire, throttle=one)
    choose = busy.clock.next_nonce
    busy.clock.next_nonce = lambda **how: nonces.append(choose(**how)) or nonces[-1]
    assert busy._repeatable(FLEX, {}) == []
    assert (wire.sent, clock.slept) == (4, [])
    assert len(nonces) == 4
    # Nobody else waits for it.
    assert one.delay(FLEX) == 0


def test_nonces_that_are_always_used_are_an_error(clock):
    wire = Wire(*[USED] * 100)
    with pytest.raises(e.WhiteBitNonceError):
        Transport("http://x", Credentials("k", "s"), sleep=clock.sleep, wire=wire)._repeatable(FLEX, {})
    assert wire.sent == 5 * 4 + 4  # with four requests for the exchange's time in between


NOW = 1_800_000_000


def asking(clock, one, *answers, attempts=5):
    """A transport at a known time, and its wire."""
    wire = Wire(*answers)
    time = ExchangeClock(local_ms=lambda: NOW * 1000 + clock.now // 1_000_000 - 1_000_000)
    retry = RetryPolicy(attempts=attempts, jitter=0)
    return Transport(
        "http://x", Credentials("k", "s"), retry=retry, sleep=clock.sleep, throttle=one, wire=wire, clock=time
    ), wire


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("20", 20),
        (" 20 ", 20),
        ("0", 1),
        ("-5", 1),
        ("soon", 1),
        ("", 1),
        ("\u0663", 1),
        (formatdate(NOW + 20, usegmt=True), 20),
        (formatdate(NOW - 20, usegmt=True), 1),
        ("Fri, 15 Jan 2027 08:00:20", 1),
    ],
)
@pytest.mark.parametrize("refusal", [TOO_FAST, (503, b"<h1>503</h1>"), (429, b"")])
def test_retry_after_is_waited_for(clock, refusal, asked, waited):
    calls, wire = asking(clock, None, (*refusal, {"Retry-After": asked}))
    assert calls._repeatable(FLEX, {}) == []
    assert (wire.sent, clock.slept) == (2, [waited])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("120", "wait 120 s, until 2027-01-15 08:02:00 UTC."),
        (formatdate(NOW + 120, usegmt=True), "wait 120 s, until 2027-01-15 08:02:00 UTC."),
        ("9" * 5000, "wait 100000000 s, until 2030-03-17 17:46:40 UTC."),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "wait 100000000 s, until 2030-03-17 17:46:40 UTC."),
    ],
)
@pytest.mark.parametrize("refusal", [TOO_FAST, (503, b"<h1>503</h1>")])
def test_a_longer_retry_after_is_an_error_at_once(clock, refusal, asked, words):
    calls, wire = asking(clock, None, *[(*refusal, {"Retry-After": asked})] * 9)
    with pytest.raises(e.TRANSIENT_ERRORS) as caught:
        calls._repeatable(FLEX, {})
    # After 503 the platform status is asked for, too.
    assert (wire.paths.count(FLEX), clock.slept) == (1, [])
    assert words in str(caught.value)
    assert caught.value.next_step == "Run the task again after that time."


def test_a_maintenance_says_until_when(clock):
    asked = {"Retry-After": "120"}
    calls, _ = asking(clock, None, (503, b"Maintenance", asked), (200, b'{"status": "system maintenance"}'))
    with pytest.raises(e.WhiteBitMaintenanceError, match=r"in maintenance\. .*until 2027-01-15 08:02:00 UTC") as caught:
        calls._repeatable(FLEX, {})
    assert (caught.value.said, caught.value.meaning) == ("Maintenance", "maintenance")
    assert clock.slept == []


def test_retry_after_is_compared_with_the_exchanges_clock(clock):
    headers = {"Date": formatdate(NOW + 500, usegmt=True), "Retry-After": formatdate(NOW + 520, usegmt=True)}
    calls, _ = asking(clock, None, (*TOO_FAST, headers))
    assert calls._repeatable(FLEX, {}) == []
    assert 19 <= clock.slept[0] <= 21


def test_a_rate_limit_that_asks_to_wait_holds_back_the_machine(clock):
    one = Throttle(clock=clock, jitter=lambda: 0)
    calls, _ = asking(clock, one, (*TOO_FAST, {"Retry-After": "120"}))
    with pytest.raises(e.WhiteBitRateLimitError):
        calls._repeatable(FLEX, {})
    other, wire = asking(clock, one)
    with pytest.raises(e.WhiteBitRateLimitError, match="until 2027-01-15 08:02:01 UTC") as caught:
        other._repeatable(FLEX, {})
    assert caught.value.money_moved is False
    with pytest.raises(e.WhiteBitUnavailableError, match="until 2027-01-15 08:02:01 UTC") as caught:
        other._once(FLEX, {}, nonce=1)
    assert caught.value.money_moved is False
    assert (wire.sent, clock.slept) == (0, [])
    clock.tick(100)
    assert other._repeatable(FLEX, {}) == []
    assert clock.slept == [20]


def test_a_later_answer_can_only_lengthen_what_was_asked_for(clock):
    one = Throttle(clock=clock, jitter=lambda: 0)
    one.refused()
    one.refused(60)
    one.refused(10)
    one.refused()
    assert one.delay(FLEX) == 60


def test_no_answer_holds_back_the_machine_for_hours(clock):
    one = Throttle(clock=clock, jitter=lambda: 0)
    one.refused(10**8)
    assert one.delay(FLEX) == 300
    one.refused(10**8)
    clock.tick(300)
    assert one.delay(FLEX) == 0


@pytest.mark.parametrize("page", [b"<title>Attention Required! | Cloudflare</title>", b"Access denied"])
def test_a_block_page_is_not_asked_again_and_holds_nobody_back(clock, page):
    one = Throttle(clock=clock)
    calls, wire = asking(clock, one, *[(429, page, {"Retry-After": "5"})] * 9)
    with pytest.raises(e.WhiteBitBlockedError):
        calls._repeatable(FLEX, {})
    assert (wire.sent, clock.slept, one.delay(FLEX)) == (1, [], 0)


def test_the_answer_to_a_move_asks_to_wait_and_leaves_it_in_doubt(clock):
    calls, _ = asking(clock, None, (*TOO_FAST[:1], b"", {"Retry-After": "120"}))
    with pytest.raises(e.WhiteBitRateLimitError, match="until 2027-01-15 08:02:00 UTC") as caught:
        calls._once(FLEX, {}, nonce=1, success={201})
    assert caught.value.money_moved is None
    assert "reads the exchange's records" in str(caught.value)
