"""What is to be moved, and what was tried for it. Pure values and their JSON form.

An intent changes its state by these events and no others:

=============================================  ==========  ==========
event                                          from        to
=============================================  ==========  ==========
an attempt is written to the journal           open        in doubt
the exchange says yes                          in doubt    executed
a record of the exchange is the attempt's own  in doubt    executed
the exchange refuses the move                  in doubt    refused
the connection was never made                  in doubt    open
no record fits after the attempt's end         in doubt    open
a record of an absent attempt appears late     open        executed
a record of an absent attempt appears late     refused     executed
a person says that it ran                      in doubt    executed
a person says that it did not run              in doubt    open
=============================================  ==========  ==========

*In doubt* is the state ``OPEN`` with a pending attempt. An attempt without a record is *absent*, which is not a proof:
its record may appear late. People answer for absent attempts too. ``EXECUTED`` never changes again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

import pendulum

from airflow_provider_whitebit.client.calls import (
    MoveCall,
    ProbeCall,
    Reference,
    balance_probe_call,
    fixed_close_call,
    fixed_invest_call,
    fixed_probe_call,
    flex_close_call,
    flex_invest_call,
    flex_probe_call,
    flex_withdraw_call,
    sub_account_transfer_call,
    sub_accounts_probe_call,
    transfer_call,
)
from airflow_provider_whitebit.client.errors import WhiteBitError, WhiteBitRefusedError, error_class
from airflow_provider_whitebit.client.models import plain
from airflow_provider_whitebit.moves.documents import Amount, Document, Moment


class Operation(StrEnum):
    """What a move does. Receipts and journals hold the value."""

    FLEX_INVEST = "flex_invest"
    FLEX_WITHDRAW = "flex_withdraw"
    FLEX_CLOSE = "flex_close"
    FIXED_INVEST = "fixed_invest"
    FIXED_CLOSE = "fixed_close"
    TRANSFER = "transfer"
    SUB_ACCOUNT_TRANSFER = "sub_account_transfer"


class State(StrEnum):
    """The state of an intent: see the table above."""

    OPEN = "open"
    EXECUTED = "executed"
    REFUSED = "refused"


#: Fields that only the receipts of some moves have.
_OPTIONAL = ("investment_id", "source", "target", "sub_account_id", "resolved_by", "reason")


@dataclass(frozen=True, slots=True)
class Receipt(Document):
    """The result of a move.

    :param operation: the move's :class:`Operation`.
    :param transaction_id: the exchange's, for Flex and sub-accounts; ``None`` for other moves.
    :param plan_id: the plan; ``None`` for a transfer.
    :param ticker: the asset.
    :param amount: how much moved, in units of the asset.
    :param status: ``executed``, or ``planned`` for a dry run.
    :param executed_at: when it moved, UTC; ``None`` for a dry run.
    :param attempts: how often it was sent.
    :param reconciled: whether the exchange's records show it, rather than the answer to the call.
    :param intent_id: id of the intent in the journal; ``None`` for a dry run.
    :param investment_id: the Fixed investment that was made or closed.
    :param source: the balance that a transfer left; ``sub`` for that of a sub-account.
    :param target: the balance that it went to.
    :param sub_account_id: the sub-account that took part in a transfer.
    :param resolved_by: who said whether this move ran, while it was in doubt.
    :param reason: why, in that person's words.
    """

    operation: str
    transaction_id: str | None
    plan_id: str | None
    ticker: str
    amount: Amount | None
    status: str
    executed_at: Moment | None
    attempts: int
    reconciled: bool
    intent_id: str | None
    investment_id: str | None = None
    source: str | None = None
    target: str | None = None
    sub_account_id: str | None = None
    resolved_by: str | None = None
    reason: str | None = None

    def is_of(self, move: Move) -> bool:
        """Whether this can be the receipt of a move. The amount is not compared: a close may bring more."""
        return (
            self.operation == str(move.operation)
            and self.ticker == move.ticker
            and (self.plan_id or "") == move.plan_id
            and (self.source or "", self.target or "") == (move.source, move.target)
            and (self.sub_account_id or "") == move.sub_account_id
            and move.investment_id in ("", self.investment_id)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON. The last six fields are there only if the move has them."""
        document = Document.to_json(self)
        return {name: value for name, value in document.items() if value is not None or name not in _OPTIONAL}


