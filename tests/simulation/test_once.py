"""Money moves once: thousands of worlds, each decided by its seed."""

from __future__ import annotations

import contextlib
import functools
import os
from unittest import mock

import pytest

from airflow_provider_whitebit.hooks import journals
from airflow_provider_whitebit.moves import (
    allowance,
    counting,
    drivers,
    evidence,
    plans,
    protocol,
    reconciliation,
    sending,
    supersession,
)
from airflow_provider_whitebit.moves.execution import ExecutionRequest
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.resolution import Answer, Resolution
from airflow_provider_whitebit.moves.run_record import RunRecord
from airflow_provider_whitebit.treasury.promises import StillPlanned
from tests.simulation import people, sabotage
from tests.simulation.fallback import Fallback
from tests.simulation.hostile import Careless, Hostile, Lag, Peopled, PeopledLag
from tests.simulation.hostile_accounts import HostileRotation, OneKey, Sweeps
from tests.simulation.over_time import OverTime, OverTimeRotation
from tests.simulation.plans import PlanScenario
from tests.simulation.rotation import PlanRotation, Rotation
from tests.simulation.scenarios import Scenario, failure, first_failure
from tests.simulation.stopping import Stopping, StoppingPlans, refusals

SEEDS = int(os.environ.get("WHITEBIT_SIMULATION_SEEDS", "2000"))
#: Worlds of each kind: how many seeds, and how many in one test.
WORLDS = (
    (Scenario, SEEDS, 250),
    (PlanScenario, SEEDS // 5, 100),
    (Rotation, SEEDS // 4, 250),
    (PlanRotation, SEEDS // 20, 50),
    (Fallback, SEEDS // 4, 250),
    (Stopping, SEEDS // 4, 250),
    (StoppingPlans, SEEDS // 20, 50),
    (OverTime, SEEDS // 20, 50),
    (OverTimeRotation, SEEDS // 40, 50),
    (Hostile, SEEDS // 2, 250),
    (Lag, SEEDS // 4, 250),
    (HostileRotation, SEEDS // 8, 250),
    (OneKey, SEEDS // 8, 250),
    (Sweeps, SEEDS // 8, 250),
    (Peopled, SEEDS // 8, 250),
    (PeopledLag, SEEDS // 8, 250),
)


@pytest.mark.parametrize(
    ("make", "seeds"),
    [
        pytest.param(make, range(start, min(start + chunk, count)), id=f"{make.__name__}-{start}")
        for make, count, chunk in WORLDS
        for start in range(0, count, chunk)
    ],
)
def test_money_moves_once(make, seeds):
    for seed in seeds:
        broken = failure(seed, make)
        assert broken is None, "\n" + str(broken)


@pytest.mark.parametrize(
    ("flaw", "seeds"),
    [
        ("without_write_ahead", range(2000)),
        ("without_wait", range(2000)),
        ("without_lock", range(2000)),
        ("trusting_a_refused_nonce", range(2000)),
        ("without_markers", range(2000)),
        ("without_second_reading", range(2000)),
        # Such worlds are rare, so the search begins near one.
        ("without_baseline", range(2200, 4200)),
    ],
)
def test_a_missing_safeguard_is_noticed(flaw, seeds):
    assert first_failure(seeds, functools.partial(Scenario, driver=getattr(sabotage, flaw))) is not None


def test_a_stop_that_is_read_once_is_noticed():
    make = functools.partial(Stopping, driver=sabotage.asking_once_for_a_stop)
    assert first_failure(range(50), make) is not None


@pytest.mark.parametrize("make", [Stopping, StoppingPlans])
def test_people_stop_moves_in_these_worlds(make):
    assert refusals(make, range(30)) > 5


@pytest.mark.parametrize("flaw", ["locking_with_one_key", "marking_with_one_key"])
def test_a_missing_safeguard_of_two_keys_is_noticed(flaw):
    # Both keys must be in use within the same seconds: such worlds are rare.
    assert first_failure(range(8000), functools.partial(Rotation, driver=getattr(sabotage, flaw))) is not None


@pytest.mark.parametrize(
    ("target", "safeguard", "flaw", "seeds"),
    [
        (plans.PlanRun, "_recover", lambda self, number: False, range(1000)),
        # Such worlds are rare, so the search begins near one.
        (drivers, "_confirm_run", lambda execution, plan_journal: None, range(100, 1100)),
    ],
)
def test_a_missing_safeguard_of_plans_is_noticed(target, safeguard, flaw, seeds):
    with mock.patch.object(target, safeguard, flaw):
        assert first_failure(seeds, PlanScenario) is not None


def _nothing(*arguments, **options):
    yield from ()


def _trusts_its_writing(run, intent):
    yield from ()
    return run.history


#: What is patched, by what is missing.
FALLBACK_FLAWS = {
    "a superseded move is not recorded": [(protocol, "supersede_failed", _nothing)],
    "what superseded a move is not read": [(one, "refuse_superseded", _nothing) for one in (protocol, supersession)],
    "a move does not read its journal again": [(sending, "refuse_superseded", _nothing)],
    "a later move does not look at the failed one": [(supersession, "_refuse_beside", _nothing)],
    "a later move does not look again": [(sending, "confirm_beside_failed", _nothing)],
    "a plan does not read what superseded it": [(plans, "refuse_superseded_plan", lambda template: None)],
    "the moves of a failed plan are not looked at": [(supersession, "_is_plan", lambda key: False)],
    "runs of a plan are not confirmed": [(drivers, "_confirm_run", lambda execution, plan_journal: None)],
}


@pytest.mark.parametrize("flaw", FALLBACK_FLAWS)
def test_a_missing_safeguard_of_tasks_that_fall_back_is_noticed(flaw):
    with contextlib.ExitStack() as patches:
        for patch in FALLBACK_FLAWS[flaw]:
            patches.enter_context(mock.patch.object(*patch))
        assert first_failure(range(2000), Fallback) is not None


def _made_move(intent, logged=counting._logged_move):
    return logged(intent) if intent.receipt is not None else None


#: What is patched, by what is missing.
OVER_TIME_FLAWS = {
    "moves with limits take no turns": [(ExecutionRequest, "lock_names", lambda self, move: [move.conflict_key])],
    "the limits are not checked": [(allowance._Check, "add", lambda self, move, amount: None)],
    "what was sent is not logged": [(allowance.Allowance, "reserve", _nothing)],
    "the log does not count": [(counting, "_logged_move", lambda intent: None)],
    "what is in doubt does not count": [(counting, "_logged_move", _made_move)],
}


@pytest.mark.parametrize("flaw", OVER_TIME_FLAWS)
def test_a_missing_safeguard_of_limits_over_time_is_noticed(flaw):
    with contextlib.ExitStack() as patches:
        for patch in OVER_TIME_FLAWS[flaw]:
            patches.enter_context(mock.patch.object(*patch))
        assert first_failure(range(1000), OverTime) is not None


def _judge_what_fits(intent, traces, **options):
    return evidence.judge(intent, [trace for trace in traces if trace.fits], **options)


def _never():
    yield from ()
    return False


def _doubts(history):
    return [] if history.executed else [intent for intent in history.intents.values() if intent.in_doubt]


#: The driver, or what is patched, by what is missing; and the worlds that must notice it.
HOSTILE_FLAWS = {
    "a status of success is a yes": (Hostile, "believing_every_yes"),
    "a status of refusal is a no": (Hostile, "believing_every_no"),
    "an error always says that no money moved": (Hostile, "denying"),
    "nothing is late": (Hostile, "without_margin"),
    "an attempt is not read again before it is sent": (Hostile, [(sending, "_confirm", _trusts_its_writing)]),
    "later tries are not seen": (Hostile, [(journals.Tries, "known", lambda self, exists: range(1, self._own + 1))]),
    "a record of another amount is no record": (
        Hostile,
        [(one, "judge", _judge_what_fits) for one in (reconciliation, sending)],
    ),
    "a record of a new action is no record": (Hostile, [(evidence, "_NO_MOVES", evidence._NO_MOVES | {7})]),
    "an absent move never ran": (Lag, [(MoveHistory, "unproven", property(_doubts))]),
    "a late record is not reckoned with": (Lag, [(protocol, "_add_unproven", lambda error, unproven: None)]),
    "the promise is not checked": (Sweeps, [(StillPlanned, "check", lambda self, account, move: None)]),
    "plans take no turns": (Sweeps, [(ExecutionRequest, "lock_names", lambda self, move: [move.conflict_key])]),
    "others with the key are not seen": (OneKey, [(RunRecord, "tells_more", lambda self, written: False)]),
    "people answer without looking": (Careless, []),
    "an answer counts whatever was sent since": (
        Peopled,
        [(Resolution, "answers", lambda self, intent, nonces: self.answer is not Answer.EXPLAINED)],
    ),
    "a run does not look for answers before it sends": (
        PeopledLag,
        [(RunRecord, "is_answered", lambda self, written, intent: _never())],
    ),
    "people answer while an attempt can be accepted": (Peopled, [(people, "RECONCILE_MARGIN_MS", -(10**6))]),
}


#: Such worlds are rare, so the search begins near one.
NEAR = {
    "a run does not look for answers before it sends": 1000,
    "people answer while an attempt can be accepted": 21_500,
}


@pytest.mark.parametrize("flaw", HOSTILE_FLAWS)
def test_a_missing_safeguard_is_noticed_in_hostile_worlds(flaw):
    make, missing = HOSTILE_FLAWS[flaw]
    with contextlib.ExitStack() as patches:
        if isinstance(missing, str):
            make = functools.partial(make, driver=getattr(sabotage, missing))
        else:
            for patch in missing:
                patches.enter_context(mock.patch.object(*patch))
        first = NEAR.get(flaw, 0)
        assert first_failure(range(first, first + 1500), make) is not None


@pytest.mark.parametrize(
    "make",
    [
        *(Scenario, PlanScenario, Rotation, PlanRotation, Fallback, Stopping, OverTime, OverTimeRotation),
        *(Hostile, Lag, Sweeps, OneKey, Peopled),
    ],
)
def test_a_seed_replays_exactly(make):
    traces = []
    for _ in range(2):
        scenario = make(11)
        scenario.run()
        traces.append(scenario.trace())
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 3
