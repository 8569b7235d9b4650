"""Whatever the exchange answers, what reads it ends with a value or with a ``WhiteBitError``.

``WHITEBIT_FUZZ_ANSWERS=100000 pytest tests/unit/test_mutated_answers.py`` mutates this many answers; by default a few.
``WHITEBIT_FUZZ_SEED`` repeats one of them.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.client.models import Record, to_json
from airflow_provider_whitebit.client.unreadable import warn
from airflow_provider_whitebit.hooks.digests import read_digest
from airflow_provider_whitebit.hooks.forecasts import read_forecast
from airflow_provider_whitebit.hooks.journal_entries import read_books
from airflow_provider_whitebit.hooks.statements import read_statement
from airflow_provider_whitebit.hooks.valuation import read_valuation
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.moves.requests import FixedInvest, FlexClose, FlexInvest, FlexWithdraw
from airflow_provider_whitebit.plugins.treasury_data import load_snapshot, page_data
from airflow_provider_whitebit.treasury.amounts import exact
from airflow_provider_whitebit.treasury.beancount_text import beancount_lines
from airflow_provider_whitebit.treasury.chart_of_accounts import BookFormat, read_chart
from airflow_provider_whitebit.treasury.conditions import (
    BalanceCondition,
    Condition,
    FixedMaturityCondition,
    FlexEarningCondition,
    FlexInvestmentCondition,
)
from airflow_provider_whitebit.treasury.digest_page import render_digest
from airflow_provider_whitebit.treasury.hledger_text import hledger_lines
from airflow_provider_whitebit.treasury.occurrences import FixedMaturities, FlexClosures, FlexEarnings, WatchState
from airflow_provider_whitebit.treasury.planning import plan_raise, plan_rebalance, plan_sweep
from airflow_provider_whitebit.treasury.policy import read_policy
from airflow_provider_whitebit.treasury.promises import read_holdings
from airflow_provider_whitebit.treasury.statement import Statement
from airflow_provider_whitebit.treasury.statement_page import render_page
from tests.readings import ANSWERS, CALLS, FLEX, FLEX_PLAN, NOW, SECOND, client_of, moment

ANSWERS_MUTATED = int(os.environ.get("WHITEBIT_FUZZ_ANSWERS", "4000"))
ONLY_SEED = os.environ.get("WHITEBIT_FUZZ_SEED")

BAD_VALUES: list[Any] = [
    *(None, "", " ", "abc", True, False, "true", "false", "null", 0, 1, 2, 3, 27, -1, 10**9, 10**30, 10**300),
    *(
        "0",
        "1",
        "3",
        "-5",
        "0.15",
        "15",
        "1e3",
        "1E-30",
        "1e400",
        "1e-50",
        "1e1500000",
        "NaN",
        "Infinity",
        "-0",
        "1_000",
        "١٢",
        " 7 ",
    ),
    *(Decimal("0.5"), Decimal("-1.5"), Decimal("1E+50"), Decimal("1E-30"), Decimal("1E+999"), float("nan")),
    *([], {}, [[]], [None], {"0": None}, {"0": {}}, {"id": 1}, [{}], {"data": []}, "\ud800", "\x1b[31m\n", "x" * 3000),
    *(SECOND, str(SECOND), SECOND * 1000, SECOND + 10**6, "2026-03-01T00:00:00Z", "USDT", FLEX_PLAN, "inv-1"),
]
POLICY = read_policy(
    {
        "USDT": {"reserve": "100", "plans": {"max_share": "0.5", "follow_rate": True}},
        "BTC": {"reserve_share": "0.1", "auto_reinvest": True},
    }
)


def places(answer: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything in an answer, the whole answer among them."""
    inside = answer.items() if isinstance(answer, dict) else enumerate(answer) if isinstance(answer, list) else ()
    return [way, *(place for name, value in inside for place in places(value, (*way, name)))]


WAYS = {path: places(answer) for path, answer in ANSWERS.items()}


def mutate(path: str, chance: random.Random) -> Any:
    """An answer with one to three changes."""
    answer = copy.deepcopy(ANSWERS[path])
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        way = chance.choice(WAYS[path])
        if not way or chance.random() < 0.01:
            if chance.random() < 0.1:
                answer = copy.deepcopy(chance.choice(BAD_VALUES))
            continue
        try:
            inside = answer
            for part in way[:-1]:
                inside = inside[part]
            # An earlier change may have made an object of a list.
            change(inside, str(way[-1]) if isinstance(inside, dict) else way[-1], chance)
        except (KeyError, IndexError, TypeError, AttributeError):
            # An earlier change has removed this place.
            continue
    return answer


