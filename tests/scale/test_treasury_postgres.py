"""The Treasury page on PostgreSQL: every test of its queries, its application and its database connections."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from tests.missing import missing, need_module
from tests.scale.servers import Postgres, absent_programs

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "plugins"))

# The same tests, with this module's databases instead of SQLite.
from test_treasury_app import *  # noqa: F403
from test_treasury_pool import *  # noqa: F403
from test_treasury_pool import pool_of_one
from test_treasury_records import *  # noqa: F403
from treasury_rows import Tables

# What a damaged document does, and what is imported, is a matter of the code, not of the database.
_OF_THE_CODE = ("damage", "is_no_journal", "imports")
for _name in [name for name in globals() if name.startswith("test_") and any(word in name for word in _OF_THE_CODE)]:
    del globals()[_name]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A PostgreSQL with Airflow's tables."""
    from airflow.models import import_all_models
    from airflow.models.base import Base

    need_module("psycopg2", "PAGE NOT TESTED ON POSTGRESQL: psycopg2 is not installed (the extra 'scale')")
    if absent := [name for name in absent_programs() if name != "redis-server"]:
        missing(f"PAGE NOT TESTED ON POSTGRESQL: {', '.join(absent)} not found (scripts/services.sh installs them)")
    import_all_models()
    postgres = Postgres()
    try:
        postgres.start()
        engine = create_engine(postgres.address, poolclass=NullPool)
        Base.metadata.create_all(engine)
        yield postgres.address
    finally:
        postgres.remove()


@pytest.fixture
def tables(address: str) -> Iterator[Tables]:
    """Rows that only this test sees."""
    engine = create_engine(address, poolclass=NullPool)
    with engine.connect() as connection, connection.begin() as transaction:
        # Rows of tables that the page does not read are left out.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield Tables(session)
        transaction.rollback()


@pytest.fixture
def engine(address: str) -> Iterator[Any]:
    """A database of which the application has one connection."""
    from airflow.models.base import Base

    engine = pool_of_one(address)
    yield engine
    with engine.begin() as connection:
        names = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
        connection.execute(text(f"TRUNCATE {names} CASCADE"))
    engine.dispose()
