"""Airflow's tables, in memory."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool
from treasury_rows import Tables


def _engine():
    return create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


@pytest.fixture(scope="session")
def empty_tables():
    """Airflow's tables without rows. To create them takes longer than most tests."""
    from airflow.models import import_all_models
    from airflow.models.base import Base

    import_all_models()
    engine = _engine()
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def tables(empty_tables):
    engine = _engine()
    with engine.connect() as copy, empty_tables.connect() as original:
        original.connection.driver_connection.backup(copy.connection.driver_connection)
    with Session(engine) as session:
        yield Tables(session)
    engine.dispose()
