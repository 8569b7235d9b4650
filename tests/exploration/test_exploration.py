"""Money moves once in every order of steps: a part of ``make explore`` for each test run."""

from __future__ import annotations

import logging
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError
from airflow_provider_whitebit.moves.intent import Move, Operation
from tests.exploration.processes import Automaton, Try
from tests.exploration.sabotage import FLAWS, flawed
from tests.exploration.search import explore
from tests.exploration.world import START_MS
from tests.exploration.worlds import SMALL, world


@pytest.fixture(autouse=True)
def _no_log():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", SMALL)
def test_money_moves_once_in_every_order(name):
    small = world(name, small=True)
    found = explore(small)
    assert not found.broken, "\n" + found.broken
    assert not found.missing(small), "there was too little to explore"


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_missing_safeguard_is_noticed(flaw):
    assert explore(flawed(flaw)).broken


def test_a_change_that_leaves_nothing_to_explore_is_noticed():
    def refuse(execution, **options):
        raise WhiteBitUnavailableError("nothing is sent")

    small = world("one death", small=True, driver=refuse)
    assert set(explore(small).missing(small)) >= small.reaches


def test_balances_that_were_read_after_the_end_of_the_lock_are_not_written():
    transfer = Move(Operation.TRANSFER, "", "USDT", Decimal(25), source="main", target="spot")
    node, now_ms, stalled = Automaton(Try("task0", 1, 0), transfer).root, START_MS, False
    while not (stalled and node.step.what == "claim"):
        what, details = node.step
        assert what != "send"
        assert not stalled or what != "write" or "pending" not in details[1]
        if what == "sleep":
            now_ms += details[0] + 1
        if what == "balance" and not stalled:
            stalled, now_ms = True, now_ms + 20_000
        results = {"clock": (now_ms, now_ms // 1000), "time": now_ms // 1000, "balance": Decimal(50)}
        node = node.after(results.get(what))
