"""The sandbox as the exchange of a simulated world: its rules and ledger, without signatures and JSON."""

from __future__ import annotations

import json
from contextlib import nullcontext
from functools import cache
from typing import Any, Protocol

from airflow_provider_whitebit.sandbox import exchange as rules
from airflow_provider_whitebit.sandbox.answers import Refusal
from airflow_provider_whitebit.sandbox.authentication import Caller, _use_nonce, require
from airflow_provider_whitebit.sandbox.scenario import read_scenario
from tests.simulation.world import World

#: A Flex plan of the sandbox, and a Fixed plan of it that takes several investments of one user.
PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
TERM = "1b72e30a-c5d7-48f9-a4b5-90a1b2c3d4e5"
#: A sub-account of the sandbox.
SUB_ACCOUNT = "a4b7c8d9-0e1f-4a2b-8c3d-4e5f60718293"
#: HTTP status, decoded answer, and the time of the node that answered, in milliseconds.
Answered = tuple[int, Any, int]


class SimulatedExchange(Protocol):
    """The exchange of a simulated world."""

    def call(self, path: str, params: dict[str, Any] | None, api_key: str, nonce: int) -> Answered:
        """Answer a call with a valid signature as if it arrived now.

        :param params: of a signed call; ``None`` for a public one.
        """

    def names(self, reference: str) -> frozenset[str]:
        """Every identifier that the records give a move.

        :param reference: the identifier in the move's answer.
        """

    def invested(self) -> dict[str, str]:
        """What is invested, by Flex plan."""

    def fund(self, ticker: str, amount: str, *, account: str = "main") -> None:
        """Deposit made-up money."""

    def add_key(self, api_key: str, secret: str) -> None:
        """Add an API key of the account."""

    def audit(self) -> None:
        """:raises AssertionError: the ledger does not balance."""


class SandboxExchange(rules.Exchange):
    """The sandbox's exchange.

    :param scenario: as the sandbox reads it.
    :param lag_s: seconds after which the histories show a move.
    """

    def __init__(self, world: World, scenario: dict[str, Any], lag_s: int = 0) -> None:
        self._given = _scenario(json.dumps(scenario))
        super().__init__(clock=world.clock, seed=world.seed, rate_limits=False)
        if lag_s:
            self.faults.add("history_lag", seconds=lag_s)

    def _start(self) -> None:
        self.scenario = self._given
        super()._start()

    def call(self, path: str, params: dict[str, Any] | None, api_key: str, nonce: int) -> Answered:
        now_ms = self.clock.now_ms()
        if params is None:
            return 200, self._public[path](now_ms), now_ms
        permission, rule = self._private[path]
        self._bring_up_to(now_ms)
        with self.ledger.transaction() if path in rules._WRITES else nullcontext():
            # A rule refuses before it writes, and a refused call uses up its nonce.
            try:
                key = self.keys[api_key]
                _use_nonce(self.ledger, key, {"nonce": nonce, "nonceWindow": True}, now_ms, 429)
                caller = Caller(key, nonce, params)
                require(caller, permission, writes=path in rules._WRITES)
                return *rule(caller, now_ms), now_ms
            except Refusal as refusal:
                return refusal.status, refusal.body, now_ms

    def names(self, reference: str) -> frozenset[str]:
        return frozenset((reference,))

    def invested(self) -> dict[str, str]:
        return {entry["planId"]: entry["invested"] for entry in self.flex.show_all() if entry["status"] == 1}

    def add_key(self, api_key: str, secret: str) -> None:
        self.keys.add_like(api_key, secret)


@cache
def _scenario(text: str) -> Any:
    return read_scenario(json.loads(text))
