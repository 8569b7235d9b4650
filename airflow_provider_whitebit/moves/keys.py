"""Keys of moves: names within one task, or idempotency keys, which all tasks of an account share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.client.errors import WhiteBitAlreadyMovedError, describe_receipt

if TYPE_CHECKING:
    from airflow_provider_whitebit.moves.execution import ExecutionRequest
    from airflow_provider_whitebit.moves.intent import Intent

#: Begins the keys of moves with an idempotency key. Then follow account, ``|``, that key, ``|``, and perhaps a number.
_IDEMPOTENCY = "idempotency_key "

_ADVICE = (
    "Give each move of the task a key of its own (key=...), or restore the parameters. To move money again, start a "
    "new dag run."
)
_IDEMPOTENCY_ADVICE = (
    "To make another move, give it another idempotency_key. To get the receipt of the old one, restore the parameters "
    "and clear the task."
)


def idempotent(account: str, idempotency_key: str) -> str:
    """The key of a move or a plan that all tasks of an account share.

    :param account: fingerprint of the API key.
    :param idempotency_key: as the caller gave it.
    """
    return f"{_IDEMPOTENCY}{account}|{idempotency_key}|"


def is_idempotent(key: str) -> bool:
    """Whether a key was made by :func:`idempotent`, or numbers a move of a plan or a transfer with such a key."""
    return key.startswith(_IDEMPOTENCY)


def split_key(key: str) -> tuple[str, str, str]:
    """Take apart a key made by :func:`idempotent`.

    :returns: the account, the idempotency key, and ``.2`` for the second move under it.
    """
    account, _, rest = key.removeprefix(_IDEMPOTENCY).partition("|")
    name, _, number = rest.rpartition("|")
    return account, name, number


def with_account(key: str, account: str) -> str:
    """The same idempotency key with another API key.

    :param account: fingerprint of that API key.
    """
    _, name, number = split_key(key)
    return f"{idempotent(account, name)}{number}"


def shown_key(key: str) -> str:
    """A key in an error: quoted, or as the argument that a caller has written."""
    return argument_of(key) if is_idempotent(key) else repr(key)


def argument_of(key: str) -> str:
    """A key as the argument that a caller writes: ``key='x'`` or ``idempotency_key='x'``."""
    if not is_idempotent(key):
        return f"key={key!r}"
    _, name, number = split_key(key)
    return f"idempotency_key={name!r}{number and f' (move {number[1:]})'}"


def key_advice(key: str) -> str:
    """What to do if a key was used for another move."""
    return _IDEMPOTENCY_ADVICE if is_idempotent(key) else _ADVICE


def made_with_others(execution: ExecutionRequest, made: Intent, before: str, now: str) -> WhiteBitAlreadyMovedError:
    """The error for a key under which a move with other parameters was made.

    :param made: that move.
    :param before: its parameters, in words.
    :param now: what is asked for this time, in words.
    """
    receipts = [] if made.receipt is None else [made.receipt.to_json()]
    if not is_idempotent(execution.key):
        return WhiteBitAlreadyMovedError(
            f"This task has already made its move {execution.key!r} with {before}; this time it asks for {now}.",
            completed_moves=receipts,
        )
    own = made.task == execution.task
    what = "; ".join(map(describe_receipt, receipts))
    return WhiteBitAlreadyMovedError(
        f"{argument_of(execution.key)} was used before {by(made.task, execution.task)} with {before}: {what}. This "
        f"time the task asks for {now}. Nothing was moved this time.",
        completed_moves=receipts if own else (),
        next_step=_IDEMPOTENCY_ADVICE,
    )


def made_with_another_key(made: Intent) -> WhiteBitAlreadyMovedError:
    """The error for a task that has made its move with another API key than its connection has now.

    :param made: the move.
    """
    return WhiteBitAlreadyMovedError(
        f"This task has already moved its money ({made.move}) with another API key than the connection has now.",
        completed_moves=[] if made.receipt is None else [made.receipt.to_json()],
    )


def plan_with_others(
    template: ExecutionRequest, task: str, changed: Sequence[str], receipts: Sequence[Mapping[str, Any]]
) -> WhiteBitAlreadyMovedError:
    """The error for a plan that was carried out with other parameters, at least in part.

    :param template: of the plan's moves.
    :param task: that made it.
    :param changed: names of the parameters.
    :param receipts: of its moves, as plain JSON.
    """
    differs = f"with other parameters ({', '.join(changed)} changed)"
    if not is_idempotent(template.key):
        return WhiteBitAlreadyMovedError(
            f"This task has already carried out its plan {differs}.", completed_moves=receipts
        )
    made = "; ".join(map(describe_receipt, receipts))
    return WhiteBitAlreadyMovedError(
        f"{argument_of(template.key)} was used before {by(task, template.task)} for a plan {differs}: {made}. Nothing "
        "was moved this time.",
        completed_moves=receipts if task == template.task else (),
        next_step=_IDEMPOTENCY_ADVICE,
    )


def by(maker: str, task: str) -> str:
    """Which task did something, in words.

    :param maker: that task; empty: none.
    :param task: the current one.
    """
    if not maker:
        return "outside of a task"
    return "by this task" if maker == task else f"by {maker}"
