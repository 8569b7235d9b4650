"""A try of a task stops at some step, other tries take over, and then it continues: the money moves once."""

from __future__ import annotations

import itertools
import random
import threading
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.hooks import journals, task_run
from airflow_provider_whitebit.moves import drivers, sending
from airflow_provider_whitebit.moves.drivers import ReconcileLater
from tests.api_server import ApiServer

IDS = {"dag_id": "d", "run_id": "manual__2026-11-01T00:00:00+00:00", "task_id": "t", "map_index": -1}


class SteppingServer(ApiServer):
    """Each request is a step of the try that makes it."""

    def answer(self, kind, message):
        step(f"before {kind}")
        answer = super().answer(kind, message)
        step(f"after {kind}")
        return answer


def invest(hook):
    return [hook.flex_invest(ticker="USDT", amount="100")]


class Try(threading.Thread):
    """A process of a try of the task, which stands still at one of its steps until it is woken.

    :param moves: makes the task's moves with a hook, and returns their receipts.
    :param stops_at: number of that step; ``None``: it does not stand still.
    :param event: of the trigger, if the try was deferred before.
    """

    def __init__(self, hook, number, moves, stops_at=None, event=None):
        super().__init__(daemon=True)
        self.hook, self.number, self.moves = hook, number, moves
        self.stops_at, self.event = stops_at, event
        self.steps = []
        self.receipts = self.error = None
        self._resting, self._woken = threading.Event(), threading.Event()

    def run(self):
        try:
            hook = self.hook()
            if self.event is not None:
                hook.resume(self.event)
            self.receipts = self.moves(hook)
        except (WhiteBitError, ReconcileLater) as error:
            self.error = error
        finally:
            self._resting.set()

    def step(self, name):
        self.steps.append(name)
        if len(self.steps) - 1 == self.stops_at:
            self._resting.set()
            assert self._woken.wait(60)

    def until_it_rests(self):
        """Run until it stands still or ends. :returns: whether it stands still."""
        if not self.steps and not self.is_alive():
            self.start()
        assert self._resting.wait(60)
        return self.is_alive() and self.stops_at is not None and len(self.steps) > self.stops_at

    def until_its_end(self):
        self.until_it_rests()
        self._woken.set()
        self.join(60)
        assert not self.is_alive()
        return self


def step(name):
    process = threading.current_thread()
    if isinstance(process, Try):
        process.step(name)


@pytest.fixture
def server(monkeypatch):
    from airflow.sdk.execution_time import task_runner

    server = SteppingServer()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", server, raising=False)
    return server


@pytest.fixture
def task(server, sandbox, make_hook, monkeypatch):
    """Makes the tries of one task; each call begins with an empty exchange."""

    def context():
        current = threading.current_thread()
        if not isinstance(current, Try):
            return None
        more = {"try_number": current.number, "max_tries": 3, "task": SimpleNamespace(retries=3)}
        return {"ti": SimpleNamespace(**IDS, **more)}

    perform = drivers._Worker.perform

    def performed(worker, effect):
        step(f"before {type(effect).__name__}")
        result = perform(worker, effect)
        step(f"after {type(effect).__name__}")
        return result

    monkeypatch.setattr(journals, "current_context", context)
    monkeypatch.setattr(task_run, "_RUNS", {})
    monkeypatch.setattr(drivers._Worker, "perform", performed)

    class Task:
        def __init__(self, moves=invest):
            sandbox.reset()
            sandbox.clear_faults()
            server.variables.clear()
            task_run._RUNS.clear()
            self.tries = 0
            self.moves = moves

        def begin(self, stops_at=None):
            """Begin the next try."""
            self.tries += 1
            return Try(make_hook, self.tries, self.moves, stops_at)

        def resume(self, event, stops_at=None):
            """Begin another process of the latest try, which was deferred."""
            return Try(make_hook, self.tries, self.moves, stops_at, event)

        def moved_once(self):
            """Run the task again, as after a clear, and assert that its receipts are those of all moves."""
            for _ in range(2):
                last = self.begin().until_its_end()
                if last.receipts is not None:
                    break
            assert last.receipts is not None, last.error
            made = [one["transaction_id"] for one in sandbox.ledger()["transactions"] if one["nonce"] is not None]
            return made == [receipt.transaction_id for receipt in last.receipts]

    return Task


def numbers():
    """0, 1, 2, ...: a test breaks when a try has no step of this number."""
    return itertools.count()


@pytest.mark.slow
def test_a_try_that_stood_still(task):
    """At each of its steps: it goes on before the second try, or when the second try has ended."""
    for stops_at in numbers():
        for first_goes_on_first in (True, False):
            this = task()
            first = this.begin(stops_at)
            if not first.until_it_rests():
                assert stops_at > 40
                return
            second = this.begin()
            for one in (first, second) if first_goes_on_first else (second, first):
                one.until_its_end()
            assert this.moved_once(), first.steps


def stand_still_in_turn(task, stops):
    """Let each try stand still at a step until the next ones have begun; then they go on, the earliest first.

    :returns: whether the money moved once.
    """
    this = task()
    tries = []
    for stop in stops:
        tries.append(this.begin(stop))
        tries[-1].until_it_rests()
    for one in tries:
        one.until_its_end()
    return this.moved_once()


#: Steps of a first try and of a later one, from the first effect until it has sent.
_FIRST, _LATER = range(48), range(100)


@pytest.fixture
def some():
    """Chooses at random, the same for each run of a test."""
    return random.Random("tries")


@pytest.mark.slow
def test_two_tries_that_stand_still(task, some):
    for stops in some.sample([*itertools.product(_FIRST, _LATER)], 40):
        assert stand_still_in_turn(task, stops), stops


@pytest.mark.slow
def test_three_tries_that_stand_still(task, some):
    for _ in range(20):
        stops = [some.choice(steps) for steps in (_FIRST, _LATER, _LATER)]
        assert stand_still_in_turn(task, stops), stops


@pytest.mark.slow
def test_the_journal_has_to_be_read_again_after_the_attempt_is_written(task, monkeypatch):
    """Without that, some of these orders move the money twice: so these tests can see it."""

    def trusting(run, intent):
        return run.history
        yield

    monkeypatch.setattr(sending, "_confirm", trusting)
    steps = task().begin().until_its_end().steps
    gaps = [number for number, name in enumerate(steps) if name == "before PutVariable"]
    orders = itertools.product(reversed(gaps), range(20, 100, 4))
    assert not all(stand_still_in_turn(task, stops) for stops in orders)


def two_moves(sandbox):
    """A task with two moves. The answer to the second is lost, and the task's first process is deferred."""
    processes = itertools.count(1)

    def moves(hook):
        is_first = next(processes) == 1
        first = hook.flex_invest(ticker="USDT", amount="100", key="first")
        if is_first:
            sandbox.fault("lost_reply_after", path="*/investments/invest", count=1)
        return [first, hook.flex_invest(ticker="USDT", amount="100", key="second", deferrable=is_first)]

    return moves


@pytest.mark.slow
def test_a_deferred_try_that_stood_still_when_it_resumed(task, sandbox):
    for stops_at in numbers():
        for resumed_goes_on_first in (True, False):
            this = task(two_moves(sandbox))
            later = this.begin().until_its_end().error
            assert isinstance(later, ReconcileLater)
            resumed = this.resume({"intent": later.intent.to_json(), "sent": later.sent}, stops_at)
            if not resumed.until_it_rests():
                assert stops_at > 20
                return
            second = this.begin()
            for one in (resumed, second) if resumed_goes_on_first else (second, resumed):
                one.until_its_end()
            assert this.moved_once(), resumed.steps
