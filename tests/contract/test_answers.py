"""No answer, however it is damaged or forged on its way, makes a false receipt or a false "No money moved."."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.client.signing import Credentials, sign
from airflow_provider_whitebit.client.transport_http import HttpAnswer
from airflow_provider_whitebit.hooks.executor import MoveExecutor
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.sandbox.exchange import Exchange
from tests.sandbox_plans import SubAccounts

FLEX_PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
MAIN = "/api/v4/main-account"
INVESTMENTS = f"{MAIN}/smart-flex/investments"
KEY = Credentials("sandbox-key", "sandbox-secret")
OTHER_ID = "tx_9f3e0d4c-2b5c-4d3e-8f6a-7a8b9c0d1e2f"


@dataclass(frozen=True)
class Case:
    """One of the calls that move money.

    :param path: of the call.
    :param status: of its documented success.
    :param success: body of its documented success.
    :param move: makes the move with a hook, and the id of the investment that was prepared.
    :param prepared: paths of the calls that come before it.
    """

    path: str
    status: int
    success: Any
    move: Callable[[WhiteBitHook, str], Any]
    prepared: str = ""


TRANSACTION = {"data": {"transaction_id": OTHER_ID}}
INVESTMENT = {"planId": FLEX_PLAN, "currency": "USDT", "invested": "100", "id": "inv_1"}
FIXED_PLAN = "0a61d2f9-b4c6-47e8-93a4-8f90a1b2c3d4"
FIXED_INVEST = f"{MAIN}/smart/investment"
FLEX_INVEST = f"{INVESTMENTS}/invest"
CASES = {
    "flex invest": Case(FLEX_INVEST, 201, TRANSACTION, lambda hook, _: hook.flex_invest(plan_id=FLEX_PLAN, amount=100)),
    "flex withdraw": Case(
        f"{INVESTMENTS}/withdraw",
        201,
        TRANSACTION,
        lambda hook, _: hook.flex_withdraw(plan_id=FLEX_PLAN, amount=100),
        FLEX_INVEST,
    ),
    "flex close": Case(
        f"{INVESTMENTS}/close", 201, TRANSACTION, lambda hook, _: hook.flex_close(plan_id=FLEX_PLAN), FLEX_INVEST
    ),
    "fixed invest": Case(
        FIXED_INVEST, 201, {"id": OTHER_ID}, lambda hook, _: hook.fixed_invest(plan_id=FIXED_PLAN, amount=100)
    ),
    "fixed close": Case(
        f"{FIXED_INVEST}/close", 200, {}, lambda hook, made: hook.fixed_close(investment_id=made), FIXED_INVEST
    ),
    "transfer": Case(
        f"{MAIN}/transfer",
        201,
        [],
        lambda hook, _: hook.transfer(ticker="USDT", amount=100, source="main", target="spot"),
    ),
    "sub-account transfer": Case(
        "/api/v4/sub-account/transfer",
        200,
        {"transaction_id": OTHER_ID},
        lambda hook, _: hook.sub_account_transfer(
            sub_account_id=SubAccounts.TRADING, direction="main_to_sub", ticker="USDT", amount=100
        ),
    ),
}


@dataclass
class World:
    """A hook, an exchange in this process and time that passes only by waiting. It is the hook's wire, too.

    :param change: replaces the first answer to ``path``, and all of them if ``always`` is true.
    :param arrives: whether the requests whose answers are replaced reach the exchange.
    """

    hook: WhiteBitHook
    now: int = 1_790_000_000_000
    exchange: Any = None
    path: str = ""
    change: Callable[[HttpAnswer], HttpAnswer] | None = None
    arrives: bool = True
    always: bool = False
    prepared: str = ""
    seen: list[HttpAnswer] = field(default_factory=list)

    def now_ms(self) -> int:
        return self.now

    def wait(self, seconds: float) -> None:
        # Whole seconds, because the exchange's time has no fractions.
        self.now += math.ceil(seconds) * 1000

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> HttpAnswer:
        self.now += 3
        change = self.change if path == self.path else None
        if change is None:
            return self._handle(method, path, headers, body)
        if not self.always:
            self.change = None
        answer = change(self._handle(method, path, headers, body) if self.arrives else HttpAnswer(0, {}, b""))
        self.seen.append(answer)
        return answer

    def close(self) -> None:
        pass

    def _handle(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> HttpAnswer:
        answer = self.exchange.handle(method, path, headers, body or b"")
        return HttpAnswer(answer.status, answer.headers, answer.body)

    def begin(self, case: Case) -> str:
        """Start with a new exchange. :returns: the id of the investment that the case needs, if it names one."""
        self.exchange = Exchange(clock=self, rate_limits=False)
        self.path, self.prepared, self.change, self.seen = case.path, case.prepared, None, []
        made = ""
        if case.prepared:
            plan = {"planId": FIXED_PLAN} if case.prepared == FIXED_INVEST else {"plan": FLEX_PLAN}
            signed = sign(KEY, case.prepared, {**plan, "amount": "500"}, nonce=self.now, nonce_window=True)
            answer = self._handle("POST", case.prepared, signed.headers, signed.body)
            assert answer.status == 201, answer
            made = json.loads(answer.body).get("id", "")
        # Records of this are too old for the move.
        self.now += 120_000
        return made

    def moves(self) -> int:
        """How often the exchange has made the move."""
        return sum(move["path"] == self.path for move in self.exchange.moves()) - (self.prepared == self.path)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        connection = {
            "conn_type": "whitebit",
            "login": "sandbox-key",
            "password": "sandbox-secret",
            "host": "http://127.0.0.1:9",
        }
        patch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps(connection))
        hook = WhiteBitHook()
        world = World(hook)
        patch.setattr(MoveExecutor, "sleep", staticmethod(world.wait))
        transport = hook.get_conn()._transport
        transport.clock, transport.sleep = ExchangeClock(world.now_ms), world.wait
        transport.throttle = transport.observer = None
        transport._wire = world
        yield world


def check(world: World, case: Case, change: Callable[[HttpAnswer], HttpAnswer], *, arrives: bool, always: bool) -> None:
    """Make the move while its answers are changed, and compare what is said with the exchange's ledger."""
    made = world.begin(case)
    world.change, world.arrives, world.always = change, arrives, always
    try:
        case.move(world.hook, made)
    except WhiteBitError as error:
        assert world.moves() <= 1, world.seen
        if world.moves():
            assert error.money_moved is None, (world.seen, error)
            assert "No money moved." not in str(error)
    else:
        assert world.moves() == 1, world.seen


