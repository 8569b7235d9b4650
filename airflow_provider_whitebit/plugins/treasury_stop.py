"""The page's switch for all moves: what everybody sees, and the routes for users who may edit its Variable."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError, WhiteBitValidationError
from airflow_provider_whitebit.control.journals import release
from airflow_provider_whitebit.control.stop import WhiteBitStopChangedError, current_stop, resume_moves, stop_moves
from airflow_provider_whitebit.hooks.provider_config import READ_ONLY, SECTION
from airflow_provider_whitebit.hooks.stop import read_only_is_set
from airflow_provider_whitebit.moves.stop import LONGEST_REASON, STOP_VARIABLE, Stop
from airflow_provider_whitebit.plugins.same_origin import require_same_origin
from airflow_provider_whitebit.plugins.treasury_permissions import Permissions

router = APIRouter(dependencies=[Depends(get_user), Depends(require_same_origin)])


class Order(BaseModel):
    """What a user orders.

    :param reason: in the user's own words.
    :param confirm: what the user has typed: ``stop`` or ``resume``.
    """

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=LONGEST_REASON)]
    confirm: str


class ResumeOrder(Order):
    """Lifts the stop that the user has seen.

    :param seen: that stop, as the page got it.
    """

    seen: dict[str, Any]


def state(session: Session, permissions: Permissions) -> dict[str, Any]:
    """Return whether moves are stopped, as the page shows it.

    :param session: of Airflow's database.
    :param permissions: of the user who looks.
    """
    # First, because the auth manager may need a database connection of its own.
    may_switch = permissions.may_edit_variable(STOP_VARIABLE)
    stop = current_stop(session)
    release(session)
    return {
        "stop": None if stop is None else stop.to_json(),
        "configuration": _configuration(),
        "may_switch": may_switch,
    }


@router.post("/api/stop")
def stop(order: Order, session: SessionDep, user: GetUserDep) -> dict[str, Any]:
    """Stop all moves of all connections.

    :param order: of the user.
    """
    return _carry_out(session, user, order, "stop", lambda by: stop_moves(session, by=by, reason=order.reason))


@router.post("/api/resume")
def resume(order: ResumeOrder, session: SessionDep, user: GetUserDep) -> dict[str, Any]:
    """Let moves go on, if the stop is still the one that the user has seen.

    :param order: of the user.
    """
    try:
        seen = Stop.from_json(order.seen)
    except ValueError as error:
        raise HTTPException(422, f"seen: {error}") from None
    change = partial(resume_moves, session, reason=order.reason, seen=seen)
    return _carry_out(session, user, order, "resume", lambda by: change(by=by))


def _carry_out(
    session: Session, user: Any, order: Order, word: str, change: Callable[[str], Stop | None]
) -> dict[str, Any]:
    if not Permissions(user, session).may_edit_variable(STOP_VARIABLE):
        raise HTTPException(403, f"You are not allowed to edit the Variable {STOP_VARIABLE}.")
    if order.confirm.strip().lower() != word:
        raise HTTPException(422, f"Type {word} to confirm.")
    try:
        changed = change(user.get_name())
    except WhiteBitStopChangedError as error:
        raise HTTPException(409, error.message) from None
    except WhiteBitValidationError as error:
        raise HTTPException(422, error.message) from None
    return {"stop": None if word == "resume" or changed is None else changed.to_json()}


def _configuration() -> str | None:
    """Why the configuration of this API server forbids every move; ``None`` if it does not."""
    try:
        return f"[{SECTION}] {READ_ONLY} is set in Airflow's configuration." if read_only_is_set() else None
    except WhiteBitConfigurationError as error:
        return error.message
