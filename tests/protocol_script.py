"""Drives the protocol with a script instead of an exchange: a clock that waits at once, journals, prepared answers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pendulum

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.client.models import FlexTransaction
from airflow_provider_whitebit.moves import effects as e
from airflow_provider_whitebit.moves import protocol
from airflow_provider_whitebit.moves.counting import AccountRecords
from airflow_provider_whitebit.moves.drivers import run
from airflow_provider_whitebit.moves.execution import ApiKey, ExecutionRequest
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation
from airflow_provider_whitebit.moves.journal import MemoryJournal, MemorySpendingLog
from airflow_provider_whitebit.moves.limits import Limits

NOW = 1_790_000_000_000
PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
MOVE = Move(Operation.FLEX_INVEST, PLAN, "USDT", Decimal(25))
REQUESTED = {"amount": "25"}


@dataclass(frozen=True)
class Request:
    """A request with any parameters, which means :data:`MOVE`."""

    requested: dict[str, Any]

    def resolve(self, account: Any) -> Move:
        return MOVE

    def to_json(self) -> dict[str, Any]:
        return self.requested

    def means(self, move: Any) -> bool:
        return move.plan_id == PLAN


def execution(
    *,
    account: str = "a",
    requested: dict[str, Any] = REQUESTED,
    connection: str = "",
    **changes: Any,
) -> ExecutionRequest:
    """One run of a task.

    :param account: fingerprint of its API key.
    :param requested: the caller's parameters.
    """
    values = {
        "request": Request(requested),
        "api_key": ApiKey(None, account, connection, None),
        "journal": MemoryJournal(),
        "limits": Limits("test"),
        "account": None,
        "key": "move",
        "generation": "1",
        "intent_id": "new",
        **changes,
    }
    return ExecutionRequest(**values)


def record(name: str = "tx", second: int = NOW // 1000, amount: str = "25", action: int = 6) -> FlexTransaction:
    made = pendulum.from_timestamp(second, tz="UTC")
    return FlexTransaction(made, PLAN, "inv", "USDT", Decimal(amount), name, action)


def intent(**changes: Any) -> Intent:
    given = {
        "id": "old",
        "account": "a",
        "requested": REQUESTED,
        "generation": "1",
        "move": MOVE,
        "created_at": NOW // 1000,
        **changes,
    }
    return Intent(**given)


def in_doubt(**changes: Any) -> Intent:
    return intent(**changes).trying(Attempt(NOW, NOW // 1000))


def executed(**changes: Any) -> Intent:
    made = pendulum.from_timestamp(NOW // 1000, tz="UTC")
    return in_doubt(**changes).executed("tx_old", Decimal(25), made, reconciled=False)


def refused(**changes: Any) -> Intent:
    return in_doubt(**changes).refused(errors.WhiteBitNotEnoughBalanceError("Not enough.", status=422))


def history(*intents: Intent, superseded_by: tuple[str, ...] = (), refusal: Any = None) -> MoveHistory:
    return MoveHistory({one.id: one for one in intents}, superseded_by, refusal)


def lost() -> errors.WhiteBitUnavailableError:
    return errors.WhiteBitUnavailableError("lost", money_moved=None)


class Script:
    """Performs effects.

    :param journal: the intents that the move's journal holds.
    :param answers: to what is sent, in order: identifiers, or errors.
    :param records: of the exchange.
    :param others: histories of the task's other moves, by key.
    :param resolutions: what people have answered, by intent.
    :ivar elsewhere: what other runs of the task have written into documents of their own, by key.
    """

    def __init__(
        self,
        journal: Any = (),
        answers: Any = (),
        records: Any = (),
        others: dict[str, MoveHistory] | None = None,
        resolutions: dict[str, Any] | None = None,
    ) -> None:
        self.now = NOW
        self.journals: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        if journal:
            self.journals[""] = [history(*journal).to_json()]
        self.elsewhere: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for key, other in (others or {}).items():
            self.journals[key] = [other.to_json()]
        self.answers = list(answers)
        self.records = list(records)
        self.resolutions = resolutions or {}
        self.done: list[str] = []
        #: The spending logs; what limits over time count; what is invested.
        self.spending = MemorySpendingLog()
        self.moves = AccountRecords()
        self.invested: Decimal | None = None

    def history(self, key: str = "") -> MoveHistory:
        """What a journal holds."""
        return MoveHistory.merge([*self.journals[key], *self.elsewhere[key]])

    def intent(self, name: str = "new") -> Intent:
        """An intent in the move's journal."""
        return self.history().intents[name]

    def run(self, **changes: Any) -> Any:
        """Execute the protocol. :param changes: of the execution."""
        return run(protocol.execute(execution(**changes)), self)

    def __call__(self, effect: e.Effect) -> Any:
        self.done.append(type(effect).__name__)
        assert len(self.done) < 1_000, "the protocol does not end"
        match effect:
            case e.ReadJournal(key):
                return [*self.journals[key], *self.elsewhere[key]]
            case e.WriteJournal(written, key):
                self.journals[key] = [written.to_json()]
            case e.Resolve():
                return MOVE
            case e.ReadClock():
                return e.ClockReading(self.now, self.now // 1000)
            case e.AskTime():
                return self.now // 1000
            case e.ReadRecords():
                return list(self.records)
            case e.ReadResolution(intent_id):
                found = self.resolutions.get(intent_id)
                if isinstance(found, Exception):
                    raise found
                return found
            case e.ReadSpending(name):
                return self.spending.read(name)
            case e.WriteSpending(name, written, pages):
                self.spending.write(name, written.to_json(), pages)
            case e.FinishSpending(name, pages):
                self.spending.finish(name, pages)
            case e.ReadMoves(since):
                self.since = since
                return self.moves
            case e.ReadInvested():
                return self.invested
            case e.WaitUntil(until_ms):
                self.now = until_ms + 1000
            case e.Pause(milliseconds):
                self.now += milliseconds
            case e.Send():
                answer = self.answers.pop(0)
                if isinstance(answer, Exception):
                    raise answer
                return answer
        return None
