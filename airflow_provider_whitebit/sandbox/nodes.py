"""The exchange's nodes, one of which answers each request."""

from __future__ import annotations

import random
from dataclasses import dataclass

from airflow_provider_whitebit.sandbox.quirks import Quirks

_SKEWS_MS = (-900, 0, 900)
_LATE_MS = 3_000
_STALE_MS = 5_000


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    :param skew_ms: how far its clock is ahead.
    :param lag_ms: how late its lists are.
    :param stale_ms: how late its balances are.
    """

    skew_ms: int = 0
    lag_ms: int = 0
    stale_ms: int = 0


_ONLY = Node()


class Nodes:
    """Chooses the node that answers.

    :param seed: decides the choice.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"nodes:{seed}")

    def choose(self, quirks: Quirks) -> Node:
        """Return the node for the next request."""
        if not (quirks.skewed_nodes or quirks.stale_replicas or quirks.late_records):
            return _ONLY
        skew_ms = self._random.choice(_SKEWS_MS) if quirks.skewed_nodes else 0
        stale_ms = self._random.choice((0, _STALE_MS)) if quirks.stale_replicas else 0
        return Node(skew_ms, max(stale_ms, _LATE_MS if quirks.late_records else 0), stale_ms)
