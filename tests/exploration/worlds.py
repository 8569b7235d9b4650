"""The worlds that are explored, and what may happen in each: little in a test run, more in ``make explore``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from airflow_provider_whitebit.moves.intent import Move, Operation
from airflow_provider_whitebit.moves.limits import Limits
from tests.exploration.processes import MARGIN_MS
from tests.exploration.states import Budget
from tests.exploration.world import START_MS, World


def _invest(amount: str = "25") -> Move:
    return Move(Operation.FLEX_INVEST, "plan", "USDT", Decimal(amount))


#: The moves of one task.
_ONE = ((_invest(),),)
_TRANSFER = ((Move(Operation.TRANSFER, "", "USDT", Decimal(25), source="main", target="spot"),),)
_LIMIT = frozenset({"receipt", "WhiteBitLimitError"})
#: One of two moves fits.
_LIMITED = Limits("explored", max_per_day={"USDT": Decimal(30)})
_SENT_AGAIN = frozenset({"receipt", "reconciled", "sent again"})
_DOUBT = frozenset({"receipt", "WhiteBitInDoubtError"})

#: Each world's parameters, its budget in a test run (``None``: too large for one), and its budget in ``make explore``.
_WORLDS: dict[str, tuple[dict[str, Any], Budget | None, Budget]] = {
    "lost answer": (
        {"moves": _ONE, "reaches": _SENT_AGAIN},
        Budget(losses=1, lags=1, repeats=1, unreached=1),
        Budget(losses=2, lags=2, repeats=1, unreached=1, stalls=1),
    ),
    "lost answer of the store": (
        {"moves": _ONE, "reaches": _SENT_AGAIN | {"WhiteBitJournalError"}},
        Budget(store=1, losses=1),
        Budget(store=2, losses=1, lags=1),
    ),
    "one death": (
        {"moves": _ONE, "reaches": _SENT_AGAIN},
        Budget(deaths=1, lags=1),
        Budget(deaths=2, losses=1, lags=1, stalls=1),
    ),
    "stalled try": (
        {"moves": _ONE, "reaches": _SENT_AGAIN},
        Budget(overtakes=1, losses=1),
        Budget(overtakes=1, stalls=1),
    ),
    "stalled try, other amount": (
        {"moves": ((_invest(), _invest("30")),), "reaches": _SENT_AGAIN},
        Budget(overtakes=1, lags=1),
        Budget(overtakes=1, losses=1, deaths=1, lags=1),
    ),
    "stalled try of a cleared task": (
        {"moves": _ONE, "doubts": True},
        None,
        Budget(overtakes=1, deaths=1, clears=1),
    ),
    "equal tasks": (
        {"moves": (*_ONE, *_ONE), "doubts": True, "reaches": _SENT_AGAIN | _DOUBT},
        Budget(losses=1, lags=1),
        Budget(losses=1, stalls=1),
    ),
    "tasks with different amounts": (
        {"moves": (*_ONE, (_invest("30"),)), "doubts": True, "reaches": _SENT_AGAIN},
        Budget(losses=1, lags=1),
        Budget(losses=1, lags=1, stalls=1),
    ),
    "cleared after a refusal": (
        {"moves": _ONE, "funds": 10, "refund": 20, "reaches": _SENT_AGAIN | {"WhiteBitNotEnoughBalanceError"}},
        Budget(clears=1, losses=1, lags=1),
        Budget(clears=1, losses=1, overtakes=1),
    ),
    "cleared after a doubt": (
        {"moves": _ONE, "foreign": (("25", -6_000, 10_000),), "doubts": True, "reaches": _DOUBT},
        Budget(clears=1, losses=1, lags=1),
        Budget(clears=1, losses=1, lags=1, overtakes=1),
    ),
    "equal move of another program": (
        {"moves": _ONE, "reaches": _SENT_AGAIN},
        Budget(outsiders=1, losses=1),
        Budget(outsiders=1, losses=2, deaths=1),
    ),
    "people stop all moves": (
        {"moves": _ONE, "reaches": frozenset({"receipt", "reconciled", "WhiteBitStoppedError"})},
        Budget(stops=1, resumes=1, losses=1, clears=1),
        Budget(stops=2, resumes=2, losses=1, store=1, clears=2),
    ),
    "people stop a stalled try": (
        {"moves": _ONE, "reaches": frozenset({"receipt", "WhiteBitStoppedError"})},
        None,
        Budget(stops=1, resumes=1, overtakes=1, losses=1, clears=1),
    ),
    "equal transfers": (
        {"moves": (*_TRANSFER, *_TRANSFER), "doubts": True, "reaches": _SENT_AGAIN},
        Budget(losses=1),
        Budget(losses=1, stalls=1),
    ),
    "stalled transfer": (
        {"moves": _TRANSFER, "doubts": True},
        Budget(overtakes=1),
        Budget(overtakes=1, stalls=1),
    ),
    "limit of two tasks": (
        {"moves": (*_ONE, *_TRANSFER), "limits": _LIMITED, "doubts": True, "reaches": _LIMIT},
        Budget(stalls=1),
        Budget(losses=1, stalls=1),
    ),
    "limit of two tasks, one dies": (
        {"moves": (*_ONE, *_TRANSFER), "limits": _LIMITED, "doubts": True, "reaches": _LIMIT},
        None,
        Budget(losses=1, deaths=1, lags=1),
    ),
    "answered doubt": (
        {"moves": _ONE, "foreign": (("25", -6_000, 10_000),), "doubts": True, "reaches": _DOUBT | {"answered"}},
        Budget(answers=1, clears=1, losses=1, lags=1),
        Budget(answers=2, clears=1, losses=1, lags=1, deaths=1),
    ),
    "answered while tries overlap": (
        {"moves": _ONE, "reaches": {"receipt", "answered"}},
        None,
        Budget(answers=1, overtakes=1, deaths=1, losses=1),
    ),
    "answered before a very late record": (
        {"moves": _ONE, "lag_ms": 10 * MARGIN_MS, "reaches": {"receipt", "answered"}},
        Budget(answers=1, losses=1, lags=1),
        Budget(answers=1, losses=1, lags=1, overtakes=1),
    ),
}
NAMES = tuple(_WORLDS)
#: The worlds of a test run.
SMALL = tuple(name for name, (_, small, _) in _WORLDS.items() if small is not None)


def world(name: str, *, small: bool = False, after_ms: int = 0, **changes: Any) -> World:
    """One of the worlds.

    :param small: with the budget of a test run, if it has one.
    :param after_ms: how much later it begins: nonce locks lie elsewhere then.
    :param changes: of its parameters.
    """
    parameters, test_run, full = _WORLDS[name]
    budget = test_run if small and test_run is not None else full
    return World(**{**parameters, "budget": budget, "start_ms": START_MS + after_ms, **changes})