def change(inside: Any, name: Any, chance: random.Random) -> None:
    match chance.randrange(8):
        case 0:
            del inside[name]
        case 1 if isinstance(inside, list):
            inside.insert(name, copy.deepcopy(chance.choice([*BAD_VALUES, inside[name]])))
        case 2 if isinstance(inside[name], list):
            inside[name] = {str(place): value for place, value in enumerate(inside[name])}
        case 3 if isinstance(inside[name], dict):
            inside[name] = list(inside[name].values())
        case 4 if isinstance(inside, dict):
            inside[chance.choice(["", "0", "unknown", "limit", "data", "X" * 300])] = chance.choice(BAD_VALUES)
        case _:
            inside[name] = copy.deepcopy(chance.choice(BAD_VALUES))


class Exchange(dict[str, Any]):
    """Answers, some of which are mutated. Each of them is made when it is first asked for, and counted."""

    def __init__(self, seed: int, mutated: frozenset[str]) -> None:
        super().__init__(ANSWERS)
        self.count = 0
        chance = random.Random(seed)
        for path in sorted(mutated):
            self[path] = mutate(path, chance)
            self.count += 1


def plain_json(value: Any) -> None:
    """What tasks return and pages show can be written as JSON."""
    if isinstance(value, Mapping):
        value = {name: as_json(one) for name, one in value.items()}
    elif isinstance(value, list):
        value = [as_json(one) for one in value]
    json.dumps(value if isinstance(value, dict | list) else as_json(value))


def as_json(value: Any) -> Any:
    return value.to_json() if isinstance(value, Record) else to_json(value)


def read_tolerantly(client: WhiteBitClient) -> None:
    for name in ("flex_plans", "flex_investments", "flex_history", "flex_payments", "fixed_plans", "fixed_investments"):
        plain_json(list(getattr(client, name)(on_unreadable=warn)))


def show_page(client: WhiteBitClient) -> None:
    data = page_data(load_snapshot(client, 1.0, lambda: 0.0))
    json.dumps(data, ensure_ascii=False).encode()


def make_statement(client: WhiteBitClient) -> Statement:
    statement = read_statement(client, start=moment(50), end=moment(0))
    json.dumps(statement.to_json())
    list(statement.rows())
    return statement


def render_statement(client: WhiteBitClient) -> None:
    render_page(make_statement(client)).encode()


def plan(client: WhiteBitClient) -> None:
    holdings = read_holdings(Account(client), "spot", "collateral")
    for make in (plan_sweep, plan_rebalance):
        json.dumps(make(holdings, POLICY, NOW).to_json())
    for target in ("main", "spot", "collateral"):
        plan_raise(holdings, "USDT", Decimal(1200), target, policy=POLICY)


def resolve(client: WhiteBitClient) -> None:
    for request in (
        FlexInvest(ticker="USDT", amount=Decimal(20)),
        FlexInvest(plan_id=FLEX_PLAN, amount=Decimal(20)),
        FlexWithdraw(ticker="USDT", amount="all"),
        FlexClose(plan_id=FLEX_PLAN),
        FixedInvest(ticker="USDT", amount=Decimal(20)),
    ):
        try:
            request.resolve(Account(client))
        except WhiteBitError as error:
            checked(error)


class Hook(WhiteBitHook):
    """A hook whose client is given."""

    def __init__(self, client: WhiteBitClient) -> None:
        self._client = client  # type: ignore[misc]

    def get_conn(self, **_: Any) -> WhiteBitClient:
        return self._client


CONDITIONS: list[Condition] = [
    BalanceCondition("main", "USDT", at_least=Decimal(1)),
    FlexInvestmentCondition(plan_id=FLEX_PLAN, status=0),
    FlexInvestmentCondition(ticker="USDT", invested_at_least=Decimal(5)),
    FlexEarningCondition(SECOND - 86_400 * 9, ticker="USDT"),
    FixedMaturityCondition(plan_id="fixed-1"),
]


def wait(client: WhiteBitClient) -> None:
    hook = Hook(client)
    for condition in CONDITIONS:
        json.dumps(condition.judge(hook.poll(condition.question, condition.since)))
    for watch in (FlexEarnings(), FlexClosures(), FixedMaturities()):
        state = WatchState(since=0)
        for found in watch.new_events(hook.poll(watch.question, 0), state, SECOND):
            json.dumps(found.to_json())


def make_statement_of_main(client: WhiteBitClient) -> None:
    statement = read_statement(client, start=moment(50), end=moment(0), main=True)
    json.dumps(statement.to_json())
    render_page(statement).encode()