@dataclass(frozen=True, slots=True)
class Refusal(Document):
    """A refusal as the journal keeps it, so that it can be raised again."""

    kind: str
    message: str
    path: str
    status: int | None
    code: int | None
    said: str
    errors: dict[str, list[str]]
    next_step: str | tuple[str, ...]

    @classmethod
    def of(cls, error: WhiteBitError) -> Self:
        """The refusal in an error."""
        step = error.next_step if isinstance(error.next_step, str) else tuple(error.next_step)
        facts = (error.message, error.path, error.status, error.code, error.said, error.errors, step)
        return cls(type(error).__name__, *facts)

    def error(self) -> WhiteBitError:
        """The error as it was first raised."""
        facts = {name: getattr(self, name) for name in self.__slots__ if name not in ("kind", "message")}
        return (error_class(self.kind) or WhiteBitRefusedError)(self.message, **facts)


@dataclass(frozen=True, slots=True)
class Move(Document):
    """One movement of money, fully decided.

    :param operation: what to do.
    :param plan_id: the plan; empty for a transfer.
    :param ticker: the asset.
    :param amount: how much, in units of the asset; for a close, what was invested when it was decided.
    :param with_reinvest: whether an invested amount gets auto-reinvest.
    :param investment_id: the Fixed investment to close.
    :param source: the balance that a transfer leaves: ``main``, ``spot``, ``collateral``, or ``sub`` for that of a
        sub-account.
    :param target: the balance that it goes to.
    :param sub_account_id: the sub-account that takes part in a transfer.
    """

    operation: Operation
    plan_id: str
    ticker: str
    amount: Amount | None
    with_reinvest: bool = False
    investment_id: str = ""
    source: str = ""
    target: str = ""
    sub_account_id: str = ""

    def __str__(self) -> str:
        amount = "" if self.amount is None else f" {plain(self.amount)}"
        if self.source:
            place = f" from {self.source} to {self.target}"
            place += f", sub-account {self.sub_account_id}" if self.sub_account_id else ""
        else:
            place = f", investment {self.investment_id}" if self.investment_id else f", plan {self.plan_id}"
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
            case Operation.SUB_ACCOUNT_TRANSFER:
                direction = f"{self.source}_to_{self.target}"
                return sub_account_transfer_call(self.sub_account_id, direction, self.ticker, self.amount)
            case _:
                return transfer_call(self.ticker, self.amount, self.source, self.target)

    def probe_call(self) -> ProbeCall:
        """A harmless call that needs the same permission as this move."""
        match self.operation:
            case Operation.TRANSFER:
                return balance_probe_call(self.ticker)
            case Operation.FIXED_INVEST | Operation.FIXED_CLOSE:
                return fixed_probe_call()
            case Operation.SUB_ACCOUNT_TRANSFER:
                return sub_accounts_probe_call()
            case _:
                return flex_probe_call()

    @property
    def leaves_plan(self) -> bool:
        """Whether the move brings money from a plan to Main."""
        return self.operation in (Operation.FLEX_WITHDRAW, Operation.FLEX_CLOSE, Operation.FIXED_CLOSE)

    @property
    def conflict_key(self) -> str:
        """Moves with the same conflict_key may be taken for each other in the exchange's records.

        The records of two moves into one plan may show other amounts than were sent. A withdrawal of everything and a
        close leave the same record. Transfers leave no record, only balances, so all of one asset are alike. Those of
        sub-accounts leave a record.
        """
        match self.operation:
            case Operation.FLEX_INVEST:
                return f"in|{self.plan_id}"
            case Operation.FLEX_WITHDRAW | Operation.FLEX_CLOSE:
                return f"out|{self.plan_id}"
            case Operation.FIXED_INVEST:
                return f"fixed in|{self.plan_id}"
            case Operation.FIXED_CLOSE:
                return f"fixed out|{self.investment_id}"
            case Operation.SUB_ACCOUNT_TRANSFER:
                return f"{self.source} to {self.target}|{self.sub_account_id}|{self.ticker}"
            case _:
                return f"transfer|{self.ticker}"

    def receipt(self, **known: Any) -> Receipt:
        """The receipt of this move.

        :param known: the other fields of the receipt.
        """
        return Receipt(
            operation=str(self.operation),
            plan_id=self.plan_id or None,
            ticker=self.ticker,
            source=self.source or None,
            target=self.target or None,
            sub_account_id=self.sub_account_id or None,
            **known,
        )

    def planned(self) -> Receipt:
        """The receipt of a dry run: what would be moved."""
        return self.receipt(
            transaction_id=None,
            amount=self.amount,
            status="planned",
            executed_at=None,
            attempts=0,
            reconciled=False,
            intent_id=None,
            investment_id=self.investment_id or None,
        )


