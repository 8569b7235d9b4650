"""Whether people have stopped all moves: the Variable that a stop writes, and Airflow's configuration.

A task looks before it prepares a move, and again right before it sends it.
"""

from __future__ import annotations

import os

from airflow_provider_whitebit.client.errors import (
    WhiteBitConfigurationError,
    WhiteBitJournalError,
    WhiteBitStoppedError,
    WhiteBitUnavailableError,
)
from airflow_provider_whitebit.hooks import airflow_compat
from airflow_provider_whitebit.hooks.provider_config import OPTIONS, READ_ONLY, SECTION
from airflow_provider_whitebit.hooks.stores import VariableStore
from airflow_provider_whitebit.moves.stop import STOP_VARIABLE, Stop


def check_stop() -> None:
    """Refuse to send if people have stopped all moves.

    :raises WhiteBitStoppedError: they have: who, when and why.
    :raises WhiteBitConfigurationError: the configuration cannot be read as one that allows moves.
    :raises WhiteBitUnavailableError: it is not known whether they have.
    """
    if read_only_is_set():
        raise WhiteBitStoppedError(
            f"All moves are stopped by Airflow's configuration: [{SECTION}] {READ_ONLY}.",
            next_step=(f"Ask the administrator of Airflow to remove [{SECTION}] {READ_ONLY}.", "Clear the task."),
        )
    text = _stop_text()
    if text is not None:
        raise Stop.read(text).error()


def read_only_is_set() -> bool:
    """Return whether Airflow's configuration forbids every move.

    :raises WhiteBitConfigurationError: the value is no boolean, or the section has an option that does not exist. It
        could be a misspelt ``read_only``.
    """
    try:
        strange = sorted(airflow_compat.option_names(SECTION) - OPTIONS.keys())
        if not strange:
            return airflow_compat.boolean_option(SECTION, READ_ONLY)
        what = f"[{SECTION}] {strange[0]} is not an option; the options are {', '.join(OPTIONS)}."
    except Exception as error:
        what = f"[{SECTION}] {READ_ONLY} cannot be read ({type(error).__name__}); write True or False."
    raise WhiteBitConfigurationError(
        f"Airflow's configuration: {what}",
        next_step="Correct the configuration (airflow.cfg, or AIRFLOW__WHITEBIT__...). Then clear the task.",
    )


def _stop_text() -> str | None:
    """The Variable's text; ``None`` if there certainly is none.

    Outside a process of Airflow there is no database to ask. Then the environment can hold the Variable.
    """
    if not airflow_compat.runs_for_airflow():
        return os.environ.get(f"AIRFLOW_VAR_{STOP_VARIABLE.upper()}")
    try:
        return VariableStore().read(STOP_VARIABLE)
    except WhiteBitJournalError as error:
        raise WhiteBitUnavailableError(
            f"It is not known whether people have stopped all moves, so this one was not sent. {error.message}",
            next_step="Run the task again when Airflow answers.",
        ) from error
