"""Events are recorded exactly if they are stored. With Airflow's own asset manager, tables and plugins."""

from __future__ import annotations

import importlib.util
import json

import pytest
from sqlalchemy import create_engine, event, insert, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import scoped_session, sessionmaker

from airflow_provider_whitebit.treasury.occurrences import KEPT
from airflow_provider_whitebit.triggers.state_store import DELIVERED, state_key, variable_name

TRIGGER = "0123456789abcdef"
VARIABLE = variable_name(TRIGGER, DELIVERED)
NOW = 1_800_000_000
HAS_STATE = importlib.util.find_spec("airflow.state") is not None


class EventStore:
    """Stores events as the triggerer does: one transaction for all assets of a trigger."""

    def __init__(self, engine, in_state):
        self.engine = engine
        self.in_state = in_state

    def store(self, seconds, *assets, **more):
        from airflow.assets.manager import AssetManager
        from airflow.models.asset import AssetModel
        from airflow.utils.session import create_session

        occurrences = [{"id": name, "second": second, "record": {}} for name, second in seconds.items()]
        payload = {"event": "x", "occurrences": occurrences, "whitebit_trigger": TRIGGER, **more}
        with create_session() as session:
            for name in assets or ("earned",):
                asset = session.scalars(select(AssetModel).where(AssetModel.name == name)).one()
                extra = {"from_trigger": True, "payload": payload}
                AssetManager().register_asset_change(asset=asset, extra=extra, session=session)

    def refused(self, *arguments, **more):
        with pytest.raises(RuntimeError, match="will be sent again") as caught:
            self.store(*arguments, **more)
        return caught.value.__cause__

    def stored(self, asset="earned"):
        """Ids of the occurrences of each event."""
        from airflow.models.asset import AssetEvent, AssetModel

        query = select(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        with self.session() as session:
            rows = session.scalars(query.where(AssetModel.name == asset).order_by(AssetEvent.id)).all()
            return [[one["id"] for one in row.extra["payload"]["occurrences"]] for row in rows]

    def recorded(self, asset="earned"):
        from airflow.models.asset import AssetModel
        from airflow.models.variable import Variable

        with self.session() as session:
            if not self.in_state:
                variable = session.scalars(select(Variable).where(Variable.key == VARIABLE)).one_or_none()
                return {} if variable is None else json.loads(variable.get_val()).get(asset, {})
            from airflow.models.asset_state_store import AssetStateStoreModel

            query = select(AssetStateStoreModel.value).join(AssetModel, AssetModel.id == AssetStateStoreModel.asset_id)
            text = session.scalar(
                query.where(AssetModel.name == asset, AssetStateStoreModel.key == state_key(TRIGGER, DELIVERED))
            )
            return json.loads(text or "{}")

    def session(self):
        return sessionmaker(self.engine)()


@pytest.fixture
def airflows(tmp_path, monkeypatch):
    from airflow import settings
    from airflow.models import import_all_models
    from airflow.models.asset import AssetActive, AssetModel
    from airflow.models.base import Base

    import_all_models()
    engine = create_engine(f"sqlite:///{tmp_path / 'airflow.db'}")
    Base.metadata.create_all(engine)
    sessions = scoped_session(sessionmaker(engine, autoflush=False, expire_on_commit=False))
    monkeypatch.setattr(settings, "Session", sessions)
    with sessionmaker(engine)() as session:
        for name in ("earned", "other"):
            asset = AssetModel(name=name, uri=name, group="asset")
            session.add(asset)
            session.flush()
            session.add(AssetActive.for_asset(asset))
        session.commit()
    yield engine
    sessions.remove()
    engine.dispose()


@pytest.fixture
def in_variables(airflows, monkeypatch):
    """Before Airflow 3.3, or with a custom state backend."""
    if HAS_STATE:
        monkeypatch.setattr("airflow.state.get_state_backend", object)
    return EventStore(airflows, in_state=False)


@pytest.fixture(params=["state", "variable"])
def events(airflows, request):
    if request.param == "variable":
        return request.getfixturevalue("in_variables")
    if not HAS_STATE:
        pytest.skip("assets have no state before Airflow 3.3")
    return EventStore(airflows, in_state=True)


def test_a_delivery_is_recorded_for_each_asset(events):
    events.store({"a": NOW}, "earned", "other")
    events.store({"b": NOW + 1}, "other")
    assert (events.stored("earned"), events.stored("other")) == ([["a"]], [["a"], ["b"]])
    assert events.recorded("earned") == {"a": NOW}
    assert events.recorded("other") == {"a": NOW, "b": NOW + 1}


def test_a_delivered_occurrence_is_left_out(events):
    events.store({"a": NOW})
    events.store({"a": NOW, "b": NOW})
    events.store({"b": NOW})
    assert events.stored() == [["a"], ["b"], []]
    assert events.recorded() == {"a": NOW, "b": NOW}


def test_an_occurrence_too_old_to_have_its_id_kept_is_left_out(events):
    events.store({"a": NOW})
    events.store({"b": NOW + KEPT + 1})
    assert events.recorded() == {"b": NOW + KEPT + 1}
    events.store({"a": NOW, "late": NOW + 1, "c": NOW + KEPT + 2})
    assert events.stored() == [["a"], ["b"], ["late", "c"]]


def test_an_event_that_is_not_stored_is_not_recorded(events):
    event.listen(events.engine, "commit", lambda connection: 1 / 0, once=True)
    with pytest.raises(ZeroDivisionError):
        events.store({"a": NOW})
    assert (events.stored(), events.recorded()) == ([], {})


@pytest.mark.parametrize("written", ["asset_state_store", "variable"])
def test_an_event_that_cannot_be_recorded_is_not_stored_and_can_be_sent_again(events, written):
    if events.in_state != (written == "asset_state_store"):
        pytest.skip("recorded elsewhere")
    failing = [True]

    @event.listens_for(events.engine, "before_cursor_execute")
    def fail(connection, cursor, statement, *_):
        if failing and statement.startswith(f"INSERT INTO {written}"):
            raise OperationalError(statement, {}, Exception("deadlock detected"))

    assert isinstance(events.refused({"a": NOW}), OperationalError)
    assert (events.stored(), events.recorded()) == ([], {})
    failing.clear()
    # The same session of this thread, in its next transaction.
    events.store({"a": NOW})
    assert (events.stored(), events.recorded()) == ([["a"]], {"a": NOW})


def test_a_transaction_that_the_database_rolled_back_does_not_count_as_stored(events):
    # MySQL does so with the victim of a deadlock; the savepoint is gone too.
    @event.listens_for(events.engine, "before_cursor_execute")
    def roll_back(connection, cursor, statement, *_):
        if statement.startswith(("INSERT INTO asset_state_store", "INSERT INTO variable")):
            cursor.connection.rollback()
            raise OperationalError(statement, {}, Exception(1213))

    events.refused({"a": NOW}, "earned", "other")
    assert (events.stored("earned"), events.stored("other")) == ([], [])


def test_a_variable_that_another_event_creates_meanwhile_is_used(in_variables):
    from airflow.models.variable import Variable

    savepoints = []

    @event.listens_for(in_variables.engine, "savepoint")
    def create(connection, name):
        savepoints.append(name)
        if len(savepoints) == 2:
            recorded = json.dumps({"other": {"a": NOW}})
            connection.execute(insert(Variable.__table__).values(key=VARIABLE, val=recorded, is_encrypted=False))

    in_variables.store({"a": NOW})
    assert len(savepoints) == 2
    assert in_variables.stored() == [["a"]]
    assert in_variables.recorded("earned") == in_variables.recorded("other") == {"a": NOW}


def test_a_variable_that_cannot_be_decrypted_is_reset(in_variables, monkeypatch, caplog):
    """Ending the triggerer would lose the event, so it starts again without the unreadable record."""
    from airflow.models.variable import Variable

    in_variables.store({"a": NOW})
    with monkeypatch.context() as lost_key:
        lost_key.setattr(Variable, "get_val", lambda self: None)
        in_variables.store({"b": NOW})
    assert (in_variables.stored(), in_variables.recorded()) == ([["a"], ["b"]], {"b": NOW})
    assert f"{VARIABLE} cannot be decrypted" in caplog.text


@pytest.mark.parametrize(
    "more",
    [{"whitebit_trigger": None}, {"occurrences": [{"id": "a"}]}, {"occurrences": [{"id": "a", "second": "soon"}]}],
)
def test_another_event_is_left_unchanged(events, more):
    events.store({"a": NOW}, **more)
    assert (events.stored(), events.recorded()) == ([["a"]], {})
