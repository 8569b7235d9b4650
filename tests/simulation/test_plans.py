"""Five moves of one task: each once, whatever is killed between them."""

from __future__ import annotations

import os
from unittest import mock

import pytest

from airflow_provider_whitebit.moves import batch
from tests.simulation.plans import failure

SEEDS = int(os.environ.get("WHITEBIT_SIMULATION_SEEDS", "2000")) // 5
CHUNK = 100


@pytest.mark.parametrize("start", range(0, SEEDS, CHUNK))
def test_a_plan_is_carried_out_once(start):
    for seed in range(start, min(start + CHUNK, SEEDS)):
        broken = failure(seed)
        assert broken is None, "\n" + str(broken)


def without_catching_up(self, highest):
    return set()


def without_looking_for_later_runs(self, move):
    pass


@pytest.mark.parametrize(
    ("safeguard", "flaw"),
    [("_catch_up", without_catching_up), ("_only_one", without_looking_for_later_runs)],
)
def test_a_missing_safeguard_is_noticed(safeguard, flaw):
    with mock.patch.object(batch.Batch, safeguard, flaw):
        assert any(failure(seed) for seed in range(1000))
