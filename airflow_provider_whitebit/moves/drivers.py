"""Who performs what the protocol wants done: blocking in a worker, or without blocking in a trigger."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Generator, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from airflow_provider_whitebit.client.api import IdleCall, WhiteBitClient
from airflow_provider_whitebit.client.errors import (
    WhiteBitAuthenticationError,
    WhiteBitConfigurationError,
    WhiteBitError,
    WhiteBitPermissionError,
)
from airflow_provider_whitebit.client.models import FixedInvestment, FlexTransaction
from airflow_provider_whitebit.client.transport import urgently
from airflow_provider_whitebit.moves import protocol as p
from airflow_provider_whitebit.moves.evidence import ACTIONS
from airflow_provider_whitebit.moves.intent import Balances, Intent, Move, Operation, Receipt, State, merge
from airflow_provider_whitebit.moves.journal import Journal, Marks

ResultT = TypeVar("ResultT")


class SettleLater(Exception):
    """A doubt can only be settled later. The journal holds it: run the same move again when the time has come.

    :param until_ms: the exchange's time to wait for, in milliseconds.
    :param intent: the intent in doubt; :func:`settle_in_background` can settle it.
    :param sent: sendings that this run of the task has made so far.
    """

    def __init__(self, until_ms: int, intent: Intent, sent: int) -> None:
        self.until_ms = until_ms
        self.intent = intent
        self.sent = sent
        super().__init__(f"move {intent.id} can be settled once the exchange's clock has passed {until_ms}")


def execute_move(
    client: WhiteBitClient,
    journal: Journal,
    *,
    requested: Mapping[str, Any],
    resolve: Callable[[], Move],
    permit: Callable[[Move], None] = lambda move: None,
    marks: Marks,
    account: str,
    connection: str = "",
    former: WhiteBitClient | None = None,
    generation: str = "",
    settle_margin_ms: int = 10_000,
    defer: bool = False,
    settled: Mapping[str, Any] | None = None,
    sent: int = 0,
    again: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> Receipt:
    """Make a move once, blocking until it is done, refused, or in doubt.

    :param client: connection to the exchange.
    :param journal: where this move's intent is kept.
    :param requested: the caller's own parameters as plain JSON, before anything was looked up.
    :param resolve: says which move they come to now; only asked when the journal holds nothing.
    :param permit: raises a :class:`WhiteBitError` if the account's limits forbid a move; asked before each sending.
    :param marks: what tasks with this API key share; only transfers use them.
    :param account: fingerprint of host and API key.
    :param connection: name of the Airflow connection.
    :param former: connection with the account's old key, while that is being exchanged: turns are taken with both.
    :param generation: changes when a person clears the task, not when Airflow retries it.
    :param settle_margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :param defer: raise :class:`SettleLater` in place of sleeping until a doubt can be settled.
    :param settled: the document of this move's intent as :func:`settle_in_background` left it.
    :param sent: sendings that this run of the task made before it was put off.
    :param again: whether this run asks once more for what it has been refused.
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
        settled=settled,
        sent=sent,
        connection=connection,
        again=again,
    )
    sendings = sent

    def perform(effect: p.Effect) -> Any:
        nonlocal sendings
        match effect:
            case p.ReadJournal():
                return journal.read()
            case p.WriteJournal(intent):
                return journal.write(intent.to_json())
            case p.ReadMark(name):
                return marks.read(name)
            case p.WriteMark(name, mark):
                return marks.write(name, mark)
            case p.Resolve():
                return resolve()
            case p.Permit(move):
                return permit(move)
            case p.WaitUntil(until_ms, left_ms, intent):
                if defer:
                    raise SettleLater(until_ms, intent, sendings)
                return sleep(left_ms / 1000)
            case p.Pause(milliseconds):
                return sleep(milliseconds / 1000)
            case p.Send():
                sendings += 1
            case p.TakeNonce(nonce, call) if former is not None:
                # First, because whoever still moves with the old key takes its turns with that alone.
                _take_with_former(former, nonce, call)
        return ask_exchange(client, effect)

    return run(p.execute(errand, p.Rules(settle_margin_ms=settle_margin_ms)), perform)


def begun_with(account: str, journal: Journal) -> bool:
    """Whether a journal's move was carried out with this account's key or, if it was not, is in doubt with it.

    Such a move is finished with its own key: nonces, turns and records of another one prove nothing about it.

    :param account: fingerprint of host and API key.
    :raises JournalError: if that cannot be told.
    """
    try:
        intents = merge(map(Intent.from_json, journal.read())).values()
    except ValueError:
        # The protocol reads it again and says what is wrong with it.
        return False
    made = [one.account for one in intents if one.state is State.EXECUTED]
    return account in (made[:1] or [one.account for one in intents if one.in_doubt])