class Outcome(StrEnum):
    """What is known of one attempt. Knowledge only grows, in this order."""

    PENDING = "pending"
    ABSENT = "absent"
    REFUSED = "refused"


#: In which order knowledge grows.
KNOWLEDGE = tuple(Outcome)


@dataclass(frozen=True, slots=True)
class Balances(Document):
    """What the two sides of a transfer held, in units of the asset."""

    source: Amount
    target: Amount


@dataclass(frozen=True, slots=True)
class Attempt(Document):
    """One sending of a move.

    :param nonce: milliseconds; the exchange accepts the attempt up to 5 s past it, never later.
    :param earliest: the exchange's Unix seconds before it was sent; no record of it is older.
    :param outcome: pending: not known. absent: the records, read after its end, did not show it. refused: the exchange
        refused it, or was never reached.
    :param before: for a transfer, what both sides held before it was sent.
    :param baseline: names of the records like this move's that were there before it was sent.
    """

    nonce: int
    earliest: int
    outcome: Outcome = Outcome.PENDING
    before: Balances | None = None
    baseline: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Intent(Document):
    """A move that was decided, and everything that was tried for it. Retries keep the move.

    :param id: names it in receipts, logs and doubts.
    :param account: fingerprint of the API key.
    :param requested: the caller's parameters, to be compared when the task runs again.
    :param generation: changes when a person clears the task, not when Airflow retries it.
    :param move: what to move.
    :param created_at: the exchange's Unix seconds when it was decided.
    :param attempts: its sendings so far.
    :param connection: name of the Airflow connection; empty if it is not known.
    :param key: of the move within its task.
    :param task: names the task instance that decided it; empty outside a task.
    :param resolved_by: who said whether it ran, while it was in doubt.
    :param reason: why, in that person's words.
    """

    id: str
    account: str
    requested: dict[str, Any]
    generation: str
    move: Move
    created_at: int
    attempts: tuple[Attempt, ...] = ()
    state: State = State.OPEN
    receipt: Receipt | None = None
    refusal: Refusal | None = None
    connection: str = ""
    key: str = ""
    task: str = ""
    resolved_by: str = ""
    reason: str = ""

    @property
    def in_doubt(self) -> bool:
        """Whether the move may have run without our knowledge."""
        return self.state is State.OPEN and any(attempt.outcome is Outcome.PENDING for attempt in self.attempts)

    @property
    def unproven(self) -> tuple[Attempt, ...]:
        """The attempts that may have run without our knowledge: those in doubt, and those found absent."""
        if self.state is State.EXECUTED:
            return ()
        return tuple(attempt for attempt in self.attempts if attempt.outcome is not Outcome.REFUSED)

    def trying(self, attempt: Attempt) -> Intent:
        """This intent with one more attempt."""
        return replace(self, attempts=(*self.attempts, attempt))

    def last_refused(self) -> Intent:
        """This intent, whose last attempt certainly never ran."""
        return replace(self, attempts=(*self.attempts[:-1], replace(self.attempts[-1], outcome=Outcome.REFUSED)))

    def found_absent(self) -> Intent:
        """This intent, none of whose attempts left a record: the records were read after all of them had ended."""
        return replace(
            self,
            attempts=tuple(
                replace(attempt, outcome=Outcome.ABSENT) if attempt.outcome is Outcome.PENDING else attempt
                for attempt in self.attempts
            ),
        )

    def executed(
        self, reference: str | None, amount: Decimal | None, executed_at: pendulum.DateTime, *, reconciled: bool
    ) -> Intent:
        """This intent, executed, with its receipt.

        :param reference: the identifier that the exchange gave the move.
        """
        names = self.move.call().names
        made = reference if names is Reference.INVESTMENT else self.move.investment_id
        receipt = self.move.receipt(
            transaction_id=reference if names in (Reference.TRANSACTION, Reference.BARE_TRANSACTION) else None,
            amount=amount,
            status="executed",
            executed_at=executed_at,
            attempts=len(self.attempts),
            reconciled=reconciled,
            intent_id=self.id,
            investment_id=made or None,
            resolved_by=self.resolved_by or None,
            reason=self.reason or None,
        )
        return replace(self, state=State.EXECUTED, receipt=receipt, refusal=None)

    def refused(self, error: WhiteBitError) -> Intent:
        """This intent, refused for good."""
        return replace(self.last_refused(), state=State.REFUSED, refusal=Refusal.of(error))
