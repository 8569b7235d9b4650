"""How much a move asks of Airflow: while it holds its lock, it has a few seconds for all of that."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.hooks import airflow_compat, journals, stores, task_run
from airflow_provider_whitebit.moves import drivers
from tests.api_server import LISTS, ApiServer
from tests.contract.test_requests_of_a_move import Account

READ, KEEP = stores.read_variables, stores.keep_variable
IDS = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}


class Recording(ApiServer):
    """Records the requests of a task, and between them what it does at the exchange."""

    def __init__(self):
        super().__init__()
        self.done = []

    def answer(self, kind, message):
        self.done.append("Airflow")
        return super().answer(kind, message)

    @property
    def counts(self):
        """All requests, and those between the latest claim of a lock and the move."""
        claim = max(number for number, what in enumerate(self.done) if what == "ClaimNonce")
        within = self.done[claim : self.done.index("Send", claim)]
        return self.done.count("Airflow"), within.count("Airflow")


@pytest.fixture
def server(monkeypatch):
    from airflow.sdk.execution_time import task_runner

    server = Recording()
    perform = drivers._Worker.perform

    def performed(worker, effect):
        server.done.append(type(effect).__name__)
        return perform(worker, effect)

    tries = {"try_number": 1, "max_tries": 3, "task": SimpleNamespace(retries=3)}
    for module in (journals, airflow_compat):
        monkeypatch.setattr(module, "current_context", lambda: {"ti": SimpleNamespace(**IDS, **tries)})
    monkeypatch.setattr(airflow_compat, "runs_for_airflow", lambda: True)
    monkeypatch.setattr(task_run, "_RUNS", {})
    monkeypatch.setattr(drivers._Worker, "perform", performed)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", server, raising=False)
    return server


@pytest.mark.parametrize(
    ("given", "limits", "counts"),
    [
        ({}, {}, (22, 10) if LISTS else (33, 14)),
        ({"idempotency_key": "rent 2026-11"}, {}, (52, 9) if LISTS else (83, 34)),
        ({}, {"max_per_day": {"USDT": "1000"}}, (42, 20) if LISTS else (59, 27)),
    ],
    ids=["plain", "idempotency key", "limit over time"],
)
def test_a_move_asks_airflow_only_so_often(server, sandbox, make_hook, given, limits, counts):
    """``docs/operations.md`` gives these numbers."""
    hook = make_hook(**limits)
    hook.flex_invest(ticker="USDT", amount="100", **given)
    assert server.counts == counts


@pytest.mark.parametrize(
    ("given", "limits", "each_ms"),
    [
        ({}, {}, 400 if LISTS else 300),
        ({"idempotency_key": "rent 2026-11"}, {}, 400 if LISTS else 125),
        ({}, {"max_per_day": {"USDT": "1000"}}, 200 if LISTS else 150),
    ],
    ids=["plain", "idempotency key", "limit over time"],
)
@pytest.mark.parametrize("start", range(0, 8_000, 400))
def test_a_slow_airflow_makes_a_move_late_and_not_impossible(server, monkeypatch, given, limits, each_ms, start):
    """Wherever in a slot of its lock the move begins: a later try takes a slot from its beginning."""
    account = Account(monkeypatch, previous=False, **limits)
    monkeypatch.setattr(stores, "read_variables", READ)
    monkeypatch.setattr(stores, "keep_variable", KEEP)
    account.clock.now += start
    answer = server.answer

    def slowly(kind, message):
        account.clock.now += each_ms
        return answer(kind, message)

    monkeypatch.setattr(server, "answer", slowly)
    receipts = []
    account.task(lambda hook: receipts.append(hook.flex_invest(ticker="USDT", amount="100", **given)))
    assert receipts[0].attempts <= 3