def _take_with_former(former: WhiteBitClient, nonce: int, call: IdleCall) -> None:
    try:
        former.take_nonce(nonce, call=call)
    except (WhiteBitAuthenticationError, WhiteBitPermissionError) as error:
        raise WhiteBitConfigurationError(
            f"The exchange does not accept the key of the connection's former_connection any more ({error.message}) "
            "Take that field out of the connection: nothing is finished with that key any more."
        ) from error


def ask_exchange(client: WhiteBitClient, effect: p.Effect) -> Any:
    """Perform an effect that concerns the exchange or its clock.

    :raises WhiteBitError: as the client's methods do.
    """
    with urgently():
        return _ask(client, effect)


def _ask(client: WhiteBitClient, effect: p.Effect) -> Any:
    match effect:
        case p.ReadClock():
            return p.ClockReading(client.clock.now_ms(), client.clock.last_seconds)
        case p.NewNonce(latest):
            return client.clock.move_nonce(latest)
        case p.AskTime():
            client.clock.forget()
            return client.server_time().int_timestamp
        case p.TakeNonce(nonce, call):
            return client.take_nonce(nonce, call=call)
        case p.ReadRecords(move, since):
            return _records(client, move, since)
        case p.ReadBalances(move):
            return Balances(_held(client, move.source, move.ticker), _held(client, move.target, move.ticker))
        case p.Send(call, nonce):
            return client.send_move(call, nonce=nonce)
        case _:
            raise TypeError(f"no way to perform {effect!r}")


def _records(client: WhiteBitClient, move: Move, since: int) -> list[FlexTransaction] | list[FixedInvestment]:
    match move.operation:
        case Operation.FIXED_INVEST:
            return list(client.fixed_investments(ticker=move.ticker))
        case Operation.FIXED_CLOSE:
            return list(client.fixed_investments(investment=move.investment_id))
        case operation:
            actions = tuple(sorted(ACTIONS[operation]))
            return list(client.flex_history(plan=move.plan_id, date_from=since, action_types=actions))


def _held(client: WhiteBitClient, account: str, ticker: str) -> Decimal:
    """What one balance holds, with what open orders hold of it: placing an order moves nothing away."""
    if account == "main":
        return client.main_balance(ticker)[ticker]
    if account == "collateral":
        return client.collateral_balance(ticker)[ticker]
    balance = client.trade_balance(ticker)[ticker]
    return balance.available + balance.freeze


async def settle_in_background(
    client: WhiteBitClient,
    intent: Intent,
    *,
    settle_margin_ms: int,
    read_mark: Callable[[str], Awaitable[str | None]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Intent:
    """Settle a doubt without blocking the event loop: the client's calls run in a thread. Sends nothing.

    :param intent: the intent in doubt.
    :param settle_margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :param read_mark: reads one of the :class:`~.journal.Marks`.
    :param sleep: waits, in seconds.
    :raises WhiteBitInDoubt: the records cannot tell.
    :raises WhiteBitError: the exchange cannot be asked.
    :returns: the intent, executed or with nothing left in doubt.
    """

    async def perform(effect: p.Effect) -> Any:
        if isinstance(effect, p.WaitUntil):
            return await sleep(effect.left_ms / 1000)
        if isinstance(effect, p.ReadMark):
            return await read_mark(effect.name)
        return await asyncio.to_thread(ask_exchange, client, effect)

    return await run_async(p.settle(intent, settle_margin_ms), perform)


def run(protocol: Generator[p.Effect, Any, ResultT], perform: Callable[[p.Effect], Any]) -> ResultT:
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
        result: ResultT = end.value
        return result
    finally:
        protocol.close()


async def run_async(
    protocol: Generator[p.Effect, Any, ResultT], perform: Callable[[p.Effect], Awaitable[Any]]
) -> ResultT:
    """As :func:`run`, for effects that are awaited."""
    try:
        effect = next(protocol)
        while True:
            try:
                outcome = await perform(effect)
            except WhiteBitError as error:
                effect = protocol.throw(error)
            else:
                effect = protocol.send(outcome)
    except StopIteration as end:
        result: ResultT = end.value
        return result
    finally:
        protocol.close()
