"""Stopping and resuming: one Variable, and one row in the audit log for each."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.control import stop as control
from airflow_provider_whitebit.control.stop import WhiteBitStopChangedError, current_stop, resume_moves, stop_moves
from airflow_provider_whitebit.moves.stop import STOP_VARIABLE


def audit_log(session):
    from airflow.models.log import Log

    rows = session.scalars(select(Log).order_by(Log.id))
    return [(row.event, row.owner, json.loads(row.extra)["reason"]) for row in rows]


def stored(session):
    from airflow.models.variable import Variable

    return session.scalar(select(Variable).where(Variable.key == STOP_VARIABLE))


def test_stop_and_resume(tables):
    session = tables.session
    assert current_stop(session) is None
    stop = stop_moves(session, by="jane", reason="market")
    assert (stop.by, stop.reason) == ("jane", "market")
    assert current_stop(session) == stop
    assert resume_moves(session, by="joe", reason="over") == stop
    assert current_stop(session) is None
    assert stored(session) is None
    assert audit_log(session) == [("whitebit_stop", "jane", "market"), ("whitebit_resume", "joe", "over")]


def test_a_second_stop_keeps_the_first_one(tables):
    first = stop_moves(tables.session, by="jane", reason="market")
    second = stop_moves(tables.session, by="joe", reason="audit")
    assert (second.by, second.reason, second.at) == ("jane, joe", "market; audit", first.at)
    assert [event for event, *_ in audit_log(tables.session)] == ["whitebit_stop"] * 2


def test_resuming_what_goes_on(tables):
    assert resume_moves(tables.session, by="joe", reason="over") is None
    assert audit_log(tables.session) == []


def test_a_stop_of_one_team_becomes_a_stop_of_all(tables):
    """In multi-team mode the tasks of other teams do not see it."""
    from airflow.models.variable import Variable

    if "team_name" not in Variable.__table__.columns:
        pytest.skip("teams see each other's Variables before Airflow 3.2")
    stop_moves(tables.session, by="jane", reason="market")
    stored(tables.session).team_name = "alpha"
    tables.session.commit()
    assert current_stop(tables.session) is None
    assert stop_moves(tables.session, by="joe", reason="audit").by == "jane, joe"
    assert stored(tables.session).team_name is None
    assert current_stop(tables.session) is not None


@pytest.mark.parametrize("change", [stop_moves, resume_moves])
@pytest.mark.parametrize("reason", ["", "  ", "\n\x00"])
def test_a_reason_is_required(tables, change, reason):
    with pytest.raises(WhiteBitValidationError, match="reason is empty"):
        change(tables.session, by="jane", reason=reason)
    assert current_stop(tables.session) is None
    assert audit_log(tables.session) == []


def test_only_the_stop_that_was_seen_is_lifted(tables):
    seen = stop_moves(tables.session, by="jane", reason="market")
    other = stop_moves(tables.session, by="joe", reason="audit")
    with pytest.raises(WhiteBitStopChangedError, match="jane, joe: market; audit"):
        resume_moves(tables.session, by="jane", reason="over", seen=seen)
    assert current_stop(tables.session) == other
    assert resume_moves(tables.session, by="jane", reason="over", seen=other) == other
    with pytest.raises(WhiteBitStopChangedError, match="no longer stopped"):
        resume_moves(tables.session, by="jane", reason="over", seen=other)


def test_a_text_of_somebody_else_is_a_stop_that_can_be_lifted(tables):
    tables.variable(STOP_VARIABLE, "please", None)
    assert "please" in current_stop(tables.session).reason
    assert resume_moves(tables.session, by="jane", reason="over") is not None
    assert current_stop(tables.session) is None


def test_another_host_needs_no_key_to_read_it(tables, monkeypatch):
    from airflow.models import variable

    stop_moves(tables.session, by="jane", reason="market")
    monkeypatch.setattr(variable, "get_fernet", lambda: pytest.fail("it is encrypted"))
    assert json.loads(stored(tables.session).val)["by"] == "jane"


def test_what_tasks_see_beside_the_database(monkeypatch):
    monkeypatch.setattr(control.Variable, "get", lambda name, default: default)
    assert control.still_stopped() == ""
    monkeypatch.setattr(control.Variable, "get", lambda name, default: "kept in a backend")
    assert "kept in a backend" in control.still_stopped()
    monkeypatch.setenv("AIRFLOW__WHITEBIT__READ_ONLY", "True")
    assert "[whitebit] read_only" in control.still_stopped()
