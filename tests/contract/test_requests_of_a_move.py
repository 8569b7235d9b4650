"""How many requests one move takes: what the pools of docs/operations.md and the README are reckoned from.

Only ``main-account`` counts there: the exchange lets a caller make 1000 such calls in 10 s, and 20,000 public ones.
"""

from __future__ import annotations

import functools
import io
import json
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import requests

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import RetryPolicy, Transport
from airflow_provider_whitebit.hooks import asked, journals, making
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.sandbox.exchange import Exchange

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
        self.asked = Counter()
        self.lose = None

    def send(self, prepared):
        path = prepared.url.removeprefix("http://exchange")
        self.asked["public" if "/public/" in path else "main-account"] += 1
        self._clock.now += 40
        lost = self.lose if path.endswith(MOVES) else None
        if lost is not None:
            self.lose = None
        if lost != "before":
            told = self._exchange.handle(prepared.method, path, dict(prepared.headers), prepared.body or b"")
        if lost is not None:
            raise requests.ReadTimeout
        answer = requests.Response()
        answer.status_code, answer.headers, answer.raw = told.status, dict(told.headers), _Body(told.body)
        return answer

    def close(self):
        pass


class _Body(io.BytesIO):
    def stream(self, size, decode_content):
        yield self.read()


@dataclass
class Asked:
    """The requests of one task, and how many seconds they were spread over."""

    main: int
    public: int
    seconds: float


class Account:
    """An account on an exchange of its own, and tasks that make moves in it."""

    def __init__(self, monkeypatch, *, fenced, former):
        self.clock = Clock()
        self.exchange = Exchange(clock=self.clock, rate_limits=False)
        self.exchange.add_key_like("second-key", "second-secret")
        self.wire = Wire(self.exchange, self.clock)
        self._former = former
        self._task = 0
        monkeypatch.setattr(making, "execute_move", functools.partial(execute_move, sleep=self.clock.sleep))
        monkeypatch.setattr(asked, "_RUNS", {})
        monkeypatch.setattr(journals, "never_expire", lambda: None)
        variables = {}
        monkeypatch.setattr(journals, "read_variable", variables.get)
        monkeypatch.setattr(journals, "keep_variable", lambda name, text, _: variables.update({name: text}))
        known = {"conn_type": "whitebit", "login": "sandbox-key", "password": "sandbox-secret"}
        monkeypatch.setenv("AIRFLOW_CONN_BEFORE", json.dumps(known))
        if former:
            known |= {"login": "second-key", "password": "second-secret", "extra": {"former_connection": "before"}}
        monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps(known))

        def context():
            kept = {}
            store = SimpleNamespace(get=kept.get, set=lambda key, value, retention=None: kept.update({key: value}))
            ids = {"dag_id": "d", "run_id": f"r{self._task}", "task_id": "t", "map_index": -1}
            names = SimpleNamespace(**ids, try_number=1, max_tries=3, task=SimpleNamespace(retries=3))
            return {"ti": names, **({"task_state_store": store} if fenced else {})}

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
        hook = self._hook("whitebit_default", "second-key" if self._former else "sandbox-key")
        if self._former:
            hook.__dict__["former"] = self._hook("before", "sandbox-key")
        self.wire.asked.clear()
        begin = self.clock.now
        move(hook)
        return Asked(self.wire.asked["main-account"], self.wire.asked["public"], (self.clock.now - begin) / 1000)


#: By operation: what has to be there before, the move, and its requests where nothing disturbs it.
OPERATIONS = {
    "invest by ticker": ((), lambda hook: hook.flex_invest(ticker="USDT", amount="100"), 6),
    "invest by plan": ((), lambda hook: hook.flex_invest(plan_id=USDT, amount="100"), 6),
    "withdraw by ticker": (("invest by ticker",), lambda hook: hook.flex_withdraw(ticker="USDT", amount="50"), 7),
    "withdraw by plan": (("invest by plan",), lambda hook: hook.flex_withdraw(plan_id=USDT, amount="50"), 7),
    "close": (("invest by ticker",), lambda hook: hook.flex_close(ticker="USDT"), 7),
    "fixed invest": ((), lambda hook: hook.fixed_invest(ticker="USDT", amount="100"), 6),
    "fixed close": (("fixed invest",), lambda hook: hook.fixed_close(ticker="USDT"), 6),
    "transfer": ((), lambda hook: hook.transfer(ticker="ETH", amount="1", source="main", target="spot"), 7),
}
#: What a turn takes more: before Airflow 3.3 there are two of them, and while the key is exchanged two keys.
TURN = 3
FENCED = pytest.mark.parametrize("fenced", [True, False], ids=["3.3 and later", "before 3.3"])
FORMER = pytest.mark.parametrize("former", [False, True], ids=["one key", "key being exchanged"])


@pytest.fixture(params=OPERATIONS)
def operation(request):
    return request.param


@pytest.fixture
def account(monkeypatch, operation):
    def make(fenced, former):
        made = Account(monkeypatch, fenced=fenced, former=former)
        for name in OPERATIONS[operation][0]:
            made.task(OPERATIONS[name][1])
        # None of that is in the way of what follows.
        made.clock.sleep(60)
        return made

    return make


def undisturbed(operation, fenced, former):
    turns = (1 if fenced else 2) * (2 if former else 1)
    return OPERATIONS[operation][2] + (turns - 1) * TURN


@FENCED
@FORMER
def test_undisturbed(account, operation, fenced, former):
    asked = account(fenced, former).task(OPERATIONS[operation][1])
    assert asked.main == undisturbed(operation, fenced, former)
    # Assets once in each task, unless the operation needs none.
    assert asked.public <= 1
    # What the docs reckon with.
    assert asked.main <= {(True, False): 7, (False, False): 10, (True, True): 10, (False, True): 16}[fenced, former]


@FENCED
@FORMER
@pytest.mark.parametrize("ran", [True, False])
def test_a_lost_answer(account, operation, fenced, former, ran):
    alone = undisturbed(operation, fenced, former)
    made = account(fenced, former)
    made.wire.lose = "after" if ran else "before"
    asked = made.task(OPERATIONS[operation][1])
    assert asked.seconds > 10
    assert alone <= asked.main <= (alone + 2 if ran else 2 * alone + 1)
    assert asked.public <= 10


@FENCED
@FORMER
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if not name.endswith("close")])
def test_a_turn_that_is_taken(account, operation, fenced, former):
    made = account(fenced, former)
    made.task(OPERATIONS[operation][1])
    asked = made.task(OPERATIONS[operation][1])
    alone = undisturbed(operation, fenced, former)
    assert alone < asked.main
    # It asks so seldom that its slot makes far fewer requests than undisturbed moves do, one after the other.
    assert asked.main / asked.seconds < alone / 2


def test_a_transfer_in_two_steps_waits_for_its_second_turn(monkeypatch):
    account = Account(monkeypatch, fenced=True, former=False)
    account.task(OPERATIONS["transfer"][1])
    account.clock.sleep(60)
    asked = account.task(lambda hook: hook.transfer(ticker="ETH", amount="1", source="spot", target="collateral"))
    assert 13 < asked.main < 20
    assert asked.seconds > 5


def test_auto_reinvest_takes_no_turn(monkeypatch):
    account = Account(monkeypatch, fenced=False, former=True)
    account.task(OPERATIONS["invest by ticker"][1])
    assert account.task(lambda hook: hook.flex_auto_reinvest(ticker="USDT", enabled=True)).main == 2
