"""Limits over time: what fits, what is refused, and what is written before a move is sent."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.moves import effects as e
from airflow_provider_whitebit.moves.allowance import _SURELY, DAY, HOUR, LimitUse, foresee, used_limits
from airflow_provider_whitebit.moves.counting import AccountRecords
from airflow_provider_whitebit.moves.drivers import run
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Attempt, Move, Operation
from airflow_provider_whitebit.moves.journal import Page
from airflow_provider_whitebit.moves.limits import Limits
from tests.protocol_script import MOVE, NOW, PLAN, Script, history, intent, lost, record
from tests.unit.moves.test_counting import unreadable

SECOND = NOW // 1000
DAILY = Limits("c", max_per_day={"USDT": Decimal(100)})
HOURLY = Limits("c", max_moves_per_hour=2)
BOTH = Limits("c", max_per_day={"USDT": Decimal(100)}, max_moves_per_hour=2)
CLOSE = Move(Operation.FLEX_CLOSE, PLAN, "USDT", Decimal(40))


class Limited(Script):
    """A script whose account has moved these amounts."""

    def __init__(self, *amounts, second=SECOND - 60, **given):
        super().__init__(**given)
        self.moves = AccountRecords([record(f"r{place}", second, amount) for place, amount in enumerate(amounts)])

    def logged(self, name="limit|USDT"):
        return MoveHistory.merge(self.spending.read(name).documents).intents

    def log(self, *intents, name="limit|USDT"):
        self.spending.write(name, history(*intents).to_json(), (Page(1),))


@pytest.mark.parametrize(
    ("limits", "names"),
    [(Limits("c"), []), (DAILY, ["limit|USDT"]), (HOURLY, ["limit"]), (BOTH, ["limit|USDT", "limit"])],
)
def test_each_limit_over_time_takes_a_lock_and_keeps_a_log(limits, names):
    script = Limited(answers=["tx"])
    script.run(limits=limits)
    assert limits.lock_names("USDT") == names
    assert [name for name in ("limit|USDT", "limit") if script.logged(name)] == names
    # Before the lock, and inside it.
    assert script.done.count("ReadMoves") == 2 * bool(names)
    # A claim for each name, unless two have one slot.
    assert script.done.count("ClaimNonce") <= 1 + len(names)


def test_no_limit_concerns_another_asset():
    assert DAILY.lock_names("BTC") == []
    assert HOURLY.lock_names("BTC") == ["limit"]


def test_without_limits_over_time_nothing_is_read_or_written():
    script = Script(answers=["tx"])
    script.run(limits=Limits("c", max_move={"USDT": Decimal(1000)}))
    assert not {"ReadSpending", "WriteSpending", "ReadMoves", "ReadInvested"} & {*script.done}
    assert script.done.count("ClaimNonce") == 1


@pytest.mark.parametrize(
    ("limits", "amounts", "second", "fits"),
    [
        (DAILY, ["75"], SECOND - 60, True),
        (DAILY, ["75.00000001"], SECOND - 60, False),
        (DAILY, ["50", "25.01"], SECOND - 60, False),
        (DAILY, ["1000"], SECOND - DAY - 60, True),
        (HOURLY, ["1"], SECOND - 60, True),
        (HOURLY, ["1", "1"], SECOND - 60, False),
        (HOURLY, ["1", "1"], SECOND - HOUR - 60, True),
        (BOTH, ["1", "1"], SECOND - HOUR - 60, True),
        (BOTH, ["50", "40"], SECOND - HOUR - 60, False),
    ],
)
def test_what_has_moved_counts(limits, amounts, second, fits):
    script = Limited(*amounts, second=second, answers=["tx"])
    if fits:
        assert script.run(limits=limits).transaction_id == "tx"
        return
    with pytest.raises(errors.WhiteBitLimitError) as caught:
        script.run(limits=limits)
    assert caught.value.money_moved is False
    # It makes no other move wait.
    assert not {"ClaimNonce", "WriteSpending", "Send"} & {*script.done}
    assert not script.journals[""]


@pytest.mark.parametrize(("ago", "fits"), [(DAY, False), (DAY + 1, True)])
def test_a_move_of_exactly_24_hours_ago_still_counts(ago, fits):
    script = Limited("100", second=SECOND - ago)
    reading = run_foresee(script, DAILY)
    assert (reading is None) is fits


def run_foresee(script, limits, *moves):
    try:
        run(foresee(limits, moves or (MOVE,), 10_000), script)
    except errors.WhiteBitLimitError as error:
        return error
    return None


def test_the_error_says_what_moved_and_when_the_move_fits():
    script = Limited("40")
    script.moves.flex.append(record("late", SECOND - 30, "20"))
    script.moves.flex.append(record("later", SECOND - 10, "30"))
    error = run_foresee(script, DAILY, replace(MOVE, amount=Decimal(70)))
    first, enough = (pendulum.from_timestamp(SECOND - ago + DAY + _SURELY).isoformat() for ago in (60, 30))
    assert str(error).splitlines() == [
        "Connection 'c': 70 USDT more would exceed its max_per_day of 100 USDT.",
        "Moved in the last 24 hours: 90 USDT.",
        f"The next 40 USDT become free at {first}.",
        "No money moved.",
        "Next steps:",
        f"1. Clear the task after {enough}: then this move fits again.",
        "2. To move earlier, ask the administrator who set this limit on the connection.",
    ]


def test_the_error_says_how_many_moves():
    lines = str(run_foresee(Limited("1", "1"), HOURLY)).splitlines()
    free = pendulum.from_timestamp(SECOND - 60 + HOUR + _SURELY).isoformat()
    assert lines[:3] == [
        "Connection 'c': 1 move more would exceed its max_moves_per_hour of 2.",
        "Moved in the last hour: 2 moves.",
        f"The next 2 moves become free at {free}.",
    ]


def test_more_than_the_limit_is_refused_before_the_lock():
    script = Script()
    with pytest.raises(errors.WhiteBitLimitError, match=r"25 USDT is more than its max_per_day of 24\."):
        script.run(limits=Limits("c", max_per_day={"USDT": Decimal(24)}))
    assert "ClaimNonce" not in script.done


@pytest.mark.parametrize("limits", [DAILY, BOTH])
def test_an_amount_that_cannot_be_read_stops_the_move(limits):
    script = Limited()
    script.moves = AccountRecords([unreadable(currency="USDT", actionType=6)])
    error = run_foresee(script, limits)
    assert "cannot be read: FlexTransaction" in str(error)
    assert error.money_moved is False
    # For a number of moves it is one.
    assert run_foresee(script, HOURLY) is None


def test_a_plan_uses_up_what_its_moves_need():
    moves = [replace(MOVE, amount=Decimal(50))] * 3
    assert run_foresee(Limited(), DAILY, *moves[:2]) is None
    later = pendulum.from_timestamp(SECOND + DAY + _SURELY).isoformat()
    assert str(run_foresee(Limited(), DAILY, *moves)).splitlines() == [
        "Connection 'c': 50 USDT more would exceed its max_per_day of 100 USDT.",
        "Moved in the last 24 hours: 0 USDT.",
        "Planned before this move: 100 USDT.",
        "No money moved.",
        "Next steps:",
        f"1. Clear the task after {later}: then this move fits again.",
        "2. To move earlier, ask the administrator who set this limit on the connection.",
    ]
    earlier = pendulum.from_timestamp(SECOND - 60 + DAY + _SURELY).isoformat()
    assert str(run_foresee(Limited("30"), DAILY, *moves[:2])).splitlines()[1:4] == [
        "Moved in the last 24 hours: 30 USDT.",
        "Planned before this move: 50 USDT.",
        f"The next 30 USDT become free at {earlier}.",
    ]
    # Those of other assets need nothing.
    assert run_foresee(Limited(), DAILY, *moves[:2], replace(MOVE, ticker="BTC")) is None


@pytest.mark.parametrize(
    ("decided", "invested", "fits"),
    [(40, 80, True), (40, 81, False), (81, 40, False), (None, 81, False), (40, None, True)],
)
def test_a_close_counts_for_what_is_invested_now(decided, invested, fits):
    script = Limited("20")
    script.invested = None if invested is None else Decimal(invested)
    move = replace(CLOSE, amount=None if decided is None else Decimal(decided))
    assert (run_foresee(script, DAILY, move) is None) is fits


def test_a_close_of_an_unknown_amount_is_refused():
    assert "is not known" in str(run_foresee(Limited(), DAILY, replace(CLOSE, amount=None)))


# The log


def test_the_move_is_in_the_log_before_it_is_sent_and_knows_its_record_after():
    class Looking(Limited):
        def __call__(self, effect):
            if isinstance(effect, e.Send):
                assert [one.in_doubt for one in self.logged().values()] == [True]
            return super().__call__(effect)

    script = Looking(answers=["tx"])
    script.run(limits=DAILY)
    (entry,) = script.logged().values()
    assert (entry.id, entry.receipt.transaction_id, entry.requested) == ("new", "tx", {})
    assert script.done.index("WriteJournal") < script.done.index("WriteSpending") < script.done.index("Send")


class Broken(Limited):
    """A write of the log fails, before or after the page was kept."""

    def __init__(self, number, kept, **given):
        super().__init__(**given)
        self.number, self.kept = number, kept

    def __call__(self, effect):
        if isinstance(effect, e.WriteSpending) and effect.pages[0].number == self.number:
            self.number = None
            if self.kept:
                super().__call__(effect)
            raise errors.WhiteBitJournalError("no", money_moved=False)
        return super().__call__(effect)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("kept", [True, False])
def test_what_cannot_be_logged_is_not_sent(number, kept):
    script = Broken(number, kept)
    with pytest.raises(errors.WhiteBitJournalError):
        script.run(limits=DAILY)
    assert "Send" not in script.done
    assert not script.intent().in_doubt
    # What was written of it does not count.
    assert not any(one.unproven for one in script.logged().values())


@pytest.mark.parametrize(
    ("answer", "unproven"),
    [
        (errors.WhiteBitNotEnoughBalanceError("Not enough.", status=422, money_moved=False), False),
        (errors.WhiteBitUnavailableError("never connected", money_moved=False), False),
        (lost(), True),
        (errors.WhiteBitNonceError("Too many requests."), True),
    ],
)
def test_only_what_certainly_did_not_run_leaves_the_log(answer, unproven):
    script = Limited(answers=[answer])
    steps = script.run
    with pytest.raises((errors.WhiteBitError, IndexError)):
        steps(limits=DAILY)
    (entry,) = script.logged().values()
    assert any(attempt.outcome != "refused" for attempt in entry.attempts) is (unproven or len(entry.attempts) > 1)


def test_attempts_of_one_move_count_once():
    script = Limited("75", answers=[lost(), "tx"])
    assert script.run(limits=DAILY).attempts == 2
    (entry,) = script.logged().values()
    assert len(entry.attempts) == 2


def test_another_task_counts_what_is_in_doubt():
    script = Limited("51")
    doubt = intent(id="other", move=replace(MOVE, amount=Decimal(30))).trying(Attempt(NOW - 60_000, SECOND - 60))
    script.log(doubt)
    with pytest.raises(errors.WhiteBitLimitError, match=r"(?s): 81 USDT.*this package sent 30 USDT"):
        script.run(limits=DAILY)
    # Before the lock it may just be on its way, and be refused.
    assert "ClaimNonce" in script.done


def test_what_another_task_has_certainly_moved_counts_before_the_lock():
    script = Limited("51")
    sent = intent(id="other", move=replace(MOVE, amount=Decimal(30))).trying(Attempt(NOW - 60_000, SECOND - 60))
    moved = sent.executed("tx", Decimal(30), pendulum.from_timestamp(SECOND - 60), reconciled=False)
    script.log(moved)
    with pytest.raises(errors.WhiteBitLimitError, match="81 USDT"):
        script.run(limits=DAILY)
    assert not {"ClaimNonce", "WriteSpending"} & {*script.done}


def test_the_logs_of_two_locks_count_together():
    """A run of a task that stood still may have written over one of them."""
    sent = intent(id="other", move=replace(MOVE, amount=Decimal(30))).trying(Attempt(NOW - 60_000, SECOND - 60))
    unsent = intent(id="other", move=sent.move).trying(Attempt(NOW - 30_000, SECOND - 30)).last_refused()
    for logs in (("limit|USDT", "limit"), ("limit", "limit|USDT")):
        script = Limited("51")
        for name, known in zip(logs, (sent, unsent), strict=True):
            script.log(known, name=name)
        with pytest.raises(errors.WhiteBitLimitError, match="81 USDT"):
            script.run(limits=BOTH)


def test_a_run_that_stood_still_does_not_forget_what_a_later_run_of_its_task_has_sent():
    attempt = Attempt(NOW - 60_000, SECOND - 60)
    later = intent(id="new", move=replace(MOVE, amount=Decimal(25))).trying(attempt)
    moved = later.executed("tx", Decimal(25), pendulum.from_timestamp(SECOND - 60), reconciled=False)
    script = Limited(answers=[errors.WhiteBitNotEnoughBalanceError("Not enough.", status=422, money_moved=False)])
    script.log(moved)
    with pytest.raises(errors.WhiteBitNotEnoughBalanceError):
        script.run(limits=DAILY)
    entry = script.logged()["new"]
    assert (entry.receipt.transaction_id, entry.attempts[0]) == ("tx", attempt)


def test_pages_that_no_move_has_named_are_named_before_the_lock():
    for number, named in ((2, False), (3, True)):
        script = Limited(answers=["tx"])
        for page in range(1, number + 1):
            script.spending.write("limit|USDT", history().to_json(), (Page(page),))
        script.run(limits=DAILY)
        assert ("FinishSpending" in script.done[: script.done.index("ClaimNonce")]) is named


def test_the_log_keeps_what_it_needs():
    def entry(name, ago, reference):
        nonce = NOW - ago * 1000
        sent = intent(id=name, move=replace(MOVE, amount=Decimal(1))).trying(Attempt(nonce, nonce // 1000))
        return sent.executed(reference, Decimal(1), pendulum.from_timestamp(nonce // 1000), reconciled=False)

    script = Limited(answers=["tx"])
    script.moves = AccountRecords([record(name, SECOND - 2_000, "1") for name in ("shown", "just")])
    refused = intent(id="refused").trying(Attempt(NOW, SECOND)).last_refused()
    logged = [
        entry("old", DAY + 60, "gone"),
        entry("unshown", 2_000, "unshown"),
        entry("shown", 2_000, "shown"),
        entry("just", 100, "just"),
        refused,
    ]
    script.log(*logged)
    script.run(limits=DAILY)
    assert sorted(script.logged()) == ["just", "new", "unshown"]


@pytest.mark.parametrize("document", [{"version": 99, "intents": []}, {"version": 2, "intents": [{"id": 5}]}])
def test_a_log_that_cannot_be_read_is_not_empty(document):
    script = Limited()
    script.spending.write("limit|USDT", document, (Page(1),))
    with pytest.raises(errors.WhiteBitJournalError, match="cannot be read") as caught:
        script.run(limits=DAILY)
    assert caught.value.money_moved is False
    assert "Send" not in script.done


class Slow(Limited):
    """A write of the log takes longer than the lock lasts."""

    def __call__(self, effect):
        outcome = super().__call__(effect)
        if isinstance(effect, e.WriteSpending) and not self.slept:
            self.slept, self.now = True, self.now + 6_000
        return outcome

    slept = False


def test_a_process_that_stood_still_writes_no_second_page_and_sends_nothing():
    script = Slow(answers=["tx"])
    assert script.run(limits=DAILY).attempts == 2
    writes = [one for one in script.done if one in ("WriteSpending", "Send", "ClaimNonce")]
    first_slot = writes[: writes.index("ClaimNonce", writes.index("WriteSpending"))]
    assert (first_slot.count("WriteSpending"), first_slot.count("Send")) == (1, 0)


class TestUsedLimits:
    """How much of the limits over time is used, for people who look."""

    def used(self, script, limits):
        return run(used_limits(limits, 10_000), script)

    def test_without_limits_over_time_nothing_is_read(self):
        script = Limited("1")
        assert self.used(script, Limits("c", max_move={"USDT": Decimal(1)})) == []
        assert script.done == []

    def test_what_records_show(self):
        script = Limited("40", "2.5")
        day, hour = self.used(script, BOTH)
        free = pendulum.from_timestamp(SECOND - 60 + DAY + _SURELY, tz="UTC")
        assert day == LimitUse("max_per_day", "USDT", Decimal(100), Decimal("42.5"), Decimal(0), free)
        assert (hour.limit, hour.ticker, hour.most, hour.used) == ("max_moves_per_hour", None, 2, 2)
        assert hour.frees_at == free.subtract(hours=23)
        assert script.done.count("ReadMoves") == 1

    def test_what_becomes_free_at_an_unknown_time_comes_last(self):
        script = Limited("40")
        script.moves = AccountRecords(
            [unreadable(currency="USDT", actionType=1, amount="2"), record("r", SECOND - 60, "40")]
        )
        (day,) = self.used(script, DAILY)
        assert day.frees_at == pendulum.from_timestamp(SECOND - 60 + DAY + _SURELY, tz="UTC")

    def test_the_exchange_is_asked_for_its_time_if_it_is_not_known(self):
        class Unknown(Limited):
            def __call__(self, effect):
                outcome = super().__call__(effect)
                return e.ClockReading(0, 0) if isinstance(effect, e.ReadClock) else outcome

        script = Unknown("40")
        (day,) = self.used(script, DAILY)
        assert (day.used, script.done.count("AskTime")) == (40, 1)

    def test_nothing_used(self):
        (day,) = self.used(Limited(), DAILY)
        assert (day.used, day.frees_at) == (0, None)

    def test_an_amount_that_cannot_be_read(self):
        script = Limited()
        script.moves = AccountRecords([unreadable(createdAt=SECOND - 60, currency="USDT", actionType=1)])
        day, hour = self.used(script, BOTH)
        assert (day.used, hour.used) == (None, 1)

    def test_what_no_record_shows_so_far(self):
        script = Limited(answers=["tx"])
        script.run(limits=BOTH)
        (day, hour) = self.used(script, BOTH)
        assert (day.used, day.unshown, hour.used, hour.unshown) == (25, 25, 1, 1)

    def test_an_unknown_amount_is_not_added_up(self):
        script = Limited()
        script.log(intent(id="i", move=replace(CLOSE, amount=None)).trying(Attempt(NOW, SECOND)))
        (day,) = self.used(script, DAILY)
        assert (day.used, day.unshown) == (None, 0)
