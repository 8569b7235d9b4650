"""What is to be moved, what was tried, and what came of it. Pure values and their JSON form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

import pendulum

from airflow_provider_whitebit.client.api import (
    IdleCall,
    MoveCall,
    Reference,
    balance_idle_call,
    fixed_close_call,
    fixed_idle_call,
    fixed_invest_call,
    flex_close_call,
    flex_idle_call,
    flex_invest_call,
    flex_withdraw_call,
    transfer_call,
)
from airflow_provider_whitebit.client.errors import (
    WhiteBitError,
    WhiteBitRefusedError,
    error_class,
)
from airflow_provider_whitebit.client.models import to_json

#: Version of the journal's documents; a document of a later version is refused, never guessed at.
VERSION = 1


class Operation(StrEnum):
    """What a move does; the value stands in receipts and journals."""

    FLEX_INVEST = "flex_invest"
    FLEX_WITHDRAW = "flex_withdraw"
    FLEX_CLOSE = "flex_close"
    FIXED_INVEST = "fixed_invest"
    FIXED_CLOSE = "fixed_close"
    TRANSFER = "transfer"


class State(StrEnum):
    """Where an intent stands. ``OPEN`` with attempts means in doubt, without: nothing is on its way."""

    OPEN = "open"
    EXECUTED = "executed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Move:
    """One movement of money, fully decided.

    :param operation: what to do.
    :param plan_id: the plan; empty for a transfer.
    :param ticker: the asset.
    :param amount: how much, in units of the asset; for a close, what was invested when it was decided.
    :param with_reinvest: whether an invested amount gets auto-reinvest.
    :param investment_id: the Fixed investment to close.
    :param source: the balance that a transfer leaves: ``main``, ``spot`` or ``collateral``.
    :param target: the balance that it goes to.
    """

    operation: Operation
    plan_id: str
    ticker: str
    amount: Decimal | None
    with_reinvest: bool = False
    investment_id: str = ""
    source: str = ""
    target: str = ""

    def __str__(self) -> str:
        amount = "" if self.amount is None else f" {_plain(self.amount)}"
        place = f", plan {self.plan_id}" if self.plan_id else f" from {self.source} to {self.target}"
        return f"{self.operation}{amount} {self.ticker}{place}"

    def call(self) -> MoveCall:
        """The exchange's call that makes this move."""
        match self.operation:
            case Operation.FLEX_CLOSE:
                return flex_close_call(self.plan_id)
            case Operation.FIXED_CLOSE:
                return fixed_close_call(self.investment_id)
        if self.amount is None:
            raise ValueError(f"{self.operation} needs an amount")
        match self.operation:
            case Operation.FLEX_INVEST:
                return flex_invest_call(self.plan_id, self.amount, with_reinvest=self.with_reinvest)
            case Operation.FLEX_WITHDRAW:
                return flex_withdraw_call(self.plan_id, self.amount)
            case Operation.FIXED_INVEST:
                return fixed_invest_call(self.plan_id, self.amount)
            case _:
                return transfer_call(self.ticker, self.amount, self.source, self.target)

    def idle_call(self) -> IdleCall:
        """A harmless call that whoever may make this move may make too."""
        match self.operation:
            case Operation.TRANSFER:
                return balance_idle_call(self.ticker)
            case Operation.FIXED_INVEST | Operation.FIXED_CLOSE:
                return fixed_idle_call(self.ticker)
            case _:
                return flex_idle_call(self.plan_id)

    @property
    def likeness(self) -> str:
        """Moves with the same likeness cannot be told apart in the exchange's records.

        A withdrawal of everything and a close leave the same record, so all that leaves a plan is alike. Transfers
        leave no record at all, only balances, so all of one asset are alike.
        """
        match self.operation:
            case Operation.FLEX_INVEST:
                return f"in|{self.plan_id}|{_plain(self.amount or Decimal(0))}"
            case Operation.FLEX_WITHDRAW | Operation.FLEX_CLOSE:
                return f"out|{self.plan_id}"
            case Operation.FIXED_INVEST:
                return f"fixed in|{self.plan_id}|{_plain(self.amount or Decimal(0))}"
            case Operation.FIXED_CLOSE:
                return f"fixed out|{self.investment_id}"
            case _:
                return f"transfer|{self.ticker}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; :meth:`from_json` reads it."""
        return {name: to_json(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        return cls(
            operation=Operation(raw["operation"]),
            plan_id=str(raw["plan_id"]),
            ticker=str(raw["ticker"]),
            amount=None if raw["amount"] is None else Decimal(raw["amount"]),
            with_reinvest=bool(raw["with_reinvest"]),
            investment_id=str(raw["investment_id"]),
            source=str(raw["source"]),
            target=str(raw["target"]),
        )


def _plain(amount: Decimal) -> str:
    """One spelling for equal amounts: 10, 10.0 and 1E+1 are alike."""
    return format(amount.normalize(), "f")


class Outcome(StrEnum):
    """What is known of one sending. Knowledge only grows, in this order."""

    PENDING = "pending"
    ABSENT = "absent"
    REFUSED = "refused"


_KNOWLEDGE = (Outcome.PENDING, Outcome.ABSENT, Outcome.REFUSED)


@dataclass(frozen=True, slots=True)
class Balances:
    """What the two sides of a transfer held."""

    source: Decimal
    target: Decimal

    def to_json(self) -> dict[str, str]:
        return {"source": format(self.source, "f"), "target": format(self.target, "f")}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        return cls(Decimal(raw["source"]), Decimal(raw["target"]))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending of a move.

    :param nonce: its nonce, milliseconds; the exchange accepts it up to 5 s past that, never later.
    :param earliest: the exchange's Unix seconds before it was sent: what it did, it did not do before.
    :param outcome: pending: not known; absent: the records were asked after its end and did not show it;
        refused: the exchange said no, or was never reached.
    :param before: for a transfer, what both sides held before it was sent.
    """

    nonce: int
    earliest: int
    outcome: Outcome = Outcome.PENDING
    before: Balances | None = None

    def to_json(self) -> dict[str, Any]:
        before = None if self.before is None else self.before.to_json()
        return {"nonce": self.nonce, "earliest": self.earliest, "outcome": str(self.outcome), "before": before}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        return cls(
            nonce=int(raw["nonce"]),
            earliest=int(raw["earliest"]),
            outcome=Outcome(raw["outcome"]),
            before=None if raw["before"] is None else Balances.from_json(raw["before"]),
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a move came to.

    :param transaction_id: the exchange's, for Flex; ``None`` for what it gives none.
    :param plan_id: the plan; ``None`` for a transfer.
    :param status: ``executed``, or ``planned`` for a dry run.
    :param attempts: how often it was sent.
    :param reconciled: whether it is known from the exchange's records, not from its reply.
    :param investment_id: the Fixed investment that was made or closed.
    :param source: the balance that a transfer left.
    :param target: the balance that it went to.
    """

    operation: str
    transaction_id: str | None
    plan_id: str | None
    ticker: str
    amount: Decimal | None
    status: str
    executed_at: pendulum.DateTime | None
    attempts: int
    reconciled: bool
    intent_id: str | None
    investment_id: str | None = None
    source: str | None = None
    target: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: the amount as a decimal string, the time as ISO 8601 UTC; :meth:`from_json` reads it.

        ``investment_id``, ``source`` and ``target`` only stand in receipts of the moves that have them.
        """
        told = {name: to_json(getattr(self, name)) for name in self.__slots__}
        return {name: value for name, value in told.items() if value is not None or name not in _ONLY_IF_THERE}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        values = dict(raw)
        if values["amount"] is not None:
            values["amount"] = Decimal(values["amount"])
        if values["executed_at"] is not None:
            values["executed_at"] = pendulum.parse(values["executed_at"])
        return cls(**values)

    @classmethod
    def of(cls, move: Move, **known: Any) -> Self:
        """The receipt of a move."""
        return cls(
            operation=str(move.operation),
            plan_id=move.plan_id or None,
            ticker=move.ticker,
            source=move.source or None,
            target=move.target or None,
            **known,
        )

    @classmethod
    def planned(cls, move: Move) -> Self:
        """The receipt of a dry run: what would be moved."""
        return cls.of(
            move,
            transaction_id=None,
            amount=move.amount,
            status="planned",
            executed_at=None,
            attempts=0,
            reconciled=False,
            intent_id=None,
            investment_id=move.investment_id or None,
        )


_ONLY_IF_THERE = ("investment_id", "source", "target")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no of the exchange that the same move will meet again."""

    kind: str
    message: str
    path: str
    status: int | None
    code: int | None
    errors: dict[str, list[str]]

    @classmethod
    def of(cls, error: WhiteBitError) -> Self:
        return cls(type(error).__name__, error.message, error.path, error.status, error.code, error.errors)

    def error(self) -> WhiteBitError:
        """The error as it was first raised."""
        kind = error_class(self.kind) or WhiteBitRefusedError
        return kind(self.message, path=self.path, status=self.status, code=self.code, errors=self.errors)

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Intent:
    """A move that was decided, with everything that was tried for it. Frozen: retries keep to it.

    :param id: names it in receipts, logs and doubts.
    :param account: fingerprint of host and API key.
    :param requested: the caller's own parameters, to be compared when the task runs again.
    :param generation: changes when a person clears the task, not when Airflow retries it.
    :param move: what to move.
    :param created_at: the exchange's Unix seconds when it was decided.
    :param attempts: its sendings so far.
    :param baseline: transaction ids like this move's that were there before it.
    :param connection: name of the connection that it was decided with; empty where that is not known.
    """

    id: str
    account: str
    requested: dict[str, Any]
    generation: str
    move: Move
    created_at: int
    attempts: tuple[Attempt, ...] = ()
    baseline: tuple[str, ...] = ()
    state: State = State.OPEN
    receipt: Receipt | None = None
    refusal: Refusal | None = None
    connection: str = ""

    @property
    def in_doubt(self) -> bool:
        """Whether money may have moved without anybody here knowing."""
        return self.state is State.OPEN and any(attempt.outcome is Outcome.PENDING for attempt in self.attempts)

    def trying(self, attempt: Attempt, baseline: Iterable[str]) -> Intent:
        """This intent with one more attempt on its way."""
        known = (*self.baseline, *(name for name in baseline if name not in self.baseline))
        return replace(self, attempts=(*self.attempts, attempt), baseline=known)

    def last_refused(self) -> Intent:
        """The last attempt certainly never ran."""
        return replace(self, attempts=(*self.attempts[:-1], replace(self.attempts[-1], outcome=Outcome.REFUSED)))

    def found_absent(self) -> Intent:
        """The records were asked after all attempts had ended: none of them ran."""
        return replace(
            self,
            attempts=tuple(
                replace(attempt, outcome=Outcome.ABSENT) if attempt.outcome is Outcome.PENDING else attempt
                for attempt in self.attempts
            ),
        )

    def executed(
        self,
        reference: str | None,
        amount: Decimal | None,
        executed_at: pendulum.DateTime,
        *,
        reconciled: bool,
    ) -> Intent:
        """This intent, carried out, with its receipt. ``reference``: the identifier that the exchange gave it."""
        made = reference if self.move.operation is Operation.FIXED_INVEST else self.move.investment_id
        receipt = Receipt.of(
            self.move,
            transaction_id=reference if self.move.call().names is Reference.TRANSACTION else None,
            amount=amount,
            status="executed",
            executed_at=executed_at,
            attempts=len(self.attempts),
            reconciled=reconciled,
            intent_id=self.id,
            investment_id=made or None,
        )
        return replace(self, state=State.EXECUTED, receipt=receipt)

    def refused(self, error: WhiteBitError) -> Intent:
        """This intent, refused for good."""
        return replace(self.last_refused(), state=State.REFUSED, refusal=Refusal.of(error))

    def to_json(self) -> dict[str, Any]:
        """The journal's document; :meth:`from_json` reads it."""
        return {
            "version": VERSION,
            "id": self.id,
            "account": self.account,
            "requested": self.requested,
            "generation": self.generation,
            "move": self.move.to_json(),
            "created_at": self.created_at,
            "attempts": [attempt.to_json() for attempt in self.attempts],
            "baseline": list(self.baseline),
            "state": str(self.state),
            "receipt": None if self.receipt is None else self.receipt.to_json(),
            "refusal": None if self.refusal is None else self.refusal.to_json(),
            "connection": self.connection,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """:raises ValueError: if this is no document of this version."""
        try:
            if raw["version"] != VERSION:
                raise ValueError(f"its version is {raw['version']!r}, this package reads {VERSION}")
            return cls(
                id=str(raw["id"]),
                account=str(raw["account"]),
                requested=dict(raw["requested"]),
                generation=str(raw["generation"]),
                move=Move.from_json(raw["move"]),
                created_at=int(raw["created_at"]),
                attempts=tuple(Attempt.from_json(attempt) for attempt in raw["attempts"]),
                baseline=tuple(raw["baseline"]),
                state=State(raw["state"]),
                receipt=None if raw["receipt"] is None else Receipt.from_json(raw["receipt"]),
                refusal=None if raw["refusal"] is None else Refusal(**raw["refusal"]),
                connection=str(raw.get("connection", "")),
            )
        except (KeyError, TypeError, ArithmeticError) as error:
            raise ValueError(f"it cannot be read ({type(error).__name__}: {error})") from None


def merge(intents: Iterable[Intent]) -> dict[str, Intent]:
    """Intents by id, out of documents that several tries of a task wrote, earliest first.

    Documents of the same intent are put together: what any of them knows is known.
    """
    merged: dict[str, Intent] = {}
    for intent in intents:
        earlier = merged.pop(intent.id, None)
        merged[intent.id] = intent if earlier is None else _together(earlier, intent)
    return merged


def _together(earlier: Intent, later: Intent) -> Intent:
    attempts = {attempt.nonce: attempt for attempt in earlier.attempts}
    for attempt in later.attempts:
        known = attempts.get(attempt.nonce, attempt)
        attempts[attempt.nonce] = max(known, attempt, key=lambda either: _KNOWLEDGE.index(either.outcome))
    ended = later if later.state is not State.OPEN or earlier.state is State.OPEN else earlier
    return replace(
        ended,
        attempts=tuple(attempts[nonce] for nonce in sorted(attempts)),
        baseline=tuple(dict.fromkeys((*earlier.baseline, *later.baseline))),
    )
