"""Tries of a task as automata: what a process does next depends only on the results that it has received.

The code under test is the real driver with the real protocol and the real journals. The client and the stores are
replaced: each of their calls is one step, which the search performs on its model of the exchange and the stores.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import greenlet
import pendulum

from airflow_provider_whitebit.client.errors import (
    WhiteBitError,
    WhiteBitJournalError,
    WhiteBitNonceError,
    WhiteBitNotEnoughBalanceError,
    WhiteBitStoppedError,
    WhiteBitUnavailableError,
)
from airflow_provider_whitebit.client.models import FixedInvestment, FlexTransaction, SubAccount, TradeBalance
from airflow_provider_whitebit.hooks.doubts import VariableResolutions
from airflow_provider_whitebit.hooks.journals import TaskJournals, VariableSpendingLog
from airflow_provider_whitebit.moves.account import Account
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.moves.execution import ApiKey, ExecutionRequest
from airflow_provider_whitebit.moves.intent import Move, Receipt
from airflow_provider_whitebit.moves.limits import Limits
from tests.texts import OneByOne

MARGIN_MS = 10_000
NO_LIMITS = Limits("explored")


class Step(NamedTuple):
    """What a process does next.

    :param what: ``read``, ``write``, ``clock``, ``sleep``, ``time``, ``claim``, ``records``, ``balance``,
        ``stop`` (ask whether people have stopped all moves) or ``send``.
    :param details: of what.
    """

    what: str
    details: tuple[Hashable, ...] = ()


class Failure(NamedTuple):
    """A result that the process receives as an error."""

    kind: str


class End(NamedTuple):
    """How a process ended.

    :param kind: ``receipt``, or the class of its error.
    :param reference: of the receipt: what the exchange called the move.
    :param money_moved: of the error.
    :param permanent: whether Airflow does not start another try.
    """

    kind: str
    reference: str | None = None
    money_moved: bool | None = None
    permanent: bool = False
    reconciled: bool = False
    attempts: int = 0
    answered: bool = False


class Try(NamedTuple):
    """One try of a task: what decides its behaviour, apart from the results that it receives.

    :param task: name of the task.
    :param number: of the try.
    :param generation: how often the task was cleared before.
    """

    task: str
    number: int
    generation: int


_ERRORS: dict[str, Callable[[], WhiteBitError]] = {
    "used": lambda: WhiteBitNonceError("used (model)", said="Nonce is used."),
    "outside": lambda: WhiteBitNonceError("late (model)", said="Your nonce is more than 5 seconds off."),
    "lost": lambda: WhiteBitUnavailableError("no answer (model)", money_moved=None),
    "unreached": lambda: WhiteBitUnavailableError("never connected (model)", money_moved=False),
    "balance": lambda: WhiteBitNotEnoughBalanceError("not enough (model)", status=422, money_moved=False),
    "stopped": lambda: WhiteBitStoppedError("all moves are stopped (model)"),
    "unknown": lambda: WhiteBitUnavailableError("it is not known whether moves are stopped (model)"),
    "store": lambda: WhiteBitJournalError("no answer of the store (model)"),
}
#: Exchange's statuses after which Airflow does not start another try.
_PERMANENT = (400, 401, 403, 422)
#: Errors after which it does not either.
_ENDS = ("WhiteBitInDoubtError", "WhiteBitStoppedError", "WhiteBitLimitError")


class Port:
    """Where a process waits for its next result."""

    def __init__(self) -> None:
        self._hub = greenlet.getcurrent()

    def do(self, what: str, *details: Hashable) -> Any:
        """Hand over one step. :raises WhiteBitError: it failed."""
        result = self._hub.switch(Step(what, details))
        if isinstance(result, Failure):
            raise _ERRORS[result.kind]()
        return result


class ModelClock:
    """The exchange's clock as a process with an exact clock estimates it."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.last_seconds = 0

    def now_ms(self) -> int:
        # What the process knows of the exchange's seconds is part of the result, so that it decides the behaviour.
        now, self.last_seconds = self._port.do("clock")
        return int(now)

    def forget(self) -> None:
        pass

    def move_nonce(self, latest: int) -> int:
        return latest - (latest - 3) % 4


class ModelClient:
    """The part of the client that moves use."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.clock = ModelClock(port)

    def server_time(self) -> pendulum.DateTime:
        return pendulum.from_timestamp(self._port.do("time"))

    def claim_nonce(self, nonce: int, *, call: Any) -> None:
        self._port.do("claim", nonce)

    def send_move(self, call: Any, *, nonce: int) -> str | None:
        params = call.params
        what = f"{params['from']}>{params['to']}" if "from" in params else call.path.rpartition("/")[2]
        reference: str | None = self._port.do("send", nonce, what, params["amount"])
        return reference

    def flex_history(self, *, date_from: int, plan: str = "plan", **_: object) -> list[FlexTransaction]:
        rows = self._port.do("records", date_from)
        return [
            FlexTransaction(pendulum.from_timestamp(made), plan, "", "USDT", Decimal(amount), reference, action)
            for reference, made, amount, action in rows
        ]

    def fixed_investments(self, **_: object) -> list[FixedInvestment]:
        return []

    def sub_accounts(self, **_: object) -> list[SubAccount]:
        return []

    def main_balance(self, ticker: str) -> dict[str, Decimal]:
        return {ticker: self._port.do("balance", "main")}

    def trade_balance(self, ticker: str) -> dict[str, TradeBalance]:
        return {ticker: TradeBalance(self._port.do("balance", "spot"), Decimal(0))}


class ModelVariables(OneByOne):
    """Airflow's Variables; also the transfer markers."""

    def __init__(self, port: Port, prefix: str = "") -> None:
        self._port = port
        self._prefix = prefix

    def read(self, name: str) -> str | None:
        text: str | None = self._port.do("read", self._prefix + name)
        return text

    def keep(self, name: str, text: str, description: str) -> None:
        self._port.do("write", self._prefix + name, text)

    def write(self, name: str, text: str) -> None:
        self.keep(name, text, "")

    def delete(self, name: str) -> None:
        self._port.do("write", self._prefix + name, None)


