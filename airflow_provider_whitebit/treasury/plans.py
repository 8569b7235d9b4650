"""Treasury plans and their outcome. Pure values and their JSON form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Self

from airflow_provider_whitebit.client.errors import (
    WhiteBitAlreadyMovedError,
    WhiteBitValidationError,
    describe_receipt,
)
from airflow_provider_whitebit.client.models import parse_amount, plain, to_json
from airflow_provider_whitebit.client.records import same_amount
from airflow_provider_whitebit.moves.intent import Move, Receipt
from airflow_provider_whitebit.moves.parsing import read_boolean


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """A move, and in one sentence why it is needed."""

    move: Move
    reason: str

    def __str__(self) -> str:
        amount = "" if self.move.amount is None else f" {plain(self.move.amount)}"
        return f"{self.move.operation}{amount} {self.move.ticker}. {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {"move": self.move.to_json(), "reason": self.reason}


@dataclass(frozen=True, slots=True)
class TreasuryPlan:
    """Moves in the order in which they must be made.

    :param moves: what to move; withdrawals come before what they pay for.
    :param notes: what could not be done, and why.
    :param shortfalls: what is missing even after all moves, by ticker, in units of the asset.
    :param auto_reinvest: the investments, by plan id, whose auto-reinvest is switched on or off. Moves no money.
    """

    moves: tuple[PlannedMove, ...] = ()
    notes: tuple[str, ...] = ()
    shortfalls: Mapping[str, Decimal] = field(default_factory=dict)
    auto_reinvest: Mapping[str, bool] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.moves and not self.auto_reinvest

    @property
    def digest(self) -> str:
        """The SHA-256 of the plan's JSON form. Plans with equal digests are equal."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def without(self, made: Sequence[Receipt]) -> Self:
        """Return this plan without the moves that were made.

        :param made: receipts of moves of this plan.
        :raises WhiteBitAlreadyMovedError: one of them is not of this plan.
        """
        moves = list(self.moves)
        for receipt in made:
            own = next((planned for planned in moves if _was_made(planned.move, receipt)), None)
            if own is None:
                raise WhiteBitAlreadyMovedError(
                    f"This task has made a move that is not part of the plan: {describe_receipt(receipt.to_json())}.",
                    next_step="Restore the plan, or start a new dag run.",
                )
            moves.remove(own)
        return replace(self, moves=tuple(moves))

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` returned.

        :raises WhiteBitValidationError: this is not a plan.
        """
        try:
            return cls(
                tuple(PlannedMove(Move.from_json(one["move"]), str(one["reason"])) for one in raw["moves"]),
                tuple(map(str, raw["notes"])),
                {str(ticker): parse_amount(amount) for ticker, amount in raw["shortfalls"].items()},
                {str(plan): read_boolean("auto_reinvest", enabled) for plan, enabled in raw["auto_reinvest"].items()},
            )
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise WhiteBitValidationError(
                f"approved_plan is not a plan ({type(error).__name__}).",
                next_step="Pass the plan that a dry run returned.",
            ) from None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, with amounts as decimal strings."""
        return {
            "moves": [planned.to_json() for planned in self.moves],
            "notes": list(self.notes),
            "shortfalls": {ticker: to_json(amount) for ticker, amount in self.shortfalls.items()},
            "auto_reinvest": dict(self.auto_reinvest),
        }


def _was_made(move: Move, receipt: Receipt) -> bool:
    if not receipt.is_of(move):
        return False
    # A close may bring more, and a person's answer may name a record with another amount.
    if move.leaves_plan or receipt.resolved_by or receipt.amount is None or move.amount is None:
        return True
    return same_amount(receipt.amount, move.amount)


#: States of a plan's outcome.
EXECUTED, PLANNED, NOTHING = "executed", "planned", "nothing_to_do"


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """The outcome of a plan.

    :param status: ``executed``, ``planned`` for a dry run, or ``nothing_to_do``.
    :param plan: the plan; empty if an earlier run of the task carried it out.
    :param receipts: of every move that the task has made, in their order.
    """

    status: str
    plan: TreasuryPlan
    receipts: tuple[Receipt, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "status": self.status,
            "plan": self.plan.to_json(),
            "receipts": [receipt.to_json() for receipt in self.receipts],
        }
