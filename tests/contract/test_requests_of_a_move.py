"""How many requests one move takes: what the pools of docs/operations.md and the README are reckoned from.

Only ``main-account`` counts there: the exchange lets a caller make 1000 such calls in 10 s, and 2000 public ones.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import RetryPolicy, Transport
from airflow_provider_whitebit.hooks import executor, journals, stores, task_run
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.sandbox.exchange import Exchange
from tests.sandbox_plans import SubAccounts
from tests.texts import all_by

USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
MOVES = ("/invest", "/withdraw", "/investments/close", "/auto-invest", "/investment", "/investment/close", "/transfer")


class Clock:
    """The one time of exchange and clients, in milliseconds."""

    now = 1_790_000_000_000

    def now_ms(self):
        return self.now

    def sleep(self, seconds):
        self.now += int(seconds * 1000) + 1


class Wire:
    """Carries requests to the exchange's rules at 40 ms each, and counts them."""

    def __init__(self, exchange, clock):
        self._exchange, self._clock = exchange, clock
        self.requests = Counter()
        self.lose = None

    def send(self, method, path, headers, body):
        self.requests["public" if "/public/" in path else "main-account"] += 1
        self._clock.now += 40
        lost = self.lose if path.endswith(MOVES) else None
        if lost is not None:
            self.lose = None
        if lost != "before":
            answer = self._exchange.handle(method, path, headers, body or b"")
        if lost is not None:
            raise e.WhiteBitUnavailableError("The answer was lost.", money_moved=None)
        return answer

    def close(self):
        pass


@dataclass
class Taken:
    """The requests of one task, and how many seconds they were spread over."""

    main: int
    public: int
    seconds: float


class Account:
    """An account on an exchange of its own, and tasks that make moves in it."""

    def __init__(self, monkeypatch, *, previous, **extra):
        self.clock = Clock()
        self.exchange = Exchange(clock=self.clock, rate_limits=False)
        self.exchange.keys.add_like("second-key", "second-secret")
        self.wire = Wire(self.exchange, self.clock)
        self._previous = previous
        self._task = 0
        monkeypatch.setattr(executor.MoveExecutor, "sleep", staticmethod(self.clock.sleep))
        monkeypatch.setattr(task_run, "_RUNS", {})
        variables = self.variables = {}
        monkeypatch.setattr(stores, "read_variables", all_by(variables.get))
        monkeypatch.setattr(stores, "keep_variable", lambda name, text, _: variables.update({name: text}))
        monkeypatch.setattr(stores, "delete_variable", lambda name: variables.pop(name, None))
        known = {"conn_type": "whitebit", "login": "sandbox-key", "password": "sandbox-secret", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_BEFORE", json.dumps(known))
        if previous:
            extra |= {"previous_conn_id": "before"}
            known |= {"login": "second-key", "password": "second-secret", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps(known))

        def context():
            ids = {"dag_id": "d", "run_id": f"r{self._task}", "task_id": "t", "map_index": -1}
            names = SimpleNamespace(**ids, try_number=1, max_tries=3, task=SimpleNamespace(retries=3))
            return {"ti": names}

        monkeypatch.setattr(journals, "current_context", context)

    def _hook(self, conn_id, key):
        hook = WhiteBitHook(conn_id)
        transport = Transport(
            "http://exchange",
            Credentials(key, key.replace("-key", "-secret")),
            clock=ExchangeClock(self.clock.now_ms),
            retry=RetryPolicy(jitter=0),
            sleep=self.clock.sleep,
            wire=self.wire,
        )
        hook.__dict__["_client"] = WhiteBitClient(transport)
        return hook

    def task(self, move):
        """Run one task, in a process of its own: its requests."""
        self._task += 1
        hook = self._hook("whitebit_default", "second-key" if self._previous else "sandbox-key")
        if self._previous:
            hook.__dict__["previous"] = self._hook("before", "sandbox-key")
        self.wire.requests.clear()
        begin = self.clock.now
        move(hook)
        return Taken(self.wire.requests["main-account"], self.wire.requests["public"], (self.clock.now - begin) / 1000)


#: A claim of the lock, the records before the move, and the move.
PROTOCOL = 3
#: By operation: what has to be there before, the move, and the requests that decide it and complete its receipt.
OPERATIONS = {
    "invest by ticker": ((), lambda hook: hook.flex_invest(ticker="USDT", amount="100"), 1),
    "invest by plan": ((), lambda hook: hook.flex_invest(plan_id=USDT, amount="100"), 1),
    "withdraw by ticker": (("invest by ticker",), lambda hook: hook.flex_withdraw(ticker="USDT", amount="40"), 2),
    "withdraw by plan": (("invest by plan",), lambda hook: hook.flex_withdraw(plan_id=USDT, amount="40"), 2),
    "close": (("invest by ticker",), lambda hook: hook.flex_close(ticker="USDT"), 3),
    "fixed invest": ((), lambda hook: hook.fixed_invest(ticker="USDT", amount="100"), 1),
    "fixed close": (("fixed invest",), lambda hook: hook.fixed_close(ticker="USDT"), 1),
    "transfer": ((), lambda hook: hook.transfer(ticker="ETH", amount="1", source="main", target="spot"), 2),
    # Its history never counts as ended by a page that is short, so that it takes one more request.
    "sub-account transfer": (
        (),
        lambda hook: hook.sub_account_transfer(
            sub_account_id=SubAccounts.TRADING, direction="main_to_sub", ticker="ETH", amount="1"
        ),
        2,
    ),
}
PREVIOUS = pytest.mark.parametrize("previous", [False, True], ids=["one key", "key being exchanged"])


@pytest.fixture(params=OPERATIONS)
def operation(request):
    return request.param


@pytest.fixture
def account(monkeypatch, operation):
    def make(previous):
        made = Account(monkeypatch, previous=previous)
        for name in OPERATIONS[operation][0]:
            made.task(OPERATIONS[name][1])
        # None of that is in the way of what follows.
        made.clock.sleep(60)
        return made

    return make


def undisturbed(operation, previous):
    """While the key is exchanged, the lock is claimed with both keys."""
    return OPERATIONS[operation][2] + PROTOCOL + previous


@PREVIOUS
def test_undisturbed(account, operation, previous):
    taken = account(previous).task(OPERATIONS[operation][1])
    assert taken.main == undisturbed(operation, previous)
    # Assets once in each task, unless the operation needs none.
    assert taken.public <= 1
    # What the docs reckon with.
    assert taken.main <= (7 if previous else 6)


@PREVIOUS
@pytest.mark.parametrize("ran", [True, False])
def test_a_lost_answer(account, operation, previous, ran):
    alone = undisturbed(operation, previous)
    made = account(previous)
    made.wire.lose = "after" if ran else "before"
    taken = made.task(OPERATIONS[operation][1])
    assert taken.seconds > 10
    assert alone <= taken.main <= (alone + 2 if ran else 2 * alone + 1)
    assert taken.public <= 10


@PREVIOUS
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if not name.endswith("close")])
def test_a_turn_that_is_taken(account, operation, previous):
    made = account(previous)
    made.task(OPERATIONS[operation][1])
    taken = made.task(OPERATIONS[operation][1])
    alone = undisturbed(operation, previous)
    # One more claim, which is refused. The list of records ends a page later, because it has one.
    assert alone + 1 <= taken.main <= alone + 2
    # It asks so seldom that its slot makes far fewer requests than undisturbed moves do, one after the other.
    assert taken.main / taken.seconds < alone / 2


