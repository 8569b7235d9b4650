"""The wire between simulated processes and their exchange: it loses, delays and duplicates requests."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import Transport
from tests.simulation.exchanges import SimulatedExchange
from tests.simulation.world import START_MS, Process, World

KEY = Credentials("sandbox-key", "sandbox-secret")
_OK = range(200, 300)


@dataclass(slots=True)
class Sent:
    """A money-moving request that reached the exchange."""

    process: Process
    path: str
    nonce: int
    executed: bool
    reference: str | None
    plan: str = ""
    amount: Decimal = Decimal(0)
    at_ms: int = 0


@dataclass(slots=True)
class WireAnswer:
    """An answer on the wire.

    :param decoded: what the body holds, if the exchange itself answered.
    :param at_ms: time of the node that answered; ``None`` if a gateway answered.
    """

    status: int
    raw: bytes = b""
    decoded: Any = None
    at_ms: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return self.raw if self.at_ms is None else json.dumps(self.decoded).encode()


class SimulatedTransport(Transport):
    """A transport whose requests are neither signed nor encoded. Refusals and odd answers are judged as ever."""

    def _exchange(
        self,
        path: str,
        params: Mapping[str, Any] | None,
        *,
        nonce: int = 0,
        nonce_window: bool = False,
        success: Container[int] = _OK,
    ) -> Any:
        clock, wire = self.clock, self._wire
        sent_ms = clock.local_ms()
        answer = wire.call(path, params, nonce, self.credentials.api_key)
        if answer.at_ms is not None:
            clock.observe(answer.at_ms // 1000, sent_ms, clock.local_ms())
            if answer.status == 200 and not moves_money(path):
                return answer.decoded
        return self._judge(path, answer, success)


def moves_money(path: str) -> bool:
    return path.endswith(("/invest", "/withdraw", "/close", "/investment", "/transfer"))


@dataclass
class Faults:
    """How often something goes wrong, as chances per request, journal write or try.

    :param odd: how many of the wire's faults are answers that fit no documentation.
    :param again: a process that stalls does so once more, or dies afterwards.
    :param forgets: a store acknowledges a write and does not keep it.
    """

    wire: float = 0.0
    journal: float = 0.0
    kill: float = 0.0
    stall: float = 0.0
    jump: float = 0.0
    latency_ms: int = 60
    odd: float = 0.0
    again: float = 0.0
    forgets: float = 0.0


#: What the wire can do to a request, and whether the exchange gets it first.
WIRE_FAULTS = (
    "never_connected",
    "lost_before",
    "lost_after",
    "error_500_before",
    "error_500_after",
    "html_503_after",
    "empty_502_before",
    "garbage_after",
    "error_in_200_before",
    "rate_limit",
    "late_arrival",
    "late_reply",
    "duplicate",
    "second_answer",
    "arrives_after_timeout",
)
#: Answers to requests that never reach the exchange.
_BEFORE = {
    "error_500_before": WireAnswer(500, b'{"message":"Server Error"}'),
    "empty_502_before": WireAnswer(502),
    "error_in_200_before": WireAnswer(200, b'{"code":0,"message":"Something is wrong","errors":{}}'),
}
#: Answers that replace the exchange's own.
_AFTER = {
    "error_500_after": WireAnswer(500, b"<html>oops</html>"),
    "html_503_after": WireAnswer(503, b"<html>maintenance</html>"),
    "garbage_after": WireAnswer(200, b"\xff\x00\xfe{"),
}


#: Statuses that gateways send, and exchanges by mistake.
_ODD_STATUSES = (200, 201, 201, 204, 400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504, 520)
#: Bodies that no call documents as its success, nor the exchange as its refusal.
_ODD_BODIES = (
    b'{"response":null,"status":422,"errors":{"amount":["Inner validation failed"]},"warning":"","_token":null}',
    b'{"error":"Something went wrong"}',
    b'{"errors":{"plan":["Plan is paused"]}}',
    b'{"success":0}',
    b'{"success":false,"message":"Not now","params":[]}',
    b'{"message":"Forbidden"}',
    b'{"status":"error"}',
    b'{"data":{}}',
    b'{"data":{"transaction_id":null}}',
    b'{"transaction_id":""}',
    b'{"data":{"transac',
    b'{"id":null}',
    b"",
    b"null",
    b"true",
    b'"ok"',
    b"<html>Checking your browser</html>",
    b"\xff\xfe\x00{",
)


def odd_answer(chance: random.Random) -> WireAnswer:
    """An answer that says neither yes nor no."""
    return WireAnswer(chance.choice(_ODD_STATUSES), chance.choice(_ODD_BODIES))


@dataclass
class Venue:
    """The exchange, what it received, and the faults on the way to it."""

    world: World
    exchange: SimulatedExchange
    faults: Faults
    sent: list[Sent] = field(default_factory=list)
    outside: set[str] = field(default_factory=set)
    #: Lets a process ask whether people have stopped all moves; only in worlds with people who do.
    check_stop: Callable[[Process], None] | None = None
    #: Requests that move money, of processes that did not ask right before.
    unchecked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random: random.Random = self.world.random
        #: With which a person moves money.
        self.outside_key = KEY.api_key

    def latency(self) -> int:
        return 5 + int(self.random.random() * (self.faults.latency_ms - 4))

    def pick_fault(self, path: str) -> str | None:
        # Requests that move money meet far more faults: the simulation is about them.
        if not (chance := self.faults.wire):
            return None
        chance *= 6 if moves_money(path) else 1
        if self.random.random() >= chance:
            return None
        if self.faults.odd and self.random.random() < self.faults.odd:
            return self.random.choice(("odd_before", "odd_after", "odd_after"))
        return self.random.choice(WIRE_FAULTS)

    def move_outside(self, path: str, **params: Any) -> str:
        """Make a move without this package. :returns: the identifier that the exchange gave it."""
        answer = self.try_outside(path, **params)
        reference = _reference(answer)
        assert reference is not None, answer
        return reference

    def try_outside(self, path: str, **params: Any) -> Any:
        """As :meth:`move_outside`, but the exchange may refuse. :returns: its answer."""
        status, answer, _ = self.exchange.call(path, params, self.outside_key, self.world.clock.now)
        self.world.clock.now += 1
        reference = _reference(answer) if status in (200, 201) else None
        if reference is not None:
            self.outside |= self.exchange.names(reference)
        self.world.note(f"outsider: {path} {params} -> {reference or answer}")
        return answer


class SimulatedWire:
    """Carries requests to the exchange, or not."""

    def __init__(self, venue: Venue, process: Process) -> None:
        self._venue = venue
        self._process = process
        self._world = process.world

    def close(self) -> None:
        pass

    def call(self, path: str, params: Mapping[str, Any] | None, nonce: int, api_key: str) -> WireAnswer:
        process, venue = self._process, self._venue
        fault = venue.pick_fault(path)
        if venue.check_stop is not None and moves_money(path) and not process.may_send:
            venue.unchecked.append(f"{process.name}: {path}")
        process.step("before a request", venue.latency())
        if fault is not None:
            self._world.note(f"{process.name}: {path} meets {fault}")
            if (early := self._answer_without_exchange(fault)) is not None:
                return early
            if fault == "late_arrival":
                process.step("while the request is on its way", venue.random.randint(1_000, 9_000))
            if fault == "arrives_after_timeout":
                # The client gives up. The request is still on its way and reaches the exchange later.
                delay = venue.random.randint(500, 12_000)
                self._world.at(delay, lambda: self._deliver(path, params, nonce, api_key))
                process.step("giving up", 2_000)
                raise WhiteBitUnavailableError("no answer in time (simulated)", money_moved=None)
        answer = self._deliver(path, params, nonce, api_key)
        if fault in ("duplicate", "second_answer"):
            second = self._deliver(path, params, nonce, api_key)
            answer = second if fault == "second_answer" else answer
        process.step("after a request", venue.latency())
        if fault is None:
            return answer
        if fault == "lost_after":
            raise WhiteBitUnavailableError("the connection broke (simulated)", money_moved=None)
        if fault == "late_reply":
            process.step("waiting for a late reply", venue.random.randint(1_000, 30_000))
        if fault == "odd_after":
            return self._odd()
        return _AFTER.get(fault, answer)

    def _answer_without_exchange(self, fault: str) -> WireAnswer | None:
        """The answer to a request that never reaches the exchange; ``None`` if it does."""
        if fault == "never_connected":
            raise WhiteBitUnavailableError("never connected (simulated)", money_moved=False)
        if fault == "rate_limit":
            return WireAnswer(429, b'{"message":"Too Many Attempts.","code":0}')
        if fault == "odd_before":
            return self._odd()
        if fault == "lost_before" or fault in _BEFORE:
            self._process.step("without an answer", 2_000)
        if fault == "lost_before":
            raise WhiteBitUnavailableError("no answer in time (simulated)", money_moved=None)
        return _BEFORE.get(fault)

    def _odd(self) -> WireAnswer:
        answer = odd_answer(self._venue.random)
        self._world.note(f"{self._process.name}: is answered {answer.status} {answer.raw!r}")
        return answer

    def _deliver(self, path: str, params: Mapping[str, Any] | None, nonce: int, api_key: str) -> WireAnswer:
        status, decoded, at_ms = self._venue.exchange.call(path, params, api_key, nonce)
        if params is not None and moves_money(path):
            self._record(path, params, nonce, status, decoded)
        return WireAnswer(status, decoded=decoded, at_ms=at_ms)

    def _record(self, path: str, params: Mapping[str, Any], nonce: int, status: int, answer: Any) -> None:
        name, executed = self._process.name, status in (200, 201)
        reference = _reference(answer) if executed else None
        amount = params.get("amount", "0")
        self._venue.sent.append(
            Sent(
                self._process,
                path,
                nonce,
                executed,
                reference,
                params.get("plan", ""),
                Decimal(amount),
                self._world.clock.now,
            )
        )
        self._world.note(
            f"{name}: exchange has {path.rsplit('/', 1)[1]} {amount} nonce {nonce - START_MS} -> {status} "
            f"{reference or str(answer)[:90]}"
        )


def _reference(accepted: Any) -> str | None:
    """The identifier in the answer to a move that was made, if there is one."""
    names = ("id", "transaction_id")
    parts = (accepted, accepted.get("data")) if accepted and isinstance(accepted, dict) else ()
    return next((part[name] for part in parts if isinstance(part, dict) for name in names if part.get(name)), None)
