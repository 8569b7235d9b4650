"""The exchange of a small world: its rules for nonces, balances and records, as functions of states."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from tests.exploration.processes import MARGIN_MS, Failure
from tests.exploration.states import Entry, Request, State

WINDOW_MS = 5_000
_ACTIONS = {"invest": 1}


def use_nonce(state: State, nonce: int) -> tuple[State, Failure | None]:
    """Use up a nonce, unless it is used or too far from the exchange's time."""
    if abs(nonce - state.now) > WINDOW_MS:
        return state, Failure("outside")
    if nonce in state.used:
        return state, Failure("used")
    return state._replace(used=state.used | {nonce}), None


def accept(state: State, request: Request, funds: int, lag_ms: int = MARGIN_MS) -> Iterator[tuple[str, State, Any]]:
    """What the exchange can make of a request: in words, the state after it, and the answer.

    :param funds: what Main has received from outside.
    :param lag_ms: how late a late record is visible.
    """
    state, refused = use_nonce(state, request.nonce)
    if refused is None and Decimal(request.amount) > held(state, _sides(request)[0], funds):
        refused = Failure("balance")
    if refused is not None:
        yield f"refused, {refused.kind}", state, refused
        return
    done = Entry(request, state.now, state.now)
    yield "done", state._replace(ledger=(*state.ledger, done)), done.reference
    if state.budget.lags and request.what in _ACTIONS:
        late = done._replace(visible_ms=state.now + lag_ms)
        yield "done, recorded late", state.spend("lags")._replace(ledger=(*state.ledger, late)), done.reference


def records(state: State, since: int) -> tuple[tuple[str | None, int, str, int], ...]:
    """The visible records from these seconds on: reference, seconds, amount, action."""
    return tuple(
        (one.reference, one.made_ms // 1000, one.request.amount, _ACTIONS[one.request.what])
        for one in state.ledger
        if one.request.what in _ACTIONS and one.visible_ms <= state.now and one.made_ms // 1000 >= since
    )


def held(state: State, account: str, funds: int) -> Decimal:
    """What a balance holds.

    :param funds: what Main has received from outside.
    """
    amount = Decimal(funds if account == "main" else 0)
    for one in state.ledger:
        source, target = _sides(one.request)
        amount += Decimal(one.request.amount) * ((account == target) - (account == source))
    return amount


def _sides(request: Request) -> tuple[str, str]:
    source, _, target = ("main>plan" if request.what == "invest" else request.what).partition(">")
    return source, target
