"""Rows in Airflow's audit log for what people do to moves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from sqlalchemy.orm import Session

from airflow_provider_whitebit.client.errors import clean
from airflow_provider_whitebit.control.tasks import Task

#: Longest name of a user in the audit log.
_LONGEST_OWNER = 500


class Event(StrEnum):
    """What people do. The audit log shows these names."""

    STOP = "whitebit_stop"
    RESUME = "whitebit_resume"
    RESOLVE = "whitebit_resolve"


def record(session: Session, event: Event, *, user: str, facts: Mapping[str, Any], task: Task | None = None) -> None:
    """Add a row to Airflow's audit log. It becomes durable with the session's transaction, or not at all.

    :param session: of Airflow's database.
    :param event: what was done.
    :param user: who did it.
    :param facts: what else is to be known, as plain JSON. They must hold no secret.
    :param task: which task instance it is about.
    """
    from airflow.models.log import Log

    about = {} if task is None else task._asdict()
    session.add(Log(event=str(event), owner=clean(user, _LONGEST_OWNER), extra=json.dumps(dict(facts)), **about))
