"""What the rules of Flex and of Fixed plans have in common."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable
from decimal import ROUND_DOWN, Decimal
from typing import Generic, TypeVar

from airflow_provider_whitebit.sandbox.answers import inner, plain
from airflow_provider_whitebit.sandbox.authentication import Caller
from airflow_provider_whitebit.sandbox.faults import Faults
from airflow_provider_whitebit.sandbox.ledger import Ledger
from airflow_provider_whitebit.sandbox.plans import FixedPlan, Plan, Scenario
from airflow_provider_whitebit.sandbox.quirks import Quirks

PlanT = TypeVar("PlanT", Plan, FixedPlan)


class Lending(Generic[PlanT]):
    """Plans that can change, identifiers from a seed, and the checks of every invest.

    :param ledger: where money and investments are kept.
    :param scenario: the assets.
    :param plans: the plans at the start.
    :param seed: decides identifiers.
    :param faults: decide how late changes appear in the lists.
    :param quirks: how this exchange differs.
    """

    def __init__(
        self,
        ledger: Ledger,
        scenario: Scenario,
        plans: Iterable[PlanT],
        seed: str,
        faults: Faults,
        quirks: Quirks,
    ) -> None:
        self.ledger = ledger
        self.assets = scenario.assets
        self.plans: dict[str, PlanT] = {plan.id: plan for plan in plans}
        self.faults = faults
        self.quirks = quirks
        self._random = random.Random(seed)

    def _check_size(self, plan: PlanT, amount: Decimal) -> None:
        if amount < plan.minimum:
            raise inner(2, amount="Amount is less than min investment")
        if amount > plan.maximum:
            raise inner(3, amount="Amount is more than max investment")

    def _check_balance(self, caller: Caller, plan: PlanT, amount: Decimal) -> None:
        available = self.ledger.balance(caller.account, plan.ticker)
        if available < amount:
            raise inner(4, amount=f"Available {plain(available)} < {plain(amount)}")

    def _cut_off(self, amount: Decimal, ticker: str) -> Decimal:
        """Round an amount down to the last decimal of an asset."""
        return amount.quantize(Decimal(1).scaleb(-self.assets[ticker].precision), ROUND_DOWN)

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _name(self, prefix: str = "") -> str:
        """Return a new identifier: text with this prefix, or with the quirk ``numeric_ids`` digits."""
        if self.quirks.numeric_ids:
            return str(self._random.randrange(10**9, 10**12))
        return f"{prefix}{self._uuid()}"
