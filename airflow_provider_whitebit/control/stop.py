"""Stop and resume all moves of all connections. Commands and the Treasury page call these functions."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.models.variable import Variable
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.errors import WhiteBitValidationError, clean
from airflow_provider_whitebit.control import audit
from airflow_provider_whitebit.hooks.provider_config import READ_ONLY, SECTION
from airflow_provider_whitebit.hooks.stop import read_only_is_set
from airflow_provider_whitebit.moves.stop import LONGEST_NAME, LONGEST_REASON, STOP_VARIABLE, Stop

_DESCRIPTION = "While this Variable exists, the WhiteBIT provider sends no move. Written by airflow whitebit stop."


class WhiteBitStopChangedError(WhiteBitValidationError):
    """The stop is not the one that the user has seen: another user has stopped or resumed moves."""

    advice = "Look at the current state. Then decide again."


def current_stop(session: Session) -> Stop | None:
    """Return the stop that Airflow's database holds; ``None`` if moves may go on.

    A Variable with a team stops only this team's tasks, in Airflow's multi-team mode: it is no stop of all moves.

    :param session: of Airflow's database.
    """
    row = _row(session)
    return None if row is None or getattr(row, "team_name", None) is not None else _stop_in(row)


def stop_moves(session: Session, *, by: str, reason: str) -> Stop:
    """Stop all moves of all connections. Commits: when this returns, no later check of a task lets a move through.

    :param session: of Airflow's database.
    :param by: the user.
    :param reason: in the user's own words.
    :raises WhiteBitValidationError: there is no reason.
    :returns: the stop; if moves were stopped already, it names both users and both reasons.
    """
    by, reason = clean(by, LONGEST_NAME), _reason(reason)
    try:
        return _stop(session, by, reason)
    except IntegrityError:
        # Another user has stopped them at the same moment.
        session.rollback()
        return _stop(session, by, reason)


def _stop(session: Session, by: str, reason: str) -> Stop:
    row = _row(session, lock=True)
    if row is None:
        stop = Stop(by, reason, pendulum.now("UTC").replace(microsecond=0))
        new: Any = Variable
        row = new(key=STOP_VARIABLE, description=_DESCRIPTION)
        session.add(row)
    else:
        stop = _stop_in(row).joined_by(by, reason)
    # Not encrypted: an API server without this process's Fernet key would show tasks no Variable at all.
    row._val, row.is_encrypted = stop.to_text(), False
    # In multi-team mode (3.2 and later), only its own team's tasks see a Variable with a team.
    row.team_name = None
    audit.record(session, audit.Event.STOP, user=by, facts={"reason": reason, "stop": stop.to_json()})
    session.commit()
    return stop


def resume_moves(session: Session, *, by: str, reason: str, seen: Stop | None = None) -> Stop | None:
    """Let moves go on. Commits.

    :param session: of Airflow's database.
    :param by: the user.
    :param reason: in the user's own words.
    :param seen: the stop that the user has seen; by default whichever there is.
    :raises WhiteBitValidationError: there is no reason.
    :raises WhiteBitStopChangedError: there is another stop than the user has seen, or none any more.
    :returns: the stop that is lifted; ``None`` if there was none.
    """
    by, reason = clean(by, LONGEST_NAME), _reason(reason)
    row = _row(session, lock=True)
    stop = None if row is None else _stop_in(row)
    if seen is not None and seen != stop:
        session.rollback()
        now = "Moves are no longer stopped." if stop is None else f"Moves are now stopped {stop.in_words}."
        raise WhiteBitStopChangedError(f"The stop has changed since you saw it. {now}")
    if row is not None and stop is not None:
        session.delete(row)
        audit.record(session, audit.Event.RESUME, user=by, facts={"reason": reason, "lifted": stop.to_json()})
    session.commit()
    return stop


def _row(session: Session, *, lock: bool = False) -> Any:
    query = select(Variable).where(Variable.key == STOP_VARIABLE)
    return session.scalar(query.with_for_update() if lock else query)


def _stop_in(row: Any) -> Stop:
    return Stop.read(str(row.val))


def _reason(raw: str) -> str:
    reason = clean(raw, LONGEST_REASON)
    if not reason:
        raise WhiteBitValidationError("The reason is empty.", next_step="Say why, in a few words.")
    return reason


def still_stopped() -> str:
    """Return why tasks still see a stop that Airflow's database does not hold; empty if they see none.

    A secrets backend, or the environment of the API server, comes before the database.
    """
    if read_only_is_set():
        return f"Airflow's configuration here has [{SECTION}] {READ_ONLY}."
    text = Variable.get(STOP_VARIABLE, None)
    if text is None:
        return ""
    return f"a secrets backend or the environment holds the Variable {STOP_VARIABLE} ({clean(str(text), 100)})."
