"""Money moves once: thousands of worlds, each by its seed."""

from __future__ import annotations

import os

import pytest

from tests.simulation import sabotage
from tests.simulation.scenarios import failure, first_failure

SEEDS = int(os.environ.get("WHITEBIT_SIMULATION_SEEDS", "2000"))
CHUNK = 250


@pytest.mark.parametrize("start", range(0, SEEDS, CHUNK))
def test_money_moves_once(start):
    for seed in range(start, min(start + CHUNK, SEEDS)):
        broken = failure(seed)
        assert broken is None, "\n" + str(broken)


@pytest.mark.parametrize(
    "flaw",
    [
        sabotage.without_write_ahead,
        sabotage.without_wait,
        sabotage.without_turn,
        sabotage.trusting_a_refused_nonce,
        sabotage.without_marks,
        sabotage.blind_to_later_tries,
    ],
)
def test_a_missing_safeguard_is_noticed(flaw):
    assert first_failure(range(2000), flaw) is not None


def test_a_missing_baseline_is_noticed():
    # Such worlds are rare, so the search begins near one.
    assert first_failure(range(3000, 5000), sabotage.without_baseline) is not None


def test_a_seed_replays_exactly():
    from tests.simulation.scenarios import Scenario

    traces = []
    for _ in range(2):
        scenario = Scenario(11)
        scenario.run()
        traces.append(scenario.trace())
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 3
