"""Money moves once, and no task fails, while the account's API key is exchanged."""

from __future__ import annotations

import pytest

from tests.simulation import plans, sabotage
from tests.simulation.rotation import PlanRotation, Rotation
from tests.simulation.scenarios import failure, first_failure

SEEDS = 500


@pytest.mark.parametrize("start", range(0, SEEDS, 250))
def test_money_moves_once_while_the_key_is_exchanged(start):
    for seed in range(start, start + 250):
        broken = failure(seed, make=Rotation)
        assert broken is None, "\n" + str(broken)


def test_plans_are_carried_out_once_while_the_key_is_exchanged():
    for seed in range(100):
        broken = plans.failure(seed, PlanRotation)
        assert broken is None, "\n" + str(broken)


@pytest.mark.parametrize("flaw", [sabotage.turning_with_one_key, sabotage.marking_with_one_key])
def test_a_missing_safeguard_is_noticed(flaw):
    # Both keys must be in use within the same seconds: such worlds are rare.
    assert first_failure(range(8000), flaw, Rotation) is not None