#: The Flex history, the Fixed investments, the sub-accounts, and the transfers of each of the three.
READINGS = 6


@PREVIOUS
@pytest.mark.parametrize(
    ("limits", "claims"),
    [
        ({"max_move": {"USDT": "5000"}}, 0),
        # Of another asset.
        ({"max_per_day": {"BTC": "1"}}, 0),
        ({"max_per_day": {"USDT": "5000"}}, 1),
        ({"max_moves_per_hour": 5}, 1),
        ({"max_per_day": {"USDT": "5000"}, "max_moves_per_hour": 5}, 2),
    ],
)
def test_limits_over_time_cost_only_those_who_have_them(monkeypatch, previous, limits, claims):
    account = Account(monkeypatch, previous=previous, **limits)
    taken = account.task(OPERATIONS["invest by plan"][1])
    # Read before the lock, and again inside it.
    more = claims * (1 + previous) + (2 * READINGS if claims else 0)
    assert taken.main == undisturbed("invest by plan", previous) + more
    assert any(name.startswith("whitebit_spent__") for name in account.variables) is bool(claims)


def test_a_transfer_in_two_steps_waits_for_its_second_turn(monkeypatch):
    account = Account(monkeypatch, previous=False)
    account.task(OPERATIONS["transfer"][1])
    account.clock.sleep(60)
    taken = account.task(lambda hook: hook.transfer(ticker="ETH", amount="1", source="spot", target="collateral"))
    # The second step finds its slot free, because it does not ask before that begins.
    assert taken.main == 2 * undisturbed("transfer", previous=False)
    assert taken.seconds > 3.4


def test_auto_reinvest_takes_no_turn(monkeypatch):
    account = Account(monkeypatch, previous=True)
    account.task(OPERATIONS["invest by ticker"][1])
    assert account.task(lambda hook: hook.flex_auto_reinvest(ticker="USDT", enabled=True)).main == 2