def forecast(client: WhiteBitClient) -> None:
    found = read_forecast(client, days=400, policy=POLICY)
    json.dumps(found.to_json())
    list(found.days())


def books(client: WhiteBitClient) -> None:
    midnight = NOW.start_of("day")
    with read_books(client, start=midnight.subtract(days=20), end=midnight) as found, exact():
        for lines, form in ((beancount_lines, BookFormat.BEANCOUNT), (hledger_lines, BookFormat.HLEDGER)):
            "".join(lines(found, read_chart(None, form))).encode()
        json.dumps([one.to_json() for one in found.discrepancies])


def valuation(client: WhiteBitClient) -> None:
    # JUNK has no price, which is logged.
    found = read_valuation(client, "USDT", ("USDT", "BTC"))
    json.dumps(found.to_json())
    list(found.valuation.rows())


def digest(client: WhiteBitClient) -> None:
    limits = SimpleNamespace(limits=SimpleNamespace(in_words="no limits"), account="account")
    hook: Any = SimpleNamespace(
        get_conn=lambda: client,
        limits_used=list,
        settings=limits,
        previous=None,
        whitebit_conn_id="whitebit_default",
    )
    found = read_digest(hook, start=moment(7), end=moment(0), policy=POLICY)
    json.dumps(found.to_json())
    for text in render_digest(found).values():
        text.encode()


FLEX_LISTS = frozenset(path for path in ANSWERS if path.startswith(FLEX))
#: What reads, and the paths of the answers that are mutated, one or all of them.
READERS: dict[str, tuple[Callable[[WhiteBitClient], Any], frozenset[str]]] = {
    **{
        name: (lambda client, read=read: plain_json(read(client)), frozenset({path}))
        for name, (path, read) in CALLS.items()
    },
    "tolerant lists": (read_tolerantly, FLEX_LISTS | {path for path in ANSWERS if "/smart/" in path}),
    "page": (show_page, frozenset(ANSWERS)),
    "statement": (make_statement, FLEX_LISTS),
    "statement's page": (render_statement, FLEX_LISTS),
    "statement of Main": (
        make_statement_of_main,
        frozenset(path for path in ANSWERS if "sub-account" in path or path.endswith("main-account/history")),
    ),
    "books": (books, frozenset(path for path in ANSWERS if "time" not in path)),
    "valuation": (valuation, frozenset(path for path in ANSWERS if "time" not in path)),
    "forecast": (forecast, frozenset(path for path in ANSWERS if "time" not in path)),
    "digest": (digest, frozenset(path for path in ANSWERS if "time" not in path)),
    "plans": (plan, frozenset(path for path in ANSWERS if "time" not in path)),
    "requests": (resolve, frozenset(path for path in ANSWERS if "time" not in path)),
    "sensors and triggers": (wait, frozenset(path for path in ANSWERS if "time" not in path)),
}


RENDERED = {"statement's page", "statement of Main", "forecast", "digest"}


def checked(error: WhiteBitError) -> None:
    assert str(error)
    assert "Traceback" not in str(error)
    assert error.money_moved is False


def read_mutated(name: str, seed: int) -> int:
    """Let one reader read mutated answers. :returns: how many were mutated."""
    read, paths = READERS[name]
    chance = random.Random(f"{name}/{seed}")
    # Many small faults at once hide each other, so mostly it is one.
    mutated = paths if chance.random() < 0.2 else frozenset({chance.choice(sorted(paths))})
    exchange = Exchange(seed, mutated)
    try:
        read(client_of(exchange))
    except WhiteBitError as error:
        checked(error)
    return exchange.count


@pytest.mark.parametrize("name", READERS)
def test_every_mutated_answer_ends_in_a_value_or_a_clear_error(name, caplog):
    caplog.set_level("CRITICAL")
    if ONLY_SEED is not None:
        read_mutated(name, int(ONLY_SEED))
        return
    # Rendering takes a hundred times as long as reading.
    seed, count, share = 0, 0, 0.1 if name in RENDERED else 1
    while count < share * ANSWERS_MUTATED / (len(READERS) - 0.9 * len(RENDERED)):
        try:
            count += read_mutated(name, seed)
        except Exception as error:
            error.add_note(f"WHITEBIT_FUZZ_SEED={seed}")
            raise
        seed += 1


def test_whole_answers_are_read_without_an_error(caplog):
    caplog.set_level("WARNING")
    for read, _ in READERS.values():
        read(client_of())
    assert caplog.text == ""