@pytest.mark.parametrize("name", CASES)
def test_without_a_change_each_move_is_made_once(world, name):
    check(world, CASES[name], lambda answer: answer, arrives=True, always=True)
    status, body = world.seen[0].status, json.loads(world.seen[0].body)
    assert status == CASES[name].status
    assert shape(body) == shape(CASES[name].success)


def shape(body: Any) -> Any:
    return {name: shape(value) for name, value in body.items()} if isinstance(body, dict) else type(body)


def refusal(status: int, message: str, code: int | None = 0, **errors: list[str]) -> tuple[int, dict[str, Any]]:
    body = {"code": code, "message": message, "errors": errors}
    return status, {"message": message} if code is None else body


REFUSALS = [
    refusal(400, "Validation failed", plan=["The selected plan is invalid."]),
    refusal(422, "Inner validation failed", 4, amount=["Available 9 < 10"]),
    refusal(422, "Inner validation failed", 0, plan=["Plan is paused"]),
    refusal(401, "Unauthorized request.", 10),
    refusal(401, "Unauthorized request.", None),
    refusal(422, "Too many requests."),
    refusal(403, "You don't have permission to use this endpoint.", None),
    refusal(429, "Too Many Attempts."),
]
KNOWN = ("Unauthorized request.", "Too many requests.", "You don't have permission to use this endpoint.")
SUCCESSES = [(case.status, case.success) for case in CASES.values()] + [
    (201, {"data": {"transactionId": OTHER_ID}}),
    (201, {"data": INVESTMENT}),
    (201, INVESTMENT),
    (200, {"data": []}),
    (200, {"main_balance": "5"}),
]
STATUSES = [
    100,
    103,
    200,
    201,
    202,
    203,
    204,
    206,
    207,
    226,
    299,
    301,
    302,
    304,
    307,
    400,
    401,
    402,
    403,
    404,
    405,
    408,
]
STATUSES += [409, 410, 413, 418, 422, 425, 429, 431, 451, 499, 500, 501, 502, 503, 504, 520, 522, 524, 599, 600, 999]
VALUES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.5,
    403,
    10**30,
    "",
    " ",
    "0",
    "null",
    "undefined",
    "a b",
    "x" * 300,
    [],
    {},
    [[]],
]
VALUES += [[{}], {"code": 0}, {"message": "no"}, "\ud800", "\x00", FLEX_PLAN, "00000000-0000-0000-0000-000000000000"]
FAILURES = {
    "error": "no",
    "errors": {"amount": ["no"]},
    "message": "no",
    "code": 0,
    "success": False,
    "status": 422,
    "warning": "no",
    "Message": "Forbidden",
    "fault": {"faultstring": "no"},
    "details": [],
}
WRAPS: list[Callable[[Any], Any]] = [
    lambda body: [body],
    lambda body: [body, body],
    lambda body: {"data": body},
    lambda body: {"data": [body]},
    lambda body: {"response": body},
    lambda body: {"result": body},
    lambda body: {"success": False, "data": body},
    lambda body: {"response": None, "status": 422, "errors": body},
    lambda body: json.dumps(body),
]
BYTES: list[Callable[[bytes], bytes]] = [
    lambda raw: b"",
    lambda raw: b"\n",
    lambda raw: raw[:-1],
    lambda raw: raw[: len(raw) // 2],
    lambda raw: raw[1:],
    lambda raw: b"\xef\xbb\xbf" + raw,
    lambda raw: raw.decode(errors="replace").encode("utf-16"),
    lambda raw: raw + b"\xff",
    lambda raw: raw + raw,
    lambda raw: raw + b",",
    lambda raw: b"// " + raw,
    lambda raw: raw.replace(b'"', b"'"),
    lambda raw: raw.replace(b"{", b'{"message":"no","message":"no",', 1),
    lambda raw: raw.replace(b"{", b'{"code":NaN,', 1),
    lambda raw: raw[:-1] + b',"data":null}',
    lambda raw: raw[:-1] + b',"code":0,"code":5}',
    lambda raw: b"[" * 100_000 + raw,
    lambda raw: b"<html>Forbidden</html>",
    lambda raw: b"1e999999999",
]


@st.composite
def mutated(draw: st.DrawFn, bodies: list[tuple[int, Any]]) -> tuple[int, bytes]:
    """One of these answers with at least one change."""
    status, body = copy.deepcopy(draw(st.sampled_from(bodies)))
    raw: bytes | None = None
    for kind in draw(
        st.lists(st.sampled_from(["status", "set", "drop", "fail", "wrap", "bytes"]), min_size=1, max_size=3)
    ):
        inside = body["data"] if isinstance(body, dict) and isinstance(body.get("data"), dict) else body
        part = draw(st.sampled_from([body, inside]))
        if kind == "status":
            status = draw(st.sampled_from(STATUSES))
        elif kind == "bytes":
            raw = draw(st.sampled_from(BYTES))(raw or json.dumps(body).encode())
        elif kind == "wrap":
            body = draw(st.sampled_from(WRAPS))(body)
        elif not isinstance(part, dict):
            body = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif kind == "fail":
            name = draw(st.sampled_from(sorted(FAILURES)))
            part[name] = copy.deepcopy(FAILURES[name])
        elif part and kind == "set":
            part[draw(st.sampled_from(sorted(part)))] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif part:
            value = part.pop(draw(st.sampled_from(sorted(part))))
            if draw(st.booleans()):
                part[draw(st.sampled_from(["ID", "Data", "transaction", "msg", "errorCode", "payload"]))] = value
    return status, json.dumps(body).encode() if raw is None else raw


def parsed(raw: bytes) -> Any:
    """The JSON, if every reader of it reads the same."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    try:
        return json.loads(raw.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError, AssertionError):
        return None


def is_yes(case: Case, status: int, raw: bytes) -> bool:
    """Whether an answer is a documented success. A forged one looks the same."""
    body = parsed(raw)
    if status != case.status or body is None:
        return False
    if body in ({}, []):
        return case.success in ({}, []) or (body == {} and case.path == f"{INVESTMENTS}/close")
    if not isinstance(body, dict) or case.success in ({}, []):
        return False
    if "transaction_id" in case.success:
        given = body.get("transaction_id")
        real = given in (OTHER_ID, "inv_1", FLEX_PLAN) or (type(given) is int and given > 0)
        return real and body.keys().isdisjoint({*FAILURES, "status"})
    fixed = "id" in case.success
    data = body if fixed else body.get("data", body)
    if not isinstance(data, dict) or any(name in FAILURES for name in (*body, *data)):
        return False
    names = ("id",) if fixed else ("transaction_id", "transactionId")
    if not fixed and data.keys().isdisjoint(names):
        invested = data.get("invested")
        return data.get("planId") == FLEX_PLAN and type(invested) is not bool and str(invested)[:1].isdecimal()
    given = [data.get(name) for name in names]
    # The Flex plan's id is an echo of the request of a Flex move only.
    real = (OTHER_ID, "inv_1", "x" * 300, *([FLEX_PLAN] if fixed else []))
    return any(one in real or (type(one) is int and one > 0) for one in given)


def is_no(status: int, raw: bytes) -> bool:
    """Whether an answer is the exchange's own refusal. A forged one looks the same."""
    body = parsed(raw)
    if not 400 <= status < 500 or not isinstance(body, dict) or not body.keys() <= {"code", "message", "errors"}:
        return False
    return (type(body.get("code")) is int and 0 <= body["code"] < 100) or body.get("message") in KNOWN


#: Of each of the two properties, for each call.
MORE = settings(max_examples=settings.default.max_examples * 3 // 2)


@pytest.mark.parametrize("name", CASES)
@MORE
@given(data=st.data(), always=st.booleans())
def test_a_changed_answer_to_a_move_that_ran(world, name, data, always):
    status, raw = data.draw(mutated(SUCCESSES + REFUSALS))
    assume(not is_no(status, raw))
    check(world, CASES[name], lambda answer: HttpAnswer(status, answer.headers, raw), arrives=True, always=always)


@pytest.mark.parametrize("name", CASES)
@MORE
@given(data=st.data(), always=st.booleans())
def test_a_changed_answer_to_a_move_that_did_not_run(world, name, data, always):
    status, raw = data.draw(mutated(SUCCESSES + REFUSALS))
    assume(not is_yes(CASES[name], status, raw))
    check(world, CASES[name], lambda answer: HttpAnswer(status, answer.headers, raw), arrives=False, always=always)