@dataclass(frozen=True)
class ModelRequest:
    """A request that always means the same move."""

    move: Move

    def resolve(self, account: Account) -> Move:
        return self.move

    def to_json(self) -> dict[str, Any]:
        return self.move.to_json()

    def means(self, move: Move | Receipt) -> bool:
        names = ("operation", "plan_id", "ticker", "source", "target")
        return all(str(getattr(move, name) or "") == str(getattr(self.move, name)) for name in names)


Driver = Callable[..., Receipt | None]


def _execution(port: Port, this: Try, move: Move, limits: Limits, *, stops: bool) -> ExecutionRequest:
    client: Any = ModelClient(port)
    markers = ModelVariables(port, "marker|")
    spending = VariableSpendingLog("account", ModelVariables(port))
    task = TaskJournals((this.task, "", "", ""), try_number=this.number, variables=ModelVariables(port))
    return ExecutionRequest(
        request=ModelRequest(move),
        api_key=ApiKey(client, "account", "whitebit_default", markers, MARGIN_MS, spending),
        journal=task.journal("move"),
        limits=limits,
        account=Account(client),
        key="move",
        begun_before=this.number > 1,
        check_stop=(lambda: port.do("stop")) if stops else None,
        run=f"{this.generation}|{this.number}",
        generation=str(this.generation),
        intent_id=f"{this.task}#{this.number}",
        resolutions=VariableResolutions((this.task, "", "", "-1"), "", ModelVariables(port)),
    )


def _end(driver: Driver, execution: ExecutionRequest, port: Port) -> End:
    try:
        receipt = driver(execution, sleep=lambda seconds: port.do("sleep", round(seconds * 1000)))
    except WhiteBitError as error:
        permanent = type(error).__name__ in _ENDS or error.status in _PERMANENT
        return End(type(error).__name__, None, error.money_moved, permanent)
    assert receipt is not None
    return End(
        "receipt",
        receipt.transaction_id,
        reconciled=receipt.reconciled,
        attempts=receipt.attempts,
        answered=receipt.resolved_by is not None,
    )


@dataclass(eq=False)
class Node:
    """What a process has come to: its next step, or its end.

    :param before: the node before it, and the result that led from there to here.
    """

    automaton: Automaton | None
    before: tuple[Node, Any] | None
    step: Step | None
    end: End | None
    children: dict[Any, Node] = field(default_factory=dict)

    @property
    def results(self) -> list[Any]:
        """All results that the process has received so far."""
        found, node = [], self
        while node.before is not None:
            node, result = node.before
            found.append(result)
        return found[::-1]

    def after(self, result: Any) -> Node:
        """Where the process comes to with the result of its step."""
        key = ("failure", result.kind) if isinstance(result, Failure) else result
        found = self.children.get(key)
        if found is None:
            assert self.automaton is not None
            found = self.children[key] = self.automaton.advance(self, result)
        return found


#: A process that is gone.
DEAD = Node(None, None, None, End("dead"))


class Automaton:
    """All that one try can do. Each path is run once, whatever other processes do meanwhile.

    :param limits: of the connection.
    :param stops: whether people can stop all moves: then it asks.
    """

    def __init__(
        self,
        this: Try,
        move: Move,
        driver: Driver = execute_move,
        *,
        limits: Limits = NO_LIMITS,
        stops: bool = False,
    ) -> None:
        self.this = this
        self._stops = stops
        self._limits = limits
        self._move = move
        self._driver = driver
        self._live: tuple[Node, Any] | None = None
        self.root = self._node(None, *self._begin())

    def advance(self, node: Node, result: Any) -> Node:
        """Run the process one step further."""
        if self._live is None or self._live[0] is not node:
            running, _ = self._begin()
            for earlier in node.results:
                running.switch(earlier)
        else:
            running = self._live[1]
        return self._node((node, result), running, running.switch(result))

    def _begin(self) -> tuple[Any, Any]:
        if self._live is not None:
            self._live[1].throw(greenlet.GreenletExit)
            self._live = None
        port = Port()
        running = greenlet.greenlet(lambda: _end(self._driver, self._execution(port), port))
        return running, running.switch()

    def _execution(self, port: Port) -> ExecutionRequest:
        return _execution(port, self.this, self._move, self._limits, stops=self._stops)

    def _node(self, before: tuple[Node, Any] | None, running: Any, reached: Any) -> Node:
        ended = isinstance(reached, End)
        node = Node(self, before, None if ended else reached, reached if ended else None)
        self._live = None if ended else (node, running)
        return node
