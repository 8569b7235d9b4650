"""Who performs what the protocol wants done: here, now, in the thread that calls."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.moves import protocol as p
from airflow_provider_whitebit.moves.intent import Move, Receipt
from airflow_provider_whitebit.moves.journal import Journal


class SettleLater(Exception):
    """A doubt can only be settled later. The journal holds it: run the same move again when the time has come.

    :param until_ms: the exchange's time to wait for, in milliseconds.
    :param intent_id: the intent in doubt.
    """

    def __init__(self, until_ms: int, intent_id: str) -> None:
        self.until_ms = until_ms
        self.intent_id = intent_id
        super().__init__(f"move {intent_id} can be settled once the exchange's clock has passed {until_ms}")


def execute_move(
    client: WhiteBitClient,
    journal: Journal,
    *,
    requested: Mapping[str, Any],
    resolve: Callable[[], Move],
    permit: Callable[[Move], None] = lambda move: None,
    account: str,
    generation: str = "",
    settle_margin_ms: int = 10_000,
    defer: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> Receipt:
    """Make a move once, blocking until it is done, refused, or in doubt.

    :param client: connection to the exchange.
    :param journal: where this move's intent is kept.
    :param requested: the caller's own parameters as plain JSON, before anything was looked up.
    :param resolve: says which move they come to now; only asked when the journal holds nothing.
    :param permit: raises a :class:`WhiteBitError` if the account's limits forbid a move; asked before each sending.
    :param account: fingerprint of host and API key.
    :param generation: changes when a person clears the task, not when Airflow retries it.
    :param settle_margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :param defer: raise :class:`SettleLater` in place of sleeping until a doubt can be settled.
    :param sleep: waits, in seconds.
    :param new_id: makes the id of a new intent.
    :raises SettleLater: only with ``defer``.
    :raises WhiteBitInDoubt: the records cannot tell whether the move ran.
    :raises WhiteBitError: refused, unreachable, or the journal cannot be kept.
    """
    errand = p.Errand(
        intent_id=new_id(),
        account=account,
        requested=requested,
        generation=generation,
        journal=journal.identity,
        fenced=journal.fenced,
    )

    def perform(effect: p.Effect) -> Any:
        match effect:
            case p.ReadJournal():
                return journal.read()
            case p.WriteJournal(intent):
                return journal.write(intent.to_json())
            case p.Resolve():
                return resolve()
            case p.Permit(move):
                return permit(move)
            case p.WaitUntil(until_ms, left_ms, intent_id):
                if defer:
                    raise SettleLater(until_ms, intent_id)
                return sleep(left_ms / 1000)
            case p.Pause(milliseconds):
                return sleep(milliseconds / 1000)
            case _:
                return ask_exchange(client, effect)

    return run(p.execute(errand, p.Rules(settle_margin_ms=settle_margin_ms)), perform)


def ask_exchange(client: WhiteBitClient, effect: p.Effect) -> Any:
    """Perform an effect that concerns the exchange or its clock.

    :raises WhiteBitError: as the client's methods do.
    """
    match effect:
        case p.ReadClock():
            return p.ClockReading(client.clock.now_ms(), client.clock.last_seconds)
        case p.AskTime():
            client.clock.forget()
            return client.server_time().int_timestamp
        case p.TakeNonce(nonce, plan_id):
            return client.take_nonce(nonce, plan=plan_id)
        case p.ReadRecords(plan_id, since, actions):
            return list(client.flex_history(plan=plan_id, date_from=since, action_types=actions))
        case p.Send(call, nonce):
            return client.send_move(call, nonce=nonce)
        case _:
            raise TypeError(f"no way to perform {effect!r}")


def run(protocol: p.Protocol, perform: Callable[[p.Effect], Any]) -> Receipt:
    """Drive a protocol to its end, performing its effects one after the other.

    :param perform: performs one effect; a :class:`WhiteBitError` that it raises is the effect's outcome, anything
        else ends the run and leaves the journal as it is.
    """
    try:
        effect = next(protocol)
        while True:
            try:
                outcome = perform(effect)
            except WhiteBitError as error:
                effect = protocol.throw(error)
            else:
                effect = protocol.send(outcome)
    except StopIteration as end:
        receipt: Receipt = end.value
        return receipt
    finally:
        protocol.close()
