"""The spending log forgets nothing that was sent, however many processes stand still and write later."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import pendulum
import pytest

from airflow_provider_whitebit.client.errors import WhiteBitJournalError
from airflow_provider_whitebit.hooks.journals import VariableSpendingLog
from airflow_provider_whitebit.moves import effects as e
from airflow_provider_whitebit.moves.allowance import Allowance, allowance_for
from airflow_provider_whitebit.moves.counting import AccountRecords
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Attempt, Move, Operation
from airflow_provider_whitebit.moves.journal import (
    PAGES_KEPT,
    MemorySpendingLog,
    Page,
    SharedSpendingLog,
    SpendingLog,
)
from airflow_provider_whitebit.moves.limits import Limits
from airflow_provider_whitebit.moves.nonce_lock import SLOT_MS, NonceLock
from tests.protocol_script import NOW, history, intent

NAME = "limit|USDT"
#: A transfer leaves no record, so only the log knows of it.
TRANSFER = Move(Operation.TRANSFER, "", "USDT", Decimal(1), source="main", target="spot")
LIMITS = Limits("c", max_per_day={"USDT": Decimal(10**6)})


class Texts(dict[str, str]):
    """Variables."""

    read = dict.get

    def __bool__(self):
        return True

    def keep(self, name, text, description):
        self[name] = text

    def delete(self, name):
        self.pop(name, None)


class Hostile:
    """Each owner of the lock may stand still before any of its writes, until others have owned the lock.

    :param log: of all of them.
    :param still: the probability that a process is suspended before a step.
    """

    def __init__(self, seed: int, log: SpendingLog, still: float = 0.5) -> None:
        self.random = random.Random(seed)
        self.log = log
        self.still = still
        self.now = NOW
        self.sent: list[str] = []
        self.standing: list[tuple[Iterator[e.Effect], e.Effect]] = []

    def run(self, owners: int = 12) -> None:
        for number in range(owners):
            self.now = NOW + number * SLOT_MS + 1
            steps = self._process(number)
            self._go_on(steps, None, stops=self.random.randint(0, 3) if self.random.random() < self.still else -1)
            self._wake()
            known = MoveHistory.merge(self.log.read(NAME).documents).intents
            assert {*self.sent} <= known.keys(), f"forgotten: {sorted({*self.sent} - known.keys())}"

    def _process(self, number: int) -> Iterator[e.Effect]:
        lock = NonceLock(NOW + number * SLOT_MS, (NOW + number * SLOT_MS) // 1000)
        one = intent(id=f"move {number}", move=TRANSFER).trying(Attempt(lock.nonce, lock.begins))
        allowance: Allowance = yield from allowance_for(LIMITS, one, lock, 10_000)
        yield from allowance.reserve(one, lock)
        if (yield e.ReadClock()).estimate_ms < lock.ends_ms:
            self.sent.append(one.id)
            made = one.executed(None, Decimal(1), pendulum.from_timestamp(lock.begins), reconciled=False)
            yield from allowance.settle(made, lock)

    def _go_on(self, steps: Iterator[e.Effect], outcome: object, stops: int = -1) -> None:
        """Let a process go on until it is suspended or has ended.

        :param stops: how many of its writes come before that; -1: it does not stand still.
        """
        while True:
            try:
                effect = steps.send(outcome)
            except StopIteration:
                return
            if isinstance(effect, e.WriteSpending | e.FinishSpending):
                if not stops:
                    self.standing.append((steps, effect))
                    return
                stops -= 1
            if self.random.random() < 0.1:
                self._wake()
            outcome = self._perform(effect)

    def _wake(self) -> None:
        """Some that stood still write now, long after they have lost the lock."""
        for one in [one for one in self.standing if self.random.random() < 0.2]:
            if one in self.standing:
                self.standing.remove(one)
                self._perform(one[1])
                self._go_on(one[0], None)

    def _perform(self, effect: e.Effect) -> object:
        match effect:
            case e.ReadClock():
                return e.ClockReading(self.now, self.now // 1000)
            case e.ReadMoves():
                return AccountRecords()
            case e.ReadSpending(name):
                return self.log.read(name)
            case e.WriteSpending(name, written, place):
                return self.log.write(name, written.to_json(), place)
            case e.FinishSpending(name, pages):
                return self.log.finish(name, pages)
        raise TypeError(effect)


LOGS = {
    "Variables": lambda: VariableSpendingLog("a", Texts()),
    "in memory": MemorySpendingLog,
    "two keys": lambda: SharedSpendingLog(VariableSpendingLog("a", Texts()), VariableSpendingLog("b", Texts())),
}


@pytest.mark.parametrize("kind", LOGS)
def test_nothing_that_was_sent_is_forgotten(kind):
    for seed in range(25):
        world = Hostile(seed, LOGS[kind]())
        world.run()
        assert world.sent


def test_a_log_whose_owners_add_no_pages_forgets():
    """The worlds above notice it: this is what they are for."""

    class SamePages(VariableSpendingLog):
        def read(self, name):
            return replace(super().read(name), pages=(Page(),))

    with pytest.raises(AssertionError, match="forgotten"):
        for seed in range(25):
            Hostile(seed, SamePages("a", Texts())).run()


def test_old_pages_are_deleted():
    texts = Texts()
    Hostile(1, VariableSpendingLog("a", texts), still=0).run(12)
    # The pages, and which one is the latest.
    assert len(texts) == PAGES_KEPT + 1


class TestFindingTheLatestPage:
    """A process that stood still may name an older page as the latest one."""

    @pytest.fixture
    def texts(self):
        return Texts()

    @pytest.fixture
    def log(self, texts):
        log = VariableSpendingLog("a", texts)
        for number in range(1, 41):
            log.write(NAME, history(intent(id=f"{number}")).to_json(), (Page(number),))
        log.finish(NAME, (Page(40, 0),))
        return log

    @pytest.mark.parametrize("named", [40, 38, 33, 32, 1])
    def test_it_is_found(self, texts, log, named):
        texts[log.name(NAME, "latest")] = str(named)
        reading = log.read(NAME)
        assert (reading.documents[-1], reading.pages) == (history(intent(id="40")).to_json(), (Page(40, named),))

    def test_without_a_name_it_is_looked_for_from_the_first_one(self, texts):
        log = VariableSpendingLog("a", texts)
        assert log.read(NAME).pages == (Page(),)
        for number in (1, 2, 3):
            log.write(NAME, {}, (Page(number),))
        assert log.read(NAME).pages == (Page(3),)

    @pytest.mark.parametrize("more", [0, 1, 7, 8, 9, 63, 64, 600])
    def test_it_is_found_with_few_readings_if_no_move_has_named_its_page(self, log, more):
        for number in range(41, 41 + more):
            log.write(NAME, {}, (Page(number),))
        read, done = log._variables.read, []
        log._variables.read = lambda name: done.append(name) or read(name)
        assert log.read(NAME).pages == (Page(40 + more, 40),)
        assert len(done) <= 33

    def test_a_page_that_came_back_is_not_taken_for_it(self, texts, log):
        texts[log.name(NAME, "latest")] = "7"
        log.write(NAME, history(intent(id="9")).to_json(), (Page(9),))
        assert log.read(NAME).pages == (Page(40, 7),)

    def test_pages_of_a_log_that_was_deleted_in_part_replace_nothing(self, texts, log):
        texts[log.name(NAME, "latest")] = "32"
        log.write(NAME, history(intent(id="new")).to_json(), (Page(32),))
        assert {"new", "40"} <= MoveHistory.merge(log.read(NAME).documents).intents.keys()

    @pytest.mark.parametrize("named", [0, 40])
    def test_pages_that_are_deleted_meanwhile(self, texts, log, named):
        texts[log.name(NAME, "latest")] = f"{named}"
        for number in [*range(1, 33), *range(41, 81)]:
            log.write(NAME, {}, (Page(number),))
        last = log.name(NAME, named + 3)

        def read(name):
            if name == last and texts[log.name(NAME, "latest")] != "80":
                log.finish(NAME, (Page(80, named),))
            return texts.get(name)

        log._variables = SimpleNamespace(read=read, keep=texts.keep, delete=texts.delete)
        assert log.read(NAME).pages == (Page(80, 80),)

    def test_a_page_whose_deletion_failed(self, texts, log):
        texts[log.name(NAME, "latest")] = "7"
        log.write(NAME, {}, (Page(7),))
        assert log.read(NAME).pages == (Page(40, 7),)

    def test_a_log_whose_pages_are_gone_is_not_empty(self, texts, log):
        for number in range(33, 41):
            del texts[log.name(NAME, number)]
        with pytest.raises(WhiteBitJournalError, match="gone from page 40") as caught:
            log.read(NAME)
        assert "wait for 24 hours" in str(caught.value)

    def test_a_name_that_is_no_number(self, texts, log):
        texts[log.name(NAME, "latest")] = "none"
        with pytest.raises(WhiteBitJournalError, match="no number"):
            log.read(NAME)
